//! A document as a tree of JSON values, whose fields can be read and changed by dotted names. Only processors that run
//! on each event need a tree; most events are never converted to one.
//!
//! A name matches both a nested field (`{"event": {"action": …}}`) and one key with a dot (`{"event.action": …}`). At each level the longer
//! key is tried first.

use serde_json::{Map, Value};
use std::borrow::Cow;

/// A JSON object.
pub type Object = Map<String, Value>;

/// What is known about a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Known<'a> {
    /// The field has this value.
    Value(Cow<'a, Value>),
    /// The field does not exist.
    Absent,
    /// The value depends on the event.
    Unknown,
}

/// A source of field values: an event, or the fields that all events of a publisher have in common.
pub trait Fields {
    /// What is known about the field with this dotted name.
    fn field(&self, name: &str) -> Known<'_>;
}

/// An event as a tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree(pub Object);

/// Error: a field cannot be written, because a part of its path exists and is not an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of the name is a field that is no object")]
pub struct NotAnObject;

impl Tree {
    /// The value of the field with this dotted name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        get(&self.0, name)
    }

    /// Whether a field with this dotted name exists.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Writes a field, and creates the objects in its path.
    ///
    /// # Errors
    /// When a part of the path exists and is not an object.
    pub fn put(&mut self, name: &str, value: Value) -> Result<(), NotAnObject> {
        put(&mut self.0, name, value)
    }

    /// Removes a field. The objects around it stay, even if they are empty then.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        remove(&mut self.0, name)
    }

    /// The dotted names of all fields, including objects.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        collect_names("", &self.0, &mut names);
        names
    }
}

impl Fields for Tree {
    fn field(&self, name: &str) -> Known<'_> {
        self.get(name).map_or(Known::Absent, |value| Known::Value(Cow::Borrowed(value)))
    }
}

fn get<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    get(object.get(first)?.as_object()?, rest)
}

fn put(object: &mut Object, name: &str, value: Value) -> Result<(), NotAnObject> {
    match name.split_once('.') {
        Some((first, rest)) if !object.contains_key(name) => {
            put(object.entry(first).or_insert_with(|| Object::new().into()).as_object_mut().ok_or(NotAnObject)?, rest, value)
        }
        _ => {
            object.insert(name.to_owned(), value);
            Ok(())
        }
    }
}

fn remove(object: &mut Object, name: &str) -> Option<Value> {
    if let Some(value) = object.remove(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    remove(object.get_mut(first)?.as_object_mut()?, rest)
}

fn collect_names(prefix: &str, object: &Object, names: &mut Vec<String>) {
    for (key, value) in object {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        if let Some(inner) = value.as_object() {
            collect_names(&name, inner, names);
        }
        names.push(name);
    }
}

/// Merges `from` into `into`. Objects are merged; any other value of `from` replaces the value in `into`.
pub fn merge(into: &mut Object, from: &Object) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Object(inner)), Value::Object(value)) => merge(inner, value),
            _ => _ = into.insert(key.clone(), value.clone()),
        }
    }
}

/// Turns keys with dots into nested objects, at every depth. If two keys name the same field, the later value replaces
/// the earlier.
pub fn expand_dots(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut expanded = Object::new();
            for (key, value) in object {
                let mut value = expand_dots(value);
                let mut parts = key.split('.').rev();
                let mut name = parts.next().unwrap_or_default();
                for outer in parts {
                    value = Object::from_iter([(name.to_owned(), value)]).into();
                    name = outer;
                }
                merge(&mut expanded, &Object::from_iter([(name.to_owned(), value)]));
            }
            expanded.into()
        }
        Value::Array(list) => list.into_iter().map(expand_dots).collect(),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tree(value: Value) -> Tree {
        Tree(value.as_object().unwrap().clone())
    }

    #[test]
    fn names_find_both_forms() {
        let mut t = tree(json!({"event.action": 1, "event": {"kind": "event"}, "a": {"b.c": 2, "b": {"d": 3}}}));
        assert_eq!(t.get("event.action"), Some(&json!(1)));
        assert_eq!(t.get("event.kind"), Some(&json!("event")));
        assert_eq!(t.get("a.b.c"), Some(&json!(2)));
        assert_eq!(t.get("a.b.d"), Some(&json!(3)));
        assert_eq!(t.get("a.b.d.e"), None);
        assert_eq!(t.remove("event.action"), Some(json!(1)));
        assert_eq!(t.remove("a.b.d"), Some(json!(3)));
        t.put("event.action", json!(4)).unwrap();
        t.put("a.b.c", json!(5)).unwrap();
        assert_eq!(t.put("a.b.c.d", json!(6)), Ok(()));
        assert_eq!(t.put("event.kind.x", json!(6)), Err(NotAnObject));
        assert_eq!(t, tree(json!({"event": {"kind": "event", "action": 4}, "a": {"b.c": 5, "b": {"c": {"d": 6}}}})));
    }

    #[test]
    fn dots_become_objects() {
        let v = expand_dots(json!({"a.b": 1, "a": {"c.d": [{"x.y": 2}]}}));
        assert_eq!(v, json!({"a": {"b": 1, "c": {"d": [{"x": {"y": 2}}]}}}));
    }
}

//! A document as a tree of JSON values, whose fields can be read and changed by dotted names. Only processors that run
//! on each event need a tree; most events are never converted to one.
//!
//! A name matches both a nested field (`{"event": {"action": …}}`) and one key with a dot (`{"event.action": …}`). At each level the longer
//! key is tried first.

use super::raw;
use crate::time::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// A JSON object.
pub type Object = Map<String, Value>;

/// The value of a field, as far as it is known.
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
    /// The value of the field with this dotted name, as far as it is known.
    fn field(&self, name: &str) -> Known<'_>;
}

/// An event as a tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// The fields of the document. The key `@timestamp` holds the text of `time`.
    pub fields: Object,
    /// The time of the event. It can be more exact than the text of `@timestamp`.
    pub time: Timestamp,
    /// Digits of fractional seconds in the texts of times: 3, 6 or 9.
    pub digits: u8,
    /// Whether a text holds bytes that are not UTF-8 ([`raw`]).
    holds_raw: bool,
}

/// The name of the field that holds the time of the event.
pub const TIMESTAMP: &str = "@timestamp";
const METADATA: &str = "@metadata";

/// Why a field cannot be read, written or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The field does not exist.
    #[error("key not found")]
    Missing,
    /// A part of the path exists and is not an object.
    #[error("expected map but type is {0}")]
    NotAnObject(&'static str),
    /// A value that is no time was written to `@timestamp`.
    #[error("value is not a timestamp")]
    NotATime,
    /// The name is `@metadata` itself, and not a field in it.
    #[error("accessing \"@metadata\" key directly is not supported, try nested keys")]
    Metadata,
}

impl FieldError {
    /// Whether the field is missing. The result is false if a part of its path exists and is not an object.
    pub fn is_missing(&self) -> bool {
        *self == Self::Missing
    }
}

impl Tree {
    /// An event with this time, whose documents have `digits` digits of fractional seconds.
    pub fn new(fields: Object, time: Timestamp, digits: u8) -> Self {
        Self { fields, time, digits, holds_raw: false }
    }

    /// A text of bytes that need not be UTF-8, as the value of a field of this event.
    pub fn raw(&mut self, bytes: &[u8]) -> Value {
        self.holds_raw |= std::str::from_utf8(bytes).is_err();
        raw::to_text(bytes).into()
    }

    /// The fields as the document has them: bytes that are not UTF-8 are replaced, and `@timestamp` is first.
    pub fn finish(&mut self) -> Document<'_> {
        if std::mem::take(&mut self.holds_raw) {
            raw::replace(&mut self.fields);
        }
        Document(&self.fields)
    }

    /// The value of the field with this dotted name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        get(&self.fields, name)
    }

    /// Whether a field with this dotted name exists.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the value of the field with this dotted name.
    ///
    /// # Errors
    /// When there is no such field. The error says whether the field is missing, or lies below a value that is not an object.
    pub fn fetch(&self, name: &str) -> Result<&Value, FieldError> {
        if name == METADATA {
            return Err(FieldError::Metadata);
        }
        self.get(name).ok_or_else(|| obstacle(&self.fields, name).map_or(FieldError::Missing, FieldError::NotAnObject))
    }

    /// Writes a field, and creates the objects in its path. Writing a time to `@timestamp` sets the time of the event.
    ///
    /// # Errors
    /// When a part of the path exists and is not an object, or when `@timestamp` would not be a time.
    pub fn put(&mut self, name: &str, value: Value) -> Result<(), FieldError> {
        match name {
            TIMESTAMP => value.as_str().and_then(Timestamp::parse).map(|time| self.set_time(time)).ok_or(FieldError::NotATime),
            METADATA => Err(FieldError::Metadata),
            _ => put(&mut self.fields, name, value).map_err(FieldError::NotAnObject),
        }
    }

    /// Merges fields into the event: objects are merged, other values replace those of the event. `@timestamp` stays as it is.
    pub fn merge(&mut self, fields: &Object) {
        for (key, value) in fields {
            if key != TIMESTAMP {
                merge_field(&mut self.fields, key, value);
            }
        }
    }

    /// Sets the time of the event.
    pub fn set_time(&mut self, time: Timestamp) {
        self.time = time;
        self.fields.insert(TIMESTAMP.to_owned(), self.text(time));
    }

    /// A time as documents write it.
    pub fn text(&self, time: Timestamp) -> Value {
        time.text(self.digits).as_str().into()
    }

    /// Removes a field. The objects around it stay, even if they are empty then. `@timestamp` cannot be removed.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        if name == TIMESTAMP { None } else { remove(&mut self.fields, name) }
    }

    /// Appends texts to a list, which is created if it is missing.
    ///
    /// # Errors
    /// When the field is not a list, or when it cannot be written. The event is unchanged then.
    pub fn append(&mut self, name: &str, texts: &[Value]) -> Result<(), FieldError> {
        let mut list = match self.fetch(name) {
            Ok(Value::Array(list)) => list.clone(),
            Ok(other) => return Err(FieldError::NotAnObject(kind(other))),
            Err(FieldError::Missing) => Vec::new(),
            Err(error) => return Err(error),
        };
        list.extend_from_slice(texts);
        self.put(name, list.into())
    }

    /// The dotted names of all fields, including objects.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        collect_names("", &self.fields, &mut names);
        names
    }

    /// Copies the fields at the first level that contain the fields with these names, so that changes of them can be undone.
    pub fn save<'a>(&self, names: impl Iterator<Item = &'a str>) -> Saved {
        let mut saved = Saved { time: self.time, fields: Vec::new() };
        for key in names.flat_map(prefixes) {
            if saved.fields.iter().all(|(name, _)| name != key) {
                saved.fields.push((key.to_owned(), self.fields.get(key).cloned()));
            }
        }
        saved
    }

    /// Undoes all changes of the saved fields since [`Tree::save`].
    pub fn restore(&mut self, saved: Saved) {
        for (key, value) in saved.fields {
            match value {
                Some(value) => _ = self.fields.insert(key, value),
                None => _ = self.fields.remove(&key),
            }
        }
        if self.time != saved.time {
            self.set_time(saved.time);
        }
    }
}

/// The fields of a document in the order in which they are written: `@timestamp`, then the others by name.
#[derive(Debug)]
pub struct Document<'a>(&'a Object);

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = self.0.get_key_value(TIMESTAMP);
        serializer.collect_map(time.into_iter().chain(self.0.iter().filter(|(key, _)| *key != TIMESTAMP)))
    }
}

/// Fields of an event before a change.
#[derive(Debug)]
pub struct Saved {
    time: Timestamp,
    fields: Vec<(String, Option<Value>)>,
}

/// The keys at the first level that can contain the field `name`: `a.b.c` lies in `a`, `a.b` or `a.b.c`.
fn prefixes(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(at, _)| at).chain([name.len()]).filter_map(|end| name.get(..end))
}

/// An event without a time, with milliseconds in its documents.
impl From<Object> for Tree {
    fn from(fields: Object) -> Self {
        Self::new(fields, Timestamp::default(), 3)
    }
}

/// The name of a value's type, as Packetbeat's messages write it.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "mapstr.M",
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

/// The type of the first value in the path of `name` that exists and is not an object.
fn obstacle(object: &Object, name: &str) -> Option<&'static str> {
    let (first, rest) = name.split_once('.')?;
    match object.get(first)? {
        Value::Object(inner) => obstacle(inner, rest),
        other => Some(kind(other)),
    }
}

fn put(object: &mut Object, name: &str, value: Value) -> Result<(), &'static str> {
    match name.split_once('.') {
        Some((first, rest)) if !object.contains_key(name) => match object.get_mut(first) {
            Some(Value::Object(inner)) => put(inner, rest, value),
            Some(other) => Err(kind(other)),
            None => {
                let mut inner = Object::new();
                put(&mut inner, rest, value)?;
                object.insert(first.to_owned(), inner.into());
                Ok(())
            }
        },
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
        merge_field(into, key, value);
    }
}

fn merge_field(into: &mut Object, key: &str, value: &Value) {
    match (into.get_mut(key), value) {
        (Some(Value::Object(inner)), Value::Object(value)) => merge(inner, value),
        _ => _ = into.insert(key.to_owned(), value.clone()),
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
        value.as_object().unwrap().clone().into()
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
        assert_eq!(t.put("event.kind.x", json!(6)), Err(FieldError::NotAnObject("string")));
        assert_eq!(t.fetch("event.kind.x"), Err(FieldError::NotAnObject("string")));
        assert_eq!(t.fetch("event.nothing"), Err(FieldError::Missing));
        assert_eq!(t, tree(json!({"event": {"kind": "event", "action": 4}, "a": {"b.c": 5, "b": {"c": {"d": 6}}}})));
    }

    #[test]
    fn the_time_of_the_event_is_a_field_that_stays_a_time() {
        let mut t = tree(json!({"@timestamp": "2024-02-29T12:00:00.000Z", "a": 1}));
        assert_eq!(t.put("@timestamp", json!("yesterday")), Err(FieldError::NotATime));
        assert_eq!(t.remove("@timestamp"), None);
        t.put("@timestamp", json!("2024-02-29T13:00:00.123456+01:00")).unwrap();
        assert_eq!((t.get("@timestamp"), t.time), (Some(&json!("2024-02-29T12:00:00.123Z")), Timestamp(1_709_208_000_123_456_000)));
        t.merge(json!({"@timestamp": "2000-01-01T00:00:00.000Z", "a": {"b": 2}}).as_object().unwrap());
        assert_eq!((t.get("@timestamp"), t.get("a.b")), (Some(&json!("2024-02-29T12:00:00.123Z")), Some(&json!(2))));
    }

    #[test]
    fn saved_fields_are_restored() {
        let before = tree(json!({"a": {"b": {"c": 1}}, "a.b.x": 2, "d": 3, "@timestamp": "1970-01-01T00:00:00.000Z"}));
        let mut t = before.clone();
        let saved = t.save(["a.b.c", "a.b.x", "d", "new.field", "@timestamp"].into_iter());
        t.put("a.b.c", json!(5)).unwrap();
        t.remove("a.b.x");
        t.remove("d");
        t.put("new.field", json!(6)).unwrap();
        t.set_time(Timestamp(7_000_000_000));
        assert_ne!(t, before);
        t.restore(saved);
        assert_eq!(t, before);
    }

    #[test]
    fn lists_are_appended_to_unless_there_is_something_else() {
        let mut t = tree(json!({"list": [1], "number": 2}));
        for name in ["list", "new.list"] {
            t.append(name, &[json!("x")]).unwrap();
        }
        assert_eq!(t.append("number", &[json!("x")]), Err(FieldError::NotAnObject("int64")));
        assert_eq!(t, tree(json!({"list": [1, "x"], "number": 2, "new": {"list": ["x"]}})));
    }

    #[test]
    fn dots_become_objects() {
        let v = expand_dots(json!({"a.b": 1, "a": {"c.d": [{"x.y": 2}]}}));
        assert_eq!(v, json!({"a": {"b": 1, "c": {"d": [{"x": {"y": 2}}]}}}));
    }
}

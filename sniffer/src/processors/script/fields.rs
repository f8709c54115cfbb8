//! Access to lists and maps inside an event by JSON pointers (RFC 6901), for the views that scripts have of them.

use crate::event::tree::Object;
use serde_json::Value;

/// Keys at the first level of the tree that are not fields for a script: the time of the event and its metadata.
pub(super) fn is_hidden(key: &str) -> bool {
    key == "@timestamp" || key == "@metadata"
}

/// A list or map of an event.
pub(super) enum Container<'a> {
    Map(&'a Object),
    List(&'a [Value]),
}

/// The list or map at a pointer. An empty pointer is the event itself.
pub(super) fn container<'a>(fields: &'a Object, pointer: &str) -> Option<Container<'a>> {
    if pointer.is_empty() {
        return Some(Container::Map(fields));
    }
    match value(fields, pointer)? {
        Value::Object(map) => Some(Container::Map(map)),
        Value::Array(list) => Some(Container::List(list)),
        _ => None,
    }
}

/// The value at a pointer that is not empty.
pub(super) fn value<'a>(fields: &'a Object, pointer: &str) -> Option<&'a Value> {
    let (first, rest) = split(pointer)?;
    fields.get(&first)?.pointer(rest)
}

/// The value at a pointer that is not empty, for changes.
fn value_mut<'a>(fields: &'a mut Object, pointer: &str) -> Option<&'a mut Value> {
    let (first, rest) = split(pointer)?;
    fields.get_mut(&first)?.pointer_mut(rest)
}

fn split(pointer: &str) -> Option<(String, &str)> {
    let inner = pointer.strip_prefix('/')?;
    let (first, rest) = inner.split_at(inner.find('/').unwrap_or(inner.len()));
    Some((first.replace("~1", "/").replace("~0", "~"), rest))
}

/// The pointer of an entry of the list or map at `pointer`.
pub(super) fn below(pointer: &str, key: &str) -> String {
    if key.contains(['~', '/']) { format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")) } else { format!("{pointer}/{key}") }
}

/// The pointer of the field with a dotted name, which [`crate::event::tree::Tree::get`] finds as well.
pub(super) fn pointer(fields: &Object, name: &str) -> Option<String> {
    if fields.contains_key(name) {
        return Some(below("", name));
    }
    let (first, rest) = name.split_once('.')?;
    let inner = pointer(fields.get(first)?.as_object()?, rest)?;
    Some(below("", first) + &inner)
}

/// Writes an entry of the list or map at `pointer`. A list grows by one entry at most. Returns whether it was written.
pub(super) fn write(fields: &mut Object, pointer: &str, key: &str, new: Value) -> bool {
    let map = if pointer.is_empty() {
        if is_hidden(key) {
            return false;
        }
        fields
    } else {
        match value_mut(fields, pointer) {
            Some(Value::Object(map)) => map,
            Some(Value::Array(list)) => return write_item(list, key, new),
            _ => return false,
        }
    };
    map.insert(key.to_owned(), new);
    true
}

fn write_item(list: &mut Vec<Value>, key: &str, new: Value) -> bool {
    if key == "length" {
        let Some(length) = new.as_u64().and_then(|length| usize::try_from(length).ok()) else { return false };
        list.truncate(length);
        return list.len() == length;
    }
    let Ok(at) = key.parse::<usize>() else { return false };
    let length = list.len();
    match list.get_mut(at) {
        Some(item) => *item = new,
        None if at == length => list.push(new),
        None => return false,
    }
    true
}

/// Removes an entry of the list or map at `pointer`. An item of a list becomes null. Returns whether the entry is gone.
pub(super) fn erase(fields: &mut Object, pointer: &str, key: &str) -> bool {
    if pointer.is_empty() {
        if !is_hidden(key) {
            fields.remove(key);
        }
        return !is_hidden(key);
    }
    match value_mut(fields, pointer) {
        Some(Value::Object(map)) => _ = map.remove(key),
        Some(Value::Array(list)) => match key.parse::<usize>().ok().and_then(|at| list.get_mut(at)) {
            Some(item) => *item = Value::Null,
            None => return key != "length",
        },
        _ => {}
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries_are_found_written_and_removed() {
        let mut event: Object =
            serde_json::from_value(json!({"a": {"b/c": [1, {"~": 2}]}, "d.e": {"f": 18_446_744_073_709_551_615_u64}})).unwrap();
        let list = below(&below("", "a"), "b/c");
        assert_eq!(list, "/a/b~1c");
        assert_eq!(value(&event, &below(&below(&list, "1"), "~")), Some(&json!(2)));
        assert_eq!(pointer(&event, "d.e").as_deref(), Some("/d.e"));
        assert_eq!(pointer(&event, "a.b/c").as_deref(), Some("/a/b~1c"));
        assert_eq!((pointer(&event, "a.b/c.1"), pointer(&event, "no")), (None, None));
        assert!(write(&mut event, &list, "2", json!("new")) && !write(&mut event, &list, "4294967295", json!(0)));
        assert!(!write(&mut event, "", "@timestamp", json!(0)) && !write(&mut event, "/none", "x", json!(0)));
        assert!(erase(&mut event, &list, "0") && erase(&mut event, "", "d.e") && !erase(&mut event, "", "@metadata"));
        assert_eq!(Value::from(event), json!({"a": {"b/c": [null, {"~": 2}, "new"]}}));
    }
}

//! The tree of values while sources are merged: dotted keys become nested maps, and several sources become one tree.

use super::error::{Error, Place};

/// Maximum nesting of maps and lists, parts of dotted keys included. Trees are walked recursively, so this bounds the
/// stack. Packetbeat's own settings have up to 8 levels.
pub(super) const MAX_DEPTH: usize = 64;

/// How a scalar was written. This decides how it may be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Without quotes: may be a number or a boolean.
    Plain,
    /// In quotes, or a block scalar: a text, unless the setting expects another type.
    Quoted,
    /// A text from the command line, or one that contains variables. It is read like a plain scalar, and parsed when the setting expects a
    /// list (`a,b`, `[a, b]`) or a map (`{a: b}`).
    Given,
    /// A text that consists of one variable. It is read like [`Style::Given`], but never as a map, because passwords may begin with a
    /// brace.
    Variable,
    /// A text that consists of one secret of the keystore. It is read like a plain scalar, but never as a list or a map, because passwords
    /// may contain commas, brackets and quotes.
    Secret,
}

/// A value, and the place where it was written.
#[derive(Clone, PartialEq)]
pub(super) struct Raw {
    pub value: Value,
    pub place: Place,
}

#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Scalar(String, Style),
    List(Vec<Raw>),
    /// The entries of the map in the order written.
    Map(Vec<(String, Raw)>),
    /// A variable that could not be resolved. The module that reads it gets an error.
    Broken(String),
}

impl std::fmt::Debug for Raw {
    /// Debug output without values, because some are passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raw").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Raw {
    pub fn new(value: Value, place: &Place) -> Self {
        Self { value, place: place.clone() }
    }

    /// An empty map.
    pub fn empty() -> Self {
        Self { value: Value::Map(Vec::new()), place: Place::default() }
    }

    /// Removes the places of this value and of all values in it.
    pub fn remove_places(&mut self) {
        self.place = Place::default();
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| value.remove_places()),
            Value::List(items) => items.iter_mut().for_each(Self::remove_places),
            Value::Null | Value::Scalar(..) | Value::Broken(_) => {}
        }
    }

    pub fn text(text: impl Into<String>, place: &Place) -> Self {
        Self::new(Value::Scalar(text.into(), Style::Quoted), place)
    }

    pub fn child(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            Value::List(items) => items.get(key.parse::<usize>().ok()?),
            _ => None,
        }
    }

    /// The value of a key of a map, mutable.
    pub fn find_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The value at a dotted path.
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, key| node.child(key))
    }

    /// Removes a key from a map and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Self> {
        let Value::Map(entries) = &mut self.value else { return None };
        let index = entries.iter().position(|(k, _)| k == key)?;
        Some(entries.remove(index).1)
    }

    /// The value of a key of a map, created when missing. A value that is not a map is replaced by a map.
    pub fn child_mut(&mut self, key: &str, place: &Place) -> &mut Self {
        if !matches!(self.value, Value::Map(_)) {
            self.value = Value::Map(Vec::new());
        }
        match &mut self.value {
            Value::Map(entries) => {
                let index = entries.iter().position(|(k, _)| k == key).unwrap_or_else(|| {
                    entries.push((key.to_owned(), Self::new(Value::Null, place)));
                    entries.len() - 1
                });
                &mut entries[index].1
            }
            _ => unreachable!("made a map above"),
        }
    }

    /// Merges a value into the tree at a dotted path.
    pub fn put(&mut self, path: &str, new: Self) {
        let place = new.place.clone();
        let at = path.split('.').fold(self, |node, key| node.child_mut(key, &place));
        at.merge(new);
    }

    /// Merges another source into this one. Maps are merged; all other values are replaced, lists too. (go-ucfg merges lists item by item,
    /// so that a list of one host over a list of two keeps the second host. Users do not expect that.)
    pub fn merge(&mut self, new: Self) {
        match (&mut self.value, new.value) {
            (Value::Map(_), Value::Map(entries)) => {
                for (key, value) in entries {
                    let place = value.place.clone();
                    self.child_mut(&key, &place).merge(value);
                }
            }
            (Value::List(items), Value::Map(entries)) => merge_into_list(items, entries, &new.place),
            (_, value) => *self = Self { value, place: new.place },
        }
    }
}

/// Merges `packetbeat.protocols.0.ports` or `packetbeat.protocols.http.ports` into a list: into the item with that index or that `type`.
fn merge_into_list(items: &mut Vec<Raw>, entries: Vec<(String, Raw)>, place: &Place) {
    for (key, value) in entries {
        let index = match key.parse::<usize>() {
            Ok(index) => Some(index),
            Err(_) => items.iter().position(|item| matches!(item.child("type"), Some(Raw { value: Value::Scalar(t, _), .. }) if *t == key)),
        };
        match index.and_then(|i| items.get_mut(i)) {
            Some(item) => item.merge(value),
            None => {
                let mut item = Raw { value: Value::Map(Vec::new()), place: place.clone() };
                if key.parse::<usize>().is_err() {
                    item.put("type", Raw::text(key, place));
                }
                item.merge(value);
                items.push(item);
            }
        }
    }
}

/// Turns dotted keys into nested maps, and merges `a.b: 1` with `a: {c: 2}`. If a setting is written twice, the last value is used, and
/// a warning names both lines.
///
/// # Errors
/// When the tree is too deep.
pub(super) fn nest(raw: Raw, warnings: &mut Vec<String>) -> Result<Raw, Error> {
    nest_at(raw, 0, warnings)
}

fn nest_at(raw: Raw, depth: usize, warnings: &mut Vec<String>) -> Result<Raw, Error> {
    if depth > MAX_DEPTH {
        return Err(raw.place.error(format_args!("nested more than {MAX_DEPTH} levels deep")));
    }
    let place = raw.place;
    let value = match raw.value {
        Value::Map(entries) => {
            let mut map = Raw::new(Value::Map(Vec::with_capacity(entries.len())), &place);
            for (key, value) in entries {
                let mut keys = vec![key.as_str()];
                if !key.split('.').any(str::is_empty) {
                    keys = key.split('.').collect();
                }
                let value = nest_at(value, depth + keys.len(), warnings)?;
                join_at(&mut map, &keys, value, &key, warnings);
            }
            map.value
        }
        Value::List(items) => Value::List(items.into_iter().map(|item| nest_at(item, depth + 1, warnings)).collect::<Result<_, _>>()?),
        other => other,
    };
    Ok(Raw { value, place })
}

/// Sets the path `keys` below `map` to a value from the same configuration source. `whole`: the dotted key as the user wrote
/// it, for warnings.
fn join_at(map: &mut Raw, keys: &[&str], value: Raw, whole: &str, warnings: &mut Vec<String>) {
    let Some((first, rest)) = keys.split_first() else { return join(map, value, whole, warnings) };
    let place = value.place.clone();
    match &map.value {
        Value::Map(_) => {}
        // The file has `protocols: [ … ]`, and `protocols.http: …` after it.
        Value::List(_) => {
            let below = keys.iter().rev().fold(value, |value, key| Raw::new(Value::Map(vec![((*key).to_owned(), value)]), &place));
            return join(map, below, whole, warnings);
        }
        Value::Null => map.value = Value::Map(Vec::new()),
        Value::Scalar(..) | Value::Broken(_) => {
            warnings.push(duplicate_warning(whole, &map.place, &place));
            *map = Raw::new(Value::Map(Vec::new()), &place);
        }
    }
    if rest.is_empty() && map.child(first).is_none() {
        *map.child_mut(first, &place) = value;
        return;
    }
    join_at(map.child_mut(first, &place), rest, value, whole, warnings);
}

/// Merges two values of one source for the same key, which was written in two ways (dotted, nested, or both). Two maps are merged. A list
/// and a map (the two forms of `packetbeat.protocols`) are merged too. Otherwise the later value replaces the earlier one.
fn join(old: &mut Raw, new: Raw, key: &str, warnings: &mut Vec<String>) {
    match (&mut old.value, new.value) {
        (Value::Map(_), Value::Map(entries)) => {
            for (child, value) in entries {
                join_at(old, &[child.as_str()], value, &format!("{key}.{child}"), warnings);
            }
        }
        (Value::List(items), Value::Map(entries)) => merge_into_list(items, entries, &new.place),
        (Value::Map(entries), Value::List(items)) if !entries.is_empty() => {
            let from = entries.len();
            entries.extend(items.into_iter().enumerate().map(|(i, item)| ((from + i).to_string(), item)));
        }
        (Value::Null, value) => *old = Raw { value, place: new.place },
        (_, Value::Null) => {}
        (_, value) => {
            warnings.push(duplicate_warning(key, &old.place, &new.place));
            *old = Raw { value, place: new.place };
        }
    }
}

/// Returns the warning about a setting that is written twice in one file.
pub(super) fn duplicate_warning(key: &str, first: &Place, second: &Place) -> String {
    let message = match (first.line, second.line) {
        (0, _) => format!("{key}: is written twice; the last value is used"),
        (first, second) => format!("{key}: is written twice; the value in line {second} is used, the one in line {first} is ignored"),
    };
    second.error(message).0
}

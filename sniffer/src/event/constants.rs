//! The constant part of a publisher's documents. [`Constants`] holds the fields that are the same for every event: identity, tags, and
//! fields that processors add. The constants are computed once. Identity, tags and processors are applied to them in the same order as they
//! would be applied to an event. [`Prepared`] is the same data as JSON text. This text is merged into an event while the event is written.

use super::{
    json,
    tree::{Object, TIMESTAMP, merge},
};
use serde_json::{Value, value::RawValue};
use std::collections::BTreeMap;

/// The effect of the constants on one field.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// A value. With `overwrite` it replaces a value that the event has; otherwise the event's value is kept.
    Leaf { value: Value, overwrite: bool },
    /// An object with constants in it. If `there` is set, the document has the object even if the event does not.
    Object { inner: BTreeMap<String, Part>, there: bool },
    /// The field is removed from the event.
    Gone,
}

impl Part {
    fn new(value: &Value, overwrite: bool) -> Self {
        match value {
            Value::Object(object) => {
                Self::Object { inner: object.iter().map(|(k, v)| (k.clone(), Self::new(v, overwrite))).collect(), there: true }
            }
            value => Self::Leaf { value: value.clone(), overwrite },
        }
    }

    /// Whether the constant replaces a value of the event.
    fn overwrites(&self) -> bool {
        match self {
            Self::Leaf { overwrite, .. } => *overwrite,
            Self::Object { inner, .. } => inner.values().any(Self::overwrites),
            Self::Gone => false,
        }
    }

    /// The value of this field in a document whose event does not have the field.
    fn alone(&self) -> Option<Value> {
        match self {
            Self::Leaf { value, .. } => Some(value.clone()),
            Self::Object { inner, there } => {
                there.then(|| Value::Object(inner.iter().filter_map(|(key, part)| Some((key.clone(), part.alone()?))).collect()))
            }
            Self::Gone => None,
        }
    }
}

/// The constants of a publisher.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Constants(BTreeMap<String, Part>);

impl Constants {
    /// Adds `layer`; objects are merged. With `overwrite` its values replace those of the event and of earlier layers. Without `overwrite`
    /// they are used only if the field is missing. The time of the event is not replaced.
    pub fn add(&mut self, layer: &Object, overwrite: bool) {
        if layer.contains_key(TIMESTAMP) {
            let rest = layer.iter().filter(|(key, _)| *key != TIMESTAMP).map(|(key, value)| (key.clone(), value.clone())).collect();
            return add(&mut self.0, &rest, overwrite);
        }
        add(&mut self.0, layer, overwrite);
    }

    /// Appends `values` to the list `key`. No event has a field of this name.
    pub fn append(&mut self, key: &str, values: &[Value]) {
        let mut list = match self.0.get(key) {
            Some(Part::Leaf { value: Value::Array(list), .. }) => list.clone(),
            Some(Part::Leaf { value, .. }) => vec![value.clone()],
            _ => Vec::new(),
        };
        list.extend_from_slice(values);
        self.0.insert(key.to_owned(), Part::Leaf { value: list.into(), overwrite: false });
    }

    /// Removes a field, whether it comes from the event or is constant.
    pub fn remove(&mut self, name: &str) {
        // The event may have the field as one key with dots.
        if name.contains('.') {
            self.0.insert(name.to_owned(), Part::Gone);
        }
        let mut level = &mut self.0;
        let mut rest = name;
        while let Some((first, after)) = rest.split_once('.') {
            let part = level.entry(first.to_owned()).or_insert_with(|| Part::Object { inner: BTreeMap::new(), there: false });
            match part {
                Part::Object { inner, .. } => level = inner,
                // A removed field and a value that is not an object have no fields that could be removed.
                Part::Leaf { .. } | Part::Gone => return,
            }
            rest = after;
        }
        level.insert(rest.to_owned(), Part::Gone);
    }

    /// The constant value of a field, and whether this value replaces a value of the event, so that every document has it.
    pub fn get(&self, name: &str) -> Option<(Option<Value>, bool)> {
        let mut level = &self.0;
        let mut rest = name;
        loop {
            let (first, after) = rest.split_once('.').map_or((rest, None), |(first, after)| (first, Some(after)));
            match (level.get(first)?, after) {
                (Part::Object { inner, .. }, Some(after)) => (level, rest) = (inner, after),
                (Part::Leaf { overwrite, .. }, Some(_)) => return Some((None, *overwrite)),
                (Part::Gone, _) => return Some((None, true)),
                (Part::Leaf { value, overwrite }, None) => return Some((Some(value.clone()), *overwrite)),
                (object @ Part::Object { .. }, None) => return object.alone().map(|value| (Some(value), false)),
            }
        }
    }

    /// The value of a string field that is the same in every document.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.get(name)?.0? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Merges the constants into an event that is a tree. The result equals that of [`super::Merged`], which merges
    /// while the event is written.
    pub fn apply(&self, event: &mut Object) {
        apply(&self.0, event);
    }

    /// Serializes the constants to JSON text.
    ///
    /// # Errors
    /// Errors of the JSON writer; none is known to happen.
    pub fn prepare(&self) -> Result<Prepared, serde_json::Error> {
        prepare(&self.0)
    }
}

fn add(level: &mut BTreeMap<String, Part>, layer: &Object, overwrite: bool) {
    for (key, value) in layer {
        match (level.get_mut(key), value) {
            (None, value) => _ = level.insert(key.clone(), Part::new(value, overwrite)),
            (Some(Part::Object { inner, there }), Value::Object(value)) => {
                *there = true;
                add(inner, value, overwrite);
            }
            (Some(Part::Leaf { value: Value::Object(inner), .. }), Value::Object(value)) => {
                if overwrite {
                    merge(inner, value);
                }
            }
            // The event's value is removed, so the new value replaces it completely, even if both are objects.
            (Some(part @ Part::Gone), value) => *part = Part::Leaf { value: value.clone(), overwrite: true },
            (Some(part), value) if overwrite => *part = Part::new(value, true),
            (Some(_), _) => {}
        }
    }
}

fn apply(level: &BTreeMap<String, Part>, event: &mut Object) {
    for (key, part) in level {
        match (part, event.get_mut(key)) {
            (Part::Gone, _) => _ = event.remove(key),
            (Part::Leaf { value, overwrite }, there) if *overwrite || there.is_none() => _ = event.insert(key.clone(), value.clone()),
            (Part::Object { inner, .. }, Some(Value::Object(object))) => apply(inner, object),
            (Part::Object { .. }, Some(other)) if part.overwrites() => {
                *other = part.alone().unwrap_or_default();
            }
            (Part::Object { .. }, None) => _ = part.alone().map(|value| event.insert(key.clone(), value)),
            (Part::Leaf { .. } | Part::Object { .. }, Some(_)) => {}
            (Part::Leaf { .. }, None) => {} // handled above
        }
    }
}

fn prepare(level: &BTreeMap<String, Part>) -> Result<Prepared, serde_json::Error> {
    let mut prepared = Prepared::default();
    for (key, part) in level {
        let alone = part.alone().map(|value| json::raw(&value)).transpose()?;
        let merge = match part {
            Part::Leaf { overwrite, .. } => Merge::Leaf { overwrite: *overwrite },
            Part::Object { inner, .. } => Merge::Object(prepare(inner)?),
            Part::Gone => Merge::Gone,
        };
        prepared.filter |= bit(key);
        prepared.entries.push(Entry { key: key.as_str().into(), alone, merge });
    }
    Ok(prepared)
}

/// The serialized constants of one object.
#[derive(Debug, Default)]
pub struct Prepared {
    pub(super) entries: Vec<Entry>,
    /// A Bloom filter over the length and first byte of the keys. Most keys of an event have no constant, and the
    /// filter rejects them quickly.
    filter: u64,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Box<str>,
    /// The JSON text to write if the event does not have the key; `None` if nothing is written.
    pub(super) alone: Option<Box<RawValue>>,
    pub(super) merge: Merge,
}

/// How the constant is merged if the event also has the key.
#[derive(Debug)]
pub(super) enum Merge {
    Leaf { overwrite: bool },
    Object(Prepared),
    Gone,
}

impl Prepared {
    /// The index of `key` in `entries`, if there is a constant with this key.
    pub(super) fn find(&self, key: &str) -> Option<usize> {
        if self.filter & bit(key) == 0 {
            return None;
        }
        self.entries.iter().position(|entry| &*entry.key == key)
    }

    /// Whether there are no constants.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn bit(key: &str) -> u64 {
    let first = key.as_bytes().first().copied().unwrap_or_default();
    1 << ((usize::from(first) ^ (key.len() << 2)) & 63)
}

//! Writes an event and the constants of its publisher as one JSON object, without building a tree. When a key of the
//! event is written, it is looked up among the constants. If both have the key, the values are merged. Keys that only
//! the constants have are written at the end of their object.
//!
//! This module handles only objects that contain a constant; all other objects are passed on to the writer. If the constants have an object
//! where the event has another kind of value, writing fails, and the caller uses [`super::constants::Constants::apply`] on a tree.

use super::{
    constants::{Merge, Prepared},
    key,
};
use serde::{
    Serialize, Serializer,
    ser::{Error, Impossible, SerializeMap, SerializeStruct},
};
use smallvec::SmallVec;
use std::fmt;

/// Serializes `value` merged with constants.
pub struct Merged<'a, T: ?Sized> {
    /// The event, or an object in it.
    pub value: &'a T,
    /// The constants that belong to this object.
    pub with: &'a Prepared,
}

impl<T: Serialize + ?Sized> Serialize for Merged<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Merger { inner: serializer, with: self.with })
    }
}

struct Merger<'a, S> {
    inner: S,
    with: &'a Prepared,
}

impl<S: Serializer> Merger<'_, S> {
    fn no_object<T>(&self) -> Result<T, S::Error> {
        Err(S::Error::custom("constants for the inside of something that is no object"))
    }
}

macro_rules! no_object {
    ($($name:ident($($kind:ty),*) -> $ok:ty;)*) => {
        $(fn $name(self, $(_: $kind),*) -> Result<$ok, S::Error> { self.no_object() })*
    };
}

impl<'a, S: Serializer> Serializer for Merger<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Impossible<S::Ok, S::Error>;
    type SerializeTuple = Impossible<S::Ok, S::Error>;
    type SerializeTupleStruct = Impossible<S::Ok, S::Error>;
    type SerializeTupleVariant = Impossible<S::Ok, S::Error>;
    type SerializeMap = Merging<'a, S::SerializeMap>;
    type SerializeStruct = Merging<'a, S::SerializeMap>;
    type SerializeStructVariant = Impossible<S::Ok, S::Error>;

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let met = SmallVec::from_elem(false, self.with.entries.len());
        Ok(Merging { inner: self.inner.serialize_map(None)?, with: self.with, met, at: At::Own })
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        self.serialize_map(Some(len))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(self, _: &'static str, _: u32, _: &'static str, _: &T) -> Result<S::Ok, S::Error> {
        self.no_object()
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Result<S::Ok, S::Error> {
        self.no_object()
    }

    no_object! {
        serialize_bool(bool) -> S::Ok;
        serialize_i8(i8) -> S::Ok;
        serialize_i16(i16) -> S::Ok;
        serialize_i32(i32) -> S::Ok;
        serialize_i64(i64) -> S::Ok;
        serialize_u8(u8) -> S::Ok;
        serialize_u16(u16) -> S::Ok;
        serialize_u32(u32) -> S::Ok;
        serialize_u64(u64) -> S::Ok;
        serialize_f32(f32) -> S::Ok;
        serialize_f64(f64) -> S::Ok;
        serialize_char(char) -> S::Ok;
        serialize_str(&str) -> S::Ok;
        serialize_bytes(&[u8]) -> S::Ok;
        serialize_none() -> S::Ok;
        serialize_unit() -> S::Ok;
        serialize_unit_struct(&'static str) -> S::Ok;
        serialize_unit_variant(&'static str, u32, &'static str) -> S::Ok;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}

/// How the next value is written. This is decided when the key of the value is serialized, because serde serializes keys and values of maps
/// in separate calls.
#[derive(Clone, Copy)]
enum At {
    /// Write the event's value.
    Own,
    /// Leave out key and value.
    Skip,
    /// Merge the event's value with the entry at this index.
    Merge(usize),
}

struct Merging<'a, M> {
    inner: M,
    with: &'a Prepared,
    /// For each entry of `with`, whether the event also has this key.
    met: SmallVec<[bool; 32]>,
    at: At,
}

impl<M: SerializeMap> SerializeMap for Merging<'_, M> {
    type Ok = M::Ok;
    type Error = M::Error;

    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(&mut self, key: &K, value: &V) -> Result<(), M::Error> {
        let Some(place) = key::text(key, |key| self.with.find(key)).flatten() else {
            return self.inner.serialize_entry(key, value);
        };
        let Some(entry) = self.with.entries.get(place) else { return Ok(()) };
        if let Some(met) = self.met.get_mut(place) {
            *met = true;
        }
        match &entry.merge {
            Merge::Gone => Ok(()),
            Merge::Leaf { overwrite: true } => self.inner.serialize_entry(key, &entry.alone),
            Merge::Leaf { overwrite: false } => self.inner.serialize_entry(key, value),
            Merge::Object(with) => self.inner.serialize_entry(key, &Merged { value, with }),
        }
    }

    fn serialize_key<K: Serialize + ?Sized>(&mut self, key: &K) -> Result<(), M::Error> {
        self.at = At::Own;
        let Some(place) = key::text(key, |key| self.with.find(key)).flatten() else {
            return self.inner.serialize_key(key);
        };
        let Some(entry) = self.with.entries.get(place) else { return Ok(()) };
        match &entry.merge {
            // A constant that overwrites is written at the end, as if the event did not have the key.
            Merge::Leaf { overwrite: true } => {
                self.at = At::Skip;
                return Ok(());
            }
            Merge::Gone => self.at = At::Skip,
            Merge::Leaf { overwrite: false } => {}
            Merge::Object(_) => self.at = At::Merge(place),
        }
        if let Some(met) = self.met.get_mut(place) {
            *met = true;
        }
        if matches!(self.at, At::Skip) { Ok(()) } else { self.inner.serialize_key(key) }
    }

    fn serialize_value<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), M::Error> {
        match self.at {
            At::Own => self.inner.serialize_value(value),
            At::Skip => Ok(()),
            At::Merge(place) => match self.with.entries.get(place).map(|entry| &entry.merge) {
                Some(Merge::Object(with)) => self.inner.serialize_value(&Merged { value, with }),
                _ => self.inner.serialize_value(value),
            },
        }
    }

    fn end(mut self) -> Result<M::Ok, M::Error> {
        for (entry, met) in self.with.entries.iter().zip(&self.met) {
            if let (Some(alone), false) = (&entry.alone, met) {
                self.inner.serialize_entry(&*entry.key, alone)?;
            }
        }
        self.inner.end()
    }
}

impl<M: SerializeMap> SerializeStruct for Merging<'_, M> {
    type Ok = M::Ok;
    type Error = M::Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), M::Error> {
        self.serialize_entry(key, value)
    }

    fn end(self) -> Result<M::Ok, M::Error> {
        SerializeMap::end(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::constants::Constants;
    use serde_json::{Value, json};

    #[derive(Serialize)]
    struct Event {
        a: u32,
        host: Inner,
        list: [u8; 2],
        #[serde(flatten)]
        rest: Value,
    }

    #[derive(Serialize)]
    struct Inner {
        name: &'static str,
        deep: Option<Value>,
    }

    fn event() -> Event {
        Event {
            a: 1,
            host: Inner { name: "event", deep: Some(json!({"x": 1, "y": 2})) },
            list: [1, 2],
            rest: json!({"z": {"q": 1}, "b.c": 5}),
        }
    }

    /// Merges with this module and with `Constants::apply`. Asserts that the results are equal and that no key occurs twice.
    fn both(constants: &Constants, event: &impl Serialize) -> Value {
        let prepared = constants.prepare().unwrap();
        let fast = serde_json::to_string(&Merged { value: event, with: &prepared });
        let mut slow = serde_json::to_value(event).unwrap();
        constants.apply(slow.as_object_mut().unwrap());
        if let Ok(fast) = fast {
            let read: Value = serde_json::from_str(&fast).unwrap();
            assert_eq!(read, slow, "{fast}");
            let again = serde_json::to_string(&read).unwrap();
            assert_eq!(again.len(), fast.len(), "a key occurs twice: {fast}");
        }
        slow
    }

    fn layer(value: Value) -> serde_json::Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn constants_are_merged_as_if_one_after_the_other() {
        let mut c = Constants::default();
        c.add(&layer(json!({"host": {"name": "weak", "id": 7, "deep": {"y": 3, "w": 4}}, "agent": {"type": "p"}})), false);
        c.append("tags", &["t".into()]);
        c.append("tags", &["u".into()]);
        assert_eq!(
            both(&c, &event()),
            json!({"a": 1, "list": [1, 2], "z": {"q": 1}, "b.c": 5, "agent": {"type": "p"}, "tags": ["t", "u"],
                   "host": {"name": "event", "id": 7, "deep": {"x": 1, "y": 2, "w": 4}}})
        );
        c.add(&layer(json!({"host": {"name": "strong", "deep": {"y": 3}}, "a": 2, "z": {"r": 1}})), true);
        assert_eq!(
            both(&c, &event()),
            json!({"a": 2, "list": [1, 2], "z": {"q": 1, "r": 1}, "b.c": 5, "agent": {"type": "p"}, "tags": ["t", "u"],
                   "host": {"name": "strong", "id": 7, "deep": {"x": 1, "y": 3, "w": 4}}})
        );
    }

    #[test]
    fn a_removed_field_is_absent_and_can_be_added_again() {
        let mut c = Constants::default();
        c.add(&layer(json!({"host": {"id": 7}, "agent": {"type": "p", "id": 1}})), false);
        for name in ["host.deep.x", "agent.id", "z", "b.c", "no.such"] {
            c.remove(name);
        }
        let expected = json!({"a": 1, "list": [1, 2], "agent": {"type": "p"}, "host": {"id": 7, "name": "event", "deep": {"y": 2}}});
        assert_eq!(both(&c, &event()), expected);
        c.remove("host");
        c.add(&layer(json!({"host": {"name": "new"}, "z": 3})), false);
        assert_eq!(both(&c, &event()), json!({"a": 1, "list": [1, 2], "agent": {"type": "p"}, "host": {"name": "new"}, "z": 3}));
    }

    #[test]
    fn merging_an_object_into_another_value_needs_a_tree() {
        let mut c = Constants::default();
        c.add(&layer(json!({"a": {"b": 1}, "list": {"c": 1}})), true);
        assert!(serde_json::to_string(&Merged { value: &event(), with: &c.prepare().unwrap() }).is_err());
        let mut slow = serde_json::to_value(event()).unwrap();
        c.apply(slow.as_object_mut().unwrap());
        assert_eq!((&slow["a"], &slow["list"]), (&json!({"b": 1}), &json!({"c": 1})));
    }
}

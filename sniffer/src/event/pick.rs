//! Reads some fields of a document without writing the document. All other fields are skipped.

use super::key;
use serde::{
    Serialize, Serializer,
    ser::{Impossible, SerializeMap, SerializeSeq, SerializeStruct},
};
use smallvec::SmallVec;
use std::fmt::{self, Write};

/// The values of some fields of one document, as strings. The value is created once and filled for each document, to avoid allocations.
#[derive(Debug, Default)]
pub struct Picked {
    names: Vec<&'static str>,
    /// Start and end offset in `text` of the value of each name.
    places: Vec<(usize, usize)>,
    text: String,
}

impl Picked {
    /// Makes a picker for the fields with these dotted names. A name matches both a nested field and one key with dots.
    pub fn new(names: Vec<&'static str>) -> Self {
        Self { places: vec![(0, 0); names.len()], names, text: String::new() }
    }

    /// The value of a field; empty if the document does not have the field, or if its value is not a string, number or
    /// boolean, or a list of them. The first items of a list have a blank between them.
    pub fn get(&self, name: &str) -> &str {
        let place = self.names.iter().position(|n| *n == name).and_then(|index| self.places.get(index));
        place.and_then(|&(start, end)| self.text.get(start..end)).unwrap_or_default()
    }

    /// Replaces all values with the values of `document`.
    pub fn fill<D: Serialize>(&mut self, document: &D) {
        self.text.clear();
        self.text.shrink_to(KEPT);
        self.places.fill((0, 0));
        let wanted = self.names.iter().enumerate().map(|(index, &name)| (index, name)).collect();
        // A value that cannot be read stays empty.
        let _ = document.serialize(Picker { wanted, leaf: None, into: self });
    }

    fn put(&mut self, index: usize, value: &dyn fmt::Display) {
        let start = self.text.len();
        // Writing to a string does not fail. If the value's own formatting fails, the part written before that stays.
        let _ = write!(self.text, "{value}");
        if let Some(place) = self.places.get_mut(index) {
            *place = (start, self.text.len());
        }
    }
}

/// Maximum capacity in bytes of the buffer that is kept between documents. A buffer that became larger, for example for
/// a long query, is freed.
const KEPT: usize = 16 << 10;

/// Maximum number of items of a list that are read.
const MOST_ITEMS: usize = 16;

/// Fields to find: the index of each in the list of names, and the part of its name below the current object.
type Wanted = SmallVec<[(usize, &'static str); 16]>;

/// Serializer of one value.
struct Picker<'a> {
    wanted: Wanted,
    /// Index of the field whose value is being serialized.
    leaf: Option<usize>,
    into: &'a mut Picked,
}

impl Picker<'_> {
    fn leaf(self, value: &dyn fmt::Display) -> Result<(), fmt::Error> {
        if let Some(index) = self.leaf {
            self.into.put(index, value);
        }
        Ok(())
    }
}

macro_rules! leaves {
    ($($name:ident($kind:ty))*) => {
        $(fn $name(self, value: $kind) -> Result<(), fmt::Error> {
            self.leaf(&value)
        })*
    };
}

macro_rules! nothing {
    ($($name:ident($($kind:ty),*) -> $ok:ty;)*) => {
        $(fn $name(self, $(_: $kind),*) -> Result<$ok, fmt::Error> {
            Err(fmt::Error)
        })*
    };
}

impl<'a> Serializer for Picker<'a> {
    type Ok = ();
    type Error = fmt::Error;
    type SerializeSeq = Listing<'a>;
    type SerializeTuple = Impossible<(), fmt::Error>;
    type SerializeTupleStruct = Impossible<(), fmt::Error>;
    type SerializeTupleVariant = Impossible<(), fmt::Error>;
    type SerializeMap = Picking<'a>;
    type SerializeStruct = Picking<'a>;
    type SerializeStructVariant = Impossible<(), fmt::Error>;

    fn serialize_map(self, _: Option<usize>) -> Result<Picking<'a>, fmt::Error> {
        Ok(Picking { wanted: self.wanted, next: Next::default(), into: self.into })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Picking<'a>, fmt::Error> {
        self.serialize_map(None)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Listing<'a>, fmt::Error> {
        let start = self.into.text.len();
        Ok(Listing { leaf: self.leaf, start, left: MOST_ITEMS, into: self.into })
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), fmt::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), fmt::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        key: &'static str,
        value: &T,
    ) -> Result<(), fmt::Error> {
        SerializeMap::serialize_entry(&mut self.serialize_map(None)?, key, value)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<(), fmt::Error> {
        self.leaf(&name)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), fmt::Error> {
        self.leaf(&format_args!("{value}"))
    }

    leaves! {
        serialize_bool(bool)
        serialize_i8(i8)
        serialize_i16(i16)
        serialize_i32(i32)
        serialize_i64(i64)
        serialize_u8(u8)
        serialize_u16(u16)
        serialize_u32(u32)
        serialize_u64(u64)
        serialize_f32(f32)
        serialize_f64(f64)
        serialize_char(char)
        serialize_str(&str)
    }

    nothing! {
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}

/// The fields to find in the value of one key.
#[derive(Default)]
struct Next {
    /// Index of the field that is the value itself.
    leaf: Option<usize>,
    /// The fields inside the value.
    wanted: Wanted,
}

/// Serializer of an object.
struct Picking<'a> {
    wanted: Wanted,
    next: Next,
    into: &'a mut Picked,
}

impl Picking<'_> {
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        let Next { leaf, wanted } = std::mem::take(&mut self.next);
        if leaf.is_some() || !wanted.is_empty() {
            // A value of an unexpected shape is skipped.
            let _ = value.serialize(Picker { wanted, leaf, into: self.into });
        }
    }
}

/// Serializer of a list.
struct Listing<'a> {
    /// Index of the field whose value is the list.
    leaf: Option<usize>,
    /// The offset of the first item in the text.
    start: usize,
    /// Number of items that are still read.
    left: usize,
    into: &'a mut Picked,
}

impl SerializeSeq for Listing<'_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), fmt::Error> {
        let Some(index) = self.leaf.filter(|_| self.left > 0) else { return Ok(()) };
        self.left -= 1;
        let before = self.into.text.len();
        if before > self.start {
            self.into.text.push(' ');
        }
        let begin = self.into.text.len();
        // An item of an unexpected shape is skipped.
        let _ = value.serialize(Picker { wanted: Wanted::new(), leaf: self.leaf, into: self.into });
        if self.into.text.len() == begin {
            self.into.text.truncate(before);
        }
        if let Some(place) = self.into.places.get_mut(index) {
            *place = (self.start, self.into.text.len());
        }
        Ok(())
    }

    fn end(self) -> Result<(), fmt::Error> {
        Ok(())
    }
}

impl SerializeMap for Picking<'_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), fmt::Error> {
        // A key that is not a string matches no field.
        self.next = key::text(key, |key| find(&self.wanted, key)).unwrap_or_default();
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), fmt::Error> {
        self.value(value);
        Ok(())
    }

    fn end(self) -> Result<(), fmt::Error> {
        Ok(())
    }
}

impl SerializeStruct for Picking<'_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), fmt::Error> {
        self.next = find(&self.wanted, key);
        self.value(value);
        Ok(())
    }

    fn end(self) -> Result<(), fmt::Error> {
        Ok(())
    }
}

/// The fields of `wanted` at or below `key`.
fn find(wanted: &Wanted, key: &str) -> Next {
    let mut next = Next::default();
    for &(index, name) in wanted {
        match name.strip_prefix(key) {
            Some("") => next.leaf = Some(index),
            Some(rest) => next.wanted.extend(rest.strip_prefix('.').map(|rest| (index, rest))),
            None => {}
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Text;
    use serde_json::{Value, json};

    #[derive(Serialize)]
    enum Ending {
        Failed,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Reply {
        Error(&'static str),
    }

    #[derive(Serialize)]
    struct Body<'a> {
        redis: Reply,
        #[serde(rename = "event.action")]
        action: Text<'a>,
    }

    #[derive(Serialize)]
    struct Document<'a> {
        method: Option<&'a str>,
        ending: Ending,
        http: Value,
        #[serde(flatten)]
        body: &'a Body<'a>,
    }

    fn picked(names: &[&'static str], document: &impl Serialize) -> Vec<String> {
        let mut picked = Picked::new(names.to_vec());
        picked.fill(&json!({"method": "left over from the last document"}));
        picked.fill(document);
        names.iter().map(|name| picked.get(name).to_owned()).collect()
    }

    #[test]
    fn fields_are_found_nested_dotted_and_flattened() {
        let body = Body { redis: Reply::Error("ERR"), action: Text(b"a\xff") };
        let document = Document {
            method: None,
            ending: Ending::Failed,
            http: json!({"code": 404, "list": [1, {"x": 2}, "b"], "ok": true}),
            body: &body,
        };
        let names =
            ["method", "ending", "http.code", "http.ok", "http.list", "http", "redis.error", "event.action", "http.code.x", "no.such"];
        assert_eq!(picked(&names, &document), ["", "Failed", "404", "true", "1 b", "", "ERR", "a\u{fffd}", "", ""]);
    }

    #[test]
    fn picker_and_tree_find_the_same_names() {
        let document = json!({"a": {"b.c": 1, "d": {"e": "x"}}, "a.d": {"f": 2}, "g.h": 1.5});
        assert_eq!(picked(&["a.b.c", "a.d.e", "a.d.f", "g.h", "a.d"], &document), ["1", "x", "2", "1.5", ""]);
    }
}

//! Reads the text of a key while a document is serialized, without allocating.

use serde::{Serialize, Serializer, ser::Impossible};
use std::{fmt, marker::PhantomData};

/// Calls `read` with the text of `key`. Returns `None` if the key is not a string.
#[inline]
pub(super) fn text<K: Serialize + ?Sized, T>(key: &K, read: impl FnOnce(&str) -> T) -> Option<T> {
    key.serialize(Key(read, PhantomData)).ok()
}

/// The serializer of a key. It refuses everything but strings.
struct Key<F, T>(F, PhantomData<T>);

macro_rules! refused {
    ($($name:ident($($kind:ty),*) -> $ok:ty;)*) => {
        $(fn $name(self, $(_: $kind),*) -> Result<$ok, fmt::Error> { Err(fmt::Error) })*
    };
}

impl<T, F: FnOnce(&str) -> T> Serializer for Key<F, T> {
    type Ok = T;
    type Error = fmt::Error;
    type SerializeSeq = Impossible<T, fmt::Error>;
    type SerializeTuple = Impossible<T, fmt::Error>;
    type SerializeTupleStruct = Impossible<T, fmt::Error>;
    type SerializeTupleVariant = Impossible<T, fmt::Error>;
    type SerializeMap = Impossible<T, fmt::Error>;
    type SerializeStruct = Impossible<T, fmt::Error>;
    type SerializeStructVariant = Impossible<T, fmt::Error>;

    fn serialize_str(self, key: &str) -> Result<T, fmt::Error> {
        Ok((self.0)(key))
    }

    fn serialize_some<V: Serialize + ?Sized>(self, value: &V) -> Result<T, fmt::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<V: Serialize + ?Sized>(self, _: &'static str, value: &V) -> Result<T, fmt::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<V: Serialize + ?Sized>(self, _: &'static str, _: u32, _: &'static str, _: &V) -> Result<T, fmt::Error> {
        Err(fmt::Error)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<T, fmt::Error> {
        self.serialize_str(name)
    }

    refused! {
        serialize_bool(bool) -> T;
        serialize_i8(i8) -> T;
        serialize_i16(i16) -> T;
        serialize_i32(i32) -> T;
        serialize_i64(i64) -> T;
        serialize_u8(u8) -> T;
        serialize_u16(u16) -> T;
        serialize_u32(u32) -> T;
        serialize_u64(u64) -> T;
        serialize_f32(f32) -> T;
        serialize_f64(f64) -> T;
        serialize_char(char) -> T;
        serialize_bytes(&[u8]) -> T;
        serialize_none() -> T;
        serialize_unit() -> T;
        serialize_unit_struct(&'static str) -> T;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}

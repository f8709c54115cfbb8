//! Deserialises a [`Node`] with serde, with go-ucfg's lenient conversions: text to numbers and numbers to text, a single value to a list of
//! one, no value to the default. Error messages name the allowed values.

use super::{
    error::Error,
    node::{Held, Node},
    secrets,
    tree::Style,
};
use crate::nearest::nearest;
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor};
use std::fmt;

/// Maximum number of characters of a wrong value that an error message shows.
const SHOWN: usize = 60;

/// An error, and the innermost node that was being read when it occurred.
#[derive(Debug)]
pub struct DeError {
    message: String,
    node: Option<Node>,
}

impl DeError {
    pub(super) fn into_error(self, outer: &Node) -> Error {
        self.node.as_ref().unwrap_or(outer).error(self.message)
    }

    /// The value that was being read.
    pub(super) fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    fn at(mut self, node: &Node) -> Self {
        self.node.get_or_insert_with(|| node.clone());
        self
    }
}

impl fmt::Display for DeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DeError {}

fn one_of(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

impl de::Error for DeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), node: None }
    }

    fn invalid_type(got: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!("expected {expected}, got {got}"))
    }

    fn invalid_value(got: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!("expected {expected}, got {got}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format_args!("expected one of {}, got `{variant}`", one_of(expected)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        match expected {
            [] => Self::custom(format_args!("unknown setting `{field}`, expected none")),
            _ => {
                let meant = nearest(field, expected.iter().copied()).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
                Self::custom(format_args!("unknown setting `{field}`, expected one of {}{meant}", one_of(expected)))
            }
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format_args!("`{field}` is missing"))
    }
}

impl Node {
    /// The value as error messages show it.
    fn shown(&self) -> String {
        match self.held() {
            Held::Null => "nothing".into(),
            Held::List(_) => "a list".into(),
            Held::Map(_) => "a map".into(),
            Held::Broken(message) => message.clone(),
            Held::Scalar(text, _) | Held::Either(text, _) => {
                let is_below = |section: &str| self.key().split('.').any(|part| part == section);
                if secrets::is_secret(self.key()) || is_below("headers") || is_below("proxy_headers") || text.contains("-----BEGIN") {
                    return "a text that is not shown here".into();
                }
                let text = secrets::without_credentials(text, self.key());
                match text.char_indices().nth(SHOWN) {
                    Some((end, _)) => format!("`{}…`", text.get(..end).unwrap_or_default()),
                    None => format!("`{text}`"),
                }
            }
        }
    }

    fn expected(&self, what: impl fmt::Display) -> DeError {
        match self.held() {
            Held::Broken(message) => DeError { message: message.clone(), node: Some(self.clone()) },
            _ => DeError { message: format!("expected {what}, got {}", self.shown()), node: Some(self.clone()) },
        }
    }

    /// The text of a scalar, or of the only item of a list of one.
    fn scalar(&self, what: impl fmt::Display) -> Result<&str, DeError> {
        match self.held() {
            Held::Scalar(text, _) | Held::Either(text, _) => Ok(text),
            Held::List(items) => match items.as_slice() {
                [item] if item.as_str().is_some() => item.scalar(what),
                _ => Err(self.expected(what)),
            },
            _ => Err(self.expected(what)),
        }
    }

    fn whole(&self, min: i128, max: i128) -> Result<i128, DeError> {
        let text = self.scalar("a whole number")?.trim();
        let number = whole_number(text).ok_or_else(|| self.expected("a whole number"))?;
        if number < min || number > max {
            return Err(self.expected(format_args!("a whole number from {min} to {max}")));
        }
        Ok(number)
    }
}

/// Parses a whole number: `80`, `-1`, `0x50`, `0o120`, `1e6`, `1.0`.
fn whole_number(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let radix = |prefix: &str, radix| digits.strip_prefix(prefix).map(|d| i64::from_str_radix(d, radix));
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2)) {
        return number.ok().map(|n| i128::from(n) * sign);
    }
    if let Ok(number) = text.parse::<i128>() {
        return Some(number);
    }
    let float = float(text)?;
    // A float beyond 2^53 does not represent every integer exactly.
    (float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0).then_some(float as i128)
}

/// Parses a float. The words `nan` and `inf` are not accepted as floats.
fn float(text: &str) -> Option<f64> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return None;
    }
    text.parse::<f64>().ok().filter(|f| f.is_finite())
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

macro_rules! whole {
    ($($method:ident $visit:ident $type:ty,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
            let number = self.whole(i128::from(<$type>::MIN), i128::from(<$type>::MAX))?;
            visitor.$visit(<$type>::try_from(number).map_err(|_| self.expected("a whole number"))?).map_err(|e: DeError| e.at(self))
        }
    )*};
}

impl<'de> Deserializer<'de> for &Node {
    type Error = DeError;

    /// Deserialises into a type that accepts any value (`serde_json::Value`). All settings below this one are data and are marked as known.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.accept();
        let value = match self.held() {
            Held::Null => visitor.visit_unit(),
            Held::Scalar(text, Style::Quoted) => visitor.visit_str(text),
            Held::Scalar(text, style) => match text.as_str() {
                "true" | "True" | "TRUE" => visitor.visit_bool(true),
                "false" | "False" | "FALSE" => visitor.visit_bool(false),
                // YAML 1.1, which Packetbeat reads, has more words for the booleans.
                "yes" | "Yes" | "YES" | "y" | "Y" | "on" | "On" | "ON" if *style == Style::Plain => visitor.visit_bool(true),
                "no" | "No" | "NO" | "n" | "N" | "off" | "Off" | "OFF" if *style == Style::Plain => visitor.visit_bool(false),
                _ => match (text.parse::<u64>(), whole_number(text).and_then(|n| i64::try_from(n).ok()), float(text)) {
                    // A number with a leading zero stays a text (a postal code, a file mode).
                    _ if text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()) => visitor.visit_str(text),
                    (Ok(n), _, _) => visitor.visit_u64(n),
                    (_, Some(n), _) if !text.contains(['.', 'e', 'E']) || text.starts_with("0x") => visitor.visit_i64(n),
                    (_, _, Some(f)) => visitor.visit_f64(f),
                    _ => visitor.visit_str(text),
                },
            },
            Held::Either(_, node) => return node.deserialize_any(visitor),
            Held::List(_) => return visitor.visit_seq(Items(self.items().into_iter())).map_err(|e| e.at(self)),
            Held::Map(_) => return self.deserialize_map(visitor),
            Held::Broken(_) => Err(self.expected("a value")),
        };
        value.map_err(|e: DeError| e.at(self))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let what = "`true` or `false`";
        let value = boolean(self.scalar(what)?.trim()).ok_or_else(|| self.expected(what))?;
        visitor.visit_bool(value).map_err(|e: DeError| e.at(self))
    }

    whole! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let value = float(self.scalar("a number")?.trim()).ok_or_else(|| self.expected("a number"))?;
        visitor.visit_f64(value).map_err(|e: DeError| e.at(self))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_str(self.scalar("a text")?).map_err(|e: DeError| e.at(self))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }.map_err(|e: DeError| e.at(self))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        if self.is_unset() { visitor.visit_unit() } else { Err(self.expected("nothing")) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_newtype_struct(self).map_err(|e| e.at(self))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let items = match self.held() {
            Held::Broken(_) => return Err(self.expected("a list")),
            _ if self.is_unset() => Vec::new(),
            _ => self.flat_items(),
        };
        visitor.visit_seq(Items(items.into_iter())).map_err(|e| e.at(self))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, _: usize, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.map(visitor, false)
    }

    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, names: &'static [&'static str], visitor: V) -> Result<V::Value, DeError> {
        names.iter().for_each(|name| self.knows(name));
        self.map(visitor, true)
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, names: &'static [&'static str], visitor: V) -> Result<V::Value, DeError> {
        let what = || format!("one of {}", one_of(names));
        let (name, data) = match self.structure() {
            Held::Map(entries) => match entries.as_slice() {
                [_] => self.entries().next().map(|(name, node)| (name, Some(node))).ok_or_else(|| self.expected(what()))?,
                _ => return Err(self.expected(what())),
            },
            _ => (self.scalar(what())?, None),
        };
        visitor.visit_enum(Choice { node: self, name, data }).map_err(|e| e.at(self))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_str(visitor)
    }

    /// Ignores a key that the struct does not have, without marking it as known: another module may read it.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_unit()
    }
}

impl Node {
    /// Visits the entries of a map. If `is_struct` is set, keys without a value are left out, so that the defaults of the struct apply. In
    /// other maps a key without a value can have a meaning (`add_docker_metadata: ~`).
    fn map<'de, V: Visitor<'de>>(&self, visitor: V, is_struct: bool) -> Result<V::Value, DeError> {
        let entries = match self.structure() {
            Held::Map(entries) => entries.as_slice(),
            _ if self.is_unset() => &[],
            _ => return Err(self.expected("a map (`key: value`)")),
        };
        visitor.visit_map(Entries { entries: entries.iter(), value: None, is_struct }).map_err(|e: DeError| e.at(self))
    }
}

struct Entries<'a> {
    entries: std::slice::Iter<'a, (String, Node)>,
    value: Option<&'a Node>,
    is_struct: bool,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = DeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DeError> {
        let is_struct = self.is_struct;
        let Some((name, node)) = self.entries.find(|(_, node)| !is_struct || !node.is_null()) else { return Ok(None) };
        if !is_struct {
            node.known();
        }
        self.value = Some(node);
        seed.deserialize(name.as_str().into_deserializer()).map(Some).map_err(|e: DeError| e.at(node))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DeError> {
        let node = self.value.take().ok_or_else(|| <DeError as de::Error>::custom("a value without a key"))?;
        seed.deserialize(node).map_err(|e| e.at(node))
    }
}

struct Items(std::vec::IntoIter<Node>);

impl<'de> SeqAccess<'de> for Items {
    type Error = DeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DeError> {
        let Some(node) = self.0.next() else { return Ok(None) };
        seed.deserialize(&node).map(Some).map_err(|e| e.at(&node))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Choice<'a> {
    node: &'a Node,
    name: &'a str,
    data: Option<&'a Node>,
}

impl<'de> EnumAccess<'de> for Choice<'_> {
    type Error = DeError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), DeError> {
        Ok((seed.deserialize(self.name.into_deserializer()).map_err(|e: DeError| e.at(self.node))?, self))
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = DeError;

    fn unit_variant(self) -> Result<(), DeError> {
        match self.data {
            Some(data) if !data.is_unset() => Err(data.expected("nothing")),
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DeError> {
        let data = self.data.unwrap_or(self.node);
        seed.deserialize(data).map_err(|e| e.at(data))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DeError> {
        self.data.unwrap_or(self.node).deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, names: &'static [&'static str], visitor: V) -> Result<V::Value, DeError> {
        self.data.unwrap_or(self.node).deserialize_struct("", names, visitor)
    }
}

//! Spellings of values in `packetbeat.interfaces` that Packetbeat accepts and serde's derive does not.

use super::Interface;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use std::fmt;

/// A map is one interface, a list is several; an absent value is an empty list.
pub(super) struct Interfaces(pub Vec<Interface>);

impl<'de> Deserialize<'de> for Interfaces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Interfaces;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the settings of an interface, or a list of them")
            }
            fn visit_unit<E>(self) -> Result<Interfaces, E> {
                Ok(Interfaces(Vec::new()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Interfaces, A::Error> {
                Interface::deserialize(MapAccessDeserializer::new(map)).map(|interface| Interfaces(vec![interface]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Interfaces, A::Error> {
                let mut interfaces = Vec::new();
                while let Some(interface) = list.next_element()? {
                    interfaces.push(interface);
                }
                Ok(Interfaces(interfaces))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

/// Reads a device: a name (`eth0`) or a number (`0`).
pub(super) fn name_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct NameOrNumber;
    impl Visitor<'_> for NameOrNumber {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the name or the number of a device")
        }
        fn visit_str<E: de::Error>(self, name: &str) -> Result<String, E> {
            Ok(if name.is_empty() { "any" } else { name }.to_owned())
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
            u64::try_from(number).map(|n| n.to_string()).map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
        }
    }
    deserializer.deserialize_any(NameOrNumber)
}

pub(super) fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct OneOrMany;
    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text, or a list of texts")
        }
        fn visit_unit<E>(self) -> Result<Vec<String>, E> {
            Ok(Vec::new())
        }
        fn visit_str<E: de::Error>(self, one: &str) -> Result<Vec<String>, E> {
            Ok(vec![one.to_owned()])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = list.next_element()? {
                texts.push(text);
            }
            Ok(texts)
        }
    }
    deserializer.deserialize_any(OneOrMany)
}

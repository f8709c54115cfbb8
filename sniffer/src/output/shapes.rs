//! Shapes that several outputs' settings share: one or several texts, durations, permission bits, a place below another.

use crate::config::{self, Node};
use serde::{Deserialize, Deserializer, de::Error as _};
use std::time::Duration;

/// A list that may be written as one text, with commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Texts(pub Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            None(()),
            One(Scalar),
            Several(Vec<Scalar>),
        }
        Ok(Self(match Written::deserialize(deserializer).map_err(|_| D::Error::custom("expected a text or a list of texts"))? {
            Written::None(()) => Vec::new(),
            Written::One(one) if one.0.contains("-----BEGIN") => vec![one.0],
            Written::One(one) => one.0.split(',').map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect(),
            Written::Several(several) => several.into_iter().map(|one| one.0).collect(),
        }))
    }
}

/// A text, which YAML may have taken for a number or a truth value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scalar(pub String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text)),
            serde_json::Value::Number(number) => Ok(Self(number.to_string())),
            serde_json::Value::Bool(value) => Ok(Self(value.to_string())),
            _ => Err(D::Error::custom("expected a text")),
        }
    }
}

/// A duration where there may be none.
pub(crate) fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    config::duration::deserialize(deserializer).map(Some)
}

/// Permission bits: `0600`, which some readers of YAML give as the number 600 and some as 384.
pub(crate) fn permissions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let Scalar(text) = Scalar::deserialize(deserializer)?;
    let digits = text.trim_start_matches("0o").trim_start_matches('0');
    u32::from_str_radix(if digits.is_empty() { "0" } else { digits }, 8)
        .ok()
        .or_else(|| digits.parse().ok())
        .filter(|bits| *bits <= 0o777)
        .ok_or_else(|| D::Error::custom("expected permission bits such as 0600"))
}

/// The place at a dotted path, unless nothing or null is there.
pub(crate) fn at(node: &Node, path: &str) -> Option<Node> {
    let value = node.read::<serde_json::Value>().ok()?;
    let found = super::format::lookup(&value, path).filter(|found| !found.is_null())?;
    Node::parse(&found.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_bits() {
        let texts = |json: &str| serde_json::from_str::<Texts>(json).map(|t| t.0.join("|")).map_err(|e| e.to_string());
        assert_eq!(texts(r#""a, b""#).as_deref(), Ok("a|b"));
        assert_eq!(texts(r#"["a,b", 9200]"#).as_deref(), Ok("a,b|9200"));
        assert_eq!(texts("null").as_deref(), Ok(""));
        assert!(texts("{}").is_err());
        #[derive(Deserialize)]
        struct P(#[serde(deserialize_with = "permissions")] u32);
        for (json, bits) in [("\"0600\"", 0o600), ("600", 0o600), ("384", 0o600), ("\"0o640\"", 0o640), ("\"0644\"", 0o644)] {
            assert_eq!(serde_json::from_str::<P>(json).unwrap().0, bits, "{json}");
        }
        assert!(serde_json::from_str::<P>("9999").is_err());
    }
}

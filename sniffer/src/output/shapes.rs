//! Types of settings that several outputs share: permission bits and numbers.

use crate::config::Node;
pub(crate) use crate::config::{Scalar, Texts};
use serde::{Deserialize, Deserializer, de::Error as _};

/// Reads permission bits such as `0600`.
pub(crate) fn permissions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let text = String::deserialize(deserializer)?;
    crate::rotate::permissions(&text).ok_or_else(|| D::Error::custom("expected permission bits such as 0600"))
}

/// Reads a number. Negative values have the same meaning as 0 and become 0.
pub(crate) fn zero_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let number = i64::deserialize(deserializer)?;
    Ok(usize::try_from(number).unwrap_or(0))
}

/// The node at a dotted path; `None` when it is missing or null.
pub(crate) fn at(node: &Node, path: &str) -> Option<Node> {
    let found = node.get(path);
    (!found.is_null()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_bits() {
        let texts = |yaml: &str| Node::parse(yaml).unwrap().get("a").read::<Texts>().map(|t| t.0.join("|")).map_err(|e| e.to_string());
        assert_eq!(texts("a: b").as_deref(), Ok("b"));
        assert_eq!(texts("a: ['a,b', 9200]").as_deref(), Ok("a,b|9200"));
        assert_eq!(texts("{}").as_deref(), Ok(""));
        #[derive(Deserialize)]
        struct P {
            #[serde(deserialize_with = "permissions")]
            p: u32,
        }
        let bits = |yaml: &str| Node::parse(yaml).unwrap().read::<P>().map(|p| p.p).map_err(|e| e.to_string());
        for (yaml, expected) in [("p: 0600", 0o600), ("p: 600", 0o600), ("p: 384", 0o600), ("p: '0o640'", 0o640)] {
            assert_eq!(bits(yaml), Ok(expected), "{yaml}");
        }
        assert!(bits("p: 9999").is_err());
    }
}

//! Writes the `icmp` fields of a document.

use super::wire::Message;
use serde::{Serialize, Serializer};

/// The fields of this protocol in addition to those that all transactions have.
#[derive(Serialize)]
pub struct Body {
    /// The object `icmp`.
    pub icmp: Fields,
}

/// The contents of the fields: the version of ICMP, the request and the response.
#[derive(Serialize)]
pub struct Fields {
    version: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Half>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Half>,
}

impl Body {
    /// Makes the fields of a transaction; the request or the response may be missing.
    pub fn new(v6: bool, request: Option<&Message>, response: Option<&Message>) -> Self {
        let half = |m: &Message| Half { message: Words(*m), kind: m.kind, code: m.code };
        Self { icmp: Fields { version: if v6 { 6 } else { 4 }, request: request.map(half), response: response.map(half) } }
    }
}

#[derive(Serialize)]
struct Half {
    message: Words,
    #[serde(rename = "type")]
    kind: u8,
    code: u8,
}

struct Words(Message);

impl Serialize for Words {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

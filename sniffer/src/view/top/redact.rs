//! Pseudonyms for addresses, names and queries, for screens that are shown to others. A pseudonym stands for the same text during a whole
//! run, and cannot be calculated from the text outside it.

use std::{
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
};

/// Number of characters of a pseudonym that depend on the text. Two of 2,000 texts have the same pseudonym with a probability of 6 %.
const LENGTH: u32 = 5;
const DIGITS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An address of the network.
    Address,
    /// The name of a host, a file, a user or a process.
    Name,
    /// A request, or the object of a request. Its first word stays if it is a method.
    Query,
}

/// The pseudonyms of a run.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    key: RandomState,
}

impl Redaction {
    /// The pseudonym of a text; an empty text stays empty.
    pub fn of(&self, kind: Kind, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        let (before, text) = match (kind, text.split_once(' ')) {
            (Kind::Query, Some((method, rest))) if is_method(method) => (method, rest),
            (Kind::Query, None) if is_method(text) => return text.to_owned(),
            _ => ("", text),
        };
        let gap = if before.is_empty() { "" } else { " " };
        let kind = match kind {
            Kind::Address => "ip",
            Kind::Name => "name",
            Kind::Query => "query",
        };
        let hash = self.key.hash_one(text);
        let digit = |place: u32| DIGITS.get((hash >> (5 * place) & 31) as usize).map_or('a', |digit| char::from(*digit));
        let digits: String = (0..LENGTH).map(digit).collect();
        format!("{before}{gap}{kind}-{digits}")
    }

    /// The pseudonym of an address with its port.
    pub fn socket(&self, socket: SocketAddr) -> String {
        let address = self.of(Kind::Address, &socket.ip().to_string());
        if socket.port() == 0 { address } else { format!("{address}:{}", socket.port()) }
    }
}

/// Whether a word is a method of a protocol, such as `GET` or `SELECT`.
fn is_method(word: &str) -> bool {
    (1..=12).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_stable_and_tells_nothing() {
        let redaction = Redaction::default();
        let name = redaction.of(Kind::Name, "api.shop");
        assert_eq!(name, redaction.clone().of(Kind::Name, "api.shop"), "stable, also in a copy");
        assert!(name.starts_with("name-") && name.len() == 10 && name != redaction.of(Kind::Name, "api.shoq"), "{name}");
        assert_ne!(name, Redaction::default().of(Kind::Name, "api.shop"), "another run has other pseudonyms");
        let query = redaction.of(Kind::Query, "GET /orders?id=1");
        assert!(query.starts_with("GET query-") && !query.contains("orders"), "{query}");
        assert!(redaction.of(Kind::Query, "secret text").starts_with("query-"));
        assert_eq!([redaction.of(Kind::Query, "PING"), redaction.of(Kind::Name, "")], ["PING", ""]);
        let socket = |text: &str| redaction.socket(text.parse().unwrap());
        assert!(socket("10.0.0.9:80").ends_with(":80") && !socket("10.0.0.9:80").contains("10.0"));
        assert_eq!(socket("[2001:db8::7]:0"), redaction.of(Kind::Address, "2001:db8::7"));
    }
}

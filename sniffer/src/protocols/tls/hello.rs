//! The form of a hello in `tls.detailed`: decoded extensions by name, and a list of the other extensions.

use super::{
    names::{self, Name, is_grease},
    wire::{self, Hello},
};
use crate::{
    event::{Text, text::Hex},
    protocols::kit::reader::Reader,
};
use serde::{Serialize, Serializer, ser::SerializeMap};

/// Maximum number of entries of a list that are shown: there are about four hundred cipher suites.
pub const MOST_SHOWN: usize = 512;

/// The names of numbers, without GREASE.
pub fn listed(numbers: impl Iterator<Item = u16>, name: fn(u16) -> Name) -> Vec<Name> {
    numbers.filter(|n| !is_grease(*n)).map(name).take(MOST_SHOWN).collect()
}

/// A hello and its sender.
pub struct Shown<'a> {
    /// The parsed hello.
    pub hello: Hello<'a>,
    /// Whether the client sent the hello.
    pub client: bool,
}

struct Version(u16);

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}.{}", self.0 >> 8, self.0 & 0xff))
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hello = &self.hello;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", &Version(hello.version))?;
        map.serialize_entry("random", &Hex(hello.random))?;
        if !hello.session_id.is_empty() {
            map.serialize_entry("session_id", &Hex(hello.session_id))?;
        }
        let compressions = hello.compressions.iter().map(|c| names::compression(*c));
        if self.client {
            map.serialize_entry("supported_compression_methods", &compressions.collect::<Vec<_>>())?;
        } else if let Some(one) = compressions.into_iter().next() {
            map.serialize_entry("selected_compression_method", &one)?;
        }
        if hello.extensions().any(|e| !is_grease(e.0)) {
            map.serialize_entry("extensions", &Extensions { hello, client: self.client })?;
        }
        map.end()
    }
}

struct Extensions<'a> {
    hello: &'a Hello<'a>,
    client: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Value<'a> {
    One(Name),
    Text(Text<'a>),
    Names(Vec<Name>),
    Texts(Vec<Text<'a>>),
    Status {
        #[serde(rename = "type")]
        kind: Name,
        responder_id_list_length: usize,
        request_extensions: usize,
    },
    Answered {
        response: bool,
    },
}

impl Serialize for Extensions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut others: Vec<Name> = vec![];
        let mut shown = 0u64; // a bit for each written extension, because a key must not be written twice
        for (number, value) in self.hello.extensions().filter(|e| !is_grease(e.0)) {
            let Some(key) = key(number) else {
                others.push(number.to_string().into());
                continue;
            };
            let bit = 1u64.checked_shl(number.into()).unwrap_or(0);
            match read(number, value, self.client).filter(|_| shown & bit == 0) {
                Some(value) => {
                    shown |= bit;
                    map.serialize_entry(key, &value)?;
                }
                None => others.push(key.into()),
            }
        }
        if !others.is_empty() {
            map.serialize_entry("_unparsed_", &others)?;
        }
        map.end()
    }
}

fn key(number: u16) -> Option<&'static str> {
    Some(match number {
        0 => "server_name_indication",
        1 => "max_fragment_length",
        2 => "client_certificate_url",
        3 => "trusted_ca_keys",
        4 => "truncated_hmac",
        5 => "status_request",
        6 => "user_mapping",
        7 => "client_authz",
        8 => "server_authz",
        9 => "cert_type",
        10 => "supported_groups",
        11 => "ec_points_formats",
        12 => "srp",
        13 => "signature_algorithms",
        16 => "application_layer_protocol_negotiation",
        35 => "session_ticket",
        43 => "supported_versions",
        65281 => "renegotiation_info",
        _ => return None,
    })
}

/// The value of an extension as it is shown; `None` if it is malformed or not decoded.
fn read(number: u16, value: &[u8], client: bool) -> Option<Value<'_>> {
    Some(match number {
        0 => Value::Texts(wire::server_names(value)?.take(MOST_SHOWN).map(Text).collect()),
        1 => match value {
            [length] => Value::One(names::fragment_length(*length)),
            _ => return None,
        },
        2 | 4 if value.is_empty() => Value::One("".into()),
        2 | 4 => Value::One(format!("(expected empty: found {} bytes)", value.len()).into()),
        5 if !client && value.is_empty() => Value::Answered { response: true },
        5 => status_request(value)?,
        9 if client => Value::Names(wire::whole8(value)?.iter().map(|t| names::certificate_type(*t)).collect()),
        9 => match value {
            [one] => Value::Names(vec![names::certificate_type(*one)]),
            _ => return None,
        },
        10 => Value::Names(listed(wire::numbers(wire::whole16(value)?), names::group)),
        11 => Value::Names(wire::whole8(value)?.iter().map(|f| names::point_format(*f)).collect()),
        12 => Value::Text(Text(wire::whole8(value)?)),
        13 => Value::Names(listed(wire::numbers(wire::whole16(value)?), names::signature)),
        16 => Value::Texts(wire::protocols(value)?.filter(|p| !is_grease_name(p)).take(MOST_SHOWN).map(Text).collect()),
        35 if value.is_empty() => Value::One("".into()),
        35 => Value::One(format!("({} bytes)", value.len()).into()),
        43 if client => Value::Names(listed(wire::numbers(wire::whole8(value)?), names::version)),
        43 => match value {
            [high, low] => Value::One(names::version(u16::from_be_bytes([*high, *low]))),
            _ => return None,
        },
        _ => return None,
    })
}

/// Whether the name of a protocol is GREASE.
fn is_grease_name(name: &[u8]) -> bool {
    matches!(name, [high, low] if is_grease(u16::from_be_bytes([*high, *low])))
}

/// Decodes status_request (RFC 6066 section 8).
fn status_request(value: &[u8]) -> Option<Value<'_>> {
    let mut r = Reader::new(value);
    let kind = match r.u8()? {
        1 => "ocsp".into(),
        other => other.to_string().into(),
    };
    let (responders, extensions) = (wire::list16(&mut r)?.len(), wire::list16(&mut r)?.len());
    Some(Value::Status { kind, responder_id_list_length: responders, request_extensions: extensions })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(extensions: &[(u16, &[u8])], client: bool) -> serde_json::Value {
        let mut list = vec![];
        for (number, value) in extensions {
            list.extend(number.to_be_bytes());
            list.extend((value.len() as u16).to_be_bytes());
            list.extend(*value);
        }
        let mut body = [&[3, 3][..], &[9; 32], &[0]].concat();
        body.extend(if client { &[0, 2, 0, 47, 1, 0][..] } else { &[0, 47, 0][..] });
        body.extend((list.len() as u16).to_be_bytes());
        body.extend(list);
        let hello = if client { Hello::client(&body) } else { Hello::server(&body) }.unwrap();
        serde_json::from_str::<serde_json::Value>(&serde_json::to_string(&Shown { hello, client }).unwrap()).unwrap()["extensions"].clone()
    }

    #[test]
    fn every_extension_of_a_client() {
        let all: &[(u16, &[u8])] = &[
            (0x0a0a, b""),
            (0, b"\0\x04\0\0\x01a"),
            (0, b"\0\x04\0\0\x01b"),
            (1, b"\x02"),
            (2, b""),
            (4, b"xy"),
            (5, b"\x01\0\0\0\0"),
            (9, b"\x02\0\x09"),
            (10, b"\0\x06\x2a\x2a\0\x1d\x12\x34"),
            (11, b"\x02\0\x07"),
            (12, b"\x02me"),
            (13, b"\0\x04\x04\x03\x08\x09"),
            (13172, b""),
            (16, b"\0\x03\x02h2"),
            (35, b"abc"),
            (43, b"\x04\x03\x04\x1a\x1a"),
            (65281, b"\0"),
            (7, b""),
        ];
        assert_eq!(
            shown(all, true),
            json!({"server_name_indication": ["a"], "max_fragment_length": "2^10", "client_certificate_url": "",
                "truncated_hmac": "(expected empty: found 2 bytes)",
                "status_request": {"type": "ocsp", "responder_id_list_length": 0, "request_extensions": 0},
                "cert_type": ["X.509", "(unknown:9)"], "supported_groups": ["x25519", "(unknown:0x1234)"],
                "ec_points_formats": ["uncompressed", "(unknown:0x07)"], "srp": "me",
                "signature_algorithms": ["ecdsa_secp256r1_sha256", "(unknown:0x0809)"],
                "application_layer_protocol_negotiation": ["h2"], "session_ticket": "(3 bytes)", "supported_versions": ["TLS 1.3"],
                "_unparsed_": ["server_name_indication", "13172", "renegotiation_info", "client_authz"]})
        );
    }

    #[test]
    fn extensions_of_a_server() {
        let all: &[(u16, &[u8])] = &[(0, b""), (5, b""), (43, b"\x03\x04"), (35, b""), (10, b"\0\x09")];
        assert_eq!(
            shown(all, false),
            json!({"status_request": {"response": true}, "supported_versions": "TLS 1.3", "session_ticket": "",
                "_unparsed_": ["server_name_indication", "supported_groups"]})
        );
        assert_eq!(shown(&[(0x0a0a, b"")], true), serde_json::Value::Null);
    }
}

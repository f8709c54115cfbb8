//! Parses the bodies of responses into the fields of documents. The fields borrow from the body.
//!
//! native_protocol_v3.spec, _v4.spec and _v5.spec, section 4.2.

use super::{
    failure::Failure,
    result::{Change, Outcome},
    wire::{Header, Multimap, Op, PAYLOAD, Strings, TRACING, WARNING, bytes, skip_payload, string},
};
use crate::{event::Text, protocols::kit::reader::Reader};
use serde::{Serialize, Serializer};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The contents of a response. Parts that cannot be parsed are left out.
#[derive(Debug, Default, Serialize)]
pub struct Answer<'a> {
    /// The header, if it is reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Header>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Strings<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Outcome<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supported: Option<Multimap<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication: Option<Authentication<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Event<'a>>,
}

impl<'a> Answer<'a> {
    /// Parses an uncompressed body, which may be cut off.
    pub fn read(header: &Header, body: &'a [u8]) -> Self {
        let mut answer = Self::default();
        // Parsing stops at the first error; the fields before it are kept.
        let _ = answer.fill(header, &mut Reader::new(body));
        answer
    }

    /// Whether there is nothing to report.
    pub fn is_empty(&self) -> bool {
        self.headers.is_none()
            && self.warnings.is_none()
            && self.error.is_none()
            && self.result.is_none()
            && self.supported.is_none()
            && self.authentication.is_none()
            && self.event.is_none()
    }

    fn fill(&mut self, header: &Header, r: &mut Reader<'a>) -> Option<()> {
        if header.flags & TRACING != 0 {
            r.skip(16)?;
        }
        if header.flags & WARNING != 0 {
            self.warnings = Some(Strings::read(r)?);
        }
        if header.flags & PAYLOAD != 0 {
            skip_payload(r)?;
        }
        match header.op {
            Op::ERROR => self.error = Some(Failure::read(header.version, r)?),
            Op::RESULT => self.result = Some(Outcome::read(header.version, r)?),
            Op::SUPPORTED => self.supported = Some(Multimap::read(r)?),
            Op::AUTHENTICATE => self.authentication = Some(Authentication::Class(string(r)?)),
            Op::AUTH_CHALLENGE | Op::AUTH_SUCCESS => self.authentication = Some(Authentication::Data(Quoted(bytes(r)?))),
            Op::EVENT => self.event = Some(Event::read(r)?),
            _ => {}
        }
        Some(())
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Authentication<'a> {
    Class(Text<'a>),
    Data(Quoted<'a>),
}

/// Bytes in quotes, with escapes for unprintable ones.
#[derive(Debug)]
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '"' | '\\' => write!(f, "\\{c}")?,
                    '\n' => f.write_str("\\n")?,
                    '\r' => f.write_str("\\r")?,
                    '\t' => f.write_str("\\t")?,
                    '\x07' => f.write_str("\\a")?,
                    '\x08' => f.write_str("\\b")?,
                    '\x0b' => f.write_str("\\v")?,
                    '\x0c' => f.write_str("\\f")?,
                    c if c.is_ascii_control() => write!(f, "\\x{:02x}", c as u32)?,
                    c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
                    c => write!(f, "{c}")?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_str("\"")
    }
}

impl Serialize for Quoted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Debug, Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_change: Option<Change<'a>>,
}

impl<'a> Event<'a> {
    fn read(r: &mut Reader<'a>) -> Option<Self> {
        let mut event = Self { kind: string(r)?, change: None, host: None, port: None, schema_change: None };
        match event.kind.0 {
            b"TOPOLOGY_CHANGE" | b"STATUS_CHANGE" => {
                event.change = string(r);
                event.host = address(r);
                event.port = event.host.and_then(|_| r.i32());
            }
            b"SCHEMA_CHANGE" => event.schema_change = Change::read(r),
            _ => {}
        }
        Some(event)
    }
}

fn address(r: &mut Reader<'_>) -> Option<IpAddr> {
    match r.u8()? {
        4 => Some(Ipv4Addr::from(r.array::<4>()?).into()),
        16 => Some(Ipv6Addr::from(r.array::<16>()?).into()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;

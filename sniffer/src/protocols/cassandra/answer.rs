//! Bodies of responses: bytes → the fields that documents have. Pure; nothing is copied. Rows are counted, not read.
//!
//! native_protocol_v3.spec, _v4.spec and _v5.spec, section 4.2 and the one on error codes.

use super::wire::{Header, Multimap, Op, PAYLOAD, Strings, TRACING, WARNING, bytes, short_bytes, skip_payload, string};
use crate::{
    event::{Text, text::Hex},
    protocols::reader::Reader,
};
use serde::{Serialize, Serializer};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Types within types: real schemas nest a handful deep.
const DEEPEST: usize = 32;

/// What a response says. What cannot be read is left out.
#[derive(Debug, Default, Serialize)]
pub struct Answer<'a> {
    /// Its header, where that is wanted.
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
    /// Reads a body that is not compressed; it may end early.
    pub fn read(header: &Header, body: &'a [u8]) -> Self {
        let mut answer = Self::default();
        // What cannot be read ends it; what came before stays.
        let _ = answer.fill(header, &mut Reader::new(body));
        answer
    }

    /// Whether there is nothing to say.
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

/// Bytes between quotes, with escapes for what is not printable.
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
struct Failure<'a> {
    code: i32,
    msg: Text<'a>,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

#[derive(Debug, Default, Serialize)]
struct Details<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    read_consistency: Option<Consistency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    required: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alive: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blockfor: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_failures: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_present: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_type: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyspace: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arg_types: Option<Strings<'a>>,
    /// A list of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    stmt_id: Option<&'a [u8]>,
}

impl<'a> Failure<'a> {
    fn read(version: u8, r: &mut Reader<'a>) -> Option<Self> {
        let code = r.i32()?;
        let msg = string(r)?;
        let kind = match code {
            0x0000 => "errServer",
            0x000a => "errProtocol",
            0x0100 => "errCredentials",
            0x1000 => "errUnavailable",
            0x1001 => "errOverloaded",
            0x1002 => "errBootstrapping",
            0x1003 => "errTruncate",
            0x1100 => "errWriteTimeout",
            0x1200 => "errReadTimeout",
            0x1300 => "errReadFailure",
            0x1400 => "errFunctionFailure",
            0x1500 => "errWriteFailure",
            0x2000 => "errSyntax",
            0x2100 => "errUnauthorized",
            0x2200 => "errInvalid",
            0x2300 => "errConfig",
            0x2400 => "errAlreadyExists",
            0x2500 => "errUnprepared",
            _ => "ErrUnknown",
        };
        Some(Self { code, msg, kind, details: Details::read(code, version, r) })
    }
}

impl<'a> Details<'a> {
    fn read(code: i32, version: u8, r: &mut Reader<'a>) -> Option<Self> {
        let mut d = Self::default();
        match code {
            0x1000 => {
                d.read_consistency = Some(Consistency(r.u16()?));
                (d.required, d.alive) = (Some(r.i32()?), Some(r.i32()?));
            }
            0x1100 | 0x1200 | 0x1300 | 0x1500 => {
                d.read_consistency = Some(Consistency(r.u16()?));
                (d.received, d.blockfor) = (Some(r.i32()?), Some(r.i32()?));
                let failures = if matches!(code, 0x1300 | 0x1500) { Some(failures(version, r)?) } else { None };
                if matches!(code, 0x1100 | 0x1500) {
                    d.num_failures = failures;
                    d.write_type = Some(string(r)?);
                } else {
                    d.data_present = Some(r.u8()? != 0);
                }
            }
            0x1400 => {
                (d.keyspace, d.function) = (Some(string(r)?), Some(string(r)?));
                d.arg_types = Some(Strings::read(r)?);
            }
            0x2400 => (d.keyspace, d.table) = (Some(string(r)?), Some(string(r)?)),
            0x2500 => d.stmt_id = Some(short_bytes(r)?),
            _ => return None,
        }
        Some(d)
    }
}

/// How many replicas failed: a number, in v5 a map with the reason of each.
fn failures(version: u8, r: &mut Reader<'_>) -> Option<i32> {
    let n = r.i32()?;
    if version >= 5 {
        // Each turn takes three bytes or ends it.
        for _ in 0..n {
            let address = r.u8()?;
            r.skip(usize::from(address) + 2)?;
        }
    }
    Some(n)
}

#[derive(Debug)]
struct Consistency(u16);

impl Serialize for Consistency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = match self.0 {
            0 => "ANY",
            1 => "ONE",
            2 => "TWO",
            3 => "THREE",
            4 => "QUORUM",
            5 => "ALL",
            6 => "LOCAL_QUORUM",
            7 => "EACH_QUORUM",
            10 => "LOCAL_ONE",
            other => return serializer.collect_str(&format_args!("UNKNOWN_CONS_0x{other:x}")),
        };
        serializer.serialize_str(name)
    }
}

#[derive(Debug, Default, Serialize)]
struct Outcome<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Rows<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyspace: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prepared: Option<Prepared<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_change: Option<Change<'a>>,
}

impl<'a> Outcome<'a> {
    fn read(version: u8, r: &mut Reader<'a>) -> Option<Self> {
        let mut outcome = Self::default();
        match r.i32()? {
            1 => outcome.kind = "void",
            2 => {
                outcome.kind = "rows";
                outcome.rows = Rows::read(r);
            }
            3 => {
                outcome.kind = "set_keyspace";
                outcome.keyspace = string(r);
            }
            4 => {
                outcome.kind = "prepared";
                outcome.prepared = Prepared::read(version, r);
            }
            5 => {
                outcome.kind = "schemaChanged";
                outcome.schema_change = Change::read(r);
            }
            _ => return None,
        }
        Some(outcome)
    }
}

#[derive(Debug, Serialize)]
struct Rows<'a> {
    meta: Metadata<'a>,
    /// Not there when the descriptions of the columns cannot be read to their end.
    #[serde(skip_serializing_if = "Option::is_none")]
    num_rows: Option<i32>,
}

impl<'a> Rows<'a> {
    fn read(r: &mut Reader<'a>) -> Option<Self> {
        let (meta, whole) = Metadata::read(None, r)?;
        Some(Self { meta, num_rows: whole.and_then(|()| r.i32()) })
    }
}

#[derive(Debug, Serialize)]
struct Prepared<'a> {
    prepared_id: Uuid,
    req_meta: Metadata<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resp_meta: Option<Metadata<'a>>,
}

impl<'a> Prepared<'a> {
    fn read(version: u8, r: &mut Reader<'a>) -> Option<Self> {
        let prepared_id = Uuid(short_bytes(r)?.try_into().unwrap_or_default());
        if version >= 5 {
            short_bytes(r)?; // the id of the result's metadata
        }
        let (req_meta, whole) = Metadata::read(Some(version), r)?;
        let resp_meta = whole.and_then(|()| Metadata::read(None, r)).map(|(meta, _)| meta);
        Some(Self { prepared_id, req_meta, resp_meta })
    }
}

#[derive(Debug)]
struct Uuid([u8; 16]);

impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&uuid::Uuid::from_bytes(self.0))
    }
}

const GLOBAL_TABLE: i32 = 1;
const MORE_PAGES: i32 = 2;
const NO_METADATA: i32 = 4;
const METADATA_CHANGED: i32 = 8;

#[derive(Debug, Serialize)]
struct Metadata<'a> {
    flags: MetadataFlags,
    col_count: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pkey_columns: Option<Shorts<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paging_state: Option<UpperHex<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyspace: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<Text<'a>>,
}

impl<'a> Metadata<'a> {
    /// `prepared`: of the bind markers of a statement, in that version. The second value says whether the reader stands behind it.
    fn read(prepared: Option<u8>, r: &mut Reader<'a>) -> Option<(Self, Option<()>)> {
        let (flags, col_count) = (r.i32()?, r.i32()?);
        let mut meta =
            Self { flags: MetadataFlags(flags), col_count, pkey_columns: None, paging_state: None, keyspace: None, table: None };
        let whole = meta.rest(prepared, flags, r);
        Some((meta, whole))
    }

    fn rest(&mut self, prepared: Option<u8>, flags: i32, r: &mut Reader<'a>) -> Option<()> {
        if prepared.is_some_and(|version| version >= 4) {
            let n = usize::try_from(r.i32()?).ok()?;
            self.pkey_columns = Some(Shorts(r.take(n.checked_mul(2)?)?));
        }
        if flags & MORE_PAGES != 0 {
            self.paging_state = Some(UpperHex(bytes(r)?));
        }
        if flags & METADATA_CHANGED != 0 {
            short_bytes(r)?;
        }
        if flags & NO_METADATA != 0 {
            return Some(());
        }
        let global = flags & GLOBAL_TABLE != 0;
        if global {
            let (keyspace, table) = (string(r)?, string(r)?);
            // As Packetbeat has it: a page that is not the last names no table.
            if flags & MORE_PAGES == 0 {
                (self.keyspace, self.table) = (Some(keyspace), Some(table));
            }
        }
        // Each turn takes four bytes or ends it.
        for _ in 0..self.col_count {
            if !global {
                short_bytes(r)?;
                short_bytes(r)?;
            }
            short_bytes(r)?;
            skip_type(r)?;
        }
        Some(())
    }
}

/// Leaves out the `[option]` that is the type of a column. Flat, with the number of types still to come on each level.
fn skip_type(r: &mut Reader<'_>) -> Option<()> {
    // Types that are still to come, per level, and whether a field's name is before each.
    let mut levels = smallvec::SmallVec::<[(u16, bool); 8]>::new();
    levels.push((1, false));
    while let Some(level) = levels.last_mut() {
        let Some(left) = level.0.checked_sub(1) else {
            levels.pop();
            continue;
        };
        level.0 = left;
        if level.1 {
            short_bytes(r)?;
        }
        let within = match r.u16()? {
            0x0000 => {
                short_bytes(r)?;
                continue;
            }
            0x0020 | 0x0022 => (1, false),
            0x0021 => (2, false),
            0x0030 => {
                short_bytes(r)?;
                short_bytes(r)?;
                (r.u16()?, true)
            }
            0x0031 => (r.u16()?, false),
            _ => continue,
        };
        if levels.len() >= DEEPEST {
            return None;
        }
        levels.push(within);
    }
    Some(())
}

#[derive(Debug)]
struct MetadataFlags(i32);

impl Serialize for MetadataFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            GLOBAL_TABLE => serializer.serialize_str("GlobalTableSpec"),
            MORE_PAGES => serializer.serialize_str("HasMorePages"),
            NO_METADATA => serializer.serialize_str("NoMetaData"),
            other => serializer.collect_str(&format_args!("FLAG_{other}")),
        }
    }
}

#[derive(Debug)]
struct Shorts<'a>(&'a [u8]);

impl Serialize for Shorts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.as_chunks::<2>().0.iter().map(|n| u16::from_be_bytes(*n)))
    }
}

#[derive(Debug)]
struct UpperHex<'a>(&'a [u8]);

impl Serialize for UpperHex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#}", Hex(self.0)))
    }
}

#[derive(Debug, Serialize)]
struct Change<'a> {
    change: Text<'a>,
    target: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyspace: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Strings<'a>>,
}

impl<'a> Change<'a> {
    fn read(r: &mut Reader<'a>) -> Option<Self> {
        let mut c = Self { change: string(r)?, target: string(r)?, keyspace: None, object: None, name: None, args: None };
        match c.target.0 {
            b"KEYSPACE" => c.keyspace = string(r),
            b"TABLE" | b"TYPE" => (c.keyspace, c.object) = (string(r), string(r)),
            b"FUNCTION" | b"AGGREGATE" => (c.keyspace, c.name, c.args) = (string(r), string(r), Strings::read(r)),
            _ => {}
        }
        Some(c)
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

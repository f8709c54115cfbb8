//! Parses the body of a RESULT. Rows are counted, not parsed.
//!
//! native_protocol_v3.spec, _v4.spec and _v5.spec, sections 4.2.5 and (for changes of the schema) 4.2.6.

use super::wire::{Strings, bytes, short_bytes, string};
use crate::{
    event::{Text, text::Hex},
    protocols::kit::reader::Reader,
};
use serde::{Serialize, Serializer};

/// Maximum number of levels of nested types: real schemas use a handful.
const DEEPEST: usize = 32;

/// The contents of a RESULT, of which one member is set according to its kind.
#[derive(Debug, Default, Serialize)]
pub struct Outcome<'a> {
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
    /// Parses the result; `None` if its kind is unknown.
    pub fn read(version: u8, r: &mut Reader<'a>) -> Option<Self> {
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
    /// The number of rows; absent if the descriptions of the columns cannot be parsed completely.
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
            short_bytes(r)?; // This skips the id of the result's metadata.
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
    /// Parses the metadata. `prepared` is the protocol version if these are the bind markers of a statement. The second value is `None`
    /// if the metadata is incomplete or malformed; the first then has the fields before the error.
    fn read(prepared: Option<u8>, r: &mut Reader<'a>) -> Option<(Self, Option<()>)> {
        let (flags, col_count) = (r.i32()?, r.i32()?);
        let mut meta = Self { flags: MetadataFlags(flags), col_count, pkey_columns: None, paging_state: None, keyspace: None, table: None };
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
            // As in Packetbeat, keyspace and table are left out if more pages follow.
            if flags & MORE_PAGES == 0 {
                (self.keyspace, self.table) = (Some(keyspace), Some(table));
            }
        }
        // Every iteration consumes four bytes or ends the loop.
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

/// Skips the `[option]` that is the type of a column. The function is not recursive: it keeps the number of remaining types per level.
fn skip_type(r: &mut Reader<'_>) -> Option<()> {
    // The entry of each level has the number of remaining types, and whether a field name precedes each of them.
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

/// A change of the schema, in a result or an event.
#[derive(Debug, Serialize)]
pub struct Change<'a> {
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
    /// Parses the change; `None` if its target is missing.
    pub fn read(r: &mut Reader<'a>) -> Option<Self> {
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

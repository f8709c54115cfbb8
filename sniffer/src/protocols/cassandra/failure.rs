//! Parses the body of an ERROR.
//!
//! native_protocol_v3.spec, _v4.spec and _v5.spec, the section on error codes.

use super::wire::{Strings, short_bytes, string};
use crate::{event::Text, protocols::kit::reader::Reader};
use serde::{Serialize, Serializer};

/// The error: number, name and details.
#[derive(Debug, Serialize)]
pub struct Failure<'a> {
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
    /// A list of bytes that is serialised as a list of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    stmt_id: Option<&'a [u8]>,
}

impl<'a> Failure<'a> {
    /// Parses the error. `None` if the number or the message is incomplete; incomplete details are left out.
    pub fn read(version: u8, r: &mut Reader<'a>) -> Option<Self> {
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

/// The number of replicas that failed. In v5, a list of the replicas with the reason of each failure follows the number and is skipped.
fn failures(version: u8, r: &mut Reader<'_>) -> Option<i32> {
    let n = r.i32()?;
    if version >= 5 {
        // Every iteration consumes three bytes or ends the loop.
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

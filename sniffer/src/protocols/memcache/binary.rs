//! The binary protocol: header, extras, and the names of opcodes and statuses.
//!
//! <https://github.com/memcached/memcached/wiki/BinaryProtocolRevamped>; opcodes from 30 hex on belong to Couchbase and
//! TAP.

use super::message::{Kind, Message};
use crate::protocols::kit::reader::Reader;

/// Length of a header in bytes.
pub const HEADER: usize = 24;
/// The first byte of a request.
pub const REQUEST: u8 = 0x80;
/// The first byte of a response.
pub const RESPONSE: u8 = 0x81;
/// Longest body that is accepted, in bytes. Items of memcached have at most 1 GiB, those of other servers 20 MiB.
const LONGEST_BODY: u32 = 1 << 30;
/// Longest body that is buffered if it is needed completely (a counter, a version, a statistic), in bytes.
const LONGEST_READ: usize = 64 << 10;

/// The fixed part of every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub request: bool,
    pub opcode: u8,
    pub key: usize,
    pub extras: usize,
    data_type: u8,
    /// The vbucket of a request, or the status of a response.
    pub status: u16,
    /// Length of everything after the header.
    pub body: usize,
    opaque: u32,
    cas: u64,
}

impl Header {
    /// Parses a header; `None` if the data is too short or invalid.
    pub fn read(data: &[u8], request: bool) -> Option<Self> {
        let mut r = Reader::new(data);
        let magic = r.u8()?;
        let opcode = r.u8()?;
        let key = usize::from(r.u16()?);
        let extras = usize::from(r.u8()?);
        let data_type = r.u8()?;
        let status = r.u16()?;
        let body = r.u32()?;
        let header =
            Self { request, opcode, key, extras, data_type, status, body: usize::try_from(body).ok()?, opaque: r.u32()?, cas: r.u64()? };
        let believed = magic == if request { REQUEST } else { RESPONSE } && data_type < 8 && body <= LONGEST_BODY;
        (believed && key + extras <= header.body).then_some(header)
    }

    /// Whether the header is certainly one of this protocol, even if it was found in the middle of other data. All of
    /// its values must be defined, and a request must have the extras that its command needs.
    pub fn certain(&self) -> bool {
        let status = self.request || !status_name(self.status).is_empty();
        let extras: &[usize] = match (self.request, self.opcode) {
            (false, _) => &[0, 4],
            // These opcodes are Set, Add, Replace, and their quiet variants.
            (true, 0x01..=0x03 | 0x11..=0x13) => &[8],
            // Increment, Decrement.
            (true, 0x05 | 0x06 | 0x15 | 0x16) => &[20],
            // These opcodes are Verbosity, Touch, and Get and touch.
            (true, 0x1b..=0x1e | 0x23 | 0x24) => &[4],
            (true, FLUSH | FLUSH_Q) => &[0, 4],
            // These opcodes are Get, Delete, Quit, No-op, Version, Append, Prepend and Stat.
            (true, 0x00 | 0x04 | 0x07 | 0x09..=0x0f | 0x10 | 0x14 | 0x17 | 0x19 | 0x1a) => &[0],
            (true, _) => &[0, 4, 8, 20],
        };
        !opcode_name(self.opcode).is_empty() && status && self.data_type == 0 && self.key <= 250 && extras.contains(&self.extras)
    }

    /// Length of the value in bytes.
    pub fn value(&self) -> usize {
        self.body - self.key - self.extras
    }

    /// Number of bytes needed by [`Self::fill`], and whether they include the value.
    pub fn needed(&self) -> (usize, bool) {
        let (kind, command) = command(self.opcode);
        let whole = !self.request && (kind == Kind::Counter || kind == Kind::Stats || command == "version") && self.value() <= LONGEST_READ;
        (HEADER + if whole { self.body } else { self.key + self.extras }, whole)
    }

    /// Parses the bytes that [`Self::needed`] requires.
    pub fn fill(&self, data: &[u8], m: &mut Message) {
        let (needed, whole) = self.needed();
        let mut r = Reader::new(data.get(HEADER..needed).unwrap_or_default());
        let extras = r.take(self.extras).unwrap_or_default();
        let key = r.take(self.key).unwrap_or_default();
        let (kind, command) = command(self.opcode);
        (m.binary, m.opcode, m.status, m.opaque) = (true, self.opcode, self.status, Some(u64::from(self.opaque)));
        m.cas_unique = (self.cas != 0).then_some(self.cas);
        m.size = (HEADER + self.body) as u64;
        if self.request {
            (m.kind, m.command) = (kind, command);
            m.quiet = opcode_name(self.opcode).ends_with('Q');
            if !key.is_empty() {
                m.key(key);
            }
            self.request_extras(&mut Reader::new(extras), m);
            return;
        }
        let begun = !m.command.is_empty(); // statistics arrive in several messages
        (m.kind, m.command) = (kind, command);
        if kind == Kind::Load {
            m.flags = Some(u64::from(number(&mut Reader::new(extras), m)));
        }
        if !whole {
            if !key.is_empty() {
                m.key(key);
            }
            return;
        }
        let value = r.rest();
        match kind {
            Kind::Counter if self.status == 0 => m.value = Some(Reader::new(value).u64().unwrap_or(0)),
            Kind::Counter => {}
            Kind::Stats if self.status != 0 => {
                m.count_values = u64::from(!value.is_empty());
                m.bytes = (!value.is_empty()).then_some(value.len() as u64);
            }
            Kind::Stats if key.is_empty() && begun => {}
            Kind::Stats if key.is_empty() && value.is_empty() => {}
            Kind::Stats => m.stat(key, value),
            _ => m.version = (!value.is_empty()).then(|| m.keep(value)),
        }
    }

    /// Whether more messages belong to the same response.
    pub fn more(&self) -> bool {
        !self.request && self.opcode == STAT && self.status == 0 && self.key > 0
    }

    fn request_extras(&self, extras: &mut Reader<'_>, m: &mut Message) {
        match (m.kind, m.command) {
            (Kind::Store, "set" | "add" | "replace") => {
                m.flags = Some(u64::from(number(extras, m)));
                m.exptime = Some(i64::from(number(extras, m)));
            }
            (Kind::Counter, _) => {
                let mut long = |m: &mut Message| match extras.u64() {
                    Some(n) => n,
                    None => {
                        m.short_extras |= self.extras > 0;
                        0
                    }
                };
                (m.delta, m.initial) = (Some(long(m)), Some(long(m)));
                m.exptime = Some(i64::from(number(extras, m)));
            }
            (Kind::Store, "touch") => m.exptime = Some(i64::from(number(extras, m))),
            (Kind::Delete, _) if matches!(self.opcode, FLUSH | FLUSH_Q) => m.exptime = Some(i64::from(number(extras, m))),
            (_, "verbosity") => m.verbosity = Some(u64::from(number(extras, m))),
            _ => {}
        }
    }
}

/// Reads a number from the extras. A missing number is 0; extras that are too short are noted.
fn number(extras: &mut Reader<'_>, m: &mut Message) -> u32 {
    let sent = extras.remaining() + extras.position() > 0;
    extras.u32().unwrap_or_else(|| {
        m.short_extras |= sent;
        0
    })
}

const STAT: u8 = 0x10;
const FLUSH: u8 = 0x08;
const FLUSH_Q: u8 = 0x18;
/// The opcodes of Quit and its quiet variant.
pub const QUIT: [u8; 2] = [0x07, 0x17];

fn command(opcode: u8) -> (Kind, &'static str) {
    match opcode {
        0x00 | 0x09 | 0x0c | 0x0d => (Kind::Load, "get"),
        0x01 | 0x11 => (Kind::Store, "set"),
        0x02 | 0x12 => (Kind::Store, "add"),
        0x03 | 0x13 => (Kind::Store, "replace"),
        0x0e | 0x19 => (Kind::Store, "append"),
        0x0f | 0x1a => (Kind::Store, "prepend"),
        0x04 | 0x14 | FLUSH | FLUSH_Q => (Kind::Delete, "delete"),
        0x05 | 0x15 => (Kind::Counter, "incr"),
        0x06 | 0x16 => (Kind::Counter, "decr"),
        0x07 | 0x17 => (Kind::Info, "quit"),
        0x0a => (Kind::Info, "noop"),
        0x0b => (Kind::Info, "version"),
        STAT => (Kind::Stats, "stats"),
        0x1b => (Kind::Info, "verbosity"),
        0x1c => (Kind::Store, "touch"),
        0x20 => (Kind::Auth, "sasl_list"),
        0x21 => (Kind::Auth, "sasl_auth"),
        0x22 => (Kind::Auth, "sasl_step"),
        _ => (Kind::Unknown, "UNKNOWN"),
    }
}

/// The name of an opcode; empty if there is none.
#[rustfmt::skip]
pub fn opcode_name(opcode: u8) -> &'static str {
    const LOW: [&str; 0x25] = [
        "Get", "Set", "Add", "Replace", "Delete", "Increment", "Decrement", "Quit", "Flush", "GetQ", "No-op", "Version", "GetK", "GetKQ",
        "Append", "Prepend", "Stat", "SetQ", "AddQ", "ReplaceQ", "DeleteQ", "IncrementQ", "DecrementQ", "QuitQ", "FlushQ", "AppendQ",
        "PrependQ", "Verbosity", "Touch", "GAT", "GATQ", "", "SASL list mechs", "SASL Auth", "SASL Step", "GatK", "GatKQ",
    ];
    const HIGH: [&str; 0x18] = [
        "RGet", "RSet", "RSetQ", "RAppend", "RAppendQ", "RPrepend", "RPrependQ", "RDelete", "RDeleteQ", "RIncr", "RIncrQ", "RDecr",
        "RDecrQ", "Set VBucket", "Get VBucket", "Del VBucket", "TAP Connect", "TAP Mutation", "TAP Delete", "TAP Flush", "TAP Opaque",
        "TAP VBucket Set", "TAP Checkpoint Start", "TAP Checkpoint End",
    ];
    let high = || HIGH.get(usize::from(opcode).wrapping_sub(0x30));
    LOW.get(usize::from(opcode)).or_else(high).copied().unwrap_or_default()
}

/// The name of a status; empty if there is none.
pub fn status_name(status: u16) -> &'static str {
    match status {
        0x00 => "Success",
        0x01 => "Key not found",
        0x02 => "Key exists",
        0x03 => "Value too large",
        0x04 => "Invalid arguments",
        0x05 => "Item not stored",
        0x06 => "Incr/Decr on non-numeric value.",
        0x07 => "The vbucket belongs to another server",
        0x20 => "Authentication error",
        0x21 => "Authentication continue",
        0x81 => "Unknown command",
        0x82 => "Out of memory",
        0x83 => "Not supported",
        0x84 => "Internal error",
        0x85 => "Busy",
        0x86 => "Temporary failure",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a message of magic, opcode, status, extras, key, value.
    fn message(magic: u8, opcode: u8, status: u8, [extras, key, value]: [&[u8]; 3]) -> Vec<u8> {
        let body = (extras.len() + key.len() + value.len()) as u8;
        let mut m =
            vec![magic, opcode, 0, key.len() as u8, extras.len() as u8, 0, 0, status, 0, 0, 0, body, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5];
        m.extend([extras, key, value].concat());
        m
    }

    fn read(data: &[u8]) -> Message {
        let header = Header::read(data, data[0] == REQUEST).unwrap();
        let mut m = Message::default();
        header.fill(data, &mut m);
        m
    }

    #[test]
    fn counter() {
        let extras = [&2_u64.to_be_bytes()[..], &3_u64.to_be_bytes(), &4_u32.to_be_bytes()].concat();
        let m = read(&message(REQUEST, 0x15, 0, [&extras, b"n", b""]));
        assert_eq!((m.command, m.delta, m.initial, m.exptime, m.quiet), ("incr", Some(2), Some(3), Some(4), true));
        assert_eq!((m.opaque, m.cas_unique, m.has_key(b"n"), m.short_extras), (Some(9), Some(5), true, false));
        let m = read(&message(RESPONSE, 0x05, 0, [b"", b"", &7_u64.to_be_bytes()]));
        assert_eq!((m.value, m.count_values), (Some(7), 0));
        assert_eq!(read(&message(RESPONSE, 0x05, 1, [b"", b"", b"Not found"])).value, None);
    }

    #[test]
    fn extras_that_are_missing_and_too_short() {
        let m = read(&message(REQUEST, 0x01, 0, [b"\0\0\0\x01", b"k", b"v"]));
        assert_eq!((m.flags, m.exptime, m.short_extras), (Some(1), Some(0), true));
        let m = read(&message(REQUEST, 0x08, 0, [b"", b"", b""]));
        assert_eq!((m.command, m.exptime, m.short_extras), ("delete", Some(0), false));
        assert!(!read(&message(RESPONSE, 0x00, 1, [b"", b"", b"Not found"])).short_extras);
    }

    #[test]
    fn not_a_header() {
        let good = message(REQUEST, 0x00, 0, [b"", b"k", b""]);
        assert!(Header::read(&good, true).unwrap().certain());
        assert_eq!(Header::read(&good, false), None);
        assert_eq!(Header::read(&good[..23], true), None);
        let mut bad = good.clone();
        bad[11] = 0; // the key is longer than the body
        assert_eq!(Header::read(&bad, true), None);
        bad[8] = 0xff;
        assert_eq!(Header::read(&bad, true), None);
    }

    #[test]
    fn names() {
        assert_eq!(
            [0x1e, 0x1f, 0x24, 0x25, 0x30, 0x47, 0x48].map(opcode_name),
            ["GATQ", "", "GatKQ", "", "RGet", "TAP Checkpoint End", ""]
        );
    }
}

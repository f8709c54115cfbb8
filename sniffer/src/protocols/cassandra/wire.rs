//! Parses envelopes (v3 and v4: frames) of the CQL binary protocol: the header, the notations of the body, the contents
//! of requests, and compressed bodies. `answer.rs` parses the bodies of responses, `segment.rs` the segments of v5.
//!
//! native_protocol_v3.spec, native_protocol_v4.spec and native_protocol_v5.spec in
//! <https://github.com/apache/cassandra/tree/trunk/doc>.

use crate::{event::Text, protocols::kit::reader::Reader};
use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Length of a header in bytes, in all supported versions.
pub const HEADER: usize = 9;
/// Largest body that the specification allows, in bytes.
const LONGEST_BODY: u32 = 256 << 20;
/// Largest body that is decompressed, in bytes. By default a server refuses larger ones
/// (`native_transport_max_frame_size`).
const MOST_PLAIN: usize = 16 << 20;
/// Largest ratio of decompressed to compressed length. LZ4 (255 bytes of output per byte of input) and snappy do not
/// exceed it; a body that claims more is refused before memory is allocated.
const MOST_GROWTH: usize = 255;
/// Maximum number of options of a STARTUP: drivers send up to ten.
const MOST_OPTIONS: u16 = 64;

/// Longest name in bytes of an option or of an event; those of servers and drivers have up to twenty.
const LONGEST_NAME: u16 = 128;

/// Flag: the body is compressed.
pub const COMPRESSED: u8 = 0x01;
/// Flag: a response begins with a tracing id.
pub const TRACING: u8 = 0x02;
/// Flag: a map of bytes (custom payload) precedes the message.
pub const PAYLOAD: u8 = 0x04;
/// Flag: a response has warnings in front of the message.
pub const WARNING: u8 = 0x08;
/// All flags, including that of beta versions.
const FLAGS: u8 = 0x1f;

/// Largest body in bytes of a message found in a search: the servers' default limit.
pub const LONGEST_FOUND: u32 = MOST_PLAIN as u32;

/// The operation of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op(pub u8);

#[allow(missing_docs)]
impl Op {
    pub const ERROR: Self = Self(0x00);
    pub const STARTUP: Self = Self(0x01);
    pub const READY: Self = Self(0x02);
    pub const AUTHENTICATE: Self = Self(0x03);
    pub const OPTIONS: Self = Self(0x05);
    pub const SUPPORTED: Self = Self(0x06);
    pub const QUERY: Self = Self(0x07);
    pub const RESULT: Self = Self(0x08);
    pub const PREPARE: Self = Self(0x09);
    pub const EXECUTE: Self = Self(0x0a);
    pub const REGISTER: Self = Self(0x0b);
    pub const EVENT: Self = Self(0x0c);
    pub const BATCH: Self = Self(0x0d);
    pub const AUTH_CHALLENGE: Self = Self(0x0e);
    pub const AUTH_SUCCESS: Self = Self(0x10);
}

/// The operations by number.
const OPS: [&str; 17] = [
    "ERROR",
    "STARTUP",
    "READY",
    "AUTHENTICATE",
    "",
    "OPTIONS",
    "SUPPORTED",
    "QUERY",
    "RESULT",
    "PREPARE",
    "EXECUTE",
    "REGISTER",
    "EVENT",
    "BATCH",
    "AUTH_CHALLENGE",
    "AUTH_RESPONSE",
    "AUTH_SUCCESS",
];

impl Op {
    /// The name; empty for an unknown number.
    pub fn name(self) -> &'static str {
        OPS.get(usize::from(self.0)).copied().unwrap_or_default()
    }

    /// The operation with this name.
    pub fn named(name: &str) -> Option<Self> {
        OPS.iter().position(|op| !op.is_empty() && *op == name).map(|number| Self(number as u8))
    }

    /// All names, for an error message.
    pub fn names() -> impl Iterator<Item = &'static str> {
        OPS.into_iter().filter(|name| !name.is_empty())
    }

    fn of_server(self) -> bool {
        matches!(
            self,
            Self::ERROR
                | Self::READY
                | Self::AUTHENTICATE
                | Self::SUPPORTED
                | Self::RESULT
                | Self::EVENT
                | Self::AUTH_CHALLENGE
                | Self::AUTH_SUCCESS
        )
    }

    /// Whether version 5 sends this operation also outside of segments, before the connection is set up.
    fn before_agreement(self) -> bool {
        matches!(self, Self::STARTUP | Self::OPTIONS | Self::READY | Self::AUTHENTICATE | Self::SUPPORTED | Self::ERROR)
    }
}

/// The header of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version: 3, 4 or 5.
    pub version: u8,
    /// Whether the server sent the envelope.
    pub response: bool,
    /// The flags, such as [`COMPRESSED`].
    pub flags: u8,
    /// The stream id, which pairs a response with its request; -1 (65535) in events.
    pub stream: u16,
    /// The operation of the envelope.
    pub op: Op,
    /// Length of the body in bytes.
    pub length: u32,
}

impl Header {
    /// Parses a header; `None` if there are too few bytes, or if it is invalid: another version, an operation that this
    /// side does not send, an unknown flag, or a body that is too long.
    pub fn read(data: &[u8]) -> Option<Self> {
        let mut r = Reader::new(data);
        let version = r.u8()?;
        let header = Self {
            version: version & 0x7f,
            response: version & 0x80 != 0,
            flags: r.u8()?,
            stream: r.u16()?,
            op: Op(r.u8()?),
            length: r.u32()?,
        };
        let fits = (3..=5).contains(&header.version)
            && header.flags & !FLAGS == 0
            && !header.op.name().is_empty()
            && header.op.of_server() == header.response
            && header.length <= LONGEST_BODY
            && (header.response || header.stream < 0x8000);
        fits.then_some(header)
    }

    /// Whether an envelope of v5 may be outside of segments.
    pub fn unframed(&self) -> bool {
        self.version < 5 || self.op.before_agreement()
    }

    /// Whether the body starts as a body of this operation must. This test is for a header without other evidence. It examines up to four
    /// bytes.
    pub fn begins_well(&self, body: &[u8]) -> bool {
        let mut r = Reader::new(body);
        let (short, long) = (r.u16(), Reader::new(body).u32());
        let within = |head: u32, n: Option<u32>| n.is_some_and(|n| n.checked_add(head).is_some_and(|all| all <= self.length));
        if self.flags & COMPRESSED != 0 {
            return begins_compressed(self.length as usize, body);
        }
        if self.flags & (PAYLOAD | WARNING) != 0 || self.response && self.flags & TRACING != 0 {
            return self.length > 2;
        }
        match self.op {
            Op::READY | Op::OPTIONS => self.length == 0,
            Op::ERROR => self.length >= 6 && long.is_some_and(|code| code <= 0x2500),
            Op::STARTUP | Op::SUPPORTED | Op::REGISTER => {
                // A list of names: their number, and the length of the first one.
                let (names, first) = (short.unwrap_or(u16::MAX), r.u16());
                let begins = first.is_some_and(|length| (1..=LONGEST_NAME).contains(&length)) || names == 0 && self.length == 2;
                names <= MOST_OPTIONS && begins && within(2, Some(u32::from(names) * 2))
            }
            Op::QUERY | Op::PREPARE => within(4, long),
            Op::RESULT => long.is_some_and(|kind| (1..=5).contains(&kind)),
            Op::EVENT => self.stream == u16::MAX && within(2, short.map(u32::from)),
            Op::AUTHENTICATE | Op::EXECUTE => within(2, short.map(u32::from)),
            Op::BATCH => body.first().is_some_and(|kind| *kind <= 2),
            _ => long == Some(u32::MAX) || within(4, long),
        }
    }

    /// Length of header and body.
    pub fn total(&self) -> u64 {
        HEADER as u64 + u64::from(self.length)
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Header", 5)?;
        fields.serialize_field("version", ["3", "4", "5"].get(usize::from(self.version).wrapping_sub(3)).unwrap_or(&""))?;
        match self.flags {
            0 => fields.serialize_field("flags", "Default")?,
            COMPRESSED => fields.serialize_field("flags", "Compress")?,
            TRACING => fields.serialize_field("flags", "Tracing")?,
            PAYLOAD => fields.serialize_field("flags", "CustomPayload")?,
            WARNING => fields.serialize_field("flags", "Warning")?,
            other => fields.serialize_field("flags", &format_args!("UnknownFlag_{other}"))?,
        }
        fields.serialize_field("stream", &self.stream)?;
        fields.serialize_field("op", self.op.name())?;
        fields.serialize_field("length", &self.length)?;
        fields.end()
    }
}

/// Reads a `[string]` of the specification.
pub fn string<'a>(r: &mut Reader<'a>) -> Option<Text<'a>> {
    short_bytes(r).map(Text)
}

/// Reads a `[short bytes]` of the specification.
pub fn short_bytes<'a>(r: &mut Reader<'a>) -> Option<&'a [u8]> {
    let n = r.u16()?;
    r.take(usize::from(n))
}

/// Reads a `[bytes]` of the specification; null is treated as empty.
pub fn bytes<'a>(r: &mut Reader<'a>) -> Option<&'a [u8]> {
    match usize::try_from(r.i32()?) {
        Ok(n) => r.take(n),
        Err(_) => Some(&[]),
    }
}

/// Skips a `[bytes map]`: the custom payload.
pub fn skip_payload(r: &mut Reader<'_>) -> Option<()> {
    // At most 65535 iterations, each of which consumes six bytes or ends the loop.
    for _ in 0..r.u16()? {
        short_bytes(r)?;
        bytes(r)?;
    }
    Some(())
}

/// A `[string list]`, which is parsed when it is written.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a> {
    n: u16,
    at: Reader<'a>,
}

impl<'a> Strings<'a> {
    /// Parses the list; `None` if it is incomplete.
    pub fn read(r: &mut Reader<'a>) -> Option<Self> {
        let n = r.u16()?;
        let list = Self { n, at: *r };
        for _ in 0..n {
            short_bytes(r)?;
        }
        Some(list)
    }
}

impl Serialize for Strings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut r = self.at;
        serializer.collect_seq((0..self.n).map_while(|_| string(&mut r)))
    }
}

/// A `[string multimap]`, which is parsed when it is written.
#[derive(Clone, Copy, Debug)]
pub struct Multimap<'a> {
    n: u16,
    at: Reader<'a>,
}

impl<'a> Multimap<'a> {
    /// Parses the map; `None` if it is incomplete.
    pub fn read(r: &mut Reader<'a>) -> Option<Self> {
        let n = r.u16()?;
        let map = Self { n, at: *r };
        for _ in 0..n {
            short_bytes(r)?;
            Strings::read(r)?;
        }
        Some(map)
    }
}

impl Serialize for Multimap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A repeated key must not be written twice in a JSON object. The first one is written.
        let mut r = self.at;
        let mut keys = smallvec::SmallVec::<[&[u8]; 8]>::new();
        let entries = (0..self.n).map_while(|_| Some((string(&mut r)?, Strings::read(&mut r)?)));
        serializer.collect_map(entries.filter(|(key, _)| {
            let new = keys.len() < usize::from(MOST_OPTIONS) && !keys.contains(&key.0);
            if new {
                keys.push(key.0);
            }
            new
        }))
    }
}

/// Whether the length at the start of a compressed body, in either form, fits the length of the body.
fn begins_compressed(length: usize, body: &[u8]) -> bool {
    // Data that cannot be compressed grows by at most a sixth and a few bytes (snappy), or a 255th (LZ4).
    let suits = |plain: usize| plain <= MOST_PLAIN && plain <= length.saturating_mul(MOST_GROWTH) && length <= plain + plain / 6 + 40;
    let lz4 = Reader::new(body).u32().is_some_and(|plain| suits(plain as usize));
    lz4 || snap::raw::decompress_len(body).is_ok_and(suits)
}

/// The captured part of the text of a QUERY.
pub fn query<'a>(header: &Header, body: &'a [u8]) -> Option<&'a [u8]> {
    let mut r = Reader::new(body);
    if header.flags & PAYLOAD != 0 {
        skip_payload(&mut r)?;
    }
    let n = usize::try_from(r.i32()?).ok()?;
    Some(r.rest().get(..n).unwrap_or(r.rest()))
}

/// The compression of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// `lz4`: the body is four bytes with the decompressed length, and an LZ4 block.
    Lz4,
    /// `snappy`: the body is in snappy's raw format.
    Snappy,
}

/// The compression that a STARTUP requests. `Some(None)` means no compression, or an unknown one.
pub fn startup(body: &[u8]) -> Option<Option<Compression>> {
    let mut r = Reader::new(body);
    let mut asked = None;
    for _ in 0..r.u16()?.min(MOST_OPTIONS) {
        let (key, value) = (short_bytes(&mut r)?, short_bytes(&mut r)?);
        if key == b"COMPRESSION" {
            asked = compression(value);
        }
    }
    Some(asked)
}

/// The compression with this name.
pub fn compression(name: &[u8]) -> Option<Compression> {
    match name {
        _ if name.eq_ignore_ascii_case(b"lz4") => Some(Compression::Lz4),
        _ if name.eq_ignore_ascii_case(b"snappy") => Some(Compression::Snappy),
        _ => None,
    }
}

/// Decompresses a body of v3 or v4 into `room`; `None` if it is not compressed in this way, or too large.
pub fn decompress<'a>(how: Compression, body: &[u8], room: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    match how {
        Compression::Lz4 => {
            let (head, block) = body.split_first_chunk::<4>()?;
            lz4_block(block, u32::from_be_bytes(*head) as usize, room)
        }
        Compression::Snappy => {
            let plain = snap::raw::decompress_len(body).ok()?;
            make_room(plain, body.len(), room)?;
            let n = snap::raw::Decoder::new().decompress(body, room).ok()?;
            room.get(..n)
        }
    }
}

/// Decompresses an LZ4 block, which must give exactly `plain` bytes, into `room`.
pub fn lz4_block<'a>(block: &[u8], plain: usize, room: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    make_room(plain, block.len(), room)?;
    let n = lz4_flex::block::decompress_into(block, room).ok()?;
    (n == plain).then(|| room.get(..n)).flatten()
}

fn make_room(plain: usize, compressed: usize, room: &mut Vec<u8>) -> Option<()> {
    if plain > MOST_PLAIN || plain > compressed.saturating_mul(MOST_GROWTH) {
        return None;
    }
    room.resize(plain, 0);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let header = Header::read(b"\x04\x02\x01\x13\x07\0\0\0\x2e").unwrap();
        let want = Header { version: 4, response: false, flags: 2, stream: 275, op: Op::QUERY, length: 46 };
        assert_eq!((header, header.total()), (want, 55));
        assert_eq!(
            serde_json::to_value(header).unwrap(),
            serde_json::json!({"version": "4", "flags": "Tracing", "stream": 275, "op": "QUERY", "length": 46})
        );
        for bad in [
            &b"\x04\x02\x01\x13\x07\0\0\0"[..], // too short
            b"\x02\0\0\x07\0\0\0\0\0",          // v2
            b"\x84\0\0\0\x07\0\0\0\0",          // a QUERY by the server
            b"\x04\0\x80\0\x07\0\0\0\0",        // a stream that only servers use
            b"\x04\x20\0\0\x07\0\0\0\0",        // no such flag
            b"\x04\0\0\0\x07\x7f\0\0\0",        // 2 GB
            b"\x04\0\0\0\x04\0\0\0\0",          // no such operation
        ] {
            assert_eq!(Header::read(bad), None, "{bad:x?}");
        }
    }

    #[test]
    fn bodies_begin_as_their_operation_requires() {
        let result = Header { version: 4, response: true, flags: 0, stream: 0, op: Op::RESULT, length: 4 };
        assert!(result.begins_well(&[0, 0, 0, 1]));
        assert!(!result.begins_well(&[0, 0, 0, 6]));
        let query = Header { op: Op::QUERY, response: false, length: 10, ..result };
        assert!(query.begins_well(&[0, 0, 0, 3, b'x']));
        assert!(!query.begins_well(&[0, 0, 0, 7, b'x']));
        assert!(!query.begins_well(&[0xff, 0xff, 0xff, 0xff]));
    }

    #[test]
    fn startups() {
        let body = b"\0\x02\0\x0bCQL_VERSION\0\x053.0.0\0\x0bCOMPRESSION\0\x03lz4";
        assert_eq!(startup(body), Some(Some(Compression::Lz4)));
        assert_eq!(startup(&body[..20]), None);
        assert_eq!(startup(b"\0\x01\0\x0bCQL_VERSION\0\x053.0.0"), Some(None));
    }

    #[test]
    fn compressed_bodies_are_bounded() {
        let plain = b"a line that comes again, a line that comes again, a line that comes again".repeat(20);
        let mut lz4 = (plain.len() as u32).to_be_bytes().to_vec();
        lz4.extend(lz4_flex::block::compress(&plain));
        let room = &mut Vec::new();
        assert_eq!(decompress(Compression::Lz4, &lz4, room), Some(plain.as_slice()));
        let snappy = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
        assert_eq!(decompress(Compression::Snappy, &snappy, room), Some(plain.as_slice()));
        assert_eq!(decompress(Compression::Snappy, &lz4, room), None);
        lz4[..4].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
        assert_eq!(decompress(Compression::Lz4, &lz4, room), None);
        assert_eq!(decompress(Compression::Snappy, b"\xff\xff\xff\x7f\0\0", room), None);
        assert!(room.capacity() < 1 << 20, "{}", room.capacity());
    }

    #[test]
    fn a_repeated_key_of_a_multimap_is_written_once() {
        let mut r = Reader::new(b"\0\x02\0\x01a\0\x02\0\x01x\0\x01y\0\x01a\0\0");
        let map = Multimap::read(&mut r).unwrap();
        assert_eq!(serde_json::to_string(&map).unwrap(), r#"{"a":["x","y"]}"#);
        assert!(Multimap::read(&mut Reader::new(b"\xff\xff\0\x01a")).is_none());
    }
}

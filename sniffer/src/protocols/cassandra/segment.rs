//! Segments, in which v5 puts envelopes after the connection is set up: a header protected by a CRC24, and a payload
//! protected by a CRC32. Unlike envelopes, all integers are little-endian.
//!
//! native_protocol_v5.spec sections 2.1 and 2.2. The CRC32 starts with four bytes that the specification does not
//! mention (Cassandra's `org.apache.cassandra.net.Crc`).

use super::wire;

const CRC24_INIT: u32 = 0x0087_5060;
const CRC24_POLYNOMIAL: u32 = 0x0197_4f0b;
/// The bytes with which the CRC32 of a payload starts.
const CRC32_FIRST: [u8; 4] = [0xfa, 0x2d, 0x55, 0xca];
const TRAILER: usize = 4;

const fn crc24_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u32) << 16;
        let mut bit = 0;
        while bit < 8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= CRC24_POLYNOMIAL;
            }
            bit += 1;
        }
        table[byte] = crc & 0x00ff_ffff;
        byte += 1;
    }
    table
}

static CRC24: [u32; 256] = crc24_table();

fn crc24(data: &[u8]) -> u32 {
    data.iter().fold(CRC24_INIT, |crc, byte| (crc << 8 & 0x00ff_ff00) ^ CRC24[usize::from((crc >> 16) as u8 ^ byte)])
}

fn little_endian(data: &[u8]) -> u64 {
    data.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Whether the payload consists of complete envelopes. Otherwise it is a part of one envelope.
    pub self_contained: bool,
    /// Length of the decompressed payload in bytes.
    pub plain: usize,
    /// Whether the payload is compressed.
    compressed: bool,
    /// Length of the payload on the wire in bytes.
    payload: usize,
    header: usize,
}

impl Segment {
    /// The length of the longer of the two header forms.
    pub const HEADER: usize = 8;

    /// Parses a header, in the form of connections with or without compression; `None` if there are too few bytes or
    /// the CRC24 is wrong.
    pub fn read(data: &[u8], lz4: bool) -> Option<Self> {
        let size = if lz4 { 5 } else { 3 };
        let (fields, crc) = data.get(..size + 3)?.split_at(size);
        // The bits above the flag are zero; testing them first avoids most CRCs in a search for a header.
        let unused = if lz4 { 0xf8 } else { 0xfc };
        if fields.last().is_some_and(|top| top & unused != 0) || u64::from(crc24(fields)) != little_endian(crc) {
            return None;
        }
        let word = little_endian(fields);
        let payload = (word & 0x1_ffff) as usize;
        let (plain, flag) = if lz4 { ((word >> 17 & 0x1_ffff) as usize, 34) } else { (0, 17) };
        // A payload whose decompressed length is 0 is not compressed.
        let (compressed, plain) = if plain == 0 { (false, payload) } else { (true, plain) };
        Some(Self { self_contained: word >> flag & 1 != 0, plain, compressed, payload, header: size + 3 })
    }

    /// Whether the header has the form of connections with compression.
    pub fn lz4(&self) -> bool {
        self.header == Self::HEADER
    }

    /// Length of header, payload and trailer.
    pub fn total(&self) -> usize {
        self.header + self.payload + TRAILER
    }

    /// The envelopes in the segment, decompressed into `room` if necessary; `None` if the CRC32 is wrong.
    pub fn envelopes<'a>(&self, segment: &'a [u8], room: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        let (payload, trailer) = segment.get(self.header..self.total())?.split_at_checked(self.payload)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&CRC32_FIRST);
        crc.update(payload);
        if u64::from(crc.finalize()) != little_endian(trailer) {
            return None;
        }
        if self.compressed { wire::lz4_block(payload, self.plain, room) } else { Some(payload) }
    }
}

/// Makes a segment of `payload` for tests, compressed or not.
#[cfg(test)]
pub fn wrap(payload: &[u8], self_contained: bool, lz4: bool) -> Vec<u8> {
    let block = lz4_flex::block::compress(payload);
    let body = if lz4 { block.as_slice() } else { payload };
    let word = if lz4 {
        body.len() as u64 | (payload.len() as u64) << 17 | u64::from(self_contained) << 34
    } else {
        body.len() as u64 | u64::from(self_contained) << 17
    };
    let mut out = word.to_le_bytes()[..if lz4 { 5 } else { 3 }].to_vec();
    let crc = crc24(&out);
    out.extend(&crc.to_le_bytes()[..3]);
    out.extend(body);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&CRC32_FIRST);
    crc.update(body);
    out.extend(crc.finalize().to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_and_their_checksums() {
        for lz4 in [false, true] {
            let payload = b"envelopes, envelopes, envelopes, envelopes, envelopes".repeat(3);
            let wrapped = wrap(&payload, true, lz4);
            let segment = Segment::read(&wrapped, lz4).unwrap();
            assert_eq!((segment.self_contained, segment.plain, segment.total()), (true, payload.len(), wrapped.len()));
            let room = &mut Vec::new();
            assert_eq!(segment.envelopes(&wrapped, room), Some(payload.as_slice()));
            assert_eq!(Segment::read(&wrapped, !lz4), None);
            for at in 0..wrapped.len() {
                let mut bad = wrapped.clone();
                bad[at] ^= 4;
                let got = Segment::read(&bad, lz4).and_then(|s| s.envelopes(&bad, &mut Vec::new()).map(<[u8]>::to_vec));
                assert_eq!(got, None, "byte {at}");
            }
        }
    }

    #[test]
    fn a_payload_of_a_compressed_connection_may_be_plain() {
        // The payload has 9 bytes and a decompressed length of 0, which means that it is not compressed.
        let mut wrapped = vec![9, 0, 0, 0, 4];
        let crc = crc24(&wrapped);
        wrapped.extend(&crc.to_le_bytes()[..3]);
        wrapped.extend(&wrap(b"\x05\0\0\0\x05\0\0\0\0", true, false)[6..]);
        let segment = Segment::read(&wrapped, true).unwrap();
        assert_eq!(segment.envelopes(&wrapped, &mut Vec::new()), Some(&b"\x05\0\0\0\x05\0\0\0\0"[..]));
    }
}

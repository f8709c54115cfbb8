//! The classic pcap format, draft-ietf-opsawg-pcap: a file header of 24 bytes, then records. This module parses bytes into frames and does
//! no I/O.

use super::{MAX_FRAME, Parsed};
use crate::{
    capture::{Frame, Link, Segments, linktype},
    time::Timestamp,
};

/// The contents of the file header.
#[derive(Debug)]
pub(super) struct Pcap {
    big_endian: bool,
    nanos_per_unit: u64,
    /// In the variant with magic 0xa1b2cd34 an interface index, a protocol and a packet type follow the usual record
    /// header.
    extended: bool,
    link: Link,
}

/// Length of the file header in bytes.
pub(super) const FILE_HEADER: usize = 24;

impl Pcap {
    /// Reads the file header. `None` when the magic number is not a pcap one; an error when the link type is not
    /// supported.
    pub(super) fn open(head: &[u8; FILE_HEADER]) -> Option<Result<Self, String>> {
        let [a, b, c, d, ..] = *head;
        let (big_endian, nanos_per_unit, extended) = match u32::from_be_bytes([a, b, c, d]) {
            0xa1b2_c3d4 => (true, 1000, false),
            0xd4c3_b2a1 => (false, 1000, false),
            0xa1b2_3c4d => (true, 1, false),
            0x4d3c_b2a1 => (false, 1, false),
            0xa1b2_cd34 => (true, 1000, true),
            0x34cd_b2a1 => (false, 1000, true),
            _ => return None,
        };
        let [.., w, x, y, z] = *head;
        let number = if big_endian { u32::from_be_bytes([w, x, y, z]) } else { u32::from_le_bytes([w, x, y, z]) };
        // The upper bits say whether frames end with a frame check sequence, and how long that sequence is.
        let number = number & 0x03ff_ffff;
        let Some(link) = linktype::from_number(number) else { return Some(Err(linktype::unsupported(number))) };
        Some(Ok(Self { big_endian, nanos_per_unit, extended, link }))
    }

    /// Hands over every complete record in `bytes`.
    pub(super) fn frames(&self, bytes: &[u8], each: &mut dyn FnMut(Frame<'_>)) -> Parsed {
        match (self.big_endian, self.extended) {
            (false, false) => self.records::<false, 16>(bytes, each),
            (true, false) => self.records::<true, 16>(bytes, each),
            (false, true) => self.records::<false, 24>(bytes, each),
            (true, true) => self.records::<true, 24>(bytes, each),
        }
    }

    fn records<const BIG: bool, const HEADER: usize>(&self, bytes: &[u8], each: &mut dyn FnMut(Frame<'_>)) -> Parsed {
        let mut parsed = Parsed::default();
        let mut rest = bytes;
        while let Some((head, body)) = rest.split_first_chunk::<HEADER>() {
            let word = |at: usize| {
                let field = head.get(at..).and_then(|b| b.first_chunk()).copied().unwrap_or_default();
                if BIG { u32::from_be_bytes(field) } else { u32::from_le_bytes(field) }
            };
            let captured = word(8) as usize;
            if captured > MAX_FRAME {
                parsed.broken = Some(format!("the record has {captured} bytes; the largest possible frame has {MAX_FRAME}"));
                break;
            }
            let Some((data, next)) = body.split_at_checked(captured) else { break };
            let nanos = u64::from(word(0)) * 1_000_000_000 + u64::from(word(4)) * self.nanos_per_unit;
            each(Frame {
                time: Timestamp(nanos),
                link: self.link,
                data,
                wire_len: word(12).max(captured as u32),
                tag: None,
                ifindex: 0,
                segments: Segments::default(),
                task: Default::default(),
            });
            parsed.frames += 1;
            parsed.bytes += captured as u64;
            rest = next;
        }
        parsed.consumed = (bytes.len() - rest.len()) as u64;
        parsed
    }
}

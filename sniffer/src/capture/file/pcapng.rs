//! The pcapng format, draft-ietf-opsawg-pcapng: sections of blocks, in either byte order, each with its own interfaces. This module parses
//! bytes into frames and does no I/O.
//!
//! It reads only the blocks that are needed for packets. Other types (name resolution, statistics, secrets, unknown ones) are skipped.

use super::{MAX_FRAME, Parsed, window::CAPACITY};
use crate::{
    capture::{Frame, Link, Segments, linktype},
    time::Timestamp,
};

/// Type of the section header block. Its bytes are the same in both byte orders, so the block can be recognised before the byte order is
/// known.
pub(super) const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Largest number of interfaces in a section, to bound the memory that a hostile file can use. A capture on a large
/// host has some hundreds.
const MAX_INTERFACES: usize = 65_536;
/// Largest number of options read per interface description. The format defines about twenty.
const MAX_OPTIONS: usize = 256;

/// Conversion of timestamp ticks to nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    Times(u64),
    Over(u64),
    /// A tick is 2^-n seconds.
    Binary(u8),
}

impl Resolution {
    /// Decodes `if_tsresol`: a tick is 10^-value seconds, or with the high bit set 2^-(value & 0x7f) seconds.
    fn new(value: u8) -> Self {
        let power = u32::from(value & 0x7f);
        match value {
            0..=9 => Self::Times(10_u64.pow(9 - power)),
            10..0x80 => Self::Over(10_u64.checked_pow(power - 9).unwrap_or(u64::MAX)),
            0x80.. => Self::Binary(value & 0x7f),
        }
    }

    fn nanos(self, ticks: u64) -> u64 {
        match self {
            Self::Times(factor) => ticks.saturating_mul(factor),
            Self::Over(divisor) => ticks / divisor,
            Self::Binary(power) => u64::try_from((u128::from(ticks) * 1_000_000_000) >> power).unwrap_or(u64::MAX),
        }
    }
}

#[derive(Debug)]
struct Interface {
    link: Option<Link>,
    number: u16,
    snaplen: u32,
    resolution: Resolution,
    /// Nanoseconds to add to every timestamp (`if_tsoffset` is in seconds).
    offset: i64,
    /// Whether the user was warned that the link type of this interface is not supported.
    warned: bool,
}

/// State of one file: byte order and interfaces of the current section.
#[derive(Debug, Default)]
pub(super) struct PcapNg {
    big_endian: bool,
    interfaces: Vec<Interface>,
    /// Timestamp of the last packet that had one. Simple packet blocks have no timestamp and get this one.
    last: Timestamp,
    /// Packets that do not fit into their block, or that name an unknown interface.
    pub(super) malformed: u64,
    /// Packets of interfaces whose link type is not supported.
    pub(super) unsupported: u64,
}

impl PcapNg {
    fn u16(&self, bytes: &[u8], at: usize) -> Option<u16> {
        let field = *bytes.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u16::from_be_bytes(field) } else { u16::from_le_bytes(field) })
    }

    fn u32(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let field = *bytes.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u32::from_be_bytes(field) } else { u32::from_le_bytes(field) })
    }

    /// Hands over the packets of every complete block in `bytes`.
    pub(super) fn frames(&mut self, bytes: &[u8], each: &mut dyn FnMut(Frame<'_>)) -> Parsed {
        let mut parsed = Parsed::default();
        let mut rest = bytes;
        while let Some(kind) = self.u32(rest, 0) {
            if kind == SECTION {
                match rest.get(8..12) {
                    None => break,
                    Some([0x1a, 0x2b, 0x3c, 0x4d]) => self.big_endian = true,
                    Some([0x4d, 0x3c, 0x2b, 0x1a]) => self.big_endian = false,
                    Some(magic) => {
                        parsed.broken = Some(format!("the section header has an unknown byte order mark: {magic:02x?}"));
                        break;
                    }
                }
            }
            let Some(total) = self.u32(rest, 4) else { break };
            if total < 12 {
                parsed.broken = Some(format!("the block has {total} bytes; the smallest block has 12"));
                break;
            }
            if matches!(kind, SECTION | INTERFACE | OLD_PACKET | SIMPLE_PACKET | ENHANCED_PACKET) {
                let whole = total as usize;
                // If a block is larger than the buffer, its first `CAPACITY` bytes are enough: they contain the packet, and options come
                // last.
                let Some(block) = rest.get(..whole.min(CAPACITY)) else { break };
                let end = if whole <= CAPACITY {
                    let again = self.u32(block, whole - 4);
                    if again != Some(total) {
                        parsed.broken = Some(format!("the block of {total} bytes does not end with its length"));
                        break;
                    }
                    whole - 4
                } else {
                    CAPACITY
                };
                match self.block(kind, block.get(8..end).unwrap_or_default(), each) {
                    Ok(None) => {}
                    Ok(Some(bytes)) => {
                        parsed.frames += 1;
                        parsed.bytes += bytes as u64;
                    }
                    Err(reason) => {
                        parsed.broken = Some(reason);
                        break;
                    }
                }
            }
            parsed.consumed += u64::from(total);
            match rest.get(total as usize..) {
                Some(next) => rest = next,
                None => break,
            }
        }
        parsed
    }

    /// Processes one block; `body` excludes its type and lengths. Returns the captured bytes if a packet was handed
    /// over.
    fn block(&mut self, kind: u32, body: &[u8], each: &mut dyn FnMut(Frame<'_>)) -> Result<Option<usize>, String> {
        match kind {
            SECTION => {
                self.interfaces.clear();
                match self.u16(body, 4) {
                    Some(1) => Ok(None),
                    version => Err(format!("the section has version {}; only version 1 is supported", version.unwrap_or(0))),
                }
            }
            INTERFACE => self.interface(body).map(|()| None),
            _ => match self.packet(kind, body) {
                Some(packet) => self.hand_over(&packet, each),
                None => {
                    self.malformed += 1;
                    Ok(None)
                }
            },
        }
    }

    fn interface(&mut self, body: &[u8]) -> Result<(), String> {
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err(format!("the section has more than {MAX_INTERFACES} interfaces"));
        }
        let (Some(number), Some(snaplen)) = (self.u16(body, 0), self.u32(body, 4)) else {
            return Err("the interface description block is too short".to_owned());
        };
        let link = linktype::from_number(u32::from(number));
        let mut interface = Interface { link, number, snaplen, resolution: Resolution::new(6), offset: 0, warned: false };
        let mut options = body.get(8..).unwrap_or_default();
        for _ in 0..MAX_OPTIONS {
            let (Some(code), Some(len)) = (self.u16(options, 0), self.u16(options, 2)) else { break };
            let Some(value) = options.get(4..4 + usize::from(len)) else { break };
            match (code, value) {
                (0, _) => break,
                (9, [value, ..]) => interface.resolution = Resolution::new(*value),
                (14, value) => {
                    if let Some(field) = value.first_chunk() {
                        let seconds = if self.big_endian { i64::from_be_bytes(*field) } else { i64::from_le_bytes(*field) };
                        interface.offset = seconds.saturating_mul(1_000_000_000);
                    }
                }
                _ => {}
            }
            options = options.get(4 + usize::from(len).next_multiple_of(4)..).unwrap_or_default();
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// Reads the fields of a packet block; `None` when they do not fit into the block.
    fn packet<'a>(&self, kind: u32, body: &'a [u8]) -> Option<Packet<'a>> {
        let (interface, header) = match kind {
            ENHANCED_PACKET => (self.u32(body, 0)?, 20),
            OLD_PACKET => (u32::from(self.u16(body, 0)?), 20),
            _ => {
                // A simple packet block has no captured length. The data is at most `wire_len` (the rest is padding)
                // and at most the snap length of the first interface.
                let wire_len = self.u32(body, 0)?;
                let snaplen = self.interfaces.first().map_or(0, |i| if i.snaplen == 0 { u32::MAX } else { i.snaplen });
                let data = body.get(4..)?;
                let data = data.get(..data.len().min(wire_len.min(snaplen) as usize))?;
                return Some(Packet { interface: 0, ticks: None, data, wire_len });
            }
        };
        let ticks = u64::from(self.u32(body, 4)?) << 32 | u64::from(self.u32(body, 8)?);
        let captured = self.u32(body, 12)? as usize;
        let data = body.get(header..)?.get(..captured)?;
        Some(Packet { interface, ticks: Some(ticks), data, wire_len: self.u32(body, 16)? })
    }

    fn hand_over(&mut self, packet: &Packet<'_>, each: &mut dyn FnMut(Frame<'_>)) -> Result<Option<usize>, String> {
        let several = self.interfaces.iter().take(2).count() > 1 && self.interfaces.iter().any(|i| i.link.is_some());
        let index = packet.interface as usize;
        let Some(interface) = self.interfaces.get_mut(index).filter(|_| packet.data.len() <= MAX_FRAME) else {
            self.malformed += 1;
            return Ok(None);
        };
        let Some(link) = interface.link else {
            let reason = linktype::unsupported(u32::from(interface.number));
            if !several {
                return Err(reason);
            }
            if !std::mem::replace(&mut interface.warned, true) {
                log::warn!("packets of interface {index} of the capture file are left out: {reason}");
            }
            self.unsupported += 1;
            return Ok(None);
        };
        if let Some(ticks) = packet.ticks {
            self.last = Timestamp(interface.resolution.nanos(ticks).saturating_add_signed(interface.offset));
        }
        let wire_len = packet.wire_len.max(packet.data.len() as u32);
        each(Frame {
            time: self.last,
            link,
            data: packet.data,
            wire_len,
            tag: None,
            ifindex: 0,
            segments: Segments::default(),
            task: Default::default(),
        });
        Ok(Some(packet.data.len()))
    }
}

struct Packet<'a> {
    interface: u32,
    ticks: Option<u64>,
    data: &'a [u8],
    wire_len: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolutions() {
        assert_eq!(Resolution::new(6).nanos(1_500_000), 1_500_000_000);
        assert_eq!(Resolution::new(0).nanos(3), 3_000_000_000);
        assert_eq!(Resolution::new(9).nanos(7), 7);
        assert_eq!(Resolution::new(12).nanos(1_234_567), 1_234);
        assert_eq!(Resolution::new(127).nanos(u64::MAX), 1, "absurdly fine: nothing is left");
        assert_eq!(Resolution::new(0x80 | 10).nanos(1024 + 512), 1_500_000_000);
        assert_eq!(Resolution::new(0xff).nanos(u64::MAX), 0);
        assert_eq!(Resolution::new(0).nanos(u64::MAX), u64::MAX);
    }
}

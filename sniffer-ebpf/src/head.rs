//! The first bytes of a frame, copied to a buffer in which programs of every type can read at variable offsets.

use crate::{maps::WORK, packet::Packet, parse::Parsed};
use sniffer_common::{
    HEAD_BYTES,
    flow::{FlowValue, FragmentKey},
    length, link,
};

/// Bytes of [`Head::bytes`]; a power of two, so that an offset can be masked.
const ROOM: usize = 256;
/// Offset of the IP header of an untagged frame, a multiple of 4. Ethernet headers begin 14 bytes before it.
pub const IP_AT: u32 = 16;

/// The buffer. Reads of a header may extend into `tail`, so they need no bounds check of their own. Bytes behind the
/// copied ones are from earlier frames.
#[repr(C, align(8))]
pub struct Head {
    bytes: [u8; ROOM],
    tail: [u8; 64],
}

/// What a CPU knows of the packet that it works on. In a map, because the stack of a program has 512 bytes, and because
/// functions that the verifier checks only once take no pointers.
#[repr(C)]
pub struct Work {
    pub head: Head,
    /// Offset of the first byte of the frame in the buffer.
    pub start: u32,
    /// Offset of the first byte that was not copied.
    pub end: u32,
    /// One of [`sniffer_common::link`].
    pub link: u32,
    /// Length of the frame without the stripped tag.
    pub wire_len: u32,
    /// The TCI of the stripped tag plus 2^16; 0 without one.
    pub tag: u32,
    /// See [`Packet::segments`].
    pub segments: u32,
    pub segment_size: u32,
    pub parsed: Parsed,
    pub datagram: FragmentKey,
    pub value: FlowValue,
}

/// Read access to the head of a frame.
#[derive(Clone, Copy)]
pub struct View {
    head: *const Head,
    /// See [`Work::start`].
    pub start: u32,
    /// See [`Work::end`].
    pub end: u32,
}

/// Copies the head of a frame to the buffer of this CPU, and notes what its context says. No hook interrupts another on
/// the same CPU, because hooks run with bottom halves disabled.
#[inline(always)]
pub fn load<P: Packet>(packet: &P, link: u8) -> Option<*mut Work> {
    let work = WORK.get_ptr_mut(0)?;
    let start = if link == link::RAW_IP { IP_AT } else { IP_AT - length::ETHERNET as u32 };
    let wire_len = packet.len();
    let len = wire_len.min(HEAD_BYTES as u32);
    let (segments, segment_size) = packet.segments();
    if len == 0 {
        return None;
    }
    // SAFETY: the buffer has room for `HEAD_BYTES` from `IP_AT` on.
    unsafe {
        let to = (&raw mut (*work).head.bytes).cast::<u8>().add(start as usize);
        packet.copy(to, crate::record::clamp::<{ HEAD_BYTES as i32 }>(len)).ok()?;
        (*work).start = start;
        (*work).end = start + len;
        (*work).link = link.into();
        (*work).wire_len = wire_len;
        (*work).tag = packet.tag().map_or(0, |(_, tci)| 1 << 16 | u32::from(tci));
        (*work).segments = segments.into();
        (*work).segment_size = segment_size.into();
    }
    Some(work)
}

/// The head that was loaded.
#[inline(always)]
pub fn view(work: *const Work) -> View {
    // SAFETY: the work of this CPU.
    unsafe { View { head: &raw const (*work).head, start: (*work).start, end: (*work).end } }
}

impl View {
    #[inline(always)]
    fn bytes(self) -> *const u8 {
        self.head.cast()
    }

    /// The byte at `at`. Offsets are masked, so that the verifier knows that reads stay in the buffer.
    #[inline(always)]
    pub fn byte(self, at: u32) -> u32 {
        // SAFETY: the mask keeps the offset in `bytes`.
        unsafe { u32::from(*self.bytes().add((at & 0xff) as usize)) }
    }

    /// The two bytes at `at`, an even offset, in network byte order.
    #[inline(always)]
    pub fn be16(self, at: u32) -> u32 {
        // SAFETY: as above; the buffer and the masked offset are aligned.
        u32::from(u16::from_be(unsafe { self.bytes().add((at & 0xfe) as usize).cast::<u16>().read() }))
    }

    /// The four bytes at `at`, in native byte order.
    #[inline(always)]
    pub fn word(self, at: u32) -> u32 {
        // SAFETY: as above, and `tail` follows. All VLAN tags and IP headers have lengths divisible by 4.
        unsafe { self.bytes().add((at & 0xfc) as usize).cast::<u32>().read() }
    }

    /// The addresses of the Ethernet header, the first 12 bytes of the frame.
    #[inline(always)]
    pub fn macs(self) -> [u32; 3] {
        // SAFETY: the first 14 bytes are in the buffer; the Ethernet header begins at an even offset.
        unsafe {
            let at = self.bytes().add((IP_AT - length::ETHERNET as u32) as usize);
            let half = |place: usize| u32::from(at.cast::<u16>().add(place).read());
            [half(0) | half(1) << 16, half(2) | half(3) << 16, half(4) | half(5) << 16]
        }
    }
}

//! The head of a frame: its first bytes, copied to a buffer. The verifier allows reads at variable offsets in this buffer
//! for every program type.

use crate::{maps::WORK, packet::Packet, parse::Parsed};
use sniffer_common::{
    HEAD_BYTES,
    flow::{FlowValue, FragmentKey},
    length, link,
    shunt::ShuntKey,
};

/// Size of [`Head::bytes`]; a power of two, so that a bit mask keeps every offset inside the buffer.
const ROOM: usize = 256;
/// Offset of the IP header of an untagged frame, a multiple of 4. Ethernet headers begin 14 bytes before it.
pub const IP_AT: u32 = 16;

/// The buffer. Reads at a masked offset may extend into `tail`, so they need no bounds check. The bytes after the copied
/// ones are from earlier frames.
#[repr(C, align(8))]
pub struct Head {
    bytes: [u8; ROOM],
    tail: [u8; 64],
}

/// The packet that a CPU processes: its head and the results of parsing. It is stored in a map, because the stack of a program has 512
/// bytes, and because the global functions, which the verifier checks once, do not take pointers.
#[repr(C)]
pub struct Work {
    pub head: Head,
    /// Offset of the first byte of the frame in the buffer.
    pub start: u32,
    /// Offset of the first byte that was not copied.
    pub end: u32,
    /// One of [`sniffer_common::link`].
    pub link: u32,
    /// Length of the frame without the VLAN tag in the metadata.
    pub wire_len: u32,
    /// The TCI of the VLAN tag in the metadata plus 2^16; 0 without such a tag.
    pub tag: u32,
    /// See [`Packet::segments`].
    pub segments: u32,
    pub segment_size: u32,
    /// Result of [`crate::parse::find_flow`].
    pub parsed: Parsed,
    /// Room for a key of `FRAGMENTS`.
    pub datagram: FragmentKey,
    /// Room for a key of `SHUNTS`.
    pub shunt: ShuntKey,
    /// Room for a new value of `FLOWS`.
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

/// Copies the head of a frame and its metadata to the [`Work`] of this CPU. Until the program ends, no other hook overwrites this value on
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
    // SAFETY: `work` points to the value of this CPU in a per-CPU array. The buffer has room for `HEAD_BYTES` from `IP_AT` on, and `clamp`
    // limits the copied length to `HEAD_BYTES`.
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

/// The head that [`load`] copied.
#[inline(always)]
pub fn view(work: *const Work) -> View {
    // SAFETY: `work` points to the value of this CPU in a per-CPU array, which exists as long as the program.
    unsafe { View { head: &raw const (*work).head, start: (*work).start, end: (*work).end } }
}

impl View {
    #[inline(always)]
    fn bytes(self) -> *const u8 {
        self.head.cast()
    }

    /// The byte at offset `at`. The offset is masked, which proves to the verifier that the read stays in the buffer.
    #[inline(always)]
    pub fn byte(self, at: u32) -> u32 {
        // SAFETY: `head` points to the value of this CPU in a per-CPU array, and the mask keeps the offset inside `bytes`.
        unsafe { u32::from(*self.bytes().add((at & 0xff) as usize)) }
    }

    /// The two bytes at `at`, an even offset, in network byte order.
    #[inline(always)]
    pub fn be16(self, at: u32) -> u32 {
        // SAFETY: `head` points to the value of this CPU in a per-CPU array. The mask keeps the offset inside `bytes` and makes it even,
        // and `bytes` is aligned to 4.
        u32::from(u16::from_be(unsafe { self.bytes().add((at & 0xfe) as usize).cast::<u16>().read() }))
    }

    /// The four bytes at `at`, in native byte order.
    #[inline(always)]
    pub fn word(self, at: u32) -> u32 {
        // SAFETY: `head` points to the value of this CPU in a per-CPU array. The mask keeps the offset inside `bytes` and makes it a
        // multiple of 4, and `bytes` is aligned to 4. The masked offset is the right one, because VLAN tags and IP headers have lengths
        // divisible by 4.
        unsafe { self.bytes().add((at & 0xfc) as usize).cast::<u32>().read() }
    }

    /// The addresses of the Ethernet header, the first 12 bytes of the frame.
    #[inline(always)]
    pub fn macs(self) -> [u32; 3] {
        // SAFETY: `head` points to the value of this CPU in a per-CPU array. The Ethernet header begins at the constant offset `IP_AT -
        // 14`, which is even and inside the buffer.
        unsafe {
            let at = self.bytes().add((IP_AT - length::ETHERNET as u32) as usize);
            let half = |place: usize| u32::from(at.cast::<u16>().add(place).read());
            [half(0) | half(1) << 16, half(2) | half(3) << 16, half(4) | half(5) << 16]
        }
    }
}

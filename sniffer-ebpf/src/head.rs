//! The first bytes of a frame, copied to a buffer in which programs of every type can read at variable offsets.

use crate::{maps::HEAD, packet::Packet};
use sniffer_common::{HEAD_BYTES, length, link};

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

/// A frame's head, and where it ends.
#[derive(Clone, Copy)]
pub struct View<'a> {
    head: &'a Head,
    /// Offset of the first byte that was not copied.
    pub end: u32,
}

/// Copies the head of a frame to the buffer of this CPU. No hook interrupts another on the same CPU, because hooks run
/// with bottom halves disabled.
#[inline(always)]
pub fn load<'a, P: Packet>(packet: &P, link: u8) -> Option<View<'a>> {
    let head = HEAD.get_ptr_mut(0)?;
    let start = if link == link::RAW_IP { IP_AT } else { IP_AT - length::ETHERNET as u32 };
    let len = packet.len().min(HEAD_BYTES as u32);
    if len == 0 {
        return None;
    }
    // SAFETY: the buffer has room for `HEAD_BYTES` from `IP_AT` on.
    unsafe {
        let to = (&raw mut (*head).bytes).cast::<u8>().add(start as usize);
        packet.copy(to, crate::record::clamp::<{ HEAD_BYTES as i32 }>(len)).ok()?;
        Some(View { head: &*head, end: start + len })
    }
}

impl View<'_> {
    /// The byte at `at`. Offsets are masked, so that the verifier knows that reads stay in the buffer.
    #[inline(always)]
    pub fn byte(self, at: u32) -> u32 {
        // SAFETY: the mask keeps the offset in `bytes`.
        unsafe { u32::from(*self.head.bytes.as_ptr().add((at & 0xff) as usize)) }
    }

    /// The two bytes at `at`, an even offset, in network byte order.
    #[inline(always)]
    pub fn be16(self, at: u32) -> u32 {
        // SAFETY: as above; the buffer and the masked offset are aligned.
        u32::from(u16::from_be(unsafe { self.head.bytes.as_ptr().add((at & 0xfe) as usize).cast::<u16>().read() }))
    }

    /// The four bytes at `at`, in native byte order.
    #[inline(always)]
    pub fn word(self, at: u32) -> u32 {
        // SAFETY: as above, and `tail` follows. All VLAN tags and IP headers have lengths divisible by 4.
        unsafe { self.head.bytes.as_ptr().add((at & 0xfc) as usize).cast::<u32>().read() }
    }
}

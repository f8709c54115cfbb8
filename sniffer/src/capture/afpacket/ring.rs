//! The ring of blocks in memory that the kernel and this program share. The status of a block says whether the kernel or this program owns
//! the block (`Documentation/networking/packet_mmap.rst`, `TPACKET_V3`).
#![allow(unsafe_code)] // memory that the kernel writes

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::{NonNull, null_mut},
    slice,
    sync::atomic::{AtomicU32, Ordering},
};

/// Size of `tpacket_block_desc`: version, offset of private data, status, number of packets, offset of the first one,
/// length, sequence number, two timestamps. The constants below are offsets in it.
const BLOCK_HEADER: usize = 48;
const STATUS: usize = 8;
const PACKETS: usize = 12;
const FIRST: usize = 16;
/// Size of `tpacket3_hdr` and the `sockaddr_ll` after it.
const PACKET_HEADER: usize = 48 + 20;

pub(super) struct Ring {
    base: NonNull<u8>,
    block_size: usize,
    blocks: usize,
    next: usize,
}

// SAFETY: only this value has the address of the mapping, and the mapping can be used from every thread of the process.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps the ring of a socket. `block_size` (in bytes) and `blocks` must be those that
    /// [`super::socket::Socket::ring`] requested.
    pub(super) fn map(socket: BorrowedFd<'_>, block_size: usize, blocks: usize) -> io::Result<Self> {
        let len = block_size * blocks;
        // SAFETY: the call makes a new mapping and changes no existing one. The descriptor is open, and the kernel refuses a length that is
        // not that of the ring.
        let base = unsafe { libc::mmap(null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, socket.as_raw_fd(), 0) };
        match NonNull::new(base.cast::<u8>()) {
            Some(start) if base != libc::MAP_FAILED => Ok(Self { base: start, block_size, blocks, next: 0 }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn status(&self) -> &AtomicU32 {
        // SAFETY: `next` is below `blocks`, so the word is inside the mapping, which lives as long as `self`. Blocks begin at page
        // boundaries, so the word is aligned. The kernel and this program access the word only atomically.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(self.next * self.block_size + STATUS).cast()) }
    }

    /// The next block that the kernel has released to user space. Dropping the block returns it to the kernel.
    pub(super) fn next(&mut self) -> Option<Block<'_>> {
        // Acquire: the kernel's writes before it released the block are visible.
        (self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER != 0).then(|| Block { ring: self })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: `map` made the mapping with this address and length. Every borrow of it also borrows this value, so none is left.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.block_size * self.blocks) };
    }
}

/// A block owned by user space.
pub(super) struct Block<'a> {
    ring: &'a mut Ring,
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        // Release: all reads are finished before the kernel sees that it may write to the block again.
        self.ring.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.ring.next = (self.ring.next + 1) % self.ring.blocks;
    }
}

impl Block<'_> {
    fn bytes(&self) -> &[u8] {
        let at = self.ring.next * self.ring.block_size;
        // SAFETY: `next` is below `blocks`, so the bytes are inside the mapping. While the status says that user space owns the block, the
        // kernel does not write to it. The slice begins at `PACKETS`, after the status word, so the status word can change while the slice
        // exists.
        unsafe { slice::from_raw_parts(self.ring.base.as_ptr().add(at + PACKETS), self.ring.block_size - PACKETS) }
    }

    /// The packets in the block.
    pub(super) fn packets(&self) -> Packets<'_> {
        let bytes = self.bytes();
        let left = u32_at(bytes, 0);
        let first = (u32_at(bytes, FIRST - PACKETS) as usize).max(BLOCK_HEADER);
        Packets { rest: bytes.get(first - PACKETS..).unwrap_or_default(), left }
    }
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_ne_bytes(*b))
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u16::from_ne_bytes(*b))
}

/// A packet and the kernel's metadata about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub seconds: u32,
    pub nanos: u32,
    /// Bytes on the wire, without a stripped VLAN tag.
    pub wire_len: u32,
    /// The `TP_STATUS_` bits of the packet.
    pub status: u32,
    pub vlan_tci: u16,
    pub vlan_tpid: u16,
    /// EtherType as determined by the kernel, in host byte order.
    pub protocol: u16,
    pub ifindex: u32,
    /// `ARPHRD_` number of the interface.
    pub hardware: u16,
    /// The packet type: `PACKET_HOST`, `PACKET_OUTGOING` or another one of `linux/if_packet.h`.
    pub direction: u8,
    /// The captured bytes, from the link header on.
    pub data: &'a [u8],
    /// Offset of the network header in `data`.
    pub network: usize,
}

pub(super) struct Packets<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    #[inline]
    fn next(&mut self) -> Option<Packet<'a>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let here = self.rest;
        let head = here.first_chunk::<PACKET_HEADER>()?;
        let captured = u32_at(head, 12) as usize;
        let link = usize::from(u16_at(head, 24));
        let packet = Packet {
            seconds: u32_at(head, 4),
            nanos: u32_at(head, 8),
            wire_len: u32_at(head, 16),
            status: u32_at(head, 20),
            vlan_tci: u32_at(head, 32) as u16,
            vlan_tpid: u16_at(head, 36),
            protocol: u16::from_be(u16_at(head, 50)),
            ifindex: u32_at(head, 52),
            hardware: u16_at(head, 56),
            direction: head.get(58).copied().unwrap_or_default(),
            data: here.get(link..)?.get(..captured)?,
            network: usize::from(u16_at(head, 26)).saturating_sub(link),
        };
        // In the last packet of a block, the offset of the next packet is 0 or the end of the block.
        let next = u32_at(head, 0) as usize;
        self.rest = if next < PACKET_HEADER { &[] } else { here.get(next..).unwrap_or_default() };
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a packet of a block: a `tpacket3_hdr`, a `sockaddr_ll`, and 4 bytes of packet data.
    fn packet(next: u32, captured: u32) -> Vec<u8> {
        let words = [next, 7, 8, captured, 60, libc::TP_STATUS_VLAN_VALID, 0, 0, 5, 0x88a8, 0, 0, 0, 3, 0, 0, 0];
        let mut bytes: Vec<u8> = words.iter().flat_map(|w: &u32| w.to_ne_bytes()).collect();
        bytes[24..28].copy_from_slice(&[68_u16.to_ne_bytes(), 68_u16.to_ne_bytes()].concat());
        bytes[50..52].copy_from_slice(&0x0800_u16.to_be_bytes());
        bytes[56..58].copy_from_slice(&1_u16.to_ne_bytes());
        bytes.extend(b"data");
        bytes
    }

    fn packets(bytes: &[u8], left: u32) -> Vec<Packet<'_>> {
        Packets { rest: bytes, left }.collect()
    }

    #[test]
    fn the_fields_of_a_packet_are_read() {
        let bytes = [packet(72, 4), packet(0, 4)].concat();
        let seen = packets(&bytes, 2);
        let [first, _] = seen.as_slice() else { panic!("{seen:?}") };
        let all =
            (first.seconds, first.nanos, first.wire_len, first.vlan_tci, first.vlan_tpid, first.protocol, first.ifindex, first.hardware);
        assert_eq!((all, first.data, first.network), ((7, 8, 60, 5, 0x88a8, 0x0800, 3, 1), &b"data"[..], 0));
    }

    #[test]
    fn wrong_lengths_read_nothing_outside_the_block() {
        assert_eq!(packets(&packet(0, 5), 1).len(), 0, "more bytes than the block has");
        assert_eq!(packets(&packet(0, 4), u32::MAX).len(), 1, "fewer packets than it says");
        assert_eq!(packets(&packet(u32::MAX, 4), 2).len(), 1, "the next one outside");
        assert_eq!(packets(&packet(0, 4)[..67], 1).len(), 0, "no room for a header");
    }
}

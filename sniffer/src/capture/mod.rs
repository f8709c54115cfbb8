//! Where frames come from. Every backend implements [`Source`]; none of them knows what becomes of a frame.

pub mod afpacket;
pub mod control;
pub mod devices;
pub mod dump;
pub mod ebpf;
pub mod file;
pub mod filter;
pub mod filtered;
pub mod libpcap;
pub mod linktype;
pub mod live;
pub mod open;
pub mod options;
pub mod replay;

mod error;
#[cfg(test)]
mod live_tests;
mod sys;

pub use error::Error;
pub use open::Kernel;

use crate::time::Timestamp;
use std::{io, time::Duration};

/// What a frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// Ethernet II, `DLT_EN10MB`.
    Ethernet,
    /// An IPv4 or IPv6 header, `DLT_RAW` and its kin.
    RawIp,
    /// Linux cooked capture v1, `DLT_LINUX_SLL`: 16 bytes, the protocol in the last two.
    LinuxSll,
    /// Linux cooked capture v2, `DLT_LINUX_SLL2`: 20 bytes, the protocol in the first two.
    LinuxSll2,
    /// BSD loopback, `DLT_NULL` and `DLT_LOOP`: an address family of four bytes in either byte order.
    Null,
}

/// A VLAN tag that the kernel or the card took out of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrippedTag {
    /// EtherType of the tag: 0x8100 (802.1Q) or 0x88a8 (802.1ad).
    pub tpid: u16,
    /// Priority, drop eligibility and VLAN id, as on the wire.
    pub tci: u16,
}

/// How many packets on the wire a frame stands for. The kernel and the card join received segments of a flow (GRO) and cut sent ones as
/// late as they can (GSO, TSO), so that one frame may be several packets with the same headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Segments {
    /// As many as this, at least 1.
    Count(u32),
    /// As many as it takes to carry the payload with this many bytes in each, at least 1. Drivers of virtual machines give only this.
    OfSize(u32),
}

impl Default for Segments {
    /// The frame is one packet.
    fn default() -> Self {
        Self::Count(1)
    }
}

/// One captured frame, borrowed from the source's own buffer until the callback returns.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When it was on the wire.
    pub time: Timestamp,
    /// What `data` begins with.
    pub link: Link,
    /// The bytes that were captured.
    pub data: &'a [u8],
    /// Bytes of the frame, but for `tag`; more than `data` has when the frame was cut to the snap length.
    pub wire_len: u32,
    /// The outermost VLAN tag when it is not in `data` (offloaded into metadata).
    pub tag: Option<StrippedTag>,
    /// Kernel index of the interface it was seen on; 0 for files.
    pub ifindex: u32,
    /// How many packets on the wire it stands for.
    pub segments: Segments,
}

/// What became of one call of [`Source::poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// So many frames were handed over.
    Frames(usize),
    /// Nothing came within the wait.
    Idle,
    /// Nothing will ever come again: the file is at its end.
    Ended,
}

/// A source pushes frames: the buffer behind a [`Frame`] goes back to the kernel when `each` returns.
pub trait Source: Send {
    /// Hands over what is there (a bounded number of frames), waiting at most `wait` when nothing is.
    ///
    /// # Errors
    /// When the device is gone or the file is broken beyond what was already handed over.
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled>;

    /// Totals since the source was opened.
    ///
    /// # Errors
    /// When the kernel does not answer.
    fn stats(&mut self) -> io::Result<Stats>;
}

/// Packets counted by a source since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Seen by the hook or socket, before any filter, where that is known; else the same as `matched`.
    pub seen: u64,
    /// Passed the filter.
    pub matched: u64,
    /// Matched, and lost because the ring or socket buffer was full.
    pub lost: u64,
    /// Lost by the interface before anybody saw them, where that is known.
    pub lost_by_interface: u64,
    /// Matched, and left alone because another interface owns the flow (on `any` a packet may be seen on several).
    pub duplicates: u64,
}

impl Stats {
    /// The sum of two sources, or of what one counted before and after it was opened again.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            seen: self.seen + other.seen,
            matched: self.matched + other.matched,
            lost: self.lost + other.lost,
            lost_by_interface: self.lost_by_interface + other.lost_by_interface,
            duplicates: self.duplicates + other.duplicates,
        }
    }
}

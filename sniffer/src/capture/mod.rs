//! Where frames come from, and the way back. A backend has sources ([`Source`], one for each worker) and one control
//! ([`control::Control`]); none of them knows what becomes of a frame.

pub mod afpacket;
pub mod compile;
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
pub mod tally;
pub mod wrapper;

mod error;
mod expression;
#[cfg(test)]
mod live_tests;
mod slot;
mod sys;
#[cfg(test)]
mod testing;

pub use error::Error;

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

/// A source pushes frames: the buffer behind a [`Frame`] goes back to the kernel when `each` returns. It belongs to one worker; what others
/// say to the interface goes through [`control::Control`]. A source in front of another one implements [`wrapper::Wrapper`] instead.
pub trait Source: Send {
    /// Hands over what is there (a bounded number of frames), waiting at most `wait` when nothing is.
    ///
    /// # Errors
    /// When the device is gone or the file is broken beyond what was already handed over.
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled>;

    /// Adds what was counted since the last call to what [`control::Control::stats`] answers. The worker calls it about once a second and at
    /// its end: some counters can be read only by the thread that owns the source.
    ///
    /// # Errors
    /// When the kernel does not answer.
    fn update_stats(&mut self) -> io::Result<()>;
}

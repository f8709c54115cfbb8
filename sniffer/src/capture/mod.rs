//! Packet capture. Each backend has sources ([`Source`], one per worker), which deliver frames, and one control per
//! interface ([`control::Control`]), which takes filters and verdicts and answers statistics. Backends do not decode
//! frames.

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
pub mod sockets;
pub mod tally;
pub mod trial;
pub mod unfiltered;
pub mod waiting;
pub mod wrapper;

mod error;
mod expression;
#[cfg(test)]
mod live_tests;
mod slot;
mod sys;
#[cfg(test)]
pub(crate) mod testing;

pub use error::Error;

use crate::time::Timestamp;
use std::{io, time::Duration};

/// The header that a frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// Ethernet II, `DLT_EN10MB`.
    Ethernet,
    /// An IPv4 or IPv6 header, `DLT_RAW` and the link types like it.
    RawIp,
    /// Linux cooked capture v1, `DLT_LINUX_SLL`: a header of 16 bytes with the protocol in its last two.
    LinuxSll,
    /// Linux cooked capture v2, `DLT_LINUX_SLL2`: a header of 20 bytes with the protocol in its first two.
    LinuxSll2,
    /// BSD loopback, `DLT_NULL` and `DLT_LOOP`: a header of four bytes with the address family, in either byte order.
    Null,
}

/// A VLAN tag that the kernel or the network card removed from the frame and delivered as metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrippedTag {
    /// EtherType of the tag: 0x8100 (802.1Q) or 0x88a8 (802.1ad).
    pub tpid: u16,
    /// Priority, drop eligibility and VLAN id, as on the wire.
    pub tci: u16,
}

/// How many packets on the wire a frame stands for. The kernel and the network card merge received segments of a flow
/// (GRO) and split sent ones as late as they can (GSO, TSO), so one frame can be several packets with the same headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Segments {
    /// The number of packets, at least 1.
    Count(u32),
    /// The payload bytes of each packet. The number of packets is the payload of the frame divided by this size, rounded up, and at least
    /// 1. Drivers of virtual machines report only this size.
    OfSize(u32),
}

impl Default for Segments {
    /// The frame is one packet.
    fn default() -> Self {
        Self::Count(1)
    }
}

/// One captured frame. It borrows from the source's buffer and is valid until the callback returns.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When the frame was on the wire.
    pub time: Timestamp,
    /// The header that `data` begins with.
    pub link: Link,
    /// The captured bytes.
    pub data: &'a [u8],
    /// Length of the frame on the wire in bytes, without `tag`. It is larger than `data.len()` when the frame was cut to the snap length.
    pub wire_len: u32,
    /// The outermost VLAN tag, when the kernel or the card removed it from `data`.
    pub tag: Option<StrippedTag>,
    /// Kernel index of the interface that saw the frame; 0 for files.
    pub ifindex: u32,
    /// How many packets on the wire the frame stands for.
    pub segments: Segments,
    /// What user space still has to do with the frame.
    pub task: Task,
}

/// What user space does with a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// User space parses the packet, and counts it in its flow.
    #[default]
    ParseAndCount,
    /// User space parses the packet. The kernel has already counted it.
    Parse,
    /// User space counts the packet in its flow, because the kernel could not. Only the first bytes were captured. The flow's key has this
    /// connection number.
    Count(Option<u64>),
}

/// Result of one call of [`Source::poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Number of frames handed over.
    Frames(usize),
    /// No frame arrived within the wait.
    Idle,
    /// The file is at its end: no frame will follow.
    Ended,
}

/// A stream of frames, owned by one worker. The memory of a [`Frame`] returns to the kernel when `each` returns. Other
/// threads use the interface through [`control::Control`]. A source that wraps another source implements
/// [`wrapper::Wrapper`] instead of this trait.
pub trait Source: Send {
    /// Hands over the frames that are ready, up to a limit of the backend. If none is ready, the method waits at most `wait`.
    ///
    /// # Errors
    /// When the device is gone, or when the file cannot be read further. Frames already handed over stay valid results.
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled>;

    /// Adds the counts of this source since the last call to the sum that [`control::Control::stats`] returns. The
    /// worker calls this function about once a second and before the worker ends, because some counters can be read
    /// only by the thread that owns the source.
    ///
    /// # Errors
    ///
    /// When the kernel cannot deliver the counters.
    fn update_stats(&mut self) -> io::Result<()>;
}

//! What the two halves share: records and counters (`repr(C)`, native byte order, no padding), names of settings, and the numbers of
//! protocol headers. `no_std`; no dependencies but, in user space, `zerocopy` (feature of that name), which reads records and counters.
#![no_std]

mod header;

pub use header::{ethertype, length, limit, protocol};

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What precedes the bytes of a frame in a ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct RecordHeader {
    /// `CLOCK_BOOTTIME` in nanoseconds when the hook saw the frame.
    pub time: u64,
    /// Bytes of the frame as the hook saw it: without the tag in [`Self::tag_tci`].
    pub wire_len: u32,
    /// Bytes that follow this header.
    pub captured: u32,
    /// Kernel index of the interface.
    pub ifindex: u32,
    /// Packets on the wire that this record stands for (GRO, GSO); 0 where [`Self::segment_size`] has to say it.
    pub segments: u16,
    /// Bytes of payload in each of those packets; 0 when the record is one packet.
    pub segment_size: u16,
    /// EtherType of the VLAN tag that the kernel or card took out of the frame; 0 when there is none.
    pub tag_tpid: u16,
    /// Priority, drop eligibility and VLAN id of that tag.
    pub tag_tci: u16,
    /// One of [`hook`].
    pub hook: u8,
    /// One of [`direction`].
    pub direction: u8,
    /// One of [`link`].
    pub link: u8,
    /// Always 0.
    pub reserved: u8,
}

/// Bytes of a [`RecordHeader`].
pub const RECORD_HEADER: usize = size_of::<RecordHeader>();
const _: () = assert!(RECORD_HEADER == 32);

/// The greatest snap length, `snaplen`'s default in Packetbeat.
pub const MAX_SNAPLEN: u32 = 65_535;

/// Where a program is attached.
pub mod hook {
    /// XDP, native or generic.
    pub const XDP: u8 = 1;
    /// TC, by tcx or clsact.
    pub const TC: u8 = 2;
    /// A packet socket.
    pub const SOCKET: u8 = 3;
}

/// Which way a packet goes.
pub mod direction {
    /// Into the host.
    pub const INGRESS: u8 = 0;
    /// Out of the host; on a packet socket `PACKET_OUTGOING`.
    pub const EGRESS: u8 = 1;
}

/// What a frame begins with.
pub mod link {
    /// Ethernet II.
    pub const ETHERNET: u8 = 0;
    /// An IPv4 or IPv6 header (tun, WireGuard).
    pub const RAW_IP: u8 = 1;
    /// For [`super::setting::LINK`] only: it depends on the interface; those in the map `RAW_IP` have no link header.
    pub const BY_INTERFACE: u8 = 2;
}

/// Places in a jump table. A filter calls [`CAPTURE`](slot::CAPTURE) on a match.
pub mod slot {
    /// The generated filter for Ethernet; empty: everything is captured.
    pub const FILTER: u32 = 0;
    /// Copies the frame.
    pub const CAPTURE: u32 = 1;
    /// The generated filter for frames without a link header; empty: everything is captured.
    pub const FILTER_RAW_IP: u32 = 2;
    /// How many there are.
    pub const COUNT: u32 = 3;
}

/// Per CPU and worker. `seen` is kept with worker 0, because who is to get a packet is not known before the filter.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Counters {
    /// Packets that reached the hook.
    pub seen: u64,
    /// Packets that the filter wants.
    pub matched: u64,
    /// Records that were written to the ring.
    pub copied: u64,
    /// Matched, and not copied because the ring was full or the frame could not be read.
    pub lost: u64,
}

/// Names of the constants that user space sets before the programs are loaded (all `u32`).
pub mod setting {
    /// Most bytes of a frame to copy, 1 to [`super::MAX_SNAPLEN`].
    pub const SNAPLEN: &str = "SNAPLEN";
    /// How many ring buffers there are.
    pub const WORKERS: &str = "WORKERS";
    /// The reader is woken when at least this many bytes are pending in its ring.
    pub const WAKE_AT: &str = "WAKE_AT";
    /// One of [`super::link`].
    pub const LINK: &str = "LINK";
    /// Interface whose outgoing packets a packet socket ignores, because it shows each again as incoming; 0: none.
    pub const LOOPBACK: &str = "LOOPBACK";
}

/// Most ring buffers, and so workers: more cores than that share.
pub const MAX_WORKERS: u32 = 256;

//! Definitions shared by the eBPF programs and user space: records and counters (`repr(C)`, native byte order, no
//! padding), names of settings, numbers of protocol headers. `no_std`, without dependencies, except that user space
//! reads records and counters with `zerocopy` (a feature of that name).
#![no_std]

pub mod flow;
mod header;

pub use header::{ethertype, length, limit, protocol};

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Header of a record in a ring buffer; the bytes of the frame follow it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct RecordHeader {
    /// Time when the hook saw the frame: `CLOCK_BOOTTIME` in nanoseconds.
    pub time: u64,
    /// Length of the frame in bytes as the hook saw it, without the tag in [`Self::tag_tci`].
    pub wire_len: u32,
    /// Bytes of the frame that follow this header.
    pub captured: u32,
    /// Kernel index of the interface.
    pub ifindex: u32,
    /// Packets on the wire that this record stands for (GRO, GSO). 0 if only [`Self::segment_size`] is known.
    pub segments: u16,
    /// Payload bytes of each of those packets; 0 if the record is one packet.
    pub segment_size: u16,
    /// TPID of the VLAN tag that the kernel or the card stripped from the frame; 0 if there is none.
    pub tag_tpid: u16,
    /// Priority, drop eligibility and VLAN id of that tag.
    pub tag_tci: u16,
    /// One of [`hook`].
    pub hook: u8,
    /// One of [`direction`].
    pub direction: u8,
    /// One of [`link`].
    pub link: u8,
    /// One of [`flow::task`].
    pub task: u8,
    /// The number of the TCP connection in a record that is only to be counted, if the flow's key has it; otherwise 0.
    pub connection: u64,
}

/// Bytes of a [`RecordHeader`].
pub const RECORD_HEADER: usize = size_of::<RecordHeader>();
const _: () = assert!(RECORD_HEADER == 40);

/// Largest snap length in bytes; the default of `snaplen` in Packetbeat.
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

/// Direction of a packet.
pub mod direction {
    /// To the host.
    pub const INGRESS: u8 = 0;
    /// From the host; on a packet socket `PACKET_OUTGOING`.
    pub const EGRESS: u8 = 1;
}

/// The header that a frame begins with.
pub mod link {
    /// Ethernet II.
    pub const ETHERNET: u8 = 0;
    /// An IPv4 or IPv6 header (tun, WireGuard).
    pub const RAW_IP: u8 = 1;
    /// Only for [`super::setting::LINK`]: it depends on the interface. Interfaces in the map `RAW_IP` have no link
    /// header.
    pub const BY_INTERFACE: u8 = 2;
}

/// Slots of a jump table. A filter calls [`CAPTURE`](slot::CAPTURE) on a match.
pub mod slot {
    /// The generated filter for Ethernet. If empty, every packet is captured.
    pub const FILTER: u32 = 0;
    /// The program that copies the frame.
    pub const CAPTURE: u32 = 1;
    /// The generated filter for frames without a link header. If empty, every packet is captured.
    pub const FILTER_RAW_IP: u32 = 2;
    /// Number of slots.
    pub const COUNT: u32 = 3;
}

/// Counters of a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Counters {
    /// Packets that reached the hook, except [`Self::duplicates`].
    pub seen: u64,
    /// Packets that matched the filter.
    pub matched: u64,
    /// Records written to the ring.
    pub copied: u64,
    /// Captured bytes of the packets in [`Self::copied`].
    pub copied_bytes: u64,
    /// Packets that matched and were not copied, because the ring was full or the frame could not be read.
    pub lost: u64,
    /// Packets that were seen on another interface before.
    pub duplicates: u64,
    /// Heads of packets that were written to a ring for counting in user space.
    pub headers: u64,
    /// Packets on the wire that could be counted neither in the kernel nor, because a ring was full, in user space.
    pub uncounted: u64,
}

/// Names of the globals that user space sets before it loads the programs (all `u32`).
pub mod setting {
    /// Most bytes of a frame to copy, from 1 to [`super::MAX_SNAPLEN`].
    pub const SNAPLEN: &str = "SNAPLEN";
    /// Number of ring buffers.
    pub const WORKERS: &str = "WORKERS";
    /// One of [`super::link`].
    pub const LINK: &str = "LINK";
    /// One of [`super::flow::counting`].
    pub const COUNTING: &str = "COUNTING";
    /// After this many milliseconds without a packet, a flow of the kernel's table is left to user space to remove.
    pub const FLOW_IDLE_MS: &str = "FLOW_IDLE_MS";
    /// 1 if Ethernet addresses identify flows, otherwise 0.
    pub const ETHERNET_FLOWS: &str = "ETHERNET_FLOWS";
    /// 1 if the set of [`super::ports::OUTPUTS`] is not empty, otherwise 0.
    pub const OUTPUTS: &str = "OUTPUTS";
    /// When copies of a packet on several interfaces are recognised: one of [`super::copies`].
    pub const SEVERAL_INTERFACES: &str = "SEVERAL_INTERFACES";
    /// Index of the interface whose outgoing packets a packet socket ignores, because it sees each of them again as
    /// incoming; 0 if none.
    pub const LOOPBACK: &str = "LOOPBACK";
}

/// Values of [`setting::SEVERAL_INTERFACES`].
pub mod copies {
    /// There is one interface.
    pub const OFF: u32 = 0;
    /// Before the generated filter, which decides the same about each copy.
    pub const BEFORE_FILTER: u32 = 1;
    /// After a user's filter, which may test interface and direction and so match one of the copies only.
    pub const AFTER_FILTER: u32 = 2;
}

/// Value in the map `WAKE_AT` of a reader that must not be woken.
pub const AWAKE: u32 = u32::MAX;

/// Most bytes of a frame that the programs read: enough for IPv6 in IPv6 with an ICMP error and VLAN tags. What lies
/// behind them does not affect the choice of the worker.
pub const HEAD_BYTES: usize = 192;

/// Sizes of records in a ring, [`RecordHeader`] included, in bytes. The programs reserve a record in the smallest size
/// that holds it, because the verifier requires a constant size; the rest of the record is not written. The steps match
/// the usual MTUs (1500, 9000) and the largest frame.
pub const RECORD_SIZES: [usize; 11] =
    [128, 256, 512, 1024, 1600, 2560, 4608, 9216, 18 << 10, 36 << 10, RECORD_HEADER + MAX_SNAPLEN as usize + 1];

/// The map `CONTENTS`.
pub mod contents {
    /// Number of packets that are remembered; a power of two.
    pub const SLOTS: u32 = 1 << 16;
}

/// Entries of the map `PORTS`.
pub mod ports {
    /// Ports that a protocol claims: each connection on them is a flow.
    pub const CLAIMED: u32 = 0;
    /// Server ports of this program's outputs.
    pub const OUTPUTS: u32 = 1;
    /// Number of entries.
    pub const COUNT: u32 = 2;
}

/// Most ring buffers, and so most workers. With more cores, cores share workers.
pub const MAX_WORKERS: u32 = 256;

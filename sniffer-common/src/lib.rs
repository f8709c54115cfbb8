//! Definitions that the eBPF programs and user space share: records and counters (`repr(C)`, native byte order, no
//! padding), names and values of settings, numbers of protocol headers. The crate is `no_std`. Its only dependency is
//! `zerocopy`, which user space enables by the feature of that name to read records and counters.
#![no_std]

pub mod flow;
mod header;
pub mod process;
pub mod shunt;

pub use header::{ethertype, length, limit, protocol};

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Header of a record in a ring buffer; the bytes of the frame follow it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct RecordHeader {
    /// Time when the program at the hook saw the frame: `CLOCK_BOOTTIME` in nanoseconds.
    pub time: u64,
    /// Length of the frame in bytes, without the VLAN tag in [`Self::tag_tci`].
    pub wire_len: u32,
    /// Bytes of the frame that follow this header.
    pub captured: u32,
    /// Kernel index of the interface.
    pub ifindex: u32,
    /// Number of packets on the wire that the kernel handles as this one packet (GRO, GSO). 0 if only
    /// [`Self::segment_size`] is known.
    pub segments: u16,
    /// Payload bytes of each packet on the wire that the kernel handles as this one packet; 0 if there is only one packet.
    pub segment_size: u16,
    /// TPID of the VLAN tag that the kernel or the network card removed from the frame; 0 without such a tag.
    pub tag_tpid: u16,
    /// TCI of the removed tag: priority, drop eligibility and VLAN id.
    pub tag_tci: u16,
    /// One of [`hook`].
    pub hook: u8,
    /// One of [`direction`].
    pub direction: u8,
    /// One of [`link`].
    pub link: u8,
    /// One of [`flow::task`].
    pub task: u8,
    /// [`flow::FlowKey::connection`] if [`Self::task`] is [`flow::task::COUNT`]; otherwise 0.
    pub connection: u64,
}

/// Bytes of a [`RecordHeader`].
pub const RECORD_HEADER: usize = size_of::<RecordHeader>();
const _: () = assert!(RECORD_HEADER == 40);

/// Largest snap length in bytes; the default of `snaplen` in Packetbeat.
pub const MAX_SNAPLEN: u32 = 65_535;

/// Values of [`RecordHeader::hook`]: where the program is attached.
pub mod hook {
    /// XDP, native or generic.
    pub const XDP: u8 = 1;
    /// TC: a tcx link or a filter of a clsact qdisc.
    pub const TC: u8 = 2;
    /// A packet socket.
    pub const SOCKET: u8 = 3;
}

/// Values of [`RecordHeader::direction`].
pub mod direction {
    /// The packet goes to the host.
    pub const INGRESS: u8 = 0;
    /// The packet comes from the host; on a packet socket, its type is `PACKET_OUTGOING`.
    pub const EGRESS: u8 = 1;
}

/// Values of [`RecordHeader::link`]: the first header of the frame.
pub mod link {
    /// Ethernet II.
    pub const ETHERNET: u8 = 0;
    /// An IPv4 or IPv6 header (tun, WireGuard).
    pub const RAW_IP: u8 = 1;
    /// The interfaces in the map `RAW_IP` have no link header, and the others have Ethernet headers. Only [`super::setting::LINK`] has this
    /// value.
    pub const BY_INTERFACE: u8 = 2;
}

/// Slots of a jump table (`BPF_MAP_TYPE_PROG_ARRAY`), by which the programs of a hook call each other.
pub mod slot {
    /// The generated filter for Ethernet frames. It calls [`CAPTURE`] if the packet matches. If the slot is empty, every
    /// packet matches.
    pub const FILTER: u32 = 0;
    /// The program that copies the packet to a ring.
    pub const CAPTURE: u32 = 1;
    /// The generated filter for frames without a link header. Otherwise it is like [`FILTER`].
    pub const FILTER_RAW_IP: u32 = 2;
    /// Number of slots.
    pub const COUNT: u32 = 3;
}

/// The capture counters of one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Counters {
    /// Packets that reached the hook, without those in [`Self::duplicates`].
    pub seen: u64,
    /// Packets that matched the filter.
    pub matched: u64,
    /// Packets that were not copied because of a shunt; not included in [`Self::matched`].
    pub shunted: u64,
    /// Records written to the ring.
    pub copied: u64,
    /// Bytes of packets in the records that [`Self::copied`] counts.
    pub copied_bytes: u64,
    /// Packets that matched the filter and were not copied, because the ring was full or the frame could not be read.
    pub lost: u64,
    /// Copies of a packet that another interface had seen before.
    pub duplicates: u64,
    /// Records with [`flow::task::COUNT`].
    pub headers: u64,
    /// Packets on the wire that no flow contains: the kernel could not count them, and there was no room for a record.
    pub uncounted: u64,
}

/// Names of the global variables (`u32`) that user space sets before it loads the programs.
pub mod setting {
    /// How many bytes of a frame are copied at most, from 1 to [`super::MAX_SNAPLEN`].
    pub const SNAPLEN: &str = "SNAPLEN";
    /// Number of workers. Each worker has a ring buffer.
    pub const WORKERS: &str = "WORKERS";
    /// One of [`super::link`]: how the frames of the captured interfaces begin.
    pub const LINK: &str = "LINK";
    /// One of [`super::flow::counting`]: when a packet is counted in its flow.
    pub const COUNTING: &str = "COUNTING";
    /// After this many milliseconds without a packet, the programs no longer change an entry of the flow table. User
    /// space may then read and remove the entry without losing packets.
    pub const FLOW_IDLE_MS: &str = "FLOW_IDLE_MS";
    /// When shunts are applied: one of [`super::shunting`].
    pub const SHUNTING: &str = "SHUNTING";
    /// 1 if VLAN ids distinguish connections, otherwise 0.
    pub const TRACK_VLANS: &str = "TRACK_VLANS";
    /// 1 if incoming packets that are captured are dropped, otherwise 0.
    pub const DROP_MATCHES: &str = "DROP_MATCHES";
    /// 1 if Ethernet addresses identify flows, otherwise 0.
    pub const ETHERNET_FLOWS: &str = "ETHERNET_FLOWS";
    /// 1 if the port set [`super::ports::OUTPUTS`] is not empty, otherwise 0.
    pub const OUTPUTS: &str = "OUTPUTS";
    /// One of [`super::copies`]: when copies of packets are recognised.
    pub const SEVERAL_INTERFACES: &str = "SEVERAL_INTERFACES";
    /// Index of the loopback interface; 0 if there is none. Packet sockets ignore the outgoing packets of this interface, because each of
    /// them is seen a second time as an incoming packet.
    pub const LOOPBACK: &str = "LOOPBACK";
}

/// Values of [`setting::SEVERAL_INTERFACES`]: when the programs recognise that a packet is a copy of a packet that
/// another interface has seen.
pub mod copies {
    /// Copies are not recognised, because only one interface is captured.
    pub const OFF: u32 = 0;
    /// Copies are recognised before the filter. This is right for a filter that decides the same about each copy.
    pub const BEFORE_FILTER: u32 = 1;
    /// Copies are recognised after the filter. This is right for a user's filter: it may test interface or direction, and so match only one
    /// of the copies.
    pub const AFTER_FILTER: u32 = 2;
}

/// Values of [`setting::SHUNTING`]: when the programs look for a shunt of the packet.
pub mod shunting {
    /// Never.
    pub const OFF: u32 = 0;
    /// Before the filter, because packets are examined there for another reason.
    pub const BEFORE_FILTER: u32 = 1;
    /// After the filter.
    pub const AFTER_FILTER: u32 = 2;
}

/// Value in the map `WAKE_AT` while the reader of the ring does not sleep and so must not be woken.
pub const AWAKE: u32 = u32::MAX;

/// How many bytes of a frame the programs parse at most, to choose a worker and to find the flow. This is enough for VLAN tags, IPv6 in
/// IPv6 and an ICMP error in it.
pub const HEAD_BYTES: usize = 192;

/// Sizes of records in a ring in bytes, [`RecordHeader`] included. The verifier requires that a program reserves a
/// constant size, so the programs reserve the smallest of these sizes that holds header and frame. The bytes after the
/// frame are not written. The sizes fit the usual MTUs (1500, 9000) and the largest frame.
pub const RECORD_SIZES: [usize; 11] =
    [128, 256, 512, 1024, 1600, 2560, 4608, 9216, 18 << 10, 36 << 10, RECORD_HEADER + MAX_SNAPLEN as usize + 1];

/// Size of the map `CONTENTS`, in which copies of packets are recognised.
pub mod contents {
    /// Number of packets that are remembered; a power of two.
    pub const SLOTS: u32 = 1 << 16;
}

/// Entries of the map `PORTS`. Each entry is a set of TCP ports.
pub mod ports {
    /// Ports that a protocol parser uses. Each connection on these ports is a flow of its own.
    pub const CLAIMED: u32 = 0;
    /// Server ports to which this program's outputs connect.
    pub const OUTPUTS: u32 = 1;
    /// Number of entries.
    pub const COUNT: u32 = 2;
}

/// The largest number of workers. On a machine with more cores, several cores share a worker.
pub const MAX_WORKERS: u32 = 256;

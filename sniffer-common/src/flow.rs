//! Keys and values of the kernel's flow table, and values of the settings that control counting.

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Identifies a flow of packets with one IP header. Both directions of the flow have the same key: the lower of the two
/// ends (address, then port) is at index 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct FlowKey {
    /// The IP addresses of the two ends in network byte order. An IPv4 address is in the first word; the other words are then 0.
    pub addresses: [[u32; 4]; 2],
    /// The ports of the two ends in network byte order; 0 if the transport has no ports.
    pub ports: [u16; 2],
    /// The VLAN ids of the innermost two tags, the outer of the two first. A single tag is at index 1.
    pub vlans: [u16; 2],
    /// Number of VLAN tags.
    pub vlan_count: u8,
    /// IP version: 4 or 6.
    pub version: u8,
    /// The IP protocol if the key has ports (TCP, UDP, SCTP); otherwise 0.
    pub transport: u8,
    /// A set of [`key_flag`].
    pub flags: u8,
    /// Always 0.
    pub reserved: u32,
    /// [`Connection::number`] if [`key_flag::CONNECTION`] is set; otherwise 0.
    pub connection: u64,
}

/// Flags of a [`FlowKey`].
pub mod key_flag {
    /// The packets have Ethernet headers, and Ethernet addresses identify flows.
    pub const ETHERNET: u8 = 1;
    /// Each TCP connection is a flow of its own, because a protocol parser uses one of the ports.
    pub const CONNECTION: u8 = 2;
}

/// The counters of a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct FlowValue {
    /// Time of the first packet: `CLOCK_BOOTTIME` in nanoseconds.
    pub first: u64,
    /// Time of the last packet, as in [`Self::first`].
    pub last: u64,
    /// Index in [`Self::sides`] of the end that sent the first packet.
    pub opener: u32,
    /// The worker that reports the flow.
    pub worker: u32,
    /// The counters of each end, in the order of the ends in [`FlowKey`].
    pub sides: [FlowSide; 2],
}

/// Counters and properties of the packets that one end of a flow sent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct FlowSide {
    /// Packets on the wire.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// The first 12 bytes of the first frame: the Ethernet addresses of receiver and sender.
    pub macs: [u32; 3],
    /// The last ICMP message that the end sent: its code in bits 0 to 7, its type in bits 8 to 15, and flags of [`icmp`]. 0 if it sent
    /// none.
    pub icmp: u32,
}

/// Flags of [`FlowSide::icmp`].
pub mod icmp {
    /// The end has sent an ICMP message. If this flag is not set, all other bits are 0.
    pub const SEEN: u32 = 1 << 16;
    /// The message was ICMPv6.
    pub const V6: u32 = 1 << 17;
}

/// A TCP connection on a port that a protocol parser uses. In the map, its key is a [`FlowKey`] whose `connection` is 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// [`FlowKey::connection`] of the connection's flow: the time of its first packet in nanoseconds.
    pub number: u64,
    /// The sequence number of the SYN that opened the connection, plus 2^32; 0 if no SYN was seen.
    pub opened_at: u64,
}

/// Identifies a fragmented datagram.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentKey {
    /// The sender's and the receiver's address, as in [`FlowKey::addresses`].
    pub addresses: [[u32; 4]; 2],
    /// The identification field of the IPv4 header or the IPv6 fragment header.
    pub id: u32,
    /// As in [`FlowKey::vlans`].
    pub vlans: [u16; 2],
    /// The IP protocol.
    pub protocol: u32,
}

/// Values of [`super::RecordHeader::task`]: what user space has to do with the packet of the record.
pub mod task {
    /// User space parses the packet and counts it in its flow.
    pub const PARSE_AND_COUNT: u8 = 0;
    /// User space parses the packet. The kernel has already counted the packet in its flow.
    pub const PARSE: u8 = 1;
    /// User space counts the packet in its flow, and does not parse it. The record has only the packet's first [`super::super::HEAD_BYTES`]
    /// bytes.
    pub const COUNT: u8 = 2;
}

/// Values of [`super::setting::COUNTING`]: when a packet is counted in its flow.
pub mod counting {
    /// Never.
    pub const OFF: u32 = 0;
    /// Packets are counted before the filter. The filter decides only whether the packet is copied to user space.
    pub const BEFORE_FILTER: u32 = 1;
    /// Packets are counted after the filter. Only packets that match the filter are counted.
    pub const AFTER_FILTER: u32 = 2;
}

const _: () = assert!(size_of::<FlowKey>() == 56 && size_of::<FlowValue>() == 88);

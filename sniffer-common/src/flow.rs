//! The flow table in the kernel: keys, values, and the settings of counting.

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Identifies a flow with one IP header. Both directions have the same key: the lower end comes first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct FlowKey {
    /// The addresses in network byte order; those of IPv4 are in the first word, and the others are 0.
    pub addresses: [[u32; 4]; 2],
    /// The ports of the two ends in network byte order; 0 without ports.
    pub ports: [u16; 2],
    /// The ids of the innermost two VLAN tags: the outer one, then the inner one. With one tag only the inner one is set.
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
    /// The number of the TCP connection if [`key_flag::CONNECTION`] is set; otherwise 0.
    pub connection: u64,
}

/// Flags of a [`FlowKey`].
pub mod key_flag {
    /// The packets have Ethernet addresses that belong to the flow.
    pub const ETHERNET: u8 = 1;
    /// A protocol claims a port of this TCP flow, so each connection is a flow.
    pub const CONNECTION: u8 = 2;
}

/// What was counted of a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct FlowValue {
    /// Time of the first packet: `CLOCK_BOOTTIME` in nanoseconds.
    pub first: u64,
    /// Time of the last packet.
    pub last: u64,
    /// Index in `sides` of the sender of the first packet.
    pub opener: u32,
    /// The worker that reports the flow.
    pub worker: u32,
    /// What each end of the key sent.
    pub sides: [FlowSide; 2],
}

/// What one end of a flow sent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct FlowSide {
    /// Packets on the wire.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// The Ethernet addresses of the first packet, as the frame begins: the receiver's, then the sender's. In memory order.
    pub macs: [u32; 3],
    /// The last ICMP message: its code in the lowest byte, its type in the next, and a set of [`icmp`].
    pub icmp: u32,
}

/// Flags of [`FlowSide::icmp`].
pub mod icmp {
    /// There was an ICMP message.
    pub const SEEN: u32 = 1 << 16;
    /// It was ICMPv6.
    pub const V6: u32 = 1 << 17;
}

/// A TCP connection on a port that a protocol claims. Its key is the [`FlowKey`] with the connection number 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The number in the keys of its flow: the time of its first packet in nanoseconds.
    pub number: u64,
    /// The sequence number of the SYN that opened it, plus 2^32; 0 if no SYN was seen.
    pub opened_at: u64,
}

/// Identifies a datagram of which fragments are on the wire.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentKey {
    /// The sender's and the receiver's address, as in [`FlowKey::addresses`].
    pub addresses: [[u32; 4]; 2],
    /// The identification field.
    pub id: u32,
    /// The ids of the innermost two VLAN tags.
    pub vlans: [u16; 2],
    /// The IP protocol.
    pub protocol: u32,
}

/// What user space has to do with a record.
pub mod task {
    /// Parse and count the packet.
    pub const PARSE_AND_COUNT: u8 = 0;
    /// Parse the packet; it is already counted.
    pub const PARSE: u8 = 1;
    /// Count the packet. Only its head is in the record.
    pub const COUNT: u8 = 2;
}

/// When a packet is counted; values of [`super::setting::COUNTING`].
pub mod counting {
    /// Never.
    pub const OFF: u32 = 0;
    /// Before the filter, so that the filter decides only about copying.
    pub const BEFORE_FILTER: u32 = 1;
    /// After the filter, so that only packets that match it are counted.
    pub const AFTER_FILTER: u32 = 2;
}

const _: () = assert!(size_of::<FlowKey>() == 56 && size_of::<FlowValue>() == 88);

//! Numbers and lengths of protocol headers for both halves, and the limits of how many headers each half decodes.

/// EtherTypes (<https://www.iana.org/assignments/ieee-802-numbers>).
pub mod ethertype {
    /// IPv4, RFC 894.
    pub const IPV4: u16 = 0x0800;
    /// IPv6, RFC 2464.
    pub const IPV6: u16 = 0x86dd;
    /// A VLAN tag, 802.1Q.
    pub const VLAN: u16 = 0x8100;
    /// A service VLAN tag, 802.1ad.
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// A service VLAN tag of equipment older than 802.1ad.
    pub const OLD_SERVICE_VLAN: u16 = 0x9100;

    /// Whether the EtherType announces a VLAN tag.
    #[inline(always)]
    pub const fn is_vlan(number: u16) -> bool {
        matches!(number, VLAN | SERVICE_VLAN | OLD_SERVICE_VLAN)
    }
}

/// IP protocol numbers and IPv6 extension headers (<https://www.iana.org/assignments/protocol-numbers>).
pub mod protocol {
    /// IPv6 hop-by-hop options, RFC 8200.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP, RFC 792.
    pub const ICMP: u8 = 1;
    /// An IPv4 header, RFC 2003.
    pub const IPV4: u8 = 4;
    /// TCP, RFC 9293.
    pub const TCP: u8 = 6;
    /// UDP, RFC 768.
    pub const UDP: u8 = 17;
    /// An IPv6 header, RFC 2473.
    pub const IPV6: u8 = 41;
    /// IPv6 routing header, RFC 8200.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header, RFC 8200.
    pub const IPV6_FRAGMENT: u8 = 44;
    /// Authentication header, RFC 4302.
    pub const AUTHENTICATION: u8 = 51;
    /// ICMPv6, RFC 4443.
    pub const ICMP6: u8 = 58;
    /// No next header, RFC 8200.
    pub const NO_NEXT_HEADER: u8 = 59;
    /// IPv6 destination options, RFC 8200.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// SCTP, RFC 9260.
    pub const SCTP: u8 = 132;
    /// Mobility header, RFC 6275.
    pub const MOBILITY: u8 = 135;
    /// Host identity protocol, RFC 7401.
    pub const HIP: u8 = 139;
    /// Shim6, RFC 5533.
    pub const SHIM6: u8 = 140;
}

/// Lengths of headers in bytes; the minimum for headers of variable length.
pub mod length {
    /// Ethernet II: two addresses and the EtherType.
    pub const ETHERNET: usize = 14;
    /// A VLAN tag: its EtherType and TCI. Its TCI and the EtherType behind it are as long.
    pub const VLAN: usize = 4;
    /// Linux cooked capture v1.
    pub const LINUX_SLL: usize = 16;
    /// Linux cooked capture v2.
    pub const LINUX_SLL2: usize = 20;
    /// The address family of BSD loopback.
    pub const NULL: usize = 4;
    /// IPv4 without options.
    pub const IPV4: usize = 20;
    /// IPv6 without extension headers.
    pub const IPV6: usize = 40;
    /// The fragment header of IPv6.
    pub const IPV6_FRAGMENT: usize = 8;
    /// TCP without options.
    pub const TCP: usize = 20;
    /// UDP.
    pub const UDP: usize = 8;
    /// An ICMP or ICMPv6 error, without the packet that caused it.
    pub const ICMP_ERROR: usize = 8;
}

/// Limits of the number of headers. They are lower in the kernel, which only chooses a worker, and where the verifier
/// bounds the size of the loops.
pub mod limit {
    /// All headers of a frame, in user space. More do not occur in practice: a frame with sixteen VLAN tags and eight
    /// IP headers has 33, because every IP header but the first also counts as a tunnel.
    pub const HEADERS: usize = 40;
    /// Extension headers behind one IPv6 header, in user space. RFC 8200 has six kinds, of which only one may occur
    /// twice.
    pub const IPV6_EXTENSIONS: usize = 8;
    /// VLAN tags, in the kernel. Frames with more tags all go to the same worker.
    pub const KERNEL_VLAN_TAGS: u32 = 4;
    /// IP headers, in the kernel, including the one in an ICMP error: IP in IP twice, or once with an ICMP error
    /// inside.
    pub const KERNEL_IP_HEADERS: u32 = 3;
    /// Extension headers behind one IPv6 header, in the kernel.
    pub const KERNEL_IPV6_EXTENSIONS: u32 = 4;
}

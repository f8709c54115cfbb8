//! Numbers and lengths of protocol headers, and how many headers of a frame the eBPF programs and user space decode.

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
    /// A VLAN tag: TPID and TCI, two bytes each.
    pub const VLAN: usize = 4;
    /// Linux cooked capture v1.
    pub const LINUX_SLL: usize = 16;
    /// Linux cooked capture v2.
    pub const LINUX_SLL2: usize = 20;
    /// BSD loopback: the address family.
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

/// How many headers of a frame are decoded. The limits of the eBPF programs are lower than those of user space, because
/// the verifier follows every iteration of their loops.
pub mod limit {
    /// Headers of all kinds in a frame, in user space. A frame with sixteen VLAN tags and eight IP headers has 33, because every IP header
    /// except the first also counts as a tunnel header. Frames with more headers do not occur in practice.
    pub const HEADERS: usize = 40;
    /// Extension headers after one IPv6 header, in user space. RFC 8200 defines six kinds, and only one kind may occur
    /// twice.
    pub const IPV6_EXTENSIONS: usize = 8;
    /// VLAN tags of a frame, in the kernel. All frames with more tags go to the first worker.
    pub const KERNEL_VLAN_TAGS: u32 = 4;
    /// IP headers of a frame, in the kernel. The header of the packet that an ICMP error quotes is one of them. Three
    /// headers are IP in IP twice, or an ICMP error in a tunnel.
    pub const KERNEL_IP_HEADERS: u32 = 3;
    /// Extension headers after one IPv6 header, in the kernel.
    pub const KERNEL_IPV6_EXTENSIONS: u32 = 4;
}

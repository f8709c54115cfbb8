//! The words between the steps of the loop in `layers`: what a header says comes next, and what of the frame is left.

use crate::net::TunnelKey;
use sniffer_common::{ethertype, protocol};

/// What comes next, by the header before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// An Ethernet II header.
    Ethernet,
    /// The second half of a VLAN tag: its TCI and the EtherType of what follows.
    Vlan,
    /// An IPv4 header.
    Ipv4,
    /// An IPv6 header.
    Ipv6,
    /// A tunnel: its own header, or the packet inside where it has none.
    Tunnel(Tunnel),
    /// The header of the IP protocol of this number, the last one that is read.
    Transport(u8),
    /// Something that is not looked into.
    Unknown,
}

impl Next {
    /// What an EtherType announces.
    #[inline]
    pub fn of_ethertype(number: u16) -> Self {
        match number {
            ethertype::IPV4 => Self::Ipv4,
            ethertype::IPV6 => Self::Ipv6,
            _ if ethertype::is_vlan(number) => Self::Vlan,
            _ => Self::Unknown,
        }
    }

    /// What the protocol number of an IP header announces.
    #[inline]
    pub fn of_protocol(number: u8) -> Self {
        match number {
            protocol::IPV4 => Self::Tunnel(Tunnel::Ipv4InIp),
            protocol::IPV6 => Self::Tunnel(Tunnel::Ipv6InIp),
            number => Self::Transport(number),
        }
    }
}

/// A tunnel, as announced by the header in front of it. What it holds is read in `tunnel/`, in a file for each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tunnel {
    /// IPv4 directly in IPv4 or IPv6.
    Ipv4InIp,
    /// IPv6 directly in IPv4 or IPv6.
    Ipv6InIp,
}

/// What a tunnel's own header says.
pub(super) struct Inside {
    /// The network that the packet inside belongs to.
    pub key: TunnelKey,
    /// Bytes of the tunnel's header.
    pub header_len: usize,
    /// What the packet inside begins with.
    pub next: Next,
}

/// What of a frame lies behind the headers that were read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest<'a> {
    /// The bytes that were captured, without padding.
    pub data: &'a [u8],
    /// How many there were on the wire, by the lengths in the headers.
    pub wire: u32,
}

impl<'a> Rest<'a> {
    /// Steps over a header of `length` bytes; what was not captured of it is missed by the next one.
    #[inline]
    pub fn skip(&mut self, length: usize) {
        self.data = self.data.get(length..).unwrap_or_default();
        self.wire = self.wire.saturating_sub(length as u32);
    }
}

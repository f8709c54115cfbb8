//! The types that the loop in `layers` passes between its steps: the kind of the next header, and the part of the frame
//! not decoded yet.

use crate::net::TunnelKey;
use sniffer_common::{ethertype, protocol};

/// The next header, as announced by the previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// An Ethernet II header.
    Ethernet,
    /// A VLAN tag after its EtherType: the TCI and the EtherType of the payload.
    Vlan,
    /// An IPv4 header.
    Ipv4,
    /// An IPv6 header.
    Ipv6,
    /// A tunnel: its header, or directly the packet inside if the tunnel has no header.
    Tunnel(Tunnel),
    /// The header of the IP protocol with this number; decoding ends with it.
    Transport(u8),
    /// A header that is not decoded.
    Unknown,
}

impl Next {
    /// The header that an EtherType announces.
    #[inline]
    pub fn of_ethertype(number: u16) -> Self {
        match number {
            ethertype::IPV4 => Self::Ipv4,
            ethertype::IPV6 => Self::Ipv6,
            _ if ethertype::is_vlan(number) => Self::Vlan,
            _ => Self::Unknown,
        }
    }

    /// The header that the protocol number of an IP header announces.
    #[inline]
    pub fn of_protocol(number: u8) -> Self {
        match number {
            protocol::IPV4 => Self::Tunnel(Tunnel::Ipv4InIp),
            protocol::IPV6 => Self::Tunnel(Tunnel::Ipv6InIp),
            number => Self::Transport(number),
        }
    }
}

/// A kind of tunnel. Each is decoded in a file of its own in `tunnel/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tunnel {
    /// IPv4 directly in IPv4 or IPv6.
    Ipv4InIp,
    /// IPv6 directly in IPv4 or IPv6.
    Ipv6InIp,
}

/// What the header of a tunnel says.
pub(super) struct TunnelHeader {
    /// The key that identifies the network of the packet inside.
    pub key: TunnelKey,
    /// Length of the tunnel's header in bytes.
    pub header_len: usize,
    /// The first header of the packet inside.
    pub next: Next,
}

/// The part of a frame after the headers decoded so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remaining<'a> {
    /// The captured bytes, without padding.
    pub data: &'a [u8],
    /// Number of bytes on the wire, according to the lengths in the headers.
    pub wire: u32,
}

impl<'a> Remaining<'a> {
    /// Skips a header of `length` bytes. If it was not captured completely, `data` becomes empty, and decoding the next
    /// header fails.
    #[inline]
    pub fn skip(&mut self, length: usize) {
        self.data = self.data.get(length..).unwrap_or_default();
        self.wire = self.wire.saturating_sub(length as u32);
    }
}

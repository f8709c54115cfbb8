//! The decoded headers of one frame. Addresses and payloads borrow from the frame, or from the decoder if the datagram
//! was reassembled from fragments.

use super::Undecoded;
use crate::{
    capture::Segments,
    net::{Count, Realm, Transport},
    time::Timestamp,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A decoded frame.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// When the frame was on the wire.
    pub time: Timestamp,
    /// Length of the frame in bytes. If the frame stands for several segments, [`Packet::count`] gives the bytes on the
    /// wire.
    pub wire_len: u32,
    /// How many packets on the wire the frame stands for.
    pub segments: Segments,
    /// Kernel index of the interface; 0 for files.
    pub ifindex: u32,
    /// The Ethernet addresses; `None` for links without them.
    pub macs: Option<Macs<'a>>,
    /// The VLAN ids and tunnel keys of the packet.
    pub realm: Realm,
    /// The IP headers; empty if the frame has none that is decoded.
    pub ips: Ips<'a>,
    /// The payload of the innermost IP header.
    pub layer4: Layer4<'a>,
    /// The fragment that the frame holds: a part of a datagram, or the last part to arrive of a datagram that is now complete.
    pub fragment: Option<FragmentOf>,
    /// The reason why a header could not be decoded. The packet then has the headers before it.
    pub undecoded: Option<Undecoded>,
}

/// Which datagram a fragment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentOf {
    /// The identification field, which is unique between the two addresses.
    pub id: u32,
    /// The ports, in the first fragment of a datagram.
    pub ports: Option<Ports>,
}

impl Packet<'_> {
    /// The transport and its two ends, sender first; for ICMP the ports are 0. `None` for a packet without ends: a
    /// fragment, another protocol, or no IP header.
    #[inline]
    pub fn ends(&self) -> Option<(Transport, SocketAddr, SocketAddr)> {
        let (transport, from, to) = match self.layer4 {
            Layer4::Tcp(tcp) => (Transport::Tcp, tcp.source, tcp.destination),
            Layer4::Udp(udp) => (Transport::Udp, udp.source, udp.destination),
            Layer4::Icmp(_) => (Transport::Icmp, 0, 0),
            Layer4::Icmp6(_) => (Transport::Icmp6, 0, 0),
            Layer4::Ports(_) | Layer4::Fragment | Layer4::Other(_) | Layer4::None => return None,
        };
        let ip = self.ips.innermost()?;
        Some((transport, SocketAddr::new(ip.source(), from), SocketAddr::new(ip.destination(), to)))
    }

    /// Number of packets and bytes on the wire. If the frame was merged from several segments (GRO, TSO), each segment
    /// counts as a packet with its own copy of the headers.
    #[inline]
    pub fn count(&self) -> Count {
        if self.segments == Segments::default() {
            return Count { packets: 1, bytes: u64::from(self.wire_len) };
        }
        self.count_segments()
    }

    /// Number of bytes on the wire after the transport header; fewer may be captured. If the packet has no such header,
    /// the length of the frame.
    #[inline]
    pub fn wire_payload(&self) -> u32 {
        match self.layer4 {
            Layer4::Tcp(Tcp { wire_payload, .. })
            | Layer4::Udp(Udp { wire_payload, .. })
            | Layer4::Icmp(Icmp { wire_payload, .. })
            | Layer4::Icmp6(Icmp { wire_payload, .. })
            | Layer4::Ports(Ports { wire_payload, .. })
            | Layer4::Other(OtherPayload { wire_payload, .. }) => wire_payload,
            Layer4::Fragment | Layer4::None => self.wire_len,
        }
    }

    #[cold]
    fn count_segments(&self) -> Count {
        let payload = self.wire_payload();
        let segments = match self.segments {
            Segments::Count(count) => count,
            Segments::OfSize(size) => payload.div_ceil(size.max(1)),
        };
        let packets = u64::from(segments.max(1));
        let headers = u64::from(self.wire_len.saturating_sub(payload));
        Count { packets, bytes: u64::from(self.wire_len) + (packets - 1) * headers }
    }
}

/// A pair of Ethernet addresses as in the frame: destination, then source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Macs<'a>(pub &'a [u8; 12]);

impl Macs<'_> {
    /// The sender's address.
    #[inline]
    pub fn source(self) -> [u8; 6] {
        let [_, _, _, _, _, _, s @ ..] = *self.0;
        s
    }

    /// The receiver's address.
    #[inline]
    pub fn destination(self) -> [u8; 6] {
        let [d @ .., _, _, _, _, _, _] = *self.0;
        d
    }
}

/// The addresses of one IP header as in the frame: source, then destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses<'a> {
    /// IPv4 (RFC 791).
    V4(&'a [u8; 8]),
    /// IPv6 (RFC 8200).
    V6(&'a [u8; 32]),
}

impl<'a> Addresses<'a> {
    /// The sender's address.
    #[inline]
    pub fn source(self) -> IpAddr {
        match self {
            Self::V4(&[a, b, c, d, ..]) => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            Self::V6(pair) => v6(&pair[..16]),
        }
    }

    /// The receiver's address.
    #[inline]
    pub fn destination(self) -> IpAddr {
        match self {
            Self::V4(&[.., a, b, c, d]) => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            Self::V6(pair) => v6(&pair[16..]),
        }
    }

    /// Both addresses as bytes in network byte order.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::V4(pair) => pair,
            Self::V6(pair) => pair,
        }
    }

    /// Whether the addresses are IPv4.
    #[inline]
    pub fn is_v4(self) -> bool {
        matches!(self, Self::V4(_))
    }
}

#[inline]
fn v6(bytes: &[u8]) -> IpAddr {
    <[u8; 16]>::try_from(bytes).map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |b| IpAddr::V6(Ipv6Addr::from(b)))
}

/// The addresses of the IP headers of a packet. The last two headers of each family are kept.
#[derive(Clone, Copy, Debug)]
pub struct Ips<'a> {
    /// Number of IP headers in the packet.
    count: u8,
    /// Number of entries of `kept` in use.
    len: u8,
    /// Index in `kept` of the header that was added last.
    last: u8,
    /// The addresses of the kept headers, in the order of the headers. The third header of a family replaces the first, the
    /// fourth replaces the second, and so on.
    kept: [Addresses<'a>; 4],
    /// Index in `kept` of the outer IPv4, the inner IPv4, the outer IPv6 and the inner IPv6 header; [`Ips::ABSENT`] if
    /// there is none. A single header of a family is the inner one.
    positions: [u8; 4],
}

impl Default for Ips<'_> {
    #[inline]
    fn default() -> Self {
        Self { count: 0, len: 0, last: 0, kept: [Addresses::V4(&[0; 8]); 4], positions: [Self::ABSENT; 4] }
    }
}

impl<'a> Ips<'a> {
    /// Value in [`Ips::positions`] for a header that is absent.
    pub const ABSENT: u8 = 0xff;

    /// Adds the next header, from the outside inwards.
    #[inline]
    pub fn push(&mut self, addresses: Addresses<'a>) {
        self.count = self.count.saturating_add(1);
        let [outer4, inner4, outer6, inner6] = &mut self.positions;
        let (outer, inner) = if addresses.is_v4() { (outer4, inner4) } else { (outer6, inner6) };
        let place = if *outer == Self::ABSENT {
            self.len += 1;
            self.len - 1
        } else {
            *outer
        };
        *outer = *inner;
        *inner = place;
        self.last = place;
        if let Some(kept) = self.kept.get_mut(usize::from(place)) {
            *kept = addresses;
        }
    }

    /// Number of IP headers in the packet.
    #[inline]
    pub fn count(&self) -> u8 {
        self.count
    }

    /// The addresses of the kept IP headers, at most two of each family. Their order is from the outermost to the innermost
    /// header, except that a third header of a family takes the place of the first.
    #[inline]
    pub fn kept(&self) -> &[Addresses<'a>] {
        self.kept.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Index in [`Ips::kept`] of the outer IPv4, the inner IPv4, the outer IPv6 and the inner IPv6 header;
    /// [`Ips::ABSENT`] if there is none.
    #[inline]
    pub fn positions(&self) -> [u8; 4] {
        self.positions
    }

    /// Index in [`Ips::kept`] of the innermost header.
    #[inline]
    pub fn last(&self) -> u8 {
        self.last
    }

    /// The innermost header, whose payload is [`Packet::layer4`].
    #[inline]
    pub fn innermost(&self) -> Option<Addresses<'a>> {
        self.kept().get(usize::from(self.last)).copied()
    }
}

/// The payload of the innermost IP header.
#[derive(Clone, Copy, Debug)]
pub enum Layer4<'a> {
    /// TCP (RFC 9293).
    Tcp(Tcp<'a>),
    /// UDP (RFC 768).
    Udp(Udp<'a>),
    /// ICMP (RFC 792).
    Icmp(Icmp<'a>),
    /// ICMPv6 (RFC 4443).
    Icmp6(Icmp<'a>),
    /// A transport of which only the ports are known: SCTP, or TCP or UDP whose header is cut.
    Ports(Ports),
    /// A fragment of a datagram that is not complete yet.
    Fragment,
    /// Another protocol, which is not decoded.
    Other(OtherPayload),
    /// The packet has no IP header, or the header has no payload that is decoded.
    None,
}

/// The payload of an IP protocol that is not decoded.
#[derive(Clone, Copy, Debug)]
pub struct OtherPayload {
    /// IANA protocol number.
    pub protocol: u8,
    /// Length of the payload on the wire in bytes.
    pub wire_payload: u32,
}

/// The ports of a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// IANA protocol number: TCP, UDP or SCTP.
    pub protocol: u8,
    /// The sender's port.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
    /// Length of the IP payload on the wire in bytes.
    pub wire_payload: u32,
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    /// The sender's port.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
    /// Sequence number of the first byte of data, or of the SYN if the segment has one.
    pub seq: u32,
    /// Next sequence number that the sender expects; valid only with [`TcpFlags::ack`].
    pub ack: u32,
    /// The control bits.
    pub flags: TcpFlags,
    /// Number of bytes that the sender is ready to receive: the value in the header, without scaling.
    pub window: u16,
    /// The window scale option (RFC 7323, a power of two). Only segments with SYN have it; in other segments it is
    /// ignored.
    pub window_scale: Option<u8>,
    /// The captured data.
    pub payload: &'a [u8],
    /// Length of the data on the wire in bytes, by the IP header; more than `payload.len()` if the frame was cut to the
    /// snap length.
    pub wire_payload: u32,
}

/// The control bits of a TCP header (its 14th byte).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// FIN: the sender has no more data.
    #[inline]
    pub fn fin(self) -> bool {
        self.0 & 0x01 != 0
    }

    /// The same flags without FIN, for a segment whose end was not captured.
    pub fn without_fin(self) -> Self {
        Self(self.0 & !0x01)
    }

    /// SYN: sequence numbers start here.
    #[inline]
    pub fn syn(self) -> bool {
        self.0 & 0x02 != 0
    }

    /// PSH: the sender has no more data to put into this segment.
    #[inline]
    pub fn psh(self) -> bool {
        self.0 & 0x08 != 0
    }

    /// RST: the connection is aborted.
    #[inline]
    pub fn rst(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// ACK: the acknowledgement number is valid.
    #[inline]
    pub fn ack(self) -> bool {
        self.0 & 0x10 != 0
    }
}

/// A UDP datagram.
#[derive(Clone, Copy, Debug)]
pub struct Udp<'a> {
    /// The sender's port.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
    /// The captured data.
    pub payload: &'a [u8],
    /// Length of the data on the wire in bytes.
    pub wire_payload: u32,
}

/// An ICMP message.
#[derive(Clone, Copy, Debug)]
pub struct Icmp<'a> {
    /// The ICMP type.
    pub kind: u8,
    /// The ICMP code.
    pub code: u8,
    /// The captured bytes of the message, from its first byte (the type) on.
    pub payload: &'a [u8],
    /// Length of the message on the wire in bytes.
    pub wire_payload: u32,
}

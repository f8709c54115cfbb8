//! What the headers of one frame said. Addresses and payloads are borrowed: from the frame, or from the decoder where a datagram had
//! to be put together from its fragments.

use crate::{
    capture::Segments,
    net::{Count, Realm, Transport},
    time::Timestamp,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A decoded frame.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// When it was on the wire.
    pub time: Timestamp,
    /// Bytes of the whole frame; on the wire there were more where it stands for several segments: [`Packet::count`].
    pub wire_len: u32,
    /// How many packets on the wire it stands for.
    pub segments: Segments,
    /// Kernel index of the interface; 0 for files.
    pub ifindex: u32,
    /// The Ethernet addresses; `None` for links without.
    pub macs: Option<Macs<'a>>,
    /// The VLAN tags and tunnel keys that it came through.
    pub realm: Realm,
    /// The IP headers; none where the frame carries something else, or what is not looked into.
    pub ips: Ips<'a>,
    /// What the innermost IP header carries.
    pub layer4: Layer4<'a>,
}

impl Packet<'_> {
    /// The transport and its two ends, sender first; for ICMP the ports are 0. `None` for what has neither.
    #[inline]
    pub fn ends(&self) -> Option<(Transport, SocketAddr, SocketAddr)> {
        let (transport, from, to) = match self.layer4 {
            Layer4::Tcp(tcp) => (Transport::Tcp, tcp.source, tcp.destination),
            Layer4::Udp(udp) => (Transport::Udp, udp.source, udp.destination),
            Layer4::Icmp(_) => (Transport::Icmp, 0, 0),
            Layer4::Icmp6(_) => (Transport::Icmp6, 0, 0),
            Layer4::Fragment | Layer4::Other(_) | Layer4::None => return None,
        };
        let ip = self.ips.innermost()?;
        Some((transport, SocketAddr::new(ip.source(), from), SocketAddr::new(ip.destination(), to)))
    }

    /// The packets and bytes on the wire. A frame that stands for several segments was that many packets, each with a copy of its headers.
    #[inline]
    pub fn count(&self) -> Count {
        if self.segments == Segments::default() {
            return Count { packets: 1, bytes: u64::from(self.wire_len) };
        }
        self.count_segments()
    }

    #[cold]
    fn count_segments(&self) -> Count {
        let payload = match self.layer4 {
            Layer4::Tcp(Tcp { wire_payload, .. })
            | Layer4::Udp(Udp { wire_payload, .. })
            | Layer4::Icmp(Icmp { wire_payload, .. })
            | Layer4::Icmp6(Icmp { wire_payload, .. })
            | Layer4::Other(Opaque { wire_payload, .. }) => wire_payload,
            // Nothing is known of headers.
            Layer4::Fragment | Layer4::None => self.wire_len,
        };
        let segments = match self.segments {
            Segments::Count(count) => count,
            Segments::OfSize(size) => payload.div_ceil(size.max(1)),
        };
        let packets = u64::from(segments.max(1));
        let headers = u64::from(self.wire_len.saturating_sub(payload));
        Count { packets, bytes: u64::from(self.wire_len) + (packets - 1) * headers }
    }
}

/// A pair of Ethernet addresses, as in the frame: destination, then source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Macs<'a>(pub &'a [u8; 12]);

impl Macs<'_> {
    /// The sender's.
    #[inline]
    pub fn source(self) -> [u8; 6] {
        let [_, _, _, _, _, _, s @ ..] = *self.0;
        s
    }

    /// The receiver's.
    #[inline]
    pub fn destination(self) -> [u8; 6] {
        let [d @ .., _, _, _, _, _, _] = *self.0;
        d
    }
}

/// The addresses of one IP header, as in the frame: source, then destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses<'a> {
    /// RFC 791
    V4(&'a [u8; 8]),
    /// RFC 8200
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

    /// Both addresses as bytes in network order.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::V4(pair) => pair,
            Self::V6(pair) => pair,
        }
    }

    /// Whether they are of IPv4.
    #[inline]
    pub fn is_v4(self) -> bool {
        matches!(self, Self::V4(_))
    }
}

#[inline]
fn v6(bytes: &[u8]) -> IpAddr {
    <[u8; 16]>::try_from(bytes).map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |b| IpAddr::V6(Ipv6Addr::from(b)))
}

/// The IP headers of a packet, of which the last two of each family are kept.
#[derive(Clone, Copy, Debug)]
pub struct Ips<'a> {
    /// How many there were.
    count: u8,
    /// How many places of `kept` are filled.
    len: u8,
    /// Which of `kept` came last.
    last: u8,
    /// In the order in which they came; the third of a family takes the place of its first, and so on.
    kept: [Addresses<'a>; 4],
    /// Where in `kept` each is: outer IPv4, IPv4, outer IPv6, IPv6; [`Ips::ABSENT`] where there is none.
    slots: [u8; 4],
}

impl Default for Ips<'_> {
    #[inline]
    fn default() -> Self {
        Self { count: 0, len: 0, last: 0, kept: [Addresses::V4(&[0; 8]); 4], slots: [Self::ABSENT; 4] }
    }
}

impl<'a> Ips<'a> {
    /// In [`Ips::slots`]: there is no such header.
    pub const ABSENT: u8 = 0xff;

    /// Adds the next header, going inwards.
    #[inline]
    pub fn push(&mut self, addresses: Addresses<'a>) {
        self.count = self.count.saturating_add(1);
        let [outer4, plain4, outer6, plain6] = &mut self.slots;
        let (outer, plain) = if addresses.is_v4() { (outer4, plain4) } else { (outer6, plain6) };
        let place = if *outer == Self::ABSENT {
            self.len += 1;
            self.len - 1
        } else {
            *outer
        };
        *outer = *plain;
        *plain = place;
        self.last = place;
        if let Some(kept) = self.kept.get_mut(usize::from(place)) {
            *kept = addresses;
        }
    }

    /// How many headers there were.
    #[inline]
    pub fn count(&self) -> u8 {
        self.count
    }

    /// What is kept of them, outermost first.
    #[inline]
    pub fn kept(&self) -> &[Addresses<'a>] {
        self.kept.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Where in [`Ips::kept`] each is: outer IPv4, IPv4, outer IPv6, IPv6.
    #[inline]
    pub fn slots(&self) -> [u8; 4] {
        self.slots
    }

    /// Which of [`Ips::kept`] is the innermost.
    #[inline]
    pub fn last(&self) -> u8 {
        self.last
    }

    /// The header that carries the transport.
    #[inline]
    pub fn innermost(&self) -> Option<Addresses<'a>> {
        self.kept().get(usize::from(self.last)).copied()
    }
}

/// What the innermost IP header carries.
#[derive(Clone, Copy, Debug)]
pub enum Layer4<'a> {
    /// RFC 9293
    Tcp(Tcp<'a>),
    /// RFC 768
    Udp(Udp<'a>),
    /// RFC 792
    Icmp(Icmp<'a>),
    /// RFC 4443
    Icmp6(Icmp<'a>),
    /// A fragment of a datagram that is not complete, and maybe never will be.
    Fragment,
    /// Another protocol, whose header is not read.
    Other(Opaque),
    /// There is no IP header, or it carries nothing.
    None,
}

/// The payload of an IP header whose protocol is not looked into.
#[derive(Clone, Copy, Debug)]
pub struct Opaque {
    /// The IANA number of the protocol.
    pub protocol: u8,
    /// Bytes of the payload on the wire.
    pub wire_payload: u32,
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    /// The sender's port.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
    /// Sequence number of the first byte (of the SYN, where there is one).
    pub seq: u32,
    /// The next byte that the sender expects; means nothing without [`TcpFlags::ack`].
    pub ack: u32,
    /// The control bits.
    pub flags: TcpFlags,
    /// What was captured of the data.
    pub payload: &'a [u8],
    /// Bytes of data on the wire, by the length in the IP header; more than `payload` has when the frame was cut to the snap length.
    pub wire_payload: u32,
}

/// The control bits of a TCP header, as in its 14th byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    #[inline]
    pub fn fin(self) -> bool {
        self.0 & 0x01 != 0
    }

    /// Sequence numbers begin here.
    #[inline]
    pub fn syn(self) -> bool {
        self.0 & 0x02 != 0
    }

    /// The connection is no more.
    #[inline]
    pub fn rst(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// The acknowledgement number means something.
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
    /// What was captured of the data.
    pub payload: &'a [u8],
    /// Bytes of data on the wire.
    pub wire_payload: u32,
}

/// An ICMP message.
#[derive(Clone, Copy, Debug)]
pub struct Icmp<'a> {
    /// Its type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// What was captured of it, from its first byte (the type) on.
    pub payload: &'a [u8],
    /// Bytes of the message on the wire.
    pub wire_payload: u32,
}

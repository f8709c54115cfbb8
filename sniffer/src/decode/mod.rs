//! Frames to headers: link, VLAN tags, IP (in IP), transport. Pure: it keeps nothing but fragments.
//!
//! Checksums are not looked at (offloading makes those of a host's own packets wrong). Where lengths disagree the IP header's is
//! believed over the frame's (Ethernet pads), and nothing is read that was not captured.

mod fragments;
mod ip;
mod link;
mod packet;
mod transport;
mod tunnel;

pub use packet::{Addresses, Icmp, Ips, Layer4, Macs, Packet, Tcp, TcpFlags, Udp};

use crate::{capture::Frame, net::Realm};
use fragments::{Added, Fragment, Fragments};
use ip::Datagram;
use link::Network;

/// Why there is no [`Packet`] of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undecoded {
    /// The frame ends within its link header or a VLAN tag.
    LinkTruncated,
    /// Neither a link header nor an IP header to go by.
    NotIp,
    /// The frame ends within an IP header or its extensions.
    IpTruncated,
    /// An IP header that contradicts itself.
    IpMalformed,
    /// The frame ends within the transport header.
    TransportTruncated,
    /// A transport header that contradicts itself.
    TransportMalformed,
}

/// Of every reason the name of its counter.
const UNDECODED: [(Undecoded, &str); 6] = [
    (Undecoded::LinkTruncated, "decode.link_truncated"),
    (Undecoded::NotIp, "decode.not_ip"),
    (Undecoded::IpTruncated, "decode.ip_truncated"),
    (Undecoded::IpMalformed, "decode.ip_malformed"),
    (Undecoded::TransportTruncated, "decode.transport_truncated"),
    (Undecoded::TransportMalformed, "decode.transport_malformed"),
];

/// Fragments in fragments: a tunnel's own and those of what it carries. Deeper ones are not put together.
const FRAGMENT_LEVELS: usize = 2;

/// Decodes frames, and puts fragments together. One per worker.
#[derive(Default)]
pub struct Decoder {
    undecoded: [u64; UNDECODED.len()],
    incomplete: u64,
    fragments: [Fragments; FRAGMENT_LEVELS],
}

impl Decoder {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the headers of `frame`. A fragment that completes its datagram gives the whole of it; any other gives [`Layer4::Fragment`].
    /// A frame with Ethernet addresses and no IP header (ARP, MPLS) is a packet as well.
    ///
    /// # Errors
    /// When there is nothing to be known of it; counted.
    #[inline]
    pub fn decode<'a>(&'a mut self, frame: &Frame<'a>) -> Result<Packet<'a>, Undecoded> {
        let result = headers(&mut self.fragments, frame);
        // By reference: a packet is big enough to notice when it is moved.
        match &result {
            Ok(Packet { layer4: Layer4::Fragment, .. }) => self.incomplete += 1,
            Ok(_) => {}
            Err(reason) => {
                if let Some(counter) = self.undecoded.get_mut(*reason as usize) {
                    *counter += 1;
                }
            }
        }
        result
    }

    /// Totals since the start, by name.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let sum = |of: fn(&fragments::Counters) -> u64| self.fragments.iter().map(|f| of(&f.counters)).sum();
        let undecoded = UNDECODED.iter().zip(self.undecoded).map(|((_, name), n)| (*name, n));
        undecoded.chain([
            ("decode.fragments", self.incomplete),
            ("decode.fragments_reassembled", sum(|c| c.reassembled)),
            ("decode.fragments_repeated", sum(|c| c.repeated)),
            ("decode.fragments_overlapping", sum(|c| c.overlapping)),
            ("decode.fragments_malformed", sum(|c| c.malformed)),
            ("decode.fragments_snapped", sum(|c| c.snapped)),
            ("decode.fragments_too_many", sum(|c| c.too_many)),
            ("decode.fragments_evicted", sum(|c| c.evicted)),
            ("decode.fragments_expired", sum(|c| c.expired)),
        ])
    }
}

#[inline]
fn headers<'a>(fragments: &'a mut [Fragments], frame: &Frame<'a>) -> Result<Packet<'a>, Undecoded> {
    let linked = link::decode(frame)?;
    let mut packet = Packet {
        time: frame.time,
        // A tag that was taken out was on the wire all the same: flows count alike on every backend.
        wire_len: if frame.tag.is_some() { frame.wire_len.saturating_add(4) } else { frame.wire_len },
        ifindex: frame.ifindex,
        macs: linked.macs,
        realm: Realm { vlans: linked.vlans, ..Realm::default() },
        ips: Ips::default(),
        layer4: Layer4::None,
    };
    let Network::Ip(version) = linked.network else {
        return if packet.macs.is_some() { Ok(packet) } else { Err(Undecoded::NotIp) };
    };
    let data = frame.data.get(linked.header_len..).unwrap_or_default();
    let on_wire = frame.wire_len.max(frame.data.len() as u32).saturating_sub(linked.header_len as u32);
    packet.layer4 = follow(fragments, &mut packet, data, on_wire, version)?;
    Ok(packet)
}

/// IP headers from the outermost on, down to what the innermost carries.
#[inline]
fn follow<'a>(
    fragments: &'a mut [Fragments],
    packet: &mut Packet<'a>,
    data: &'a [u8],
    on_wire: u32,
    version: u8,
) -> Result<Layer4<'a>, Undecoded> {
    let mut levels = fragments.iter_mut();
    let mut datagram = ip::decode(data, on_wire, version)?;
    for _ in 0..tunnel::MAX_IP_HEADERS {
        packet.ips.push(datagram.addresses);
        if let Some(part) = datagram.fragment {
            let Some(level) = levels.next() else { return Ok(Layer4::Fragment) };
            match reassemble(level, packet, datagram, part)? {
                Some(whole) => datagram = whole,
                None => return Ok(Layer4::Fragment),
            }
        }
        match tunnel::ip_inside(datagram.protocol) {
            Some(version) => datagram = ip::decode(datagram.payload, datagram.wire, version)?,
            None => return transport::decode(datagram.protocol, datagram.payload, datagram.wire),
        }
    }
    Err(Undecoded::IpMalformed)
}

#[cold]
fn reassemble<'a>(
    level: &'a mut Fragments,
    packet: &Packet<'a>,
    datagram: Datagram<'a>,
    part: ip::Part,
) -> Result<Option<Datagram<'a>>, Undecoded> {
    let Datagram { addresses, protocol, payload: data, wire, .. } = datagram;
    match level.add(&Fragment { time: packet.time, realm: packet.realm, addresses, protocol, part, data, wire }) {
        Added::Incomplete => Ok(None),
        Added::Complete(protocol) => {
            let payload = level.whole();
            let mut whole = Datagram { addresses, protocol, payload, wire: payload.len() as u32, fragment: None };
            if !addresses.is_v4() {
                ip::extensions(&mut whole)?;
                if whole.fragment.is_some() {
                    return Err(Undecoded::IpMalformed); // a fragment header in what was just put together
                }
            }
            Ok(Some(whole))
        }
    }
}

#[cfg(test)]
mod tests;

//! Decodes the headers of a frame: `layers` is the loop over them, with the terms in `next`; `link`, `ip`, `transport` and `tunnel` read one header each. The only
//! state between two frames is the `fragments` of datagrams that are not complete.
//!
//! Checksums are not verified (offloading makes those of a host's own packets wrong). Where lengths disagree the IP header's is
//! believed over the frame's (Ethernet pads), and nothing is read that was not captured.

mod fragments;
mod ip;
mod layers;
mod link;
mod next;
mod packet;
mod transport;
mod tunnel;

pub use packet::{Addresses, Icmp, Ips, Layer4, Macs, Opaque, Packet, Tcp, TcpFlags, Udp};

use crate::capture::Frame;
use fragments::Fragments;

/// Why there is no [`Packet`] of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undecoded {
    /// The frame ends within its link header or a VLAN tag.
    LinkTruncated,
    /// There is no IP header, and no Ethernet header to count the frame by.
    NotIp,
    /// The frame ends within an IP header or its extensions.
    IpTruncated,
    /// An IP header that contradicts itself, or more headers than are followed ([`sniffer_common::limit::HEADERS`]).
    IpMalformed,
    /// The frame ends within the transport header.
    TransportTruncated,
    /// A transport header that contradicts itself.
    TransportMalformed,
}

/// The counter of each reason.
const UNDECODED: [(Undecoded, &str); 6] = [
    (Undecoded::LinkTruncated, "decode.link_truncated"),
    (Undecoded::NotIp, "decode.not_ip"),
    (Undecoded::IpTruncated, "decode.ip_truncated"),
    (Undecoded::IpMalformed, "decode.ip_malformed"),
    (Undecoded::TransportTruncated, "decode.transport_truncated"),
    (Undecoded::TransportMalformed, "decode.transport_malformed"),
];

/// Levels of fragments in fragments: those of a tunnel and those of the packets it carries. Deeper ones are not put together.
const FRAGMENT_LEVELS: usize = 2;

/// Decodes frames, and puts fragments together. One per worker.
#[derive(Default)]
pub struct Decoder {
    undecoded: [u64; UNDECODED.len()],
    incomplete: u64,
    fragments: [Fragments; FRAGMENT_LEVELS],
}

impl Decoder {
    /// A decoder that has seen no frame.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the headers of `frame`. A fragment that completes its datagram gives the whole of it; any other gives [`Layer4::Fragment`].
    /// A frame with Ethernet addresses and no IP header (ARP, MPLS) is a packet as well.
    ///
    /// # Errors
    /// When neither addresses nor ports can be read from it; counted.
    #[inline]
    pub fn decode<'a>(&'a mut self, frame: &Frame<'a>) -> Result<Packet<'a>, Undecoded> {
        let result = layers::decode(&mut self.fragments, frame);
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

#[cfg(test)]
mod tests;

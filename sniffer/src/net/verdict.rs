//! Verdicts: which packets of a connection capture need not copy any more, and the keys that name connections in them.

use super::{Realm, Transport};
use std::net::SocketAddr;

/// The key of a connection in a verdict; the same for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The tunnel keys and VLAN ids of its packets.
    pub realm: Realm,
    /// The transport.
    pub transport: Transport,
    /// The two ends; the lower one (by address, then port) comes first.
    pub ends: [SocketAddr; 2],
}

impl FlowKey {
    /// The key of the connection between `a` and `b`, in either order.
    pub fn new(realm: Realm, transport: Transport, a: SocketAddr, b: SocketAddr) -> Self {
        let ends = if (a.ip(), a.port()) <= (b.ip(), b.port()) { [a, b] } else { [b, a] };
        Self { realm, transport, ends }
    }
}

/// Which packets of a connection need not be copied to user space. The packets are still counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No packet of the connection needs to be copied, in either direction, until a SYN opens a new connection with the same
    /// key.
    Shunt,
    /// A segment of one end need not be copied if it is completely in a range of sequence numbers and has none of the flags
    /// SYN, FIN and RST.
    Skip {
        /// Index in [`FlowKey::ends`] of the sending end.
        sender: usize,
        /// First sequence number of the range.
        from: u32,
        /// First sequence number after the range; the range is shorter than 2^31.
        until: u32,
    },
}

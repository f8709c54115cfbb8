//! What capture need not copy any more: the names of connections, and what is said of them on the way back to the kernel.

use super::{Realm, Transport};
use std::net::SocketAddr;

/// Names a connection on the way back to capture: the same for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The tunnel keys and VLAN ids that its packets came through.
    pub realm: Realm,
    /// What carries it.
    pub transport: Transport,
    /// The two ends, the lower one (address, then port) first.
    pub ends: [SocketAddr; 2],
}

impl FlowKey {
    /// The key of what `a` and `b` say to each other, in either order.
    pub fn new(realm: Realm, transport: Transport, a: SocketAddr, b: SocketAddr) -> Self {
        let ends = if (a.ip(), a.port()) <= (b.ip(), b.port()) { [a, b] } else { [b, a] };
        Self { realm, transport, ends }
    }
}

/// What of a connection need not be copied to user space. Its packets go on being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing more of either direction, until a SYN opens the connection anew.
    Shunt,
    /// Not the segments of one direction that lie wholly in a range of sequence numbers and carry no SYN, FIN or RST.
    Skip {
        /// Which of [`FlowKey::ends`] sends them.
        sender: usize,
        /// Sequence number of the first byte of the range.
        from: u32,
        /// Sequence number of the first byte behind it; the range is shorter than 2^31.
        until: u32,
    },
}

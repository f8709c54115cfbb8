//! Verdicts: which packets of a connection capture need not copy any more, and the keys that name connections in them.

use super::{Realm, Transport};
use crate::time::Timestamp;
use std::net::SocketAddr;

/// The key of a connection in a verdict; the same for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The tunnel keys and VLAN ids of the connection's packets.
    pub realm: Realm,
    /// The transport protocol of the connection.
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

/// Which segments of a TCP connection need not be copied to user space. They are still counted. Segments with the flag SYN,
/// FIN or RST are always copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No segment needs to be copied, until a SYN opens a new connection with the same key. This verdict replaces earlier ones.
    Shunt {
        /// The next sequence number of each of [`FlowKey::ends`]; `None` if it is not known. The segments of such an end are
        /// copied.
        at: [Option<u32>; 2],
    },
    /// A segment of one end need not be copied if it is completely in a range of sequence numbers and does not reach the end of
    /// the range.
    Skip {
        /// Index in [`FlowKey::ends`] of the sending end.
        sender: usize,
        /// First sequence number of the range.
        from: u32,
        /// First sequence number after the range; the range is shorter than 2^31.
        until: u32,
    },
    /// All segments are copied again: the connection with this key has ended.
    Lift,
}

/// What capture knows of a connection with a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shunted {
    /// When a segment was last not copied, or the last verdict was entered.
    pub last: Timestamp,
    /// With [`Verdict::Shunt`], the next sequence number of each of [`FlowKey::ends`].
    pub at: [Option<u32>; 2],
}

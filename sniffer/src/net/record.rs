//! A counted flow, whoever counted it: what a report is made of.

use super::flow_key::{MacPair, StoredKey};
use crate::time::Timestamp;

/// Packets and bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets on the wire.
    pub packets: u64,
    /// Bytes on the wire, link headers included.
    pub bytes: u64,
}

/// The last ICMP message of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastIcmp {
    /// ICMPv6 rather than ICMP.
    pub v6: bool,
    /// Its type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
}

/// One flow. Arrays have a place per direction: 0 for packets whose sender comes first in the key, 1 for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// What its packets have in common.
    pub key: StoredKey,
    /// The sender of its first packet comes second in the key.
    pub reversed: bool,
    /// The Ethernet addresses first seen in each direction.
    pub macs: [Option<MacPair>; 2],
    /// The time of its first packet.
    pub start: Timestamp,
    /// The time of its last packet.
    pub end: Timestamp,
    /// All that was counted.
    pub counts: [Count; 2],
    /// The last ICMP message of each direction.
    pub icmp: [Option<LastIcmp>; 2],
}

impl FlowRecord {
    /// A flow whose counts are 0.
    pub fn new(key: StoredKey, reversed: bool, time: Timestamp) -> Self {
        Self { key, reversed, macs: [None; 2], start: time, end: time, counts: [Count::default(); 2], icmp: [None; 2] }
    }

    /// Adds what was counted of one direction at `time`.
    #[inline]
    pub fn add(&mut self, direction: usize, counted: Count, time: Timestamp, macs: Option<MacPair>, icmp: Option<LastIcmp>) {
        self.start = self.start.min(time);
        self.end = self.end.max(time);
        if let Some(count) = self.counts.get_mut(direction) {
            count.packets += counted.packets;
            count.bytes += counted.bytes;
        }
        if let Some(first @ None) = self.macs.get_mut(direction) {
            *first = macs;
        }
        if let (Some(last), Some(_)) = (self.icmp.get_mut(direction), icmp) {
            *last = icmp;
        }
    }

    /// Whether a packet with these Ethernet addresses takes the same route as the others of its direction. Where none of its direction
    /// was seen: whether it takes the route of the other direction, backwards.
    #[inline]
    pub fn same_route(&self, direction: usize, macs: Option<MacPair>) -> bool {
        let Some((source, destination)) = macs else { return true };
        match (self.macs.get(direction).copied().flatten(), self.macs.get(1 - direction).copied().flatten()) {
            (Some(seen), _) => seen == (source, destination),
            (None, Some(seen)) => seen == (destination, source),
            (None, None) => true,
        }
    }
}

//! The record of a counted flow, from which reports are made. The flow table of user space and the kernel both produce
//! such records.

use super::{
    Transport, Vlans,
    flow_key::{MacPair, StoredKey},
};
use crate::time::Timestamp;
use std::net::{IpAddr, SocketAddr};

/// Number of packets and bytes in one direction.
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
    /// Whether the message was ICMPv6.
    pub v6: bool,
    /// The ICMP type.
    pub kind: u8,
    /// The ICMP code.
    pub code: u8,
}

/// A counted flow. Arrays have one entry per direction: 0 for packets whose sender comes first in the key, 1 for the
/// others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// The key that all packets of the flow have in common.
    pub key: StoredKey,
    /// Whether the sender of the first packet comes second in the key.
    pub reversed: bool,
    /// The first Ethernet addresses seen in each direction.
    pub macs: [Option<MacPair>; 2],
    /// Time of the first packet.
    pub start: Timestamp,
    /// Time of the last packet.
    pub end: Timestamp,
    /// Totals since the flow began.
    pub counts: [Count; 2],
    /// The last ICMP message of each direction.
    pub icmp: [Option<LastIcmp>; 2],
}

/// The packets of one direction of a flow that the kernel has counted since the previous read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowDelta {
    /// The VLAN ids.
    pub vlans: Vlans,
    /// The sender's address.
    pub source: IpAddr,
    /// The receiver's address.
    pub destination: IpAddr,
    /// TCP, UDP or SCTP, and the sender's and the receiver's port; `None` without ports.
    pub ports: Option<(Transport, u16, u16)>,
    /// The number of the TCP connection, if a protocol claims one of the ports.
    pub connection: Option<u64>,
    /// The Ethernet addresses of the first packet of the direction, if they belong to the flow.
    pub macs: Option<MacPair>,
    /// The last ICMP message of the direction.
    pub icmp: Option<LastIcmp>,
    /// Packets and bytes.
    pub count: Count,
    /// A time between the last packet of the flow in the previous read and the first of these packets.
    pub start: Timestamp,
    /// Time of the last packet of the flow.
    pub end: Timestamp,
}

impl FlowRecord {
    /// Makes a record with counts of 0.
    pub fn new(key: StoredKey, reversed: bool, time: Timestamp) -> Self {
        Self { key, reversed, macs: [None; 2], start: time, end: time, counts: [Count::default(); 2], icmp: [None; 2] }
    }

    /// Adds packets of one direction, seen at `time`.
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

    /// The addresses and ports of source and destination, those of the innermost addresses. Port 0 for transports without ports; `None`
    /// for a flow without IP addresses.
    pub fn ends(&self) -> Option<[SocketAddr; 2]> {
        let parts = self.key.parts(self.reversed);
        let (source_port, destination_port) = parts.ports().unwrap_or_default();
        let (source, destination) = parts.innermost()?;
        Some([SocketAddr::new(address(source)?, source_port), SocketAddr::new(address(destination)?, destination_port)])
    }

    /// What the source and what the destination sent.
    pub fn by_end(&self) -> [Count; 2] {
        let [first, second] = self.counts;
        if self.reversed { [second, first] } else { [first, second] }
    }

    /// Whether a packet with these Ethernet addresses takes the same route as earlier packets of its direction. If there were no earlier
    /// packets, whether it takes the reverse route of the other direction. The result is true for a packet without Ethernet addresses.
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
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

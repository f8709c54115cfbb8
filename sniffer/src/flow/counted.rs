//! The packets and bytes that one packet or delta adds to the counts of its flow.

use crate::{
    decode::{Layer4, Packet},
    net::{Count, LastIcmp, MacPair},
    time::Timestamp,
};

/// The amount that packets of one direction add to their flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub count: Count,
    /// Time of the first packet.
    pub start: Timestamp,
    /// Time of the last packet.
    pub end: Timestamp,
    pub macs: Option<MacPair>,
    pub icmp: Option<LastIcmp>,
}

impl Counted {
    #[inline]
    pub fn of(packet: &Packet<'_>, macs: Option<MacPair>) -> Self {
        let icmp = match packet.layer4 {
            Layer4::Icmp(message) => Some(LastIcmp { v6: false, kind: message.kind, code: message.code }),
            Layer4::Icmp6(message) => Some(LastIcmp { v6: true, kind: message.kind, code: message.code }),
            _ => None,
        };
        Self { count: packet.count(), start: packet.time, end: packet.time, macs, icmp }
    }
}

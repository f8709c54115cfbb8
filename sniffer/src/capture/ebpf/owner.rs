//! Recognises duplicates on `any`: a packet that crosses a bridge, a veth pair and a network card is captured on each of them. A flow
//! belongs to the interface on which it was first captured; its packets from other interfaces are left out. The table has a fixed size: a
//! flow that was evicted is assigned again to the interface on which its next packet is captured.

use crate::capture::{Frame, Link};
use crate::time::Timestamp;
use std::hash::{BuildHasher, Hasher};

/// Number of sets of the table, with four flows each: 65,536 flows, 1.5 MB. On a host with more flows, some flows are
/// assigned to two interfaces, and their transactions are reported twice.
const SETS: usize = 1 << 14;
const WAYS: usize = 4;
/// If an interface has had no packet of its flow for this many nanoseconds, the flow is assigned to the next interface that captures a
/// packet of it. This happens when the interface goes down or a route changes.
const SILENT_NS: u64 = 5_000_000_000;
/// VLAN tags skipped to find the IP header.
const MAX_TAGS: usize = 4;

#[derive(Clone, Copy, Default)]
struct Owned {
    flow: u64,
    last: u64,
    ifindex: u32,
}

/// The flows, each with the interface that it belongs to.
pub(super) struct Owners {
    table: Vec<[Owned; WAYS]>,
    hasher: foldhash::fast::RandomState,
}

impl Owners {
    pub fn new() -> Self {
        Self { table: vec![Default::default(); SETS], hasher: foldhash::fast::RandomState::default() }
    }

    /// Whether the frame's flow belongs to the interface that saw the frame. A frame that is not IP always does.
    pub fn owns(&mut self, frame: &Frame<'_>) -> bool {
        let Some(flow) = self.flow(frame) else { return true };
        let Timestamp(now) = frame.time;
        let set = flow as usize % SETS;
        let Some(set) = self.table.get_mut(set) else { return true };
        if let Some(owned) = set.iter_mut().find(|owned| owned.flow == flow) {
            if owned.ifindex != frame.ifindex && now.saturating_sub(owned.last) < SILENT_NS {
                return false;
            }
            *owned = Owned { flow, last: now, ifindex: frame.ifindex };
        } else if let Some(oldest) = set.iter_mut().min_by_key(|owned| owned.last) {
            *oldest = Owned { flow, last: now, ifindex: frame.ifindex };
        }
        true
    }

    /// The hash of the frame's flow; equal for both directions. Never 0, which marks an empty entry.
    fn flow(&self, frame: &Frame<'_>) -> Option<u64> {
        let data = frame.data;
        let mut at = 0;
        if frame.link == Link::Ethernet {
            at = 14;
            let mut ethertype = be16(data, 12)?;
            for _ in 0..MAX_TAGS {
                if !matches!(ethertype, 0x8100 | 0x88a8 | 0x9100) {
                    break;
                }
                ethertype = be16(data, at + 2)?;
                at += 4;
            }
            if !matches!(ethertype, 0x0800 | 0x86dd) {
                return None;
            }
        }
        let (source, destination, protocol, fragment, ports) = match data.get(at)? >> 4 {
            4 => {
                let header = usize::from(data.get(at)? & 15) * 4;
                (
                    data.get(at + 12..at + 16)?,
                    data.get(at + 16..at + 20)?,
                    *data.get(at + 9)?,
                    be16(data, at + 6)? & 0x3fff != 0,
                    at + header,
                )
            }
            6 => (data.get(at + 8..at + 24)?, data.get(at + 24..at + 40)?, *data.get(at + 6)?, false, at + 40),
            _ => return None,
        };
        let mut ends = [(source, 0), (destination, 0)];
        if matches!(protocol, 6 | 17) && !fragment {
            ends = [(source, be16(data, ports)?), (destination, be16(data, ports + 2)?)];
        }
        ends.sort_unstable();
        let mut hash = self.hasher.build_hasher();
        for (address, port) in ends {
            hash.write(address);
            hash.write_u16(port);
        }
        hash.write_u8(protocol);
        Some(hash.finish().max(1))
    }
}

fn be16(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Segments;

    fn frame(data: &[u8], ifindex: u32, seconds: u64) -> Frame<'_> {
        Frame {
            time: Timestamp(seconds * 1_000_000_000),
            link: Link::RawIp,
            data,
            wire_len: data.len() as u32,
            tag: None,
            ifindex,
            segments: Segments::default(),
        }
    }

    fn udp(source: [u8; 4], destination: [u8; 4], ports: [u8; 2]) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
        bytes.extend(source.iter().chain(&destination));
        bytes.extend([0, ports[0], 0, ports[1], 0, 8, 0, 0]);
        bytes
    }

    #[test]
    fn a_flow_belongs_to_who_saw_it_first() {
        let (ask, answer) = (udp([10, 0, 0, 1], [10, 0, 0, 2], [9, 53]), udp([10, 0, 0, 2], [10, 0, 0, 1], [53, 9]));
        let other = udp([10, 0, 0, 1], [10, 0, 0, 2], [10, 53]);
        let mut owners = Owners::new();
        assert!(owners.owns(&frame(&ask, 2, 1)));
        assert!(!owners.owns(&frame(&ask, 3, 1)), "the same packet on a bridge");
        assert!(!owners.owns(&frame(&answer, 3, 2)), "the answer comes over the bridge first");
        assert!(owners.owns(&frame(&answer, 2, 2)));
        assert!(owners.owns(&frame(&other, 3, 2)), "another flow");
        assert!(owners.owns(&frame(&ask, 3, 8)), "the owner has been silent");
        assert!(!owners.owns(&frame(&ask, 2, 8)));
    }

    #[test]
    fn what_is_no_ip_belongs_to_everybody() {
        let mut owners = Owners::new();
        for data in [&[0x45][..], &[], &[0x10; 60]] {
            assert!(owners.owns(&frame(data, 2, 1)) && owners.owns(&frame(data, 3, 1)), "{data:?}");
        }
    }
}

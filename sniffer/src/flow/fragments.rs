//! Keeps the counts of the fragments of a datagram until it is complete, because only then the flow of all of them is
//! known, in any order of arrival. The counts of a datagram that is never completed are added to the flow with the
//! ports of its first fragment, or to a flow without ports if that fragment is missing.

use super::{counted::Counted, id::Key};
use crate::time::Timestamp;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::{collections::VecDeque, time::Duration};

/// Maximum number of incomplete datagrams whose counts are kept, equal to the maximum number of datagrams that are reassembled at a time.
const MAX_DATAGRAMS: usize = 512;
/// How long the counts wait, in packet time. Fragments wait a little less for their reassembly.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Identifies a datagram: the key of its flow without ports, whether it goes in the reversed direction, and its identification field.
type Datagram = (SmallVec<[u8; 64]>, bool, u32);

/// The fragments of one datagram.
struct Pending {
    /// The flow to which the counts are added if the datagram is never completed.
    key: Key,
    counted: Counted,
    number: u64,
}

/// The fragments of all incomplete datagrams.
#[derive(Default)]
pub(super) struct Fragments {
    pending: HashMap<Datagram, Pending, foldhash::fast::RandomState>,
    /// The datagrams in the order of their first fragments; may contain datagrams that were removed.
    order: VecDeque<(Datagram, u64)>,
    begun: u64,
}

impl Fragments {
    /// Keeps the counts of a fragment. `addresses` is the key of its flow without ports, `ports` the key with ports if
    /// these are known. If there are too many datagrams, returns the oldest one with its counts.
    #[cold]
    pub fn keep(&mut self, addresses: Key, id: u32, ports: Option<Key>, counted: &Counted) -> Option<(Key, Counted)> {
        let datagram = datagram(&addresses, id);
        if let Some(pending) = self.pending.get_mut(&datagram) {
            merge(&mut pending.counted, counted);
            if let Some(key) = ports {
                pending.key = key;
            }
            return None;
        }
        let evicted = if self.pending.len() >= MAX_DATAGRAMS { self.pop() } else { None };
        if self.order.len() >= 2 * MAX_DATAGRAMS {
            let pending = &self.pending;
            self.order.retain(|(datagram, number)| pending.get(datagram).is_some_and(|p| p.number == *number));
        }
        self.begun += 1;
        self.order.push_back((datagram.clone(), self.begun));
        self.pending.insert(datagram, Pending { key: ports.unwrap_or(addresses), counted: *counted, number: self.begun });
        evicted
    }

    /// Handles a complete datagram: adds the counts of its earlier fragments to `counted`.
    #[cold]
    pub fn take(&mut self, addresses: &Key, id: u32, counted: &mut Counted) {
        if let Some(pending) = self.pending.remove(&datagram(addresses, id)) {
            merge(counted, &pending.counted);
        }
    }

    /// Removes the next datagram that has waited for too long.
    pub fn expired(&mut self, now: Timestamp) -> Option<(Key, Counted)> {
        while let Some((datagram, number)) = self.order.front() {
            match self.pending.get(datagram) {
                Some(pending) if pending.number == *number => {
                    if now <= pending.counted.start.after(MAX_WAIT) {
                        return None;
                    }
                    return self.pop();
                }
                _ => self.order.pop_front(),
            };
        }
        None
    }

    /// Allocated bytes, without keys that are longer than a [`SmallVec`] holds.
    pub fn held(&self) -> usize {
        self.pending.allocation_size() + self.order.capacity() * size_of::<(Datagram, u64)>()
    }

    /// Removes the oldest datagram.
    pub fn pop(&mut self) -> Option<(Key, Counted)> {
        while let Some((datagram, number)) = self.order.pop_front() {
            if self.pending.get(&datagram).is_some_and(|pending| pending.number == number) {
                return self.pending.remove(&datagram).map(|pending| (pending.key, pending.counted));
            }
        }
        None
    }
}

fn datagram(addresses: &Key, id: u32) -> Datagram {
    (SmallVec::from_slice(addresses.bytes()), addresses.reversed, id)
}

fn merge(into: &mut Counted, other: &Counted) {
    into.count.packets += other.count.packets;
    into.count.bytes += other.count.bytes;
    into.start = into.start.min(other.start);
    into.end = into.end.max(other.end);
}

//! Reassembles fragmented IP datagrams (RFC 791, RFC 8200, RFC 8900), in any order of their fragments.
//!
//! An exact duplicate of a fragment is ignored. Any other overlap discards the datagram, as RFC 5722 requires for IPv6
//! and Linux also does for IPv4: overlapping fragments are an attempt to make an observer read other bytes than the
//! receiver does.

use super::{Addresses, ip::Part};

use crate::{net::Realm, time::Timestamp};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::{collections::VecDeque, time::Duration};

/// Most incomplete datagrams at a time; the same number as in Packetbeat.
const MAX_SETS: usize = 512;
/// Most fragments of one datagram. A datagram of 64 KiB in frames of 1500 bytes has 45.
const MAX_PARTS: usize = 64;
/// Most bytes of one datagram: the largest value of the length field of an IP header.
const MAX_LENGTH: u32 = 65_535;
/// Most bytes of all incomplete datagrams together. A fragment with a large offset allocates up to 64 KiB, so
/// `MAX_SETS` alone does not bound the memory.
const MAX_BYTES: usize = 8 << 20;
/// How long a datagram waits for its missing fragments, in packet time; the same number as in Packetbeat.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Result of [`Fragments::add`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// Fragments are missing.
    Incomplete,
    /// The datagram is complete: [`Fragments::whole`] is its payload, and this is the payload's IP protocol number.
    Complete(u8),
}

/// Totals since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub reassembled: u64,
    pub repeated: u64,
    pub overlapping: u64,
    pub malformed: u64,
    pub snapped: u64,
    pub too_many: u64,
    pub evicted: u64,
    pub expired: u64,
}

/// One captured fragment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    pub time: Timestamp,
    pub realm: Realm,
    pub addresses: Addresses<'a>,
    pub protocol: u8,
    pub part: Part,
    pub data: &'a [u8],
    /// Length of the fragment's data on the wire in bytes; more than `data.len()` if it was cut to the snap length.
    pub wire: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    addresses: [u8; 32],
    id: u32,
    realm: Realm,
    v4: bool,
    /// Zero for IPv6, where the fragments of a datagram may have different values.
    protocol: u8,
}

impl Key {
    fn of(fragment: &Fragment<'_>) -> Self {
        let mut addresses = [0; 32];
        for (to, from) in addresses.iter_mut().zip(fragment.addresses.bytes()) {
            *to = *from;
        }
        let v4 = fragment.addresses.is_v4();
        Self { addresses, id: fragment.part.id, realm: fragment.realm, v4, protocol: if v4 { fragment.protocol } else { 0 } }
    }
}

/// An incomplete datagram.
struct Set {
    number: u64,
    since: Timestamp,
    data: Vec<u8>,
    /// Start and end offset of each received fragment, in bytes, sorted by start.
    parts: SmallVec<[(u32, u32); 8]>,
    /// Length in bytes; known when the last fragment has arrived.
    length: Option<u32>,
    /// Protocol number in the first fragment, which determines the payload of the datagram.
    protocol: u8,
    /// The datagram is invalid. It still absorbs its other fragments, and will not be delivered.
    spoilt: bool,
}

/// The incomplete datagrams.
#[derive(Default)]
pub(super) struct Fragments {
    sets: HashMap<Key, Set, foldhash::fast::RandomState>,
    /// Keys and numbers in the order in which the datagrams started; may contain datagrams that are gone.
    order: VecDeque<(Key, u64)>,
    begun: u64,
    /// Sum of `data.len()` over all sets.
    bytes: usize,
    whole: Vec<u8>,
    pub counters: Counters,
}

impl Fragments {
    /// The payload of the last completed datagram.
    pub fn whole(&self) -> &[u8] {
        &self.whole
    }

    /// Adds a fragment to its datagram.
    #[inline(never)]
    pub fn add(&mut self, fragment: &Fragment<'_>) -> Added {
        let key = Key::of(fragment);
        self.expire(fragment.time);
        if !self.sets.contains_key(&key) {
            self.begin(key, fragment.time);
        }
        let Some(set) = self.sets.get_mut(&key) else { return Added::Incomplete };
        let before = set.data.len();
        let fits = set.add(fragment, &mut self.counters);
        if !fits {
            set.spoilt = true;
            set.data = Vec::new();
            set.parts = SmallVec::new();
        }
        self.bytes = (self.bytes + set.data.len()).saturating_sub(before);
        if set.is_complete() {
            let protocol = set.protocol;
            if let Some(set) = self.sets.remove(&key) {
                self.bytes = self.bytes.saturating_sub(set.data.len());
                self.whole = set.data;
            }
            self.counters.reassembled += 1;
            return Added::Complete(protocol);
        }
        while self.bytes > MAX_BYTES && self.evict_oldest() {}
        Added::Incomplete
    }

    fn begin(&mut self, key: Key, time: Timestamp) {
        while self.sets.len() >= MAX_SETS && self.evict_oldest() {}
        // Completed datagrams leave their entries in `order`: remove these when there are more entries than datagrams.
        if self.order.len() >= 2 * MAX_SETS {
            let sets = &self.sets;
            self.order.retain(|(key, number)| sets.get(key).is_some_and(|set| set.number == *number));
        }
        self.begun += 1;
        self.order.push_back((key, self.begun));
        let set =
            Set { number: self.begun, since: time, data: Vec::new(), parts: SmallVec::new(), length: None, protocol: 0, spoilt: false };
        self.sets.insert(key, set);
    }

    /// Drops the datagrams that have waited too long. `order` is sorted by time unless packet time goes backwards.
    fn expire(&mut self, now: Timestamp) {
        while let Some((key, number)) = self.order.front().copied() {
            match self.sets.get(&key) {
                Some(set) if set.number == number => {
                    if now <= set.since.after(MAX_WAIT) {
                        return;
                    }
                    self.counters.expired += u64::from(!set.spoilt);
                    self.forget(&key);
                }
                _ => {}
            }
            self.order.pop_front();
        }
    }

    /// Drops the oldest incomplete datagram; returns false if there is none.
    fn evict_oldest(&mut self) -> bool {
        while let Some((key, number)) = self.order.pop_front() {
            if let Some(set) = self.sets.get(&key)
                && set.number == number
            {
                self.counters.evicted += u64::from(!set.spoilt);
                self.forget(&key);
                return true;
            }
        }
        false
    }

    fn forget(&mut self, key: &Key) {
        if let Some(set) = self.sets.remove(key) {
            self.bytes = self.bytes.saturating_sub(set.data.len());
        }
    }
}

impl Set {
    /// Adds a fragment; returns false if it makes the datagram invalid.
    fn add(&mut self, fragment: &Fragment<'_>, counters: &mut Counters) -> bool {
        if self.spoilt {
            return false;
        }
        let (start, more) = (fragment.part.offset, fragment.part.more);
        let end = start.saturating_add(fragment.wire);
        if fragment.data.len() as u64 != u64::from(fragment.wire) {
            counters.snapped += 1;
            return false;
        }
        // Only the last fragment may have a length that is not a multiple of 8, and the datagram must fit the length
        // field of an IP header.
        if end > MAX_LENGTH || end == start || (more && !fragment.wire.is_multiple_of(8)) {
            counters.malformed += 1;
            return false;
        }
        match (self.length, more) {
            (Some(length), true) if end > length => return contradiction(counters),
            (Some(length), false) if end != length => return contradiction(counters),
            (None, false) if self.parts.last().is_some_and(|last| last.1 > end) => return contradiction(counters),
            _ => {}
        }
        let at = self.parts.partition_point(|part| part.0 < start);
        let range = start as usize..end as usize;
        if self.parts.get(at) == Some(&(start, end)) && self.data.get(range.clone()) == Some(fragment.data) {
            counters.repeated += 1;
            return true;
        }
        let follows = self.parts.get(at).is_some_and(|next| next.0 < end);
        let precedes = at.checked_sub(1).and_then(|i| self.parts.get(i)).is_some_and(|previous| previous.1 > start);
        if follows || precedes {
            counters.overlapping += 1;
            return false;
        }
        if self.parts.len() >= MAX_PARTS {
            counters.too_many += 1;
            return false;
        }
        if !more {
            self.length = Some(end);
        }
        if start == 0 {
            self.protocol = fragment.protocol;
        }
        if self.data.len() < range.end {
            self.data.resize(range.end, 0);
        }
        if let Some(place) = self.data.get_mut(range) {
            place.copy_from_slice(fragment.data);
        }
        self.parts.insert(at, (start, end));
        true
    }

    /// Whether all bytes are there. Fragments do not overlap, so their lengths add up to the length of a complete
    /// datagram.
    fn is_complete(&self) -> bool {
        !self.spoilt && self.length.is_some_and(|length| self.parts.iter().map(|(start, end)| end - start).sum::<u32>() == length)
    }
}

/// Counts two fragments that imply different ends of the datagram as malformed.
fn contradiction(counters: &mut Counters) -> bool {
    counters.malformed += 1;
    false
}

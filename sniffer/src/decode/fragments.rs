//! Fragments of IP datagrams (RFC 791, RFC 8200, RFC 8900), put together in whatever order they come.
//!
//! An exact repetition is ignored; fragments that overlap otherwise cost the datagram, as RFC 5722 wants it and as Linux does for IPv4
//! too: whoever writes such ones wants the watcher to read something else than the receiver.

use super::{Addresses, ip::Part};

use crate::{net::Realm, time::Timestamp};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::{collections::VecDeque, time::Duration};

/// Datagrams under construction; Packetbeat's number.
const MAX_SETS: usize = 512;
/// Fragments of one datagram; 64 KiB in frames of 1500 bytes are 45.
const MAX_PARTS: usize = 64;
/// Bytes of one datagram: what the length field of an IP header can say.
const MAX_LENGTH: u32 = 65_535;
/// Bytes of all datagrams under construction together: a far offset alone must not buy 64 KiB in every set.
const MAX_BYTES: usize = 8 << 20;
/// How long the first fragment waits for the others, in packet time; Packetbeat's number.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// What came of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// Others are missing.
    Incomplete,
    /// The datagram is [`Fragments::whole`], and what it carries is of this protocol.
    Complete(u8),
}

/// Totals since the start.
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

/// A fragment as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    pub time: Timestamp,
    pub realm: Realm,
    pub addresses: Addresses<'a>,
    pub protocol: u8,
    pub part: Part,
    pub data: &'a [u8],
    /// Longer than `data` when it was cut to the snap length.
    pub wire: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    addresses: [u8; 32],
    id: u32,
    realm: Realm,
    v4: bool,
    /// IPv4 only: the fragments of an IPv6 datagram need not agree on it.
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

/// A datagram under construction.
struct Set {
    number: u64,
    since: Timestamp,
    data: Vec<u8>,
    /// Start and end of what came, in order of start.
    parts: SmallVec<[(u32, u32); 8]>,
    /// Known once the last fragment came.
    length: Option<u32>,
    /// Of the first fragment, which decides what the datagram carries.
    protocol: u8,
    /// Something was wrong: it takes in the other fragments of the datagram, and nothing comes of it.
    spoilt: bool,
}

/// Puts fragments together.
#[derive(Default)]
pub(super) struct Fragments {
    sets: HashMap<Key, Set, foldhash::fast::RandomState>,
    /// In the order in which the sets were begun; may name sets that are gone.
    order: VecDeque<(Key, u64)>,
    begun: u64,
    /// Sum of the lengths of `data` of all sets.
    bytes: usize,
    whole: Vec<u8>,
    pub counters: Counters,
}

impl Fragments {
    /// The last datagram that was complete.
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
        // Sets that were completed leave their names behind: never more than twice the sets there may be.
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

    /// Forgets the sets that waited too long. They were begun in the order of time, as far as time goes forward.
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

    /// Makes room; false when there is nothing left to forget.
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
    /// Takes in a fragment; false when the datagram is spoilt by it.
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
        // Only the last may have an odd length, and all must fit the length field of a header.
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

    /// Nothing overlaps, so it is complete when the parts add up.
    fn is_complete(&self) -> bool {
        !self.spoilt && self.length.is_some_and(|length| self.parts.iter().map(|(start, end)| end - start).sum::<u32>() == length)
    }
}

/// Two fragments that do not agree where the datagram ends.
fn contradiction(counters: &mut Counters) -> bool {
    counters.malformed += 1;
    false
}

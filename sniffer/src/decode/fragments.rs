//! Reassembles fragmented IP datagrams (RFC 791, RFC 8200, RFC 8900), in any order of their fragments.
//!
//! An exact duplicate of a fragment is ignored. Any other overlap discards the datagram, as RFC 5722 requires for IPv6
//! and Linux also does for IPv4: overlapping fragments are an attempt to make an observer read other bytes than the
//! receiver does.

use super::{Addresses, ip::FragmentPosition};

use crate::{
    memory::{Kind, Share},
    net::Realm,
    time::Timestamp,
};
use hashbrown::HashMap;
use smallvec::SmallVec;
use sniffer_common::protocol;
use std::{collections::VecDeque, time::Duration};

/// Maximum number of incomplete datagrams at a time; the same number as in Packetbeat.
const MAX_DATAGRAMS: usize = 512;
/// Maximum number of fragments of one datagram. A datagram of 64 KiB in frames of 1500 bytes has 45.
const MAX_FRAGMENTS: usize = 64;
/// Maximum number of bytes of one datagram: the largest value of the length field of an IP header.
const MAX_LENGTH: u32 = 65_535;
/// Maximum number of bytes of all incomplete datagrams together. A fragment with a large offset allocates up to 64 KiB, so
/// `MAX_DATAGRAMS` alone does not bound the memory.
const MAX_BYTES: usize = 8 << 20;
/// How long a datagram waits for its missing fragments, in packet time. Packetbeat waits for the same time.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Result of [`Fragments::add`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddResult {
    /// Fragments are missing.
    Incomplete,
    /// The datagram is complete: [`Fragments::whole`] is its payload, and this is the payload's IP protocol number.
    Complete(u8),
}

/// Totals since the decoder was made.
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
    pub beginnings: u64,
}

/// One captured fragment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    pub time: Timestamp,
    pub realm: Realm,
    pub addresses: Addresses<'a>,
    pub protocol: u8,
    pub position: FragmentPosition,
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
        Self { addresses, id: fragment.position.id, realm: fragment.realm, v4, protocol: if v4 { fragment.protocol } else { 0 } }
    }
}

/// An incomplete datagram.
struct Datagram {
    number: u64,
    since: Timestamp,
    data: Vec<u8>,
    /// Start and end offset of each received fragment, in bytes, sorted by start.
    ranges: SmallVec<[(u32, u32); 8]>,
    /// Length in bytes; known when the last fragment has arrived.
    length: Option<u32>,
    /// Protocol number in the first fragment, which determines the payload of the datagram.
    protocol: u8,
    /// A fragment was cut to the snap length, so the datagram will not be complete.
    snapped: bool,
    /// The datagram is invalid. It still absorbs its other fragments, and will not be delivered.
    invalid: bool,
}

/// The captured beginning of a datagram that will not be complete, because fragments are missing or cut.
pub(super) struct Beginning {
    key: Key,
    pub time: Timestamp,
    /// Protocol number of the payload.
    pub protocol: u8,
    /// The bytes before the first missing one.
    pub data: Vec<u8>,
    /// Length in bytes as far as it is known. The datagram may be longer.
    pub wire: u32,
}

impl Beginning {
    pub fn realm(&self) -> Realm {
        self.key.realm
    }

    pub fn addresses(&self) -> Addresses<'_> {
        match self.key.addresses.first_chunk() {
            Some(v4) if self.key.v4 => Addresses::V4(v4),
            _ => Addresses::V6(&self.key.addresses),
        }
    }
}

/// The incomplete datagrams.
pub(super) struct Fragments {
    datagrams: HashMap<Key, Datagram, foldhash::fast::RandomState>,
    /// Keys and numbers in the order in which the datagrams started; may contain datagrams that are gone.
    order: VecDeque<(Key, u64)>,
    begun: u64,
    /// Sum of [`Datagram::held`] over all datagrams.
    bytes: usize,
    /// The maximum of `bytes`.
    limit: usize,
    whole: Vec<u8>,
    /// The beginnings of datagrams that were dropped since the last [`Fragments::next_beginning`], at most [`MAX_DATAGRAMS`].
    beginnings: VecDeque<Beginning>,
    /// Sum of the bytes of `beginnings`.
    beginning_bytes: usize,
    pub counters: Counters,
    share: Share,
}

impl Default for Fragments {
    fn default() -> Self {
        Self::with_share(MAX_BYTES, Share::default())
    }
}

impl Fragments {
    /// Makes an empty set, whose incomplete datagrams may hold `limit` bytes together.
    pub fn with_share(limit: usize, share: Share) -> Self {
        Self {
            datagrams: HashMap::default(),
            order: VecDeque::new(),
            begun: 0,
            bytes: 0,
            limit: limit.min(MAX_BYTES),
            whole: Vec::new(),
            beginnings: VecDeque::new(),
            beginning_bytes: 0,
            counters: Counters::default(),
            share,
        }
    }

    /// Number of allocated bytes.
    pub fn held(&self) -> usize {
        self.bytes
            + self.beginning_bytes
            + self.whole.capacity()
            + self.datagrams.allocation_size()
            + self.order.capacity() * size_of::<(Key, u64)>()
    }

    /// The payload of the last completed datagram.
    pub fn whole(&self) -> &[u8] {
        &self.whole
    }

    /// Adds a fragment to its datagram.
    #[inline(never)]
    pub fn add(&mut self, fragment: &Fragment<'_>) -> AddResult {
        let key = Key::of(fragment);
        self.expire(fragment.time);
        if !self.datagrams.contains_key(&key) {
            self.begin(key, fragment.time);
        }
        let Some(datagram) = self.datagrams.get_mut(&key) else { return AddResult::Incomplete };
        let before = datagram.held();
        let fits = datagram.add(fragment, &mut self.counters);
        if !fits {
            datagram.invalid = true;
            datagram.data = Vec::new();
            datagram.ranges = SmallVec::new();
        }
        self.bytes = (self.bytes + datagram.held()).saturating_sub(before);
        if datagram.is_complete() {
            let protocol = datagram.protocol;
            if let Some(datagram) = self.datagrams.remove(&key) {
                self.bytes = self.bytes.saturating_sub(datagram.held());
                self.whole = datagram.data;
            }
            self.counters.reassembled += 1;
            return AddResult::Complete(protocol);
        }
        while self.bytes > self.limit && self.evict_oldest() {}
        AddResult::Incomplete
    }

    /// Drops the datagrams that have waited too long at `now`, and returns the next beginning of a dropped one.
    pub fn next_beginning(&mut self, now: Timestamp) -> Option<Beginning> {
        self.expire(now);
        let beginning = self.beginnings.pop_front()?;
        self.beginning_bytes -= beginning.data.capacity();
        self.counters.beginnings += 1;
        Some(beginning)
    }

    fn begin(&mut self, key: Key, time: Timestamp) {
        while self.datagrams.len() >= MAX_DATAGRAMS && self.evict_oldest() {}
        // Completed datagrams leave their entries in `order`: remove these when there are more entries than datagrams.
        if self.order.len() >= 2 * MAX_DATAGRAMS {
            let datagrams = &self.datagrams;
            self.order.retain(|(key, number)| datagrams.get(key).is_some_and(|datagram| datagram.number == *number));
        }
        self.begun += 1;
        self.order.push_back((key, self.begun));
        let datagram = Datagram {
            number: self.begun,
            since: time,
            data: Vec::new(),
            ranges: SmallVec::new(),
            length: None,
            protocol: 0,
            snapped: false,
            invalid: false,
        };
        self.datagrams.insert(key, datagram);
    }

    /// Drops the datagrams that have waited too long. `order` is sorted by time unless packet time goes backwards.
    fn expire(&mut self, now: Timestamp) {
        while let Some((key, number)) = self.order.front().copied() {
            match self.datagrams.get(&key) {
                Some(datagram) if datagram.number == number => {
                    if now <= datagram.since.after(MAX_WAIT) {
                        return;
                    }
                    self.counters.expired += u64::from(!datagram.invalid);
                    self.drop_incomplete(&key);
                }
                _ => {}
            }
            self.order.pop_front();
        }
    }

    /// Drops the oldest incomplete datagram; returns false if there is none.
    fn evict_oldest(&mut self) -> bool {
        while let Some((key, number)) = self.order.pop_front() {
            if let Some(datagram) = self.datagrams.get(&key)
                && datagram.number == number
            {
                if !datagram.invalid {
                    self.counters.evicted += 1;
                    self.share.warn_once(Kind::Fragments);
                }
                self.drop_incomplete(&key);
                return true;
            }
        }
        false
    }

    /// Removes a datagram and keeps its beginning, if that was captured.
    fn drop_incomplete(&mut self, key: &Key) {
        let Some(datagram) = self.datagrams.remove(key) else { return };
        self.bytes = self.bytes.saturating_sub(datagram.held());
        if let Some(beginning) = datagram.beginning(*key)
            && self.beginnings.len() < MAX_DATAGRAMS
            && self.bytes + self.beginning_bytes + beginning.data.capacity() <= self.limit
        {
            self.beginning_bytes += beginning.data.capacity();
            self.beginnings.push_back(beginning);
        }
    }
}

impl Datagram {
    /// Number of allocated bytes.
    fn held(&self) -> usize {
        let ranges = if self.ranges.spilled() { self.ranges.capacity() * size_of::<(u32, u32)>() } else { 0 };
        self.data.capacity() + ranges
    }

    /// Adds a fragment; returns false if it makes the datagram invalid.
    fn add(&mut self, fragment: &Fragment<'_>, counters: &mut Counters) -> bool {
        if self.invalid {
            return false;
        }
        let (start, more) = (fragment.position.offset, fragment.position.more);
        let end = start.saturating_add(fragment.wire);
        if fragment.data.len() as u64 != u64::from(fragment.wire) {
            counters.snapped += 1;
            if start == 0 && self.ranges.is_empty() && !fragment.data.is_empty() {
                (self.data, self.protocol) = (fragment.data.to_vec(), fragment.protocol);
                self.ranges.push((0, fragment.data.len() as u32));
            }
            self.snapped = true;
            return true;
        }
        if self.snapped {
            return true;
        }
        // Only the last fragment may have a length that is not a multiple of 8, and the datagram must fit the length
        // field of an IP header.
        if end > MAX_LENGTH || end == start || (more && !fragment.wire.is_multiple_of(8)) {
            counters.malformed += 1;
            return false;
        }
        match (self.length, more) {
            (Some(length), true) if end > length => return conflicting_ends(counters),
            (Some(length), false) if end != length => return conflicting_ends(counters),
            (None, false) if self.ranges.last().is_some_and(|last| last.1 > end) => return conflicting_ends(counters),
            _ => {}
        }
        let at = self.ranges.partition_point(|range| range.0 < start);
        let range = start as usize..end as usize;
        if self.ranges.get(at) == Some(&(start, end)) && self.data.get(range.clone()) == Some(fragment.data) {
            counters.repeated += 1;
            return true;
        }
        let follows = self.ranges.get(at).is_some_and(|next| next.0 < end);
        let precedes = at.checked_sub(1).and_then(|i| self.ranges.get(i)).is_some_and(|previous| previous.1 > start);
        if follows || precedes {
            counters.overlapping += 1;
            return false;
        }
        if self.ranges.len() >= MAX_FRAGMENTS {
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
        self.ranges.insert(at, (start, end));
        true
    }

    /// The bytes up to the first missing one; `None` if the datagram is invalid or its first fragment is missing.
    fn beginning(self, key: Key) -> Option<Beginning> {
        let end = self.ranges.iter().fold(0, |end, range| if range.0 == end { range.1 } else { end });
        if self.invalid || end == 0 {
            return None;
        }
        let known = self.length.or_else(|| self.ranges.last().map(|last| last.1)).unwrap_or(end);
        // The length of this datagram is not known. For UDP the maximum is used, because the UDP header has the actual length.
        let wire = if self.protocol == protocol::UDP && self.length.is_none() { MAX_LENGTH } else { known };
        let mut data = self.data;
        data.truncate(end as usize);
        data.shrink_to_fit();
        Some(Beginning { key, time: self.since, protocol: self.protocol, data, wire })
    }

    /// Whether all bytes are there. Fragments do not overlap, so their lengths add up to the length of a complete
    /// datagram.
    fn is_complete(&self) -> bool {
        !self.invalid
            && !self.snapped
            && self.length.is_some_and(|length| self.ranges.iter().map(|(start, end)| end - start).sum::<u32>() == length)
    }
}

/// Counts two fragments that imply different ends of the datagram as malformed.
fn conflicting_ends(counters: &mut Counters) -> bool {
    counters.malformed += 1;
    false
}

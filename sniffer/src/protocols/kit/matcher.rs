//! Pending requests that are found by a key (a transaction id), bounded in number, bytes and time. For protocols whose
//! responses come in the order of the requests see [`super::backlog`].

use super::{
    backlog::{ItemMut, Limits},
    held::Held,
};
use crate::time::Timestamp;
use hashbrown::HashMap;
use std::{collections::VecDeque, hash::Hash, time::Duration};

/// Number of requests for which an empty matcher keeps memory. There may be very many idle connections.
const SPARE: usize = 64;

/// The pending requests, by key. All have the same timeout, so the oldest is always the first to expire.
#[derive(Debug)]
pub struct Matcher<K, V> {
    entries: HashMap<K, Entry<V>, foldhash::fast::RandomState>,
    /// The entries `(due, number, key)`, the oldest first. The entry of a request that was taken remains here; the number shows that it is
    /// outdated.
    order: VecDeque<(Timestamp, u64, K)>,
    limits: Limits,
    next: u64,
    /// Sum of `Held::held` of all values.
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    number: u64,
    value: V,
}

impl<K: Hash + Eq + Clone, V: Held> Matcher<K, V> {
    /// Makes an empty matcher. It allocates nothing before the first request.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits { items: limits.items.max(1), ..limits };
        Self { entries: HashMap::default(), order: VecDeque::new(), limits, next: 0, bytes: 0 }
    }

    /// Adds `value` under `key`, waiting from `now` on. Returns the evicted request: the one with the same key, or the oldest if there are
    /// too many. The function does not enforce the limit in bytes: the caller calls [`Matcher::evict_for`] before.
    #[must_use = "the evicted request must be reported or counted"]
    pub fn insert(&mut self, key: K, value: V, now: Timestamp) -> Option<V> {
        let number = self.next;
        self.next += 1;
        self.order.push_back((now.after(self.limits.timeout), number, key.clone()));
        self.bytes += value.held();
        let replaced = self.entries.insert(key, Entry { number, value }).map(|old| self.removed(old.value));
        let evicted = replaced.or_else(|| if self.entries.len() > self.limits.items { self.pop() } else { None });
        // Remaining entries of taken requests must not accumulate.
        if self.order.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.order.retain(|(_, number, key)| entries.get(key).is_some_and(|e| e.number == *number));
        }
        evicted
    }

    /// How long a request waits.
    pub fn timeout(&self) -> Duration {
        self.limits.timeout
    }

    /// Whether the limit in bytes allows this many more bytes.
    pub fn has_bytes(&self, more: usize) -> bool {
        self.bytes.saturating_add(more) <= self.limits.bytes
    }

    /// Removes the oldest request if the limit in bytes leaves no room for `value`. The caller repeats the call until it returns `None`.
    pub fn evict_for(&mut self, value: &V) -> Option<V> {
        if self.has_bytes(value.held()) { None } else { self.pop() }
    }

    /// Removes the request with this key.
    pub fn take(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.remove(key)?;
        Some(self.removed(entry.value))
    }

    /// Whether a request with this key is pending.
    pub fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// The request with this key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Mutable access to the request with this key.
    pub fn get_mut(&mut self, key: &K) -> Option<ItemMut<'_, V>> {
        ItemMut::new(self.entries.get_mut(key).map(|entry| &mut entry.value), &mut self.bytes)
    }

    /// Removes the oldest request if its timeout has passed at `now`. The caller repeats the call until it returns `None`.
    pub fn expired(&mut self, now: Timestamp) -> Option<V> {
        loop {
            let (due, number, key) = self.order.front()?;
            match self.entries.get(key) {
                Some(entry) if entry.number == *number => {
                    if *due > now {
                        return None;
                    }
                    return self.pop();
                }
                _ => drop(self.order.pop_front()),
            }
        }
    }

    /// When the oldest request expires, for a timer. The time may be too early if that request was answered, but never too late.
    pub fn due(&self) -> Option<Timestamp> {
        if self.entries.is_empty() { None } else { self.order.front().map(|(due, _, _)| *due) }
    }

    /// Removes the oldest request, whether or not it has expired.
    pub fn pop(&mut self) -> Option<V> {
        while let Some((_, number, key)) = self.order.pop_front() {
            if self.entries.get(&key).is_some_and(|entry| entry.number == number) {
                return self.take(&key);
            }
        }
        None
    }

    fn removed(&mut self, value: V) -> V {
        self.bytes = self.bytes.saturating_sub(value.held());
        if self.entries.is_empty() && self.entries.capacity() > SPARE {
            self.entries.shrink_to(SPARE);
            self.order.clear();
            self.order.shrink_to(SPARE);
        }
        value
    }

    /// Number of requests.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no requests.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes allocated for the matcher and the requests in it.
    pub fn held(&self) -> usize {
        self.entries.allocation_size() + self.order.capacity() * size_of::<(Timestamp, u64, K)>() + self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(s: u64) -> Timestamp {
        Timestamp(s * 1_000_000_000)
    }

    fn matcher<V: Held>(items: usize, bytes: usize) -> Matcher<u32, V> {
        Matcher::new(Limits { items, bytes, timeout: Duration::from_secs(10) })
    }

    fn text(bytes: usize) -> Box<[u8]> {
        vec![0; bytes].into()
    }

    #[test]
    fn the_oldest_is_evicted_first_and_answered_requests_never() {
        let mut w = matcher(2, 100);
        assert_eq!(w.insert(1, text(1), at(0)), None);
        assert_eq!(w.insert(2, text(2), at(1)), None);
        assert_eq!(w.insert(1, text(3), at(2)), Some(text(1)), "the same key");
        assert_eq!(w.insert(3, text(4), at(3)), Some(text(2)), "no room");
        assert_eq!((w.expired(at(11)), w.due()), (None, Some(at(12))));
        assert_eq!((w.take(&1), w.bytes), (Some(text(3)), 4));
        assert_eq!((w.expired(at(13)), w.expired(at(13)), w.len(), w.bytes), (Some(text(4)), None, 0, 0));
    }

    #[test]
    fn bounded_in_bytes() {
        let mut w = matcher(10, 100);
        for key in 0..3 {
            assert_eq!(w.insert(key, text(30), at(0)), None);
        }
        let new = text(60);
        assert_eq!((w.evict_for(&new), w.evict_for(&new), w.evict_for(&new)), (Some(text(30)), Some(text(30)), None));
        assert_eq!(w.insert(9, new, at(1)), None);
        *w.get_mut(&9).unwrap() = text(5);
        assert_eq!((w.contains(&2), w.get(&9), w.bytes), (true, Some(&text(5)), 35));
    }

    #[test]
    fn entries_of_answered_requests_do_not_accumulate() {
        let mut w = matcher(10, 0);
        for i in 0..10_000 {
            assert_eq!(w.insert(i, (), at(0)), None);
            w.take(&i);
        }
        assert!(w.order.len() < 100, "{}", w.order.len());
    }

    #[test]
    fn held_counts_capacity_and_is_given_back() {
        let mut w = matcher(10_000, 1 << 20);
        assert_eq!(w.held(), 0);
        for i in 0..10_000 {
            assert_eq!(w.insert(i, text(7), at(0)), None);
        }
        assert!(w.held() > 10_000 * (7 + 2 * size_of::<(u32, u64, Box<[u8]>)>()), "{}", w.held());
        for i in 0..10_000 {
            w.take(&i);
        }
        assert!(w.held() < 100_000, "{}", w.held());
    }
}

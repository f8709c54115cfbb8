//! Requests that wait for their response by a key (a transaction id), bounded in number and in time. For protocols whose
//! answers come in the order of the questions a queue is enough.

use crate::time::Timestamp;
use hashbrown::HashMap;
use std::{collections::VecDeque, hash::Hash, time::Duration};

/// What waits, by key. All wait equally long, so the oldest is always the first to go.
#[derive(Debug)]
pub struct Waiting<K, V> {
    entries: HashMap<K, Entry<V>, foldhash::fast::RandomState>,
    /// Oldest first; an entry that was taken leaves its place here behind, told by its number.
    order: VecDeque<(Timestamp, u64, K)>,
    timeout: Duration,
    most: usize,
    next: u64,
}

#[derive(Debug)]
struct Entry<V> {
    number: u64,
    value: V,
}

impl<K: Hash + Eq + Clone, V> Waiting<K, V> {
    /// Nothing waits yet; at most `most` ever will, each for `timeout`.
    pub fn new(timeout: Duration, most: usize) -> Self {
        Self { entries: HashMap::default(), order: VecDeque::new(), timeout, most: most.max(1), next: 0 }
    }

    /// `value` begins to wait at `now`. What it drives out comes back: its predecessor under the same key, or the oldest where there is no room.
    pub fn insert(&mut self, key: K, value: V, now: Timestamp) -> Option<V> {
        let number = self.next;
        self.next += 1;
        self.order.push_back((now.after(self.timeout), number, key.clone()));
        let replaced = self.entries.insert(key, Entry { number, value }).map(|old| old.value);
        let out = replaced.or_else(|| if self.entries.len() > self.most { self.oldest() } else { None });
        // Places left behind by entries that were answered must not pile up.
        if self.order.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.order.retain(|(_, number, key)| entries.get(key).is_some_and(|e| e.number == *number));
        }
        out
    }

    /// What waits under `key`, which no longer does.
    pub fn take(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|entry| entry.value)
    }

    /// What waits under `key`.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// The oldest, if its time is over at `now`. To be called until there is none.
    pub fn expired(&mut self, now: Timestamp) -> Option<V> {
        loop {
            let (due, number, key) = self.order.front()?;
            match self.entries.get(key) {
                Some(entry) if entry.number == *number => {
                    if *due > now {
                        return None;
                    }
                    return self.oldest();
                }
                _ => drop(self.order.pop_front()),
            }
        }
    }

    /// When the oldest is due, for a timer. An early answer may make it a moment too soon, never too late.
    pub fn due(&self) -> Option<Timestamp> {
        if self.entries.is_empty() { None } else { self.order.front().map(|(due, _, _)| *due) }
    }

    /// The oldest, which no longer waits, due or not. To be called until there is none, at the end.
    pub fn oldest(&mut self) -> Option<V> {
        while let Some((_, number, key)) = self.order.pop_front() {
            if self.entries.get(&key).is_some_and(|entry| entry.number == number) {
                return self.take(&key);
            }
        }
        None
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Timestamp {
        Timestamp(s * 1_000_000_000)
    }

    #[test]
    fn oldest_goes_first_and_answered_ones_never() {
        let mut w = Waiting::new(Duration::from_secs(10), 2);
        assert_eq!(w.insert('a', 1, at(0)), None);
        assert_eq!(w.insert('b', 2, at(1)), None);
        assert_eq!(w.insert('a', 3, at(2)), Some(1), "the same key");
        assert_eq!(w.insert('c', 4, at(3)), Some(2), "no room");
        assert_eq!((w.expired(at(11)), w.due()), (None, Some(at(12))));
        assert_eq!(w.take(&'a'), Some(3));
        assert_eq!((w.expired(at(13)), w.expired(at(13)), w.len()), (Some(4), None, 0));
    }

    #[test]
    fn places_left_behind_do_not_pile_up() {
        let mut w = Waiting::new(Duration::from_secs(10), 10);
        for i in 0..10_000 {
            w.insert(i, (), at(0));
            w.take(&i);
        }
        assert!(w.order.len() < 100, "{}", w.order.len());
    }
}

//! A bounded map of what was used recently.

use foldhash::fast::RandomState;
use std::{collections::HashMap, hash::Hash};

/// A map that forgets what was not used for a long time when it is full. It has two generations: a new entry, or an entry of the older
/// generation that is used, enters the younger one. When the younger one is full, the older one is forgotten and the younger one takes its
/// place.
#[derive(Debug)]
pub struct Recent<K, V> {
    /// Maximum number of entries of a generation.
    entries: usize,
    /// Maximum number of bytes of the values of a generation.
    bytes: usize,
    /// The number of bytes of a value.
    size: fn(&V) -> usize,
    /// The bytes of the values in `young`.
    held: usize,
    young: HashMap<K, V, RandomState>,
    old: HashMap<K, V, RandomState>,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    /// Makes a map with at most `entries` entries and `bytes` bytes in each of its two generations. A single value may have more bytes.
    pub fn new(entries: usize, bytes: usize, size: fn(&V) -> usize) -> Self {
        Self { entries, bytes, size, held: 0, young: HashMap::default(), old: HashMap::default() }
    }

    /// The value of a key.
    pub fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    /// Adds or replaces a value.
    pub fn insert(&mut self, key: K, value: V) {
        let size = (self.size)(&value);
        if self.young.len() >= self.entries || self.held.saturating_add(size) > self.bytes {
            self.old = std::mem::take(&mut self.young);
            self.held = 0;
        }
        self.held = self.held.saturating_add(size);
        if let Some(before) = self.young.insert(key, value) {
            self.held = self.held.saturating_sub((self.size)(&before));
        }
    }

    /// Number of entries.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_bounded_and_those_in_use_stay() {
        let mut recent: Recent<u32, u32> = Recent::new(4, usize::MAX, |_| 1);
        for key in 0..100 {
            recent.insert(key, key);
            assert_eq!(recent.get(&0), Some(0), "in use, after {key}");
            assert!(recent.len() <= 8, "{}", recent.len());
        }
        assert_eq!((recent.get(&50), recent.get(&99)), (None, Some(99)));
    }

    #[test]
    fn bytes_are_bounded() {
        let mut recent: Recent<u32, usize> = Recent::new(usize::MAX, 10, |size| *size);
        for key in 0..100 {
            recent.insert(key, 5);
            assert!(recent.len() <= 4, "{}", recent.len());
        }
        recent.insert(1000, 50);
        assert_eq!(recent.get(&1000), Some(50), "a value that is larger than the limit");
        recent.insert(1001, 1);
        recent.insert(1002, 1);
        assert_eq!(recent.get(&99), None);
        recent.insert(1001, 5);
        recent.insert(1001, 5);
        recent.insert(1002, 1);
        assert_eq!((recent.get(&1001), recent.get(&1002)), (Some(5), Some(1)), "a replaced value does not count");
    }
}

//! Statements and portals by their names, bounded in number and in bytes: the oldest goes first.

use super::event::{Columns, Formats};
use crate::protocols::kit::held::Held;
use hashbrown::HashMap;
use std::{collections::VecDeque, sync::Arc};

/// A name as clients give it; the empty one is that of the unnamed statement or portal.
pub type Name = Box<[u8]>;

/// A statement that was parsed.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its text.
    pub sql: Arc<[u8]>,
    /// Whether its Parse was seen.
    pub known: bool,
    /// Its result's, once described.
    pub columns: Option<Arc<Columns>>,
}

/// A statement with its parameters, ready to be executed.
#[derive(Clone, Debug)]
pub struct Portal {
    /// What it executes.
    pub prepared: Prepared,
    /// How its rows come.
    pub formats: Formats,
}

impl Held for Prepared {
    fn held(&self) -> usize {
        self.sql.held() + self.columns.as_ref().map_or(0, |c| c.held())
    }
}

impl Held for Portal {
    fn held(&self) -> usize {
        self.prepared.held() + self.formats.held()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Named<V> {
    /// The one without a name, which is used most and needs no search.
    unnamed: Option<V>,
    entries: HashMap<Name, (u64, V), foldhash::fast::RandomState>,
    /// Oldest first; one that was closed or replaced leaves its place here behind, told by its number.
    order: VecDeque<(u64, Name)>,
    next: u64,
    /// The sum of the bytes of all names and values.
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl<V: Held> Named<V> {
    /// At most so many, of so many bytes.
    pub fn new(most: usize, most_bytes: usize) -> Self {
        Self { unnamed: None, entries: HashMap::default(), order: VecDeque::new(), next: 0, bytes: 0, most, most_bytes }
    }

    /// From now on `name` is `value`.
    pub fn insert(&mut self, name: Name, value: V) {
        if name.is_empty() {
            self.unnamed = Some(value);
            return;
        }
        self.next += 1;
        self.bytes += value.held() + name.len();
        self.order.push_back((self.next, name.clone()));
        if let Some((_, old)) = self.entries.insert(name.clone(), (self.next, value)) {
            self.bytes = self.bytes.saturating_sub(old.held() + name.len());
        }
        while self.entries.len() > self.most || self.bytes > self.most_bytes {
            let Some((number, name)) = self.order.pop_front() else { break };
            if self.entries.get(&name).is_some_and(|entry| entry.0 == number) {
                self.remove(&name);
            }
        }
        if self.order.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.order.retain(|(number, name)| entries.get(name).is_some_and(|entry| entry.0 == *number));
        }
    }

    /// Whether no name means anything. The unnamed one does not count: it lasts until the next statement.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes allocated.
    pub fn held(&self) -> usize {
        let order = self.order.capacity() * size_of::<(u64, Name)>();
        // The names in `order` are copies.
        self.unnamed.held() + self.entries.allocation_size() + order + 2 * self.bytes
    }

    /// What has that name.
    pub fn get(&self, name: &[u8]) -> Option<&V> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.entries.get(name).map(|(_, value)| value) }
    }

    /// Changes what has that name.
    pub fn change(&mut self, name: &[u8], f: impl FnOnce(&mut V)) {
        let value = if name.is_empty() { self.unnamed.as_mut() } else { self.entries.get_mut(name).map(|(_, value)| value) };
        if let Some(value) = value {
            let before = value.held();
            f(value);
            if !name.is_empty() {
                self.bytes = (self.bytes + value.held()).saturating_sub(before);
            }
        }
    }

    /// The name means nothing any more.
    pub fn remove(&mut self, name: &[u8]) {
        if name.is_empty() {
            self.unnamed = None;
        } else if let Some((_, value)) = self.entries.remove(name) {
            self.bytes = self.bytes.saturating_sub(value.held() + name.len());
        }
    }

    /// No name means anything any more.
    pub fn clear(&mut self) {
        self.unnamed = None;
        if !self.entries.is_empty() {
            self.entries.clear();
            self.order.clear();
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(sql: &str) -> Prepared {
        Prepared { sql: sql.as_bytes().into(), known: true, columns: None }
    }

    #[test]
    fn bounded_in_number_and_bytes() {
        let mut n = Named::new(2, 100);
        for name in ["a", "b", "a", "c"] {
            n.insert(name.as_bytes().into(), named(name));
        }
        assert_eq!((n.get(b"a").is_some(), n.get(b"b").is_some(), n.get(b"c").is_some()), (true, false, true));
        n.insert(b"d"[..].into(), named(&"x".repeat(98)));
        assert_eq!((n.get(b"c").is_some(), n.get(b"d").is_some(), n.bytes), (false, true, 99));
        n.remove(b"d");
        assert_eq!(n.bytes, 0);
        for _ in 0..1000 {
            n.insert(b"a"[..].into(), named("a"));
        }
        assert!(n.order.len() <= 68, "{}", n.order.len());
    }

    #[test]
    fn the_unnamed_one() {
        let mut n = Named::new(1, 1);
        n.insert(Name::default(), named("unbounded, there is but one"));
        assert!(n.get(b"").is_some());
        n.clear();
        assert!(n.get(b"").is_none());
    }
}

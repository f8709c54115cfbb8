//! Statements and portals by name, bounded in number and bytes; the oldest is removed first.

use super::event::{Columns, Formats};
use crate::protocols::kit::held::Held;
use hashbrown::HashMap;
use std::{collections::VecDeque, sync::Arc};

/// A name given by the client; the empty name is the unnamed statement or portal.
pub type Name = Box<[u8]>;

/// A prepared statement.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The text of the statement.
    pub sql: Arc<[u8]>,
    /// Whether the statement's Parse was captured.
    pub known: bool,
    /// The columns of the statement's result, if the statement was described.
    pub columns: Option<Arc<Columns>>,
}

/// A portal: a statement with its parameters.
#[derive(Clone, Debug)]
pub struct Portal {
    /// The prepared statement of the portal.
    pub prepared: Prepared,
    /// The formats of the portal's rows.
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

/// The named and the unnamed values of one kind (statements or portals).
#[derive(Debug)]
pub struct Named<V> {
    /// The unnamed value, which is used most and needs no lookup.
    unnamed: Option<V>,
    entries: HashMap<Name, (u64, V), foldhash::fast::RandomState>,
    /// The names in the order of their definition, the oldest first. A name that was removed or replaced remains here; its number shows
    /// that the entry is outdated.
    order: VecDeque<(u64, Name)>,
    next: u64,
    /// Bytes of all names and values.
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl<V: Held> Named<V> {
    /// Makes an empty list that is limited in number and bytes.
    pub fn new(most: usize, most_bytes: usize) -> Self {
        Self { unnamed: None, entries: HashMap::default(), order: VecDeque::new(), next: 0, bytes: 0, most, most_bytes }
    }

    /// Sets the value of `name`.
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

    /// Whether there are no named values. The unnamed value is not counted, because it lasts only until the next
    /// statement.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of allocated bytes.
    pub fn held(&self) -> usize {
        let order = self.order.capacity() * size_of::<(u64, Name)>();
        // The names in `order` are copies.
        self.unnamed.held() + self.entries.allocation_size() + order + 2 * self.bytes
    }

    /// The value with this name.
    pub fn get(&self, name: &[u8]) -> Option<&V> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.entries.get(name).map(|(_, value)| value) }
    }

    /// Changes the value with this name.
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

    /// Removes a name.
    pub fn remove(&mut self, name: &[u8]) {
        if name.is_empty() {
            self.unnamed = None;
        } else if let Some((_, value)) = self.entries.remove(name) {
            self.bytes = self.bytes.saturating_sub(value.held() + name.len());
        }
    }

    /// Removes all names.
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
    fn the_unnamed_value() {
        let mut n = Named::new(1, 1);
        n.insert(Name::default(), named("unbounded, there is but one"));
        assert!(n.get(b"").is_some());
        n.clear();
        assert!(n.get(b"").is_none());
    }
}

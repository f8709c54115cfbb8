//! A queue of pending requests in the order in which they were sent, bounded in number, bytes and time. For protocols
//! whose responses name their request see [`super::matcher`].

use super::held::Held;
use crate::time::Timestamp;
use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    time::Duration,
};

/// Number of items for which an empty queue keeps memory. There may be very many idle connections.
const SPARE: usize = 64;

/// Limits of a queue of pending requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of requests.
    pub items: usize,
    /// Maximum number of bytes that all requests together own on the heap ([`Held`]).
    pub bytes: usize,
    /// Longest wait in packet time, from [`Waits::since`] on. `Duration::MAX` means no timeout.
    pub timeout: Duration,
}

/// A pending request.
pub trait Waits: Held {
    /// The packet time at which the request began to wait.
    fn since(&self) -> Timestamp;
}

/// A first-in, first-out queue that does not exceed its limits: [`Backlog::push`] refuses an item that does not fit. An
/// item that grows while it waits is not refused, but the next one may be.
#[derive(Debug)]
pub struct Backlog<T> {
    /// The items, the oldest first.
    items: VecDeque<T>,
    /// Sum of `Held::held` of all items.
    bytes: usize,
    limits: Limits,
}

impl<T: Waits> Backlog<T> {
    /// Makes an empty queue. It allocates nothing before the first item.
    pub fn new(limits: Limits) -> Self {
        Self { items: VecDeque::new(), bytes: 0, limits }
    }

    /// Appends an item. Returns the item if there is no room for it.
    #[must_use = "the item is refused when there is no room, which must be counted"]
    pub fn push(&mut self, item: T) -> Option<T> {
        if !self.has_room_for(&item) {
            return Some(item);
        }
        self.bytes += item.held();
        self.items.push_back(item);
        None
    }

    /// Whether [`Backlog::push`] would accept the item.
    pub fn has_room_for(&self, item: &T) -> bool {
        self.items.len() < self.limits.items && self.has_bytes(item.held())
    }

    /// Whether the limit in bytes allows this many more bytes, whatever the number of items.
    pub fn has_bytes(&self, more: usize) -> bool {
        self.bytes.saturating_add(more) <= self.limits.bytes
    }

    /// Removes the oldest item if there is no room for `item`. The caller repeats the call until it returns `None`, and then pushes `item`.
    pub fn evict_for(&mut self, item: &T) -> Option<T> {
        if self.has_room_for(item) { None } else { self.pop() }
    }

    /// Removes the oldest item.
    pub fn pop(&mut self) -> Option<T> {
        let item = self.items.pop_front()?;
        Some(self.removed(item))
    }

    /// Puts an item that [`Backlog::pop`] returned back to the front. The queue never refuses it, because it had room before.
    pub fn put_back(&mut self, item: T) {
        self.bytes += item.held();
        self.items.push_front(item);
    }

    /// Removes the item at `index`, counted from the oldest.
    pub fn remove(&mut self, index: usize) -> Option<T> {
        let item = self.items.remove(index)?;
        Some(self.removed(item))
    }

    /// Removes and returns all items for which `which` is true, oldest first.
    pub fn extract(&mut self, which: impl Fn(&T) -> bool) -> VecDeque<T> {
        if !self.items.iter().any(&which) {
            return VecDeque::new();
        }
        let (out, kept): (VecDeque<T>, VecDeque<T>) = std::mem::take(&mut self.items).into_iter().partition(which);
        self.items = kept;
        self.bytes = self.items.iter().map(T::held).sum();
        out
    }

    /// Removes all items for which `keep` is false. `keep` is called for the oldest item first.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.items.retain(keep);
        self.bytes = self.items.iter().map(T::held).sum();
    }

    fn removed(&mut self, item: T) -> T {
        self.bytes = self.bytes.saturating_sub(item.held());
        if self.items.is_empty() && self.items.capacity() > SPARE {
            self.items.shrink_to(SPARE);
        }
        item
    }

    /// Removes the oldest item if its timeout has passed at `now`. The caller repeats the call until it returns `None`.
    pub fn expired(&mut self, now: Timestamp) -> Option<T> {
        if self.due().is_some_and(|due| due <= now) { self.pop() } else { None }
    }

    /// When the timeout of the oldest item ends.
    pub fn due(&self) -> Option<Timestamp> {
        self.items.front().map(|item| item.since().after(self.limits.timeout))
    }

    /// The timeout in packet time.
    pub fn timeout(&self) -> Duration {
        self.limits.timeout
    }

    /// The oldest item.
    pub fn front(&self) -> Option<&T> {
        self.items.front()
    }

    /// The newest item.
    pub fn back(&self) -> Option<&T> {
        self.items.back()
    }

    /// The item at `index`, counted from the oldest.
    pub fn get(&self, index: usize) -> Option<&T> {
        self.items.get(index)
    }

    /// Mutable access to the oldest item.
    pub fn front_mut(&mut self) -> Option<ItemMut<'_, T>> {
        ItemMut::new(self.items.front_mut(), &mut self.bytes)
    }

    /// Mutable access to the newest item.
    pub fn back_mut(&mut self) -> Option<ItemMut<'_, T>> {
        ItemMut::new(self.items.back_mut(), &mut self.bytes)
    }

    /// Mutable access to the item at `index`.
    pub fn get_mut(&mut self, index: usize) -> Option<ItemMut<'_, T>> {
        ItemMut::new(self.items.get_mut(index), &mut self.bytes)
    }

    /// Changes every item, oldest first.
    pub fn for_each_mut(&mut self, mut f: impl FnMut(&mut T)) {
        for item in &mut self.items {
            let before = item.held();
            f(item);
            self.bytes = (self.bytes + item.held()).saturating_sub(before);
        }
    }

    /// All items, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.items.iter()
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes allocated for the queue and its items.
    pub fn held(&self) -> usize {
        self.items.capacity() * size_of::<T>() + self.bytes
    }
}

/// Mutable access to an item of a queue. When it is dropped, the queue's sum of bytes is updated.
#[derive(Debug)]
pub struct ItemMut<'a, T: Held> {
    item: &'a mut T,
    before: usize,
    sum: &'a mut usize,
}

impl<'a, T: Held> ItemMut<'a, T> {
    pub(super) fn new(item: Option<&'a mut T>, sum: &'a mut usize) -> Option<Self> {
        item.map(|item| Self { before: item.held(), item, sum })
    }
}

impl<T: Held> Deref for ItemMut<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.item
    }
}

impl<T: Held> DerefMut for ItemMut<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.item
    }
}

impl<T: Held> Drop for ItemMut<'_, T> {
    fn drop(&mut self) {
        *self.sum = (*self.sum + self.item.held()).saturating_sub(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Item(u64, Box<[u8]>);

    impl Held for Item {
        fn held(&self) -> usize {
            self.1.held()
        }
    }

    impl Waits for Item {
        fn since(&self) -> Timestamp {
            Timestamp(self.0)
        }
    }

    fn item(since: u64, bytes: usize) -> Item {
        Item(since, vec![0; bytes].into())
    }

    fn backlog(items: usize, bytes: usize) -> Backlog<Item> {
        Backlog::new(Limits { items, bytes, timeout: Duration::from_nanos(10) })
    }

    #[test]
    fn bounded_in_number_and_bytes() {
        let mut b = backlog(2, 100);
        assert_eq!((b.push(item(1, 60)), b.push(item(2, 41))), (None, Some(item(2, 41))), "bytes");
        assert_eq!((b.push(item(3, 40)), b.push(item(4, 0))), (None, Some(item(4, 0))), "number");
        let new = item(5, 100);
        assert_eq!((b.evict_for(&new), b.evict_for(&new), b.evict_for(&new)), (Some(item(1, 60)), Some(item(3, 40)), None));
        assert_eq!((b.push(new), b.bytes), (None, 100));
        let large = item(6, 101);
        assert_eq!((b.evict_for(&large), b.evict_for(&large), b.push(large)), (Some(item(5, 100)), None, Some(item(6, 101))));
    }

    #[test]
    fn the_sum_of_bytes_follows_every_change() {
        let mut b = backlog(10, 1000);
        for i in 0..4 {
            assert_eq!(b.push(item(i, 10)), None);
        }
        b.front_mut().unwrap().1 = vec![0; 50].into();
        b.back_mut().unwrap().1 = vec![0; 1].into();
        assert_eq!(b.bytes, 50 + 10 + 10 + 1);
        assert_eq!(b.extract(|i| i.0 == 1), [item(1, 10)]);
        assert_eq!((b.extract(|i| i.0 == 7).len(), b.bytes), (0, 61));
        let first = b.pop().unwrap();
        assert_eq!(b.bytes, 11);
        b.put_back(first);
        assert_eq!((b.remove(1), b.bytes, b.len()), (Some(item(2, 10)), 51, 2));
        while b.pop().is_some() {}
        assert_eq!(b.bytes, 0);
    }

    #[test]
    fn held_counts_capacity_and_is_given_back() {
        let mut b = backlog(10_000, 1 << 20);
        assert_eq!(b.held(), 0);
        for i in 0..10_000 {
            assert_eq!(b.push(item(i, 3)), None);
        }
        assert!(b.held() >= 10_000 * (size_of::<Item>() + 3), "{}", b.held());
        while b.pop().is_some() {}
        assert!(b.held() <= SPARE * size_of::<Item>(), "{}", b.held());
    }

    #[test]
    fn the_oldest_expires() {
        let mut b = backlog(10, 1000);
        assert_eq!((b.push(item(5, 0)), b.push(item(7, 0))), (None, None));
        assert_eq!((b.due(), b.expired(Timestamp(14))), (Some(Timestamp(15)), None));
        assert_eq!((b.expired(Timestamp(16)), b.expired(Timestamp(16)), b.due()), (Some(item(5, 0)), None, Some(Timestamp(17))));
    }
}

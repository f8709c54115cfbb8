//! A value that any thread can replace, and that the worker which owns a source picks up between two polls.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// The shared value.
#[derive(Debug)]
pub struct Slot<T> {
    /// Number of replacements so far.
    version: AtomicU64,
    value: Mutex<T>,
}

impl<T: Clone> Slot<T> {
    /// Makes a slot that holds `value`.
    pub fn new(value: T) -> Arc<Self> {
        Arc::new(Self { version: AtomicU64::new(0), value: Mutex::new(value) })
    }

    /// Replaces the value.
    pub fn set(&self, value: T) {
        let mut place = self.lock();
        *place = value;
        // Incremented under the lock, so that a reader never pairs a version with the value of another version.
        self.version.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader of a [`Slot`]. It remembers the version that it read last.
#[derive(Debug)]
pub struct Reader<T> {
    slot: Arc<Slot<T>>,
    seen: u64,
}

impl<T: Clone> Reader<T> {
    /// Makes a reader, and returns it with the current value.
    pub fn new(slot: &Arc<Slot<T>>) -> (Self, T) {
        let value = slot.lock();
        let seen = slot.version.load(Ordering::Acquire);
        (Self { slot: Arc::clone(slot), seen }, value.clone())
    }

    /// The value, if it was replaced since the last read. Costs one atomic load if it was not.
    pub fn newer(&mut self) -> Option<T> {
        if self.slot.version.load(Ordering::Acquire) == self.seen {
            return None;
        }
        let value = self.slot.lock();
        self.seen = self.slot.version.load(Ordering::Acquire);
        Some(value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_value_is_returned_once() {
        let slot = Slot::new(1);
        let (mut first, value) = Reader::new(&slot);
        assert_eq!((value, first.newer()), (1, None));
        slot.set(2);
        slot.set(3);
        let (mut second, value) = Reader::new(&slot);
        assert_eq!((first.newer(), first.newer()), (Some(3), None));
        assert_eq!((value, second.newer()), (3, None), "what was there when the reader was made");
    }
}

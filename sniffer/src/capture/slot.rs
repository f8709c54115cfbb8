//! A value that any thread replaces, and that the worker which owns a source takes up between two polls.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// The value.
#[derive(Debug)]
pub struct Slot<T> {
    /// Counts the replacements.
    version: AtomicU64,
    value: Mutex<T>,
}

impl<T: Clone> Slot<T> {
    /// Begins with `value`.
    pub fn new(value: T) -> Arc<Self> {
        Arc::new(Self { version: AtomicU64::new(0), value: Mutex::new(value) })
    }

    /// Replaces the value.
    pub fn set(&self, value: T) {
        let mut place = self.lock();
        *place = value;
        // Under the lock: a version never comes with the value of another one.
        self.version.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a [`Slot`] and remembers which value it has seen.
#[derive(Debug)]
pub struct Reader<T> {
    slot: Arc<Slot<T>>,
    seen: u64,
}

impl<T: Clone> Reader<T> {
    /// Returns the value of now as well.
    pub fn new(slot: &Arc<Slot<T>>) -> (Self, T) {
        let value = slot.lock();
        let seen = slot.version.load(Ordering::Acquire);
        (Self { slot: Arc::clone(slot), seen }, value.clone())
    }

    /// The value, when it was replaced since it was read last. Costs one atomic load when it was not.
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
    fn a_value_is_newer_once() {
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

//! The values of a cache, bounded in number and bytes. Each value is valid for a time.

use crate::time::Timestamp;
use hashbrown::HashMap;
use serde_json::Value;
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Maximum number of values. It is also the default.
const MAX_VALUES: usize = 100_000;
/// Maximum size of all values with their keys, in bytes.
const MAX_BYTES: usize = 64 << 20;
/// Maximum size of one value with its key, in bytes.
const MAX_VALUE: usize = 1 << 20;
/// Size of an entry, or of a part of a value, in addition to its text, in bytes.
const OVERHEAD: usize = 80;

/// A value, and the time when it expires.
struct Entry {
    value: Value,
    expires: Timestamp,
    /// The size of the entry in bytes.
    bytes: usize,
}

#[derive(Default)]
struct Entries {
    map: HashMap<String, Entry>,
    /// The sum of the sizes of the entries in bytes.
    bytes: usize,
}

/// A store, see the documentation of this module. All workers share it.
#[derive(Default)]
pub(super) struct Store {
    entries: Mutex<Entries>,
    /// Maximum number of values; 0 if none is configured.
    capacity: AtomicUsize,
    /// Whether the values have changed since [`Store::take_changed`].
    changed: AtomicBool,
    has_warned: AtomicBool,
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Raises the maximum number of values to `capacity`.
    pub(super) fn reserve(&self, capacity: usize) {
        let capacity = if capacity == 0 { MAX_VALUES } else { capacity.min(MAX_VALUES) };
        self.capacity.fetch_max(capacity, Ordering::Relaxed);
    }

    /// The value of `key`, if it is valid at `now`.
    pub(super) fn get(&self, key: &str, now: Timestamp) -> Option<Value> {
        self.lock().map.get(key).filter(|entry| entry.expires > now).map(|entry| entry.value.clone())
    }

    /// Keeps a value, in place of one with the same key.
    ///
    /// # Errors
    /// When the value is too large.
    pub(super) fn put(&self, key: String, value: Value, now: Timestamp, expires: Timestamp) -> Result<(), String> {
        let bytes = OVERHEAD + key.len() + size(&value);
        if bytes > MAX_VALUE {
            return Err(format!("a value of {bytes} bytes is not kept; the limit is {MAX_VALUE}"));
        }
        let mut entries = self.lock();
        entries.remove(&key);
        let capacity = self.capacity.load(Ordering::Relaxed).max(1);
        if entries.map.len() >= capacity || entries.bytes + bytes > MAX_BYTES {
            entries.retain(|entry| entry.expires > now);
            while !entries.map.is_empty() && (entries.map.len() >= capacity || entries.bytes + bytes > MAX_BYTES) {
                entries.evict();
                if !self.has_warned.swap(true, Ordering::Relaxed) {
                    log::warn!("cache: a store is full ({capacity} values or {MAX_BYTES} bytes); values are removed before they expire");
                }
            }
        }
        entries.bytes += bytes;
        entries.map.insert(key, Entry { value, expires, bytes });
        self.changed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Removes the value of `key`.
    pub(super) fn delete(&self, key: &str) {
        self.lock().remove(key);
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Whether the values have changed since the last call.
    pub(super) fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }

    /// Copies the values that are valid at `now`, with their keys and when they expire.
    pub(super) fn copy(&self, now: Timestamp) -> Vec<(String, Value, Timestamp)> {
        let entries = self.lock();
        let valid = entries.map.iter().filter(|(_, entry)| entry.expires > now);
        valid.map(|(key, entry)| (key.clone(), entry.value.clone(), entry.expires)).collect()
    }
}

impl Entries {
    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.map.remove(key) {
            self.bytes -= entry.bytes;
        }
    }

    fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        self.map.retain(|_, entry| keep(entry));
        self.bytes = self.map.values().map(|entry| entry.bytes).sum();
    }

    /// Removes a tenth of the entries: those that expire first. One pass makes room for many new entries, so that a flood of new keys has a
    /// low cost per event.
    fn evict(&mut self) {
        let mut times: Vec<Timestamp> = self.map.values().map(|entry| entry.expires).collect();
        if times.is_empty() {
            return;
        }
        let nth = times.len() / 10;
        let (_, limit, _) = times.select_nth_unstable(nth);
        let limit = *limit;
        let mut most = nth + 1;
        self.map.retain(|_, entry| {
            let goes = entry.expires <= limit && most > 0;
            most -= usize::from(goes);
            !goes
        });
        self.bytes = self.map.values().map(|entry| entry.bytes).sum();
    }
}

/// The approximate size of a value in bytes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + OVERHEAD / 2,
        Value::Array(list) => OVERHEAD + list.iter().map(size).sum::<usize>(),
        Value::Object(map) => OVERHEAD + map.iter().map(|(key, value)| OVERHEAD + key.len() + size(value)).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) => OVERHEAD / 2,
    }
}

//! The sum of the counters of all sources of one interface. Sources add to the sum between polls, never per packet. The sum outlives the
//! sources, so no counts are lost when a device goes away and a new source replaces the old one.

use super::control::DeviceStats;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The sum of the counters. The sources of an interface add to it, and the control of the interface reads it.
#[derive(Debug, Default)]
pub struct Tally(Mutex<DeviceStats>);

impl Tally {
    /// Adds `counted`, the counts of a source since its last call of this method.
    pub fn add(&self, counted: DeviceStats) {
        *self.lock() += counted;
    }

    /// Moves packets from the copied ones to the unmatched ones: the source counted them as copied, and a later filter rejected them.
    /// `bytes` is their total length.
    pub fn reject(&self, packets: u64, bytes: u64) {
        let mut sum = self.lock();
        sum.unmatched += packets;
        sum.copied = sum.copied.saturating_sub(packets);
        sum.copied_bytes = sum.copied_bytes.saturating_sub(bytes);
    }

    /// Adds to the number of verdicts that the backend could not enter.
    pub fn not_entered(&self, verdicts: usize) {
        self.lock().not_entered += verdicts as u64;
    }

    /// The current sum.
    pub fn get(&self) -> DeviceStats {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, DeviceStats> {
        // A poisoned lock is usable: additions of integers leave no invalid state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The sum of what the sources of one interface have counted. A source adds to it between polls, never per packet, so what it counted is
//! not lost when its device goes away and another source takes its place.

use super::control::DeviceStats;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shared by the sources of an interface, which add, and its control, which reads.
#[derive(Debug, Default)]
pub struct Tally(Mutex<DeviceStats>);

impl Tally {
    /// Adds what was counted since the last call.
    pub fn add(&self, counted: DeviceStats) {
        *self.lock() += counted;
    }

    /// A filter behind the source did not want `packets` that the source has added as copied.
    pub fn reject(&self, packets: u64, bytes: u64) {
        let mut sum = self.lock();
        sum.unmatched += packets;
        sum.copied = sum.copied.saturating_sub(packets);
        sum.copied_bytes = sum.copied_bytes.saturating_sub(bytes);
    }

    /// Counts verdicts that the backend cannot enter.
    pub fn not_entered(&self, verdicts: usize) {
        self.lock().not_entered += verdicts as u64;
    }

    /// The sum of now.
    pub fn get(&self) -> DeviceStats {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, DeviceStats> {
        // Nothing that holds the lock can leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The sum of the counters of all sources of one interface. Sources add to the sum between polls, never per packet. The sum outlives the
//! sources, so no counts are lost when a device goes away and a new source replaces the old one. [`FilterOnlyControl`]: controls that
//! report this sum.

use super::{
    Error,
    control::{Control, DeviceStats},
    filter::Filters,
};
use crate::net::{FlowDelta, FlowKey, Shunted, Verdict};
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

/// The control of a backend that has a filter and counters, but cannot apply verdicts and counts no flows. Such a
/// control implements this trait instead of [`Control`].
pub trait FilterOnlyControl: Send + Sync {
    /// See [`Control::set_filter`].
    ///
    /// # Errors
    /// When the backend refuses the filter; the old filter stays in force.
    fn replace_filter(&self, filters: &Filters) -> Result<(), Error>;

    /// The sum of the counters of all sources of the interface.
    fn tally(&self) -> &Tally;
}

impl<T: FilterOnlyControl> Control for T {
    fn set_filter(&self, filters: &Filters) -> Result<(), Error> {
        self.replace_filter(filters)
    }

    fn apply(&self, verdicts: &[(FlowKey, Verdict)]) {
        self.tally().not_entered(verdicts.len());
    }

    fn shunted(&self, _: &FlowKey) -> Option<Shunted> {
        None
    }

    fn drain_flows(&self, _: usize, _: bool, _: &mut dyn FnMut(&FlowDelta)) -> Result<(), Error> {
        Ok(())
    }

    fn stats(&self) -> Result<DeviceStats, Error> {
        Ok(self.tally().get())
    }
}

//! The control of eBPF capture: the loaded and attached programs, protected by a lock that is not taken per packet.

use super::attach::Attachments;
use crate::{
    capture::{
        Error,
        control::{Control, DeviceStats},
        filter::Filters,
        tally::Tally,
    },
    net::{FlowKey, FlowRecord, Verdict},
    time::Timestamp,
};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// The control of eBPF capture. See the documentation of this module.
pub struct EbpfControl {
    /// Locked while a filter is replaced, counters are read, or programs are attached to or detached from a device.
    attachments: Mutex<Attachments>,
    /// Counters that user space maintains: packets handed to workers, and duplicates of packets that belong to another interface.
    tally: Tally,
}

impl EbpfControl {
    pub(super) fn new(attachments: Attachments) -> Self {
        Self { attachments: Mutex::new(attachments), tally: Tally::default() }
    }

    /// Where the programs are attached, for messages: `eth0: tcx`.
    pub fn hooks(&self) -> Vec<String> {
        self.lock().hooks()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Attachments> {
        // A poisoned lock is usable: no holder leaves the state incomplete.
        self.attachments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forwards the log messages of the eBPF programs. Called by a worker, so it does not wait if the lock is held, for
    /// example while a filter is loaded.
    pub(super) fn flush_log(&self) {
        match self.attachments.try_lock() {
            Ok(mut attachments) => attachments.loaded_mut().flush_log(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().loaded_mut().flush_log(),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Control for EbpfControl {
    fn set_filter(&self, filters: &Filters) -> Result<(), Error> {
        self.lock().loaded_mut().set_filter(filters).map_err(|error| Error::Setting(error.to_string()))
    }

    fn apply(&self, verdicts: &[(FlowKey, Verdict)]) {
        self.tally.not_entered(verdicts.len());
    }

    fn drain_flows(&self, _: Timestamp, _: &mut dyn FnMut(&FlowRecord)) -> Result<(), Error> {
        Ok(())
    }

    fn stats(&self) -> Result<DeviceStats, Error> {
        let counters = self.lock().loaded().counters().map_err(|error| Error::Setting(error.to_string()))?;
        let unmatched = counters.seen.saturating_sub(counters.matched);
        Ok(DeviceStats { seen: counters.seen, unmatched, lost: counters.lost, ..self.tally.get() })
    }
}

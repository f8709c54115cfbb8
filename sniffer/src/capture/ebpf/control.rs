//! The control of eBPF capture: what is loaded and attached, behind a lock that no packet waits for.

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

/// See the module.
pub struct EbpfControl {
    /// Locked while a filter is replaced, counters are read, or a device has come or gone.
    attachments: Mutex<Attachments>,
    /// What only user space counts: what was handed over, and copies that another interface owns.
    tally: Tally,
}

impl EbpfControl {
    pub(super) fn new(attachments: Attachments) -> Self {
        Self { attachments: Mutex::new(attachments), tally: Tally::default() }
    }

    /// Where the programs are, in words: `eth0: tcx`.
    pub fn hooks(&self) -> Vec<String> {
        self.lock().hooks()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Attachments> {
        // Nothing that holds the lock leaves it half done.
        self.attachments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands on what the programs have logged. A worker calls it, so it does not wait for a filter that is being loaded.
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

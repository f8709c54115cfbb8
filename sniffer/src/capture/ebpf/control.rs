//! The control of eBPF capture: the loaded and attached programs, protected by a lock that is not taken per packet.

use super::{attach::Attachments, flows::KernelFlows, shunts::Shunts};
use crate::{
    capture::{
        Error,
        control::{Control, DeviceStats},
        filter::Filters,
    },
    net::{FlowDelta, FlowKey, Shunted, Verdict},
};
use sniffer_common::Counters;
use std::sync::{
    Mutex, MutexGuard, PoisonError, TryLockError,
    atomic::{AtomicU64, Ordering},
};

/// The control of eBPF capture. See the documentation of this module.
pub struct EbpfControl {
    /// The lock is held while a filter is replaced, counters are read, or programs are attached to or detached from a device.
    attachments: Mutex<Attachments>,
    /// Number of verdicts that could not be entered.
    not_entered: AtomicU64,
    /// The flow table of the kernel; `None` if flows are off or counted in user space.
    flows: Option<KernelFlows>,
    /// The map of shunts; `None` if every matching packet is copied.
    shunts: Option<Shunts>,
}

impl EbpfControl {
    pub(super) fn new(attachments: Attachments, flows: Option<KernelFlows>, shunts: Option<Shunts>) -> Self {
        Self { attachments: Mutex::new(attachments), not_entered: AtomicU64::default(), flows, shunts }
    }

    /// Whether flows are counted in the kernel.
    pub fn counts_flows(&self) -> bool {
        self.flows.is_some()
    }

    /// Whether verdicts are entered.
    pub fn shunts(&self) -> bool {
        self.shunts.is_some()
    }

    /// Where the programs are attached, for messages: `eth0: tcx`.
    pub fn hooks(&self) -> Vec<String> {
        self.lock().hooks()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Attachments> {
        // A poisoned lock is usable: no holder leaves the state incomplete.
        self.attachments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forwards the log messages of the eBPF programs. A worker calls this function, so it returns at once if the lock is held, for example
    /// while a filter is loaded.
    pub(super) fn flush_log(&self) {
        match self.attachments.try_lock() {
            Ok(mut attachments) => attachments.loaded_mut().flush_log(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().loaded_mut().flush_log(),
            Err(TryLockError::WouldBlock) => {}
        }
    }
}

impl Control for EbpfControl {
    fn set_filter(&self, filters: &Filters) -> Result<(), Error> {
        let counting = filters.counting.as_deref().filter(|_| self.counts_flows());
        let mut attachments = self.lock();
        let loaded = attachments.loaded_mut();
        let set = loaded.set_filter(counting.map_or(filters, |counting| &counting.filters));
        let set = set.and_then(|()| counting.map_or(Ok(()), |counting| loaded.set_ports(counting)));
        set.map_err(|error| Error::Setting(error.to_string()))
    }

    fn apply(&self, verdicts: &[(FlowKey, Verdict)]) {
        let refused = self.shunts.as_ref().map_or(verdicts.len(), |shunts| shunts.apply(verdicts));
        self.not_entered.fetch_add(refused as u64, Ordering::Relaxed);
    }

    fn shunted(&self, key: &FlowKey) -> Option<Shunted> {
        self.shunts.as_ref()?.shunted(key)
    }

    fn drain_flows(&self, worker: usize, end: bool, each: &mut dyn FnMut(&FlowDelta)) -> Result<(), Error> {
        let Some(flows) = &self.flows else { return Ok(()) };
        flows.drain(worker, end, each).map_err(|error| Error::Setting(format!("map FLOWS: {error}")))
    }

    fn stats(&self) -> Result<DeviceStats, Error> {
        let counters = self.lock().loaded().counters().map_err(|error| Error::Setting(error.to_string()))?;
        let Counters { seen, matched, shunted, copied, copied_bytes, lost, duplicates, headers, uncounted } = counters;
        Ok(DeviceStats {
            seen,
            // The counters of a CPU are read while it counts, so a packet may be in one counter and not yet in the other.
            unmatched: seen.saturating_sub(matched).saturating_sub(shunted),
            shunted,
            copied,
            copied_bytes,
            lost,
            duplicates,
            headers,
            uncounted,
            not_entered: self.not_entered.load(Ordering::Relaxed),
            ..DeviceStats::default()
        })
    }
}

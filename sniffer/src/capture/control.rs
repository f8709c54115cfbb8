//! The control of an open interface: replaces its filter, applies verdicts, drains flow records, reads statistics.
//! Frames come from [`super::Source`], not from here.

use super::{Error, filter::Filters};
use crate::net::{FlowDelta, FlowKey, Shunted, Verdict};
use std::ops::AddAssign;

/// There is one control per interface, shared by its workers and the main thread. No call waits for packets. Every backend has a control,
/// which ignores calls that the backend does not support (a file cannot apply verdicts), so the callers need no special case per backend.
pub trait Control: Send + Sync {
    /// Replaces the filter. Every packet is tested by either the old or the new filter. A backend whose handle belongs to a worker
    /// (libpcap, file) switches at that worker's next poll; all others switch before this method returns. A device that does not exist now
    /// gets the new filter when it comes back.
    ///
    /// # Errors
    /// When the backend refuses the filter; the old filter stays in force.
    fn set_filter(&self, filters: &Filters) -> Result<(), Error>;

    /// Tells the backend which traffic need not be copied any more. A verdict that cannot be entered is counted in
    /// [`DeviceStats::not_entered`]; it is not an error. A call with an empty list lets the backend forget verdicts about
    /// connections that are silent.
    fn apply(&self, verdicts: &[(FlowKey, Verdict)]);

    /// What the backend knows of a connection with a verdict. The time is that of the wall clock.
    fn shunted(&self, key: &FlowKey) -> Option<Shunted>;

    /// Hands over the counts of a worker's flows that the kernel has collected. A call reads a part of the kernel's
    /// table, so that the call is short. Each flow is read about once a second. With `end` the call reads the whole
    /// table.
    ///
    /// # Errors
    /// When the kernel cannot deliver the table.
    fn drain_flows(&self, worker: usize, end: bool, each: &mut dyn FnMut(&FlowDelta)) -> Result<(), Error>;

    /// Totals of the interface since it was opened.
    ///
    /// # Errors
    /// When the kernel cannot deliver the counters.
    fn stats(&self) -> Result<DeviceStats, Error>;
}

/// Packet counters of one interface since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStats {
    /// Packets at the hook or socket. With `AF_PACKET` and libpcap these are only the packets that passed the filter, because the kernel
    /// counts no others.
    pub seen: u64,
    /// Packets that the filter rejected.
    pub unmatched: u64,
    /// Records of a file that are malformed or whose link type is not supported. They do not reach the filter.
    pub unreadable: u64,
    /// Packets that were not copied because of a verdict.
    pub shunted: u64,
    /// Packets handed to a worker.
    pub copied: u64,
    /// Captured bytes of the packets in [`Self::copied`].
    pub copied_bytes: u64,
    /// Packets that passed the filter and were lost because the buffer was full.
    pub lost: u64,
    /// Packets that the interface dropped before any hook or socket saw them; not included in [`Self::seen`].
    pub lost_by_interface: u64,
    /// Packets already seen on another interface; not included in [`Self::seen`].
    pub duplicates: u64,
    /// Packets whose head was handed to a worker for counting, because the kernel could not count the packet.
    pub headers: u64,
    /// Packets on the wire that no flow contains: the kernel could not count them, and there was no room for the head.
    pub uncounted: u64,
    /// Verdicts that the backend could not enter.
    pub not_entered: u64,
}

impl AddAssign for DeviceStats {
    fn add_assign(&mut self, more: Self) {
        // The pattern has no `..`, so that the compiler reports a new counter that is not added here.
        let Self {
            seen,
            unmatched,
            unreadable,
            shunted,
            copied,
            copied_bytes,
            lost,
            lost_by_interface,
            duplicates,
            headers,
            uncounted,
            not_entered,
        } = more;
        self.seen += seen;
        self.unmatched += unmatched;
        self.unreadable += unreadable;
        self.shunted += shunted;
        self.copied += copied;
        self.copied_bytes += copied_bytes;
        self.lost += lost;
        self.lost_by_interface += lost_by_interface;
        self.duplicates += duplicates;
        self.headers += headers;
        self.uncounted += uncounted;
        self.not_entered += not_entered;
    }
}

impl DeviceStats {
    /// Packets that passed the filter and packets that were not tested because of a verdict. It does not matter whether they were shunted,
    /// copied or lost.
    pub fn matched(&self) -> u64 {
        self.seen.saturating_sub(self.unmatched).saturating_sub(self.unreadable)
    }
}

/// A [`Control`] for tests: it records every call and returns the answers that the test has set.
#[cfg(test)]
pub mod recording {
    use super::*;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// One call of a method of [`Control`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Call {
        /// A call of [`Control::set_filter`], with the text of the filter expression.
        SetFilter(String),
        /// A call of [`Control::apply`], with its verdicts.
        Apply(Vec<(FlowKey, Verdict)>),
        /// A call of [`Control::shunted`].
        Shunted(FlowKey),
        /// A call of [`Control::drain_flows`], with the worker and whether the input has ended.
        DrainFlows(usize, bool),
        /// A call of [`Control::stats`].
        Stats,
    }

    /// The answers of [`Recording`]. The default: no flows, all counters zero, every filter accepted.
    #[derive(Clone, Debug, Default)]
    pub struct Answers {
        /// The flows that the next call of [`Control::drain_flows`] hands over. Later calls do not hand them over again.
        pub flows: Vec<FlowDelta>,
        /// The answer that [`Control::shunted`] returns.
        pub shunted: Option<Shunted>,
        /// The counters that [`Control::stats`] returns.
        pub stats: DeviceStats,
        /// The message with which [`Control::set_filter`] fails; `None` if it succeeds.
        pub refuses_filters: Option<String>,
    }

    /// A [`Control`] that records its calls. See the documentation of this module.
    #[derive(Debug, Default)]
    pub struct Recording {
        calls: Mutex<Vec<Call>>,
        answers: Mutex<Answers>,
    }

    impl Recording {
        /// Returns, in order, every call since the last `take`.
        pub fn take(&self) -> Vec<Call> {
            std::mem::take(&mut *lock(&self.calls))
        }

        /// Changes the results that the calls return.
        pub fn answers(&self, change: impl FnOnce(&mut Answers)) {
            change(&mut lock(&self.answers));
        }

        fn called(&self, call: Call) {
            lock(&self.calls).push(call);
        }
    }

    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    impl Control for Recording {
        fn set_filter(&self, filters: &Filters) -> Result<(), Error> {
            self.called(Call::SetFilter(filters.text.clone()));
            lock(&self.answers).refuses_filters.clone().map_or(Ok(()), |reason| Err(Error::Setting(reason)))
        }

        fn apply(&self, verdicts: &[(FlowKey, Verdict)]) {
            self.called(Call::Apply(verdicts.to_vec()));
        }

        fn shunted(&self, key: &FlowKey) -> Option<Shunted> {
            self.called(Call::Shunted(*key));
            lock(&self.answers).shunted
        }

        fn drain_flows(&self, worker: usize, end: bool, each: &mut dyn FnMut(&FlowDelta)) -> Result<(), Error> {
            self.called(Call::DrainFlows(worker, end));
            let flows = std::mem::take(&mut lock(&self.answers).flows);
            flows.iter().for_each(each);
            Ok(())
        }

        fn stats(&self) -> Result<DeviceStats, Error> {
            self.called(Call::Stats);
            Ok(lock(&self.answers).stats)
        }
    }
}

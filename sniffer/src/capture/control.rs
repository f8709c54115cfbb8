//! The way back into capture: what the rest of the program tells an open interface, and asks of it. How frames come up is a
//! [`super::Source`]'s.

use super::{Error, filter::Filters};
use crate::{
    net::{FlowKey, FlowRecord, Verdict},
    time::Timestamp,
};
use std::ops::AddAssign;

/// One per interface, shared by its workers and the main thread. No call waits for packets. Every backend has one: what a backend cannot do
/// (a file has no verdicts to honour) it ignores, so that nobody above needs a second way.
pub trait Control: Send + Sync {
    /// Replaces the filter. Every packet meets the old filter or the new one, never none. A backend whose handle belongs to a worker (libpcap,
    /// a file) changes over at that worker's next poll, all others before this returns. A device that is gone gets the new filter when it
    /// comes back.
    ///
    /// # Errors
    /// When the backend cannot take the filter; the old one stays in force.
    fn set_filter(&self, filters: &Filters) -> Result<(), Error>;

    /// Says what need not be copied any more. What cannot be entered is counted in [`DeviceStats::not_entered`]; it is never an error.
    fn apply(&self, verdicts: &[(FlowKey, Verdict)]);

    /// Hands over the flows that were counted in the kernel, and that changed or ended since the last call.
    ///
    /// # Errors
    /// When the kernel does not answer.
    fn drain_flows(&self, now: Timestamp, each: &mut dyn FnMut(&FlowRecord)) -> Result<(), Error>;

    /// Totals of each device since it was opened.
    ///
    /// # Errors
    /// When the kernel does not answer.
    fn stats(&self) -> Result<DeviceStats, Error>;
}

/// What became of the packets of one interface since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStats {
    /// Packets at the hook or socket. Where the kernel counts behind the filter only (`AF_PACKET`, libpcap): those that the filter wanted.
    pub seen: u64,
    /// Packets that the filter did not want.
    pub unmatched: u64,
    /// Records of a file that contradict themselves, or whose link type is not decoded. They never meet the filter.
    pub unreadable: u64,
    /// Packets that a verdict said need not be copied.
    pub shunted: u64,
    /// Packets that were handed to a worker.
    pub copied: u64,
    /// Bytes of those.
    pub copied_bytes: u64,
    /// Packets that were wanted, and lost because there was no room for them.
    pub lost: u64,
    /// Packets that the interface lost before any hook or socket saw them; not among [`Self::seen`].
    pub lost_by_interface: u64,
    /// Packets that another interface had already counted.
    pub duplicates: u64,
    /// Packets of this program's own connections.
    pub own: u64,
    /// Verdicts that could not be entered.
    pub not_entered: u64,
}

impl AddAssign for DeviceStats {
    fn add_assign(&mut self, more: Self) {
        // Without `..`, so that a new counter is not forgotten here.
        let Self { seen, unmatched, unreadable, shunted, copied, copied_bytes, lost, lost_by_interface, duplicates, own, not_entered } =
            more;
        self.seen += seen;
        self.unmatched += unmatched;
        self.unreadable += unreadable;
        self.shunted += shunted;
        self.copied += copied;
        self.copied_bytes += copied_bytes;
        self.lost += lost;
        self.lost_by_interface += lost_by_interface;
        self.duplicates += duplicates;
        self.own += own;
        self.not_entered += not_entered;
    }
}

impl DeviceStats {
    /// Packets that the filter wanted, whatever became of them then.
    pub fn matched(&self) -> u64 {
        self.seen.saturating_sub(self.unmatched).saturating_sub(self.unreadable)
    }
}

/// A [`Control`] for tests: it remembers what it is told, and answers what the test has put into it.
#[cfg(test)]
pub mod recording {
    use super::*;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// One call of a method of [`Control`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Call {
        /// [`Control::set_filter`], with the expression.
        SetFilter(String),
        /// [`Control::apply`]
        Apply(Vec<(FlowKey, Verdict)>),
        /// [`Control::drain_flows`]
        DrainFlows(Timestamp),
        /// [`Control::stats`]
        Stats,
    }

    /// What [`Recording`] answers. By default: no flows, all counters zero, every filter is taken.
    #[derive(Clone, Debug, Default)]
    pub struct Answers {
        /// Handed over, once, by the next [`Control::drain_flows`].
        pub flows: Vec<FlowRecord>,
        /// The answer of [`Control::stats`].
        pub stats: DeviceStats,
        /// [`Control::set_filter`] fails with these words.
        pub refuses_filters: Option<String>,
    }

    /// See the module.
    #[derive(Debug, Default)]
    pub struct Recording {
        calls: Mutex<Vec<Call>>,
        answers: Mutex<Answers>,
    }

    impl Recording {
        /// Every call since the last time this was asked, in order.
        pub fn take(&self) -> Vec<Call> {
            std::mem::take(&mut *lock(&self.calls))
        }

        /// Changes what is answered.
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

        fn drain_flows(&self, now: Timestamp, each: &mut dyn FnMut(&FlowRecord)) -> Result<(), Error> {
            self.called(Call::DrainFlows(now));
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

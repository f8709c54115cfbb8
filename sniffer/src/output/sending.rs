//! [`Sending`]: which output sends, and how long its batches take. The HTTP endpoint reports both.

use crate::time::Durations;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Length of the intervals of [`Times::recent`].
const INTERVAL: Duration = Duration::from_secs(30);

/// Which output sends, and how long its batches take. All outputs of a run use the same value, one after the other.
#[derive(Debug, Default)]
pub struct Sending(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    by: By,
    times: Times,
    /// When the interval of `times.recent` began.
    since: Option<Instant>,
}

/// The id of the cluster that an output is connected to; empty as long as it is not known. Clones share the id.
#[derive(Clone, Debug, Default)]
pub struct ClusterId(Arc<Mutex<String>>);

impl ClusterId {
    /// Sets the id.
    pub(super) fn set(&self, id: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    /// The id.
    pub fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The output that sends.
#[derive(Clone, Debug, Default)]
pub struct By {
    /// The output's key below `output`.
    pub name: &'static str,
    /// Maximum number of events of a batch; `None` without a limit.
    pub batch_size: Option<usize>,
    /// Number of senders.
    pub senders: usize,
    /// The cluster that it is connected to. Only Elasticsearch has an id.
    pub cluster_uuid: ClusterId,
}

/// How long it took to send batches.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// All batches.
    pub all: Durations,
    /// The times of the batches of the current interval.
    pub recent: Durations,
}

impl Sending {
    /// Records that this output sends from now on.
    pub(super) fn begin(&self, by: By) {
        self.lock().by = by;
    }

    /// Records that sending a batch ended at `now` and took this long. Failed attempts count too.
    pub(super) fn sent(&self, now: Instant, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let mut state = self.lock();
        state.roll(now);
        state.times.all.add(nanos);
        state.times.recent.add(nanos);
    }

    /// The output that sends, and how long its batches took until `now`.
    pub fn get(&self, now: Instant) -> (By, Times) {
        let mut state = self.lock();
        state.roll(now);
        (state.by.clone(), state.times.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Begins a new interval if the current one is over.
    fn roll(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= INTERVAL {
            self.since = Some(now);
            self.times.recent = Durations::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_times_are_those_of_the_interval() {
        let (sending, start) = (Sending::default(), Instant::now());
        for second in [0, 10, 29, 30, 31] {
            sending.sent(start + Duration::from_secs(second), Duration::from_millis(second));
        }
        let (_, times) = sending.get(start + Duration::from_secs(32));
        assert_eq!((times.all.count(), times.recent.count(), times.recent.min()), (5, 2, 30_000_000));
        let (_, times) = sending.get(start + Duration::from_secs(60));
        assert_eq!((times.all.count(), times.recent.count()), (5, 0));
    }
}

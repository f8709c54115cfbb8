//! What the program tells the service manager (systemd, `Type=notify`): when capture is attached, that it works, and that it ends. Without a
//! service manager nothing is sent. The protocol is that of sd_notify(3).

use sd_notify::NotifyState;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The number of polls of each worker of a live capture, by the index of the worker.
#[derive(Debug, Default)]
pub struct Progress(Mutex<BTreeMap<usize, u64>>);

impl Progress {
    /// Takes over how often a worker has polled its source.
    pub fn polled(&self, worker: usize, polls: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(worker, polls);
    }

    /// Forgets a worker that has ended.
    pub fn ended(&self, worker: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&worker);
    }

    fn copy(&self) -> BTreeMap<usize, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The connection to the service manager.
pub struct Service {
    progress: Arc<Progress>,
    /// The progress at the last message for the watchdog; `None` without a watchdog (`WatchdogSec`).
    watchdog: Option<BTreeMap<usize, u64>>,
    ending: bool,
}

impl Service {
    /// Reports that capture is attached. `captures`: the interfaces with their backends, for `systemctl status`.
    pub fn ready(progress: Arc<Progress>, captures: &[String]) -> Self {
        send(&[NotifyState::Ready, NotifyState::Status(&format!("Capturing: {}", captures.join(", ")))]);
        let watchdog = sd_notify::watchdog_enabled().map(|_| BTreeMap::new());
        Self { progress, watchdog, ending: false }
    }

    /// Feeds the watchdog if every worker has polled its source since the watchdog was last fed. If one worker hangs, the service manager
    /// restarts the program after the time of the watchdog. At the end of the program workers may wait for the output, within
    /// `shutdown_timeout`, so their progress no longer matters.
    pub fn beat(&mut self) {
        let Some(fed) = &mut self.watchdog else { return };
        let now = self.progress.copy();
        if self.ending || has_progressed(fed, &now) {
            *fed = now;
            send(&[NotifyState::Watchdog]);
        }
    }

    /// Reports that the program ends in order.
    pub fn stopping(&mut self) {
        self.ending = true;
        send(&[NotifyState::Stopping]);
    }
}

fn has_progressed(before: &BTreeMap<usize, u64>, now: &BTreeMap<usize, u64>) -> bool {
    now.iter().all(|(worker, polls)| before.get(worker).is_none_or(|before| polls > before))
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("the service manager cannot be notified (NOTIFY_SOCKET): {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_only_when_every_worker_has_polled() {
        let before = BTreeMap::from([(0, 5), (1, 7)]);
        for (now, progressed) in [
            (vec![(0, 6), (1, 8)], true),
            (vec![(0, 6), (1, 7)], false),
            (vec![(0, 5), (1, 7)], false),
            // Worker 0 has ended, and worker 2 is new.
            (vec![(1, 8), (2, 0)], true),
            (vec![], true),
        ] {
            assert_eq!(has_progressed(&before, &now.iter().copied().collect()), progressed, "{now:?}");
        }
    }

    #[test]
    fn a_worker_that_has_ended_is_not_waited_for() {
        let progress = Progress::default();
        progress.polled(0, 1);
        progress.polled(1, 1);
        progress.ended(0);
        assert_eq!(progress.copy(), BTreeMap::from([(1, 1)]));
    }
}

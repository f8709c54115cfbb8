//! What the run and the thread of a view (`top`, `web`) share: the events of the workers, the counters, and the end.

use super::{
    SystemClock,
    documents::Counts,
    view::{Status, View, Watched},
};
use crate::{
    opening::Clock,
    publish::observer::Observer,
    time::Timestamp,
    view::{
        inbox::{Feeder, Inbox, Item},
        top::Health,
    },
};
use jiff::{Timestamp as Now, tz::TimeZone};
use std::{
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::{Notify, oneshot};

/// See the documentation of this module.
#[derive(Debug, Default)]
pub struct Shared {
    /// The events of the workers.
    pub inbox: Arc<Inbox>,
    /// The counters, and the descriptions of the captures.
    counters: Mutex<(Health, String)>,
    quit: AtomicBool,
}

impl Shared {
    /// Replaces the counters.
    pub fn set_health(&self, health: Health) {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).0 = health;
    }

    /// Sets the counters of a file with documents.
    pub fn set_documents(&self, counts: &Counts) {
        let counters = counts.counters();
        self.set_health(Health { seen: counts.lines, matched: counts.transactions, counters, ..Health::default() });
    }

    /// Sets the descriptions of the captures.
    pub fn set_capture(&self, capture: String) {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).1 = capture;
    }

    /// Says that the run has ended, so that the screens close.
    pub fn quit(&self) {
        self.quit.store(true, Ordering::SeqCst);
    }

    /// Whether the run has ended.
    pub fn is_quit(&self) -> bool {
        self.quit.load(Ordering::SeqCst)
    }

    /// Takes the events and counters. `items` must be empty. The second value is the descriptions of the captures, and the third one whether
    /// the workers have ended.
    pub fn take(&self, items: &mut Vec<Item>) -> (Health, String, bool) {
        let taken = self.inbox.take(items);
        let (health, capture) = self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (Health { skipped: taken.skipped, ..health }, capture, taken.has_ended)
    }

    /// The present time for a live source; `None` for a file.
    pub fn now(is_live: bool) -> Option<Timestamp> {
        is_live.then(|| SystemClock.now())
    }

    /// Makes the view of a run that adds to the inbox. `quit`: what ends the run. `ended` completes when the view has ended. `at_end` is called
    /// when the workers have ended.
    pub fn view(self: &Arc<Self>, quit: Arc<Notify>, ended: oneshot::Receiver<()>, at_end: impl FnOnce() + 'static) -> View {
        let (feeding, captured, finished) = (self.clone(), self.clone(), self.clone());
        let observer = move |worker: Watched<'_>| -> Box<dyn Observer> {
            let waits = (!worker.live).then(|| worker.stop.clone());
            Box::new(Feeder::new(feeding.inbox.clone(), waits))
        };
        let started = move |captures: &[String]| captured.set_capture(captures.join(", "));
        let finish = move || {
            finished.inbox.end();
            at_end();
        };
        View { observer: Box::new(observer), started: Box::new(started), quit, finish: Box::new(finish), ended }
    }

    /// Keeps the counters for the view.
    pub fn status(self: &Arc<Self>) -> Status {
        let shared = self.clone();
        Box::new(move |counters| {
            let of = |name: &str| counters.totals.get(name).copied().unwrap_or(0);
            let health = Health {
                seen: of("capture.seen"),
                matched: of("capture.matched"),
                lost: of("capture.lost") + of("capture.unread"),
                skipped: 0,
                counters: counters.totals.iter().map(|(name, total)| (name.clone(), *total)).collect(),
            };
            shared.set_health(health);
        })
    }
}

/// Seconds by which the time zone of this process is ahead of UTC.
pub fn ahead_of_utc() -> i32 {
    TimeZone::system().to_offset(Now::now()).seconds()
}

/// The name of this host.
pub fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

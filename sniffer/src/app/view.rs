//! A view of a run, which shows every event and the status to a person, in addition to the output. `watch` uses it.

use crate::{
    monitor::Snapshot,
    net::FlowRecord,
    process::Ends,
    publish::observer::{Observer, Transaction},
};
use std::sync::{Arc, atomic::AtomicBool};
use tokio::sync::{Notify, oneshot};

/// Creates the observer of one worker.
pub type NewObserver = Box<dyn Fn(Watched<'_>) -> Box<dyn Observer>>;

/// Takes the descriptions of the captures.
pub type Started = Box<dyn Fn(&[String])>;

/// A view (the lines of `watch`) that receives every event, in addition to the output.
pub struct View {
    /// Called once for each worker.
    pub observer: NewObserver,
    /// Called before the workers start, with the descriptions of the captures: `any (eBPF: eth0, lo)`.
    pub started: Started,
    /// Notified when the person asks for the end.
    pub quit: Arc<Notify>,
    /// Called when all workers have ended.
    pub finish: Box<dyn FnOnce()>,
    /// Completes when the view has ended: its reader is gone, or, after `finish`, everything was shown.
    pub ended: oneshot::Receiver<()>,
}

/// Passes each event to two observers.
pub struct Both(pub Box<dyn Observer>, pub Box<dyn Observer>);

impl Observer for Both {
    fn transaction(&mut self, of: &Transaction<'_>) {
        self.0.transaction(of);
        self.1.transaction(of);
    }

    fn flow(&mut self, of: &FlowRecord, processes: &Ends) {
        self.0.flow(of, processes);
        self.1.flow(of, processes);
    }
}

/// The worker that an observer is made for.
pub struct Watched<'a> {
    /// Whether the source is a live capture. A live capture does not wait: events that cannot be shown in time are
    /// dropped.
    pub live: bool,
    /// Set when the worker has to stop.
    pub stop: &'a Arc<AtomicBool>,
}

/// Receives the counters every half second, and at the end.
pub type Status = Box<dyn FnMut(&Snapshot)>;

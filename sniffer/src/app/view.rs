//! What a run shows to a person besides its output: every event, and the status. `watch` uses it.

use crate::{monitor::Snapshot, publish::observer::Observer};
use std::sync::{Arc, atomic::AtomicBool};
use tokio::sync::oneshot;

/// Creates the observer of one worker.
pub type NewObserver = Box<dyn Fn(Watched<'_>) -> Box<dyn Observer>>;

/// A view (the lines of `watch`) that receives every event, in addition to the output.
pub struct View {
    /// Called once for each worker.
    pub observer: NewObserver,
    /// Called when all workers have ended.
    pub finish: Box<dyn FnOnce()>,
    /// Completes when the view has ended: its reader has gone, or, after `finish`, everything was shown.
    pub ended: oneshot::Receiver<()>,
}

/// The worker that an observer is made for.
pub struct Watched<'a> {
    /// The source is live and does not wait: events that cannot be shown in time are dropped.
    pub live: bool,
    /// Set when the worker has to stop.
    pub stop: &'a Arc<AtomicBool>,
}

/// Shows the status: called every half second with the counters and the descriptions of the captures.
pub type Status = Box<dyn FnMut(&Snapshot, &[String])>;

//! What the threads of `top` share: the events of the workers, the counters, and the end.

use crate::{
    opening::Clock,
    view::{
        inbox::Inbox,
        top::{Health, State},
    },
};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

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

    /// Adds the events and counters to the state. Returns whether the workers have ended.
    pub fn update(&self, state: &mut State) -> bool {
        let mut items = Vec::new();
        let taken = self.inbox.take(&mut items);
        let now = state.source.is_live.then(|| super::super::SystemClock.now());
        state.take(&mut items, now);
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        state.health = Health { skipped: taken.skipped, ..counters.0.clone() };
        state.source.capture.clone_from(&counters.1);
        if taken.has_ended {
            state.end();
        }
        taken.has_ended
    }
}

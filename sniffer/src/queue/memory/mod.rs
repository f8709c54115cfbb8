//! The queue in memory. This file decides when producers and consumers wait and when they are woken: when there is room, when there are
//! enough records, and when the queue has ended. `held` stores the records.

mod held;
#[cfg(test)]
mod tests;

use super::{Batch, BoxFuture, Options, Queue, Sequence, Stats, WhenFull};
use crate::publish::Record;
use held::Held;
use std::{
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// A queue in memory, bounded in events and in bytes. Both limits include records that are handed out and not settled.
pub(super) struct Memory {
    options: Options,
    state: Mutex<State>,
    /// Wakes producers that wait for room.
    room: Condvar,
    /// Wakes one consumer that waits for records.
    ready: Notify,
    /// Wakes the callers of [`Queue::finished`].
    ended: Notify,
}

#[derive(Default)]
struct State {
    held: Held,
    /// The time since which the first record has been waiting. The consumer sets it, so that a push does not read the clock.
    since: Option<Instant>,
    /// If set, the waiting records are handed out at once, because the queue is full or a batch was given back.
    flush: bool,
    /// The number of waiting records that is enough for the consumer that called [`Memory::take`] last.
    enough: usize,
    /// How many producers wait for room.
    blocked: usize,
    closed: bool,
    /// The time at which producers stop waiting for room. See [`Queue::limit_waits`].
    no_waits_after: Option<std::time::Instant>,
}

impl State {
    /// The longest time that a producer may still wait for room; `None` means without limit.
    fn longest_wait(&self) -> Option<Duration> {
        // The clock is read only if the queue is full and the program is about to end.
        self.no_waits_after.map(|until| until.saturating_duration_since(std::time::Instant::now()))
    }

    fn has_ended(&self) -> bool {
        self.closed && self.held.stats.events == 0
    }
}

/// The result of [`Memory::take`].
enum Found {
    Batch(Batch),
    /// The queue has not enough records yet. Try again when woken, or at this time.
    TooLittle(Option<Instant>),
    Ended,
}

impl Memory {
    /// An empty queue.
    pub(super) fn new(mut options: Options) -> Self {
        options.events = options.events.max(1);
        let state = State { held: Held::new(options.events, options.bytes), enough: options.flush.min_events, ..State::default() };
        Self { options, state: Mutex::new(state), room: Condvar::new(), ready: Notify::new(), ended: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock panics, so the state is consistent even if the lock is poisoned.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, max: usize) -> Found {
        let mut state = self.lock();
        let waiting = state.held.waiting();
        if waiting == 0 {
            state.flush = false;
            state.since = None;
            // The queue has not ended while a batch is handed out, because the batch may be given back.
            return if state.has_ended() { Found::Ended } else { Found::TooLittle(None) };
        }
        let enough = self.options.flush.min_events.min(self.options.events).min(max);
        state.enough = enough;
        if waiting < enough && !state.flush && !state.closed && !self.options.flush.timeout.is_zero() {
            let now = Instant::now();
            let until = *state.since.get_or_insert(now) + self.options.flush.timeout;
            if now < until {
                return Found::TooLittle(Some(until));
            }
        }
        let (sequences, records) = state.held.take(max, self.options.batch_bytes);
        state.since = None;
        if state.held.waiting() == 0 {
            state.flush = false;
        } else {
            // The remaining records may be enough for another consumer. If not, that consumer starts the timeout for
            // them.
            self.ready.notify_one();
        }
        drop(state);
        Found::Batch(Batch::new(self.clone(), sequences, records))
    }
}

impl Queue for Memory {
    fn push(&self, records: Vec<Record>, full: WhenFull) -> usize {
        if records.is_empty() {
            return 0;
        }
        let mut records = records.into_iter();
        let mut state = self.lock();
        loop {
            let before = state.held.waiting();
            if !state.closed {
                state.held.accept(&mut records);
            }
            let (after, left) = (state.held.waiting(), records.len());
            let newly_full = left > 0 && !std::mem::replace(&mut state.flush, true);
            // Wake the consumer only for the first record, which starts its timeout, and when there are enough records
            // or the queue is full.
            if (before == 0 && after > 0) || (before < state.enough && after >= state.enough) || newly_full {
                self.ready.notify_one();
            }
            if left == 0 || full == WhenFull::Drop || state.closed || state.longest_wait().is_some_and(|wait| wait.is_zero()) {
                state.held.stats.dropped += left as u64;
                return left;
            }
            state.blocked += 1;
            state = match state.longest_wait() {
                None => self.room.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(wait) => self.room.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.blocked -= 1;
        }
    }

    fn next(self: Arc<Self>, max: usize) -> BoxFuture<'static, Option<Batch>> {
        Box::pin(async move {
            loop {
                let woken = self.ready.notified();
                tokio::pin!(woken);
                // Register before reading the state, so that no wake-up is missed.
                woken.as_mut().enable();
                match self.take(max.max(1)) {
                    Found::Batch(batch) => return Some(batch),
                    Found::Ended => return None,
                    Found::TooLittle(None) => woken.await,
                    Found::TooLittle(Some(until)) => {
                        tokio::select! { () = woken => {} () = tokio::time::sleep_until(until) => {} }
                    }
                }
            }
        })
    }

    fn settle(&self, done: &[Range<Sequence>]) {
        let mut state = self.lock();
        state.held.settle(done);
        let (blocked, ended) = (state.blocked > 0, state.has_ended());
        drop(state);
        if blocked {
            self.room.notify_all();
        }
        if ended {
            self.ready.notify_waiters();
            self.ended.notify_waiters();
        }
    }

    fn give_back(&self, unsettled: Vec<(Sequence, Record)>) {
        let mut state = self.lock();
        state.held.give_back(unsettled);
        state.flush = true;
        drop(state);
        self.ready.notify_one();
    }

    fn postpone(&self, _: &[Range<Sequence>], _: bool) -> bool {
        false
    }

    fn limit_waits(&self, until: std::time::Instant) {
        self.lock().no_waits_after = Some(until);
        self.room.notify_all();
    }

    fn close(&self) {
        self.lock().closed = true;
        self.room.notify_all();
        self.ready.notify_waiters();
        self.ready.notify_one();
        self.ended.notify_waiters();
    }

    fn finished(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            loop {
                let woken = self.ended.notified();
                tokio::pin!(woken);
                woken.as_mut().enable();
                if self.lock().has_ended() {
                    return;
                }
                woken.await;
            }
        })
    }

    fn stats(&self) -> Stats {
        self.lock().held.stats
    }
}

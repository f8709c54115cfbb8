//! Ends connections that have been idle for too long.

use super::{Env, Slot, Streams};
use crate::{protocols::Close, stream::order::Class, time::Timestamp};
use std::time::Duration;

/// A connection whose parser has no state ends if it has no packet for this time. If the connection continues later, a new
/// parser can read it without the earlier data.
const IDLE: Duration = Duration::from_secs(60);
/// Like [`IDLE`], for a connection whose parser has state: database sessions can be idle for a long time.
const LONG_IDLE: Duration = Duration::from_secs(3600);

impl Slot {
    /// Whether the connection has had no packet for [`IDLE`], neither a captured one nor one that capture did not copy.
    pub(super) fn is_idle(&self, env: &Env<'_>) -> bool {
        let is_old = |last: Timestamp| last.after(IDLE) <= env.now;
        is_old(self.last) && self.connection.last_shunted(env).is_none_or(is_old)
    }
}

impl Streams {
    /// Ends connections that have been idle for too long. An idle connection whose parser has state moves to
    /// [`Class::Remembered`].
    pub(super) fn end_idle(&mut self, env: &mut Env<'_>) {
        for class in [Class::HalfOpen, Class::Small, Class::Large] {
            while let Some(at) = self.oldest(class, IDLE, env.now) {
                if self.renew(at, IDLE, env) {
                    continue;
                }
                let Some(slot) = self.slots.get(at).and_then(Option::as_ref) else { return };
                if class != Class::HalfOpen && slot.connection.remembers() {
                    self.order.touch(at, Class::Remembered, slot.held, slot.held);
                } else {
                    env.totals.idle += 1;
                    self.end(at, Close::Idle, env);
                }
            }
        }
        while let Some(at) = self.oldest(Class::Remembered, LONG_IDLE, env.now) {
            if !self.renew(at, LONG_IDLE, env) {
                env.totals.idle += 1;
                self.end(at, Close::Idle, env);
            }
        }
    }

    /// Treats a connection as used if capture has seen segments of it, without copying them, within `timeout`. Returns whether it
    /// has. The connection becomes the one used last in the order of eviction, so it ends at most `timeout` late.
    fn renew(&mut self, at: usize, timeout: Duration, env: &Env<'_>) -> bool {
        let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) else { return false };
        let Some(last) = slot.connection.last_shunted(env).filter(|last| last.after(timeout) > env.now) else { return false };
        slot.last = last;
        self.uses += 1;
        slot.used = self.uses;
        self.order.touch(at, slot.class(), slot.held, slot.held);
        true
    }

    /// The connection of a class that has not been used for the longest time, if that is at least `timeout`.
    pub(super) fn oldest(&self, class: Class, timeout: Duration, now: Timestamp) -> Option<usize> {
        let at = self.order.oldest(class)?;
        let slot = self.slots.get(at)?.as_ref()?;
        (slot.last.after(timeout) <= now).then_some(at)
    }

    /// Takes back the verdicts about a connection.
    pub(super) fn lift(&mut self, at: usize, env: &mut Env<'_>) {
        if let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) {
            slot.connection.lift(env);
        }
    }
}

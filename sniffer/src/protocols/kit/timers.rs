//! Sets a parser's timer to the earliest of several deadlines.

use crate::{protocols::Context, time::Timestamp};

/// Sets the timer to the earliest of `dues`. If `dues` is empty, no timer is set. A timer that is already due fires at the next tick.
///
/// A parser must call this function at the end of every call that may have changed a deadline, because a timer fires only once. If a
/// deadline was removed meanwhile, the timer causes one unnecessary call.
pub fn arm(cx: &mut Context<'_>, dues: impl IntoIterator<Item = Timestamp>) {
    if let Some(earliest) = dues.into_iter().min() {
        cx.wake_at(earliest);
    }
}

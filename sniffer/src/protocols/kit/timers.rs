//! Asks to be called when the earliest of several deadlines is due.

use crate::{protocols::Context, time::Timestamp};

/// Arms the timer of the call at hand for the earliest of `dues` (an `Option`, or an array of several that was flattened); without one
/// nothing is asked for. A timer that is due already fires at the next tick.
///
/// Call it at the end of every call that may have changed a deadline: the engine forgets a timer once it has fired. A deadline that
/// was removed meanwhile costs one call in vain.
pub fn arm(cx: &mut Context<'_>, dues: impl IntoIterator<Item = Timestamp>) {
    if let Some(earliest) = dues.into_iter().min() {
        cx.wake_at(earliest);
    }
}

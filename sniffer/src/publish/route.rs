//! The destination of a record, if the event determines it. Settings that apply to all records of the output belong to the output.

use crate::time::Timestamp;
use std::sync::Arc;

/// The destination that the selectors chose for an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Index, data stream, topic or list; `None` is the output's default.
    pub target: Option<Arc<str>>,
    /// Ingest pipeline; `None` is the output's default.
    pub pipeline: Option<Arc<str>>,
    /// The event's `@timestamp`, for targets that have a date in their name.
    pub time: Timestamp,
}

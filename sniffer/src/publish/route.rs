//! Where one record is meant to go, as far as the event itself decides. What concerns the whole output is the output's own.

use crate::time::Timestamp;
use std::sync::Arc;

/// What the selectors chose for one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Index, data stream, topic, list: `None` is the output's default.
    pub target: Option<Arc<str>>,
    /// Ingest pipeline.
    pub pipeline: Option<Arc<str>>,
    /// The event's `@timestamp`, for targets with a date in their name.
    pub time: Timestamp,
}

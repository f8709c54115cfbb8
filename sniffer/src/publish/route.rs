//! The destination of a record and its time, as far as they depend on the event. Settings that apply to all records of the output belong to
//! the output.

pub use crate::processors::{Destination, Document};
use crate::time::Timestamp;

/// Destination and time of an event, which an output needs besides the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Where and how the event is stored.
    pub destination: Destination,
    /// The event's `@timestamp`, for targets that have a date in their name.
    pub time: Timestamp,
}

//! The way back into capture: what the rest of the program tells an open interface, and asks of it. How frames come up is a
//! [`super::Source`]'s.

use super::{Error, filter::Filters};
use crate::{
    net::{FlowKey, FlowRecord, Verdict},
    time::Timestamp,
};

/// One per interface, shared by its workers and the main thread. No call waits for packets. Every backend has one: what a backend cannot do
/// (a file has no verdicts to honour) it ignores, so that nobody above needs a second way.
pub trait Control: Send + Sync {
    /// Replaces the filter. Every packet meets the old filter or the new one, never none.
    ///
    /// # Errors
    /// When the backend cannot take the filter; the old one stays in force.
    fn set_filter(&self, filters: &Filters) -> Result<(), Error>;

    /// Says what need not be copied any more. What cannot be entered is counted, never an error.
    fn apply(&self, verdicts: &[(FlowKey, Verdict)]);

    /// Hands over the flows that were counted in the kernel, and that changed or ended since the last call.
    ///
    /// # Errors
    /// When the kernel does not answer.
    fn drain_flows(&self, now: Timestamp, each: &mut dyn FnMut(&FlowRecord)) -> Result<(), Error>;

    /// Totals of each device since it was opened.
    ///
    /// # Errors
    /// When the kernel does not answer.
    fn stats(&self) -> Result<DeviceStats, Error>;
}

/// What became of the packets of one interface since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStats {
    /// Packets at the hook or socket.
    pub seen: u64,
    /// Packets that the filter did not want.
    pub unmatched: u64,
    /// Packets that a verdict said need not be copied.
    pub shunted: u64,
    /// Packets that were handed to a worker.
    pub copied: u64,
    /// Bytes of those.
    pub copied_bytes: u64,
    /// Packets that were wanted, and lost because there was no room for them.
    pub lost: u64,
    /// Packets that another interface had already counted.
    pub duplicates: u64,
    /// Packets of this program's own connections.
    pub own: u64,
}

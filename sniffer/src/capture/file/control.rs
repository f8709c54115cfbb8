//! The control of a capture file: it swaps the user's filter. There is no kernel half that could honour verdicts or count flows.

use crate::{
    capture::{
        Error,
        control::{Control, DeviceStats},
        filter::Filters,
        filtered::{Programs, compile_all},
        slot::Slot,
        tally::Tally,
    },
    net::{FlowKey, FlowRecord, Verdict},
    time::Timestamp,
};
use std::sync::Arc;

/// See the module.
pub struct FileControl {
    /// Where [`crate::capture::filtered::Filtered`] looks before each poll.
    pub filter: Arc<Slot<Option<Arc<Programs>>>>,
    /// What the file's sources count.
    pub tally: Arc<Tally>,
}

impl FileControl {
    /// Begins with the user's part of `filters`.
    ///
    /// # Errors
    /// When it is no expression.
    pub fn new(filters: &Filters) -> Result<Self, Error> {
        Ok(Self { filter: Slot::new(users_programs(filters)?), tally: Arc::default() })
    }
}

fn users_programs(filters: &Filters) -> Result<Option<Arc<Programs>>, Error> {
    filters.user.as_deref().map(|expression| compile_all(expression).map(Arc::new)).transpose()
}

impl Control for FileControl {
    fn set_filter(&self, filters: &Filters) -> Result<(), Error> {
        self.filter.set(users_programs(filters)?);
        Ok(())
    }

    fn apply(&self, verdicts: &[(FlowKey, Verdict)]) {
        self.tally.not_entered(verdicts.len());
    }

    fn drain_flows(&self, _: Timestamp, _: &mut dyn FnMut(&FlowRecord)) -> Result<(), Error> {
        Ok(())
    }

    fn stats(&self) -> Result<DeviceStats, Error> {
        Ok(self.tally.get())
    }
}

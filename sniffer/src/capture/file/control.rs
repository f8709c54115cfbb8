//! The control of a capture file: it replaces the user's filter. A file has no kernel programs, so it ignores verdicts
//! and has no flow records.

use crate::capture::{
    Error,
    filter::Filters,
    filtered::{Programs, compile_all},
    slot::Slot,
    tally::{FilterOnlyControl, Tally},
};
use std::sync::Arc;

/// The control of a capture file. See the documentation of this module.
pub struct FileControl {
    /// The user's filter; [`crate::capture::filtered::Filtered`] reads it before each poll.
    pub filter: Arc<Slot<Option<Arc<Programs>>>>,
    /// Counters of the file's sources.
    pub tally: Arc<Tally>,
}

impl FileControl {
    /// Starts with the user's part of `filters`.
    ///
    /// # Errors
    /// When the user's expression is invalid.
    pub fn new(filters: &Filters) -> Result<Self, Error> {
        Ok(Self { filter: Slot::new(users_programs(filters)?), tally: Arc::default() })
    }
}

fn users_programs(filters: &Filters) -> Result<Option<Arc<Programs>>, Error> {
    filters.user.as_deref().map(|expression| compile_all(expression).map(Arc::new)).transpose()
}

impl FilterOnlyControl for FileControl {
    fn replace_filter(&self, filters: &Filters) -> Result<(), Error> {
        self.filter.set(users_programs(filters)?);
        Ok(())
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

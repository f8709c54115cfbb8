//! The state that pages are answered from: the models, and what is known about the run.

use super::{filters::Filters, parameters::Refused};
use crate::{
    time::Timestamp,
    view::{
        filtering,
        inbox::Item,
        model::Model,
        top::{Health, Source},
    },
};
use serde::Serialize;

/// The state. It has no clock; one thread owns it.
#[derive(Debug, Default)]
pub struct State {
    /// Where the events come from.
    pub source: Source,
    /// The counters of the program.
    pub health: Health,
    /// The last warning of the program.
    pub notice: Option<String>,
    pub(super) zone_seconds: i32,
    pub(super) live: Model,
    pub(super) filters: Filters,
    /// The names that a filter can contain.
    pub(super) protocols: Vec<&'static str>,
    pub(super) has_ended: bool,
}

impl State {
    /// Makes the state of a run. `zone_seconds`: the offset of local time from UTC. `protocols`: the names that a filter can contain.
    pub fn new(source: Source, zone_seconds: i32, protocols: Vec<&'static str>) -> Self {
        Self { source, zone_seconds, protocols, ..Self::default() }
    }

    /// Counts what the workers reported. `now`: the present time of a live source; `None` for a file. It is called a few times a second.
    pub fn take(&mut self, items: &mut Vec<Item>, now: Option<Timestamp>) {
        filtering::count(items, &mut self.live, self.filters.list(), now.filter(|_| !self.has_ended));
        self.filters.tick();
    }

    /// Says that no more events come.
    pub fn end(&mut self) {
        self.has_ended = true;
    }

    /// Number of transactions that were counted.
    pub fn added(&self) -> u64 {
        self.live.kept.added()
    }

    pub(super) fn json(of: &impl Serialize) -> Result<Vec<u8>, Refused> {
        serde_json::to_vec(of).map_err(|error| Refused::new(500, format!("the answer cannot be written: {error}")))
    }
}

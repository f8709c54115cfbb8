//! The state that pages are answered from: the models, and what is known about the run.

use super::{
    export,
    filters::Filters,
    operations, overview,
    parameters::{Parameters, Refused},
    tail::{self, Tail},
};
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

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A JSON text.
    Json(Vec<u8>),
    /// New transactions, or that there are none.
    Tail(Tail),
    /// A file to be saved: its name, its type, its content.
    File(&'static str, &'static str, Vec<u8>),
}

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

    /// Answers a request for a path of the API.
    ///
    /// # Errors
    /// When the path is not known or a parameter is wrong.
    pub fn answer(&mut self, path: &str, parameters: &Parameters) -> Result<Reply, Refused> {
        match path {
            "/api/view" => overview::answer(self, parameters).map(Reply::Json),
            "/api/operations" => operations::answer(self, parameters).map(Reply::Json),
            "/api/tail" => tail::answer(self, parameters, None).map(Reply::Tail),
            "/api/transaction" => tail::transaction(self, parameters).map(Reply::Json),
            "/api/export" => export::answer(self, parameters),
            _ => Err(Refused::new(404, "unknown path; docs/web-api.md lists the paths")),
        }
    }

    /// Answers a held request for `/api/tail` again, after `empty`, its last answer.
    ///
    /// # Errors
    /// When a parameter is wrong.
    pub fn tail(&self, parameters: &Parameters, empty: &Tail) -> Result<Tail, Refused> {
        tail::answer(self, parameters, Some(empty))
    }

    pub(super) fn json(of: &impl Serialize) -> Result<Vec<u8>, Refused> {
        serde_json::to_vec(of).map_err(|error| Refused::new(500, format!("the answer cannot be written: {error}")))
    }
}

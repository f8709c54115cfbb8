//! From a worker's transactions to records for the queue: the document of an event, its processors, its counters.

mod route;

pub use route::Route;

use crate::{
    event::{Head, Whole, Writing},
    flow::key::Peers,
};
use serde::Serialize;

/// One event as it leaves the worker: routed and encoded.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Where it is meant to go.
    pub route: Route,
    /// The document.
    pub body: Box<[u8]>,
}

/// Receives what a worker's parsers find, and turns it into records. One per worker; nothing of it is shared.
pub struct Sink {
    scratch: Vec<u8>,
    counters: Vec<(usize, &'static str, u64)>,
    deliver: Box<dyn FnMut(&[u8]) + Send>,
}

impl Sink {
    /// A sink for tests: documents without the constants of an installation.
    pub fn bare(deliver: Box<dyn FnMut(&[u8]) + Send>) -> Self {
        Self { scratch: Vec::new(), counters: Vec::new(), deliver }
    }

    /// Reports a transaction.
    pub fn emit<B: Serialize>(&mut self, _publisher: usize, peers: &Peers, head: &Head<'_>, body: &B) {
        let whole = Whole::new(peers, head, body, Writing { digits: 3, direction: "unknown" });
        self.scratch.clear();
        if serde_json::to_writer(&mut self.scratch, &whole).is_ok() {
            (self.deliver)(&self.scratch);
        }
    }

    /// Counts something of a publisher.
    pub fn count(&mut self, publisher: usize, name: &'static str) {
        match self.counters.iter_mut().find(|c| c.0 == publisher && c.1 == name) {
            Some(counter) => counter.2 += 1,
            None => self.counters.push((publisher, name, 1)),
        }
    }

    /// What was counted: publisher, name, number.
    pub fn counters(&self) -> &[(usize, &'static str, u64)] {
        &self.counters
    }
}

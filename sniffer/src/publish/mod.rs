//! From a worker's transactions to records for the queue: the document of an event, its constants, its processors, its counters.
//!
//! [`Publishing`] is what the configuration says, shared by all workers and never changed but for what is known of the host;
//! a [`Sink`] is one worker's end of it. Not here: where records go, and how often.

mod route;
mod settings;

pub use route::Route;
pub use settings::{Identity, Publisher, Publishing, World};

use crate::{
    event::{Head, Whole, Writing},
    flow::key::Peers,
    time::{TimeText, Timestamp},
};
use serde::Serialize;
use std::sync::Arc;

/// One event as it leaves the worker: routed and encoded.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Where it is meant to go.
    pub route: Route,
    /// The document.
    pub body: Box<[u8]>,
}

/// Records that are handed over at once: waking the output's side for each of them would cost more than the event.
const BATCH: usize = 256;

/// Takes a sink's records.
pub type Deliver = Box<dyn FnMut(Vec<Record>) + Send>;

/// Receives what a worker's parsers find, and turns it into records. One per worker; nothing of it is shared.
pub struct Sink {
    publishing: Arc<Publishing>,
    scratch: Vec<u8>,
    batch: Vec<Record>,
    counters: Vec<(usize, &'static str, u64)>,
    deliver: Deliver,
    /// Deliver each record at once.
    at_once: bool,
}

impl Sink {
    /// A sink for one worker. Records are handed to `deliver` when enough have come together, and at [`Sink::flush`].
    pub fn new(publishing: Arc<Publishing>, deliver: Deliver) -> Self {
        Self { publishing, scratch: Vec::new(), batch: Vec::new(), counters: Vec::new(), deliver, at_once: false }
    }

    /// A sink for tests: documents without the constants of an installation, each delivered at once.
    pub fn bare(mut deliver: Box<dyn FnMut(&[u8]) + Send>) -> Self {
        let each: Deliver = Box::new(move |batch| batch.iter().for_each(|record| deliver(&record.body)));
        Self { at_once: true, ..Self::new(Arc::new(Publishing::bare()), each) }
    }

    /// Reports a transaction.
    pub fn emit<B: Serialize>(&mut self, _publisher: usize, peers: &Peers, head: &Head<'_>, body: &B) {
        let whole = Whole::new(peers, head, body, Writing { digits: 3, direction: "unknown" });
        self.scratch.clear();
        if serde_json::to_writer(&mut self.scratch, &whole).is_ok() {
            let time = head.start.or(head.end).unwrap_or_default();
            self.push(Route { time, ..Route::default() });
        }
    }

    /// Reports something that is no transaction (a flow). `@timestamp` is `time`; `document` must not write it.
    pub fn emit_document<D: Serialize>(&mut self, _publisher: usize, time: Timestamp, document: &D) {
        #[derive(Serialize)]
        struct Timed<'a, D> {
            #[serde(rename = "@timestamp")]
            timestamp: TimeText,
            #[serde(flatten)]
            document: &'a D,
        }
        let timed = Timed { timestamp: time.text(self.digits()), document };
        self.scratch.clear();
        if serde_json::to_writer(&mut self.scratch, &timed).is_ok() {
            self.push(Route { time, ..Route::default() });
        }
    }

    /// Digits after the point of times in documents: 3, 6 or 9.
    pub fn digits(&self) -> u8 {
        3
    }

    /// Hands over what has come together, and takes note of what has changed on the host since. The worker calls it when it
    /// idles and every so many frames.
    pub fn flush(&mut self) {
        if !self.batch.is_empty() {
            (self.deliver)(std::mem::take(&mut self.batch));
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

    fn push(&mut self, route: Route) {
        self.batch.push(Record { route, body: self.scratch.as_slice().into() });
        if self.at_once || self.batch.len() >= BATCH {
            self.flush();
        }
    }
}

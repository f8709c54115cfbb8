//! From a worker's transactions to records for the queue: the document of an event, its constants, its processors, its counters.
//!
//! [`Publishing`] is what the configuration says, shared by all workers and never changed but for what is known of the host;
//! a [`Sink`] is one worker's end of it. Not here: where records go, and how often.

mod codec;
mod direction;
mod id;
pub mod observer;
mod route;
mod settings;

pub use crate::enrich::World;
pub use id::PublisherId;
pub use route::Route;
pub use settings::{Identity, Publisher, Publishers, Publishing, VERSION};

use crate::{
    event::{Head, Whole, Writing},
    net::{FlowRecord, Peers},
    processors::{Chain, Instances},
    time::{TimeText, Timestamp},
};
use codec::Encoded;
use observer::{Kept, Observer, Observing};
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

/// Takes one document.
pub type Each = Box<dyn FnMut(&[u8]) + Send>;

/// Takes a sink's records.
pub type Deliver = Box<dyn FnMut(Vec<Record>) + Send>;

/// What is kept of the buffer that a document is written into: a large one must not hold its memory for ever.
const KEPT: usize = 256 << 10;

/// Receives what a worker's parsers find, and turns it into records. One per worker, with instances of its own of all processors.
pub struct Sink {
    publishing: Arc<Publishing>,
    state: Arc<settings::State>,
    changes: u64,
    instances: Instances,
    scratch: Vec<u8>,
    batch: Vec<Record>,
    counters: Vec<(PublisherId, &'static str, u64)>,
    deliver: Deliver,
    /// Publishers that are not configured any more, and the state in which they last were: their open connections go on publishing.
    retired: Vec<(PublisherId, Arc<settings::State>)>,
    /// What is done to events of publishers that never were configured.
    none: Chain,
    at_once: bool,
    observing: Option<Observing>,
}

impl Sink {
    /// A sink for one worker. Records are handed to `deliver` when enough have come together, and at [`Sink::flush`].
    pub fn new(publishing: Arc<Publishing>, deliver: Deliver) -> Self {
        let (state, changes) = publishing.state();
        let (scratch, batch, counters) = (Vec::new(), Vec::new(), Vec::new());
        let instances = Instances::default();
        let (retired, none) = (Vec::new(), Chain::default());
        let mut sink = Self {
            publishing,
            state,
            changes,
            instances,
            scratch,
            batch,
            counters,
            deliver,
            retired,
            none,
            at_once: false,
            observing: None,
        };
        sink.prepare();
        sink
    }

    /// A sink for tests: documents without the constants of an installation, each delivered at once.
    pub fn bare(mut deliver: Each) -> Self {
        let each: Deliver = Box::new(move |batch| batch.iter().for_each(|record| deliver(&record.body)));
        Self { at_once: true, ..Self::new(Arc::new(Publishing::bare()), each) }
    }

    /// Shows each event from now on to `observer`, beside delivering its document.
    pub fn show(&mut self, observer: Box<dyn Observer>) {
        let mut observing = Observing::new(observer);
        observing.prepare(&self.publishing, &self.state);
        self.observing = Some(observing);
    }

    /// Reports a transaction.
    pub fn emit<B: Serialize>(&mut self, publisher: PublisherId, peers: &Peers, head: &Head<'_>, body: &B) {
        let direction = self.state.directions.of(peers.sender(head.from).ip(), peers.receiver(head.from).ip());
        if self.publishing.ignore_outgoing && direction == "egress" {
            return self.count(publisher, "ignored_outgoing");
        }
        let whole = Whole::new(peers, head, body, Writing { digits: self.publishing.digits, direction });
        let kept = self.write(publisher, head.start.or(head.end).unwrap_or_default(), &whole);
        if let (Some(kept), Some(observing)) = (kept, &mut self.observing) {
            observing.transaction(publisher, (peers, head), &whole, (kept, &self.scratch));
        }
    }

    /// Reports a flow. `@timestamp` is `time`; `document` must not write it, nor any other key of the constants twice.
    pub fn emit_flow<D: Serialize>(&mut self, publisher: PublisherId, time: Timestamp, record: &FlowRecord, document: &D) {
        #[derive(Serialize)]
        struct Dated<'a, D> {
            #[serde(rename = "@timestamp")]
            timestamp: TimeText,
            #[serde(flatten)]
            document: &'a D,
        }
        let timestamp = time.text(self.publishing.digits);
        let kept = self.write(publisher, time, &Dated { timestamp, document });
        if let (Some(_), Some(observing)) = (kept, &mut self.observing) {
            observing.flow(record);
        }
    }

    /// Digits after the point of times in documents: 3, 6 or 9.
    pub fn digits(&self) -> u8 {
        self.publishing.digits
    }

    /// Hands over what has come together, and takes up what has changed on the host. The worker calls it when it idles and every so
    /// many frames.
    pub fn flush(&mut self) {
        if !self.batch.is_empty() {
            (self.deliver)(std::mem::take(&mut self.batch));
        }
        if self.publishing.changes() != self.changes {
            (self.state, self.changes) = self.publishing.state();
            self.prepare();
        }
    }

    /// Goes on with other settings. Publishers that they do not have any more keep the chain of before.
    pub fn replace(&mut self, publishing: Arc<Publishing>) {
        let (state, changes) = publishing.state();
        let before = std::mem::replace(&mut self.state, state);
        self.retired.retain(|(id, _)| before.chain(*id).is_none());
        self.retired.extend(before.publishers().map(|id| (id, before.clone())));
        self.retired.retain(|(id, _)| self.state.chain(*id).is_none());
        (self.publishing, self.changes) = (publishing, changes);
        let retired = self.retired.iter().filter_map(|(id, state)| state.chain(*id));
        Chain::retain(self.state.chains().chain(retired), &mut self.instances);
        self.prepare();
    }

    /// Makes the processors' instances that the chains need and that are not there yet, and the observer's readers of their events.
    fn prepare(&mut self) {
        self.state.chains().for_each(|chain| chain.prepare(&mut self.instances));
        if let Some(observing) = &mut self.observing {
            observing.prepare(&self.publishing, &self.state);
        }
    }

    /// Counts something of a publisher.
    pub fn count(&mut self, publisher: PublisherId, name: &'static str) {
        match self.counters.iter_mut().find(|c| c.0 == publisher && c.1 == name) {
            Some(counter) => counter.2 += 1,
            None => self.counters.push((publisher, name, 1)),
        }
    }

    /// What was counted: publisher, name, number.
    pub fn counters(&self) -> &[(PublisherId, &'static str, u64)] {
        &self.counters
    }

    /// Writes a document. `None` when there is no observer or the event is not published.
    fn write<D: Serialize>(&mut self, publisher: PublisherId, time: Timestamp, document: &D) -> Option<Kept> {
        let chain = self.state.chain(publisher).or_else(|| retired_chain(&self.retired, publisher)).unwrap_or(&self.none);
        if chain.drops_all {
            self.count(publisher, "filtered");
            return None;
        }
        self.scratch.clear();
        let encoded = codec::encode(document, chain, &self.state.world, &mut self.instances, &mut self.scratch);
        self.finish(publisher, time, encoded)
    }

    fn finish(&mut self, publisher: PublisherId, time: Timestamp, encoded: Encoded) -> Option<Kept> {
        let mut kept = None;
        match encoded {
            Encoded::Written { route: [target, pipeline], edited } => {
                if self.batch.capacity() == 0 {
                    self.batch.reserve_exact(if self.at_once { 1 } else { BATCH });
                }
                self.batch.push(Record { route: Route { target, pipeline, time }, body: self.scratch.as_slice().into() });
                kept = self.observing.as_ref().map(|observing| observing.kept(publisher, edited));
            }
            Encoded::Dropped => self.count(publisher, "filtered"),
            Encoded::Failed => self.count(publisher, "not_encoded"),
        }
        self.scratch.shrink_to(KEPT);
        if self.at_once || self.batch.len() >= BATCH {
            self.flush();
        }
        kept
    }
}

fn retired_chain(retired: &[(PublisherId, Arc<settings::State>)], publisher: PublisherId) -> Option<&Chain> {
    retired.iter().find(|(id, _)| *id == publisher).and_then(|(id, state)| state.chain(*id))
}

#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod observer_tests;
#[cfg(test)]
mod tests;

//! Turns a worker's transactions and flows into records for the queue: writes documents, merges constants, runs processors, counts events.
//!
//! [`Publishing`] is the configuration of publishing. All workers share it, and only its data about the host changes. A
//! [`Sink`] belongs to one worker. Delivery and retries are not part of this module.

pub mod body;
mod codec;
mod direction;
mod id;
pub mod observer;
mod route;
mod settings;

pub use crate::enrich::HostData;
pub use id::PublisherId;
pub use route::{Destination, Document, Route};
pub use settings::{Identity, Publisher, Publishers, Publishing, VERSION};

use crate::{
    event::{Head, Whole, Writing},
    memory::{self, Share},
    net::{FlowRecord, Peers},
    process::{Conversation, Ends, Lookup, Processes},
    processors::{Chain, Instances},
    time::{ClockSteps, TimeText, Timestamp},
};
use body::Body;
use codec::{Bounded, Encoded};
use observer::{About, Kept, Observer, Observing};
use serde::Serialize;
use std::{ops::Range, sync::Arc};

/// One encoded event with its route.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The destination of the event.
    pub route: Route,
    /// The document, as JSON.
    pub body: Body,
}

/// The note of a document whose long texts were cut off.
pub const SHORTENED: &str = "Long texts are cut off because of memory.max";

/// Whether a document is written whole, or with long texts and lists cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Whole,
    Shortened,
}

/// A document is larger than [`Sink::document_limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Number of records that are delivered at once. Fewer are delivered if they have many bytes ([`Share::batch`]). Waking the output for
/// every record would cost more than producing the record.
const BATCH: usize = 128;

/// Spare capacity of the buffer of a delivered batch: at most one part in `SPARE` of its bytes.
const SPARE: usize = 16;

/// Receives one document.
pub type Each = Box<dyn FnMut(&[u8]) + Send>;

/// Receives a batch of records.
pub type Deliver = Box<dyn FnMut(Vec<Record>) + Send>;

/// Receives the transactions of a worker's parsers and turns them into records. Each worker has one sink with its own processor instances.
pub struct Sink {
    publishing: Arc<Publishing>,
    state: Arc<settings::State>,
    changes: u64,
    instances: Instances,
    /// The documents of the batch, each followed by a line feed.
    buffer: Vec<u8>,
    /// The route and the range in `buffer` of each document of the batch.
    batch: Vec<(Route, Range<usize>)>,
    /// Bytes of the previous batch, for the capacity of the next buffer.
    expected: usize,
    counters: Vec<(PublisherId, &'static str, u64)>,
    deliver: Deliver,
    /// Publishers that are no longer configured, each with the last state that contained it. Connections that are still open need them.
    retired: Vec<(PublisherId, Arc<settings::State>)>,
    /// The empty chain, for publishers that were never configured.
    none: Chain,
    at_once: bool,
    observing: Option<Observing>,
    /// Finds the processes at the ends of transactions and flows; `None` if none are named.
    processes: Option<Lookup>,
    share: Share,
    /// The steps of the wall clock, by which times in documents differ from those in transactions.
    steps: ClockSteps,
}

impl Sink {
    /// Makes the sink of one worker. Calls `deliver` when a batch is full, and at [`Sink::flush`].
    pub fn new(publishing: Arc<Publishing>, deliver: Deliver) -> Self {
        let (state, changes) = publishing.state();
        let (buffer, batch, counters) = (Vec::new(), Vec::new(), Vec::new());
        let instances = Instances::default();
        let (retired, none) = (Vec::new(), Chain::default());
        let mut sink = Self {
            publishing,
            state,
            changes,
            instances,
            buffer,
            batch,
            expected: 0,
            counters,
            deliver,
            retired,
            none,
            at_once: false,
            observing: None,
            processes: None,
            share: Share::default(),
            steps: ClockSteps::default(),
        };
        sink.prepare();
        sink
    }

    /// The same sink with the limits of `share` for documents and batches.
    #[must_use]
    pub fn with_share(self, share: Share) -> Self {
        Self { share, ..self }
    }

    /// Makes a sink for tests: documents without constants, delivered one by one.
    pub fn bare(mut deliver: Each) -> Self {
        let each: Deliver = Box::new(move |batch| batch.iter().for_each(|record| deliver(&record.body)));
        Self { at_once: true, ..Self::new(Arc::new(Publishing::bare()), each) }
    }

    /// Reports each further event to `observer`, too.
    pub fn show(&mut self, observer: Box<dyn Observer>) {
        let mut observing = Observing::new(observer);
        observing.prepare(&self.publishing, &self.state);
        self.observing = Some(observing);
    }

    /// From now on also names the processes at the ends of transactions and flows.
    pub fn name_processes(&mut self, processes: Arc<Processes>) {
        self.processes = Some(Lookup::new(processes));
    }

    /// The processes at the ends of a conversation. `None` if neither documents nor the observer name them. `shown`: whether the document
    /// names them, unless no document does.
    pub fn ends(&mut self, conversation: &Conversation, shown: bool) -> Option<Ends> {
        let processes = self.processes.as_mut()?;
        let wanted = self.observing.is_some() || shown && processes.are_shown();
        wanted.then(|| processes.ends(conversation))
    }

    /// Those of `ends` that a document names.
    pub fn shown<'a>(&self, ends: Option<&'a Ends>) -> &'a Ends {
        ends.filter(|_| self.processes.as_ref().is_some_and(Lookup::are_shown)).unwrap_or(&Ends::NONE)
    }

    /// Emits a transaction. If its document is larger than [`Sink::document_limit`], long texts and lists are cut off, and a note says so.
    pub fn emit<B: Serialize>(&mut self, publisher: PublisherId, peers: &Peers, head: &Head<'_>, body: &B) {
        if self.try_emit(publisher, peers, head, body).is_err() {
            self.emit_shortened(publisher, peers, head, body);
        }
    }

    #[cold]
    fn emit_shortened<B: Serialize>(&mut self, publisher: PublisherId, peers: &Peers, head: &Head<'_>, body: &B) {
        // The caller may have cut some texts itself; then the note is there already.
        let is_noted = head.notes.contains(&SHORTENED);
        let notes: Vec<&str> = head.notes.iter().copied().chain((!is_noted).then_some(SHORTENED)).collect();
        if !is_noted {
            self.count(publisher, "shortened");
        }
        if self.emit_as(Size::Shortened, publisher, peers, &Head { notes: &notes, ..*head }, body).is_err() {
            self.drop_too_large(publisher);
        }
    }

    /// Maximum number of bytes of one document.
    pub fn document_limit(&self) -> usize {
        self.share.document()
    }

    /// Emits a transaction whose document may be too large.
    ///
    /// # Errors
    /// When the document is larger than [`Sink::document_limit`]. Then nothing was emitted or counted, and the caller emits a smaller
    /// document.
    pub fn try_emit<B: Serialize>(&mut self, publisher: PublisherId, peers: &Peers, head: &Head<'_>, body: &B) -> Result<(), TooLarge> {
        self.emit_as(Size::Whole, publisher, peers, head, body)
    }

    fn emit_as<B: Serialize>(
        &mut self,
        size: Size,
        publisher: PublisherId,
        peers: &Peers,
        head: &Head<'_>,
        body: &B,
    ) -> Result<(), TooLarge> {
        let direction = self.state.directions.of(peers.sender(head.from).ip(), peers.receiver(head.from).ip());
        if self.publishing.ignore_outgoing && direction == "egress" {
            self.count(publisher, "ignored_outgoing");
            return Ok(());
        }
        let with_wall_times = self.with_wall_times(head);
        let head = with_wall_times.as_ref().unwrap_or(head);
        let time = head.start.or(head.end).unwrap_or_default();
        let ends = self.ends_of(peers, head, time);
        let processes = self.shown(ends.as_ref());
        let whole = Whole::new(peers, head, body, Writing { digits: self.publishing.digits, direction, processes });
        let kept = self.write(size, publisher, time, &whole)?;
        if let (Some(kept), Some(observing)) = (kept, &mut self.observing) {
            let written = self.batch.last().and_then(|(_, range)| self.buffer.get(range.clone())).unwrap_or_default();
            let about = About { peers, head, processes: ends.as_ref().unwrap_or(&Ends::NONE) };
            observing.transaction(publisher, &about, &whole, (kept, written));
        }
        self.deliver_full_batch();
        Ok(())
    }

    /// Counts a document that is dropped because it is too large.
    fn drop_too_large(&mut self, publisher: PublisherId) {
        self.count(publisher, "too_large");
        self.share.warn_once(memory::Kind::Document);
    }

    /// The processes at the ends of a transaction.
    #[inline]
    fn ends_of(&mut self, peers: &Peers, head: &Head<'_>, time: Timestamp) -> Option<Ends> {
        self.processes.as_ref()?;
        let (source, destination) = (peers.sender(head.from), peers.receiver(head.from));
        let tunnelled = peers.realm.is_tunnelled();
        self.ends(&Conversation { transport: peers.transport, source, destination, tunnelled, time }, true)
    }

    /// The head with the times of the wall clock instead of steady times, if the clock was set. The duration does not
    /// change.
    fn with_wall_times<'a>(&self, head: &Head<'a>) -> Option<Head<'a>> {
        let first = head.start.or(head.end).filter(|_| !self.steps.is_empty())?;
        let ahead = self.steps.ahead(first);
        let shift = |time: Timestamp| time.shifted(ahead);
        Some(Head { start: head.start.map(shift), end: head.end.map(shift), ..*head })
    }

    /// Sets the steps of the wall clock.
    pub fn set_clock_steps(&mut self, steps: &ClockSteps) {
        self.steps.clone_from(steps);
    }

    /// The steady time at which the wall clock showed `wall`. `now`: the current steady time.
    pub fn steady(&self, wall: Timestamp, now: Timestamp) -> Timestamp {
        if self.steps.is_empty() { wall } else { self.steps.steady(wall, now) }
    }

    /// The wall-clock time at a steady time.
    pub fn wall(&self, time: Timestamp) -> Timestamp {
        self.steps.wall(time)
    }

    /// Emits a flow. `time` becomes `@timestamp`, so `document` must not contain `@timestamp`. `document` must not contain any key twice.
    /// `processes`: those at its ends, for the observer.
    pub fn emit_flow<D: Serialize>(
        &mut self,
        publisher: PublisherId,
        time: Timestamp,
        (record, processes): (&FlowRecord, &Ends),
        document: &D,
    ) {
        #[derive(Serialize)]
        struct Dated<'a, D> {
            #[serde(rename = "@timestamp")]
            timestamp: TimeText,
            #[serde(flatten)]
            document: &'a D,
        }
        let timestamp = time.text(self.publishing.digits);
        let kept = self.write(Size::Whole, publisher, time, &Dated { timestamp, document }).unwrap_or_else(|TooLarge| {
            self.drop_too_large(publisher);
            None
        });
        if let (Some(_), Some(observing)) = (kept, &mut self.observing) {
            if self.steps.is_empty() {
                observing.flow(record, processes);
            } else {
                let (start, end) = (self.steps.wall(record.start), self.steps.wall(record.end));
                observing.flow(&FlowRecord { start, end, ..record.clone() }, processes);
            }
        }
        self.deliver_full_batch();
    }

    /// Digits of fractional seconds in the documents' times: 3, 6 or 9.
    pub fn digits(&self) -> u8 {
        self.publishing.digits
    }

    /// Delivers the incomplete batch, and applies changes of the host's data. The worker calls this method when it is idle and after a
    /// number of frames.
    pub fn flush(&mut self) {
        if !self.batch.is_empty() {
            let mut buffer = std::mem::take(&mut self.buffer);
            self.expected = buffer.len().min(self.share.batch());
            // The records hold the buffer until the output is done with them.
            if buffer.capacity() - buffer.len() > buffer.len() / SPARE {
                buffer.shrink_to_fit();
            }
            let buffer = Arc::new(buffer);
            let records = self.batch.drain(..).map(|(route, range)| Record { route, body: Body::new(buffer.clone(), range) });
            (self.deliver)(records.collect());
        }
        if self.publishing.changes() != self.changes {
            (self.state, self.changes) = self.publishing.state();
            self.prepare();
        }
    }

    /// Replaces the settings. Publishers that the new settings do not contain keep their previous chain.
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

    /// Makes the processor instances that the chains need and that do not exist yet, and prepares the observer for the
    /// chains.
    fn prepare(&mut self) {
        self.state.chains().for_each(|chain| chain.prepare(&mut self.instances));
        if let Some(observing) = &mut self.observing {
            observing.prepare(&self.publishing, &self.state);
        }
    }

    /// Increments a counter of a publisher.
    pub fn count(&mut self, publisher: PublisherId, name: &'static str) {
        match self.counters.iter_mut().find(|c| c.0 == publisher && c.1 == name) {
            Some(counter) => counter.2 += 1,
            None => self.counters.push((publisher, name, 1)),
        }
    }

    /// All counters: publisher, name, value.
    pub fn counters(&self) -> &[(PublisherId, &'static str, u64)] {
        &self.counters
    }

    /// Writes a document. Returns `None` when there is no observer or the event is not published.
    fn write<D: Serialize>(&mut self, size: Size, publisher: PublisherId, time: Timestamp, document: &D) -> Result<Option<Kept>, TooLarge> {
        let chain = self.state.chain(publisher).or_else(|| retired_chain(&self.retired, publisher)).unwrap_or(&self.none);
        if chain.drops_all {
            self.count(publisher, "filtered");
            return Ok(None);
        }
        let from = self.buffer.len();
        if from == 0 {
            self.buffer.reserve_exact(self.expected);
        }
        let most = self.share.document();
        let context = codec::Context { chain, host_data: &self.state.host_data, time, digits: self.publishing.digits };
        let bounded = Bounded::new(&mut self.buffer, most);
        let mut bounded = if size == Size::Shortened { bounded.shortening() } else { bounded };
        let encoded = codec::encode(document, context, &mut self.instances, &mut bounded);
        match encoded {
            Encoded::Written { destination, time, edited } => {
                self.batch.push((Route { destination, time }, from..self.buffer.len()));
                self.buffer.push(b'\n');
                return Ok(self.observing.as_ref().map(|observing| observing.kept(publisher, edited)));
            }
            Encoded::Dropped => self.count(publisher, "filtered"),
            Encoded::Failed => self.count(publisher, "not_encoded"),
            Encoded::TooLarge => {
                self.buffer.truncate(from);
                return Err(TooLarge);
            }
        }
        self.buffer.truncate(from);
        Ok(None)
    }

    fn deliver_full_batch(&mut self) {
        let bytes = self.buffer.len() + self.batch.len() * size_of::<Record>();
        if self.at_once || self.batch.len() >= BATCH || bytes >= self.share.batch() {
            self.flush();
        }
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
mod process_tests;
#[cfg(test)]
mod tests;

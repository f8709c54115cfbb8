//! The context of a parser call: information about the packet and the connection, and the functions that the parser may
//! call (report, count, set a timer).

use crate::{
    event::Head,
    net::Peers,
    publish::{PublisherId, Sink, TooLarge},
    time::Timestamp,
};
use serde::Serialize;
use std::collections::VecDeque;

/// How many of the bytes that a parser skipped were on the wire. These are the bytes that the last [`super::Progress::Consumed`] of this
/// direction declared unwanted beyond its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Number of bytes that were captured, or that capture did not copy because the parser does not want them.
    pub seen: u64,
    /// Number of bytes that were missing in the capture.
    pub lost: u64,
}

/// When each part of the data was on the wire. Each operation takes constant time on average, whatever the number of parts.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// The position of the first byte of each part, ascending, and its time. Positions count from the first byte ever noted.
    parts: VecDeque<(u64, Timestamp)>,
    /// The position of the first byte of the data.
    first: u64,
}

impl Times {
    /// Notes that the bytes of the data from `offset` on were on the wire at `time`.
    pub fn note(&mut self, offset: usize, time: Timestamp) {
        if self.parts.back().is_none_or(|(_, last)| *last != time) {
            self.parts.push_back((self.first + offset as u64, time));
        }
    }

    /// Moves the start of the data forward by `bytes`.
    pub fn advance(&mut self, bytes: usize) {
        self.first += bytes as u64;
        while self.parts.get(1).is_some_and(|(start, _)| *start <= self.first) {
            self.parts.pop_front();
        }
    }

    /// Forgets all parts.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// When the byte at `offset` of the data was on the wire.
    pub fn at(&self, offset: usize) -> Option<Timestamp> {
        let after = self.parts.partition_point(|&(start, _)| start <= self.first + offset as u64);
        after.checked_sub(1).and_then(|i| self.parts.get(i)).map(|&(_, time)| time)
    }

    /// Number of allocated bytes.
    pub fn held(&self) -> usize {
        self.parts.capacity() * size_of::<(u64, Timestamp)>()
    }
}

/// The context of one call of a parser or plugin: the information that it can read, and the actions that it can take.
pub struct Context<'a> {
    now: Timestamp,
    peers: &'a mut Peers,
    skipped: Skipped,
    /// The times of the parts of the data; `None` if all data was on the wire at `now`.
    times: Option<&'a Times>,
    publisher: PublisherId,
    sink: &'a mut Sink,
    wake: Option<Timestamp>,
    strict: bool,
    missing: u32,
}

impl<'a> Context<'a> {
    /// Makes the context of a call at `now` about the conversation between `peers`. Events go to `publisher` of `sink`.
    /// For `strict` see [`Context::strict`].
    pub fn new(now: Timestamp, peers: &'a mut Peers, sink: &'a mut Sink, publisher: PublisherId, strict: bool) -> Self {
        Self { now, peers, skipped: Skipped::default(), times: None, publisher, sink, wake: None, strict, missing: 0 }
    }

    /// Sets the counts of skipped bytes of the direction of the call.
    #[must_use]
    pub fn with_skipped(mut self, skipped: Skipped) -> Self {
        self.skipped = skipped;
        self
    }

    /// Sets the times of the parts of the data.
    #[must_use]
    pub fn with_times(mut self, times: &'a Times) -> Self {
        self.times = Some(times);
        self
    }

    /// Sets the timer that was set earlier and has not fired.
    #[must_use]
    pub fn with_wake(mut self, wake: Option<Timestamp>) -> Self {
        self.wake = wake;
        self
    }

    /// Sets the number of bytes at the end of the datagram that were not captured.
    #[must_use]
    pub fn with_missing(mut self, missing: u32) -> Self {
        self.missing = missing;
        self
    }

    /// Makes a context for another conversation or another time within this call. A timer set in the new context does
    /// not set the timer of this one.
    pub fn about<'b>(&'b mut self, peers: &'b mut Peers, now: Timestamp) -> Context<'b> {
        Context {
            now,
            peers,
            skipped: Skipped::default(),
            times: self.times,
            publisher: self.publisher,
            sink: self.sink,
            wake: None,
            strict: self.strict,
            missing: 0,
        }
    }

    /// The time of the frame that contained the newest data. In a timer call, the time at which the timer was due.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The ends of the conversation.
    pub fn peers(&self) -> &Peers {
        self.peers
    }

    /// How many skipped bytes of the direction of the call were captured.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Whether `packetbeat.compatibility: strict` is set and a file is read. In this case a request without a response, or a response
    /// without a request, is dropped when the connection ends, and not reported. At a FIN the parser must drop them. At any other end the
    /// engine does not call the parser.
    pub fn strict(&self) -> bool {
        self.strict
    }

    /// Number of bytes at the end of the datagram that were on the wire but were not captured, because of the snap length.
    pub fn missing(&self) -> u32 {
        self.missing
    }

    /// When the byte at `offset` of the data was on the wire (time of the frame in which it first arrived).
    pub fn time_at(&self, offset: usize) -> Timestamp {
        self.times.and_then(|times| times.at(offset)).unwrap_or(self.now)
    }

    /// Number of fractional digits of times in documents: 3, 6 or 9.
    pub fn digits(&self) -> u8 {
        self.sink.digits()
    }

    /// Reports a transaction between the ends of this conversation.
    pub fn emit<B: Serialize>(&mut self, head: &Head<'_>, body: &B) {
        self.sink.emit(self.publisher, self.peers, head, body);
    }

    /// Reports a transaction whose document may be too large; see [`Sink::try_emit`].
    ///
    /// # Errors
    /// When the document is larger than [`Context::document_limit`]. Then nothing was reported, and the caller reports a smaller document.
    pub fn try_emit<B: Serialize>(&mut self, head: &Head<'_>, body: &B) -> Result<(), TooLarge> {
        self.sink.try_emit(self.publisher, self.peers, head, body)
    }

    /// Maximum number of bytes of one document.
    pub fn document_limit(&self) -> usize {
        self.sink.document_limit()
    }

    /// Reports a transaction of another conversation that a plugin has remembered.
    pub fn emit_for<B: Serialize>(&mut self, peers: &Peers, head: &Head<'_>, body: &B) {
        self.sink.emit(self.publisher, peers, head, body);
    }

    /// Counts `name` (`unmatched_requests`, `unmatched_responses`, …) in this protocol's metrics.
    pub fn count(&mut self, name: &'static str) {
        self.sink.count(self.publisher, name);
    }

    /// Swaps client and server, if the first packets indicated the wrong roles. Directions are swapped from the next
    /// call on. The caller must swap its own state per direction, and the `dir` of the current call.
    pub fn flip(&mut self) {
        self.peers.flip();
    }

    /// Sets the timer: `on_timer` is called at this packet time. If called several times, the earliest time is used.
    /// The timer fires once.
    pub fn wake_at(&mut self, time: Timestamp) {
        self.wake = Some(self.wake.map_or(time, |earlier| earlier.min(time)));
    }

    /// The earliest time that was set with [`Context::wake_at`]; `None` if no time was set.
    pub fn wake(&self) -> Option<Timestamp> {
        self.wake
    }
}

//! What a parser is told of the moment it is called, and what it may do: report, count, ask to be woken.

use crate::{
    event::Head,
    net::Peers,
    publish::{PublisherId, Sink},
    time::Timestamp,
};
use serde::Serialize;
use std::collections::VecDeque;

/// What became of the bytes that the last [`super::Progress::Consumed`] of this direction had declared unwanted beyond its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Bytes that were on the wire and in the capture.
    pub seen: u64,
    /// Bytes that were missing in the capture.
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
    /// The bytes from `offset` of the data on came at `time`.
    pub fn note(&mut self, offset: usize, time: Timestamp) {
        if self.parts.back().is_none_or(|(_, last)| *last != time) {
            self.parts.push_back((self.first + offset as u64, time));
        }
    }

    /// The data begins `bytes` later now.
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

    /// When the byte at `offset` of the data came.
    pub fn at(&self, offset: usize) -> Option<Timestamp> {
        let after = self.parts.partition_point(|&(start, _)| start <= self.first + offset as u64);
        after.checked_sub(1).and_then(|i| self.parts.get(i)).map(|&(_, time)| time)
    }

    /// Bytes allocated.
    pub fn held(&self) -> usize {
        self.parts.capacity() * size_of::<(u64, Timestamp)>()
    }
}

/// Lent to a parser or plugin for the length of one call.
pub struct Context<'a> {
    now: Timestamp,
    peers: &'a mut Peers,
    skipped: Skipped,
    /// `None`: all of the data came now.
    times: Option<&'a Times>,
    publisher: PublisherId,
    sink: &'a mut Sink,
    wake: Option<Timestamp>,
    strict: bool,
    missing: u32,
}

impl<'a> Context<'a> {
    /// For a call at `now` about the conversation between `peers`. Events go to `publisher` of `sink`. `strict`: see [`Context::strict`].
    pub fn new(now: Timestamp, peers: &'a mut Peers, sink: &'a mut Sink, publisher: PublisherId, strict: bool) -> Self {
        Self { now, peers, skipped: Skipped::default(), times: None, publisher, sink, wake: None, strict, missing: 0 }
    }

    /// With what became of skipped bytes of the direction that the call is about.
    #[must_use]
    pub fn with_skipped(mut self, skipped: Skipped) -> Self {
        self.skipped = skipped;
        self
    }

    /// With the times of the parts of the data that the call is about.
    #[must_use]
    pub fn with_times(mut self, times: &'a Times) -> Self {
        self.times = Some(times);
        self
    }

    /// With a timer that was asked for earlier and has not fired.
    #[must_use]
    pub fn with_wake(mut self, wake: Option<Timestamp>) -> Self {
        self.wake = wake;
        self
    }

    /// With the number of bytes at the end of the datagram that were not captured.
    #[must_use]
    pub fn with_missing(mut self, missing: u32) -> Self {
        self.missing = missing;
        self
    }

    /// For another conversation or another time within this call. A timer that is asked for there is not asked for here.
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

    /// The time of the frame that brought the newest data; of a timer, the time it was due.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The ends of the conversation.
    pub fn peers(&self) -> &Peers {
        self.peers
    }

    /// See [`Skipped`].
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// `packetbeat.compatibility: strict` while a file is read: what still waits for its other half when its connection ends is dropped
    /// and not reported. The engine sees to that where no parser is called; at a FIN the parser does.
    pub fn strict(&self) -> bool {
        self.strict
    }

    /// Bytes at the end of the datagram that were on the wire and not captured, because of the capture length.
    pub fn missing(&self) -> u32 {
        self.missing
    }

    /// When the byte at `offset` of the data was on the wire (the frame's time of its first arrival).
    pub fn time_at(&self, offset: usize) -> Timestamp {
        self.times.and_then(|times| times.at(offset)).unwrap_or(self.now)
    }

    /// Digits after the point of times in documents: 3, 6 or 9.
    pub fn digits(&self) -> u8 {
        self.sink.digits()
    }

    /// Reports a transaction between the ends of this conversation.
    pub fn emit<B: Serialize>(&mut self, head: &Head<'_>, body: &B) {
        self.sink.emit(self.publisher, self.peers, head, body);
    }

    /// Reports a transaction of another conversation, one remembered by a plugin.
    pub fn emit_for<B: Serialize>(&mut self, peers: &Peers, head: &Head<'_>, body: &B) {
        self.sink.emit(self.publisher, peers, head, body);
    }

    /// Counts `name` (`unmatched_requests`, `unmatched_responses`, …) in this protocol's metrics.
    pub fn count(&mut self, name: &'static str) {
        self.sink.count(self.publisher, name);
    }

    /// Exchanges client and server: the first packet had named the wrong side. From the next call on directions are the other way round;
    /// the caller exchanges what it keeps per direction itself, and the `dir` of the call at hand.
    pub fn flip(&mut self) {
        self.peers.flip();
    }

    /// Asks for `on_timer` at that time of the packets' clock. The earliest wish counts; after the call it must be made again.
    pub fn wake_at(&mut self, time: Timestamp) {
        self.wake = Some(self.wake.map_or(time, |earlier| earlier.min(time)));
    }

    /// The earliest time asked for with [`Context::wake_at`].
    pub fn wake(&self) -> Option<Timestamp> {
        self.wake
    }
}

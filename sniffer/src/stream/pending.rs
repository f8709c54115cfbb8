//! Hands the in-order bytes of one direction to the parser, and keeps what it did not consume. In the common case, a message that is whole
//! within its packet, the parser reads the packet in place and nothing is copied.

use crate::{
    protocols::{Progress, Skipped},
    time::Timestamp,
};
use std::collections::VecDeque;

/// The bytes of one direction of a TCP connection that the parser has not consumed yet.
#[derive(Debug, Default)]
pub struct Pending {
    kept: Vec<u8>,
    /// When each part of `kept` was on the wire; see [`crate::protocols::Context::time_at`].
    times: VecDeque<(usize, Timestamp)>,
    /// Bytes still to come that the parser declared unwanted.
    skip: u64,
    skipped: Skipped,
    /// Bytes still to come before the parser wants to be called again.
    need: usize,
}

/// What the parser is called with: the data, what became of skipped bytes, and when the data came.
pub type Call<'a> = dyn FnMut(&[u8], Skipped, &VecDeque<(usize, Timestamp)>) -> Progress + 'a;

/// How a connection goes on after a call of its parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With the same parser.
    Continue,
    /// The parser wants no more.
    Done,
    /// The parser gave up, or kept more than [`Pending::MOST_KEPT`].
    GaveUp,
    /// With the parser of that protocol; it gets what is kept.
    HandOver(&'static str),
}

impl Pending {
    /// Bytes kept for one direction while a message is incomplete. Packetbeat's limit; the largest message that any parser
    /// wants in one piece is well below it (bodies are skipped or taken in parts).
    pub const MOST_KEPT: usize = 10 << 20;

    /// Takes the next bytes in order.
    pub fn push(&mut self, data: &[u8], now: Timestamp, call: &mut Call<'_>) -> Outcome {
        let unwanted = usize::try_from(self.skip).unwrap_or(usize::MAX).min(data.len());
        self.skip -= unwanted as u64;
        self.skipped.seen += unwanted as u64;
        let data = &data[unwanted..];
        if data.is_empty() {
            return Outcome::Continue;
        }
        if !self.kept.is_empty() {
            self.times.push_back((self.kept.len(), now));
            self.kept.extend_from_slice(data);
            self.need = self.need.saturating_sub(data.len());
            return if self.need == 0 { self.offer(call) } else { self.check_size() };
        }
        if self.need > data.len() {
            self.need -= data.len();
            self.keep(data, now);
            return self.check_size();
        }
        let progress = call(data, std::mem::take(&mut self.skipped), &self.times);
        let (done, outcome) = self.account(data.len(), progress);
        self.keep(&data[done..], now);
        if outcome == Outcome::Continue { self.check_size() } else { outcome }
    }

    /// Calls the parser with all that is kept: when it has what it needs, or when it has just taken over.
    pub fn offer(&mut self, call: &mut Call<'_>) -> Outcome {
        if self.kept.is_empty() {
            return Outcome::Continue;
        }
        let progress = call(&self.kept, std::mem::take(&mut self.skipped), &self.times);
        let (done, outcome) = self.account(self.kept.len(), progress);
        self.kept.drain(..done);
        let first = self.times.partition_point(|&(start, _)| start <= done).saturating_sub(1);
        self.times.drain(..first);
        for (start, _) in &mut self.times {
            *start = start.saturating_sub(done);
        }
        if self.kept.is_empty() {
            self.times.clear();
            // One large message must not hold its memory for the rest of a long connection.
            self.kept.shrink_to(64 << 10);
        }
        if outcome == Outcome::Continue { self.check_size() } else { outcome }
    }

    /// `lost` bytes are missing. Returns how many of them the parser wanted, and what became of skipped bytes. When it wanted any, what was kept is
    /// dropped.
    pub fn gap(&mut self, lost: u64) -> (u64, Skipped) {
        let unwanted = self.skip.min(lost);
        self.skip -= unwanted;
        self.skipped.lost += unwanted;
        if unwanted == lost {
            return (0, self.skipped);
        }
        self.forget();
        (lost - unwanted, std::mem::take(&mut self.skipped))
    }

    /// What became of skipped bytes so far, for the end of the direction.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Bytes still to come that the parser declared unwanted.
    #[inline]
    pub fn to_skip(&self) -> u64 {
        self.skip
    }

    /// Bytes allocated for what is kept and for its times.
    pub fn held(&self) -> usize {
        self.kept.capacity() + self.times.capacity() * size_of::<(usize, Timestamp)>()
    }

    /// Bytes kept.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Drops what is kept and what the parser said it needs. Skipping goes on.
    pub fn forget(&mut self) {
        self.kept = Vec::new();
        self.times.clear();
        self.need = 0;
    }

    fn keep(&mut self, data: &[u8], now: Timestamp) {
        if !data.is_empty() {
            self.times.push_back((self.kept.len(), now));
            self.kept.extend_from_slice(data);
        }
    }

    fn check_size(&mut self) -> Outcome {
        if self.kept.len() <= Self::MOST_KEPT {
            return Outcome::Continue;
        }
        self.forget();
        Outcome::GaveUp
    }

    fn account(&mut self, have: usize, progress: Progress) -> (usize, Outcome) {
        let (bytes, outcome) = match progress {
            Progress::Consumed { bytes, need } => {
                self.need = need.max(1);
                (bytes, Outcome::Continue)
            }
            Progress::HandOver { bytes, to } => (bytes, Outcome::HandOver(to)),
            Progress::Done => return (have, Outcome::Done),
            Progress::GiveUp => return (have, Outcome::GaveUp),
        };
        let done = usize::try_from(bytes).unwrap_or(usize::MAX).min(have);
        self.skip = bytes - done as u64;
        (done, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(p: &mut Pending, data: &[u8], now: u64, progress: Progress) -> Vec<(Vec<u8>, Skipped)> {
        let mut calls = vec![];
        p.push(data, Timestamp(now), &mut |data, skipped, _| {
            calls.push((data.to_vec(), skipped));
            progress
        });
        calls
    }

    #[test]
    fn keeps_what_is_left_and_waits_for_what_is_needed() {
        let mut p = Pending::default();
        assert_eq!(record(&mut p, b"abcd", 1, Progress::Consumed { bytes: 2, need: 3 }).len(), 1);
        assert_eq!(record(&mut p, b"ef", 2, Progress::Done).len(), 0);
        let mut times = VecDeque::new();
        p.push(b"g", Timestamp(3), &mut |data, _, t| {
            assert_eq!(data, b"cdefg");
            times.clone_from(t);
            Progress::consumed(3)
        });
        assert_eq!(times, [(0, Timestamp(1)), (2, Timestamp(2)), (4, Timestamp(3))]);
        assert_eq!((p.kept(), p.times.clone()), (2, [(0, Timestamp(2)), (1, Timestamp(3))].into()));
    }

    #[test]
    fn skips_without_keeping_and_tells_what_was_lost() {
        let mut p = Pending::default();
        record(&mut p, b"ab", 1, Progress::Consumed { bytes: 10, need: 0 });
        assert_eq!(record(&mut p, b"cd", 1, Progress::Done).len(), 0);
        assert_eq!(p.gap(4), (0, Skipped { seen: 2, lost: 4 }));
        assert_eq!(record(&mut p, b"xxnext", 1, Progress::consumed(4)), [(b"next".to_vec(), Skipped { seen: 4, lost: 4 })]);
        assert_eq!(p.gap(5), (5, Skipped::default()));
    }

    #[test]
    fn a_parser_that_never_consumes_is_given_up() {
        let mut p = Pending::default();
        let chunk = vec![0; 1 << 20];
        let last = (0..11).map(|_| p.push(&chunk, Timestamp(0), &mut |_, _, _| Progress::consumed(0))).last();
        assert_eq!((last, p.kept()), (Some(Outcome::GaveUp), 0));
    }
}

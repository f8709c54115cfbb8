//! Hands the in-order bytes of one direction to whoever parses them, and keeps what was not consumed. The common case,
//! a message that is whole within its packet, is read where the packet lies and copied nowhere.

use crate::{
    protocols::{Progress, Skipped},
    time::Timestamp,
};
use std::collections::VecDeque;

/// One direction of a TCP connection, after reassembly.
#[derive(Debug, Default)]
pub struct Pending {
    kept: Vec<u8>,
    /// When each part of `kept` came; see [`crate::protocols::Context::times`].
    times: VecDeque<(usize, Timestamp)>,
    /// Bytes still to come that nobody wants.
    skip: u64,
    skipped: Skipped,
    /// Bytes still to come before the parser wants to be called again.
    need: usize,
}

/// What the parser is called with: the data, what became of skipped bytes, and when the data came.
pub type Call<'a> = dyn FnMut(&[u8], Skipped, &VecDeque<(usize, Timestamp)>) -> Progress + 'a;

/// How the connection goes on after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onward {
    /// As before.
    Going,
    /// The parser wants no more.
    Done,
    /// The parser gave up, or kept more than [`Pending::MOST_KEPT`].
    GaveUp,
    /// What is kept from here on belongs to another protocol.
    HandOver(&'static str),
}

impl Pending {
    /// Bytes kept for one direction while a message is incomplete. Packetbeat's limit; the largest message that any parser
    /// wants in one piece is well below it (bodies are skipped or taken in parts).
    pub const MOST_KEPT: usize = 10 << 20;

    /// Takes the next bytes in order.
    pub fn push(&mut self, data: &[u8], now: Timestamp, call: &mut Call<'_>) -> Onward {
        let unwanted = usize::try_from(self.skip).unwrap_or(usize::MAX).min(data.len());
        self.skip -= unwanted as u64;
        self.skipped.seen += unwanted as u64;
        let data = &data[unwanted..];
        if data.is_empty() {
            return Onward::Going;
        }
        if !self.kept.is_empty() {
            self.times.push_back((self.kept.len(), now));
            self.kept.extend_from_slice(data);
            self.need = self.need.saturating_sub(data.len());
            return if self.need == 0 { self.again(call) } else { self.within_bounds() };
        }
        if self.need > data.len() {
            self.need -= data.len();
            self.keep(data, now);
            return self.within_bounds();
        }
        let progress = call(data, std::mem::take(&mut self.skipped), &self.times);
        let (done, onward) = self.settle(data.len(), progress);
        self.keep(&data[done..], now);
        if onward == Onward::Going { self.within_bounds() } else { onward }
    }

    /// Offers what is kept once more: to a parser that has just taken over.
    pub fn again(&mut self, call: &mut Call<'_>) -> Onward {
        if self.kept.is_empty() {
            return Onward::Going;
        }
        let progress = call(&self.kept, std::mem::take(&mut self.skipped), &self.times);
        let (done, onward) = self.settle(self.kept.len(), progress);
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
        if onward == Onward::Going { self.within_bounds() } else { onward }
    }

    /// `lost` bytes are missing. Returns how many of them somebody wanted, and what became of skipped ones; with wanted ones
    /// missing, what was kept is gone.
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

    /// Bytes kept.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Forgets what is kept and wanted; what is skipped goes on.
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

    fn within_bounds(&mut self) -> Onward {
        if self.kept.len() <= Self::MOST_KEPT {
            return Onward::Going;
        }
        self.forget();
        Onward::GaveUp
    }

    fn settle(&mut self, have: usize, progress: Progress) -> (usize, Onward) {
        let (bytes, onward) = match progress {
            Progress::Consumed { bytes, need } => {
                self.need = need.max(1);
                (bytes, Onward::Going)
            }
            Progress::HandOver { bytes, to } => (bytes, Onward::HandOver(to)),
            Progress::Done => return (have, Onward::Done),
            Progress::GiveUp => return (have, Onward::GaveUp),
        };
        let done = usize::try_from(bytes).unwrap_or(usize::MAX).min(have);
        self.skip = bytes - done as u64;
        (done, onward)
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
        assert_eq!((last, p.kept()), (Some(Onward::GaveUp), 0));
    }
}

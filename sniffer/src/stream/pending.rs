//! Passes the in-order bytes of one direction to the parser, and keeps those that it did not consume. In the common
//! case, a complete message in a packet, the parser reads the packet in place and nothing is copied.

use crate::{
    protocols::{End, Progress, Skipped, Times},
    time::Timestamp,
};

/// The bytes of one direction of a TCP connection that the parser has not consumed yet.
#[derive(Debug, Default)]
pub struct Pending {
    /// The kept bytes; `None` as long as the parser has consumed all bytes at once.
    kept: Option<Box<Kept>>,
    /// Number of further bytes that the parser does not want.
    skip: u64,
    skipped: Skipped,
    wait: Wait,
}

/// The bytes kept for the parser.
#[derive(Debug, Default)]
struct Kept {
    /// The unconsumed bytes begin at `start`; the bytes before it are consumed.
    buffer: Vec<u8>,
    start: usize,
    /// The packet times of the unconsumed bytes; see [`crate::protocols::Context::time_at`].
    times: Times,
}

impl Kept {
    fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Removes the first `done` bytes.
    fn consume(&mut self, done: usize) {
        self.start += done;
        self.times.advance(done);
        let left = self.buffer.len() - self.start;
        if left == 0 {
            self.buffer.clear();
            self.start = 0;
            self.times.clear();
            self.buffer.shrink_to(MOST_SPARE);
        } else if self.start >= LEAST_MOVE && self.start >= left {
            // Copies at most one kept byte for each byte that was consumed since the last time.
            self.buffer.drain(..self.start);
            self.start = 0;
        }
    }
}

/// The condition under which the parser is called again.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// The number of unconsumed bytes is at least this.
    Bytes(usize),
    /// The unconsumed bytes contain `end`, or are at least `most`. The first `searched` of them do not contain `end`.
    End { end: End, most: usize, searched: usize },
}

impl Default for Wait {
    fn default() -> Self {
        Self::Bytes(0)
    }
}

/// The function that calls the parser. Its arguments are the data, how many of the skipped bytes were captured, and the times of the
/// data.
pub type Call<'a> = dyn FnMut(&[u8], Skipped, &Times) -> Progress + 'a;

/// Consumed bytes at the beginning of a buffer are removed when there are at least this many.
const LEAST_MOVE: usize = 4096;
/// Maximum capacity in bytes that an empty buffer keeps, so that the memory of one large message is not held for the rest of
/// a long connection.
const MOST_SPARE: usize = 64 << 10;

/// How a connection continues after a call of its parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The connection continues with the same parser.
    Continue,
    /// The connection continues without a parser, because the parser needs no more data.
    Done,
    /// The connection continues without a parser, because it gave up or more than [`Pending::MOST_KEPT`] bytes were kept.
    GaveUp,
    /// The connection continues with the parser of this protocol, which gets the kept bytes.
    HandOver(&'static str),
}

impl Pending {
    /// Maximum number of bytes kept for one direction while a message is incomplete. Packetbeat has the same limit. The largest message
    /// that a parser needs as a whole is far smaller, because bodies are skipped or consumed in parts.
    pub const MOST_KEPT: usize = 10 << 20;

    /// Passes the next in-order bytes to the parser.
    pub fn push(&mut self, data: &[u8], now: Timestamp, call: &mut Call<'_>) -> Outcome {
        let unwanted = usize::try_from(self.skip).unwrap_or(usize::MAX).min(data.len());
        self.skip -= unwanted as u64;
        self.skipped.seen += unwanted as u64;
        let data = &data[unwanted..];
        if data.is_empty() {
            return Outcome::Continue;
        }
        let waits = match &mut self.wait {
            Wait::Bytes(need) => {
                *need = need.saturating_sub(data.len());
                *need > 0
            }
            Wait::End { .. } => self.kept() > 0,
        };
        if waits || self.kept() > 0 {
            self.keep(data, now);
            return if waits && !self.search() { self.check_size() } else { self.offer(call) };
        }
        let progress = call(data, std::mem::take(&mut self.skipped), &Times::default());
        let (done, outcome) = self.account(data.len(), progress);
        self.keep(&data[done..], now);
        if outcome == Outcome::Continue { self.check_size() } else { outcome }
    }

    /// Whether the condition of [`Wait::End`] is met. Only bytes that were not searched before are searched.
    fn search(&mut self) -> bool {
        let kept = self.kept.as_ref().map_or(&[][..], |kept| kept.bytes());
        match &mut self.wait {
            Wait::Bytes(_) => false,
            Wait::End { end, most, searched } => {
                let from = std::mem::replace(searched, kept.len());
                kept.len() >= *most || end.is_in(kept, from)
            }
        }
    }

    /// Calls the parser with all kept bytes, if it has the bytes it needs or has just taken over the connection.
    pub fn offer(&mut self, call: &mut Call<'_>) -> Outcome {
        let have = self.kept();
        let Some(kept) = self.kept.as_ref().filter(|_| have > 0) else { return Outcome::Continue };
        let progress = call(kept.bytes(), std::mem::take(&mut self.skipped), &kept.times);
        let (done, outcome) = self.account(have, progress);
        if let Some(kept) = &mut self.kept {
            kept.consume(done);
        }
        if outcome == Outcome::Continue { self.check_size() } else { outcome }
    }

    /// Handles a gap of `lost` bytes. Returns how many of the lost bytes the parser wanted, and the skipped bytes. If
    /// the parser wanted any of the lost bytes, the kept bytes are dropped.
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

    /// Handles bytes that the parser does not want and that capture did not copy.
    pub fn pass(&mut self, bytes: u64) {
        let bytes = self.skip.min(bytes);
        self.skip -= bytes;
        self.skipped.seen += bytes;
    }

    /// How many of the skipped bytes were captured and how many were lost so far. The connection asks for this at the end of the direction.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Number of further bytes that the parser does not want.
    #[inline]
    pub fn to_skip(&self) -> u64 {
        self.skip
    }

    /// Number of kept bytes.
    pub fn kept(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.buffer.len() - kept.start)
    }

    /// Number of allocated bytes.
    pub fn held(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| size_of::<Kept>() + kept.buffer.capacity() + kept.times.held())
    }

    /// Drops the kept bytes and the condition for the next call of the parser. Bytes to skip are
    /// still skipped.
    pub fn forget(&mut self) {
        self.kept = None;
        self.wait = Wait::default();
    }

    fn keep(&mut self, data: &[u8], now: Timestamp) {
        if !data.is_empty() {
            let kept = self.kept.get_or_insert_default();
            kept.times.note(kept.buffer.len() - kept.start, now);
            kept.buffer.extend_from_slice(data);
        }
    }

    fn check_size(&mut self) -> Outcome {
        if self.kept() <= Self::MOST_KEPT {
            return Outcome::Continue;
        }
        self.forget();
        Outcome::GaveUp
    }

    fn account(&mut self, have: usize, progress: Progress) -> (usize, Outcome) {
        let (bytes, outcome) = match progress {
            Progress::Consumed { bytes, need } => {
                self.wait = Wait::Bytes(need.max(1));
                (bytes, Outcome::Continue)
            }
            Progress::Search { bytes, end, most } => {
                self.wait = Wait::End { end, most, searched: have.saturating_sub(bytes) };
                (bytes as u64, Outcome::Continue)
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
        let mut times = vec![];
        p.push(b"g", Timestamp(3), &mut |data, _, t| {
            assert_eq!(data, b"cdefg");
            times = (0..data.len()).map(|at| t.at(at).unwrap().0).collect();
            Progress::consumed(3)
        });
        assert_eq!(times, [1, 1, 2, 2, 3]);
        assert_eq!(
            (p.kept(), p.kept.as_ref().unwrap().times.at(0), p.kept.as_ref().unwrap().times.at(1)),
            (2, Some(Timestamp(2)), Some(Timestamp(3)))
        );
    }

    #[test]
    fn skips_without_keeping_and_tells_what_was_lost() {
        let mut p = Pending::default();
        record(&mut p, b"ab", 1, Progress::Consumed { bytes: 10, need: 0 });
        assert_eq!(record(&mut p, b"cd", 1, Progress::Done).len(), 0);
        assert_eq!(p.gap(4), (0, Skipped { seen: 2, lost: 4 }));
        assert_eq!(record(&mut p, b"xxnext", 1, Progress::consumed(4)), [(b"next".to_vec(), Skipped { seen: 4, lost: 4 })]);
        record(&mut p, b"ab", 1, Progress::Consumed { bytes: 10, need: 0 });
        p.pass(5);
        assert_eq!((p.to_skip(), p.skipped()), (3, Skipped { seen: 5, lost: 0 }));
        p.gap(3);
        p.pass(5);
        assert_eq!((p.to_skip(), p.skipped()), (0, Skipped { seen: 5, lost: 3 }), "no more than the parser does not want");
        record(&mut p, b"x", 1, Progress::consumed(1));
        assert_eq!(p.gap(5), (5, Skipped::default()));
    }

    #[test]
    fn a_parser_that_never_consumes_is_given_up() {
        let mut p = Pending::default();
        let chunk = vec![0; 1 << 20];
        let last = (0..11).map(|_| p.push(&chunk, Timestamp(0), &mut |_, _, _| Progress::consumed(0))).last();
        assert_eq!((last, p.kept()), (Some(Outcome::GaveUp), 0));
    }

    #[test]
    fn a_search_calls_once_the_end_is_there_or_too_much_without_it() {
        for (end, text, before) in [
            (End::Line, &b"ab\nc"[..], 2),
            (End::EmptyLine, b"a\nb\r\n\r\nc", 6),
            (End::EmptyLine, b"a\n\nc", 2),
            (End::EmptyLine, b"\r\r\n\r\r\n\n", 6),
        ] {
            // The text is cut into two parts at each position, and into single bytes.
            for cut in 0..=text.len() {
                let parts: Vec<&[u8]> = if cut == 0 { text.chunks(1).collect() } else { vec![&text[..cut], &text[cut..]] };
                let (mut p, mut calls) = (Pending::default(), vec![]);
                for part in parts.into_iter().filter(|part| !part.is_empty()) {
                    p.push(part, Timestamp(0), &mut |data, _, _| {
                        calls.push(data.len());
                        Progress::Search { bytes: 0, end, most: 100 }
                    });
                }
                let first = if cut == 0 { 1 } else { cut };
                let again = if cut == 0 { before + 1 } else { text.len() };
                let want = if first > before {
                    calls.len() == if cut == text.len() { 1 } else { calls.len() }
                } else {
                    calls[..2] == [first, again]
                };
                assert!(want && calls[0] == first, "{end:?} in {text:?}, cut at {cut}: called with {calls:?} bytes");
            }
        }
        let (mut p, mut calls) = (Pending::default(), vec![]);
        for _ in 0..20 {
            p.push(b"x", Timestamp(0), &mut |data, _, _| {
                calls.push(data.len());
                if data.len() < 8 { Progress::Search { bytes: 0, end: End::Line, most: 8 } } else { Progress::consumed(data.len()) }
            });
        }
        assert_eq!(calls, [1, 8, 1, 8, 1]);
    }

    #[test]
    fn a_parser_that_takes_one_byte_at_a_time_moves_no_others() {
        let (mut p, mut seen) = (Pending::default(), 0_u64);
        p.push(&[7; 100_000], Timestamp(1), &mut |_, _, _| Progress::consumed(0));
        for n in 0..90_000_u64 {
            p.push(&[9], Timestamp(2 + n), &mut |data, _, times| {
                assert_eq!((data[0], times.at(0), data.len()), (7, Some(Timestamp(1)), 100_001));
                seen += 1;
                Progress::consumed(1)
            });
        }
        assert_eq!((seen, p.kept()), (90_000, 100_000));
        let capacity = p.kept.as_ref().unwrap().buffer.capacity();
        assert!(capacity < 500_000, "{capacity}");
    }
}

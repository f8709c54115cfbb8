//! One direction of a TCP connection: segments in any order in, bytes in order and gaps of known length out. It knows sequence
//! numbers (RFC 9293 section 3.4) and time, not what the bytes mean.
//!
//! A segment that comes early waits until the hole before it is filled. Only when that will not happen any more is the hole a gap:
//! the receiver acknowledged it (then it was on the wire, and the capture missed it), the buffer is full, or time ran out.

use crate::time::Timestamp;
use std::{collections::VecDeque, time::Duration};

/// Bytes of early segments kept for one direction: a window of a fast connection, and no more.
const MOST_EARLY_BYTES: usize = 1 << 20;
/// Early segments kept for one direction, so that a flood of tiny ones costs no more than their bytes suggest.
const MOST_EARLY: usize = 1024;
/// A hole is filled by a retransmission within a few round trips; after this it is a gap.
const HOLE: Duration = Duration::from_secs(3);
/// A hole that the receiver acknowledged can only be filled by packets that the capture put in another order.
const ACKNOWLEDGED_HOLE: Duration = Duration::from_millis(20);

/// What comes out, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The next bytes, and when they were on the wire.
    Data(&'a [u8], Timestamp),
    /// So many bytes were on the wire but not in the capture.
    Gap(u64),
}

/// How a segment arrived, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// At its turn: some of its bytes are the next ones.
    InOrder,
    /// Before a segment that precedes it; it is held until the hole is filled.
    Early,
    /// All of its bytes were delivered before.
    Retransmitted,
}

/// Puts the segments of one direction in order.
#[derive(Debug, Default)]
pub struct Reassembler {
    /// The sequence number of the next byte, once one was seen.
    next: Option<u32>,
    /// By sequence number, none of them at or before `next`.
    early: VecDeque<Early>,
    early_bytes: usize,
    /// When the first hole is a gap.
    deadline: Timestamp,
    /// The sequence number after the last byte, once a FIN was seen.
    end: Option<u32>,
}

#[derive(Debug)]
struct Early {
    seq: u32,
    data: Box<[u8]>,
    wire: u32,
    time: Timestamp,
}

/// How far `a` is ahead of `b`, negative when it is behind.
fn ahead(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

impl Reassembler {
    /// A SYN was seen: the first byte has the sequence number behind it.
    pub fn begin(&mut self, syn: u32) {
        if self.next.is_none() {
            self.next = Some(syn.wrapping_add(1));
        }
    }

    /// Whether anything of this direction was seen.
    pub fn has_begun(&self) -> bool {
        self.next.is_some()
    }

    /// The sequence number of the next byte.
    pub fn next(&self) -> Option<u32> {
        self.next
    }

    /// A segment of `wire` bytes at `seq`, of which `data` were captured.
    pub fn segment(&mut self, seq: u32, data: &[u8], wire: u32, time: Timestamp, out: &mut dyn FnMut(Piece<'_>)) -> Arrival {
        let next = *self.next.get_or_insert(seq);
        if ahead(seq, next) > 0 {
            self.hold(Early { seq, data: data.into(), wire, time }, next);
            if self.early_bytes > MOST_EARLY_BYTES || self.early.len() > MOST_EARLY {
                self.skip_hole(out);
            }
            return Arrival::Early;
        }
        if !self.deliver(seq, data, wire, time, out) {
            return Arrival::Retransmitted;
        }
        self.drain(out);
        Arrival::InOrder
    }

    /// A FIN after the byte before `seq`.
    pub fn finish(&mut self, seq: u32) {
        self.next.get_or_insert(seq);
        self.end.get_or_insert(seq);
    }

    /// Whether all bytes up to the FIN are out.
    pub fn finished(&self) -> bool {
        self.end.zip(self.next).is_some_and(|(end, next)| ahead(next, end) >= 0)
    }

    /// The receiver acknowledged everything before `ack`. When its segment carries data (`answers`) holes before `ack` become gaps at once, so that
    /// no answer is read before its request.
    pub fn acknowledged(&mut self, ack: u32, answers: bool, now: Timestamp, out: &mut dyn FnMut(Piece<'_>)) {
        let Some(first) = self.early.front() else { return };
        if ahead(ack, first.seq) < 0 {
            return;
        }
        if answers {
            self.skip_hole(out);
        } else {
            self.deadline = self.deadline.min(now.after(ACKNOWLEDGED_HOLE));
        }
    }

    /// When [`Reassembler::expire`] has something to do.
    pub fn deadline(&self) -> Option<Timestamp> {
        (!self.early.is_empty()).then_some(self.deadline)
    }

    /// Declares holes gaps whose time is over.
    pub fn expire(&mut self, now: Timestamp, out: &mut dyn FnMut(Piece<'_>)) {
        while !self.early.is_empty() && self.deadline <= now {
            self.skip_hole(out);
        }
    }

    /// Declares all holes gaps: nothing will come any more.
    pub fn flush(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        while !self.early.is_empty() {
            self.skip_hole(out);
        }
    }

    /// Bytes of early segments that are held.
    pub fn held(&self) -> usize {
        self.early_bytes
    }

    /// Drops the early segments.
    pub fn forget(&mut self) {
        self.early = VecDeque::new();
        self.early_bytes = 0;
    }

    fn hold(&mut self, segment: Early, next: u32) {
        let at = self.early.partition_point(|e| ahead(e.seq, next) < ahead(segment.seq, next));
        if self.early.get(at).is_some_and(|e| e.seq == segment.seq && e.wire >= segment.wire) {
            return; // retransmitted while it waits
        }
        if self.early.is_empty() {
            self.deadline = segment.time.after(HOLE);
        }
        self.early_bytes += segment.data.len();
        self.early.insert(at, segment);
    }

    /// Delivers the new bytes of a segment that begins at the next byte or before it. Returns whether it had any.
    fn deliver(&mut self, seq: u32, data: &[u8], wire: u32, time: Timestamp, out: &mut dyn FnMut(Piece<'_>)) -> bool {
        let next = self.next.unwrap_or(seq);
        let old = next.wrapping_sub(seq);
        if old >= wire || old > i32::MAX.cast_unsigned() {
            return false;
        }
        self.next = Some(seq.wrapping_add(wire));
        let fresh = data.get(old as usize..).unwrap_or_default();
        if !fresh.is_empty() {
            out(Piece::Data(fresh, time));
        }
        let missing = u64::from(wire - old) - fresh.len().min((wire - old) as usize) as u64;
        if missing > 0 {
            out(Piece::Gap(missing)); // cut to the snap length
        }
        true
    }

    fn drain(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        while let (Some(first), Some(next)) = (self.early.front(), self.next)
            && ahead(first.seq, next) <= 0
            && let Some(first) = self.early.pop_front()
        {
            self.early_bytes -= first.data.len();
            self.deliver(first.seq, &first.data, first.wire, first.time, out);
            // The segment behind the next hole was held up by this one until now. The time of its own hole counts from its arrival.
            if let Some(second) = self.early.front() {
                self.deadline = second.time.after(HOLE);
            }
        }
    }

    /// Declares the first hole a gap, and delivers what it held up.
    fn skip_hole(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        if let (Some(first), Some(next)) = (self.early.front(), self.next) {
            let lost = first.seq.wrapping_sub(next);
            self.next = Some(first.seq);
            out(Piece::Gap(u64::from(lost)));
            self.drain(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `(seq, data)` and writes what comes out: bytes as they are, gaps as `<n>`.
    fn play(start: u32, segments: &[(u32, &[u8])]) -> String {
        let (mut order, mut out) = (Reassembler::default(), String::new());
        let mut write = |piece: Piece<'_>| match piece {
            Piece::Data(data, _) => out += std::str::from_utf8(data).unwrap(),
            Piece::Gap(n) => out += &format!("<{n}>"),
        };
        order.begin(start.wrapping_sub(1));
        for (seq, data) in segments {
            order.segment(start.wrapping_add(*seq), data, data.len() as u32, Timestamp(0), &mut write);
        }
        order.flush(&mut write);
        out
    }

    #[test]
    fn every_order_of_four_segments_and_every_wrap() {
        let parts: [(u32, &[u8]); 4] = [(0, b"ab"), (2, b"cde"), (5, b"f"), (6, b"gh")];
        for start in [0, 1, u32::MAX, u32::MAX - 3, u32::MAX - 7, 1 << 31] {
            for n in 0..256usize {
                let order = [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6];
                if (0..4).all(|i| order.contains(&i)) {
                    assert_eq!(play(start, &order.map(|i| parts[i])), "abcdefgh", "{order:?} from {start}");
                }
            }
        }
    }

    #[test]
    fn overlaps_and_repetitions() {
        assert_eq!(play(10, &[(0, b"abc"), (0, b"abc"), (1, b"bcde"), (4, b"ef")]), "abcdef");
        assert_eq!(play(10, &[(4, b"ef"), (2, b"cdef"), (4, b"ef"), (0, b"abc")]), "abcdef");
        assert_eq!(play(10, &[(0, b"ab"), (1, b"b"), (2, b"cd")]), "abcd"); // a keep-alive with its byte
        assert_eq!(play(10, &[(3, b"d"), (8, b"i")]), "<3>d<4>i");
    }

    #[test]
    fn when_a_hole_is_a_gap() {
        type Step<'a> = &'a dyn Fn(&mut Reassembler, &mut dyn FnMut(Piece<'_>));
        let run = |f: Step<'_>| {
            let (mut order, mut gaps) = (Reassembler::default(), 0);
            let mut out = |p: Piece<'_>| {
                if let Piece::Gap(n) = p {
                    gaps += n
                }
            };
            order.begin(0);
            order.segment(11, b"x", 1, Timestamp(0), &mut out);
            f(&mut order, &mut out);
            gaps
        };
        assert_eq!(run(&|o, out| o.expire(Timestamp(2_000_000_000), out)), 0);
        assert_eq!(run(&|o, out| o.expire(Timestamp(3_000_000_000), out)), 10);
        assert_eq!(run(&|o, out| o.acknowledged(10, true, Timestamp(1), out)), 0);
        assert_eq!(run(&|o, out| o.acknowledged(11, true, Timestamp(1), out)), 10);
        assert_eq!(
            run(&|o, out| {
                o.acknowledged(12, false, Timestamp(0), out);
                o.expire(Timestamp(10_000_000), out);
            }),
            0
        );
        assert_eq!(
            run(&|o, out| {
                o.acknowledged(12, false, Timestamp(0), out);
                o.expire(Timestamp(20_000_000), out);
            }),
            10
        );
    }

    #[test]
    fn a_cut_segment_is_data_and_a_gap() {
        let (mut order, mut out) = (Reassembler::default(), vec![]);
        order.segment(5, b"ab", 10, Timestamp(7), &mut |p| out.push(format!("{p:?}")));
        order.segment(15, b"c", 1, Timestamp(7), &mut |p| out.push(format!("{p:?}")));
        assert_eq!(out, ["Data([97, 98], Timestamp(7))", "Gap(8)", "Data([99], Timestamp(7))"]);
    }

    #[test]
    fn early_segments_are_bounded() {
        let (mut order, mut most) = (Reassembler::default(), 0);
        order.begin(0);
        for i in 0..4000u32 {
            order.segment(2 + i * 2000, &[0; 1000], 1000, Timestamp(0), &mut |_| ());
            most = most.max(order.held());
        }
        assert!(most <= MOST_EARLY_BYTES + 1000, "{most}");
    }

    #[test]
    fn a_fin_waits_for_the_bytes_before_it() {
        let mut order = Reassembler::default();
        order.begin(0);
        order.finish(4);
        assert!(!order.finished());
        order.segment(1, b"abc", 3, Timestamp(0), &mut |_| ());
        assert!(order.finished());
    }
}

//! Reassembles one direction of a TCP connection: takes segments in any order, and returns bytes in order and gaps of
//! known length. Uses sequence numbers (RFC 9293 section 3.4) and times, and ignores the contents.
//! `acceptance` decides which segments are passed to it.
//!
//! An early segment is held until the missing bytes before it, the hole, arrive. A hole becomes a gap if it will not be
//! filled:
//! - the receiver has acknowledged bytes after it, so the bytes were on the wire and the capture missed them;
//! - no more early segments can be held;
//! - the time limit has passed and the receiver is not captured. A captured receiver that does not acknowledge the hole
//!   still waits for the bytes, so this code waits too.

use crate::time::Timestamp;
use std::{collections::VecDeque, time::Duration};

/// Maximum number of bytes of early segments held for one direction: about the window of a fast connection.
const MOST_EARLY_BYTES: usize = 1 << 20;
/// Maximum number of early segments held for one direction, because each costs memory in addition to its bytes.
const MOST_EARLY: usize = 1024;
/// Overhead of an allocation in bytes, in most allocators.
const ALLOCATION: usize = 16;
/// Time limit of a hole. A retransmission fills it within a few round trips.
const HOLE: Duration = Duration::from_secs(3);
/// Time limit of a hole whose bytes the receiver has acknowledged. Only packets that the capture reordered can fill it.
const ACKNOWLEDGED_HOLE: Duration = Duration::from_millis(20);

/// A piece of the output, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The next bytes, and when they were on the wire.
    Data(&'a [u8], Timestamp),
    /// This number of bytes was on the wire but not captured.
    Gap(u64),
}

/// How a segment arrived, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The segment contains the next byte.
    InOrder,
    /// Bytes before the segment are missing. The segment is held.
    Early,
    /// All bytes of the segment were delivered before.
    Retransmitted,
}

/// The reassembly of one direction.
#[derive(Debug, Default)]
pub struct Reassembler {
    /// The sequence number of the next byte; `None` before the first segment.
    next: Option<u32>,
    /// Whether a byte or gap was returned. From then on only segments change `next`.
    delivered: bool,
    /// The next sequence number according to the receiver's last acknowledgement.
    acked: Option<u32>,
    /// Whether segments of the receiver were captured.
    receiver_heard: bool,
    /// Held segments, ordered by sequence number, none of them before `next`.
    early: VecDeque<Early>,
    early_bytes: usize,
    /// Since when the receiver has acknowledged bytes in or after the first early segment.
    covered: Option<Timestamp>,
    /// The sequence number of the last FIN, which follows the last byte.
    end: Option<u32>,
    /// Whether a FIN was forgotten because bytes after it were delivered.
    has_invalid_fin: bool,
}

#[derive(Debug)]
struct Early {
    seq: u32,
    data: Box<[u8]>,
    wire: u32,
    time: Timestamp,
}

/// How far sequence number `a` is ahead of `b`; negative if `a` is before `b`.
pub(super) fn ahead(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

impl Reassembler {
    /// Sets the sequence number of the first byte, unless a byte was delivered. Early segments are dropped if another
    /// number was assumed before.
    pub fn begin(&mut self, seq: u32) {
        if !self.delivered && self.next != Some(seq) {
            self.next = Some(seq);
            self.acked = None;
            self.forget();
        }
    }

    /// Whether the sequence number of the next byte is known.
    pub fn has_begun(&self) -> bool {
        self.next.is_some()
    }

    /// Whether a byte or gap was returned.
    pub fn has_delivered(&self) -> bool {
        self.delivered
    }

    /// The sequence number of the next byte.
    pub fn next(&self) -> Option<u32> {
        self.next
    }

    /// The next sequence number according to the receiver's last acknowledgement.
    pub fn acked(&self) -> Option<u32> {
        self.acked
    }

    /// The current position of this direction: the next byte, or the next byte for the receiver if that is further
    /// ahead or if no segment of this direction was captured.
    pub fn front(&self) -> Option<u32> {
        match (self.next, self.acked) {
            (Some(next), Some(acked)) if ahead(acked, next) > 0 => Some(acked),
            (next, acked) => next.or(acked),
        }
    }

    /// Takes a segment of `wire` bytes at `seq`, of which `data` were captured.
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

    /// Takes the data of a SYN. It is delivered when the receiver acknowledges it, or when more data follows.
    pub fn segment_of_syn(&mut self, seq: u32, data: &[u8], wire: u32, time: Timestamp) {
        if wire > 0 && self.next == Some(seq) && !self.delivered {
            self.hold(Early { seq, data: data.into(), wire, time }, seq);
        }
    }

    /// Handles a FIN at `seq`. Returns false if a FIN is invalid: this one, because bytes after it were already delivered, or an earlier
    /// one at another sequence number.
    pub fn finish(&mut self, seq: u32) -> bool {
        let next = *self.next.get_or_insert(seq);
        if ahead(seq, next) < 0 {
            return false;
        }
        let invalid_before = std::mem::take(&mut self.has_invalid_fin);
        self.end.replace(seq).is_none_or(|before| before == seq) && !invalid_before
    }

    /// Whether all bytes up to the FIN were delivered.
    pub fn finished(&self) -> bool {
        self.end.is_some() && self.end == self.next
    }

    /// Whether early segments are held.
    pub fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    /// Does what [`Reassembler::acknowledged`] does if there are no early segments.
    pub fn note_acknowledged(&mut self, ack: u32) {
        (self.acked, self.receiver_heard) = (Some(ack), true);
    }

    /// Takes the receiver's acknowledgement of all bytes before `ack`. If the acknowledging segment has data
    /// (`answers`), holes before `ack` become gaps at once, so that a response is not parsed before its request.
    pub fn acknowledged(&mut self, ack: u32, answers: bool, now: Timestamp, out: &mut dyn FnMut(Piece<'_>)) {
        self.note_acknowledged(ack);
        self.cover(now);
        // The data of a SYN is the next piece, without a hole before it.
        let next = self.early.front().is_some_and(|first| Some(first.seq) == self.next && ahead(ack, first.seq) > 0);
        while self.covered.is_some() && (answers || next) {
            self.skip_hole(out);
            self.cover(now);
        }
    }

    /// When [`Reassembler::expire`] has to be called.
    pub fn deadline(&self) -> Option<Timestamp> {
        let first = self.early.front()?;
        match self.covered {
            Some(since) => Some(since.after(ACKNOWLEDGED_HOLE)),
            None if self.receiver_heard => None,
            None => Some(first.time.after(HOLE)),
        }
    }

    /// Turns holes whose time limit has passed into gaps.
    pub fn expire(&mut self, now: Timestamp, out: &mut dyn FnMut(Piece<'_>)) {
        while self.deadline().is_some_and(|due| due <= now) {
            self.skip_hole(out);
            self.cover(now);
        }
    }

    /// Ends the direction. Holes that the receiver has acknowledged become gaps, or all holes if the receiver is not
    /// captured. Segments after a hole that the receiver has not acknowledged are dropped, because the receiver did not
    /// read them. Returns the number of dropped segments.
    pub fn flush(&mut self, out: &mut dyn FnMut(Piece<'_>)) -> usize {
        while let Some(first) = self.early.front() {
            if self.receiver_heard && self.acked.is_none_or(|acked| ahead(acked, first.seq) <= 0) {
                break;
            }
            self.skip_hole(out);
        }
        let dropped = self.early.len();
        self.forget();
        dropped
    }

    /// Continues at `seq`, whatever sequence number was expected. The bytes in between are a gap. The length of the gap is
    /// reported as 1 if it is not known, because `seq` is below the expected number.
    pub fn jump(&mut self, seq: u32, out: &mut dyn FnMut(Piece<'_>)) {
        let lost = self.next.map_or(1, |next| ahead(seq, next).max(1).cast_unsigned());
        self.forget();
        (self.next, self.delivered, self.acked, self.end) = (Some(seq), true, None, None);
        out(Piece::Gap(u64::from(lost)));
    }

    /// Bytes allocated for early segments.
    pub fn held(&self) -> usize {
        self.early_bytes + self.early.capacity() * size_of::<Early>() + self.early.len() * ALLOCATION
    }

    /// Drops the early segments.
    pub fn forget(&mut self) {
        self.early = VecDeque::new();
        (self.early_bytes, self.covered) = (0, None);
    }

    fn hold(&mut self, segment: Early, next: u32) {
        let at = self.early.partition_point(|e| ahead(e.seq, next) < ahead(segment.seq, next));
        if self.early.get(at).is_some_and(|e| e.seq == segment.seq && e.wire >= segment.wire) {
            return; // a retransmission of a held segment
        }
        let time = segment.time;
        self.early_bytes += segment.data.len();
        self.early.insert(at, segment);
        if at == 0 {
            self.covered = None;
            self.cover(time);
        }
    }

    /// Notes whether the receiver's last acknowledgement, received at or before `now`, reaches the first early segment.
    fn cover(&mut self, now: Timestamp) {
        let reaches = self.early.front().zip(self.acked).is_some_and(|(first, acked)| ahead(acked, first.seq) >= 0);
        self.covered = if reaches { self.covered.or(Some(now)) } else { None };
    }

    /// Delivers the new bytes of a segment that begins at or before the next byte. Returns whether there were any.
    fn deliver(&mut self, seq: u32, data: &[u8], wire: u32, time: Timestamp, out: &mut dyn FnMut(Piece<'_>)) -> bool {
        let next = self.next.unwrap_or(seq);
        let old = next.wrapping_sub(seq);
        if old >= wire || old > i32::MAX.cast_unsigned() {
            return false;
        }
        self.advance(seq.wrapping_add(wire));
        let fresh = data.get(old as usize..).unwrap_or_default();
        if !fresh.is_empty() {
            out(Piece::Data(fresh, time));
        }
        let missing = u64::from(wire - old) - fresh.len().min((wire - old) as usize) as u64;
        if missing > 0 {
            out(Piece::Gap(missing)); // the segment was cut to the snap length
        }
        true
    }

    /// Sets the next expected sequence number. A FIN that was noted at a lower sequence number is invalid and forgotten.
    fn advance(&mut self, next: u32) {
        (self.next, self.delivered) = (Some(next), true);
        if self.end.is_some_and(|end| ahead(next, end) > 0) {
            (self.end, self.has_invalid_fin) = (None, true);
        }
    }

    fn drain(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        while let (Some(first), Some(next)) = (self.early.front(), self.next)
            && ahead(first.seq, next) <= 0
            && let Some(first) = self.early.pop_front()
        {
            self.early_bytes -= first.data.len();
            self.deliver(first.seq, &first.data, first.wire, first.time, out);
            // The time limit of the next hole starts when the segment after it arrived.
            self.covered = None;
            if let Some(second) = self.early.front().map(|second| second.time) {
                self.cover(second);
            }
        }
    }

    /// Turns the first hole into a gap, and delivers the segments after it.
    fn skip_hole(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        if let (Some(first), Some(next)) = (self.early.front(), self.next) {
            let lost = first.seq.wrapping_sub(next);
            self.advance(first.seq);
            if lost > 0 {
                out(Piece::Gap(u64::from(lost)));
            }
            self.drain(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `(seq, data)` segments through a reassembler and formats the output: bytes as they are, gaps as `<n>`.
    fn play(start: u32, segments: &[(u32, &[u8])]) -> String {
        let (mut order, mut out) = (Reassembler::default(), String::new());
        let mut write = |piece: Piece<'_>| match piece {
            Piece::Data(data, _) => out += std::str::from_utf8(data).unwrap(),
            Piece::Gap(n) => out += &format!("<{n}>"),
        };
        order.begin(start);
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
            order.begin(1);
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
        order.begin(1);
        for i in 0..4000u32 {
            order.segment(2 + i * 2000, &[0; 1000], 1000, Timestamp(0), &mut |_| ());
            most = most.max(order.early_bytes);
        }
        assert!(most <= MOST_EARLY_BYTES + 1000, "{most}");
    }

    #[test]
    fn a_fin_waits_for_the_bytes_before_it() {
        let mut order = Reassembler::default();
        order.begin(1);
        order.finish(4);
        assert!(!order.finished());
        order.segment(1, b"abc", 3, Timestamp(0), &mut |_| ());
        assert!(order.finished());
    }

    fn pieces(f: impl FnOnce(&mut Reassembler, &mut dyn FnMut(Piece<'_>))) -> Vec<String> {
        let (mut order, mut out) = (Reassembler::default(), vec![]);
        order.begin(1);
        f(&mut order, &mut |piece| {
            out.push(match piece {
                Piece::Data(data, _) => String::from_utf8_lossy(data).into_owned(),
                Piece::Gap(n) => format!("<{n}>"),
            });
        });
        out
    }

    #[test]
    fn a_hole_that_the_receiver_waits_for_is_no_gap() {
        let waits = pieces(|order, out| {
            order.note_acknowledged(1);
            order.segment(11, b"late", 4, Timestamp(0), out);
            assert_eq!(order.deadline(), None);
            order.expire(Timestamp(60_000_000_000), out);
            assert_eq!(order.flush(out), 1, "dropped at the end");
        });
        assert_eq!(waits, [""; 0]);
        let acknowledges = pieces(|order, out| {
            order.note_acknowledged(1);
            order.segment(11, b"late", 4, Timestamp(0), out);
            order.acknowledged(15, false, Timestamp(5), out);
            // The new acknowledgement does not cover the segment. Either the earlier one was forged, or this one is
            // older.
            order.acknowledged(1, false, Timestamp(6), out);
            assert_eq!(order.deadline(), None);
            order.acknowledged(15, false, Timestamp(7), out);
            order.expire(Timestamp(20_000_007), out);
        });
        assert_eq!(acknowledges, ["<10>", "late"]);
    }

    #[test]
    fn data_of_a_syn_waits_for_its_acknowledgement() {
        let acknowledged = pieces(|order, out| {
            order.segment_of_syn(1, b"first", 5, Timestamp(0));
            order.acknowledged(1, false, Timestamp(1), out);
            out(Piece::Gap(0));
            order.acknowledged(6, true, Timestamp(2), out);
        });
        assert_eq!(acknowledged, ["<0>", "first"]);
        let followed = pieces(|order, out| {
            order.segment_of_syn(1, b"first", 5, Timestamp(0));
            order.segment(6, b"second", 6, Timestamp(1), out);
            order.acknowledged(12, false, Timestamp(2), out);
            assert_eq!(order.segment(1, b"first", 5, Timestamp(3), out), Arrival::Retransmitted);
        });
        assert_eq!(followed, ["first", "second"]);
        let of_another = pieces(|order, out| {
            order.segment_of_syn(1, b"forged", 6, Timestamp(0));
            order.begin(501);
            order.segment(501, b"good", 4, Timestamp(1), out);
            order.flush(out);
        });
        assert_eq!(of_another, ["good"]);
    }

    #[test]
    fn a_fin_before_delivered_bytes_was_none() {
        let mut order = Reassembler::default();
        order.begin(1);
        assert!(order.finish(3), "it may come early");
        order.segment(1, b"abc", 3, Timestamp(0), &mut |_| ());
        assert!(!order.finished() && !order.finish(3));
        assert!(!order.finish(4) && order.finished(), "the first one is replaced");
        assert!(order.finish(4) && order.finished(), "a retransmission");
    }
}

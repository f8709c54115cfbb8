//! Reassembles one direction of a TCP connection: takes segments in any order, and returns bytes in order and gaps of known length. This
//! module uses sequence numbers (RFC 9293 section 3.4) and times, and ignores the contents. `acceptance` decides which segments are passed
//! to it.
//!
//! An early segment is held until the missing bytes before it, the hole, arrive. A hole becomes a gap if it will not be filled:
//! - the receiver has acknowledged bytes after it, so the bytes were on the wire and the capture missed them;
//! - no more early segments can be held;
//! - the time limit has passed and the receiver is not captured. A captured receiver that does not acknowledge the hole still waits for the
//!   bytes, so this code waits too.

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
    /// The next bytes, and their capture time.
    Data(&'a [u8], Timestamp),
    /// This number of bytes was on the wire but not captured.
    Gap(u64),
    /// This number of bytes was on the wire, and capture did not copy them because no parser needs them.
    Skipped(u64),
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
    /// The sequence number of the last FIN, which follows the last byte.
    end: Option<u32>,
    /// Whether a FIN was forgotten because bytes after it were delivered.
    has_invalid_fin: bool,
    /// The early segments; `None` as long as no segment was early, which is so in most connections.
    held: Option<Box<Held>>,
}

/// The early segments of one direction.
#[derive(Debug, Default)]
struct Held {
    /// Ordered by sequence number, none of them before the next byte.
    early: VecDeque<Early>,
    /// Number of captured bytes of all early segments.
    bytes: usize,
    /// Since when the receiver has acknowledged bytes in or after the first early segment.
    covered: Option<Timestamp>,
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

    /// Takes a segment like [`Reassembler::segment`] if no early segments are held and the segment has the next byte.
    /// Returns the new captured bytes of the segment, and the number of new bytes after them that were not captured.
    #[inline]
    pub fn take_in_order<'d>(&mut self, seq: u32, data: &'d [u8], wire: u32) -> Option<(&'d [u8], u64)> {
        self.next.get_or_insert(seq);
        if self.has_early() { None } else { self.take(seq, data, wire) }
    }

    /// Takes a segment of `wire` bytes at `seq`, of which `data` were captured.
    pub fn segment(&mut self, seq: u32, data: &[u8], wire: u32, time: Timestamp, out: &mut dyn FnMut(Piece<'_>)) -> Arrival {
        let next = *self.next.get_or_insert(seq);
        if ahead(seq, next) > 0 {
            self.hold(Early { seq, data: data.into(), wire, time }, next);
            if self.held.as_ref().is_some_and(|held| held.bytes > MOST_EARLY_BYTES || held.early.len() > MOST_EARLY) {
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
    #[inline]
    pub fn has_early(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.early.is_empty())
    }

    fn first_early(&self) -> Option<&Early> {
        self.held.as_ref()?.early.front()
    }

    fn covered(&self) -> Option<Timestamp> {
        self.held.as_ref()?.covered
    }

    /// Has the effect of [`Reassembler::acknowledged`] in the case that there are no early segments.
    pub fn note_acknowledged(&mut self, ack: u32) {
        (self.acked, self.receiver_heard) = (Some(ack), true);
    }

    /// Takes the receiver's acknowledgement of all bytes before `ack`. If the acknowledging segment has data
    /// (`answers`), holes before `ack` become gaps at once, so that a response is not parsed before its request.
    pub fn acknowledged(&mut self, ack: u32, answers: bool, now: Timestamp, out: &mut dyn FnMut(Piece<'_>)) {
        self.note_acknowledged(ack);
        self.cover(now);
        // The data of a SYN is the next piece, without a hole before it.
        let next = self.first_early().is_some_and(|first| Some(first.seq) == self.next && ahead(ack, first.seq) > 0);
        while self.covered().is_some() && (answers || next) {
            self.skip_hole(out);
            self.cover(now);
        }
    }

    /// When [`Reassembler::expire`] has to be called.
    pub fn deadline(&self) -> Option<Timestamp> {
        let first = self.first_early()?;
        match self.covered() {
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
        while let Some(first) = self.first_early() {
            if self.receiver_heard && self.acked.is_none_or(|acked| ahead(acked, first.seq) <= 0) {
                break;
            }
            self.skip_hole(out);
        }
        let dropped = self.held.as_ref().map_or(0, |held| held.early.len());
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

    /// Advances to `seq`, which is ahead of the next byte, because capture does not copy the bytes before it.
    pub fn skip_to(&mut self, seq: u32, out: &mut dyn FnMut(Piece<'_>)) {
        let bytes = self.next.map_or(0, |next| seq.wrapping_sub(next));
        self.advance(seq);
        out(Piece::Skipped(u64::from(bytes)));
        self.drain(out);
    }

    /// Continues at `seq` without a gap. This is for a direction that no parser reads.
    pub fn follow(&mut self, seq: u32) {
        self.forget();
        (self.next, self.delivered, self.acked, self.end) = (Some(seq), true, None, None);
    }

    /// Bytes allocated for early segments.
    pub fn held(&self) -> usize {
        self.held
            .as_ref()
            .map_or(0, |held| size_of::<Held>() + held.bytes + held.early.capacity() * size_of::<Early>() + held.early.len() * ALLOCATION)
    }

    /// Drops the early segments.
    pub fn forget(&mut self) {
        self.held = None;
    }

    fn hold(&mut self, segment: Early, next: u32) {
        let held = self.held.get_or_insert_default();
        let at = held.early.partition_point(|e| ahead(e.seq, next) < ahead(segment.seq, next));
        if held.early.get(at).is_some_and(|e| e.seq == segment.seq && e.wire >= segment.wire) {
            return; // a retransmission of a held segment
        }
        let time = segment.time;
        held.bytes += segment.data.len();
        held.early.insert(at, segment);
        if at == 0 {
            held.covered = None;
            self.cover(time);
        }
    }

    /// Records whether the receiver's last acknowledgement, received at or before `now`, reaches the first early segment.
    fn cover(&mut self, now: Timestamp) {
        let Some(held) = &mut self.held else { return };
        let reaches = held.early.front().zip(self.acked).is_some_and(|(first, acked)| ahead(acked, first.seq) >= 0);
        held.covered = if reaches { held.covered.or(Some(now)) } else { None };
    }

    /// Delivers the new bytes of a segment that begins at or before the next byte. Returns whether there were any.
    fn deliver(&mut self, seq: u32, data: &[u8], wire: u32, time: Timestamp, out: &mut dyn FnMut(Piece<'_>)) -> bool {
        let Some((fresh, missing)) = self.take(seq, data, wire) else { return false };
        if !fresh.is_empty() {
            out(Piece::Data(fresh, time));
        }
        if missing > 0 {
            out(Piece::Gap(missing)); // the segment was cut to the snap length
        }
        true
    }

    /// Advances past a segment that begins at or before the next byte. Returns the new captured bytes of the segment,
    /// and the number of new bytes after them that were not captured; `None` if there are no new bytes or the segment
    /// begins after the next byte.
    #[inline]
    fn take<'d>(&mut self, seq: u32, data: &'d [u8], wire: u32) -> Option<(&'d [u8], u64)> {
        let old = self.next.unwrap_or(seq).wrapping_sub(seq);
        if old >= wire || old > i32::MAX.cast_unsigned() {
            return None;
        }
        self.advance(seq.wrapping_add(wire));
        let fresh = data.get(old as usize..).unwrap_or_default();
        let missing = u64::from(wire - old).saturating_sub(fresh.len() as u64);
        Some((fresh, missing))
    }

    /// Sets the next expected sequence number. A FIN that was recorded at a lower sequence number is invalid and forgotten.
    fn advance(&mut self, next: u32) {
        (self.next, self.delivered) = (Some(next), true);
        if self.end.is_some_and(|end| ahead(next, end) > 0) {
            (self.end, self.has_invalid_fin) = (None, true);
        }
    }

    fn drain(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        while let (Some(held), Some(next)) = (&mut self.held, self.next)
            && held.early.front().is_some_and(|first| ahead(first.seq, next) <= 0)
            && let Some(first) = held.early.pop_front()
        {
            held.bytes -= first.data.len();
            // The time limit of the next hole starts when the segment after it arrived.
            held.covered = None;
            let second = held.early.front().map(|second| second.time);
            self.deliver(first.seq, &first.data, first.wire, first.time, out);
            if let Some(second) = second {
                self.cover(second);
            }
        }
    }

    /// Turns the first hole into a gap, and delivers the segments after it.
    fn skip_hole(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        if let (Some(first), Some(next)) = (self.first_early().map(|first| first.seq), self.next) {
            let lost = first.wrapping_sub(next);
            self.advance(first);
            if lost > 0 {
                out(Piece::Gap(u64::from(lost)));
            }
            self.drain(out);
        }
    }
}

#[cfg(test)]
#[path = "reassembly_tests.rs"]
mod tests;

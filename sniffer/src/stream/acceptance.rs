//! Decides which segments of a connection are accepted, as far as a passive listener can tell: RFC 9293 section 3.10.7, and RFC 5961
//! against forged segments. This module uses the sequence numbers, acknowledgements and windows of both ends, and ignores the data.
//!
//! A wrong decision does not last: if both ends continue at other sequence numbers than expected, [`Judgement::Resync`] follows them.

use super::reassembly::{Reassembler, ahead};
use crate::decode::Tcp;

/// The smallest window in bytes that is assumed for an end: the largest window without scaling. It is also assumed for an end whose window
/// was not captured.
const LEAST_REACH: u32 = u16::MAX as u32;
/// The largest window scale (RFC 7323 section 2.3). It is assumed if the SYNs were not captured.
const LARGEST_SCALE: u8 = 14;
/// How far behind the next sequence number a retransmission may be if the receiver is not captured, in bytes. This is Linux's
/// largest receive buffer (net.ipv4.tcp_rmem) unless it was configured otherwise.
const LARGEST_BUFFER: u32 = 32 << 20;
/// Maximum number of SYNs with different sequence numbers that are remembered per end until one of them is acknowledged.
const MOST_CANDIDATES: usize = 4;

/// How a segment is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Accept the segment's acknowledgement, data and FIN.
    Take,
    /// Accept the segment without its acknowledgement. The direction continues at the segment's sequence number, even if
    /// another one was expected.
    Resync,
    /// Accept the segment as a SYN. The first data byte of the sender has the sequence number of
    /// the SYN plus 1.
    Synchronize,
    /// Accept the segment as a reset.
    Reset,
    /// Ignore the segment.
    Ignore(Reason),
}

/// Why a segment is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A reset at a sequence number other than the next one.
    Reset,
    /// A SYN on a connection that continues.
    Syn,
    /// A FIN that is not at the end of the data.
    Fin,
    /// The segment has no acknowledgement, and it is not part of the handshake.
    WithoutAck,
    /// An acknowledgement of bytes that were never sent, or that were acknowledged long ago.
    Acknowledgement,
    /// A sequence number outside the window.
    OutOfWindow,
}

/// A SYN on an open connection, which may begin the next connection between the same ends.
#[derive(Clone, Copy, Debug)]
pub struct Reopening {
    /// The half whose sender sent the SYN.
    pub half: usize,
    /// The sequence number of the SYN.
    pub syn: u32,
    /// The sequence number of the SYN-ACK that answered the SYN.
    pub answer: Option<u32>,
}

/// The ranges that the parser does not need, each by the sequence number after its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Skips {
    /// The range of the direction of the segment.
    pub own: Option<u32>,
    /// The range of the opposite direction.
    pub other: Option<u32>,
    /// Whether capture copies few segments of the ranges, so that the position of a direction in its range is only known from
    /// acknowledgements.
    pub shunts: bool,
}

/// The possible first sequence numbers of one end. One of them is the valid one.
#[derive(Clone, Copy, Debug, Default)]
struct Candidates {
    at: [u32; MOST_CANDIDATES],
    len: u8,
}

impl Candidates {
    fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn all(&self) -> &[u32] {
        self.at.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Adds a candidate; the oldest is removed if there are too many.
    fn push(&mut self, first: u32) {
        if self.all().contains(&first) {
            return;
        }
        if usize::from(self.len) == MOST_CANDIDATES {
            self.at.rotate_left(1);
            self.len -= 1;
        }
        if let Some(place) = self.at.get_mut(usize::from(self.len)) {
            *place = first;
            self.len += 1;
        }
    }

    /// The nearest candidate that is equal to `number`, or less than it by at most `reach`.
    fn nearest(&self, number: u32, reach: u32) -> Option<u32> {
        let distance = |first: &u32| number.wrapping_sub(*first);
        self.all().iter().copied().min_by_key(distance).filter(|first| distance(first) <= reach)
    }
}

/// Consecutive segments at sequence numbers that were not expected.
#[derive(Clone, Copy, Debug)]
struct Stray {
    first: u32,
    next: u32,
    /// Whether the other end acknowledged some of the recorded segments.
    acknowledged: bool,
}

/// The state of one end: its SYN, its window, and unexpected sequence numbers. Its data is in the
/// [`Reassembler`].
#[derive(Debug, Default)]
struct End {
    /// The possible first sequence numbers of this end. The list is empty once the valid one is known.
    candidates: Candidates,
    /// The sequence number of the SYN accepted last.
    syn: Option<u32>,
    /// The largest window scale option in SYNs of this end. The inner `None` means a SYN without the option.
    scale: Option<Option<u8>>,
    /// The largest window that this end advertised, in bytes; 0 before its first segment.
    window: u32,
    stray: Option<Stray>,
    /// An acknowledgement of bytes that the other end is not known to have sent.
    odd_ack: Option<u32>,
}

/// The known state of both ends of a connection. Halves are numbered as in the connection.
#[derive(Debug, Default)]
pub struct Acceptance {
    ends: [End; 2],
    reopening: Option<Reopening>,
}

impl Acceptance {
    /// The sequence number of the SYN of a half that was accepted last.
    pub fn syn(&self, half: usize) -> Option<u32> {
        self.ends.get(half)?.syn
    }

    /// Whether segments of a half were accepted.
    pub fn has_heard(&self, half: usize) -> bool {
        self.ends.get(half).is_some_and(|end| end.window > 0)
    }

    /// Returns the reopening that a segment confirms. The segment must have the sequence number and the acknowledgement that
    /// follow the SYN and the SYN-ACK of the reopening.
    pub fn confirms(&self, half: usize, segment: &Tcp<'_>) -> Option<Reopening> {
        let reopening = self.reopening?;
        let (first, answered) = (reopening.syn.wrapping_add(1), reopening.answer?.wrapping_add(1));
        let (own, other) = if half == reopening.half { (first, answered) } else { (answered, first) };
        let fits = segment.seq == own && segment.ack.wrapping_sub(other) <= LEAST_REACH;
        (fits && segment.flags.ack() && !segment.flags.syn() && !segment.flags.rst()).then_some(reopening)
    }

    /// Decides about a segment of `half`. `own` reassembles the direction of the segment, `other`
    /// the opposite direction.
    pub fn judge(&mut self, half: usize, segment: &Tcp<'_>, own: &mut Reassembler, other: &mut Reassembler, skips: Skips) -> Judgement {
        let [a, b] = &mut self.ends;
        let (me, peer) = if half == 0 { (a, b) } else { (b, a) };
        let flags = segment.flags;
        if flags.syn() {
            return if flags.rst() {
                Judgement::Ignore(Reason::Reset)
            } else if flags.ack() {
                syn_ack(half, segment, (me, own), (peer, other), &mut self.reopening)
            } else {
                syn(half, segment, (me, own), peer, &mut self.reopening)
            };
        }
        if flags.rst() {
            let counts = resets(segment, (me, own), (peer, other), skips);
            return if counts { Judgement::Reset } else { Judgement::Ignore(Reason::Reset) };
        }
        if !flags.ack() {
            return Judgement::Ignore(Reason::WithoutAck);
        }
        if let Some(stray) = &mut peer.stray {
            let length = stray.next.wrapping_sub(stray.first);
            stray.acknowledged |= (1..=length).contains(&segment.ack.wrapping_sub(stray.first));
        }
        if !me.is_in_window(segment, own, peer, skips.own) {
            let follows = segment.wire_payload > 0 && me.strays(segment, peer.window > 0);
            return if follows { Judgement::Resync } else { Judgement::Ignore(Reason::OutOfWindow) };
        }
        if !me.acknowledges(segment.ack, peer, other, skips.other.filter(|_| skips.shunts)) {
            return Judgement::Ignore(Reason::Acknowledgement);
        }
        if segment.wire_payload > 0 {
            me.stray = None;
        }
        me.advertise(segment.window, shift(me.scale, peer.scale));
        Judgement::Take
    }

    /// How far from its next sequence number the other end may send to a half, in bytes.
    pub fn reach(&self, half: usize) -> u32 {
        self.ends.get(half).map_or(LEAST_REACH, End::reach)
    }

    /// Initialises both ends with the sequence numbers of the SYN and the SYN-ACK in `reopening`.
    pub fn begin(&mut self, reopening: Reopening, orders: [&mut Reassembler; 2]) {
        let syns = if reopening.half == 0 { [Some(reopening.syn), reopening.answer] } else { [reopening.answer, Some(reopening.syn)] };
        for ((end, order), syn) in self.ends.iter_mut().zip(orders).zip(syns) {
            end.syn = syn;
            if let Some(syn) = syn {
                order.begin(syn.wrapping_add(1));
            }
        }
    }

    /// Clears the record of unexpected segments of `half`, because its direction now continues at
    /// their sequence numbers.
    pub fn resynced(&mut self, half: usize) {
        if let Some(end) = self.ends.get_mut(half) {
            (end.stray, end.candidates) = (None, Candidates::default());
        }
        self.reopening = None;
    }
}

impl End {
    /// Records an advertised window. The largest one is kept: it limits how far ahead the other end
    /// may send.
    fn advertise(&mut self, window: u16, shift: u8) {
        self.window = self.window.max(u32::from(window) << shift).max(1);
    }

    /// How far from the next sequence number a segment sent to this end may be, in bytes.
    fn reach(&self) -> u32 {
        match (self.window, self.syn) {
            // No segment of this end was captured, so its window may be as large as TCP allows.
            // During a handshake (`syn` is set) the minimum is used, because the other end does not
            // know the window yet either.
            (0, None) => LEAST_REACH << LARGEST_SCALE,
            (window, _) => window.max(LEAST_REACH),
        }
    }

    /// Whether a segment of this end is within the window of the other end, before or after the next sequence number.
    fn is_in_window(&mut self, segment: &Tcp<'_>, own: &mut Reassembler, peer: &Self, skipped_to: Option<u32>) -> bool {
        let reach = if self.syn.is_some() && peer.window == 0 { LEAST_REACH } else { peer.reach() };
        if !self.candidates.is_empty() {
            // A segment without data may be a keep-alive, one byte before the first byte.
            let keep_alive = self.candidates.all().contains(&segment.seq.wrapping_add(1)).then(|| segment.seq.wrapping_add(1));
            let Some(first) = keep_alive.or_else(|| self.candidates.nearest(segment.seq, reach)) else { return false };
            if segment.wire_payload > 0 {
                self.settle(first, own);
            }
            return true;
        }
        let Some(front) = own.front() else {
            // If only the other end's SYN was captured, this end's first sequence number is known once the other end
            // acknowledges it.
            return peer.syn.is_none();
        };
        let near = |to: u32| ahead(segment.seq, to).unsigned_abs() <= reach;
        let repeats = peer.window == 0 && own.has_delivered() && front.wrapping_sub(segment.seq) <= LARGEST_BUFFER;
        // Segments before `skipped_to` may be missing, because the parser does not need them.
        near(front)
            || repeats
            || skipped_to.is_some_and(|to| ahead(to, front) > 0 && (near(to) || (0..ahead(to, front)).contains(&ahead(segment.seq, front))))
    }

    /// Records that the first byte of this end has the sequence number `first`. This shows which SYN is the valid one.
    fn settle(&mut self, first: u32, own: &mut Reassembler) {
        own.begin(first);
        (self.candidates, self.syn) = (Candidates::default(), Some(first.wrapping_sub(1)));
    }

    /// Whether the acknowledgement of a segment of this end covers only bytes that the other end is known to have sent.
    /// Capture does not copy the bytes of the other end before `skipped_to`.
    fn acknowledges(&mut self, ack: u32, peer: &mut Self, other: &mut Reassembler, skipped_to: Option<u32>) -> bool {
        let reach = self.reach();
        let fits = if peer.candidates.is_empty() {
            match (other.next(), other.front()) {
                (Some(_), Some(front)) => {
                    let skipped = skipped_to.map_or(0, |to| ahead(to, front));
                    ahead(ack, front).unsigned_abs() <= reach || skipped > 0 && (0..=skipped).contains(&ahead(ack, front))
                }
                // The other direction is not captured.
                _ => true,
            }
        } else if let Some(first) = peer.candidates.nearest(ack, LEAST_REACH) {
            peer.settle(first, other);
            true
        } else {
            false
        };
        // If the capture lost many bytes of the other direction, the acknowledgements are far ahead
        // of its captured data. They are accepted from the second one on, because a single one may
        // be forged.
        let goes_on = self.odd_ack.is_some_and(|odd| ack.wrapping_sub(odd) <= reach);
        self.odd_ack = if fits || goes_on { None } else { Some(ack) };
        if !fits && goes_on && !peer.candidates.is_empty() {
            peer.settle(ack, other);
        }
        fits || goes_on
    }

    /// Records a segment with data outside the window. Returns whether the direction continues at
    /// its sequence number. It does if the segment follows one recorded before, and the other end
    /// acknowledged that one or is not captured.
    fn strays(&mut self, segment: &Tcp<'_>, other_is_heard: bool) -> bool {
        let next = segment.seq.wrapping_add(segment.wire_payload);
        match &mut self.stray {
            Some(stray) if stray.next == segment.seq => {
                if stray.acknowledged || !other_is_heard {
                    return true;
                }
                stray.next = next;
            }
            // The segment retransmits recorded data.
            Some(stray) if (1..=stray.next.wrapping_sub(stray.first)).contains(&next.wrapping_sub(stray.first)) => {}
            stray => *stray = Some(Stray { first: segment.seq, next, acknowledged: false }),
        }
        false
    }
}

/// The number of bits by which the advertised window is shifted. The option applies only if both
/// SYNs had it.
fn shift(mine: Option<Option<u8>>, others: Option<Option<u8>>) -> u8 {
    match (mine, others) {
        (Some(None), _) | (_, Some(None)) => 0,
        (Some(Some(scale)), _) => scale.min(LARGEST_SCALE),
        (None, _) => LARGEST_SCALE,
    }
}

/// Decides about a SYN without ACK: the first of its end, a retransmission, or one on an open connection.
fn syn(
    half: usize,
    segment: &Tcp<'_>,
    (me, own): (&mut End, &mut Reassembler),
    peer: &End,
    reopening: &mut Option<Reopening>,
) -> Judgement {
    let first = segment.seq.wrapping_add(1);
    let repeated = me.syn == Some(segment.seq) || me.candidates.all().contains(&first);
    if repeated {
        return Judgement::Synchronize;
    }
    let known = own.front() == Some(first);
    if own.has_delivered() || !(known || own.front().is_none() || (peer.window == 0 && !me.candidates.is_empty())) {
        *reopening = Some(Reopening { half, syn: segment.seq, answer: None });
        return Judgement::Ignore(Reason::Syn);
    }
    me.synchronize(segment, own, !known);
    Judgement::Synchronize
}

/// Decides about a SYN with ACK. If there are several SYN-ACKs, the one that the other end acknowledges is the valid
/// one.
fn syn_ack(
    half: usize,
    segment: &Tcp<'_>,
    (me, own): (&mut End, &mut Reassembler),
    (peer, other): (&mut End, &mut Reassembler),
    reopening: &mut Option<Reopening>,
) -> Judgement {
    if let Some(syn) = reopening
        && syn.half != half
        && segment.ack == syn.syn.wrapping_add(1)
    {
        syn.answer = Some(segment.seq);
        return Judgement::Ignore(Reason::Syn);
    }
    let fits = if let Some(first) = peer.candidates.nearest(segment.ack, LEAST_REACH) {
        peer.settle(first, other);
        true
    } else {
        peer.candidates.is_empty() && other.front().is_none_or(|front| ahead(segment.ack, front).unsigned_abs() <= LEAST_REACH)
    };
    if !fits {
        return Judgement::Ignore(Reason::Acknowledgement);
    }
    let first = segment.seq.wrapping_add(1);
    if me.syn == Some(segment.seq) || me.candidates.all().contains(&first) {
        return Judgement::Synchronize; // a retransmission
    }
    let known = own.front() == Some(first) && me.candidates.is_empty();
    if own.has_delivered() || (own.has_begun() && me.candidates.is_empty() && !known) {
        return Judgement::Ignore(Reason::Syn);
    }
    me.synchronize(segment, own, !known);
    Judgement::Synchronize
}

impl End {
    /// Accepts a SYN. If `open` is true, a later SYN of this end may turn out to be the valid one.
    fn synchronize(&mut self, segment: &Tcp<'_>, own: &mut Reassembler, open: bool) {
        let first = segment.seq.wrapping_add(1);
        self.syn = self.syn.or(Some(segment.seq));
        self.scale = self.scale.max(Some(segment.window_scale));
        if segment.flags.ack() {
            self.advertise(segment.window, 0);
        }
        if open {
            self.candidates.push(first);
        }
        own.begin(first);
    }
}

/// Whether a reset is at exactly the next sequence number of its direction. In a range that capture does not copy, the next
/// number is known to within a window. An end that has sent nothing yet resets a SYN with the sequence number 0 and an
/// acknowledgement of the SYN (RFC 9293 section 3.10.7.1).
fn resets(segment: &Tcp<'_>, (me, own): (&End, &Reassembler), (peer, other): (&End, &Reassembler), skips: Skips) -> bool {
    let seq = segment.seq;
    if let (Some(front), Some(to), true) = (own.front(), skips.own, skips.shunts)
        && ahead(to, front) > 0
        && seq.wrapping_sub(front) <= peer.reach()
    {
        return true;
    }
    if !me.candidates.is_empty() {
        return me.candidates.all().contains(&seq);
    }
    match (own.next(), own.front()) {
        (Some(next), Some(front)) => seq == next || seq == front || (own.finished() && seq == next.wrapping_add(1)),
        (_, Some(front)) => seq == front,
        _ => {
            let of_syn = peer.candidates.all().contains(&segment.ack) || other.front() == Some(segment.ack);
            seq == 0 && segment.flags.ack() && of_syn
        }
    }
}

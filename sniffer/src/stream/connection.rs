//! One TCP connection: reassembly and kept bytes of its two directions, and the parser that reads both. Not here: which connection a packet
//! belongs to, and when a connection has been idle for too long (`stream/table.rs`).

use super::{
    Env,
    acceptance::{Acceptance, Judgement, Reopening},
    pending::{Outcome, Pending},
    probe::Prober,
    reassembly::{Arrival, Piece, Reassembler},
};
use crate::{
    decode::Tcp,
    net::{Direction, Peers, Verdict},
    protocols::{Close, Context, Recovery, Skipped, StreamParser},
    publish::PublisherId,
    time::Timestamp,
};
use std::time::Duration;

/// Hand-overs of one connection from protocol to protocol; a connection that asks for more is left alone.
const MOST_HAND_OVERS: u8 = 4;
/// Two keep-alives of one end are at least this far apart. A first byte that is followed sooner is data.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Bytes that a parser declares unwanted before a [`Verdict::Skip`] is worth its cost, a write to a map of the kernel. A verdict arrives there after some
/// 10 ms (the wait of a poll), in which a connection of 1 Gbit/s has sent so much.
const SHORTEST_SKIP: u64 = 1 << 20;
/// Sequence numbers are compared within half their range. When more is unwanted, another verdict follows at the end of this one.
const LONGEST_SKIP: u64 = (1 << 31) - 1;

/// What one end sends.
#[derive(Default)]
struct Half {
    order: Reassembler,
    pending: Pending,
    closed: bool,
    /// Closed by a FIN.
    by_fin: bool,
    /// The last [`Verdict::Skip`] of this half: its first sequence number and the one behind it.
    skip: Option<(u32, u32)>,
    /// A first segment of one byte, until it is known whether it is data.
    alone: Option<Alone>,
}

/// See [`Half::alone`].
struct Alone {
    seq: u32,
    /// `None` if it was not captured.
    byte: Option<u8>,
    time: Timestamp,
}

/// Who reads the bytes of a connection.
enum Reader {
    /// Nobody yet: a parser is made with the first data, so that a port scan costs none.
    None,
    Parser(Box<dyn StreamParser>),
    /// Nobody any more: the parser is done or gave up, or no protocol takes the connection.
    LeftAlone,
}

/// What of a connection became unwanted since it was last asked.
#[derive(Clone, Copy, Default)]
struct News {
    /// All of it.
    shunt: bool,
    /// A range of the half.
    skip: [bool; 2],
}

/// A connection and all that is known of it.
pub struct Connection {
    /// From 1 upward in order of first packets: part of the flow id.
    pub number: u64,
    peers: Peers,
    /// Whether the client is the sender of half 1. Changes when the parser flips the connection.
    flipped: bool,
    halves: [Half; 2],
    reader: Reader,
    /// Which configured protocol the parser is of.
    protocol: PublisherId,
    hand_overs: u8,
    /// When the parser wants to be woken.
    pub(super) wake: Option<Timestamp>,
    /// What [`Connection::take_verdicts`] has not handed over yet.
    news: News,
    /// Decides which segments count.
    acceptance: Acceptance,
}

impl Connection {
    /// A connection between `peers`, whose client is half 0, or half 1 when `flipped`.
    pub(super) fn new(number: u64, peers: Peers, flipped: bool) -> Self {
        Self {
            number,
            peers,
            flipped,
            halves: Default::default(),
            reader: Reader::None,
            protocol: PublisherId::default(),
            hand_overs: 0,
            wake: None,
            news: News::default(),
            acceptance: Acceptance::default(),
        }
    }

    /// Whether a segment opens another connection between the same ends: a SYN, if this connection is over or was `idle` or has nothing of the
    /// other end; else the segment that follows a SYN and its answer, which are returned then.
    pub(super) fn is_another(&self, half: usize, segment: &Tcp<'_>, idle: bool) -> Option<Option<Reopening>> {
        if !segment.flags.syn() {
            return self.acceptance.confirms(half, segment).map(Some);
        }
        let differs = self.acceptance.syn(half).map_or(self.halves[half].order.has_begun(), |syn| syn != segment.seq);
        let one_sided = self.halves[half].order.has_delivered() && !self.acceptance.has_heard(1 - half);
        (!segment.flags.ack() && differs && (self.is_over() || idle || one_sided)).then_some(None)
    }

    /// The SYN and its answer were seen while the last connection between the same ends was still open.
    pub(super) fn begin(&mut self, with: Reopening) {
        let [a, b] = &mut self.halves;
        self.acceptance.begin(with, [&mut a.order, &mut b.order]);
    }

    /// Whether nothing more is expected: both sides said so, or one broke it off.
    pub(super) fn is_over(&self) -> bool {
        self.halves.iter().all(|half| half.closed)
    }

    /// Takes a segment sent by the sender of `half`.
    pub(super) fn segment(&mut self, half: usize, segment: &Tcp<'_>, env: &mut Env<'_>) {
        let [a, b] = &mut self.halves;
        let (own, other) = if half == 0 { (a, b) } else { (b, a) };
        let skipped_to = own.skip.map(|(_, until)| until);
        let judgement = self.acceptance.judge(half, segment, &mut own.order, &mut other.order, skipped_to);
        let first = segment.seq.wrapping_add(u32::from(segment.flags.syn()));
        match judgement {
            Judgement::Take => {}
            Judgement::Synchronize => own.order.segment_of_syn(first, segment.payload, segment.wire_payload, env.now),
            Judgement::Resync => self.resync(half, first, env),
            Judgement::Reset => {
                env.totals.resets += 1;
                return self.end(Close::Reset, env);
            }
            Judgement::Ignore(reason) => return *env.totals.ignored(reason) += 1,
        }
        if segment.flags.ack() && judgement != Judgement::Resync {
            self.acknowledge(1 - half, segment, env);
        }
        if judgement == Judgement::Synchronize {
            return;
        }
        if segment.wire_payload > 0 && !self.halves[half].closed && self.is_data(half, segment, env) {
            let mut arrival = Arrival::InOrder;
            self.ordered(half, env, |order, out, now| arrival = order.segment(first, segment.payload, segment.wire_payload, now, out));
            match arrival {
                Arrival::InOrder => {}
                Arrival::Early => env.totals.early += 1,
                Arrival::Retransmitted => env.totals.retransmitted += 1,
            }
        }
        if segment.flags.fin() && !self.halves[half].order.finish(first.wrapping_add(segment.wire_payload)) {
            env.totals.ignored_fins += 1;
        }
        if self.halves[half].order.finished() {
            self.close(half, Close::Fin, env);
        }
    }

    /// The receiver of `half` acknowledged what its segment says.
    fn acknowledge(&mut self, half: usize, segment: &Tcp<'_>, env: &mut Env<'_>) {
        let order = &mut self.halves[half].order;
        if order.has_early() {
            self.ordered(half, env, |order, out, now| order.acknowledged(segment.ack, segment.wire_payload > 0, now, out));
        } else {
            order.note_acknowledged(segment.ack);
        }
    }

    /// Both ends go on elsewhere than expected: so does this.
    fn resync(&mut self, half: usize, seq: u32, env: &mut Env<'_>) {
        env.totals.resynced += 1;
        self.acceptance.resynced(half);
        self.ordered(half, env, |order, out, _| order.jump(seq, out));
    }

    /// Whether a segment has data, and not the byte of a keep-alive (RFC 9293 section 3.8.4), which only matters where the capture joins a
    /// connection: there one byte at the beginning is data if more follows at once and nobody acknowledged it before.
    fn is_data(&mut self, half: usize, segment: &Tcp<'_>, env: &mut Env<'_>) -> bool {
        let Half { order, alone, .. } = &mut self.halves[half];
        if order.has_begun() {
            return true;
        }
        let is_alone = segment.wire_payload == 1 && !segment.flags.psh() && !segment.flags.fin();
        let Some(before) = alone.take() else {
            if is_alone {
                *alone = Some(Alone { seq: segment.seq, byte: segment.payload.first().copied(), time: env.now });
            }
            return !is_alone;
        };
        let acknowledged = order.acked().is_some_and(|acked| acked.wrapping_sub(before.seq).cast_signed() > 0);
        if segment.seq == before.seq.wrapping_add(1) && !acknowledged && env.now.since(before.time) < KEEP_ALIVE.as_nanos() as u64 {
            let byte = before.byte;
            self.ordered(half, env, |order, out, _| {
                order.segment(before.seq, byte.as_slice(), 1, before.time, out);
            });
            return true;
        }
        env.totals.keep_alives += 1;
        if is_alone {
            *alone = Some(Alone { seq: segment.seq, byte: segment.payload.first().copied(), time: env.now });
        }
        !is_alone
    }

    /// When [`Connection::expire`] or the parser has something to do.
    pub(super) fn due(&self) -> Option<Timestamp> {
        [self.halves[0].order.deadline(), self.halves[1].order.deadline(), self.wake].into_iter().flatten().min()
    }

    /// Declares holes gaps whose time is over at `env.now`, and wakes the parser if it asked for that.
    pub(super) fn expire(&mut self, env: &mut Env<'_>) {
        for half in 0..2 {
            // Asks for the deadline, not for held bytes: an early segment of which no byte was captured has a deadline too.
            if self.halves[half].order.deadline().is_some() {
                self.ordered(half, env, |order, out, now| order.expire(now, out));
                if self.halves[half].order.finished() {
                    self.close(half, Close::Fin, env);
                }
            }
        }
        if self.wake.is_some_and(|due| due <= env.now) {
            self.wake = None;
            if !env.strict {
                self.with_parser(0, Skipped::default(), env, |parser, _, cx| parser.on_timer(cx));
            }
        }
    }

    /// Ends both directions in another way than by FINs. Early segments are delivered first.
    pub(super) fn end(&mut self, why: Close, env: &mut Env<'_>) {
        for half in 0..2 {
            let mut dropped = 0;
            self.ordered(half, env, |order, out, _| dropped = order.flush(out));
            env.totals.early_dropped += dropped as u64;
            if self.halves[half].order.finished() {
                self.close(half, Close::Fin, env);
            }
        }
        for half in 0..2 {
            self.close(half, why, env);
        }
    }

    /// Whether the parser holds what one that joins later could not find out; see [`StreamParser::remembers`].
    pub(super) fn remembers(&self) -> bool {
        matches!(&self.reader, Reader::Parser(parser) if parser.remembers())
    }

    /// Hands over what capture need not copy any more, as far as it was not handed over before.
    #[inline]
    pub(super) fn take_verdicts(&mut self, each: &mut dyn FnMut(Verdict)) {
        if !self.news.shunt && self.news.skip == [false; 2] {
            return;
        }
        let news = std::mem::take(&mut self.news);
        if news.shunt {
            return each(Verdict::Shunt);
        }
        for (sender, half) in self.halves.iter().enumerate().filter(|(half, _)| news.skip.get(*half) == Some(&true)) {
            if let Some((from, until)) = half.skip {
                each(Verdict::Skip { sender, from, until });
            }
        }
    }

    /// Bytes allocated for this connection: early segments, bytes kept for the parser with their times, and the parser with its own.
    pub(super) fn held(&self) -> usize {
        let parser = if let Reader::Parser(parser) = &self.reader { size_of_val(&**parser) + parser.held() } else { 0 };
        self.halves.iter().map(|half| half.order.held() + half.pending.held()).sum::<usize>() + parser
    }

    fn close(&mut self, half: usize, why: Close, env: &mut Env<'_>) {
        if std::mem::replace(&mut self.halves[half].closed, true) {
            return;
        }
        self.halves[half].by_fin = why == Close::Fin;
        // With `strict`, only a FIN makes the parser report, as in Packetbeat. A parser that outlives the FIN of one side is still called when the
        // other side ends.
        let half_closed = self.halves[1 - half].by_fin && matches!(&self.reader, Reader::Parser(parser) if parser.outlives_fin());
        if why == Close::Fin || half_closed || !env.strict {
            let skipped = self.halves[half].pending.skipped();
            self.with_parser(half, skipped, env, |parser, dir, cx| parser.on_close(dir, why, cx));
        }
        self.halves[half].pending.forget();
        self.halves[half].order.forget();
        if self.is_over() {
            self.reader = Reader::LeftAlone;
            self.wake = None;
        }
    }

    /// Runs `f` on the reassembly of a half; the pieces that come out go to the parser.
    fn ordered(&mut self, half: usize, env: &mut Env<'_>, f: impl FnOnce(&mut Reassembler, &mut dyn FnMut(Piece<'_>), Timestamp)) {
        // Taken out of the connection, which its pieces borrow.
        let mut order = std::mem::take(&mut self.halves[half].order);
        let now = env.now;
        f(&mut order, &mut |piece| self.piece(half, piece, env), now);
        if matches!(self.reader, Reader::LeftAlone) {
            order.forget();
        }
        self.halves[half].order = order;
        if self.halves[half].pending.to_skip() >= SHORTEST_SKIP {
            self.note_skip(half);
        }
    }

    /// Makes a verdict of the bytes of a half that the parser declared unwanted, unless the last one still covers the next byte.
    fn note_skip(&mut self, half: usize) {
        let Half { order, pending, skip, .. } = &mut self.halves[half];
        let (Some(next), Reader::Parser(_)) = (order.next(), &self.reader) else { return };
        if skip.is_some_and(|(_, until)| until.wrapping_sub(next).cast_signed() > 0) {
            return;
        }
        let length = pending.to_skip().min(LONGEST_SKIP) as u32; // less than 2^31
        *skip = Some((next, next.wrapping_add(length)));
        self.news.skip[half] = true;
    }

    fn piece(&mut self, half: usize, piece: Piece<'_>, env: &mut Env<'_>) {
        match (piece, &self.reader) {
            (Piece::Gap(lost), _) => self.gap(half, lost, env),
            (_, Reader::LeftAlone) => {}
            (Piece::Data(data, time), _) => {
                if matches!(self.reader, Reader::None) {
                    self.open(env);
                }
                let outcome = self.read(half, env, |pending, call| pending.push(data, time, call));
                self.follow(outcome, env);
            }
        }
    }

    fn gap(&mut self, half: usize, lost: u64, env: &mut Env<'_>) {
        env.totals.gaps += 1;
        env.totals.gap_bytes += lost;
        let (wanted, skipped) = self.halves[half].pending.gap(lost);
        if wanted == 0 {
            return;
        }
        let recovery = self.with_parser(half, skipped, env, |parser, dir, cx| parser.on_gap(dir, wanted, cx));
        if recovery == Some(Recovery::GiveUp) {
            env.totals.dropped_because_of_gaps += 1;
            self.leave_alone();
        }
    }

    /// Makes the parser: of the only protocol that claims the port, or the prober that finds out which of several it is.
    fn open(&mut self, env: &Env<'_>) {
        self.reader = match env.ports.candidates(self.peers.client.port(), self.peers.server.port()) {
            [] => Reader::LeftAlone,
            [one] => {
                self.protocol = *one;
                env.plugins.connect(*one).map_or(Reader::LeftAlone, Reader::Parser)
            }
            several => Reader::Parser(Box::new(Prober::new(several.iter().filter_map(|&id| env.plugins.protocol(id))))),
        };
        self.news.shunt |= matches!(self.reader, Reader::LeftAlone);
    }

    fn follow(&mut self, outcome: Outcome, env: &mut Env<'_>) {
        match outcome {
            Outcome::Continue => {}
            Outcome::Done => {
                env.totals.done_with += 1;
                self.leave_alone();
            }
            Outcome::GaveUp => {
                env.totals.given_up += 1;
                self.leave_alone();
            }
            Outcome::HandOver(to) => self.hand_over(to, env),
        }
    }

    fn hand_over(&mut self, to: &str, env: &mut Env<'_>) {
        let candidates = env.ports.candidates(self.peers.client.port(), self.peers.server.port());
        let among = candidates.iter().copied().find(|&id| env.plugins.protocol(id).is_some_and(|protocol| protocol.name == to));
        let next = among.or_else(|| env.plugins.named(to));
        self.hand_overs += 1;
        let parser = next.and_then(|id| env.plugins.connect(id));
        let (Some(protocol), Some(parser), true) = (next, parser, self.hand_overs <= MOST_HAND_OVERS) else {
            env.totals.done_with += 1;
            return self.leave_alone();
        };
        (self.protocol, self.reader, self.wake) = (protocol, Reader::Parser(parser), None);
        for half in 0..2 {
            let outcome = self.read(half, env, |pending, call| pending.offer(call));
            self.follow(outcome, env);
        }
    }

    fn leave_alone(&mut self) {
        self.reader = Reader::LeftAlone;
        self.news.shunt = true;
        self.wake = None;
        for half in &mut self.halves {
            half.pending.forget();
            half.order.forget();
        }
    }

    /// The direction in which the sender of `half` sends, as far as is known who the client is.
    fn direction(&self, half: usize) -> Direction {
        if (half == 1) == self.flipped { Direction::ToServer } else { Direction::ToClient }
    }

    /// Runs `f` with the kept bytes of a half and a closure that calls the parser.
    fn read(&mut self, half: usize, env: &mut Env<'_>, f: impl FnOnce(&mut Pending, &mut super::pending::Call<'_>) -> Outcome) -> Outcome {
        let dir = self.direction(half);
        let Reader::Parser(parser) = &mut self.reader else { return Outcome::Continue };
        let (peers, wake, flipped) = (&mut self.peers, &mut self.wake, &mut self.flipped);
        f(&mut self.halves[half].pending, &mut |data, skipped, times| {
            let client = peers.client;
            let mut cx =
                Context::new(env.now, peers, env.sink, self.protocol, env.strict).with_skipped(skipped).with_times(times).with_wake(*wake);
            let progress = parser.on_data(dir, data, &mut cx);
            *wake = cx.wake();
            *flipped ^= peers.client != client;
            progress
        })
    }

    /// Runs `f` with the parser, if there is one, for a call that brings no data.
    fn with_parser<T>(
        &mut self,
        half: usize,
        skipped: Skipped,
        env: &mut Env<'_>,
        f: impl FnOnce(&mut dyn StreamParser, Direction, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let dir = self.direction(half);
        let Reader::Parser(parser) = &mut self.reader else { return None };
        let client = self.peers.client;
        let mut cx = Context::new(env.now, &mut self.peers, env.sink, self.protocol, env.strict).with_skipped(skipped).with_wake(self.wake);
        let result = f(parser.as_mut(), dir, &mut cx);
        self.wake = cx.wake();
        self.flipped ^= self.peers.client != client;
        Some(result)
    }
}

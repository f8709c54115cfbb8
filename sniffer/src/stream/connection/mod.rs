//! One TCP connection: for each direction reassembly and the bytes not consumed yet, and the parser of both directions.
//! `shunts` makes the verdicts for capture. `stream/table` finds the connection of a packet and ends idle ones.

mod shunts;

use super::{
    Env,
    acceptance::{Acceptance, Judgement, Reason, Reopening, Skips},
    alone::Alone,
    pending::{Outcome, Pending},
    probe::Prober,
    reassembly::{Arrival, Piece, Reassembler},
};
use crate::{
    decode::Tcp,
    net::{Direction, Peers},
    protocols::{Close, Context, Recovery, Skipped, StreamParser},
    publish::PublisherId,
    time::Timestamp,
};
use shunts::Told;
use std::time::Duration;

/// Maximum number of hand-overs of one connection from protocol to protocol. A connection with more is not analysed further.
const MOST_HAND_OVERS: u8 = 4;

/// The state of one direction.
#[derive(Default)]
struct Half {
    order: Reassembler,
    pending: Pending,
    /// Whether the parser knows if its first data of this direction is the beginning of the direction.
    told: bool,
    closed: bool,
    /// Whether this direction was closed by a FIN.
    by_fin: bool,
    /// The last range of sequence numbers of which the parser needs no bytes: its first number, and the one after its end.
    skip: Option<(u32, u32)>,
    /// The first segment if it has a single byte, until it is known whether the byte is data or a keep-alive.
    alone: Option<Box<Alone>>,
}

/// The reader of a connection's bytes.
enum Reader {
    /// The connection has no parser yet. The parser is made with the first data, so that a port scan makes no parsers.
    None,
    Parser(Box<dyn StreamParser>),
    /// The connection has no parser any more. Either the parser is done or gave up, or no protocol recognises the
    /// connection.
    LeftAlone,
}

/// A connection and its state.
pub struct Connection {
    /// The number of the connection, from 1 on in the order of first packets. Part of the flow id.
    pub number: u64,
    peers: Peers,
    /// Whether the client is the sender of half 1. The value changes if the parser swaps the roles.
    flipped: bool,
    halves: [Half; 2],
    reader: Reader,
    /// The configured protocol of the parser.
    protocol: PublisherId,
    hand_overs: u8,
    /// Whether the parser is a [`Prober`].
    probing: bool,
    /// When the parser's timer is due.
    pub(super) wake: Option<Timestamp>,
    /// The verdicts that capture got about the connection, and those that are still to be made.
    told: Told,
    /// Decides which segments are accepted.
    acceptance: Acceptance,
}

impl Connection {
    /// Makes a connection between `peers`. The client is half 0, or half 1 if `flipped`.
    pub(super) fn new(number: u64, peers: Peers, flipped: bool) -> Self {
        Self {
            number,
            peers,
            flipped,
            halves: Default::default(),
            reader: Reader::None,
            protocol: PublisherId::default(),
            hand_overs: 0,
            probing: false,
            wake: None,
            told: Told::default(),
            acceptance: Acceptance::default(),
        }
    }

    /// Whether a segment opens another connection between the same ends. A SYN does if this connection has ended, was
    /// `idle`, or has no segment of the other end. Otherwise the segment that completes a new handshake does; then the SYN
    /// and SYN-ACK of that handshake are returned.
    pub(super) fn is_another(&self, half: usize, segment: &Tcp<'_>, idle: bool) -> Option<Option<Reopening>> {
        if !segment.flags.syn() {
            return self.acceptance.confirms(half, segment).map(Some);
        }
        let differs = self.acceptance.syn(half).map_or(self.halves[half].order.has_begun(), |syn| syn != segment.seq);
        let one_sided = self.halves[half].order.has_delivered() && !self.acceptance.has_heard(1 - half);
        (!segment.flags.ack() && differs && (self.is_over() || idle || one_sided)).then_some(None)
    }

    /// Starts a connection whose SYN and SYN-ACK were captured while the previous connection between the same ends was
    /// still open.
    pub(super) fn begin(&mut self, with: Reopening) {
        let [a, b] = &mut self.halves;
        self.acceptance.begin(with, [&mut a.order, &mut b.order]);
    }

    /// Whether the connection has ended: both directions were closed, or it was reset.
    pub(super) fn is_over(&self) -> bool {
        self.halves.iter().all(|half| half.closed)
    }

    /// Handles a segment from the sender of `half`. Returns false if the segment changed at most the known sequence
    /// numbers. The bytes held, the timers and the verdicts are then as before.
    pub(super) fn segment(&mut self, half: usize, segment: &Tcp<'_>, env: &mut Env<'_>) -> bool {
        if self.is_shunted() && !segment.flags.syn() {
            return self.shunted_segment(half, segment, env);
        }
        let [a, b] = &mut self.halves;
        let (own, other) = if half == 0 { (a, b) } else { (b, a) };
        let skips =
            Skips { own: own.skip.map(|(_, until)| until), other: other.skip.map(|(_, until)| until), shunts: env.shunted.is_some() };
        let judgement = self.acceptance.judge(half, segment, &mut own.order, &mut other.order, skips);
        let first = segment.seq.wrapping_add(u32::from(segment.flags.syn()));
        match judgement {
            Judgement::Take => {}
            Judgement::Synchronize => own.order.segment_of_syn(first, segment.payload, segment.wire_payload, env.now),
            Judgement::Resync => self.resync(half, first, env),
            Judgement::Reset => {
                env.totals.resets += 1;
                self.skip_to(half, segment.seq, env);
                self.end(Close::Reset, env);
                return true;
            }
            Judgement::Ignore(reason) => {
                self.ignore(half, reason, env);
                return false;
            }
        }
        let mut changed = judgement != Judgement::Take || segment.flags.fin();
        if segment.flags.ack() && judgement != Judgement::Resync {
            changed |= self.acknowledge(1 - half, segment, env);
        }
        if judgement == Judgement::Synchronize {
            return true;
        }
        if segment.wire_payload > 0 || segment.flags.fin() {
            self.skip_to(half, first, env);
        }
        if segment.wire_payload > 0 && !self.halves[half].closed && self.is_data(half, segment, env) {
            changed = true;
            self.data(half, first, segment, env);
        }
        if segment.flags.fin() && !self.halves[half].order.finish(first.wrapping_add(segment.wire_payload)) {
            self.ignore(half, Reason::Fin, env);
        }
        if self.halves[half].order.finished() {
            self.close(half, Close::Fin, env);
        }
        changed
    }

    /// Counts a segment that is ignored, and warns of the first one. Segments after the end of the connection are ordinary.
    #[cold]
    fn ignore(&self, half: usize, reason: Reason, env: &mut Env<'_>) {
        *env.totals.ignored(reason) += 1;
        if !self.is_over() {
            let Peers { client, server, .. } = self.peers;
            let (from, to) = if self.direction(half) == Direction::ToServer { (client, server) } else { (server, client) };
            env.warned.warn_once(reason, from, to);
        }
    }

    /// Handles the data of a segment, whose first byte has the sequence number `first`.
    fn data(&mut self, half: usize, first: u32, segment: &Tcp<'_>, env: &mut Env<'_>) {
        // The common case is handled without the work that held segments cause.
        if let Some((fresh, missing)) = self.halves[half].order.take_in_order(first, segment.payload, segment.wire_payload) {
            if !fresh.is_empty() {
                self.piece(half, Piece::Data(fresh, env.now), env);
            }
            if missing > 0 {
                self.piece(half, Piece::Gap(missing), env);
            }
            return self.note_skip(half, env);
        }
        let mut arrival = Arrival::InOrder;
        self.ordered(half, env, |order, out, now| arrival = order.segment(first, segment.payload, segment.wire_payload, now, out));
        match arrival {
            Arrival::InOrder => {}
            Arrival::Early => env.totals.early += 1,
            Arrival::Retransmitted => env.totals.retransmitted += 1,
        }
    }

    /// Handles the acknowledgement in a segment of the receiver of `half`. Returns whether held segments may have been
    /// delivered.
    fn acknowledge(&mut self, half: usize, segment: &Tcp<'_>, env: &mut Env<'_>) -> bool {
        let order = &mut self.halves[half].order;
        let has_early = order.has_early();
        if has_early {
            self.ordered(half, env, |order, out, now| order.acknowledged(segment.ack, segment.wire_payload > 0, now, out));
        } else {
            order.note_acknowledged(segment.ack);
        }
        has_early
    }

    /// Continues `half` at `seq`, because both ends use numbers from `seq` on.
    fn resync(&mut self, half: usize, seq: u32, env: &mut Env<'_>) {
        env.totals.resynced += 1;
        self.acceptance.resynced(half);
        self.ordered(half, env, |order, out, _| order.jump(seq, out));
    }

    /// Whether a segment has data other than the byte of a keep-alive. Only at the start of the capture the answer is uncertain.
    fn is_data(&mut self, half: usize, segment: &Tcp<'_>, env: &mut Env<'_>) -> bool {
        let Half { order, alone, .. } = &mut self.halves[half];
        if order.has_begun() {
            return true;
        }
        let before = std::mem::replace(alone, Alone::of(segment, env.now));
        let is_alone = alone.is_some();
        let Some(before) = before else { return !is_alone };
        if before.is_data(segment, order.acked(), env.now) {
            *alone = None;
            self.ordered(half, env, |order, out, _| {
                order.segment(before.seq, before.byte.as_slice(), 1, before.time, out);
            });
            return true;
        }
        env.totals.keep_alives += 1;
        !is_alone
    }

    /// When [`Connection::expire`] has to be called, for the connection or its parser.
    pub(super) fn due(&self) -> Option<Timestamp> {
        [self.halves[0].order.deadline(), self.halves[1].order.deadline(), self.wake].into_iter().flatten().min()
    }

    /// Turns holes whose time limit has passed at `env.now` into gaps, and calls the parser's timer if it is due.
    pub(super) fn expire(&mut self, env: &mut Env<'_>) {
        for half in 0..2 {
            // The condition tests the deadline and not the held bytes, because an early segment of which no byte was captured has a
            // deadline, too.
            if self.halves[half].order.deadline().is_some() {
                self.ordered(half, env, |order, out, now| order.expire(now, out));
                if self.halves[half].order.finished() {
                    self.close(half, Close::Fin, env);
                }
            }
        }
        if self.wake.is_some_and(|due| due <= env.now) {
            self.wake = None;
            if env.timers {
                self.with_parser(0, Skipped::default(), env, |parser, _, cx| parser.on_timer(cx));
            }
        }
    }

    /// Calls the parser's timer if its requests wait at most `most`, as if that time had passed without a packet.
    pub(super) fn time_out(&mut self, most: Duration, env: &mut Env<'_>) {
        if self.wake.take().is_some() && env.plugins.time_out_on_connections(self.protocol).is_some_and(|time_out| time_out <= most) {
            let later = env.now.after(most);
            let now = std::mem::replace(&mut env.now, later);
            self.with_parser(0, Skipped::default(), env, |parser, _, cx| parser.on_timer(cx));
            env.now = now;
        }
    }

    /// Closes both directions for a reason other than FINs. Early segments are delivered first.
    pub(super) fn end(&mut self, why: Close, env: &mut Env<'_>) {
        for half in 0..2 {
            if let Some(acked) = self.halves[half].order.acked() {
                self.skip_to(half, acked, env);
            }
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

    /// Whether the parser has state that a parser started later could not recover; see [`StreamParser::remembers`].
    pub(super) fn remembers(&self) -> bool {
        matches!(&self.reader, Reader::Parser(parser) if parser.remembers())
    }

    /// Bytes allocated for this connection: early segments, bytes kept for the parser and their times, and the parser.
    pub(super) fn held(&self) -> usize {
        let parser = if let Reader::Parser(parser) = &self.reader { size_of_val(&**parser) + parser.held() } else { 0 };
        self.halves.iter().map(|half| half.order.held() + half.pending.held()).sum::<usize>() + parser
    }

    fn close(&mut self, half: usize, why: Close, env: &mut Env<'_>) {
        if std::mem::replace(&mut self.halves[half].closed, true) {
            return;
        }
        self.halves[half].by_fin = why == Close::Fin;
        // With `strict` only a FIN makes the parser report, as in Packetbeat. A parser that outlives the FIN of one
        // side is also called when the other side ends.
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
            self.told.lift_later();
        }
    }

    /// Runs `f` on the reassembly of a half, and passes the resulting pieces to the parser.
    fn ordered(&mut self, half: usize, env: &mut Env<'_>, f: impl FnOnce(&mut Reassembler, &mut dyn FnMut(Piece<'_>), Timestamp)) {
        // The reassembly is taken out of the connection while its pieces are delivered, because delivering borrows the connection.
        let mut order = std::mem::take(&mut self.halves[half].order);
        let now = env.now;
        f(&mut order, &mut |piece| self.piece(half, piece, env), now);
        if matches!(self.reader, Reader::LeftAlone) {
            order.forget();
        }
        self.halves[half].order = order;
        self.note_skip(half, env);
    }

    fn piece(&mut self, half: usize, piece: Piece<'_>, env: &mut Env<'_>) {
        match (piece, &self.reader) {
            (Piece::Gap(lost), _) => self.gap(half, lost, env),
            (Piece::Skipped(bytes), _) => self.halves[half].pending.pass(bytes),
            (_, Reader::LeftAlone) => {}
            (Piece::Data(data, time), _) => {
                if matches!(self.reader, Reader::None) {
                    self.open(env);
                }
                if !self.halves[half].told && !self.probing {
                    self.tell(half, env);
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

    /// Makes the parser of the protocol that claims the port, or a prober if several protocols
    /// claim it.
    fn open(&mut self, env: &Env<'_>) {
        self.reader = match env.ports.candidates(self.peers.client.port(), self.peers.server.port()) {
            [] => Reader::LeftAlone,
            [one] => {
                self.protocol = *one;
                env.plugins.connect(*one).map_or(Reader::LeftAlone, Reader::Parser)
            }
            several => {
                self.probing = true;
                Reader::Parser(Box::new(Prober::new(several.iter().filter_map(|&id| env.plugins.protocol(id)))))
            }
        };
        if matches!(self.reader, Reader::LeftAlone) {
            self.told.shunt_later();
        }
    }

    /// Tells the parser if the beginning of a direction was not captured.
    #[cold]
    fn tell(&mut self, half: usize, env: &mut Env<'_>) {
        self.halves[half].told = true;
        if self.acceptance.syn(half).is_none() {
            self.with_parser(half, Skipped::default(), env, |parser, dir, _| parser.on_join(dir));
        }
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
        let probed = std::mem::take(&mut self.probing);
        for half in 0..2 {
            // A protocol that takes over from another one begins where that one ended.
            if probed {
                self.tell(half, env);
            }
            let outcome = self.read(half, env, |pending, call| pending.offer(call));
            self.follow(outcome, env);
        }
    }

    fn leave_alone(&mut self) {
        self.reader = Reader::LeftAlone;
        self.told.shunt_later();
        self.wake = None;
        for half in &mut self.halves {
            half.pending.forget();
            half.order.forget();
        }
    }

    /// The direction in which the sender of `half` sends. It depends on which end is assumed to be the client.
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

    /// Runs `f` with the parser, if there is one, for a call without data.
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

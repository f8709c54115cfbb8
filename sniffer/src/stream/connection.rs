//! One TCP connection: two directions in order, what is kept between calls, and the parser of both. Which connection a packet
//! belongs to, and when time is up, is the table's business.

use super::{
    Configured, Env,
    pending::{Onward, Pending},
    probe::Prober,
    reassembly::{Fate, Order, Piece},
};
use crate::{
    decode::Tcp,
    net::{Direction, Peers},
    protocols::{Close, Context, Recovery, Skipped, StreamParser},
    time::Timestamp,
};

/// A protocol that hands over to another that hands over … stops here.
const MOST_HAND_OVERS: u8 = 4;
/// A reset counts when its sequence number is this near to the expected one (RFC 9293 3.10.7.4 asks for the window, which a
/// passive listener knows only roughly).
const RESET_WINDOW: u32 = 1 << 24;

#[derive(Default)]
struct Half {
    order: Order,
    pending: Pending,
    closed: bool,
    /// Closed by a FIN.
    by_fin: bool,
}

enum Reader {
    /// No data yet: nothing was made for a connection that may be a port scan.
    None,
    Parser(Box<dyn StreamParser>),
    /// Done with, given up, or nobody's: packets are counted, bytes are not looked at.
    LeftAlone,
}

/// A connection and all that is known of it.
pub struct Connection {
    /// From 1 upward in order of first packets: part of the flow id.
    pub number: u64,
    peers: Peers,
    /// Whether the client is the sender of half 1: parsers may find out.
    flipped: bool,
    halves: [Half; 2],
    reader: Reader,
    /// Which configured protocol reads, and so whose publisher its events go to.
    plugin: usize,
    /// Which may, as long as it is not known; an index into the port map's sets.
    candidates: usize,
    hand_overs: u8,
    /// When the parser wants to be woken.
    pub(super) wake: Option<Timestamp>,
    /// The sequence number of the SYN, to tell a repeated one from a new connection.
    syn: Option<u32>,
}

impl Connection {
    /// A connection between `peers`, where the first packet (whose sender is half 0) made the client known.
    pub(super) fn new(number: u64, peers: Peers, flipped: bool, candidates: usize) -> Self {
        Self {
            number,
            peers,
            flipped,
            halves: Default::default(),
            reader: Reader::None,
            plugin: 0,
            candidates,
            hand_overs: 0,
            wake: None,
            syn: None,
        }
    }

    /// Whether this SYN opens another connection between the same ends.
    pub(super) fn is_another(&self, half: usize, segment: &Tcp<'_>) -> bool {
        let syn_only = segment.flags.syn() && !segment.flags.ack();
        syn_only && if self.syn.is_some() { self.syn != Some(segment.seq) } else { self.halves[half].order.begun() }
    }

    /// Whether nothing more is expected: both sides said so, or one broke it off.
    pub(super) fn is_over(&self) -> bool {
        self.halves.iter().all(|half| half.closed)
    }

    /// Takes a segment sent by the sender of `half`.
    pub(super) fn segment(&mut self, half: usize, segment: &Tcp<'_>, env: &mut Env<'_>) {
        if segment.flags.syn() {
            if !segment.flags.ack() {
                self.syn = Some(segment.seq);
            }
            self.halves[half].order.begin(segment.seq);
        }
        if segment.flags.rst() {
            let next = self.halves[half].order.next();
            if next.is_none_or(|next| next.wrapping_sub(segment.seq).min(segment.seq.wrapping_sub(next)) <= RESET_WINDOW) {
                env.totals.resets += 1;
                self.end(Close::Reset, env);
            }
            return;
        }
        if segment.flags.ack() && self.halves[1 - half].order.deadline().is_some() {
            self.ordered(1 - half, env, |order, out, now| order.acknowledged(segment.ack, segment.wire_payload > 0, now, out));
        }
        let first = segment.seq.wrapping_add(u32::from(segment.flags.syn()));
        if segment.wire_payload > 0 && !self.halves[half].closed {
            let mut fate = Fate::Delivered;
            self.ordered(half, env, |order, out, now| fate = order.segment(first, segment.payload, segment.wire_payload, now, out));
            match fate {
                Fate::Delivered => {}
                Fate::Early => env.totals.early += 1,
                Fate::Old => env.totals.retransmitted += 1,
            }
        }
        if segment.flags.fin() {
            self.halves[half].order.finish(first.wrapping_add(segment.wire_payload));
        }
        if self.halves[half].order.finished() {
            self.close(half, Close::Fin, env);
        }
    }

    /// When [`Connection::expire`] or the parser has something to do.
    pub(super) fn due(&self) -> Option<Timestamp> {
        [self.halves[0].order.deadline(), self.halves[1].order.deadline(), self.wake].into_iter().flatten().min()
    }

    /// Time has come to `env.now`.
    pub(super) fn expire(&mut self, env: &mut Env<'_>) {
        for half in 0..2 {
            // Not by the bytes that wait: a segment of which none were captured waits as well, and is due for ever.
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

    /// The whole connection ends in another way than by FINs. What waits behind a hole is looked at first.
    pub(super) fn end(&mut self, why: Close, env: &mut Env<'_>) {
        for half in 0..2 {
            self.ordered(half, env, |order, out, _| order.flush(out));
            if self.halves[half].order.finished() {
                self.close(half, Close::Fin, env);
            }
        }
        for half in 0..2 {
            self.close(half, why, env);
        }
    }

    /// Whether more would be lost with it than its place.
    pub(super) fn remembers(&self) -> bool {
        matches!(&self.reader, Reader::Parser(parser) if parser.remembers())
    }

    /// Bytes held for this connection.
    pub(super) fn held(&self) -> usize {
        self.halves.iter().map(|half| half.order.waiting() + half.pending.kept()).sum()
    }

    fn close(&mut self, half: usize, why: Close, env: &mut Env<'_>) {
        if std::mem::replace(&mut self.halves[half].closed, true) {
            return;
        }
        self.halves[half].by_fin = why == Close::Fin;
        // Reading a file as Packetbeat does: only what a FIN completes is reported; who waited on for the other side still learns the end.
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

    /// Lets `f` work on the order of a half, and its pieces go to the parser.
    fn ordered(&mut self, half: usize, env: &mut Env<'_>, f: impl FnOnce(&mut Order, &mut dyn FnMut(Piece<'_>), Timestamp)) {
        // Taken out while pieces of it are on their way through the rest of the connection.
        let mut order = std::mem::take(&mut self.halves[half].order);
        let now = env.now;
        f(&mut order, &mut |piece| self.piece(half, piece, env), now);
        if matches!(self.reader, Reader::LeftAlone) {
            order.forget();
        }
        self.halves[half].order = order;
    }

    fn piece(&mut self, half: usize, piece: Piece<'_>, env: &mut Env<'_>) {
        match (piece, &self.reader) {
            (Piece::Gap(lost), _) => self.gap(half, lost, env),
            (_, Reader::LeftAlone) => {}
            (Piece::Data(data, time), _) => {
                if matches!(self.reader, Reader::None) {
                    self.open(env);
                }
                let onward = self.read(half, env, |pending, call| pending.push(data, time, call));
                self.onward(onward, env);
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

    /// The parser of the only protocol that comes into question, or the one that finds out which it is.
    fn open(&mut self, env: &Env<'_>) {
        self.reader = match env.candidates(self.candidates) {
            [] => Reader::LeftAlone,
            [one] => {
                self.plugin = *one;
                env.plugins.get(*one).and_then(|p| p.plugin.connect()).map_or(Reader::LeftAlone, Reader::Parser)
            }
            several => Reader::Parser(Box::new(Prober::new(several.iter().filter_map(|&i| env.plugins.get(i)).map(|p| p.protocol)))),
        };
    }

    fn onward(&mut self, onward: Onward, env: &mut Env<'_>) {
        match onward {
            Onward::Going => {}
            Onward::Done => {
                env.totals.done_with += 1;
                self.leave_alone();
            }
            Onward::GaveUp => {
                env.totals.given_up += 1;
                self.leave_alone();
            }
            Onward::HandOver(to) => self.hand_over(to, env),
        }
    }

    fn hand_over(&mut self, to: &str, env: &mut Env<'_>) {
        let named = |p: &Configured| p.protocol.name == to;
        let among = env.candidates(self.candidates).iter().copied().find(|&i| env.plugins.get(i).is_some_and(named));
        let next = among.or_else(|| env.plugins.iter().position(named));
        self.hand_overs += 1;
        let parser = next.and_then(|i| env.plugins.get(i)).and_then(|p| p.plugin.connect());
        let (Some(plugin), Some(parser), true) = (next, parser, self.hand_overs <= MOST_HAND_OVERS) else {
            env.totals.done_with += 1;
            return self.leave_alone();
        };
        (self.plugin, self.reader, self.wake) = (plugin, Reader::Parser(parser), None);
        for half in 0..2 {
            let onward = self.read(half, env, |pending, call| pending.again(call));
            self.onward(onward, env);
        }
    }

    fn leave_alone(&mut self) {
        self.reader = Reader::LeftAlone;
        self.wake = None;
        for half in &mut self.halves {
            half.pending.forget();
            half.order.forget();
        }
    }

    /// Which way the sender of `half` sends, as far as is known.
    fn direction(&self, half: usize) -> Direction {
        if (half == 1) == self.flipped { Direction::ToServer } else { Direction::ToClient }
    }

    /// Runs `f` with the buffer of a half and the call that its parser is.
    fn read(&mut self, half: usize, env: &mut Env<'_>, f: impl FnOnce(&mut Pending, &mut super::pending::Call<'_>) -> Onward) -> Onward {
        let dir = self.direction(half);
        let Reader::Parser(parser) = &mut self.reader else { return Onward::Going };
        let (peers, wake, flipped) = (&mut self.peers, &mut self.wake, &mut self.flipped);
        f(&mut self.halves[half].pending, &mut |data, skipped, times| {
            let client = peers.client;
            let mut cx =
                Context::new(env.now, peers, env.sink, self.plugin, env.strict).with_skipped(skipped).with_times(times).with_wake(*wake);
            let progress = parser.on_data(dir, data, &mut cx);
            *wake = cx.wake();
            *flipped ^= peers.client != client;
            progress
        })
    }

    /// Runs `f` with the parser, when there is one, outside of data.
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
        let mut cx = Context::new(env.now, &mut self.peers, env.sink, self.plugin, env.strict).with_skipped(skipped).with_wake(self.wake);
        let result = f(parser.as_mut(), dir, &mut cx);
        self.wake = cx.wake();
        self.flipped ^= self.peers.client != client;
        Some(result)
    }
}

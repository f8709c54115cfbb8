//! Follows one connection: where messages begin and end, and which response answers which request.
//!
//! Responses come in the order of the requests (RFC 9112, 9.3.2), so a queue pairs them. A body that nobody wants is skipped, not
//! looked at, but for its last byte, so that the event leaves as soon as it is there.

use super::{
    Settings,
    event::{self, Exchange},
    message::{Framing, Message},
    wire::{self, Line, Parsed, Role},
};
use crate::{
    flow::key::Direction::{self, ToClient, ToServer},
    protocols::{Close, Context, Progress, Recovery, Skipped, StreamParser},
    time::Timestamp,
};
use std::{collections::VecDeque, sync::Arc};

/// Requests that wait for their responses on one connection. Nobody pipelines deeper; a capture that sees one direction only fills it.
const MOST_WAITING: usize = 256;
/// Bytes in which no message was found, on a connection where there never was any: a large download that was under way, at most.
const MOST_UNKNOWN: u64 = 16 << 20;
/// The same when neither side says anything in HTTP.
const MOST_UNKNOWN_BOTH: u64 = 64 << 10;
/// Memory that the requests that wait may hold besides one body of `max_message_size`.
const MOST_HELD: usize = 1 << 20;
/// Memory of a message that is kept for the next one. There may be very many idle connections.
const MOST_SPARE: usize = 1 << 10;

/// What comes next on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A head.
    Head,
    /// No telling: the next thing that looks like a head is waited for.
    Seek,
    /// So much of a body.
    Length(u64),
    /// The size of a chunk.
    Chunk,
    /// So much of a chunk, with the line end behind it.
    Data(u64),
    /// The lines behind the last chunk.
    Trailer,
    /// A body that ends with the connection.
    UntilClose,
}

#[derive(Debug)]
struct Side {
    state: State,
    /// In this much of the data at hand no head ends.
    scanned: usize,
    /// Bytes passed over while seeking.
    sought: u64,
    /// A message of this side was lost, in part or whole.
    lossy: bool,
    closed: bool,
}

impl Default for Side {
    fn default() -> Self {
        Self { state: State::Head, scanned: 0, sought: 0, lossy: false, closed: false }
    }
}

/// A request and what became of it.
#[derive(Debug)]
struct Waiting {
    /// `None`: reported without its response, which may still come.
    request: Option<Box<Message>>,
    /// It has been sent completely.
    whole: bool,
    head: bool,
    connect: bool,
    start: Timestamp,
    /// When it began to wait.
    since: Timestamp,
    /// Its response has begun.
    answered: bool,
    /// Its response has ended; the request has not.
    response: Option<Box<Message>>,
    /// Something of the server's was lost while it waited.
    response_lost: bool,
}

/// A connection.
pub struct Parser {
    settings: Arc<Settings>,
    sides: [Side; 2],
    waiting: VecDeque<Waiting>,
    /// The response under way, and whether it answers the first that waits.
    response: Option<(Box<Message>, bool)>,
    /// A message was seen: who asks is certain.
    known: bool,
    /// The client asks before it is answered.
    pipelines: bool,
    armed: Option<Timestamp>,
    /// Room for the next messages; boxed, because that is how they are handed on.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Message>>,
    scratch: Vec<u8>,
}

/// What to do next with the data at hand.
enum Step {
    Took(usize),
    /// All of it and so much beyond.
    Skip(u64),
    Wait,
    /// The other side is the client.
    Flip,
    Stop(Progress),
}

impl Parser {
    /// A new connection.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            sides: Default::default(),
            waiting: VecDeque::new(),
            response: None,
            known: false,
            pipelines: false,
            armed: None,
            spare: Vec::new(),
            scratch: Vec::new(),
        }
    }

    fn side(&mut self, dir: Direction) -> &mut Side {
        &mut self.sides[dir.index()]
    }

    /// The message under way on that side.
    fn current(&mut self, dir: Direction) -> Option<&mut Message> {
        match dir {
            ToServer => self.waiting.back_mut().filter(|w| !w.whole).and_then(|w| w.request.as_deref_mut()),
            ToClient => self.response.as_mut().map(|(m, _)| &mut **m),
        }
    }

    /// Accounts for bytes of a body that were not looked at.
    fn pass(&mut self, dir: Direction, seen: u64, lost: u64) {
        let n = seen.saturating_add(lost);
        if n == 0 {
            return;
        }
        let state = self.sides[dir.index()].state;
        let (next, body) = match state {
            State::Length(left) => (State::Length(left.saturating_sub(n)), n),
            State::Data(left) if left <= n => (State::Chunk, left.saturating_sub(2)),
            State::Data(left) => (State::Data(left - n), n.min(left.saturating_sub(2))),
            other => (other, n),
        };
        self.side(dir).state = next;
        if let Some(m) = self.current(dir) {
            m.skip(body.min(n), n - body.min(n));
            m.lost |= lost > 0;
        }
    }

    fn pass_skipped(&mut self, dir: Direction, skipped: Skipped) {
        self.pass(dir, skipped.seen, skipped.lost);
    }

    fn step(&mut self, dir: Direction, rest: &[u8], at: usize, cx: &mut Context<'_>) -> Step {
        let most = self.settings.options.max_message_size;
        match self.sides[dir.index()].state {
            State::Head => self.head(dir, rest, at, cx),
            State::Seek => self.seek(dir, rest, at, cx),
            State::Length(left) => {
                if at == 0 && self.body_never_came(dir, rest) {
                    self.complete(dir, cx);
                    return Step::Took(0);
                }
                let n = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - n as u64;
                self.side(dir).state = State::Length(left);
                let collects = self.current(dir).is_some_and(|m| {
                    m.take_body(&rest[..n], most);
                    m.collects()
                });
                if left == 0 {
                    self.complete(dir, cx);
                    Step::Took(n)
                } else if collects {
                    Step::Took(n)
                } else {
                    Step::Skip(left - 1)
                }
            }
            State::Chunk => match httparse::parse_chunk_size(rest) {
                Ok(httparse::Status::Complete((n, size))) => {
                    self.side(dir).state = if size == 0 { State::Trailer } else { State::Data(size.saturating_add(2)) };
                    if let Some(m) = self.current(dir) {
                        m.skip(0, n as u64);
                    }
                    Step::Took(n)
                }
                Ok(httparse::Status::Partial) if rest.len() < wire::MOST_CHUNK_LINE => Step::Wait,
                _ => self.broken(dir, cx),
            },
            State::Data(left) => {
                let n = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let body = n.min(usize::try_from(left - 2.min(left)).unwrap_or(usize::MAX));
                let left = left - n as u64;
                self.side(dir).state = if left == 0 { State::Chunk } else { State::Data(left) };
                let collects = self.current(dir).is_some_and(|m| {
                    m.take_body(&rest[..body], most);
                    m.skip(0, (n - body) as u64);
                    m.collects()
                });
                if left == 0 || collects { Step::Took(n) } else { Step::Skip(left) }
            }
            State::Trailer => {
                let line = memchr::memchr(b'\n', rest).map(|n| n + 1);
                let n = match line {
                    Some(n) => n,
                    None if rest.len() < wire::MOST_HEAD => return Step::Wait,
                    None => return self.broken(dir, cx),
                };
                if let Some(m) = self.current(dir) {
                    m.skip(0, n as u64);
                }
                if rest[..n].trim_ascii().is_empty() {
                    self.complete(dir, cx);
                }
                Step::Took(n)
            }
            State::UntilClose => {
                // The next request has been sent meanwhile, and this looks like its response: it was a response without a body.
                let next = if self.response.as_ref().is_some_and(|(_, answers)| *answers) { 1 } else { 0 };
                if at == 0 && self.waiting.len() > next && wire::begins(rest, Role::Response) == Some(true) {
                    self.complete(dir, cx);
                    return Step::Took(0);
                }
                if let Some(m) = self.current(dir) {
                    m.take_body(rest, most);
                }
                Step::Took(rest.len())
            }
        }
    }

    /// Whether another message stands where a body was announced: the client was refused before it sent it (RFC 9110, 10.1.1), or
    /// this answers a HEAD that was not seen.
    fn body_never_came(&mut self, dir: Direction, rest: &[u8]) -> bool {
        let role = role(dir);
        let possible = match (dir, &self.response) {
            (ToServer, response) => {
                let answering = response.is_some();
                self.waiting.back().is_some_and(|w| {
                    (answering || w.response.is_some()) && w.request.as_ref().is_some_and(|m| m.expects && m.body_bytes == 0)
                })
            }
            (ToClient, Some((m, answers))) => !answers && m.body_bytes == 0,
            (ToClient, None) => false,
        };
        possible && wire::begins(rest, role) == Some(true)
    }

    fn head(&mut self, dir: Direction, rest: &[u8], at: usize, cx: &mut Context<'_>) -> Step {
        let blank = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        if blank > 0 {
            return Step::Took(blank);
        }
        // What follows a CONNECT or a wish for another protocol depends on the answer.
        if dir == ToServer && self.waiting.back().is_some_and(|w| w.connect && w.whole && w.request.is_some()) {
            return Step::Wait;
        }
        if dir == ToServer || !self.known {
            let known = rest.len().min(wire::PREFACE.len());
            if rest[..known] == wire::PREFACE[..known] {
                if known < wire::PREFACE.len() {
                    return Step::Wait;
                }
                cx.count("http2");
                return Step::Stop(Progress::Done);
            }
        }
        if let Some(step) = self.who_asks(dir, rest) {
            return step;
        }
        let scanned = self.sides[dir.index()].scanned;
        if scanned > 0 && wire::terminator(rest, scanned).is_none() {
            return self.partial(dir, rest, cx);
        }
        match self.read_head(dir, rest, at, true, cx) {
            Parsed::Complete(step) => step,
            Parsed::Partial => self.partial(dir, rest, cx),
            Parsed::Invalid => self.lose(dir, cx),
        }
    }

    /// Before the first message: whether the sides are taken for each other.
    fn who_asks(&self, dir: Direction, rest: &[u8]) -> Option<Step> {
        if self.known {
            return None;
        }
        match wire::begins(rest, role(dir.reverse())) {
            Some(true) => Some(Step::Flip),
            Some(false) => None,
            // `H` may begin a HEAD as well as an answer.
            None => Some(Step::Wait),
        }
    }

    fn partial(&mut self, dir: Direction, rest: &[u8], cx: &mut Context<'_>) -> Step {
        if rest.len() > wire::MOST_HEAD {
            return self.lose(dir, cx);
        }
        self.side(dir).scanned = rest.len().saturating_sub(3).max(1);
        Step::Wait
    }

    /// What comes is no head: from here on one is looked for.
    fn lose(&mut self, dir: Direction, cx: &mut Context<'_>) -> Step {
        cx.count("lost_sync");
        self.adrift(dir);
        // Not the first byte again.
        self.passed_over(dir, 1)
    }

    fn passed_over(&mut self, dir: Direction, n: usize) -> Step {
        let side = self.side(dir);
        side.scanned = 0;
        side.sought = side.sought.saturating_add(n as u64);
        let [a, b] = [self.sides[0].sought, self.sides[1].sought];
        if !self.known && (a.max(b) > MOST_UNKNOWN || a.min(b) > MOST_UNKNOWN_BOTH) {
            return Step::Stop(Progress::GiveUp);
        }
        Step::Took(n)
    }

    /// Where the next message of that side begins is unknown.
    fn adrift(&mut self, dir: Direction) {
        let side = self.side(dir);
        side.state = State::Seek;
        side.scanned = 0;
        side.lossy = true;
        if dir == ToClient {
            self.waiting.iter_mut().for_each(|w| w.response_lost = true);
        }
    }

    fn seek(&mut self, dir: Direction, rest: &[u8], at: usize, cx: &mut Context<'_>) -> Step {
        if !self.known && wire::begins(rest, role(dir.reverse())) == Some(true) {
            return Step::Flip;
        }
        match wire::next(rest, 0, role(dir)) {
            0 => {}
            n => return self.passed_over(dir, n),
        }
        let scanned = self.sides[dir.index()].scanned;
        let parsed = if scanned > 0 && wire::terminator(rest, scanned).is_none() {
            Parsed::Partial
        } else {
            self.read_head(dir, rest, at, false, cx)
        };
        match parsed {
            Parsed::Complete(step) => step,
            Parsed::Partial if rest.len() <= wire::MOST_HEAD => self.partial(dir, rest, cx),
            _ => {
                let n = wire::next(rest, 1, role(dir));
                self.passed_over(dir, n)
            }
        }
    }

    fn read_head(&mut self, dir: Direction, rest: &[u8], at: usize, mend: bool, cx: &mut Context<'_>) -> Parsed<Step> {
        let mut message = self.spare.pop().unwrap_or_default();
        let start = cx.time_at(at);
        let settings = &*self.settings;
        let parsed = wire::head(rest, role(dir), mend, |head| {
            message.read(head, start, settings);
            let (get, connect) = match head.line {
                Line::Request { method, .. } => (method == b"HEAD", method == b"CONNECT"),
                Line::Response { .. } => (false, false),
            };
            (head.raw.len(), get, connect)
        });
        match parsed {
            Parsed::Complete((len, head, connect)) => {
                self.known = true;
                let after_loss = self.sides[dir.index()].state == State::Seek;
                let side = self.side(dir);
                side.scanned = 0;
                side.sought = 0;
                side.state = State::Head;
                Parsed::Complete(match dir {
                    ToServer => self.request(message, len, head, connect, cx),
                    ToClient => self.answer(message, len, after_loss, cx),
                })
            }
            Parsed::Partial => {
                self.recycle(message);
                Parsed::Partial
            }
            Parsed::Invalid => {
                self.recycle(message);
                Parsed::Invalid
            }
        }
    }

    fn request(&mut self, message: Box<Message>, len: usize, head: bool, connect: bool, cx: &mut Context<'_>) -> Step {
        let start = message.start;
        self.pipelines |= self.response.is_some() || self.waiting.back().is_some_and(|w| w.start == start);
        while self.waiting.len() >= MOST_WAITING || (self.held() > MOST_HELD + self.settings.options.max_message_size) {
            self.drop_first(cx);
        }
        let framing = message.framing(false);
        let wants_other = connect || message.upgrade;
        self.waiting.push_back(Waiting {
            request: Some(message),
            whole: false,
            head,
            connect: wants_other,
            start,
            since: cx.now,
            answered: false,
            response: None,
            response_lost: false,
        });
        self.begin(ToServer, framing, cx);
        Step::Took(len)
    }

    /// Memory of what waits.
    fn held(&self) -> usize {
        self.waiting.iter().filter_map(|w| w.request.as_ref()).map(|m| m.memory()).sum()
    }

    fn begin(&mut self, dir: Direction, framing: Framing, cx: &mut Context<'_>) {
        self.side(dir).state = match framing {
            Framing::None => return self.complete(dir, cx),
            Framing::Length(n) => State::Length(n),
            Framing::Chunked => State::Chunk,
            Framing::UntilClose => State::UntilClose,
        };
    }

    fn answer(&mut self, message: Box<Message>, len: usize, after_loss: bool, cx: &mut Context<'_>) -> Step {
        if after_loss {
            self.settle_loss(message.start, cx);
        }
        if matches!(message.status, 100 | 102..=199) {
            self.recycle(message); // more is to come
            return Step::Took(len);
        }
        let lossy = self.sides[ToServer.index()].lossy;
        let first = self.waiting.front_mut().filter(|w| w.response.is_none() && !(lossy && message.start < w.start));
        let (head, connect) = first.as_ref().map_or((false, false), |w| (w.head, w.connect));
        let answers = first.map(|w| w.answered = true).is_some();
        let is_connect = connect && self.waiting.front().and_then(|w| w.request.as_ref()).is_some_and(|m| m.get(m.method) == b"CONNECT");
        let upgraded = message.status == 101 || (is_connect && (200..300).contains(&message.status));
        let framing = if upgraded { Framing::None } else { message.framing(head) };
        self.response = Some((message, answers));
        if upgraded {
            if let Some(w) = self.waiting.front_mut() {
                w.whole = true;
            }
            self.complete(ToClient, cx);
            self.waiting.clear();
            cx.count("upgraded");
            return Step::Stop(Progress::Done);
        }
        self.begin(ToClient, framing, cx);
        Step::Took(len)
    }

    /// A response was found, at `time`, after something was lost. Who does not pipeline has sent the newest request before that time
    /// when all others were answered: it is that one's. Of one who pipelines nobody can tell, so that all that waited are given up.
    fn settle_loss(&mut self, time: Timestamp, cx: &mut Context<'_>) {
        let before = self.waiting.iter().take_while(|w| w.start <= time).count();
        let lost = match self.pipelines {
            true => self.waiting.iter().take_while(|w| w.whole && w.response_lost).count().min(before),
            false => before.saturating_sub(1),
        };
        for _ in 0..lost {
            self.drop_first(cx);
        }
    }

    /// A message has ended.
    fn complete(&mut self, dir: Direction, cx: &mut Context<'_>) {
        self.side(dir).state = State::Head;
        match dir {
            ToServer => {
                if let Some(w) = self.waiting.back_mut().filter(|w| !w.whole) {
                    w.whole = true;
                    w.since = cx.now;
                    if let Some(m) = &mut w.request {
                        m.decode(&self.settings);
                    }
                }
            }
            ToClient => {
                let Some((mut message, answers)) = self.response.take() else { return };
                message.decode(&self.settings);
                match self.waiting.front_mut().filter(|_| answers) {
                    Some(first) => first.response = Some(message),
                    None => {
                        self.report(None, Some(message), false, cx);
                        return;
                    }
                }
            }
        }
        self.settle(cx);
    }

    /// Reports the first that waits if both of its halves are there.
    fn settle(&mut self, cx: &mut Context<'_>) {
        if !self.waiting.front().is_some_and(|w| w.whole && w.response.is_some()) {
            return;
        }
        if let Some(w) = self.waiting.pop_front() {
            self.report(w.request, w.response, false, cx);
        }
        if let Some(next) = self.waiting.front_mut() {
            next.since = next.since.max(cx.now);
        }
    }

    /// Reports the first that waits as it is, if it has not been. Its response is nobody's then.
    fn drop_first(&mut self, cx: &mut Context<'_>) {
        let Some(w) = self.waiting.pop_front() else { return };
        if w.answered
            && let Some((_, answers)) = &mut self.response
        {
            *answers = false;
        }
        if w.request.is_some() || w.response.is_some() {
            self.report(w.request, w.response, w.response_lost, cx);
        }
    }

    fn report(&mut self, request: Option<Box<Message>>, response: Option<Box<Message>>, response_lost: bool, cx: &mut Context<'_>) {
        if response.is_none() {
            cx.count("unmatched_requests");
        } else if request.is_none() {
            cx.count("unmatched_responses");
        }
        let exchange = Exchange { request: request.as_deref(), response: response.as_deref(), response_lost };
        event::emit(exchange, &self.settings, &mut self.scratch, cx);
        if self.scratch.capacity() > MOST_SPARE {
            self.scratch = Vec::new();
        }
        [request, response].into_iter().flatten().for_each(|m| self.recycle(m));
    }

    fn recycle(&mut self, mut message: Box<Message>) {
        if self.spare.is_empty() && message.memory() <= MOST_SPARE {
            message.clear();
            self.spare.push(message);
        }
    }

    /// The message under way goes no further: what follows cannot be understood.
    fn broken(&mut self, dir: Direction, cx: &mut Context<'_>) -> Step {
        if let Some(m) = self.current(dir) {
            m.lost = true;
        }
        self.complete(dir, cx);
        self.lose(dir, cx)
    }

    fn arm(&mut self, cx: &mut Context<'_>) {
        let timeout = self.settings.common.transaction_timeout;
        let due = self.waiting.iter().find(|w| w.request.is_some()).filter(|w| w.whole && !w.answered).map(|w| w.since.after(timeout));
        if let Some(due) = due.filter(|&due| self.armed.is_none_or(|armed| due < armed)) {
            self.armed = Some(due);
            cx.wake_at(due);
        }
    }

    /// Reports what waits, but for a request that is still being sent.
    fn give_up_waiting(&mut self, also_unfinished: bool, cx: &mut Context<'_>) {
        while self.waiting.front().is_some_and(|w| w.whole || also_unfinished) {
            let unfinished = self.waiting.front().is_some_and(|w| !w.whole);
            if unfinished {
                self.complete(ToServer, cx);
                continue;
            }
            self.drop_first(cx);
        }
    }
}

fn role(dir: Direction) -> Role {
    match dir {
        ToServer => Role::Request,
        ToClient => Role::Response,
    }
}

impl StreamParser for Parser {
    fn on_data(&mut self, mut dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        self.pass_skipped(dir, cx.skipped);
        let mut at = 0;
        // Every turn takes bytes or ends, but for those that only change the state: to a head, and to the other direction.
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            match self.step(dir, rest, at, cx) {
                Step::Took(n) => at += n,
                Step::Skip(beyond) => {
                    self.arm(cx);
                    return Progress::Consumed { bytes: (data.len() as u64).saturating_add(beyond), need: 1 };
                }
                Step::Wait => break,
                Step::Flip => {
                    cx.flip();
                    self.sides.swap(0, 1);
                    dir = dir.reverse();
                    self.known = true;
                    self.side(dir).state = State::Head;
                }
                Step::Stop(progress) => return progress,
            }
        }
        self.arm(cx);
        Progress::consumed(at.min(data.len()))
    }

    fn on_gap(&mut self, dir: Direction, lost: u64, cx: &mut Context<'_>) -> Recovery {
        self.pass_skipped(dir, cx.skipped);
        self.side(dir).scanned = 0;
        let mut beyond = 0;
        match self.sides[dir.index()].state {
            State::Length(left) => {
                self.pass(dir, 0, lost.min(left));
                beyond = lost.saturating_sub(left);
                if lost >= left {
                    self.complete(dir, cx);
                }
            }
            State::Data(left) => {
                self.pass(dir, 0, lost.min(left));
                beyond = lost.saturating_sub(left);
                if beyond > 0 {
                    self.complete(dir, cx);
                }
            }
            State::UntilClose => self.pass(dir, 0, lost),
            State::Chunk | State::Trailer => {
                if let Some(m) = self.current(dir) {
                    m.lost = true;
                }
                self.complete(dir, cx);
                beyond = lost;
            }
            State::Head | State::Seek => beyond = lost,
        }
        if beyond > 0 {
            self.adrift(dir);
        }
        self.arm(cx);
        Recovery::Resume
    }

    fn on_close(&mut self, dir: Direction, _why: Close, cx: &mut Context<'_>) {
        self.pass_skipped(dir, cx.skipped);
        self.side(dir).closed = true;
        // A message that was cut off is reported as far as it was seen; a body may end like that by its nature.
        if !matches!(self.sides[dir.index()].state, State::Head | State::Seek) {
            self.complete(dir, cx);
        }
        let all = self.sides.iter().all(|side| side.closed);
        if dir == ToClient || all {
            self.give_up_waiting(all, cx);
        }
        self.arm(cx);
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.armed = None;
        let (now, timeout) = (cx.now, self.settings.common.transaction_timeout);
        for i in 0..self.waiting.len() {
            let Some(w) = self.waiting.get_mut(i) else { break };
            if w.request.is_none() {
                continue;
            }
            if !w.whole || w.answered || w.since.after(timeout) > now {
                break;
            }
            let (request, lost) = (w.request.take(), w.response_lost);
            self.report(request, None, lost, cx);
        }
        self.arm(cx);
    }
}

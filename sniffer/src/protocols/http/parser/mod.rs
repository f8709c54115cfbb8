//! The parser of a connection: determines where messages begin and end, and pairs responses with requests.
//!
//! Responses come in the order of the requests (RFC 9112, 9.3.2), so a queue pairs them. A body that is not reported is
//! skipped, except for its last byte, so that the event is reported as soon as the message ends.

mod bodies;
mod heads;
mod pairing;

use super::{Settings, message::Message, wire::Role};
use crate::{
    net::Direction::{self, ToClient, ToServer},
    protocols::{
        Close, Context, Progress, Recovery, Skipped, StreamParser,
        kit::{
            backlog::{Backlog, Waits},
            held::Held,
            resync::Resync,
        },
    },
    time::Timestamp,
};
use std::sync::Arc;

/// The meaning of the next bytes of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A header section.
    Head,
    /// The meaning is unknown. The parser searches for the next header section.
    Seek,
    /// This number of bytes of a body follow.
    Length(u64),
    /// The size of a chunk follows.
    Chunk,
    /// This number of bytes of a chunk follow, including the line end after the chunk.
    Data(u64),
    /// The trailer lines after the last chunk follow.
    Trailer,
    /// A body follows that ends with the connection.
    UntilClose,
}

#[derive(Debug)]
struct Side {
    state: State,
    /// Number of bytes at the start of the current data that were searched for the end of a header section without
    /// success.
    scanned: usize,
    /// The search for the next header section.
    search: Resync,
    /// A message of this side was lost, partly or completely.
    lossy: bool,
    closed: bool,
}

impl Default for Side {
    fn default() -> Self {
        Self { state: State::Head, scanned: 0, search: Resync::default(), lossy: false, closed: false }
    }
}

/// A request that waits for its response.
#[derive(Debug)]
struct Waiting {
    /// The request; `None` if it was already reported without its response, which may still arrive.
    request: Option<Box<Message>>,
    /// The request was sent completely.
    whole: bool,
    head: bool,
    connect: bool,
    start: Timestamp,
    /// When the request began to wait.
    since: Timestamp,
    /// The response has begun.
    answered: bool,
    /// The response, if it ended before the request did.
    response: Option<Box<Message>>,
    /// Bytes of the server were missing or malformed while the request waited, so its response may be lost.
    response_lost: bool,
    /// Bytes of the server were missing in the capture while the request waited.
    response_missing: bool,
}

impl Held for Waiting {
    fn held(&self) -> usize {
        self.request.held() + self.response.held()
    }
}

impl Waits for Waiting {
    fn since(&self) -> Timestamp {
        self.since
    }
}

/// The parser of one connection.
pub struct Parser {
    settings: Arc<Settings>,
    sides: [Side; 2],
    waiting: Backlog<Waiting>,
    /// The current response, and whether it belongs to the first waiting request.
    response: Option<(Box<Message>, bool)>,
    /// A message was captured, so it is certain which side is the client.
    known: bool,
    /// The client sends requests before it gets responses.
    pipelines: bool,
    /// Unused messages for reuse; boxed, because messages are passed on in boxes.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Message>>,
    scratch: Vec<u8>,
}

/// How the parser continues with the current data.
enum Step {
    Took(usize),
    /// Skip all current data and this number of bytes after it.
    Skip(u64),
    Wait,
    /// Swap client and server.
    Flip,
    Stop(Progress),
}

impl Parser {
    /// Makes the parser of a new connection.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            waiting: Backlog::new(pairing::limits(&settings)),
            settings,
            sides: Default::default(),
            response: None,
            known: false,
            pipelines: false,
            spare: Vec::new(),
            scratch: Vec::new(),
        }
    }

    fn side(&mut self, dir: Direction) -> &mut Side {
        &mut self.sides[dir.index()]
    }

    /// Changes the current message of this side, if there is one.
    fn with_current<R>(&mut self, dir: Direction, change: impl FnOnce(&mut Message) -> R) -> Option<R> {
        match dir {
            ToServer => self.waiting.back_mut().filter(|w| !w.whole)?.request.as_deref_mut().map(change),
            ToClient => self.response.as_mut().map(|(m, _)| change(m)),
        }
    }

    /// Counts bytes of a body that were skipped.
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
        self.with_current(dir, |m| {
            m.skip(body.min(n), n - body.min(n));
            m.lost |= lost > 0;
        });
    }

    fn pass_skipped(&mut self, dir: Direction, skipped: Skipped) {
        self.pass(dir, skipped.seen, skipped.lost);
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
        self.pass_skipped(dir, cx.skipped());
        let mut at = 0;
        // Every iteration consumes bytes, ends the loop, or only changes the state (to a header section, or to the other direction).
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

    fn on_join(&mut self, dir: Direction) {
        // The rest of a method looks like a method, for instance `ET / HTTP/1.1`. Therefore only a known method is accepted here.
        if dir == ToServer {
            self.side(dir).state = State::Seek;
        }
    }

    fn on_gap(&mut self, dir: Direction, lost: u64, cx: &mut Context<'_>) -> Recovery {
        self.pass_skipped(dir, cx.skipped());
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
                self.with_current(dir, |m| m.lost = true);
                self.complete(dir, cx);
                beyond = lost;
            }
            State::Head | State::Seek => beyond = lost,
        }
        if beyond > 0 {
            self.lose_position(dir, true);
        }
        self.arm(cx);
        Recovery::Resume
    }

    fn on_close(&mut self, dir: Direction, why: Close, cx: &mut Context<'_>) {
        self.pass_skipped(dir, cx.skipped());
        self.side(dir).closed = true;
        // An incomplete message is reported with the part that was captured. Only a FIN completes a body without a
        // length.
        let cut_off = match self.sides[dir.index()].state {
            State::Length(_) | State::Chunk | State::Data(_) => true,
            State::UntilClose => why != Close::Fin,
            State::Head | State::Seek | State::Trailer => false,
        };
        if cut_off {
            self.with_current(dir, |m| m.cut_off = true);
        }
        if !matches!(self.sides[dir.index()].state, State::Head | State::Seek) {
            self.complete(dir, cx);
        }
        let all = self.sides.iter().all(|side| side.closed);
        if (dir == ToClient || all) && !cx.strict() {
            self.give_up_waiting(all, cx);
        }
        self.arm(cx);
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        let (now, timeout) = (cx.now(), self.settings.common.transaction_timeout);
        for i in 0..self.waiting.len() {
            let Some(mut w) = self.waiting.get_mut(i) else { break };
            if w.request.is_none() {
                continue;
            }
            if !w.whole || w.answered || w.since.after(timeout) > now {
                break;
            }
            let (request, lost) = (w.request.take(), w.response_missing);
            drop(w);
            self.report(request, None, lost, cx);
        }
        self.arm(cx);
    }

    fn held(&self) -> usize {
        let spare = self.spare.capacity() * size_of::<Box<Message>>() + self.spare.first().map_or(0, Held::held);
        self.waiting.held() + self.response.as_ref().map_or(0, |(m, _)| m.held()) + spare + self.scratch.held()
    }
}

//! Follows one connection: where messages begin and end, and which response answers which request.
//!
//! Responses come in the order of the requests (RFC 9112, 9.3.2), so a queue pairs them. A body that nobody wants is skipped, not
//! looked at, but for its last byte, so that the event leaves as soon as it is there.

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
    /// The search for the next head.
    search: Resync,
    /// A message of this side was lost, in part or whole.
    lossy: bool,
    closed: bool,
}

impl Default for Side {
    fn default() -> Self {
        Self { state: State::Head, scanned: 0, search: Resync::default(), lossy: false, closed: false }
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
    /// While it waited, bytes of the server were missing or malformed: one of them may have been its response.
    response_lost: bool,
    /// Bytes of the server were missing in the capture while it waited.
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

/// A connection.
pub struct Parser {
    settings: Arc<Settings>,
    sides: [Side; 2],
    waiting: Backlog<Waiting>,
    /// The response under way, and whether it answers the first that waits.
    response: Option<(Box<Message>, bool)>,
    /// A message was seen: who asks is certain.
    known: bool,
    /// The client asks before it is answered.
    pipelines: bool,
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

    /// Changes the message under way on that side, if there is one.
    fn with_current<R>(&mut self, dir: Direction, change: impl FnOnce(&mut Message) -> R) -> Option<R> {
        match dir {
            ToServer => self.waiting.back_mut().filter(|w| !w.whole)?.request.as_deref_mut().map(change),
            ToClient => self.response.as_mut().map(|(m, _)| change(m)),
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
            self.adrift(dir, true);
        }
        self.arm(cx);
        Recovery::Resume
    }

    fn on_close(&mut self, dir: Direction, why: Close, cx: &mut Context<'_>) {
        self.pass_skipped(dir, cx.skipped());
        self.side(dir).closed = true;
        // An incomplete message is reported as far as it was seen. Only a FIN completes a body without a length.
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

//! One connection: parses the messages of both directions, and pairs replies with calls by sequence number and method.
//! A client may send several calls before it gets a reply. With the framed transport, only a frame that is malformed or
//! has a gap is lost. Without frames, everything up to the next segment that begins with a message is lost.
//!
//! Calls are reported in the order in which they were sent. A message does not show whether it expects a reply, unless
//! it has the type one-way. A call without a reply is treated as one-way as soon as the client sends a message that it
//! would not have sent before the reply: one with the same sequence number, or any message after a later call was
//! answered.

use super::{
    Thrift,
    event::{self, Answer, Asked, Outcome},
    text::Limits,
    values::{Step, Values},
    wire::{self, Begin, Kind},
};
use crate::{
    event::Text,
    net::Direction,
    protocols::{
        Close, Context, Progress, Recovery, StreamParser,
        kit::{
            backlog::{self, Backlog},
            held::{self, Held},
            resync::Resync,
            timers,
        },
    },
    time::Timestamp,
};
use std::sync::Arc;

/// Maximum number of waiting calls, and maximum number of bytes that they hold. No client is known to have more outstanding calls.
const MOST_WAITING: usize = 1024;
const MOST_HELD: usize = 4 << 20;

#[derive(Default)]
struct Side {
    current: Option<Current>,
    /// Number of bytes passed to the parser and not consumed.
    left_over: u64,
    /// Number of remaining bytes of a frame with a gap. They are skipped.
    pass_over: u64,
    /// Whether the start of the next message is unknown.
    lost: bool,
    /// Whether a message was found.
    known: bool,
    search: Resync,
}

/// The message that is being read.
struct Current {
    kind: Kind,
    name: String,
    service: Option<String>,
    sequence: i32,
    values: Values,
    /// Number of bytes of the message's frame that are not consumed; `None` if there is no frame.
    frame: Option<u64>,
    /// Whether the frame was found in a search. The four bytes before the message may then be no length of a frame.
    uncertain: bool,
    bytes: u64,
    time: Timestamp,
    damaged: bool,
}

impl Held for Current {
    fn held(&self) -> usize {
        self.name.held() + self.service.held() + self.values.held()
    }
}

/// The parser of a connection.
pub struct Connection {
    plugin: Arc<Thrift>,
    sides: [Side; 2],
    waiting: Backlog<Asked>,
    scratch: String,
}

impl Connection {
    pub fn new(plugin: Arc<Thrift>) -> Self {
        let limits = backlog::Limits { items: MOST_WAITING, bytes: MOST_HELD, timeout: plugin.common.transaction_timeout };
        Self { plugin, sides: Default::default(), waiting: Backlog::new(limits), scratch: String::new() }
    }

    /// Starts a message. `length`: the length of its header, including the header of the frame.
    fn begin(
        &mut self,
        dir: &mut Direction,
        head: &wire::Head<'_>,
        length: usize,
        frame: Option<u32>,
        time: Timestamp,
        cx: &mut Context<'_>,
    ) {
        let asks = matches!(head.kind, Kind::Call | Kind::Oneway);
        if asks != (*dir == Direction::ToServer) && self.waiting.is_empty() {
            cx.flip();
            self.sides.swap(0, 1);
            *dir = dir.reverse();
        }
        if asks {
            self.close_one_way(head.sequence, cx);
        }
        let full = Text(head.name).to_str();
        // A multiplexed call also names the service; its reply does not (TMultiplexedProtocol).
        let (service, name) = match full.split_once(':') {
            Some((service, name)) => (Some(service.to_owned()), name.to_owned()),
            None => (None, full.into_owned()),
        };
        let names = match head.kind {
            Kind::Call | Kind::Oneway => self.plugin.idl.method(service.as_deref(), &name).cloned(),
            Kind::Reply => self.waits(head.sequence, &name).and_then(|i| self.waiting.get(i)?.method.clone()),
            Kind::Exception => None,
        };
        let mut limits = self.plugin.limits();
        if !asks && !self.plugin.options.capture_reply {
            // Of the reply, only its end and whether it is an exception are needed.
            limits = Limits { string: 0, collection: 0, ..limits };
        }
        self.sides[dir.index()].current = Some(Current {
            kind: head.kind,
            values: Values::new(head.encoding, limits, names.map(|method| (method, !asks))),
            name,
            service,
            sequence: head.sequence,
            frame: frame.map(|frame| (u64::from(frame) + 4).saturating_sub(length as u64)),
            uncertain: self.sides[dir.index()].lost || !self.sides[dir.index()].known,
            bytes: frame.map_or(length as u64, u64::from),
            time,
            damaged: false,
        });
    }

    /// The position of the open call to which a reply with this sequence number and method belongs.
    fn waits(&self, sequence: i32, name: &str) -> Option<usize> {
        let open = |asked: &Asked| matches!(asked.outcome, Outcome::Open);
        self.waiting.iter().position(|asked| open(asked) && asked.sequence == sequence && asked.name == name)
    }

    /// Called when the client sends a message with this sequence number. Treats the calls that can no longer get a
    /// reply as one-way.
    fn close_one_way(&mut self, sequence: i32, cx: &mut Context<'_>) {
        let answered = |asked: &Asked| matches!(asked.outcome, Outcome::Answered(_));
        let overtaken = self.waiting.iter().rposition(answered).unwrap_or(0);
        for i in 0..self.waiting.len() {
            if let Some(mut asked) = self.waiting.get_mut(i)
                && matches!(asked.outcome, Outcome::Open)
                && (i < overtaken || asked.sequence == sequence)
            {
                asked.outcome = Outcome::OneWay;
                cx.count("unmatched_requests");
            }
        }
        self.report_ended(cx);
    }

    /// Reports the calls that have ended, up to the first open one.
    fn report_ended(&mut self, cx: &mut Context<'_>) {
        while self.waiting.front().is_some_and(|asked| !matches!(asked.outcome, Outcome::Open)) {
            let Some(asked) = self.waiting.pop() else { return };
            self.report(&asked, cx);
        }
    }

    fn report(&mut self, asked: &Asked, cx: &mut Context<'_>) {
        let answer = match &asked.outcome {
            Outcome::Answered(answer) => Some(&**answer),
            Outcome::Open | Outcome::OneWay => None,
        };
        // A method that the definitions know and that is not one-way should have got a reply.
        let missing = answer.is_none() && asked.method.as_ref().is_some_and(|method| !method.oneway);
        event::emit(asked, answer, missing, &self.plugin.shown(), &mut self.scratch, cx);
        held::clear_text(&mut self.scratch);
    }

    /// Handles a complete message.
    fn end(&mut self, dir: Direction, message: Current, cx: &mut Context<'_>) {
        let Current { kind, name, service, sequence, values, bytes, time, damaged, .. } = message;
        if values.too_large {
            cx.count("too_many_fields");
        }
        if matches!(kind, Kind::Call | Kind::Oneway) != (dir == Direction::ToServer) {
            // This is a call in the wrong direction while others wait.
            return cx.count("malformed");
        }
        if matches!(kind, Kind::Call | Kind::Oneway) {
            if values.too_large || damaged {
                return;
            }
            let method = self.plugin.idl.method(service.as_deref(), &name).cloned();
            let oneway = kind == Kind::Oneway || method.as_ref().is_some_and(|method| method.oneway);
            let outcome = if oneway { Outcome::OneWay } else { Outcome::Open };
            let asked = Asked { name, service, method, sequence, params: values.text, time, bytes, outcome };
            while let Some(oldest) = self.waiting.evict_for(&asked) {
                self.unanswered(&oldest, cx);
            }
            if let Some(refused) = self.waiting.push(asked) {
                self.unanswered(&refused, cx);
            }
            return self.report_ended(cx);
        }
        let Some(place) = self.waits(sequence, &name) else { return cx.count("unmatched_responses") };
        if values.too_large {
            self.waiting.remove(place);
            return self.report_ended(cx);
        }
        let answer = Answer { values, exception: kind == Kind::Exception, time, bytes, damaged };
        if let Some(mut asked) = self.waiting.get_mut(place) {
            asked.outcome = Outcome::Answered(Box::new(answer));
        }
        self.report_ended(cx);
        // The limit in bytes includes replies that are kept while an earlier call is open.
        while !self.waiting.has_bytes(0) {
            let Some(oldest) = self.waiting.pop() else { break };
            self.unanswered(&oldest, cx);
        }
    }

    /// Reports a call that leaves the queue, whether it has ended or not.
    fn unanswered(&mut self, asked: &Asked, cx: &mut Context<'_>) {
        if matches!(asked.outcome, Outcome::Open) {
            cx.count("unmatched_requests");
        }
        self.report(asked, cx);
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        while let Some(asked) = self.waiting.pop() {
            self.unanswered(&asked, cx);
        }
    }

    fn wake(&self, cx: &mut Context<'_>) {
        timers::arm(cx, self.waiting.due());
    }

    /// Continues to read the current message. Returns how far it was read (beyond the data if the rest is not needed),
    /// and the number of further bytes that are needed.
    fn go_on(&mut self, dir: Direction, mut current: Current, rest: &[u8], cx: &mut Context<'_>) -> (u64, usize) {
        let within = current.frame.map_or(rest.len(), |left| usize::try_from(left).unwrap_or(usize::MAX).min(rest.len()));
        let step = current.values.read(rest.get(..within).unwrap_or(rest));
        match (step, current.frame) {
            (Step::Whole(n), Some(left)) if current.uncertain && (n as u64) < left => {
                // A frame ends where its message ends. Here the message ends earlier, so the four bytes before it were not the length of
                // a frame.
                current.bytes = current.bytes.saturating_sub(left - n as u64);
                self.end(dir, current, cx);
                (n as u64, 0)
            }
            (Step::Whole(n), frame) => {
                if frame.is_none() {
                    current.bytes += n as u64;
                }
                self.end(dir, current, cx);
                (frame.unwrap_or(n as u64), 0)
            }
            (Step::More(n, need), None) => {
                current.bytes += n;
                self.sides[dir.index()].current = Some(current);
                (n, need)
            }
            (Step::More(n, need), Some(left)) if n.saturating_add(need as u64) <= left => {
                current.frame = Some(left - n);
                self.sides[dir.index()].current = Some(current);
                (n, need)
            }
            (_, Some(left)) => {
                // The frame ends before its message, or the frame contains no message.
                cx.count("malformed");
                (left, 0)
            }
            (Step::Malformed, None) => {
                cx.count("malformed");
                self.sides[dir.index()].lost = true;
                (0, 0)
            }
        }
    }
}

impl StreamParser for Connection {
    fn on_data(&mut self, mut dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        // The data begins with the bytes that were not consumed of earlier segments.
        let earlier = usize::try_from(self.sides[dir.index()].left_over).unwrap_or(usize::MAX);
        let (mut at, mut need) = (std::mem::take(&mut self.sides[dir.index()].pass_over), 0);
        loop {
            let here = usize::try_from(at).unwrap_or(usize::MAX);
            let Some(rest) = data.get(here..).filter(|rest| !rest.is_empty() && need == 0) else { break };
            if let Some(current) = self.sides[dir.index()].current.take() {
                let (taken, more) = self.go_on(dir, current, rest, cx);
                (at, need) = (at.saturating_add(taken), more);
                continue;
            }
            match wire::begin(rest) {
                Begin::Message(head, length, frame) => {
                    self.begin(&mut dir, &head, length, frame, cx.time_at(here), cx);
                    let side = &mut self.sides[dir.index()];
                    (side.lost, side.known) = (false, true);
                    side.search.found();
                    at += length as u64;
                }
                Begin::Transformed(length) => {
                    cx.count("transformed");
                    at = at.saturating_add(length);
                }
                Begin::More(n) if !self.sides[dir.index()].lost || here == 0 || here == earlier => need = n.max(1),
                Begin::More(_) | Begin::No => {
                    let side = &mut self.sides[dir.index()];
                    if !side.lost {
                        cx.count("malformed");
                    }
                    side.lost = true;
                    // The newest segment may begin with a message.
                    let next = if here < earlier && earlier < data.len() { earlier } else { data.len() };
                    if side.search.passed(next - here) == Recovery::GiveUp {
                        self.flush(cx);
                        return Progress::GiveUp;
                    }
                    at = next as u64;
                }
            }
        }
        self.sides[dir.index()].left_over = (data.len() as u64).saturating_sub(at);
        self.wake(cx);
        // The parser must be called again with the next bytes, so that the number of unconsumed bytes is known.
        Progress::Consumed { bytes: at, need: 1 }
    }

    fn on_gap(&mut self, dir: Direction, lost: u64, cx: &mut Context<'_>) -> Recovery {
        let side = &mut self.sides[dir.index()];
        let missing = lost.saturating_add(std::mem::take(&mut side.left_over));
        let current = side.current.take();
        // The end of the damaged frame is known, so the start of the next frame is known too.
        let rest = current.as_ref().and_then(|current| current.frame?.checked_sub(missing));
        (side.lost, side.pass_over) = (rest.is_none(), rest.unwrap_or(0));
        if let Some(mut current) = current {
            current.damaged = true;
            self.end(dir, current, cx);
        }
        Recovery::Resume
    }

    fn on_close(&mut self, dir: Direction, why: Close, cx: &mut Context<'_>) {
        // A client may close its direction and still get replies; a server that has closed its direction sends none.
        if why != Close::Fin || dir == Direction::ToClient {
            self.flush(cx);
        }
        self.wake(cx);
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        while let Some(asked) = self.waiting.expired(cx.now()) {
            self.unanswered(&asked, cx);
        }
        self.report_ended(cx);
        self.wake(cx);
    }

    fn held(&self) -> usize {
        let current = |side: &Side| side.current.held();
        self.sides.iter().map(current).sum::<usize>() + self.waiting.held() + self.scratch.held()
    }
}

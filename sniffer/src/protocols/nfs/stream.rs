//! RPC over TCP: records of one or several fragments, many outstanding calls, replies in any order. Only the beginning
//! of a record is parsed; the rest, for instance the contents of a file, is skipped.

use super::{
    Calls,
    event::Answer,
    wire::{self, Message},
};
use crate::{
    net::Direction,
    protocols::{
        Close, Context, Progress, Recovery, StreamParser,
        kit::{held::Held, resync::Resync},
    },
    time::Timestamp,
};
use smallvec::SmallVec;
use std::time::Duration;

/// Maximum number of waiting calls of one connection. Linux has 128 by default, and at most 65536.
const MOST_WAITING: usize = 4 << 10;

/// Maximum number of bytes that are searched at once. After a false match, the search continues after the matched
/// bytes.
const WINDOW: usize = 4 << 10;

#[derive(Default)]
struct Side {
    /// Whether the start of the next record is unknown.
    lost: bool,
    search: Resync,
    /// Whether the next fragment continues a record.
    begun: bool,
    /// The part of the record that is parsed.
    head: Vec<u8>,
    bytes: u64,
    time: Timestamp,
}

/// The state of an NFS connection over TCP.
pub struct Stream {
    calls: Calls<u32>,
    sides: [Side; 2],
    /// Whether a call of NFS was parsed.
    proven: bool,
    tls: bool,
}

/// How the parser continues with the rest of the data.
enum Step {
    /// The data up to this offset is read. The offset may be after the end of the data, which means that the following
    /// bytes are not needed.
    Taken(u64),
    /// This number of further bytes is needed.
    More(usize),
    /// The data is not a record.
    NotARecord,
}

/// Result of a search.
enum Found {
    /// A record begins at this offset.
    At(usize),
    /// No record begins in this number of bytes.
    NotIn(usize),
    /// The search has taken too long.
    Never,
}

impl Stream {
    /// Makes the parser of a new connection.
    pub fn new(timeout: Duration) -> Self {
        Self { calls: Calls::new(timeout, MOST_WAITING), sides: Default::default(), proven: false, tls: false }
    }

    /// Parses the fragment at `at` of the data.
    fn fragment(&mut self, dir: &mut Direction, rest: &[u8], at: usize, cx: &mut Context<'_>) -> Step {
        let side = &mut self.sides[dir.index()];
        let Some((last, length)) = wire::mark(rest) else { return Step::More(wire::MARK - rest.len()) };
        if !side.begun {
            match wire::plausible(rest) {
                None => return Step::More(wire::FOUND_IN.saturating_sub(rest.len()).max(1).min(length as usize + wire::MARK - rest.len())),
                Some(false) => return Step::NotARecord,
                Some(true) => {}
            }
        } else if !wire::plausible_length(length) {
            return Step::NotARecord;
        }
        let body = rest.get(wire::MARK..).unwrap_or_default();
        let is_reply = !side.begun && body.get(4..8) == Some(&[0, 0, 0, 1]);
        let limit = if is_reply { wire::REPLY_HEAD } else { wire::CALL_HEAD };
        let wanted = (length as usize).min(limit.saturating_sub(side.head.len()));
        let whole = body.len() >= wanted;
        let seen = body.get(..wanted).unwrap_or(body);
        // Before the first NFS message, more bytes of a record with several fragments are checked. After a start inside a message, other
        // numbers look like the lengths of long fragments.
        let checked = if self.proven { wire::START } else { wire::CERTAIN_START };
        let unchecked = side.begun || !last && !self.proven;
        if unchecked && side.head.len() < checked {
            let start: SmallVec<[u8; wire::CERTAIN_START]> = side.head.iter().chain(seen).copied().take(checked).collect();
            let verdict = match self.proven {
                true => wire::plausible_start(&start),
                false => wire::certain_start(&start, |xid| self.calls.waiting.contains(&xid)),
            };
            match verdict {
                Some(false) => return Step::NotARecord,
                None if !whole => return Step::More((checked - start.len()).min(wanted - body.len())),
                _ => {}
            }
        }
        if last && !side.begun {
            // One fragment usually has all bytes that are parsed.
            match wire::read(seen, whole) {
                None if !whole => return Step::More(wanted - body.len()),
                message => self.message(dir, message, length.into(), cx.time_at(at), cx),
            }
        } else if !whole {
            return Step::More(wanted - body.len());
        } else {
            if !side.begun {
                (side.begun, side.bytes, side.time) = (true, 0, cx.time_at(at));
            }
            side.head.extend_from_slice(seen);
            side.bytes = side.bytes.saturating_add(length.into());
            if last {
                let (head, bytes, time) = (std::mem::take(&mut side.head), side.bytes, side.time);
                side.begun = false;
                self.message(dir, wire::read(&head, true), bytes, time, cx);
            }
        }
        Step::Taken((at + wire::MARK) as u64 + u64::from(length))
    }

    fn message(&mut self, dir: &mut Direction, message: Option<Message<'_>>, bytes: u64, time: Timestamp, cx: &mut Context<'_>) {
        match message {
            Some(Message::Call(call)) => {
                if *dir == Direction::ToClient {
                    if !self.calls.waiting.is_empty() {
                        return cx.count("other_programs");
                    }
                    cx.flip();
                    self.sides.swap(0, 1);
                    *dir = dir.reverse();
                }
                self.proven = true;
                self.calls.asked(call.xid, call, time, bytes, cx);
            }
            // The client replies to a call of the server (RFC 8881 section 2.10.3.1).
            Some(Message::Reply(_)) if *dir == Direction::ToServer => cx.count("other_programs"),
            Some(Message::Reply(reply)) => {
                let asked = self.calls.answered(&reply.xid, &Answer { reply: &reply, time, bytes }, cx);
                self.tls |= asked.is_some_and(|asked| asked.call.asks_for_tls()) && reply.verifier == b"STARTTLS";
            }
            Some(Message::OtherProgram) => cx.count("other_programs"),
            None => cx.count("malformed"),
        }
    }

    /// Notes that the start of the next record is unknown.
    fn lose(&mut self, dir: Direction) {
        let side = &mut self.sides[dir.index()];
        *side = Side { lost: true, search: side.search, ..Side::default() };
    }

    /// Searches for the start of the next record.
    fn find(&mut self, dir: Direction, rest: &[u8]) -> Found {
        let window = rest.get(..WINDOW).unwrap_or(rest);
        let side = &mut self.sides[dir.index()];
        let waiting = &self.calls.waiting;
        match wire::find(window, |xid| dir == Direction::ToClient && waiting.contains(&xid)) {
            Some(at) => {
                side.lost = false;
                side.search.found();
                Found::At(at)
            }
            None => {
                let passed = window.len().saturating_sub(wire::FOUND_IN - 1);
                match side.search.passed(passed) {
                    Recovery::Resume => Found::NotIn(passed),
                    Recovery::GiveUp => Found::Never,
                }
            }
        }
    }
}

impl StreamParser for Stream {
    fn on_data(&mut self, mut dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let mut at = 0;
        let progress = loop {
            let rest = data.get(at..).unwrap_or_default();
            if self.sides[dir.index()].lost {
                match self.find(dir, rest) {
                    Found::At(begin) => at += begin,
                    Found::Never => return Progress::GiveUp,
                    Found::NotIn(passed) if rest.len() <= WINDOW => break Progress::consumed(at + passed),
                    Found::NotIn(passed) => at += passed,
                }
                continue;
            }
            if rest.is_empty() {
                break Progress::consumed(at);
            }
            match self.fragment(&mut dir, rest, at, cx) {
                Step::Taken(bytes) if self.tls => return Progress::HandOver { bytes, to: "tls" },
                Step::Taken(end) => match usize::try_from(end) {
                    Ok(end) if end <= data.len() => at = end,
                    _ => break Progress::Consumed { bytes: end, need: 1 },
                },
                Step::More(need) => break Progress::Consumed { bytes: at as u64, need },
                Step::NotARecord => {
                    cx.count("malformed");
                    self.lose(dir);
                    at += 1;
                }
            }
        };
        self.calls.wake(cx);
        progress
    }

    fn on_join(&mut self, dir: Direction) {
        self.lose(dir);
    }

    fn on_gap(&mut self, dir: Direction, _lost: u64, _cx: &mut Context<'_>) -> Recovery {
        self.lose(dir);
        Recovery::Resume
    }

    fn on_close(&mut self, dir: Direction, why: Close, cx: &mut Context<'_>) {
        // A client may close its direction and still get replies; a server that has closed its direction sends none.
        if (why != Close::Fin || dir == Direction::ToClient) && !cx.strict() {
            self.calls.flush(cx);
        }
        self.calls.wake(cx);
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.calls.expire(cx);
    }

    fn held(&self) -> usize {
        self.calls.held() + self.sides.iter().map(|side| side.head.held()).sum::<usize>()
    }
}

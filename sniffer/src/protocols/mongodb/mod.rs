//! MongoDB: commands and their replies, in OP_MSG, compressed or not, and in the legacy operations. Replies are paired
//! by the id of the request. Replies without a captured request, and replies after the first to a request, are counted
//! but not reported.
//!
//! <https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>

mod commands;
mod event;
mod fields;
mod inflate;
mod json;
mod mend;
mod request;
mod wire;

use super::{
    Close, CommonOptions, Context, Plugin, Probe, Progress, Protocol, Recovery, StreamParser,
    kit::{backlog::Limits, held::Held, matcher::Matcher, resync::Resync, shared::Shared, timers},
};
use crate::{config, net::Direction};
use event::Reply;
use request::Request;
use serde::Deserialize;
use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};
use wire::{HEADER, Header, Message, flag, op};

/// The protocol `mongodb`.
pub const PROTOCOL: Protocol = Protocol::over_tcp("mongodb", &[27017], open, probe, fields::FIELDS);

/// Maximum number of waiting requests of a connection. Drivers send one at a time; a proxy may have a few.
const MOST_WAITING: usize = 1000;
/// Maximum number of bytes of the texts of the waiting requests. Beyond this limit the complete text of a request is
/// dropped, and then the oldest request.
const MOST_HELD: usize = 4 << 20;
/// Number of bytes that are examined to decide whether a message begins at a position of the stream.
const DECIDING_BYTES: usize = 25;

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    /// Number of documents of a reply that are shown; 0: all.
    max_docs: i64,
    /// Number of bytes of each document that are shown; 0: all.
    max_doc_length: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_docs: 10, max_doc_length: 5000 }
    }
}

/// The plugin of MongoDB.
struct Mongo {
    common: CommonOptions,
    options: Options,
    unknown: UnknownCodes,
}

/// The unknown operation codes that were logged, each once. Their number is limited: data with more unknown codes is
/// not MongoDB, and further codes are not logged.
#[derive(Default)]
struct UnknownCodes(Mutex<Vec<i32>>);

/// Maximum number of codes in [`UnknownCodes`].
const MOST_CODES: usize = 64;

impl UnknownCodes {
    /// Logs `code`, if it was not logged before.
    fn log(&self, code: i32) {
        if !log::log_enabled!(target: "sniffer::mongodb", log::Level::Debug) {
            return;
        }
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < MOST_CODES && !logged.contains(&code) {
            logged.push(code);
            log::debug!(target: "sniffer::mongodb", "Unknown operation code: {code}");
        }
    }
}

impl Mongo {
    fn max_docs(&self) -> usize {
        usize::try_from(self.options.max_docs).ok().filter(|n| *n > 0).unwrap_or(usize::MAX)
    }

    fn max_doc_length(&self) -> usize {
        // If the option is 0, the whole document is shown. The text is limited even then, because only a limited part
        // of a message is read.
        usize::try_from(self.options.max_doc_length).ok().filter(|n| *n > 0).unwrap_or(8 * inflate::MOST)
    }
}

fn open(node: &config::Node) -> Result<Box<dyn Plugin>, config::Error> {
    let mongo = Mongo { common: node.read()?, options: node.read()?, unknown: UnknownCodes::default() };
    let time_out = mongo.common.transaction_timeout;
    Ok(Box::new(Shared::new(mongo, Connection::new).with_time_out(time_out)))
}

/// The length of a header is sufficient to recognise a message, because three of its four numbers have few valid values.
fn probe(dir: Direction, data: &[u8]) -> Probe {
    match Header::read(data) {
        Some(h) if dir == Direction::ToServer && h.op == op::REPLY => Probe::No,
        Some(_) => Probe::Yes,
        None if Header::possible(data) => Probe::More(HEADER - data.len()),
        None => Probe::No,
    }
}

struct Connection {
    plugin: Arc<Mongo>,
    waiting: Matcher<i32, Request>,
    /// Whether it is certain which side is the client.
    settled: bool,
    /// Whether a message was parsed.
    begun: bool,
    /// Whether the start of the next message in a direction is unknown.
    lost: [bool; 2],
    /// The search for the next message, by direction.
    search: [Resync; 2],
    /// Set while further replies to a request are expected: the id of the request, and that of the last reply.
    /// Servers refer to either.
    exhaust: Option<(i32, i32)>,
}

impl StreamParser for Connection {
    fn on_data(&mut self, mut dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let mut at = 0;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            if !self.begun && matches!(rest, [0x16, 3, 0..=4, _, _, 1 | 2, ..]) {
                return Progress::HandOver { bytes: at as u64, to: "tls" };
            }
            if self.lost[dir.index()] {
                let Some(begin) = self.find(rest) else {
                    let passed = rest.len().saturating_sub(DECIDING_BYTES - 1);
                    return match self.search[dir.index()].passed(passed) {
                        Recovery::Resume => Progress::Consumed { bytes: (at + passed) as u64, need: 1 },
                        Recovery::GiveUp => Progress::GiveUp,
                    };
                };
                self.lost[dir.index()] = false;
                at += begin;
                continue;
            }
            let Some(header) = Header::read(rest) else {
                if Header::possible(rest) {
                    return Progress::Consumed { bytes: at as u64, need: HEADER - rest.len() };
                }
                if let Some(code) = wire::unknown_operation(rest) {
                    self.plugin.unknown.log(code);
                }
                self.lost[dir.index()] = true;
                continue;
            };
            let wanted = header.length.min(inflate::MOST);
            let Some(body) = rest.get(HEADER..wanted) else {
                return Progress::Consumed { bytes: at as u64, need: wanted - rest.len() };
            };
            dir = self.message(dir, &header, body, at, cx);
            at += header.length;
        }
        Progress::Consumed { bytes: at as u64, need: HEADER }
    }

    fn on_join(&mut self, dir: Direction) {
        self.lost[dir.index()] = true;
    }

    fn on_gap(&mut self, dir: Direction, _lost: u64, _cx: &mut Context<'_>) -> Recovery {
        self.lost[dir.index()] = true;
        Recovery::Resume
    }

    fn on_close(&mut self, dir: Direction, why: Close, cx: &mut Context<'_>) {
        // A client that has closed its direction still gets replies.
        if (dir, why) != (Direction::ToServer, Close::Fin) {
            while self.waiting.pop().is_some() {
                cx.count("unmatched_requests");
            }
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        while let Some(mut request) = self.waiting.expired(cx.now()) {
            if request.extra_timeouts > 0 {
                request.extra_timeouts -= 1;
                self.wait(request, cx);
            } else {
                cx.count("unmatched_requests");
            }
        }
        timers::arm(cx, self.waiting.due());
    }

    fn held(&self) -> usize {
        self.waiting.held()
    }
}

impl Connection {
    /// Makes the parser of a new connection.
    fn new(plugin: Arc<Mongo>) -> Self {
        let limits = Limits { items: MOST_WAITING, bytes: MOST_HELD, timeout: plugin.common.transaction_timeout };
        Self {
            plugin,
            waiting: Matcher::new(limits),
            settled: false,
            begun: false,
            lost: [false; 2],
            search: [Resync::default(); 2],
            exhaust: None,
        }
    }

    /// Handles a message whose header is at `at`; `body` is the part that is read. Returns its corrected direction.
    fn message(&mut self, dir: Direction, header: &Header, body: &[u8], at: usize, cx: &mut Context<'_>) -> Direction {
        let packed = header.op == op::COMPRESSED;
        let Some(inner_op) = (if packed { body.first_chunk().map(|b| i32::from_le_bytes(*b)) } else { Some(header.op) }) else {
            cx.count("malformed");
            return dir;
        };
        let Some(real) = self.direction(dir, inner_op, header.to) else {
            cx.count("malformed");
            return dir;
        };
        if real != dir {
            cx.flip();
            self.lost.swap(0, 1);
            self.search.swap(0, 1);
        }
        self.begun = true;
        self.search[real.index()].found();
        let cut = HEADER + body.len() < header.length;
        let unpacked = if packed { inflate::unpack(body, cut) } else { Some(inflate::Inner { op: header.op, data: body.into(), cut }) };
        let Some(mut inner) = unpacked else {
            cx.count("undecodable");
            if real == Direction::ToClient {
                self.reply(header, None, false, at, cx);
            }
            return real;
        };
        if inner.cut {
            inner.data = mend::message(inner.op, &inner.data).map_or(Cow::Borrowed(&[]), Cow::Owned);
        }
        let Some(message) = wire::message(inner.op, &inner.data) else {
            cx.count("malformed");
            if real == Direction::ToClient && self.waiting.take(&header.to).is_some() {
                cx.count("unmatched_requests");
            }
            return real;
        };
        match real {
            Direction::ToServer => self.request(header, &message, at, cx),
            Direction::ToClient => self.reply(header, Some(message), inner.cut, at, cx),
        }
        real
    }

    /// The direction of a message. Until it is certain which side is the client, the operation or the id to which the message replies
    /// determines the direction. `None` if the message contradicts what is certain.
    fn direction(&mut self, dir: Direction, op: i32, to: i32) -> Option<Direction> {
        let (real, certain) = match op {
            op::MSG if self.settled => (dir, true),
            op::MSG => match (dir, to) {
                // The first request of some drivers has the id 0.
                (Direction::ToClient, _) if self.waiting.contains(&to) => (dir, true),
                (_, 0 | -1) => (Direction::ToServer, false),
                _ => (Direction::ToClient, true),
            },
            op::REPLY | op::COMMAND_REPLY => (Direction::ToClient, true),
            _ => (Direction::ToServer, true),
        };
        if self.settled && real != dir {
            return None;
        }
        self.settled |= certain;
        Some(real)
    }

    fn request(&mut self, header: &Header, message: &Message<'_>, at: usize, cx: &mut Context<'_>) {
        let Some(mut request) = Request::new(message, &self.plugin) else { return cx.count("ignored") };
        (request.id, request.time, request.bytes) = (header.id, cx.time_at(at), header.length as u64);
        if request.no_reply {
            return event::emit(&request, None, &self.plugin, cx);
        }
        self.wait(request, cx);
    }

    fn wait(&mut self, mut request: Request, cx: &mut Context<'_>) {
        if !self.waiting.has_bytes(request.held()) {
            request.shrink();
        }
        while self.waiting.evict_for(&request).is_some() {
            cx.count("unmatched_requests");
        }
        if self.waiting.insert(request.id, request, cx.now()).is_some() {
            cx.count("unmatched_requests");
        }
        timers::arm(cx, self.waiting.due());
    }

    fn reply(&mut self, header: &Header, message: Option<Message<'_>>, cut: bool, at: usize, cx: &mut Context<'_>) {
        let Some(request) = self.waiting.take(&header.to) else {
            let more = matches!(&message, Some(Message::Msg(m)) if m.flags & flag::MORE_TO_COME != 0)
                || matches!(&message, Some(Message::Reply { cursor: 1.. | ..=-1, .. }));
            return match self.exhaust {
                Some((asked, last)) if header.to == asked || header.to == last => {
                    self.exhaust = more.then_some((asked, header.id));
                    cx.count("exhaust_replies");
                }
                _ => cx.count("unmatched_responses"),
            };
        };
        let more = match &message {
            Some(Message::Msg(m)) => m.flags & flag::MORE_TO_COME != 0,
            Some(Message::Reply { cursor, .. }) => request.exhaust && *cursor != 0,
            _ => false,
        };
        if more {
            self.exhaust = Some((header.to, header.id));
        }
        let reply = Reply { time: cx.time_at(at), bytes: header.length as u64, message, cut };
        event::emit(&request, Some(&reply), &self.plugin, cx);
    }

    /// The start of the next message in `data`; `None` if it cannot be determined.
    fn find(&mut self, data: &[u8]) -> Option<usize> {
        data.windows(DECIDING_BYTES).position(|window| {
            let Some(header) = Header::read(window) else { return false };
            let at = |i: usize| window.get(i..).and_then(|b| b.first_chunk()).map_or(u32::MAX, |b| u32::from_le_bytes(*b));
            let first = at(HEADER);
            match header.op {
                op::MSG => {
                    let size = usize::try_from(at(HEADER + 5)).unwrap_or(usize::MAX);
                    first & !(flag::CHECKSUM_PRESENT | flag::MORE_TO_COME | 1 << 16) == 0
                        && matches!(window.get(HEADER + 4), Some(0 | 1))
                        && (5..header.length).contains(&size)
                }
                op::REPLY => first < 16 && self.waiting.contains(&header.to),
                op::QUERY => first < 256 && window.get(HEADER + 4).is_some_and(u8::is_ascii_graphic),
                op::COMPRESSED => matches!(first, 1 | 2001..=2013) && matches!(window.get(HEADER + 8), Some(0..=3)),
                op::KILL_CURSORS => {
                    first == 0 && header.to == 0 && header.length as u64 == HEADER as u64 + 8 + 8 * u64::from(at(HEADER + 4))
                }
                _ => first == 0 && header.to == 0 && window.get(HEADER + 4).is_some_and(u8::is_ascii_graphic),
            }
        })
    }
}

#[cfg(test)]
mod tests;

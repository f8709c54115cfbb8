//! DNS over TCP (RFC 7766): messages preceded by their length in two bytes, several at a time, in any order and in both
//! directions.

use super::{
    Options,
    transaction::{DUPLICATE, EMPTY, INCOMPLETE, Query, Reporter, Response, UNANSWERED, UNDECODABLE},
    wire::{HEADER, Header, Message, plausible},
};
use crate::{
    net::Direction,
    protocols::{
        Close, Context, Progress, Recovery, StreamParser,
        kit::{backlog::Limits, held::Held, matcher::Matcher, resync::Resync, timers},
    },
};

/// Maximum number of waiting queries of one connection, several times the number that resolvers pipeline.
const MOST_WAITING: usize = 256;

/// Length in bytes of the length field before a message.
const PREFIX: usize = 2;

/// What is known about the position in a direction relative to the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sync {
    /// Nothing was captured yet.
    #[default]
    Unknown,
    /// A message ended here, so the next one begins here.
    AtMessage,
    /// Data was missing or was not DNS, so the start of the next message is unknown.
    Lost,
}

#[derive(Default)]
struct Side {
    sync: Sync,
    search: Resync,
    /// Whether a message has begun and is incomplete. `header` is its header, if that was captured.
    begun: bool,
    header: Option<Header>,
    closed: bool,
}

/// The parser of one TCP connection.
pub struct Stream {
    reporter: Reporter,
    waiting: Matcher<u16, Query>,
    sides: [Side; 2],
    /// The id of a zone transfer, whose response may have many messages.
    transfer: Option<u16>,
}

impl Stream {
    /// Makes the parser of a new connection.
    pub fn new(options: Options) -> Self {
        Self {
            reporter: Reporter::new(options),
            waiting: Matcher::new(Limits { items: MOST_WAITING, bytes: usize::MAX, timeout: options.timeout }),
            sides: Default::default(),
            transfer: None,
        }
    }

    fn message(&mut self, dir: &mut Direction, octets: &[u8], at: usize, cx: &mut Context<'_>) {
        let parsed = Message::parse(octets);
        // An incomplete response is shown as far as it can be parsed, if its query is known.
        let is_response = |m: &Message<'_>| m.header.is_response() && self.waiting.contains(&m.header.id);
        let Some(message) = parsed.ok().filter(|m| m.fault.is_none() || is_response(m)) else {
            cx.count("parse_failures");
            self.lost(*dir, Header::read(octets), UNDECODABLE, cx);
            return;
        };
        let is_response = message.header.is_response();
        if is_response == (*dir == Direction::ToServer) {
            cx.flip();
            self.sides.swap(0, 1);
            *dir = dir.reverse();
        }
        self.sides[dir.index()].sync = Sync::AtMessage;
        self.sides[dir.index()].search.found();
        let (id, time, bytes) = (message.header.id, cx.time_at(at), PREFIX + octets.len());
        if !is_response {
            if !message.is_acceptable(octets.len()) {
                return cx.count("parse_failures");
            }
            if self.transfer == Some(id) {
                self.transfer = None;
            }
            let query = Query::new(&message, cx.peers(), time, bytes, false);
            if let Some(out) = self.waiting.insert(id, query, cx.now()) {
                self.reporter.unanswered(cx, &out, if out.id() == id { DUPLICATE } else { UNANSWERED });
            }
            return;
        }
        let query = self.waiting.take(&id);
        if query.is_none() && self.transfer == Some(id) {
            return cx.count("transfer_messages");
        }
        if query.is_none() && !message.is_acceptable(octets.len()) {
            return cx.count("parse_failures");
        }
        // 251 is IXFR and 252 is AXFR (zone transfers).
        if query.is_some() && message.question.is_some_and(|q| matches!(q.rtype, 251 | 252)) {
            self.transfer = Some(id);
        }
        self.reporter.answered(cx, query.as_ref(), &Response { message: &message, time, bytes, udp: false });
    }

    /// Notes that the start of the next message is unknown. If the current message was a response, its query is
    /// reported without it.
    fn lost(&mut self, dir: Direction, header: Option<Header>, note: &'static str, cx: &mut Context<'_>) {
        let side = &mut self.sides[dir.index()];
        side.sync = Sync::Lost;
        side.begun = false;
        if dir == Direction::ToClient {
            // The lost response is assumed to be that of the query with this id, or otherwise of the oldest query, because nearly all
            // responses arrive in order.
            let named = header.and_then(|header| self.waiting.take(&header.id));
            if let Some(query) = named.or_else(|| self.waiting.pop()) {
                self.reporter.unanswered(cx, &query, note);
            }
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        while let Some(query) = self.waiting.pop() {
            self.reporter.unanswered(cx, &query, UNANSWERED);
        }
    }

    fn wake(&self, cx: &mut Context<'_>) {
        timers::arm(cx, self.waiting.due());
    }

    /// Handles data in which no message was found, and continues the search with the next data. The parser gives up if too many bytes were
    /// searched.
    fn search_on(&mut self, dir: Direction, rest: &[u8], bytes: usize, cx: &mut Context<'_>) -> Progress {
        let header = rest.get(PREFIX..).and_then(Header::read);
        if self.sides[dir.index()].sync == Sync::Unknown {
            cx.count("parse_failures");
            self.lost(dir, header, UNDECODABLE, cx);
        }
        let side = &mut self.sides[dir.index()];
        side.begun = false;
        if side.search.passed(rest.len()) == Recovery::GiveUp {
            self.flush(cx);
            return Progress::GiveUp;
        }
        self.wake(cx);
        Progress::consumed(bytes)
    }
}

impl StreamParser for Stream {
    fn on_data(&mut self, mut dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let mut at = 0;
        loop {
            let rest = data.get(at..).unwrap_or_default();
            let missing = match rest.split_first_chunk::<PREFIX>() {
                None => PREFIX - rest.len(),
                Some((&[0, 0], _)) if self.sides[dir.index()].sync == Sync::AtMessage => {
                    cx.count("parse_failures");
                    self.lost(dir, None, EMPTY, cx);
                    at += PREFIX;
                    continue;
                }
                Some((length, body)) => {
                    let length = u16::from_be_bytes(*length);
                    let good = self.sides[dir.index()].sync == Sync::AtMessage || plausible(length, body) == Some(true);
                    match body.get(..length.into()) {
                        Some(octets) if good => {
                            self.message(&mut dir, octets, at, cx);
                            at += PREFIX + octets.len();
                            continue;
                        }
                        None if good => usize::from(length) - body.len(),
                        _ if plausible(length, body).is_none() => HEADER - body.len(),
                        _ => return self.search_on(dir, rest, data.len(), cx),
                    }
                }
            };
            let side = &mut self.sides[dir.index()];
            side.begun = !rest.is_empty();
            side.header = rest.get(PREFIX..).and_then(Header::read);
            self.wake(cx);
            return Progress::Consumed { bytes: at as u64, need: if rest.is_empty() { 1 } else { missing } };
        }
    }

    fn on_gap(&mut self, dir: Direction, _lost: u64, cx: &mut Context<'_>) -> Recovery {
        let side = &self.sides[dir.index()];
        let header = side.header.filter(|_| side.begun);
        self.lost(dir, header, INCOMPLETE, cx);
        Recovery::Resume
    }

    fn on_close(&mut self, dir: Direction, why: Close, cx: &mut Context<'_>) {
        let side = &mut self.sides[dir.index()];
        side.closed = true;
        if std::mem::take(&mut side.begun) {
            let header = side.header;
            self.lost(dir, header, INCOMPLETE, cx);
        }
        // A client may close its direction and still get responses; a server that has closed its direction sends none.
        let over = if why == Close::Fin { dir == Direction::ToClient } else { self.sides.iter().all(|side| side.closed) };
        if over && !cx.strict() {
            self.flush(cx);
        }
        self.wake(cx);
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        while let Some(query) = self.waiting.expired(cx.now()) {
            self.reporter.unanswered(cx, &query, UNANSWERED);
        }
        self.wake(cx);
    }

    fn held(&self) -> usize {
        self.waiting.held() + self.reporter.held()
    }
}

//! A conversation of one client with one server, in either protocol: parses the data of both sides. `pairing.rs` pairs responses with
//! requests. A conversation is a TCP connection, or one request id over UDP.

use super::{
    Memcache,
    binary::{self, Header},
    message::{Kind, MOST_TEXT, Message, Span},
    replies,
    wire::{self, Ask, Line},
};
use crate::{
    net::Direction,
    protocols::{
        Context, End, Progress, Recovery,
        kit::{backlog::Backlog, held::Held, resync::Resync},
    },
    time::Timestamp,
};
use std::sync::Arc;

/// Longest line in bytes; a `get` of a thousand long keys fits. memcached's own limit is lower.
const LONGEST_LINE: usize = 256 << 10;

/// The state of one conversation.
pub struct Session {
    pub(super) plugin: Arc<Memcache>,
    /// Whether notes are reported; not over UDP.
    pub(super) notes: bool,
    /// Whether the protocol is binary. The first byte of the data determines this, again at each call until a message was parsed.
    pub(super) binary: bool,
    /// Whether a message was parsed.
    pub(super) known: bool,
    pub(super) asks: Side,
    pub(super) answers: Side,
    /// Waiting requests in the order of their arrival.
    pub(super) pending: Backlog<Message>,
    /// Whether requests may have been missed: a response without a request is then not reported until the next request.
    pub(super) lost: bool,
    /// Number of requests that were reported without a response and may still get one (text protocol).
    pub(super) late: u32,
    /// Whether the server sends log lines from here on.
    pub(super) watched: bool,
    /// Whether the beginning of the client's direction was not captured.
    joined: bool,
    /// Whether a request was skipped at the start of the capture, and the server has sent nothing since. The next response is
    /// that of the skipped request (text protocol).
    pub(super) skipped: bool,
    /// The search for a known message, in both directions.
    search: Resync,
}

/// The state of one side.
#[derive(Default)]
pub struct Side {
    pub(super) message: Message,
    body: Option<Body>,
    /// Whether it is uncertain if a message begins at the next byte.
    unsure: bool,
}

impl Side {
    /// The client sends a request while no other waits. It has received the end of the response in which bytes are
    /// missing, so the next line of the server begins a response, even one of unknown form.
    pub(super) fn sure_again(&mut self) {
        if self.body.is_none() && self.message.command.is_empty() {
            self.unsure = false;
        }
    }
}

/// A value that is being read.
struct Body {
    /// Number of bytes of the value that are still to be read.
    left: u64,
    /// Number of bytes of the line end after the value.
    tail: u8,
    /// Number of bytes that are still to be kept.
    keep: usize,
    shown: bool,
}

/// What follows after a part of the data was parsed.
enum Step {
    Took(usize),
    /// The parser must be called again after this number of further bytes.
    Need(usize),
    /// The parser must be called again at the end of a line.
    NeedLine,
    /// All data was consumed, and this number of further bytes is not needed.
    Skip(u64),
    Done,
    GiveUp,
}

impl Session {
    /// Makes a conversation in its initial state.
    pub fn new(plugin: Arc<Memcache>, notes: bool) -> Self {
        Self {
            pending: Backlog::new(super::pairing::limits(&plugin)),
            plugin,
            notes,
            binary: false,
            known: false,
            asks: Side::default(),
            answers: Side::default(),
            lost: false,
            late: 0,
            watched: false,
            joined: false,
            skipped: false,
            search: Resync::default(),
        }
    }

    /// Number of allocated bytes.
    pub fn held(&self) -> usize {
        self.pending.held() + self.asks.message.held() + self.answers.message.held()
    }

    fn side(&mut self, dir: Direction) -> &mut Side {
        match dir {
            Direction::ToServer => &mut self.asks,
            Direction::ToClient => &mut self.answers,
        }
    }

    /// Handles the next bytes of one side.
    pub fn on_data(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        if cx.skipped().lost > 0 {
            self.side(dir).message.lost = true;
        }
        if dir == Direction::ToClient {
            self.skipped = false;
        }
        if !self.known {
            self.binary = matches!(data.first(), Some(&(binary::REQUEST | binary::RESPONSE)));
        }
        let mut at = 0;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            let step = if self.side(dir).body.is_some() {
                self.body(dir, rest, cx)
            } else if self.binary {
                self.message(dir, rest, cx.time_at(at), cx)
            } else {
                self.line(dir, rest, cx.time_at(at), cx)
            };
            match step {
                Step::Took(n) => at += n,
                Step::Need(need) => return Progress::Consumed { bytes: at as u64, need },
                Step::NeedLine => return Progress::Search { bytes: at, end: End::Line, most: LONGEST_LINE + 1 },
                Step::Skip(n) => return Progress::Consumed { bytes: (data.len() as u64).saturating_add(n), need: 1 },
                Step::Done => return Progress::Done,
                Step::GiveUp => return Progress::GiveUp,
            }
        }
        Progress::consumed(at)
    }

    /// Notes that the first data of a side may begin inside a message.
    pub fn on_join(&mut self, dir: Direction) {
        self.side(dir).unsure = true;
        self.joined |= dir == Direction::ToServer;
    }

    /// Handles a gap. A gap inside a value only causes a note. Any other gap drops the current message, and the
    /// messages that can no longer be paired.
    pub fn on_gap(&mut self, dir: Direction, lost: u64, cx: &mut Context<'_>) -> Recovery {
        let side = self.side(dir);
        if let Some(body) = &mut side.body {
            side.message.lost = true;
            let of_value = lost.min(body.left);
            body.left -= of_value;
            let of_tail = (lost - of_value).min(u64::from(body.tail));
            body.tail -= of_tail as u8; // at most 2
            if body.left > 0 || body.tail > 0 {
                return Recovery::Resume;
            }
            self.value_ends(dir, cx);
            if of_value + of_tail == lost {
                return Recovery::Resume;
            }
        }
        let side = self.side(dir);
        side.unsure = true;
        match dir {
            Direction::ToServer => side.message.reset(),
            Direction::ToClient if side.message.command.is_empty() => side.message.reset(),
            Direction::ToClient => {
                side.message.lost = true;
                self.answered(cx);
            }
        }
        self.lost = true;
        if dir == Direction::ToClient && !self.binary {
            self.forget_pending(cx);
        }
        Recovery::Resume
    }

    fn search_on(&mut self, dir: Direction, bytes: usize, cx: &mut Context<'_>) -> Step {
        self.side(dir).unsure = true;
        if dir == Direction::ToServer && self.joined && !self.known {
            (self.skipped, self.lost) = (true, true);
        }
        cx.count("skipped_parts");
        match self.search.passed(bytes) {
            Recovery::Resume => Step::Took(bytes),
            Recovery::GiveUp => Step::GiveUp,
        }
    }

    fn found(&mut self, dir: Direction) {
        self.known = true;
        self.search.found();
        self.side(dir).unsure = false;
    }

    /// Starts a value of `left` bytes, followed by a line end of `tail` bytes.
    fn value_begins(&mut self, dir: Direction, left: u64, tail: u8) {
        let options = &self.plugin.options;
        let most_values = usize::try_from(options.maxvalues).unwrap_or(usize::MAX);
        let most_bytes = usize::try_from(options.maxbytespervalue).ok().filter(|n| *n > 0).unwrap_or(usize::MAX);
        let side = self.side(dir);
        let message = &mut side.message;
        // SASL data contains a password.
        let shown = message.kind != Kind::Auth && message.values.len() < most_values.min(super::message::MOST_ITEMS);
        if shown {
            message.values.push(Span(message.text.len(), message.text.len()));
        }
        let keep = if shown { most_bytes.min(MOST_TEXT.saturating_sub(message.text.len())) } else { 0 };
        side.body = Some(Body { left, tail, keep, shown });
    }

    /// Continues a value: keeps the part to show, and skips the rest except its last byte, so that the parser is called
    /// when the value ends.
    fn body(&mut self, dir: Direction, rest: &[u8], cx: &mut Context<'_>) -> Step {
        let side = self.side(dir);
        let Some(body) = &mut side.body else { return Step::Took(0) };
        if body.left > 0 {
            let n = usize::try_from(body.left).unwrap_or(usize::MAX).min(rest.len());
            let keep = body.keep.min(n);
            if keep > 0 && !side.message.lost {
                side.message.text.extend_from_slice(&rest[..keep]);
                body.keep -= keep;
                if let Some(span) = side.message.values.last_mut() {
                    span.1 = side.message.text.len();
                }
            }
            body.left -= n as u64;
            let last = u64::from(body.tail == 0);
            if body.left > last && (body.keep == 0 || side.message.lost) {
                let skip = body.left - last;
                body.left = last;
                return Step::Skip(skip);
            }
            if body.left == 0 && body.tail == 0 {
                self.value_ends(dir, cx);
            }
            return Step::Took(n);
        }
        let expected = if body.tail == 2 { b'\r' } else { b'\n' };
        if rest.first() != Some(&expected) {
            side.unsure = true; // the value is longer than announced: the server refuses it
            self.value_ends(dir, cx);
            return Step::Took(0);
        }
        body.tail -= 1;
        if body.tail == 0 {
            self.value_ends(dir, cx);
        }
        Step::Took(1)
    }

    fn value_ends(&mut self, dir: Direction, cx: &mut Context<'_>) {
        let side = self.side(dir);
        let Some(body) = side.body.take() else { return };
        side.message.count_values += 1;
        if side.message.lost && body.shown {
            side.message.values.pop();
        }
        match dir {
            Direction::ToServer => self.asked(cx),
            Direction::ToClient if side.message.command == "VALUE" => {} // more lines follow, up to END
            Direction::ToClient => self.answered(cx),
        }
    }

    /// Handles a line of the text protocol.
    fn line(&mut self, dir: Direction, rest: &[u8], time: Timestamp, cx: &mut Context<'_>) -> Step {
        if self.watched && dir == Direction::ToClient {
            return Step::Done;
        }
        let Some(end) = memchr::memchr(b'\n', rest) else {
            // After a start inside a value there may be no further line end, even in the binary protocol.
            let text = self.known || !self.side(dir).unsure && rest.iter().take(64).all(|b| (b' '..=b'~').contains(b) || *b == b'\r');
            return if text && rest.len() <= LONGEST_LINE { Step::NeedLine } else { self.search_on(dir, rest.len(), cx) };
        };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        match dir {
            Direction::ToServer => self.request_line(line, end + 1, time, cx),
            Direction::ToClient => self.reply_line(line, end + 1, time, cx),
        }
    }

    fn request_line(&mut self, line: &[u8], n: usize, time: Timestamp, cx: &mut Context<'_>) -> Step {
        let m = &mut self.asks.message;
        m.reset();
        let read = wire::request(line, m);
        (m.time, m.size) = (time, n as u64);
        match read {
            Line::Whole | Line::More => {
                self.found(Direction::ToServer);
                self.asked(cx);
            }
            Line::Value(bytes) => {
                m.size = m.size.saturating_add(bytes + 2);
                self.found(Direction::ToServer);
                self.value_begins(Direction::ToServer, bytes, 2);
            }
            // The server responds to this line with an error, so the line is kept as a request.
            Line::Unknown if !self.asks.unsure && plausible(line) => {
                m.reset();
                (m.time, m.size, m.ask, m.command) = (time, n as u64, wire::unknown(line), "UNKNOWN");
                if line.first().is_some_and(u8::is_ascii_lowercase) {
                    m.line = Some(m.keep(line));
                }
                self.asked(cx);
                if self.search.passed(n) == Recovery::GiveUp {
                    return Step::GiveUp;
                }
            }
            Line::Unknown => return self.search_on(Direction::ToServer, n, cx),
        }
        Step::Took(n)
    }

    fn reply_line(&mut self, line: &[u8], n: usize, time: Timestamp, cx: &mut Context<'_>) -> Step {
        let front = self.pending.front().map(|request| request.ask);
        let m = &mut self.answers.message;
        let begun = !m.command.is_empty();
        if !begun {
            m.reset();
            m.time = time;
        }
        let before = (m.command, m.kind);
        let read = replies::reply(line, m, front);
        if read != Line::Unknown {
            m.size = m.size.saturating_add(n as u64);
        }
        match read {
            Line::Whole => {
                self.found(Direction::ToClient);
                self.answered(cx);
            }
            Line::Value(bytes) => {
                m.size = m.size.saturating_add(bytes + 2);
                self.found(Direction::ToClient);
                self.value_begins(Direction::ToClient, bytes, 2);
            }
            Line::More => self.found(Direction::ToClient),
            Line::Unknown if begun => {
                (m.command, m.kind) = before;
                m.lost = true;
                return self.search_on(Direction::ToClient, n, cx);
            }
            Line::Unknown => {
                m.reset();
                if self.answers.unsure || front != Some(Ask::Unknown) || !plausible(line) {
                    return self.search_on(Direction::ToClient, n, cx);
                }
                (m.time, m.size, m.command, m.kind) = (time, n as u64, "UNKNOWN", Kind::Unknown);
                m.line = Some(m.keep(line));
                self.answered(cx);
            }
        }
        Step::Took(n)
    }

    /// Handles a message of the binary protocol.
    fn message(&mut self, dir: Direction, rest: &[u8], time: Timestamp, cx: &mut Context<'_>) -> Step {
        let request = dir == Direction::ToServer;
        let magic = if request { binary::REQUEST } else { binary::RESPONSE };
        if rest.len() < binary::HEADER && rest.first() == Some(&magic) {
            return Step::Need(binary::HEADER - rest.len());
        }
        let unsure = self.side(dir).unsure || !self.known;
        let Some(header) = Header::read(rest, request).filter(|header| !unsure || header.certain()) else {
            let next = memchr::memchr(magic, rest.get(1..).unwrap_or_default()).map_or(rest.len(), |n| n + 1);
            return self.search_on(dir, next, cx);
        };
        let (needed, whole) = header.needed();
        if rest.len() < needed {
            return Step::Need(needed - rest.len());
        }
        self.found(dir);
        let more_of_same = header.more() || header.opcode == self.answers.message.opcode;
        if dir == Direction::ToClient && !self.answers.message.command.is_empty() && !more_of_same {
            self.answered(cx); // the end of the statistics is missing
        }
        let m = &mut self.side(dir).message;
        if m.command.is_empty() {
            m.reset();
            m.time = time;
        }
        let before = m.size;
        header.fill(rest, m);
        m.size = m.size.saturating_add(before);
        let value = if whole { 0 } else { header.value() as u64 };
        if value > 0 {
            m.bytes = Some(value);
            self.value_begins(dir, value, 0);
        } else if request {
            self.asked(cx);
        } else if !header.more() {
            self.answered(cx);
        }
        Step::Took(needed)
    }
}

/// Whether an unknown line may have been typed by a user, rather than be part of a value.
fn plausible(line: &[u8]) -> bool {
    line.len() <= 2048 && line.iter().all(|b| (b' '..=b'~').contains(b))
}

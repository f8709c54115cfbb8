//! Redis: commands and their replies, RESP2 and RESP3, pipelined or not. Every message of the client is a request;
//! there is no list of commands. Messages without a request (pub/sub messages, `MONITOR` lines, RESP3 pushes) are
//! counted, not reported.
//!
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>

mod event;
mod fields;
mod wire;

use super::{
    Close, CommonOptions, Context, End, Plugin, Probe, Progress, Protocol, Recovery, StreamParser,
    kit::{
        backlog::{Backlog, Limits},
        held::{self, Held},
        shared::Shared,
    },
};
use crate::{config, event::Summary, net::Direction, time::Timestamp};
use event::Request;
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use wire::{Kind, Message, Reader, Step, Style};

/// The protocol `redis`.
pub const PROTOCOL: Protocol = Protocol {
    summary: Summary { result: &["{redis.error}"], ..Summary::HEAD },
    ..Protocol::over_tcp("redis", &[6379], open, probe, fields::FIELDS)
};

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    /// Maximum number of bytes of waiting commands per connection; of further commands no text is kept.
    #[serde(with = "config::bytes")]
    queue_max_bytes: u64,
    /// Maximum number of waiting commands. With more of them, replies are ignored until a command arrives while no
    /// other command waits.
    queue_max_messages: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { queue_max_bytes: 1 << 20, queue_max_messages: 20_000 }
    }
}

struct Redis {
    common: CommonOptions,
    options: Options,
}

fn open(node: &config::Node) -> Result<Box<dyn Plugin>, config::Error> {
    Ok(Box::new(Shared::new(Redis { common: node.read()?, options: node.read()? }, Connection::new)))
}

/// An array of bulk strings is recognised as a request. Replies alone are not sufficient evidence of the protocol.
fn probe(dir: Direction, data: &[u8]) -> Probe {
    let digits = data.iter().skip(1).take_while(|b| b.is_ascii_digit()).count();
    let after = data.get(1 + digits..).unwrap_or_default();
    match (dir, data.first()) {
        (_, Some(b'*')) if after.starts_with(b"\r\n$") && digits > 0 => Probe::Yes,
        (_, Some(b'*')) if b"\r\n$".starts_with(after) && digits < 10 => Probe::More(3),
        (Direction::ToClient, Some(b'+' | b'-' | b':' | b'$' | b'%')) => Probe::More(1),
        _ => Probe::No,
    }
}

/// The messages that the server sends without a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The server sends nothing without a request.
    Asking,
    /// Messages of channels (RESP2; in RESP3 they are pushes).
    Subscribed,
    /// A line for each command of any client (MONITOR).
    Monitoring,
}

/// What is known of the position in the client's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// A command begins where the last one ended.
    Known,
    /// The capture began in the middle of the connection, and no command was found yet. The rest of a command may look like
    /// an inline command.
    Unknown,
    /// Like `Unknown`, but the last byte was a line end. If the server sends next, an inline command may follow.
    AfterLine,
}

struct Connection {
    plugin: Arc<Redis>,
    requests: Reader,
    replies: Reader,
    /// Time at which the current message began, by direction.
    started: [Timestamp; 2],
    pending: Backlog<Request>,
    /// Whether the pairing is unknown: replies are ignored until a command arrives while no other command waits.
    lost: bool,
    /// Whether a part of the current reply is missing.
    damaged: bool,
    /// The position in the client's data.
    entry: Entry,
    /// Whether the rest of a command was skipped at the start of the capture, and the server has sent nothing since.
    skipped: bool,
    mode: Mode,
    /// Whether the client turned replies off.
    silent: bool,
    /// Whether the client wants no reply to its next command.
    skips: bool,
    scratch: String,
}

impl StreamParser for Connection {
    fn on_data(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let dir = self.correct_direction(dir, data, cx);
        match dir {
            Direction::ToServer => self.on_requests(data, cx),
            Direction::ToClient => self.on_replies(data, cx),
        }
    }

    fn on_join(&mut self, dir: Direction) {
        // A client that has read a reply sends the beginning of a command.
        let replied = self.started[Direction::ToClient.index()] != Timestamp::default();
        if dir == Direction::ToServer && !replied {
            self.entry = Entry::Unknown;
        }
    }

    fn on_gap(&mut self, dir: Direction, lost: u64, cx: &mut Context<'_>) -> Recovery {
        let within = match dir {
            Direction::ToServer => self.requests.lose(lost),
            Direction::ToClient => self.replies.lose(lost),
        };
        match (dir, within) {
            // A command with a gap in its text is not reported, but stays in the queue.
            (Direction::ToServer, true) => self.damaged = true,
            (Direction::ToClient, true) => self.damaged = true,
            (_, false) => self.lose_track(cx),
        }
        Recovery::Resume
    }

    fn on_close(&mut self, dir: Direction, _why: Close, cx: &mut Context<'_>) {
        // After the server's last byte there is no further reply.
        if dir == Direction::ToClient {
            self.forget_pending(cx);
        }
    }

    fn remembers(&self) -> bool {
        self.mode != Mode::Asking || !self.pending.is_empty()
    }

    fn held(&self) -> usize {
        self.requests.held() + self.replies.held() + self.pending.held() + self.scratch.held()
    }
}

/// Waits for the end of the line that begins at `at`. Only lines have to be complete; the bytes of a string are
/// consumed as they arrive.
fn wait(at: usize) -> Progress {
    Progress::Search { bytes: at, end: End::Line, most: wire::LONGEST_LINE + 1 }
}

impl Connection {
    /// Makes the parser of a new connection.
    fn new(plugin: Arc<Redis>) -> Self {
        let most = usize::try_from(plugin.options.queue_max_bytes).unwrap_or(usize::MAX);
        let limits = Limits { items: plugin.options.queue_max_messages, bytes: most, timeout: Duration::MAX };
        Self {
            plugin,
            requests: Reader::new(Style::Words, most),
            replies: Reader::new(Style::Brackets, most),
            started: [Timestamp::default(); 2],
            pending: Backlog::new(limits),
            lost: false,
            damaged: false,
            entry: Entry::Known,
            skipped: false,
            mode: Mode::Asking,
            silent: false,
            skips: false,
            scratch: String::new(),
        }
    }

    /// Returns the corrected direction of the data. After a start in the middle of a connection, client and server may
    /// be confused.
    fn correct_direction(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Direction {
        let untouched = self.pending.is_empty() && self.requests.at_start() && self.replies.at_start();
        if dir == Direction::ToServer && untouched && matches!(data, [b'+' | b'-' | b':', ..]) {
            cx.flip();
            return dir.reverse();
        }
        dir
    }

    fn on_requests(&mut self, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let (mut at, mut line) = (0, false);
        if self.entry != Entry::Known {
            let (skipped, certain) = wire::first_array(data);
            self.skipped |= skipped > 0;
            if !certain {
                if let Some(last) = skipped.checked_sub(1) {
                    self.entry = if data.get(last) == Some(&b'\n') { Entry::AfterLine } else { Entry::Unknown };
                }
                return Progress::consumed(skipped);
            }
            self.entry = Entry::Known;
            if self.skipped {
                self.lose_track(cx); // The next reply is that of the skipped command.
            }
            at = skipped;
        }
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            if self.requests.at_start() {
                self.started[0] = cx.time_at(at);
                if rest[0] != b'*' {
                    match self.inline(rest, cx) {
                        Some(0) => {
                            line = true;
                            break;
                        }
                        Some(n) => {
                            at += n;
                            continue;
                        }
                        None => {
                            self.lose_track(cx);
                            return Progress::consumed(data.len());
                        }
                    }
                }
            }
            match self.requests.read(rest) {
                Step::Whole(n, message) => {
                    at += n;
                    self.request(message, cx);
                }
                Step::More(n) => {
                    at += n;
                    line = true;
                    break;
                }
                Step::Malformed => {
                    self.lose_track(cx);
                    return Progress::consumed(data.len());
                }
            }
        }
        if line { wait(at) } else { Progress::consumed(at) }
    }

    /// Parses an inline command: words and a line end. Returns the command's length, 0 if the command is incomplete, or
    /// `None` if the data is not an inline command.
    fn inline(&mut self, data: &[u8], cx: &mut Context<'_>) -> Option<usize> {
        let printable = data.iter().take_while(|b| matches!(b, b' '..=b'~' | b'\t' | b'\r' | 0x80..)).count();
        let Some(end) = data.get(printable) else { return (printable <= wire::LONGEST_LINE).then_some(0) };
        if *end != b'\n' || !(data[0].is_ascii_alphabetic() || matches!(data[0], b'\r' | b'\n' | b' ')) {
            return None;
        }
        let message = wire::inline(&data[..printable], printable as u64 + 1);
        self.request(message, cx);
        Some(printable + 1)
    }

    fn request(&mut self, message: Message, cx: &mut Context<'_>) {
        let damaged = std::mem::take(&mut self.damaged);
        let Some(mut request) = Request::new(message, self.started[0]) else { return };
        if self.pending.is_empty() && self.replies.at_start() && !self.skipped {
            self.lost = false;
        }
        match request.method.as_slice() {
            b"CLIENT REPLY" => {
                let how = request.text.rsplit(|b| *b == b' ').next().unwrap_or_default().to_ascii_uppercase();
                self.silent = how == b"OFF";
                self.skips = how == b"SKIP";
                if how != b"ON" {
                    return;
                }
            }
            b"SUBSCRIBE" | b"PSUBSCRIBE" | b"SSUBSCRIBE" => self.mode = Mode::Subscribed,
            b"MONITOR" => self.mode = Mode::Monitoring,
            _ => {}
        }
        if self.silent || self.lost || std::mem::take(&mut self.skips) {
            return cx.count("unmatched_requests");
        }
        if damaged || !self.pending.has_bytes(request.held()) {
            request.shrink();
        }
        if self.pending.push(request).is_some() {
            self.lose_track(cx);
        }
    }

    fn on_replies(&mut self, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let (mut at, mut line) = (0, false);
        self.skipped = false;
        if self.entry == Entry::AfterLine {
            self.entry = Entry::Known;
        }
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            if self.lost {
                return Progress::consumed(data.len());
            }
            if self.replies.at_start() {
                self.started[1] = cx.time_at(at);
            }
            match self.replies.read(rest) {
                Step::Whole(n, message) => {
                    at += n;
                    self.reply(&message, cx);
                }
                Step::More(n) => {
                    at += n;
                    line = true;
                    break;
                }
                Step::Malformed => {
                    self.lose_track(cx);
                    return Progress::consumed(data.len());
                }
            }
        }
        if line { wait(at) } else { Progress::consumed(at) }
    }

    fn reply(&mut self, reply: &Message, cx: &mut Context<'_>) {
        let damaged = std::mem::take(&mut self.damaged);
        if self.is_unrequested(reply) {
            return cx.count("pushes");
        }
        let Some(request) = self.pending.pop() else { return cx.count("unmatched_responses") };
        if damaged || request.method.is_empty() {
            return cx.count("unmatched_requests");
        }
        if request.method == b"RESET" {
            self.mode = Mode::Asking;
        }
        event::emit(&request, reply, self.started[1], &self.plugin.common, &mut self.scratch, cx);
        held::clear_text(&mut self.scratch);
    }

    /// Whether the message has no request: a message of a channel, a further confirmation of a command for several
    /// channels, or a line of MONITOR.
    fn is_unrequested(&self, reply: &Message) -> bool {
        let first = if reply.aggregate { self.first_word(reply) } else { &[] };
        let confirms = [&b"subscribe"[..], b"unsubscribe", b"psubscribe", b"punsubscribe", b"ssubscribe", b"sunsubscribe"].contains(&first);
        let asked = || self.pending.front().is_some_and(|r| r.method.eq_ignore_ascii_case(first));
        match (reply.kind, self.mode) {
            (Kind::Push, _) => !(confirms && asked()),
            (_, Mode::Subscribed) if reply.aggregate => matches!(first, b"message" | b"pmessage" | b"smessage") || confirms && !asked(),
            (Kind::Value, Mode::Monitoring) => self.pending.is_empty() || reply.text.first().is_some_and(u8::is_ascii_digit),
            _ => false,
        }
    }

    fn first_word<'a>(&self, message: &'a Message) -> &'a [u8] {
        message.word(0).unwrap_or_default()
    }

    /// Notes that the pairing is unknown.
    fn lose_track(&mut self, cx: &mut Context<'_>) {
        self.forget_pending(cx);
        self.requests.reset();
        self.replies.reset();
        (self.lost, self.damaged) = (true, false);
    }

    fn forget_pending(&mut self, cx: &mut Context<'_>) {
        while self.pending.pop().is_some() {
            cx.count("unmatched_requests");
        }
    }
}

#[cfg(test)]
mod tests;

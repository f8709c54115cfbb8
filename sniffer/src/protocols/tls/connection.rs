//! One connection, from its first bytes to the report of its handshake. It parses the records of both directions, and keeps the contents of
//! messages in a [`Handshake`].

use super::{
    Tls,
    event::{self, Handshake},
    search::{self, Preamble, Search},
    wire::{self, Hello, RECORD_HEAD, extension, message, record},
};
use crate::{
    net::Direction,
    protocols::{
        Close, Context, Progress, Recovery, StreamParser,
        kit::{held::Held, timers},
    },
    time::Timestamp,
};
use std::sync::Arc;

/// Maximum number of bytes of a handshake message that is kept; longer ones (up to 16 MiB are allowed) are skipped. Certificate
/// chains have a few KiB, those with post-quantum signatures some tens of KiB.
const LONGEST_MESSAGE: usize = 128 << 10;
/// Maximum number of messages of one side. A handshake has about ten messages, so a side with more messages does not use TLS.
const MOST_MESSAGES: u32 = 64;
/// Maximum number of alerts that are kept. No alert should follow a fatal alert.
const MOST_ALERTS: usize = 16;
/// Length in bytes of an encrypted alert of TLS 1.3 without padding (RFC 8446, 5.2): severity and code, the content
/// type, and a tag of 16 or 8 bytes. No other message has this length: an empty Certificate, which a client without a
/// certificate sends, has 25 or 17 bytes.
const ENCRYPTED_ALERT: [usize; 2] = [2 + 1 + 16, 2 + 1 + 8];

/// The state of one direction.
#[derive(Default)]
struct Side {
    /// Whether the first record was found.
    started: bool,
    /// Number of bytes skipped before the first record.
    passed: usize,
    /// The beginning of a message that continues in the next record.
    partial: Vec<u8>,
    /// Number of further bytes of the current message, which is skipped.
    unwanted: usize,
    messages: u32,
    /// Whether this side sent ChangeCipherSpec.
    changed: bool,
    /// Whether this side sent encrypted data.
    protected: bool,
}

/// The parser of one connection.
pub struct Connection {
    plugin: Arc<Tls>,
    /// The states of the client and of the server.
    sides: [Side; 2],
    seen: Box<Handshake>,
    /// The version that the server's hello selects.
    version: Option<u16>,
    /// The server has requested another hello.
    retrying: bool,
    /// The client may send data before the server's hello.
    early_data: bool,
    /// Whether a fatal alert was captured.
    failed: bool,
    /// Whether the handshake was reported, or cannot be reported.
    over: bool,
    /// Number of sides that have closed.
    closed: u8,
    /// When the time-out of the handshake ends.
    due: Timestamp,
}

impl StreamParser for Connection {
    fn on_data(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        if self.over {
            return Progress::Done;
        }
        let (mut dir, mut at) = (dir, 0);
        if !self.side(dir).started {
            let other = self.side(dir.reverse()).started;
            let mut before = 0;
            if self.side(dir).passed == 0 && !other {
                match search::preamble(data) {
                    Preamble::None => {}
                    Preamble::More(need) => return Progress::Consumed { bytes: 0, need },
                    Preamble::Bytes(length) => {
                        self.side(dir).passed = length;
                        if length >= data.len() {
                            return Progress::consumed(length);
                        }
                        before = length;
                    }
                }
            }
            let rest = data.get(before..).unwrap_or_default();
            match search::search(rest, self.side(dir).passed == 0, other) {
                Search::Found(from, kind) => {
                    let from = before + from;
                    let sender = if kind == message::CLIENT_HELLO { Direction::ToServer } else { Direction::ToClient };
                    if matches!(kind, message::CLIENT_HELLO | message::SERVER_HELLO) && sender != dir && !other {
                        cx.flip();
                        self.sides.swap(0, 1);
                        dir = sender;
                    }
                    self.side(dir).started = true;
                    at = from;
                }
                Search::More(from, need) => {
                    self.side(dir).passed += from;
                    return Progress::Consumed { bytes: (before + from) as u64, need };
                }
                Search::Nothing => {
                    self.side(dir).passed += rest.len();
                    if self.side(dir).passed <= search::MOST_PLAIN {
                        return Progress::consumed(data.len());
                    }
                    return self.give_up(cx);
                }
                Search::NoHandshake => return self.give_up(cx),
            }
        }
        let progress = self.records(dir, data, at, cx);
        if self.over {
            return Progress::Done;
        }
        if self.seen.is_known() {
            self.due = cx.now().after(self.plugin.common.transaction_timeout);
            timers::arm(cx, [self.due]);
        }
        progress
    }

    fn on_gap(&mut self, dir: Direction, _lost: u64, cx: &mut Context<'_>) -> Recovery {
        if self.over || self.seen.is_known() {
            self.report(false, cx);
            return Recovery::GiveUp;
        }
        *self.side(dir) = Side { passed: 1, ..Side::default() };
        Recovery::Resume
    }

    fn on_close(&mut self, _dir: Direction, why: Close, cx: &mut Context<'_>) {
        // After the FIN of one side, the other side may still respond. After a fatal alert, it has nothing to send.
        self.closed += 1;
        if why != Close::Fin || self.closed > 1 || self.failed {
            self.report(false, cx);
        }
    }

    fn outlives_fin(&self) -> bool {
        true
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        if self.over || !self.seen.is_known() {
        } else if cx.now() >= self.due {
            cx.count("unfinished_handshakes");
            self.report(false, cx);
        } else {
            timers::arm(cx, [self.due]);
        }
    }

    fn held(&self) -> usize {
        self.sides.iter().map(|side| side.partial.held()).sum::<usize>() + self.seen.held()
    }
}

impl Connection {
    /// Makes the parser of a new connection.
    pub fn new(plugin: Arc<Tls>) -> Self {
        Self {
            plugin,
            sides: Default::default(),
            seen: Box::default(),
            version: None,
            retrying: false,
            early_data: false,
            failed: false,
            over: false,
            closed: 0,
            due: Timestamp::default(),
        }
    }

    fn side(&mut self, dir: Direction) -> &mut Side {
        let [client, server] = &mut self.sides;
        match dir {
            Direction::ToServer => client,
            Direction::ToClient => server,
        }
    }

    /// Reports the known part of the handshake, if there is any. Afterwards nothing more is reported.
    fn report(&mut self, established: bool, cx: &mut Context<'_>) {
        if !self.over && self.seen.is_known() {
            event::emit(&self.seen, established, &self.plugin.options, cx);
        }
        self.over = true;
        *self.seen = Handshake::default();
        self.sides = Default::default();
    }

    /// Stops parsing, because the data is not TLS.
    fn give_up(&mut self, cx: &mut Context<'_>) -> Progress {
        if self.seen.is_known() {
            cx.count("malformed");
            self.report(false, cx);
            return Progress::Done;
        }
        self.over = true;
        Progress::GiveUp
    }

    fn records(&mut self, dir: Direction, data: &[u8], mut at: usize, cx: &mut Context<'_>) -> Progress {
        loop {
            let rest = data.get(at..).unwrap_or_default();
            if rest.len() < RECORD_HEAD {
                return Progress::Consumed { bytes: at as u64, need: RECORD_HEAD - rest.len() };
            }
            let Some((kind, length)) = wire::record_head(rest) else { return self.give_up(cx) };
            let whole = RECORD_HEAD + length;
            let clear = match kind {
                record::HANDSHAKE => !self.side(dir).changed || self.version.is_some_and(wire::is_13),
                record::ALERT => length == 2,
                _ => kind == record::CHANGE_CIPHER_SPEC,
            };
            if clear && rest.len() < whole {
                return Progress::Consumed { bytes: at as u64, need: whole - rest.len() };
            }
            let content = rest.get(RECORD_HEAD..whole).filter(|_| clear).unwrap_or_default();
            let time = cx.time_at((at + whole).min(data.len()).saturating_sub(1));
            let began = cx.time_at(at);
            if self.record(dir, kind, length, content, [began, time], cx).is_none() {
                return self.give_up(cx);
            }
            if let Some(established) = self.settled() {
                self.report(established, cx);
                return Progress::Done;
            }
            at += whole;
            if at > data.len() {
                return Progress::Consumed { bytes: at as u64, need: RECORD_HEAD };
            }
        }
    }

    /// Handles a record. Of an encrypted record only the length is used. `None` if such a record is not possible
    /// here.
    fn record(
        &mut self,
        dir: Direction,
        kind: u8,
        length: usize,
        content: &[u8],
        times: [Timestamp; 2],
        cx: &mut Context<'_>,
    ) -> Option<()> {
        match (kind, content) {
            (record::CHANGE_CIPHER_SPEC, _) => {
                self.side(dir).changed = true;
                self.seen.end = Some(times[1]).filter(|_| self.seen.end.is_some() || dir == Direction::ToClient);
            }
            (record::ALERT, &[severity, code]) => {
                self.failed |= severity == 2;
                self.seen.end = Some(times[1]);
                if self.seen.alerts.len() < MOST_ALERTS {
                    self.seen.alerts.push((dir, severity, code));
                }
            }
            (record::HANDSHAKE, _) => return self.fragment(dir, content, times, cx),
            (record::APPLICATION_DATA, _) => return self.protected(dir, length, times[1]),
            _ => {}
        }
        Some(())
    }

    fn protected(&mut self, dir: Direction, length: usize, time: Timestamp) -> Option<()> {
        let early = dir == Direction::ToServer && self.early_data;
        if early && self.version.is_none() {
            return Some(());
        }
        let alert = !early && length == ENCRYPTED_ALERT[usize::from(self.short_tag())];
        let old = self.version.is_some_and(|v| !wire::is_13(v));
        let side = self.side(dir);
        if old && !side.changed {
            return None;
        }
        let first = !std::mem::replace(&mut side.protected, true);
        if first && !old {
            self.failed |= alert;
            self.seen.end = Some(time).filter(|_| self.seen.end.is_some());
        }
        Some(())
    }

    /// Whether the cipher suite has a tag of 8 bytes.
    fn short_tag(&self) -> bool {
        Hello::server(&self.seen.server_hello).and_then(|h| h.ciphers().next()) == Some(0x1305)
    }

    /// Whether the handshake has ended, and whether it succeeded.
    fn settled(&self) -> Option<bool> {
        let [client, server] = &self.sides;
        let both = match self.version {
            Some(version) if wire::is_13(version) => {
                if !self.retrying && self.failed && (client.protected || server.protected) {
                    return Some(false);
                }
                !self.retrying && client.protected && server.protected
            }
            _ => client.changed && server.changed,
        };
        both.then_some(!self.failed)
    }

    /// Handles a part of the handshake's byte stream, which runs across records.
    fn fragment(&mut self, dir: Direction, mut data: &[u8], times: [Timestamp; 2], cx: &mut Context<'_>) -> Option<()> {
        while !data.is_empty() {
            let side = self.side(dir);
            let unwanted = side.unwanted.min(data.len());
            if unwanted > 0 {
                side.unwanted -= unwanted;
                data = data.get(unwanted..)?;
                continue;
            }
            if side.partial.is_empty() {
                side.messages += 1;
                if side.messages > MOST_MESSAGES {
                    return None;
                }
                if let Some((kind, length)) = wire::message_head(data)
                    && let Some(body) = data.get(wire::MESSAGE_HEAD..wire::MESSAGE_HEAD.saturating_add(length))
                {
                    data = data.get(wire::MESSAGE_HEAD + length..)?;
                    self.message(dir, kind, body, times)?;
                    continue;
                }
            }
            // The message is incomplete: its captured beginning is used.
            let mut partial = std::mem::take(&mut side.partial);
            let take = |partial: &mut Vec<u8>, data: &mut &[u8], upto: usize| {
                let (now, later) = data.split_at(upto.saturating_sub(partial.len()).min(data.len()));
                partial.extend_from_slice(now);
                *data = later;
            };
            take(&mut partial, &mut data, wire::MESSAGE_HEAD);
            if let Some((kind, length)) = wire::message_head(&partial) {
                let kept =
                    matches!(kind, message::CLIENT_HELLO | message::SERVER_HELLO | message::CERTIFICATE | message::CERTIFICATE_STATUS);
                if !kept || length > LONGEST_MESSAGE {
                    if kept {
                        cx.count("oversized");
                    }
                    side.unwanted = length;
                    self.message(dir, kind, &[], times)?;
                    continue;
                }
                take(&mut partial, &mut data, wire::MESSAGE_HEAD + length);
                if partial.len() == wire::MESSAGE_HEAD + length {
                    let body = partial.get(wire::MESSAGE_HEAD..).unwrap_or_default();
                    self.message(dir, kind, body, times)?;
                    continue;
                }
            }
            self.side(dir).partial = partial;
            if self.seen.start.is_none() && dir == Direction::ToServer {
                self.seen.start = Some(times[0]);
            }
        }
        Some(())
    }

    /// Handles a handshake message. `None` if such a message is not possible here.
    fn message(&mut self, dir: Direction, kind: u8, body: &[u8], [began, time]: [Timestamp; 2]) -> Option<()> {
        let from_client = dir == Direction::ToServer;
        let seen = &mut *self.seen;
        match (kind, from_client) {
            (message::CLIENT_HELLO, true) => {
                let hello = Hello::client(body)?;
                if seen.client_hello.is_empty() {
                    self.early_data = hello.extension(extension::EARLY_DATA).is_some();
                    seen.client_hello = body.to_vec();
                    seen.start.get_or_insert(began);
                    return Some(());
                }
                // The client sends a second hello in response to a HelloRetryRequest. The fingerprints are those of
                // the first hello.
                self.early_data = false;
            }
            (message::SERVER_HELLO, false) => {
                let hello = Hello::server(body)?;
                if seen.server_hello.is_empty() || self.retrying {
                    self.retrying = hello.is_retry();
                    self.version = Some(hello.settled_version());
                    seen.server_hello = body.to_vec();
                }
            }
            (message::CLIENT_HELLO | message::SERVER_HELLO, _) => return None,
            (message::CERTIFICATE, _) => {
                let [client, server] = &mut seen.chains;
                let chain = if from_client { client } else { server };
                if chain.is_empty() {
                    *chain = body.to_vec();
                }
            }
            (message::SERVER_KEY_EXCHANGE | message::CLIENT_KEY_EXCHANGE, _) => seen.keys_exchanged = true,
            (message::CERTIFICATE_REQUEST, false) => seen.certificate_requested = true,
            (message::CERTIFICATE_STATUS, false) => seen.ocsp = seen.ocsp.or_else(|| wire::ocsp_status(body)),
            _ => {}
        }
        seen.end = Some(time);
        Some(())
    }
}

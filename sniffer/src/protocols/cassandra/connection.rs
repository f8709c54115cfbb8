//! One connection: its envelopes, alone or in segments, and the requests that wait for their responses by stream id.

use super::{
    Cassandra,
    answer::Answer,
    event::{self, Request},
    segment::Segment,
    side::{Assembly, Side, Unit},
    wire::{self, COMPRESSED, Compression, HEADER, Header, Op},
};
use crate::{
    net::Direction,
    protocols::{
        Close, Context, Progress, Recovery, StreamParser,
        kit::{backlog::Limits, held::Held, matcher::Matcher, timers},
    },
    time::Timestamp,
};
use std::sync::Arc;

/// Maximum number of bytes of a body that are parsed: the text of a query, the description of a result's columns. The rest of an
/// uncompressed body is skipped.
pub const MOST_READ: usize = 1 << 20;
/// Longest compressed body in bytes that is buffered; longer ones are reported without their contents.
pub const MOST_COMPRESSED: u32 = 8 << 20;
/// Maximum number of waiting requests of one connection: the number of stream ids.
const MOST_WAITING: usize = 1 << 15;
/// Maximum number of bytes of waiting queries of one connection. Beyond this limit, only the headers of requests are
/// kept.
pub const MOST_HELD: usize = 4 << 20;
/// Capacity in bytes of the decompression buffers that is kept between messages.
const KEPT_ROOM: usize = 256 << 10;

/// The parser of one connection.
pub struct Connection {
    plugin: Arc<Cassandra>,
    /// The two directions of the connection.
    sides: [Side; 2],
    /// The waiting requests, by stream id.
    waiting: Matcher<u16, Request>,
    /// The compression requested by the STARTUP; `None` if it was not captured.
    compression: Option<Option<Compression>>,
    /// Whether it is certain which end is the client.
    certain: bool,
    /// Whether bytes were lost in a direction while requests waited.
    gaps: [bool; 2],
    /// Buffer for decompressed segments.
    room: Vec<u8>,
    /// Buffer for decompressed bodies.
    plain: Vec<u8>,
}

/// The needed part of an envelope.
#[derive(Clone, Copy)]
struct Envelope<'a> {
    header: Header,
    /// The captured part of the body, which may be incomplete.
    body: &'a [u8],
    /// Whether the envelope was in a segment. Its body is then not compressed separately.
    segmented: bool,
    /// Packet time of the envelope's first byte.
    time: Timestamp,
}

impl StreamParser for Connection {
    fn on_data(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let progress = self.read(dir, data, cx);
        timers::arm(cx, self.waiting.due());
        progress
    }

    fn on_join(&mut self, dir: Direction) {
        self.sides[dir.index()].join();
    }

    fn on_gap(&mut self, dir: Direction, _lost: u64, cx: &mut Context<'_>) -> Recovery {
        self.sides[dir.index()].lose();
        // If a response and a later request with the same stream id are both lost, a response would be paired with the
        // wrong request.
        self.gaps[dir.index()] = !self.waiting.is_empty();
        if self.gaps == [true; 2] {
            self.forget(cx);
        }
        timers::arm(cx, self.waiting.due());
        Recovery::Resume
    }

    fn on_close(&mut self, dir: Direction, _why: Close, cx: &mut Context<'_>) {
        if dir == Direction::ToClient {
            self.forget(cx);
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        while self.waiting.expired(cx.now()).is_some() {
            cx.count("unmatched_requests");
        }
        timers::arm(cx, self.waiting.due());
    }

    fn remembers(&self) -> bool {
        self.compression.flatten().is_some()
    }

    fn held(&self) -> usize {
        let assemblies: usize = self.sides.iter().map(|side| side.assembly.held()).sum();
        self.waiting.held() + assemblies + self.room.held() + self.plain.held()
    }
}

/// Number of bytes of the body that are needed before it is parsed.
fn wanted(header: &Header, segmented: bool) -> usize {
    let whole = usize::try_from(header.length).unwrap_or(usize::MAX);
    match header.flags & COMPRESSED != 0 && !segmented {
        true if header.length <= MOST_COMPRESSED => whole,
        true => 0,
        false => whole.min(MOST_READ),
    }
}

impl Connection {
    /// Makes the parser of a new connection.
    pub fn new(plugin: Arc<Cassandra>) -> Self {
        let limits = Limits { items: MOST_WAITING, bytes: MOST_HELD, timeout: plugin.options.transaction_timeout };
        Self {
            plugin,
            sides: [Side::default(), Side::default()],
            waiting: Matcher::new(limits),
            compression: None,
            certain: false,
            gaps: [false; 2],
            room: Vec::new(),
            plain: Vec::new(),
        }
    }

    fn segment(&mut self, dir: &mut Direction, segment: &Segment, bytes: &[u8], time: Timestamp, cx: &mut Context<'_>) {
        let mut room = std::mem::take(&mut self.room);
        match segment.envelopes(bytes, &mut room) {
            Some(payload) if segment.self_contained => self.envelopes(dir, payload, time, cx),
            Some(payload) => self.part(dir, payload, time, cx),
            None => {
                self.sides[dir.index()].assembly = None;
                cx.count("malformed");
            }
        }
        room.clear();
        room.shrink_to(KEPT_ROOM);
        self.room = room;
    }

    /// Handles the complete envelopes in a segment.
    fn envelopes(&mut self, dir: &mut Direction, mut payload: &[u8], time: Timestamp, cx: &mut Context<'_>) {
        self.sides[dir.index()].assembly = None;
        // Every iteration consumes at least a header.
        while !payload.is_empty() {
            let header = Header::read(payload);
            let whole = header.and_then(|h| payload.split_at_checked(usize::try_from(h.total()).ok()?).map(|parts| (h, parts)));
            let Some((header, (envelope, rest))) = whole else { return cx.count("malformed") };
            let body = envelope.get(HEADER..).unwrap_or_default();
            if !self.envelope(dir, Envelope { header, body, segmented: true, time }, cx) {
                return;
            }
            payload = rest;
        }
    }

    /// Handles a part of an envelope that is longer than a segment.
    fn part(&mut self, dir: &mut Direction, payload: &[u8], time: Timestamp, cx: &mut Context<'_>) {
        let part = match self.sides[dir.index()].assembly.take() {
            Some(mut part) => {
                part.add(payload);
                part
            }
            // The first part, or a part of a message whose beginning was lost.
            None => match Header::read(payload) {
                Some(header) if header.begins_well(payload.get(HEADER..).unwrap_or_default()) => {
                    Assembly::new(header, HEADER + wanted(&header, true), payload, time)
                }
                _ => return cx.count("malformed"),
            },
        };
        let mut part = part;
        if !part.reported
            && let Some(body) = part.body()
        {
            let envelope = Envelope { header: part.header, body, segmented: true, time: part.time };
            if !self.envelope(dir, envelope, cx) {
                return;
            }
            part.set_reported();
        }
        let side = &mut self.sides[dir.index()];
        side.assembly = Some(part);
        side.settle();
    }

    /// Reads all messages in the data.
    fn read(&mut self, mut dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        if !self.certain && matches!(data, [0x16, 3, 0..=4, _, _, 1 | 2, ..]) {
            return Progress::GiveUp; // TLS from the beginning: the data is a ClientHello or ServerHello
        }
        let mut at = 0;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            let side = &mut self.sides[dir.index()];
            match side.unit(rest) {
                Unit::Need(need) => return Progress::Consumed { bytes: at as u64, need },
                Unit::Junk(n) => {
                    if side.search.searched() == 0 {
                        cx.count("malformed");
                    }
                    at += n;
                    if side.pass_over(n) == Recovery::GiveUp {
                        return Progress::GiveUp;
                    }
                }
                Unit::Envelope(header) => {
                    let wanted = HEADER + wanted(&header, false);
                    let Some(body) = rest.get(HEADER..wanted) else {
                        return Progress::Consumed { bytes: at as u64, need: wanted - rest.len() };
                    };
                    let envelope = Envelope { header, body, segmented: false, time: cx.time_at(at) };
                    if !self.envelope(&mut dir, envelope, cx) {
                        // No message begins at this byte. The next message may begin one byte later.
                        at += 1;
                        if self.sides[dir.index()].pass_over(1) == Recovery::GiveUp {
                            return Progress::GiveUp;
                        }
                        continue;
                    }
                    self.sides[dir.index()].found(&header);
                    let end = at as u64 + header.total();
                    match usize::try_from(end) {
                        Ok(end) if end <= data.len() => at = end,
                        _ => return Progress::Consumed { bytes: end, need: HEADER },
                    }
                }
                Unit::Segment(segment) => {
                    // The rest of a message that was already reported is skipped.
                    if side.skip(&segment) {
                        at = at.saturating_add(segment.total());
                        if at > data.len() {
                            return Progress::Consumed { bytes: at as u64, need: HEADER };
                        }
                        continue;
                    }
                    let Some(bytes) = rest.get(..segment.total()) else {
                        return Progress::Consumed { bytes: at as u64, need: segment.total() - rest.len() };
                    };
                    side.segmented(&segment);
                    self.segment(&mut dir, &segment, bytes, cx.time_at(at), cx);
                    at += segment.total();
                }
            }
        }
        Progress::Consumed { bytes: at as u64, need: HEADER }
    }

    /// Handles an envelope. Returns whether its direction fits its type.
    fn envelope(&mut self, dir: &mut Direction, envelope: Envelope<'_>, cx: &mut Context<'_>) -> bool {
        let by_type = if envelope.header.response { Direction::ToClient } else { Direction::ToServer };
        if by_type != *dir {
            if self.certain {
                cx.count("malformed");
                return false;
            }
            // The capture began in the middle of the connection, and the server was taken for the client.
            cx.flip();
            self.sides.swap(0, 1);
            *dir = by_type;
        }
        self.certain = true;
        let mut plain = std::mem::take(&mut self.plain);
        if envelope.header.response {
            self.response(envelope, &mut plain, cx)
        } else {
            self.request(envelope, &mut plain, cx)
        }
        plain.clear();
        plain.shrink_to(KEPT_ROOM);
        self.plain = plain;
        true
    }

    fn request(&mut self, envelope: Envelope<'_>, plain: &mut Vec<u8>, cx: &mut Context<'_>) {
        let Envelope { header, time, .. } = envelope;
        let mut query = None;
        match header.op {
            Op::STARTUP => {
                if let Some(asked) = wire::startup(envelope.body) {
                    self.compression = Some(asked);
                }
            }
            Op::QUERY if self.plugin.options.send_request && !self.plugin.ignores(header.op) => {
                let text = self.body(envelope, plain).and_then(|body| wire::query(&header, body));
                query = text.filter(|text| self.waiting.has_bytes(text.len())).map(Box::from);
            }
            _ => {}
        }
        if self.waiting.is_empty() {
            self.gaps = [false; 2];
        }
        let request = Request { header, query, time };
        if self.waiting.insert(header.stream, request, cx.now()).is_some() {
            cx.count("unmatched_requests");
        }
    }

    fn response(&mut self, envelope: Envelope<'_>, plain: &mut Vec<u8>, cx: &mut Context<'_>) {
        let Envelope { header, time, .. } = envelope;
        let request = match header.op {
            Op::EVENT => None,
            _ => {
                let Some(request) = self.waiting.take(&header.stream) else { return cx.count("unmatched_responses") };
                Some(request)
            }
        };
        let plugin = Arc::clone(&self.plugin);
        if plugin.ignores(header.op) || request.as_ref().is_some_and(|request| plugin.ignores(request.header.op)) {
            return;
        }
        let body = if plugin.options.send_response { self.body(envelope, plain) } else { None };
        let answer = body.map(|body| Answer::read(&header, body)).unwrap_or_default();
        event::emit(request.as_ref(), &header, answer, time, &plugin.options, cx);
    }

    /// The decompressed body; `None` if it cannot be decompressed.
    fn body<'a>(&self, envelope: Envelope<'a>, plain: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        if envelope.segmented || envelope.header.flags & COMPRESSED == 0 {
            return Some(envelope.body);
        }
        let known = self.compression.flatten().or(self.plugin.compression);
        match known {
            Some(how) => wire::decompress(how, envelope.body, plain),
            // The algorithm is unknown, so try LZ4 first: an LZ4 body contains its exact decompressed length, so a body of another
            // algorithm hardly ever decompresses without an error.
            None if wire::decompress(Compression::Lz4, envelope.body, plain).is_some() => Some(plain.as_slice()),
            None => wire::decompress(Compression::Snappy, envelope.body, plain),
        }
    }

    fn forget(&mut self, cx: &mut Context<'_>) {
        while self.waiting.pop().is_some() {
            cx.count("unmatched_requests");
        }
        self.gaps = [false; 2];
    }
}

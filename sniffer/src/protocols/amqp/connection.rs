//! One connection: parses its frames, and updates the waiting requests and incomplete messages.

use super::{
    Amqp,
    event::{self, Answer, Message, Request},
    messages::{IncompleteMessage, MessageState, Messages},
    methods::{self, Role, SentBy},
    waiting::Waiting,
    wire::{self, FRAME_END, FRAME_HEAD, Fields, Frame, Kind, SearchResult},
};
use crate::{
    net::Direction,
    protocols::{
        Close, Context, Progress, Recovery, StreamParser,
        kit::{resync::Resync, timers},
    },
    time::Timestamp,
};
use std::{mem, sync::Arc};

/// The position in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The next byte is the first of a frame.
    Frame,
    /// The next byte belongs to the payload of a body frame, of which this number of bytes remains.
    Body { channel: u16, left: u64 },
    /// The next byte is the end marker of a body frame.
    End { channel: u16 },
    /// The position is unknown: the parser searches for the start of a frame.
    Lost,
}

/// The parser of one connection.
pub struct Connection {
    amqp: Arc<Amqp>,
    places: [Place; 2],
    waiting: Waiting,
    messages: Messages,
    /// Whether it is certain which side is the client.
    certain: bool,
    /// The search for the next frame.
    search: Resync,
    /// Whether a frame was found, by direction.
    found_frame: [bool; 2],
}

impl StreamParser for Connection {
    fn on_data(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let progress = self.read(dir, data, cx);
        self.wake(cx);
        progress
    }

    fn on_gap(&mut self, dir: Direction, lost: u64, cx: &mut Context<'_>) -> Recovery {
        // After a gap inside a body, the text after the gap is not kept. The end of the frame is still known.
        if let Place::Body { channel, left } = &mut self.places[dir.index()]
            && *left >= lost
        {
            *left -= lost;
            let (channel, left) = (*channel, *left);
            if left == 0 {
                self.places[dir.index()] = Place::End { channel };
            }
            self.messages.lose(dir, channel, lost);
            return Recovery::Resume;
        }
        self.lose(dir, cx);
        Recovery::Resume
    }

    fn on_close(&mut self, dir: Direction, _why: Close, cx: &mut Context<'_>) {
        count_incomplete(self.messages.drop_if(|c| c.dir == dir), cx);
        // No response can arrive any more.
        if !cx.strict() {
            self.drop_requests(|r| r.dir != dir, cx);
        }
        self.wake(cx);
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        let (now, timeout) = (cx.now(), self.amqp.common.transaction_timeout);
        self.drop_requests(|r| r.time.after(timeout) <= now, cx);
        self.wake(cx);
    }

    fn held(&self) -> usize {
        self.waiting.requests.held() + self.messages.held()
    }
}

impl Connection {
    /// Makes the parser of a new connection.
    pub fn new(amqp: Arc<Amqp>) -> Self {
        let waiting = Waiting::new(amqp.common.transaction_timeout);
        Self {
            amqp,
            places: [Place::Frame; 2],
            waiting,
            messages: Messages::default(),
            certain: false,
            search: Resync::default(),
            found_frame: [false; 2],
        }
    }

    fn wake(&self, cx: &mut Context<'_>) {
        timers::arm(cx, self.waiting.requests.due());
    }

    fn read(&mut self, mut dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let mut at = 0;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            match self.places[dir.index()] {
                Place::Body { channel, left } => match self.body(dir, channel, left, rest) {
                    Some(n) => at += n,
                    None => return Progress::Consumed { bytes: (at as u64).saturating_add(left), need: 1 },
                },
                Place::End { channel } if rest[0] == FRAME_END => {
                    self.places[dir.index()] = Place::Frame;
                    let stand = self.messages.end(dir, channel);
                    self.stand(stand, cx);
                    at += 1;
                }
                Place::End { .. } => self.lose(dir, cx),
                Place::Lost => match wire::seek(rest) {
                    SearchResult::At(n) => {
                        self.places[dir.index()] = Place::Frame;
                        at += n;
                    }
                    SearchResult::Perhaps(n, need) => {
                        return if self.goes_on(n) { Progress::Consumed { bytes: (at + n) as u64, need } } else { Progress::GiveUp };
                    }
                    SearchResult::Nowhere(n) => return if self.goes_on(n) { Progress::consumed(at + n) } else { Progress::GiveUp },
                },
                Place::Frame if rest[0] == b'A' => {
                    let header = wire::PROTOCOL_HEADER;
                    if rest.len() < header.len() && header.starts_with(rest) {
                        return Progress::Consumed { bytes: at as u64, need: header.len() - rest.len() };
                    }
                    if rest.starts_with(header) {
                        // A server that does not support the client's version responds with a protocol header of its
                        // own. Otherwise only the client sends a protocol header.
                        if self.found_frame == [false; 2] {
                            dir = self.set_sender(SentBy::Client, dir, cx);
                        }
                        self.found(dir);
                        at += header.len();
                    } else if rest.starts_with(b"AMQP") {
                        return Progress::GiveUp;
                    } else {
                        self.lose(dir, cx);
                    }
                }
                Place::Frame => {
                    if rest.len() < FRAME_HEAD {
                        return Progress::Consumed { bytes: at as u64, need: FRAME_HEAD - rest.len() };
                    }
                    match Frame::head(rest) {
                        // The parser has not found a frame of this side yet. It may have started in the middle of the
                        // connection, so it only accepts data that is certainly a frame.
                        Some(Frame { kind: Kind::Method, .. }) if !self.found_frame[dir.index()] && rest.len() < FRAME_HEAD + 4 => {
                            return Progress::Consumed { bytes: at as u64, need: FRAME_HEAD + 4 - rest.len() };
                        }
                        Some(Frame { kind, .. }) if !self.found_frame[dir.index()] && !is_known(kind, rest) => self.lose(dir, cx),
                        Some(Frame { kind: Kind::Body, channel, size }) => {
                            let left = u64::from(size);
                            self.places[dir.index()] = if left == 0 { Place::End { channel } } else { Place::Body { channel, left } };
                            at += FRAME_HEAD;
                        }
                        Some(head) => {
                            let whole = FRAME_HEAD + head.size as usize + 1;
                            if rest.len() < whole {
                                return Progress::Consumed { bytes: at as u64, need: whole - rest.len() };
                            }
                            let Some((_, payload, _)) = Frame::whole(rest) else {
                                self.lose(dir, cx);
                                continue;
                            };
                            self.found(dir);
                            let time = cx.time_at(at);
                            at += whole;
                            match head.kind {
                                Kind::Method => at += self.method(&mut dir, head.channel, payload, &data[at..], time, cx),
                                Kind::Header => {
                                    let stand = self.messages.header(dir, head.channel, payload);
                                    self.stand(stand, cx);
                                }
                                Kind::Heartbeat | Kind::Body => {}
                            }
                        }
                        None => self.lose(dir, cx),
                    }
                }
            }
        }
        Progress::consumed(at)
    }

    /// Notes `n` more bytes searched without a frame. Returns whether to continue.
    fn goes_on(&mut self, n: usize) -> bool {
        self.search.passed(n) == Recovery::Resume
    }

    /// Notes that a frame was found in this direction.
    fn found(&mut self, dir: Direction) {
        self.found_frame[dir.index()] = true;
        self.search.found();
    }

    /// Notes that the sender of `dir` is the side `by`. Returns the corrected direction.
    fn set_sender(&mut self, by: SentBy, dir: Direction, cx: &mut Context<'_>) -> Direction {
        let right = match by {
            SentBy::Client => Direction::ToServer,
            SentBy::Server => Direction::ToClient,
            SentBy::Either => return dir,
        };
        if !mem::replace(&mut self.certain, true) && dir != right {
            cx.flip();
            self.places.swap(0, 1);
            self.found_frame.swap(0, 1);
            self.waiting.swap_sides();
            self.messages.swap_sides();
            return right;
        }
        dir
    }

    /// Handles a method. Returns the number of bytes after the method's frame that were handled too.
    fn method(&mut self, dir: &mut Direction, channel: u16, payload: &[u8], next: &[u8], time: Timestamp, cx: &mut Context<'_>) -> usize {
        let Some((method, args)) = wire::method_in(payload) else {
            cx.count("unknown_methods");
            return 0;
        };
        *dir = self.set_sender(method.by, *dir, cx);
        let right = match method.by {
            SentBy::Client => *dir == Direction::ToServer,
            SentBy::Server => *dir == Direction::ToClient,
            SentBy::Either => true,
        };
        if !right {
            cx.count("malformed");
            return 0;
        }
        let dir = *dir;
        match method.role {
            Role::Unreported => {}
            Role::Request(_) | Role::NoResponse => {
                self.request(Request { method, dir, channel, args: args.into(), time, gaps: [false; 2] }, cx)
            }
            Role::Response => match self.answered(method, dir, channel, cx) {
                Some(asked) => self.report(&asked, Some(&Answer { method, args, time }), cx),
                None => cx.count("unmatched_responses"),
            },
            Role::Message => {
                let gets = (method.class, method.id) == methods::BASIC_GET_OK;
                let asked = if gets { self.answered(method, dir, channel, cx) } else { None };
                if gets && asked.is_none() {
                    cx.count("unmatched_responses"); // The message is still reported, because it was captured.
                }
                if let Some(content) = wire::content(next, channel) {
                    let size = wire::body_size(content.header).unwrap_or(0);
                    let body = content.body.get(..self.amqp.wanted(method)).unwrap_or(content.body);
                    let message = Message { method, args, header: content.header, body, size, time, asked };
                    self.report_message(&message, cx);
                    return content.len;
                }
                let mut coming = IncompleteMessage::new(dir, channel, method, args, time, self.amqp.wanted(method));
                coming.asked = asked;
                let gone = self.messages.begin(coming);
                count_incomplete(gone, cx);
            }
        }
        0
    }

    fn report(&self, asked: &Request<'_>, answer: Option<&Answer<'_>>, cx: &mut Context<'_>) {
        if event::request(&self.amqp, asked, answer, cx).is_none() {
            cx.count("malformed");
        }
    }

    fn report_message(&self, message: &Message<'_>, cx: &mut Context<'_>) {
        if event::message(&self.amqp, message, cx).is_none() {
            cx.count("malformed");
        }
    }

    fn stand(&self, stand: MessageState, cx: &mut Context<'_>) {
        match stand {
            MessageState::Incomplete => {}
            MessageState::Complete(mut coming) => self.report_message(&coming.message(), cx),
            MessageState::Malformed => count_incomplete(1, cx),
        }
    }

    fn request(&mut self, request: Request<'_>, cx: &mut Context<'_>) {
        if request.method.role == Role::NoResponse {
            return self.report(&request, None, cx);
        }
        let mut fields = Fields::default();
        if fields.arguments(request.method, &request.args, false).is_none() {
            return cx.count("malformed");
        }
        let alone = fields.is_set("no-wait");
        drop(fields);
        if request.method.closes() {
            // Requests that still wait on the closed channel get no response. The event of the close has the reason.
            let all = (request.method.class, request.method.id) == methods::CONNECTION_CLOSE;
            let channel = request.channel;
            count_incomplete(self.messages.drop_if(|c| all || c.channel == channel), cx);
            self.drop_requests(|r| (all || r.channel == channel) && !r.method.closes(), cx);
        }
        if alone {
            return self.report(&request, None, cx);
        }
        let request = request.into_owned();
        while let Some(oldest) = self.waiting.requests.evict_for(&request) {
            self.unanswered(&oldest, cx);
        }
        if let Some(refused) = self.waiting.requests.push(request) {
            self.unanswered(&refused, cx);
        }
    }

    /// Takes the request to which a method responds, if it was captured.
    fn answered(&mut self, method: &methods::Method, dir: Direction, channel: u16, cx: &mut Context<'_>) -> Option<Request<'static>> {
        let mut lost = vec![];
        let asked = self.waiting.answered(method, dir, channel, |request| lost.push(request));
        for request in lost {
            self.unanswered(&request, cx);
        }
        asked
    }

    /// Handles a request that gets no response. Only a close because of an error is reported.
    fn unanswered(&self, request: &Request<'_>, cx: &mut Context<'_>) {
        cx.count("unmatched_requests");
        let mut fields = Fields::default();
        let whole = fields.arguments(request.method, &request.args, false).is_some();
        if whole && request.method.closes() && fields.number("reply-code").is_some_and(|code| code >= 300) {
            self.report(request, None, cx);
        }
    }

    fn drop_requests(&mut self, which: impl Fn(&Request<'_>) -> bool, cx: &mut Context<'_>) {
        for request in self.waiting.requests.extract(which) {
            self.unanswered(&request, cx);
        }
    }

    /// Handles the captured part of a body frame. `None` if the rest of the frame is not needed and exceeds the data.
    fn body(&mut self, dir: Direction, channel: u16, left: u64, data: &[u8]) -> Option<usize> {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
        let wanted = self.messages.body(dir, channel, left, &data[..here]);
        let whole = here as u64 == left;
        let more = wanted && !whole;
        self.places[dir.index()] = if more { Place::Body { channel, left: left - here as u64 } } else { Place::End { channel } };
        (wanted || whole).then_some(here)
    }

    /// Notes that the start of the next frame in this direction is unknown. The incomplete messages of the direction
    /// are lost, and possibly responses.
    fn lose(&mut self, dir: Direction, cx: &mut Context<'_>) {
        self.places[dir.index()] = Place::Lost;
        count_incomplete(self.messages.drop_if(|c| c.dir == dir), cx);
        for request in self.waiting.gap(dir) {
            self.unanswered(&request, cx);
        }
    }
}

fn count_incomplete(messages: usize, cx: &mut Context<'_>) {
    for _ in 0..messages {
        cx.count("incomplete_messages");
    }
}

/// Whether the data here is certainly a frame.
fn is_known(kind: Kind, data: &[u8]) -> bool {
    match kind {
        Kind::Method => data.get(FRAME_HEAD..).and_then(wire::method_in).is_some(),
        Kind::Header | Kind::Body => false,
        Kind::Heartbeat => true,
    }
}

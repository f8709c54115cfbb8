//! One connection: frames, the methods that wait for an answer, the messages that come in several frames. Channels are kept apart.

use super::{
    Amqp,
    event::{self, Answer, Message, Request},
    methods::{self, By, Method, Role},
    wire::{self, FRAME_END, FRAME_HEAD, Fields, Frame, Kind, Sought},
};
use crate::{
    flow::key::Direction,
    protocols::{Close, Context, Progress, Recovery, StreamParser},
    time::Timestamp,
};
use std::{collections::VecDeque, mem, sync::Arc};

/// Methods that wait for their answers, on all channels: a client may have 2047 channels, but hardly asks on all of them at once.
const MOST_WAITING: usize = 1024;
/// Messages that are under way in several frames, on all channels.
const MOST_MESSAGES: usize = 256;
/// Bytes kept of all of these.
const MOST_HELD: usize = 16 << 20;
/// Bytes looked through for a first frame before the connection is given up.
const LONGEST_SEARCH: u64 = 1 << 20;

/// Where one direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a frame.
    Frame,
    /// In a body frame, so many bytes before its end.
    Body { channel: u16, left: u64 },
    /// Before the end of a body frame.
    End { channel: u16 },
    /// The beginning of a frame is looked for.
    Lost,
}

/// A message in several frames.
struct Coming {
    dir: Direction,
    channel: u16,
    method: &'static Method,
    args: Vec<u8>,
    header: Vec<u8>,
    body: Vec<u8>,
    /// Known with the header.
    size: Option<u64>,
    seen: u64,
    /// Nothing more of the body is kept.
    cut: bool,
    time: Timestamp,
    asked: Option<Request<'static>>,
}

impl Coming {
    fn held(&self) -> usize {
        self.args.len() + self.header.len() + self.body.len() + self.asked.as_ref().map_or(0, |asked| asked.args.len())
    }
}

/// See the module.
pub struct Connection {
    amqp: Arc<Amqp>,
    places: [Place; 2],
    /// Oldest first.
    waiting: VecDeque<Request<'static>>,
    coming: Vec<Coming>,
    /// Bytes that these two keep.
    held: usize,
    /// Who is the client is proved.
    certain: bool,
    /// Bytes looked through in vain before the first frame.
    searched: u64,
    /// A frame was there, by direction.
    met: [bool; 2],
}

impl StreamParser for Connection {
    fn on_data(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let progress = self.read(dir, data, cx);
        self.wake(cx);
        progress
    }

    fn on_gap(&mut self, dir: Direction, lost: u64, cx: &mut Context<'_>) -> Recovery {
        // A hole within a body costs no more than the text behind it.
        if let Place::Body { channel, left } = &mut self.places[dir.index()]
            && *left >= lost
        {
            *left -= lost;
            let (channel, left) = (*channel, *left);
            if left == 0 {
                self.places[dir.index()] = Place::End { channel };
            }
            if let Some(coming) = self.coming.iter_mut().find(|c| (c.dir, c.channel) == (dir, channel)) {
                coming.seen = coming.seen.saturating_add(lost);
                coming.cut = true;
            }
            return Recovery::Resume;
        }
        self.lose(dir, cx);
        Recovery::Resume
    }

    fn on_close(&mut self, dir: Direction, _why: Close, cx: &mut Context<'_>) {
        self.drop_messages(|c| c.dir == dir, cx);
        // Nobody is left to answer.
        self.drop_requests(|r| r.dir != dir, cx);
        self.wake(cx);
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        let (now, timeout) = (cx.now, self.amqp.common.transaction_timeout);
        self.drop_requests(|r| r.time.after(timeout) <= now, cx);
        self.wake(cx);
    }
}

impl Connection {
    /// A connection of which nothing was seen yet.
    pub fn new(amqp: Arc<Amqp>) -> Self {
        Self {
            amqp,
            places: [Place::Frame; 2],
            waiting: VecDeque::new(),
            coming: vec![],
            held: 0,
            certain: false,
            searched: 0,
            met: [false; 2],
        }
    }

    fn wake(&self, cx: &mut Context<'_>) {
        if let Some(oldest) = self.waiting.front() {
            cx.wake_at(oldest.time.after(self.amqp.common.transaction_timeout));
        }
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
                    self.finish(dir, channel, cx);
                    at += 1;
                }
                Place::End { .. } => self.lose(dir, cx),
                Place::Lost => match wire::seek(rest) {
                    Sought::At(n) => {
                        self.places[dir.index()] = Place::Frame;
                        at += n;
                    }
                    Sought::Perhaps(n, need) => {
                        return if self.search(n) { Progress::Consumed { bytes: (at + n) as u64, need } } else { Progress::GiveUp };
                    }
                    Sought::Nowhere(n) => return if self.search(n) { Progress::consumed(at + n) } else { Progress::GiveUp },
                },
                Place::Frame if rest[0] == b'A' => {
                    let header = wire::PROTOCOL_HEADER;
                    if rest.len() < header.len() && header.starts_with(rest) {
                        return Progress::Consumed { bytes: at as u64, need: header.len() - rest.len() };
                    }
                    if rest.starts_with(header) {
                        // A server that speaks another version says so with a header of its own; as a rule it is the client's.
                        if self.met == [false; 2] {
                            dir = self.is(By::Client, dir, cx);
                        }
                        self.met[dir.index()] = true;
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
                        // In the middle of a connection only what is surely a frame counts as one.
                        Some(Frame { kind: Kind::Method, .. }) if !self.met[dir.index()] && rest.len() < FRAME_HEAD + 4 => {
                            return Progress::Consumed { bytes: at as u64, need: FRAME_HEAD + 4 - rest.len() };
                        }
                        Some(Frame { kind, .. }) if !self.met[dir.index()] && !is_known(kind, rest) => self.lose(dir, cx),
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
                            self.met[dir.index()] = true;
                            let time = cx.time_at(at);
                            at += whole;
                            match head.kind {
                                Kind::Method => at += self.method(&mut dir, head.channel, payload, &data[at..], time, cx),
                                Kind::Header => self.header(dir, head.channel, payload, cx),
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

    /// Whether to go on looking after `n` more bytes in vain.
    fn search(&mut self, n: usize) -> bool {
        self.searched += n as u64;
        self.met != [false; 2] || self.searched < LONGEST_SEARCH
    }

    /// The sender of `dir` is the client or the server. Returns which way `dir` really is.
    fn is(&mut self, by: By, dir: Direction, cx: &mut Context<'_>) -> Direction {
        let right = match by {
            By::Client => Direction::ToServer,
            By::Server => Direction::ToClient,
            By::Either => return dir,
        };
        if !mem::replace(&mut self.certain, true) && dir != right {
            cx.flip();
            self.places.swap(0, 1);
            self.met.swap(0, 1);
            self.waiting.iter_mut().for_each(|r| r.dir = r.dir.reverse());
            self.coming.iter_mut().for_each(|c| c.dir = c.dir.reverse());
            return right;
        }
        dir
    }

    /// Takes a method; returns how many bytes of what follows it were taken with it.
    fn method(&mut self, dir: &mut Direction, channel: u16, payload: &[u8], next: &[u8], time: Timestamp, cx: &mut Context<'_>) -> usize {
        let Some((method, args)) = wire::method_in(payload) else {
            cx.count("unknown_methods");
            return 0;
        };
        *dir = self.is(method.by, *dir, cx);
        let right = match method.by {
            By::Client => *dir == Direction::ToServer,
            By::Server => *dir == Direction::ToClient,
            By::Either => true,
        };
        if !right {
            cx.count("malformed");
            return 0;
        }
        let dir = *dir;
        match method.role {
            Role::Unreported => {}
            Role::Asks(_) | Role::Alone => self.request(Request { method, dir, channel, args: args.into(), time }, cx),
            Role::Answers => match self.answered(method, dir, channel, cx) {
                Some(asked) => self.report(&asked, Some(&Answer { method, args, time }), cx),
                None => cx.count("unmatched_responses"),
            },
            Role::Brings => {
                let asked = if (method.class, method.id) == methods::BASIC_GET_OK { self.answered(method, dir, channel, cx) } else { None };
                if let Some(content) = wire::content(next, channel) {
                    let size = wire::body_size(content.header).unwrap_or(0);
                    let body = content.body.get(..self.amqp.wanted(method)).unwrap_or(content.body);
                    let message = Message { method, args, header: content.header, body, size, time, asked };
                    if event::message(&self.amqp, &message, cx).is_none() {
                        cx.count("malformed");
                    }
                    return content.len;
                }
                self.await_content(dir, channel, method, args, time, asked, cx);
            }
        }
        0
    }

    fn report(&self, asked: &Request<'_>, answer: Option<&Answer<'_>>, cx: &mut Context<'_>) {
        if event::request(&self.amqp, asked, answer, cx).is_none() {
            cx.count("malformed");
        }
    }

    fn request(&mut self, request: Request<'_>, cx: &mut Context<'_>) {
        let mut fields = Fields::default();
        if fields.arguments(request.method, &request.args, false).is_none() {
            return cx.count("malformed");
        }
        if request.method.closes() {
            // Whatever still waits there will not be answered: the close tells why.
            let all = (request.method.class, request.method.id) == methods::CONNECTION_CLOSE;
            let channel = request.channel;
            self.drop_messages(|c| all || c.channel == channel, cx);
            self.drop_requests(|r| (all || r.channel == channel) && !r.method.closes(), cx);
        }
        let alone = request.method.role == Role::Alone || fields.is_set("no-wait");
        drop(fields);
        if alone {
            return self.report(&request, None, cx);
        }
        if self.waiting.len() >= MOST_WAITING || self.held + request.args.len() > MOST_HELD {
            match self.waiting.pop_front() {
                Some(oldest) => {
                    self.held = self.held.saturating_sub(oldest.args.len());
                    self.unanswered(&oldest, cx);
                }
                None => return cx.count("unmatched_requests"),
            }
        }
        self.held += request.args.len();
        self.waiting.push_back(request.into_owned());
    }

    /// The request that `method` answers. Answers come in the order of the requests of a channel: those before it have lost theirs.
    fn answered(&mut self, method: &'static Method, dir: Direction, channel: u16, cx: &mut Context<'_>) -> Option<Request<'static>> {
        let same = |r: &Request<'_>| r.channel == channel && r.dir != dir;
        let answers = |r: &Request<'_>| {
            same(r) && r.method.class == method.class && matches!(r.method.role, Role::Asks(ids) if ids.contains(&method.id))
        };
        let at = self.waiting.iter().position(answers)?;
        let asked = self.waiting.remove(at)?;
        self.held = self.held.saturating_sub(asked.args.len());
        let mut i = 0;
        let mut before = at;
        while i < before {
            if self.waiting.get(i).is_some_and(same) {
                if let Some(old) = self.waiting.remove(i) {
                    self.held = self.held.saturating_sub(old.args.len());
                    self.unanswered(&old, cx);
                }
                before -= 1;
            } else {
                i += 1;
            }
        }
        Some(asked)
    }

    /// A request that no answer will come to. Only a close for an error is reported.
    fn unanswered(&self, request: &Request<'_>, cx: &mut Context<'_>) {
        cx.count("unmatched_requests");
        let mut fields = Fields::default();
        let whole = fields.arguments(request.method, &request.args, false).is_some();
        if whole && request.method.closes() && fields.number("reply-code").is_some_and(|code| code >= 300) {
            self.report(request, None, cx);
        }
    }

    fn drop_requests(&mut self, which: impl Fn(&Request<'_>) -> bool, cx: &mut Context<'_>) {
        if !self.waiting.iter().any(&which) {
            return;
        }
        let (gone, kept): (VecDeque<_>, VecDeque<_>) = mem::take(&mut self.waiting).into_iter().partition(which);
        self.waiting = kept;
        for request in gone {
            self.held = self.held.saturating_sub(request.args.len());
            self.unanswered(&request, cx);
        }
    }

    fn drop_messages(&mut self, which: impl Fn(&Coming) -> bool, cx: &mut Context<'_>) {
        let held = &mut self.held;
        self.coming.retain(|coming| {
            let gone = which(coming);
            if gone {
                *held = held.saturating_sub(coming.held());
                cx.count("incomplete_messages");
            }
            !gone
        });
    }

    #[expect(clippy::too_many_arguments, reason = "what a message begins with, each part its own type")]
    fn await_content(
        &mut self,
        dir: Direction,
        channel: u16,
        method: &'static Method,
        args: &[u8],
        time: Timestamp,
        asked: Option<Request<'static>>,
        cx: &mut Context<'_>,
    ) {
        self.drop_messages(|c| (c.dir, c.channel) == (dir, channel), cx);
        let (args, header, body) = (args.to_vec(), vec![], vec![]);
        let coming = Coming { dir, channel, method, args, header, body, size: None, seen: 0, cut: false, time, asked };
        if self.coming.len() >= MOST_MESSAGES || self.held + coming.held() > MOST_HELD {
            return cx.count("incomplete_messages");
        }
        self.held += coming.held();
        self.coming.push(coming);
    }

    fn header(&mut self, dir: Direction, channel: u16, payload: &[u8], cx: &mut Context<'_>) {
        let Some(i) = self.coming.iter().position(|c| (c.dir, c.channel) == (dir, channel)) else { return };
        let size = wire::body_size(payload);
        let fits = self.held + payload.len() <= MOST_HELD;
        match (size, &mut self.coming[i]) {
            (Some(size), coming) if coming.size.is_none() && fits => {
                self.held += payload.len();
                coming.header = payload.to_vec();
                coming.size = Some(size);
                if size == 0 {
                    self.finish(dir, channel, cx);
                }
            }
            _ => self.drop_messages(|c| (c.dir, c.channel) == (dir, channel), cx),
        }
    }

    /// Takes what is there of a body frame; `None` when the rest of the frame is not wanted and goes beyond what is there.
    fn body(&mut self, dir: Direction, channel: u16, left: u64, data: &[u8]) -> Option<usize> {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
        let mut cut = true;
        if let Some(coming) = self.coming.iter_mut().find(|c| (c.dir, c.channel) == (dir, channel)) {
            if !coming.cut {
                let room = self.amqp.wanted(coming.method).saturating_sub(coming.body.len()).min(MOST_HELD.saturating_sub(self.held));
                let kept = &data[..here.min(room)];
                coming.body.extend_from_slice(kept);
                self.held += kept.len();
                coming.cut = room <= here;
            }
            cut = coming.cut;
            coming.seen = coming.seen.saturating_add(if cut { left } else { here as u64 });
        }
        let ends = cut || here as u64 == left;
        self.places[dir.index()] = if ends { Place::End { channel } } else { Place::Body { channel, left: left - here as u64 } };
        (!cut || here as u64 == left).then_some(here)
    }

    /// A frame of this channel has ended: reports the message if that was the last one of it.
    fn finish(&mut self, dir: Direction, channel: u16, cx: &mut Context<'_>) {
        let Some(i) = self.coming.iter().position(|c| (c.dir, c.channel) == (dir, channel)) else { return };
        let (size, seen) = (self.coming[i].size, self.coming[i].seen);
        if size != Some(seen) {
            if size.is_none_or(|size| size < seen) {
                self.drop_messages(|c| (c.dir, c.channel) == (dir, channel), cx);
            }
            return;
        }
        let coming = self.coming.swap_remove(i);
        self.held = self.held.saturating_sub(coming.held());
        let message = Message {
            method: coming.method,
            args: &coming.args,
            header: &coming.header,
            body: &coming.body,
            size: seen,
            time: coming.time,
            asked: coming.asked,
        };
        if event::message(&self.amqp, &message, cx).is_none() {
            cx.count("malformed");
        }
    }

    /// Where frames begin in this direction is not known any more. What was under way in it is gone, and answers may be.
    fn lose(&mut self, dir: Direction, cx: &mut Context<'_>) {
        self.places[dir.index()] = Place::Lost;
        self.drop_messages(|c| c.dir == dir, cx);
        self.drop_requests(|r| r.dir != dir && !r.method.closes(), cx);
    }
}

/// Whether what begins here is surely a frame.
fn is_known(kind: Kind, data: &[u8]) -> bool {
    match kind {
        Kind::Method => data.get(FRAME_HEAD..).and_then(wire::method_in).is_some(),
        Kind::Header | Kind::Body => false,
        Kind::Heartbeat => true,
    }
}

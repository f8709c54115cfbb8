//! Pairs responses with requests, and handles time-outs.

use super::{Parser, State, Step, Waiting};
use crate::{
    net::Direction::{self, ToClient, ToServer},
    protocols::{
        Context, Progress,
        http::{
            Settings,
            event::{self, Exchange},
            message::{Framing, Message},
        },
        kit::{backlog::Limits, held::Held, timers},
    },
    time::Timestamp,
};

/// Maximum number of waiting requests of a connection. Clients do not pipeline deeper; a capture of only one direction reaches this
/// limit.
const MOST_WAITING: usize = 256;
/// Maximum number of bytes that the waiting requests may hold, in addition to one body of `max_message_size`.
const MOST_HELD: usize = 1 << 20;
/// Capacity in bytes of a message that is kept for reuse. There may be very many idle connections.
const MOST_SPARE: usize = 1 << 10;

/// The limits of the waiting requests of a connection.
pub(super) fn limits(settings: &Settings) -> Limits {
    Limits {
        items: MOST_WAITING,
        bytes: MOST_HELD.saturating_add(settings.options.max_message_size),
        timeout: settings.common.transaction_timeout,
    }
}

impl Parser {
    pub(super) fn request(&mut self, message: Box<Message>, len: usize, head: bool, connect: bool, cx: &mut Context<'_>) -> Step {
        let start = message.start;
        self.pipelines |= self.response.is_some() || self.waiting.back().is_some_and(|w| w.start == start);
        let framing = message.framing(false);
        let wants_other = connect || message.upgrade;
        let waiting = Waiting {
            request: Some(message),
            whole: false,
            head,
            connect: wants_other,
            start,
            since: cx.now(),
            answered: false,
            response: None,
            response_lost: false,
            response_missing: false,
        };
        while !self.waiting.has_room_for(&waiting) && !self.waiting.is_empty() {
            self.drop_first(cx);
        }
        if let Some(refused) = self.waiting.push(waiting) {
            self.report(refused.request, None, false, cx);
        }
        self.begin(ToServer, framing, cx);
        Step::Took(len)
    }

    pub(super) fn begin(&mut self, dir: Direction, framing: Framing, cx: &mut Context<'_>) {
        self.side(dir).state = match framing {
            Framing::None => return self.complete(dir, cx),
            Framing::Length(n) => State::Length(n),
            Framing::Chunked => State::Chunk,
            Framing::UntilClose => State::UntilClose,
        };
    }

    pub(super) fn answer(&mut self, message: Box<Message>, len: usize, after_loss: bool, cx: &mut Context<'_>) -> Step {
        if after_loss {
            self.settle_loss(message.start, cx);
        }
        if matches!(message.status, 100 | 102..=199) {
            self.recycle(message); // After an interim response (1xx) further responses follow.
            return Step::Took(len);
        }
        let lossy = self.sides[ToServer.index()].lossy;
        let first = self.waiting.front_mut().filter(|w| w.response.is_none() && !(lossy && message.start < w.start));
        let (head, connect) = first.as_ref().map_or((false, false), |w| (w.head, w.connect));
        let answers = first.map(|mut w| w.answered = true).is_some();
        let is_connect = connect && self.waiting.front().and_then(|w| w.request.as_ref()).is_some_and(|m| m.get(m.method) == b"CONNECT");
        let upgraded = message.status == 101 || (is_connect && (200..300).contains(&message.status));
        let framing = if upgraded { Framing::None } else { message.framing(head) };
        self.response = Some((message, answers));
        if upgraded {
            if let Some(mut w) = self.waiting.front_mut() {
                w.whole = true;
            }
            self.complete(ToClient, cx);
            while self.waiting.pop().is_some() {}
            cx.count("upgraded");
            return Step::Stop(Progress::Done);
        }
        self.begin(ToClient, framing, cx);
        Step::Took(len)
    }

    /// Handles the first response after a loss, which was found at `time`. If the client does not pipeline, it sent its
    /// newest request before `time` when all others had been answered, so the response belongs to that request. If it
    /// pipelines, the pairing is unknown, and all waiting requests are given up.
    pub(super) fn settle_loss(&mut self, time: Timestamp, cx: &mut Context<'_>) {
        let before = self.waiting.iter().take_while(|w| w.start <= time).count();
        let lost = match self.pipelines {
            true => self.waiting.iter().take_while(|w| w.whole && w.response_lost).count().min(before),
            false => before.saturating_sub(1),
        };
        for _ in 0..lost {
            self.drop_first(cx);
        }
    }

    /// Handles the end of a message.
    pub(super) fn complete(&mut self, dir: Direction, cx: &mut Context<'_>) {
        self.side(dir).state = State::Head;
        match dir {
            ToServer => {
                if let Some(mut w) = self.waiting.back_mut().filter(|w| !w.whole) {
                    w.whole = true;
                    w.since = cx.now();
                    if let Some(m) = &mut w.request {
                        m.decode(&self.settings);
                    }
                }
            }
            ToClient => {
                let Some((mut message, answers)) = self.response.take() else { return };
                message.decode(&self.settings);
                if !answers || self.waiting.is_empty() {
                    return self.report(None, Some(message), false, cx);
                }
                if let Some(mut first) = self.waiting.front_mut() {
                    first.response = Some(message);
                }
            }
        }
        self.settle(cx);
    }

    /// Reports the first waiting request if its response is complete too.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        if !self.waiting.front().is_some_and(|w| w.whole && w.response.is_some()) {
            return;
        }
        if let Some(w) = self.waiting.pop() {
            self.report(w.request, w.response, false, cx);
        }
        if let Some(mut next) = self.waiting.front_mut() {
            next.since = next.since.max(cx.now());
        }
    }

    /// Reports the first waiting request as it is, unless it was reported. A later response to it has no counterpart.
    pub(super) fn drop_first(&mut self, cx: &mut Context<'_>) {
        let Some(w) = self.waiting.pop() else { return };
        if w.answered
            && let Some((_, answers)) = &mut self.response
        {
            *answers = false;
        }
        if w.request.is_some() || w.response.is_some() {
            self.report(w.request, w.response, w.response_missing, cx);
        }
    }

    pub(super) fn report(
        &mut self,
        request: Option<Box<Message>>,
        response: Option<Box<Message>>,
        response_missing: bool,
        cx: &mut Context<'_>,
    ) {
        if response.is_none() {
            cx.count("unmatched_requests");
        } else if request.is_none() {
            cx.count("unmatched_responses");
        }
        let exchange = Exchange { request: request.as_deref(), response: response.as_deref(), response_missing };
        event::emit(exchange, &self.settings, &mut self.scratch, cx);
        if self.scratch.capacity() > MOST_SPARE {
            self.scratch = Vec::new();
        }
        [request, response].into_iter().flatten().for_each(|m| self.recycle(m));
    }

    pub(super) fn recycle(&mut self, mut message: Box<Message>) {
        if self.spare.is_empty() && message.held() <= MOST_SPARE {
            message.clear();
            self.spare.push(message);
        }
    }

    pub(super) fn arm(&mut self, cx: &mut Context<'_>) {
        let timeout = self.settings.common.transaction_timeout;
        let first = self.waiting.iter().find(|w| w.request.is_some());
        timers::arm(cx, first.filter(|w| w.whole && !w.answered).map(|w| w.since.after(timeout)));
    }

    /// Reports the waiting requests. A request that is still being sent is reported only if `also_unfinished` is set.
    pub(super) fn give_up_waiting(&mut self, also_unfinished: bool, cx: &mut Context<'_>) {
        while self.waiting.front().is_some_and(|w| w.whole || also_unfinished) {
            let unfinished = self.waiting.front().is_some_and(|w| !w.whole);
            if unfinished {
                self.complete(ToServer, cx);
                continue;
            }
            self.drop_first(cx);
        }
    }
}

//! Pairs responses with requests. In the text protocol, responses come in the order of the requests, and a response
//! must fit its request. In the binary protocol, opaque and opcode identify the request. That a quiet request got no
//! response is known when a later request is answered.

use super::{
    Memcache,
    event::{self, Pair},
    message::{Kind, Message},
    replies,
    session::Session,
    wire::Ask,
};
use crate::protocols::{
    Context,
    kit::{backlog::Limits, held::Held},
};

/// Maximum number of waiting requests of one conversation.
const MOST_PENDING: usize = 8192;
/// Maximum number of bytes that the waiting requests of one conversation hold.
const MOST_HELD: usize = 8 << 20;

const MISSING: &str = "Missing response for non-quiet request";
const UNFINISHED: &str = "Unfinished transaction";
const NOBODY_ASKED: &str = "Invalid transaction. Request missing";

/// The limits of the waiting requests of one conversation.
pub(super) fn limits(memcache: &Memcache) -> Limits {
    Limits { items: MOST_PENDING, bytes: MOST_HELD, timeout: memcache.common.transaction_timeout }
}

impl Session {
    /// Handles a complete request.
    pub(super) fn asked(&mut self, cx: &mut Context<'_>) {
        let mut request = std::mem::take(&mut self.asks.message);
        if self.skipped && !self.binary {
            cx.count("unmatched_requests");
            request.reset();
            self.asks.message = request;
            return;
        }
        if self.pending.is_empty() {
            self.lost = false;
            if !self.binary {
                self.answers.sure_again();
            }
        }
        let quits = request.binary && request.quiet && super::binary::QUIT.contains(&request.opcode);
        if request.noreply == Some(true) || request.ask == Ask::Nothing || quits {
            self.report(Some(&request), None, &[], cx);
            request.reset();
            self.asks.message = request; // keeps the buffers for the next message
            return;
        }
        if !self.pending.has_bytes(request.held()) {
            let before_values = request.values.first().map_or(request.text.len(), |span| span.0);
            request.values.clear();
            request.text.truncate(before_values);
            request.text.shrink_to_fit();
        }
        while let Some(oldest) = self.pending.evict_for(&request) {
            self.unanswered(&oldest, UNFINISHED, cx);
            if !self.binary {
                self.forget_pending(cx);
                self.lost = true;
            }
        }
        if let Some(refused) = self.pending.push(request) {
            self.unanswered(&refused, UNFINISHED, cx);
        }
    }

    /// Handles a response that is complete, or of which no more will come.
    pub(super) fn answered(&mut self, cx: &mut Context<'_>) {
        let mut reply = std::mem::take(&mut self.answers.message);
        match self.place(&reply) {
            _ if self.late > 0 && !self.binary => {
                self.late -= 1;
                cx.count("unmatched_responses");
            }
            Some(before) => {
                for _ in 0..before {
                    if let Some(passed) = self.pending.pop() {
                        self.unanswered(&passed, MISSING, cx);
                    }
                }
                if let Some(request) = self.pending.pop() {
                    self.watched |= request.ask == Ask::Watch && reply.command == "OK";
                    self.report(Some(&request), Some(&reply), &[], cx);
                    if self.pending.is_empty() && self.asks.message.command.is_empty() && request.text.capacity() <= 4096 {
                        self.asks.message = request; // keeps the buffers for the next message
                        self.asks.message.reset();
                    }
                }
            }
            None => {
                cx.count("unmatched_responses");
                if !self.lost && reply.command != "UNKNOWN" {
                    self.report(None, Some(&reply), &[NOBODY_ASKED], cx);
                }
            }
        }
        reply.reset();
        self.answers.message = reply;
    }

    /// Number of waiting requests before the one to which the response belongs.
    fn place(&self, reply: &Message) -> Option<usize> {
        if reply.binary {
            return self.pending.iter().position(|r| r.opcode == reply.opcode && r.opaque == reply.opaque);
        }
        let found = self.pending.iter().position(|request| replies::fits(request, reply));
        // If only quiet requests wait, an error belongs to one of them.
        found.or_else(|| (reply.kind == Kind::Fail && reply.command.ends_with("ERROR") && !self.pending.is_empty()).then_some(0))
    }

    /// Reports a request without a response.
    fn unanswered(&mut self, request: &Message, note: &'static str, cx: &mut Context<'_>) {
        if request.silent() {
            return self.report(Some(request), None, &[], cx);
        }
        cx.count(if note == MISSING { "unmatched_requests" } else { "unfinished_transactions" });
        self.report(Some(request), None, &[note], cx);
    }

    /// Reports all waiting requests, which will get no response.
    pub(super) fn forget_pending(&mut self, cx: &mut Context<'_>) {
        while let Some(request) = self.pending.pop() {
            self.unanswered(&request, UNFINISHED, cx);
        }
        self.late = 0;
    }

    /// At the end of the conversation, reports a response that has begun with the part that was captured, and all
    /// waiting requests.
    pub fn finish(&mut self, cx: &mut Context<'_>) {
        if !self.answers.message.command.is_empty() && !self.pending.is_empty() {
            self.answered(cx);
        }
        if !cx.strict() {
            self.forget_pending(cx);
        }
    }

    /// Reports requests whose time-out has passed, except a request whose response has begun.
    pub fn on_timer(&mut self, cx: &mut Context<'_>) {
        while self.answers.message.command.is_empty()
            && let Some(request) = self.pending.expired(cx.now())
        {
            if !request.silent() {
                self.late = self.late.saturating_add(1);
            }
            self.unanswered(&request, UNFINISHED, cx);
        }
    }

    fn report(&self, request: Option<&Message>, response: Option<&Message>, notes: &[&str], cx: &mut Context<'_>) {
        let hidden = |m: &Message| m.command == "UNKNOWN" && !m.binary && (m.line.is_none() || !self.plugin.options.parseunknown);
        if request.or(response).is_some_and(hidden) {
            return cx.count("unknown_commands");
        }
        event::emit(&Pair { request, response }, if self.notes { notes } else { &[] }, cx);
    }
}

//! Reads the header sections of messages, and searches for the next one.

use super::{Parser, State, Step, role};
use crate::{
    net::Direction::{self, ToClient, ToServer},
    protocols::{
        Context, Progress, Recovery,
        http::wire::{self, Line, Parsed},
    },
};

/// Number of bytes of each side without a message after which it is certain that neither side uses HTTP.
const MOST_UNKNOWN_BOTH: u64 = 64 << 10;

impl Parser {
    pub(super) fn head(&mut self, dir: Direction, rest: &[u8], at: usize, cx: &mut Context<'_>) -> Step {
        let blank = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        if blank > 0 {
            return Step::Took(blank);
        }
        // Whether the data after a CONNECT or an upgrade request is HTTP depends on the response.
        if dir == ToServer && self.waiting.back().is_some_and(|w| w.connect && w.whole && w.request.is_some()) {
            return Step::Wait;
        }
        if dir == ToServer || !self.known {
            let known = rest.len().min(wire::PREFACE.len());
            if rest[..known] == wire::PREFACE[..known] {
                if known < wire::PREFACE.len() {
                    return Step::Wait;
                }
                cx.count("http2");
                return Step::Stop(Progress::Done);
            }
        }
        if let Some(step) = self.detect_roles(dir, rest) {
            return step;
        }
        let scanned = self.sides[dir.index()].scanned;
        if scanned > 0 && wire::terminator(rest, scanned).is_none() {
            return self.partial(dir, rest, cx);
        }
        match self.read_head(dir, rest, at, cx) {
            Parsed::Complete(step) => step,
            Parsed::Partial => self.partial(dir, rest, cx),
            Parsed::Invalid => self.lose(dir, cx),
        }
    }

    /// Before the first message, detects whether client and server must be swapped.
    pub(super) fn detect_roles(&self, dir: Direction, rest: &[u8]) -> Option<Step> {
        if self.known {
            return None;
        }
        match wire::begins(rest, role(dir.reverse())) {
            Some(true) => Some(Step::Flip),
            Some(false) => None,
            // `H` may begin a HEAD or a response.
            None => Some(Step::Wait),
        }
    }

    pub(super) fn partial(&mut self, dir: Direction, rest: &[u8], cx: &mut Context<'_>) -> Step {
        let most = self.settings.options.max_message_size.min(wire::MOST_HEAD);
        let most = if wire::may_be_long(rest, role(dir)) { most.max(wire::MOST_DOUBTFUL_HEAD) } else { wire::MOST_DOUBTFUL_HEAD };
        if rest.len() > most {
            return self.lose(dir, cx);
        }
        self.side(dir).scanned = rest.len().saturating_sub(3).max(1);
        Step::Wait
    }

    /// Handles data that is not a header section: starts the search for the next header section.
    pub(super) fn lose(&mut self, dir: Direction, cx: &mut Context<'_>) -> Step {
        cx.count("lost_sync");
        self.lose_position(dir, false);
        // The search must not start at the same byte again.
        self.passed_over(dir, 1)
    }

    pub(super) fn passed_over(&mut self, dir: Direction, n: usize) -> Step {
        let side = self.side(dir);
        side.scanned = 0;
        let searched = side.search.passed(n);
        let least = self.sides[0].search.searched().min(self.sides[1].search.searched());
        // A connection that is known to be HTTP is not given up: a download of any length may lie between two messages.
        if !self.known && (searched == Recovery::GiveUp || least > MOST_UNKNOWN_BOTH) {
            return Step::Stop(Progress::GiveUp);
        }
        Step::Took(n)
    }

    /// The start of the next message of this side is unknown, because bytes are missing in the capture (`gap`) or
    /// malformed.
    pub(super) fn lose_position(&mut self, dir: Direction, gap: bool) {
        let side = self.side(dir);
        side.state = State::Seek;
        side.scanned = 0;
        side.lossy = true;
        if dir == ToClient {
            self.waiting.for_each_mut(|w| {
                w.response_lost = true;
                w.response_missing |= gap;
            });
        }
    }

    pub(super) fn seek(&mut self, dir: Direction, rest: &[u8], at: usize, cx: &mut Context<'_>) -> Step {
        if !self.known && wire::begins(rest, role(dir.reverse())) == Some(true) {
            return Step::Flip;
        }
        let scanned = self.sides[dir.index()].scanned;
        if scanned == 0 {
            match wire::next(rest, 0, role(dir)) {
                0 => {}
                n => return self.passed_over(dir, n),
            }
        }
        let parsed =
            if scanned > 0 && wire::terminator(rest, scanned).is_none() { Parsed::Partial } else { self.read_head(dir, rest, at, cx) };
        match parsed {
            Parsed::Complete(step) => step,
            Parsed::Partial if rest.len() <= wire::MOST_DOUBTFUL_HEAD => self.partial(dir, rest, cx),
            _ => {
                let n = wire::next(rest, 1, role(dir));
                self.passed_over(dir, n)
            }
        }
    }

    pub(super) fn read_head(&mut self, dir: Direction, rest: &[u8], at: usize, cx: &mut Context<'_>) -> Parsed<Step> {
        let mut message = self.spare.pop().unwrap_or_default();
        let start = cx.time_at(at);
        let settings = &*self.settings;
        let parsed = wire::head(rest, role(dir), |head| {
            message.read(head, start, settings);
            let (get, connect) = match head.line {
                Line::Request { method, .. } => (method == b"HEAD", method == b"CONNECT"),
                Line::Response { .. } => (false, false),
            };
            (head.raw.len(), get, connect)
        });
        match parsed {
            Parsed::Complete((len, head, connect)) => {
                self.known = true;
                let after_loss = self.sides[dir.index()].state == State::Seek;
                let side = self.side(dir);
                side.scanned = 0;
                side.search.found();
                side.state = State::Head;
                Parsed::Complete(match dir {
                    ToServer => self.request(message, len, head, connect, cx),
                    ToClient => self.answer(message, len, after_loss, cx),
                })
            }
            Parsed::Partial => {
                self.recycle(message);
                Parsed::Partial
            }
            Parsed::Invalid => {
                self.recycle(message);
                Parsed::Invalid
            }
        }
    }
}

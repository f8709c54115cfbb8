//! Reads the bodies of messages and determines their ends.

use super::{Parser, State, Step, role};
use crate::{
    net::Direction::{self, ToClient, ToServer},
    protocols::{
        Context,
        http::wire::{self, Role},
    },
};

/// A body without a length that has this number of bytes ends with the connection. A shorter one may be the next response,
/// if the server omitted the length of an empty body.
const CERTAIN_BODY: u64 = 64 << 10;

impl Parser {
    pub(super) fn step(&mut self, dir: Direction, rest: &[u8], at: usize, cx: &mut Context<'_>) -> Step {
        let most = self.settings.options.max_message_size;
        match self.sides[dir.index()].state {
            State::Head => self.head(dir, rest, at, cx),
            State::Seek => self.seek(dir, rest, at, cx),
            State::Length(left) => {
                if at == 0 && self.body_is_absent(dir, rest) {
                    self.complete(dir, cx);
                    return Step::Took(0);
                }
                let n = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - n as u64;
                self.side(dir).state = State::Length(left);
                let collects = self.with_current(dir, |m| {
                    m.take_body(&rest[..n], most);
                    m.collects()
                });
                let collects = collects.unwrap_or(false);
                if left == 0 {
                    self.complete(dir, cx);
                    Step::Took(n)
                } else if collects {
                    Step::Took(n)
                } else {
                    Step::Skip(left - 1)
                }
            }
            State::Chunk => match httparse::parse_chunk_size(rest) {
                Ok(httparse::Status::Complete((n, size))) => {
                    self.side(dir).state = if size == 0 { State::Trailer } else { State::Data(size.saturating_add(2)) };
                    self.with_current(dir, |m| m.skip(0, n as u64));
                    Step::Took(n)
                }
                Ok(httparse::Status::Partial) if rest.len() < wire::MOST_CHUNK_LINE => Step::Wait,
                _ => self.broken(dir, cx),
            },
            State::Data(left) => {
                let n = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let body = n.min(usize::try_from(left - 2.min(left)).unwrap_or(usize::MAX));
                let left = left - n as u64;
                self.side(dir).state = if left == 0 { State::Chunk } else { State::Data(left) };
                let collects = self.with_current(dir, |m| {
                    m.take_body(&rest[..body], most);
                    m.skip(0, (n - body) as u64);
                    m.collects()
                });
                let collects = collects.unwrap_or(false);
                if left == 0 || collects { Step::Took(n) } else { Step::Skip(left) }
            }
            State::Trailer => {
                let line = memchr::memchr(b'\n', rest).map(|n| n + 1);
                let n = match line {
                    Some(n) => n,
                    None if rest.len() < wire::MOST_DOUBTFUL_HEAD => return Step::Wait,
                    None => return self.broken(dir, cx),
                };
                self.with_current(dir, |m| m.skip(0, n as u64));
                if rest[..n].trim_ascii().is_empty() {
                    self.complete(dir, cx);
                }
                Step::Took(n)
            }
            State::UntilClose => {
                // The client has sent the next request, and this data looks like the response to that request. The
                // previous response therefore had no body.
                let next = if self.response.as_ref().is_some_and(|(_, answers)| *answers) { 1 } else { 0 };
                if at == 0 && self.waiting.len() > next && wire::begins(rest, Role::Response) == Some(true) {
                    self.complete(dir, cx);
                    return Step::Took(0);
                }
                let skips = self.with_current(dir, |m| {
                    m.take_body(rest, most);
                    !m.collects() && m.body_bytes >= CERTAIN_BODY
                });
                if skips == Some(true) { Step::Skip(u64::MAX) } else { Step::Took(rest.len()) }
            }
        }
    }

    /// Whether a new message begins where the announced body should begin. This happens if the server refused the
    /// request before the client sent the body (RFC 9110, 10.1.1), and with the response to a HEAD that was not
    /// captured.
    pub(super) fn body_is_absent(&mut self, dir: Direction, rest: &[u8]) -> bool {
        let role = role(dir);
        let possible = match (dir, &self.response) {
            (ToServer, response) => {
                let answering = response.is_some();
                self.waiting.back().is_some_and(|w| {
                    (answering || w.response.is_some()) && w.request.as_ref().is_some_and(|m| m.expects && m.body_bytes == 0)
                })
            }
            (ToClient, Some((m, answers))) => !answers && m.body_bytes == 0,
            (ToClient, None) => false,
        };
        possible && wire::begins(rest, role) == Some(true)
    }

    /// The body of the current message is malformed. The message is reported with the part that was read.
    pub(super) fn broken(&mut self, dir: Direction, cx: &mut Context<'_>) -> Step {
        self.complete(dir, cx);
        self.lose(dir, cx)
    }
}

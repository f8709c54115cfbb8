//! Handles the messages of the client.

use super::{
    connection::{Connection, Step, StepKind, is_tls},
    event::{self, Formats},
    sql,
    state::{Asked, Mode, Pairing},
    wire::{self, Frame, HEAD, Opening, Start},
};
use crate::{
    net::Direction,
    protocols::{Context, Progress, kit::reader::Reader},
    time::Timestamp,
};
use std::time::Duration;

/// Maximum number of bytes of a statement that are kept; the server accepts a gigabyte.
const LONGEST_QUERY: u64 = 1 << 20;
/// Maximum number of bytes of a Bind that are buffered to read the formats of its results, which are after its parameters.
const LONGEST_BIND: u64 = 256 << 10;
/// Maximum number of bytes of a name. Names of statements and portals are not limited to 63 bytes, but are short in practice.
const LONGEST_NAME: u64 = 4 << 10;
/// If the server was silent for this long, earlier requests will not be answered.
const QUIET: Duration = Duration::from_secs(1);

impl Connection {
    pub(super) fn on_requests(&mut self, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let mut at = 0;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            if !self.aligned[0] {
                // After a gap, parsing resumes at a segment that consists of messages from its first byte on.
                if at > 0 || wire::chain(Direction::ToServer, rest).is_none_or(|whole| whole == 0 && rest.len() < HEAD) {
                    return self.pass_over(rest.len(), data.len());
                }
                self.aligned[0] = true;
            }
            match rest[0] {
                0 => match wire::opening(rest) {
                    Ok((opening, length)) if length <= rest.len() => {
                        match self.opening(opening, cx.time_at(at), length, cx) {
                            None => at += length,
                            Some(progress) => return progress,
                        }
                        continue;
                    }
                    Ok((_, length)) => return Progress::Consumed { bytes: at as u64, need: length - rest.len() },
                    Err(0) => {}
                    Err(need) => return Progress::Consumed { bytes: at as u64, need },
                },
                // TLS begins at once, or after a response of the server that was not captured.
                0x16 if is_tls(rest) && (!self.proven || self.awaiting.is_some()) => {
                    return match rest.len() {
                        1 => Progress::Consumed { bytes: at as u64, need: 1 },
                        _ => Progress::HandOver { bytes: at as u64, to: "tls" },
                    };
                }
                _ => {}
            }
            let frame = match wire::start(Direction::ToServer, rest) {
                Start::Message(frame) => frame,
                Start::More(need) => return Progress::Consumed { bytes: at as u64, need },
                Start::Nonsense => {
                    self.on_invalid_bytes(cx);
                    return self.pass_over(rest.len(), data.len());
                }
            };
            let head = HEAD as u64;
            let wanted = match frame.kind {
                b'Q' | b'P' => frame.length.min(head + LONGEST_QUERY),
                b'B' => frame.length.min(head + LONGEST_BIND),
                b'D' | b'C' | b'E' => frame.length.min(head + LONGEST_NAME),
                _ => head,
            } as usize;
            let Some(message) = rest.get(..wanted) else {
                return Progress::Consumed { bytes: at as u64, need: wanted - rest.len() };
            };
            if self.request(frame, &message[HEAD..], cx.time_at(at), cx).is_none() {
                self.on_invalid_bytes(cx);
                return Progress::consumed(data.len());
            }
            self.found();
            if frame.length > rest.len() as u64 {
                return Progress::Consumed { bytes: (at as u64).saturating_add(frame.length), need: 1 };
            }
            at += frame.length as usize;
        }
        Progress::consumed(at)
    }

    /// Handles invalid bytes in the same way as missing bytes.
    fn on_invalid_bytes(&mut self, cx: &mut Context<'_>) {
        use crate::protocols::StreamParser;
        if self.proven {
            cx.count("malformed");
        }
        self.on_gap(Direction::ToServer, 0, cx);
    }

    fn opening(&mut self, opening: Opening, start: Timestamp, length: usize, cx: &mut Context<'_>) -> Option<Progress> {
        match opening {
            Opening::Cancel => return Some(Progress::Done),
            Opening::Ssl | Opening::Gss => self.awaiting = Some(opening),
            Opening::Startup => {
                self.found();
                self.awaiting = None;
                self.wait(Step { start, bytes: length as u64, what: StepKind::Other }, cx);
            }
        }
        None
    }

    /// Handles one message; `body` is the needed part. `None` if its contents are invalid.
    fn request(&mut self, frame: Frame, body: &[u8], start: Timestamp, cx: &mut Context<'_>) -> Option<()> {
        let cut = frame.body() > body.len() as u64;
        let mut r = Reader::new(body);
        let what = match frame.kind {
            b'Q' => {
                let text = if cut { body } else { body.strip_suffix(&[0])? };
                if memchr::memchr(0, text).is_some() {
                    return None;
                }
                StepKind::Query { text: text.into(), parts: sql::split(text), answered: 0 }
            }
            b'P' => {
                let name = r.until(0)?;
                let text = match r.until(0) {
                    Some(text) => text,
                    None if cut => r.rest(),
                    None => return None,
                };
                let sql = text.get(event::trimmed(text)).unwrap_or_default();
                StepKind::Parse { name: name.into(), sql: sql.into() }
            }
            b'B' => {
                let bind = wire::bind(body)?;
                let formats = match bind.formats {
                    Some(list) if self.plugin.common.send_response => Formats::Bound(list.chunks_exact(2).map(|f| f == [0, 1]).collect()),
                    Some(_) => Formats::Described,
                    None => Formats::Unknown,
                };
                StepKind::Bind { portal: bind.portal.into(), statement: bind.statement.into(), formats }
            }
            b'D' | b'C' => {
                let kind = r.u8()?;
                let portal = match kind {
                    b'P' => true,
                    b'S' => false,
                    _ => return None,
                };
                let name = r.until(0)?.into();
                if frame.kind == b'D' { StepKind::Describe { portal, name } } else { StepKind::Close { portal, name } }
            }
            b'E' => StepKind::Execute { portal: r.until(0)?.into() },
            b'S' if self.mode == Mode::CopyIn => return Some(()),
            b'S' => StepKind::Sync,
            b'F' => StepKind::Other,
            b'd' | b'c' | b'f' => {
                self.copied = self.copied.saturating_add(frame.length);
                match frame.kind {
                    b'd' => return Some(()),
                    _ if self.mode == Mode::CopyIn => {
                        self.mode = Mode::Statements;
                        return Some(());
                    }
                    _ => StepKind::CopyDone,
                }
            }
            b'H' => {
                if let (Some(mut step), false) = (self.pending.back_mut(), self.pairing.is_lost()) {
                    step.bytes += frame.length;
                }
                return Some(());
            }
            _ => return Some(()), // These messages get no response, for example passwords and Terminate.
        };
        self.ask(Step { start, bytes: frame.length, what }, cx);
        Some(())
    }

    /// Adds the step to the waiting ones, unless it is known that its response cannot be paired.
    fn ask(&mut self, step: Step, cx: &mut Context<'_>) {
        if self.pairing == Pairing::Unseen && self.pending.is_empty() && matches!(step.what, StepKind::Sync | StepKind::CopyDone) {
            // The step belongs to a request that was not captured. The response to that request ends with one ReadyForQuery, and the step
            // gets no other.
            return;
        }
        let quiet = cx.now().since(self.heard) >= QUIET.as_nanos() as u64;
        let (pairing, asked) = self.pairing.asks(step.ends(), self.pending.is_empty(), quiet);
        self.pairing = pairing;
        match asked {
            Asked::Waits => {}
            Asked::Dropped => return self.unanswered(&step, cx),
            Asked::Recovers => {
                self.aligned[1] = true;
                self.tail.clear();
                self.start_over();
            }
        }
        if self.mode == Mode::SkipToSync {
            if !matches!(step.what, StepKind::Sync) {
                return self.unanswered(&step, cx);
            }
            self.mode = Mode::Statements;
        }
        let (turn, first) = self.turn.asks();
        self.turn = turn;
        if first && std::mem::take(&mut self.suspect) {
            self.drop_pending(cx); // The client sends a new request, so the server has answered the earlier requests.
        }
        self.wait(step, cx);
    }

    /// Adds the step to the waiting ones. If there is no room, the pairing is lost.
    fn wait(&mut self, step: Step, cx: &mut Context<'_>) {
        if let Some(refused) = self.pending.push(step) {
            self.unanswered(&refused, cx);
            self.lose_track(u32::from(refused.ends()), cx);
        }
    }

    pub(super) fn unanswered(&self, step: &Step, cx: &mut Context<'_>) {
        for _ in 0..step.unanswered() {
            cx.count("unmatched_requests");
        }
    }
}

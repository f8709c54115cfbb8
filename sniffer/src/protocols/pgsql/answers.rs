//! Handles the messages of the server. `statements` applies them to the waiting statements.

use super::{
    connection::{Connection, Step, StepKind, Unit},
    state::Turn,
    statements::REQUEST_LOST,
    wire::{self, Frame, HEAD, Opening, READY, Start},
};
use crate::{
    net::Direction,
    protocols::{Context, Progress},
    time::Timestamp,
};

/// Maximum number of bytes of a RowDescription that are buffered. A RowDescription of 1,664 columns whose names have 63 bytes is shorter.
const LONGEST_DESCRIPTION: u64 = 256 << 10;
/// Maximum number of bytes of an ErrorResponse that are buffered; severity, code and message are at its beginning.
const LONGEST_ERROR: u64 = 64 << 10;
/// Maximum number of bytes of a row that are buffered to show its beginning, whatever the options allow.
const LONGEST_ROW: u64 = 1 << 20;

impl Connection {
    pub(super) fn on_answers(&mut self, data: &[u8], cx: &mut Context<'_>) -> Progress {
        self.heard = cx.now();
        self.answer.lost |= cx.skipped().lost > 0;
        let mut at = 0;
        if let (Some(asked), Some(&answer)) = (self.awaiting, data.first()) {
            match (asked, answer) {
                (Opening::Ssl, b'S') => return Progress::HandOver { bytes: 1, to: "tls" },
                (Opening::Gss, b'G') => return Progress::Done, // The connection is encrypted from here on.
                (_, b'N') => at = 1,
                _ => {}
            }
            self.awaiting = None;
        }
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            if !self.aligned[1] {
                match self.find_ready(rest) {
                    Some(n) => at += n,
                    None => return self.pass_over(rest.len(), data.len()),
                }
                self.aligned[1] = true;
                self.found();
                self.on_ready(data.get(at.wrapping_sub(1)) == Some(&b'I'), cx);
                continue;
            }
            let frame = match wire::start(Direction::ToClient, rest) {
                Start::Message(frame) => frame,
                Start::More(need) => return Progress::Consumed { bytes: at as u64, need },
                Start::Nonsense => {
                    if self.proven {
                        cx.count("malformed");
                    }
                    self.lose_track(0, cx);
                    self.aligned[1] = false;
                    continue;
                }
            };
            let head = HEAD as u64;
            let wanted = match frame.kind {
                b'T' => frame.length.min(head + LONGEST_DESCRIPTION),
                b'E' => frame.length.min(head + LONGEST_ERROR),
                b'D' if self.shows_row() => frame.length.min(self.row_wanted()),
                b'D' => head + 2,
                b'C' | b'Z' => frame.length,
                _ => head,
            } as usize;
            let Some(message) = rest.get(..wanted) else {
                return Progress::Consumed { bytes: at as u64, need: wanted - rest.len() };
            };
            self.found();
            self.answer(frame, &message[HEAD..], cx.time_at(at), cx);
            if frame.length > rest.len() as u64 {
                return Progress::Consumed { bytes: (at as u64).saturating_add(frame.length), need: 1 };
            }
            at += frame.length as usize;
        }
        Progress::consumed(at)
    }

    pub(super) fn shows_row(&self) -> bool {
        self.plugin.common.send_response
            && self.answer.rows < self.plugin.options.max_rows
            && !self.pairing.is_lost()
            && !self.pending.is_empty()
    }

    /// Number of bytes of a row that are buffered: the part that is shown, and the lengths of a few hundred columns.
    fn row_wanted(&self) -> u64 {
        (self.plugin.options.max_row_length as u64).saturating_mul(4).clamp(64 << 10, LONGEST_ROW)
    }

    /// Searches for the next ReadyForQuery, which may have begun in earlier data; returns its end.
    fn find_ready(&mut self, data: &[u8]) -> Option<usize> {
        let begun = self.tail.len();
        self.tail.extend_from_slice(data.get(..READY - 1).unwrap_or(data));
        if let Some(end) = wire::after_ready(&self.tail).filter(|&end| end > begun) {
            self.tail.clear();
            return Some(end - begun);
        }
        if let Some(end) = wire::after_ready(data) {
            self.tail.clear();
            return Some(end);
        }
        if data.len() >= READY {
            self.tail.clear();
            self.tail.extend_from_slice(data.get(data.len() - (READY - 1)..).unwrap_or_default());
        } else {
            let surplus = self.tail.len().saturating_sub(READY - 1);
            self.tail.drain(..surplus);
        }
        None
    }

    /// Handles one message; `body` is the needed part.
    fn answer(&mut self, frame: Frame, body: &[u8], time: Timestamp, cx: &mut Context<'_>) {
        match frame.kind {
            b'Z' => return self.on_ready(body.first() == Some(&b'I'), cx),
            // Messages about the login, parameters, notices and notifications are not responses to a request.
            b'R' | b'S' | b'K' | b'N' | b'A' | b'v' => return,
            b'd' | b'c' => {
                self.answer.copied += u64::from(frame.kind == b'd');
                self.unit.response += frame.length;
                return;
            }
            _ => {}
        }
        if self.pairing.is_lost() {
            return;
        }
        self.turn = Turn::Server;
        while matches!(self.pending.front(), Some(Step { what: StepKind::CopyDone, .. })) {
            self.pending.pop();
        }
        let Some(front) = self.pending.front() else {
            self.pairing = self.pairing.unseen_answer();
            if matches!(frame.kind, b'C' | b'E' | b'I') {
                cx.count("unmatched_responses");
            }
            return;
        };
        // A request after the response to earlier steps (a Parse and a Flush) is a separate exchange with its own time
        // and bytes.
        let later = self.unit.answered.is_some_and(|answered| answered < front.start);
        if later || matches!(front.what, StepKind::Query { .. }) && self.unit.start.is_some() {
            self.unit = Unit { about: self.unit.about.take(), ..Unit::default() };
        }
        self.unit.answered.get_or_insert(time);
        let length = frame.length;
        match (frame.kind, &front.what) {
            (b'E', _) => self.fail(wire::failure(body), length, cx),
            (b'1', StepKind::Parse { .. }) | (b'2', StepKind::Bind { .. }) | (b'3', StepKind::Close { .. }) => self.confirm(),
            (b't', StepKind::Describe { .. }) => self.unit.response += length,
            (b'T' | b'n', StepKind::Describe { .. }) => {
                self.unit.response += length;
                self.described(if frame.kind == b'T' { body } else { &[] });
            }
            (b'T', StepKind::Query { .. } | StepKind::Gap) => {
                self.unit.response += length;
                self.result(body);
            }
            (b'D', StepKind::Query { .. }) if !self.answer.described => self.lose_track(0, cx),
            (b'D', StepKind::Query { .. } | StepKind::Execute { .. } | StepKind::Gap) => {
                self.unit.response += length;
                self.row(body);
            }
            (b'C' | b'I' | b's', StepKind::Query { .. } | StepKind::Execute { .. }) => {
                self.unit.response += length;
                self.begin();
                self.complete(frame.kind, body, cx);
            }
            (b'C' | b's', StepKind::Gap) => {
                self.unit.response += length;
                if let Some(about) = self.unit.about.take() {
                    self.report(&about, None, &[REQUEST_LOST], cx);
                } else {
                    cx.count("unmatched_responses");
                }
                self.next_statement();
            }
            (b'G' | b'H' | b'W', StepKind::Query { .. } | StepKind::Execute { .. }) => {
                self.unit.response += length;
                self.answer.described = true;
                if frame.kind != b'H' {
                    self.copy_in();
                }
            }
            (_, StepKind::Gap | StepKind::Other) => {}
            _ => self.lose_track(0, cx),
        }
    }
}

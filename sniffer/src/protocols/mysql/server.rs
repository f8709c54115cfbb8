//! Handles the server's direction of a connection: the greeting, and responses.

use super::{
    answer::AfterPacket,
    connection::{Connection, When},
    state::{Doubt, Phase, Position},
    wire::{self, HEADER, Header, caps},
};
use crate::protocols::{Context, Progress};

/// Maximum number of bytes of a greeting: a version, a few numbers and a name.
const LONGEST_GREETING: u32 = 1024;

impl Connection {
    pub(super) fn on_answers(&mut self, data: &[u8], when: When, cx: &mut Context<'_>) -> Progress {
        let mut at = 0;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            let need = |n: usize| Progress::Consumed { bytes: at as u64, need: n.saturating_sub(rest.len()) };
            if !self.phase.is_unknown() && self.position[1] == Position::Lost {
                self.doubt = Doubt::Answered(when.at(at, cx));
                return Progress::consumed(data.len());
            }
            // A greeting does not begin with a segment of a few bytes; the end of a response may be as short.
            let too_short = self.joined && rest.len() <= HEADER;
            let may_greet = self.phase != Phase::Joined && !too_short && b"\0\0\x0a".iter().zip(rest.iter().skip(2)).all(|(a, b)| a == b);
            if self.phase.is_unknown() && !may_greet {
                self.phase = Phase::Joined;
                return Progress::consumed(data.len());
            }
            let Some(header) = Header::read(rest) else { return need(HEADER) };
            let payload = rest.get(HEADER..).unwrap_or_default();
            let whole = HEADER + header.len as usize;
            if self.position[1] == Position::Continuation {
                self.position[1] = Position::after(header);
                self.answer.seq = self.answer.seq.map(|_| header.seq.wrapping_add(1));
                self.answer.bytes += whole as u64;
                at += whole;
                continue;
            }
            let Some(&first) = payload.first().or((header.len == 0).then_some(&0)) else { return need(HEADER + 1) };
            match self.phase {
                Phase::Unknown | Phase::Joined => {
                    let payload = match payload.get(..header.len as usize) {
                        None if header.len <= LONGEST_GREETING => return need(whole),
                        payload => payload.unwrap_or_default(),
                    };
                    let Some(offered) = wire::greeting(payload) else {
                        self.phase = Phase::Joined;
                        return Progress::consumed(data.len());
                    };
                    self.phase = Phase::Login { offered: Some(offered) };
                    self.position = [Position::Packet; 2];
                }
                Phase::Login { .. } => {
                    // All other packets are part of the login.
                    if matches!(first, 0 | 0xff) {
                        self.phase = Phase::Commands;
                        if first == 0 && self.agreed.caps.is_some_and(|c| c & (caps::COMPRESS | caps::ZSTD) != 0) {
                            self.compressed(cx);
                            return Progress::Consumed { bytes: (at + whole) as u64, need: 1 };
                        }
                    }
                }
                Phase::Commands => {
                    if let Some(progress) = self.answer(header, rest, at, when, cx) {
                        return progress;
                    }
                    if self.position[1] == Position::Lost {
                        return Progress::consumed(data.len());
                    }
                }
            }
            at += whole;
        }
        Progress::consumed(at)
    }

    /// Handles a packet of a response, with which `rest` begins; returns the progress if it is incomplete.
    fn answer(&mut self, header: Header, rest: &[u8], at: usize, when: When, cx: &mut Context<'_>) -> Option<Progress> {
        let time = when.at(at, cx);
        // Another response begins, so the previous one was complete.
        if self.answer.is_settled() && (self.answer.seq != Some(header.seq) || header.len != 5) {
            self.settle(cx);
        }
        let Some(command) = self.pending.front() else {
            if header.seq > 0 {
                cx.count("unmatched_responses");
                self.doubt = Doubt::Answered(time);
            }
            self.position[1] = Position::Lost;
            return None;
        };
        let payload = rest.get(HEADER..).unwrap_or_default();
        let limits = self.plugin.limits;
        let wanted = self.answer.wants(header, payload.first().copied().unwrap_or_default(), &limits);
        let Some(payload) = payload.get(..wanted) else {
            return Some(Progress::Consumed { bytes: at as u64, need: (HEADER + wanted).saturating_sub(rest.len()) });
        };
        if !self.answer.begun() {
            self.answer.start = time;
        }
        self.position[1] = Position::after(header);
        match self.answer.packet(command.ask, header, payload, command.columns.as_deref(), &mut self.agreed, &limits) {
            AfterPacket::More => {}
            AfterPacket::Finished => self.finish(false, cx),
            AfterPacket::File => self.position[0] = self.position[0].file_wanted(),
            AfterPacket::Malformed => self.lose_answers(cx),
        }
        None
    }
}

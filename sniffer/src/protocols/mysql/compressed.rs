//! A compressed connection: the decompressed stream is handled in the same way as an uncompressed one.

use super::{
    connection::{Connection, When},
    packed::{self, Side},
    state::{Doubt, Position},
};
use crate::{
    net::Direction,
    protocols::{Context, Progress, Recovery, StreamParser},
    time::Timestamp,
};

impl Connection {
    /// Handles compressed data: decompresses it and handles the resulting stream.
    pub(super) fn unpack(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let mut at = 0;
        let mut piece = [0; packed::PIECE];
        'packets: while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            if dir == Direction::ToClient && self.position[1] == Position::Lost && self.pending.is_empty() {
                // A response without a command: the gap in the client's data contained its command.
                self.doubt = Doubt::Answered(cx.time_at(at));
                return Progress::consumed(data.len());
            }
            let Some(side) = self.packed.as_mut().map(|sides| &mut sides[dir.index()]) else { return Progress::GiveUp };
            if side.unreadable > 0 {
                let passed = usize::try_from(side.unreadable).unwrap_or(usize::MAX).min(rest.len());
                side.unreadable -= passed as u64;
                at += passed;
                continue;
            }
            if side.left == 0 {
                if dir == Direction::ToServer && self.position[0] == Position::Lost {
                    match packed::plausible(rest) {
                        None => return Progress::consumed(at),
                        Some(false) => return self.pass_over(data.len()),
                        Some(true) => *side = Side::default(),
                    }
                }
                if side.begin(rest).is_none() {
                    return Progress::Consumed { bytes: at as u64, need: packed::HEADER - rest.len() };
                }
                at += packed::HEADER;
                continue;
            }
            let time = cx.time_at(at);
            let end = rest.len().min(side.left as usize);
            let mut from = rest.get(..end).unwrap_or_default();
            at += end;
            self.allowed[dir.index()].captured(end);
            loop {
                let Some(side) = self.packed.as_mut().map(|sides| &mut sides[dir.index()]) else { return Progress::GiveUp };
                let exceeded = side.is_compressed() && self.allowed[dir.index()].is_exceeded();
                let unpacked = if exceeded { None } else { side.unpack(from, &mut piece) };
                let Some((taken, written)) = unpacked else {
                    // The rest of the packet is treated as missing.
                    side.lose(from.len() as u64);
                    cx.count(if exceeded { "over_compressed" } else { "malformed" });
                    self.on_gap(dir, 0, cx);
                    match self.search.passed(end) {
                        Recovery::Resume => continue 'packets,
                        Recovery::GiveUp => return Progress::GiveUp,
                    }
                };
                side.end();
                from = from.get(taken..).unwrap_or_default();
                let before = self.commands;
                let over = self.unpacked(dir, piece.get(..written).unwrap_or_default(), time, cx);
                self.allowed[dir.index()].spend(written, self.commands.wrapping_sub(before));
                if let Some(over) = over {
                    return over;
                }
                if from.is_empty() && written < packed::PIECE {
                    break;
                }
            }
        }
        Progress::consumed(at)
    }

    /// Handles a piece of the decompressed stream; returns the progress if it ends the connection.
    fn unpacked(&mut self, dir: Direction, mut plain: &[u8], time: Timestamp, cx: &mut Context<'_>) -> Option<Progress> {
        let side = &mut self.packed.as_mut()?[dir.index()];
        let unwanted = usize::try_from(side.skip).unwrap_or(usize::MAX).min(plain.len());
        side.skip -= unwanted as u64;
        plain = plain.get(unwanted..).unwrap_or_default();
        side.need = side.need.saturating_sub(plain.len());
        if plain.is_empty() {
            return None;
        }
        let (mut kept, place, since) = (std::mem::take(&mut side.kept), side.kept.len(), side.since);
        let since = if kept.is_empty() { time } else { since };
        let need = side.need;
        let progress = if kept.is_empty() && need == 0 {
            self.packets(dir, plain, When::Unpacked(0, time, time), cx)
        } else {
            kept.extend_from_slice(plain);
            match need {
                0 => self.packets(dir, &kept, When::Unpacked(place, since, time), cx),
                need => Progress::Consumed { bytes: 0, need },
            }
        };
        let Progress::Consumed { bytes, need } = progress else { return Some(progress) };
        let all = if kept.is_empty() { plain } else { &kept };
        let done = usize::try_from(bytes).unwrap_or(usize::MAX).min(all.len());
        let side = &mut self.packed.as_mut()?[dir.index()];
        side.skip = bytes - done as u64;
        side.need = need;
        side.since = if done < place { since } else { time };
        side.kept = match kept.is_empty() {
            true => plain.get(done..).unwrap_or_default().to_vec(),
            false => {
                kept.drain(..done);
                // One long packet must not hold its memory for the rest of a long connection.
                if kept.is_empty() {
                    kept.shrink_to(packed::PIECE);
                }
                kept
            }
        };
        None
    }
}

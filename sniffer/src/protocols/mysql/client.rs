//! Handles the client's direction of a connection: logins, commands, files.

use super::{
    answer::Ask,
    command::{Command, Kind, LONGEST, plausible},
    connection::{Connection, When},
    packed::{self, Side},
    state::{Phase, Position},
    wire::{self, HEADER, Header, caps, command},
};
use crate::{
    protocols::{Context, Progress, kit::timers},
    time::Timestamp,
};

/// The start of a TLS record with a handshake, and of one with data.
const TLS: [&[u8]; 2] = [&[0x16, 3], &[0x17, 3, 3]];

impl Connection {
    pub(super) fn on_commands(&mut self, data: &[u8], when: When, cx: &mut Context<'_>) -> Progress {
        let mut at = 0;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            let need = |n: usize| Progress::Consumed { bytes: at as u64, need: n.saturating_sub(rest.len()) };
            let Some(header) = Header::read(rest) else { return need(HEADER) };
            let payload = rest.get(HEADER..).unwrap_or_default();
            let whole = HEADER + header.len as usize;
            match self.position[0] {
                Position::Continuation => {
                    self.position[0] = Position::after(header);
                    if let Some(mut command) = self.pending.back_mut() {
                        command.seq = header.seq;
                        command.bytes += whole as u64;
                    }
                    self.expect();
                    at += whole;
                    continue;
                }
                Position::File => {
                    if let Some(mut command) = self.pending.front_mut() {
                        command.bytes += whole as u64;
                    }
                    self.position[0] = Position::after_file(header);
                    at += whole;
                    continue;
                }
                Position::Lost | Position::Packet => {}
            }
            let Some(&first) = payload.first().or((header.len == 0).then_some(&0)) else { return need(HEADER + 1) };
            if let (Phase::Login { offered }, Position::Packet, 1..) = (self.phase, self.position[0], header.seq) {
                let wanted = HEADER + payload_of_login(header);
                if rest.len() < wanted {
                    return need(wanted);
                }
                if let Some(progress) = self.login(offered, header, payload, at, cx) {
                    return progress;
                }
                at += whole;
                continue;
            }
            if self.phase != Phase::Commands || self.position[0] == Position::Lost {
                if self.phase.is_unknown() && TLS.iter().any(|tls| rest.starts_with(tls)) {
                    cx.count("tls");
                    return if rest.starts_with(TLS[0]) { Progress::HandOver { bytes: at as u64, to: "tls" } } else { Progress::Done };
                }
                // 20 bytes distinguish a command from most other data.
                let wanted = whole.min(HEADER + 20);
                if header.seq <= 1 && rest.len() < wanted {
                    return need(wanted);
                }
                if header.seq == 1 && self.phase.is_unknown() && (wire::TLS_REQUEST..1024).contains(&header.len) {
                    if rest.len() < whole {
                        return need(whole);
                    }
                    if wire::login(payload).is_some() {
                        self.phase = Phase::Login { offered: None };
                        self.position = [Position::Packet; 2];
                        continue;
                    }
                }
                if header.seq != 0 || !plausible(header.len, payload.get(..header.len as usize).unwrap_or(payload)) {
                    if packed::plausible(rest) == Some(true) && matches!(when, When::Plain) {
                        self.compressed(cx);
                        return Progress::consumed(at);
                    }
                    return self.pass_over(data.len());
                }
                self.phase = Phase::Commands;
                self.position[0] = Position::Packet;
                if !self.pending.is_empty() {
                    // Other commands between the waiting ones and this one may be missing.
                    cx.count("unmatched_requests");
                    self.lose_answers(cx);
                    self.position[0] = Position::after(header);
                    at += whole;
                    continue;
                }
            }
            if header.seq != 0 && self.pending.front().is_some_and(|c| c.ask == Ask::ChangeUser) {
                at += whole;
                continue;
            }
            if header.seq != 0 || header.len == 0 || first > command::LAST && first != command::STMT_BULK_EXECUTE {
                self.position[0] = Position::Lost;
                return self.pass_over(data.len());
            }
            let wanted = (header.len as usize).min(LONGEST);
            let Some(payload) = payload.get(..wanted) else { return need(HEADER + wanted) };
            let time = when.at(at, cx);
            self.position[0] = Position::after(header);
            if matches!(first, command::BINLOG_DUMP | command::BINLOG_DUMP_GTID) {
                return Progress::Done; // From here on the server sends the binary log for a replica.
            }
            self.search.found();
            self.command(header, payload, time, cx);
            at += whole;
        }
        Progress::consumed(at)
    }

    /// Handles the client's response to the greeting, or another packet of its login.
    fn login(&mut self, offered: Option<u64>, header: Header, payload: &[u8], at: usize, cx: &mut Context<'_>) -> Option<Progress> {
        let wants = wire::login(payload.get(..header.len as usize).unwrap_or(payload)).filter(|_| self.agreed.caps.is_none())?;
        if header.len == wire::TLS_REQUEST && wants & caps::SSL != 0 {
            cx.count("tls");
            return Some(Progress::HandOver { bytes: (at + HEADER) as u64 + u64::from(header.len), to: "tls" });
        }
        let agreed = wants & offered.unwrap_or(u64::MAX);
        self.agreed.caps = Some(agreed);
        self.agreed.no_eof = Some(agreed & caps::DEPRECATE_EOF != 0);
        None
    }

    /// Notes that both directions are compressed from here on.
    pub(super) fn compressed(&mut self, cx: &mut Context<'_>) {
        if self.packed.is_none() {
            self.packed = Some(Box::default());
            cx.count("compressed");
        }
    }

    /// Sets the sequence number of the response to the first waiting command, unless that response has begun.
    fn expect(&mut self) {
        if !self.answer.begun() {
            self.answer.seq = self.pending.front().map(|c| c.seq.wrapping_add(1));
        }
    }

    fn command(&mut self, header: Header, payload: &[u8], time: Timestamp, cx: &mut Context<'_>) {
        self.commands = self.commands.wrapping_add(1);
        self.settle(cx);
        if self.pending.is_empty() && self.position[1] == Position::Lost {
            // The client waited for the end of the lost response before this command.
            self.position[1] = Position::Packet;
            if let Some(sides) = &mut self.packed {
                sides[1] = Side::default();
            }
        }
        let Some((&first, body)) = payload.split_first() else { return };
        let bytes = HEADER as u64 + u64::from(header.len);
        let id = body.first_chunk().map_or(0, |id| u32::from_le_bytes(*id));
        let silent = |ask| Command::new(ask, Kind::Silent, bytes, time);
        let mut new = match first {
            command::QUIT => return,
            command::STMT_CLOSE => return self.statements.remove(id),
            command::STMT_SEND_LONG_DATA => return self.statements.send_ahead(body, self.is_preparing()),
            command::QUERY => {
                let mut text = std::mem::take(&mut self.spare);
                text.extend_from_slice(wire::query(body));
                Command { text, ..Command::new(Ask::Text, Kind::Query, bytes, time) }
            }
            command::STMT_PREPARE => Command { text: body.to_vec(), ..Command::new(Ask::Prepare, Kind::Prepare, bytes, time) },
            command::STMT_EXECUTE | command::STMT_BULK_EXECUTE => {
                let mut new = Command::new(Ask::Binary, Kind::Execute, bytes, time);
                new.id = id;
                new.bulk = first == command::STMT_BULK_EXECUTE;
                self.execute(&mut new, body.get(4..).unwrap_or_default());
                new
            }
            command::STMT_RESET => {
                self.statements.reset(id);
                silent(Ask::One)
            }
            command::CHANGE_USER => {
                self.statements.clear();
                silent(Ask::ChangeUser)
            }
            command::RESET_CONNECTION => {
                self.statements.clear();
                silent(Ask::One)
            }
            command::FIELD_LIST => silent(Ask::FieldList),
            command::PROCESS_INFO => silent(Ask::Text),
            command::STMT_FETCH => silent(Ask::Fetch),
            _ => silent(Ask::One),
        };
        new.seq = header.seq;
        // The response to this command was captured before the command, or the next response may belong to another
        // command.
        let (doubt, unpaired) = self.doubt.command(time, self.pending.is_empty());
        self.doubt = doubt;
        if unpaired {
            self.position[1] = Position::Lost;
            return cx.count("unmatched_requests");
        }
        if self.pending.push(new).is_some() {
            self.lose_answers(cx);
            return cx.count("unmatched_requests");
        }
        if self.pending.len() == 1 {
            self.answer.reset(Some(header.seq.wrapping_add(1)));
            timers::arm(cx, self.pending.due());
        }
    }

    /// Whether a PREPARE waits for its response.
    fn is_preparing(&self) -> bool {
        self.pending.iter().any(|c| c.kind == Kind::Prepare)
    }

    /// Handles an EXECUTE: its query is known from the statement, which may still be waiting for its PREPARE.
    fn execute(&mut self, new: &mut Command, payload: &[u8]) {
        let is_preparing = self.is_preparing();
        let (time, timeout) = (new.time, self.plugin.options.statement_timeout);
        let late = is_preparing && new.id == u32::MAX;
        if (late || !self.statements.execute(new, payload, time, timeout)) && is_preparing {
            new.text = payload.to_vec();
        }
    }
}

/// Number of bytes of a login packet that are parsed: up to the client's capabilities.
fn payload_of_login(header: Header) -> usize {
    (header.len as usize).min(wire::TLS_REQUEST as usize)
}

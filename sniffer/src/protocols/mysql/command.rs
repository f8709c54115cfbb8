//! The client's waiting commands, and the prepared statements of a connection.

use super::{
    answer::Ask,
    columns::Columns,
    values::{self, List, Signature},
    wire::{self, command},
};
use crate::{
    protocols::kit::{backlog::Waits, held::Held, reader::Reader},
    time::Timestamp,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Maximum number of bytes of a command's text and parameters that are kept. Larger documents are not useful.
pub const LONGEST: usize = 1 << 20;
/// Maximum number of remembered statements of one connection; servers allow about 16,000 for all connections together.
const MOST_STATEMENTS: usize = 4096;
/// Maximum number of bytes of statements of one connection.
const MOST_HELD: usize = 4 << 20;
/// Maximum number of parameter values sent in advance on one connection, for statements that were not executed yet.
const MOST_AHEAD: usize = 64;
/// Maximum number of bytes that are kept of a parameter value sent in advance.
const LONGEST_AHEAD: usize = 4 << 10;
/// MariaDB's id for the statement that was prepared last.
const LAST: u32 = u32::MAX;

/// The kind of event of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A query: the text of a statement.
    Query,
    /// The preparation of a statement.
    Prepare,
    /// The execution of a statement.
    Execute,
    /// The command has no event: a ping, a change of the database and so on.
    Silent,
}

/// A command that waits for its response.
#[derive(Debug)]
pub struct Command {
    /// The kind of the response to this command.
    pub ask: Ask,
    /// The kind of the event of this command.
    pub kind: Kind,
    /// The text of a query or of a statement to prepare; the payload of an EXECUTE whose statement is still being
    /// prepared.
    pub text: Vec<u8>,
    /// The text of the executed statement.
    pub statement: Option<Arc<[u8]>>,
    /// Columns of the statement's rows, needed if the response leaves them out.
    pub columns: Option<Arc<Columns>>,
    /// The parameters of the executed statement.
    pub params: List,
    /// The id of the executed statement.
    pub id: u32,
    /// Whether the command is MariaDB's BULK_EXECUTE.
    pub bulk: bool,
    /// Length of the command on the wire in bytes.
    pub bytes: u64,
    /// Packet time of the command's first byte.
    pub time: Timestamp,
    /// The sequence number of the command's last packet.
    pub seq: u8,
    /// Whether the command's time-out has passed. The command stays in the queue only to keep the order of responses.
    pub late: bool,
}

impl Command {
    /// Makes a command without a text.
    pub fn new(ask: Ask, kind: Kind, bytes: u64, time: Timestamp) -> Self {
        Self {
            ask,
            kind,
            text: Vec::new(),
            statement: None,
            columns: None,
            params: List::default(),
            id: 0,
            bulk: false,
            bytes,
            time,
            seq: 0,
            late: false,
        }
    }

    /// Notes the sequence number of the command's last packet.
    pub fn following(self, seq: u8) -> Self {
        Self { seq, ..self }
    }
}

/// The text of the statement is not counted here: [`Statements`] counts it, and many commands may execute the same statement.
impl Held for Command {
    fn held(&self) -> usize {
        self.text.held() + self.params.held()
    }
}

impl Waits for Command {
    fn since(&self) -> Timestamp {
        self.time
    }
}

/// Whether the first bytes look like text.
fn is_text(text: &[u8]) -> bool {
    text.iter().take(16).all(|b| matches!(b, b'\t' | b'\n' | b'\r' | b' '..))
}

/// Whether a statement that contains control characters begins with a word, as SQL does.
fn begins_with_word(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let letters = text.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    letters >= 3 && text.get(letters).is_some_and(|b| b.is_ascii_whitespace() || *b == b'(')
}

/// Whether `payload`, or its captured part, may be a command of this length.
pub fn plausible(len: u32, payload: &[u8]) -> bool {
    let Some((&first, rest)) = payload.split_first() else { return false };
    match first {
        command::QUERY | command::STMT_PREPARE | command::INIT_DB => {
            let text = if matches!(rest, [0..=0x1f, 1, ..]) { wire::query(rest) } else { rest };
            len > 1 && (is_text(text) || begins_with_word(text))
        }
        command::QUIT | 0x08 | 0x09 | command::PROCESS_INFO | 0x0d | command::PING | command::RESET_CONNECTION => len == 1,
        command::STMT_CLOSE | command::STMT_RESET | 0x0c => len == 5,
        command::STMT_FETCH => len == 9,
        command::STMT_EXECUTE => len >= 10,
        command::STMT_SEND_LONG_DATA | command::STMT_BULK_EXECUTE => len >= 7,
        0x1b => len == 3,
        command::FIELD_LIST
        | 0x05..=0x07
        | command::CHANGE_USER
        | command::BINLOG_DUMP
        | 0x14
        | 0x15
        | command::BINLOG_DUMP_GTID
        | 0x20 => len > 1,
        _ => false,
    }
}

/// A prepared statement.
#[derive(Debug)]
struct Statement {
    sql: Arc<[u8]>,
    signature: Signature,
    columns: Option<Arc<Columns>>,
    used: Timestamp,
}

impl Held for Statement {
    fn held(&self) -> usize {
        self.sql.held() + self.signature.types.held() + self.columns.as_ref().map_or(0, |c| c.held())
    }
}

/// The statements of a connection.
#[derive(Debug, Default)]
pub struct Statements {
    known: BTreeMap<u32, Statement>,
    /// Bytes held by all statements.
    bytes: usize,
    /// The statement prepared last, if it is known.
    last: Option<u32>,
    /// Values sent in advance: statement, parameter, and the beginning of the value.
    ahead: Vec<(u32, u16, Vec<u8>)>,
    sweep: Timestamp,
}

impl Statements {
    /// Remembers a statement. A statement that was not used for `timeout` is forgotten.
    pub fn insert(&mut self, prepared: wire::Prepared, sql: &[u8], columns: Option<Columns>, now: Timestamp, timeout: Duration) {
        if now >= self.sweep {
            self.sweep = now.after(timeout);
            self.known.retain(|_, s| now <= s.used.after(timeout));
            self.bytes = self.known.values().map(Statement::held).sum();
        }
        self.forget(prepared.id);
        self.last = Some(prepared.id);
        for (id, ..) in self.ahead.iter_mut().filter(|(id, ..)| *id == LAST) {
            *id = prepared.id;
        }
        let signature = Signature { count: prepared.params.into(), types: Vec::new() };
        let statement = Statement { sql: sql.into(), signature, columns: columns.map(Arc::new), used: now };
        self.bytes += statement.held();
        self.known.insert(prepared.id, statement);
        self.shrink();
    }

    /// Removes the oldest statements until the limits are met. Ids increase, so the first is the oldest.
    fn shrink(&mut self) {
        while self.known.len() > MOST_STATEMENTS || self.bytes > MOST_HELD {
            let Some((_, old)) = self.known.pop_first() else { break };
            self.bytes = self.bytes.saturating_sub(old.held());
        }
    }

    /// Adds to `command` the statement that it executes, and its parameters from `payload`, which follows the
    /// statement's id. Returns whether the statement is known and was used within `timeout`.
    pub fn execute(&mut self, command: &mut Command, payload: &[u8], now: Timestamp, timeout: Duration) -> bool {
        let named = if command.id == LAST { self.last } else { Some(command.id) };
        let Some(id) = named else { return false };
        let Some(statement) = self.known.get_mut(&id).filter(|s| now <= s.used.after(timeout)) else { return false };
        let before = statement.held();
        statement.used = now;
        command.statement = Some(Arc::clone(&statement.sql));
        command.columns.clone_from(&statement.columns);
        let ahead: Vec<_> = self.ahead.extract_if(.., |(of, ..)| *of == id).map(|(_, place, value)| (place, value)).collect();
        let params = match command.bulk {
            true => values::bulk(payload, &mut statement.signature),
            false => values::execute(payload, &mut statement.signature, &ahead),
        };
        command.params = params.unwrap_or_default();
        self.bytes = (self.bytes + statement.held()).saturating_sub(before);
        self.shrink();
        true
    }

    /// Whether no statement is remembered.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Notes that the statement prepared last is unknown.
    pub fn forget_last(&mut self) {
        self.last = None;
    }

    /// Notes that commands may be missing, and drops the state that they may have changed.
    pub fn doubt(&mut self) {
        self.last = None;
        self.ahead.clear();
        for statement in self.known.values_mut() {
            statement.signature.types.clear();
        }
        self.bytes = self.known.values().map(Statement::held).sum();
    }

    /// Removes a statement that the client closes.
    pub fn remove(&mut self, id: u32) {
        self.reset(id);
        self.forget(id);
    }

    fn forget(&mut self, id: u32) {
        if let Some(old) = self.known.remove(&id) {
            self.bytes = self.bytes.saturating_sub(old.held());
        }
    }

    /// Removes all statements.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Handles a part of a parameter's value that the client sends before the EXECUTE. `payload` follows the command
    /// byte. `making` is set if the statement prepared last is not known yet.
    pub fn send_ahead(&mut self, payload: &[u8], making: bool) {
        let mut r = Reader::new(payload);
        let (Some(id), Some(place)) = (r.u32_le(), r.u16_le()) else { return };
        let id = if id == LAST && !making { self.last.unwrap_or(LAST) } else { id };
        let at = self.ahead.iter().position(|(of, p, _)| (*of, *p) == (id, place)).unwrap_or(self.ahead.len());
        if at == self.ahead.len() {
            if at >= MOST_AHEAD {
                return;
            }
            self.ahead.push((id, place, Vec::new()));
        }
        if let Some((.., value)) = self.ahead.get_mut(at) {
            let room = LONGEST_AHEAD.saturating_sub(value.len()).min(r.remaining());
            value.extend_from_slice(r.take(room).unwrap_or_default());
        }
    }

    /// Number of allocated bytes.
    pub fn held(&self) -> usize {
        let known = self.known.len() * size_of::<(u32, Statement)>() + self.bytes;
        // There are few values sent in advance, so a sum over all of them is cheap.
        let ahead = self.ahead.iter().map(|(.., value)| value.held()).sum::<usize>();
        known + self.ahead.capacity() * size_of::<(u32, u16, Vec<u8>)>() + ahead
    }

    /// Removes the values that the client has sent in advance for this statement.
    pub fn reset(&mut self, id: u32) {
        self.ahead.retain(|(of, ..)| *of != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(id: u32) -> wire::Prepared {
        wire::Prepared { id, columns: 0, params: 1, described: true }
    }

    #[test]
    fn statements_are_bounded_and_expire() {
        let hour = Duration::from_secs(3600);
        let at = |s: u64| Timestamp(s * 1_000_000_000);
        let mut all = Statements::default();
        all.insert(prepared(1), b"select ?", None, at(0), hour);
        let execute = |all: &mut Statements, id, s| {
            let mut command = Command { id, ..Command::new(Ask::Binary, Kind::Execute, 0, at(s)) };
            all.execute(&mut command, b"", at(s), hour)
        };
        assert!(execute(&mut all, 1, 3600) && execute(&mut all, LAST, 3600));
        assert!(!execute(&mut all, 1, 7201));
        for id in 0..10_000 {
            all.insert(prepared(id), &[b'x'; 2000], None, at(8000), hour);
        }
        assert_eq!((all.known.len(), all.bytes), (MOST_HELD / 2000, MOST_HELD / 2000 * 2000));
        all.insert(prepared(1), b"select ?", None, at(20_000), hour);
        assert_eq!((all.known.len(), all.bytes), (1, 8));
    }

    #[test]
    fn plausible_commands() {
        let may = |payload: &[u8]| plausible(payload.len() as u32, payload);
        assert!(may(b"\x03select 1") && may(b"\x03\0\x01select 1") && may(b"\x0e") && may(b"\x17\x01\0\0\0\0\x01\0\0\0"));
        assert!(!may(b"\x03\x01\x02") && !may(b"\x0e\0") && !may(b"GET /") && !may(b""));
    }
}

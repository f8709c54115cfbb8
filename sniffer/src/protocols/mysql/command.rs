//! The client's commands while they wait for their answers, and the statements of a connection. Pure.

use super::{
    answer::{Ask, Columns},
    values::{self, List, Signature},
    wire::{self, command},
};
use crate::{protocols::reader::Reader, time::Timestamp};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What of a command's text and parameters is kept. Documents beyond this are of no use.
pub const LONGEST: usize = 1 << 20;
/// Statements of one connection that are remembered; servers allow some 16,000 for all of them together.
const MOST_STATEMENTS: usize = 4096;
/// Bytes of statements of one connection.
const MOST_HELD: usize = 4 << 20;
/// Values sent ahead, for one statement.
const MOST_AHEAD: usize = 64;
/// What of a value sent ahead is kept.
const LONGEST_AHEAD: usize = 4 << 10;
/// MariaDB's name for the statement that was prepared last.
const LAST: u32 = u32::MAX;

/// What a command is reported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A query.
    Query,
    /// The preparation of a statement.
    Prepare,
    /// The execution of a statement.
    Execute,
    /// Nothing: a ping, another database, …
    Silent,
}

/// A command that waits for its answer.
#[derive(Debug)]
pub struct Command {
    /// The form of its answer.
    pub ask: Ask,
    /// What it is reported as.
    pub kind: Kind,
    /// The text of a query or of a statement to prepare; the payload of an EXECUTE whose statement is still being prepared.
    pub text: Vec<u8>,
    /// The text of the statement that is executed.
    pub statement: Option<Arc<[u8]>>,
    /// Columns of its rows, where they may be left out of the answer.
    pub columns: Option<Arc<Columns>>,
    /// Its parameters.
    pub params: List,
    /// The statement's id.
    pub id: u32,
    /// MariaDB's BULK_EXECUTE.
    pub bulk: bool,
    /// Its length on the wire.
    pub bytes: u64,
    /// When its first byte was on the wire.
    pub time: Timestamp,
    /// The number of its last packet.
    pub seq: u8,
    /// Its time is over: it only keeps its place.
    pub late: bool,
}

impl Command {
    /// A command without a text.
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

    /// Its last packet has that number.
    pub fn following(self, seq: u8) -> Self {
        Self { seq, ..self }
    }

    /// What of it is kept.
    pub fn held(&self) -> usize {
        self.text.len() + self.params.held()
    }

    /// Takes what its statement is known to be.
    pub fn fill(&mut self, payload: &[u8], statement: &mut Statement) {
        self.statement = Some(Arc::clone(&statement.sql));
        self.columns.clone_from(&statement.columns);
        let read = if self.bulk { values::bulk } else { values::execute };
        self.params = read(payload, &mut statement.signature).unwrap_or_default();
        statement.signature.ahead.clear();
    }
}

/// Whether `payload`, or as much of it as there is, may be a command of that length.
pub fn plausible(len: u32, payload: &[u8]) -> bool {
    let Some((&first, rest)) = payload.split_first() else { return false };
    match first {
        command::QUERY | command::STMT_PREPARE | command::INIT_DB => {
            let text = if matches!(rest, [0..=0x1f, 1, ..]) { wire::query(rest) } else { rest };
            len > 1 && text.iter().take(16).all(|b| matches!(b, b'\t' | b'\n' | b'\r' | b' '..))
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
pub struct Statement {
    sql: Arc<[u8]>,
    signature: Signature,
    columns: Option<Arc<Columns>>,
    used: Timestamp,
}

/// The statements of a connection.
#[derive(Debug, Default)]
pub struct Statements {
    known: BTreeMap<u32, Statement>,
    held: usize,
    last: u32,
    /// Values sent ahead for the statement that is being prepared.
    early: Vec<(u16, Vec<u8>)>,
    sweep: Timestamp,
}

impl Statements {
    /// Remembers a statement until it was not used for `timeout`.
    pub fn insert(&mut self, prepared: wire::Prepared, sql: &[u8], columns: Option<Columns>, now: Timestamp, timeout: Duration) {
        if now >= self.sweep {
            self.sweep = now.after(timeout);
            self.known.retain(|_, s| now <= s.used.after(timeout));
            self.held = self.known.values().map(|s| s.sql.len()).sum();
        }
        self.remove(prepared.id);
        while self.known.len() >= MOST_STATEMENTS || self.held + sql.len() > MOST_HELD {
            // Ids go up: the first is the oldest.
            let Some((_, old)) = self.known.pop_first() else { break };
            self.held -= old.sql.len();
        }
        self.held += sql.len();
        self.last = prepared.id;
        let ahead = std::mem::take(&mut self.early);
        let signature = Signature { count: prepared.params.into(), types: Vec::new(), ahead };
        self.known.insert(prepared.id, Statement { sql: sql.into(), signature, columns: columns.map(Arc::new), used: now });
    }

    /// The statement of that id, if it is known and was used within `timeout`.
    pub fn get(&mut self, id: u32, now: Timestamp, timeout: Duration) -> Option<&mut Statement> {
        let statement = self.known.get_mut(&if id == LAST { self.last } else { id })?;
        if now > statement.used.after(timeout) {
            return None;
        }
        statement.used = now;
        Some(statement)
    }

    /// Which statement was prepared last is not known any more.
    pub fn forget_last(&mut self) {
        self.last = LAST;
    }

    /// Commands may be missing: what they may have changed is forgotten.
    pub fn doubt(&mut self) {
        self.forget_last();
        for statement in self.known.values_mut() {
            statement.signature.types.clear();
            statement.signature.ahead.clear();
        }
    }

    /// Forgets one.
    pub fn remove(&mut self, id: u32) {
        if let Some(old) = self.known.remove(&id) {
            self.held -= old.sql.len();
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The client sends (more of) a parameter's value before the EXECUTE: `payload` is what stands behind the command's byte.
    /// `making`: the statement that was prepared last is not known yet.
    pub fn send_ahead(&mut self, payload: &[u8], making: bool) {
        let mut r = Reader::new(payload);
        let (Some(id), Some(place)) = (r.u32_le(), r.u16_le()) else { return };
        let ahead = match id {
            LAST if making => &mut self.early,
            id => match self.known.get_mut(&if id == LAST { self.last } else { id }) {
                Some(statement) => &mut statement.signature.ahead,
                None => return,
            },
        };
        let at = ahead.iter().position(|(p, _)| *p == place).unwrap_or(ahead.len());
        if at == ahead.len() {
            if at >= MOST_AHEAD {
                return;
            }
            ahead.push((place, Vec::new()));
        }
        if let Some((_, value)) = ahead.get_mut(at) {
            let room = LONGEST_AHEAD.saturating_sub(value.len()).min(r.remaining());
            value.extend_from_slice(r.take(room).unwrap_or_default());
        }
    }

    /// The client takes back what it sent ahead.
    pub fn reset(&mut self, id: u32) {
        if let Some(statement) = self.known.get_mut(&id) {
            statement.signature.ahead.clear();
        }
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
        assert!(all.get(1, at(3600), hour).is_some() && all.get(LAST, at(3600), hour).is_some());
        assert!(all.get(1, at(7201), hour).is_none());
        for id in 0..10_000 {
            all.insert(prepared(id), &[b'x'; 2000], None, at(8000), hour);
        }
        assert_eq!((all.known.len(), all.held), (MOST_HELD / 2000, MOST_HELD / 2000 * 2000));
        all.insert(prepared(1), b"select ?", None, at(20_000), hour);
        assert_eq!((all.known.len(), all.held), (1, 8));
    }

    #[test]
    fn what_may_be_a_command() {
        let may = |payload: &[u8]| plausible(payload.len() as u32, payload);
        assert!(may(b"\x03select 1") && may(b"\x03\0\x01select 1") && may(b"\x0e") && may(b"\x17\x01\0\0\0\0\x01\0\0\0"));
        assert!(!may(b"\x03\x01\x02") && !may(b"\x0e\0") && !may(b"GET /") && !may(b""));
    }
}

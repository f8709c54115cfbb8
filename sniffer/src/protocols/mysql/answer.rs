//! Parses the server's packets of one response, from the first to the last. A response has one or several results with columns and rows,
//! with or without EOF packets. The packets themselves show where the response ends. This module does not depend on the connection.

use super::{
    columns::{Columns, LONGEST_TABLES},
    rows,
    wire::{self, Header, caps, status},
};
use crate::{
    protocols::kit::{held::Held, reader::Reader},
    time::Timestamp,
};

/// Longest error in bytes that is parsed; servers send at most 512 characters.
const LONGEST_ERROR: usize = 4 << 10;
/// Longest definition of a column in bytes: six names of 64 characters, and a default value (FIELD_LIST).
const LONGEST_COLUMN: usize = 64 << 10;
/// Maximum number of bytes of a row that are parsed, whatever the options say.
const LONGEST_ROW: usize = 1 << 20;
/// Maximum number of bytes of all rows that are kept, whatever the options say: larger documents are not useful.
const LONGEST_CSV: usize = 10 << 20;
/// Maximum number of columns of a result. MySQL and MariaDB allow 4096.
const MOST_COLUMNS: u64 = 0xffff;

/// The kind of the response, which depends on the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Results with rows as text.
    Text,
    /// Results with rows in binary form.
    Binary,
    /// The description of a prepared statement.
    Prepare,
    /// Column definitions without rows.
    FieldList,
    /// Rows without column definitions.
    Fetch,
    /// A single packet, whatever its contents.
    One,
    /// The packets of a new login on an open connection (COM_CHANGE_USER).
    ChangeUser,
}

/// The options that client and server have negotiated, as far as they are known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Agreed {
    /// The negotiated capabilities (see [`caps`]); `None` if the start of the connection was not captured.
    pub caps: Option<u64>,
    /// Whether EOF packets are left out: known from `caps` or from the packets.
    pub no_eof: Option<bool>,
}

impl Agreed {
    fn has(&self, cap: u64) -> bool {
        self.caps.is_some_and(|caps| caps & cap != 0)
    }
}

/// Limits of the kept rows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Number of rows received.
    pub rows: usize,
    /// Maximum number of bytes of each row.
    pub row_length: usize,
    /// Whether rows are kept at all.
    pub show: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The next packet begins a result.
    #[default]
    First,
    /// This number of column definitions follows.
    Columns(u64),
    /// An EOF packet or the first row follows.
    ColumnsEnd,
    /// Rows follow, and then the end of the result.
    Rows,
    /// The description of a prepared statement follows: the definitions of its parameters and of its columns. If `eof` is
    /// true, one of these lists has just ended, and an EOF packet may follow.
    Statement { params: u16, columns: u16, eof: bool },
    /// The description of a statement is complete unless an EOF packet follows.
    Settled,
    /// The client sends a file.
    File,
}

/// The effect of a packet on the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterPacket {
    /// Another packet of the response follows.
    More,
    /// The packet was the last one of the response.
    Finished,
    /// The packet requests a file from the client.
    File,
    /// The packet does not belong to a response of this kind.
    Malformed,
}

/// The parser of one response, and the parsed data.
#[derive(Debug, Default)]
pub struct Answer {
    state: State,
    /// Number of the next packet, if it is known.
    pub seq: Option<u8>,
    /// Length of all packets in bytes.
    pub bytes: u64,
    /// Packet time of the response's first byte.
    pub start: Timestamp,
    /// Affected rows of all results.
    pub affected: u64,
    /// The last insert id that is not 0.
    pub insert_id: u64,
    /// Number of rows of all results.
    pub rows: u64,
    /// Number of columns of the first result that has any.
    pub fields: u64,
    /// The number of the error, and `STATE: TEXT`.
    pub error: Option<(u16, Vec<u8>)>,
    /// The rows that are shown, and the names of their columns.
    pub csv: Vec<u8>,
    /// The tables of all results.
    pub tables: Vec<u8>,
    /// The prepared statement.
    pub prepared: Option<wire::Prepared>,
    /// Columns of the current result.
    pub columns: Columns,
    shown: usize,
    scratch: Vec<u8>,
    /// Whether a part is missing in the capture.
    pub lost: bool,
}

impl Held for Answer {
    fn held(&self) -> usize {
        let error = self.error.as_ref().map_or(0, |(_, text)| text.held());
        self.csv.held() + self.tables.held() + self.columns.held() + self.scratch.held() + error
    }
}

impl Answer {
    /// Starts a new response and reuses the memory of the old one.
    pub fn reset(&mut self, seq: Option<u8>) {
        // A large response must not hold its memory for the rest of a long connection.
        const SPARE: usize = 64 << 10;
        for spare in [&mut self.csv, &mut self.tables, &mut self.scratch] {
            spare.clear();
            spare.shrink_to(SPARE);
        }
        self.columns.clear();
        let [csv, tables, scratch] = [&mut self.csv, &mut self.tables, &mut self.scratch].map(std::mem::take);
        let columns = std::mem::take(&mut self.columns);
        *self = Self { seq, csv, tables, scratch, columns, ..Self::default() };
    }

    /// Whether a packet of the response was captured.
    pub fn begun(&self) -> bool {
        self.bytes > 0
    }

    /// Whether the next packet belongs to the columns or rows of a result.
    pub fn within_result(&self) -> bool {
        matches!(self.state, State::Columns(_) | State::ColumnsEnd | State::Rows)
    }

    /// Whether the response is complete unless an EOF packet follows.
    pub fn is_settled(&self) -> bool {
        self.state == State::Settled
    }

    /// Number of bytes of a packet's payload that are needed; the first byte is known unless the payload is empty.
    pub fn wants(&self, header: Header, first: u8, limits: &Limits) -> usize {
        let len = header.len as usize;
        let most = match (self.state, first) {
            (_, 0xff) => LONGEST_ERROR,
            (State::Columns(_) | State::Statement { .. } | State::Settled, _) => LONGEST_COLUMN,
            (State::Rows | State::ColumnsEnd, 0..=0xfd) if self.shows(limits) => {
                // A value of up to nine bytes in the packet may be shown as a single byte, for example a small number. The factor allows
                // for that; the added bytes are for the NULL bitmap.
                limits.row_length.saturating_mul(10).saturating_add(64 + self.columns.kinds.len() / 8).min(LONGEST_ROW)
            }
            (State::Rows | State::ColumnsEnd, 0..=0xfd) => 0,
            _ => wire::OK_WANTED,
        };
        len.min(most)
    }

    fn shows(&self, limits: &Limits) -> bool {
        limits.show && self.shown < limits.rows && self.csv.len() < LONGEST_CSV
    }

    /// Handles the next packet; its payload has the bytes that [`Answer::wants`] returned.
    pub fn packet(
        &mut self,
        ask: Ask,
        header: Header,
        payload: &[u8],
        known: Option<&Columns>,
        agreed: &mut Agreed,
        limits: &Limits,
    ) -> AfterPacket {
        if self.seq.is_some_and(|seq| seq != header.seq) {
            return AfterPacket::Malformed;
        }
        if !matches!(ask, Ask::ChangeUser) {
            self.seq = Some(header.seq.wrapping_add(1));
        }
        self.bytes += wire::HEADER as u64 + u64::from(header.len);
        let first = payload.first().copied();
        if first == Some(0xff) {
            return self.failure(payload);
        }
        let after = match self.state {
            State::First => self.first(ask, header, payload, known, agreed, limits),
            State::Columns(left) => self.column(left, payload, limits),
            State::ColumnsEnd | State::Rows => self.row(ask, header, payload, agreed, limits),
            State::Statement { params, columns, eof } => self.described(params, columns, eof, header, payload, agreed, limits),
            State::Settled => self.described(0, 0, true, header, payload, agreed, limits),
            State::File => wire::ok(payload).map(|done| self.done(done)),
        };
        after.unwrap_or(AfterPacket::Malformed)
    }

    fn failure(&mut self, payload: &[u8]) -> AfterPacket {
        let Some(failure) = wire::error(payload) else { return AfterPacket::Malformed };
        if failure.code == 0xffff {
            return AfterPacket::More; // The packet is MariaDB's report of the progress of an ALTER TABLE.
        }
        let mut text = failure.state.to_vec();
        if !text.is_empty() {
            text.extend_from_slice(b": ");
        }
        text.extend_from_slice(failure.message);
        self.error = Some((failure.code, text));
        AfterPacket::Finished
    }

    fn first(
        &mut self,
        ask: Ask,
        header: Header,
        payload: &[u8],
        known: Option<&Columns>,
        agreed: &mut Agreed,
        limits: &Limits,
    ) -> Option<AfterPacket> {
        let first = payload.first().copied();
        match ask {
            Ask::One => Some(AfterPacket::Finished),
            Ask::ChangeUser => Some(if first == Some(0) { AfterPacket::Finished } else { AfterPacket::More }),
            Ask::FieldList => Some(if first == Some(0xfe) { AfterPacket::Finished } else { AfterPacket::More }),
            Ask::Fetch => {
                self.state = State::Rows;
                self.row(ask, header, payload, agreed, limits)
            }
            Ask::Prepare => {
                let prepared = wire::prepared(payload, agreed.has(caps::OPTIONAL_METADATA))?;
                self.prepared = Some(prepared);
                if !prepared.described || prepared.params == 0 && prepared.columns == 0 {
                    return Some(AfterPacket::Finished);
                }
                self.state = State::Statement { params: prepared.params, columns: prepared.columns, eof: false };
                Some(AfterPacket::More)
            }
            Ask::Text | Ask::Binary => match first? {
                0 if header.len >= 7 => wire::ok(payload).map(|done| self.done(done)),
                0xfe => wire::eof(header.len, payload).map(|status| self.over(status)),
                0xfb if ask == Ask::Text => {
                    self.state = State::File;
                    self.seq = None;
                    Some(AfterPacket::File)
                }
                _ => self.result(header, payload, known, agreed, limits),
            },
        }
    }

    /// Handles the first packet of a result: the number of columns, and, if negotiated, whether they are described.
    fn result(&mut self, header: Header, payload: &[u8], known: Option<&Columns>, agreed: &Agreed, limits: &Limits) -> Option<AfterPacket> {
        let mut r = Reader::new(payload);
        let mut described = !agreed.has(caps::OPTIONAL_METADATA) || r.u8()? == 1;
        let count = wire::lenenc(&mut r)?;
        match (r.rest(), agreed.caps) {
            ([], _) => {}
            ([flag @ 0..=1], None) => described = *flag == 1,
            ([flag @ 0..=1], Some(caps)) if caps & caps::CACHE_METADATA != 0 => described = *flag == 1,
            _ => return None,
        }
        if !(1..=MOST_COLUMNS).contains(&count) || payload.len() != header.len as usize {
            return None;
        }
        if self.fields == 0 {
            self.fields = count;
        }
        self.columns.clear();
        self.state = State::Columns(count);
        if !described {
            if let Some(known) = known {
                self.columns.clone_from(known);
            }
            self.columns_end(limits);
        }
        Some(AfterPacket::More)
    }

    fn column(&mut self, left: u64, payload: &[u8], limits: &Limits) -> Option<AfterPacket> {
        self.columns.push(&wire::column(payload)?, limits.show);
        match left {
            0 | 1 => self.columns_end(limits),
            _ => self.state = State::Columns(left - 1),
        }
        Some(AfterPacket::More)
    }

    fn columns_end(&mut self, limits: &Limits) {
        self.state = State::ColumnsEnd;
        if self.tables.is_empty() {
            self.tables.extend_from_slice(&self.columns.tables);
        } else if self.tables != self.columns.tables {
            let parts =
                |tables: &'_ [u8]| tables.split(|b| *b == b',').map(<[u8]>::trim_ascii_start).map(<[u8]>::to_vec).collect::<Vec<_>>();
            let known = parts(&self.tables);
            for part in parts(&self.columns.tables).iter().filter(|part| !known.contains(part)) {
                if self.tables.len() < LONGEST_TABLES {
                    self.tables.extend_from_slice(b", ");
                    self.tables.extend_from_slice(part);
                }
            }
        }
        if limits.show && !self.columns.kinds.is_empty() && self.csv.len() < LONGEST_CSV {
            self.csv.extend_from_slice(&self.columns.names);
            self.csv.push(b'\n');
        }
    }

    /// Handles a row, the end of rows, or the EOF packet before them.
    fn row(&mut self, ask: Ask, header: Header, payload: &[u8], agreed: &mut Agreed, limits: &Limits) -> Option<AfterPacket> {
        // A row that begins with 0xfe has a value of 16 MiB or more.
        if payload.first() == Some(&0xfe) && header.len < wire::FULL {
            let Some(status) = wire::eof(header.len, payload) else {
                agreed.no_eof = Some(true);
                return wire::ok(payload).map(|done| self.over(done.status));
            };
            if self.state == State::ColumnsEnd && status & status::CURSOR_EXISTS == 0 {
                agreed.no_eof = Some(false);
                self.state = State::Rows;
                return Some(AfterPacket::More);
            }
            return Some(self.over(status));
        }
        if self.state == State::ColumnsEnd {
            agreed.no_eof = Some(true);
        }
        self.state = State::Rows;
        self.rows += 1;
        if self.shows(limits) {
            self.shown += 1;
            match ask {
                Ask::Text => rows::text(payload, limits.row_length, &mut self.csv),
                _ => rows::binary(payload, limits.row_length, &self.columns.kinds, &mut self.scratch, &mut self.csv),
            }
        }
        Some(AfterPacket::More)
    }

    #[expect(clippy::too_many_arguments, reason = "the state is taken apart for it")]
    fn described(
        &mut self,
        params: u16,
        columns: u16,
        eof: bool,
        header: Header,
        payload: &[u8],
        agreed: &mut Agreed,
        limits: &Limits,
    ) -> Option<AfterPacket> {
        if wire::eof(header.len, payload).is_some() {
            agreed.no_eof = Some(false);
            self.state = State::Statement { params, columns, eof: false };
            return Some(if params == 0 && columns == 0 { AfterPacket::Finished } else { AfterPacket::More });
        }
        if eof {
            agreed.no_eof = Some(true); // The server should have sent an EOF packet before this packet.
        }
        let column = wire::column(payload)?;
        let (params, columns) = match (params, columns) {
            (0, 0) => return None,
            (0, columns) => {
                self.columns.push(&column, limits.show);
                (0, columns - 1)
            }
            (params, columns) => (params - 1, columns),
        };
        let described = self.prepared.map_or(0, |p| p.columns);
        let eof = params == 0 && (columns == 0 || columns == described);
        self.state = State::Statement { params, columns, eof };
        Some(match (params, columns, agreed.no_eof) {
            (0, 0, Some(true)) => AfterPacket::Finished,
            (0, 0, None) => {
                self.state = State::Settled;
                AfterPacket::More
            }
            _ => AfterPacket::More,
        })
    }

    fn done(&mut self, done: wire::Done) -> AfterPacket {
        self.affected = self.affected.saturating_add(done.affected);
        if done.insert_id != 0 {
            self.insert_id = done.insert_id;
        }
        self.over(done.status)
    }

    fn over(&mut self, status: u16) -> AfterPacket {
        if status & status::MORE_RESULTS == 0 {
            return AfterPacket::Finished;
        }
        self.state = State::First;
        AfterPacket::More
    }
}

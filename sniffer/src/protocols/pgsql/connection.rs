//! One connection: what was asked and not yet answered, which statement each name means, and how far both sides are understood.
//! What the client says is in `requests`, what the server answers in `answers`.
//!
//! Requests are kept as steps in a queue and take effect when the server confirms them, in its order: a Parse that fails names nothing.

use super::{
    Pgsql,
    event::{Answer, Columns, Formats},
    named::{Name, Named, Portal, Prepared},
    sql::Parts,
    state::{Mode, Pairing, Turn},
    wire::{self, Opening},
};
use crate::{
    net::Direction,
    protocols::{
        Close, Context, Progress, Recovery, StreamParser,
        kit::{
            backlog::{Backlog, Limits, Waits},
            held::Held,
            resync::Resync,
        },
    },
    time::Timestamp,
};
use std::{sync::Arc, time::Duration};

/// Steps of one connection that wait for their answers: a pipeline of thousands of statements of four messages each.
pub const MOST_PENDING: usize = 20_000;
/// Bytes of text that they keep.
pub const MOST_HELD: usize = 4 << 20;
/// Statements of a connection that are remembered, and their bytes. Drivers' caches hold a few hundred.
const MOST_STATEMENTS: (usize, usize) = (1000, 1 << 20);
/// Portals within a transaction, and their bytes.
const MOST_PORTALS: (usize, usize) = (100, 1 << 20);

/// A message of the client that the server will answer.
#[derive(Debug)]
pub struct Step {
    /// When its first byte was on the wire.
    pub start: Timestamp,
    /// Its length.
    pub bytes: u64,
    /// What it asks for.
    pub what: What,
}

/// See [`Step`].
#[derive(Debug)]
pub enum What {
    /// Statements, of which so many were answered.
    Query { text: Box<[u8]>, parts: Parts, answered: usize },
    /// A name for a statement.
    Parse { name: Name, sql: Arc<[u8]> },
    /// A portal for a statement with parameters.
    Bind { portal: Name, statement: Name, formats: Formats },
    /// The columns of a portal or a statement.
    Describe { portal: bool, name: Name },
    /// Rows of a portal.
    Execute { portal: Name },
    /// A name that is over.
    Close { portal: bool, name: Name },
    /// The end of an extended query.
    Sync,
    /// A function call, or the opening of the connection: nothing to report.
    Other,
    /// The end of a COPY, sent before the server agreed to it.
    CopyDone,
    /// Bytes of the client are missing here.
    Gap,
}

impl Step {
    /// Whether a ReadyForQuery answers it.
    pub fn ends(&self) -> bool {
        matches!(self.what, What::Query { .. } | What::Sync | What::Other | What::Gap)
    }

    /// Statements of it that will not be reported when it is dropped.
    pub fn unanswered(&self) -> usize {
        match &self.what {
            What::Query { parts, answered, .. } => parts.len().saturating_sub(*answered),
            What::Execute { .. } => 1,
            _ => 0,
        }
    }
}

impl Held for Step {
    fn held(&self) -> usize {
        match &self.what {
            What::Query { text, parts, .. } => text.held() + parts.held(),
            What::Parse { name, sql } => name.held() + sql.held(),
            What::Bind { portal, statement, formats } => portal.held() + statement.held() + formats.held(),
            What::Describe { name, .. } | What::Close { name, .. } => name.held(),
            What::Execute { portal } => portal.held(),
            What::Sync | What::Other | What::CopyDone | What::Gap => 0,
        }
    }
}

impl Waits for Step {
    fn since(&self) -> Timestamp {
        self.start
    }
}

/// The steps and answers that make up one statement of an extended query, as far as they were confirmed.
#[derive(Debug, Default)]
pub struct Unit {
    /// When its first step was on the wire.
    pub start: Option<Timestamp>,
    /// Bytes of its steps.
    pub request: u64,
    /// When the answer began.
    pub answered: Option<Timestamp>,
    /// Bytes of the answer.
    pub response: u64,
    /// The statement it is about, to report it even when the rest of it is missing.
    pub about: Option<Prepared>,
}

/// See the module.
pub struct Connection {
    pub(super) plugin: Arc<Pgsql>,
    /// Whether the next byte of that direction is the first of a message.
    pub(super) aligned: [bool; 2],
    /// A whole message was seen: it is PostgreSQL, and this way round.
    pub(super) proven: bool,
    /// The client asked for encryption; the answer is a single byte.
    pub(super) awaiting: Option<Opening>,
    pub(super) pending: Backlog<Step>,
    pub(super) mode: Mode,
    pub(super) turn: Turn,
    pub(super) pairing: Pairing,
    /// Bytes of the client were missing, so what waits may never be answered.
    pub(super) suspect: bool,
    /// When the server was last heard.
    pub(super) heard: Timestamp,
    /// The last bytes that were looked through for a ReadyForQuery.
    pub(super) tail: Vec<u8>,
    /// Bytes of the data of the COPY at hand that the client sent.
    pub(super) copied: u64,
    pub(super) statements: Named<Prepared>,
    pub(super) portals: Named<Portal>,
    pub(super) unit: Unit,
    pub(super) answer: Answer,
    /// Of the result that is coming.
    pub(super) columns: Option<Arc<Columns>>,
    pub(super) formats: Formats,
    /// The last statement before the Sync that is awaited.
    pub(super) last: Option<Prepared>,
    /// The search for the next message, of both sides.
    search: Resync,
}

impl Connection {
    /// Nothing was seen yet.
    pub fn new(plugin: Arc<Pgsql>) -> Self {
        Self {
            plugin,
            aligned: [true; 2],
            proven: false,
            awaiting: None,
            pending: Backlog::new(Limits { items: MOST_PENDING, bytes: MOST_HELD, timeout: Duration::MAX }),
            mode: Mode::Statements,
            turn: Turn::Server,
            pairing: Pairing::Certain,
            suspect: false,
            heard: Timestamp::default(),
            tail: Vec::new(),
            copied: 0,
            statements: Named::new(MOST_STATEMENTS.0, MOST_STATEMENTS.1),
            portals: Named::new(MOST_PORTALS.0, MOST_PORTALS.1),
            unit: Unit::default(),
            answer: Answer::default(),
            columns: None,
            formats: Formats::default(),
            last: None,
            search: Resync::default(),
        }
    }

    /// Which answer belongs to which request is not known any more; `more` requests may have been sent besides those that wait.
    pub(super) fn lose_track(&mut self, more: u32, cx: &mut Context<'_>) {
        let awaited = self.pending.iter().filter(|step| step.ends()).count();
        self.drop_pending(cx);
        self.start_over();
        self.mode = self.mode.copy_ended();
        self.pairing = self.pairing.lost(u32::try_from(awaited).unwrap_or(u32::MAX).saturating_add(more));
    }

    /// Whatever is being read, it is over.
    pub(super) fn start_over(&mut self) {
        self.unit = Unit::default();
        self.answer.clear();
        self.columns = None;
        self.last = None;
        self.copied = 0;
    }

    pub(super) fn drop_pending(&mut self, cx: &mut Context<'_>) {
        while let Some(step) = self.pending.pop() {
            for _ in 0..step.unanswered() {
                cx.count("unmatched_requests");
            }
        }
        if self.mode == Mode::SkipToSync {
            self.mode = Mode::Statements;
        }
    }

    /// `rest` of `all` bytes make no sense: all are passed over, or the connection is given up.
    pub(super) fn pass_over(&mut self, rest: usize, all: usize) -> Progress {
        match self.search.passed(rest) {
            Recovery::Resume => Progress::consumed(all),
            Recovery::GiveUp => Progress::GiveUp,
        }
    }

    /// A message makes sense.
    pub(super) fn found(&mut self) {
        self.proven = true;
        self.search.found();
    }

    /// A connection that was joined in its middle may have been taken the wrong way round. `None`: a few more bytes will tell.
    fn really(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Option<Direction> {
        /// So much of a message tells.
        const ENOUGH: usize = 64;
        if self.proven || self.awaiting.is_some() {
            return Some(dir);
        }
        let other = dir.reverse();
        let opens = wire::opening(data) != Err(0);
        if wire::chain(dir, data).is_some() || (opens && dir == Direction::ToServer) || is_tls(data) {
            return Some(dir);
        }
        match wire::chain(other, data) {
            _ if opens => {}
            Some(0) if data.len() < ENOUGH => return None,
            Some(_) => {}
            None => return Some(dir),
        }
        cx.flip();
        self.aligned.swap(0, 1);
        Some(other)
    }
}

/// A TLS handshake begins.
pub(super) fn is_tls(data: &[u8]) -> bool {
    matches!(data, [0x16] | [0x16, 3, ..])
}

impl StreamParser for Connection {
    fn on_data(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let Some(dir) = self.really(dir, data, cx) else { return Progress::Consumed { bytes: 0, need: 1 } };
        match dir {
            Direction::ToServer => self.on_requests(data, cx),
            Direction::ToClient => self.on_answers(data, cx),
        }
    }

    fn on_gap(&mut self, dir: Direction, _lost: u64, cx: &mut Context<'_>) -> Recovery {
        self.aligned[dir.index()] = false;
        match dir {
            // Data of a COPY is missing: the request is still that one.
            Direction::ToServer if self.mode == Mode::CopyIn || self.pairing.is_lost() => {}
            Direction::ToServer if self.pending.iter().filter(|step| step.ends()).count() > 1 => self.lose_track(1, cx),
            Direction::ToServer => {
                self.turn = self.turn.asks().0;
                self.suspect = true;
                if self.pending.push(Step { start: cx.now(), bytes: 0, what: What::Gap }).is_some() {
                    self.lose_track(1, cx);
                }
            }
            Direction::ToClient => {
                self.tail.clear();
                self.report_partial(cx);
                self.lose_track(0, cx);
            }
        }
        Recovery::Resume
    }

    fn on_close(&mut self, dir: Direction, why: Close, cx: &mut Context<'_>) {
        // With the server's last byte the last answer was there.
        if dir == Direction::ToClient {
            if why != Close::Fin {
                self.report_partial(cx);
            }
            self.drop_pending(cx);
        }
    }

    fn remembers(&self) -> bool {
        !self.statements.is_empty()
    }

    fn held(&self) -> usize {
        let result = self.answer.text.held() + self.columns.as_ref().map_or(0, |columns| columns.held()) + self.formats.held();
        let named = self.statements.held() + self.portals.held() + self.unit.about.held() + self.last.held();
        self.pending.held() + named + result + self.tail.held()
    }
}

//! One connection: the waiting requests, the statements and portals by name, and the state of both sides. `requests`
//! handles the messages of the client, `answers` those of the server.
//!
//! Requests are steps in a queue. A step takes effect when the server confirms it, so a Parse that fails defines no name. The server
//! confirms steps in the order in which they were sent.

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

/// Maximum number of waiting steps of one connection, enough for a pipeline of thousands of statements with four
/// messages each.
pub const MOST_PENDING: usize = 20_000;
/// Maximum number of bytes of text of the waiting steps.
pub const MOST_HELD: usize = 4 << 20;
/// Maximum number of remembered statements of a connection, and maximum total of their bytes. Drivers cache a few
/// hundred.
const MOST_STATEMENTS: (usize, usize) = (1000, 1 << 20);
/// Maximum number of portals in a transaction, and maximum total of their bytes.
const MOST_PORTALS: (usize, usize) = (100, 1 << 20);

/// A message of the client to which the server responds.
#[derive(Debug)]
pub struct Step {
    /// Packet time of the first byte of the message.
    pub start: Timestamp,
    /// Length of the message in bytes.
    pub bytes: u64,
    /// The kind of the message, with its contents.
    pub what: StepKind,
}

/// The message of the client that a [`Step`] stands for.
#[derive(Debug)]
pub enum StepKind {
    /// A simple query; the number counts its statements that were completed.
    Query { text: Box<[u8]>, parts: Parts, answered: usize },
    /// Parse: defines a name for a statement.
    Parse { name: Name, sql: Arc<[u8]> },
    /// Bind: defines a portal for a statement with parameters.
    Bind { portal: Name, statement: Name, formats: Formats },
    /// Describe: requests the columns of a portal or statement.
    Describe { portal: bool, name: Name },
    /// Execute: requests rows of a portal.
    Execute { portal: Name },
    /// Close: removes a name.
    Close { portal: bool, name: Name },
    /// Sync: the end of an extended query.
    Sync,
    /// A function call, or the start of the connection: not reported.
    Other,
    /// The end of a COPY, sent before the server accepted it.
    CopyDone,
    /// A mark: bytes of the client are missing here.
    Gap,
}

impl Step {
    /// Whether the response ends with a ReadyForQuery.
    pub fn ends(&self) -> bool {
        matches!(self.what, StepKind::Query { .. } | StepKind::Sync | StepKind::Other | StepKind::Gap)
    }

    /// Number of statements of the step that are not reported if the step is dropped.
    pub fn unanswered(&self) -> usize {
        match &self.what {
            StepKind::Query { parts, answered, .. } => parts.len().saturating_sub(*answered),
            StepKind::Execute { .. } => 1,
            _ => 0,
        }
    }
}

impl Held for Step {
    fn held(&self) -> usize {
        match &self.what {
            StepKind::Query { text, parts, .. } => text.held() + parts.held(),
            StepKind::Parse { name, sql } => name.held() + sql.held(),
            StepKind::Bind { portal, statement, formats } => portal.held() + statement.held() + formats.held(),
            StepKind::Describe { name, .. } | StepKind::Close { name, .. } => name.held(),
            StepKind::Execute { portal } => portal.held(),
            StepKind::Sync | StepKind::Other | StepKind::CopyDone | StepKind::Gap => 0,
        }
    }
}

impl Waits for Step {
    fn since(&self) -> Timestamp {
        self.start
    }
}

/// The confirmed steps and responses of one statement of an extended query.
#[derive(Debug, Default)]
pub struct Unit {
    /// Packet time of the statement's first step.
    pub start: Option<Timestamp>,
    /// Bytes of the statement's steps.
    pub request: u64,
    /// Time at which the response began.
    pub answered: Option<Timestamp>,
    /// Bytes of the response.
    pub response: u64,
    /// The statement, so that it can be reported even if later messages are missing.
    pub about: Option<Prepared>,
}

/// The parser of one connection.
pub struct Connection {
    pub(super) plugin: Arc<Pgsql>,
    /// Whether the next byte of a direction is the first of a message.
    pub(super) aligned: [bool; 2],
    /// Whether a complete message was parsed: the protocol and the roles are then certain.
    pub(super) proven: bool,
    /// The encryption that the client requested, until the server responds. The response is a single byte.
    pub(super) awaiting: Option<Opening>,
    pub(super) pending: Backlog<Step>,
    pub(super) mode: Mode,
    pub(super) turn: Turn,
    pub(super) pairing: Pairing,
    /// Whether bytes of the client were missing, so that waiting requests may never be answered.
    pub(super) suspect: bool,
    /// Time of the last data of the server.
    pub(super) heard: Timestamp,
    /// The last bytes that were searched for a ReadyForQuery.
    pub(super) tail: Vec<u8>,
    /// Bytes of the current COPY that the client sent.
    pub(super) copied: u64,
    pub(super) statements: Named<Prepared>,
    pub(super) portals: Named<Portal>,
    pub(super) unit: Unit,
    pub(super) answer: Answer,
    /// The columns of the next result.
    pub(super) columns: Option<Arc<Columns>>,
    pub(super) formats: Formats,
    /// The statement executed last, until the answer to the next Sync.
    pub(super) last: Option<Prepared>,
    /// The search for the next message, of both sides.
    search: Resync,
}

impl Connection {
    /// Makes the parser of a new connection.
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

    /// Notes that the pairing is unknown. `more` requests may have been sent besides the waiting ones.
    pub(super) fn lose_track(&mut self, more: u32, cx: &mut Context<'_>) {
        let awaited = self.pending.iter().filter(|step| step.ends()).count();
        self.drop_pending(cx);
        self.start_over();
        self.mode = self.mode.copy_ended();
        self.pairing = self.pairing.lost(u32::try_from(awaited).unwrap_or(u32::MAX).saturating_add(more));
    }

    /// Notes that a part of a request is missing. Its response comes before those of the next requests.
    fn lose_request(&mut self, cx: &mut Context<'_>) {
        self.turn = self.turn.asks().0;
        self.suspect = true;
        if self.pending.push(Step { start: cx.now(), bytes: 0, what: StepKind::Gap }).is_some() {
            self.lose_track(1, cx);
        }
    }

    /// Clears the state of the current response.
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

    /// Handles invalid data: skips all of it, or gives up the connection. `all`: number of bytes of the data; `rest`: number of bytes at
    /// its end that are invalid.
    pub(super) fn pass_over(&mut self, rest: usize, all: usize) -> Progress {
        match self.search.passed(rest) {
            Recovery::Resume => Progress::consumed(all),
            Recovery::GiveUp => Progress::GiveUp,
        }
    }

    /// Notes that a message is valid.
    pub(super) fn found(&mut self) {
        self.proven = true;
        self.search.found();
    }

    /// Returns the corrected direction of the data: after a start in the middle of a connection, client and server
    /// may be confused. `None` if more bytes are needed.
    fn resolve_direction(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Option<Direction> {
        /// Number of bytes of a message that are enough to decide.
        const ENOUGH: usize = 64;
        if self.proven || self.awaiting.is_some() {
            return Some(dir);
        }
        let other = dir.reverse();
        let opening = wire::opening(data);
        if dir == Direction::ToClient && matches!(opening, Err(1..)) {
            // The data is the start of a connection with confused roles, or the middle of a message of the server.
            return None;
        }
        let opens = opening != Err(0);
        if begins(dir, data) {
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

/// Whether the first captured data of a side can begin with a message.
fn begins(dir: Direction, data: &[u8]) -> bool {
    wire::chain(dir, data).is_some() || (dir == Direction::ToServer && wire::opening(data) != Err(0)) || is_tls(data)
}

/// Whether a TLS handshake begins.
pub(super) fn is_tls(data: &[u8]) -> bool {
    matches!(data, [0x16] | [0x16, 3, ..])
}

impl StreamParser for Connection {
    fn on_data(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let Some(dir) = self.resolve_direction(dir, data, cx) else { return Progress::Consumed { bytes: 0, need: 1 } };
        if !self.proven && self.awaiting.is_none() && !begins(dir, data) {
            // The capture began in the middle of a message of this side.
            let first = std::mem::replace(&mut self.aligned[dir.index()], false);
            if first && dir == Direction::ToServer {
                self.lose_request(cx);
            }
        }
        match dir {
            Direction::ToServer => self.on_requests(data, cx),
            Direction::ToClient => self.on_answers(data, cx),
        }
    }

    fn on_gap(&mut self, dir: Direction, _lost: u64, cx: &mut Context<'_>) -> Recovery {
        self.aligned[dir.index()] = false;
        match dir {
            // Data of a COPY is missing, or the pairing is unknown already: the waiting requests stay as they are.
            Direction::ToServer if self.mode == Mode::CopyIn || self.pairing.is_lost() => {}
            Direction::ToServer if self.pending.iter().filter(|step| step.ends()).count() > 1 => self.lose_track(1, cx),
            Direction::ToServer => self.lose_request(cx),
            Direction::ToClient => {
                self.tail.clear();
                self.report_partial(cx);
                self.lose_track(0, cx);
            }
        }
        Recovery::Resume
    }

    fn on_close(&mut self, dir: Direction, why: Close, cx: &mut Context<'_>) {
        // After the server's last byte there is no further response.
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

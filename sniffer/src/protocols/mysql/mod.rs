//! MySQL and MariaDB: queries and prepared statements with their answers, compressed or not, pipelined or not. What a connection
//! agreed on is read from its beginning and else seen from what is sent. Not reported: logins, pings and the like, which are
//! understood; what a replica or a cursor is sent; anything inside TLS, which is handed over.
//!
//! "Client/Server Protocol" of MySQL's source documentation; "Client/Server Protocol" of MariaDB's knowledge base.

mod answer;
mod client;
mod command;
mod csv;
mod event;
mod packed;
mod server;
#[cfg(test)]
mod tests;
mod values;
mod wire;

use super::{
    Close, Common, Context, Plugin, Probe, Progress, Protocol, Recovery, StreamParser,
    kit::{
        backlog::{self, Backlog},
        held::Held,
        resync::Resync,
        shared::Shared,
        timers,
    },
};
use crate::{
    config,
    net::{Direction, Transport},
    time::Timestamp,
};
use answer::{Agreed, Answer, Limits};
use command::{Command, Kind, Statements};
use packed::Side;
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use wire::Header;

/// See the module.
pub const PROTOCOL: Protocol = Protocol { name: "mysql", ports: &[3306, 3307], transports: &[Transport::Tcp], open, probe };

/// Commands that wait for their answers on one connection; a pipeline of a few hundred is a long one.
const MOST_PENDING: usize = 4096;
/// Bytes that they keep.
const MOST_HELD: usize = 8 << 20;

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    /// Rows in `response`.
    max_rows: usize,
    /// Bytes of each of them.
    max_row_length: usize,
    /// How long an unused prepared statement is remembered, in packet time.
    #[serde(with = "config::duration")]
    statement_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_rows: 10, max_row_length: 1024, statement_timeout: Duration::from_secs(3600) }
    }
}

struct Mysql {
    common: Common,
    options: Options,
    limits: Limits,
}

fn open(node: &config::Node) -> Result<Box<dyn Plugin>, config::Error> {
    let (common, options): (Common, Options) = (node.read()?, node.read()?);
    let limits = Limits { rows: options.max_rows, row_length: options.max_row_length, show: common.send_response };
    Ok(Box::new(Shared::new(Mysql { common, options, limits }, Connection::new)))
}

/// A greeting, an answer to one, or a query that is whole: nothing else is proof enough.
fn probe(dir: Direction, data: &[u8]) -> Probe {
    let Some(header) = Header::read(data) else { return Probe::More(4) };
    let payload = data.get(wire::HEADER..).unwrap_or_default();
    let missing = (header.len as usize).saturating_sub(payload.len());
    match (dir, header.seq, payload.first()) {
        (Direction::ToClient, 0, Some(10)) | (Direction::ToServer, 1, Some(_)) if header.len > 1024 => Probe::No,
        (Direction::ToClient, 0, None) | (Direction::ToServer, 0 | 1, None) => Probe::More(1),
        (Direction::ToClient, 0, Some(10)) | (Direction::ToServer, 1, Some(_)) if missing > 0 => Probe::More(missing),
        (Direction::ToClient, 0, Some(10)) if wire::greeting(payload).is_some() => Probe::Yes,
        (Direction::ToServer, 1, Some(_)) if wire::login(payload).is_some() => Probe::Yes,
        (Direction::ToServer, 0, Some(&wire::command::QUERY)) if missing == 0 && command::plausible(header.len, payload) => Probe::Yes,
        _ => Probe::No,
    }
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing of it was understood yet.
    Unknown,
    /// The server greeted; it has not yet said that the client may come in.
    Login,
    /// Commands and answers.
    Commands,
}

/// When packets of the data at hand were on the wire.
#[derive(Clone, Copy)]
enum When {
    /// The context knows.
    Plain,
    /// Those that begin before the place at the first time, the others at the second.
    Unpacked(usize, Timestamp, Timestamp),
}

impl When {
    fn at(self, offset: usize, cx: &Context<'_>) -> Timestamp {
        match self {
            Self::Plain => cx.time_at(offset),
            Self::Unpacked(place, before, after) => {
                if offset < place {
                    before
                } else {
                    after
                }
            }
        }
    }
}

struct Connection {
    plugin: Arc<Mysql>,
    phase: Phase,
    /// What the server said it can.
    offered: Option<u64>,
    agreed: Agreed,
    /// Commands that wait for their answers, the oldest first.
    pending: Backlog<Command>,
    /// The answer to the first of them.
    answer: Answer,
    /// It is whole unless an EOF packet follows.
    settled: bool,
    statements: Statements,
    /// The next packet of the direction belongs to the one before it.
    continued: [bool; 2],
    /// Where packets begin in the direction is not known.
    lost: [bool; 2],
    /// The client sends a file.
    file: bool,
    /// When the last answer came that nobody waited for.
    unclaimed: Option<Timestamp>,
    /// Part of what the client sent is missing, and the server was not heard since: its next answer may be to what is missing.
    unsure: bool,
    /// The server was heard before its greeting: there will be none.
    joined: bool,
    /// The search for the next command.
    search: Resync,
    /// The connection is compressed.
    packed: Option<Box<[Side; 2]>>,
    scratch: Vec<u8>,
    /// The memory of the last query, for the next one.
    spare: Vec<u8>,
}

impl StreamParser for Connection {
    fn on_data(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        if dir == Direction::ToClient && cx.skipped().lost > 0 {
            self.answer.lost |= self.answer.begun();
        }
        if self.packed.is_some() {
            return self.unpack(dir, data, cx);
        }
        let dir = if self.phase == Phase::Unknown && wrong_way(dir, data) {
            cx.flip();
            dir.reverse()
        } else {
            dir
        };
        let progress = self.packets(dir, data, When::Plain, cx);
        // Joined late, and seen to be compressed only now.
        if self.packed.is_some() && dir == Direction::ToServer && matches!(progress, Progress::Consumed { bytes: 0, .. }) {
            return self.unpack(dir, data, cx);
        }
        progress
    }

    fn on_gap(&mut self, dir: Direction, lost: u64, cx: &mut Context<'_>) -> Recovery {
        self.continued[dir.index()] = false;
        self.lost[dir.index()] = true;
        match dir {
            Direction::ToServer => {
                if let Some(mut command) = self.pending.front_mut().filter(|_| self.file) {
                    command.bytes += lost;
                }
                self.file = false;
                self.unsure = self.unclaimed.is_none();
                self.statements.doubt();
            }
            Direction::ToClient => {
                if self.answer.within_result() && !self.settled {
                    self.answer.lost = true;
                    self.finish(false, cx);
                }
                self.settle(cx);
                self.forget(cx);
            }
        }
        Recovery::Resume
    }

    fn on_close(&mut self, dir: Direction, why: Close, cx: &mut Context<'_>) {
        // With the server's last byte the last answer was there.
        if dir == Direction::ToClient {
            self.settle(cx);
            if self.answer.within_result() {
                self.finish(matches!(why, Close::Fin | Close::Reset), cx);
            }
            self.forget(cx);
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.settle(cx);
        let timeout = self.plugin.common.transaction_timeout;
        let began = usize::from(self.answer.begun());
        let mut late = 0;
        for index in began..self.pending.len() {
            let Some(mut command) = self.pending.get_mut(index).filter(|c| c.time.after(timeout) <= cx.now()) else { break };
            if !command.late {
                *command = Command { late: true, ..Command::new(command.ask, command.kind, 0, command.time).following(command.seq) };
                late += usize::from(command.kind != Kind::Silent);
            }
        }
        for _ in 0..late {
            cx.count("unmatched_requests");
        }
        if began == 0 && self.pending.iter().all(|c| c.late) {
            // The next command begins anew, whether or not these are answered.
            while self.pending.pop().is_some() {}
            self.lost[1] = true;
        }
        timers::arm(cx, self.pending.iter().find(|c| !c.late).map(|next| next.time.after(timeout)));
    }

    fn held(&self) -> usize {
        let packed = self.packed.as_ref().map_or(0, |sides| size_of::<[Side; 2]>() + sides.held());
        self.pending.held() + self.answer.held() + self.statements.held() + packed + self.scratch.held() + self.spare.held()
    }
}

/// Whether a connection that was joined in its middle was taken the wrong way round: clients do not greet, servers do not ask.
fn wrong_way(dir: Direction, data: &[u8]) -> bool {
    let (Some(header), Some(payload)) = (Header::read(data), data.get(wire::HEADER..)) else { return false };
    match (dir, header.seq, payload.first()) {
        (Direction::ToServer, 0, Some(10)) => header.len > 20 && wire::greeting(payload).is_some(),
        (Direction::ToClient, 0, Some(&(wire::command::QUERY | wire::command::STMT_PREPARE | wire::command::STMT_EXECUTE))) => {
            header.len as usize == payload.len() && command::plausible(header.len, payload)
        }
        _ => false,
    }
}

impl Connection {
    /// A connection of which nothing was seen yet.
    fn new(plugin: Arc<Mysql>) -> Self {
        let limits = backlog::Limits { items: MOST_PENDING, bytes: MOST_HELD, timeout: plugin.common.transaction_timeout };
        Self {
            plugin,
            phase: Phase::Unknown,
            offered: None,
            agreed: Agreed::default(),
            pending: Backlog::new(limits),
            answer: Answer::default(),
            settled: false,
            statements: Statements::default(),
            continued: [false; 2],
            lost: [true; 2],
            file: false,
            unclaimed: None,
            joined: false,
            unsure: false,
            search: Resync::default(),
            packed: None,
            scratch: Vec::new(),
            spare: Vec::new(),
        }
    }

    fn packets(&mut self, dir: Direction, data: &[u8], when: When, cx: &mut Context<'_>) -> Progress {
        match dir {
            Direction::ToServer => self.on_commands(data, when, cx),
            Direction::ToClient => self.on_answers(data, when, cx),
        }
    }

    /// The compressed form: what is unpacked goes the way of what is not compressed.
    fn unpack(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let mut at = 0;
        let mut piece = [0; packed::PIECE];
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            if dir == Direction::ToClient && self.lost[1] && self.pending.is_empty() {
                return Progress::consumed(data.len());
            }
            let Some(side) = self.packed.as_mut().map(|sides| &mut sides[dir.index()]) else { return Progress::GiveUp };
            if side.left == 0 {
                if dir == Direction::ToServer && self.lost[0] {
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
            loop {
                let Some(side) = self.packed.as_mut().map(|sides| &mut sides[dir.index()]) else { return Progress::GiveUp };
                let Some((taken, written)) = side.unpack(from, &mut piece) else { return Progress::GiveUp };
                side.end();
                from = from.get(taken..).unwrap_or_default();
                if let Some(over) = self.unpacked(dir, piece.get(..written).unwrap_or_default(), time, cx) {
                    return over;
                }
                if from.is_empty() && written < packed::PIECE {
                    break;
                }
            }
        }
        Progress::consumed(at)
    }

    /// Takes a piece of the unpacked stream; what it comes to when that is the end.
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

    /// The client sent `len` bytes that begin with nothing known: they are passed over.
    fn pass_over(&mut self, len: usize) -> Progress {
        match self.search.passed(len) {
            Recovery::Resume => Progress::consumed(len),
            Recovery::GiveUp => Progress::GiveUp,
        }
    }

    /// The answer at hand is whole: reports it.
    fn finish(&mut self, failed: bool, cx: &mut Context<'_>) {
        self.settled = false;
        self.unsure = false;
        let Some(command) = self.pending.pop() else { return };
        if let Some(prepared) =
            self.answer.prepared.filter(|_| command.kind == Kind::Prepare && !command.late && self.answer.error.is_none())
        {
            // Columns are only asked for again where they may be left out.
            let cached = self.agreed.caps.is_none_or(|caps| caps & wire::caps::CACHE_METADATA != 0);
            let columns = (cached && prepared.columns > 0).then(|| std::mem::take(&mut self.answer.columns));
            self.statements.insert(prepared, &command.text, columns, cx.now(), self.plugin.options.statement_timeout);
        }
        self.resolve(cx.now());
        if command.kind == Kind::Prepare && (command.late || self.answer.error.is_some()) {
            self.statements.forget_last();
        }
        match (command.kind, command.late) {
            (Kind::Silent, _) => {}
            (_, true) => cx.count("unmatched_responses"),
            _ => event::emit(&command, &self.answer, failed, &self.plugin.common, &mut self.scratch, cx),
        }
        const SPARE: usize = 64 << 10;
        if command.text.capacity() <= SPARE {
            self.spare = command.text;
            self.spare.clear();
        }
        let next = self.pending.front().map(|c| c.seq.wrapping_add(1));
        self.answer.reset(next);
    }

    /// The next command may execute a statement that was still being prepared when it was sent.
    fn resolve(&mut self, now: Timestamp) {
        let unresolved = |c: &Command| c.kind == Kind::Execute && c.statement.is_none() && !c.text.is_empty();
        let Some(mut command) = self.pending.front_mut().filter(|c| unresolved(c)) else { return };
        let payload = std::mem::take(&mut command.text);
        self.statements.execute(&mut command, &payload, now, self.plugin.options.statement_timeout);
    }

    /// What may have been whole was whole.
    fn settle(&mut self, cx: &mut Context<'_>) {
        if self.settled {
            self.finish(false, cx);
        }
    }

    /// Which answer belongs to which command is not known any more.
    fn forget(&mut self, cx: &mut Context<'_>) {
        while let Some(command) = self.pending.pop() {
            if command.kind == Kind::Prepare {
                self.statements.forget_last();
            }
            if command.kind != Kind::Silent && !command.late {
                cx.count("unmatched_requests");
            }
        }
        self.settled = false;
        self.answer.reset(None);
    }
}

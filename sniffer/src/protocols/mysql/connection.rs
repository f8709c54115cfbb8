//! One connection: the waiting commands, and the capabilities that both sides have negotiated. `client` handles the
//! client's direction, `server` the server's.

use super::{
    Mysql,
    allowance::Allowance,
    answer::{Agreed, Answer},
    command::{self, Command, Kind, Statements},
    event,
    packed::Side,
    state::{Doubt, Phase, Position},
    wire::{self, Header},
};
use crate::{
    net::Direction,
    protocols::{
        Close, Context, Progress, Recovery, StreamParser,
        kit::{
            backlog::{Backlog, Limits},
            held::{self, Held},
            resync::Resync,
            timers,
        },
    },
    time::Timestamp,
};
use std::sync::Arc;

/// Maximum number of waiting commands of one connection; a pipeline of a few hundred is a long one.
const MOST_PENDING: usize = 4096;
/// Maximum number of bytes that the waiting commands hold.
const MOST_HELD: usize = 8 << 20;

/// The times of the packets in the current data.
#[derive(Clone, Copy)]
pub enum When {
    /// The time of each packet is known from the context.
    Plain,
    /// Packets that begin before the position have the first time, the others the second.
    Unpacked(usize, Timestamp, Timestamp),
}

impl When {
    pub fn at(self, offset: usize, cx: &Context<'_>) -> Timestamp {
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

/// The parser of one connection.
pub struct Connection {
    pub(super) plugin: Arc<Mysql>,
    pub(super) phase: Phase,
    pub(super) agreed: Agreed,
    /// The waiting commands, the oldest first.
    pub(super) pending: Backlog<Command>,
    /// The response to the first waiting command.
    pub(super) answer: Answer,
    pub(super) statements: Statements,
    /// The meaning of the next packet of each direction.
    pub(super) position: [Position; 2],
    pub(super) doubt: Doubt,
    /// The search for the next command.
    pub(super) search: Resync,
    /// The decompression of each direction; `None` if the connection is not compressed.
    pub(super) packed: Option<Box<[Side; 2]>>,
    /// The work that each direction may cause while the connection is compressed.
    pub(super) allowed: [Allowance; 2],
    /// Number of commands until now. The counter wraps.
    pub(super) commands: u32,
    pub(super) scratch: Vec<u8>,
    /// The buffer of the last query, for reuse.
    pub(super) spare: Vec<u8>,
    /// Whether the beginning of the server's direction was not captured.
    pub(super) joined: bool,
}

impl StreamParser for Connection {
    fn on_data(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        if dir == Direction::ToClient && cx.skipped().lost > 0 {
            self.answer.lost |= self.answer.begun();
        }
        if self.packed.is_some() {
            return self.unpack(dir, data, cx);
        }
        let dir = if self.phase.is_unknown() && wrong_way(dir, data) {
            cx.flip();
            dir.reverse()
        } else {
            dir
        };
        let progress = self.packets(dir, data, When::Plain, cx);
        // The capture began after the handshake, and compression is detected only now.
        if self.packed.is_some() && dir == Direction::ToServer && matches!(progress, Progress::Consumed { bytes: 0, .. }) {
            return self.unpack(dir, data, cx);
        }
        progress
    }

    fn on_join(&mut self, dir: Direction) {
        self.joined |= dir == Direction::ToClient;
    }

    fn on_gap(&mut self, dir: Direction, lost: u64, cx: &mut Context<'_>) -> Recovery {
        let before = std::mem::replace(&mut self.position[dir.index()], Position::Lost);
        if let Some(sides) = &mut self.packed {
            sides[dir.index()].lose(lost);
        }
        match dir {
            Direction::ToServer => {
                if let Some(mut command) = self.pending.front_mut().filter(|_| before == Position::File) {
                    command.bytes += lost;
                }
                self.doubt = self.doubt.client_gap();
                self.statements.doubt();
            }
            Direction::ToClient => {
                if self.answer.within_result() {
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
        // After the server's last byte there is no further response.
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
            // All waiting commands have timed out. They are dropped, and the search for a response starts again with the next command.
            while self.pending.pop().is_some() {}
            self.position[1] = Position::Lost;
        }
        timers::arm(cx, self.pending.iter().find(|c| !c.late).map(|next| next.time.after(timeout)));
    }

    fn remembers(&self) -> bool {
        !self.statements.is_empty() || self.packed.is_some()
    }

    fn held(&self) -> usize {
        let packed = self.packed.as_ref().map_or(0, |sides| size_of::<[Side; 2]>() + sides.held());
        self.pending.held() + self.answer.held() + self.statements.held() + packed + self.scratch.held() + self.spare.held()
    }
}

/// Whether client and server were confused after a start in the middle of a connection: clients send no greeting,
/// servers no commands.
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
    /// Makes the parser of a new connection.
    pub fn new(plugin: Arc<Mysql>) -> Self {
        let limits = Limits { items: MOST_PENDING, bytes: MOST_HELD, timeout: plugin.common.transaction_timeout };
        Self {
            plugin,
            phase: Phase::Unknown,
            joined: false,
            agreed: Agreed::default(),
            pending: Backlog::new(limits),
            answer: Answer::default(),
            statements: Statements::default(),
            position: [Position::Lost; 2],
            doubt: Doubt::None,
            search: Resync::default(),
            packed: None,
            allowed: Default::default(),
            commands: 0,
            scratch: Vec::new(),
            spare: Vec::new(),
        }
    }

    pub(super) fn packets(&mut self, dir: Direction, data: &[u8], when: When, cx: &mut Context<'_>) -> Progress {
        match dir {
            Direction::ToServer => self.on_commands(data, when, cx),
            Direction::ToClient => self.on_answers(data, when, cx),
        }
    }

    /// Skips `len` bytes of the client that are not recognised.
    pub(super) fn pass_over(&mut self, len: usize) -> Progress {
        match self.search.passed(len) {
            Recovery::Resume => Progress::consumed(len),
            Recovery::GiveUp => Progress::GiveUp,
        }
    }

    /// Reports the current response, which has ended.
    pub(super) fn finish(&mut self, failed: bool, cx: &mut Context<'_>) {
        self.doubt = self.doubt.paired();
        let Some(command) = self.pending.pop() else { return };
        if let Some(prepared) =
            self.answer.prepared.filter(|_| command.kind == Kind::Prepare && !command.late && self.answer.error.is_none())
        {
            // Columns are only needed again if the server may leave them out.
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
            _ => {
                event::emit(&command, &self.answer, failed, &self.plugin.common, &mut self.scratch, cx);
                held::clear(&mut self.scratch);
            }
        }
        const SPARE: usize = 64 << 10;
        if command.text.capacity() <= SPARE {
            self.spare = command.text;
            self.spare.clear();
        }
        let next = self.pending.front().map(|c| c.seq.wrapping_add(1));
        self.answer.reset(next);
    }

    /// If the next command executes a statement that was still being prepared when the command was sent, finds that
    /// statement now.
    fn resolve(&mut self, now: Timestamp) {
        let unresolved = |c: &Command| c.kind == Kind::Execute && c.statement.is_none() && !c.text.is_empty();
        let Some(mut command) = self.pending.front_mut().filter(|c| unresolved(c)) else { return };
        let payload = std::mem::take(&mut command.text);
        self.statements.execute(&mut command, &payload, now, self.plugin.options.statement_timeout);
    }

    /// Ends the current response if it may be complete.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        if self.answer.is_settled() {
            self.finish(false, cx);
        }
    }

    /// Notes that the pairing of responses with commands is unknown.
    pub(super) fn forget(&mut self, cx: &mut Context<'_>) {
        while let Some(command) = self.pending.pop() {
            if command.kind == Kind::Prepare {
                self.statements.forget_last();
            }
            if command.kind != Kind::Silent && !command.late {
                cx.count("unmatched_requests");
            }
        }
        self.answer.reset(None);
    }

    /// Notes that the pairing of responses with commands and the start of the next response are unknown.
    pub(super) fn lose_answers(&mut self, cx: &mut Context<'_>) {
        self.forget(cx);
        self.position[1] = Position::Lost;
    }
}

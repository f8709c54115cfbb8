//! The table of a worker's connections: finds the one that a segment belongs to, evicts the one that has been idle the longest, ends idle
//! ones, and runs timers.

use super::{Env, connection::Connection, ports::Claim};
use crate::{
    decode::Tcp,
    net::{FlowKey, Peers, Realm, Transport},
    protocols::Close,
    time::Timestamp,
};
use hashbrown::HashMap;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Connections of one worker. Each costs some 500 bytes and its parser's; the ones heard of longest ago go first.
const MOST_CONNECTIONS: usize = 100_000;
/// Bytes that all connections of one worker hold for incomplete messages and early segments.
const MOST_HELD: usize = 256 << 20;
/// Without a packet for this long a connection is over: a parser that joins again later misses nothing.
const IDLE: Duration = Duration::from_secs(60);
/// And a connection whose parser remembers something: long enough for database sessions that pause.
const LONG_IDLE: Duration = Duration::from_secs(3600);
/// Connections that stay in the table after their end, so that late retransmissions do not open a new one.
const MOST_OVER: usize = 4096;
/// And for how long: twice the time a segment may live in practice.
const OVER: Duration = Duration::from_secs(60);

/// What the packets of a connection have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    /// The lower one first.
    ends: [(IpAddr, u16); 2],
    realm: Realm,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ends.hash(state);
        // Plain traffic is hashed by its ends alone.
        if self.realm != Realm::default() {
            self.realm.hash(state);
        }
    }
}

impl Key {
    /// How capture knows the connection. [`FlowKey`] has the ends in the same order.
    fn flow(&self) -> FlowKey {
        let [a, b] = self.ends.map(|(ip, port)| SocketAddr::new(ip, port));
        FlowKey::new(self.realm, Transport::Tcp, a, b)
    }
}

/// The index of a slot, and which of its successive connections is meant (see [`Slot::turn`]).
type Place = (usize, u32);

struct Slot {
    connection: Box<Connection>,
    key: Key,
    /// Counts the connections that had this slot, so that a timer of an earlier one does not wake this one.
    turn: u32,
    /// Neighbours in the order of last packets; `NONE` at the ends.
    newer: usize,
    older: usize,
    last: Timestamp,
    /// The earliest timer that was set.
    armed: Option<Timestamp>,
    /// Bytes held, as counted in `Streams::held`.
    held: usize,
}

const NONE: usize = usize::MAX;

/// The connections of one worker.
pub struct Streams {
    by_key: HashMap<Key, usize, foldhash::fast::RandomState>,
    slots: Vec<Option<Slot>>,
    free: Vec<Place>,
    newest: usize,
    oldest: usize,
    timers: BinaryHeap<Reverse<(Timestamp, Place)>>,
    over: VecDeque<(Timestamp, Place)>,
    held: usize,
    opened: u64,
    /// The number of the last connection that was open at [`Streams::count_earlier`], and how many of those still are.
    last_earlier: u64,
    earlier: usize,
    most: usize,
    most_held: usize,
}

impl Default for Streams {
    fn default() -> Self {
        Self::new(MOST_CONNECTIONS, MOST_HELD)
    }
}

impl Streams {
    /// At most `most` connections, which hold at most `most_held` bytes.
    pub fn new(most: usize, most_held: usize) -> Self {
        Self {
            by_key: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            timers: BinaryHeap::new(),
            over: VecDeque::new(),
            held: 0,
            opened: 0,
            last_earlier: 0,
            earlier: 0,
            most: most.max(1),
            most_held,
        }
    }

    /// Connections that are known.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Bytes that all connections hold.
    pub fn held(&self) -> usize {
        self.held
    }

    /// From here on [`Streams::earlier`] counts the connections that are open now.
    pub fn count_earlier(&mut self) {
        (self.last_earlier, self.earlier) = (self.opened, self.len());
    }

    /// How many of the connections are left that were open at the last [`Streams::count_earlier`].
    pub fn earlier(&self) -> usize {
        self.earlier
    }

    /// Takes a segment from `source` to `destination` that came through `realm`. Without a claim of a protocol it opens no connection. Returns the number of its connection.
    pub fn segment(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        realm: Realm,
        claim: Option<Claim>,
        segment: &Tcp<'_>,
        env: &mut Env<'_>,
    ) -> Option<u64> {
        let (from, to) = ((source.ip(), source.port()), (destination.ip(), destination.port()));
        let (ends, half) = if from <= to { ([from, to], 0) } else { ([to, from], 1) };
        let key = Key { ends, realm: realm.of_connection(env.track_vlans) };
        let mut at = self.by_key.get(&key).copied();
        let mut reopening = None;
        if let Some(known) = at
            && let Some(slot) = &self.slots[known]
            && let Some(another) = slot.connection.is_another(half, segment, slot.last.after(IDLE) <= env.now)
        {
            self.end(known, Close::Evicted, env);
            (at, reopening) = (None, another);
        }
        let at = match (at, reopening) {
            (Some(at), _) => at,
            (None, Some(with)) => {
                let to_server = half == with.half;
                let at = self.open(key, half, source, destination, Claim { to_server, ..claim? }, env);
                self.slots[at].as_mut()?.connection.begin(with);
                at
            }
            // An acknowledgement, FIN or reset without data opens no connection.
            (None, None) if segment.wire_payload == 0 && !segment.flags.syn() => return None,
            (None, None) => self.open(key, half, source, destination, claim?, env),
        };
        self.touch(at, env.now);
        let slot = self.slots[at].as_mut()?;
        let was_over = slot.connection.is_over();
        slot.connection.segment(half, segment, env);
        let number = slot.connection.number;
        if slot.connection.is_over() && !was_over {
            let turn = slot.turn;
            self.over.push_back((env.now.after(OVER), (at, turn)));
        }
        self.settle(at, env);
        self.make_room(env);
        Some(number)
    }

    /// Runs the timers that are due at `env.now`, and ends idle connections.
    pub fn advance(&mut self, env: &mut Env<'_>) {
        while let Some(&Reverse((due, place))) = self.timers.peek()
            && due <= env.now
        {
            self.timers.pop();
            if let Some(slot) = self.at(place) {
                slot.armed = None;
                slot.connection.expire(env);
                self.settle(place.0, env);
            }
        }
        while let Some(&(due, place)) = self.over.front()
            && (due <= env.now || self.over.len() > MOST_OVER)
        {
            self.over.pop_front();
            if self.at(place).is_some_and(|slot| slot.connection.is_over()) {
                self.remove(place.0);
            }
        }
        if !env.strict {
            self.end_idle(env);
        }
    }

    /// Ends connections that have been idle for too long. One whose parser remembers something is moved to the newest end of the list, to be looked at
    /// again when all others had their turn.
    fn end_idle(&mut self, env: &mut Env<'_>) {
        for _ in 0..self.by_key.len() {
            let Some(slot) = self.slots.get(self.oldest).and_then(Option::as_ref) else { return };
            if slot.last.after(IDLE) > env.now {
                return;
            }
            let oldest = self.oldest;
            if slot.connection.remembers() && slot.last.after(LONG_IDLE) > env.now {
                self.unlink(oldest);
                self.link_newest(oldest);
            } else {
                env.totals.idle += 1;
                self.end(oldest, Close::Idle, env);
            }
        }
    }

    /// Ends all connections: the input is at its end.
    pub fn finish(&mut self, env: &mut Env<'_>) {
        while self.oldest != NONE {
            self.end(self.oldest, Close::EndOfInput, env);
        }
    }

    fn open(&mut self, key: Key, half: usize, source: SocketAddr, destination: SocketAddr, claim: Claim, env: &mut Env<'_>) -> usize {
        if self.by_key.len() >= self.most {
            env.totals.evicted += 1;
            self.end(self.oldest, Close::Evicted, env);
        }
        self.opened += 1;
        env.totals.connections += 1;
        let (client, server) = if claim.to_server { (source, destination) } else { (destination, source) };
        let peers = Peers::new(client, server, Transport::Tcp).with_realm(key.realm);
        let client_half = if claim.to_server { half } else { 1 - half };
        let connection = Box::new(Connection::new(self.opened, peers, client_half == 1));
        let (at, turn) = self.free.pop().unwrap_or((self.slots.len(), 0));
        let slot = Slot { connection, key, turn, newer: NONE, older: NONE, last: env.now, armed: None, held: 0 };
        match self.slots.get_mut(at) {
            Some(place) => *place = Some(slot),
            None => self.slots.push(Some(slot)),
        }
        self.by_key.insert(key, at);
        self.link_newest(at);
        at
    }

    /// Ends a connection if it is not over, and removes it.
    fn end(&mut self, at: usize, why: Close, env: &mut Env<'_>) {
        if let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) {
            if !slot.connection.is_over() {
                slot.connection.end(why, env);
            }
            self.remove(at);
        }
    }

    fn remove(&mut self, at: usize) {
        self.unlink(at);
        if let Some(slot) = self.slots.get_mut(at).and_then(Option::take) {
            self.by_key.remove(&slot.key);
            self.held -= slot.held;
            self.earlier -= usize::from(slot.connection.number <= self.last_earlier);
            self.free.push((at, slot.turn.wrapping_add(1)));
        }
    }

    /// After a call of a connection: counts anew what it holds, hands over its verdicts and sets its timer. The timer is later than `now`: else a parser that always asks to be woken at once would
    /// never let [`Streams::advance`] return.
    fn settle(&mut self, at: usize, env: &mut Env<'_>) {
        let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) else { return };
        let held = slot.connection.held();
        self.held = self.held - slot.held + held;
        slot.held = held;
        let key = &slot.key;
        slot.connection.take_verdicts(&mut |verdict| (env.verdicts)(key.flow(), verdict));
        let later = Timestamp(env.now.0.saturating_add(1));
        if let Some(due) = slot.connection.due().map(|due| due.max(later))
            && slot.armed.is_none_or(|armed| due < armed)
        {
            slot.armed = Some(due);
            self.timers.push(Reverse((due, (at, slot.turn))));
        }
    }

    fn make_room(&mut self, env: &mut Env<'_>) {
        while self.held > self.most_held && self.oldest != NONE {
            env.totals.evicted += 1;
            self.end(self.oldest, Close::Evicted, env);
        }
    }

    fn at(&mut self, (at, turn): Place) -> Option<&mut Slot> {
        self.slots.get_mut(at)?.as_mut().filter(|slot| slot.turn == turn)
    }

    fn touch(&mut self, at: usize, now: Timestamp) {
        if self.newest != at {
            self.unlink(at);
            self.link_newest(at);
        }
        if let Some(slot) = &mut self.slots[at] {
            slot.last = now;
        }
    }

    fn link_newest(&mut self, at: usize) {
        let before = std::mem::replace(&mut self.newest, at);
        if let Some(slot) = &mut self.slots[at] {
            (slot.older, slot.newer) = (before, NONE);
        }
        match self.slots.get_mut(before) {
            Some(Some(slot)) => slot.newer = at,
            _ => self.oldest = at,
        }
    }

    fn unlink(&mut self, at: usize) {
        let Some((newer, older)) = self.slots.get(at).and_then(Option::as_ref).map(|slot| (slot.newer, slot.older)) else { return };
        match self.slots.get_mut(newer) {
            Some(Some(slot)) => slot.older = older,
            _ => self.newest = older,
        }
        match self.slots.get_mut(older) {
            Some(Some(slot)) => slot.newer = newer,
            _ => self.oldest = newer,
        }
    }
}

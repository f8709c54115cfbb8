//! The table of a worker's connections: finds the connection of a segment, evicts connections when there are too many
//! or they hold too many bytes, and runs timers. [`idle`] ends idle ones. [`super::order`] has the order of eviction.

mod idle;

use super::{
    Env,
    connection::Connection,
    key::Key,
    order::{Class, Order},
    ports::Claim,
};
use crate::{
    decode::Tcp,
    memory::{Kind, Share},
    net::{Peers, Realm, Transport},
    protocols::Close,
    time::Timestamp,
};
use hashbrown::HashTable;
use std::{cmp::Reverse, collections::BinaryHeap, hash::BuildHasher, net::SocketAddr, time::Duration};

/// Maximum number of connections of one worker, without those that have ended.
const MOST_CONNECTIONS: usize = 100_000;
/// Idle connections that are kept because their parser has state may be at most one part in `REMEMBERED` of all connections
/// and of all bytes.
const REMEMBERED: usize = 4;
/// Maximum number of ended connections that stay in the table, so that late retransmissions do not open new ones.
const MOST_ENDED: usize = 4096;
/// How long ended connections stay in the table: twice the lifetime of a segment in practice.
const KEEP_ENDED: Duration = Duration::from_secs(60);
/// Half-open connections are evicted first if together they hold at least one part in `HALF_OPEN_PART` of the bytes. If
/// they hold less, evicting them would free too little.
const HALF_OPEN_PART: usize = 8;
/// Timers of removed connections are deleted when there are this many more timers than connections.
const STALE_TIMERS: usize = 1024;

/// Index of a slot, and the number of the connection in it (see [`Slot::turn`]).
type Place = (usize, u32);

struct Slot {
    connection: Box<Connection>,
    key: Key,
    /// Number of connections that used this slot, so that a timer of an earlier one is not applied to this one.
    turn: u32,
    /// The halves that have sent packets, one bit each.
    seen: u8,
    /// Whether data of the connection was captured.
    data: bool,
    /// Time of the last packet, or of the end if the connection has ended.
    last: Timestamp,
    /// The value of [`Streams::uses`] at the last use.
    used: u64,
    /// The earliest timer that is set.
    armed: Option<Timestamp>,
    /// Bytes held, as counted in `Streams::held`.
    held: usize,
}

impl Slot {
    /// The class of a connection that has not ended.
    fn class(&self) -> Class {
        if self.connection.is_over() {
            Class::Ended
        } else if self.seen != 0b11 || !self.data {
            Class::HalfOpen
        } else if self.held > Class::LARGE {
            Class::Large
        } else {
            Class::Small
        }
    }
}

/// The connections of one worker.
pub struct Streams {
    hasher: foldhash::fast::RandomState,
    /// Indices into `slots`, by the hash of the key.
    index: HashTable<u32>,
    slots: Vec<Option<Slot>>,
    free: Vec<Place>,
    order: Order,
    timers: BinaryHeap<Reverse<(Timestamp, Place)>>,
    /// Bytes held by all connections.
    held: usize,
    /// Bytes of the tables that find, order and wake connections.
    tables: usize,
    /// Number of packets handled until now.
    uses: u64,
    opened: u64,
    /// `last_earlier` is the number of the last connection that was open at the last [`Streams::count_earlier`].
    /// `earlier` is the number of connections that were open then and still are.
    last_earlier: u64,
    earlier: usize,
    most: usize,
    /// Maximum number of bytes that all connections may hold together.
    budget: usize,
    share: Share,
}

impl Default for Streams {
    fn default() -> Self {
        Self::with_share(Share::default())
    }
}

impl Streams {
    /// Bytes of a connection that holds nothing yet.
    pub const PER_CONNECTION: usize = size_of::<Option<Slot>>() + size_of::<Connection>();

    /// Makes a table with the limits of a worker's share of the memory.
    pub fn with_share(share: Share) -> Self {
        // Connections that hold nothing take at most half of the share, including the entries of the tables.
        let most = MOST_CONNECTIONS.min(share.state() / (4 * Self::PER_CONNECTION));
        Self { share: share.clone(), ..Self::new(most, share.state()) }
    }

    /// Makes a table of at most `most` connections that have not ended, which hold at most `budget` bytes.
    pub fn new(most: usize, budget: usize) -> Self {
        Self {
            hasher: foldhash::fast::RandomState::default(),
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            order: Order::default(),
            timers: BinaryHeap::new(),
            held: 0,
            tables: 0,
            uses: 0,
            opened: 0,
            last_earlier: 0,
            earlier: 0,
            most: most.max(1),
            budget,
            share: Share::default(),
        }
    }

    /// Number of connections in the table.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Allocated bytes of the table and of all connections.
    pub fn held(&self) -> usize {
        self.held + self.tables
    }

    /// Updates `tables`. It is called when one of the tables may have grown.
    fn measure_tables(&mut self) {
        let timers = self.timers.capacity() * size_of::<Reverse<(Timestamp, Place)>>();
        self.tables = self.index.allocation_size() + self.order.held() + timers + self.free.capacity() * size_of::<Place>();
    }

    /// Bytes that the connections hold in addition to [`Streams::PER_CONNECTION`] each.
    #[cfg(test)]
    pub(super) fn held_beyond(&self) -> usize {
        self.held - self.len() * Self::PER_CONNECTION
    }

    /// Marks the connections that are open now for [`Streams::earlier`].
    pub fn count_earlier(&mut self) {
        (self.last_earlier, self.earlier) = (self.opened, self.len());
    }

    /// Number of connections that were open at the last [`Streams::count_earlier`] and still are.
    pub fn earlier(&self) -> usize {
        self.earlier
    }

    /// Handles a segment from `source` to `destination` in `realm`. Without a `claim` of a protocol it opens no
    /// connection. Returns the number of its connection.
    pub fn segment(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        realm: Realm,
        claim: Option<Claim>,
        segment: &Tcp<'_>,
        env: &mut Env<'_>,
    ) -> Option<u64> {
        let (key, half) = Key::new(source, destination, realm.of_connection(env.track_vlans));
        let hash = self.hasher.hash_one(key);
        let mut at = self.find(hash, &key);
        let mut reopening = None;
        if let Some(known) = at
            && let Some(Some(slot)) = self.slots.get(known)
            && let Some(another) = slot.connection.is_another(half, segment, segment.flags.syn() && slot.is_idle(env))
        {
            self.lift(known, env);
            self.end(known, Close::Evicted, env);
            (at, reopening) = (None, another);
        }
        let at = match (at, reopening) {
            (Some(at), _) => at,
            (None, Some(with)) => {
                let to_server = half == with.half;
                let at = self.open((hash, key), half, source, destination, Claim { to_server, ..claim? }, env);
                self.slots.get_mut(at)?.as_mut()?.connection.begin(with);
                at
            }
            // A segment without data and without SYN opens no connection.
            (None, None) if segment.wire_payload == 0 && !segment.flags.syn() => return None,
            (None, None) => self.open((hash, key), half, source, destination, claim?, env),
        };
        let slot = self.slots.get_mut(at)?.as_mut()?;
        slot.seen |= 1 << half;
        slot.data |= segment.wire_payload > 0;
        let was_over = slot.connection.is_over();
        let changed = slot.connection.segment(half, segment, env);
        let number = slot.connection.number;
        if !was_over {
            slot.last = env.now;
        }
        if changed {
            self.settle(at, !was_over, env);
        } else if !was_over {
            self.uses += 1;
            slot.used = self.uses;
            self.order.touch(at, slot.class(), slot.held, slot.held);
        }
        if self.held() > self.budget || self.order.len(Class::Ended) > MOST_ENDED {
            self.make_room(env);
        }
        Some(number)
    }

    /// The index of the slot of the connection with this key.
    #[inline]
    fn find(&self, hash: u64, key: &Key) -> Option<usize> {
        let is = |at: &u32| self.slots.get(*at as usize).and_then(Option::as_ref).is_some_and(|slot| slot.key == *key);
        self.index.find(hash, is).map(|at| *at as usize)
    }

    /// Runs the timers that are due at `env.now`, and ends idle connections.
    pub fn advance(&mut self, env: &mut Env<'_>) {
        while let Some(&Reverse((due, place))) = self.timers.peek()
            && due <= env.now
        {
            self.timers.pop();
            if let Some(slot) = self.at(place) {
                slot.armed = None;
                let was_over = slot.connection.is_over();
                slot.connection.expire(env);
                if slot.connection.is_over() && !was_over {
                    slot.last = env.now;
                    self.settle(place.0, true, env);
                } else {
                    self.settle(place.0, false, env);
                }
            }
        }
        while let Some(at) = self.oldest(Class::Ended, KEEP_ENDED, env.now) {
            self.remove(at);
        }
        if !env.strict {
            self.end_idle(env);
        }
        self.make_room(env);
    }

    /// Handles a step of the packet time back to `to`: calls all timers at `env.now`, and measures
    /// idle time from `to` on.
    pub fn restart_timers(&mut self, to: Timestamp, env: &mut Env<'_>) {
        self.timers.clear();
        let over = std::mem::replace(&mut env.now, to);
        for at in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) else { continue };
            (slot.last, slot.armed, env.now) = (to, None, over);
            let was_over = slot.connection.is_over();
            slot.connection.expire(env);
            slot.connection.wake = None;
            let ended = slot.connection.is_over() && !was_over;
            env.now = to;
            self.settle(at, ended, env);
        }
    }

    /// At the end of the input, makes the parsers whose requests wait at most `most` report them, in the order of the last use of
    /// their connections.
    pub fn time_out(&mut self, most: Duration, env: &mut Env<'_>) {
        for at in self.by_use() {
            if let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) {
                slot.connection.time_out(most, env);
            }
        }
    }

    /// Ends all connections at the end of the input.
    pub fn finish(&mut self, env: &mut Env<'_>) {
        for at in self.by_use() {
            self.end(at, Close::EndOfInput, env);
        }
    }

    /// The slots of all connections in the order of their last use.
    fn by_use(&self) -> Vec<usize> {
        let mut open: Vec<(u64, usize)> = self.slots.iter().enumerate().filter_map(|(at, slot)| Some((slot.as_ref()?.used, at))).collect();
        open.sort_unstable();
        open.into_iter().map(|(_, at)| at).collect()
    }

    /// Opens a connection and returns its index. `key` comes with its hash.
    fn open(
        &mut self,
        (hash, key): (u64, Key),
        half: usize,
        source: SocketAddr,
        destination: SocketAddr,
        claim: Claim,
        env: &mut Env<'_>,
    ) -> usize {
        if self.index.len() - self.order.len(Class::Ended) >= self.most
            && let Some(class) = self.first_in_number()
        {
            self.evict(class, env);
        }
        self.opened += 1;
        env.totals.connections += 1;
        let (client, server) = if claim.to_server { (source, destination) } else { (destination, source) };
        let peers = Peers::new(client, server, Transport::Tcp).with_realm(key.realm);
        let client_half = if claim.to_server { half } else { 1 - half };
        let connection = Box::new(Connection::new(self.opened, peers, client_half == 1));
        let (at, turn) = self.free.pop().unwrap_or((self.slots.len(), 0));
        let held = Self::PER_CONNECTION;
        let slot = Slot { connection, key, turn, seen: 0, data: false, last: env.now, used: self.uses, armed: None, held };
        match self.slots.get_mut(at) {
            Some(place) => *place = Some(slot),
            None => self.slots.push(Some(slot)),
        }
        let (hasher, slots) = (&self.hasher, &self.slots);
        let hash_of = |at: &u32| slots.get(*at as usize).and_then(Option::as_ref).map_or(0, |slot| hasher.hash_one(slot.key));
        self.index.insert_unique(hash, at as u32, hash_of); // `most` and `MOST_ENDED` bound the number of slots
        self.order.insert(at, Class::HalfOpen, held);
        self.held += held;
        self.measure_tables();
        at
    }

    /// The class from which to evict if there are too many connections: half-open ones first, then the class whose
    /// oldest entry has not been used for the longest time, and last those with parser state.
    fn first_in_number(&self) -> Option<Class> {
        if self.order.len(Class::HalfOpen) > 0 {
            return Some(Class::HalfOpen);
        }
        let used = |class| Some((self.slots.get(self.order.oldest(class)?)?.as_ref()?.used, class));
        let live = [Class::Small, Class::Large].into_iter().filter_map(used).min_by_key(|(used, _)| *used).map(|(_, class)| class);
        live.or_else(|| self.order.oldest(Class::Remembered).map(|_| Class::Remembered))
    }

    /// The class from which to evict if connections hold too many bytes.
    fn first_in_bytes(&self) -> Option<Class> {
        let (len, bytes) = (|class| self.order.len(class), |class| self.order.bytes(class));
        if len(Class::HalfOpen) > 0 && bytes(Class::HalfOpen) >= self.held / HALF_OPEN_PART {
            return Some(Class::HalfOpen);
        }
        let classes = if bytes(Class::Large) > bytes(Class::Small) { [Class::Large, Class::Small] } else { [Class::Small, Class::Large] };
        classes.into_iter().chain([Class::HalfOpen, Class::Remembered, Class::Ended]).find(|class| len(*class) > 0)
    }

    /// Evicts the connection of a class that has not been used for the longest time.
    fn evict(&mut self, class: Class, env: &mut Env<'_>) {
        let Some(at) = self.order.oldest(class) else { return };
        let (counter, kind) = match class {
            Class::HalfOpen => (&mut env.totals.evicted_half_open, Kind::HalfOpen),
            Class::Small | Class::Large => (&mut env.totals.evicted, Kind::Connection),
            Class::Remembered => (&mut env.totals.evicted_remembered, Kind::Remembered),
            Class::Ended => return self.remove(at),
        };
        *counter += 1;
        self.share.warn_once(kind);
        self.end(at, Close::Evicted, env);
    }

    /// Removes a connection. If it has not ended, the function ends it first.
    fn end(&mut self, at: usize, why: Close, env: &mut Env<'_>) {
        if let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) {
            if !slot.connection.is_over() {
                slot.connection.end(why, env);
            }
            self.remove(at);
        }
    }

    fn remove(&mut self, at: usize) {
        if let Some(slot) = self.slots.get_mut(at).and_then(Option::take) {
            self.order.remove(at, slot.held);
            let hash = self.hasher.hash_one(slot.key);
            if let Ok(entry) = self.index.find_entry(hash, |place| *place as usize == at) {
                entry.remove();
            }
            self.held -= slot.held;
            self.earlier -= usize::from(slot.connection.number <= self.last_earlier);
            self.free.push((at, slot.turn.wrapping_add(1)));
        }
    }

    /// Updates the table after a call of a connection: its bytes, its verdicts and its timer. `used`: the call was for
    /// a packet, or ended the connection. The timer is set later than `now`, because otherwise a parser that always
    /// asks for an immediate timer would keep [`Streams::advance`] running forever.
    fn settle(&mut self, at: usize, used: bool, env: &mut Env<'_>) {
        let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) else { return };
        let before = std::mem::replace(&mut slot.held, Self::PER_CONNECTION + slot.connection.held());
        self.held = self.held - before + slot.held;
        if used {
            self.uses += 1;
            slot.used = self.uses;
            self.order.touch(at, slot.class(), before, slot.held);
        } else {
            self.order.resize(at, before, slot.held);
        }
        slot.connection.make_verdicts(env);
        let later = Timestamp(env.now.0.saturating_add(1));
        if let Some(due) = slot.connection.due().map(|due| due.max(later))
            && slot.armed.is_none_or(|armed| due < armed)
        {
            slot.armed = Some(due);
            let grows = self.timers.len() == self.timers.capacity();
            self.timers.push(Reverse((due, (at, slot.turn))));
            if grows {
                self.measure_tables();
            }
            if self.timers.len() > 2 * self.index.len() + STALE_TIMERS {
                self.drop_stale_timers();
            }
        }
    }

    #[inline(never)]
    fn drop_stale_timers(&mut self) {
        let slots = &self.slots;
        self.timers.retain(|Reverse((due, (at, turn)))| {
            slots.get(*at).and_then(Option::as_ref).is_some_and(|slot| slot.turn == *turn && slot.armed == Some(*due))
        });
    }

    /// Evicts connections until they hold at most `bytes`.
    pub fn evict_until(&mut self, bytes: usize, env: &mut Env<'_>) {
        while self.held() > bytes
            && let Some(class) = self.first_in_bytes()
        {
            self.evict(class, env);
        }
    }

    /// Evicts connections until all limits are met.
    #[cold]
    fn make_room(&mut self, env: &mut Env<'_>) {
        if self.held() > self.budget {
            self.evict_until(self.budget, env);
        }
        while self.order.len(Class::Ended) > MOST_ENDED {
            self.evict(Class::Ended, env);
        }
        while self.order.len(Class::Remembered) > self.most / REMEMBERED || self.order.bytes(Class::Remembered) > self.budget / REMEMBERED {
            self.evict(Class::Remembered, env);
        }
    }

    fn at(&mut self, (at, turn): Place) -> Option<&mut Slot> {
        self.slots.get_mut(at)?.as_mut().filter(|slot| slot.turn == turn)
    }
}

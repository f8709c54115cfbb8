//! memcache over UDP: each datagram has a header of 8 bytes with the request's id, the number of the datagram and the
//! number of datagrams of the message. Responses may consist of many datagrams in any order.

use super::{Memcache, session::Session};
use crate::{
    net::{Direction, Peers},
    protocols::{
        Context, Progress, Skipped,
        kit::{backlog::Limits, held::Held, matcher::Matcher, reader::Reader, timers},
    },
    time::Timestamp,
};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

/// Maximum number of waiting requests.
const MOST_WAITING: usize = 4096;
/// Maximum number of bytes of early datagrams of all requests together.
const MOST_EARLY: usize = 4 << 20;
/// Maximum number of bytes of an incomplete line or header between two datagrams.
const MOST_REST: usize = 4 << 10;

/// The header of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub id: u16,
    pub number: u16,
    pub total: u16,
}

impl Header {
    /// Parses the header; also returns the rest of the datagram.
    pub fn read(data: &[u8]) -> Option<(Self, &[u8])> {
        let mut r = Reader::new(data);
        let (id, number, total, _reserved) = (r.u16()?, r.u16()?, r.u16()?, r.u16()?);
        (number < total).then_some((Self { id, number, total }, r.rest()))
    }
}

type Key = (SocketAddr, SocketAddr, u16);

/// All conversations over UDP.
pub struct Udp {
    plugin: Arc<Memcache>,
    waiting: Matcher<Key, Box<Transaction>>,
    early: usize,
}

struct Transaction {
    peers: Peers,
    session: Session,
    sides: [Assembly; 2],
}

/// The datagrams of one message.
#[derive(Default)]
struct Assembly {
    /// The capture time of the first waiting datagram.
    since: Option<Timestamp>,
    next: u16,
    early: BTreeMap<u16, Box<[u8]>>,
    /// Number of bytes of early datagrams.
    early_bytes: usize,
    /// Bytes that the session has not consumed.
    rest: Vec<u8>,
    /// Number of further bytes that the session does not need.
    skip: u64,
}

/// Memory of an early datagram in addition to its bytes, including its share of the tree's nodes.
const EARLY_OVERHEAD: usize = 2 * size_of::<(u16, Box<[u8]>)>();

impl Held for Transaction {
    fn held(&self) -> usize {
        let side = |side: &Assembly| side.early_bytes + side.early.len() * EARLY_OVERHEAD + side.rest.held();
        self.session.held() + self.sides.iter().map(side).sum::<usize>()
    }
}

impl Udp {
    pub fn new(plugin: Arc<Memcache>) -> Self {
        let timeout = plugin.options.udptransactiontimeout;
        let waiting = Matcher::new(Limits { items: MOST_WAITING, bytes: usize::MAX, timeout });
        Self { plugin, waiting, early: 0 }
    }

    pub fn on_datagram(&mut self, mut dir: Direction, data: &[u8], cx: &mut Context<'_>) {
        let Some((header, part)) = Header::read(data) else { return cx.count("malformed") };
        if header.number == 0 && super::first_sender(part) == Some(dir.reverse()) {
            cx.flip();
            dir = dir.reverse();
        }
        let key = (cx.peers().client, cx.peers().server, header.id);
        // A new request with the same id ends the old one.
        if dir == Direction::ToServer && header.number == 0 && self.waiting.get(&key).is_some_and(|t| t.sides[0].next > 0) {
            self.end(true, &key, cx);
        }
        if !self.waiting.contains(&key) {
            let session = Session::new(Arc::clone(&self.plugin), false);
            let new = Transaction { peers: cx.peers().clone(), session, sides: Default::default() };
            if let Some(old) = self.waiting.insert(key, Box::new(new), cx.now()) {
                self.finish(old, cx);
            }
        }
        let Some(mut transaction) = self.waiting.get_mut(&key) else { return };
        let (going, early) = transaction.take(dir, header, part, self.early, cx);
        self.early = early;
        let known = transaction.session.known;
        drop(transaction);
        if !going {
            self.end(known, &key, cx);
        }
        timers::arm(cx, self.waiting.due());
    }

    /// Reports requests whose time-out has passed.
    pub fn on_timer(&mut self, cx: &mut Context<'_>) {
        while let Some(transaction) = self.waiting.expired(cx.now()) {
            self.finish(transaction, cx);
        }
        timers::arm(cx, self.waiting.due());
    }

    /// Number of allocated bytes.
    pub fn held(&self) -> usize {
        self.waiting.held()
    }

    /// Reports the oldest waiting request; false if there is none.
    pub fn evict(&mut self, cx: &mut Context<'_>) -> bool {
        let transaction = self.waiting.pop();
        transaction.map(|transaction| self.finish(transaction, cx)).is_some()
    }

    /// Reports all waiting requests.
    pub fn on_end(&mut self, cx: &mut Context<'_>) {
        while let Some(transaction) = self.waiting.pop() {
            self.finish(transaction, cx);
        }
    }

    fn end(&mut self, known: bool, key: &Key, cx: &mut Context<'_>) {
        if !known {
            cx.count("malformed");
        }
        if let Some(transaction) = self.waiting.take(key) {
            self.finish(transaction, cx);
        }
    }

    fn finish(&mut self, mut transaction: Box<Transaction>, cx: &mut Context<'_>) {
        let early: usize = transaction.sides.iter().map(|side| side.early_bytes).sum();
        self.early = self.early.saturating_sub(early);
        let Transaction { peers, session, .. } = &mut *transaction;
        let now = cx.now();
        session.finish(&mut cx.about(peers, now));
    }
}

impl Transaction {
    /// Handles a datagram. `early` is the number of bytes kept of all early datagrams. Returns whether more is
    /// expected, and the new `early`.
    fn take(&mut self, dir: Direction, header: Header, part: &[u8], mut early: usize, cx: &mut Context<'_>) -> (bool, usize) {
        let Self { peers, session, sides } = self;
        let side = &mut sides[dir.index()];
        let since = *side.since.get_or_insert(cx.now());
        if header.number > side.next {
            if early.saturating_add(part.len()) <= MOST_EARLY && !side.early.contains_key(&header.number) {
                early += part.len();
                side.early_bytes += part.len();
                side.early.insert(header.number, part.into());
            } else {
                cx.count("dropped_datagrams");
            }
            return (true, early);
        }
        if header.number < side.next {
            return (true, early); // a duplicate
        }
        let mut going = side.feed(session, peers, dir, part, since, cx);
        side.next += 1; // The number is at most `total`, which is a `u16`.
        while let Some(part) = side.early.remove(&side.next) {
            early = early.saturating_sub(part.len());
            side.early_bytes = side.early_bytes.saturating_sub(part.len());
            going &= side.feed(session, peers, dir, &part, since, cx);
            side.next = side.next.saturating_add(1);
        }
        if side.next < header.total {
            return (going, early);
        }
        if dir == Direction::ToClient {
            // Several requests in a datagram are answered by several messages.
            early = early.saturating_sub(side.early_bytes);
            *side = Assembly::default();
        }
        let answered = session.pending.is_empty() && session.answers.message.command.is_empty();
        (going && !answered, early)
    }
}

impl Assembly {
    /// Passes the next in-order bytes to the session. Returns false if they are not memcache.
    fn feed(&mut self, to: &mut Session, peers: &mut Peers, dir: Direction, part: &[u8], since: Timestamp, cx: &mut Context<'_>) -> bool {
        let skip = usize::try_from(self.skip).unwrap_or(usize::MAX).min(part.len());
        self.skip -= skip as u64;
        let part = &part[skip..];
        if part.is_empty() {
            return true;
        }
        let mut joined;
        let data = if self.rest.is_empty() {
            part
        } else {
            joined = std::mem::take(&mut self.rest);
            joined.extend_from_slice(part);
            joined.as_slice()
        };
        let skipped = Skipped { seen: skip as u64, lost: 0 };
        let bytes = match to.on_data(dir, data, &mut cx.about(peers, since).with_skipped(skipped)) {
            Progress::Consumed { bytes, .. } => Some(bytes),
            Progress::Search { bytes, .. } => Some(bytes as u64),
            Progress::Done | Progress::GiveUp | Progress::HandOver { .. } => None,
        };
        match bytes {
            Some(bytes) => {
                let done = usize::try_from(bytes).unwrap_or(usize::MAX).min(data.len());
                self.skip = bytes - done as u64;
                self.rest = data[done..].to_vec();
                self.rest.len() <= MOST_REST
            }
            None => false,
        }
    }
}

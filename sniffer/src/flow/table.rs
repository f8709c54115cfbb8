//! The flow table of user space: packets and bytes of every conversation, on the packets' own time.
//!
//! A known flow costs one look-up and no allocation. The table is bounded: where there is no room for a new flow the one that has been
//! idle the longest is over. Directions that disagree about Ethernet addresses (asymmetric routes) are one flow; the same direction
//! with other addresses (a mirror port that sees both sides of a router) is another one, as it is in Packetbeat.

use super::{
    id::Key,
    report::{self, Reason},
    timer::{Expiry, Sweep},
};
use crate::{
    config::{self, Node},
    decode::{Layer4, Packet},
    net::{Count, FlowRecord, LastIcmp, MacPair},
    publish::{PublisherId, Sink},
    time::Timestamp,
};
use hashbrown::HashTable;
use serde::{Deserialize, Deserializer, de};
use std::{fmt, hash::BuildHasher, time::Duration};

/// Flows at the same time, per worker: some 60 MB. Packetbeat has no bound and grows with a port scan.
pub const MAX_FLOWS: usize = 1 << 18;
/// Flows that are over and wait for [`FlowTable::report`]; more are lost, and counted. The worker calls it long before.
const MAX_WAITING: usize = 1 << 14;
/// Flows looked at to find one that is idle when there is no room; after so many busy ones in a row it hits the next.
const MAX_CANDIDATES: usize = 16;

/// `packetbeat.flows`, but for what the publisher reads (`index`, `keep_null`, `fields`, `fields_under_root`, `tags`, `processors`).
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Options {
    /// Whether there are flows at all (the section being there).
    pub enabled: bool,
    /// A flow is over when nothing was seen of it for so long; at least 1 s.
    #[serde(with = "config::duration")]
    pub timeout: Duration,
    /// How often a flow is reported while it lasts, at least 1 s; `None` (`-1s`): only when it is over.
    #[serde(deserialize_with = "period")]
    pub period: Option<Duration>,
    /// Reports say what came since the last one, not since the start.
    pub enable_delta_flow_reports: bool,
    /// Ethernet addresses are not part of what makes a flow.
    pub allow_mismatched_eth: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            enabled: true,
            timeout: Duration::from_secs(30),
            period: Some(Duration::from_secs(10)),
            enable_delta_flow_reports: false,
            allow_mismatched_eth: false,
        }
    }
}

impl Options {
    /// Reads `packetbeat.flows`.
    ///
    /// # Errors
    /// When a value is of the wrong kind or out of its range.
    pub fn read(node: &Node) -> Result<Self, config::Error> {
        let options: Self = node.read()?;
        let second = Duration::from_secs(1);
        if options.timeout < second {
            return Err(node.error(format!("`timeout` is {:?}; it must be 1s or more", options.timeout)));
        }
        if let Some(period) = options.period.filter(|&p| p < second) {
            return Err(node.error(format!("`period` is {period:?}; it must be 1s or more, or -1s for reports at the end only")));
        }
        Ok(options)
    }
}

/// A duration, or `-1s`.
fn period<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    struct Period;
    impl de::Visitor<'_> for Period {
        type Value = Option<Duration>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration of 1s or more, or -1s for reports at the end only")
        }

        fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Self::Value, E> {
            match u64::try_from(seconds) {
                Ok(seconds) => self.visit_u64(seconds),
                Err(_) if seconds == -1 => Ok(None),
                Err(_) => Err(E::invalid_value(de::Unexpected::Signed(seconds), &self)),
            }
        }

        fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Self::Value, E> {
            Ok(Some(Duration::from_secs(seconds)))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            match text.trim() {
                "-1s" | "-1" => Ok(None),
                text => config::duration::deserialize(de::value::StrDeserializer::new(text)).map(Some),
            }
        }
    }
    deserializer.deserialize_any(Period)
}

/// A flow of the table.
struct Flow {
    hash: u64,
    record: FlowRecord,
    /// What the last report said.
    reported: [Count; 2],
}

impl Flow {
    #[inline]
    fn matches(&self, hash: u64, key: &Key) -> bool {
        self.hash == hash && self.record.key.bytes() == key.bytes()
    }

    #[inline]
    fn count(&mut self, packet: &Packet<'_>, direction: usize, macs: Option<MacPair>) {
        let icmp = match packet.layer4 {
            Layer4::Icmp(message) => Some(LastIcmp { v6: false, kind: message.kind, code: message.code }),
            Layer4::Icmp6(message) => Some(LastIcmp { v6: true, kind: message.kind, code: message.code }),
            _ => None,
        };
        let counted = Count { packets: 1, bytes: u64::from(packet.wire_len) };
        self.record.add(direction, counted, packet.time, macs, icmp);
    }
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    created: u64,
    expired: u64,
    evicted: u64,
    unreported: u64,
    reports: u64,
}

/// Counts every packet, and reports. One per worker.
pub struct FlowTable {
    options: Options,
    /// Nothing is over before the end.
    strict: bool,
    max: usize,
    hasher: foldhash::fast::RandomState,
    /// Places in `flows`.
    index: HashTable<u32>,
    flows: Vec<Option<Flow>>,
    free: Vec<u32>,
    expiry: Expiry,
    sweep: Option<Sweep>,
    /// Over, not yet reported.
    over: Vec<Flow>,
    counters: Counters,
}

impl FlowTable {
    /// An empty table. `strict`: a file is read as Packetbeat reads it, no flow expires and each is reported once, at the end.
    pub fn new(options: Options, strict: bool) -> Self {
        Self::with_room_for(options, strict, MAX_FLOWS)
    }

    pub(super) fn with_room_for(options: Options, strict: bool, max: usize) -> Self {
        let sweep = options.period.filter(|_| !strict).map(Sweep::new);
        Self {
            options,
            strict,
            max: max.max(1),
            hasher: foldhash::fast::RandomState::default(),
            index: HashTable::new(),
            flows: Vec::new(),
            free: Vec::new(),
            expiry: Expiry::default(),
            sweep,
            over: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Counts a packet. `connection`: its connection's number, for TCP on an analysed port. True when so many flows were driven out
    /// that [`FlowTable::report`] should be called soon, not only at the next tick.
    #[inline]
    pub fn packet(&mut self, packet: &Packet<'_>, connection: Option<u64>) -> bool {
        let has_ip = packet.ips.count() != 0;
        let macs = packet.macs.filter(|_| !(has_ip && self.options.allow_mismatched_eth)).map(|m| (m.source(), m.destination()));
        let key = Key::of(packet, connection, macs.is_some());
        let direction = usize::from(key.reversed);
        let hash = self.hasher.hash_one(key.bytes());
        let flow_at = |place: &u32| self.flows.get(*place as usize).and_then(Option::as_ref);
        let exact = |place: &u32| flow_at(place).is_some_and(|f| f.matches(hash, &key) && f.record.same_way(direction, macs));
        let place = match self.index.find(hash, exact) {
            Some(&place) => Some(place),
            // Asymmetric routes: the way back is another one, and nothing was seen of it yet.
            None => {
                let one_sided = |f: &Flow| f.matches(hash, &key) && f.record.macs.get(direction) == Some(&None);
                self.index.find(hash, |place| flow_at(place).is_some_and(one_sided)).copied()
            }
        };
        match place.and_then(|place| self.flows.get_mut(place as usize)) {
            Some(Some(flow)) => {
                if !self.strict && packet.time.since(flow.record.end) > nanos(self.options.timeout) {
                    // It was over before, only nobody came by to say so.
                    let fresh = begin(hash, &key, packet, macs);
                    let over = std::mem::replace(flow, fresh);
                    self.counters.created += 1;
                    self.counters.expired += 1;
                    self.wait(over);
                } else {
                    flow.count(packet, direction, macs);
                }
            }
            _ => self.insert(begin(hash, &key, packet, macs)),
        }
        self.over.len() >= MAX_WAITING / 2
    }

    #[inline(never)]
    fn insert(&mut self, flow: Flow) {
        self.counters.created += 1;
        if self.index.len() >= self.max {
            self.evict();
        }
        let (hash, due) = (flow.hash, flow.record.end.after(self.options.timeout));
        let place = match self.free.pop() {
            Some(place) => {
                if let Some(free) = self.flows.get_mut(place as usize) {
                    *free = Some(flow);
                }
                place
            }
            None => {
                self.flows.push(Some(flow));
                self.flows.len() as u32 - 1 // at most `max`
            }
        };
        let flows = &self.flows;
        let hash_of = |place: &u32| flows.get(*place as usize).and_then(Option::as_ref).map_or(0, |f| f.hash);
        self.index.insert_unique(hash, place, hash_of);
        self.expiry.push(due, place);
    }

    /// Takes a flow out, to be reported.
    fn remove(&mut self, place: u32) -> Option<Flow> {
        let flow = self.flows.get_mut(place as usize)?.take()?;
        if let Ok(entry) = self.index.find_entry(flow.hash, |&other| other == place) {
            entry.remove();
        }
        self.free.push(place);
        Some(flow)
    }

    /// Makes room: the flow that has been idle the longest is over.
    fn evict(&mut self) {
        for candidate in 0..MAX_CANDIDATES {
            let Some((due, place)) = self.expiry.pop() else { return };
            let Some(flow) = self.flows.get(place as usize).and_then(Option::as_ref) else { continue };
            let due_by_last_packet = flow.record.end.after(self.options.timeout);
            if due_by_last_packet > due && candidate + 1 < MAX_CANDIDATES {
                self.expiry.push(due_by_last_packet, place);
                continue;
            }
            self.counters.evicted += 1;
            if let Some(flow) = self.remove(place) {
                self.wait(flow);
            }
            return;
        }
    }

    fn wait(&mut self, flow: Flow) {
        if self.over.len() < MAX_WAITING {
            self.over.push(flow);
        } else {
            self.counters.unreported += 1;
        }
    }

    /// Reports what is due at `now`, the greatest packet time (or, where no packet comes, the clock's).
    pub fn report(&mut self, now: Timestamp, sink: &mut Sink, publisher: PublisherId) {
        let delta = self.options.enable_delta_flow_reports;
        for flow in std::mem::take(&mut self.over) {
            self.counters.reports += 1;
            report::emit(&flow.record, left_out(&flow, delta), Reason::Over, now, sink, publisher);
        }
        if self.strict {
            return;
        }
        while let Some(place) = self.expiry.pop_before(now) {
            let Some(flow) = self.flows.get(place as usize).and_then(Option::as_ref) else { continue };
            let due = flow.record.end.after(self.options.timeout);
            // Never due at the end of time: nothing can come after that.
            if due >= now {
                self.expiry.push(due, place);
            } else if let Some(flow) = self.remove(place) {
                self.counters.expired += 1;
                self.counters.reports += 1;
                report::emit(&flow.record, left_out(&flow, delta), Reason::Over, now, sink, publisher);
            }
        }
        let Some(sweep) = &mut self.sweep else { return };
        for range in sweep.due(now, self.flows.len()) {
            for flow in self.flows.get_mut(range).unwrap_or_default().iter_mut().flatten() {
                self.counters.reports += 1;
                report::emit(&flow.record, left_out(flow, delta), Reason::Period, now, sink, publisher);
                flow.reported = flow.record.counts;
            }
        }
    }

    /// Reports a flow that was counted elsewhere, with all that was counted. It is over at the `end` of the input, or when nothing was seen of it for the
    /// time-out; until then it is reported only where there are periodic reports.
    pub fn report_counted(&mut self, flow: &FlowRecord, end: bool, now: Timestamp, sink: &mut Sink, publisher: PublisherId) {
        let over = end || now.since(flow.end) > nanos(self.options.timeout);
        if over || self.options.period.is_some() {
            self.counters.reports += 1;
            let reason = if over { Reason::Over } else { Reason::Period };
            report::emit(flow, [Count::default(); 2], reason, now, sink, publisher);
        }
    }

    /// The end: every flow is reported, and is over.
    pub fn finish(&mut self, now: Timestamp, sink: &mut Sink, publisher: PublisherId) {
        let delta = self.options.enable_delta_flow_reports;
        self.index.clear();
        self.free.clear();
        self.expiry = Expiry::default();
        for flow in self.over.drain(..).chain(self.flows.drain(..).flatten()) {
            self.counters.reports += 1;
            report::emit(&flow.record, left_out(&flow, delta), Reason::Over, now, sink, publisher);
        }
    }

    /// How many flows there are at the moment.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Totals since the start, by name.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let c = &self.counters;
        [
            ("flows.active", self.index.len() as u64),
            ("flows.created", c.created),
            ("flows.expired", c.expired),
            ("flows.evicted", c.evicted),
            ("flows.unreported", c.unreported),
            ("flows.reports", c.reports),
        ]
        .into_iter()
    }
}

fn begin(hash: u64, key: &Key, packet: &Packet<'_>, macs: Option<MacPair>) -> Flow {
    let record = FlowRecord::new(key.to_stored(), key.reversed, packet.time);
    let mut flow = Flow { hash, record, reported: [Count::default(); 2] };
    flow.count(packet, usize::from(key.reversed), macs);
    flow
}

/// What a report leaves out: with `delta`, what the last one said.
fn left_out(flow: &Flow, delta: bool) -> [Count; 2] {
    if delta { flow.reported } else { [Count::default(); 2] }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

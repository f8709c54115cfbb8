//! The flow table of user space: counts the packets and bytes of every conversation, in packet time. Where the kernel
//! counts, it takes the kernel's counts and the packets that the kernel could not count.
//!
//! A packet of a known flow costs one lookup and no allocation. The table is bounded: when it is full, a flow that has
//! been idle for long is evicted and reported. The two directions of a flow may use different Ethernet addresses
//! (asymmetric routes). Packets of one direction with different Ethernet addresses (a mirror port that sees both sides
//! of a router) are different flows, as in Packetbeat.

use super::{
    counted::Counted,
    fragments::Fragments,
    id::Key,
    options::Options,
    report::{self, Due, Reason},
    timer::{Expiry, Sweep},
};
use crate::{
    decode::{Layer4, Packet},
    memory::{Kind, Share},
    net::{Count, FlowDelta, FlowRecord},
    publish::{PublisherId, Sink},
    time::Timestamp,
};
use hashbrown::HashTable;
use std::{hash::BuildHasher, time::Duration};

/// Maximum number of flows of a worker, if the worker's share of `memory.max` allows as many. Packetbeat has no limit and grows
/// during a port scan.
pub const MAX_FLOWS: usize = 1 << 18;
/// Maximum number of ended flows that wait for [`FlowTable::report`]. Further flows are lost and counted. The engine calls `report` before
/// this happens.
const MAX_ENDED: usize = 1 << 14;
/// Maximum number of flows examined to find an idle one to evict. If all were busy since their last check, the last one examined is
/// evicted.
const MAX_CANDIDATES: usize = 16;

/// At the end of the input, the time limit is checked again after this number of reported flows.
const FLOWS_PER_LOOK: usize = 256;

/// A flow of the table.
struct Flow {
    hash: u64,
    record: FlowRecord,
    /// The counts at the last report.
    reported: [Count; 2],
}

impl Flow {
    #[inline]
    fn matches(&self, hash: u64, key: &Key) -> bool {
        self.hash == hash && self.record.key.bytes() == key.bytes()
    }

    #[inline]
    fn count(&mut self, counted: &Counted, direction: usize) {
        self.record.add(direction, counted.count, counted.end, counted.macs, counted.icmp);
        self.record.start = self.record.start.min(counted.start);
    }
}

/// Maximum number of bytes that a flow takes, including its entries in the index and in the expiry
/// times and spare capacity.
const PER_FLOW: usize = size_of::<Option<Flow>>() * 5 / 4 + 48;

/// The names of packets and bytes by transport: TCP, UDP, SCTP, ICMP of both versions, and all others.
const TRANSPORTS: [(&str, &str); 5] = [
    ("flows.packets.tcp", "flows.bytes.tcp"),
    ("flows.packets.udp", "flows.bytes.udp"),
    ("flows.packets.sctp", "flows.bytes.sctp"),
    ("flows.packets.icmp", "flows.bytes.icmp"),
    ("flows.packets.other", "flows.bytes.other"),
];

/// Totals since the table was made.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    created: u64,
    expired: u64,
    evicted: u64,
    unreported: u64,
    reports: u64,
    /// Packets and bytes, in the order of [`TRANSPORTS`].
    traffic: [Count; TRANSPORTS.len()],
}

/// Counts every packet and reports flows. One per worker.
pub struct FlowTable {
    options: Options,
    /// No flow ends before the input ends (`packetbeat.compatibility: strict`).
    strict: bool,
    /// Maximum delay of the kernel's counts, see [`FlowTable::set_lag`].
    lag: Duration,
    max_flows: usize,
    hasher: foldhash::fast::RandomState,
    /// Indices into `flows`, by the hash of the key.
    index: HashTable<u32>,
    flows: Vec<Option<Flow>>,
    /// Indices of the empty entries of `flows`.
    free_places: Vec<u32>,
    /// The times at which flows are checked for the time-out.
    expiry: Expiry,
    /// Which flows are due for a periodic report; `None` if flows are reported only when they end.
    sweep: Option<Sweep>,
    /// Flows that ended and were not reported yet.
    ended: Vec<Flow>,
    share: Share,
    /// Fragments of datagrams that are not complete.
    fragments: Fragments,
    counters: Counters,
}

impl FlowTable {
    /// Makes an empty table. With `strict` a file is read as Packetbeat reads it: no flow expires, and each is reported
    /// once, at the end.
    pub fn new(options: Options, strict: bool) -> Self {
        Self::with_room_for(options, strict, MAX_FLOWS)
    }

    /// Like [`FlowTable::new`], with at most [`MAX_FLOWS`] flows that fit into the part of `share`
    /// for flows.
    pub fn with_share(options: Options, strict: bool, share: &Share) -> Self {
        let most = MAX_FLOWS.min(share.flows() / PER_FLOW);
        Self { share: share.clone(), ..Self::with_room_for(options, strict, most) }
    }

    /// Bytes allocated for flows.
    pub fn held(&self) -> usize {
        let entries = self.flows.capacity() * size_of::<Option<Flow>>() + self.ended.capacity() * size_of::<Flow>();
        entries + self.index.allocation_size() + self.free_places.capacity() * size_of::<u32>() + self.expiry.held() + self.fragments.held()
    }

    pub(super) fn with_room_for(options: Options, strict: bool, max_flows: usize) -> Self {
        let sweep = options.period.filter(|_| !strict).map(Sweep::new);
        Self {
            options,
            strict,
            lag: Duration::ZERO,
            max_flows: max_flows.max(1),
            hasher: foldhash::fast::RandomState::default(),
            index: HashTable::new(),
            flows: Vec::new(),
            free_places: Vec::new(),
            expiry: Expiry::default(),
            sweep,
            ended: Vec::new(),
            share: Share::default(),
            fragments: Fragments::default(),
            counters: Counters::default(),
        }
    }

    /// Counts a packet. `connection` is the number of its connection, for TCP on an analysed port. Returns true if so
    /// many flows have ended that [`FlowTable::report`] should be called now instead of at the next tick.
    #[inline]
    pub fn packet(&mut self, packet: &Packet<'_>, connection: Option<u64>) -> bool {
        let has_ip = packet.ips.count() != 0;
        let macs = packet.macs.filter(|_| !(has_ip && self.options.allow_mismatched_eth)).map(|m| (m.source(), m.destination()));
        let mut counted = Counted::of(packet, macs);
        if let Some(fragment) = packet.fragment {
            let earlier = Key::of_fragment(packet, None, macs.is_some());
            if matches!(packet.layer4, Layer4::Fragment) {
                let key = fragment.ports.map(|ports| Key::of_fragment(packet, Some(ports), macs.is_some()));
                if let Some((key, counted)) = self.fragments.keep(earlier, fragment.id, key, &counted) {
                    self.add(&key, &counted);
                }
                return self.ended.len() >= MAX_ENDED / 2;
            }
            // The datagram is complete: its flow is known.
            self.fragments.take(&earlier, fragment.id, &mut counted);
        }
        self.add(&Key::of(packet, connection, macs.is_some()), &counted);
        self.ended.len() >= MAX_ENDED / 2
    }

    /// Adds `delta` to the flow with this key.
    #[inline]
    fn add(&mut self, key: &Key, counted: &Counted) {
        if let Some(traffic) = self.counters.traffic.get_mut(key.transport(counted.icmp.is_some())) {
            traffic.packets += counted.count.packets;
            traffic.bytes += counted.count.bytes;
        }
        let macs = counted.macs;
        let direction = usize::from(key.reversed);
        let hash = self.hasher.hash_one(key.bytes());
        let flow_at = |place: &u32| self.flows.get(*place as usize).and_then(Option::as_ref);
        let exact = |place: &u32| flow_at(place).is_some_and(|f| f.matches(hash, key) && f.record.same_route(direction, macs));
        let place = match self.index.find(hash, exact) {
            Some(&place) => Some(place),
            // With asymmetric routes the reverse direction has other Ethernet addresses: take the flow of which no
            // packet of this direction was seen.
            None => {
                let one_sided = |f: &Flow| f.matches(hash, key) && f.record.macs.get(direction) == Some(&None);
                self.index.find(hash, |place| flow_at(place).is_some_and(one_sided)).copied()
            }
        };
        match place.and_then(|place| self.flows.get_mut(place as usize)) {
            Some(Some(flow)) => {
                if !self.strict && counted.start.since(flow.record.end) > nanos(self.options.timeout) {
                    // The flow had timed out before this packet, and `report` was not called in between.
                    let fresh = begin(hash, key, counted);
                    let expired = std::mem::replace(flow, fresh);
                    self.counters.created += 1;
                    self.counters.expired += 1;
                    self.report_later(expired);
                } else {
                    flow.count(counted, direction);
                }
            }
            _ => self.insert(begin(hash, key, counted)),
        }
    }

    #[inline(never)]
    fn insert(&mut self, flow: Flow) {
        self.counters.created += 1;
        if self.index.len() >= self.max_flows {
            self.evict();
        }
        let (hash, due) = (flow.hash, flow.record.end.after(self.options.timeout));
        let place = match self.free_places.pop() {
            Some(place) => {
                if let Some(empty) = self.flows.get_mut(place as usize) {
                    *empty = Some(flow);
                }
                place
            }
            None => {
                if self.flows.len() == self.flows.capacity() {
                    // The capacity grows by a quarter instead of doubling, because the table is a
                    // large part of the worker's memory.
                    self.flows.reserve_exact((self.flows.len() / 4).max(64).min(self.max_flows));
                }
                self.flows.push(Some(flow));
                self.flows.len() as u32 - 1 // below `max_flows`
            }
        };
        let flows = &self.flows;
        let hash_of = |place: &u32| flows.get(*place as usize).and_then(Option::as_ref).map_or(0, |f| f.hash);
        self.index.insert_unique(hash, place, hash_of);
        self.expiry.push(due, place);
    }

    /// Removes a flow from the table.
    fn remove(&mut self, place: u32) -> Option<Flow> {
        let flow = self.flows.get_mut(place as usize)?.take()?;
        if let Ok(entry) = self.index.find_entry(flow.hash, |&other| other == place) {
            entry.remove();
        }
        self.free_places.push(place);
        Some(flow)
    }

    /// Evicts the flow that has been idle for the longest time among at most `MAX_CANDIDATES`
    /// examined flows.
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
            self.share.warn_once(Kind::Flow);
            if let Some(flow) = self.remove(place) {
                self.report_later(flow);
            }
            return;
        }
    }

    fn report_later(&mut self, flow: Flow) {
        if self.ended.len() < MAX_ENDED {
            self.ended.push(flow);
        } else {
            self.counters.unreported += 1;
        }
    }

    /// Reports the flows that are due at `now`, which is the greatest packet time, or the clock's time while no packet arrives.
    pub fn report(&mut self, now: Timestamp, sink: &mut Sink, publisher: PublisherId) {
        let (delta, processes) = (self.options.enable_delta_flow_reports, self.options.processes);
        let due = |reason| Due { reason, now, publisher, processes };
        while let Some((key, counted)) = self.fragments.expired(now) {
            self.add(&key, &counted);
        }
        for flow in std::mem::take(&mut self.ended) {
            self.counters.reports += 1;
            report::emit(&flow.record, subtracted(&flow, delta), due(Reason::Ended), sink);
        }
        if self.strict {
            return;
        }
        let known_until = Timestamp(now.0.saturating_sub(nanos(self.lag)));
        while let Some(place) = self.expiry.pop_before(known_until) {
            let Some(flow) = self.flows.get(place as usize).and_then(Option::as_ref) else { continue };
            let expires = flow.record.end.after(self.options.timeout);
            // `>=` ensures that no flow is due at the greatest possible time, at which no later packet can arrive.
            if expires >= known_until {
                self.expiry.push(expires, place);
            } else if let Some(flow) = self.remove(place) {
                self.counters.expired += 1;
                self.counters.reports += 1;
                report::emit(&flow.record, subtracted(&flow, delta), due(Reason::Ended), sink);
            }
        }
        let Some(sweep) = &mut self.sweep else { return };
        for range in sweep.due(now, self.flows.len()) {
            for flow in self.flows.get_mut(range).unwrap_or_default().iter_mut().flatten() {
                self.counters.reports += 1;
                report::emit(&flow.record, subtracted(flow, delta), due(Reason::Period), sink);
                flow.reported = flow.record.counts;
            }
        }
    }

    /// Adds the kernel's counts of a flow. Returns the same as [`FlowTable::packet`].
    pub fn add_delta(&mut self, delta: &FlowDelta) -> bool {
        let FlowDelta { count, start, end, macs, icmp, .. } = *delta;
        self.add(&Key::of_delta(delta), &Counted { count, start, end, macs, icmp });
        self.ended.len() >= MAX_ENDED / 2
    }

    /// Sets the maximum delay of counts. If the kernel counts, its table is read only at intervals, so a flow expires
    /// `lag` after its time-out.
    pub fn set_lag(&mut self, lag: Duration) {
        self.lag = lag;
    }

    /// Reports every flow for the last time, at the end of the input or before a step of the packet time, and empties
    /// the table. Calls `goes_on` after every `FLOWS_PER_LOOK` flows; once that returns false, the remaining flows are
    /// counted but not reported.
    pub fn finish(&mut self, now: Timestamp, sink: &mut Sink, publisher: PublisherId, goes_on: &mut dyn FnMut() -> bool) {
        let (delta, processes) = (self.options.enable_delta_flow_reports, self.options.processes);
        let due = |reason| Due { reason, now, publisher, processes };
        while let Some((key, counted)) = self.fragments.pop() {
            self.add(&key, &counted);
        }
        self.index.clear();
        self.free_places.clear();
        self.expiry = Expiry::default();
        if let Some(sweep) = &mut self.sweep {
            sweep.restart();
        }
        let mut over = false;
        for (place, flow) in self.ended.drain(..).chain(self.flows.drain(..).flatten()).enumerate() {
            over = over || place % FLOWS_PER_LOOK == 0 && !goes_on();
            if over {
                self.counters.unreported += 1;
                continue;
            }
            self.counters.reports += 1;
            report::emit(&flow.record, subtracted(&flow, delta), due(Reason::Ended), sink);
        }
    }

    /// Number of flows in the table.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Totals since start, by name.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let c = &self.counters;
        let traffic = TRANSPORTS.iter().zip(&c.traffic).flat_map(|(names, count)| [(names.0, count.packets), (names.1, count.bytes)]);
        [
            ("flows.active", self.index.len() as u64),
            ("flows.created", c.created),
            ("flows.expired", c.expired),
            ("flows.evicted", c.evicted),
            ("flows.unreported", c.unreported),
            ("flows.reports", c.reports),
        ]
        .into_iter()
        // A transport without packets has no counters.
        .chain(traffic.filter(|(_, count)| *count > 0))
    }
}

fn begin(hash: u64, key: &Key, counted: &Counted) -> Flow {
    let record = FlowRecord::new(key.to_stored(), key.reversed, counted.start);
    let mut flow = Flow { hash, record, reported: [Count::default(); 2] };
    flow.count(counted, usize::from(key.reversed));
    flow
}

/// The counts that a report subtracts: those of the last report with `delta`, otherwise 0.
fn subtracted(flow: &Flow, delta: bool) -> [Count; 2] {
    if delta { flow.reported } else { [Count::default(); 2] }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

//! Reads the flow table of the kernel and deletes idle flows from the table. A pass over the table starts every second.
//! It is divided into parts, each short enough for a worker to do between two polls. Flows are reported in user space,
//! so the kernel's table needs room only for the flows that had packets in the last seconds.

use super::sys;
use crate::{
    net::{Count, FlowDelta, LastIcmp, MacPair, Transport, Vlans},
    time::Timestamp,
};
use sniffer_common::flow::{FlowKey, FlowSide, FlowValue, icmp, key_flag};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
    time::{Duration, Instant},
};
use zerocopy::IntoBytes;

/// Interval between the starts of two passes over the table.
const PASS_EVERY: Duration = Duration::from_secs(1);
/// Maximum number of entries that a call reads, except at the end.
const PART: usize = 2048;
/// A flow is deleted when it has been idle for the idle time of the programs plus this margin, in nanoseconds. By then
/// every program that found the flow when it was not idle yet has ended.
const MARGIN_NS: u64 = 500_000_000;
/// Maximum number of deltas that wait for a worker. If more flows have changed, they are read again in the next pass.
const MAX_WAITING: usize = 1 << 16;

/// Maximum time from the moment when the kernel counts a packet until the packet is in the deltas: two intervals between passes, and the
/// duration of one pass.
pub const LAG: Duration = Duration::from_millis(2500);

/// The flow table of the kernel, shared by the workers of an interface.
pub(super) struct KernelFlows {
    pass: Mutex<Pass>,
    /// The deltas for each worker.
    waiting: Vec<Mutex<Vec<FlowDelta>>>,
}

/// The state of the passes over the table.
struct Pass {
    map: OwnedFd,
    /// Idle time after which programs no longer change a flow, in nanoseconds.
    idle: u64,
    /// Where the next part begins; `None` between two passes.
    cursor: Option<u32>,
    next: Instant,
    /// The values that were handed over, by key.
    known: HashMap<FlowKey, Known, foldhash::fast::RandomState>,
    keys: Vec<FlowKey>,
    values: Vec<FlowValue>,
}

/// The counts of a flow that were already handed over.
#[derive(Clone, Copy, Default)]
struct Known {
    counts: [Count; 2],
    last: u64,
}

impl KernelFlows {
    /// Makes the reader of the flow table. `map` is the map `FLOWS`; `idle` is the idle time after which the programs no longer change a
    /// flow.
    pub fn new(map: OwnedFd, idle: Duration, workers: usize) -> Self {
        let pass = Pass {
            map,
            idle: u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX),
            cursor: None,
            next: Instant::now() + PASS_EVERY,
            known: HashMap::default(),
            keys: vec![FlowKey::default(); PART],
            values: vec![FlowValue::default(); PART],
        };
        Self { pass: Mutex::new(pass), waiting: (0..workers).map(|_| Mutex::default()).collect() }
    }

    /// Hands over the deltas of a worker, see [`crate::capture::control::Control::drain_flows`].
    pub fn drain(&self, worker: usize, end: bool, each: &mut dyn FnMut(&FlowDelta)) -> io::Result<()> {
        if end {
            let mut pass = lock(&self.pass);
            pass.cursor = None;
            while self.part(&mut pass)? {}
        } else {
            // If another worker is reading the table, this one has nothing to do.
            let pass = match self.pass.try_lock() {
                Ok(pass) => Some(pass),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
            if let Some(mut pass) = pass
                && (pass.cursor.is_some() || Instant::now() >= pass.next)
            {
                self.part(&mut pass)?;
            }
        }
        let deltas = self.waiting.get(worker).map(|waiting| std::mem::take(&mut *lock(waiting)));
        deltas.iter().flatten().for_each(each);
        Ok(())
    }

    /// Reads a part of the table. Returns whether there is more.
    fn part(&self, pass: &mut Pass) -> io::Result<bool> {
        if pass.cursor.is_none() {
            pass.next = Instant::now() + PASS_EVERY;
        }
        let (count, next) = loop {
            match sys::lookup_batch(pass.map.as_fd(), pass.cursor, &mut pass.keys, &mut pass.values) {
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && pass.keys.len() < PART << 8 => {
                    let room = pass.keys.len() * 2;
                    pass.keys.resize(room, FlowKey::default());
                    pass.values.resize(room, FlowValue::default());
                }
                Err(error) => {
                    pass.cursor = None;
                    return Err(error);
                }
                Ok(read) => break read,
            }
        };
        pass.cursor = next;
        let (now, to_wall) = (sys::boot_time(), sys::boot_to_wall());
        let Pass { map, idle, known, keys, values, .. } = pass;
        for (key, value) in keys.iter().zip(&*values).take(count) {
            let Some(waiting) = self.waiting.get(value.worker as usize) else { continue };
            let mut waiting = lock(waiting);
            if waiting.len() >= MAX_WAITING {
                continue;
            }
            let before = known.get(key).copied();
            let counts = value.sides.map(|side| Count { packets: side.packets, bytes: side.bytes });
            if before.is_none_or(|before| before.counts != counts) {
                waiting.extend(deltas(key, value, before.unwrap_or(Known { last: value.first, ..Known::default() }), to_wall));
                known.insert(*key, Known { counts, last: value.last });
            }
            if now.saturating_sub(value.last) > *idle + MARGIN_NS {
                sys::delete(map.as_fd(), key)?;
                known.remove(key);
            }
        }
        Ok(next.is_some())
    }
}

/// The packets counted since `before`. The first element belongs to the end that sent the first packet of the flow.
fn deltas(key: &FlowKey, value: &FlowValue, before: Known, to_wall: u64) -> impl Iterator<Item = FlowDelta> {
    let opener = usize::from(value.opener != 0);
    let wall = |boot: u64| Timestamp(boot.wrapping_add(to_wall));
    let (start, end) = (wall(before.last.min(value.last)), wall(value.last));
    let key = *key;
    let sides = [opener, 1 - opener].map(|side| (side, value.sides.get(side).copied(), before.counts.get(side).copied()));
    sides.into_iter().filter_map(move |(side, now, before)| {
        let (now, before) = (now?, before?);
        let count = Count { packets: now.packets.saturating_sub(before.packets), bytes: now.bytes.saturating_sub(before.bytes) };
        (count.packets > 0).then(|| delta(&key, side, &now, count, start, end))
    })
}

fn delta(key: &FlowKey, side: usize, of: &FlowSide, count: Count, start: Timestamp, end: Timestamp) -> FlowDelta {
    let turned = |[first, second]: [IpAddr; 2]| if side == 0 { (first, second) } else { (second, first) };
    let (source, destination) = turned(key.addresses.map(|address| ip(address, key.version)));
    let [first, second] = key.ports.map(u16::from_be);
    let (from, to) = if side == 0 { (first, second) } else { (second, first) };
    let transport = [Transport::Tcp, Transport::Udp, Transport::Sctp].into_iter().find(|transport| transport.number() == key.transport);
    let [outer, inner] = key.vlans;
    FlowDelta {
        vlans: Vlans { count: key.vlan_count, outer, inner },
        source,
        destination,
        ports: transport.map(|transport| (transport, from, to)),
        connection: (key.flags & key_flag::CONNECTION != 0).then_some(key.connection),
        macs: (key.flags & key_flag::ETHERNET != 0).then(|| macs(of.macs)),
        icmp: last_icmp(of.icmp),
        count,
        start,
        end,
    }
}

fn ip(address: [u32; 4], version: u8) -> IpAddr {
    let [first, ..] = address;
    if version == 4 {
        return IpAddr::V4(Ipv4Addr::from(first.to_ne_bytes()));
    }
    let mut octets = [0; 16];
    octets.copy_from_slice(address.as_bytes());
    IpAddr::V6(Ipv6Addr::from(octets))
}

fn macs(words: [u32; 3]) -> MacPair {
    let (mut destination, mut source) = ([0; 6], [0; 6]);
    if let Some((first, second)) = words.as_bytes().split_at_checked(6) {
        destination.copy_from_slice(first);
        source.copy_from_slice(second);
    }
    (source, destination)
}

fn last_icmp(word: u32) -> Option<LastIcmp> {
    let [code, kind, ..] = word.to_le_bytes();
    (word & icmp::SEEN != 0).then_some(LastIcmp { v6: word & icmp::V6 != 0, kind, code })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock is usable: at worst some deltas are handed over late.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

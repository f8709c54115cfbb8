//! Enters verdicts in the map of shunts, and removes the entries of connections that have been silent.

use super::sys;
use crate::{
    net::{FlowKey, Shunted, Transport, Verdict},
    time::Timestamp,
};
use sniffer_common::shunt::{ENTRIES, IDLE_NS, Range, Shunt, ShuntKey, is_greater, range};
use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, PoisonError},
};

/// Number of entries whose age a call examines, in addition to one for each verdict.
const EXAMINED: usize = 64;
/// Length of the list of times at which the times of removed entries are deleted from it.
const MAX_TIMES: usize = 2 * ENTRIES as usize;

/// The map of shunts, shared by the workers of an interface.
pub(super) struct Shunts {
    /// The map `SHUNTS`.
    map: OwnedFd,
    /// The map `SHUNTED`, which tells the programs whether there are entries.
    shunted: OwnedFd,
    entries: Mutex<Entries>,
}

/// The entries of the map.
#[derive(Default)]
struct Entries {
    /// When each entry is to be examined next (`CLOCK_BOOTTIME` in nanoseconds).
    due: HashMap<ShuntKey, u64, foldhash::fast::RandomState>,
    /// The times of `due` in ascending order. The list also has times of entries that were removed.
    times: VecDeque<(u64, ShuntKey)>,
}

impl Entries {
    /// Sets when an entry is to be examined next.
    fn examine_at(&mut self, due: u64, key: ShuntKey) {
        self.due.insert(key, due);
        self.times.push_back((due, key));
        if self.times.len() > MAX_TIMES {
            let known = &self.due;
            self.times.retain(|(due, key)| known.get(key) == Some(due));
        }
    }

    /// An entry whose time to be examined has come at `now`.
    fn next(&mut self, now: u64) -> Option<ShuntKey> {
        while let Some((due, key)) = self.times.pop_front_if(|(due, _)| *due <= now) {
            if self.due.get(&key) == Some(&due) {
                return Some(key);
            }
        }
        None
    }
}

impl Shunts {
    pub fn new(map: OwnedFd, shunted: OwnedFd) -> Self {
        Self { map, shunted, entries: Mutex::default() }
    }

    /// Enters verdicts. Returns how many could not be entered: the connection is in a tunnel, there are too many entries, or the
    /// kernel refused.
    pub fn apply(&self, verdicts: &[(FlowKey, Verdict)]) -> usize {
        // A poisoned lock is usable: at worst an entry is examined one more time than necessary.
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = sys::boot_time();
        let none_before = entries.due.is_empty();
        self.remove_silent(&mut entries, now, verdicts.len() + EXAMINED);
        let refused = verdicts.iter().filter(|(key, verdict)| !self.enter(&mut entries, key, verdict, now).unwrap_or(false)).count();
        if entries.due.is_empty() != none_before
            && let Err(error) = sys::set(self.shunted.as_fd(), &0_u32, &u32::from(!entries.due.is_empty()))
        {
            log::debug!("map SHUNTED: {error}");
        }
        refused
    }

    /// See [`crate::capture::control::Control::shunted`].
    pub fn shunted(&self, key: &FlowKey) -> Option<Shunted> {
        let (key, swapped) = shunt_key(key)?;
        let shunt: Shunt = sys::lookup(self.map.as_fd(), &key).ok()??;
        let mut at = shunt.ranges.map(|of| (of.kind == range::OPEN).then_some(of.from));
        if swapped {
            at.reverse();
        }
        Some(Shunted { last: Timestamp(shunt.last.wrapping_add(sys::boot_to_wall())), at })
    }

    /// Enters a verdict. Returns false if that is not possible.
    fn enter(&self, entries: &mut Entries, key: &FlowKey, verdict: &Verdict, now: u64) -> io::Result<bool> {
        let Some((key, swapped)) = shunt_key(key) else { return Ok(false) };
        let before = match verdict {
            Verdict::Lift => {
                if entries.due.remove(&key).is_some() {
                    sys::delete(self.map.as_fd(), &key)?;
                }
                return Ok(true);
            }
            Verdict::Shunt { .. } => None,
            Verdict::Skip { .. } => sys::lookup(self.map.as_fd(), &key)?,
        };
        let mut shunt = Shunt { last: now, ..before.unwrap_or_default() };
        let side = |end: usize| if swapped { 1 - end.min(1) } else { end };
        match *verdict {
            Verdict::Shunt { at } => {
                for (end, at) in at.into_iter().enumerate() {
                    if let (Some(at), Some(range)) = (at, shunt.ranges.get_mut(side(end))) {
                        *range = Range { kind: range::OPEN, from: at, until: 0 };
                    }
                }
            }
            Verdict::Skip { sender, from, until } => {
                if let Some(range) = shunt.ranges.get_mut(side(sender)) {
                    *range = Range { kind: range::CLOSED, from, until };
                }
            }
            Verdict::Lift => {}
        }
        let is_new = !entries.due.contains_key(&key);
        if is_new && entries.due.len() >= ENTRIES as usize {
            return Ok(false);
        }
        sys::set(self.map.as_fd(), &key, &shunt)?;
        if is_new {
            entries.examine_at(now.saturating_add(IDLE_NS), key);
        }
        Ok(true)
    }

    /// Examines at most `most` entries, and removes those that have been silent for [`IDLE_NS`].
    fn remove_silent(&self, entries: &mut Entries, now: u64, most: usize) {
        for _ in 0..most {
            let Some(key) = entries.next(now) else { return };
            let shunt = sys::lookup::<_, Shunt>(self.map.as_fd(), &key).ok().flatten();
            if shunt.is_some_and(|shunt| now.saturating_sub(shunt.last) <= IDLE_NS) {
                entries.examine_at(now.saturating_add(IDLE_NS), key);
                continue;
            }
            if let Err(error) = sys::delete(self.map.as_fd(), &key) {
                log::debug!("map SHUNTS: {error}");
            }
            entries.due.remove(&key);
        }
    }
}

/// The key of a connection in the map, and whether its ends are in the other order there. `None` if the programs cannot
/// find the connection, because they do not look into tunnels.
fn shunt_key(key: &FlowKey) -> Option<(ShuntKey, bool)> {
    if key.transport != Transport::Tcp || key.realm.is_tunnelled() {
        return None;
    }
    let words = |end: SocketAddr| match end.ip() {
        IpAddr::V4(ip) => [u32::from_ne_bytes(ip.octets()), 0, 0, 0],
        IpAddr::V6(ip) => zerocopy::transmute!(ip.octets()),
    };
    let [a, b] = key.ends.map(|end| (words(end), end.port().to_be()));
    let swapped = is_greater(&a.0, a.1, &b.0, b.1);
    let [low, high] = if swapped { [b, a] } else { [a, b] };
    let vlans = key.realm.vlans;
    let [first, _] = key.ends;
    let key = ShuntKey {
        addresses: [low.0, high.0],
        ports: [low.1, high.1],
        vlans: [vlans.outer, vlans.inner],
        vlan_count: vlans.count.into(),
        version: if first.is_ipv4() { 4 } else { 6 },
    };
    Some((key, swapped))
}

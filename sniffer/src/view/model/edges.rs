//! Edges: which client calls which service.

use super::{
    record,
    stats::{Counted, Range, Stats},
};
use crate::{process::Process, publish::observer::Transaction, time::Timestamp};
use hashbrown::HashMap;
use std::{net::IpAddr, sync::Arc, time::Duration};

/// Maximum number of edges. Further ones are counted together, see [`Edges::rest`].
pub const MOST_EDGES: usize = 10_000;

/// The calls of one client to one service.
#[derive(Clone, Debug)]
pub struct Edge {
    /// The address of the client.
    pub client: Option<IpAddr>,
    /// The process of the client, if it runs on this host.
    pub process: Option<Arc<Process>>,
    /// The place of the service in [`super::services::Services::list`].
    pub service: usize,
    counts: Counts,
}

/// An edge counts less than [`Stats`], because there are many edges.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    count: u64,
    errors: u64,
    /// The present minute of the clock and the one before it, and their counts.
    minute: u64,
    minutes: [u64; 2],
}

impl Edge {
    /// All transactions.
    pub fn count(&self) -> u64 {
        self.counts.count
    }

    /// The transactions whose status is not `OK`.
    pub fn errors(&self) -> u64 {
        self.counts.errors
    }

    /// Transactions per second: since the start, or in the present minute and the one before it. `covered`: the time since the start.
    pub fn rate(&self, range: Range, now: Timestamp, covered: Duration) -> f64 {
        let covered = covered.as_secs_f64().max(1.0);
        let (minute, second) = (now.0 / 60_000_000_000, now.0 % 60_000_000_000);
        match range {
            Range::All => self.counts.count as f64 / covered,
            Range::Minutes => {
                let sum: u64 = match minute.checked_sub(self.counts.minute) {
                    Some(0) | None => self.counts.minutes.iter().sum(),
                    Some(1) => self.counts.minutes.first().copied().unwrap_or(0),
                    Some(_) => 0,
                };
                sum as f64 / (60.0 + second as f64 / 1e9).min(covered)
            }
        }
    }
}

impl Counts {
    fn add(&mut self, of: &Counted) {
        self.count += 1;
        self.errors += u64::from(of.is_error);
        let minute = of.time.0 / 60_000_000_000;
        if minute > self.minute {
            let [present, _] = self.minutes;
            self.minutes = [0, if minute == self.minute + 1 { present } else { 0 }];
            self.minute = minute;
        }
        let [present, before] = &mut self.minutes;
        match self.minute - minute {
            0 => *present += 1,
            1 => *before += 1,
            _ => {}
        }
    }
}

/// The edges.
#[derive(Clone, Debug, Default)]
pub struct Edges {
    list: Vec<Edge>,
    /// The place in `list` by client address, process id (0 if it is not known) and service.
    index: HashMap<(Option<IpAddr>, u32, usize), usize>,
    rest: Option<Box<Stats>>,
}

impl Edges {
    /// All edges within the limit.
    pub fn list(&self) -> &[Edge] {
        &self.list
    }

    /// The counts of the edges beyond the limit.
    pub fn rest(&self) -> Option<&Stats> {
        self.rest.as_deref()
    }

    /// Counts a transaction of a service.
    pub fn add(&mut self, of: &Transaction<'_>, counted: &Counted, service: usize) {
        let (client, process) = record::client(of);
        let client = client.map(|socket| socket.ip());
        let key = (client, process.map_or(0, |process| process.pid), service);
        let place = match self.index.get(&key) {
            Some(place) => *place,
            None if self.list.len() < MOST_EDGES => {
                self.index.insert(key, self.list.len());
                self.list.push(Edge { client, process: process.cloned(), service, counts: Counts::default() });
                self.list.len() - 1
            }
            None => return self.rest.get_or_insert_default().add(counted),
        };
        if let Some(edge) = self.list.get_mut(place) {
            edge.counts.add(counted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::{TIME, transaction};
    use std::net::SocketAddr;

    #[test]
    fn clients_are_told_apart_and_limited() {
        let mut edges = Edges::default();
        let mut add = |index: usize, service: usize| {
            let source = Some(SocketAddr::from(([10, 0, (index >> 8) as u8, index as u8], 1)));
            let counted = Counted { time: TIME, is_error: index == 1, ..Counted::default() };
            edges.add(&Transaction { source, ..transaction() }, &counted, service);
        };
        (0..MOST_EDGES + 3).for_each(|index| add(index, 0));
        add(1, 0);
        add(1, 1);
        assert_eq!((edges.list().len(), edges.rest().unwrap().all().count), (MOST_EDGES, 4));
        assert_eq!((edges.list()[1].count(), edges.list()[1].errors()), (2, 2));
    }

    #[test]
    fn the_rate_is_that_of_the_last_minutes() {
        let mut edges = Edges::default();
        let minute = TIME.0 / 60_000_000_000;
        let at = |minute: u64, second: u64| Timestamp((minute * 60 + second) * 1_000_000_000);
        for (minute, count) in [(minute, 600), (minute + 1, 60), (minute + 2, 30), (minute + 1, 30)] {
            (0..count).for_each(|_| edges.add(&transaction(), &Counted { time: at(minute, 0), ..Counted::default() }, 0));
        }
        let (edge, hour) = (&edges.list()[0], Duration::from_secs(3600));
        assert_eq!(edge.rate(Range::Minutes, at(minute + 2, 30), hour), 120.0 / 90.0);
        assert_eq!(edge.rate(Range::Minutes, at(minute + 3, 0), hour), 0.5);
        assert_eq!(edge.rate(Range::Minutes, at(minute + 9, 0), hour), 0.0);
        assert_eq!(edge.rate(Range::All, at(minute + 9, 0), hour), 0.2);
    }
}

//! [`Tally`]: counts of all transactions since the start, shown or not, for the summary at the end.

use super::row::{Outcome, Row};
use crate::{time::Timestamp, view::histogram::Histogram};

/// Number of slow transactions that are kept.
const SLOWEST: usize = 5;
/// Maximum number of protocols that are counted apart. Processors can change the name of a protocol; further names are counted together.
const MOST_PROTOCOLS: usize = 64;

/// What was counted of one protocol.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// The name of the protocol; `flow` for flows.
    pub protocol: String,
    /// Number of transactions.
    pub count: u64,
    /// Number of those that are errors.
    pub errors: u64,
    /// The durations of those that have one.
    pub durations: Histogram,
    /// The longest duration in nanoseconds.
    pub longest: u64,
}

/// Counts of transactions.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// One entry for each protocol, in the order of their first transactions.
    pub protocols: Vec<Counted>,
    /// The slowest transactions, the slowest first.
    pub slowest: Vec<Row>,
    /// The times of the first and of the last transaction.
    pub period: Option<(Timestamp, Timestamp)>,
}

impl Tally {
    /// Counts a transaction or a flow.
    pub fn add(&mut self, row: &Row) {
        let counted = self.of(row.protocol());
        counted.count += 1;
        counted.errors += u64::from(row.outcome == Outcome::Error);
        if let Some(duration) = row.duration {
            let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
            counted.durations.record(nanos);
            counted.longest = counted.longest.max(nanos);
        }
        self.period = Some(self.period.map_or((row.time, row.time), |(first, last)| (first.min(row.time), last.max(row.time))));
        // A flow lasts as long as its connection. That is no latency.
        let is_slower = |other: &Row| other.duration < row.duration;
        if row.duration.is_some()
            && row.protocol() != "flow"
            && (self.slowest.len() < SLOWEST || self.slowest.last().is_some_and(is_slower))
        {
            let place = self.slowest.partition_point(|other| other.duration >= row.duration);
            self.slowest.insert(place, row.clone());
            self.slowest.truncate(SLOWEST);
        }
    }

    /// Number of transactions, and of flows.
    pub fn count(&self) -> u64 {
        self.protocols.iter().map(|counted| counted.count).sum()
    }

    /// Number of transactions that are errors.
    pub fn errors(&self) -> u64 {
        self.protocols.iter().map(|counted| counted.errors).sum()
    }

    fn of(&mut self, protocol: &str) -> &mut Counted {
        let place = self.protocols.iter().position(|counted| counted.protocol == protocol).unwrap_or_else(|| {
            let is_full = self.protocols.len() >= MOST_PROTOCOLS;
            if !is_full {
                let protocol = if self.protocols.len() + 1 == MOST_PROTOCOLS { "other" } else { protocol };
                self.protocols.push(Counted { protocol: protocol.to_owned(), ..Counted::default() });
            }
            self.protocols.len() - 1
        });
        // The place exists, because the list is not empty.
        &mut self.protocols[place]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        publish::observer::{Details, Transaction},
        view::testing::{self, TIME},
    };
    use std::time::Duration;

    /// A transaction, whose fields tests change.
    pub fn transaction() -> Transaction<'static> {
        let start = Timestamp(TIME.0 + 678_000_000);
        Transaction {
            destination: Some("10.0.0.5:8080".parse().unwrap()),
            time: start,
            start: Some(start),
            end: None,
            duration: Some(Duration::from_micros(1100)),
            source_bytes: 150,
            destination_bytes: 2000,
            resource: "/orders/4711",
            query: "GET /orders/4711?full=1",
            details: Details::None,
            ..testing::transaction()
        }
    }

    #[test]
    fn counts_by_protocol_and_the_slowest() {
        let mut tally = Tally::default();
        for (index, millis) in [5, 1, 9, 3, 7, 8, 2].into_iter().enumerate() {
            let of = Transaction {
                protocol: if index < 3 { "http" } else { "dns" },
                status: if millis == 9 { "Error" } else { "OK" },
                duration: Some(Duration::from_millis(millis)),
                time: Timestamp(100 - millis),
                ..transaction()
            };
            tally.add(&Row::of_transaction(&of));
        }
        tally.add(&Row::of_transaction(&Transaction { duration: None, ..transaction() }));
        let counts: Vec<_> = tally.protocols.iter().map(|c| (c.protocol.as_str(), c.count, c.errors, c.durations.total())).collect();
        assert_eq!(counts, [("http", 4, 1, 3), ("dns", 4, 0, 4)]);
        assert_eq!((tally.count(), tally.errors()), (8, 1));
        let slowest: Vec<_> = tally.slowest.iter().map(|row| row.duration.unwrap().as_millis()).collect();
        assert_eq!(slowest, [9, 8, 7, 5, 3]);
        assert_eq!(tally.period, Some((Timestamp(91), transaction().time)));
    }

    #[test]
    fn the_number_of_names_is_limited() {
        let mut tally = Tally::default();
        for number in 0..100 {
            tally.add(&Row::of_transaction(&Transaction { protocol: &format!("p{number}"), ..transaction() }));
        }
        assert_eq!(tally.protocols.len(), MOST_PROTOCOLS);
        let last = tally.protocols.last().unwrap();
        assert_eq!((last.protocol.as_str(), last.count), ("other", 37));
        assert_eq!(tally.count(), 100);
    }
}

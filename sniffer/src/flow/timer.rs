//! Decides when a flow has timed out, and when it is due for a periodic report. All times are packet times.

use crate::time::Timestamp;
use std::{cmp::Reverse, collections::BinaryHeap, ops::Range, time::Duration};

/// The times at which flows are checked for the time-out. Each flow has one entry with its index in the table. When an entry is due and the
/// flow has had packets since the entry was made, the flow gets a new entry. Counting a packet therefore needs no update here.
#[derive(Default)]
pub(super) struct Expiry {
    heap: BinaryHeap<Reverse<(Timestamp, u32)>>,
}

impl Expiry {
    /// Number of allocated bytes.
    pub fn held(&self) -> usize {
        self.heap.capacity() * size_of::<Reverse<(Timestamp, u32)>>()
    }

    pub fn push(&mut self, due: Timestamp, flow: u32) {
        self.heap.push(Reverse((due, flow)));
    }

    /// Removes the earliest entry if it is due before `now`.
    pub fn pop_before(&mut self, now: Timestamp) -> Option<u32> {
        self.heap.peek().filter(|Reverse((due, _))| *due < now)?;
        self.pop().map(|(_, flow)| flow)
    }

    /// Removes the earliest entry.
    pub fn pop(&mut self) -> Option<(Timestamp, u32)> {
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

/// Visits the whole table once per period, a part at each call, so that reports are spread over the period.
pub(super) struct Sweep {
    /// Period in nanoseconds; never 0.
    period: u64,
    /// Start of the current round, in nanoseconds; `None` before the first call.
    since: Option<u64>,
    /// Number of entries visited in the current round.
    position: usize,
}

impl Sweep {
    pub fn new(period: Duration) -> Self {
        Self { period: u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1), since: None, position: 0 }
    }

    /// Restarts the rounds, as before the first call, because the table is now empty and the packet time may have gone back.
    pub fn restart(&mut self) {
        (self.since, self.position) = (None, 0);
    }

    /// The ranges of the table's `places` entries to visit at `now`: the rest of a round that has ended, and the
    /// beginning of the current one. After a long silence each entry is visited once.
    pub fn due(&mut self, now: Timestamp, places: usize) -> [Range<usize>; 2] {
        // Rounds begin at multiples of the period.
        let current = now.0 - now.0 % self.period;
        let target = |into: u64| usize::try_from(u128::from(into) * places as u128 / u128::from(self.period)).unwrap_or(places).min(places);
        let to = target(now.0 - current);
        let from = self.position.min(places);
        match self.since {
            None => {
                // This is the first call: no flow has existed for a period yet.
                self.since = Some(current);
                self.position = to;
                [0..0, 0..0]
            }
            Some(since) if current <= since => {
                let to = if current < since { from } else { to.max(from) };
                self.position = to;
                [from..to, 0..0]
            }
            Some(since) => {
                self.since = Some(current);
                self.position = to;
                let late = current - since > self.period;
                if late { [0..places, 0..0] } else { [from..places, 0..to.min(from)] }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_visited_once_per_period() {
        let mut sweep = Sweep::new(Duration::from_secs(10));
        let mut seen = [0; 100];
        assert_eq!(sweep.due(Timestamp(5_000_000_000), 100), [0..0, 0..0]);
        for tenth in 51..=250_u64 {
            for range in sweep.due(Timestamp(tenth * 100_000_000), 100) {
                assert!(range.len() <= 1, "spread over the period: {range:?} at {tenth}");
                range.for_each(|i| seen[i] += 1);
            }
        }
        assert_eq!(seen, [2; 100]);
    }

    #[test]
    fn after_a_long_silence_every_entry_is_visited_once() {
        let mut sweep = Sweep::new(Duration::from_secs(10));
        sweep.due(Timestamp(0), 10);
        assert_eq!(sweep.due(Timestamp(95_000_000_000), 10), [0..10, 0..0]);
        assert_eq!(sweep.due(Timestamp(96_000_000_000), 10), [5..6, 0..0]);
        assert_eq!(sweep.due(Timestamp(90_000_000_000), 10), [6..6, 0..0], "time that goes back");
    }

    #[test]
    fn expiry_is_in_order() {
        let mut expiry = Expiry::default();
        expiry.push(Timestamp(30), 1);
        expiry.push(Timestamp(10), 2);
        assert_eq!(expiry.pop_before(Timestamp(10)), None);
        assert_eq!(expiry.pop_before(Timestamp(11)), Some(2));
        assert_eq!(expiry.pop_before(Timestamp(11)), None);
        assert_eq!(expiry.pop(), Some((Timestamp(30), 1)));
    }
}

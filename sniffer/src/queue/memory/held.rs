//! The records of the queue in memory: which records wait, which are handed out, and the number and bytes of both. This module does not
//! lock and does not wait; the parent module does.

use super::super::{Runs, Sequence, Stats, size};
use crate::publish::Record;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    vec::IntoIter,
};

/// The records of the queue, bounded in count and in bytes.
#[derive(Default)]
pub(super) struct Held {
    /// Records that were never handed out. Their numbers are consecutive and end before `next`.
    fresh: VecDeque<Record>,
    /// The number of the next record that is accepted.
    next: Sequence,
    /// Records that were handed out and given back.
    returned: BTreeMap<Sequence, Record>,
    /// Records that are handed out and not settled. The key is the number of the first record of each run.
    taken: BTreeMap<Sequence, Taken>,
    max_bytes: usize,
    pub(super) stats: Stats,
}

/// A run of consecutive records that were handed out together. It is removed when each of them is settled or given back.
struct Taken {
    /// The bytes of each record; 0 once the record is settled or given back.
    sizes: Vec<usize>,
    /// How many of `sizes` are not 0.
    open: usize,
}

impl Held {
    pub(super) fn new(max_events: usize, max_bytes: usize) -> Self {
        Self { max_bytes, stats: Stats { max_events, ..Stats::default() }, ..Self::default() }
    }

    /// How many records are ready to be handed out.
    pub(super) fn waiting(&self) -> usize {
        self.fresh.len() + self.returned.len()
    }

    /// Accepts records while there is room. An empty queue also accepts a single record that is larger than the limit in bytes.
    pub(super) fn accept(&mut self, records: &mut IntoIter<Record>) {
        while let Some(next) = records.as_slice().first() {
            let size = size(next);
            let bytes = self.stats.bytes.saturating_add(size);
            let has_room = self.stats.events < self.stats.max_events && (self.stats.events == 0 || bytes <= self.max_bytes);
            if !has_room {
                return;
            }
            let Some(record) = records.next() else { return };
            self.stats.events += 1;
            self.stats.bytes = bytes;
            self.stats.added += 1;
            self.stats.added_bytes += size as u64;
            self.next = self.next.after(1);
            self.fresh.push_back(record);
        }
    }

    /// Returns how many of the next records can be handed out: at most `max`, and with at most `bytes` together. The first record is always
    /// handed out, whatever its size.
    fn fitting(&self, max: usize, bytes: usize) -> usize {
        let mut sum = 0_usize;
        let fits = |record: &&Record| {
            sum = sum.saturating_add(size(record));
            sum <= bytes
        };
        let count = self.returned.values().chain(&self.fresh).take(max).take_while(fits).count();
        count.max(1).min(self.waiting())
    }

    /// Hands out at most `max` records with at most `bytes` together, or one larger record. Records that were given back come first, then
    /// new ones.
    pub(super) fn take(&mut self, max: usize, bytes: usize) -> (Runs, Vec<Record>) {
        let count = self.fitting(max, bytes);
        let (mut sequences, mut records) = (Runs::default(), Vec::with_capacity(count));
        while records.len() < count
            && let Some((sequence, record)) = self.returned.pop_first()
        {
            sequences.push(sequence);
            records.push(record);
        }
        let fresh = (count - records.len()).min(self.fresh.len());
        let first = Sequence(self.next.0.saturating_sub(self.fresh.len() as u64));
        sequences.extend(first..first.after(fresh));
        records.extend(self.fresh.drain(..fresh));
        self.stats.consumed += records.len() as u64;
        let mut sizes = records.iter().map(size);
        for run in sequences.ranges() {
            let sizes: Vec<usize> = sizes.by_ref().take(run.end.distance(run.start)).collect();
            self.stats.consumed_bytes += sizes.iter().sum::<usize>() as u64;
            self.taken.insert(run.start, Taken { open: sizes.len(), sizes });
        }
        drop(sizes);
        (sequences, records)
    }

    /// Removes records that were handed out. Numbers of other records are ignored.
    pub(super) fn settle(&mut self, done: &[Range<Sequence>]) {
        for range in done {
            let (events, bytes) = self.no_longer_taken(range);
            self.stats.events = self.stats.events.saturating_sub(events);
            self.stats.bytes = self.stats.bytes.saturating_sub(bytes);
            self.stats.settled += events as u64;
        }
    }

    /// Takes back records that were handed out. Other records are dropped, because they are already settled.
    pub(super) fn give_back(&mut self, unsettled: Vec<(Sequence, Record)>) {
        for (sequence, mut record) in unsettled {
            // The record may wait longer than the other records of its batch.
            record.body.detach();
            if self.no_longer_taken(&(sequence..sequence.after(1))).0 == 1 {
                self.returned.insert(sequence, record);
            }
        }
    }

    /// Marks these numbers as no longer handed out. Returns how many of them were handed out, and their bytes.
    fn no_longer_taken(&mut self, range: &Range<Sequence>) -> (usize, usize) {
        let (mut events, mut bytes) = (0, 0);
        let mut closed = Vec::new();
        for (first, taken) in self.taken.range_mut(..range.end).rev() {
            let (from, to) = (range.start.distance(*first), range.end.distance(*first).min(taken.sizes.len()));
            // Runs do not overlap, so all remaining runs also end before `range`.
            let Some(sizes) = taken.sizes.get_mut(from..to) else { break };
            let open = sizes.iter().filter(|size| **size > 0).count();
            bytes += sizes.iter_mut().map(std::mem::take).sum::<usize>();
            events += open;
            taken.open -= open;
            if taken.open == 0 {
                closed.push(*first);
            }
        }
        for first in closed {
            self.taken.remove(&first);
        }
        (events, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::OVERHEAD, *};

    fn held(records: u8) -> Held {
        let mut held = Held::new(100, 1 << 20);
        let records: Vec<Record> = (0..records).map(|n| Record { body: [n].into(), ..Record::default() }).collect();
        held.accept(&mut records.into_iter());
        held
    }

    fn range(from: u64, to: u64) -> Range<Sequence> {
        Sequence(from)..Sequence(to)
    }

    fn bodies(records: &[Record]) -> Vec<u8> {
        records.iter().map(|record| record.body[0]).collect()
    }

    #[test]
    fn only_records_handed_out_can_be_settled_and_only_once() {
        let mut held = held(10);
        let one = OVERHEAD + 1;
        held.settle(&[range(0, 10)]);
        assert_eq!((held.stats.settled, held.stats.events), (0, 10), "nothing is handed out");
        let (sequences, _) = held.take(4, usize::MAX);
        assert_eq!(sequences.ranges(), [range(0, 4)]);
        let (sequences, _) = held.take(4, usize::MAX);
        assert_eq!(sequences.ranges(), [range(4, 8)]);
        // Ranges that cross the border of two runs and extend past the records handed out.
        held.settle(&[range(3, 5), range(7, 30)]);
        assert_eq!((held.stats.settled, held.stats.events, held.stats.bytes), (3, 7, 7 * one));
        held.settle(&[range(3, 5), range(7, 30)]);
        assert_eq!((held.stats.settled, held.stats.events, held.stats.bytes), (3, 7, 7 * one));
        held.settle(&[range(0, 8)]);
        assert_eq!((held.stats.settled, held.stats.events, held.stats.bytes), (8, 2, 2 * one));
        assert!(held.taken.is_empty());
    }

    #[test]
    fn records_given_back_are_handed_out_first_and_in_order() {
        let mut held = held(10);
        let (_, first) = held.take(3, usize::MAX);
        let (_, second) = held.take(3, usize::MAX);
        held.settle(&[range(4, 5)]);
        let numbered = |from: u64, records: Vec<Record>| (from..).map(Sequence).zip(records).collect();
        held.give_back(numbered(3, second));
        held.give_back(numbered(0, first));
        assert!(held.taken.is_empty());
        let (sequences, records) = held.take(7, usize::MAX);
        assert_eq!(sequences.ranges(), [range(0, 4), range(5, 8)], "4 is settled: it does not come back");
        assert_eq!(bodies(&records), [0, 1, 2, 3, 5, 6, 7]);
        assert_eq!((held.waiting(), held.stats.events, held.stats.consumed), (2, 9, 13));
    }
}

//! A [`Batch`]: records that a consumer took from a queue and has not settled yet.

use super::{Queue, Runs};
use crate::publish::Record;
use std::sync::Arc;

/// Records taken from a queue. Dropping the batch gives unsettled records back to the queue.
pub struct Batch {
    queue: Arc<dyn Queue>,
    /// The sequence numbers of `records`, in the same order.
    sequences: Runs,
    records: Vec<Record>,
    is_again: bool,
}

impl Batch {
    /// A batch taken from `queue`. `sequences` are the sequence numbers of `records`, in the same order.
    pub fn new(queue: Arc<dyn Queue>, sequences: Runs, records: Vec<Record>) -> Self {
        Self { queue, sequences, records, is_again: false }
    }

    /// Sets whether the queue took the records back before. See [`Queue::postpone`].
    #[must_use]
    pub fn again(mut self, is_again: bool) -> Self {
        self.is_again = is_again;
        self
    }

    /// Whether the queue took the records back before, because they could not be sent then.
    pub fn is_again(&self) -> bool {
        self.is_again
    }

    /// The records that are not settled yet.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Prepares the records for a long wait: they no longer hold the documents of other records in memory, and do not count as being sent.
    /// Returns `None` if the queue took them back to hand them out later, which it does only if `may_take` is set.
    #[must_use]
    pub fn postpone(mut self, may_take: bool) -> Option<Self> {
        if self.queue.postpone(self.sequences.ranges(), may_take) {
            self.records.clear();
            return None;
        }
        self.records.iter_mut().for_each(|record| record.body.detach());
        Some(self)
    }

    /// The sequence numbers of [`Batch::records`], in the same order.
    pub fn sequences(&self) -> &Runs {
        &self.sequences
    }

    /// Moves the records from the index `at` on to a new batch, which is empty if there are none.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        self.partition(|place| place >= at)
    }

    /// Moves the records for which `moves` returns true to a new batch. `moves` gets the index in [`Batch::records`], in order.
    #[must_use]
    pub fn partition(&mut self, mut moves: impl FnMut(usize) -> bool) -> Self {
        let mut parts = [(Runs::default(), Vec::new()), (Runs::default(), Vec::new())];
        let sequences = std::mem::take(&mut self.sequences);
        for (place, (sequence, record)) in sequences.iter().zip(std::mem::take(&mut self.records)).enumerate() {
            let (runs, records) = &mut parts[usize::from(moves(place))];
            runs.push(sequence);
            records.push(record);
        }
        let [(sequences, records), moved] = parts;
        (self.sequences, self.records) = (sequences, records);
        Self { queue: self.queue.clone(), sequences: moved.0, records: moved.1, is_again: self.is_again }
    }

    /// Adds the records of another batch of the same queue.
    pub fn append(&mut self, mut other: Self) {
        for run in std::mem::take(&mut other.sequences).ranges() {
            self.sequences.extend(run.clone());
        }
        self.records.append(&mut other.records);
    }

    /// Settles all records: they are delivered or dropped.
    pub fn settle_all(&mut self) {
        self.records.clear();
        self.queue.settle(std::mem::take(&mut self.sequences).ranges());
    }

    /// Settles the records for which `is_settled` returns true. `is_settled` gets the index in [`Batch::records`]. The other records stay
    /// in the batch.
    pub fn settle(&mut self, mut is_settled: impl FnMut(usize) -> bool) {
        let (mut settled, mut open) = (Runs::default(), Runs::default());
        let mut numbered = self.sequences.iter().enumerate();
        self.records.retain(|_| {
            let Some((place, sequence)) = numbered.next() else { return true };
            let is_settled = is_settled(place);
            if is_settled {
                settled.push(sequence)
            } else {
                open.push(sequence)
            }
            !is_settled
        });
        drop(numbered);
        self.sequences = open;
        self.queue.settle(settled.ranges());
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if !self.records.is_empty() {
            let unsettled = self.sequences.iter().zip(std::mem::take(&mut self.records)).collect();
            self.queue.give_back(unsettled);
        }
    }
}

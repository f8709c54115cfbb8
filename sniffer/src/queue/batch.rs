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
}

impl Batch {
    /// A batch taken from `queue`. `sequences` are the sequence numbers of `records`, in the same order.
    pub fn new(queue: Arc<dyn Queue>, sequences: Runs, records: Vec<Record>) -> Self {
        Self { queue, sequences, records }
    }

    /// The records that are not settled yet.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The sequence numbers of [`Batch::records`], in the same order.
    pub fn sequences(&self) -> &Runs {
        &self.sequences
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

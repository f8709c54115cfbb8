//! Between the workers and the output: what was found and not yet delivered.
//!
//! The worker side is synchronous ([`memory::Queue::push`]), the output side asynchronous ([`memory::Queue::next`]). A [`Batch`] that
//! is dropped gives what is left of it back, so delivery is at least once whatever happens to the one who holds it.

pub mod memory;

use crate::publish::Record;

/// What became of one record of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is where it belongs.
    Delivered,
    /// It was there already, from an earlier attempt: as good as delivered.
    Duplicate,
    /// Refused as such, but kept in the place for such records.
    DeadLetter,
    /// Refused for now; counts against `max_retries`.
    Retry(String),
    /// The server cannot now, whatever the record; does not count against `max_retries`.
    Later(String),
    /// Refused for good: lost, and counted.
    Rejected(String),
}

impl Fate {
    /// Whether the record is to be sent again.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Retry(_) | Self::Later(_))
    }
}

/// Where a batch came from: told what is settled and what comes back.
trait Origin: Send {
    fn settled(&self, records: usize, bytes: usize);
    fn give_back(&self, records: Vec<Record>);
}

/// Records taken from a queue. Dropping it gives those that are not settled back to the front.
pub struct Batch {
    records: Vec<Record>,
    origin: Box<dyn Origin>,
}

impl Batch {
    /// What is still to be delivered.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Forgets all records: they are delivered, or lost for good.
    pub fn settle_all(&mut self) {
        let (count, bytes) = (self.records.len(), self.records.iter().map(memory::size).sum());
        self.records.clear();
        self.origin.settled(count, bytes);
    }

    /// Forgets the records whose fate is decided; `fates` runs along [`Batch::records`], and a record without one stays.
    pub fn settle(&mut self, fates: &[Fate]) {
        let (mut fates, mut count, mut bytes) = (fates.iter(), 0, 0);
        self.records.retain(|record| {
            let open = fates.next().is_none_or(Fate::is_open);
            if !open {
                count += 1;
                bytes += memory::size(record);
            }
            open
        });
        self.origin.settled(count, bytes);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if !self.records.is_empty() {
            self.origin.give_back(std::mem::take(&mut self.records));
        }
    }
}

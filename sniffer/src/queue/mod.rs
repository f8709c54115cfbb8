//! The queue between the workers and the output. It holds the records that are published and not delivered yet.
//!
//! Workers push synchronously ([`Queue::push`]); the output takes batches asynchronously ([`Queue::next`]). Every
//! record has a sequence number. A record leaves the queue when it is settled, by its number and in any order. A
//! [`Batch`] that is dropped gives its unsettled records back, so every record is delivered at least once, even if a
//! sender is cancelled. The output decides where records are sent and how often.

mod batch;
#[cfg(test)]
mod conformance_tests;
mod disk;
mod memory;
mod options;
mod sequence;
mod stats;

pub use batch::Batch;
pub use disk::Options as DiskOptions;
pub use options::{Flush, Options};
pub use sequence::{Runs, Sequence};
pub use stats::Stats;

use crate::publish::Record;
use std::{ops::Range, pin::Pin, sync::Arc, time::Instant};

/// A boxed future, for the methods of traits that are used as trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How [`Queue::push`] treats records when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Block until the queue has room, or until the time set by [`Queue::limit_waits`]. For capture files, whose
    /// reading can wait.
    Wait,
    /// Drop the records that do not fit, and count them. For live capture, which cannot wait.
    Drop,
}

/// A queue of records, shared by all workers and all senders of the output.
///
/// All methods may be called from several threads at once. `conformance_tests` contains the guarantees of every queue.
pub trait Queue: Send + Sync {
    /// Adds records in their order; returns how many were dropped. A closed queue drops all of them.
    fn push(&self, records: Vec<Record>, full: WhenFull) -> usize;

    /// Waits for the next records and hands out at least one and at most `max` of them. The records together have at most the number of
    /// bytes that the options allow, unless a single record is larger. Records that were given back come first, in the order of their
    /// numbers, then new ones. Returns `None` when the queue is closed and every record is settled. Dropping the future loses no record.
    fn next(self: Arc<Self>, max: usize) -> BoxFuture<'static, Option<Batch>>;

    /// Removes records that were handed out and are now delivered or dropped. The ranges may be in any order; numbers of records that are
    /// not handed out are ignored.
    fn settle(&self, done: &[Range<Sequence>]);

    /// Takes back records that were handed out and are not settled. [`Batch`] calls this when it is dropped.
    fn give_back(&self, unsettled: Vec<(Sequence, Record)>);

    /// Records that these records, which were handed out, are sent later and not now. They then no longer count as being sent. If too many
    /// of them wait and `may_take` is set, a queue that is not in memory takes them back. It hands them out again when they are due, in a
    /// batch for which [`Batch::is_again`] is true. Returns whether the queue took them back. [`Batch::postpone`] calls this method.
    fn postpone(&self, records: &[Range<Sequence>], may_take: bool) -> bool;

    /// Sets a time after which no producer waits for room; records for which there is no room are then dropped and counted. The time also
    /// applies to producers that already wait. It is set when the program ends, so that the program ends even if the output accepts
    /// nothing. A later call replaces the time.
    fn limit_waits(&self, until: Instant);

    /// Closes the queue: it accepts no more records and hands out the remaining ones without waiting for more.
    fn close(&self);

    /// Completes when the queue is closed and every record is settled.
    fn finished(&self) -> BoxFuture<'_, ()>;

    /// The counters, and the queue's current content.
    fn stats(&self) -> Stats;
}

/// Opens the disk queue that the options describe.
///
/// # Errors
/// When its folder cannot be made or read, or another process uses it; the error names the folder.
pub fn open_disk(options: DiskOptions) -> std::io::Result<Arc<dyn Queue>> {
    Ok(disk::Disk::open(options)?)
}

/// Opens the queue in memory that the options describe.
pub fn open(options: Options) -> Arc<dyn Queue> {
    Arc::new(memory::Memory::new(options))
}

/// Memory of a record in addition to its body: its entry in the queue, the entry of its size while it is handed out,
/// and the overhead of its allocation.
const OVERHEAD: usize = size_of::<Record>() + size_of::<usize>() + 16;

/// The number of bytes that a record adds towards the limits.
fn size(record: &Record) -> usize {
    record.body.len() + OVERHEAD
}

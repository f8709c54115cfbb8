//! Appends records to the last segment. The writer's lock is held while records are written, but never while files are read or
//! synchronised. So a producer waits only for the disk to take its own data.

use super::{Options, Shared, frame, segment_path};
use crate::publish::Record;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
    vec::IntoIter,
};

/// Number of bytes that one call of `write` gets, unless a record is larger. After a failed write it gets fewer, because the disk may have
/// room for a part.
const WRITE: usize = 256 << 10;
/// Shortest time between two warnings that the disk cannot be written.
const REPEAT: Duration = Duration::from_secs(10);

/// The segment that records are appended to.
struct Active {
    first: u64,
    file: Arc<File>,
    size: u64,
}

pub(super) struct Writer {
    active: Option<Active>,
    /// The number of the next record that is accepted.
    next: u64,
    failure: Failure,
    /// Number of bytes that the next call of `write` gets, unless a record is larger.
    chunk: usize,
}

/// The state of the attempts to write after a failure.
#[derive(Default)]
struct Failure {
    /// The time of the next attempt, if the last one failed.
    retry_at: Option<Instant>,
    /// The length of the wait after the next failure.
    wait: Duration,
    /// The last warning.
    warned: Option<Instant>,
    /// Whether a warning was logged since the last success.
    is_known: bool,
}

impl Failure {
    /// Sets the time of the next attempt. Returns whether a warning is to be logged: once for each outage, but not more often than
    /// [`REPEAT`].
    fn failed(&mut self, now: Instant, options: &Options) -> bool {
        let wait = self.wait.max(options.retry_interval);
        self.retry_at = Some(now + wait);
        self.wait = (wait * 2).min(options.max_retry_interval.max(options.retry_interval));
        let is_due = !self.is_known && self.warned.is_none_or(|at| now >= at + REPEAT);
        if is_due {
            (self.is_known, self.warned) = (true, Some(now));
        }
        is_due
    }

    /// Returns whether the log is to report that writing succeeds again.
    fn succeeded(&mut self) -> bool {
        (self.retry_at, self.wait) = (None, Duration::ZERO);
        std::mem::take(&mut self.is_known)
    }
}

/// Records in their format on disk.
struct Encoded {
    bytes: Vec<u8>,
    records: usize,
    /// The next record does not fit into the room that is left.
    is_full: bool,
}

impl Writer {
    pub(super) fn new(next: u64) -> Self {
        Self { active: None, next, failure: Failure::default(), chunk: WRITE }
    }

    /// Appends records while there is room and writing does not fail. Returns how many were dropped because each is too large for the queue.
    pub(super) fn accept(&mut self, records: &mut IntoIter<Record>, shared: &Shared) -> usize {
        let mut dropped = 0;
        if shared.has_room.swap(false, Ordering::Relaxed) {
            // Files were removed, so the next attempt need not wait.
            self.failure.retry_at = None;
        }
        while records.len() > 0 && self.failure.retry_at.is_none_or(|at| Instant::now() >= at) {
            let encoded = self.encode(records.as_slice(), shared);
            if encoded.records == 0 && encoded.is_full {
                // If all records of the last segment are settled, removing it makes room.
                if !self.complete(shared) {
                    break;
                }
            } else if encoded.records == 0 {
                dropped += usize::from(records.next().is_some());
            } else {
                match self.write(&encoded, shared) {
                    Ok(()) => {
                        records.by_ref().take(encoded.records).for_each(drop);
                        self.chunk = (self.chunk * 2).min(WRITE);
                        if self.failure.succeeded() {
                            log::info!("queue.disk: {} can be written again", shared.options.path.display());
                        }
                    }
                    Err(error) => {
                        self.chunk = (encoded.bytes.len() / 2).max(1);
                        self.failed(&error, shared);
                    }
                }
            }
        }
        dropped
    }

    fn encode(&self, records: &[Record], shared: &Shared) -> Encoded {
        let room = shared.state().room();
        let size = self.active.as_ref().map_or(0, |active| active.size);
        let mut encoded = Encoded { bytes: Vec::new(), records: 0, is_full: false };
        for record in records {
            let before = encoded.bytes.len();
            if frame::append(&mut encoded.bytes, self.next + encoded.records as u64, record).is_none() {
                break;
            }
            let bytes = encoded.bytes.len() as u64;
            if room.is_some_and(|room| bytes > room) {
                encoded.bytes.truncate(before);
                encoded.is_full = true;
                break;
            }
            encoded.records += 1;
            if encoded.bytes.len() >= self.chunk || size + bytes >= shared.options.segment_size {
                break;
            }
        }
        encoded
    }

    fn write(&mut self, encoded: &Encoded, shared: &Shared) -> io::Result<()> {
        let active = match &mut self.active {
            Some(active) => active,
            None => {
                let (first, file) = (self.next, create(&segment_path(&shared.options.path, self.next))?);
                shared.state().begin(first);
                shared.sync().begin(file.clone());
                self.active.insert(Active { first, file, size: 0 })
            }
        };
        (&*active.file).write_all(&encoded.bytes)?;
        let bytes = encoded.bytes.len() as u64;
        active.size += bytes;
        self.next += encoded.records as u64;
        shared.state().written(active.first, encoded.records as u64, bytes);
        shared.sync().is_dirty = true;
        if active.size >= shared.options.segment_size {
            self.complete(shared);
        }
        Ok(())
    }

    /// Ends the segment `first` if it is the active one.
    pub(super) fn complete_if(&mut self, first: u64, shared: &Shared) {
        if self.active.as_ref().is_some_and(|active| active.first == first) {
            self.complete(shared);
        }
    }

    /// Ends the active segment. Returns whether its file was removed.
    fn complete(&mut self, shared: &Shared) -> bool {
        let Some(active) = self.active.take() else { return false };
        shared.sync().complete();
        let is_removed = shared.state().complete(active.first);
        if is_removed {
            shared.remove(&[active.first]);
        }
        // The reading thread may be waiting for more records of this segment.
        shared.wake_reader();
        is_removed
    }

    /// Removes the bytes that a failed write left, and sets the time of the next attempt.
    fn failed(&mut self, error: &io::Error, shared: &Shared) {
        if let Some(active) = &self.active {
            // If cutting the file fails, it has bytes after the segment's size. They are not read before the next start, which puts them
            // aside.
            let _ = active.file.set_len(active.size);
            // The next attempt begins a new file. If all records of the ended segment are settled, its file is removed, which makes room.
            self.complete(shared);
        }
        if self.failure.failed(Instant::now(), &shared.options) {
            log::warn!("queue.disk: {} cannot be written: {error}; it is tried again", shared.options.path.display());
        }
        shared.state().stats.write_errors += 1;
    }
}

/// Creates the file of a segment.
fn create(path: &std::path::Path) -> io::Result<Arc<File>> {
    match OpenOptions::new().append(true).create_new(true).mode(0o600).open(path) {
        // A file without a record is left by a failed attempt whose file could not be removed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && fs::metadata(path).is_ok_and(|data| data.len() == 0) => {
            OpenOptions::new().append(true).open(path).map(Arc::new)
        }
        other => other.map(Arc::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outage_is_logged_but_not_more_often_than_every_ten_seconds() {
        let options = Options {
            retry_interval: Duration::from_secs(1),
            max_retry_interval: Duration::from_secs(3),
            ..super::super::testing::options("/".as_ref())
        };
        let (mut failure, start) = (Failure::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut waits = Vec::new();
        let mut failed = |failure: &mut Failure, seconds: u64| {
            let is_due = failure.failed(at(seconds), &options);
            waits.push((failure.retry_at.unwrap() - at(seconds)).as_secs());
            is_due
        };
        assert!(failed(&mut failure, 0));
        assert!(!failed(&mut failure, 1) && !failed(&mut failure, 60), "one line for an outage");
        assert!(failure.succeeded());
        assert!(failed(&mut failure, 61), "another outage");
        assert!(failure.succeeded());
        assert!(!failed(&mut failure, 65));
        assert!(!failure.succeeded(), "the outage was not logged");
        assert!(!failed(&mut failure, 70) && failed(&mut failure, 71));
        assert_eq!(waits, [1, 2, 3, 1, 1, 1, 2]);
    }
}

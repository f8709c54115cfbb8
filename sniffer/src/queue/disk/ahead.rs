//! The reading thread. It reads records before the output asks for them. Only this thread reads segments, and it holds no lock while it
//! reads.

use super::{
    Shared,
    aside::Aside,
    frame::Place,
    reader::{Next, Reader, read_at},
    segment_path,
    state::Task,
};
use crate::publish::Record;
use std::{
    fs::File,
    io,
    sync::{Arc, atomic::Ordering, mpsc},
    time::Instant,
};

/// Number of attempts to read a segment. After that the segment is given up.
const ATTEMPTS: u32 = 3;

struct Ahead {
    shared: Arc<Shared>,
    aside: Aside,
    reader: Option<Reader>,
    /// The segment whose reading failed last, and the number of its failures.
    failures: (u64, u32),
}

/// Reads until [`Shared::stop`] is set. A message in `woken` says that there may be something to read.
pub(super) fn run(shared: Arc<Shared>, aside: Aside, woken: &mpsc::Receiver<()>) {
    let mut ahead = Ahead { shared, aside, reader: None, failures: (0, 0) };
    while !ahead.shared.stop.load(Ordering::Relaxed) {
        let task = ahead.shared.state().next_read(Instant::now());
        let until = match task {
            Task::Read { segment, size, end, records, bytes } => match ahead.read(segment, size, end, records, bytes) {
                Ok(()) => continue,
                Err(error) => ahead.failed(segment, &error),
            },
            Task::Again(places) => {
                ahead.read_again(&places);
                continue;
            }
            Task::Wait(until) => until,
        };
        let ended = match until {
            None => woken.recv().is_err(),
            Some(until) => woken.recv_timeout(until.saturating_duration_since(Instant::now())) == Err(mpsc::RecvTimeoutError::Disconnected),
        };
        if ended {
            return;
        }
    }
}

impl Ahead {
    fn read(&mut self, segment: u64, size: u64, end: u64, most: usize, most_bytes: u64) -> io::Result<()> {
        let path = segment_path(&self.shared.options.path, segment);
        let reader = match &mut self.reader {
            Some(reader) if reader.segment == segment => reader,
            _ => self.reader.insert(Reader::new(segment, File::open(&path)?)),
        };
        let (mut records, mut bytes, mut at_end, mut failed) = (Vec::new(), 0, false, None);
        while records.len() < most && bytes < most_bytes {
            match reader.next(size, end) {
                Ok(Next::Record { sequence, place, record }) => {
                    bytes += u64::from(place.size);
                    records.push((sequence, place, record));
                }
                Ok(Next::Damaged(range)) => {
                    self.shared.state().stats.damaged += 1;
                    self.aside.copy(segment, &range);
                }
                Ok(Next::End) => {
                    at_end = true;
                    break;
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let read_to = reader.position();
        if !records.is_empty() {
            self.failures = (segment, 0);
        }
        let is_removed = self.shared.state().read_up_to(segment, size, records, read_to, at_end);
        if is_removed {
            self.reader = None;
            self.shared.remove(&[segment]);
        }
        self.shared.wake_consumers(is_removed);
        failed.map_or(Ok(()), Err)
    }

    /// Handles a failed attempt to read a segment. Returns when the next attempt begins. After [`ATTEMPTS`] attempts the segment is given
    /// up.
    fn failed(&mut self, segment: u64, error: &io::Error) -> Option<Instant> {
        let path = segment_path(&self.shared.options.path, segment);
        let before = if self.failures.0 == segment { self.failures.1 } else { 0 };
        self.failures = (segment, before + 1);
        if before + 1 < ATTEMPTS && error.kind() != io::ErrorKind::NotFound {
            log::warn!("{}: {error}; reading it is tried again", path.display());
            return Some(Instant::now() + self.shared.options.retry_interval);
        }
        log::error!("{}: {error}; the events that were not read are lost", path.display());
        self.reader = None;
        self.shared.writer().complete_if(segment, &self.shared);
        self.aside.keep(segment);
        let is_removed = {
            let mut state = self.shared.state();
            state.stats.damaged += 1;
            state.give_up(segment)
        };
        self.shared.wake_consumers(is_removed);
        // The segment is given up, so the thread looks at once for another segment.
        Some(Instant::now())
    }

    fn read_again(&mut self, places: &[(u64, u64, Place)]) {
        let mut records: Vec<(u64, Place, Option<Record>)> = Vec::with_capacity(places.len());
        let mut open: Option<(u64, io::Result<File>)> = None;
        for (segment, number, place) in places {
            if open.as_ref().is_none_or(|(first, _)| first != segment) {
                open = Some((*segment, File::open(segment_path(&self.shared.options.path, *segment))));
            }
            let read = match &open {
                Some((_, Ok(file))) => read_at(file, *number, *place),
                Some((_, Err(error))) => Err(error.kind().into()),
                None => Ok(None),
            };
            if let Err(error) = &read {
                log::debug!("queue.disk: event {number} cannot be read again: {error}");
            }
            records.push((*number, *place, read.ok().flatten()));
        }
        let removed = self.shared.state().read_again(records);
        self.shared.remove(&removed);
        self.shared.wake_consumers(!removed.is_empty());
    }
}

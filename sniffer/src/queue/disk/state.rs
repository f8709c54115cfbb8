//! The content of the disk queue: which records are on disk, read, handed out and settled, and how many there are. This module makes no
//! system call, so its lock is held only for a short time, however slow the disk is.

use super::{
    super::{Runs, Sequence, Stats},
    Options,
    frame::Place,
    later::Later,
    ranges::Ranges,
};
use crate::publish::Record;
use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

/// Maximum number of records, and of their bytes, that are read at once.
const READ: usize = 256;
const READ_BYTES: u64 = 1 << 20;

/// A file with consecutive records. Its name is the number of its first record.
pub(super) struct Segment {
    /// The number after the last record.
    pub end: u64,
    /// Bytes of the file.
    pub size: u64,
    /// Number and bytes of the records that are not settled.
    open: u64,
    open_bytes: u64,
    /// Number of records that are neither settled nor read.
    unread: u64,
    /// Offset in the file up to which the segment was read.
    read_to: u64,
    /// Whether the writer has ended the segment, so that nothing is appended to it.
    is_complete: bool,
    /// Whether the segment was read to its end.
    is_read: bool,
}

impl Segment {
    /// Makes a segment that an earlier run has written, with this number of records that are not settled.
    pub(super) fn found(end: u64, size: u64, open: u64) -> Self {
        Self { end, size, open, open_bytes: size, unread: open, read_to: 0, is_complete: true, is_read: false }
    }

    /// Makes a segment without records.
    fn empty(first: u64) -> Self {
        Self { is_complete: false, ..Self::found(first, 0, 0) }
    }
}

/// A record that was read and can be handed out.
struct Ready {
    place: Place,
    record: Record,
}

/// A record that is handed out and not settled.
struct Taken {
    place: Place,
    /// Whether the record waits to be sent again. See [`State::postpone`].
    waits: bool,
    /// Whether [`State::postpone`] took the record back, so that it was read again.
    is_again: bool,
}

/// The next task of the reading thread.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Continue to read a segment. Its first `size` bytes are written and have records with numbers below `end`.
    Read { segment: u64, size: u64, end: u64, records: usize, bytes: u64 },
    /// Read these records again. Each entry has the segment, the number and the place of a record.
    Again(Vec<(u64, u64, Place)>),
    /// Wait until a message arrives, or until this time.
    Wait(Option<Instant>),
}

/// Records that [`State::take`] hands out.
pub(super) struct Given {
    pub sequences: Runs,
    pub records: Vec<Record>,
    /// Whether [`State::postpone`] took the records back, so that they were read again.
    pub is_again: bool,
}

pub(super) struct State {
    options: Options,
    /// The segments, by the number of their first record.
    segments: BTreeMap<u64, Segment>,
    /// The numbers of settled records.
    pub settled: Ranges,
    ready: BTreeMap<u64, Ready>,
    /// Records that [`State::postpone`] took back, and that were read again and can be handed out.
    again: BTreeMap<u64, Ready>,
    taken: BTreeMap<u64, Taken>,
    /// Number of the records in `taken` that wait to be sent again, and their memory in bytes.
    waits: (usize, u64),
    later: Later,
    /// Memory in bytes of the records in `ready`, `again` and `taken`.
    memory: u64,
    /// Bytes of all segments.
    on_disk: u64,
    pub closed: bool,
    /// The time at which producers stop waiting for room.
    pub no_waits_after: Option<Instant>,
    pub stats: Stats,
}

impl State {
    pub(super) fn new(options: Options, settled: Ranges) -> Self {
        Self {
            stats: Stats { max_bytes: options.max_size, is_kept: true, ..Stats::default() },
            options,
            segments: BTreeMap::new(),
            settled,
            ready: BTreeMap::new(),
            again: BTreeMap::new(),
            taken: BTreeMap::new(),
            waits: (0, 0),
            later: Later::default(),
            memory: 0,
            on_disk: 0,
            closed: false,
            no_waits_after: None,
        }
    }

    /// Adds a segment of an earlier run.
    pub(super) fn restore(&mut self, first: u64, segment: Segment) {
        self.on_disk += segment.size;
        self.stats.bytes += count(segment.open_bytes);
        self.stats.added += segment.open;
        self.stats.added_bytes += segment.open_bytes;
        self.stats.restored += segment.open;
        self.segments.insert(first, segment);
    }

    /// Whether the queue is closed and every record is settled.
    pub(super) fn has_ended(&self) -> bool {
        self.closed && self.events() == 0
    }

    fn events(&self) -> u64 {
        self.stats.added.saturating_sub(self.stats.settled + self.stats.missing)
    }

    pub(super) fn stats(&self) -> Stats {
        Stats { events: count(self.events()), ..self.stats }
    }

    /// Number of bytes that may still be written. An empty queue also accepts a record that is larger than the limit.
    pub(super) fn room(&self) -> Option<u64> {
        let is_limited = self.options.max_size > 0 && self.on_disk > 0;
        is_limited.then(|| self.options.max_size.saturating_sub(self.on_disk))
    }

    /// Adds an empty segment.
    pub(super) fn begin(&mut self, first: u64) {
        self.segments.insert(first, Segment::empty(first));
    }

    /// Adds records that were written to the segment.
    pub(super) fn written(&mut self, first: u64, records: u64, bytes: u64) {
        let Some(segment) = self.segments.get_mut(&first) else { return };
        segment.end += records;
        segment.size += bytes;
        segment.open += records;
        segment.open_bytes += bytes;
        segment.unread += records;
        self.on_disk += bytes;
        self.stats.bytes += count(bytes);
        self.stats.added += records;
        self.stats.added_bytes += bytes;
    }

    /// Ends a segment, so that the writer appends nothing more to it. Returns whether its file is to be removed.
    pub(super) fn complete(&mut self, first: u64) -> bool {
        let Some(segment) = self.segments.get_mut(&first) else { return false };
        segment.is_complete = true;
        segment.read_to >= segment.size && self.give_up(first)
    }

    fn remove_if_done(&mut self, first: u64) -> bool {
        let is_done = self.segments.get(&first).is_some_and(|segment| segment.is_complete && segment.is_read && segment.open == 0);
        if is_done && let Some(segment) = self.segments.remove(&first) {
            self.on_disk = self.on_disk.saturating_sub(segment.size);
            self.stats.bytes = self.stats.bytes.saturating_sub(count(segment.open_bytes));
        }
        is_done
    }

    /// Returns the next task of the reading thread.
    pub(super) fn next_read(&mut self, now: Instant) -> Task {
        let room = (self.options.read_ahead_bytes as u64).saturating_sub(self.memory);
        if room > 0 && self.again.is_empty() {
            let some = self.later.take_due(now);
            if !some.is_empty() {
                let segments = &self.segments;
                let with_segment = |(number, place): &(u64, Place)| Some((*segments.range(..=*number).next_back()?.0, *number, *place));
                return Task::Again(some.iter().filter_map(with_segment).collect());
            }
        }
        let wait = Task::Wait(if self.again.is_empty() { self.later.due() } else { None });
        let records = self.options.read_ahead.saturating_sub(self.ready.len()).min(READ);
        let unread = self.segments.iter().find(|(_, segment)| !segment.is_read);
        match unread {
            Some((first, segment)) if room > 0 && records > 0 && (segment.is_complete || segment.read_to < segment.size) => {
                Task::Read { segment: *first, size: segment.size, end: segment.end, records, bytes: room.min(READ_BYTES) }
            }
            _ => wait,
        }
    }

    /// Adds records that were read from a segment. `read_to` is the place up to which the segment was read; `at_end` says that the end of
    /// its first `size` bytes was reached. Returns whether the file of the segment is to be removed.
    pub(super) fn read_up_to(&mut self, first: u64, size: u64, records: Vec<(u64, Place, Record)>, read_to: u64, at_end: bool) -> bool {
        let Some(segment) = self.segments.get_mut(&first) else { return false };
        segment.read_to = segment.read_to.max(read_to);
        for (number, place, record) in records {
            if self.settled.contains(number) {
                let bytes = segment.open_bytes.min(u64::from(place.size));
                segment.open_bytes -= bytes;
                self.stats.bytes = self.stats.bytes.saturating_sub(count(bytes));
            } else {
                segment.unread = segment.unread.saturating_sub(1);
                self.memory += place.memory();
                self.ready.insert(number, Ready { place, record });
            }
        }
        at_end && segment.is_complete && segment.size == size && self.give_up(first)
    }

    /// Records that no more records are read from the segment. Those that were not found are missing. Returns whether its file is to be
    /// removed.
    pub(super) fn give_up(&mut self, first: u64) -> bool {
        let Some(segment) = self.segments.get_mut(&first) else { return false };
        segment.is_read = true;
        let missing = std::mem::take(&mut segment.unread).min(segment.open);
        segment.open -= missing;
        self.stats.missing += missing;
        self.remove_if_done(first)
    }

    /// Adds records that were taken back by [`State::postpone`] and read again. A record without content could not be read. Returns the
    /// segments whose files are to be removed.
    pub(super) fn read_again(&mut self, records: Vec<(u64, Place, Option<Record>)>) -> Vec<u64> {
        let mut removed = Vec::new();
        for (number, place, record) in records {
            match record {
                Some(record) => {
                    self.memory += place.memory();
                    self.again.insert(number, Ready { place, record });
                }
                None => {
                    self.stats.missing += 1;
                    removed.extend(self.no_longer_open(number, place));
                }
            }
        }
        removed
    }

    /// Hands out at most `max` records: those that were taken back, if they are due; otherwise those with the lowest numbers. Hands out
    /// nothing if the number or memory of the records being sent has reached the limit in the options.
    pub(super) fn take(&mut self, max: usize) -> Given {
        let sending = self.taken.len().saturating_sub(self.waits.0);
        let max = max.min(self.options.read_ahead.saturating_sub(sending));
        let is_again = !self.again.is_empty();
        let from = if is_again { &mut self.again } else { &mut self.ready };
        let (mut sequences, mut records, mut bytes) = (Runs::default(), Vec::new(), 0);
        while records.len() < max
            && let Some(next) = from.first_entry()
        {
            bytes += next.get().place.memory();
            if bytes > self.options.batch_bytes as u64 && !records.is_empty() {
                break;
            }
            let (number, Ready { place, record }) = next.remove_entry();
            self.stats.consumed_bytes += u64::from(place.size);
            self.taken.insert(number, Taken { place, waits: false, is_again });
            sequences.push(Sequence(number));
            records.push(record);
        }
        self.stats.consumed += records.len() as u64;
        Given { sequences, records, is_again }
    }

    /// Marks a record as no longer handed out. `None` if the record was not handed out.
    fn no_longer_taken(&mut self, number: u64) -> Option<Taken> {
        let taken = self.taken.remove(&number)?;
        let memory = taken.place.memory();
        self.memory = self.memory.saturating_sub(memory);
        if taken.waits {
            self.waits = (self.waits.0.saturating_sub(1), self.waits.1.saturating_sub(memory));
        }
        Some(taken)
    }

    /// Returns the segment of the record if its file is to be removed.
    fn no_longer_open(&mut self, number: u64, place: Place) -> Option<u64> {
        let (first, segment) = self.segments.range_mut(..=number).next_back()?;
        let (first, bytes) = (*first, segment.open_bytes.min(u64::from(place.size)));
        segment.open = segment.open.saturating_sub(1);
        segment.open_bytes -= bytes;
        self.stats.bytes = self.stats.bytes.saturating_sub(count(bytes));
        self.remove_if_done(first).then_some(first)
    }

    fn taken_in(&self, range: &Range<Sequence>) -> Vec<u64> {
        self.taken.range(range.start.0..range.end.0.max(range.start.0)).map(|(number, _)| *number).collect()
    }

    /// Removes records that were handed out; ignores other numbers. Returns the numbers that are to be recorded on disk, and then the
    /// segments whose files are to be removed.
    pub(super) fn settle(&mut self, done: &[Range<Sequence>]) -> (Vec<Range<u64>>, Vec<u64>) {
        let (mut runs, mut removed) = (Vec::<Range<u64>>::new(), Vec::new());
        for number in done.iter().flat_map(|range| self.taken_in(range)).collect::<Vec<_>>() {
            let Some(taken) = self.no_longer_taken(number) else { continue };
            if taken.is_again {
                self.later.succeeded();
            }
            match runs.last_mut() {
                Some(last) if last.end == number => last.end += 1,
                _ => runs.push(number..number + 1),
            }
            self.stats.settled += 1;
            removed.extend(self.no_longer_open(number, taken.place));
        }
        runs.iter().for_each(|range| self.settled.insert(range.clone()));
        (runs, removed)
    }

    /// Takes back records that were handed out. Other records are dropped, because they are already settled.
    pub(super) fn give_back(&mut self, unsettled: Vec<(Sequence, Record)>) {
        for (Sequence(number), mut record) in unsettled {
            record.body.detach();
            if let Some(Taken { place, is_again, .. }) = self.no_longer_taken(number) {
                self.memory += place.memory();
                let to = if is_again { &mut self.again } else { &mut self.ready };
                to.insert(number, Ready { place, record });
            }
        }
    }

    /// Records that these records, which were handed out, are sent again later. They then no longer count as being sent. If too many wait
    /// and `may_take` is set, the queue takes them back: it forgets their content and reads it again when they are due. Returns whether it
    /// took them back.
    pub(super) fn postpone(&mut self, records: &[Range<Sequence>], may_take: bool, now: Instant) -> bool {
        let numbers: Vec<u64> = records.iter().flat_map(|range| self.taken_in(range)).collect();
        let fresh = numbers.iter().filter_map(|number| self.taken.get(number)).filter(|taken| !taken.waits);
        let (more, bytes) = fresh.fold((0, 0), |(more, bytes), taken| (more + 1, bytes + taken.place.memory()));
        let (waits, memory) = (self.waits.0 + more, self.waits.1 + bytes);
        let too_many = waits > self.options.read_ahead || memory > self.options.read_ahead_bytes as u64 / 4;
        if too_many && may_take && self.later.has_room(numbers.len()) {
            for number in numbers {
                if let Some(taken) = self.no_longer_taken(number) {
                    self.later.add(number, taken.place, now);
                }
            }
            return true;
        }
        numbers.iter().for_each(|number| {
            if let Some(taken) = self.taken.get_mut(number) {
                taken.waits = true;
            }
        });
        self.waits = (waits, memory);
        false
    }

    /// How long a producer waits for room before it looks again, at most `longest`.
    pub(super) fn wait(&self, longest: Duration) -> Duration {
        self.no_waits_after.map_or(longest, |until| until.saturating_duration_since(Instant::now()).min(longest))
    }
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

//! Opens the folder of the queue. Any subset of its files is a valid start: segments have the numbers of their records in their names and in
//! each record, and without the file `settled` all records count as not settled. Only the last segment is read, to find its end.

use super::{
    Options,
    aside::Aside,
    reader::{Next, Reader},
    segment_path,
    settled::Settled,
    state::{Segment, State},
};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// The greatest number that the name of a segment may have, so that numbers do not overflow.
const MOST: u64 = u64::MAX / 2;

/// The content of an opened folder.
pub(super) struct Opened {
    pub state: State,
    pub settled: Settled,
    pub aside: Aside,
    /// The number of the next record that is pushed.
    pub next: u64,
    /// The lock file. It is locked while the queue is open, so that no other process uses the folder.
    pub lock: File,
}

/// The files in the folder of a queue.
#[derive(Default)]
struct Files {
    /// First number and size of each segment, in order.
    segments: Vec<(u64, u64)>,
    /// Bytes of the damaged parts that are in separate files.
    aside: u64,
    /// Segments of Packetbeat.
    foreign: usize,
}

pub(super) fn open(options: &Options) -> io::Result<Opened> {
    let folder = &options.path;
    DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    let lock = lock(folder)?;
    let files = find(folder)?;
    if files.foreign > 0 {
        let count = files.foreign;
        log::warn!("{}: {count} files of Packetbeat's disk queue are not read; let Packetbeat deliver them", folder.display());
    }
    let (settled, mut ranges) = Settled::read(folder)?;
    let mut aside = Aside::new(folder, files.aside, options.max_size);
    let mut damaged = 0;
    let ends = files.segments.iter().skip(1).map(|(first, _)| Some(*first)).chain([None]);
    let mut segments = Vec::with_capacity(files.segments.len());
    let mut next = ranges.end();
    for ((first, size), end) in files.segments.iter().copied().zip(ends) {
        let end = match end {
            Some(end) => end,
            None => end_of(folder, first, size)?,
        };
        if end == first {
            // The segment has no record, so the next segment may get the same name. The file is therefore renamed.
            aside.keep(first);
            damaged += 1;
            continue;
        }
        segments.push((first, size, end));
        next = next.max(end);
    }
    if let Some((first, ..)) = segments.first() {
        // All records before the first segment are settled, and one range stands for them.
        ranges.insert(0..*first);
    }
    let mut state = State::new(options.clone(), ranges);
    state.stats.damaged = damaged;
    for (first, size, end) in segments {
        let settled = state.settled.count(&(first..end));
        let open = (end - first).saturating_sub(settled);
        if open == 0 && settled > 0 {
            fs::remove_file(segment_path(folder, first))?;
        } else {
            state.restore(first, Segment::found(end, size, open));
        }
    }
    if let Err(error) = settled.replace(|| state.settled.iter().collect()) {
        log::warn!("{}: cannot write which events are delivered: {error}; it is tried again", folder.display());
    }
    Ok(Opened { state, settled, aside, next, lock })
}

fn lock(folder: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::WouldBlock, "another process uses this folder; set another queue.disk.path or path.data"))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn find(folder: &Path) -> io::Result<Files> {
    let mut files = Files::default();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let data = entry.metadata()?;
        match name.rsplit_once('.') {
            Some((first, "segment")) if first.len() == 20 => match first.parse::<u64>() {
                Ok(_) if data.is_file() && data.len() == 0 => fs::remove_file(entry.path())?,
                Ok(first) if first < MOST => files.segments.push((first, data.len())),
                _ => log::warn!("{}: the name is not one of a segment; the file is ignored", entry.path().display()),
            },
            Some((_, "damaged")) => files.aside += data.len(),
            Some((_, "seg")) => files.foreign += 1,
            _ => {}
        }
    }
    files.segments.sort_unstable();
    Ok(files)
}

/// The number after the last record of the segment; its first number if it has no valid record.
fn end_of(folder: &Path, first: u64, size: u64) -> io::Result<u64> {
    let mut reader = Reader::new(first, File::open(segment_path(folder, first))?);
    let mut end = first;
    loop {
        match reader.next(size, MOST) {
            Ok(Next::Record { sequence, .. }) => end = sequence + 1,
            Ok(Next::Damaged(_)) => {}
            Ok(Next::End) => return Ok(end),
            Err(error) => {
                log::warn!("{}: {error}; reading it is tried again", segment_path(folder, first).display());
                // The end of this segment is unknown. The segment counts as one with records, because the reading thread tries to read it
                // again.
                return Ok(end.max(first + 1));
            }
        }
    }
}

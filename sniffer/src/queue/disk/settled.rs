//! The file `settled`, with the numbers of settled records. Each entry is a range of numbers with a checksum. New entries are appended; when
//! the file has grown, it is replaced by one with the merged ranges. Writing an entry does not wait for the replacement.

use super::ranges::Ranges;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    ops::Range,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bytes of an entry: first number, end of the range, CRC-32C of both, the version of the format (1) and three zeros.
const ENTRY: usize = 24;
const VERSION: [u8; 4] = [1, 0, 0, 0];
/// The file is replaced when it has this many bytes and more than twice as many as necessary.
const LARGE: usize = 256 << 10;
/// Largest file that is read at the start, in bytes.
const MOST: u64 = 64 << 20;

/// The file, open for appending.
pub(super) struct Settled {
    path: PathBuf,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// The file; `None` after a failed write: the file is then incomplete and has to be replaced.
    file: Option<Arc<File>>,
    /// Bytes of the file.
    size: usize,
    /// The bytes that were appended since the replacement of the file began; `None` if it is not being replaced.
    since: Option<Vec<u8>>,
}

fn entry(range: &Range<u64>) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    let parts = range.start.to_le_bytes().into_iter().chain(range.end.to_le_bytes());
    bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    let sum = crc32c::crc32c(bytes.get(..16).unwrap_or_default()).to_le_bytes();
    bytes.iter_mut().skip(16).zip(sum.into_iter().chain(VERSION)).for_each(|(to, from)| *to = from);
    bytes
}

fn parse(bytes: &[u8]) -> Option<Range<u64>> {
    let (start, rest) = bytes.split_first_chunk()?;
    let (end, _) = rest.split_first_chunk()?;
    let range = u64::from_le_bytes(*start)..u64::from_le_bytes(*end);
    (entry(&range) == bytes && !range.is_empty()).then_some(range)
}

impl Settled {
    /// Reads the file in `folder`. Damaged entries are ignored: their records are sent again. The file is not appended to before
    /// [`Settled::replace`] was called.
    pub(super) fn read(folder: &Path) -> io::Result<(Self, Ranges)> {
        let path = folder.join("settled");
        let bytes = match fs::metadata(&path) {
            Ok(data) if data.len() <= MOST => fs::read(&path)?,
            Ok(data) => {
                log::warn!(
                    "{}: the file has {} bytes, more than a valid one; it is ignored, so delivered events are sent again",
                    path.display(),
                    data.len()
                );
                Vec::new()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut ranges = Ranges::default();
        bytes.chunks(ENTRY).filter_map(parse).for_each(|range| ranges.insert(range));
        Ok((Self { path, open: Mutex::default() }, ranges))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // No code that holds the lock panics, so the state is consistent even if the lock is poisoned.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends ranges to the file. If this fails, the file contains them only after it was replaced.
    pub(super) fn add(&self, ranges: &[Range<u64>]) -> io::Result<()> {
        let bytes: Vec<u8> = ranges.iter().flat_map(entry).collect();
        let mut open = self.lock();
        if let Some(since) = &mut open.since {
            since.extend_from_slice(&bytes);
        }
        let Some(file) = open.file.clone() else { return Ok(()) };
        if let Err(error) = (&*file).write_all(&bytes) {
            open.file = None;
            return Err(error);
        }
        open.size += bytes.len();
        Ok(())
    }

    /// Whether the file should be replaced by one with so many ranges.
    pub(super) fn is_large(&self, ranges: usize) -> bool {
        let open = self.lock();
        open.file.is_none() || (open.size > LARGE && open.size > 2 * ranges * ENTRY)
    }

    /// Replaces the file by one with the ranges that `all` returns, and those that are added meanwhile. Only one thread may call this
    /// function at a time.
    pub(super) fn replace(&self, all: impl FnOnce() -> Vec<Range<u64>>) -> io::Result<()> {
        // From here on, a range that is missing in the result of `all()` is in `since`.
        self.lock().since = Some(Vec::new());
        let replaced = self.replace_with(&all());
        self.lock().since = None;
        replaced
    }

    fn replace_with(&self, ranges: &[Range<u64>]) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut bytes: Vec<u8> = ranges.iter().flat_map(entry).collect();
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&new)?;
        (&file).write_all(&bytes)?;
        file.sync_data()?;
        let mut open = self.lock();
        let since = open.since.take().unwrap_or_default();
        (&file).write_all(&since)?;
        bytes.extend(since);
        fs::rename(&new, &self.path)?;
        (open.size, open.file) = (bytes.len(), Some(Arc::new(file)));
        Ok(())
    }

    /// Runs `work` while no thread can append.
    #[cfg(test)]
    pub(super) fn while_locked(&self, work: impl FnOnce()) {
        let _locked = self.lock();
        work();
    }

    /// The file, for synchronising it.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.lock().file.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(ranges: &Ranges) -> Vec<u64> {
        ranges.iter().flatten().collect()
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_read_and_continued() {
        let folder = tempfile::tempdir().unwrap();
        let (settled, _) = Settled::read(folder.path()).unwrap();
        settled.replace(Vec::new).unwrap();
        for range in [5..7, 0..2, 9..12] {
            settled.add(&[range]).unwrap();
        }
        let bytes = fs::read(folder.path().join("settled")).unwrap();
        for cut in 0..=bytes.len() {
            fs::write(folder.path().join("settled"), &bytes[..cut]).unwrap();
            let (again, ranges) = Settled::read(folder.path()).unwrap();
            let whole: &[u64] = [&[][..], &[5, 6], &[0, 1, 5, 6], &[0, 1, 5, 6, 9, 10, 11]][cut / ENTRY];
            assert_eq!(numbers(&ranges), whole, "{cut}");
            again.replace(|| ranges.iter().collect()).unwrap();
            again.add(std::slice::from_ref(&(20..21))).unwrap();
            assert_eq!(numbers(&Settled::read(folder.path()).unwrap().1), [whole, &[20]].concat(), "{cut}");
        }
    }

    #[test]
    fn ranges_added_during_a_replacement_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (settled, _) = Settled::read(folder.path()).unwrap();
        settled.replace(Vec::new).unwrap();
        settled
            .replace(|| {
                settled.add(std::slice::from_ref(&(7..8))).unwrap();
                std::iter::once(1..3).collect()
            })
            .unwrap();
        settled.add(std::slice::from_ref(&(9..10))).unwrap();
        assert_eq!(numbers(&Settled::read(folder.path()).unwrap().1), [1, 2, 7, 9]);
        assert!(!settled.is_large(0));
        for _ in 0..=LARGE / ENTRY {
            settled.add(std::slice::from_ref(&(1..2))).unwrap();
        }
        assert!(settled.is_large(1));
    }
}

//! Rotated files: a new file begins when the current one is full or old, and the oldest files are removed. They are named as Packetbeat names
//! them: `NAME-YYYYMMDD.ndjson`, then `NAME-YYYYMMDD-1.ndjson` and so on. Used for events and for the log. Not buffered: each call is one
//! write.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Names tried for a new file of one day before opening it fails.
const MOST_NAMES: u32 = 100_000;

/// The options of rotation.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder; created when it is missing.
    pub folder: PathBuf,
    /// The name without date and extension.
    pub name: String,
    /// Greatest size of a file in bytes. A single line that is longer still gets a file of its own.
    pub max_bytes: u64,
    /// How many files are kept, the current one included.
    pub keep: usize,
    /// Permission bits of new files.
    pub permissions: u32,
    /// Whether to begin a new file at start although the newest file has room.
    pub on_startup: bool,
    /// Greatest age of a file before a new one begins; zero: files rotate by size only.
    pub interval: Duration,
}

/// The file that is being written, and the older files beside it.
#[derive(Debug)]
pub struct Rotator {
    options: Options,
    current: Option<(File, PathBuf)>,
    size: u64,
    begun: SystemTime,
    started: bool,
}

impl Rotator {
    /// Opens nothing yet: the first write opens the first file.
    pub fn new(options: Options) -> Self {
        Self { options, current: None, size: 0, begun: SystemTime::UNIX_EPOCH, started: false }
    }

    /// How many bytes the current file may still take.
    pub fn room(&self) -> u64 {
        if self.current.is_some() { self.options.max_bytes.saturating_sub(self.size) } else { self.options.max_bytes }
    }

    /// Writes whole lines to one file: all of them or, when it fails, none.
    ///
    /// # Errors
    /// When the file cannot be opened or written.
    pub fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = lines.len() as u64;
        if self.current.is_some() && (self.room() < length && self.size > 0 || self.is_old()) {
            self.current = None;
        }
        if self.current.is_none() {
            self.current = Some(self.open(length)?);
        }
        let Some((file, _)) = &mut self.current else { return Ok(()) };
        if let Err(error) = file.write_all(lines) {
            // Half a line would spoil the next one, and what was written would be written twice.
            let _ = file.set_len(self.size);
            self.current = None;
            return Err(error);
        }
        self.size += length;
        Ok(())
    }

    /// The path of the file that is being written; `None` before the first write.
    pub fn path(&self) -> Option<&Path> {
        self.current.as_ref().map(|(_, path)| path.as_path())
    }

    fn is_old(&self) -> bool {
        !self.options.interval.is_zero() && self.begun.elapsed().is_ok_and(|age| age >= self.options.interval)
    }

    fn open(&mut self, length: u64) -> io::Result<(File, PathBuf)> {
        std::fs::create_dir_all(&self.options.folder)?;
        let (existing, may_append) = (self.files(), !self.options.on_startup && !self.started);
        let last = existing.last().filter(|_| may_append);
        let appended = last.and_then(|path| {
            let size = path.metadata().ok()?.len();
            (size.saturating_add(length) <= self.options.max_bytes).then_some(())?;
            let file = OpenOptions::new().append(true).open(path).ok()?;
            Some((file, path.clone(), size))
        });
        let (file, path) = match appended {
            Some((file, path, size)) => {
                self.size = size;
                (file, path)
            }
            None => {
                self.size = 0;
                self.create()?
            }
        };
        self.started = true;
        self.begun = SystemTime::now();
        self.remove_oldest();
        Ok((file, path))
    }

    fn create(&self) -> io::Result<(File, PathBuf)> {
        let day = jiff::Zoned::now().strftime("%Y%m%d").to_string();
        // Not the first free name: what was removed as too old must not be used again before newer ones.
        let newest = self.files().iter().filter_map(|path| number(path, &self.options.name, &day)).max();
        for n in newest.map_or(0, |n| n.saturating_add(1))..MOST_NAMES {
            let suffix = if n == 0 { String::new() } else { format!("-{n}") };
            let path = self.options.folder.join(format!("{}-{day}{suffix}.ndjson", self.options.name));
            match OpenOptions::new().append(true).create_new(true).mode(self.options.permissions).open(&path) {
                Ok(file) => {
                    // The mode given at creation is subject to the umask; what the user asked for is not.
                    file.set_permissions(std::fs::Permissions::from_mode(self.options.permissions))?;
                    return Ok((file, path));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
            }
        }
        Err(io::Error::other(format!("too many files of {day} in {}", self.options.folder.display())))
    }

    /// The files of this name in the folder, the oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.options.folder) else { return Vec::new() };
        let mut files: Vec<(String, u32, PathBuf)> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let day = path.file_name()?.to_str()?.strip_prefix(&self.options.name)?.strip_prefix('-')?.get(..8)?.to_owned();
                day.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
                Some((day.clone(), number(&path, &self.options.name, &day)?, path))
            })
            .collect();
        files.sort();
        files.into_iter().map(|(_, _, path)| path).collect()
    }

    fn remove_oldest(&self) {
        let files = self.files();
        for path in files.iter().take(files.len().saturating_sub(self.options.keep)) {
            // One that stays is tried again at the next rotation.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Reads permission bits: octal with or without a leading zero, or decimal where a digit is no octal one (`384`).
pub fn permissions(text: &str) -> Option<u32> {
    let digits = text.trim_start_matches("0o");
    u32::from_str_radix(digits, 8).or_else(|_| digits.parse()).ok().filter(|bits| *bits <= 0o777)
}

/// The number of a file among those of its day, 0 for the first; `None` when the name is not a rotated file's.
fn number(path: &Path, name: &str, day: &str) -> Option<u32> {
    let rest = path.file_name()?.to_str()?.strip_prefix(name)?.strip_prefix('-')?.strip_prefix(day)?.strip_suffix(".ndjson")?;
    if rest.is_empty() { Some(0) } else { rest.strip_prefix('-')?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);
    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("sniffer-rotate-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Self(path)
        }
        fn options(&self) -> Options {
            let (folder, interval) = (self.0.join("deep"), Duration::ZERO);
            Options { folder, name: "x".into(), max_bytes: 10, keep: 3, permissions: 0o640, on_startup: true, interval }
        }
        fn contents(&self) -> Vec<(String, String)> {
            let mut all: Vec<_> = std::fs::read_dir(self.0.join("deep")).unwrap().map(|e| e.unwrap().path()).collect();
            all.sort();
            let day = jiff::Zoned::now().strftime("%Y%m%d").to_string();
            let name = |p: &Path| p.file_name().unwrap().to_str().unwrap().replace(&day, "D");
            all.iter().map(|p| (name(p), std::fs::read_to_string(p).unwrap())).collect()
        }
    }
    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect()
    }

    #[test]
    fn names_sizes_and_how_many() {
        let folder = Folder::new("sizes");
        let mut rotator = Rotator::new(folder.options());
        rotator.write(b"12345\n").unwrap();
        rotator.write(b"abc\n").unwrap();
        assert_eq!(folder.contents(), pairs(&[("x-D.ndjson", "12345\nabc\n")]));
        assert_eq!(rotator.path().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o640);
        for line in [&b"longer than a file may be\n"[..], b"3\n", b"4444444\n", b"55555\n"] {
            rotator.write(line).unwrap();
        }
        assert_eq!(
            folder.contents(),
            pairs(&[("x-D-2.ndjson", "3\n4444444\n"), ("x-D-3.ndjson", "55555\n"), ("x-D-1.ndjson", "longer than a file may be\n")])
                .into_iter()
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_start_begins_a_file_or_goes_on() {
        let folder = Folder::new("start");
        for (on_startup, line) in [(true, b"a\n"), (true, b"b\n"), (false, b"c\n")] {
            Rotator::new(Options { on_startup, ..folder.options() }).write(line).unwrap();
        }
        assert_eq!(folder.contents(), pairs(&[("x-D-1.ndjson", "b\nc\n"), ("x-D.ndjson", "a\n")]));
    }
}

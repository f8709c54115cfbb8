//! Rotated files. When the current file is full or too old, a new one begins, and the oldest files are removed. The names are Packetbeat's:
//! `NAME-YYYYMMDD.ndjson`, then `NAME-YYYYMMDD-1.ndjson` and so on. The events of the file output and the log use them. Nothing is
//! buffered, so each call writes once.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Maximum number of names that are tried for a new file of one day before opening fails.
const MOST_NAMES: u32 = 100_000;

/// The options of rotation.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder. It is created if it does not exist.
    pub folder: PathBuf,
    /// The name without date and extension.
    pub name: String,
    /// Largest size of a file in bytes. A single line that is longer gets its own file.
    pub max_bytes: u64,
    /// Number of files that are kept, including the current one.
    pub keep: usize,
    /// Permission bits of new files.
    pub permissions: u32,
    /// Whether to begin a new file at start even if the newest file has room.
    pub on_startup: bool,
    /// Largest age of a file. Zero: files rotate by size only.
    pub interval: Duration,
}

impl Options {
    /// The permission bits of a new folder: those of the files, plus search permission for those who may read the files. Packetbeat uses
    /// the same rule.
    fn folder_permissions(&self) -> u32 {
        let group = if self.permissions & 0o070 == 0 { 0 } else { 0o050 };
        let others = if self.permissions & 0o007 == 0 { 0 } else { 0o005 };
        0o700 | group | others
    }
}

/// Checks that `name` can be the beginning of a file name.
///
/// # Errors
/// The reason why `name` cannot be one.
pub fn check_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("is empty".into()),
        _ if name.contains('/') => Err(format!("'{name}' contains '/'; the folder is set with `path`")),
        _ if name.contains('\0') => Err("contains a zero byte".into()),
        _ => Ok(()),
    }
}

/// The current file, and the options that determine the names of the older files.
#[derive(Debug)]
pub struct Rotator {
    options: Options,
    current: Option<Current>,
    started: bool,
}

/// The file that is being written.
#[derive(Debug)]
struct Current {
    file: File,
    path: PathBuf,
    /// Device and inode of the file. They show whether the file at `path` was removed or replaced.
    identity: (u64, u64),
    size: u64,
    begun: SystemTime,
    /// Whether nothing was written to the file yet. Older files are removed only after the first write. Otherwise empty files would replace
    /// full ones when the disk is full.
    is_new: bool,
}

impl Current {
    /// Makes `file`, which is open for writing, the current file.
    fn new(file: File, path: PathBuf) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let (identity, size) = ((metadata.dev(), metadata.ino()), metadata.len());
        Ok(Self { file, path, identity, size, begun: SystemTime::now(), is_new: true })
    }

    /// Opens an existing file to append to it. Returns `None` if that is not possible, or if the path is not a regular file: a symbolic
    /// link could point to a file that another program owns.
    fn append(path: &Path) -> Option<Self> {
        path.symlink_metadata().ok()?.is_file().then_some(())?;
        let mut file = OpenOptions::new().read(true).append(true).custom_flags(libc::O_NOFOLLOW).open(path).ok()?;
        let metadata = file.metadata().ok()?;
        metadata.is_file().then_some(())?;
        let mut last = [b'\n'];
        if let Some(at) = metadata.len().checked_sub(1) {
            file.read_exact_at(&mut last, at).ok()?;
        }
        if last != [b'\n'] {
            // The program was killed while it wrote the last line. The next line must not become a part of it.
            file.write_all(b"\n").ok()?;
        }
        Self::new(file, path.to_owned()).ok()
    }

    /// Whether the file was removed, renamed or replaced. Lines that are written to such a file would be lost.
    fn is_gone(&self) -> bool {
        match self.path.symlink_metadata() {
            Ok(metadata) => (metadata.dev(), metadata.ino()) != self.identity,
            Err(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        }
    }
}

impl Rotator {
    /// Makes the writer. The first write opens the first file.
    pub fn new(options: Options) -> Self {
        Self { options, current: None, started: false }
    }

    /// Free space in the current file, in bytes.
    pub fn room(&self) -> u64 {
        self.options.max_bytes.saturating_sub(self.current.as_ref().map_or(0, |current| current.size))
    }

    /// Writes whole lines to one file: all of them, or none if writing fails. After a failure (a full disk) the next
    /// call continues with the same file.
    ///
    /// # Errors
    /// When the file cannot be opened or written.
    pub fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = lines.len() as u64;
        if let Some(current) = &self.current
            && (self.room() < length && current.size > 0 || self.is_old(current) || current.is_gone())
        {
            self.current = None;
        }
        let current = match &mut self.current {
            Some(current) => current,
            none => none.insert(open(&self.options, length, !self.options.on_startup && !self.started)?),
        };
        self.started = true;
        if let Err(error) = current.file.write_all(lines) {
            let error = io::Error::new(error.kind(), format!("{}: {error}", current.path.display()));
            // Remove a partial line. If that fails, continue in another file, because the partial line would corrupt the next line.
            if current.file.set_len(current.size).is_err() {
                self.current = None;
            }
            return Err(error);
        }
        current.size += length;
        if std::mem::replace(&mut current.is_new, false) {
            remove_oldest(&self.options, &current.path);
        }
        Ok(())
    }

    /// The path of the current file; `None` before the first write.
    pub fn path(&self) -> Option<&Path> {
        self.current.as_ref().map(|current| current.path.as_path())
    }

    fn is_old(&self, current: &Current) -> bool {
        !self.options.interval.is_zero() && current.begun.elapsed().is_ok_and(|age| age >= self.options.interval)
    }
}

impl Drop for Rotator {
    fn drop(&mut self) {
        // Remove a file to which nothing could be written.
        if let Some(current) = &self.current
            && current.is_new
            && current.size == 0
            && !current.is_gone()
        {
            let _ = fs::remove_file(&current.path);
        }
    }
}

/// Opens the file for the next `length` bytes. This is the newest file if `may_append` is set and the file has room, otherwise a new file.
fn open(options: &Options, length: u64, may_append: bool) -> io::Result<Current> {
    let (folder, permissions) = (&options.folder, options.folder_permissions());
    fs::DirBuilder::new()
        .recursive(true)
        .mode(permissions)
        .create(folder)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.display())))?;
    let existing = if may_append { files(options) } else { Vec::new() };
    let newest = existing.last().and_then(|path| Current::append(path));
    match newest.filter(|newest| newest.size.saturating_add(length) <= options.max_bytes) {
        Some(newest) => Ok(newest),
        None => create(options),
    }
}

fn create(options: &Options) -> io::Result<Current> {
    let day = jiff::Zoned::now().strftime("%Y%m%d").to_string();
    // Use the number after the greatest one, not the first free number. Files are ordered by name, so names of removed files must not be
    // used again.
    let newest = files(options).iter().filter_map(|path| number(path, &options.name, &day)).max();
    for n in newest.map_or(0, |n| n.saturating_add(1))..MOST_NAMES {
        let suffix = if n == 0 { String::new() } else { format!("-{n}") };
        let path = options.folder.join(format!("{}-{day}{suffix}.ndjson", options.name));
        match OpenOptions::new().append(true).create_new(true).mode(options.permissions).open(&path) {
            Ok(file) => {
                // The mode is set again, because the umask reduces the mode that is given at creation.
                file.set_permissions(fs::Permissions::from_mode(options.permissions))?;
                return Current::new(file, path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    }
    Err(io::Error::other(format!("too many files of {day} in {}", options.folder.display())))
}

/// The rotated files in the folder, the oldest first.
fn files(options: &Options) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(&options.folder) else { return Vec::new() };
    let mut files: Vec<(String, u32, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let day = path.file_name()?.to_str()?.strip_prefix(&options.name)?.strip_prefix('-')?.get(..8)?.to_owned();
            day.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
            Some((day.clone(), number(&path, &options.name, &day)?, path))
        })
        .collect();
    files.sort();
    files.into_iter().map(|(_, _, path)| path).collect()
}

/// Removes files beyond the number to keep: first the empty ones, which a full disk causes, then the oldest.
fn remove_oldest(options: &Options, current: &Path) {
    let mut others = files(options);
    others.retain(|path| path != current);
    let surplus = (others.len() + 1).saturating_sub(options.keep);
    let is_empty = |path: &PathBuf| path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0);
    let (empty, full): (Vec<_>, Vec<_>) = others.into_iter().partition(is_empty);
    for path in empty.iter().chain(&full).take(surplus) {
        // If a file cannot be removed, the next rotation tries again.
        let _ = fs::remove_file(path);
    }
}

/// Parses permission bits: octal with or without a leading zero, or decimal if a digit is not octal (`384`).
pub fn permissions(text: &str) -> Option<u32> {
    let digits = text.trim_start_matches("0o");
    u32::from_str_radix(digits, 8).or_else(|_| digits.parse()).ok().filter(|bits| *bits <= 0o777)
}

/// Returns the number of a file among the files of its day: 0 for the first. Returns `None` if the name is not that of a rotated file.
fn number(path: &Path, name: &str, day: &str) -> Option<u32> {
    let rest = path.file_name()?.to_str()?.strip_prefix(name)?.strip_prefix('-')?.strip_prefix(day)?.strip_suffix(".ndjson")?;
    if rest.is_empty() { Some(0) } else { rest.strip_prefix('-')?.parse().ok() }
}

#[cfg(test)]
#[path = "rotate_tests.rs"]
mod tests;

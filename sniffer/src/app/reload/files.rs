//! Detects changes of the files of the configuration. It does not read the settings in them.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hasher},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::{Duration, Instant},
};

/// A changed file is read again only when it has not changed for this long (or for `reload.period`, if that is shorter), because another
/// program may still be writing it.
const SETTLES: Duration = Duration::from_secs(1);
/// Number of bytes at the start of a file that are compared. Configurations are far shorter. A change after these bytes
/// is not found.
const COMPARED: u64 = 16 << 20;

/// The files of a configuration.
pub struct Files {
    watched: Vec<Watched>,
    period: Duration,
    next: Instant,
}

/// A file and its state when it was looked at last.
struct Watched {
    path: PathBuf,
    stamp: Option<Stamp>,
    /// Digest of the content when the configuration was read last, whether that configuration was accepted or refused. `None` if the
    /// file did not exist.
    used: Option<u64>,
    /// Digest of the content that the last look found.
    found: Option<u64>,
}

/// Metadata of a file, which changes when the file is written or replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The result of a look at the files.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// No file has another content than the one that was used last.
    Same,
    /// A file has changed since the last look and may still be written.
    Changing,
    /// These files have another content than the one in force. The new content was the same at the last two looks.
    Changed(Vec<PathBuf>),
    /// These files existed at the last look, and now do not exist or cannot be read.
    Gone(Vec<PathBuf>),
}

impl Files {
    /// Makes the watcher of `files`. `period`: the time between two looks.
    pub fn new(files: impl IntoIterator<Item = PathBuf>, period: Duration, now: Instant) -> Self {
        let watched = files.into_iter().map(Watched::new).collect();
        Self { watched, period, next: now + period }
    }

    /// When the files must be looked at again.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Looks at the files.
    pub fn look(&mut self, now: Instant) -> Look {
        let (mut changed, mut gone, mut moving) = (Vec::new(), Vec::new(), false);
        for file in &mut self.watched {
            let was_there = file.stamp.is_some();
            let before = file.stamp;
            file.observe();
            if file.stamp.is_none() {
                gone.extend(was_there.then(|| file.path.clone()));
            } else if file.found != file.used {
                moving |= file.stamp != before;
                changed.push(file.path.clone());
            }
        }
        let settles = moving && !changed.is_empty();
        self.next = now + if settles { self.period.min(SETTLES) } else { self.period };
        match (gone.is_empty(), changed.is_empty(), settles) {
            (false, ..) => Look::Gone(gone),
            (true, true, _) => Look::Same,
            (true, false, true) => Look::Changing,
            // While several files are replaced, one of them may be missing for a moment.
            (true, false, false) if self.watched.iter().any(|file| file.stamp.is_none()) => Look::Changing,
            (true, false, false) => Look::Changed(changed),
        }
    }

    /// Records that the configuration is about to be read: from now on, a change is a difference from the present content. The function
    /// must be called before the files are read, so that a change during the reading is found.
    pub fn used(&mut self) {
        for file in &mut self.watched {
            file.observe();
            file.used = file.found;
        }
    }

    /// Replaces the list of files. Files that are watched already keep their state.
    pub fn replace(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        let mut before = std::mem::take(&mut self.watched);
        for path in files {
            let known = before.iter().position(|file| file.path == path).map(|place| before.swap_remove(place));
            self.watched.push(known.unwrap_or_else(|| Watched::new(path)));
        }
    }
}

impl Watched {
    fn new(path: PathBuf) -> Self {
        let mut file = Self { path, stamp: None, used: None, found: None };
        file.observe();
        file.used = file.found;
        file
    }

    /// Looks at the file. The content is read only if the stamp has changed.
    fn observe(&mut self) {
        let stamp = fs::metadata(&self.path).ok().map(|meta| Stamp {
            device: meta.dev(),
            inode: meta.ino(),
            length: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        });
        if stamp != self.stamp || stamp.is_none() {
            self.found = digest(&self.path).ok();
            self.stamp = stamp.filter(|_| self.found.is_some());
        }
    }
}

fn digest(path: &PathBuf) -> io::Result<u64> {
    let (mut file, mut hasher, mut part) = (File::open(path)?.take(COMPARED), DefaultHasher::new(), [0; 16 << 10]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok(hasher.finish()),
            read => hasher.write(part.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(10);

    #[test]
    fn a_file_that_is_written_in_parts_counts_once_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yml");
        fs::write(&path, "old").unwrap();
        let start = Instant::now();
        let mut files = Files::new([path.clone()], PERIOD, start);
        assert_eq!((files.look(start), files.next()), (Look::Same, start + PERIOD));
        fs::write(&path, "").unwrap();
        assert_eq!((files.look(start), files.next()), (Look::Changing, start + SETTLES));
        fs::write(&path, "new, longer").unwrap();
        assert_eq!(files.look(start), Look::Changing);
        assert_eq!((files.look(start), files.next()), (Look::Changed(vec![path.clone()]), start + PERIOD));
        files.used();
        assert_eq!(files.look(start), Look::Same, "a content is reported until it is used");
    }

    #[test]
    fn the_same_content_and_a_removed_file_are_no_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a.yml"), dir.path().join("b.yml"));
        fs::write(&path, "old").unwrap();
        let now = Instant::now();
        let mut files = Files::new([path.clone()], PERIOD, now);
        fs::write(&other, "old").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(files.look(now), Look::Same, "replaced by a file with the same content");
        fs::remove_file(&path).unwrap();
        assert_eq!(files.look(now), Look::Gone(vec![path.clone()]));
        assert_eq!(files.look(now), Look::Same, "reported once");
        fs::write(&path, "old").unwrap();
        assert_eq!(files.look(now), Look::Same, "back with the same content");
        fs::remove_file(&path).unwrap();
        assert_eq!(files.look(now), Look::Gone(vec![path.clone()]));
        fs::write(&path, "new").unwrap();
        assert_eq!(files.look(now), Look::Changing);
        assert_eq!(files.look(now), Look::Changed(vec![path.clone()]), "back with another content");
    }

    #[test]
    fn links_that_lead_elsewhere_and_further_files() {
        let dir = tempfile::tempdir().unwrap();
        let [link, first, second] = ["packetbeat.yml", "1.yml", "2.yml"].map(|name| dir.path().join(name));
        fs::write(&first, "first").unwrap();
        fs::write(&second, "2").unwrap();
        std::os::unix::fs::symlink(&first, &link).unwrap();
        let now = Instant::now();
        let mut files = Files::new([link.clone()], PERIOD, now);
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&second, &link).unwrap();
        assert_eq!(files.look(now), Look::Changing);
        assert_eq!(files.look(now), Look::Changed(vec![link.clone()]));
        files.used();
        files.replace([link, first.clone()]);
        fs::write(&first, "changed").unwrap();
        assert_eq!(files.look(now), Look::Changing);
        assert_eq!(files.look(now), Look::Changed(vec![first]));
    }
}

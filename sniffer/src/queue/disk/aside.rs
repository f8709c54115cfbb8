//! Puts damaged parts of segments aside, in files that a user can examine. The queue never reads these files. It removes none of them.

use super::segment_path;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Number of names that [`Aside::keep`] has for the files of segments with the same number.
const NAMES: usize = 100;

pub(super) struct Aside {
    folder: PathBuf,
    /// Bytes of all files with damaged parts, and the limit of these bytes.
    bytes: u64,
    most: u64,
}

impl Aside {
    /// Begins with `bytes` in files of earlier runs. `max_size`: the limit of the queue, 0 if there is none.
    pub(super) fn new(folder: &Path, bytes: u64, max_size: u64) -> Self {
        Self { folder: folder.to_owned(), bytes, most: if max_size == 0 { u64::MAX } else { max_size / 10 } }
    }

    /// Copies a damaged part of a segment to a separate file.
    pub(super) fn copy(&mut self, segment: u64, range: &Range<u64>) {
        let (from, length) = (range.start, range.end.saturating_sub(range.start));
        let (source, path) = (segment_path(&self.folder, segment), self.folder.join(format!("{segment:020}-{from}.damaged")));
        if path.exists() {
            return;
        }
        if self.bytes.saturating_add(length) > self.most {
            log::warn!(
                "{}: {length} bytes from byte {from} on are damaged; they are skipped, because too many were put aside before",
                source.display()
            );
            return;
        }
        let copied = File::open(&source).and_then(|mut file| {
            file.seek(SeekFrom::Start(from))?;
            let mut to = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
            io::copy(&mut file.take(length), &mut to)
        });
        match copied {
            Ok(bytes) => {
                self.bytes += bytes;
                log::warn!(
                    "{}: {length} bytes from byte {from} on are damaged or incomplete; they are now in {}",
                    source.display(),
                    path.display()
                );
            }
            Err(error) => {
                let _ = fs::remove_file(&path);
                log::warn!("{}: {length} damaged bytes from byte {from} on cannot be put aside: {error}", source.display());
            }
        }
    }

    /// Keeps the file of a segment without a readable record under another name. Renaming needs no room on the disk.
    pub(super) fn keep(&mut self, segment: u64) {
        let source = segment_path(&self.folder, segment);
        let mut names = (0..NAMES).map(|n| self.folder.join(format!("{segment:020}.{n}.damaged")));
        // If all names are taken, the last file is replaced.
        let Some(path) = names.clone().find(|path| !path.exists()).or_else(|| names.next_back()) else { return };
        self.bytes += fs::metadata(&source).map_or(0, |data| data.len());
        match fs::rename(&source, &path) {
            Ok(()) => log::warn!("{}: no record can be read; the file is now {}", source.display(), path.display()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => log::warn!("{}: the file cannot be renamed: {error}", source.display()),
        }
    }
}

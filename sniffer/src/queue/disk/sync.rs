//! The thread that synchronises written files about every second, and replaces the file `settled` when it has grown. It holds no lock while
//! it does so.

use super::Shared;
use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    sync::{Arc, mpsc},
    time::Duration,
};

/// Time between two synchronisations of written files. A power loss loses at most the records that were written during this time.
const EVERY: Duration = Duration::from_millis(900);

/// The segments that have to be synchronised.
#[derive(Default)]
pub(super) struct Unsynced {
    active: Option<Arc<File>>,
    complete: Vec<Arc<File>>,
    /// Whether files were written, made or removed since they were last synchronised.
    pub is_dirty: bool,
}

impl Unsynced {
    /// Adds a segment to which records are appended from now on.
    pub(super) fn begin(&mut self, file: Arc<File>) {
        self.complete();
        self.active = Some(file);
    }

    /// Ends the segment to which records were appended. The thread synchronises it once more.
    pub(super) fn complete(&mut self) {
        self.complete.extend(self.active.take());
    }

    fn take(&mut self) -> Option<Vec<Arc<File>>> {
        let files = std::mem::take(&mut self.complete);
        std::mem::take(&mut self.is_dirty).then(|| files.into_iter().chain(self.active.clone()).collect())
    }
}

/// Synchronises regularly, until the sender of the channel is dropped, and then once more.
pub(super) fn run(shared: &Shared, stopped: &mpsc::Receiver<()>) {
    loop {
        let goes_on = stopped.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Timeout);
        if let Err(error) = replace_settled(shared).and_then(|()| synchronise(shared)) {
            shared.state().stats.write_errors += 1;
            log::debug!("queue.disk: {}: {error}; it is tried again", shared.options.path.display());
        }
        if !goes_on {
            return;
        }
    }
}

fn replace_settled(shared: &Shared) -> io::Result<()> {
    let ranges = shared.state().settled.iter().len();
    if !shared.settled.is_large(ranges) {
        return Ok(());
    }
    shared.settled.replace(|| shared.state().settled.iter().collect())
}

pub(super) fn synchronise(shared: &Shared) -> io::Result<()> {
    let Some(segments) = shared.sync().take() else { return Ok(()) };
    let mut result = Ok(());
    for file in segments {
        // Synchronising a segment that is already removed would be useless.
        if file.metadata().is_ok_and(|data| data.nlink() > 0) {
            result = result.and(file.sync_data());
        }
    }
    // The file `settled` is synchronised after the segments. So it never has the numbers of events that are not on disk.
    if let Some(file) = shared.settled.file() {
        result = result.and(file.sync_data());
    }
    // The names of new files are part of the folder, so the folder is synchronised, too.
    result = result.and(File::open(&shared.options.path).and_then(|folder| folder.sync_all()));
    if result.is_err() {
        shared.sync().is_dirty = true;
    }
    result
}

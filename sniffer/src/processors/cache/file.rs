//! The file of a cache: one line of JSON for each value, `{"key": …, "val": …, "expires": …}`. It is read when the store is opened, and written
//! by a thread of its own, so that no event waits for it.

use super::store::Store;
use crate::{opening::Clock, time::Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    fs,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Maximum size of the part of the file that is read, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// The interval if none is configured: the file is written only when the program ends.
const NEVER: Duration = Duration::from_secs(1 << 30);

#[derive(Deserialize, Serialize)]
struct Line {
    key: String,
    val: Value,
    expires: String,
}

/// The thread that writes the file. When this value is dropped, the thread writes the file once more if values have changed.
pub(super) struct Writer {
    /// The sending side of a channel. When it is dropped, the thread ends.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::warn!("cache: the thread that writes the file ended unexpectedly; changes since its last write are lost");
        }
    }
}

/// Reads the file into the store, and starts the thread that writes it. If that fails, a warning is logged, and the values are only in
/// memory.
pub(super) fn open(path: PathBuf, interval: Duration, store: &Arc<Store>, clock: &'static dyn Clock) -> Option<Writer> {
    if let Err(error) = read(&path, store, clock.now())
        && error.kind() != io::ErrorKind::NotFound
    {
        log::warn!("cache: {}: {error}", path.display());
    }
    store.take_changed();
    let (stop, stopped) = sync_channel(0);
    let (store, interval) = (store.clone(), if interval.is_zero() { NEVER } else { interval });
    let run = move || {
        loop {
            let ends = stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout);
            if store.take_changed()
                && let Err(error) = write(&path, &store, clock.now())
            {
                log::warn!("cache: {}: {error}; the values are only in memory", path.display());
            }
            if ends {
                return;
            }
        }
    };
    match thread::Builder::new().name("cache".to_owned()).spawn(run) {
        Ok(thread) => Some(Writer { stop: Some(stop), thread: Some(thread) }),
        Err(error) => {
            log::warn!("cache: {error}; the values are only in memory");
            None
        }
    }
}

fn read(path: &Path, store: &Store, now: Timestamp) -> io::Result<()> {
    let mut wrong = 0_usize;
    for line in BufReader::new(fs::File::open(path)?.take(MAX_FILE)).lines() {
        let parsed = serde_json::from_str(&line?).ok().and_then(|Line { key, val, expires }| Some((key, val, Timestamp::parse(&expires)?)));
        match parsed {
            Some((_, _, expires)) if expires <= now => {}
            Some((key, value, expires)) => wrong += usize::from(store.put(key, value, now, expires).is_err()),
            None => wrong += 1,
        }
    }
    if wrong > 0 {
        log::warn!("cache: {}: {wrong} lines are not valid and were ignored", path.display());
    }
    Ok(())
}

/// Writes a new file, which then replaces the old one.
fn write(path: &Path, store: &Store, now: Timestamp) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    }
    let new = path.with_file_name(format!(".{}.new", path.file_name().unwrap_or_default().to_string_lossy()));
    let mut file = BufWriter::new(fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?);
    for (key, val, expires) in store.copy(now) {
        serde_json::to_writer(&mut file, &Line { key, val, expires: expires.text(9).as_str().to_owned() })?;
        file.write_all(b"\n")?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&new, path)
}

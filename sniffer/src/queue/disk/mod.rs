//! The queue on disk. Records are written to segments before [`Queue::push`] returns. This file decides when producers and consumers wait
//! and when they are woken. It has the locks: `state` protects the content of the queue, and no system call is made while it is held;
//! `writer` protects the file to which records are appended. One thread reads records before the output asks for them (`ahead`), another
//! one synchronises files (`sync`).
//!
//! A thread that holds `writer` may lock `state` or `sync`; a thread that holds one of these locks nothing.

mod ahead;
mod aside;
#[cfg(test)]
mod fault_tests;
mod frame;
#[cfg(test)]
mod kill_tests;
mod later;
mod options;
mod ranges;
mod reader;
mod settled;
mod start;
mod state;
mod sync;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod writer;

pub use options::Options;

use super::{Batch, BoxFuture, Queue, Sequence, Stats, WhenFull};
use crate::publish::Record;
use settled::Settled;
use state::State;
use std::{
    fs::{self, File},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use sync::Unsynced;
use tokio::sync::Notify;
use writer::Writer;

/// The longest time that a producer sleeps before it checks again whether there is room.
const LOOK: Duration = Duration::from_millis(100);

/// A queue on disk, bounded in bytes.
pub(super) struct Disk {
    shared: Arc<Shared>,
    /// When this is dropped, the thread that synchronises files ends.
    stop: Option<mpsc::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// The state that the threads of the queue and its users share.
struct Shared {
    options: Options,
    state: Mutex<State>,
    writer: Mutex<Writer>,
    sync: Mutex<Unsynced>,
    settled: Settled,
    /// Wakes producers that wait for room, together with `writer`.
    room: Condvar,
    /// Wakes one consumer that waits for records.
    ready: Notify,
    /// Wakes the callers of [`Queue::finished`].
    ended: Notify,
    /// Wakes the reading thread. The channel has room for one message, because one message makes the thread look at everything that there
    /// is to do.
    to_reader: mpsc::SyncSender<()>,
    /// Whether files were removed since the writer last checked this flag.
    has_room: AtomicBool,
    /// Whether the reading thread must end.
    stop: AtomicBool,
    _lock: File,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that holds a lock panics, so the protected data is consistent even if the lock is poisoned.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn segment_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.segment"))
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }

    fn sync(&self) -> MutexGuard<'_, Unsynced> {
        lock(&self.sync)
    }

    fn wake_reader(&self) {
        // A message that is already there suffices, because the thread has not looked at its tasks since that message was sent.
        let _ = self.to_reader.try_send(());
    }

    /// Wakes the threads and tasks that may continue after records were read, settled or found missing. `has_room`: files were removed.
    fn wake_consumers(&self, has_room: bool) {
        if has_room {
            self.has_room.store(true, Ordering::Relaxed);
            // This thread does not take the lock of the writer, because a slow write would delay it. A producer may therefore miss this
            // signal. It then finds the room when it checks again, after the time `LOOK`.
            self.room.notify_all();
        }
        if self.state().has_ended() {
            self.ready.notify_waiters();
            self.ended.notify_waiters();
        }
        self.ready.notify_one();
    }

    /// Removes the files of segments.
    fn remove(&self, segments: &[u64]) {
        for first in segments {
            let path = segment_path(&self.options.path, *first);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => log::warn!("{}: cannot be removed: {error}", path.display()),
                _ => {}
            }
        }
        if !segments.is_empty() {
            self.sync().is_dirty = true;
        }
    }
}

impl Disk {
    /// Opens the queue and continues with the records that it has.
    pub(super) fn open(options: Options) -> io::Result<Arc<Self>> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("queue.disk: {}: {error}", options.path.display()));
        let opened = start::open(&options).map_err(named)?;
        let found = opened.state.stats().events;
        if found > 0 {
            log::info!("queue.disk: {} has {found} events of an earlier run", options.path.display());
        }
        let (to_reader, woken) = mpsc::sync_channel(1);
        let (stop, stopped) = mpsc::channel();
        let shared = Arc::new(Shared {
            options,
            state: Mutex::new(opened.state),
            writer: Mutex::new(Writer::new(opened.next)),
            sync: Mutex::default(),
            settled: opened.settled,
            room: Condvar::new(),
            ready: Notify::new(),
            ended: Notify::new(),
            to_reader,
            has_room: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            _lock: opened.lock,
        });
        shared.sync().is_dirty = true;
        let (reading, syncing, aside) = (shared.clone(), shared.clone(), opened.aside);
        let mut queue = Self { shared, stop: Some(stop), threads: Vec::new() };
        // If the second thread cannot be started, dropping the queue ends the first one.
        let thread = |name: &str| thread::Builder::new().name(name.into());
        queue.threads.push(thread("disk-queue-read").spawn(move || ahead::run(reading, aside, &woken))?);
        queue.threads.push(thread("disk-queue-sync").spawn(move || sync::run(&syncing, &stopped))?);
        Ok(Arc::new(queue))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.wake_reader();
        self.stop = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has also ended, so the result is ignored.
            let _ = thread.join();
        }
    }
}

impl Queue for Disk {
    fn push(&self, records: Vec<Record>, full: WhenFull) -> usize {
        let (mut records, mut dropped) = (records.into_iter(), 0);
        let mut writer = self.shared.writer();
        while records.len() > 0 {
            let before = records.len();
            let is_closed = self.shared.state().closed;
            if !is_closed {
                dropped += writer.accept(&mut records, &self.shared);
            }
            if records.len() < before {
                self.shared.wake_reader();
            }
            let wait = self.shared.state().wait(LOOK);
            if full == WhenFull::Drop || is_closed || wait.is_zero() {
                break;
            }
            if records.len() > 0 {
                writer = self.shared.room.wait_timeout(writer, wait).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        drop(writer);
        dropped += records.len();
        if dropped > 0 {
            self.shared.state().stats.dropped += dropped as u64;
        }
        dropped
    }

    fn next(self: Arc<Self>, max: usize) -> BoxFuture<'static, Option<Batch>> {
        Box::pin(async move {
            loop {
                let woken = self.shared.ready.notified();
                tokio::pin!(woken);
                // Register before reading the state, so that no wake-up is missed.
                woken.as_mut().enable();
                let (given, ended) = {
                    let mut state = self.shared.state();
                    (state.take(max.max(1)), state.has_ended())
                };
                if !given.records.is_empty() {
                    self.shared.wake_reader();
                    // There may be records for another consumer, too.
                    self.shared.ready.notify_one();
                    return Some(Batch::new(self.clone(), given.sequences, given.records).again(given.is_again));
                }
                if ended {
                    return None;
                }
                woken.await;
            }
        })
    }

    fn settle(&self, done: &[Range<Sequence>]) {
        let (runs, removed) = self.shared.state().settle(done);
        if let Err(error) = self.shared.settled.add(&runs) {
            self.shared.state().stats.write_errors += 1;
            log::debug!("queue.disk: which events are delivered cannot be written: {error}");
        }
        self.shared.sync().is_dirty = true;
        self.shared.remove(&removed);
        self.shared.wake_reader();
        self.shared.wake_consumers(!removed.is_empty());
    }

    fn give_back(&self, unsettled: Vec<(Sequence, Record)>) {
        self.shared.state().give_back(unsettled);
        self.shared.ready.notify_one();
    }

    fn postpone(&self, records: &[Range<Sequence>], may_take: bool) -> bool {
        let is_taken = self.shared.state().postpone(records, may_take, Instant::now());
        self.shared.wake_reader();
        // Other records may now be handed out in place of the postponed ones.
        self.shared.ready.notify_one();
        is_taken
    }

    fn limit_waits(&self, until: Instant) {
        self.shared.state().no_waits_after = Some(until);
        self.shared.room.notify_all();
    }

    fn close(&self) {
        self.shared.state().closed = true;
        self.shared.room.notify_all();
        self.shared.ready.notify_waiters();
        self.shared.ready.notify_one();
        self.shared.ended.notify_waiters();
    }

    fn finished(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            loop {
                let woken = self.shared.ended.notified();
                tokio::pin!(woken);
                woken.as_mut().enable();
                if self.shared.state().has_ended() {
                    return;
                }
                woken.await;
            }
        })
    }

    fn stats(&self) -> Stats {
        self.shared.state().stats()
    }
}

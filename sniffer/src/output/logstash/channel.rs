//! A connection to Logstash that carries several windows at a time. Windows are written one after the other, and a task reads the
//! acknowledgements, which come in the order of the windows.

use super::wire;
use crate::output::{
    Error, Reason,
    connection::{Connection, with_time_limit, write},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, ReadHalf, WriteHalf, split},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::Instant,
};

/// How long a server may report that it is still working before a warning is logged.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Number of bytes of a window after which the time limit for the server begins anew.
const CHUNK: usize = 64 << 10;

/// An open connection. Dropping it closes the connection.
pub(super) struct Channel {
    writer: tokio::sync::Mutex<WriteHalf<Connection>>,
    windows: Arc<Windows>,
    reading: JoinHandle<()>,
    timeout: Duration,
    /// When the connection is replaced; `None`: never.
    expires: Option<Instant>,
}

/// The windows that are not acknowledged yet.
#[derive(Default)]
struct Windows {
    state: Mutex<State>,
    /// Wakes the reader when there is a window.
    written: Notify,
}

#[derive(Default)]
struct State {
    open: VecDeque<Window>,
    /// Why the connection can no longer be used.
    failed: Option<Reason>,
}

struct Window {
    count: u32,
    acknowledged: u32,
    done: oneshot::Sender<Done>,
}

/// The result of a window.
pub(super) struct Done {
    /// How many documents the server has processed, from the first one on.
    pub(super) acknowledged: usize,
    /// The reason why the other documents of the window are not acknowledged.
    pub(super) failed: Option<Reason>,
}

impl Windows {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the use of the connection. The open windows end with the documents acknowledged so far.
    fn fail(&self, why: Reason) {
        let mut state = self.lock();
        for window in state.open.drain(..) {
            let _ = window.done.send(Done { acknowledged: window.acknowledged as usize, failed: Some(why.clone()) });
        }
        state.failed.get_or_insert(why);
    }

    /// Handles an acknowledgement. Returns whether it acknowledges further documents.
    fn acknowledge(&self, number: u32) -> Result<bool, Reason> {
        let mut state = self.lock();
        let Some(first) = state.open.front_mut() else {
            return if number == 0 { Ok(false) } else { Err("an acknowledgement without a window".into()) };
        };
        if number > first.count {
            return Err(format!("{number} events are acknowledged of a window with {}", first.count).into());
        }
        let progress = number > first.acknowledged;
        first.acknowledged = first.acknowledged.max(number);
        if first.acknowledged == first.count
            && let Some(first) = state.open.pop_front()
        {
            let _ = first.done.send(Done { acknowledged: first.count as usize, failed: None });
        }
        Ok(progress)
    }

    fn is_idle(&self) -> bool {
        self.lock().open.is_empty()
    }
}

impl Channel {
    /// Takes over a new connection. `timeout`: how long the server may be silent while windows are open; 0: without a limit. `ttl`: how
    /// long the connection is used; 0: without a limit.
    pub(super) fn new(connection: Connection, timeout: Duration, ttl: Duration) -> Self {
        let (reader, writer) = split(connection);
        let windows = Arc::new(Windows::default());
        let reading = tokio::spawn(read(reader, windows.clone(), timeout));
        let expires = (!ttl.is_zero()).then(|| Instant::now() + ttl);
        Self { writer: writer.into(), windows, reading, timeout, expires }
    }

    /// Whether another connection has to be opened for the next window: this one failed, was closed, or is too old.
    pub(super) fn is_over(&self) -> bool {
        self.windows.lock().failed.is_some() || self.expires.is_some_and(|expires| Instant::now() >= expires)
    }

    /// Writes a window with `count` documents and waits until it is acknowledged or the connection fails.
    pub(super) async fn send(&self, bytes: &[u8], count: u32) -> Result<Done, Error> {
        let mut writer = self.writer.lock().await;
        let (done, result) = oneshot::channel();
        {
            let mut state = self.windows.lock();
            if let Some(why) = &state.failed {
                return Err(Error::Broken(why.clone()));
            }
            state.open.push_back(Window { count, acknowledged: 0, done });
        }
        // If this future is dropped before its end, the window is only partly written, and nothing may be written after it.
        let unfinished = FailOnDrop(Some(&self.windows));
        for chunk in bytes.chunks(CHUNK) {
            self.windows.written.notify_one();
            if let Err(error) = write(&mut *writer, chunk, self.timeout).await {
                self.windows.fail(error.reason().clone());
                break;
            }
        }
        unfinished.finish();
        drop(writer);
        result.await.map_err(|_| Error::Broken("the connection ended".into()))
    }
}

struct FailOnDrop<'a>(Option<&'a Windows>);

impl FailOnDrop<'_> {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for FailOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(windows) = self.0 {
            windows.fail("sending was cancelled".into());
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Reads acknowledgements until the connection ends.
async fn read(mut reader: ReadHalf<Connection>, windows: Arc<Windows>, timeout: Duration) {
    let (mut frame, mut filled) = ([0; wire::ACKNOWLEDGEMENT], 0);
    let mut progress = Instant::now();
    loop {
        let limit = if windows.is_idle() { Duration::ZERO } else { timeout };
        let read = reader.read(frame.get_mut(filled..).unwrap_or_default());
        let count = tokio::select! {
            // A window was written, so the time limit begins anew.
            () = windows.written.notified() => continue,
            read = with_time_limit(limit, read) => match read {
                Ok(Ok(0)) => return windows.fail("Logstash closed the connection".into()),
                Ok(Ok(count)) => count,
                Ok(Err(error)) => return windows.fail(format!("waiting for the acknowledgement: {error}").into()),
                Err(_) => return windows.fail("Logstash is silent for `timeout`".into()),
            },
        };
        filled += count;
        if filled < frame.len() {
            continue;
        }
        filled = 0;
        match wire::acknowledgement(frame).and_then(|number| windows.acknowledge(number)) {
            Ok(true) => progress = Instant::now(),
            Ok(false) if windows.is_idle() => progress = Instant::now(),
            Ok(false) if progress.elapsed() >= PATIENCE => {
                log::warn!("Logstash has acknowledged no event for {} s, but reports that it is still working", PATIENCE.as_secs());
                progress = Instant::now();
            }
            Ok(false) => {}
            Err(why) => return windows.fail(why),
        }
    }
}

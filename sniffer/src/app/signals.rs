//! Signals that end the program. They are received on a separate thread, which ends the process if the main thread does not.

use std::{
    io, process, thread,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// Maximum number of signals that wait for the main thread. Further ones are dropped: the second one already ends every wait.
const MOST_WAITING: usize = 8;

/// Receives SIGINT, SIGTERM and SIGHUP. Each of them ends the program in order, as in Packetbeat.
pub struct Signals(mpsc::Receiver<&'static str>);

impl Signals {
    /// Installs the signal handlers, so that a signal does not end the process at once. If the process still runs `longest` after the first
    /// signal, it is ended with exit code 1: the main thread may be blocked, for example by the reader of standard error or by a name
    /// server.
    ///
    /// # Errors
    /// When the signal handlers or the thread cannot be set up.
    pub fn new(longest: Duration) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _inside = runtime.enter();
            [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]
        };
        let (names, receiver) = mpsc::channel(MOST_WAITING);
        thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(forward(signals, names, longest)))?;
        Ok(Self(receiver))
    }

    /// Waits for the next signal and returns its name.
    pub async fn next(&mut self) -> &'static str {
        match self.0.recv().await {
            Some(name) => name,
            // This is not reached, because the sender is dropped only after this receiver.
            None => std::future::pending().await,
        }
    }
}

/// Hands the names of signals over until the receiver is dropped.
async fn forward(mut signals: [Signal; 3], names: mpsc::Sender<&'static str>, longest: Duration) {
    let mut end: Option<Instant> = None;
    loop {
        let name = tokio::select! {
            name = next(&mut signals) => name,
            () = sleep_until(end) => process::exit(1),
            () = names.closed() => return,
        };
        end.get_or_insert_with(|| Instant::now() + longest);
        let _ = names.try_send(name);
    }
}

async fn next([interrupt, terminate, hangup]: &mut [Signal; 3]) -> &'static str {
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
        _ = hangup.recv() => "SIGHUP",
    }
}

/// Waits until `time`. With `None` it waits forever.
pub async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep(time.saturating_duration_since(Instant::now())).await,
        None => std::future::pending().await,
    }
}

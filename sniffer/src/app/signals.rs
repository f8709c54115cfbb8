//! The signals that end the program or make it read its configuration again. They are received on a separate thread, which ends the process
//! if the main thread does not.

use std::{
    io, process, thread,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// Maximum number of signals that wait for the main thread. Further signals are dropped. This loses nothing, because the second signal
/// already ends every wait.
const MOST_WAITING: usize = 8;

/// The request to the main thread that a signal makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The signal with this name ends the program.
    End(&'static str),
    /// SIGHUP with `reload.enabled`: the configuration is to be read again.
    Reload,
}

/// Receives SIGINT, SIGTERM and SIGHUP.
pub struct Signals {
    ends: mpsc::Receiver<&'static str>,
    /// Has room for one request, so several SIGHUPs that arrive before the first is served cause one reload.
    reloads: mpsc::Receiver<()>,
}

/// The sending side of [`Signals`].
struct Senders {
    ends: mpsc::Sender<&'static str>,
    reloads: mpsc::Sender<()>,
    /// Whether SIGHUP asks for a reload instead of ending the program.
    hangup_reloads: bool,
}

impl Signals {
    /// Installs the signal handlers, so that a signal does not end the process at once. Each signal ends the program in
    /// order, as in Packetbeat; with `hangup_reloads` SIGHUP does not. If the process still runs `longest` after the
    /// first signal that ends the program, the process is ended with exit code 1. This is necessary if the main thread
    /// is blocked, for example by the reader of standard error or by a name server.
    ///
    /// # Errors
    ///
    /// When the signal handlers or the thread cannot be set up.
    pub fn new(longest: Duration, hangup_reloads: bool) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _inside = runtime.enter();
            [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]
        };
        let ((ends, for_ends), (reloads, for_reloads)) = (mpsc::channel(MOST_WAITING), mpsc::channel(1));
        let senders = Senders { ends, reloads, hangup_reloads };
        thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(forward(signals, senders, longest)))?;
        Ok(Self { ends: for_ends, reloads: for_reloads })
    }

    /// Waits for the next signal. A signal that ends the program comes before a reload.
    pub async fn next(&mut self) -> Received {
        tokio::select! {
            biased;
            Some(name) = self.ends.recv() => Received::End(name),
            Some(()) = self.reloads.recv() => Received::Reload,
            // This is not reached, because the senders are dropped only after the receivers.
            else => std::future::pending().await,
        }
    }
}

/// Hands the signals over until the receivers are dropped.
async fn forward(mut signals: [Signal; 3], senders: Senders, longest: Duration) {
    let mut end: Option<Instant> = None;
    loop {
        let name = tokio::select! {
            name = next(&mut signals) => name,
            () = sleep_until(end) => process::exit(1),
            () = senders.ends.closed() => return,
        };
        if name == HANGUP && senders.hangup_reloads {
            let _ = senders.reloads.try_send(());
            continue;
        }
        end.get_or_insert_with(|| Instant::now() + longest);
        let _ = senders.ends.try_send(name);
    }
}

const HANGUP: &str = "SIGHUP";

async fn next([interrupt, terminate, hangup]: &mut [Signal; 3]) -> &'static str {
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
        _ = hangup.recv() => HANGUP,
    }
}

/// Waits until `time`. With `None` it waits forever.
pub async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep(time.saturating_duration_since(Instant::now())).await,
        None => std::future::pending().await,
    }
}

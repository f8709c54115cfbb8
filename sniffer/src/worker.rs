//! The loop of one core: polls a source, hands frames to the engine, and reports counters. The last module that asks the clock.

use crate::{
    capture::{Polled, Source},
    engine::{Engine, InForce},
    time::Timestamp,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How long a source may wait for a packet: what stop requests, timers and half-full batches wait at the most.
const WAIT: Duration = Duration::from_millis(100);
/// How often counters are reported.
const REPORT: Duration = Duration::from_secs(1);

/// A source and its engine, on a thread of their own.
pub struct Worker {
    source: Box<dyn Source>,
    engine: Engine,
    settings: Arc<InForce>,
    /// The version of the settings that the engine has.
    version: u64,
    /// Whether time goes on by the clock while no packet comes.
    live: bool,
}

/// Where a worker stands: its totals, for whoever shows them.
pub struct Standing<'a> {
    /// The engine's counters.
    pub engine: &'a Engine,
}

impl Worker {
    /// A worker whose engine has the first version of `settings`. `live`: the time of the source is the clock's, so that timers run while no packet comes.
    pub fn new(source: Box<dyn Source>, engine: Engine, settings: Arc<InForce>, live: bool) -> Self {
        Self { source, engine, settings, version: 0, live }
    }

    /// Works until the source ends or `stop` is set, then finishes. `report` is called about once a second, and at the end.
    ///
    /// # Errors
    /// What made the source fail; everything until then has been reported.
    pub fn run(mut self, stop: &AtomicBool, report: &mut dyn FnMut(&Standing<'_>)) -> io::Result<()> {
        let mut reported = Instant::now();
        let result = loop {
            if stop.load(Ordering::Relaxed) {
                break Ok(());
            }
            let engine = &mut self.engine;
            match self.source.poll(WAIT, &mut |frame| engine.frame(&frame)) {
                Ok(Polled::Frames(_)) => {}
                Ok(Polled::Idle) => {
                    if self.live {
                        self.engine.advance(wall_clock());
                    }
                    self.engine.flush();
                }
                Ok(Polled::Ended) => break Ok(()),
                Err(error) => break Err(error),
            }
            if self.settings.version() != self.version {
                self.take_settings();
            }
            if reported.elapsed() >= REPORT {
                reported = Instant::now();
                self.engine.flush();
                self.report(report);
            }
        };
        self.engine.finish();
        self.report(report);
        result
    }

    fn take_settings(&mut self) {
        let (settings, version) = self.settings.get();
        self.version = version;
        if let Err(error) = self.engine.replace_settings(settings) {
            log::error!("the new settings are not taken, those of before stay in force: {error}");
        }
    }

    fn report(&mut self, report: &mut dyn FnMut(&Standing<'_>)) {
        // What the kernel does not answer now it may answer the next time.
        let _ = self.source.update_stats();
        report(&Standing { engine: &self.engine });
    }
}

fn wall_clock() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
}

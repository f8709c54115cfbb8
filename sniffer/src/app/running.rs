//! The main thread while the workers run: it serves signals, reads the configuration again, collects counters, and ends everything in
//! order.

use super::{
    Error,
    losses::{self, Losses},
    reload::Reload,
    signals::{Received, Signals, sleep_until},
    view::Status,
};
use crate::{
    capture::{
        control::Control,
        filter::{FilterSpec, Filters},
    },
    enrich::HostData,
    monitor::{Metrics, Reporter},
    output::counters::Counters,
    publish::Publishing,
    queue::Queue,
    worker::{Standing, Worker},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How much longer than `shutdown_timeout` the program may take to end. The sum of this and [`LEAVING`] is less than a second.
pub const GRACE: Duration = Duration::from_millis(750);
/// How long the program waits, after the time for shutdown is over, for workers that are still publishing. They check
/// only from time to time whether the time is over.
pub const LEAVING: Duration = Duration::from_millis(100);
/// How often the program collects the counters of workers, queue and output, and checks whether a report is due.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// The worker threads and what belongs to them.
pub struct Workers {
    /// For each interface its device and backend, as text for the user.
    pub captures: Vec<String>,
    /// The control of each interface, and whether the interface is a device. Empty after the workers have ended.
    pub controls: Vec<(Arc<dyn Control>, bool)>,
    /// The worker threads.
    pub threads: Vec<JoinHandle<io::Result<()>>>,
    /// Number of workers that have not ended.
    pub running: Arc<AtomicUsize>,
    /// Set when the workers have to stop.
    pub stop: Arc<AtomicBool>,
    /// The publishing of each interface.
    pub publishing: Vec<Arc<Publishing>>,
}

impl Workers {
    /// Starts the thread of a worker.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn spawn(&mut self, index: usize, worker: Worker, metrics: Metrics) -> io::Result<()> {
        struct Leaving(Arc<AtomicUsize>);
        impl Drop for Leaving {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let (stop, leaving) = (self.stop.clone(), Leaving(self.running.clone()));
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let _leaving = leaving;
            worker.run(&stop, &mut |standing| hand_over(index, standing, &metrics))
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

/// Adds the totals of a worker to the counters of the process.
fn hand_over(index: usize, standing: &Standing<'_>, metrics: &Metrics) {
    standing.engine.counters(&mut |name, total| metrics.set_total(index, name, total));
    metrics.set_total(index, "capture.unread", standing.unread);
}

/// The state of the main thread while the workers run.
pub struct Watch {
    /// The workers.
    pub workers: Workers,
    /// The queue in front of the output.
    pub queue: Arc<dyn Queue>,
    /// The counters of the output.
    pub counters: Arc<Counters>,
    /// The counters of the process.
    pub metrics: Metrics,
    /// Writes the counters to the log.
    pub reporter: Option<Reporter>,
    /// See [`super::run::Job::status`].
    pub status: Option<Status>,
    /// The warnings about losses.
    pub losses: Losses,
    /// Reads the configuration again; `None` without `reload.enabled`.
    pub reload: Option<Reload>,
    /// `shutdown_timeout`
    pub timeout: Duration,
    /// The time by which the program must have ended. `None` while the program runs without a time limit.
    pub end: Option<Instant>,
}

impl Watch {
    /// Waits until all workers have ended: at the end of the input, or after a signal.
    ///
    /// # Errors
    /// The error of a worker.
    pub async fn until_the_end(&mut self, signals: &mut Signals) -> Result<(), Error> {
        let mut beat = tokio::time::interval(HEARTBEAT);
        let mut looked = Instant::now();
        // A small file is processed in less than one heartbeat, so check more often at first whether the workers have ended.
        let mut quick = tokio::time::interval(Duration::from_millis(2));
        let started = Instant::now();
        while self.workers.running.load(Ordering::SeqCst) > 0 {
            if self.end.is_some_and(|end| Instant::now() >= end + LEAVING) {
                break;
            }
            let refresh = self.workers.publishing.iter().filter_map(|p| p.refresh_every()).min();
            let next_look = self.reload.as_ref().map(Reload::next_look);
            tokio::select! {
                received = signals.next() => self.received(received).await,
                () = sleep_until(next_look), if next_look.is_some() => self.look().await,
                _ = quick.tick(), if started.elapsed() < HEARTBEAT || self.workers.stop.load(Ordering::SeqCst) => {}
                _ = beat.tick() => {
                    self.beat();
                    if refresh.is_some_and(|every| looked.elapsed() >= every) {
                        looked = Instant::now();
                        let host_data = HostData::gather();
                        self.workers.publishing.iter().for_each(|p| p.set_world(host_data.clone()));
                    }
                }
            }
        }
        let mut failed = None;
        let running = self.workers.running.load(Ordering::SeqCst);
        for thread in self.workers.threads.drain(..) {
            if running > 0 && !thread.is_finished() {
                log::warn!("A worker did not end in time; what it had not published yet is lost");
                continue;
            }
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed = Some(error.to_string()),
                Err(_) => failed = Some("a worker ended unexpectedly".to_owned()),
            }
        }
        self.collect();
        // Detach from the interfaces now, before the queued events are delivered.
        self.workers.controls.clear();
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    async fn received(&mut self, received: Received) {
        match (received, &mut self.reload) {
            (Received::End(name), _) => self.signal(name),
            (Received::Reload, Some(reload)) if self.end.is_none() => {
                let exchanged = reload.now("Received SIGHUP").await;
                self.exchanged(exchanged);
            }
            (Received::Reload, _) => log::info!("Received SIGHUP while the program ends: the configuration is not read again"),
        }
    }

    /// Looks for changed files of the configuration, unless the program ends.
    async fn look(&mut self) {
        match &mut self.reload {
            Some(reload) if self.end.is_none() => {
                let exchanged = reload.look().await;
                self.exchanged(exchanged);
            }
            // The program ends, so there is no further look at the files.
            _ => self.reload = None,
        }
    }

    fn exchanged(&mut self, publishing: Option<Vec<Arc<Publishing>>>) {
        if let Some(publishing) = publishing {
            self.workers.publishing = publishing;
        }
    }

    /// The first signal starts an orderly end, a second one ends all waiting.
    fn signal(&mut self, name: &str) {
        if self.workers.stop.load(Ordering::SeqCst) {
            log::warn!("Received {name} again, not waiting any longer");
            self.end_at(Instant::now());
        } else {
            log::info!("Received {name}, stopping");
            self.stop();
        }
    }

    /// Makes the workers end: capture stops, and the workers process the packets that were captured until now.
    pub fn stop(&mut self) {
        self.end_at(Instant::now() + self.timeout + GRACE);
        // A filter that matches nothing lets the capture buffers run empty. Detaching now would lose the buffers and counters.
        if let Ok(nothing) = Filters::new(&FilterSpec::default()) {
            for control in self.workers.controls.iter().filter(|(_, live)| *live).map(|(control, _)| control) {
                if let Err(error) = control.set_filter(&nothing) {
                    log::debug!("capture goes on until the workers have ended: {error}");
                }
            }
        }
        self.workers.stop.store(true, Ordering::SeqCst);
    }

    fn end_at(&mut self, end: Instant) {
        self.end = Some(end);
        self.queue.limit_waits(end);
    }

    /// Delivers the queued events within the time for shutdown. A second signal ends the wait.
    pub async fn drain(&mut self, delivery: &mut (impl Future<Output = ()> + Unpin), signals: &mut Signals) {
        self.queue.close();
        if self.end.is_none() && !self.timeout.is_zero() {
            self.end = Some(Instant::now() + self.timeout);
        }
        loop {
            tokio::select! {
                () = &mut *delivery => break,
                () = sleep_until(self.end) => break,
                received = signals.next() => self.received(received).await,
            }
        }
        self.collect();
        match losses::summary(&self.metrics.snapshot(), self.queue.stats().events as u64) {
            None => log::info!("All enqueued events have been published"),
            Some(lost) => log::warn!("{lost}"),
        }
        if let Some(reporter) = &self.reporter {
            reporter.finish(Instant::now());
        }
    }

    fn beat(&mut self) {
        self.collect();
        self.losses.warnings(&self.metrics.snapshot(), Instant::now()).iter().for_each(|warning| log::warn!("{warning}"));
        if let Some(reporter) = &mut self.reporter {
            reporter.tick(Instant::now());
        }
        if let Some(status) = &mut self.status {
            status(&self.metrics.snapshot(), &self.workers.captures);
        }
    }

    fn collect(&self) {
        let total = |name: &'static str, total| self.metrics.set_total(0, name, total);
        let gauge = |name: &'static str, value| self.metrics.set_gauge(name, value);
        self.counters.each(total, gauge);
        self.queue.stats().each(total, gauge);
        for (interface, (control, _)) in self.workers.controls.iter().enumerate() {
            // A failure is not reported: the next call may succeed.
            let Ok(stats) = control.stats() else { continue };
            let total = |name, total| self.metrics.set_total(interface, name, total);
            total("capture.seen", stats.seen);
            total("capture.matched", stats.matched());
            total("capture.unmatched", stats.unmatched);
            total("capture.shunted", stats.shunted);
            total("capture.copied", stats.copied);
            total("capture.copied_bytes", stats.copied_bytes);
            total("capture.lost", stats.lost);
            total("capture.lost_by_interface", stats.lost_by_interface);
            total("capture.duplicates", stats.duplicates);
            total("capture.headers", stats.headers);
            total("flows.uncounted", stats.uncounted);
            total("capture.verdicts_not_entered", stats.not_entered);
        }
    }
}

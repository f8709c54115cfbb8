//! The main thread while the workers run: it serves signals, reads the configuration again, collects counters, and ends everything in
//! order.

use super::{
    Error,
    collector::{Arrived, Collector},
    losses::{self, Losses},
    reload::Reload,
    service::{Progress, Service},
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
    publish::Publishing,
    queue::Queue,
    worker::{Worker, WorkerState},
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

/// The worker threads, their captures and their controls.
pub struct Workers {
    /// For each interface its device and backend, as text for the user: `any (eBPF: eth0, lo)`.
    pub captures: Vec<String>,
    /// The control of each interface, and whether the interface is a device. The list is empty after the workers have ended.
    pub controls: Vec<(Arc<dyn Control>, bool)>,
    /// The worker threads.
    pub threads: Vec<JoinHandle<io::Result<()>>>,
    /// What the workers report about packets.
    pub arrived: Arc<Arrived>,
    /// How often the workers of devices have polled, for the watchdog of the service manager.
    pub progress: Arc<Progress>,
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
        struct Leaving(Arc<AtomicUsize>, Arc<Progress>, usize);
        impl Drop for Leaving {
            fn drop(&mut self) {
                self.1.ended(self.2);
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let (stop, arrived, progress) = (self.stop.clone(), self.arrived.clone(), self.progress.clone());
        let leaving = Leaving(self.running.clone(), self.progress.clone(), index);
        // A worker of a file may wait for the output as long as the output needs.
        let live = worker.is_live();
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let _leaving = leaving;
            worker.run(&stop, &mut |state| {
                hand_over(index, state, &metrics);
                arrived.take(index, state);
                if live {
                    progress.polled(index, state.polls);
                }
            })
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

/// Adds the totals of a worker to the counters of the process.
fn hand_over(index: usize, state: &WorkerState<'_>, metrics: &Metrics) {
    state.engine.counters(&mut |name, total| metrics.set_total(index, name, total));
    metrics.set_total(index, "capture.unread", state.unread);
}

/// The state of the main thread while the workers run.
pub struct Watch {
    /// The workers, each with its thread.
    pub workers: Workers,
    /// The queue in front of the output.
    pub queue: Arc<dyn Queue>,
    /// The counters of the process.
    pub metrics: Metrics,
    /// Collects the counters of all parts of the program.
    pub collector: Arc<Collector>,
    /// Writes the counters to the log.
    pub reporter: Option<Reporter>,
    /// The function that shows the status, see [`super::run::Job::status`].
    pub status: Option<Status>,
    /// The connection to the service manager.
    pub service: Service,
    /// The warnings about losses.
    pub losses: Losses,
    /// Reads the configuration again; `None` without `reload.enabled`.
    pub reload: Option<Reload>,
    /// The setting `packetbeat.shutdown_timeout`: the time limit for processing captured packets and queued documents when the program ends.
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
        // A small file is processed in less time than the interval of this loop. At first the loop therefore checks more often whether the
        // workers have ended.
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
                    self.service.beat();
                    self.collect_and_report();
                    if refresh.is_some_and(|every| looked.elapsed() >= every) {
                        looked = Instant::now();
                        let host_data = HostData::gather();
                        self.workers.publishing.iter().for_each(|p| p.set_host_data(host_data.clone()));
                    }
                }
            }
        }
        let mut failed = None;
        let running = self.workers.running.load(Ordering::SeqCst);
        for thread in self.workers.threads.drain(..) {
            if running > 0 && !thread.is_finished() {
                log::warn!("A worker did not end in time; the events that it had not published are lost");
                continue;
            }
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed = Some(error.to_string()),
                Err(_) => failed = Some("a worker ended unexpectedly".to_owned()),
            }
        }
        // Detach from the interfaces now, before the queued events are delivered.
        self.collector.detach();
        // A file may end before the first report.
        if let Some(status) = &mut self.status {
            status(&self.collector.collect());
        }
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
                self.metrics.add("libbeat.config.scans", 1);
                let exchanged = reload.look().await;
                self.exchanged(exchanged);
            }
            // The program ends, so its configuration files are no longer watched.
            _ => self.reload = None,
        }
    }

    fn exchanged(&mut self, publishing: Option<Vec<Arc<Publishing>>>) {
        if let Some(publishing) = publishing {
            self.metrics.add("libbeat.config.reloads", 1);
            self.workers.publishing = publishing;
        }
    }

    /// The first signal starts an orderly end of the program. A second signal ends all waiting.
    fn signal(&mut self, name: &str) {
        if self.workers.stop.load(Ordering::SeqCst) {
            log::warn!("Received {name} again, not waiting any longer");
            self.end_at(Instant::now());
        } else {
            log::info!("Received {name}, stopping");
            self.stop();
        }
    }

    /// Makes the workers end: capture stops, and the workers process the packets that were captured before.
    pub fn stop(&mut self) {
        self.service.stopping();
        self.collector.ending();
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

    /// Delivers the queued events within the time for shutdown. A second signal ends this wait.
    pub async fn drain(&mut self, delivery: &mut (impl Future<Output = ()> + Unpin), signals: &mut Signals) {
        self.queue.close();
        if self.end.is_none() && !self.timeout.is_zero() {
            self.end = Some(Instant::now() + self.timeout);
        }
        let mut beat = tokio::time::interval(HEARTBEAT);
        loop {
            tokio::select! {
                () = &mut *delivery => break,
                () = sleep_until(self.end) => break,
                _ = beat.tick() => self.service.beat(),
                received = signals.next() => self.received(received).await,
            }
        }
        let stats = self.queue.stats();
        let left = if stats.is_kept { 0 } else { stats.events as u64 };
        let for_next_run = stats.is_kept && stats.events > 0;
        if for_next_run {
            log::info!("{} events are in the disk queue; the next run of the program delivers them", stats.events);
        }
        match losses::summary(&self.collector.collect(), left) {
            None if for_next_run => {}
            None => log::info!("All enqueued events have been published"),
            Some(lost) => log::warn!("{lost}"),
        }
        if let Some(status) = &mut self.status {
            status(&self.collector.collect());
        }
        if let Some(reporter) = &self.reporter {
            reporter.finish(&self.collector.collect(), Instant::now());
        }
    }

    fn collect_and_report(&mut self) {
        let counters = self.collector.collect();
        self.losses.warnings(&counters, Instant::now()).iter().for_each(|warning| log::warn!("{warning}"));
        if let Some(reporter) = &mut self.reporter {
            reporter.tick(&counters, Instant::now());
        }
        if let Some(status) = &mut self.status {
            status(&counters);
        }
    }
}

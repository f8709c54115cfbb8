//! `run`: opens the interfaces and the output of the plan, starts a worker for each source, and stops everything in order.

use super::{
    Error, SystemClock, interfaces,
    losses::{self, Losses},
    plan::{Plan, Who},
    signals::{Signals, sleep_until},
    view::{Status, View, Watched},
};
use crate::{
    capture::{
        control::Control,
        ebpf,
        filter::{FilterSpec, Filters},
        options::Replay,
        sockets,
    },
    cli::{Environment, Invocation, RunFlags},
    config::{self, DataDir},
    engine::{Engine, InForce, Own},
    enrich::HostData,
    monitor::{
        Metrics, Reporter,
        log::{CommandLine, Logger},
    },
    net::OwnConnections,
    opening::{Clock, Connected, Opening},
    output::{self, Delivery, counters::Counters},
    publish::{Deliver, Publishing},
    queue::{self, Queue, WhenFull},
    worker::{Limits, Standing, Worker},
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
use tokio::sync::oneshot;

/// How much longer than `shutdown_timeout` the program may take to end. The sum of this and [`LEAVING`] is less than a second.
const GRACE: Duration = Duration::from_millis(750);
/// How long the program waits, after the time for shutdown is over, for workers that are still publishing. They check
/// only from time to time whether the time is over.
const LEAVING: Duration = Duration::from_millis(100);
/// How much longer than `shutdown_timeout` a worker may report open transactions and flows. A worker may notice the signal 0.1 s late.
const PUBLISH: Duration = Duration::from_millis(600);
/// How much longer than half of `shutdown_timeout` the workers may process packets that are still in the capture buffers at the end.
const READ_OUT: Duration = Duration::from_millis(300);
/// How often the program collects the counters of workers, queue and output, and checks whether a report is due.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// The async runtime of the output and the queue. It has one thread, the one that calls `block_on`.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Captures packets and publishes events until the input ends or a signal arrives.
pub fn run(invocation: &Invocation, flags: &RunFlags) -> Result<bool, Error> {
    let loaded = config::load(&invocation.load)?;
    let line = CommandLine {
        stderr: invocation.log.stderr,
        stderr_by_default: matches!(invocation.log.environment, Environment::Systemd | Environment::Container),
        verbose: invocation.log.verbose,
        debug: invocation.log.debug.clone(),
        folder: loaded.paths.logs.clone(),
    };
    let logger = Logger::open(&loaded.root.get("logging"), &line)?;
    logger.install()?;
    log_start(&loaded);
    let result = run_logged(&loaded, flags, logger);
    if let Err(error) = &result {
        log::error!("Exiting: {error}");
    }
    result.map(|()| true)
}

/// The first records of the log: what runs, with which configuration, and where its files are.
fn log_start(loaded: &config::Loaded) {
    let files: Vec<String> = loaded.files.iter().map(|path| path.display().to_string()).collect();
    log::info!("{}", super::version());
    log::info!("Configuration: {}", files.join(", "));
    log::info!("Data path: {}", loaded.paths.data.display());
    log::info!("Logs path: {}", loaded.paths.logs.display());
}

fn run_logged(loaded: &config::Loaded, flags: &RunFlags, logger: Logger) -> Result<(), Error> {
    loaded.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let plan = Plan::read(&loaded.root, flags.file.as_deref(), None)?;
    plan.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    // Files have no packets of this process.
    let connections = plan.is_live().then(|| Arc::new(OwnConnections::new(Box::new(sockets::own_sockets))));
    let connected = connections.clone().map(|connections| -> Connected { Arc::new(move || connections.refresh()) });
    let output = output::open(&Opening { connected: connected.as_ref(), ..super::opening(&loaded.root, &loaded.paths) })?;
    let replay = Replay {
        top_speed: flags.top_speed,
        loops: flags.loops.unwrap_or(1),
        one_at_a_time: flags.one_at_a_time,
        dump: flags.dump.as_deref().map(|prefix| prefix.display().to_string()),
    };
    let metrics = Metrics::default();
    let reporter = Reporter::new(metrics.clone(), logger, Instant::now());
    let job = Job {
        plan,
        replay,
        paths: &loaded.paths,
        keeps_data: true,
        metrics,
        reporter: Some(reporter),
        publish: !flags.no_publish,
        connections,
        status: None,
        view: None,
    };
    job.run(output)
}

/// The input of a run: the plan, and how its results are delivered and shown.
pub struct Job<'a> {
    /// Interfaces, protocols and flows.
    pub plan: Plan,
    /// Options of reading capture files.
    pub replay: Replay,
    /// The `path.*` settings.
    pub paths: &'a config::Paths,
    /// Whether the identity of the agent is stored in `paths.data`. If so, no other instance may use this directory at the same time.
    pub keeps_data: bool,
    /// The counters of the process.
    pub metrics: Metrics,
    /// Writes the counters to the log.
    pub reporter: Option<Reporter>,
    /// Whether events are published; `-N` switches this off.
    pub publish: bool,
    /// The connections of this process, whose packets are not reported. `None` if the output connects to no server or no device is
    /// captured.
    pub connections: Option<Arc<OwnConnections>>,
    /// Called every half second, for the status line of `watch`.
    pub status: Option<Status>,
    /// Receives each event, in addition to the output.
    pub view: Option<View>,
}

impl Job<'_> {
    /// Runs until the input ends or a signal arrives, and delivers the queued events.
    ///
    /// # Errors
    /// When something cannot be opened, or every input fails.
    pub fn run(self, output: Delivery) -> Result<(), Error> {
        let data = self.keeps_data.then(|| DataDir::open(self.paths, SystemClock.now().text(9).as_str())).transpose()?;
        let who = Who {
            id: data.as_ref().map_or_else(uuid::Uuid::new_v4, |data| data.agent_id).to_string(),
            ephemeral_id: uuid::Uuid::new_v4().to_string(),
            host_data: HostData::gather(),
        };
        let runtime = runtime()?;
        let timeout = self.plan.general.shutdown_timeout;
        // Install the signal handlers before the threads start, so that from here on a signal ends the program in order.
        let mut signals = Signals::new(timeout + GRACE + 2 * LEAVING)?;
        let local = who.host_data.addresses.clone();
        let own = self.connections.clone().map(|connections| Own { ports: output.ports(), local, connections });
        let counters = output.counters();
        let (workers, queue) = self.start(&output, &who, own.as_ref())?;
        let mut watch = Watch {
            workers,
            queue: queue.clone(),
            counters,
            metrics: self.metrics,
            reporter: self.reporter,
            status: self.status,
            losses: Losses::new(),
            timeout,
            end: None,
        };
        let (finish, mut view) = self.view.map(|view| (view.finish, view.ended)).unzip();
        let result = runtime.block_on(async {
            let mut delivery = Box::pin(output.run(queue.clone()));
            let ended = tokio::select! {
                () = &mut delivery => Err(OutputGone.into()),
                () = end_of(&mut view), if view.is_some() => Err(OutputGone.into()),
                result = watch.until_the_end(&mut signals) => result,
            };
            if ended.as_ref().is_err_and(|e| e.is::<OutputGone>()) {
                watch.stop();
                queue.close();
                return watch.until_the_end(&mut signals).await.and(ended);
            }
            if let Some(finish) = finish {
                finish();
            }
            let mut delivered = Box::pin(async {
                delivery.await;
                end_of(&mut view).await;
            });
            watch.drain(&mut delivered, &mut signals).await;
            ended
        });
        drop(data);
        // Do not wait for threads that are blocked because nobody reads what they write.
        runtime.shutdown_background();
        result
    }

    /// Opens the interfaces, divides `memory.max` among their workers and the queue, and starts the workers.
    fn start(&self, output: &Delivery, who: &Who, own: Option<&Own>) -> Result<(Workers, Arc<dyn Queue>), Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = Workers {
            threads: Vec::new(),
            running: Arc::new(AtomicUsize::new(0)),
            stop,
            publishing: Vec::new(),
            captures: Vec::new(),
            controls: Vec::new(),
        };
        let mut ready = Vec::new();
        let publishers = self.plan.publishers(&super::opening(self.plan.root(), self.paths), who, output.metadata())?;
        let mut captures = Vec::new();
        for (interface, opened) in self.plan.interfaces.iter().zip(interfaces::open(&self.plan, &self.replay, &output.ports())?) {
            let publishing = self.plan.publishing(interface, &publishers, who)?;
            captures.push((interface, publishing, opened));
        }
        let sources = captures.iter().map(|(.., opened)| opened.sources.len()).sum();
        let mut options = output.queue();
        let division = self.plan.memory.divide(sources, options.bytes);
        if division.queue < options.bytes {
            let (asked, given, max) = (options.bytes, division.queue, division.max);
            log::warn!("queue.mem.bytes: {asked} bytes are more than three tenths of memory.max ({max}); the queue gets {given}");
        }
        (options.bytes, options.batch_bytes) = (division.queue, division.batch);
        self.metrics.set_gauge("memory.max", division.max as f64);
        let queue = queue::open(options);
        for (interface, publishing, opened) in captures {
            let live = interface.file.is_none();
            workers.captures.push(format!("{} {}", if live { opened.name(interface) } else { "file" }, opened.how()));
            workers.controls.push((Arc::clone(&opened.control), live));
            let mut settings = self.plan.settings(interface, publishing.clone(), own);
            settings.real_time = !self.replay.top_speed;
            let settings = Arc::new(settings);
            let in_force = Arc::new(InForce::new(settings.clone()));
            let timeout = self.plan.general.shutdown_timeout;
            let limits = Limits { read_out: timeout / 2 + READ_OUT, publish: timeout + PUBLISH };
            for (index, source) in opened.sources.into_iter().enumerate() {
                let mut engine = Engine::new(settings.clone(), self.deliver(&queue, live, &workers.stop))?.with_share(&division.worker);
                if opened.counts_flows {
                    engine = engine.with_kernel_flows(index, ebpf::LAG);
                }
                if let Some(view) = &self.view {
                    engine.show((view.observer)(Watched { live, stop: &workers.stop }));
                }
                ready.push(Worker::new(source, opened.control.clone(), engine, in_force.clone(), live, limits));
            }
            workers.publishing.push(publishing);
        }
        // All modules have read their settings, so the remaining ones are unknown.
        config::leftover(self.plan.root()).iter().for_each(|warning| log::warn!("{warning}"));
        workers.running.store(ready.len(), Ordering::SeqCst);
        for (index, worker) in ready.into_iter().enumerate() {
            workers.spawn(index, worker, self.metrics.clone())?;
        }
        log::info!("sniffer is running: {} worker(s), output {}", workers.threads.len(), output.name());
        Ok((workers, queue))
    }

    /// Returns the function that puts a worker's records into the queue. When the queue is full, a live capture drops records. At the end
    /// of the capture, when all open flows are reported at once, the worker waits for room in the queue within the time for shutdown.
    fn deliver(&self, queue: &Arc<dyn Queue>, live: bool, stop: &Arc<AtomicBool>) -> Deliver {
        let (queue, publish, metrics, stop) = (queue.clone(), self.publish, self.metrics.clone(), stop.clone());
        Box::new(move |batch| {
            if !publish {
                return metrics.add("libbeat.pipeline.events.filtered", batch.len() as u64);
            }
            let full = if live && !stop.load(Ordering::SeqCst) { WhenFull::Drop } else { WhenFull::Wait };
            // The returned number of dropped records is not needed, because the queue counts them.
            queue.push(batch, full);
        })
    }
}

/// Completes when the view ends. Completes at once if there is no view.
async fn end_of(view: &mut Option<oneshot::Receiver<()>>) {
    if let Some(ended) = view {
        // If the sender was dropped, the view has ended too.
        let _ = ended.await;
    }
}

/// The output or the view has ended before the input, because the reader of its pipe has gone.
#[derive(Debug, thiserror::Error)]
#[error("the output is gone")]
pub struct OutputGone;

/// The worker threads and what belongs to them.
struct Workers {
    /// For each interface its device and backend, as text for the user.
    captures: Vec<String>,
    /// The control of each interface, and whether the interface is a device. Empty after the workers have ended.
    controls: Vec<(Arc<dyn Control>, bool)>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    running: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    publishing: Vec<Arc<Publishing>>,
}

impl Workers {
    fn spawn(&mut self, index: usize, worker: Worker, metrics: Metrics) -> io::Result<()> {
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
struct Watch {
    workers: Workers,
    queue: Arc<dyn Queue>,
    counters: Arc<Counters>,
    metrics: Metrics,
    reporter: Option<Reporter>,
    status: Option<Status>,
    losses: Losses,
    /// `shutdown_timeout`
    timeout: Duration,
    /// The time by which the program must have ended. `None` while the program runs without a time limit.
    end: Option<Instant>,
}

impl Watch {
    /// Waits until all workers have ended: at the end of the input, or after a signal.
    async fn until_the_end(&mut self, signals: &mut Signals) -> Result<(), Error> {
        let mut beat = tokio::time::interval(HEARTBEAT);
        let mut looked = Instant::now();
        let refresh = self.workers.publishing.iter().filter_map(|p| p.refresh_every()).min();
        // A small file is processed in less than one heartbeat, so check more often at first whether the workers have ended.
        let mut quick = tokio::time::interval(Duration::from_millis(2));
        let started = Instant::now();
        while self.workers.running.load(Ordering::SeqCst) > 0 {
            if self.end.is_some_and(|end| Instant::now() >= end + LEAVING) {
                break;
            }
            tokio::select! {
                name = signals.next() => self.signal(name),
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
    fn stop(&mut self) {
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
    async fn drain(&mut self, delivery: &mut (impl Future<Output = ()> + Unpin), signals: &mut Signals) {
        self.queue.close();
        if self.end.is_none() && !self.timeout.is_zero() {
            self.end = Some(Instant::now() + self.timeout);
        }
        loop {
            tokio::select! {
                () = &mut *delivery => break,
                () = sleep_until(self.end) => break,
                name = signals.next() => self.signal(name),
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

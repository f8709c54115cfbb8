//! `run`: opens the interfaces and the output of the plan, starts a worker for each source, and stops everything in order.

use super::{
    Error, SystemClock, interfaces,
    losses::Losses,
    plan::{Plan, Who},
    reload::{self, Exchanged, Origin, Reload, Start},
    running::{GRACE, LEAVING, Watch, Workers},
    signals::Signals,
    view::{Status, View, Watched},
};
use crate::{
    capture::{ebpf, options::Replay, sockets},
    cli::{Environment, Invocation, RunFlags},
    config::{self, DataDir},
    engine::{Engine, InForce, Own},
    enrich::HostData,
    monitor::{
        Metrics, Reporter,
        log::{CommandLine, Logger},
    },
    net::OwnConnections,
    opening::Clock,
    output::{
        Delivery,
        exchange::{self, Exchange},
    },
    publish::Deliver,
    queue::{self, Queue, WhenFull},
    worker::{Limits, Worker},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How much longer than `shutdown_timeout` a worker may report open transactions and flows. A worker may notice the signal 0.1 s late.
const PUBLISH: Duration = Duration::from_millis(600);
/// How much longer than half of `shutdown_timeout` the workers may process packets that are still in the capture buffers at the end.
const READ_OUT: Duration = Duration::from_millis(300);

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
    let result = run_logged(&loaded, invocation, flags, logger);
    if let Err(error) = &result {
        log::error!("Exiting: {error}");
    }
    result.map(|()| true)
}

/// The first records of the log: what runs, with which configuration, and where its files are.
fn log_start(loaded: &config::Loaded) {
    log::info!("{}", super::version());
    log::info!("Configuration: {}", config::listed(&loaded.files));
    log::info!("Data path: {}", loaded.paths.data.display());
    log::info!("Logs path: {}", loaded.paths.logs.display());
}

fn run_logged(loaded: &config::Loaded, invocation: &Invocation, flags: &RunFlags, logger: Logger) -> Result<(), Error> {
    loaded.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let plan = Plan::read(&loaded.root, flags.file.as_deref(), None)?;
    plan.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    // Files have no packets of this process.
    let connections = plan.is_live().then(|| Arc::new(OwnConnections::new(Box::new(sockets::own_sockets))));
    let output = super::open_output(&loaded.root, &loaded.paths, connections.as_ref())?;
    let replay = Replay {
        top_speed: flags.top_speed,
        loops: flags.loops.unwrap_or(1),
        one_at_a_time: flags.one_at_a_time,
        dump: flags.dump.as_deref().map(|prefix| prefix.display().to_string()),
    };
    let options = reload::Options::read(&loaded.root)?;
    let (load, file, files) = (invocation.load.clone(), flags.file.clone(), loaded.files.clone());
    let origin = options.enabled.then_some(Origin { load, file, files, options });
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
        origin,
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
    /// Where the configuration is read again from; `None` if it is not read again.
    pub origin: Option<Origin>,
}

/// What [`Job::start`] makes: the workers, the queue in front of the output, and the interfaces for [`Reload`].
type Started = (Workers, Arc<dyn Queue>, Vec<Exchanged>);

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
        let mut signals = Signals::new(timeout + GRACE + 2 * LEAVING, self.origin.is_some())?;
        let local = who.host_data.addresses.clone();
        let own = self.connections.clone().map(|connections| Own { ports: output.ports(), local, connections });
        let (counters, ports, exchange) = (output.counters(), output.ports(), Exchange::default());
        let (workers, queue, interfaces) = self.start(&output, &who, own.as_ref())?;
        let (plan, real_time, connections) = (self.plan, !self.replay.top_speed, self.connections);
        let start = Start { plan, who, real_time, connections, ports, interfaces, exchange: exchange.clone() };
        let reload = self.origin.map(|origin| Reload::new(origin, start));
        let mut watch = Watch {
            workers,
            queue: queue.clone(),
            counters,
            metrics: self.metrics,
            reporter: self.reporter,
            status: self.status,
            losses: Losses::new(),
            reload,
            timeout,
            end: None,
        };
        let (finish, mut view) = self.view.map(|view| (view.finish, view.ended)).unzip();
        let result = runtime.block_on(async {
            let mut delivery = Box::pin(exchange::run(output, queue.clone(), exchange));
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
    fn start(&self, output: &Delivery, who: &Who, own: Option<&Own>) -> Result<Started, Error> {
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
        let mut exchanged = Vec::new();
        for (interface, (opened, filters)) in self.plan.interfaces.iter().zip(interfaces::open(&self.plan, &self.replay, &output.ports())?)
        {
            let publishing = self.plan.publishing(interface, &publishers, who)?;
            captures.push((interface, publishing, opened, filters));
        }
        let sources = captures.iter().map(|(.., opened, _)| opened.sources.len()).sum();
        let mut options = output.queue();
        let division = self.plan.memory.divide(sources, options.bytes);
        if division.queue < options.bytes {
            let (asked, given, max) = (options.bytes, division.queue, division.max);
            log::warn!("queue.mem.bytes: {asked} bytes are more than three tenths of memory.max ({max}); the queue gets {given}");
        }
        (options.bytes, options.batch_bytes) = (division.queue, division.batch);
        self.metrics.set_gauge("memory.max", division.max as f64);
        let queue = queue::open(options);
        for (interface, publishing, opened, filters) in captures {
            let live = interface.file.is_none();
            workers.captures.push(format!("{} {}", if live { opened.name(interface) } else { "file" }, opened.how()));
            workers.controls.push((Arc::clone(&opened.control), live));
            let mut settings = self.plan.settings(interface, publishing.clone(), own);
            settings.real_time = !self.replay.top_speed;
            let settings = Arc::new(settings);
            let in_force = Arc::new(InForce::new(settings.clone()));
            exchanged.push(Exchanged {
                control: opened.control.clone(),
                in_force: in_force.clone(),
                examines: opened.examines_before_filter(),
                filters,
            });
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
        Ok((workers, queue, exchanged))
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

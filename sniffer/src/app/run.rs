//! `run`: opens the interfaces and the output of the plan, starts a worker for each source, and stops everything in order.

use super::{
    COMPATIBLE, Error, SystemClock,
    collector::{Captured, Collector, Parts},
    interfaces,
    losses::Losses,
    measuring::Counts,
    monitoring::Documents,
    page::Serving,
    plan::{AgentAndHost, Plan},
    privileges::{self, Needs, Seccomp},
    reload::{self, Exchanged, Origin, Reload, Start},
    running::{GRACE, LEAVING, Watch, Workers},
    service::Service,
    setup,
    signals::Signals,
    view::{Both, Status, View, Watched},
};
use crate::{
    capture::{ebpf, options::Replay, sockets},
    cli::{Invocation, RunFlags},
    config::{self, DataDir},
    endpoint::{self, Identity, Listener, Red, Server},
    engine::{Engine, InForce, Own},
    enrich::HostData,
    monitor::{Metrics, Reporter, log::Logger},
    net::OwnConnections,
    opening::{Clock, Opening},
    output::{
        Delivery,
        exchange::{self, Exchange},
    },
    process::{self, Processes},
    processors::{self, Reports},
    protocols::PROTOCOLS,
    publish::Deliver,
    queue::{self, Queue, WhenFull},
    web,
    worker::{Limits, Worker},
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Notify, oneshot};

/// How much longer than `shutdown_timeout` a worker may report open transactions and flows. A worker may notice the signal 0.1 s late.
const PUBLISH: Duration = Duration::from_millis(600);
/// How much longer than half of `shutdown_timeout` the workers may process packets that are still in the capture buffers at the end.
const READ_OUT: Duration = Duration::from_millis(300);

/// Captures packets and publishes events until the input ends or a signal arrives.
pub fn run(invocation: &Invocation, flags: &RunFlags) -> Result<bool, Error> {
    let loaded = config::load(&invocation.load).map_err(|error| without_configuration(invocation, error))?;
    let command_line = super::command_line(invocation, &loaded.paths);
    let logs = (!command_line.stderr).then_some(loaded.paths.logs.as_path());
    let folders: Vec<&Path> = logs.into_iter().chain([loaded.paths.data.as_path()]).collect();
    privileges::become_user(flags.user.as_deref(), &folders)?;
    let logger = Logger::open(&loaded.root.get("logging"), &command_line)?;
    logger.install()?;
    log_start(&loaded);
    let result =
        run_logged(&loaded, invocation, flags, logger).map_err(|error| super::all_errors::with_others(&error, &loaded.root, &loaded.paths));
    if let Err(error) = &result {
        log::error!("Exiting: {error}");
    }
    result.map(|()| true)
}

/// Writes the first records of the log: the version, the files of the configuration, and the folders of data and logs.
fn log_start(loaded: &config::Loaded) {
    log::info!("{}", super::version());
    log::info!("Configuration: {}", config::listed(&loaded.files));
    log::info!("Data path: {}", loaded.paths.data.display());
    log::info!("Logs path: {}", loaded.paths.logs.display());
}

/// The error of loading the configuration. If there is none, the commands that a new user needs are added.
fn without_configuration(invocation: &Invocation, error: config::Error) -> Error {
    if !config::default_file_is_missing(&invocation.load) {
        return error.into();
    }
    format!(
        "{error}\n\
         \x20 sniffer watch                show what this machine talks to, without a configuration\n\
         \x20 sniffer -e -c FILE           capture and report as FILE says, a packetbeat.yml\n\
         \x20 sniffer test config -c FILE  check FILE\n\
         \x20 sniffer devices              list the devices that packets can be captured on\n\
         \x20 sniffer --help               list all commands and flags"
    )
    .into()
}

fn run_logged(loaded: &config::Loaded, invocation: &Invocation, flags: &RunFlags, logger: Logger) -> Result<(), Error> {
    loaded.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let plan = Plan::read(&loaded.root, flags.file.as_deref(), None)?;
    plan.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let seccomp = Seccomp::read(&loaded.root)?;
    let endpoint = endpoint::Options::read(&loaded.root)?;
    // The port may need a privilege that is given up afterwards.
    let listener = endpoint.as_ref().and_then(listen);
    let mut page = Serving::of_service(web::Options::read(&loaded.root)?, &plan);
    privileges::restrict(&Needs::of(&plan, page.is_some()), &seccomp)?;
    // Files have no packets of this process.
    let connections = plan.is_live().then(|| Arc::new(OwnConnections::new(Box::new(sockets::own_sockets))));
    let output = super::open_output(&loaded.root, &loaded.paths, connections.as_ref())?;
    let dashboards = setup::load_in_background(loaded, connections.as_ref())?;
    let is_live = plan.is_live();
    let replay = Replay {
        top_speed: flags.top_speed,
        loops: flags.loops.unwrap_or(1),
        one_at_a_time: flags.one_at_a_time,
        dump: flags.dump.as_deref().map(|prefix| prefix.display().to_string()),
    };
    let options = reload::Options::read(&loaded.root)?;
    if options.enabled {
        privileges::check_files(loaded.files.iter().map(PathBuf::as_path));
    }
    let of_endpoint = endpoint.filter(|_| listener.is_some()).and_then(|options| options.max_series);
    let red = of_endpoint.max(output.max_series()).map(Red::new);
    let (load, file, files) = (invocation.load.clone(), flags.file.clone(), loaded.files.clone());
    let origin = options.enabled.then_some(Origin { load, file, files, options });
    let metrics = Metrics::default();
    let reporter = Reporter::new(logger, Instant::now());
    let _server = page.as_mut().map(Serving::start).transpose()?;
    let (view, _link) = page.as_ref().map(|page| page.view_of_service(&loaded.paths.data)).unzip();
    let job = Job {
        plan,
        replay,
        paths: &loaded.paths,
        keeps_data: true,
        metrics,
        reporter: Some(reporter),
        publish: !flags.no_publish,
        connections,
        listens: page.as_ref().map(|page| page.listens.clone()).unwrap_or_default(),
        status: page.as_ref().map(|page| page.shared.status()),
        view,
        origin,
        listener,
        red,
    };
    job.run(output)?;
    // Files are often read faster than Kibana answers.
    if let Some(thread) = dashboards.filter(|_| !is_live) {
        thread.join().map_err(|_| "the thread that loads dashboards ended unexpectedly")?;
    }
    Ok(())
}

/// Opens the HTTP endpoint. Another program may use its address, which is no reason to capture nothing.
fn listen(options: &endpoint::Options) -> Option<Listener> {
    Listener::bind(options).inspect_err(|error| log::error!("{error}; the program runs without the HTTP endpoint")).ok()
}

/// The input of a run: the plan, and how its results are delivered and shown.
pub struct Job<'a> {
    /// The plan: the settings of interfaces, protocols and flows.
    pub plan: Plan,
    /// Options of reading capture files.
    pub replay: Replay,
    /// The `path.*` settings.
    pub paths: &'a config::Paths,
    /// Whether the identity of the agent is stored in `paths.data`. If so, the job locks this directory, and no other instance may use it
    /// at the same time.
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
    /// The addresses on which this process serves the page; connections to them are not reported.
    pub listens: Vec<SocketAddr>,
    /// Receives the counters, for the status line of `watch`.
    pub status: Option<Status>,
    /// Receives each event, in addition to the output.
    pub view: Option<View>,
    /// Where the configuration is read again from; `None` if it is not read again.
    pub origin: Option<Origin>,
    /// Where the HTTP endpoint listens; `None` without one.
    pub listener: Option<Listener>,
    /// Counts the transactions by server and operation, for the HTTP endpoint and `otlp.metrics`.
    pub red: Option<Red>,
}

/// The result of [`Job::start`]: the workers, the queue in front of the output, the interfaces for [`Reload`], and the collector of counters.
type Started = (Workers, Arc<dyn Queue>, Vec<Exchanged>, Arc<Collector>);

impl<'a> Job<'a> {
    /// A job for a view, which the caller adds. It stores nothing, reads files at top speed, and has no part of a service.
    pub fn for_view(plan: Plan, paths: &'a config::Paths) -> Self {
        Self {
            plan,
            replay: Replay { top_speed: true, ..Replay::default() },
            paths,
            keeps_data: false,
            metrics: Metrics::default(),
            reporter: None,
            publish: false,
            connections: None,
            listens: Vec::new(),
            status: None,
            view: None,
            origin: None,
            listener: None,
            red: None,
        }
    }
}

impl Job<'_> {
    /// Runs until the input ends or a signal arrives, and delivers the queued events.
    ///
    /// # Errors
    /// When something cannot be opened, or every input fails.
    pub fn run(self, mut output: Delivery) -> Result<(), Error> {
        let data = self.keeps_data.then(|| DataDir::open(self.paths, SystemClock.now().text(9).as_str())).transpose()?;
        let agent = AgentAndHost {
            id: data.as_ref().map_or_else(uuid::Uuid::new_v4, |data| data.agent_id).to_string(),
            ephemeral_id: uuid::Uuid::new_v4().to_string(),
            host_data: HostData::gather(),
            shared: Arc::default(),
        };
        let runtime = super::runtime()?;
        let timeout = self.plan.general.shutdown_timeout;
        // Install the signal handlers before the threads start, so that from here on a signal ends the program in order.
        let mut signals = Signals::new(timeout + GRACE + 2 * LEAVING, self.origin.is_some())?;
        let local = agent.host_data.addresses.clone();
        let (listens, exchange) = (self.listens.clone(), Exchange::default());
        let ports: Vec<u16> = output.ports().into_iter().chain(listens.iter().map(SocketAddr::port)).collect();
        let of_outputs = output.ports();
        let own = |connections| Own { ports: of_outputs, local, connections, listens: listens.clone() };
        let own = self.connections.clone().map(own);
        let (workers, queue, interfaces, collector) = self.start(&output, &agent, (own.as_ref(), &ports))?;
        let identity = self.identity(&agent)?;
        if output.has_monitoring() {
            output.monitor(Arc::new(Documents::new(identity.clone(), collector.clone(), self.metrics.clone())));
        }
        if let Some(red) = &self.red {
            output.measure(Arc::new(Counts::new(red.clone(), self.metrics.clone(), SystemClock.now(), &identity)));
        }
        let _server = self.listener.map(|listener| Server::start(listener, identity, collector.clone())).transpose()?;
        let (plan, real_time, connections) = (self.plan, !self.replay.top_speed, self.connections);
        let queue_settings = output.queue_settings().clone();
        let start =
            Start { plan, agent, real_time, connections, listens, queue: queue_settings, ports, interfaces, exchange: exchange.clone() };
        let reload = self.origin.map(|origin| Reload::new(origin, start));
        let service = Service::ready(workers.progress.clone(), &workers.captures);
        let mut watch = Watch {
            workers,
            queue: queue.clone(),
            collector,
            metrics: self.metrics,
            reporter: self.reporter,
            status: self.status,
            service,
            losses: Losses::new(),
            reload,
            timeout,
            end: None,
        };
        let quit = self.view.as_ref().map(|view| view.quit.clone());
        let (finish, mut view) = self.view.map(|view| (view.finish, view.ended)).unzip();
        let result = runtime.block_on(async {
            let mut delivery = Box::pin(exchange::run(output, queue.clone(), exchange));
            let ended = tokio::select! {
                () = &mut delivery => Err(OutputGone.into()),
                () = end_of(&mut view), if view.is_some() => Err(OutputGone.into()),
                () = asked_to_quit(quit.as_deref()) => {
                    watch.stop();
                    watch.until_the_end(&mut signals).await
                }
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
        // Do not wait for threads that are blocked because their output is not read.
        runtime.shutdown_background();
        result
    }

    /// Opens the interfaces, divides `memory.max` among their workers and the queue, and starts the workers.
    fn start(&self, output: &Delivery, agent: &AgentAndHost, (own, ports): (Option<&Own>, &[u16])) -> Result<Started, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = Workers {
            threads: Vec::new(),
            running: Arc::new(AtomicUsize::new(0)),
            stop,
            arrived: Arc::default(),
            progress: Arc::default(),
            publishing: Vec::new(),
            captures: Vec::new(),
            controls: Vec::new(),
        };
        let mut ready = Vec::new();
        let processors = agent.shared.get(processors::REPORTS, Reports::default);
        let opening = Opening { connections: self.connections.as_ref(), ..super::opening(self.plan.root(), self.paths) };
        let publishers = self.plan.publishers(&opening, agent, output.metadata())?;
        let processes = self.processes();
        let mut captures = Vec::new();
        let (mut exchanged, mut captured) = (Vec::new(), Vec::new());
        for (interface, (opened, filters)) in self.plan.interfaces.iter().zip(interfaces::open(&self.plan, &self.replay, ports)?) {
            let publishing = self.plan.publishing(interface, &publishers, agent)?;
            captures.push((interface, publishing, opened, filters));
        }
        let sources = captures.iter().map(|(.., opened, _)| opened.sources.len()).sum();
        let mut options = output.queue();
        let division = self.plan.memory.divide(sources, options.bytes);
        if division.queue < options.bytes && options.disk.is_none() {
            let (asked, given, max) = (options.bytes, division.queue, division.max);
            log::warn!("queue.mem.bytes: {asked} bytes are more than three tenths of memory.max ({max}); the queue gets {given}");
        }
        (options.bytes, options.batch_bytes) = (division.queue, division.batch);
        self.metrics.set_gauge("memory.max", division.max as f64);
        let queue = match options.disk.take() {
            Some(mut disk) => {
                (disk.read_ahead_bytes, disk.batch_bytes) = (division.queue, division.batch);
                queue::open_disk(disk)?
            }
            None => queue::open(options),
        };
        for (interface, publishing, opened, filters) in captures {
            let live = interface.file.is_none();
            workers.captures.push(opened.shown(interface));
            workers.controls.push((Arc::clone(&opened.control), live));
            let mut settings = self.plan.settings(interface, publishing.clone(), own);
            settings.real_time = !self.replay.top_speed;
            let settings = Arc::new(settings);
            let in_force = Arc::new(InForce::new(settings.clone()));
            captured.push(Captured {
                device: live.then(|| opened.name(interface).to_owned()),
                backend: opened.backend.name(),
                control: opened.control.clone(),
                in_force: in_force.clone(),
                workers: ready.len()..ready.len() + opened.sources.len(),
            });
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
                if live && self.listener.is_some() {
                    engine.count_traffic();
                }
                if opened.shunts {
                    engine = engine.with_shunts(opened.control.clone());
                }
                if let Some(processes) = processes.as_ref().filter(|_| live) {
                    engine.name_processes(processes.clone());
                }
                let red = self.red.as_ref().map(Red::recorder);
                let view = self.view.as_ref().map(|view| (view.observer)(Watched { live, stop: &workers.stop }));
                match (red, view) {
                    (Some(red), Some(view)) => engine.show(Box::new(Both(red, view))),
                    (one, other) => one.or(other).into_iter().for_each(|observer| engine.show(observer)),
                }
                ready.push(Worker::new(source, opened.control.clone(), engine, in_force.clone(), live, limits));
            }
            workers.publishing.push(publishing);
        }
        // All modules have read their settings, so the remaining ones are unknown.
        config::leftover(self.plan.root()).iter().for_each(|warning| log::warn!("{warning}"));
        workers.running.store(ready.len(), Ordering::SeqCst);
        let parts = Parts {
            metrics: self.metrics.clone(),
            queue: queue.clone(),
            counters: output.counters(),
            sending: output.sending(),
            arrived: workers.arrived.clone(),
            processors,
            running: workers.running.clone(),
            captured,
        };
        let collector = Arc::new(Collector::new(parts, Instant::now()));
        if let Some(view) = &self.view {
            (view.started)(&workers.captures);
        }
        for (index, worker) in ready.into_iter().enumerate() {
            workers.spawn(index, worker, self.metrics.clone())?;
        }
        log::info!("sniffer is running: {} worker(s), output {}", workers.threads.len(), output.name());
        Ok((workers, queue, exchanged, collector))
    }

    /// The processes at the ends of connections. `None` if neither documents nor a view name them, if no device is captured, or if the
    /// owners of sockets cannot be found.
    fn processes(&self) -> Option<Arc<Processes>> {
        let options = &self.plan.procs;
        let are_wanted = self.plan.is_live() && (options.enabled || self.view.is_some());
        are_wanted.then(process::open).flatten().map(|owners| Processes::new(owners, options.clone()))
    }

    /// What the HTTP endpoint and `monitoring` say about this process.
    fn identity(&self, agent: &AgentAndHost) -> Result<Identity, config::Error> {
        Ok(Identity {
            cluster_uuid: self.plan.root().get("monitoring.cluster_uuid").read()?,
            id: agent.id.clone(),
            ephemeral_id: agent.ephemeral_id.clone(),
            name: self.plan.name(),
            version: COMPATIBLE,
            host: agent.host_data.host.fields.clone(),
            protocols: PROTOCOLS.iter().map(|protocol| protocol.name).collect(),
            start: Instant::now(),
            red: self.red.clone(),
        })
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

/// Completes when the person who watches asks for the end; never without a view.
async fn asked_to_quit(quit: Option<&Notify>) {
    match quit {
        Some(quit) => quit.notified().await,
        None => std::future::pending().await,
    }
}

/// Completes when the view ends. Completes at once if there is no view.
async fn end_of(view: &mut Option<oneshot::Receiver<()>>) {
    if let Some(ended) = view {
        // If the sender was dropped, the view has ended too.
        let _ = ended.await;
    }
}

/// The output or the view has ended before the input, because the reader of the output's pipe is gone.
#[derive(Debug, thiserror::Error)]
#[error("the output is gone")]
pub struct OutputGone;

//! Reads the configuration again while the program runs, and puts it in force: protocols, filters, processors, fields and the output. A
//! wrong configuration has no effect, and neither has one that changes a setting which cannot be exchanged.

mod files;
mod fixed;

pub use fixed::is_exchanged;

use super::{
    Error,
    plan::{AgentAndHost, Plan},
    privileges::Seccomp,
    setup,
};
use crate::{
    capture::{control::Control, filter::Filters, options::Interface},
    config::{self, LoadOptions, Node, duration},
    endpoint,
    engine::{InForce, Own, Settings},
    enrich::HostData,
    monitor::log::{CommandLine, Logger},
    net::OwnConnections,
    opening::Opening,
    output::{Delivery, exchange::Exchange},
    publish::Publishing,
    web,
};
use files::{Files, Look};
use serde::Deserialize;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Minimum of the setting `reload.period`.
const SHORTEST_PERIOD: Duration = Duration::from_millis(100);
/// How long the main thread waits for the workers to take over new settings. After that it replaces the filters nevertheless, because a
/// worker of a file may be waiting for room in the queue.
const TAKEN_OVER: Duration = Duration::from_secs(1);
/// How often the main thread checks whether the workers have taken over new settings.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Settings on which the output depends.
const OF_OUTPUT: &[&str] = &["output", "cloud", "setup", "name"];

/// The settings `reload`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Whether SIGHUP and changed files make the program read its configuration again.
    pub enabled: bool,
    /// Time between two looks at the files.
    #[serde(with = "duration")]
    pub period: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { enabled: false, period: Duration::from_secs(10) }
    }
}

impl Options {
    /// Reads the section `reload`.
    ///
    /// # Errors
    /// When a value is wrong. The error names file, line and key.
    pub fn read(root: &Node) -> Result<Self, config::Error> {
        let node = root.get("reload");
        let options: Self = node.read()?;
        if options.period < SHORTEST_PERIOD {
            return Err(node.get("period").error(format!("must be at least {SHORTEST_PERIOD:?}")));
        }
        Ok(options)
    }
}

/// Where the configuration comes from, for reading it again.
#[derive(Clone)]
pub struct Origin {
    /// The command line's flags about the configuration.
    pub load: LoadOptions,
    /// The capture file of `-I`.
    pub file: Option<PathBuf>,
    /// The files of the configuration.
    pub files: Vec<PathBuf>,
    /// The settings `reload` of the configuration in force.
    pub options: Options,
}

/// An interface whose settings and filter are exchanged.
pub struct Exchanged {
    /// The control of the interface's capture.
    pub control: Arc<dyn Control>,
    /// The settings of the interface's workers.
    pub in_force: Arc<InForce>,
    /// Whether the eBPF programs examine the interface's packets before a generated filter, or after a user's filter.
    pub examines: bool,
    /// The filter in force. It has `counting` if the kernel counts the flows of this interface.
    pub filters: Filters,
}

/// The running configuration, and everything that is needed to replace it.
pub struct Reload {
    origin: Origin,
    files: Files,
    plan: Plan,
    agent: AgentAndHost,
    /// Whether capture files are read at the speed at which they were captured.
    real_time: bool,
    connections: Option<Arc<OwnConnections>>,
    /// See [`super::run::Job::listens`].
    listens: Vec<SocketAddr>,
    /// The section `queue` that the queue was made from.
    queue: Node,
    /// The server ports of the current output, and of the previous output, whose connections may still be open.
    ports: [Vec<u16>; 2],
    interfaces: Vec<Exchanged>,
    exchange: Exchange,
}

/// The state at the start of the program, from which [`Reload`] begins.
pub struct Start {
    /// The plan in force.
    pub plan: Plan,
    /// The identity in documents.
    pub agent: AgentAndHost,
    /// Whether capture files are read at the speed at which they were captured.
    pub real_time: bool,
    /// The connections of this process; see [`super::run::Job::connections`].
    pub connections: Option<Arc<OwnConnections>>,
    /// See [`super::run::Job::listens`].
    pub listens: Vec<SocketAddr>,
    /// The section `queue` of the configuration.
    pub queue: Node,
    /// The server ports of the output, and those of `listens`.
    pub ports: Vec<u16>,
    /// The interfaces in the order of the plan.
    pub interfaces: Vec<Exchanged>,
    /// Hands over the next output.
    pub exchange: Exchange,
}

/// A configuration that was read and can be put in force.
struct Prepared {
    plan: Plan,
    files: Vec<PathBuf>,
    host_data: HostData,
    /// `None` if the settings of the output did not change.
    output: Option<Delivery>,
    ports: [Vec<u16>; 2],
    /// Publishing, worker settings and filter of each interface.
    settings: Vec<(Arc<Publishing>, Arc<Settings>, Filters)>,
}

impl Reload {
    /// Begins to watch the files of the configuration.
    pub fn new(origin: Origin, start: Start) -> Self {
        let Start { plan, agent, real_time, connections, listens, queue, ports, interfaces, exchange } = start;
        let files = Files::new(origin.files.iter().cloned(), origin.options.period, Instant::now());
        Self { origin, files, plan, agent, real_time, connections, listens, queue, ports: [ports, Vec::new()], interfaces, exchange }
    }

    /// When the files must be looked at again.
    pub fn next_look(&self) -> Instant {
        self.files.next()
    }

    /// Checks whether a file of the configuration has changed, and then puts its settings in force. Returns the
    /// publishing of each interface if it was exchanged.
    pub async fn look(&mut self) -> Option<Vec<Arc<Publishing>>> {
        match self.files.look(Instant::now()) {
            Look::Same | Look::Changing => None,
            Look::Gone(gone) => {
                log::warn!("{}: the file is gone; the running configuration stays in force", config::listed(&gone));
                None
            }
            Look::Changed(changed) => self.now(&format!("{} changed", config::listed(&changed))).await,
        }
    }

    /// Reads the configuration and puts its settings in force. `why` is the reason, for the log. Returns the publishing
    /// of each interface, or `None` when the running configuration stays in force.
    pub async fn now(&mut self, why: &str) -> Option<Vec<Arc<Publishing>>> {
        log::info!("{why}: the configuration is read again");
        self.files.used();
        let result = match self.prepare() {
            Ok(prepared) => self.put_in_force(prepared).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(publishing) => {
                log::info!("The new configuration is in force");
                Some(publishing)
            }
            Err(error) => {
                log::error!("The running configuration stays in force: {error}");
                None
            }
        }
    }

    /// Reads and checks a whole configuration without changing anything.
    fn prepare(&self) -> Result<Prepared, Error> {
        let loaded = config::load(&self.origin.load)?;
        let root = &loaded.root;
        let plan = Plan::read(root, self.origin.file.as_deref(), Some(&self.plan))?;
        let output = super::open_output(root, &loaded.paths, self.connections.as_ref())?;
        Logger::open(&root.get("logging"), &CommandLine::default())?;
        Options::read(root)?;
        endpoint::Options::read(root)?;
        web::Options::read(root)?;
        Seccomp::read(root)?;
        setup::loader(&super::opening(root, &loaded.paths))?;
        let host_data = HostData::gather();
        let AgentAndHost { id, ephemeral_id, shared, .. } = &self.agent;
        let (id, ephemeral_id, shared) = (id.clone(), ephemeral_id.clone(), shared.clone());
        let agent = AgentAndHost { id, ephemeral_id, host_data: host_data.clone(), shared };
        let opening = Opening { connections: self.connections.as_ref(), ..super::opening(root, &loaded.paths) };
        let publishers = plan.publishers(&opening, &agent, output.metadata())?;
        let before = self.plan.root();
        let same_output = OF_OUTPUT.iter().all(|key| before.get(key).has_same_content(&root.get(key)));
        let ports = if same_output { self.ports.clone() } else { [output.ports(), self.ports.concat()] };
        let mut known: Vec<u16> = ports.concat();
        known.sort_unstable();
        known.dedup();
        let (local, listens) = (host_data.addresses.clone(), self.listens.clone());
        let own = self.connections.clone().map(|connections| Own { ports: known.clone(), local, connections, listens });
        let mut opened = Vec::new();
        for interface in &plan.interfaces {
            let publishing = plan.publishing(interface, &publishers, &agent)?;
            let mut settings = plan.settings(interface, publishing.clone(), own.as_ref());
            settings.real_time = self.real_time;
            settings.open()?;
            opened.push((publishing, Arc::new(settings), plan.filters(interface, &known)?));
        }
        fixed::check(before, root)?;
        fixed::check_queue(&self.queue, output.queue_settings())?;
        let mut settings = Vec::new();
        let pairs = self.plan.interfaces.iter().zip(&plan.interfaces);
        for (((publishing, of_workers, mut filters), exchanged), (old, new)) in opened.into_iter().zip(&self.interfaces).zip(pairs) {
            filters.counting = filters.counting.take().filter(|_| exchanged.filters.counting.is_some());
            check_order(exchanged, &filters, old, new)?;
            settings.push((publishing, of_workers, filters));
        }
        let warnings = loaded.warnings.iter().chain(&plan.warnings).cloned().chain(config::leftover(root));
        warnings.for_each(|warning| log::warn!("{warning}"));
        Ok(Prepared { plan, files: loaded.files, host_data, output: (!same_output).then_some(output), ports, settings })
    }

    /// Puts a configuration in force, on all interfaces or on none. The settings of the workers come first, then the
    /// filters, so that a packet that only the new filter matches finds the protocol that claims it.
    async fn put_in_force(&mut self, prepared: Prepared) -> Result<Vec<Arc<Publishing>>, Error> {
        let Prepared { plan, files, host_data, output, ports, settings } = prepared;
        let before: Vec<_> =
            self.interfaces.iter().zip(&settings).map(|(interface, (_, new, _))| interface.in_force.replace(new.clone())).collect();
        let limit = Instant::now() + TAKEN_OVER;
        // Each worker holds a reference to the settings that it uses. More than one reference means that a worker still
        // uses the old settings.
        while before.iter().any(|settings| Arc::strong_count(settings) > 1) && Instant::now() < limit {
            sleep(LOOK_AGAIN).await;
        }
        let refused = self.interfaces.iter().zip(&settings).enumerate().find_map(|(place, (interface, (.., filters)))| {
            let error = interface.control.set_filter(filters).err()?;
            Some((place, error))
        });
        if let Some((failed, error)) = refused {
            for (place, (interface, settings)) in self.interfaces.iter().zip(before).enumerate() {
                interface.in_force.replace(settings);
                if place < failed
                    && let Err(error) = interface.control.set_filter(&interface.filters)
                {
                    log::error!("after a failed change, the previous filter cannot be restored: {error}");
                }
            }
            return Err(match plan.interfaces.get(failed) {
                Some(interface) => error.at(interface).into(),
                None => error.into(),
            });
        }
        let mut publishing = Vec::new();
        for (interface, (of_interface, _, filters)) in self.interfaces.iter_mut().zip(settings) {
            interface.filters = filters;
            publishing.push(of_interface);
        }
        if let Some(output) = output {
            self.exchange.put(output);
        }
        self.files.replace(files);
        (self.plan, self.ports, self.agent.host_data) = (plan, ports, host_data);
        Ok(publishing)
    }
}

/// Refuses to add a `bpf_filter` or to remove one, if the eBPF programs count packets or recognise copies. The programs do so before a
/// generated filter, but after a user's filter, and this choice is fixed when the programs are loaded.
fn check_order(exchanged: &Exchanged, filters: &Filters, before: &Interface, now: &Interface) -> Result<(), config::Error> {
    if !exchanged.examines || exchanged.filters.user.is_some() == filters.user.is_some() {
        return Ok(());
    }
    let interface = if filters.user.is_some() { now } else { before };
    let message = "cannot be added or removed while the kernel counts flows or recognises packets on several devices; restart the program";
    Err(interface.node.get("bpf_filter").error(message))
}

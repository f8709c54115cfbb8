//! Reads the configuration again while the program runs, and puts it in force: protocols, filters, processors, fields and the output. A
//! configuration that is wrong, or that changes a setting which cannot be exchanged, leaves everything as it is.

mod files;
mod fixed;

use super::{
    Error,
    plan::{Plan, Who},
};
use crate::{
    capture::{control::Control, filter::Filters, options::Interface},
    config::{self, LoadOptions, Node, duration},
    engine::{InForce, Own, Settings},
    enrich::HostData,
    monitor::log::{CommandLine, Logger},
    net::OwnConnections,
    output::{Delivery, exchange::Exchange},
    publish::Publishing,
};
use files::{Files, Look};
use serde::Deserialize;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Shortest `reload.period`.
const SHORTEST_PERIOD: Duration = Duration::from_millis(100);
/// How long the workers may take to take over new settings, before the filters are replaced nevertheless. A worker of a file may wait for
/// room in the queue.
const TAKEN_OVER: Duration = Duration::from_secs(1);
/// Time between two looks whether the workers have taken over new settings.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Settings on which the output depends.
const OF_OUTPUT: &[&str] = &["output", "cloud", "setup", "name"];

/// `reload`
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
    /// When a value is wrong; names file, line and key.
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
    /// `reload`
    pub options: Options,
}

/// An interface whose settings and filter are exchanged.
pub struct Exchanged {
    /// The control of its capture.
    pub control: Arc<dyn Control>,
    /// The settings of its workers.
    pub in_force: Arc<InForce>,
    /// Whether the eBPF programs examine its packets before a generated filter, or after a user's one.
    pub examines: bool,
    /// The filter in force. It has `counting` if the kernel counts the flows of this interface.
    pub filters: Filters,
}

/// What is in force, and what is needed to replace it.
pub struct Reload {
    origin: Origin,
    files: Files,
    plan: Plan,
    who: Who,
    /// Whether capture files are read at the speed at which they were captured.
    real_time: bool,
    connections: Option<Arc<OwnConnections>>,
    /// The server ports of the output, and of the one before, whose connections may still be open.
    ports: [Vec<u16>; 2],
    interfaces: Vec<Exchanged>,
    exchange: Exchange,
}

/// The state at the start of the program, from which [`Reload`] begins.
pub struct Start {
    /// The plan in force.
    pub plan: Plan,
    /// The identity in documents.
    pub who: Who,
    /// Whether capture files are read at the speed at which they were captured.
    pub real_time: bool,
    /// The connections of this process; see [`super::run::Job::connections`].
    pub connections: Option<Arc<OwnConnections>>,
    /// The server ports of the output.
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
    /// For each interface.
    settings: Vec<(Arc<Publishing>, Arc<Settings>, Filters)>,
}

impl Reload {
    /// Begins to watch the files of the configuration.
    pub fn new(origin: Origin, start: Start) -> Self {
        let Start { plan, who, real_time, connections, ports, interfaces, exchange } = start;
        let files = Files::new(origin.files.iter().cloned(), origin.options.period, Instant::now());
        Self { origin, files, plan, who, real_time, connections, ports: [ports, Vec::new()], interfaces, exchange }
    }

    /// When the files must be looked at again.
    pub fn next_look(&self) -> Instant {
        self.files.next()
    }

    /// Looks whether a file of the configuration has changed. If so, puts its settings in force. Returns the publishing of each interface
    /// if it was exchanged.
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

    /// Reads the configuration and puts it in force. `why` is for the log. Returns the publishing of each interface, or `None` when the
    /// running configuration stays in force.
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

    /// Reads and checks everything. Changes nothing.
    fn prepare(&self) -> Result<Prepared, Error> {
        let loaded = config::load(&self.origin.load)?;
        let root = &loaded.root;
        let plan = Plan::read(root, self.origin.file.as_deref(), Some(&self.plan))?;
        let output = super::open_output(root, &loaded.paths, self.connections.as_ref())?;
        Logger::open(&root.get("logging"), &CommandLine::default())?;
        Options::read(root)?;
        let host_data = HostData::gather();
        let who = Who { id: self.who.id.clone(), ephemeral_id: self.who.ephemeral_id.clone(), host_data: host_data.clone() };
        let publishers = plan.publishers(&super::opening(root, &loaded.paths), &who, output.metadata())?;
        let before = self.plan.root();
        let same_output = OF_OUTPUT.iter().all(|key| before.get(key).has_same_content(&root.get(key)));
        let ports = if same_output { self.ports.clone() } else { [output.ports(), self.ports.concat()] };
        let mut known: Vec<u16> = ports.concat();
        known.sort_unstable();
        known.dedup();
        let own = self.connections.clone().map(|connections| Own { ports: known.clone(), local: host_data.addresses.clone(), connections });
        let mut opened = Vec::new();
        for interface in &plan.interfaces {
            let publishing = plan.publishing(interface, &publishers, &who)?;
            let mut settings = plan.settings(interface, publishing.clone(), own.as_ref());
            settings.real_time = self.real_time;
            settings.open()?;
            opened.push((publishing, Arc::new(settings), plan.filters(interface, &known)?));
        }
        fixed::check(before, root)?;
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

    /// Puts a configuration in force, on all interfaces or on none: first the settings of the workers, then the filters, so that a
    /// packet which only the new filter matches finds the protocol that claims it.
    async fn put_in_force(&mut self, prepared: Prepared) -> Result<Vec<Arc<Publishing>>, Error> {
        let Prepared { plan, files, host_data, output, ports, settings } = prepared;
        let before: Vec<_> =
            self.interfaces.iter().zip(&settings).map(|(interface, (_, new, _))| interface.in_force.replace(new.clone())).collect();
        let limit = Instant::now() + TAKEN_OVER;
        // Each worker holds the settings that it uses.
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
        (self.plan, self.ports, self.who.host_data) = (plan, ports, host_data);
        Ok(publishing)
    }
}

/// Refuses a `bpf_filter` where there was none, and the reverse, if the eBPF programs examine packets before a generated filter and after a
/// user's one: the programs are loaded for one of both.
fn check_order(exchanged: &Exchanged, filters: &Filters, before: &Interface, now: &Interface) -> Result<(), config::Error> {
    if !exchanged.examines || exchanged.filters.user.is_some() == filters.user.is_some() {
        return Ok(());
    }
    let interface = if filters.user.is_some() { now } else { before };
    let message = "cannot be added or removed while the kernel counts flows or recognises packets on several devices; restart the program";
    Err(interface.node.get("bpf_filter").error(message))
}

//! `add_docker_metadata`: adds data about a Docker container, from the API of the Docker daemon.

mod api;
#[cfg(test)]
mod tests;

use super::{
    AtStart, Decision, Factory, Facts, ProcessorKind, Shared,
    add_process_metadata::proc,
    kit::{Span, never_has},
    lookup::{Limits, LookUps},
    options::options,
    replace::Pattern,
    shared,
};
use crate::{
    config::Error,
    enrich::HostData,
    event::{
        constants::Constants,
        tree::{Object, Tree},
    },
    opening::{Clock, Opening},
};
use api::Daemon;
use serde_json::Value;
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "add_docker_metadata",
    about: "Adds the id, name, image and labels of a Docker container to `container`. The container is found by its id in a field, or by the \
            process whose id is in a field. While packets are captured, an event never waits for the Docker daemon: it goes on without the data, \
            and later events get them. A daemon that is not there is asked again after some seconds.",
    example: "host: unix:///var/run/docker.sock\nmatch_fields: [system.container.id]\nlabels.dedot: true",
    options: &[("", AddDockerMetadata::OPTIONS), ("labels.", Labels::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct AddDockerMetadata {
        /// The address of the daemon: `unix://PATH`, `tcp://HOST:PORT` or `http://HOST:PORT`.
        host: String = "unix:///var/run/docker.sock".to_owned(),
        /// Fields with the id of a container.
        match_fields: Vec<String> = Vec::new(),
        /// Fields with the id of a process.
        match_pids: Vec<String> = vec!["process.pid".to_owned(), "process.parent.pid".to_owned()],
        /// Accepted without effect: no event has the path of a log file.
        match_source: bool = true,
        /// Accepted without effect: no event has the path of a log file.
        match_source_index: usize = 4,
        /// Accepted without effect: an id of 12 characters is always enough.
        match_short_id: bool = false,
        /// The time for which the data of a container are used before the daemon is asked again.
        cleanup_timeout: Span = Span(Duration::from_secs(60)),
        /// The folder in which the file systems of the host are, if this program runs in a container.
        hostfs: String = "/".to_owned(),
        /// Beginnings of cgroups whose last part is the id of a container.
        cgroup_prefixes: Vec<String> = Vec::new(),
        /// A pattern whose first group is the id of a container in the name of a cgroup.
        cgroup_regex: Option<Pattern> = None,
        /// How labels are written.
        labels: Labels = Labels { dedot: true },
    }
}

options! {
    #[derive(Debug)]
    struct Labels {
        /// Replaces dots in the names of labels by underscores.
        dedot: bool = true,
    }
}

/// Maximum number of containers and processes that are remembered.
const MAX_ENTRIES: usize = 10_000;
/// The time after which a container that was not found is looked up again.
const ABSENT: Duration = Duration::from_secs(10);
/// The longest time that an event of a capture file waits.
const WAIT: Duration = Duration::from_secs(5);

/// By what a container is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum By {
    Container(String),
    Process(u32),
}

struct Containers {
    options: AddDockerMetadata,
    look_ups: LookUps<By, Option<Arc<Object>>>,
    clock: &'static dyn Clock,
}

impl fmt::Debug for Containers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = AddDockerMetadata::read(opening.node)?;
    // These options have no effect.
    let _ = (options.match_source, options.match_source_index, options.match_short_id);
    let daemon = Daemon::new(&options.host, options.labels.dedot).map_err(|error| opening.node.error(format!("host: {error}")))?;
    let reader = proc::Reader {
        root: PathBuf::from(&options.hostfs),
        prefixes: options.cgroup_prefixes.clone(),
        pattern: options.cgroup_regex.clone().map(|pattern| pattern.0),
    };
    let valid = options.cleanup_timeout.0;
    let look_up = move |by: &By| {
        let id = match by {
            By::Container(id) => Some(id.clone()),
            By::Process(pid) => reader.container_of(*pid),
        };
        match id.and_then(|id| daemon.container(&id)) {
            Some(container) => (Some(Arc::new(container)), valid),
            None => (None, ABSENT),
        }
    };
    let limits = Limits { name: "add_docker_metadata", threads: 1, capacity: MAX_ENTRIES, wait: WAIT };
    let look_ups = LookUps::start(opening, limits, Box::new(look_up))
        .map_err(|error| opening.node.error(format!("starting a thread for look-ups failed: {error}")))?;
    Ok(shared(Containers { options, look_ups, clock: opening.clock }))
}

impl Containers {
    /// What the fields of an event say about its container, in the order in which it is tried.
    fn clues(&self, event: &Tree) -> Vec<By> {
        let ids = self.options.match_fields.iter().filter_map(|name| event.get(name)?.as_str().map(|id| By::Container(id.to_owned())));
        let pids = self.options.match_pids.iter().filter_map(|name| {
            let pid = event.get(name).and_then(Value::as_u64)?;
            u32::try_from(pid).ok().map(By::Process)
        });
        ids.chain(pids).collect()
    }
}

impl Shared for Containers {
    fn apply_at_start(&self, constants: &mut Constants, facts: &Facts, _: &HostData) -> AtStart {
        let mut names = self.options.match_fields.iter().chain(&self.options.match_pids);
        if names.all(|name| never_has(name, constants, facts)) { AtStart::Done } else { AtStart::PerEvent }
    }

    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let now = self.clock.now();
        if let Some(container) = self.clues(event).iter().find_map(|by| self.look_ups.get(by, now).flatten()) {
            event.merge(&container);
        }
        Decision::Keep
    }
}

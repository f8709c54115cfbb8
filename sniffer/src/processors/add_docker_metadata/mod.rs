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
    config::{Error, Texts},
    enrich::HostData,
    event::{
        constants::Constants,
        tree::{Object, Tree},
    },
    opening::{Clock, Opening},
    tls,
};
use api::Daemon;
use serde::Deserialize;
use serde_json::Value;
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "add_docker_metadata",
    about: "Adds the id, name, image and labels of a Docker container to `container`. The container is found by its id in a field, or by the \
            process whose id is in a field. While packets are captured, an event never waits for the Docker daemon: it goes on without the data, \
            and later events get them. A daemon that is not there is asked again after some seconds.",
    example: "host: unix:///var/run/docker.sock\nmatch_fields: [system.container.id]\nlabels.dedot: true",
    options: &[("", AddDockerMetadata::OPTIONS), ("ssl.", Ssl::OPTIONS), ("labels.", Labels::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct AddDockerMetadata {
        /// The address of the daemon: `unix://PATH`, `tcp://HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`. With `ssl`, `tcp` is TLS.
        host: String = "unix:///var/run/docker.sock".to_owned(),
        /// The certificates of TLS.
        ssl: Ssl = Ssl::default(),
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
    #[derive(Debug, Default)]
    struct Ssl {
        /// A PEM file with the authority of the daemon's certificate. Without it, the authorities of the system are trusted.
        certificate_authority: String = String::new(),
        /// The same as `certificate_authority`, for one or more files.
        certificate_authorities: Texts = Texts::default(),
        /// A PEM file with the client's certificate.
        certificate: String = String::new(),
        /// A PEM file with the key of the client's certificate.
        key: String = String::new(),
        /// `none` accepts every certificate of the daemon.
        verification_mode: Verification = Verification::Full,
    }
}

/// Whether the daemon's certificate is verified.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Verification {
    #[default]
    Full,
    None,
}

impl Ssl {
    /// The settings of TLS; `None` if none is set.
    fn options(&self) -> Option<tls::Options> {
        let mut authorities = self.certificate_authorities.0.clone();
        authorities.extend(Some(self.certificate_authority.clone()).filter(|file| !file.is_empty()));
        let verifies = self.verification_mode == Verification::Full;
        let is_set = !authorities.is_empty() || !self.certificate.is_empty() || !self.key.is_empty() || !verifies;
        is_set.then(|| tls::Options::of(authorities, self.certificate.clone(), self.key.clone(), verifies))
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

/// A key by which a container is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum LookupKey {
    Container(String),
    Process(u32),
}

struct Containers {
    options: AddDockerMetadata,
    look_ups: LookUps<LookupKey, Option<Arc<Object>>>,
    clock: &'static dyn Clock,
}

impl fmt::Debug for Containers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = AddDockerMetadata::read(opening.node)?;
    // These options are read but have no effect.
    let _ = (options.match_source, options.match_source_index, options.match_short_id);
    let daemon = Daemon::new(&options.host, options.labels.dedot, options.ssl.options().as_ref(), opening.connections.cloned())
        .map_err(|error| opening.node.error(error))?;
    if let Some(port) = daemon.port() {
        opening.expect(port);
    }
    let reader = proc::Reader {
        root: PathBuf::from(&options.hostfs),
        prefixes: options.cgroup_prefixes.clone(),
        pattern: options.cgroup_regex.clone().map(|pattern| pattern.0),
    };
    let valid = options.cleanup_timeout.0;
    let look_up = move |by: &LookupKey| {
        let id = match by {
            LookupKey::Container(id) => Some(id.clone()),
            LookupKey::Process(pid) => reader.container_of(*pid),
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
    /// The keys by which the container of an event is looked up, in the order in which they are tried.
    fn lookup_keys(&self, event: &Tree) -> Vec<LookupKey> {
        let ids =
            self.options.match_fields.iter().filter_map(|name| event.get(name)?.as_str().map(|id| LookupKey::Container(id.to_owned())));
        let pids = self.options.match_pids.iter().filter_map(|name| {
            let pid = event.get(name).and_then(Value::as_u64)?;
            u32::try_from(pid).ok().map(LookupKey::Process)
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
        if let Some(container) = self.lookup_keys(event).iter().find_map(|by| self.look_ups.get(by, now).flatten()) {
            event.merge(&container);
        }
        Decision::Keep
    }
}

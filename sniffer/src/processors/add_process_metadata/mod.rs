//! `add_process_metadata`: adds data about the process whose id is in a field.

pub(super) mod proc;
#[cfg(test)]
mod tests;

use super::{
    Decision, Factory, ProcessorKind, Shared,
    kit::Span,
    lookup::{Limits, LookUps},
    options::options,
    replace::Pattern,
    shared,
};
use crate::{
    config::{Error, is_within},
    enrich::HostData,
    event::tree::Tree,
    opening::{Clock, Opening},
};
use serde_json::Value;
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "add_process_metadata",
    about: "Adds data about a process on this host whose id is in a field. While packets are captured, an event never waits: it goes on without \
            the data, and later events with the same process get them. If a field exists already, nothing is added, unless `overwrite_keys` is \
            true.",
    example: "match_pids: [system.process.ppid]\ntarget: system.process.parent\ninclude_fields: [process.name, process.args]",
    options: &[("", AddProcessMetadata::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct AddProcessMetadata {
        /// The fields with the id of a process. The first one whose process exists is used.
        match_pids: Vec<String>,
        /// The object that the fields are added to. Without this option, they are added to the document itself.
        target: String = String::new(),
        /// The fields that are added, such as `process.name` or `process`. Without this option, all of them are added.
        include_fields: Vec<String> = Vec::new(),
        /// Replaces fields that exist.
        overwrite_keys: bool = false,
        /// Also adds `process.env`, which can contain secrets.
        restricted_fields: bool = false,
        /// Accepted without effect: a missing field is never an error.
        ignore_missing: bool = true,
        /// The folder in which the file systems of the host are, if this program runs in a container.
        host_path: String = "/".to_owned(),
        /// Beginnings of cgroups whose last part is the id of a container.
        cgroup_prefixes: Vec<String> = Vec::new(),
        /// A pattern whose first group is the id of a container in the name of a cgroup.
        cgroup_regex: Option<Pattern> = None,
        /// The time after which a process is looked up again.
        cgroup_cache_expire_time: Span = Span(Duration::from_secs(30)),
    }
}

/// The fields that can be added.
const FIELDS: [&str; 16] = [
    "process.name",
    "process.title",
    "process.executable",
    "process.args",
    "process.env",
    "process.pid",
    "process.parent.pid",
    "process.start_time",
    "process.owner.name",
    "process.owner.id",
    "process.group.name",
    "process.group.id",
    "process.entity_id",
    "process.thread.capabilities.effective",
    "process.thread.capabilities.permitted",
    "container.id",
];

/// Maximum number of processes that are remembered.
const MAX_PROCESSES: usize = 10_000;
/// The time for which a process that does not exist is remembered.
const ABSENT: Duration = Duration::from_secs(1);
/// The longest time that an event of a capture file waits.
const WAIT: Duration = Duration::from_secs(2);

/// The fields of a process; `None` if there is no such process.
type Found = Option<Arc<Vec<(&'static str, Value)>>>;

struct Processes {
    options: AddProcessMetadata,
    look_ups: LookUps<u32, Found>,
    clock: &'static dyn Clock,
}

impl fmt::Debug for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = AddProcessMetadata::read(opening.node)?;
    let _ = options.ignore_missing;
    let is_known = |name: &str| FIELDS.iter().any(|field| is_within(field, name));
    if let Some(name) = options.include_fields.iter().find(|name| !is_known(name)) {
        return Err(opening.node.get("include_fields").error(format!("there is no field `{name}`; the fields are {}", FIELDS.join(", "))));
    }
    let reader = proc::Reader {
        root: PathBuf::from(&options.host_path),
        prefixes: options.cgroup_prefixes.clone(),
        pattern: options.cgroup_regex.clone().map(|pattern| pattern.0),
    };
    let valid = options.cgroup_cache_expire_time.0;
    let look_up = move |pid: &u32| match reader.read(*pid) {
        Some(fields) => (Some(Arc::new(fields)), valid),
        None => (None, ABSENT),
    };
    let limits = Limits { name: "add_process_metadata", threads: 1, capacity: MAX_PROCESSES, wait: WAIT };
    let look_ups = LookUps::start(opening, limits, Box::new(look_up))
        .map_err(|error| opening.node.error(format!("starting a thread for look-ups failed: {error}")))?;
    Ok(shared(Processes { options, look_ups, clock: opening.clock }))
}

/// A number, or a text with a number.
fn pid(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64().and_then(|number| number.try_into().ok()),
    }
}

impl Processes {
    fn wants(&self, field: &str) -> bool {
        let AddProcessMetadata { include_fields, restricted_fields, .. } = &self.options;
        (include_fields.is_empty() || include_fields.iter().any(|name| is_within(field, name)))
            && (*restricted_fields || field != "process.env")
    }

    fn add(&self, event: &mut Tree, process: &[(&'static str, Value)]) -> Result<(), String> {
        let target = &self.options.target;
        let name = |field: &str| if target.is_empty() { field.to_owned() } else { format!("{target}.{field}") };
        let fields: Vec<_> = process.iter().filter(|(field, _)| self.wants(field)).map(|(field, value)| (name(field), value)).collect();
        if !self.options.overwrite_keys
            && let Some((name, _)) = fields.iter().find(|(name, _)| event.has(name))
        {
            return Err(format!("target field {name} already exists"));
        }
        for (name, value) in fields {
            event.put(&name, value.clone()).map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(())
    }
}

impl Shared for Processes {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let mut pids = self.options.match_pids.iter().filter_map(|name| event.get(name).and_then(pid));
        let now = self.clock.now();
        let found = pids.find_map(|pid| self.look_ups.get(&pid, now).flatten());
        if let Some(Err(error)) = found.map(|process| self.add(event, &process)) {
            log::debug!("add_process_metadata: {error}");
        }
        Decision::Keep
    }
}

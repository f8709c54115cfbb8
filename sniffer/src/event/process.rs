//! The fields of a document that name processes: `process`, `user`, `container` and `service` of the whole conversation, and the process
//! of each end. They are serialized from what is known about a process, without a copy.

use super::fields::{
    Field,
    Kind::{Date, Keyword, Long},
};
use crate::process::{Ends, Process};
use serde::{Serialize, Serializer, ser::SerializeMap};

/// The fields that documents have when `packetbeat.procs` is enabled.
pub const PROCESS: &[Field] = &[
    Field::new("process.pid", Long),
    Field::new("process.name", Keyword),
    Field::new("process.executable", Keyword),
    Field::new("process.args", Keyword),
    Field::new("process.start", Date),
    Field::new("process.working_directory", Keyword),
    Field::new("process.parent.pid", Long),
    Field::new("process.ppid", Long),
    Field::new("process.user.id", Keyword),
    Field::new("process.user.name", Keyword),
    Field::new("user.id", Keyword),
    Field::new("user.name", Keyword),
    Field::new("container.id", Keyword),
    Field::new("service.name", Keyword),
    Field::new("source.process.pid", Long),
    Field::new("source.process.name", Keyword),
    Field::new("source.process.executable", Keyword),
    Field::new("source.process.args", Keyword),
    Field::new("source.process.start", Date),
    Field::new("source.process.working_directory", Keyword),
    Field::new("source.process.parent.pid", Long),
    Field::new("source.process.ppid", Long),
    Field::new("source.process.user.id", Keyword),
    Field::new("source.process.user.name", Keyword),
    Field::new("source.process.container.id", Keyword),
    Field::new("source.process.service.name", Keyword),
    Field::new("destination.process.pid", Long),
    Field::new("destination.process.name", Keyword),
    Field::new("destination.process.executable", Keyword),
    Field::new("destination.process.args", Keyword),
    Field::new("destination.process.start", Date),
    Field::new("destination.process.working_directory", Keyword),
    Field::new("destination.process.parent.pid", Long),
    Field::new("destination.process.ppid", Long),
    Field::new("destination.process.user.id", Keyword),
    Field::new("destination.process.user.name", Keyword),
    Field::new("destination.process.container.id", Keyword),
    Field::new("destination.process.service.name", Keyword),
];

/// The shape of `process`, which differs in Packetbeat between transactions and flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `parent.pid`, as in ECS.
    Transaction,
    /// `ppid`.
    Flow,
}

/// What documents write below `process`.
#[derive(Clone, Copy, Debug)]
pub struct ProcessFields<'a> {
    process: &'a Process,
    shape: Shape,
    /// Number of fractional digits of times.
    digits: u8,
    /// Whether the user is written below `process`.
    user: bool,
    /// Whether container and service are written below `process`.
    container: bool,
}

impl<'a> ProcessFields<'a> {
    /// The process of one end.
    pub fn of_end(process: &'a Process, shape: Shape, digits: u8) -> Self {
        Self { process, shape, digits, user: true, container: true }
    }
}

impl Serialize for ProcessFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Process { pid, name, executable, args, start, working_directory, parent, .. } = self.process;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("pid", pid)?;
        for (key, value) in [("name", name), ("executable", executable), ("working_directory", working_directory)] {
            if !value.is_empty() {
                map.serialize_entry(key, value)?;
            }
        }
        if !args.is_empty() {
            map.serialize_entry("args", args)?;
        }
        if let Some(start) = start {
            map.serialize_entry("start", &start.text(self.digits))?;
        }
        match (parent, self.shape) {
            (Some(pid), Shape::Transaction) => map.serialize_entry("parent", &Parent { pid: *pid })?,
            (Some(pid), Shape::Flow) => map.serialize_entry("ppid", pid)?,
            (None, _) => {}
        }
        if self.user {
            map.serialize_entry("user", &User::of(self.process))?;
        }
        if self.container && !self.process.container.is_empty() {
            map.serialize_entry("container", &Container { id: &self.process.container })?;
        }
        if self.container && !self.process.service.is_empty() {
            map.serialize_entry("service", &Service { name: &self.process.service })?;
        }
        map.end()
    }
}

/// The fields at the top of a document about the process of the whole conversation.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MainProcess<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<ProcessFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Container<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Service<'a>>,
}

impl<'a> MainProcess<'a> {
    /// The process of the destination, or of the source if that of the destination is not known. `names_user`: the document has a `user` of
    /// its own, so that of the process is written below `process`.
    pub fn of(ends: &'a Ends, shape: Shape, digits: u8, names_user: bool) -> Self {
        let process = ends.main();
        let fields = |process| ProcessFields { process, shape, digits, user: names_user, container: false };
        Self {
            process: process.map(fields),
            user: process.filter(|_| !names_user).map(User::of),
            container: process.filter(|process| !process.container.is_empty()).map(|process| Container { id: &process.container }),
            service: process.filter(|process| !process.service.is_empty()).map(|process| Service { name: &process.service }),
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Parent {
    pid: u32,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct User<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
}

impl<'a> User<'a> {
    fn of(process: &'a Process) -> Self {
        Self { id: &process.user_id, name: &process.user_name }
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Container<'a> {
    id: &'a str,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Service<'a> {
    name: &'a str,
}

//! Processors edit events before they are published. Each is a file here and an entry in [`PROCESSORS`].
//!
//! A configured processor is opened once, as a [`Factory`]; each worker runs an instance of its own, a [`Processor`].
//! [`list`] reads the processor lists of the configuration; [`chain`] compiles them for the events of one publisher.

mod add_cloud_metadata;
mod add_docker_metadata;
mod add_fields;
mod add_host_metadata;
mod add_tags;
pub mod chain;
pub mod condition;
mod destination;
mod detect_mime_type;
mod drop_event;
mod drop_fields;
mod facts;
mod include_fields;
mod instances;
pub mod list;
mod rename;

pub(crate) use add_fields::nest_under;
pub use chain::Chain;
pub use destination::{Destination, Document};
pub use facts::Facts;
pub use instances::Instances;
pub use list::{Lists, Step};

use crate::{
    config::Error,
    enrich::HostData,
    event::{constants::Constants, tree::Tree},
    opening::Opening,
};
use std::{fmt, sync::Arc, time::Duration};

/// A kind of processor.
pub struct ProcessorKind {
    /// The name in the configuration.
    pub name: &'static str,
    /// Reads the options in `Opening::node`; an unknown option is an error.
    pub open: fn(&Opening<'_>) -> Result<Box<dyn Factory>, Error>,
}

/// All kinds of processors, sorted by name.
pub const PROCESSORS: &[ProcessorKind] = &[
    ProcessorKind { name: "add_cloud_metadata", open: add_cloud_metadata::open },
    ProcessorKind { name: "add_docker_metadata", open: add_docker_metadata::open },
    ProcessorKind { name: "add_fields", open: add_fields::open },
    ProcessorKind { name: "add_host_metadata", open: add_host_metadata::open },
    ProcessorKind { name: "add_tags", open: add_tags::open },
    ProcessorKind { name: "detect_mime_type", open: detect_mime_type::open },
    ProcessorKind { name: "drop_event", open: drop_event::open },
    ProcessorKind { name: "drop_fields", open: drop_fields::open },
    ProcessorKind { name: "include_fields", open: include_fields::open },
    ProcessorKind { name: "rename", open: rename::open },
];

/// A configured processor: its options, and the data that its instances share (a rate limit, a cache, an API client). There is one factory
/// per configured processor in the process.
pub trait Factory: fmt::Debug + Send + Sync {
    /// Applies the processor once, at start, if it needs no event: edits the fields that all events of a publisher have
    /// in common. Called again when `host_data` has changed.
    fn apply_at_start(&self, _constants: &mut Constants, _facts: &Facts, _world: &HostData) -> AtStart {
        AtStart::PerEvent
    }

    /// Makes the instance of one worker. Only the worker's thread uses it.
    fn instance(&self) -> Box<dyn Processor>;

    /// The interval at which the processor needs a new [`HostData`]; `None` if it never does.
    fn refresh_every(&self) -> Option<Duration> {
        None
    }
}

/// The processor instance of one worker. Its state lasts until the worker ends or the configuration changes.
pub trait Processor: Send {
    /// Edits an event.
    fn run(&mut self, event: &mut Tree, host_data: &HostData) -> Decision;
}

/// A processor of which all workers share one object: it has no state, or synchronizes its state itself. `Arc<T>` is
/// both its factory and its instance.
pub trait Shared: fmt::Debug + Send + Sync + 'static {
    /// See [`Factory::apply_at_start`].
    fn apply_at_start(&self, _constants: &mut Constants, _facts: &Facts, _world: &HostData) -> AtStart {
        AtStart::PerEvent
    }

    /// See [`Processor::run`].
    fn run(&self, event: &mut Tree, host_data: &HostData) -> Decision;

    /// See [`Factory::refresh_every`].
    fn refresh_every(&self) -> Option<Duration> {
        None
    }
}

impl<T: Shared> Factory for Arc<T> {
    fn apply_at_start(&self, constants: &mut Constants, facts: &Facts, host_data: &HostData) -> AtStart {
        Shared::apply_at_start(&**self, constants, facts, host_data)
    }

    fn instance(&self) -> Box<dyn Processor> {
        Box::new(self.clone())
    }

    fn refresh_every(&self) -> Option<Duration> {
        Shared::refresh_every(&**self)
    }
}

impl<T: Shared> Processor for Arc<T> {
    fn run(&mut self, event: &mut Tree, host_data: &HostData) -> Decision {
        Shared::run(&**self, event, host_data)
    }
}

/// Makes the factory of a [`Shared`] processor.
fn shared(processor: impl Shared) -> Box<dyn Factory> {
    Box::new(Arc::new(processor))
}

/// Result of [`Factory::apply_at_start`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtStart {
    /// The constants contain the complete effect, or the processor has no effect on these events.
    Done,
    /// The processor has to run on each event.
    PerEvent,
    /// The processor drops all of these events.
    DropsAll,
}

/// Result of a processor on an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The event goes to the next processor.
    Keep,
    /// The event is dropped.
    Drop,
}

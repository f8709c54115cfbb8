//! Processors edit events before they are published. Each processor is a file here and an entry in [`PROCESSORS`].
//!
//! A configured processor is opened once, as a [`Factory`]; each worker runs an instance of its own, a [`Processor`]. [`list`] reads the
//! processor lists of the configuration; [`chain`] compiles them for the events of one publisher.

mod add_agent_metadata;
mod add_cloud_metadata;
mod add_docker_metadata;
mod add_fields;
mod add_formatted_index;
mod add_host_metadata;
mod add_id;
mod add_kubernetes_metadata;
mod add_locale;
mod add_network_direction;
mod add_observer_metadata;
mod add_process_metadata;
mod add_tags;
mod append;
mod cache;
pub mod chain;
mod change_case;
mod community_id;
pub mod condition;
mod convert;
mod copy_fields;
mod decode_base64_field;
mod decode_csv_fields;
mod decode_duration;
mod decode_json_fields;
mod decode_xml;
mod decompress_gzip_field;
mod destination;
mod detect_mime_type;
mod dissect;
mod dns;
mod drop_event;
mod drop_fields;
mod extract_array;
mod facts;
mod fingerprint;
mod host_options;
mod http_get;
mod include_fields;
mod instances;
mod kit;
mod layout;
pub mod list;
mod lookup;
mod move_fields;
mod now;
mod options;
#[cfg(test)]
mod page_tests;
mod rate_limit;
mod registered_domain;
mod rename;
mod replace;
mod reports;
mod script;
mod syslog;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod timestamp;
mod translate_ldap_attribute;
mod truncate_fields;
mod urldecode;
mod zone;

pub(crate) use add_fields::nest_under;
pub use chain::Chain;
pub use destination::{Destination, Document};
pub use facts::Facts;
pub use instances::Instances;
pub use list::{Lists, Step};
pub use options::OptionInfo;
pub use reports::{REPORTS, Reported, Reports};

use crate::{
    config::Error,
    enrich::HostData,
    event::{constants::Constants, tree::Tree},
    opening::Opening,
};
use std::{fmt, sync::Arc, time::Duration};

/// A processor that the configuration can name: its name, its options, and the function that opens it.
#[derive(Debug)]
pub struct ProcessorKind {
    /// The name in the configuration.
    pub name: &'static str,
    /// The purpose of the processor, for its page in the documentation.
    pub about: &'static str,
    /// Options of an example, in YAML.
    pub example: &'static str,
    /// The options. If an option is an object, a separate list has the options in it, with the path of the object and a dot in front.
    pub options: &'static [(&'static str, &'static [OptionInfo])],
    /// Reads the options in `Opening::node`; an unknown option is an error.
    pub open: fn(&Opening<'_>) -> Result<Box<dyn Factory>, Error>,
}

/// All kinds of processors, sorted by name.
pub const PROCESSORS: &[ProcessorKind] = &[
    add_agent_metadata::KIND,
    add_cloud_metadata::KIND,
    add_docker_metadata::KIND,
    add_fields::FIELDS,
    add_formatted_index::KIND,
    add_host_metadata::KIND,
    add_id::KIND,
    add_kubernetes_metadata::KIND,
    add_fields::LABELS,
    add_locale::KIND,
    add_network_direction::KIND,
    add_observer_metadata::KIND,
    add_process_metadata::KIND,
    add_tags::KIND,
    append::KIND,
    cache::KIND,
    community_id::KIND,
    convert::KIND,
    copy_fields::KIND,
    decode_base64_field::KIND,
    decode_csv_fields::KIND,
    decode_duration::KIND,
    decode_json_fields::KIND,
    decode_xml::KIND,
    decompress_gzip_field::KIND,
    detect_mime_type::KIND,
    dissect::KIND,
    dns::KIND,
    drop_event::KIND,
    drop_fields::KIND,
    extract_array::KIND,
    fingerprint::KIND,
    include_fields::KIND,
    change_case::LOWERCASE,
    move_fields::KIND,
    now::KIND,
    rate_limit::KIND,
    registered_domain::KIND,
    rename::KIND,
    replace::KIND,
    script::KIND,
    syslog::KIND,
    timestamp::KIND,
    translate_ldap_attribute::KIND,
    truncate_fields::KIND,
    change_case::UPPERCASE,
    urldecode::KIND,
];

/// A configured processor: its options, and the data that its instances share (a rate limit, a cache, an API client). There is one factory
/// per configured processor in the process.
pub trait Factory: fmt::Debug + Send + Sync {
    /// Applies the processor at start if it needs no event: it then edits the fields that all events of a publisher have in common. The
    /// function is called again when `host_data` has changed.
    fn apply_at_start(&self, _constants: &mut Constants, _facts: &Facts, _host_data: &HostData) -> AtStart {
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

/// A processor of which all workers share one object. The object has no state, or synchronises its state itself. `Arc<T>` is both its
/// factory and its instance.
pub trait Shared: fmt::Debug + Send + Sync + 'static {
    /// See [`Factory::apply_at_start`].
    fn apply_at_start(&self, _constants: &mut Constants, _facts: &Facts, _host_data: &HostData) -> AtStart {
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

//! `add_host_metadata`: adds data about this host, as the field `host`.

use super::{
    AtStart, Decision, Factory, Facts, ProcessorKind, Shared,
    host_options::{Cache, Geo, NetInfo},
    options::options,
    shared,
};
use crate::{
    config::Error,
    enrich::HostData,
    event::{
        constants::Constants,
        tree::{Object, Tree},
    },
    opening::Opening,
};
use serde_json::Value;
use std::time::Duration;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "add_host_metadata",
    about: "Adds data about this host to the field `host`: names, operating system, architecture, addresses.",
    example: "netinfo.enabled: true\ngeo: {name: branch, location: '40.7128, -74.0060'}\nwhen.not.contains.tags: forwarded",
    options: &[("", AddHostMetadata::OPTIONS), ("netinfo.", NetInfo::OPTIONS), ("cache.", Cache::OPTIONS), ("geo.", Geo::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct AddHostMetadata {
        /// Whether addresses are added.
        netinfo: NetInfo = NetInfo::ON,
        /// How often the data are read.
        cache: Cache = Cache::FIVE_MINUTES,
        /// The name of this host, instead of its own name, for `host.name`.
        name: String = String::new(),
        /// The location of this host, for `host.geo`.
        geo: Option<Geo> = None,
        /// Replaces a `host` of the event that has more fields than `name`.
        replace_fields: bool = true,
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(AddHostMetadata::read(opening.node)?))
}

impl AddHostMetadata {
    fn layer(&self, host_data: &HostData) -> Object {
        let mut host = host_data.host.fields.clone();
        if self.netinfo.is_enabled() {
            for (key, list) in [("ip", &host_data.host.ip), ("mac", &host_data.host.mac)] {
                if !list.is_empty() {
                    host.insert(key.to_owned(), list.clone().into());
                }
            }
        }
        if !self.name.is_empty() {
            host.insert("name".to_owned(), self.name.clone().into());
        }
        if let Some(geo) = &self.geo {
            host.insert("geo".to_owned(), geo.fields().into());
        }
        Object::from_iter([("host".to_owned(), host.into())])
    }

    fn keeps_existing(&self, host: Option<&Value>) -> bool {
        let more_than_a_name = |host: &Object| host.len() > 1 || !host.contains_key("name");
        !self.replace_fields && host.and_then(Value::as_object).is_some_and(more_than_a_name)
    }
}

impl Shared for AddHostMetadata {
    fn apply_at_start(&self, constants: &mut Constants, _: &Facts, host_data: &HostData) -> AtStart {
        let host = constants.get("host").and_then(|(value, _)| value);
        if !self.keeps_existing(host.as_ref()) {
            constants.add(&self.layer(host_data), true);
        }
        AtStart::Done
    }

    fn run(&self, event: &mut Tree, host_data: &HostData) -> Decision {
        if !self.keeps_existing(event.get("host")) {
            event.merge(&self.layer(host_data));
        }
        Decision::Keep
    }

    fn refresh_every(&self) -> Option<Duration> {
        Some(self.cache.interval())
    }
}

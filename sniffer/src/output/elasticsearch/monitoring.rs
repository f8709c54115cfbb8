//! `monitoring`: sends the program's own counters and state to Elasticsearch, for the page "Stack Monitoring" of Kibana. It is no output: no
//! event goes this way, whatever the output is.
//! <https://www.elastic.co/docs/reference/beats/packetbeat/monitoring-internal-collection>

use super::{bulk, options::Options, servers::Servers};
use crate::{
    config::{self, Node, duration},
    opening::{Clock, Opening},
    output::{
        Error, Outcome, Peer,
        backoff::Backoff,
        cloud::cloud,
        hosts::{Rotation, rotations},
        http,
        monitored::Monitored,
        refuse_kerberos,
        shapes::{Scalar, Texts},
    },
};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// The user of Elasticsearch that only sends such documents. It is the default, as in Packetbeat.
const USER: &str = "beats_system";

/// `monitoring`
#[derive(Deserialize, Default)]
#[serde(default)]
struct Section {
    enabled: bool,
    cluster_uuid: Option<Scalar>,
}

/// The settings of `monitoring.elasticsearch` that the output does not have.
#[derive(Deserialize)]
#[serde(default)]
struct Reporting {
    enabled: Option<bool>,
    metrics: Period,
    state: Period,
    tags: Texts,
}

#[derive(Deserialize)]
struct Period {
    #[serde(with = "duration")]
    period: Duration,
}

impl Default for Reporting {
    fn default() -> Self {
        let period = |seconds| Period { period: Duration::from_secs(seconds) };
        Self { enabled: None, metrics: period(10), state: period(60), tags: Texts::default() }
    }
}

/// What is sent, how often, and where.
pub struct Monitoring {
    servers: Servers,
    hosts: Rotation,
    compression: u32,
    cluster_uuid: Option<String>,
    tags: Vec<String>,
    metrics: Duration,
    state: Duration,
    backoff: Backoff,
    clock: &'static dyn Clock,
}

impl Monitoring {
    /// Reads `monitoring`; `None` unless it is enabled. `output`: the settings of the configured output, if that is Elasticsearch. They apply
    /// where `monitoring.elasticsearch` has no setting.
    ///
    /// # Errors
    /// When a setting is wrong, or no server is known; names file, line and key.
    pub(in crate::output) fn read(opening: &Opening<'_>, output: Option<&Node>) -> Result<Option<Self>, config::Error> {
        let section = opening.root.get("monitoring");
        let Section { enabled, cluster_uuid } = section.read()?;
        if !enabled {
            section.accept();
            return Ok(None);
        }
        let own = section.get("elasticsearch");
        let reporting: Reporting = own.read()?;
        let is_there = output.is_some() || !own.is_unset() || !section.get("cloud.id").is_unset();
        if !is_there || reporting.enabled == Some(false) {
            return Err(section.error("no monitoring reporter configured; write the servers in monitoring.elasticsearch.hosts"));
        }
        let node = match output {
            Some(output) => own.over(&inherited(&own, output)),
            None => own.clone(),
        };
        let (mut options, _) = Options::read(&node)?;
        let cloud = match cloud(&section)? {
            None if own.get("hosts").is_unset() && output.is_some() => cloud(opening.root)?,
            of_section => of_section,
        };
        if let Some(cloud) = cloud {
            options.hosts.0 = vec![cloud.elasticsearch];
            if let Some((user, password)) = cloud.auth {
                (options.username, options.password, options.api_key) = (Some(Scalar(user)), Some(Scalar(password)), None);
            }
        }
        if options.hosts.0.is_empty() {
            if output.is_none() {
                return Err(own.get("hosts").error("missing required field; write the servers that receive the documents"));
            }
            options.hosts.0.push("localhost:9200".into());
        }
        if options.api_key.is_none() && options.username.is_none() {
            options.username = Some(Scalar(USER.to_owned()));
        }
        for (name, period) in [("metrics.period", &reporting.metrics), ("state.period", &reporting.state)] {
            if period.period.is_zero() {
                return Err(own.get(name).error("must be more than 0"));
            }
        }
        refuse_kerberos(&node)?;
        // These settings of Packetbeat have no effect here: documents are sent one by one, and one that cannot be sent is dropped.
        ["bulk_max_size", "buffer_size", "worker", "workers", "loadbalance", "max_retries"].iter().for_each(|name| own.get(name).accept());
        let compression = if node.get("compression_level").is_unset() { 0 } else { options.compression_level };
        let servers = Servers::new(&options, opening.connections.cloned()).map_err(|why| node.error(why))?;
        let hosts = rotations(servers.hosts.len(), false, 1).pop();
        Ok(hosts.map(|hosts| Self {
            servers,
            hosts,
            compression,
            cluster_uuid: cluster_uuid.map(|uuid| uuid.0).filter(|uuid| !uuid.is_empty()),
            tags: reporting.tags.0,
            metrics: reporting.metrics.period,
            state: reporting.state.period,
            backoff: Backoff::new(options.backoff),
            clock: opening.clock,
        }))
    }

    /// The servers and proxies that the documents are sent to.
    pub(in crate::output) fn peers(&self) -> Vec<Peer> {
        self.servers.peers()
    }

    /// Sends documents until the future is dropped. What cannot be sent is dropped and counted: the counters of a later document contain those
    /// of the dropped one.
    pub(in crate::output) async fn run(mut self, source: Arc<dyn Monitored>) {
        let every = |period| {
            let mut ticks = interval_at(Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks
        };
        let (mut metrics, mut state) = (every(self.metrics), every(self.state));
        let mut link = Link::default();
        loop {
            let body = tokio::select! {
                _ = metrics.tick() => self.body(&*source, "beats_stats", "metrics", source.metrics(), self.metrics),
                _ = state.tick() => self.body(&*source, "beats_state", "state", source.state(), self.state),
            };
            source.count(self.try_to_send(&mut link, &body).await);
        }
    }

    /// The bulk request with one document. `kind` is its type, `name` the key of its content.
    fn body(&self, source: &dyn Monitored, kind: &str, name: &str, content: Value, period: Duration) -> Vec<u8> {
        let time = self.clock.now().text(3);
        let mut inner = json!({"timestamp": time.as_str(), "beat": source.beat(), name: content});
        if !self.tags.is_empty() {
            inner["tags"] = json!(self.tags);
        }
        let document = json!({
            "timestamp": time.as_str(),
            "type": kind,
            "interval_ms": u64::try_from(period.as_millis()).unwrap_or(u64::MAX),
            "cluster_uuid": self.cluster_uuid,
            kind: inner,
        });
        let action = json!({"create": {"_index": self.index(), "_routing": null}});
        format!("{action}\n{document}\n").into_bytes()
    }

    /// The index of the current day (UTC).
    fn index(&self) -> String {
        let now = self.clock.now().text(3);
        let day = now.as_str().get(..10).unwrap_or_default().replace('-', ".");
        format!(".monitoring-beats-7-{day}")
    }

    /// Sends a document unless the last attempt failed a short time ago. Returns whether the server has accepted it.
    async fn try_to_send(&mut self, link: &mut Link, body: &[u8]) -> bool {
        if link.not_before.is_some_and(|time| Instant::now() < time) {
            link.dropped += 1;
            return false;
        }
        let host = self.hosts.current();
        let result = async {
            if !link.is_ready {
                self.connect(host).await?;
                link.is_ready = true;
            }
            self.send(host, body).await
        };
        match result.await {
            Ok(()) => {
                if link.dropped > 0 {
                    log::info!("Monitoring: {} accepts documents again; {} were dropped", self.servers.url(host), link.dropped);
                }
                self.backoff.reset();
                *link = Link { is_ready: true, ..Link::default() };
                true
            }
            Err(error) => {
                let (url, why) = (self.servers.url(host), error.reason());
                match link.dropped {
                    0 => log::warn!("Monitoring: {url}: {why}; documents with counters are dropped until the server accepts them"),
                    _ => log::debug!("Monitoring: {url}: {why}"),
                }
                self.hosts.advance();
                let not_before = Some(Instant::now() + self.backoff.after_failure());
                *link = Link { is_ready: false, not_before, dropped: link.dropped + 1 };
                false
            }
        }
    }

    /// Checks that the server is an Elasticsearch that takes such documents.
    async fn connect(&self, host: usize) -> Result<(), Error> {
        let answer = http::send(self.servers.request(host, Method::GET, "")?).await?;
        if !answer.status.is_success() {
            return Err(Error::Unreachable(answer.why("GET /")));
        }
        let answer = http::send(self.servers.request(host, Method::GET, "_xpack?filter_path=features.monitoring.enabled")?).await?;
        let features: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match features.pointer("/features/monitoring/enabled") {
            Some(Value::Bool(true)) if answer.status.is_success() => Ok(()),
            _ if answer.status.is_success() => {
                Err(Error::Unreachable("this server has no monitoring; switch monitoring.enabled off".into()))
            }
            _ => Err(Error::Unreachable(answer.why("GET /_xpack"))),
        }
    }

    async fn send(&self, host: usize, body: &[u8]) -> Result<(), Error> {
        let (request, sent) = self.servers.documents(host, &format!("{}/_bulk", self.index()), body, self.compression)?;
        let answer = http::send(request.body(sent)).await?;
        if !answer.status.is_success() {
            return Err(Error::Unreachable(answer.refusal("_bulk")));
        }
        let results = bulk::read(&answer.body, 1).map_err(|why| Error::Broken(why.into()))?;
        match results.and_then(|results| results.into_iter().next()).map(|result| result.outcome) {
            Some(Outcome::Rejected(why) | Outcome::Retry(why) | Outcome::Later(why)) => Err(Error::Refused(why)),
            Some(Outcome::Delivered | Outcome::Duplicate | Outcome::DeadLetter) | None => Ok(()),
        }
    }
}

/// The state of the connection to the server.
#[derive(Default)]
struct Link {
    /// Whether the server was found to take the documents.
    is_ready: bool,
    /// Nothing is sent before this time, because the last attempt failed.
    not_before: Option<Instant>,
    /// Documents dropped since the last one that was accepted.
    dropped: u64,
}

/// The settings of the output that apply to `monitoring.elasticsearch`: not its credentials if that has its own, and not the compression.
fn inherited(own: &Node, output: &Node) -> Node {
    let has_credentials = ["username", "password", "api_key"].iter().any(|name| !own.get(name).is_unset());
    let credentials: &[&str] = if has_credentials { &["username", "password", "api_key"] } else { &[] };
    let of_events = ["enabled", "preset", "compression_level", "queue"];
    credentials.iter().chain(&of_events).fold(output.clone(), |node, name| node.without(name))
}

//! `output.elasticsearch`: sends events to Elasticsearch with `_bulk` requests.
//!
//! Each worker uses one host at a time. It sends a batch, reads the result of each record from the response, and moves to its next host in
//! `hosts` when a host fails.

mod bulk;
mod monitoring;
mod options;
mod prepare;
mod probe;
mod servers;
mod setup;
mod template;
#[cfg(test)]
mod tests;
mod worker;

use super::{
    Error, Output, OutputKind, Peer, Sender,
    cloud::cloud,
    counters::Counters,
    drive,
    format::KNOWN,
    hosts::rotations,
    http,
    select::{Keys, Selector},
    sending::ClusterId,
    shapes::Scalar,
};
use crate::{
    config::{self, Node},
    event::Field,
    opening::Opening,
    publish::VERSION,
    queue::{self, BoxFuture},
};
use bulk::Lines;
pub use monitoring::Monitoring;
use options::{Options, Policy};
pub use prepare::Preparation;
use servers::Servers;
pub use setup::Setup;
use std::{
    io::{self, Write},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use worker::Worker;

/// The key of the output below `output`.
pub(super) const NAME: &str = "elasticsearch";

/// The output `elasticsearch`, for the list of outputs.
pub(super) const OUTPUT: OutputKind = OutputKind { name: NAME, open, is_implied: |root| Ok(cloud(root)?.is_some()) };

const INDEX: Keys = Keys { list: "indices", name: "index", ignores_case: true };
const PIPELINE: Keys = Keys { list: "pipelines", name: "pipeline", ignores_case: true };

/// The output with its settings, before it connects.
struct Elasticsearch {
    shared: Arc<Shared>,
    options: drive::Options,
    queue: queue::Options,
    loadbalance: bool,
    workers: usize,
    verifies: bool,
}

/// The part of the output that all workers share.
struct Shared {
    servers: Servers,
    /// The id of the cluster that was connected to last.
    cluster_uuid: ClusterId,
    lines: Lines,
    compression: u32,
    dead_letter_index: Option<String>,
    setup: Setup,
    /// Whether the server was found to have no index lifecycle management. If so, later connections do not ask for it again.
    no_lifecycle: AtomicBool,
    /// A worker locks this during the setup of a host, so that two workers do not create the same template or data stream at the same time.
    setting_up: tokio::sync::Mutex<()>,
    timeout: Duration,
    allow_older_versions: bool,
    proxied: bool,
}

/// The index template and lifecycle policy for `export`, even if another output is configured. `fields`: the fields that documents can
/// have.
///
/// # Errors
/// When a setting is wrong or a named file cannot be read.
pub fn exported(root: &Node, fields: &[Field]) -> Result<Setup, config::Error> {
    let index: Option<String> =
        Some(root.get("output.elasticsearch.index")).filter(|node| !node.is_null()).map(|node| node.read()).transpose()?;
    Setup::read(root, index.as_deref(), KNOWN, VERSION, fields)
}

impl Elasticsearch {
    /// Reads the settings and builds the HTTP client. It opens no connection.
    fn read(opening: &Opening<'_>) -> Result<Self, config::Error> {
        let Opening { node, root, fields, connections, .. } = *opening;
        let (mut options, queue) = Options::read(node)?;
        if let Some(cloud) = cloud(root)? {
            options.hosts.0 = vec![cloud.elasticsearch];
            if let Some((user, password)) = cloud.auth {
                (options.username, options.password) = (Some(Scalar(user)), Some(Scalar(password)));
            }
        }
        if options.hosts.0.is_empty() {
            if !node.get("hosts").is_unset() {
                return Err(node.get("hosts").error("is an empty list; write the servers, or remove it for localhost:9200"));
            }
            options.hosts.0.push("localhost:9200".into());
        }
        super::refuse_kerberos(node)?;
        let servers = Servers::new(&options, connections.cloned()).map_err(|why| node.error(why))?;
        let index = options.index.as_ref().map(|text| text.0.as_str());
        let default = index.map_or_else(|| format!("packetbeat-{VERSION}"), lowercase);
        let lines = Lines {
            index: Selector::read(node, INDEX, Some(&default))?,
            pipeline: Selector::read(node, PIPELINE, options.pipeline.as_ref().map(|text| text.0.as_str()))?,
            escape_html: options.escape_html,
        };
        let dead_letter_index = match &options.non_indexable_policy {
            Some(Policy::DeadLetterIndex(letter)) => Some(letter.index.clone()),
            Some(Policy::Drop(_)) | None => None,
        };
        let shared = Shared {
            servers,
            cluster_uuid: ClusterId::default(),
            lines,
            compression: options.compression_level,
            dead_letter_index,
            setup: Setup::read(root, index, KNOWN, VERSION, fields)?,
            no_lifecycle: AtomicBool::new(false),
            setting_up: tokio::sync::Mutex::new(()),
            timeout: options.http.timeout,
            allow_older_versions: options.allow_older_versions,
            proxied: !options.http.proxy_url.is_empty(),
        };
        let (loadbalance, workers, verifies) = (options.loadbalance, options.workers, options.http.ssl.verifies());
        Ok(Self { shared: Arc::new(shared), options: options.drive(), queue, loadbalance, workers, verifies })
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Output>, config::Error> {
    Elasticsearch::read(opening).map(|output| Box::new(output) as Box<dyn Output>)
}

impl Output for Elasticsearch {
    fn options(&self) -> drive::Options {
        self.options
    }

    fn queue(&self) -> queue::Options {
        self.queue.clone()
    }

    /// Returns `None`: the bulk request names the index beside each document.
    fn metadata(&self) -> Option<&str> {
        None
    }

    fn peers(&self) -> Vec<Peer> {
        self.shared.servers.peers()
    }

    fn cluster_uuid(&self) -> ClusterId {
        self.shared.cluster_uuid.clone()
    }

    fn senders(self: Box<Self>, counters: &Arc<Counters>) -> Vec<Box<dyn Sender>> {
        let rotations = rotations(self.shared.servers.hosts.len(), self.loadbalance, self.workers);
        let sender = |hosts| Box::new(Worker::new(self.shared.clone(), hosts, counters.clone())) as Box<dyn Sender>;
        rotations.into_iter().map(sender).collect()
    }

    fn test<'a>(&'a self, out: &'a mut (dyn Write + Send)) -> Option<BoxFuture<'a, io::Result<bool>>> {
        Some(Box::pin(self.probe(out)))
    }
}

/// An index name in lower case, as Elasticsearch requires. A format string is left unchanged, because field names are case-sensitive.
fn lowercase(name: &str) -> String {
    if name.contains("%{") { name.to_owned() } else { name.to_lowercase() }
}

impl Shared {
    async fn bulk(&self, host: usize, body: &[u8], events: usize, counters: &Counters) -> Result<http::Answer, Error> {
        let (request, sent) = self.servers.documents(host, bulk::PATH, body, self.compression)?;
        let request = request.header("X-Elastic-Event-Count", events);
        let length = sent.len();
        let answer = http::send(request.body(sent)).await.inspect_err(|_| counters.write_errors.add(1))?;
        counters.write_bytes.add(length);
        counters.read_bytes.add(answer.body.len());
        Ok(answer)
    }
}

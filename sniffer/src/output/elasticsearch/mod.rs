//! `output.elasticsearch`: sends events to Elasticsearch with `_bulk` requests.
//!
//! Each worker uses one host at a time. It sends a batch, reads the result of each record from the response, and moves to its next host in
//! `hosts` when a host fails.

mod bulk;
mod options;
mod probe;
mod setup;
mod template;
#[cfg(test)]
mod tests;
mod worker;

use super::{
    Error, Output, OutputKind, Peer, Sender,
    counters::Counters,
    drive,
    format::KNOWN,
    hosts::{self, rotations},
    http,
    select::{Keys, Selector},
    shapes::Scalar,
    tls,
};
use crate::{
    config::{self, Node},
    event::Field,
    opening::Opening,
    publish::VERSION,
    queue::{self, BoxFuture},
};
use base64::Engine as _;
use bulk::Lines;
use options::{Options, Policy, cloud};
use reqwest::{
    Method, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
pub use setup::Setup;
use std::{
    io::{self, Write},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use worker::Worker;

/// `output.elasticsearch`
pub(super) const OUTPUT: OutputKind = OutputKind { name: "elasticsearch", open, is_implied: |root| Ok(cloud(root)?.is_some()) };

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
    tls: Arc<tls::Reloading>,
}

/// The part of the output that all workers share.
struct Shared {
    hosts: Vec<Host>,
    clients: http::Clients,
    parameters: Vec<(String, String)>,
    lines: Lines,
    compression: u32,
    dead_letter_index: Option<String>,
    setup: Setup,
    /// Whether the warning about a server without index lifecycle management was written.
    warned_no_lifecycle: AtomicBool,
    /// A worker locks this during the setup of a host, so that two workers do not create the same template or data stream at the same time.
    setting_up: tokio::sync::Mutex<()>,
    timeout: Duration,
    allow_older_versions: bool,
    proxied: bool,
    proxies: Vec<Peer>,
}

struct Host {
    url: Url,
    auth: Option<HeaderValue>,
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
    /// Reads the settings and builds the HTTP client. Opens no connection.
    fn read(opening: &Opening<'_>) -> Result<Self, config::Error> {
        let Opening { node, root, fields, connected, .. } = *opening;
        let (mut options, queue) = Options::read(node)?;
        if let Some(cloud) = cloud(root)? {
            options.hosts.0 = vec![cloud.host];
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
        let wrong = |why: String| node.error(why);
        super::refuse_kerberos(node)?;
        let auth = authorization(&options);
        let mut hosts = Vec::new();
        for host in &options.hosts.0 {
            let mut url = options::base(host, &options).map_err(wrong)?;
            let own = hosts::take_credentials(&mut url).and_then(|(user, password)| basic(&user, &password));
            hosts.push(Host { url, auth: own.or(auth.clone()) });
        }
        let mut headers = http::header_map(&options.headers).map_err(|why| wrong(format!("headers: {why}")))?;
        for (name, value) in agent() {
            headers.entry(name).or_insert(value);
        }
        let secure = hosts.iter().any(|host| host.url.scheme() == "https");
        let needs_tls = secure || options.http.proxy_url.starts_with("https");
        let tls = Arc::new(tls::Reloading::new(&options.http.ssl, needs_tls, http::Options::PROTOCOLS).map_err(wrong)?);
        let clients = http::Clients::new(options.http.clone(), headers, tls.clone(), connected.cloned()).map_err(wrong)?;
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
            hosts,
            clients,
            parameters: options.parameters.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect(),
            lines,
            compression: options.compression_level,
            dead_letter_index,
            setup: Setup::read(root, index, KNOWN, VERSION, fields)?,
            warned_no_lifecycle: AtomicBool::new(false),
            setting_up: tokio::sync::Mutex::new(()),
            timeout: options.http.timeout,
            allow_older_versions: options.allow_older_versions,
            proxied: !options.http.proxy_url.is_empty(),
            proxies: options.http.proxies(),
        };
        let (loadbalance, workers, verifies) = (options.loadbalance, options.workers, options.http.ssl.verifies());
        Ok(Self { shared: Arc::new(shared), options: options.drive(), queue, loadbalance, workers, verifies, tls })
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
        let hosts = self.shared.hosts.iter().filter_map(|host| Peer::of(&host.url, 9200));
        hosts.chain(self.shared.proxies.iter().cloned()).collect()
    }

    fn senders(self: Box<Self>, counters: &Arc<Counters>) -> Vec<Box<dyn Sender>> {
        let rotations = rotations(self.shared.hosts.len(), self.loadbalance, self.workers);
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

fn authorization(options: &Options) -> Option<HeaderValue> {
    if let Some(key) = &options.api_key {
        // Kibana also shows API keys as "encoded", which is the base64 form already.
        let encoded = if key.0.contains(':') { base64::engine::general_purpose::STANDARD.encode(&key.0) } else { key.0.clone() };
        return secret(&format!("ApiKey {encoded}"));
    }
    let user = options.username.as_ref()?;
    basic(&user.0, options.password.as_ref().map_or("", |password| &password.0))
}

fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    secret(&format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))))
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The headers by which Packetbeat identifies itself. Some gateways refuse other clients.
fn agent() -> Vec<(&'static str, HeaderValue)> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let agent = HeaderValue::try_from(format!("Elastic-packetbeat/{VERSION} (linux; {arch}; Standalone)"));
    let mut headers =
        vec![("accept", HeaderValue::from_static("application/json")), ("x-elastic-product-origin", HeaderValue::from_static("beats"))];
    headers.extend(agent.ok().map(|agent| ("user-agent", agent)));
    headers
}

impl Shared {
    fn request(&self, host: usize, method: Method, path: &str) -> Result<reqwest::RequestBuilder, Error> {
        let host = self.hosts.get(host).ok_or_else(|| Error::Unreachable("no such host".into()))?;
        let mut url = host.url.join(path).map_err(|e| Error::Unreachable(format!("{path}: {e}").into()))?;
        if !self.parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.parameters);
        }
        let mut headers = HeaderMap::new();
        headers.extend(host.auth.clone().map(|auth| (AUTHORIZATION, auth)));
        Ok(self.clients.get().request(method, url).headers(headers))
    }

    async fn bulk(&self, host: usize, body: &[u8], events: usize, counters: &Counters) -> Result<http::Answer, Error> {
        let mut request = self
            .request(host, Method::POST, bulk::PATH)?
            .header("Content-Type", "application/json; charset=UTF-8")
            .header("X-Elastic-Event-Count", events)
            .header("X-Elastic-Uncompressed-Request-Length", body.len());
        let sent = if self.compression > 0 {
            request = request.header("Content-Encoding", "gzip");
            bulk::compress(body, self.compression).map_err(|e| Error::Refused(e.to_string().into()))?
        } else {
            body.to_vec()
        };
        let length = sent.len();
        let answer = http::send(request.body(sent)).await.inspect_err(|_| counters.write_errors.add(1))?;
        counters.write_bytes.add(length);
        counters.read_bytes.add(answer.body.len());
        Ok(answer)
    }
}

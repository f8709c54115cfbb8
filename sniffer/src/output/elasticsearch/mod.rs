//! Events to Elasticsearch over its `_bulk` interface.
//!
//! Several hosts: with `loadbalance` each has workers of its own and a host that fails leaves its batch to the others; without, all
//! workers talk to one host and go on to the next when it fails.

mod bulk;
mod options;
mod probe;
mod select;
mod setup;
mod template;
#[cfg(test)]
mod tests;
mod worker;

pub use options::{Cloud, cloud};
pub use setup::Setup;
use worker::Worker;

use super::{Error, counters::Counters, drive, http, tls};
use crate::{
    config::{self, Node},
    opening::Opening,
    queue::memory,
};
use base64::Engine as _;
use bulk::Lines;
use options::{Options, Policy};
use reqwest::{
    Client, Method, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use select::Selector;
use std::{sync::Arc, time::Duration};

/// The version of the documents, the template and the index names.
pub const VERSION: &str = "9.6.0";

/// What format strings of index names may say that is the same for every event.
const KNOWN: &[(&str, &str)] = &[
    ("agent.version", VERSION),
    ("agent.type", "packetbeat"),
    ("beat.version", VERSION),
    ("beat.name", "packetbeat"),
    ("@metadata.beat", "packetbeat"),
    ("@metadata.version", VERSION),
];

/// `output.elasticsearch`, ready to connect.
pub struct Elasticsearch {
    shared: Arc<Shared>,
    drive: drive::Options,
    queue: memory::Options,
    loadbalance: bool,
    workers: usize,
    verifies: bool,
    tls: rustls::ClientConfig,
}

/// What all workers use.
struct Shared {
    hosts: Vec<Host>,
    client: Client,
    parameters: Vec<(String, String)>,
    lines: Lines,
    compression: u32,
    dead_letter_index: Option<String>,
    setup: Setup,
    /// One at a time, or several workers would create the same things at once.
    setting_up: tokio::sync::Mutex<()>,
    counters: Arc<Counters>,
    timeout: Duration,
    allow_older_versions: bool,
    proxied: bool,
    proxy: Option<(String, u16)>,
}

struct Host {
    url: Url,
    auth: Option<HeaderValue>,
}

/// What would be put into an Elasticsearch at the start, whatever the output is: for `export`.
///
/// # Errors
/// When a setting is wrong or a named file cannot be read.
pub fn exported(root: &Node) -> Result<Setup, config::Error> {
    let index: Option<String> =
        Some(root.get("output.elasticsearch.index")).filter(|node| !node.is_null()).map(|node| node.read()).transpose()?;
    Setup::read(root, index.as_deref(), KNOWN, VERSION)
}

impl Elasticsearch {
    /// Reads the settings and builds the client; connects to nothing.
    ///
    /// # Errors
    /// When a setting is wrong or a named file cannot be read.
    pub fn open(opening: &Opening<'_>, cloud: Option<&Cloud>, counters: Arc<Counters>) -> Result<Self, config::Error> {
        let Opening { node, root, .. } = *opening;
        let (mut options, queue) = Options::read(node)?;
        if let Some(cloud) = cloud {
            options.hosts.0 = vec![cloud.host.clone()];
            if let Some((user, password)) = &cloud.auth {
                (options.username, options.password) =
                    (Some(super::shapes::Scalar(user.clone())), Some(super::shapes::Scalar(password.clone())));
            }
        }
        if options.hosts.0.is_empty() {
            options.hosts.0.push("localhost:9200".into());
        }
        let wrong = |why: String| node.error(why);
        let auth = authorization(&options);
        let mut hosts = Vec::new();
        for host in &options.hosts.0 {
            let mut url = options::base(host, &options).map_err(wrong)?;
            let own = own_credentials(&mut url);
            hosts.push(Host { url, auth: own.or(auth.clone()) });
        }
        let mut headers = http::header_map(&options.headers).map_err(|why| wrong(format!("headers: {why}")))?;
        for (name, value) in agent() {
            headers.entry(name).or_insert(value);
        }
        let secure = hosts.iter().any(|host| host.url.scheme() == "https");
        let tls = tls::client(&options.http.ssl, secure || options.http.proxy_url.starts_with("https")).map_err(wrong)?;
        let client = options.http.client(tls.clone(), headers).map_err(wrong)?;
        let index = options.index.as_ref().map(|text| text.0.as_str());
        let default = index.map_or_else(|| format!("packetbeat-{VERSION}"), lowercase);
        let lines = Lines {
            index: Selector::new("indices", &options.indices, Some(&default), KNOWN).map_err(wrong)?,
            pipeline: Selector::new("pipelines", &options.pipelines, options.pipeline.as_ref().map(|text| text.0.as_str()), KNOWN)
                .map_err(wrong)?,
            escape_html: options.escape_html,
        };
        let dead_letter_index = match &options.non_indexable_policy {
            Some(Policy::DeadLetterIndex(letter)) => Some(letter.index.clone()),
            Some(Policy::Drop(_)) | None => None,
        };
        let proxy = Url::parse(&options.http.proxy_url)
            .ok()
            .and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default().unwrap_or(1080))));
        let shared = Shared {
            hosts,
            client,
            parameters: options.parameters.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect(),
            lines,
            compression: options.compression_level,
            dead_letter_index,
            setup: Setup::read(root, index, KNOWN, VERSION)?,
            setting_up: tokio::sync::Mutex::new(()),
            counters,
            timeout: options.http.timeout,
            allow_older_versions: options.allow_older_versions,
            proxied: !options.http.proxy_url.is_empty(),
            proxy,
        };
        let (loadbalance, workers, verifies) = (options.loadbalance, options.workers, options.http.ssl.verifies());
        Ok(Self { shared: Arc::new(shared), drive: options.drive(), queue, loadbalance, workers, verifies, tls })
    }

    pub(super) fn drive(&self) -> drive::Options {
        self.drive
    }

    pub(super) fn queue(&self) -> memory::Options {
        self.queue.clone()
    }

    /// Host name and port of everybody it connects to.
    pub(super) fn peers(&self) -> Vec<(String, u16)> {
        let hosts = self.shared.hosts.iter().filter_map(|host| {
            let name = host.url.host_str()?.trim_matches(['[', ']']).to_owned();
            Some((name, host.url.port_or_known_default()?))
        });
        hosts.chain(self.shared.proxy.clone()).collect()
    }

    pub(super) fn workers(&self) -> Vec<Worker> {
        let all: Vec<usize> = (0..self.shared.hosts.len()).collect();
        let hosts: Vec<Vec<usize>> = if self.loadbalance { all.into_iter().map(|host| vec![host]).collect() } else { vec![all] };
        let worker = |hosts: &Vec<usize>| Worker::new(self.shared.clone(), hosts.clone());
        hosts.iter().flat_map(|hosts| std::iter::repeat_with(|| worker(hosts)).take(self.workers)).collect()
    }
}

/// An index name in lower case, as they all are; in a format string the names of fields keep theirs.
fn lowercase(name: &str) -> String {
    if name.contains("%{") { name.to_owned() } else { name.to_lowercase() }
}

fn authorization(options: &Options) -> Option<HeaderValue> {
    if let Some(key) = &options.api_key {
        // What the console calls "encoded" is the same, encoded already.
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

/// User and password written into the address: taken out of it, so that no log shows them.
fn own_credentials(url: &mut Url) -> Option<HeaderValue> {
    if url.username().is_empty() {
        return None;
    }
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let auth = basic(&decode(url.username()), &decode(url.password().unwrap_or_default()));
    // Only addresses that cannot have a user refuse this.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    auth
}

/// How Packetbeat introduces itself; some gateways let nobody else in.
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
        let mut url = host.url.join(path).map_err(|e| Error::Unreachable(format!("{path}: {e}")))?;
        if !self.parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.parameters);
        }
        let mut headers = HeaderMap::new();
        headers.extend(host.auth.clone().map(|auth| (AUTHORIZATION, auth)));
        Ok(self.client.request(method, url).headers(headers))
    }

    async fn bulk(&self, host: usize, body: &[u8], events: usize) -> Result<http::Answer, Error> {
        let mut request = self
            .request(host, Method::POST, bulk::PATH)?
            .header("Content-Type", "application/x-ndjson")
            .header("X-Elastic-Event-Count", events)
            .header("X-Elastic-Uncompressed-Request-Length", body.len());
        let sent = if self.compression > 0 {
            request = request.header("Content-Encoding", "gzip");
            bulk::compress(body, self.compression).map_err(|e| Error::Refused(e.to_string()))?
        } else {
            body.to_vec()
        };
        let length = sent.len();
        let answer = http::send(request.body(sent)).await.inspect_err(|_| self.counters.write_errors.add(1))?;
        self.counters.write_bytes.add(length);
        self.counters.read_bytes.add(answer.body.len());
        Ok(answer)
    }
}

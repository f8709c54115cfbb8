//! Requests to collectors, over HTTP (protobuf) and gRPC.
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>, <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

mod grpc;

use super::options::{Compression, Connection, Protocol};
use crate::{
    net::OwnConnections,
    output::{
        Error, Peer, Reason,
        authorization::{agent, basic},
        hosts, http,
    },
    tls,
};
use flate2::{Compression as Level, write::GzEncoder};
use prost::Message as _;
use reqwest::{
    RequestBuilder, Url,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use std::{io::Write as _, sync::Arc, time::Duration};

/// Maximum number of bytes of a server's text that the log quotes, at debug level.
const MAX_QUOTED: usize = 2000;

/// What a request contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    /// The path of HTTP requests, relative to the URL of the host.
    fn path(self) -> &'static str {
        match self {
            Self::Traces => "v1/traces",
            Self::Logs => "v1/logs",
            Self::Metrics => "v1/metrics",
        }
    }

    /// The path of gRPC requests.
    fn method(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }

    /// The name of the request in messages.
    fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }
}

/// A request that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub error: Error,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
    /// Whether the server does not know what was requested. Then it may accept other signals.
    pub is_unknown: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, retry_after: None, is_unknown: false }
    }
}

/// The answer to a request that was accepted.
#[derive(Debug)]
pub(super) struct Answer {
    /// The response message.
    pub message: Vec<u8>,
    /// Bytes of the request as it was sent.
    pub sent: usize,
}

/// The collectors and the HTTP client for requests to them.
pub(super) struct Client {
    hosts: Vec<Host>,
    protocol: Protocol,
    compression: Compression,
    clients: http::Clients,
    tls: Arc<tls::Reloading>,
    verifies: bool,
    proxies: Vec<Peer>,
    proxied: bool,
    timeout: Duration,
}

struct Host {
    url: Url,
    auth: Option<HeaderValue>,
}

impl Client {
    /// Makes the client. Opens no connection.
    ///
    /// # Errors
    /// When a setting is wrong; the text begins with its key.
    pub(super) fn new(hosts: &[String], options: &Connection, connections: Option<Arc<OwnConnections>>) -> Result<Self, String> {
        let Connection { protocol, headers, compression, http } = options;
        let hosts = hosts.iter().map(|host| Host::read(host, *protocol, http.ssl.is_used())).collect::<Result<Vec<_>, _>>()?;
        let mut headers = http::header_map(headers).map_err(|why| format!("headers: {why}"))?;
        headers.values_mut().for_each(|value| value.set_sensitive(true));
        for (name, value) in agent().into_iter().filter(|(name, _)| *name == "user-agent") {
            headers.entry(name).or_insert(value);
        }
        let needs_tls = hosts.iter().any(|host| host.url.scheme() == "https") || http.proxy_url.starts_with("https");
        let tls = Arc::new(tls::Reloading::new(&http.ssl, needs_tls, http.protocols())?);
        let (proxies, proxied, timeout) = (http.proxies(), !http.proxy_url.is_empty(), http.timeout);
        let (protocol, compression, verifies) = (*protocol, *compression, http.ssl.verifies());
        let clients = http::Clients::new(http.clone(), headers, tls.clone(), connections)?;
        Ok(Self { hosts, protocol, compression, clients, tls, verifies, proxies, proxied, timeout })
    }

    /// Number of hosts.
    pub(super) fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// The address of a host, for messages.
    pub(super) fn url(&self, host: usize) -> Option<&str> {
        self.hosts.get(host).map(|host| host.url.as_str())
    }

    /// The server of a host.
    pub(super) fn peer(&self, host: usize) -> Option<Peer> {
        self.hosts.get(host).and_then(|host| Peer::of(&host.url, self.protocol.default_port()))
    }

    /// The servers and proxies that are connected to.
    pub(super) fn peers(&self) -> Vec<Peer> {
        (0..self.hosts.len()).filter_map(|host| self.peer(host)).chain(self.proxies.iter().cloned()).collect()
    }

    /// Whether connections go through a configured proxy.
    pub(super) fn is_proxied(&self) -> bool {
        self.proxied
    }

    /// The TLS configuration of a host, and whether certificates are verified; `None` without TLS.
    pub(super) fn tls(&self, host: usize) -> Option<(&tls::Reloading, bool)> {
        let is_secure = self.hosts.get(host).is_some_and(|host| host.url.scheme() == "https");
        is_secure.then_some((&*self.tls, self.verifies))
    }

    /// The time limit of a request; 0: none.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends a request without spans, which every collector accepts.
    ///
    /// # Errors
    /// When the host does not accept requests.
    pub(super) async fn try_host(&self, host: usize) -> Result<(), Failed> {
        match self.export(host, Signal::Traces, &[]).await {
            // A server that refuses only the content can be reached.
            Ok(_) | Err(Failed { error: Error::Refused(_) | Error::TooLarge(_), .. }) => Ok(()),
            Err(failed) => Err(failed),
        }
    }

    /// Sends a request message and returns the answer of the host.
    ///
    /// # Errors
    /// When the message was not accepted as a whole.
    pub(super) async fn export(&self, host: usize, signal: Signal, message: &[u8]) -> Result<Answer, Failed> {
        let found = self.hosts.get(host).ok_or_else(|| Error::Unreachable("no such host".into()))?;
        let path = match self.protocol {
            Protocol::Http => signal.path(),
            Protocol::Grpc => signal.method(),
        };
        let url = found.url.join(path).map_err(|e| Error::Unreachable(format!("{path}: {e}").into()))?;
        let mut request = self.clients.get().post(url);
        if let Some(auth) = &found.auth {
            request = request.header(AUTHORIZATION, auth);
        }
        match self.protocol {
            Protocol::Http => self.http(request, signal, message).await,
            Protocol::Grpc => grpc::export(request, signal, message, self.compression).await,
        }
    }

    async fn http(&self, request: RequestBuilder, signal: Signal, message: &[u8]) -> Result<Answer, Failed> {
        let mut request = request.header(CONTENT_TYPE, "application/x-protobuf");
        let body = match self.compression {
            Compression::Gzip => {
                request = request.header(CONTENT_ENCODING, "gzip");
                gzip(message)?
            }
            Compression::None => message.to_vec(),
        };
        let sent = body.len();
        let answer = http::send(request.body(body)).await?;
        let status = answer.status.as_u16();
        if (200..300).contains(&status) {
            return Ok(Answer { message: answer.body, sent });
        }
        let why = Reason::with_detail(format!("{}: {}", signal.name(), answer.status), server_text(&answer.body));
        let error = match status {
            413 => Error::TooLarge(why),
            // A collector answers with 500 if one of its parts refuses the content for good. A proxy would not answer with a message.
            500 if is_of_collector(&answer) => Error::Refused(why),
            // With these statuses the server refuses the content of the request.
            400 | 406 | 411 | 414..=417 | 422 | 431 => Error::Refused(why),
            // The events are not the cause: the server is overloaded, another program answered, or credentials are wrong.
            _ => Error::Unreachable(why),
        };
        Err(Failed { error, retry_after: retry_after(&answer.headers), is_unknown: matches!(status, 404 | 405) })
    }
}

impl Host {
    /// Reads an entry of `hosts`: `HOST`, `HOST:PORT` or a URL. As in OpenTelemetry's own exporters, a URL without a port has the port of
    /// its scheme.
    fn read(host: &str, protocol: Protocol, is_secure: bool) -> Result<Self, String> {
        let mut url = if host.contains("://") {
            let url = Url::parse(host).map_err(|e| format!("hosts: '{}': {e}", hosts::without_credentials(host)))?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err(format!("hosts: '{}': the scheme is not one of http, https", hosts::without_credentials(host)));
            }
            url
        } else {
            hosts::address(host, if is_secure { "https" } else { "http" }, &["http", "https"], protocol.default_port())?
        };
        if protocol == Protocol::Grpc && url.path() != "/" {
            return Err(format!("hosts: '{}': gRPC has no path; remove it", hosts::without_credentials(host)));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("hosts: '{}': a query is not possible here; write `headers`", hosts::without_credentials(host)));
        }
        let auth = hosts::take_credentials(&mut url).and_then(|(user, password)| basic(&user, &password));
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Self { url, auth })
    }
}

/// Whether the answer has a message of the protocol.
fn is_of_collector(answer: &http::Answer) -> bool {
    let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/x-protobuf") && grpc::Status::decode(&*answer.body).is_ok()
}

fn gzip(message: &[u8]) -> Result<Vec<u8>, Error> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(message.len() / 4), Level::fast());
    let compressed = encoder.write_all(message).and_then(|()| encoder.finish());
    compressed.map_err(|e| Error::Refused(e.to_string().into()))
}

/// The value of `Retry-After` in seconds. The form with a date is ignored: the clocks may differ, and the backoff applies.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// The server's text in the body of an error: `google.rpc.Status` or plain text.
fn server_text(body: &[u8]) -> String {
    match grpc::Status::decode(body) {
        Ok(status) if !status.message.is_empty() => quoted(status.message.as_bytes()),
        _ => quoted(body),
    }
}

/// At most [`MAX_QUOTED`] bytes of a text.
fn quoted(text: &[u8]) -> String {
    String::from_utf8_lossy(text.get(..text.len().min(MAX_QUOTED)).unwrap_or_default()).into_owned()
}

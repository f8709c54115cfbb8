//! The HTTP client of outputs: time-outs, proxy and TLS. It reads a response to its end, within a size limit.

use super::{
    Error, Peer, Reason,
    hosts::without_credentials,
    proxy::{self, Environment},
    shapes::Scalar,
};
use crate::{
    net::{OwnConnections, connecting::ConnectedLayer},
    tls,
};
use reqwest::{
    Client, Proxy, RequestBuilder, StatusCode, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Maximum number of bytes of a response. All responses to an output's requests are shorter.
const MAX_ANSWER: usize = 64 << 20;

/// Maximum number of bytes of a response that the log quotes, at debug level.
const MAX_QUOTED: usize = 2000;

/// Settings of the connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    #[serde(deserialize_with = "crate::config::duration::deserialize")]
    pub timeout: Duration,
    #[serde(deserialize_with = "crate::config::duration::deserialize")]
    pub idle_connection_timeout: Duration,
    pub proxy_url: String,
    proxy_disable: bool,
    proxy_headers: BTreeMap<String, Scalar>,
    pub ssl: tls::Options,
    /// Whether requests are made with HTTP/2 instead of HTTP/1.1. The server must support it: there is no negotiation without TLS.
    #[serde(skip)]
    pub is_http2: bool,
}

impl Default for Options {
    fn default() -> Self {
        let (timeout, idle_connection_timeout) = (Duration::from_secs(90), Duration::from_secs(3));
        let (proxy_url, proxy_headers, ssl) = (String::new(), BTreeMap::new(), tls::Options::default());
        Self { timeout, idle_connection_timeout, proxy_url, proxy_disable: false, proxy_headers, ssl, is_http2: false }
    }
}

/// The HTTP client of an output. It is built again when the certificates have changed.
pub(super) struct Clients {
    options: Options,
    headers: HeaderMap,
    connections: Option<Arc<OwnConnections>>,
    tls: Arc<tls::Reloading>,
    current: Mutex<(Arc<rustls::ClientConfig>, Client)>,
}

impl Clients {
    /// Builds the client. `headers` are part of every request.
    ///
    /// # Errors
    /// When an option is wrong.
    pub(super) fn new(
        options: Options,
        headers: HeaderMap,
        tls: Arc<tls::Reloading>,
        connections: Option<Arc<OwnConnections>>,
    ) -> Result<Self, String> {
        let config = tls.config();
        let client = options.client((*config).clone(), headers.clone(), connections.as_ref())?;
        Ok(Self { options, headers, connections, tls, current: Mutex::new((config, client)) })
    }

    /// The client for the next request.
    pub(super) fn get(&self) -> Client {
        let config = self.tls.config();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current.0, &config)
            && let Ok(client) = self.options.client((*config).clone(), self.headers.clone(), self.connections.as_ref())
        {
            *current = (config, client);
        }
        current.1.clone()
    }
}

impl Options {
    /// The application protocols that a client for HTTP/1.1 offers in a TLS handshake.
    pub(super) const PROTOCOLS: &[&[u8]] = &[b"http/1.1"];

    /// The application protocols that this client offers in a TLS handshake.
    pub(super) fn protocols(&self) -> &'static [&'static [u8]] {
        if self.is_http2 { &[b"h2"] } else { Self::PROTOCOLS }
    }

    fn client(&self, tls: rustls::ClientConfig, headers: HeaderMap, connections: Option<&Arc<OwnConnections>>) -> Result<Client, String> {
        // Always pass a TLS configuration. Without one reqwest needs a process-wide crypto provider, and none is installed.
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .default_headers(headers)
            .redirect(Policy::none())
            .pool_idle_timeout(self.idle_connection_timeout)
            .tcp_nodelay(true);
        builder = if self.is_http2 { builder.http2_prior_knowledge() } else { builder.http1_only() };
        // 0 means no limit.
        if !self.timeout.is_zero() {
            builder = builder.timeout(self.timeout).connect_timeout(self.timeout);
        }
        // reqwest would use a proxy of the environment for loopback addresses, too.
        builder = builder.no_proxy();
        if let Some(connections) = connections {
            builder = builder.connector_layer(ConnectedLayer(connections.clone()));
        }
        if self.proxy_disable {
            return builder.build().map_err(|e| with_causes(&e));
        }
        if !self.proxy_url.is_empty() {
            let url = if self.proxy_url.contains("://") { self.proxy_url.clone() } else { format!("http://{}", self.proxy_url) };
            let wrong = |why: &dyn Display| format!("proxy_url: '{}': {why}", without_credentials(&self.proxy_url));
            let url = Url::parse(&url).map_err(|e| wrong(&e))?;
            // reqwest's message would contain the URL with its password.
            // As in Packetbeat, `proxy_headers` are those of CONNECT requests.
            let plain = Proxy::http(url.clone()).map_err(|e| wrong(&e.without_url()))?;
            let proxy = Proxy::https(url).map_err(|e| wrong(&e.without_url()))?;
            builder =
                builder.proxy(plain).proxy(proxy.headers(header_map(&self.proxy_headers).map_err(|why| format!("proxy_headers: {why}"))?));
        } else {
            let environment = Environment::read(|name| std::env::var(name).ok());
            builder = builder.proxy(Proxy::custom(move |url| environment.proxy(url).cloned()));
        }
        builder.build().map_err(|e| with_causes(&e))
    }

    /// The proxies that the client may connect to: the configured one, or else those of the environment.
    pub(super) fn proxies(&self) -> Vec<Peer> {
        if self.proxy_disable {
            Vec::new()
        } else if self.proxy_url.is_empty() {
            Environment::read(|name| std::env::var(name).ok()).peers()
        } else {
            proxy::peer(&self.proxy_url).into_iter().collect()
        }
    }
}

/// Converts the configured headers.
pub(super) fn header_map(headers: &BTreeMap<String, Scalar>) -> Result<HeaderMap, String> {
    headers
        .iter()
        .map(|(name, value)| {
            let header = HeaderName::try_from(name.as_str()).map_err(|_| format!("'{name}' is not a valid header name"))?;
            let value = HeaderValue::try_from(value.0.as_str()).map_err(|_| format!("the value of '{name}' cannot be a header's"))?;
            Ok((header, value))
        })
        .collect()
}

/// A response.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns why a request that contains no events failed: `what`, the status, and the server's reason if it gives one.
    pub(super) fn why(&self, what: &str) -> Reason {
        let reason = serde_json::from_slice::<serde_json::Value>(&self.body).ok();
        let reason = reason.as_ref().and_then(|body| body.pointer("/error/reason").or_else(|| body.get("error"))).and_then(|r| r.as_str());
        match reason {
            Some(reason) => format!("{what}: {}: {reason}", self.status).into(),
            None => format!("{what}: {}", self.status).into(),
        }
    }

    /// Returns why a request that contains events failed. The server's text may quote events, so the summary has only the type of the
    /// error.
    pub(super) fn refusal(&self, what: &str) -> Reason {
        let answer = serde_json::from_slice::<serde_json::Value>(&self.body).unwrap_or_default();
        let kind = answer.pointer("/error/type").and_then(|kind| kind.as_str()).map(kind_of_error).unwrap_or_default();
        let text = String::from_utf8_lossy(self.body.get(..self.body.len().min(MAX_QUOTED)).unwrap_or_default());
        Reason::with_detail(format!("{what}: {} {kind}", self.status).trim_end(), text)
    }
}

/// Sends the request and reads the response to its end.
///
/// # Errors
/// [`Error::Unreachable`] when there is no connection, [`Error::Broken`] when no complete response arrives.
pub(super) async fn send(request: RequestBuilder) -> Result<Answer, Error> {
    let failed = |error: reqwest::Error| {
        let why = with_causes(&error).into();
        if error.is_connect() { Error::Unreachable(why) } else { Error::Broken(why) }
    };
    let mut response = request.send().await.map_err(failed)?;
    let (status, headers, mut body) = (response.status(), response.headers().clone(), Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Error::Broken(format!("an answer of more than {MAX_ANSWER} bytes").into()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body })
}

/// The type of a server's error, for the log; empty if the text does not look like the name of a type.
pub(super) fn kind_of_error(kind: &str) -> &str {
    let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
    if kind.len() <= 80 && kind.bytes().all(is_name) { kind } else { "" }
}

/// Returns the text of an error with all its causes. The outermost error of reqwest only reports that sending failed.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    // The text of the cause may already contain the advice.
    if let Some(advice) = advice(&text).filter(|advice| !text.contains(advice)) {
        text.push_str("; ");
        text.push_str(advice);
    }
    text
}

/// Returns the advice about an error of the connection whose text contains only what a library reports.
fn advice(text: &str) -> Option<&'static str> {
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["InvalidContentType"]) {
        Some("the server does not speak TLS there: write http:// in `hosts`, or `ssl.enabled: false` if hosts have no scheme")
    } else if has(&["CaUsedAsEndEntity", "UnknownIssuer"]) {
        Some(
            "the authority of the server's certificate is not trusted: name its file in `ssl.certificate_authorities` (a self-signed certificate itself)",
        )
    } else if has(&["not valid for name"]) {
        Some("use a name of the certificate in `hosts`, or `ssl.verification_mode: certificate`")
    } else if has(&["certificate expired"]) {
        Some("the server needs a new certificate")
    } else if has(&["(http://"]) && has(&["connection closed before message completed", "Connection reset by peer", "invalid HTTP version"])
    {
        Some("if the server expects TLS, write https:// in `hosts`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Options, Peer, with_causes};

    #[test]
    fn proxies_are_known_by_their_port() {
        let peer = |host: &str, port| vec![Peer { host: host.into(), port }];
        for (proxy_url, expected) in [
            ("http://u:p@proxy:3128/", peer("proxy", 3128)),
            ("proxy:3128", peer("proxy", 3128)),
            ("proxy", peer("proxy", 80)),
            ("https://proxy", peer("proxy", 443)),
            ("socks5://[fd00::1]", peer("fd00::1", 1080)),
        ] {
            let options = Options { proxy_url: proxy_url.into(), ..Options::default() };
            assert_eq!(options.proxies(), expected, "{proxy_url}");
            assert_eq!(Options { proxy_disable: true, ..options }.proxies(), vec![]);
        }
    }

    /// The input texts are those of rustls and hyper, seen with servers of each kind.
    #[test]
    fn errors_of_the_connection_say_what_to_do() {
        for (text, expected) in [
            ("received corrupt message of type InvalidContentType", "write http://"),
            ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", "ssl.certificate_authorities"),
            ("invalid peer certificate: UnknownIssuer", "ssl.certificate_authorities"),
            ("invalid peer certificate: certificate not valid for name \"h\"", "ssl.verification_mode: certificate"),
            ("error sending request for url (http://h:1/): connection closed before message completed", "write https://"),
            ("error sending request for url (http://h:1/): connection error: Connection reset by peer (os error 104)", "write https://"),
        ] {
            let shown = with_causes(&std::io::Error::other(text));
            assert_eq!(with_causes(&std::io::Error::other(shown.clone())), shown, "said once");
            assert!(shown.starts_with(text) && shown.contains(expected), "{shown} lacks {expected}");
        }
        for text in ["Connection refused (os error 111)", "error sending request for url (https://h:1/): Connection reset by peer"] {
            assert_eq!(with_causes(&std::io::Error::other(text)), text);
        }
    }
}

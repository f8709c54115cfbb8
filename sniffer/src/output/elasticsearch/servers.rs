//! The servers that the settings name, and the HTTP client for requests to them.

use super::{
    bulk,
    options::{self, Options},
};
use crate::{
    net::OwnConnections,
    output::{
        Error, Peer,
        authorization::{agent, authorization, basic},
        hosts, http,
    },
    tls,
};
use reqwest::{
    Method, RequestBuilder, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use std::sync::Arc;

/// The servers of an output or of `monitoring`.
pub(super) struct Servers {
    pub(super) hosts: Vec<Host>,
    clients: http::Clients,
    parameters: Vec<(String, String)>,
    pub(super) tls: Arc<tls::Reloading>,
    proxies: Vec<Peer>,
}

/// One of the servers.
pub(super) struct Host {
    pub(super) url: Url,
    auth: Option<HeaderValue>,
}

impl Servers {
    /// Makes the HTTP client. Opens no connection.
    ///
    /// # Errors
    /// When a setting is wrong; the text begins with its key.
    pub(super) fn new(options: &Options, connections: Option<Arc<OwnConnections>>) -> Result<Self, String> {
        let auth = authorization(options.api_key.as_ref(), options.username.as_ref(), options.password.as_ref());
        let mut hosts = Vec::new();
        for host in &options.hosts.0 {
            let mut url = options::base(host, options)?;
            let own = hosts::take_credentials(&mut url).and_then(|(user, password)| basic(&user, &password));
            hosts.push(Host { url, auth: own.or(auth.clone()) });
        }
        let mut headers = http::header_map(&options.headers).map_err(|why| format!("headers: {why}"))?;
        for (name, value) in agent().into_iter().chain([("x-elastic-product-origin", HeaderValue::from_static("beats"))]) {
            headers.entry(name).or_insert(value);
        }
        let secure = hosts.iter().any(|host| host.url.scheme() == "https");
        let needs_tls = secure || options.http.proxy_url.starts_with("https");
        let tls = Arc::new(tls::Reloading::new(&options.http.ssl, needs_tls, http::Options::PROTOCOLS)?);
        let clients = http::Clients::new(options.http.clone(), headers, tls.clone(), connections)?;
        let parameters = options.parameters.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect();
        Ok(Self { hosts, clients, parameters, tls, proxies: options.http.proxies() })
    }

    /// The servers and proxies that are connected to.
    pub(super) fn peers(&self) -> Vec<Peer> {
        let hosts = self.hosts.iter().filter_map(|host| Peer::of(&host.url, 9200));
        hosts.chain(self.proxies.iter().cloned()).collect()
    }

    /// The address of a server, for the log.
    pub(super) fn url(&self, host: usize) -> &str {
        self.hosts.get(host).map_or("", |host| host.url.as_str())
    }

    /// A request to a server. `path` is relative to the server's URL.
    pub(super) fn request(&self, host: usize, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        let host = self.hosts.get(host).ok_or_else(|| Error::Unreachable("no such host".into()))?;
        let mut url = host.url.join(path).map_err(|e| Error::Unreachable(format!("{path}: {e}").into()))?;
        if !self.parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.parameters);
        }
        let mut headers = HeaderMap::new();
        headers.extend(host.auth.clone().map(|auth| (AUTHORIZATION, auth)));
        Ok(self.clients.get().request(method, url).headers(headers))
    }

    /// A request with documents in JSON, compressed with this level if it is greater than 0. Returns the body too, which the caller adds.
    pub(super) fn documents(&self, host: usize, path: &str, body: &[u8], compression: u32) -> Result<(RequestBuilder, Vec<u8>), Error> {
        let request = self
            .request(host, Method::POST, path)?
            .header("Content-Type", "application/json; charset=UTF-8")
            .header("X-Elastic-Uncompressed-Request-Length", body.len());
        if compression == 0 {
            return Ok((request, body.to_vec()));
        }
        let compressed = bulk::compress(body, compression).map_err(|e| Error::Refused(e.to_string().into()))?;
        Ok((request.header("Content-Encoding", "gzip"), compressed))
    }
}

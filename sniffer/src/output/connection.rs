//! Connections of outputs that do not use HTTP: name resolution, SOCKS5 proxy, TLS, and time limits.

use super::{Error, Peer, hosts, http::with_causes, probe::Probe};
use crate::{
    config,
    net::OwnConnections,
    opening::Opening,
    tls::{self, Reloading},
};
use reqwest::Url;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_socks::tcp::Socks5Stream;

/// Settings of the connection, read from the output's section.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    proxy_url: String,
    proxy_use_local_resolver: bool,
    ssl: tls::Options,
}

/// Opens connections.
#[derive(Clone)]
pub(super) struct Dialer {
    proxy: Option<Proxy>,
    /// Whether a connection uses TLS if the host has no scheme.
    uses_tls: bool,
    verifies: bool,
    tls: Arc<Reloading>,
    timeout: Duration,
    connections: Option<Arc<OwnConnections>>,
}

#[derive(Clone, Debug)]
struct Proxy {
    peer: Peer,
    credentials: Option<(String, String)>,
    /// Whether this program resolves the names of hosts, instead of the proxy.
    resolves_here: bool,
}

/// A stream with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// An open connection.
pub(super) type Connection = Box<dyn Stream>;

impl Dialer {
    /// Reads `proxy_url`, `proxy_use_local_resolver` and `ssl`. `always_tls`: a host's scheme asks for TLS. `timeout`: the limit for
    /// connecting; 0: none.
    ///
    /// # Errors
    /// When a setting is wrong.
    pub(super) fn read(opening: &Opening<'_>, always_tls: bool, timeout: Duration) -> Result<Self, config::Error> {
        let node = opening.node;
        let options: Options = node.read()?;
        // As in Packetbeat, `ssl` with any setting switches TLS on, unless `enabled` is false.
        let uses_tls = options.ssl.enabled.unwrap_or_else(|| node.get("ssl").entries().next().is_some());
        let tls = Reloading::new(&options.ssl, uses_tls || always_tls, &[]).map_err(|why| node.error(why))?;
        let proxy =
            if options.proxy_url.is_empty() { None } else { Some(proxy(&options).map_err(|why| node.get("proxy_url").error(why))?) };
        Ok(Self {
            proxy,
            uses_tls,
            verifies: options.ssl.verifies(),
            tls: Arc::new(tls),
            timeout,
            connections: opening.connections.cloned(),
        })
    }

    /// The proxy, whose traffic is left out of the capture like that of the hosts.
    pub(super) fn peer(&self) -> Option<Peer> {
        self.proxy.as_ref().map(|proxy| proxy.peer.clone())
    }

    /// The steps of connecting to a host, for `test output`. `tls` as in [`Self::dial`].
    pub(super) fn probe<'a>(&'a self, peer: &'a Peer, tls: Option<bool>) -> Probe<'a> {
        let tls = tls.unwrap_or(self.uses_tls).then_some((&*self.tls, self.verifies));
        Probe { peer, proxied: self.proxy.is_some(), tls, timeout: self.timeout }
    }

    /// Connects to a host. `tls`: whether to use TLS; `None` leaves that to the settings.
    ///
    /// # Errors
    /// [`Error::Unreachable`] with the step that failed.
    pub(super) async fn dial(&self, to: &Peer, tls: Option<bool>) -> Result<Connection, Error> {
        let opening = async {
            let stream = self.connect(to).await.map_err(|e| format!("connecting: {e}"))?;
            // The algorithm of Nagle is switched off: a batch is written at once, so waiting for more data would only delay it.
            let _ = stream.set_nodelay(true);
            if !tls.unwrap_or(self.uses_tls) {
                return Ok(Box::new(stream) as Connection);
            }
            let name = ServerName::try_from(to.host.clone()).map_err(|e| format!("TLS: {}: {e}", to.host))?;
            let stream = TlsConnector::from(self.tls.config()).connect(name, stream).await;
            stream.map(|stream| Box::new(stream) as Connection).map_err(|e| format!("TLS: {}", with_causes(&e)))
        };
        with_time_limit(self.timeout, opening).await.map_err(|_| "no connection within `timeout`".to_owned()).flatten().map_err(
            |why: String| {
                let Peer { host, port } = to;
                Error::Unreachable(format!("{host}:{port}: {why}").into())
            },
        )
    }

    async fn tcp(&self, to: &Peer) -> io::Result<TcpStream> {
        // The port may be none that is configured: Kafka names the addresses of its brokers.
        if let Some(connections) = &self.connections {
            connections.expect(to.port);
        }
        let stream = TcpStream::connect((to.host.as_str(), to.port)).await?;
        if let Some(connections) = &self.connections {
            connections.refresh();
        }
        Ok(stream)
    }

    async fn connect(&self, to: &Peer) -> io::Result<TcpStream> {
        let Some(Proxy { peer, credentials, resolves_here }) = &self.proxy else {
            return self.tcp(to).await;
        };
        let stream = self.tcp(peer).await?;
        let resolved: Option<SocketAddr> =
            if *resolves_here { tokio::net::lookup_host((to.host.as_str(), to.port)).await?.next() } else { None };
        let target = match resolved {
            Some(address) => tokio_socks::TargetAddr::Ip(address),
            None => tokio_socks::TargetAddr::Domain(to.host.as_str().into(), to.port),
        };
        let stream = match credentials {
            Some((user, password)) => Socks5Stream::connect_with_password_and_socket(stream, target, user, password).await,
            None => Socks5Stream::connect_with_socket(stream, target).await,
        };
        stream.map(Socks5Stream::into_inner).map_err(|e| io::Error::other(format!("SOCKS5 proxy: {e}")))
    }
}

fn proxy(options: &Options) -> Result<Proxy, String> {
    let wrong = |why: &str| format!("'{}': {why}", hosts::without_credentials(&options.proxy_url));
    let mut url = Url::parse(&options.proxy_url).map_err(|e| wrong(&e.to_string()))?;
    if !["socks5", "socks5h"].contains(&url.scheme()) {
        return Err(wrong("only socks5:// is possible here"));
    }
    let credentials = hosts::take_credentials(&mut url);
    let peer = Peer::of(&url, 1080).ok_or_else(|| wrong("the host is missing"))?;
    Ok(Proxy { peer, credentials, resolves_here: options.proxy_use_local_resolver })
}

/// Waits for `work` for at most `limit`; 0: without a limit.
///
/// # Errors
/// When the time is over.
pub(super) async fn with_time_limit<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, tokio::time::error::Elapsed> {
    if limit.is_zero() { Ok(work.await) } else { tokio::time::timeout(limit, work).await }
}

/// Number of bytes to which one time limit applies when they are written.
const CHUNK: usize = 64 << 10;

/// Writes all bytes. `limit` applies to each 64 KiB, so that a slow server has time for a large batch; 0: no limit.
///
/// # Errors
/// [`Error::Broken`] when writing fails or the time is over.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin + ?Sized), bytes: &[u8], limit: Duration) -> Result<(), Error> {
    for chunk in bytes.chunks(CHUNK) {
        io_with_time_limit(limit, "writing", stream.write_all(chunk)).await?;
    }
    io_with_time_limit(limit, "writing", stream.flush()).await
}

/// Waits for `work` for at most `limit`; 0: without a limit. `what` names the work in errors.
///
/// # Errors
/// [`Error::Broken`] when the work fails or the time is over.
pub(super) async fn io_with_time_limit<T>(limit: Duration, what: &str, work: impl Future<Output = io::Result<T>>) -> Result<T, Error> {
    match with_time_limit(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Error::Broken(format!("{what}: {error}").into())),
        Err(_) => Err(Error::Broken(format!("{what}: no progress within `timeout`").into())),
    }
}

/// Whether the other side has closed a connection on which no data is expected. Unexpected data counts as closed, too.
pub(super) async fn is_closed(stream: &mut Connection) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    std::future::poll_fn(|context: &mut Context<'_>| Poll::Ready(Pin::new(&mut *stream).poll_read(context, &mut buffer).is_ready())).await
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;

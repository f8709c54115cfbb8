//! The API of the Docker daemon: `GET /containers/ID/json`.

use crate::{
    event::tree::Object,
    net::OwnConnections,
    processors::http_get,
    tls::{self, Reloading},
};
use rustls::{ClientConnection, Stream, pki_types::ServerName};
use serde_json::{Value, json};
use std::{
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The longest time to wait for the daemon.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The address of a daemon.
enum Address {
    Unix(PathBuf),
    /// `HOST` or `HOST:PORT`, and the configuration of TLS.
    Tcp(String, Option<Box<Reloading>>),
}

/// The port of a daemon that is named without a port, without and with TLS.
const PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// A Docker daemon.
pub(super) struct Daemon {
    address: Address,
    dedot: bool,
    has_warned: AtomicBool,
    connections: Option<Arc<OwnConnections>>,
}

impl Daemon {
    /// Reads the address. `ssl`: the settings of TLS, if any are set. `connections`: see [`crate::opening::Opening::connections`].
    ///
    /// # Errors
    /// When the scheme is not supported, or a certificate or key cannot be read.
    pub(super) fn new(
        host: &str,
        dedot: bool,
        ssl: Option<&tls::Options>,
        connections: Option<Arc<OwnConnections>>,
    ) -> Result<Self, String> {
        let secure = |ssl: &tls::Options| Reloading::new(ssl, true, &[]).map(Box::new);
        let address = match host.split_once("://") {
            Some(("unix", path)) => Address::Unix(path.into()),
            Some(("http", address)) => Address::Tcp(address.trim_end_matches('/').to_owned(), None),
            Some(("tcp", address)) => Address::Tcp(address.trim_end_matches('/').to_owned(), ssl.map(secure).transpose()?),
            Some(("https", address)) => {
                Address::Tcp(address.trim_end_matches('/').to_owned(), Some(secure(ssl.unwrap_or(&tls::Options::default()))?))
            }
            _ => {
                return Err(format!(
                    "host: `{host}` is not supported; write unix://PATH, tcp://HOST:PORT, http://HOST:PORT or https://HOST:PORT"
                ));
            }
        };
        Ok(Self { address, dedot, has_warned: AtomicBool::new(false), connections })
    }

    /// The TCP port of the daemon; `None` for a Unix socket.
    pub(super) fn port(&self) -> Option<u16> {
        let Address::Tcp(host, tls) = &self.address else { return None };
        let default = if tls.is_some() { TLS_PORT } else { PORT };
        if has_port(host) { host.rsplit_once(':')?.1.parse().ok() } else { Some(default) }
    }

    /// The fields of the container with this id; `None` if there is no such container or the daemon cannot be asked.
    pub(super) fn container(&self, id: &str) -> Option<Object> {
        // The id becomes a part of the path of the request.
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
            return None;
        }
        match self.ask(&format!("/containers/{id}/json")) {
            Ok((200, body)) => self.fields(&serde_json::from_slice(&body).ok()?),
            Ok((404, _)) => None,
            Ok((status, _)) => self.warn(&format!("the Docker daemon answered with status {status}")),
            Err(error) => self.warn(&error),
        }
    }

    fn warn(&self, error: &str) -> Option<Object> {
        if self.has_warned.swap(true, Ordering::Relaxed) {
            log::debug!("add_docker_metadata: {error}");
        } else {
            log::warn!("add_docker_metadata: {error}; events have no metadata of containers until the Docker daemon answers");
        }
        None
    }

    fn ask(&self, path: &str) -> Result<(u16, Vec<u8>), String> {
        let text = |error: std::io::Error| error.to_string();
        match &self.address {
            Address::Unix(socket) => {
                let mut stream = UnixStream::connect(socket).map_err(|error| format!("{}: {error}", socket.display()))?;
                stream.set_read_timeout(Some(TIMEOUT)).and_then(|()| stream.set_write_timeout(Some(TIMEOUT))).map_err(text)?;
                http_get::get(&mut stream, "docker", path)
            }
            Address::Tcp(host, tls) => {
                let port = if tls.is_some() { TLS_PORT } else { PORT };
                let with_port = if has_port(host) { host.clone() } else { format!("{host}:{port}") };
                let address = with_port.to_socket_addrs().map_err(text)?.next().ok_or_else(|| format!("{host} has no address"))?;
                let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).map_err(|error| format!("{host}: {error}"))?;
                if let Some(connections) = &self.connections {
                    connections.refresh();
                }
                stream.set_read_timeout(Some(TIMEOUT)).and_then(|()| stream.set_write_timeout(Some(TIMEOUT))).map_err(text)?;
                let Some(tls) = tls else { return http_get::get(&mut stream, host, path) };
                let name = with_port.rsplit_once(':').map_or(&*with_port, |(name, _)| name).trim_matches(['[', ']']).to_owned();
                let name = ServerName::try_from(name).map_err(|error| format!("{host}: {error}"))?;
                let mut session = ClientConnection::new(tls.config(), name).map_err(|error| format!("{host}: {error}"))?;
                http_get::get(&mut Stream::new(&mut session, &mut stream), host, path)
            }
        }
    }

    /// The fields of a container in the daemon's response.
    fn fields(&self, container: &Value) -> Option<Object> {
        let mut fields = json!({
            "id": container.get("Id")?.as_str()?,
            "name": container.get("Name").and_then(Value::as_str).unwrap_or_default().trim_start_matches('/'),
            "image": {"name": container.pointer("/Config/Image").and_then(Value::as_str).unwrap_or_default()},
        });
        let labels: Object = container
            .pointer("/Config/Labels")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(key, value)| (if self.dedot { key.replace('.', "_") } else { key.clone() }, value.clone()))
            .collect();
        if !labels.is_empty() {
            fields["labels"] = labels.into();
        }
        Some(Object::from_iter([("container".to_owned(), fields)]))
    }
}

/// Whether an address has a port. An IPv6 address with a port is in brackets.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(name, port)| !port.contains(']') && (!name.contains(':') || name.ends_with(']')))
}

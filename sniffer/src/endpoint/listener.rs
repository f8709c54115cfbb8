//! The sockets on which HTTP is served: the endpoint, and the page of `web`.

use super::options::{At, Options};
use crate::config;
use std::{
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// Mode of the file of a Unix socket: only the user of the program may connect.
const SOCKET_MODE: u32 = 0o600;

/// A socket that listens. If it is a Unix socket, its file is removed when this value is dropped.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: Socket,
    /// The file of the Unix socket; `None` for TCP.
    _file: Option<SocketFile>,
    at: String,
}

#[derive(Debug)]
pub(super) enum Socket {
    /// A socket, and perhaps a second one with the other loopback address.
    Tcp(TcpListener, Option<TcpListener>),
    Unix(UnixListener),
}

/// The file of a Unix socket, which is removed when this value is dropped.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // An error is ignored: if the file is already gone, there is nothing to remove.
        let _ = fs::remove_file(&self.0);
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at)
    }
}

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The setting that is to be changed: `host` or `port`.
    pub key: &'static str,
    /// What is wrong, and what to do.
    pub why: String,
}

impl Unusable {
    fn host(why: String) -> Self {
        Self { key: "host", why }
    }

    fn of(address: SocketAddr, error: &io::Error) -> Self {
        let port = |advice: &str| Self { key: "port", why: format!("cannot listen on {address}: {error}; {advice}") };
        match error.kind() {
            io::ErrorKind::AddrInUse => port("stop the program that listens there, or choose another port"),
            io::ErrorKind::PermissionDenied => port("ports below 1024 need privileges, choose another port"),
            _ => Self::host(format!("cannot listen on {address}: {error}; write an address of this host")),
        }
    }
}

impl Listener {
    /// Opens the socket.
    ///
    /// # Errors
    /// When the address cannot be used. The error names file, line and key.
    pub fn bind(options: &Options) -> Result<Self, config::Error> {
        Self::open(&options.at).map_err(|unusable| options.node.get(unusable.key).error(unusable.why))
    }

    fn open(at: &At) -> Result<Self, Unusable> {
        match at {
            At::Tcp(host, port) => {
                let addresses = resolve(host, *port).map_err(|e| Unusable::host(format!("cannot resolve `{host}`: {e}")))?;
                let socket = bind_first(&addresses).map_err(|(address, e)| Unusable::of(address, &e))?;
                let at = socket.local_addr().map_or_else(|_| format!("{host}:{port}"), |address| address.to_string());
                Ok(Self { socket: Socket::Tcp(socket, None), _file: None, at })
            }
            At::Unix(path) => {
                let socket = bind_unix(path).map_err(Unusable::host)?;
                Ok(Self { socket: Socket::Unix(socket), _file: Some(SocketFile(path.clone())), at: path.display().to_string() })
            }
        }
    }

    /// Opens a socket that only this host can reach. `localhost` stands for both loopback addresses: a browser tries the IPv6 address
    /// first, where otherwise another user's program could listen and get the token.
    ///
    /// # Errors
    /// When the address is not one of loopback, or cannot be used.
    pub fn open_on_loopback(at: &At) -> Result<Self, Unusable> {
        let At::Tcp(host, port) = at else { return Self::open(at) };
        if !host.eq_ignore_ascii_case("localhost") {
            let addresses = if host.is_empty() { Ok(Vec::new()) } else { resolve(host, *port) };
            let addresses = addresses.map_err(|e| Unusable::host(format!("cannot resolve `{host}`: {e}")))?;
            return match addresses.first() {
                Some(address) if address.ip().is_loopback() => Self::open(&At::Tcp(address.ip().to_string(), address.port())),
                _ => Err(Unusable::host(format!(
                    "`{host}` is not an address of loopback, and other addresses need TLS, which the page does not have yet: write localhost \
                     or unix:///PATH, and reach it from elsewhere by `ssh -L` or a reverse proxy"
                ))),
            };
        }
        let bind = |ip: IpAddr, port: u16| {
            let address = SocketAddr::new(ip, port);
            TcpListener::bind(address).map_err(|error| (Unusable::of(address, &error), error.kind()))
        };
        let first = bind(Ipv4Addr::LOCALHOST.into(), *port).map_err(|(unusable, _)| unusable)?;
        let port = first.local_addr().map_or(*port, |address| address.port());
        let second = match bind(Ipv6Addr::LOCALHOST.into(), port) {
            Ok(second) => Some(second),
            Err((unusable, io::ErrorKind::AddrInUse)) => return Err(unusable),
            // This host has no IPv6.
            Err(_) => None,
        };
        Ok(Self { socket: Socket::Tcp(first, second), _file: None, at: format!("localhost:{port}") })
    }

    /// The addresses of TCP sockets; none for a Unix socket.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match &self.socket {
            Socket::Tcp(first, second) => std::iter::once(first).chain(second).filter_map(|socket| socket.local_addr().ok()).collect(),
            Socket::Unix(_) => Vec::new(),
        }
    }
}

/// Returns the addresses of a host, which are tried in this order. If a name has an IPv4 address, that address is used.
fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if host.is_empty() {
        // The IPv6 socket also accepts IPv4 connections. A kernel without IPv6 refuses the socket; then the IPv4 address is used.
        return Ok(vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]);
    }
    let mut all: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    all.sort_by_key(SocketAddr::is_ipv6);
    all.truncate(1);
    if all.is_empty() { Err(io::Error::other("it has no address")) } else { Ok(all) }
}

/// Binds to the first address that this kernel supports.
fn bind_first(addresses: &[SocketAddr]) -> Result<TcpListener, (SocketAddr, io::Error)> {
    let mut failed = (SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), io::ErrorKind::AddrNotAvailable.into());
    for &address in addresses {
        match TcpListener::bind(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => {
                let in_use = error.kind() == io::ErrorKind::AddrInUse;
                failed = (address, error);
                if in_use {
                    break;
                }
            }
        }
    }
    Err(failed)
}

/// Opens a Unix socket. A socket that a killed process left behind is replaced. Any other file at this path is an error and is not changed.
fn bind_unix(path: &Path) -> Result<UnixListener, String> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(format!("{shown} exists and is not a socket; name another path"));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(format!("another program listens on {shown}; stop it, or name another path"));
        }
        Ok(_) => fs::remove_file(path).map_err(|e| format!("cannot replace {shown}: {e}"))?,
        Err(_) => {}
    }
    let socket = UnixListener::bind(path).map_err(|e| format!("cannot listen on {shown}: {e}; name a path in a directory that exists"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(|e| format!("cannot set the mode of {shown}: {e}"))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Node;

    fn bind(host: &str, port: u16) -> Result<Listener, String> {
        let yaml = format!("http:\n  enabled: true\n  host: '{host}'\n  port: {port}\n");
        let options = Options::read(&Node::parse(&yaml).unwrap()).unwrap().unwrap();
        Listener::bind(&options).map_err(|e| e.to_string())
    }

    #[test]
    fn a_port_in_use_is_an_error_with_the_line_of_the_port() {
        let first = bind("localhost", 0).unwrap();
        let address = first.addresses()[0];
        assert!(address.is_ipv4(), "{address}");
        let error = bind("localhost", address.port()).unwrap_err();
        assert!(error.starts_with(&format!("line 4: http.port: cannot listen on {address}: ")), "{error}");
        let error = bind("http://192.0.2.1", 0).unwrap_err();
        assert!(error.starts_with("line 3: http.host: cannot listen on 192.0.2.1:0: "), "{error}");
        let error = bind("no-such-host.invalid", 0).unwrap_err();
        assert!(error.starts_with("line 3: http.host: cannot resolve `no-such-host.invalid`: "), "{error}");
    }

    #[test]
    fn only_loopback() {
        let open = |host: &str, port| Listener::open_on_loopback(&At::Tcp(host.into(), port));
        let both = open("localhost", 0).unwrap();
        let addresses = both.addresses();
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == addresses[0].port()), "{addresses:?}");
        assert_eq!(both.to_string(), format!("localhost:{}", addresses[0].port()));
        let used = open("localhost", addresses[0].port()).unwrap_err();
        assert!(used.key == "port" && used.why.contains("stop the program that listens there"), "{used:?}");
        assert!(open("127.0.0.2", 0).unwrap().addresses()[0].ip().is_loopback());
        for host in ["0.0.0.0", "::", "192.0.2.1", ""] {
            let refused = open(host, 0).unwrap_err();
            assert!(refused.key == "host" && refused.why.contains("is not an address of loopback"), "{host}: {refused:?}");
        }
    }

    #[test]
    fn all_addresses() {
        let listener = bind("", 0).unwrap();
        assert!(listener.addresses()[0].ip().is_unspecified(), "{listener}");
    }

    #[test]
    fn a_unix_socket_replaces_only_one_that_nobody_uses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let host = format!("unix://{}", path.display());
        let first = bind(&host, 0).unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE, "{mode:o}");
        let error = bind(&host, 0).unwrap_err();
        assert!(error.starts_with("line 3: http.host: another program listens on "), "{error}");
        drop(first);
        assert!(!path.exists(), "the socket is removed at the end");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a socket that was left behind");
        drop(bind(&host, 0).unwrap());
        fs::write(&path, "data").unwrap();
        let error = bind(&host, 0).unwrap_err();
        assert!(error.contains("exists and is not a socket") && fs::read(&path).unwrap() == b"data", "{error}");
        let error = bind(&format!("unix://{}/none/s.sock", folder.path().display()), 0).unwrap_err();
        assert!(error.starts_with("line 3: http.host: cannot listen on "), "{error}");
    }
}

//! `test output`: tries every step of connecting and prints a result for each, so that the failing step is visible.

use super::{Peer, Sender, http::with_causes};
use crate::tls::Reloading;
use rustls::{ClientConnection, pki_types::ServerName};
use std::{
    io::{self, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

/// The time limit of each step if the output has none. A probe needs a limit, because the user waits for its result.
const LIMIT: Duration = Duration::from_secs(90);

/// The destination of the printed results.
pub(super) type Out<'a> = &'a mut (dyn Write + Send);

/// The connection to one host.
pub(super) struct Probe<'a> {
    pub(super) peer: &'a Peer,
    /// Whether the connection goes through a proxy.
    pub(super) proxied: bool,
    /// The TLS configuration, and whether the certificate is verified; `None` without TLS.
    pub(super) tls: Option<(&'a Reloading, bool)>,
    pub(super) timeout: Duration,
}

impl Probe<'_> {
    /// Resolves the name, connects, and makes a TLS handshake. Returns whether all steps succeeded. Through a proxy the steps cannot be
    /// tried one by one.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub(super) fn connect(&self, out: Out<'_>) -> io::Result<bool> {
        if self.proxied {
            writeln!(out, "    proxy... the connection goes through proxy_url and is tried as a whole below")?;
            return Ok(true);
        }
        let timeout = if self.timeout.is_zero() { LIMIT } else { self.timeout };
        writeln!(out, "    parse host... OK")?;
        let addresses: Vec<SocketAddr> = match (self.peer.host.as_str(), self.peer.port).to_socket_addrs() {
            Ok(addresses) => addresses.collect(),
            Err(error) => return failed(out, "    dns lookup", &error),
        };
        let list: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
        writeln!(out, "    dns lookup... OK\n    addresses: {}", list.join(", "))?;
        let dialled = addresses.iter().find_map(|a| match TcpStream::connect_timeout(a, timeout) {
            Ok(stream) => Some(Ok(stream)),
            Err(error) if Some(a) == addresses.last() => Some(Err(error)),
            Err(_) => None,
        });
        let stream = match dialled {
            Some(Ok(stream)) => stream,
            Some(Err(error)) => return failed(out, "    dial up", &error),
            None => return failed(out, "    dial up", &io::Error::other("the name has no address")),
        };
        writeln!(out, "    dial up... OK")?;
        let Some((tls, verifies)) = self.tls else {
            writeln!(out, "  TLS... WARN secure connection disabled")?;
            return Ok(true);
        };
        writeln!(out, "  TLS...")?;
        let verified = if verifies {
            "server's certificate chain verification is enabled"
        } else {
            "WARN server's certificate chain verification is disabled"
        };
        writeln!(out, "    security... {verified}")?;
        match self.handshake(tls, stream, timeout) {
            Ok(version) => writeln!(out, "    handshake... OK\n    TLS version: {version}\n    dial up... OK")?,
            Err(error) => return failed(out, "    handshake", &error),
        }
        Ok(true)
    }

    fn handshake(&self, tls: &Reloading, mut stream: TcpStream, timeout: Duration) -> io::Result<String> {
        stream.set_read_timeout(Some(timeout))?;
        let name = ServerName::try_from(self.peer.host.clone()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(tls.config(), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        let version = tls.protocol_version().and_then(|v| v.as_str()).unwrap_or("unknown");
        Ok(version.replace('_', "."))
    }

    /// Tries one host of an output: first the steps of [`Self::connect`], then the steps of the output's sender when it
    /// connects. Returns whether all steps succeeded.
    ///
    /// # Errors
    ///
    /// When `out` cannot be written.
    pub(super) async fn run(&self, name: &str, sender: &mut dyn Sender, out: Out<'_>) -> io::Result<bool> {
        writeln!(out, "{name}: {}:{}...\n  connection...", self.peer.host, self.peer.port)?;
        if !self.connect(out)? {
            return Ok(false);
        }
        match sender.connect().await {
            Ok(()) => writeln!(out, "  talk to server... OK")?,
            Err(error) => return failed(out, "  talk to server", &error),
        }
        Ok(true)
    }
}

/// Prints that a step failed.
///
/// # Errors
/// When `out` cannot be written.
pub(super) fn failed(out: Out<'_>, step: &str, error: &dyn std::error::Error) -> io::Result<bool> {
    writeln!(out, "{step}... ERROR {}", with_causes(error))?;
    Ok(false)
}

//! `test output` for Elasticsearch: tries every step of connecting and prints a result for each, so that the failing step is visible.

use super::Elasticsearch;
use crate::output::http::with_causes;
use rustls::{ClientConnection, pki_types::ServerName};
use std::{
    io::{self, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
};

impl Elasticsearch {
    /// Tries every host. Returns whether all of them answered.
    pub(super) async fn probe(&self, out: &mut (dyn Write + Send)) -> io::Result<bool> {
        let mut all = true;
        for host in 0..self.shared.hosts.len() {
            all &= self.test_host(host, out).await?;
        }
        Ok(all)
    }

    async fn test_host(&self, host: usize, out: &mut (dyn Write + Send)) -> io::Result<bool> {
        let Some(url) = self.shared.hosts.get(host).map(|host| &host.url) else { return Ok(false) };
        writeln!(out, "elasticsearch: {}...\n  parse url... OK\n  connection...", url.as_str().trim_end_matches('/'))?;
        let (name, port) =
            (url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned(), url.port_or_known_default().unwrap_or(9200));
        if self.shared.proxied {
            writeln!(out, "    proxy... the connection goes through proxy_url and is tried as a whole below")?;
        } else {
            writeln!(out, "    parse host... OK")?;
            let addresses: Vec<SocketAddr> = match (name.as_str(), port).to_socket_addrs() {
                Ok(addresses) => addresses.collect(),
                Err(error) => return failed(out, "    dns lookup", &error),
            };
            let list: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
            writeln!(out, "    dns lookup... OK\n    addresses: {}", list.join(", "))?;
            let dialled = addresses.iter().find_map(|a| match TcpStream::connect_timeout(a, self.shared.timeout) {
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
            if url.scheme() == "https" {
                writeln!(out, "  TLS...")?;
                let verified = if self.verifies {
                    "server's certificate chain verification is enabled"
                } else {
                    "WARN server's certificate chain verification is disabled"
                };
                writeln!(out, "    security... {verified}")?;
                match self.handshake(name, stream) {
                    Ok(version) => writeln!(out, "    handshake... OK\n    TLS version: {version}\n    dial up... OK")?,
                    Err(error) => return failed(out, "    handshake", &error),
                }
            } else {
                writeln!(out, "  TLS... WARN secure connection disabled")?;
            }
        }
        match self.shared.server(host).await {
            Ok(server) => writeln!(out, "  talk to server... OK\n  version: {}", server.version.number)?,
            Err(error) => return failed(out, "  talk to server", &error),
        }
        Ok(true)
    }

    fn handshake(&self, name: String, mut stream: TcpStream) -> io::Result<String> {
        stream.set_read_timeout(Some(self.shared.timeout))?;
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(self.tls.config(), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        let version = tls.protocol_version().and_then(|v| v.as_str()).unwrap_or("unknown");
        Ok(version.replace('_', "."))
    }
}

fn failed(out: &mut (dyn Write + Send), step: &str, error: &dyn std::error::Error) -> io::Result<bool> {
    writeln!(out, "{step}... ERROR {}", with_causes(error))?;
    Ok(false)
}

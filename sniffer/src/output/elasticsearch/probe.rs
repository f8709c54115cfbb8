//! Implements `test output` for Elasticsearch.

use super::Elasticsearch;
use crate::output::{
    Peer,
    probe::{Out, Probe, failed},
};
use std::io;

impl Elasticsearch {
    /// Tries every host. Returns whether all of them answered.
    pub(super) async fn probe(&self, out: Out<'_>) -> io::Result<bool> {
        let mut all = true;
        for host in 0..self.shared.servers.hosts.len() {
            all &= self.test_host(host, out).await?;
        }
        Ok(all)
    }

    async fn test_host(&self, host: usize, out: Out<'_>) -> io::Result<bool> {
        let Some(url) = self.shared.servers.hosts.get(host).map(|host| &host.url) else { return Ok(false) };
        writeln!(out, "elasticsearch: {}...\n  parse url... OK\n  connection...", url.as_str().trim_end_matches('/'))?;
        let Some(peer) = Peer::of(url, 9200) else { return Ok(false) };
        let tls = (url.scheme() == "https").then_some((&*self.shared.servers.tls, self.verifies));
        let probe = Probe { peer: &peer, proxied: self.shared.proxied, tls, timeout: self.shared.timeout };
        if !probe.connect(out)? {
            return Ok(false);
        }
        match self.shared.server(host).await {
            Ok(server) => writeln!(out, "  talk to server... OK\n  version: {}", server.version.number)?,
            Err(error) => return failed(out, "  talk to server", &error),
        }
        Ok(true)
    }
}

//! `output.otlp`: sends events to an OpenTelemetry collector with OTLP, over HTTP or gRPC.
//! <https://opentelemetry.io/docs/specs/otlp/>
//!
//! A transaction becomes a span, a flow becomes a log record. `convert` makes them from documents, `client` sends requests, and
//! `worker` decides what the answer means for each event. `metrics` is no part of the output: it works beside any output.

mod client;
mod convert;
mod metrics;
mod options;
#[cfg(test)]
mod tests;
mod worker;

use super::{
    Output, OutputKind, Peer, Sender,
    counters::Counters,
    drive,
    hosts::rotations,
    is_never_implied,
    probe::{Out, Probe, failed},
};
use crate::{config, opening::Opening, queue::BoxFuture};
use client::Client;
pub use metrics::Metrics;
use options::Options;
use std::{
    io::{self, Write},
    sync::Arc,
};
use worker::Worker;

/// The output `otlp`, for the list of outputs.
pub(super) const OUTPUT: OutputKind = OutputKind { name: "otlp", open, is_implied: is_never_implied };

struct Otlp {
    shared: Arc<Shared>,
    options: drive::Options,
    loadbalance: bool,
    workers: usize,
}

/// The part of the output that all workers share.
struct Shared {
    client: Client,
    /// The value of `service.name` for events that have none.
    service_name: String,
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Output>, config::Error> {
    let node = opening.node;
    let Options { hosts, connection, service_name, loadbalance, workers, drive: options } = Options::read(node)?;
    let client = Client::new(&hosts.0, &connection, opening.connections.cloned()).map_err(|why| node.error(why))?;
    Ok(Box::new(Otlp { shared: Arc::new(Shared { client, service_name }), options, loadbalance, workers }))
}

impl Output for Otlp {
    fn options(&self) -> drive::Options {
        self.options
    }

    /// Returns `None`: the fields of `@metadata` are no attributes.
    fn metadata(&self) -> Option<&str> {
        None
    }

    fn peers(&self) -> Vec<Peer> {
        self.shared.client.peers()
    }

    fn senders(self: Box<Self>, counters: &Arc<Counters>) -> Vec<Box<dyn Sender>> {
        let rotations = rotations(self.shared.client.hosts(), self.loadbalance, self.workers);
        let sender = |hosts| Box::new(Worker::new(self.shared.clone(), hosts, counters.clone())) as Box<dyn Sender>;
        rotations.into_iter().map(sender).collect()
    }

    fn test<'a>(&'a self, out: &'a mut (dyn Write + Send)) -> Option<BoxFuture<'a, io::Result<bool>>> {
        Some(Box::pin(async move {
            let mut all = true;
            for host in 0..self.shared.client.hosts() {
                all &= self.test_host(host, out).await?;
            }
            Ok(all)
        }))
    }
}

impl Otlp {
    async fn test_host(&self, host: usize, out: Out<'_>) -> io::Result<bool> {
        let client = &self.shared.client;
        let Some((url, peer)) = client.url(host).and_then(|url| Some((url, client.peer(host)?))) else { return Ok(false) };
        writeln!(out, "otlp: {url}...\n  connection...")?;
        let probe = Probe { peer: &peer, proxied: client.is_proxied(), tls: client.tls(host), timeout: client.timeout() };
        if !probe.connect(out)? {
            return Ok(false);
        }
        match client.try_host(host).await {
            Ok(()) => writeln!(out, "  talk to server... OK")?,
            Err(failed_request) => return failed(out, "  talk to server", &failed_request.error),
        }
        Ok(true)
    }
}

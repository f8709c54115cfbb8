//! `output.logstash`: sends events to Logstash's Beats input (Lumberjack version 2).
//!
//! A worker has one connection. With `pipelining` several windows are on their way at a time: each has its own sender, and the senders of a
//! worker share its connection.

mod channel;
#[cfg(test)]
mod tests;
mod wire;
mod worker;

use super::{
    Output, OutputKind, Peer, Sender,
    connection::Dialer,
    counters::Counters,
    drive,
    hosts::{self, rotations},
    is_never_implied,
    shapes::{self, Scalar, Texts},
};
use crate::{config, opening::Opening, queue::BoxFuture};
use serde::Deserialize;
use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};
use worker::{Link, Worker};

/// The output `logstash`, for the list of outputs.
pub(super) const OUTPUT: OutputKind = OutputKind { name: "logstash", open, is_implied: is_never_implied };

/// Maximum of the setting `pipelining`.
const MOST_WINDOWS: usize = 64;

/// The settings of `output.logstash` that no shared part reads.
#[derive(Deserialize)]
#[serde(default)]
struct Options {
    hosts: Texts,
    index: Option<Scalar>,
    loadbalance: bool,
    #[serde(alias = "worker")]
    workers: usize,
    #[serde(deserialize_with = "shapes::zero_or_more")]
    pipelining: usize,
    compression_level: u32,
    escape_html: bool,
    slow_start: bool,
    #[serde(deserialize_with = "config::duration::deserialize")]
    timeout: Duration,
    #[serde(deserialize_with = "config::duration::deserialize")]
    ttl: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hosts: Texts::default(),
            index: None,
            loadbalance: false,
            workers: 1,
            pipelining: 2,
            compression_level: 3,
            escape_html: false,
            slow_start: false,
            timeout: Duration::from_secs(30),
            ttl: Duration::ZERO,
        }
    }
}

struct Logstash {
    shared: Arc<Shared>,
    options: drive::Options,
    loadbalance: bool,
    workers: usize,
    pipelining: usize,
    beat: String,
}

/// The part of the output that all workers share.
struct Shared {
    hosts: Vec<Peer>,
    dialer: Dialer,
    compression: u32,
    escape_html: bool,
    timeout: Duration,
    ttl: Duration,
}

impl Logstash {
    fn read(opening: &Opening<'_>) -> Result<Self, config::Error> {
        let node = opening.node;
        let options: Options = node.read()?;
        if options.hosts.0.is_empty() {
            return Err(node.error("hosts: missing; write the servers, for example `hosts: [\"localhost:5044\"]`"));
        }
        if options.workers == 0 {
            return Err(node.get("workers").error("must be at least 1"));
        }
        if options.compression_level > 9 {
            return Err(node.get("compression_level").error(format!("{} is not between 0 and 9", options.compression_level)));
        }
        if options.pipelining > MOST_WINDOWS {
            return Err(node.get("pipelining").error(format!("must be at most {MOST_WINDOWS}")));
        }
        let hosts = hosts::peers(node, &options.hosts, "tcp", 5044)?;
        let shared = Shared {
            hosts,
            dialer: Dialer::read(opening, false, options.timeout)?,
            compression: options.compression_level,
            escape_html: options.escape_html,
            timeout: options.timeout,
            ttl: options.ttl,
        };
        let beat = options.index.map(|text| text.0).filter(|text| !text.is_empty()).unwrap_or_else(|| "packetbeat".into());
        let (loadbalance, workers, pipelining) = (options.loadbalance, options.workers, options.pipelining.max(1));
        let options = drive::Options { slow_start: options.slow_start, ..node.read()? };
        Ok(Self { shared: Arc::new(shared), options, loadbalance, workers, pipelining, beat })
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Output>, config::Error> {
    Logstash::read(opening).map(|output| Box::new(output) as Box<dyn Output>)
}

impl Output for Logstash {
    fn options(&self) -> drive::Options {
        self.options
    }

    fn metadata(&self) -> Option<&str> {
        Some(&self.beat)
    }

    fn peers(&self) -> Vec<Peer> {
        self.shared.hosts.iter().cloned().chain(self.shared.dialer.peer()).collect()
    }

    fn senders(self: Box<Self>, counters: &Arc<Counters>) -> Vec<Box<dyn Sender>> {
        let rotations = rotations(self.shared.hosts.len(), self.loadbalance, self.workers);
        let links = rotations.into_iter().map(|hosts| Arc::new(Link::new(self.shared.clone(), hosts, counters.clone())));
        let senders = |link: Arc<Link>| (0..self.pipelining).map(move |_| Box::new(Worker(link.clone())) as Box<dyn Sender>);
        links.flat_map(senders).collect()
    }

    fn test<'a>(&'a self, out: &'a mut (dyn Write + Send)) -> Option<BoxFuture<'a, io::Result<bool>>> {
        Some(Box::pin(async move {
            let mut all = true;
            for (host, rotation) in self.shared.hosts.iter().zip(rotations(self.shared.hosts.len(), true, 1)) {
                let mut sender = Worker(Arc::new(Link::new(self.shared.clone(), rotation, Arc::default())));
                all &= self.shared.dialer.probe(host, None).run("logstash", &mut sender, out).await?;
            }
            Ok(all)
        }))
    }
}

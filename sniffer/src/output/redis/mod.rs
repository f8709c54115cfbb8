//! `output.redis`: appends events to lists (`RPUSH`), or publishes them on channels (`PUBLISH`).

mod resp;
#[cfg(test)]
mod tests;
mod worker;

use super::{
    Output, OutputKind, Peer, Sender,
    codec::{self, Codec},
    connection::Dialer,
    counters::Counters,
    drive,
    hosts::{self, rotations},
    is_never_implied,
    select::{Keys, Selector},
    shapes::{Scalar, Texts},
};
use crate::{config, opening::Opening, queue::BoxFuture};
use serde::Deserialize;
use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};
use worker::Worker;

/// The output `redis`, for the list of outputs.
pub(super) const OUTPUT: OutputKind = OutputKind { name: "redis", open, is_implied: is_never_implied };

const KEYS: Keys = Keys { list: "keys", name: "key", ignores_case: false };

/// The settings of `output.redis` that no shared part reads.
#[derive(Deserialize)]
#[serde(default)]
struct Options {
    hosts: Texts,
    key: Option<Scalar>,
    index: Option<Scalar>,
    db: u32,
    username: Option<Scalar>,
    password: Option<Scalar>,
    datatype: DataType,
    loadbalance: bool,
    #[serde(alias = "worker")]
    workers: usize,
    #[serde(deserialize_with = "config::duration::deserialize")]
    timeout: Duration,
    codec: codec::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hosts: Texts::default(),
            key: None,
            index: None,
            db: 0,
            username: None,
            password: None,
            datatype: DataType::List,
            loadbalance: true,
            workers: 1,
            timeout: Duration::from_secs(5),
            codec: codec::Options::default(),
        }
    }
}

/// The setting `datatype`: whether documents are appended to a list or published to a channel.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum DataType {
    List,
    Channel,
}

struct Redis {
    shared: Arc<Shared>,
    options: drive::Options,
    loadbalance: bool,
    workers: usize,
    beat: String,
}

/// The part of the output that all workers share.
struct Shared {
    hosts: Vec<Host>,
    dialer: Dialer,
    db: u32,
    key: Selector,
    datatype: DataType,
    codec: Codec,
    timeout: Duration,
}

struct Host {
    peer: Peer,
    /// Whether the scheme asks for TLS (`rediss`) or excludes it (`redis`); `None`: the settings decide.
    tls: Option<bool>,
    username: String,
    password: String,
}

impl Redis {
    fn read(opening: &Opening<'_>) -> Result<Self, config::Error> {
        let node = opening.node;
        let options: Options = node.read()?;
        if options.hosts.0.is_empty() {
            return Err(node.error("hosts: missing; write the servers, for example `hosts: [\"localhost:6379\"]`"));
        }
        if options.workers == 0 {
            return Err(node.get("workers").error("must be at least 1"));
        }
        let hosts = options.hosts.0.iter().map(|text| host(text, &options)).collect::<Result<Vec<_>, _>>();
        let hosts = hosts.map_err(|why| node.get("hosts").error(why))?;
        let set = |text: &Option<Scalar>| text.as_ref().map(|text| text.0.clone()).filter(|text| !text.is_empty());
        let beat = set(&options.index).unwrap_or_else(|| "packetbeat".into());
        let key = Selector::read(node, KEYS, Some(&set(&options.key).unwrap_or_else(|| beat.clone())))?;
        let shared = Shared {
            dialer: Dialer::read(opening, hosts.iter().any(|host| host.tls == Some(true)), options.timeout)?,
            hosts,
            db: options.db,
            key,
            datatype: options.datatype,
            codec: Codec::new(&options.codec, false).map_err(|why| node.error(why))?,
            timeout: options.timeout,
        };
        let (loadbalance, workers) = (options.loadbalance, options.workers);
        Ok(Self { shared: Arc::new(shared), options: node.read()?, loadbalance, workers, beat })
    }
}

fn host(text: &str, options: &Options) -> Result<Host, String> {
    let mut url = hosts::address(text, "redis", &["redis", "rediss"], 6379)?;
    let tls = text.contains("://").then(|| url.scheme() == "rediss");
    let text = |option: &Option<Scalar>| option.as_ref().map(|text| text.0.clone()).unwrap_or_default();
    let (username, password) = match hosts::take_credentials(&mut url) {
        Some((user, password)) => (user, password),
        None => (text(&options.username), text(&options.password)),
    };
    if !["", "/"].contains(&url.path()) {
        log::warn!("output.redis.hosts: the path of {url} is ignored; the database is set with `db`");
    }
    let peer = Peer::of(&url, 6379).ok_or_else(|| format!("'{}' has no host", hosts::without_credentials(url.as_str())))?;
    Ok(Host { peer, tls, username, password })
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Output>, config::Error> {
    Redis::read(opening).map(|output| Box::new(output) as Box<dyn Output>)
}

impl Output for Redis {
    fn options(&self) -> drive::Options {
        self.options
    }

    fn metadata(&self) -> Option<&str> {
        Some(&self.beat)
    }

    fn peers(&self) -> Vec<Peer> {
        self.shared.hosts.iter().map(|host| host.peer.clone()).chain(self.shared.dialer.peer()).collect()
    }

    fn senders(self: Box<Self>, counters: &Arc<Counters>) -> Vec<Box<dyn Sender>> {
        let rotations = rotations(self.shared.hosts.len(), self.loadbalance, self.workers);
        let sender = |hosts| Box::new(Worker::new(self.shared.clone(), hosts, counters.clone())) as Box<dyn Sender>;
        rotations.into_iter().map(sender).collect()
    }

    fn test<'a>(&'a self, out: &'a mut (dyn Write + Send)) -> Option<BoxFuture<'a, io::Result<bool>>> {
        Some(Box::pin(async move {
            let mut all = true;
            for (host, rotation) in self.shared.hosts.iter().zip(rotations(self.shared.hosts.len(), true, 1)) {
                let mut sender = Worker::new(self.shared.clone(), rotation, Arc::default());
                all &= self.shared.dialer.probe(&host.peer, host.tls).run("redis", &mut sender, out).await?;
            }
            Ok(all)
        }))
    }
}

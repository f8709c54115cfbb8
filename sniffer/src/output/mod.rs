//! The outputs. They deliver the records of the queue to Elasticsearch, Logstash, Kafka, Redis,
//! OpenTelemetry collectors, files or standard output. Only this module
//! and the queue use an async runtime.
//!
//! An output is a folder or a file, and one line in [`OUTPUTS`]. The rest of the program uses its [`Output`]. Each [`Sender`] of an output
//! sends a batch once. [`drive`](fn@drive::drive) does batching, retry, backoff and acknowledgement for all outputs. This module also
//! contains the parts that outputs share: hosts and the rotation over them, selectors, format strings, codecs, TLS and an HTTP client.

mod authorization;
pub mod backoff;
mod blocking;
mod cloud;
mod codec;
mod connection;
mod console;
pub mod counters;
mod delivery;
mod discard;
pub mod drive;
pub mod elasticsearch;
pub mod exchange;
mod fields;
mod file;
pub mod format;
mod hosts;
mod http;
mod kafka;
pub mod kibana;
mod logstash;
mod measured;
mod monitored;
mod notices;
mod otlp;
#[cfg(test)]
mod page_tests;
mod probe;
mod proxy;
mod redis;
mod select;
mod selected;
mod sender;
pub mod sending;
mod shapes;
#[cfg(test)]
mod testing;

pub use delivery::{Delivery, open};
pub use drive::{Telemetry, drive};
pub use hosts::Peer;
pub use measured::{Measured, Measurement, Number};
pub use monitored::Monitored;
pub use sender::{Error, Outcome, Reason, Sender, Sent};

use crate::{
    config::{self, Node},
    opening::Opening,
    queue::{self, BoxFuture},
};
use counters::Counters;
use std::{
    io::{self, Write},
    sync::Arc,
};

/// Every output that the configuration can name.
pub const OUTPUTS: &[&OutputKind] = &[
    &console::OUTPUT,
    &discard::OUTPUT,
    &elasticsearch::OUTPUT,
    &file::OUTPUT,
    &kafka::OUTPUT,
    &logstash::OUTPUT,
    &otlp::OUTPUT,
    &redis::OUTPUT,
];

/// Name and factory of an output, for an entry of [`OUTPUTS`].
pub struct OutputKind {
    /// The output's key below `output`.
    pub name: &'static str,
    /// Reads the output's settings. It opens no connection. Errors name file, line and key.
    pub open: fn(&Opening<'_>) -> Result<Box<dyn Output>, config::Error>,
    /// Whether a setting outside `output` selects this output (`cloud.id`). Returns an error when that setting is wrong.
    pub is_implied: fn(&Node) -> Result<bool, config::Error>,
}

/// An output with its settings, before it runs.
pub trait Output: Send + Sync {
    /// The size of batches, and when a batch is sent again.
    fn options(&self) -> drive::Options;

    /// Default size of the queue in front of this output.
    fn queue(&self) -> queue::Options {
        queue::Options::default()
    }

    /// The value of `@metadata.beat` in this output's documents; `None`: they do not contain `@metadata`.
    fn metadata(&self) -> Option<&str> {
        Some("packetbeat")
    }

    /// The servers and proxies that this output connects to. The program's own connections to their ports are not reported.
    fn peers(&self) -> Vec<Peer> {
        Vec::new()
    }

    /// The id of the cluster that the output is connected to.
    fn cluster_uuid(&self) -> sending::ClusterId {
        sending::ClusterId::default()
    }

    /// The senders, one for each worker of the output: `worker` per host, or several for a connection that carries several batches at once.
    fn senders(self: Box<Self>, counters: &Arc<Counters>) -> Vec<Box<dyn Sender>>;

    /// `test output`: tries each step of connecting and writes the results to `out`. Returns whether all steps succeeded; `None` when
    /// the output cannot be tested.
    fn test<'a>(&'a self, _out: &'a mut (dyn Write + Send)) -> Option<BoxFuture<'a, io::Result<bool>>> {
        None
    }
}

/// Refuses Kerberos, which Packetbeat supports for some outputs. Without this refusal the program would connect without the configured
/// authentication.
fn refuse_kerberos(node: &Node) -> Result<(), config::Error> {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Kerberos {
        enabled: Option<bool>,
    }
    let kerberos = node.get("kerberos");
    if kerberos.is_unset() {
        return Ok(());
    }
    let enabled = kerberos.read::<Kerberos>()?.enabled;
    kerberos.entries().for_each(|(_, setting)| setting.accept());
    match enabled {
        Some(false) => Ok(()),
        _ => Err(kerberos.error("Kerberos is not supported; use a user name and a password, or write `kerberos.enabled: false`")),
    }
}

/// The [`OutputKind::is_implied`] of outputs that only their own section selects.
fn is_never_implied(_root: &Node) -> Result<bool, config::Error> {
    Ok(false)
}

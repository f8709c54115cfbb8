//! The outputs: they deliver the records of the queue to Elasticsearch, files or standard output. Only this module and the queue use an
//! async runtime.
//!
//! An output is a folder or a file, and one line in [`OUTPUTS`]. The rest of the program uses its [`Output`]. Each [`Sender`] of an output
//! sends a batch once. [`drive`](fn@drive::drive) does batching, retry, backoff and acknowledgement for all outputs. This module also
//! contains the parts that outputs share: hosts and the rotation over them, selectors, format strings, codecs, TLS and an HTTP client.

pub mod backoff;
mod blocking;
mod codec;
mod connecting;
mod console;
pub mod counters;
mod delivery;
mod discard;
pub mod drive;
pub mod elasticsearch;
mod file;
pub mod format;
mod hosts;
mod http;
mod notices;
mod proxy;
mod select;
mod sender;
mod shapes;
mod tls;

pub use delivery::{Delivery, open};
pub use drive::{Common, drive};
pub use hosts::Peer;
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
pub const OUTPUTS: &[&OutputKind] = &[&console::OUTPUT, &discard::OUTPUT, &elasticsearch::OUTPUT, &file::OUTPUT];

/// Name and factory of an output, for an entry of [`OUTPUTS`].
pub struct OutputKind {
    /// The output's key below `output`.
    pub name: &'static str,
    /// Reads the output's settings. Opens no connection. Errors name file, line and key.
    pub open: fn(&Opening<'_>) -> Result<Box<dyn Output>, config::Error>,
    /// Whether a setting outside `output` selects this output (`cloud.id`). Returns an error when that setting is wrong.
    pub is_implied: fn(&Node) -> Result<bool, config::Error>,
}

/// An output with its settings, before it runs.
pub trait Output: Send + Sync {
    /// Size of batches and how they are retried.
    fn options(&self) -> drive::Options;

    /// Default size of the queue in front of this output.
    fn queue(&self) -> queue::Options {
        queue::Options::default()
    }

    /// Whether this output's documents contain `@metadata`.
    fn wants_metadata(&self) -> bool {
        true
    }

    /// The servers and proxies that this output connects to. The program's own connections to their ports are not reported.
    fn peers(&self) -> Vec<Peer> {
        Vec::new()
    }

    /// The senders, one for each worker of the output: `worker` per host, or several for a connection that carries several batches at once.
    fn senders(self: Box<Self>, counters: &Arc<Counters>) -> Vec<Box<dyn Sender>>;

    /// `test output`: tries each step of connecting and writes the results to `out`. Returns whether all steps succeeded; `None` when
    /// the output cannot be tested.
    fn test<'a>(&'a self, _out: &'a mut (dyn Write + Send)) -> Option<BoxFuture<'a, io::Result<bool>>> {
        None
    }
}

/// The [`OutputKind::is_implied`] of outputs that only their own section selects.
fn is_never_implied(_root: &Node) -> Result<bool, config::Error> {
    Ok(false)
}

//! Where records go. With the queue the only part that uses an async runtime.
//!
//! An output is a folder or a file and one line in [`OUTPUTS`]. Its [`Output`] is what the rest of the program asks of it; its
//! [`Sender`]s send a batch once. [`drive`](fn@drive::drive) does batching, retry, backoff and acknowledgement for all of them. What outputs
//! share is here: hosts and the rotation over them, selectors, format strings, codecs, TLS, an HTTP client.

pub mod backoff;
mod codec;
mod console;
pub mod counters;
mod delivery;
mod discard;
pub mod drive;
pub mod elasticsearch;
mod file;
mod format;
mod hosts;
mod http;
mod select;
mod sender;
mod shapes;
pub mod terminal;
mod tls;

pub use delivery::{Delivery, open};
pub use drive::drive;
pub use hosts::Peer;
pub use sender::{Error, Outcome, Sender, Sent};

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

/// All that the rest of the program knows of an output before it is opened.
pub struct OutputKind {
    /// Its name below `output`.
    pub name: &'static str,
    /// Reads its settings; connects to nothing. The error names file, line and key.
    pub open: fn(&Opening<'_>) -> Result<Box<dyn Output>, config::Error>,
    /// Whether settings outside `output` select it (`cloud.id`). The error is about those settings.
    pub is_implied: fn(&Node) -> Result<bool, config::Error>,
}

/// An output whose settings are read.
pub trait Output: Send + Sync {
    /// How its batches are made and sent again.
    fn options(&self) -> drive::Options;

    /// How large the queue before it is where the user says nothing.
    fn queue(&self) -> queue::Options {
        queue::Options::default()
    }

    /// Whether its documents contain `@metadata`.
    fn wants_metadata(&self) -> bool {
        true
    }

    /// Whom it connects to. Connections to them are left out of the capture.
    fn peers(&self) -> Vec<Peer> {
        Vec::new()
    }

    /// One sender for each worker: `worker` per host, or several for one connection that takes several batches at a time.
    fn senders(self: Box<Self>, counters: &Arc<Counters>) -> Vec<Box<dyn Sender>>;

    /// `test output`: tries each step of a connection and writes what it finds. Whether all went well; `None` when there is nothing
    /// to try.
    fn test<'a>(&'a self, _out: &'a mut (dyn Write + Send)) -> Option<BoxFuture<'a, io::Result<bool>>> {
        None
    }
}

/// For [`OutputKind::is_implied`] of an output that only its own section selects.
fn is_never_implied(_root: &Node) -> Result<bool, config::Error> {
    Ok(false)
}

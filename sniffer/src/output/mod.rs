//! Where records go. With the queue's far end the only part that uses an async runtime.
//!
//! An [`Output`] says only how to send once; [`drive`](fn@drive::drive) does batching, retry, backoff and acknowledgement for all of them.

pub mod backoff;
mod codec;
mod console;
pub mod counters;
mod discard;
pub mod drive;
pub mod elasticsearch;
mod file;
mod format;
mod http;
mod open;
mod shapes;
pub mod terminal;
mod tls;

pub use drive::drive;
pub use open::{AnyOutput, open};

use crate::{publish::Record, queue::Fate};

/// One worker of an output: a connection, a file.
pub trait Output: Send {
    /// Makes ready to send; called at the start and again after [`Error::Unreachable`].
    fn connect(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Sends the batch once. An error means that nothing is known of any record: the whole batch is sent again.
    fn send(&mut self, batch: &[Record]) -> impl Future<Output = Result<Outcome, Error>> + Send;
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is delivered.
    Delivered,
    /// One fate for each record, in order.
    Partly(Vec<Fate>),
}

/// Why a batch could not be sent at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody there, or nobody who can answer now: tried for ever.
    #[error("{0}")]
    Unreachable(String),
    /// The server refused the whole batch; counts against `max_retries`.
    #[error("{0}")]
    Refused(String),
    /// Nobody will ever be there again: who read standard output is gone.
    #[error("{0}")]
    Gone(String),
}

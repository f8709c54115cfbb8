//! Sending a batch once, and what became of it.

use crate::{publish::Record, queue::BoxFuture};

/// One worker of an output: a connection, a file. It sends one batch at a time; several senders may share a connection.
pub trait Sender: Send {
    /// Makes ready to send. Called before the first batch and again after [`Error::Unreachable`]: an output with several hosts goes on
    /// to the next one when this one fails.
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sends the batch once. An error means that nothing is known of any record: the whole batch is sent again.
    fn send<'a>(&'a mut self, batch: &'a [Record]) -> BoxFuture<'a, Result<Sent, Error>>;
}

/// What became of a batch that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All of it is delivered.
    All,
    /// The outcome of each record, in order.
    Each(Vec<Outcome>),
}

/// What became of one record that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server has it.
    Delivered,
    /// The server had it already, from an earlier attempt.
    Duplicate,
    /// The server refused it for good, and it was stored in the place for such records.
    DeadLetter,
    /// The server refused it for now. It is sent again, at most `max_retries` times.
    Retry(String),
    /// The server cannot take it now, through no fault of the record. It is sent again, without a limit.
    Later(String),
    /// The server refused it for good: it is lost, and counted.
    Rejected(String),
}

impl Outcome {
    /// Whether the record is to be sent again.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Retry(_) | Self::Later(_))
    }
}

/// Why a batch could not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No server, or none that can answer now. Tried again without a limit.
    #[error("{0}")]
    Unreachable(String),
    /// The server refused the batch as a whole. Sent again, at most `max_retries` times.
    #[error("{0}")]
    Refused(String),
    /// There will never be anybody to send to: the reader of standard output is gone.
    #[error("{0}")]
    Gone(String),
}

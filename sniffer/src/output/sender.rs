//! The trait of an output's workers, [`Sender`], which send a batch once, and the results of sending.

use crate::{publish::Record, queue::BoxFuture};

/// One worker of an output, with its connection or file. It sends one batch at a time; several senders may share a connection.
pub trait Sender: Send {
    /// Connects. Called before the first batch and again after [`Error::Unreachable`]. When it fails, an output with several hosts tries
    /// the next host at the next call.
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sends the batch once. On an error the result is unknown for every record, and the whole batch is sent again.
    fn send<'a>(&'a mut self, batch: &'a [Record]) -> BoxFuture<'a, Result<Sent, Error>>;
}

/// The result of sending a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All records are delivered.
    All,
    /// The outcome of each record, in order.
    Each(Vec<Outcome>),
}

/// The result of sending one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server accepted the record.
    Delivered,
    /// The server already has the record, from an earlier attempt.
    Duplicate,
    /// The server refused the record permanently, and it was stored in the dead letter index.
    DeadLetter,
    /// The server refused the record for now. It is sent again at most `max_retries` times.
    Retry(String),
    /// The server could not accept the record now, and the record is not the cause. The record is sent again without a limit.
    Later(String),
    /// The server refused the record permanently. It is dropped and counted.
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
    /// No server responds, or the server cannot accept anything now. The batch is sent again without a limit.
    #[error("{0}")]
    Unreachable(String),
    /// The server refused the batch as a whole. It is sent again at most `max_retries` times.
    #[error("{0}")]
    Refused(String),
    /// Sending can never succeed again: the reader of standard output is gone.
    #[error("{0}")]
    Gone(String),
}

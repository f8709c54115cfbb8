//! The trait of an output's workers, [`Sender`], which send a batch once, and the results of sending.

use crate::{publish::Record, queue::BoxFuture};
use std::fmt;

/// A sender of an output, with its connection or file. It sends one batch at a time; several senders may share a connection.
pub trait Sender: Send {
    /// Connects. The method is called before the first batch and again after [`Error::Unreachable`] and [`Error::Broken`]. When it fails,
    /// an output with several hosts tries the next host at the next call.
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
    /// The server refused the record, and the record may be the cause. It is sent again at most `max_retries` times.
    Retry(Reason),
    /// The target of the record could not accept it now, and the record is not the cause. The record is sent again without a limit.
    Later(Reason),
    /// The record can never be delivered. It is dropped and counted.
    Rejected(Reason),
}

/// Why a batch could not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No server responds, or the server cannot accept anything now. The batch is sent again without a limit.
    #[error("{0}")]
    Unreachable(Reason),
    /// The batch was sent, but the response is missing: the connection broke or the response did not come in time. The
    /// batch is sent again without a limit. If this happens repeatedly, smaller batches are sent.
    #[error("{0}")]
    Broken(Reason),
    /// The batch is too large for the server. It is sent in halves; a record that is too large alone is dropped.
    #[error("{0}")]
    TooLarge(Reason),
    /// The server refused the batch as a whole because of its content. It is sent in halves; a single record is sent again at most
    /// `max_retries` times.
    #[error("{0}")]
    Refused(Reason),
    /// Sending can never succeed again: the reader of standard output is gone.
    #[error("{0}")]
    Gone(Reason),
}

impl Error {
    /// The reason of the error.
    pub fn reason(&self) -> &Reason {
        let (Self::Unreachable(why) | Self::Broken(why) | Self::TooLarge(why) | Self::Refused(why) | Self::Gone(why)) = self;
        why
    }
}

/// Why something was not delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// The text for the log, for example the status and type of a response. It contains no value of an event.
    pub summary: String,
    /// The server's own text, which may quote values of the event. It is logged at debug level only.
    pub detail: Option<Box<str>>,
}

impl Reason {
    /// A reason with the server's own text.
    pub fn with_detail(summary: impl Into<String>, detail: impl Into<Box<str>>) -> Self {
        let detail: Box<str> = detail.into();
        Self { summary: summary.into(), detail: (!detail.is_empty()).then_some(detail) }
    }

    /// The same reason with a text in front of the summary.
    #[must_use]
    pub fn prefixed(self, words: &str) -> Self {
        Self { summary: format!("{words}: {}", self.summary), ..self }
    }
}

impl<T: Into<String>> From<T> for Reason {
    fn from(summary: T) -> Self {
        Self { summary: summary.into(), detail: None }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)
    }
}

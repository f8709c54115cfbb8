//! The delivery loop of all outputs: takes batches from the queue, sends them, retries with backoff, and settles the delivered records. The
//! output's [`Sender`] implements how a batch is sent.

use super::{
    Error, Outcome, Sender, Sent,
    backoff::{self, Backoff},
    counters::Counters,
};
use crate::{
    config::{self, Node},
    queue::{Batch, Queue},
};
use serde::Deserialize;
use std::sync::Arc;

/// Size of batches and how they are retried.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Options {
    /// Maximum number of events of one batch; 0: as many as the queue hands out.
    pub bulk_max_size: usize,
    /// How many times an event that the server refused is sent again before it is dropped; a negative value means without a limit.
    pub max_retries: i64,
    /// The waits between attempts.
    pub backoff: backoff::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self { bulk_max_size: 2048, max_retries: 3, backoff: backoff::Options::default() }
    }
}

impl Options {
    /// Reads the options of an output without a server. Nothing refuses its events, so retries have no limit.
    ///
    /// # Errors
    /// When a value is wrong; names file, line and key.
    pub(super) fn without_refusals(node: &Node) -> Result<Self, config::Error> {
        Ok(Self { max_retries: -1, ..node.read()? })
    }
}

/// Delivers the records of the queue with one sender, until the queue is closed and every record is settled. When the future is dropped
/// earlier, unsettled records go back to the queue.
pub async fn drive(mut sender: Box<dyn Sender>, queue: Arc<dyn Queue>, options: Options, counters: Arc<Counters>) {
    let mut worker = Worker { options, counters, backoff: Backoff::new(options.backoff) };
    loop {
        tokio::select! {
            // Return also while no server is reachable, once no record is left to deliver.
            () = queue.finished() => return,
            () = worker.connect(&mut *sender) => {}
        }
        loop {
            let max = if options.bulk_max_size == 0 { usize::MAX } else { options.bulk_max_size };
            let Some(mut batch) = queue.clone().next(max).await else { return };
            worker.counters.batches.add(1);
            if let Err(Stopped { why, for_good }) = worker.deliver(&mut *sender, &mut batch).await {
                if for_good {
                    return log::error!("{why}");
                }
                let (count, wait) = (batch.records().len(), worker.backoff.after_failure());
                log::error!("Failed to publish {count} events, which are kept and sent again: {why}");
                worker.counters.failed.add(count);
                worker.counters.retries.add(count);
                // Give the batch back before waiting, because another worker may be able to send it.
                drop(batch);
                tokio::time::sleep(wait).await;
                break;
            }
        }
    }
}

/// Why a batch was not delivered: the server is not reachable now, or (`for_good`) it will never be reachable again.
struct Stopped {
    why: String,
    for_good: bool,
}

struct Worker {
    options: Options,
    counters: Arc<Counters>,
    backoff: Backoff,
}

impl Worker {
    async fn connect(&mut self, sender: &mut dyn Sender) {
        while let Err(why) = sender.connect().await {
            let wait = self.backoff.after_failure();
            log::error!("Failed to connect to the output, next attempt in {:.1} s: {why}", wait.as_secs_f64());
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends the batch until every record is settled. Returns an error when the server is not reachable.
    async fn deliver(&mut self, sender: &mut dyn Sender, batch: &mut Batch) -> Result<(), Stopped> {
        let mut refused = 0i64;
        loop {
            let count = batch.records().len();
            self.counters.total.add(count);
            let mut outcomes = match sender.send(batch.records()).await {
                Ok(Sent::All) => {
                    self.counters.acked.add(count);
                    batch.settle_all();
                    self.backoff.reset();
                    return Ok(());
                }
                Ok(Sent::Each(outcomes)) => outcomes,
                Err(Error::Refused(why)) => vec![Outcome::Retry(why); count],
                Err(Error::Unreachable(why)) => return Err(Stopped { why, for_good: false }),
                Err(Error::Gone(why)) => return Err(Stopped { why, for_good: true }),
            };
            outcomes.resize(count, Outcome::Later("the answer does not mention it".into()));
            if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Retry(_))) {
                refused += 1;
                if self.options.max_retries >= 0 && refused > self.options.max_retries {
                    give_up(&mut outcomes);
                }
            }
            self.count(&outcomes);
            let why = outcomes.iter().find_map(|outcome| match outcome {
                Outcome::Retry(why) | Outcome::Later(why) => Some(why.clone()),
                _ => None,
            });
            batch.settle(|place| outcomes.get(place).is_some_and(|outcome| !outcome.is_open()));
            let Some(why) = why else {
                self.backoff.reset();
                return Ok(());
            };
            let (left, wait) = (batch.records().len(), self.backoff.after_failure());
            log::warn!("{left} of {count} events are sent again in {:.1} s: {why}", wait.as_secs_f64());
            self.counters.retries.add(left);
            tokio::time::sleep(wait).await;
        }
    }

    fn count(&self, outcomes: &[Outcome]) {
        let (counters, mut rejected) = (&self.counters, None);
        for outcome in outcomes {
            match outcome {
                Outcome::Delivered => counters.acked.add(1),
                Outcome::Duplicate => {
                    counters.acked.add(1);
                    counters.duplicates.add(1);
                }
                Outcome::DeadLetter => {
                    counters.acked.add(1);
                    counters.dead_letter.add(1);
                }
                Outcome::Retry(_) | Outcome::Later(_) => counters.failed.add(1),
                Outcome::Rejected(why) => {
                    counters.dropped.add(1);
                    rejected = rejected.or(Some((why, outcomes.iter().filter(|o| matches!(o, Outcome::Rejected(_))).count())));
                }
            }
        }
        if let Some((why, count)) = rejected {
            log::warn!("Cannot publish {count} events, which are dropped. The first: {why}");
        }
    }
}

fn give_up(outcomes: &mut [Outcome]) {
    for outcome in outcomes {
        if let Outcome::Retry(why) = outcome {
            *outcome = Outcome::Rejected(format!("refused too often (max_retries): {why}"));
        }
    }
}

#[cfg(test)]
#[path = "drive_tests.rs"]
mod tests;

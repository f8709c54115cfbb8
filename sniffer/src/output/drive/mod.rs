//! The delivery loop of all outputs: takes batches from the queue, sends them, settles the delivered records, and sends
//! the other records again. The output's [`Sender`] implements how a batch is sent.
//!
//! If records were not delivered, the next step depends on the cause:
//! - The event is the cause: the event is sent again at most `max_retries` times, then dropped and counted.
//! - The event's target cannot accept the event now: the event waits (`waiting`) while newer events are sent, and is
//!   sent again without a limit.
//! - The server cannot accept anything now: the batch goes back to the queue, where another worker may take it, and
//!   this worker waits.
//! - The response is missing: the batch goes back to the queue as well. If this repeats, batches become smaller
//!   (`window`), until the event that is the cause is sent alone. If every event breaks the connection, the server is the cause, and
//!   the events are left to the workers of other servers.

mod waiting;
mod window;

use super::{
    Error, Outcome, Reason, Sender, Sent,
    backoff::{self, Backoff},
    counters::Counters,
    measured::Measured,
    monitored::Monitored,
    notices::{Notices, Subject, log_dropped},
    sending::Sending,
    shapes,
};
use crate::{
    config::{self, Node},
    queue::{Batch, Queue},
};
use serde::Deserialize;
use std::sync::Arc;
use tokio::time::{Instant, sleep, sleep_until};
use waiting::{Group, Waiting};
use window::{Cause, Window};

/// The size of batches, and when a batch is sent again.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Options {
    /// Maximum number of events of one batch; 0: as many as the queue hands out.
    #[serde(deserialize_with = "shapes::zero_or_more")]
    pub bulk_max_size: usize,
    /// How many times an event that the server refused is sent again before it is dropped; a negative value means without a limit.
    pub max_retries: i64,
    /// The waits between attempts.
    pub backoff: backoff::Options,
    /// Whether the first batches are small.
    #[serde(skip)]
    pub slow_start: bool,
    /// Whether the output has other workers, which may have another server.
    #[serde(skip)]
    pub has_others: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { bulk_max_size: 2048, max_retries: 3, backoff: backoff::Options::default(), slow_start: false, has_others: false }
    }
}

impl Options {
    /// Reads the options of an output without a server. Nothing refuses its events, so retries have no limit.
    ///
    /// # Errors
    /// When a value is wrong. The error names file, line and key.
    pub(super) fn without_refusals(node: &Node) -> Result<Self, config::Error> {
        Ok(Self { max_retries: -1, ..node.read()? })
    }

    /// Whether an event that was refused `refusals` times is sent again.
    fn allows(&self, refusals: u32) -> bool {
        self.max_retries < 0 || i64::from(refusals) <= self.max_retries
    }
}

/// Counters and log lines, which the workers of an output share.
#[derive(Clone, Default)]
pub struct Telemetry {
    /// The counters of the output.
    pub counters: Arc<Counters>,
    /// The log lines of the output.
    pub notices: Arc<Notices>,
    /// Which output sends, and how long its batches take.
    pub sending: Arc<Sending>,
    /// What `monitoring` sends.
    pub monitored: Option<Arc<dyn Monitored>>,
    /// What `otlp.metrics` sends.
    pub measured: Option<Arc<dyn Measured>>,
}

/// Delivers the records of the queue with one sender, until the queue is closed and every record is settled. When the future is dropped
/// earlier, unsettled records go back to the queue.
pub async fn drive(mut sender: Box<dyn Sender>, queue: Arc<dyn Queue>, options: Options, telemetry: Telemetry) {
    let mut worker = Worker {
        options,
        telemetry,
        backoff: Backoff::new(options.backoff),
        window: Window::new(options.bulk_max_size, options.slow_start, options.has_others),
        waiting: Waiting::new(options.backoff),
        pause: None,
    };
    loop {
        tokio::select! {
            // The loop also ends while no server is reachable, if no record is left to deliver.
            () = queue.finished() => return,
            () = worker.connect(&mut *sender) => {}
        }
        let wait = loop {
            let Some(work) = worker.next(&queue).await else { return };
            match worker.deliver(&mut *sender, work).await {
                Ok(()) => {}
                Err(Stopped::ForNow) => break worker.backoff.after_failure(),
                Err(Stopped::ForGood(why)) => return log::error!("{why}"),
            }
        };
        tokio::select! {
            () = queue.finished() => return,
            () = sleep(wait) => {}
        }
    }
}

/// Why a worker stops sending.
enum Stopped {
    ForNow,
    ForGood(Reason),
}

/// Records that a worker sends.
struct Work {
    batch: Batch,
    /// The group of waiting records from which these come; `None` for records that were not sent before.
    group: Option<Group>,
}

struct Worker {
    options: Options,
    telemetry: Telemetry,
    backoff: Backoff,
    window: Window,
    waiting: Waiting,
    /// No record is taken from the queue before this time, because the server accepted nothing of the last batch.
    pause: Option<Instant>,
}

impl Worker {
    async fn connect(&mut self, sender: &mut dyn Sender) {
        while let Err(error) = sender.connect().await {
            self.telemetry.notices.add(Subject::NotConnected, 1, error.reason());
            self.waiting.give_back();
            sleep(self.backoff.after_failure()).await;
        }
    }

    /// Waits for records from the queue, or until records in `waiting` are due.
    async fn next(&mut self, queue: &Arc<dyn Queue>) -> Option<Work> {
        loop {
            let (due, pause, max) = (self.waiting.due(), self.pause, self.window.size());
            let until = |time: Option<Instant>| async move {
                match time {
                    Some(time) => sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // This `select!` chooses at random when both are ready (it is not `biased`), so that neither new nor waiting records are
                // delayed forever.
                () = until(due) => {
                    if let Some((group, batch)) = self.waiting.take(max) {
                        return Some(Work { batch, group: Some(group) });
                    }
                }
                () = until(pause) => self.pause = None,
                () = queue.finished(), if pause.is_some() => return None,
                batch = queue.clone().next(max), if pause.is_none() => {
                    self.telemetry.counters.batches.add(1);
                    // Records that the queue took back form a group. If the server still accepts none of them, only this group waits, and
                    // other records are sent.
                    return batch.map(|batch| Work { group: batch.is_again().then(Group::default), batch });
                }
            }
        }
    }

    /// Sends the records once. They are sent in parts if they are too many for the server. Returns an error when the server is not
    /// reachable; the records that were not sent then go back to the queue.
    async fn deliver(&mut self, sender: &mut dyn Sender, Work { batch, group }: Work) -> Result<(), Stopped> {
        // A stack of the parts that are not sent yet, with the next one on top. Each halving adds one part, so there are at most
        // log2(records) + 1 parts.
        let mut parts = vec![batch];
        let mut succeeded = false;
        while let Some(mut batch) = parts.pop() {
            let count = batch.records().len();
            self.telemetry.counters.total.add(count);
            let began = std::time::Instant::now();
            let sent = sender.send(batch.records()).await;
            self.telemetry.sending.sent(std::time::Instant::now(), began.elapsed());
            let outcomes = match sent {
                Ok(Sent::All) => {
                    self.telemetry.counters.acked.add(count);
                    batch.settle_all();
                    Vec::new()
                }
                Ok(Sent::Each(outcomes)) => outcomes,
                Err(Error::TooLarge(_) | Error::Refused(_)) if count > 1 => {
                    self.again(count);
                    self.telemetry.counters.splits.add(1);
                    let second = batch.split_off(count / 2);
                    parts.extend([second, batch]);
                    continue;
                }
                Err(Error::TooLarge(why)) => vec![Outcome::Rejected(why.prefixed("the event alone is larger than the server accepts"))],
                Err(Error::Refused(why)) => vec![Outcome::Retry(why)],
                Err(Error::Gone(why)) => return Err(Stopped::ForGood(why)),
                Err(error @ (Error::Unreachable(_) | Error::Broken(_))) => {
                    let unsent = count + parts.iter().map(|batch| batch.records().len()).sum::<usize>();
                    self.telemetry.notices.add(Subject::NotSent, unsent, error.reason());
                    self.again(count);
                    let cause = if matches!(error, Error::Broken(_)) { self.window.broke(count) } else { Cause::Unknown };
                    if cause == Cause::Server {
                        // The connection also broke with other records, so none of them is the cause.
                        self.waiting.give_back();
                    } else if cause == Cause::Event || group.is_some_and(|group| group.alone) {
                        self.waiting.add(Group { alone: true, ..group.unwrap_or_default() }, batch);
                    }
                    // Batches that are dropped here go back to the queue, because another worker may be able to send them.
                    return Err(Stopped::ForNow);
                }
            };
            self.window.answered();
            succeeded |= self.settle(batch, outcomes, group.unwrap_or_default());
        }
        if let Some(group) = group {
            self.waiting.settled(group, succeeded);
        } else if !succeeded {
            self.pause = Some(Instant::now() + self.backoff.after_failure());
        }
        if succeeded {
            self.backoff.reset();
        }
        Ok(())
    }

    /// Settles the records that are delivered or dropped; the others wait. Returns whether any record was settled.
    fn settle(&mut self, mut batch: Batch, mut outcomes: Vec<Outcome>, group: Group) -> bool {
        let count = batch.records().len();
        if count == 0 {
            return true;
        }
        outcomes.resize(count, Outcome::Later("the answer does not mention it".into()));
        if !self.options.allows(group.refusals.saturating_add(1)) {
            give_up(&mut outcomes);
        }
        self.count(&outcomes);
        for (record, outcome) in batch.records().iter().zip(&outcomes) {
            if let Outcome::Rejected(why) = outcome {
                log_dropped(record, why);
            }
        }
        let is = |place: usize, test: fn(&Outcome) -> bool| outcomes.get(place).is_some_and(test);
        let refused = batch.partition(|place| is(place, |outcome| matches!(outcome, Outcome::Retry(_))));
        let mut open = outcomes.iter().filter(|outcome| !matches!(outcome, Outcome::Retry(_)));
        let later = batch.partition(|_| open.next().is_some_and(|outcome| matches!(outcome, Outcome::Later(_))));
        let settled = batch.records().len();
        batch.settle_all();
        // Without a limit the number of refusals does not matter, and counting it would make a group for each number.
        let refusals = if self.options.max_retries < 0 { 0 } else { group.refusals.saturating_add(1) };
        self.waiting.add(Group { refusals, ..group }, refused);
        self.waiting.add(group, later);
        settled > 0
    }

    /// Counts records that are sent again.
    fn again(&self, count: usize) {
        self.telemetry.counters.failed.add(count);
        self.telemetry.counters.retries.add(count);
    }

    fn count(&self, outcomes: &[Outcome]) {
        let counters = &self.telemetry.counters;
        let (mut again, mut dropped) = (Tally::default(), Tally::default());
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
                Outcome::Retry(why) | Outcome::Later(why) => again.add(why),
                Outcome::Rejected(why) => dropped.add(why),
            }
        }
        counters.dropped.add(dropped.total());
        self.again(again.total());
        again.report(Subject::SentAgain, &self.telemetry.notices);
        dropped.report(Subject::Dropped, &self.telemetry.notices);
    }
}

/// Events of a batch, counted by reason. There are few reasons: the first eight are counted separately, all others together.
#[derive(Default)]
struct Tally<'a>(Vec<(&'a Reason, usize)>);

impl<'a> Tally<'a> {
    const MOST: usize = 8;

    fn add(&mut self, why: &'a Reason) {
        let full = self.0.len() >= Self::MOST;
        match self.0.iter_mut().find(|(known, _)| known.summary == why.summary) {
            Some((_, count)) => *count += 1,
            None if full => {
                if let Some((_, count)) = self.0.last_mut() {
                    *count += 1;
                }
            }
            None => self.0.push((why, 1)),
        }
    }

    fn total(&self) -> usize {
        self.0.iter().map(|(_, count)| count).sum()
    }

    fn report(&self, subject: Subject, notices: &Notices) {
        for (why, count) in &self.0 {
            notices.add(subject, *count, why);
        }
    }
}

fn give_up(outcomes: &mut [Outcome]) {
    for outcome in outcomes {
        if let Outcome::Retry(why) = outcome {
            *outcome = Outcome::Rejected(std::mem::take(why).prefixed("refused too often (max_retries)"));
        }
    }
}

#[cfg(test)]
mod tests;

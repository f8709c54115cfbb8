//! The sender: sends the spans of a batch in one request, its log records in another, and decides what the answers mean for each event.

use super::{
    Shared,
    client::{Failed, Signal},
    convert::{self, Converted},
};
use crate::{
    output::{Error, Outcome, Reason, Sender, Sent, counters::Counters, hosts::Rotation},
    publish::Record,
    queue::BoxFuture,
};
use opentelemetry_proto::tonic::collector::{logs::v1::ExportLogsServiceResponse, trace::v1::ExportTraceServiceResponse};
use prost::Message as _;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};

/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A sender and its hosts.
pub(super) struct Worker {
    shared: Arc<Shared>,
    hosts: Rotation,
    counters: Arc<Counters>,
    /// When each host may be asked again, because it answered with `Retry-After`.
    not_before: Vec<Option<Instant>>,
}

impl Worker {
    /// Makes a sender that uses these hosts, one at a time.
    pub(super) fn new(shared: Arc<Shared>, hosts: Rotation, counters: Arc<Counters>) -> Self {
        let not_before = vec![None; shared.client.hosts()];
        Self { shared, hosts, counters, not_before }
    }

    /// Waits as long as the current host asked for.
    async fn wait(&mut self) {
        if let Some(time) = self.not_before.get_mut(self.hosts.current()).and_then(Option::take) {
            sleep_until(time).await;
        }
    }

    /// Keeps the wait that the current host asks for, and moves to the next host if this one cannot be used.
    fn failed(&mut self, failed: Failed) -> Error {
        if let (Some(wait), Some(time)) = (failed.retry_after, self.not_before.get_mut(self.hosts.current())) {
            *time = Some(Instant::now() + wait.min(LONGEST_WAIT));
        }
        if matches!(failed.error, Error::Unreachable(_) | Error::Broken(_)) {
            self.hosts.advance();
        }
        failed.error
    }

    async fn try_host(&mut self) -> Result<(), Error> {
        self.wait().await;
        let host = self.hosts.current();
        let url = self.shared.client.url(host).unwrap_or_default().to_owned();
        match self.shared.client.try_host(host).await {
            Ok(()) => {
                log::info!("Connection to {url} established");
                Ok(())
            }
            Err(failed) => Err(Error::Unreachable(self.failed(failed).reason().clone().prefixed(&url))),
        }
    }

    async fn send_batch(&mut self, batch: &[Record]) -> Result<Sent, Error> {
        self.wait().await;
        let Converted { traces, spans, logs, records, mut outcomes } = convert::convert(batch, &self.shared.service_name);
        if !spans.is_empty() {
            let message = traces.encode_to_vec();
            let answer = match self.export(Signal::Traces, &message).await {
                Ok(answer) => answer,
                Err(failed) => return Err(self.failed(failed)),
            };
            let partial = ExportTraceServiceResponse::decode(&*answer).ok().and_then(|answer| answer.partial_success);
            if let Some(partial) = partial {
                reject(&mut outcomes, &spans, partial.rejected_spans, &partial.error_message);
            }
        }
        if !records.is_empty() {
            match self.export(Signal::Logs, &logs.encode_to_vec()).await {
                Ok(answer) => {
                    let partial = ExportLogsServiceResponse::decode(&*answer).ok().and_then(|answer| answer.partial_success);
                    if let Some(partial) = partial {
                        reject(&mut outcomes, &records, partial.rejected_log_records, &partial.error_message);
                    }
                }
                Err(failed) => self.logs_failed(failed, !spans.is_empty(), &records, &mut outcomes).await?,
            }
        }
        if outcomes.iter().all(|outcome| *outcome == Outcome::Delivered) {
            return Ok(Sent::All);
        }
        Ok(Sent::Each(outcomes))
    }

    /// Decides what happens to log records that were not accepted. `others`: whether spans of the same batch were delivered. Then
    /// only the log records are sent again, and the next attempt contains nothing else, unless others wait too.
    async fn logs_failed(&mut self, failed: Failed, others: bool, places: &[usize], outcomes: &mut [Outcome]) -> Result<(), Error> {
        let accepts_traces = others || failed.is_unknown && self.shared.client.try_host(self.hosts.current()).await.is_ok();
        let outcome = if failed.is_unknown && accepts_traces {
            // Some servers accept only traces.
            Outcome::Retry(failed.error.reason().clone().prefixed("the server accepts traces, but no logs"))
        } else {
            let error = self.failed(failed);
            if !others {
                return Err(error);
            }
            Outcome::Later(error.reason().clone())
        };
        for place in places {
            set(outcomes, *place, outcome.clone());
        }
        Ok(())
    }

    async fn export(&mut self, signal: Signal, message: &[u8]) -> Result<Vec<u8>, Failed> {
        let answer = self.shared.client.export(self.hosts.current(), signal, message).await;
        match answer {
            Ok(answer) => {
                self.counters.write_bytes.add(answer.sent);
                self.counters.read_bytes.add(answer.message.len());
                Ok(answer.message)
            }
            Err(failed) => {
                if matches!(failed.error, Error::Unreachable(_) | Error::Broken(_)) {
                    self.counters.write_errors.add(1);
                }
                self.counters.toomany.add(usize::from(failed.retry_after.is_some()));
                Err(failed)
            }
        }
    }
}

/// Applies a partial success: `rejected` of the events at `places` were rejected and must not be sent again. The server does not say which.
fn reject(outcomes: &mut [Outcome], places: &[usize], rejected: i64, text: &str) {
    let rejected = usize::try_from(rejected).unwrap_or(0).min(places.len());
    if rejected == 0 {
        if !text.is_empty() {
            log::debug!("The collector accepted all events and says: {text}");
        }
        return;
    }
    let summary = format!("the server rejected {rejected} of the {} events of a request and does not say which", places.len());
    let why = Reason::with_detail(summary, text);
    for place in places.iter().rev().take(rejected) {
        set(outcomes, *place, Outcome::Rejected(why.clone()));
    }
}

fn set(outcomes: &mut [Outcome], place: usize, outcome: Outcome) {
    if let Some(old) = outcomes.get_mut(place) {
        *old = outcome;
    }
}

impl Sender for Worker {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.try_host())
    }

    fn send<'a>(&'a mut self, batch: &'a [Record]) -> BoxFuture<'a, Result<Sent, Error>> {
        Box::pin(self.send_batch(batch))
    }
}

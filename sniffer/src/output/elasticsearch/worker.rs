//! The sender: sends a batch as one `_bulk` request and reads the outcome of each record from the response. It halves a request that is too
//! large, and stores permanently refused records in the dead letter index.

use super::{Shared, bulk};
use crate::{
    output::{Error, Outcome, Sender, Sent, counters::Counters, hosts::Rotation},
    publish::Record,
    queue::BoxFuture,
};
use reqwest::StatusCode;
use std::sync::Arc;

/// A worker and the hosts it uses.
pub(super) struct Worker {
    shared: Arc<Shared>,
    hosts: Rotation,
    counters: Arc<Counters>,
    body: Vec<u8>,
}

/// The result of one request.
enum Answer {
    Outcomes(Vec<Outcome>),
    Delivered,
    TooLarge,
}

impl Worker {
    /// A worker that uses these hosts, one at a time.
    pub(super) fn new(shared: Arc<Shared>, hosts: Rotation, counters: Arc<Counters>) -> Self {
        Self { shared, hosts, counters, body: Vec::new() }
    }

    /// Sends the batch as one request.
    async fn request(&mut self, batch: &[Record]) -> Result<Answer, Error> {
        let (shared, host) = (self.shared.clone(), self.hosts.current());
        self.body.clear();
        shared.lines.write(batch, &mut self.body).map_err(|e| Error::Refused(e.to_string()))?;
        let answer = shared.bulk(host, &self.body, batch.len(), &self.counters).await?;
        match answer.status {
            StatusCode::PAYLOAD_TOO_LARGE => return Ok(Answer::TooLarge),
            status if status.is_success() => {}
            // The events are not the cause: the server is overloaded, a proxy cannot reach it, or credentials are wrong and may be
            // corrected.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => return Err(Error::Unreachable(answer.why("_bulk"))),
            _ => return Err(Error::Refused(answer.why("_bulk"))),
        }
        let results = bulk::read(&answer.body, batch.len()).map_err(|why| {
            self.counters.read_errors.add(1);
            Error::Unreachable(why)
        })?;
        let Some(results) = results else { return Ok(Answer::Delivered) };
        self.counters.toomany.add(results.iter().filter(|result| result.status == 429).count());
        let statuses: Vec<u16> = results.iter().map(|result| result.status).collect();
        let mut outcomes: Vec<Outcome> = results.into_iter().map(|result| result.outcome).collect();
        self.store_dead_letters(host, batch, &statuses, &mut outcomes).await;
        Ok(Answer::Outcomes(outcomes))
    }

    /// Stores permanently refused records in the dead letter index, if one is configured.
    async fn store_dead_letters(&self, host: usize, batch: &[Record], statuses: &[u16], outcomes: &mut [Outcome]) {
        let Some(index) = &self.shared.dead_letter_index else { return };
        let mut body = Vec::new();
        let dead: Vec<usize> = (0..outcomes.len()).filter(|i| matches!(outcomes.get(*i), Some(Outcome::Rejected(_)))).collect();
        if dead.is_empty() {
            return;
        }
        let letters = dead.iter().filter_map(|i| match outcomes.get(*i) {
            Some(Outcome::Rejected(why)) => Some((batch.get(*i)?, *statuses.get(*i)?, why.as_str())),
            _ => None,
        });
        let stored = match bulk::dead_letters(index, letters, &mut body) {
            Ok(()) => self.shared.bulk(host, &body, dead.len(), &self.counters).await,
            Err(error) => Err(Error::Refused(error.to_string())),
        };
        let results = match stored {
            Ok(answer) if answer.status.is_success() => bulk::read(&answer.body, dead.len()),
            Ok(answer) => Err(answer.why("dead letters")),
            Err(error) => Err(error.to_string()),
        };
        for (n, i) in dead.into_iter().enumerate() {
            let Some(outcome) = outcomes.get_mut(i) else { continue };
            *outcome = match &results {
                Ok(None) => Outcome::DeadLetter,
                Ok(Some(results)) => match results.get(n).map(|result| &result.outcome) {
                    Some(Outcome::Delivered | Outcome::Duplicate) => Outcome::DeadLetter,
                    Some(other) => other.clone(),
                    None => continue,
                },
                // Send the record to its own index again. The server will refuse it again, and then the dead letter index may accept it.
                Err(why) => Outcome::Later(why.clone()),
            };
        }
    }

    /// Checks that the current host is an Elasticsearch of a supported version, and sets it up. Moves to the next host on failure.
    async fn prepare_host(&mut self) -> Result<(), Error> {
        let (shared, host) = (self.shared.clone(), self.hosts.current());
        let server = shared.server(host).await;
        let ready = match &server {
            Ok(server) => {
                let _one = shared.setting_up.lock().await;
                match shared.check_version(server) {
                    Ok(()) => shared.set_up(host, server).await,
                    older => older,
                }
            }
            Err(error) => Err(error.clone()),
        };
        let url = shared.hosts.get(host).map_or("", |host| host.url.as_str());
        match ready {
            Ok(()) => {
                log::info!("Connection to {url} established, version {}", server.map(|s| s.version.number).unwrap_or_default());
                Ok(())
            }
            Err(error) => {
                self.hosts.advance();
                Err(Error::Unreachable(format!("{url}: {error}")))
            }
        }
    }

    /// Sends the batch. Splits it in halves when the server says that the request is too large.
    async fn send_parts(&mut self, batch: &[Record]) -> Result<Sent, Error> {
        // A stack of the parts that are not sent yet, with the next one on top. Each halving adds one part, so there are at most
        // log2(records) + 1 parts.
        let mut parts = vec![batch];
        let mut outcomes: Vec<Outcome> = Vec::new();
        while let Some(part) = parts.pop() {
            match self.request(part).await {
                Ok(Answer::Delivered) if part.len() == batch.len() => return Ok(Sent::All),
                Ok(Answer::Delivered) => outcomes.extend(std::iter::repeat_n(Outcome::Delivered, part.len())),
                Ok(Answer::Outcomes(some)) => outcomes.extend(some),
                Ok(Answer::TooLarge) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Ok(Answer::TooLarge) => outcomes.push(Outcome::Rejected("413: the event alone is larger than the server takes".into())),
                Err(error) if outcomes.is_empty() => {
                    if matches!(error, Error::Unreachable(_)) {
                        self.hosts.advance();
                    }
                    return Err(error);
                }
                // Earlier parts stay delivered; only this part is sent again.
                Err(Error::Unreachable(why) | Error::Gone(why)) => outcomes.extend(std::iter::repeat_n(Outcome::Later(why), part.len())),
                Err(Error::Refused(why)) => outcomes.extend(std::iter::repeat_n(Outcome::Retry(why), part.len())),
            }
        }
        Ok(Sent::Each(outcomes))
    }
}

impl Sender for Worker {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.prepare_host())
    }

    fn send<'a>(&'a mut self, batch: &'a [Record]) -> BoxFuture<'a, Result<Sent, Error>> {
        Box::pin(self.send_parts(batch))
    }
}

//! The sender: sends a batch as one `_bulk` request and reads the outcome of each record from the response. It stores permanently refused
//! records in the dead letter index.

use super::{
    Shared,
    bulk::{self, ItemResult},
    setup::Server,
};
use crate::{
    output::{Error, Outcome, Reason, Sender, Sent, counters::Counters, hosts::Rotation},
    publish::Record,
    queue::BoxFuture,
};
use std::sync::Arc;

/// A sender and its hosts.
pub(super) struct Worker {
    shared: Arc<Shared>,
    hosts: Rotation,
    counters: Arc<Counters>,
    body: Vec<u8>,
}

impl Worker {
    /// Makes a sender that uses these hosts, one at a time.
    pub(super) fn new(shared: Arc<Shared>, hosts: Rotation, counters: Arc<Counters>) -> Self {
        Self { shared, hosts, counters, body: Vec::new() }
    }

    /// Sends the batch as one request, without the records that cannot be sent.
    async fn send_batch(&mut self, batch: &[Record]) -> Result<Sent, Error> {
        self.body.clear();
        let mut letters = Letters::default();
        let mut outcomes = vec![Outcome::Delivered; batch.len()];
        for (place, (record, outcome)) in batch.iter().zip(&mut outcomes).enumerate() {
            if let Err(why) = self.shared.lines.write(record, &mut self.body) {
                letters.add(place, BAD_REQUEST);
                *outcome = Outcome::Rejected(why);
            }
        }
        let sent = batch.len() - letters.0.len();
        let results = if sent > 0 { self.request(sent).await? } else { None };
        if results.is_none() && letters.0.is_empty() {
            return Ok(Sent::All);
        }
        let open = outcomes.iter_mut().enumerate().filter(|(_, outcome)| **outcome == Outcome::Delivered);
        for ((place, outcome), result) in open.zip(results.unwrap_or_default()) {
            self.counters.toomany.add(usize::from(result.status == 429));
            if matches!(result.outcome, Outcome::Rejected(_)) {
                letters.add(place, result.status);
            }
            *outcome = result.outcome;
        }
        self.store(&letters, batch, &mut outcomes).await;
        Ok(Sent::Each(outcomes))
    }

    /// Sends [`Self::body`], which contains `count` records. Returns the result of each, or `None` when all are delivered.
    async fn request(&mut self, count: usize) -> Result<Option<Vec<ItemResult>>, Error> {
        let host = self.hosts.current();
        let answer = self.shared.bulk(host, &self.body, count, &self.counters).await?;
        match answer.status.as_u16() {
            200..300 => {}
            413 => return Err(Error::TooLarge("413".into())),
            // With these statuses the server refuses the content of the request.
            400 | 406 | 411 | 414..=417 | 422 | 431 => return Err(Error::Refused(answer.refusal("_bulk"))),
            // The events are not the cause of the refusal: the server is overloaded, a proxy cannot reach it, another
            // program answered (a redirect, 404), or credentials are wrong and may be corrected.
            _ => return Err(Error::Unreachable(answer.refusal("_bulk"))),
        }
        bulk::read(&answer.body, count).map_err(|why| {
            self.counters.read_errors.add(1);
            Error::Broken(why.into())
        })
    }

    /// Stores refused records in the dead letter index, if one is configured. Records that cannot be stored are sent again at most
    /// `max_retries` times, as all records that the server refuses.
    async fn store(&self, letters: &Letters, batch: &[Record], outcomes: &mut [Outcome]) {
        let Some(index) = &self.shared.dead_letter_index else { return };
        let mut body = Vec::new();
        for &(place, status) in &letters.0 {
            if let (Some(record), Some(Outcome::Rejected(why))) = (batch.get(place), outcomes.get(place)) {
                bulk::dead_letter(index, record, status, why, &mut body);
            }
        }
        if body.is_empty() {
            return;
        }
        let results = match self.shared.bulk(self.hosts.current(), &body, letters.0.len(), &self.counters).await {
            Ok(answer) if answer.status.is_success() => bulk::read(&answer.body, letters.0.len()).map_err(Reason::from),
            Ok(answer) => Err(answer.refusal("_bulk")),
            Err(error) => Err(error.reason().clone()),
        };
        for (n, &(place, _)) in letters.0.iter().enumerate() {
            let Some(outcome) = outcomes.get_mut(place) else { continue };
            *outcome = match &results {
                Ok(None) => Outcome::DeadLetter,
                Ok(Some(results)) => match results.get(n).map(|result| &result.outcome) {
                    Some(Outcome::Delivered | Outcome::Duplicate) => Outcome::DeadLetter,
                    Some(Outcome::Rejected(why) | Outcome::Retry(why) | Outcome::Later(why)) => {
                        Outcome::Retry(why.clone().prefixed("dead letter index"))
                    }
                    Some(Outcome::DeadLetter) | None => continue,
                },
                Err(why) => Outcome::Retry(why.clone().prefixed("dead letter index")),
            };
        }
    }

    /// Checks that the current host is an Elasticsearch of a supported version, and sets it up. If this fails, the sender moves to the next
    /// host.
    async fn prepare_host(&mut self) -> Result<(), Error> {
        let (shared, host) = (self.shared.clone(), self.hosts.current());
        let server = shared.server(host).await;
        let ready = match &server {
            Ok(server) => {
                let _one = shared.setting_up.lock().await;
                match shared.check_version(server) {
                    Ok(()) => shared.set_up(host, server, false).await,
                    older => older,
                }
            }
            Err(error) => Err(error.clone()),
        };
        let url = shared.servers.url(host);
        match ready {
            Ok(()) => {
                let Server { version, cluster_uuid } = server.unwrap_or_default();
                log::info!("Connection to {url} established, version {}", version.number);
                shared.cluster_uuid.set(cluster_uuid);
                Ok(())
            }
            Err(error) => {
                self.hosts.advance();
                Err(Error::Unreachable(error.reason().clone().prefixed(url)))
            }
        }
    }

    /// Moves to the next host, because the current one cannot be used.
    async fn send_or_move(&mut self, batch: &[Record]) -> Result<Sent, Error> {
        self.send_batch(batch).await.inspect_err(|error| {
            if matches!(error, Error::Unreachable(_) | Error::Broken(_)) {
                self.hosts.advance();
            }
        })
    }
}

/// The status of a dead letter about a record that was never sent to the server.
const BAD_REQUEST: u16 = 400;

/// The refused records: the index of each in the batch, and its HTTP status.
#[derive(Default)]
struct Letters(Vec<(usize, u16)>);

impl Letters {
    fn add(&mut self, place: usize, status: u16) {
        self.0.push((place, status));
    }
}

impl Sender for Worker {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.prepare_host())
    }

    fn send<'a>(&'a mut self, batch: &'a [Record]) -> BoxFuture<'a, Result<Sent, Error>> {
        Box::pin(self.send_or_move(batch))
    }
}

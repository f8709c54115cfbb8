//! One worker: a batch becomes a request, its answer the fate of each record. Halves what is too large, buries what is refused for good.

use super::{Shared, bulk};
use crate::{
    output::{Error, Outcome, Output},
    publish::Record,
    queue::Fate,
};
use reqwest::StatusCode;
use std::sync::Arc;

/// One connection's worth of work.
pub(in crate::output) struct Worker {
    shared: Arc<Shared>,
    hosts: Vec<usize>,
    at: usize,
    body: Vec<u8>,
}

/// What one request showed.
enum Asked {
    Fates(Vec<Fate>),
    Delivered,
    TooLarge,
}

impl Worker {
    /// A worker for these hosts, of which it uses one at a time.
    pub(super) fn new(shared: Arc<Shared>, hosts: Vec<usize>) -> Self {
        Self { shared, hosts, at: 0, body: Vec::new() }
    }

    fn host(&self) -> usize {
        self.hosts.get(self.at % self.hosts.len().max(1)).copied().unwrap_or(0)
    }

    async fn ask(&mut self, batch: &[Record]) -> Result<Asked, Error> {
        let (shared, host) = (self.shared.clone(), self.host());
        self.body.clear();
        shared.lines.write(batch, &mut self.body).map_err(|e| Error::Refused(e.to_string()))?;
        let answer = shared.bulk(host, &self.body, batch.len()).await?;
        match answer.status {
            StatusCode::PAYLOAD_TOO_LARGE => return Ok(Asked::TooLarge),
            status if status.is_success() => {}
            // Overload, a proxy without its server, or credentials that may be mended: none of it is the events' fault.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => return Err(Error::Unreachable(answer.why("_bulk"))),
            _ => return Err(Error::Refused(answer.why("_bulk"))),
        }
        let verdicts = bulk::read(&answer.body, batch.len()).map_err(|why| {
            shared.counters.read_errors.add(1);
            Error::Unreachable(why)
        })?;
        let Some(verdicts) = verdicts else { return Ok(Asked::Delivered) };
        shared.counters.toomany.add(verdicts.iter().filter(|verdict| verdict.status == 429).count());
        let statuses: Vec<u16> = verdicts.iter().map(|verdict| verdict.status).collect();
        let mut fates: Vec<Fate> = verdicts.into_iter().map(|verdict| verdict.fate).collect();
        self.bury(host, batch, &statuses, &mut fates).await;
        Ok(Asked::Fates(fates))
    }

    /// Puts what is refused for good into the index for such, if there is one.
    async fn bury(&self, host: usize, batch: &[Record], statuses: &[u16], fates: &mut [Fate]) {
        let Some(index) = &self.shared.dead_letter_index else { return };
        let mut body = Vec::new();
        let dead: Vec<usize> = (0..fates.len()).filter(|i| matches!(fates.get(*i), Some(Fate::Rejected(_)))).collect();
        if dead.is_empty() {
            return;
        }
        let letters = dead.iter().filter_map(|i| match fates.get(*i) {
            Some(Fate::Rejected(why)) => Some((batch.get(*i)?, *statuses.get(*i)?, why.as_str())),
            _ => None,
        });
        let buried = match bulk::dead_letters(index, letters, &mut body) {
            Ok(()) => self.shared.bulk(host, &body, dead.len()).await,
            Err(error) => Err(Error::Refused(error.to_string())),
        };
        let verdicts = match buried {
            Ok(answer) if answer.status.is_success() => bulk::read(&answer.body, dead.len()),
            Ok(answer) => Err(answer.why("dead letters")),
            Err(error) => Err(error.to_string()),
        };
        for (n, i) in dead.into_iter().enumerate() {
            let Some(fate) = fates.get_mut(i) else { continue };
            *fate = match &verdicts {
                Ok(None) => Fate::DeadLetter,
                Ok(Some(verdicts)) => match verdicts.get(n).map(|verdict| &verdict.fate) {
                    Some(Fate::Delivered | Fate::Duplicate) => Fate::DeadLetter,
                    Some(other) => other.clone(),
                    None => continue,
                },
                // Tried again from the beginning: it is refused again, and then there may be somebody to bury it.
                Err(why) => Fate::Later(why.clone()),
            };
        }
    }
}

impl Output for Worker {
    async fn connect(&mut self) -> Result<(), Error> {
        let (shared, host) = (self.shared.clone(), self.host());
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
                self.at = self.at.wrapping_add(1);
                Err(Error::Unreachable(format!("{url}: {error}")))
            }
        }
    }

    async fn send(&mut self, batch: &[Record]) -> Result<Outcome, Error> {
        // Parts still to be sent, the first one last. A part that is too large is halved, so there are never more than log2 of them.
        let mut parts = vec![batch];
        let mut fates: Vec<Fate> = Vec::new();
        while let Some(part) = parts.pop() {
            match self.ask(part).await {
                Ok(Asked::Delivered) if part.len() == batch.len() => return Ok(Outcome::Delivered),
                Ok(Asked::Delivered) => fates.extend(std::iter::repeat_n(Fate::Delivered, part.len())),
                Ok(Asked::Fates(some)) => fates.extend(some),
                Ok(Asked::TooLarge) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Ok(Asked::TooLarge) => fates.push(Fate::Rejected("413: the event alone is larger than the server takes".into())),
                Err(error) if fates.is_empty() => {
                    if matches!(error, Error::Unreachable(_)) {
                        self.at = self.at.wrapping_add(1);
                    }
                    return Err(error);
                }
                // What is delivered stays so; the rest is sent again.
                Err(Error::Unreachable(why) | Error::Gone(why)) => fates.extend(std::iter::repeat_n(Fate::Later(why), part.len())),
                Err(Error::Refused(why)) => fates.extend(std::iter::repeat_n(Fate::Retry(why), part.len())),
            }
        }
        Ok(Outcome::Partly(fates))
    }
}

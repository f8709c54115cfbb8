//! Answers the requests of pages: files, and data from the state of `view::web`.

use super::{files::FILES, guard::Guard, token::Token};
use crate::{
    endpoint::{Answer, Service},
    view::web::{Parameters, Refused, Reply, State},
};
use flate2::{Compression, write::GzEncoder};
use hyper::{
    Method, Response, StatusCode,
    body::Bytes,
    header::{ACCEPT_ENCODING, ALLOW, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VARY},
    http::request::Parts,
};
use std::{
    collections::HashMap,
    io::Write,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

/// How often the state takes over what the workers reported.
const TAKE: Duration = Duration::from_millis(100);
/// Maximum length of the target of a request, in bytes: a filter of the greatest length whose bytes are all escaped.
const MOST_TARGET: usize = 13 << 10;
/// Maximum number of requests that are held. Further ones are answered at once.
pub(super) const MOST_HELD: usize = 16;
/// A shorter body is not compressed.
const WORTH_COMPRESSING: usize = 1000;

const JSON: &str = "application/json; charset=utf-8";
/// The headers of every response.
const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; worker-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// Brings the state up to date. It is called several times a second.
pub type Update = Box<dyn FnMut(&mut State) + Send>;

/// The page of a run.
pub struct Page {
    guard: Guard,
    served: Mutex<(State, Update)>,
    /// Wakes held requests when there are new transactions.
    new: Notify,
    held: Semaphore,
    /// The compressed files, by their paths.
    files: HashMap<&'static str, Bytes>,
}

impl Page {
    /// Makes the page. `allowed_hosts`: hosts besides those of loopback.
    pub fn new(state: State, update: Update, token: Token, allowed_hosts: Vec<String>) -> Self {
        let files = FILES.iter().map(|(path, _, content)| (*path, gzip(content, Compression::best()))).collect();
        let (guard, served) = (Guard::new(token, allowed_hosts), Mutex::new((state, update)));
        Self { guard, served, new: Notify::new(), held: Semaphore::new(MOST_HELD), files }
    }

    fn served(&self) -> MutexGuard<'_, (State, Update)> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what the workers reported.
    fn update(&self) {
        let mut served = self.served();
        let (state, update) = &mut *served;
        let before = state.added();
        update(state);
        if state.added() != before {
            self.new.notify_waiters();
        }
    }

    /// Answers a request whose sender was checked, except for the token.
    async fn found(&self, request: &Parts) -> Result<Answer, Refused> {
        let path = request.uri.path();
        if path != "/api" && !path.starts_with("/api/") {
            return self.file(path, accepts_gzip(&request.headers));
        }
        self.guard.check_token(request).map_err(|why| Refused::new(403, why))?;
        let parameters = Parameters::read(request.uri.query().unwrap_or_default());
        let reply = self.reply(path, &parameters).await?;
        let (kind, name, body) = match reply {
            Reply::Json(body) => (JSON, None, body),
            Reply::Tail(tail) => (JSON, None, tail.json),
            Reply::File(name, kind, body) => (kind, Some(name), body),
        };
        let compresses = accepts_gzip(&request.headers) && body.len() >= WORTH_COMPRESSING;
        let body = if compresses { gzip(&body, Compression::fast()) } else { body.into() };
        let mut answer = answer(StatusCode::OK, kind, body);
        if compresses {
            answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(Ok(value)) = name.map(|name| HeaderValue::try_from(format!("attachment; filename=\"{name}\""))) {
            answer.headers_mut().insert(CONTENT_DISPOSITION, value);
        }
        Ok(answer)
    }

    /// The answer to a request for data. A request for new transactions waits for the first one.
    async fn reply(&self, path: &str, parameters: &Parameters) -> Result<Reply, Refused> {
        let mut reply = self.served().0.answer(path, parameters)?;
        let Reply::Tail(tail) = &mut reply else { return Ok(reply) };
        let end = Instant::now() + Duration::from_millis(parameters.wait_ms()?);
        let Ok(_permit) = self.held.try_acquire() else { return Ok(reply) };
        while tail.is_empty && Instant::now() < end {
            let mut new = pin!(self.new.notified());
            // From here on no notification is missed.
            new.as_mut().enable();
            *tail = self.served().0.tail(parameters, tail)?;
            if tail.is_empty && timeout_at(end, new).await.is_err() {
                break;
            }
        }
        Ok(reply)
    }

    fn file(&self, path: &str, accepts_gzip: bool) -> Result<Answer, Refused> {
        let path = if path == "/" { "/index.html" } else { path };
        let found = FILES.iter().find(|(known, ..)| *known == path);
        let (path, kind, content) = found.ok_or_else(|| Refused::new(404, "unknown path"))?;
        let compressed = self.files.get(path).filter(|compressed| accepts_gzip && compressed.len() < content.len());
        let mut answer = answer(StatusCode::OK, kind, compressed.cloned().unwrap_or(Bytes::from_static(content)));
        if compressed.is_some() {
            answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(answer)
    }
}

impl Service for Page {
    const NAME: &'static str = "Page";

    async fn answer(&self, request: &Parts) -> Answer {
        let checked = match self.guard.check_origin(request) {
            Err(why) => Err(Refused::new(403, why)),
            Ok(()) if ![Method::GET, Method::HEAD].contains(&request.method) => {
                Err(Refused::new(405, "the page is read-only: only GET and HEAD are answered"))
            }
            Ok(()) if request.uri.path_and_query().is_some_and(|target| target.as_str().len() > MOST_TARGET) => {
                Err(Refused::new(414, "the address is too long"))
            }
            Ok(()) => Ok(()),
        };
        let found = match checked {
            Ok(()) => self.found(request).await,
            Err(refused) => Err(refused),
        };
        let mut answer = found.unwrap_or_else(|refused| {
            let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            answer(status, JSON, serde_json::to_vec(&refused).unwrap_or_default().into())
        });
        if answer.status() == StatusCode::METHOD_NOT_ALLOWED {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        answer
    }

    async fn work(&self) {
        let mut ticks = interval(TAKE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.update();
        }
    }
}

/// Whether the client accepts a body that is compressed with gzip.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let mut accepted = codings.filter_map(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), |weight| weight.trim().parse::<f32>());
        name.trim().eq_ignore_ascii_case("gzip").then(|| weight.is_ok_and(|weight| weight > 0.0))
    });
    accepted.next().unwrap_or(false)
}

fn gzip(body: &[u8], level: Compression) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    // Writing to memory does not fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default().into()
}

fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.extend(HEADERS.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))));
    answer
}

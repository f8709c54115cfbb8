//! Chooses the answer to a request by its path. As in Packetbeat, the method makes no difference.

use super::{
    documents, inputs, prometheus,
    report::{Identity, Report, Source},
    service::{Answer, Service},
};
use hyper::{
    Response, StatusCode, Uri,
    header::{CONTENT_TYPE, HeaderValue, LOCATION},
    http::request::Parts,
};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long a report is used for further requests. Requests therefore cannot slow the program down, however many there are.
const FRESH: Duration = Duration::from_millis(100);

const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers requests.
pub(super) struct Routes {
    who: Identity,
    source: Arc<dyn Source>,
    latest: Mutex<Option<(Instant, Arc<Report>)>>,
}

impl Routes {
    pub(super) fn new(who: Identity, source: Arc<dyn Source>) -> Self {
        Self { who, source, latest: Mutex::new(None) }
    }

    fn report(&self) -> Arc<Report> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((made, report)) if made.elapsed() < FRESH => report.clone(),
            _ => {
                let report = Arc::new(self.source.report());
                *latest = Some((Instant::now(), report.clone()));
                report
            }
        }
    }

    /// Answers a request for `uri`.
    fn answer_to(&self, uri: &Uri) -> Answer {
        let query = uri.query().unwrap_or_default();
        let parameter = |name: &str| {
            let of = |pair: &str| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (key == name).then(|| percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
            };
            query.split('&').find_map(of)
        };
        let document = |value: Value| json_answer(&value, parameter("pretty").is_some());
        match uri.path() {
            "/" => document(documents::root(&self.who)),
            "/stats" => document(documents::stats(&self.who, &self.report())),
            "/state" => document(documents::state(&self.who, &self.report())),
            "/inputs/" => document(inputs::list(&self.who, &self.report(), parameter("type").filter(|t| !t.is_empty()).as_deref()).into()),
            "/dataset" => document(inputs::by_id(&self.who, &self.report())),
            "/metrics" => answer(StatusCode::OK, PROMETHEUS, prometheus::metrics(&self.who, &self.report())),
            "/healthz" => health(self.report().problem.as_deref()),
            "/inputs" => redirect(StatusCode::TEMPORARY_REDIRECT, "/inputs/"),
            path => match ["/stats", "/state", "/dataset", "/metrics", "/healthz"]
                .into_iter()
                .find(|known| path.strip_suffix('/') == Some(known))
            {
                Some(known) => redirect(StatusCode::MOVED_PERMANENTLY, known),
                None => answer(StatusCode::NOT_FOUND, TEXT, "404 page not found\n".to_owned()),
            },
        }
    }
}

impl Service for Routes {
    const NAME: &'static str = "HTTP endpoint";

    async fn answer(&self, request: &Parts) -> Answer {
        self.answer_to(&request.uri)
    }
}

/// Answers `/healthz`: status 200 if the program works as it should, otherwise 503 and the reason.
fn health(problem: Option<&str>) -> Answer {
    match problem {
        None => json_answer(&json!({"status": "ok"}), false),
        Some(why) => {
            let mut answer = json_answer(&json!({"status": "failing", "reason": why}), false);
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            answer
        }
    }
}

fn json_answer(value: &Value, pretty: bool) -> Answer {
    let body = if pretty { format!("{value:#}") } else { value.to_string() };
    answer(StatusCode::OK, JSON, body)
}

fn redirect(status: StatusCode, to: &'static str) -> Answer {
    let text = format!("<a href=\"{to}\">{}</a>.\n\n", status.canonical_reason().unwrap_or_default());
    let mut answer = answer(status, HTML, text);
    answer.headers_mut().insert(LOCATION, HeaderValue::from_static(to));
    answer
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

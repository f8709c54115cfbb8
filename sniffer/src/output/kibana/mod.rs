//! Kibana and OpenSearch Dashboards: imports and exports saved objects (the index pattern, dashboards and their panels) for `setup` and
//! `export`. This module is not an output, because events are not sent to Kibana.
//! <https://www.elastic.co/docs/api/doc/kibana/group/endpoint-saved-objects>

mod answer;
mod dashboards;
mod export;
mod files;
mod load;
mod options;
mod pattern;
#[cfg(test)]
mod tests;

use super::{
    Peer,
    authorization::{agent, authorization, secret},
    http,
};
use crate::{config, opening::Opening, tls};
use answer::{Server, problem};
pub use export::{Wanted, export, own_dashboards};
pub use load::{Loader, Outcome};
use options::{DashboardOptions, Options};
pub use pattern::index_pattern;
use reqwest::{
    Method, Url,
    header::{AUTHORIZATION, HeaderValue},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// The version of Kibana's API that requests ask for, which is a date. Kibana before 8.10 ignores the header.
const API_VERSION: HeaderValue = HeaderValue::from_static("2023-10-31");
/// Time between two requests that ask whether Kibana is ready.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long Kibana may be unready, unless `setup.dashboards.retry` sets another time. Kibana takes up to a minute to start.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Receives lines for the user while a request waits.
pub type Say<'a> = &'a mut (dyn FnMut(&str) + Send);

/// A configured Kibana.
pub struct Kibana {
    /// The URL below which all paths of the API are, with a slash at the end.
    base: Url,
    space: String,
    clients: http::Clients,
    dashboards: DashboardOptions,
}

/// Why a request failed.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// Kibana is starting. The request must be sent again.
    NotReady(String),
    /// No connection.
    Unreachable(String),
    /// Kibana's answer is not the expected one.
    Refused(String),
}

impl Failure {
    fn text(self) -> String {
        let (Self::NotReady(why) | Self::Unreachable(why) | Self::Refused(why)) = self;
        why
    }
}

impl Kibana {
    /// Reads `setup.kibana` and `setup.dashboards`. The function opens no connection.
    ///
    /// # Errors
    /// When a setting is wrong. The error names file, line and key.
    pub fn read(opening: &Opening<'_>) -> Result<Self, config::Error> {
        let root = opening.root;
        let node = root.get("setup.kibana");
        let options = Options::read(root)?;
        let wrong = |why: String| node.error(why);
        let base = options.base().map_err(|why| node.get("host").error(why))?;
        let mut headers = http::header_map(&options.headers).map_err(|why| node.get("headers").error(why))?;
        for (name, value) in agent() {
            headers.entry(name).or_insert(value);
        }
        // Kibana refuses requests that change something if they lack this header.
        headers.insert("kbn-xsrf", HeaderValue::from_static("1"));
        headers.insert("elastic-api-version", API_VERSION);
        let authorization = match &options.service_token {
            Some(token) => secret(&format!("Bearer {}", token.0)),
            None => authorization(options.api_key.as_ref(), options.username.as_ref(), options.password.as_ref()),
        };
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        let tls = Arc::new(tls::Reloading::new(&options.http.ssl, base.scheme() == "https", http::Options::PROTOCOLS).map_err(wrong)?);
        Peer::of(&base, 5601).into_iter().chain(options.http.proxies()).for_each(|peer| opening.expect(peer.port));
        let clients = http::Clients::new(options.http, headers, tls, opening.connections.cloned()).map_err(wrong)?;
        Ok(Self { base, space: options.space.id, clients, dashboards: DashboardOptions::read(root)? })
    }

    /// Whether dashboards are to be loaded when the program starts: `setup.dashboards.enabled`.
    pub fn loads_at_start(&self) -> bool {
        self.dashboards.enabled
    }

    /// Waits until Kibana is ready. `say` gets a line for the user when that takes time.
    async fn ready(&self, say: Say<'_>) -> Result<Server, String> {
        let retry = &self.dashboards.retry;
        let (between, limit) = if retry.enabled { (retry.interval, None) } else { (ASK_AGAIN, Some(Instant::now() + READY_WITHIN)) };
        let mut left = if retry.enabled && retry.maximum > 0 { Some(retry.maximum) } else { None };
        let mut said = false;
        loop {
            let failure = match self.status().await {
                Ok(server) => return Ok(server),
                Err(failure) => failure,
            };
            let again = matches!(failure, Failure::NotReady(_)) || retry.enabled && matches!(failure, Failure::Unreachable(_));
            let is_over = left == Some(0) || limit.is_some_and(|limit| Instant::now() >= limit);
            if !again || is_over {
                return Err(failure.text());
            }
            if !said {
                say(&format!("{}; waiting for it", failure.text()));
                said = true;
            }
            left = left.map(|left| left.saturating_sub(1));
            sleep(between).await;
        }
    }

    /// Asks Kibana for its version and whether it is ready.
    async fn status(&self) -> Result<Server, Failure> {
        let answer = self.ask(Method::GET, "api/status", None).await?;
        Server::of(&answer).ok_or_else(|| problem("the status", &self.base, &self.space, &answer))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<(String, String, bool)>) -> Result<http::Answer, Failure> {
        let url = self.base.join(path).map_err(|e| Failure::Refused(format!("{path}: {e}")))?;
        let mut request = self.clients.get().request(method, url);
        match body {
            None => request = request.header("content-type", "application/json"),
            Some((content_type, body, is_opensearch)) => {
                request = request.header("content-type", content_type).body(body);
                if is_opensearch {
                    request = request.header("osd-xsrf", "true");
                }
            }
        }
        let failed = |error: super::Error| Failure::Unreachable(format!("Kibana at {} cannot be reached: {}", self.base, error.reason()));
        http::send(request).await.map_err(failed)
    }

    /// Imports saved objects, one JSON object per line, replacing those that exist. `name` is the name of the file in the request.
    async fn import(&self, server: &Server, name: &str, objects: &str) -> Result<(), String> {
        let mut boundary = String::from("saved-objects");
        while objects.contains(&boundary) {
            boundary.push('-');
        }
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}.ndjson\"\r\n\
             Content-Type: application/ndjson\r\n\r\n{objects}\r\n--{boundary}--\r\n"
        );
        let form = format!("multipart/form-data; boundary={boundary}");
        let path = "api/saved_objects/_import?overwrite=true";
        let answer = self.ask(Method::POST, path, Some((form, body, server.is_opensearch))).await.map_err(Failure::text)?;
        answer::imported(&answer)
            .unwrap_or_else(|| Err(problem("the import", &self.base, &self.space, &answer).text()))
            .map_err(|why| format!("{name}: {why}"))
    }
}

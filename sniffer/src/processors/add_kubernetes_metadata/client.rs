//! A client of the Kubernetes API: reads objects and lists, and follows changes by a watch.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/>

use super::access::{Access, Login};
use crate::{
    net::{OwnConnections, connecting::ConnectedLayer},
    tls,
};
use reqwest::{Client as Http, Proxy, RequestBuilder, Response, StatusCode, redirect::Policy};
use serde_json::Value;
use std::{fs, sync::Arc, time::Duration};

/// Maximum number of bytes of a response.
const MAX_ANSWER: usize = 64 << 20;
/// Maximum number of bytes of one change in a watch.
const MAX_CHANGE: usize = 4 << 20;
/// The longest time that a request takes, and that a watch takes longer than the server was asked for.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client of one API server.
pub(super) struct Client {
    pub(super) access: Access,
    tls: tls::Reloading,
    connections: Option<Arc<OwnConnections>>,
}

/// A change that a watch reports.
pub(super) enum Change {
    /// The object was added or modified.
    Put(Value),
    /// The object was deleted.
    Delete(Value),
    /// Nothing has changed.
    None,
}

/// How a watch ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The time is over. It can go on from the last version.
    Regularly,
    /// The server does not have the changes since the version any more: everything must be listed again.
    TooOld,
}

impl Client {
    /// A client of this server. `connections`: see [`crate::opening::Opening::connections`].
    ///
    /// # Errors
    /// When a certificate or key cannot be read.
    pub(super) fn new(access: Access, connections: Option<Arc<OwnConnections>>) -> Result<Self, String> {
        let needs_tls = access.server.scheme() == "https";
        let tls = tls::Reloading::new(&access.tls, needs_tls, &[b"http/1.1"])?;
        Ok(Self { access, tls, connections })
    }

    /// Makes a request. Each has a connection of its own, so that replaced certificates are used and a broken connection costs nothing else.
    fn request(&self, path: &str, query: &[(&str, String)], timeout: Duration) -> Result<RequestBuilder, String> {
        let mut builder = Http::builder()
            .tls_backend_preconfigured((*self.tls.config()).clone())
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(TIMEOUT)
            .http1_only();
        if let Some(connections) = &self.connections {
            builder = builder.connector_layer(ConnectedLayer(connections.clone()));
        }
        if let Some(url) = &self.access.proxy {
            builder = builder.proxy(Proxy::all(url.clone()).map_err(|error| error.to_string())?);
        }
        let http = builder.build().map_err(|error| chain(&error))?;
        let mut url = self.access.server.clone();
        // The server may be at a path of its host, behind a proxy.
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = http.get(url).timeout(timeout).header("accept", "application/json");
        Ok(match &self.access.login {
            Login::None => request,
            Login::Token(token) => request.bearer_auth(token),
            Login::TokenFile(file) => {
                let token = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
                request.bearer_auth(token.trim())
            }
            Login::Basic(user, password) => request.basic_auth(user, Some(password)),
        })
    }

    /// Reads one object or one page of a list.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses the request, or answers with something else than JSON.
    pub(super) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, String> {
        let mut response = self.request(path, query, TIMEOUT)?.send().await.map_err(|error| chain(&error))?;
        let (status, mut body) = (response.status(), Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(format!("{path}: an answer of more than {MAX_ANSWER} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        if status != StatusCode::OK {
            return Err(refused(path, status, &body));
        }
        serde_json::from_slice(&body).map_err(|_| format!("{path}: the answer is no JSON"))
    }

    /// Follows the changes after `version`, which becomes that of the last change. The server ends the watch after `time`.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub(super) async fn watch(
        &self,
        path: &str,
        query: &[(&str, String)],
        version: &mut String,
        time: Duration,
        each: &mut (dyn FnMut(Change) + Send),
    ) -> Result<Ended, String> {
        let mut query = query.to_vec();
        query.push(("watch", "true".to_owned()));
        query.push(("allowWatchBookmarks", "true".to_owned()));
        query.push(("resourceVersion", version.clone()));
        query.push(("timeoutSeconds", time.as_secs().max(1).to_string()));
        let mut response: Response = self.request(path, &query, time + TIMEOUT)?.send().await.map_err(|error| chain(&error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::GONE => return Ok(Ended::TooOld),
            status => return Err(refused(path, status, &[])),
        }
        let mut pending: Vec<u8> = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error))? {
            // Only the new bytes are searched for the end of a line, so that a long line has no quadratic cost.
            for part in chunk.split_inclusive(|byte| *byte == b'\n') {
                if pending.len() + part.len() > MAX_CHANGE {
                    return Err(format!("{path}: a change of more than {MAX_CHANGE} bytes"));
                }
                pending.extend_from_slice(part);
                if part.ends_with(b"\n") {
                    let change: Value = serde_json::from_slice(&pending).map_err(|_| format!("{path}: a change is no JSON"))?;
                    pending.clear();
                    match read(change, version)? {
                        Some(change) => each(change),
                        None => return Ok(Ended::TooOld),
                    }
                }
            }
        }
        Ok(Ended::Regularly)
    }
}

/// Reads a change. `None` if the version is too old.
fn read(mut change: Value, version: &mut String) -> Result<Option<Change>, String> {
    let object = change.get_mut("object").map(Value::take).unwrap_or_default();
    let kind = change.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind == "ERROR" {
        let is_too_old = object.get("code") == Some(&410.into());
        let message = object.get("message").and_then(Value::as_str).unwrap_or("the watch failed");
        return if is_too_old { Ok(None) } else { Err(message.to_owned()) };
    }
    if let Some(newer) = object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
        newer.clone_into(version);
    }
    Ok(Some(match kind {
        "ADDED" | "MODIFIED" => Change::Put(object),
        "DELETED" => Change::Delete(object),
        _ => Change::None,
    }))
}

fn refused(path: &str, status: StatusCode, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = body.get("message").and_then(Value::as_str).unwrap_or_default();
    let advice = match status {
        StatusCode::UNAUTHORIZED => "; the token or certificate is not accepted",
        StatusCode::FORBIDDEN => "; the account needs a role that may get, list and watch pods, nodes, namespaces, replicasets and jobs",
        _ => "",
    };
    format!("{path}: status {status} {message}{advice}")
}

/// The text of an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

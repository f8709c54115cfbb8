//! Reads Kibana's answers. If an answer is not the expected one, this module makes one sentence for the user about the reason. It never
//! quotes web pages of proxies.

use super::Failure;
use crate::output::http::Answer;
use reqwest::{StatusCode, Url};
use serde::Deserialize;

/// Maximum number of characters of Kibana's own message that are shown.
const LONGEST_MESSAGE: usize = 300;
/// Maximum number of refused objects that are named.
const MOST_NAMED: usize = 5;

/// A Kibana that is ready.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// The version, as `9.6.0`.
    pub version: String,
    /// Whether the server is OpenSearch Dashboards.
    pub is_opensearch: bool,
}

impl Server {
    /// Reads the answer to `GET api/status`; `None` unless the answer comes from a Kibana that is ready.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        #[derive(Deserialize)]
        struct Status {
            version: Version,
        }
        #[derive(Deserialize)]
        struct Version {
            number: String,
        }
        let status: Status = serde_json::from_slice(&answer.body).ok().filter(|_| answer.status.is_success())?;
        let version = status.version.number;
        version.starts_with(|c: char| c.is_ascii_digit()).then(|| Self { version, is_opensearch: answer.headers.contains_key("osd-name") })
    }

    /// The first number of the version.
    pub(super) fn major(&self) -> &str {
        self.version.split('.').next().unwrap_or_default()
    }
}

/// Returns the reason why an answer is not the expected one. `what` names the object that was requested.
pub(super) fn problem(what: &str, base: &Url, space: &str, answer: &Answer) -> Failure {
    let status = answer.status;
    let message = message(&answer.body);
    let is_page = answer.body.trim_ascii_start().starts_with(b"<");
    // Kibana sends this text while it starts.
    if status == StatusCode::SERVICE_UNAVAILABLE && (!is_page || String::from_utf8_lossy(&answer.body).contains("not ready")) {
        return Failure::NotReady(format!("Kibana at {base} is not ready yet"));
    }
    let text = match status.as_u16() {
        300..=399 => {
            let to = answer.headers.get("location").and_then(|to| to.to_str().ok()).unwrap_or("another address");
            let to: String = to.split('?').next().unwrap_or_default().chars().take(LONGEST_MESSAGE).collect();
            format!(
                "{base} redirects to {to} instead of answering for Kibana: if that is a login page, set setup.kibana.username and \
                 password or api_key; if it is a path, set setup.kibana.path"
            )
        }
        401 => format!(
            "Kibana at {base} refuses the credentials (401{message}): set setup.kibana.username and password, or api_key; without them those of \
             output.elasticsearch are used"
        ),
        403 => format!("Kibana at {base} does not permit {what} (403{message}): the user needs the privilege to manage saved objects"),
        404 => {
            let space = if space.is_empty() { String::new() } else { format!(", and whether there is a space `{space}`") };
            format!("there is no Kibana at {base} (404): check that setup.kibana.path is the path of Kibana on this server{space}")
        }
        _ if is_page => format!(
            "{base} answers with a web page ({status}) instead of Kibana's API: a login page or a proxy is in front of it, or the path is \
             missing (setup.kibana.path)"
        ),
        200..=299 => format!("{base} is no Kibana: its answer about {what} has another form"),
        _ => format!("Kibana at {base} refuses {what} ({status}{message})"),
    };
    Failure::Refused(text)
}

/// Kibana's own message, with a colon in front; empty if there is none.
fn message(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = body.get("message").and_then(serde_json::Value::as_str).unwrap_or_default();
    let message: String = message.chars().take(LONGEST_MESSAGE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if message.is_empty() { message } else { format!(": {message}") }
}

/// The result of an import; `None` if the answer is not the result of an import.
pub(super) fn imported(answer: &Answer) -> Option<Result<(), String>> {
    #[derive(Deserialize)]
    struct Imported {
        success: bool,
        #[serde(default)]
        errors: Vec<Refused>,
    }
    #[derive(Deserialize)]
    struct Refused {
        id: String,
        #[serde(rename = "type")]
        kind: String,
        error: Reason,
    }
    #[derive(Deserialize)]
    struct Reason {
        #[serde(rename = "type")]
        kind: String,
        message: Option<String>,
        #[serde(default)]
        references: Vec<Reference>,
    }
    #[derive(Deserialize)]
    struct Reference {
        #[serde(rename = "type")]
        kind: String,
        id: String,
    }
    let imported: Imported = serde_json::from_slice(&answer.body).ok().filter(|_| answer.status.is_success())?;
    if imported.success {
        return Some(Ok(()));
    }
    let named = imported.errors.iter().take(MOST_NAMED).map(|refused| {
        let missing: Vec<String> = refused.error.references.iter().map(|missing| format!("{} {}", missing.kind, missing.id)).collect();
        let message = refused.error.message.as_deref().map(|message| message.chars().take(LONGEST_MESSAGE).collect::<String>());
        let details = message.into_iter().chain((!missing.is_empty()).then(|| missing.join(", ")));
        let details: String = details.map(|detail| format!(": {detail}")).collect();
        format!("{} {} ({}{details})", refused.kind, refused.id, refused.error.kind)
    });
    let named: Vec<String> = named.collect();
    Some(Err(format!("Kibana refuses {} objects: {}", imported.errors.len(), named.join("; "))))
}

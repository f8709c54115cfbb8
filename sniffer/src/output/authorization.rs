//! The headers that tell a server who sends a request: credentials, and the name of the program.

use super::shapes::Scalar;
use crate::publish::VERSION;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::header::HeaderValue;

/// The value of `Authorization` for the configured credentials. If both are set, the API key is used and not the user.
pub(super) fn authorization(api_key: Option<&Scalar>, username: Option<&Scalar>, password: Option<&Scalar>) -> Option<HeaderValue> {
    if let Some(key) = api_key {
        // Kibana also shows API keys in the form "encoded", which is already base64.
        let encoded = if key.0.contains(':') { STANDARD.encode(&key.0) } else { key.0.clone() };
        return secret(&format!("ApiKey {encoded}"));
    }
    basic(&username?.0, password.map_or("", |password| &password.0))
}

/// The value of `Authorization` for a user and a password.
pub(super) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    secret(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// A header value that is not shown in logs.
pub(super) fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The headers by which Packetbeat identifies itself. Some gateways refuse other clients.
pub(super) fn agent() -> Vec<(&'static str, HeaderValue)> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let agent = HeaderValue::try_from(format!("Elastic-packetbeat/{VERSION} (linux; {arch}; Standalone)"));
    let mut headers = vec![("accept", HeaderValue::from_static("application/json"))];
    headers.extend(agent.ok().map(|agent| ("user-agent", agent)));
    headers
}

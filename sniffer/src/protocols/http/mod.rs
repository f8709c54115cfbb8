//! HTTP 1.0 and 1.1 (RFC 9110, RFC 9112). HTTP/2, and data after an upgrade, are only counted.

mod body;
mod event;
mod fields;
mod form_data;
mod message;
mod parser;
mod url;
mod wire;

use super::{CommonOptions, Plugin, Probe, Protocol, kit::shared::Shared};
use crate::{
    config,
    event::{Details, Summary},
    net::Direction,
};
use serde::Deserialize;

/// The protocol `http`.
pub const PROTOCOL: Protocol = Protocol {
    summary: Summary {
        resource: &["{url.path}"],
        query: &[
            "{method} {url.path}?{url.query} {destination.domain}",
            "{method} {url.path} {destination.domain}",
            "{method} {url.path}?{url.query}",
            "{method} {url.path}",
            "{query}",
        ],
        result: &["{http.response.status_code}"],
        details: Details::Http { host: "destination.domain" },
        ..Summary::HEAD
    },
    ..Protocol::over_tcp("http", &[80, 8080, 8000, 5000, 8002], open, probe, fields::FIELDS)
};

/// The protocol's own options, as written in the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    /// Parameters of queries and forms whose values are replaced by `xxxxx`.
    hide_keywords: Vec<String>,
    redact_authorization: bool,
    /// Headers whose values are replaced by `REDACTED`.
    redact_headers: Vec<String>,
    /// Headers that are reported, in addition to content-length and content-type.
    send_headers: Vec<String>,
    send_all_headers: bool,
    /// Report `cookie` and `set-cookie` as maps.
    split_cookie: bool,
    /// The name of the header in which a proxy passes on the address of the client.
    real_ip_header: String,
    /// Bodies are reported if their content type contains one of these strings.
    include_body_for: Vec<String>,
    include_request_body_for: Vec<String>,
    include_response_body_for: Vec<String>,
    decode_body: bool,
    /// Maximum number of bytes of a body that are kept, both encoded and decoded, and of a header section.
    max_message_size: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hide_keywords: Vec::new(),
            redact_authorization: false,
            redact_headers: Vec::new(),
            send_headers: Vec::new(),
            send_all_headers: false,
            split_cookie: false,
            real_ip_header: String::new(),
            include_body_for: Vec::new(),
            include_request_body_for: Vec::new(),
            include_response_body_for: Vec::new(),
            decode_body: true,
            max_message_size: 10 << 20,
        }
    }
}

/// The options in the form that the parser uses.
#[derive(Debug)]
struct Settings {
    common: CommonOptions,
    options: Options,
    /// For requests and for responses: bodies are kept if their content type contains one of these strings.
    bodies: [Vec<String>; 2],
}

impl Settings {
    fn new(common: CommonOptions, mut options: Options) -> Self {
        let own = [&mut options.include_request_body_for, &mut options.include_response_body_for].map(std::mem::take);
        let bodies = own.map(|own| options.include_body_for.iter().cloned().chain(own).collect());
        for names in [&mut options.hide_keywords, &mut options.redact_headers, &mut options.send_headers] {
            for name in names {
                name.make_ascii_lowercase();
            }
        }
        Self { common, options, bodies }
    }

    /// Whether the complete value of a header is hidden.
    fn redacts(&self, name: &[u8]) -> bool {
        contains(&self.options.redact_headers, name)
    }

    /// Whether values of parameters are hidden.
    fn hides_any(&self) -> bool {
        !self.options.hide_keywords.is_empty()
    }

    /// Whether the value of a parameter is hidden.
    fn hides(&self, parameter: &[u8]) -> bool {
        contains(&self.options.hide_keywords, parameter)
    }

    fn sends(&self, header: &[u8]) -> bool {
        self.options.send_all_headers || contains(&self.options.send_headers, header)
    }
}

/// Whether `name` is one of `names`, ignoring case.
fn contains(names: &[String], name: &[u8]) -> bool {
    names.iter().any(|n| n.as_bytes().eq_ignore_ascii_case(name))
}

fn open(node: &config::Node) -> Result<Box<dyn Plugin>, config::Error> {
    let settings = Settings::new(node.read()?, node.read()?);
    let time_out = settings.common.transaction_timeout;
    Ok(Box::new(Shared::new(settings, parser::Parser::new).with_time_out(time_out)))
}

fn probe(_: Direction, data: &[u8]) -> Probe {
    // Packets to and from the port are examined as those of either side, because the capture may begin with a response.
    match wire::is_http(data) {
        Some(true) => Probe::Yes,
        Some(false) => Probe::No,
        None => Probe::More(1),
    }
}

#[cfg(test)]
mod large_tests;
#[cfg(test)]
mod malformed_tests;
#[cfg(test)]
mod tests;

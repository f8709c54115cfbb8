//! HTTP 1.0 and 1.1 (RFC 9110, RFC 9112). HTTP/2 and what follows an upgrade are not read, only counted.

mod body;
mod event;
mod fields;
mod form_data;
mod message;
mod parser;
mod url;
mod wire;

use super::{Common, Plugin, Probe, Protocol, kit::shared::Shared};
use crate::{
    config,
    event::Summary,
    net::{Direction, Transport},
};
use serde::Deserialize;

/// The protocol `http`.
pub const PROTOCOL: Protocol = Protocol {
    name: "http",
    ports: &[80, 8080, 8000, 5000, 8002],
    transports: &[Transport::Tcp],
    default_ports: false,
    open,
    probe,
    fields: fields::FIELDS,
    summary: Summary {
        resource: &["{url.path}"],
        query: &["{method} {destination.domain}{url.path}", "{query}"],
        result: &["{http.response.status_code}"],
        ..Summary::HEAD
    },
};

/// The options of its own, as they are written.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    /// Parameters of the query and of forms whose values become `xxxxx`.
    hide_keywords: Vec<String>,
    redact_authorization: bool,
    /// Headers whose values become `REDACTED`.
    redact_headers: Vec<String>,
    /// Headers that are sent, besides content-length and content-type.
    send_headers: Vec<String>,
    send_all_headers: bool,
    /// `cookie` and `set-cookie` as a map.
    split_cookie: bool,
    /// The header with the address of the client behind a proxy.
    real_ip_header: String,
    /// Parts of content types whose bodies are sent.
    include_body_for: Vec<String>,
    include_request_body_for: Vec<String>,
    include_response_body_for: Vec<String>,
    decode_body: bool,
    /// The most bytes of a body that are kept, encoded and decoded, and the most bytes of a head.
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

/// What the program makes of the options.
#[derive(Debug)]
struct Settings {
    common: Common,
    options: Options,
    /// Parts of content types whose bodies are kept, of requests and of responses.
    bodies: [Vec<String>; 2],
}

impl Settings {
    fn new(common: Common, mut options: Options) -> Self {
        let own = [&mut options.include_request_body_for, &mut options.include_response_body_for].map(std::mem::take);
        let bodies = own.map(|own| options.include_body_for.iter().cloned().chain(own).collect());
        for names in [&mut options.hide_keywords, &mut options.redact_headers, &mut options.send_headers] {
            for name in names {
                name.make_ascii_lowercase();
            }
        }
        Self { common, options, bodies }
    }

    /// Whether a header's value is hidden altogether.
    fn redacts(&self, name: &[u8]) -> bool {
        contains(&self.options.redact_headers, name)
    }

    /// Whether there are parameters to hide.
    fn hides_any(&self) -> bool {
        !self.options.hide_keywords.is_empty()
    }

    /// Whether a parameter's value is hidden.
    fn hides(&self, parameter: &[u8]) -> bool {
        contains(&self.options.hide_keywords, parameter)
    }

    fn sends(&self, header: &[u8]) -> bool {
        self.options.send_all_headers || contains(&self.options.send_headers, header)
    }
}

/// Whether `name` is one of `names`, whatever its case.
fn contains(names: &[String], name: &[u8]) -> bool {
    names.iter().any(|n| n.as_bytes().eq_ignore_ascii_case(name))
}

fn open(node: &config::Node) -> Result<Box<dyn Plugin>, config::Error> {
    Ok(Box::new(Shared::new(Settings::new(node.read()?, node.read()?), parser::Parser::new)))
}

fn probe(_: Direction, data: &[u8]) -> Probe {
    // Either side may be the client: the capture may begin with a response.
    match wire::is_http(data) {
        Some(true) => Probe::Yes,
        Some(false) => Probe::No,
        None => Probe::More(1),
    }
}

#[cfg(test)]
mod malformed_tests;
#[cfg(test)]
mod tests;

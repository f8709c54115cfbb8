//! TLS over TCP: one event per connection for its handshake, reported when the handshake ends or fails. Data after the handshake is
//! ignored. SSL 3.0 to TLS 1.3: RFC 8446, RFC 5246, RFC 6066. Plain text before the handshake (STARTTLS) is skipped.
//!
//! Encrypted messages (certificates of 1.3, alerts after the hellos), QUIC, DTLS, and hellos in the format of SSL 2.0 are not supported.

mod connection;
mod event;
mod fields;
mod fingerprint;
mod hello;
mod names;
mod search;
mod wire;
mod x509;

use super::{CommonOptions, Plugin, Probe, Protocol, kit::shared::Shared};
use crate::{
    config,
    event::{Details, Summary},
    net::Direction,
};
use serde::Deserialize;
use wire::message;

/// The protocol `tls`.
pub const PROTOCOL: Protocol = Protocol {
    summary: Summary {
        resource: &["{tls.client.server_name}"],
        query: &["{tls.client.server_name} {tls.cipher}", "{tls.client.server_name}", "{tls.cipher}"],
        details: Details::Tls {
            server_name: "tls.client.server_name",
            version: "tls.version",
            cipher: "tls.cipher",
            certificate_end: "tls.server.not_after",
        },
        ..Summary::HEAD
    },
    ..Protocol::over_tcp("tls", &[443, 993, 995, 5223, 8443, 8883, 9243], open, probe, fields::FIELDS)
};

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    /// Show certificates in detail.
    send_certificates: bool,
    /// Show certificates as PEM.
    include_raw_certificates: bool,
    /// Show `tls.detailed` and `x509`.
    include_detailed_fields: bool,
    /// Hashes of certificates to report.
    fingerprints: Vec<Fingerprint>,
}

/// A hash of a certificate.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Fingerprint {
    Md5,
    Sha1,
    Sha256,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            send_certificates: true,
            include_raw_certificates: false,
            include_detailed_fields: true,
            fingerprints: vec![Fingerprint::Sha1],
        }
    }
}

/// The options of the protocol.
pub struct Tls {
    common: CommonOptions,
    options: Options,
}

fn open(node: &config::Node) -> Result<Box<dyn Plugin>, config::Error> {
    Ok(Box::new(Shared::new(Tls { common: node.read()?, options: node.read()? }, connection::Connection::new)))
}

/// Recognises a hello of either side. The parser determines which side is the client.
fn probe(_dir: Direction, data: &[u8]) -> Probe {
    match wire::is_hello(data, message::CLIENT_HELLO) {
        Probe::No => wire::is_hello(data, message::SERVER_HELLO),
        other => other,
    }
}

#[cfg(test)]
mod tests;

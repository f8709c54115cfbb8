//! Reports a handshake as a document.

use super::{
    Fingerprint, Options, fingerprint,
    hello::{Shown, listed},
    names::{self, Name},
    wire::{self, Hello, extension},
    x509::{Certificate, Name as Holder},
};
use crate::{
    event::{Head, Status, Text, text::Hex},
    net::Direction,
    protocols::{Context, kit::held::Held},
    time::Timestamp,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use md5::{Digest, Md5};
use serde::Serialize;
use sha1::Sha1;
use sha2::Sha256;

/// The captured parts of a handshake. Messages are kept as bytes and parsed when the event is made.
#[derive(Default)]
pub struct Handshake {
    /// Body of the client's first hello; empty if it was not captured.
    pub client_hello: Vec<u8>,
    /// Body of the server's hello, or of its HelloRetryRequest until then; empty if not captured.
    pub server_hello: Vec<u8>,
    /// Bodies of the certificate messages, the client's first; empty if not captured.
    pub chains: [Vec<u8>; 2],
    /// Whether key exchange messages were captured (up to TLS 1.2).
    pub keys_exchanged: bool,
    /// Whether the server asked for a certificate (up to TLS 1.2).
    pub certificate_requested: bool,
    /// The status in the stapled OCSP response.
    pub ocsp: Option<u8>,
    /// Unencrypted alerts: sender, severity, code.
    pub alerts: Vec<(Direction, u8, u8)>,
    /// Time of the first hello.
    pub start: Option<Timestamp>,
    /// Time of the message or error that ended the handshake.
    pub end: Option<Timestamp>,
}

impl Held for Handshake {
    fn held(&self) -> usize {
        self.client_hello.held() + self.server_hello.held() + self.chains.held() + self.alerts.held()
    }
}

impl Handshake {
    /// Whether there is anything to report.
    pub fn is_known(&self) -> bool {
        !self.client_hello.is_empty() || !self.server_hello.is_empty()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    tls: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    established: bool,
    resumed: bool,
    version: Name,
    version_protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cipher: Option<Name>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    next_protocol: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<Client<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Server<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detailed: Option<Detailed<'a>>,
}

#[derive(Default, Serialize)]
struct Client<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    ja3: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    ja4: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ech: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    server_name: Text<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    supported_ciphers: Vec<Name>,
    #[serde(flatten)]
    party: Party<'a>,
}

#[derive(Serialize)]
struct Server<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    ja3s: String,
    #[serde(flatten)]
    party: Party<'a>,
}

/// Fields from the certificate of a side.
#[derive(Default, Serialize)]
struct Party<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    subject: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    issuer: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    not_before: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    not_after: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<Hashes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x509: Option<&'a Certificate>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificate_chain: Vec<String>,
}

#[derive(Serialize)]
struct Hashes {
    #[serde(skip_serializing_if = "str::is_empty")]
    md5: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    sha1: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    sha256: String,
}

#[derive(Serialize)]
struct Detailed<'a> {
    version: Name,
    client_certificate_requested: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_hello: Option<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_hello: Option<Shown<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    resumption_method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ocsp_response: Option<Name>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    client_certificate_chain: &'a [Certificate],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    server_certificate_chain: &'a [Certificate],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alerts: Vec<Alert>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alert_types: Vec<Name>,
}

#[derive(Serialize)]
struct Alert {
    severity: Name,
    code: u8,
    #[serde(rename = "type")]
    kind: Name,
    source: &'static str,
}

/// The certificates of one side that could be parsed, and their bytes.
struct CertificateChain<'a> {
    der: Vec<&'a [u8]>,
    parsed: Vec<Certificate>,
}

impl<'a> CertificateChain<'a> {
    fn new(message: &'a [u8], digits: u8) -> Self {
        let pairs = wire::certificates(message).filter_map(|der| Certificate::read(der, digits).map(|c| (der, c)));
        let (der, parsed) = pairs.unzip();
        Self { der, parsed }
    }

    fn party(&'a self, options: &Options) -> Party<'a> {
        let (Some(der), Some(holder)) = (self.der.first(), self.parsed.first()) else { return Party::default() };
        let raw = if options.include_raw_certificates { self.der.as_slice() } else { &[] };
        let text = |name: &'a Holder| name.distinguished_name.as_str();
        Party {
            subject: text(&holder.subject),
            issuer: text(&holder.issuer),
            not_before: &holder.not_before,
            not_after: &holder.not_after,
            hash: hashes(der, &options.fingerprints),
            x509: Some(holder).filter(|_| options.send_certificates && options.include_detailed_fields),
            certificate_chain: raw.iter().map(|der| pem(der)).collect(),
        }
    }

    /// All certificates except the holder's own.
    fn issuers(&self, options: &Options) -> &[Certificate] {
        self.parsed.get(1..).filter(|_| options.send_certificates).unwrap_or_default()
    }
}

fn hashes(der: &[u8], wanted: &[Fingerprint]) -> Option<Hashes> {
    let of = |which, digest: fn(&[u8]) -> String| if wanted.contains(&which) { digest(der) } else { String::new() };
    (!wanted.is_empty()).then(|| Hashes {
        md5: of(Fingerprint::Md5, |der| format!("{:#}", Hex(&Md5::digest(der)))),
        sha1: of(Fingerprint::Sha1, |der| format!("{:#}", Hex(&Sha1::digest(der)))),
        sha256: of(Fingerprint::Sha256, |der| format!("{:#}", Hex(&Sha256::digest(der)))),
    })
}

/// A certificate as PEM (RFC 7468).
fn pem(der: &[u8]) -> String {
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in der.chunks(48) {
        BASE64_STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// How a session is resumed: by a pre-shared key of TLS 1.3, a session id or a ticket. The text is empty if the session is not resumed.
fn resumption(client: Option<&Hello<'_>>, server: Option<&Hello<'_>>, keys_exchanged: bool) -> &'static str {
    let (Some(client), Some(server)) = (client, server) else { return "" };
    if wire::is_13(server.settled_version()) {
        return if server.extension(extension::PRE_SHARED_KEY).is_some() { "psk" } else { "" };
    }
    if keys_exchanged {
        ""
    } else if !client.session_id.is_empty() && client.session_id == server.session_id {
        "id"
    } else if client.extension(extension::SESSION_TICKET).is_some_and(|t| !t.is_empty())
        && server.extension(extension::SESSION_TICKET).is_some()
    {
        "ticket"
    } else {
        ""
    }
}

fn client<'a>(hello: Option<&Hello<'a>>, party: Party<'a>) -> Option<Client<'a>> {
    let Some(hello) = hello else {
        return (!party.subject.is_empty() || party.hash.is_some()).then(|| Client { party, ..Client::default() });
    };
    let name = hello.server_name().unwrap_or_default();
    Some(Client {
        ja3: fingerprint::md5(&fingerprint::ja3_text(hello)),
        ja4: fingerprint::ja4(hello),
        ech: hello.extension(extension::ENCRYPTED_CLIENT_HELLO).map(|_| Text(name)),
        server_name: Text(name),
        supported_ciphers: listed(hello.ciphers(), names::cipher),
        party,
    })
}

/// Reports the handshake.
pub fn emit(seen: &Handshake, established: bool, options: &Options, cx: &mut Context<'_>) {
    let client_hello = Hello::client(&seen.client_hello);
    let server_hello = Hello::server(&seen.server_hello);
    let digits = cx.digits();
    let chains = seen.chains.each_ref().map(|message| CertificateChain::new(message, digits));
    let settled = server_hello.as_ref().map(Hello::settled_version);
    let version = settled.or(client_hello.map(|h| h.version)).unwrap_or_default();
    let (version_protocol, version_text) = names::version_parts(version);
    let method = resumption(client_hello.as_ref(), server_hello.as_ref(), seen.keys_exchanged);
    let detailed = options.include_detailed_fields.then(|| Detailed {
        version: names::version(version),
        client_certificate_requested: seen.certificate_requested,
        client_hello: client_hello.map(|hello| Shown { hello, client: true }),
        server_hello: server_hello.map(|hello| Shown { hello, client: false }),
        resumption_method: method,
        ocsp_response: seen.ocsp.map(names::ocsp_status),
        client_certificate_chain: chains[0].issuers(options),
        server_certificate_chain: chains[1].issuers(options),
        alerts: seen.alerts.iter().map(alert).collect(),
        alert_types: seen.alerts.iter().map(|a| names::alert(a.2)).collect(),
    });
    let server_party = chains[1].party(options);
    let server_known = server_hello.is_some() || !chains[1].der.is_empty();
    let body = Body {
        tls: Fields {
            established,
            resumed: !method.is_empty(),
            version: version_text,
            version_protocol,
            cipher: server_hello.and_then(|h| h.ciphers().next()).map(names::cipher),
            next_protocol: Text(server_hello.and_then(|h| h.protocol()).unwrap_or_default()),
            client: client(client_hello.as_ref(), chains[0].party(options)),
            server: server_known.then(|| Server {
                ja3s: server_hello.map(|h| fingerprint::md5(&fingerprint::ja3s_text(&h))).unwrap_or_default(),
                party: server_party,
            }),
            detailed,
        },
    };
    let head = Head {
        status: if established { Status::OK } else { Status::Error },
        start: seen.start,
        end: seen.end,
        destination_domain: Text(client_hello.and_then(|h| h.server_name()).unwrap_or_default()),
        ..Head::new("tls")
    };
    cx.emit(&head, &body);
}

fn alert(&(from, severity, code): &(Direction, u8, u8)) -> Alert {
    let source = match from {
        Direction::ToServer => "client",
        Direction::ToClient => "server",
    };
    Alert { severity: names::severity(severity), code, kind: names::alert(code), source }
}

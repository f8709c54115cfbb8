//! Writes a transaction as an ECS document, from its [`Head`], the two ends of its conversation and the fields of its
//! protocol.

use super::{
    Head, Text,
    process::{MainProcess, ProcessFields, Shape},
};
use crate::{
    net::{Direction, Peers},
    process::Ends,
    time::{TimeText, Timestamp},
};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};
use std::net::{IpAddr, SocketAddr};

/// What the protocol does not know of a transaction, and the form of its document.
#[derive(Clone, Copy, Debug)]
pub struct Writing<'a> {
    /// Number of fractional digits of timestamps: 3, 6 or 9.
    pub digits: u8,
    /// The value of the field `network.direction`.
    pub direction: &'static str,
    /// The processes that the document names.
    pub processes: &'a Ends,
}

/// A complete transaction document, without the constants that processors add.
#[derive(Serialize)]
pub struct Whole<'a, B> {
    #[serde(rename = "@timestamp")]
    timestamp: TimeText,
    #[serde(rename = "type")]
    kind: &'a str,
    status: super::Status,
    event: Event<'a>,
    source: Side<'a>,
    destination: Side<'a>,
    client: Side<'a>,
    server: Side<'a>,
    network: Network<'a>,
    related: Related<'a>,
    #[serde(skip_serializing_if = "Error::is_empty")]
    error: Error<'a>,
    #[serde(flatten)]
    process: MainProcess<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Text<'a>>,
    #[serde(flatten)]
    body: &'a B,
}

impl<'a, B: Serialize> Whole<'a, B> {
    /// Makes the document of `head` and `body` for a transaction between `peers`.
    pub fn new(peers: &'a Peers, head: &'a Head<'a>, body: &'a B, writing: Writing<'a>) -> Self {
        let start = head.start.or(head.end).unwrap_or_default();
        let (from, to) = (peers.sender(head.from), peers.receiver(head.from));
        let source = Side { end: from, domain: Text(head.source_domain.as_bytes()), bytes: head.source_bytes, process: None };
        let destination = Side { end: to, domain: head.destination_domain, bytes: head.destination_bytes, process: None };
        let (client, server) = match head.from {
            Direction::ToServer => (source, destination),
            Direction::ToClient => (destination, source),
        };
        let time = |t: Timestamp| t.text(writing.digits);
        let Ends { source: from_process, destination: to_process } = writing.processes;
        let process = |process| ProcessFields::of_end(process, Shape::Transaction, writing.digits);
        Self {
            timestamp: time(start),
            kind: head.dataset,
            status: head.status,
            event: Event {
                kind: "event",
                category: head.categories,
                types: head.types,
                dataset: head.dataset,
                start: head.start.map(time),
                end: head.end.map(time),
                duration: head.start.zip(head.end).map(|(start, end)| end.since(start)),
                action: head.action,
                outcome: head.outcome,
                reason: head.reason,
                sequence: head.sequence,
                original: head.original,
            },
            source: Side { process: from_process.as_deref().map(process), ..source },
            destination: Side { process: to_process.as_deref().map(process), ..destination },
            client,
            server,
            network: Network {
                version: if from.is_ipv4() { "ipv4" } else { "ipv6" },
                transport: peers.transport.name(),
                protocol: head.protocol,
                application: head.application,
                iana_number: head.iana_number,
                bytes: head.source_bytes.saturating_add(head.destination_bytes),
                community_id: peers.community_id().as_str(),
                direction: writing.direction,
                forwarded_ip: head.forwarded_ip,
            },
            related: Related {
                ip: Ips { head, ends: [from.ip(), to.ip()] },
                hosts: Distinct(head.related_hosts),
                user: Distinct(head.related_users),
            },
            error: Error { message: Notes(head.notes) },
            process: MainProcess::of(writing.processes, Shape::Transaction, writing.digits, head.names_user),
            method: head.method,
            path: head.path,
            resource: head.resource,
            query: head.query,
            request: head.request,
            response: head.response,
            body,
        }
    }
}

#[derive(Serialize)]
struct Event<'a> {
    kind: &'a str,
    category: &'a [&'a str],
    #[serde(rename = "type")]
    types: &'a [&'a str],
    dataset: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<TimeText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<TimeText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    action: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    outcome: &'a str,
    #[serde(skip_serializing_if = "Text::is_empty")]
    reason: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<Text<'a>>,
}

/// One end of a transaction, as it is written to `source`, `destination`, `client` and `server`: `ip`, and if known
/// `port`, `domain`, `bytes` and, in `source` and `destination`, `process`.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    end: SocketAddr,
    domain: Text<'a>,
    bytes: u64,
    process: Option<ProcessFields<'a>>,
}

impl Serialize for Side<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ip", &self.end.ip())?;
        if self.end.port() != 0 {
            map.serialize_entry("port", &self.end.port())?;
        }
        if !self.domain.is_empty() {
            map.serialize_entry("domain", &self.domain)?;
        }
        if self.bytes != 0 {
            map.serialize_entry("bytes", &self.bytes)?;
        }
        if let Some(process) = &self.process {
            map.serialize_entry("process", process)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Network<'a> {
    #[serde(rename = "type")]
    version: &'a str,
    transport: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    protocol: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    application: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    iana_number: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    bytes: u64,
    community_id: &'a str,
    direction: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarded_ip: Option<IpAddr>,
}

// serde requires this signature.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[derive(Serialize)]
struct Related<'a> {
    ip: Ips<'a>,
    #[serde(skip_serializing_if = "Distinct::is_empty")]
    hosts: Distinct<'a>,
    #[serde(skip_serializing_if = "Distinct::is_empty")]
    user: Distinct<'a>,
}

struct Ips<'a> {
    head: &'a Head<'a>,
    ends: [IpAddr; 2],
}

impl Serialize for Ips<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = || self.head.related_ips_first.iter().chain(&self.ends).chain(self.head.related_ips);
        let mut seq = serializer.serialize_seq(None)?;
        for (i, ip) in all().enumerate() {
            if !all().take(i).any(|earlier| earlier == ip) {
                seq.serialize_element(ip)?;
            }
        }
        seq.end()
    }
}

struct Distinct<'a>(&'a [Text<'a>]);

impl Distinct<'_> {
    fn is_empty(&self) -> bool {
        self.0.iter().all(Text::is_empty)
    }
}

impl Serialize for Distinct<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        for (i, text) in self.0.iter().enumerate() {
            if !text.is_empty() && !self.0[..i].contains(text) {
                seq.serialize_element(text)?;
            }
        }
        seq.end()
    }
}

#[derive(Serialize)]
struct Error<'a> {
    message: Notes<'a>,
}

impl Error<'_> {
    fn is_empty(&self) -> bool {
        self.message.0.is_empty()
    }
}

struct Notes<'a>(&'a [&'a str]);

impl Serialize for Notes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [one] => serializer.serialize_str(one),
            several => several.serialize(serializer),
        }
    }
}

//! Reads documents, as outputs write them, back into the summaries that an observer gets. This module reads no file.

use super::{Observer, Transaction, end, texts};
use crate::{
    event::{
        Picked, Summary, summary,
        tree::{Object, Tree},
    },
    net::{Direction, Realm, Transport},
    process::{Ends, Process},
    time::Timestamp,
};
use serde_json::Value;
use std::{ops::Range, sync::Arc, time::Duration};

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A transaction, which the observer got.
    Transaction,
    /// A report of a flow. Its counts are not those since the first packet of the flow, so the observer does not get it.
    Flow,
}

/// Reads documents.
pub struct Documents {
    /// The name of each protocol, its summary, and the fields of the summary.
    protocols: Vec<(&'static str, Summary, Picked)>,
    /// The summary of other types, which processors can make.
    other: (Summary, Picked),
    /// Buffer for the texts of a summary.
    texts: String,
}

impl Documents {
    /// Makes a reader. `protocols`: the names of the protocols with their summaries.
    pub fn new(protocols: impl IntoIterator<Item = (&'static str, Summary)>) -> Self {
        let picked = |summary: &Summary| {
            let mut names = summary.fields();
            if !names.contains(&"status") {
                names.push("status");
            }
            Picked::new(names)
        };
        let protocols = protocols.into_iter().map(|(name, summary)| (name, summary, picked(&summary))).collect();
        Self { protocols, other: (Summary::HEAD, picked(&Summary::HEAD)), texts: String::new() }
    }

    /// Reads a document of JSON, and passes a transaction to the observer.
    ///
    /// # Errors
    /// When the text is not a document. The error says why.
    pub fn read(&mut self, text: &[u8], observer: &mut dyn Observer) -> Result<Kind, String> {
        let object: Object = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let document = Tree::from(object);
        let string = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
        let time = |name: &str| Timestamp::parse(string(name));
        let protocol = string("type");
        let Some(at) = time("@timestamp").filter(|_| !protocol.is_empty()) else {
            return Err("it has no @timestamp or no type, as events of the network have".to_owned());
        };
        if protocol == "flow" {
            return Ok(Kind::Flow);
        }
        let (summary, picked) = match self.protocols.iter_mut().find(|(name, ..)| *name == protocol) {
            Some((_, summary, picked)) => (*summary, picked),
            None => (self.other.0, &mut self.other.1),
        };
        picked.fill(&document.fields);
        self.texts.clear();
        let mut made = |formats: &'static [&'static str]| {
            let start = self.texts.len();
            summary::write(formats, |name| picked.get(name), &mut self.texts);
            start..self.texts.len()
        };
        let (method, resource, query, result) = (made(summary.method), made(summary.resource), made(summary.query), made(summary.result));
        let text = |range| self.texts.get::<Range<usize>>(range).unwrap_or_default();
        let number = |name: &str| document.get(name).and_then(Value::as_u64);
        let transport = match string("network.transport") {
            "udp" => Transport::Udp,
            "sctp" => Transport::Sctp,
            "icmp" => Transport::Icmp,
            "ipv6-icmp" => Transport::Icmp6,
            _ => Transport::Tcp,
        };
        let (source, destination) = (end(&document, "source.ip", "source.port"), end(&document, "destination.ip", "destination.port"));
        let client = end(&document, "client.ip", "client.port");
        let is_reversed = client.is_some() && client == destination && client != source;
        let notes = document.get("error.message").map(texts).unwrap_or_default();
        let process = |name: &str, pid: &str| {
            let name = string(name);
            let pid = number(pid).and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
            (!name.is_empty()).then(|| Arc::new(Process { pid, name: name.to_owned(), ..Process::default() }))
        };
        let processes = Ends {
            source: process("source.process.name", "source.process.pid"),
            destination: process("destination.process.name", "destination.process.pid"),
        };
        observer.transaction(&Transaction {
            protocol,
            realm: Realm::default(),
            transport,
            from: if is_reversed { Direction::ToClient } else { Direction::ToServer },
            source,
            destination,
            time: at,
            start: time("event.start"),
            end: time("event.end"),
            duration: number("event.duration").map(Duration::from_nanos),
            source_bytes: number("source.bytes").unwrap_or(0),
            destination_bytes: number("destination.bytes").unwrap_or(0),
            method: text(method),
            resource: text(resource),
            query: text(query),
            result: text(result),
            status: picked.get("status"),
            details: summary.details.map(|name| picked.get(name)),
            notes: &notes,
            processes: &processes,
        });
        Ok(Kind::Transaction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Details, net::FlowRecord};

    /// Keeps what it gets as text.
    #[derive(Default)]
    struct Seen(Vec<String>);

    impl Observer for Seen {
        fn transaction(&mut self, of: &Transaction<'_>) {
            let ends = [of.source, of.destination].map(|end| end.map_or_else(String::new, |end| end.to_string()));
            self.0.push(format!("{} {} {}>{} {:?} {:?} {:?}", of.protocol, of.query, ends[0], ends[1], of.duration, of.details, of.notes));
        }

        fn flow(&mut self, _: &FlowRecord, _: &Ends) {}
    }

    fn documents() -> Documents {
        let details =
            Details::Dns { name: "dns.question.name", kind: "dns.question.type", code: "dns.response_code", addresses: "dns.resolved_ip" };
        Documents::new([("dns", Summary { query: &["{dns.question.type} {dns.question.name}"], details, ..Summary::HEAD })])
    }

    #[test]
    fn a_document_becomes_a_summary() {
        let mut seen = Seen::default();
        let mut read = |text: &str| documents().read(text.as_bytes(), &mut seen);
        let dns = r#"{"@timestamp":"2026-01-02T03:04:05.678Z","type":"dns","status":"OK","source":{"ip":"10.0.0.7","port":4000},
            "destination":{"ip":"fd00::1","port":53},"network":{"transport":"udp"},"event":{"duration":1500},
            "dns":{"question":{"name":"x.org","type":"A"},"response_code":"NOERROR","resolved_ip":["10.0.0.9","fd00::9"]},"error":{"message":["a","b"]}}"#;
        assert_eq!(read(dns), Ok(Kind::Transaction));
        assert_eq!(read(r#"{"@timestamp":"2026-01-02T03:04:05Z","type":"made","query":"Q"}"#), Ok(Kind::Transaction));
        assert_eq!(read(r#"{"@timestamp":"2026-01-02T03:04:05Z","type":"flow"}"#), Ok(Kind::Flow));
        let details = r#"Dns { name: "x.org", kind: "A", code: "NOERROR", addresses: "10.0.0.9 fd00::9" }"#;
        let first = format!("dns A x.org 10.0.0.7:4000>[fd00::1]:53 Some(1.5µs) {details} [\"a\", \"b\"]");
        assert_eq!(seen.0, [first, "made Q > None None []".to_owned()]);
    }

    #[test]
    fn other_lines_are_no_documents() {
        let mut seen = Seen::default();
        for text in ["", "x", "[]", "{", "{}", r#"{"type":"dns"}"#, r#"{"@timestamp":"x","type":"dns"}"#, "{\"type\":\"\u{1}\"}", "\u{0}"] {
            let result = documents().read(text.as_bytes(), &mut seen);
            assert!(result.is_err(), "{text}: {result:?}");
        }
        let deep = "{\"a\":".repeat(10_000);
        assert!(documents().read(deep.as_bytes(), &mut seen).is_err(), "nesting is limited");
        assert_eq!(seen.0, Vec::<String>::new());
    }
}

//! A typed summary of each event for views, so that a view does not parse JSON. This module contains neither the document nor a view.

pub mod documents;

use super::{
    PublisherId,
    settings::{Publishing, State},
};
pub use crate::event::Details;
use crate::{
    event::{
        Head, Picked, Summary, summary,
        tree::{Object, Tree},
    },
    net::{Direction, FlowRecord, Peers, Realm, Transport},
    process::Ends,
    processors::Chain,
    time::Timestamp,
};
use serde::Serialize;
use serde_json::Value;
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Receives the events of one worker that the processors keep, as the processors leave them. It is called in the packet
/// path, so it must not wait.
pub trait Observer: Send {
    /// Receives a transaction.
    fn transaction(&mut self, of: &Transaction<'_>);

    /// Receives a flow when its report is due, with everything counted since its first packet, and the processes at its ends. Changes that
    /// processors make to the report's document are not visible here.
    fn flow(&mut self, of: &FlowRecord, processes: &Ends);
}

/// The summary of one transaction. A field that a processor removed from the event is empty, `None` or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction<'a> {
    /// The value of `type`: the protocol's name.
    pub protocol: &'a str,
    /// The network that the addresses belong to. It contains VLAN ids only with `track_vlans`.
    pub realm: Realm,
    /// The transport protocol.
    pub transport: Transport,
    /// The side of the connection that is `source`: `ToServer` if the client is.
    pub from: Direction,
    /// The sender of the request; port 0 for transports without ports.
    pub source: Option<SocketAddr>,
    /// The receiver of the request.
    pub destination: Option<SocketAddr>,
    /// The time of the event: its start, or its end if the start was not captured.
    pub time: Timestamp,
    /// Time of the first byte of the request.
    pub start: Option<Timestamp>,
    /// Time of the first segment of the response.
    pub end: Option<Timestamp>,
    /// Time between start and end.
    pub duration: Option<Duration>,
    /// Application bytes that the source sent.
    pub source_bytes: u64,
    /// Application bytes that the destination sent.
    pub destination_bytes: u64,
    /// The kind of request.
    pub method: &'a str,
    /// The object of the request.
    pub resource: &'a str,
    /// The request as one line of text.
    pub query: &'a str,
    /// The result in the protocol's terms; empty if the protocol declares none.
    pub result: &'a str,
    /// The result in the terms that all protocols use: `OK`, `Error`, …
    pub status: &'a str,
    /// What this protocol's events have in particular.
    pub details: Details<'a>,
    /// Notes about the transaction (`error.message`).
    pub notes: &'a [&'a str],
    /// The processes at both ends, whether or not the document names them, and whatever processors do with its fields.
    pub processes: &'a Ends,
}

/// What is known about a transaction besides its document.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) peers: &'a Peers,
    pub(super) head: &'a Head<'a>,
    pub(super) processes: &'a Ends,
}

/// The source from which the summary of an event is read.
pub(super) enum Kept {
    /// The event: neither constants nor processors change a field of the summary.
    AsEmitted,
    /// The document in the sink's buffer: constants were merged into fields of the summary.
    Merged,
    /// The event as the processors left it.
    Edited(Tree),
}

/// Fields that every summary has, whatever the protocol.
const COMMON: [&str; 10] = [
    "type",
    "source.ip",
    "source.port",
    "source.bytes",
    "destination.ip",
    "destination.port",
    "destination.bytes",
    "event.start",
    "event.end",
    "event.duration",
];

/// The observer of a sink, and the readers of summaries.
pub(super) struct Observing {
    observer: Box<dyn Observer>,
    /// One reader per [`PublisherId`]. A publisher that is no longer configured keeps its reader, because the sink keeps its chain.
    readers: Vec<Option<Reader>>,
    /// Buffer for the strings of a summary.
    texts: String,
}

/// Reads the summaries of one publisher's events.
struct Reader {
    summary: Summary,
    picked: Picked,
    /// Whether the summary can be read from the event as it was emitted, see [`Kept::AsEmitted`].
    as_emitted: bool,
}

impl Reader {
    fn new(summary: Summary, chain: &Chain) -> Self {
        let mut names = summary.fields();
        if !names.contains(&"status") {
            names.push("status");
        }
        let unchanged = |name: &&str| chain.constants().get(name).is_none();
        let as_emitted = chain.is_fast() && names.iter().chain(&COMMON).chain(&["error.message"]).all(unchanged);
        Self { summary, picked: Picked::new(names), as_emitted }
    }
}

impl Observing {
    pub(super) fn new(observer: Box<dyn Observer>) -> Self {
        Self { observer, readers: Vec::new(), texts: String::new() }
    }

    /// Prepares the readers. The method is called before the first event, and whenever constants or processors have changed.
    pub(super) fn prepare(&mut self, publishing: &Publishing, state: &State) {
        for (id, summary) in publishing.summaries() {
            if self.readers.len() <= id.index() {
                self.readers.resize_with(id.index() + 1, || None);
            }
            if let (Some(reader), Some(chain)) = (self.readers.get_mut(id.index()), state.chain(id)) {
                *reader = Some(Reader::new(summary, chain));
            }
        }
    }

    /// Decides from which source the summary of an event is read. `edited` is the event if it was converted to a tree.
    pub(super) fn kept(&self, publisher: PublisherId, edited: Option<Tree>) -> Kept {
        match (edited, self.readers.get(publisher.index()).and_then(Option::as_ref)) {
            (Some(tree), _) => Kept::Edited(tree),
            (None, Some(reader)) if !reader.as_emitted => Kept::Merged,
            (None, _) => Kept::AsEmitted,
        }
    }

    /// Passes a transaction to the observer. `event` is the emitted event, `written` the document in the buffer.
    pub(super) fn transaction<E: Serialize>(
        &mut self,
        publisher: PublisherId,
        about: &About<'_>,
        event: &E,
        (kept, written): (Kept, &[u8]),
    ) {
        let Some(Some(reader)) = self.readers.get_mut(publisher.index()) else { return };
        let left = match kept {
            Kept::AsEmitted => {
                reader.picked.fill(event);
                return self.show(publisher, about, None);
            }
            Kept::Edited(tree) => tree,
            Kept::Merged => match serde_json::from_slice::<Object>(written) {
                Ok(object) => Tree::from(object),
                // This cannot happen: the document was just written.
                Err(_) => return,
            },
        };
        reader.picked.fill(&left.fields);
        self.show(publisher, about, Some(&left));
    }

    /// Passes the summary of a transaction to the observer. `left` is the event after constants and processors, if they change a field of
    /// the summary.
    fn show(&mut self, publisher: PublisherId, about: &About<'_>, left: Option<&Tree>) {
        let About { peers, head, processes } = *about;
        let Some(Some(Reader { summary, picked, .. })) = self.readers.get(publisher.index()) else { return };
        self.texts.clear();
        let mut made = |formats: &'static [&'static str]| {
            let start = self.texts.len();
            summary::write(formats, |name| picked.get(name), &mut self.texts);
            start..self.texts.len()
        };
        let (method, resource, query, result) = (made(summary.method), made(summary.resource), made(summary.query), made(summary.result));
        let text = |range| self.texts.get::<std::ops::Range<usize>>(range).unwrap_or_default();
        let mut transaction = Transaction {
            protocol: head.dataset,
            realm: peers.realm,
            transport: peers.transport,
            from: head.from,
            source: Some(peers.sender(head.from)),
            destination: Some(peers.receiver(head.from)),
            time: head.start.or(head.end).unwrap_or_default(),
            start: head.start,
            end: head.end,
            duration: head.start.zip(head.end).map(|(start, end)| Duration::from_nanos(end.since(start))),
            source_bytes: head.source_bytes,
            destination_bytes: head.destination_bytes,
            method: text(method),
            resource: text(resource),
            query: text(query),
            result: text(result),
            status: picked.get("status"),
            details: summary.details.map(|name| picked.get(name)),
            notes: head.notes,
            processes,
        };
        let notes;
        if let Some(left) = left {
            notes = left.get("error.message").map(texts).unwrap_or_default();
            let number = |name: &str| left.get(name).and_then(Value::as_u64);
            transaction.protocol = left.get("type").and_then(Value::as_str).unwrap_or_default();
            transaction.source = end(left, "source.ip", "source.port");
            transaction.destination = end(left, "destination.ip", "destination.port");
            transaction.start = head.start.filter(|_| left.has("event.start"));
            transaction.end = head.end.filter(|_| left.has("event.end"));
            transaction.duration = number("event.duration").map(Duration::from_nanos);
            transaction.source_bytes = number("source.bytes").unwrap_or(0);
            transaction.destination_bytes = number("destination.bytes").unwrap_or(0);
            transaction.notes = &notes;
        }
        self.observer.transaction(&transaction);
    }

    pub(super) fn flow(&mut self, record: &FlowRecord, processes: &Ends) {
        self.observer.flow(record, processes);
    }
}

fn end(event: &Tree, ip: &str, port: &str) -> Option<SocketAddr> {
    let ip: IpAddr = event.get(ip)?.as_str()?.parse().ok()?;
    let port = event.get(port).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    Some(SocketAddr::new(ip, port.unwrap_or(0)))
}

/// The strings of a value: the value itself, or the items of a list.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        value => value.as_str().into_iter().collect(),
    }
}

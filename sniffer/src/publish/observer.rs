//! A typed summary of each event for whoever shows events to people, so that a view never reads JSON. Not the document, and not a view.

use super::{
    PublisherId,
    settings::{Publishing, State},
};
use crate::{
    event::{Head, Picked, Summary, summary, tree::Tree},
    net::{Direction, FlowRecord, Peers, Realm, Transport},
    processors::Chain,
    time::Timestamp,
};
use serde::Serialize;
use serde_json::Value;
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Is shown the events of one worker: those that the processors keep, as they leave them. Called in the packet path: it must not wait.
pub trait Observer: Send {
    /// A transaction.
    fn transaction(&mut self, of: &Transaction<'_>);

    /// A flow for which a report is due, with all that was counted of it since its first packet. What processors change in the report's
    /// document does not show here.
    fn flow(&mut self, of: &FlowRecord);
}

/// The summary of one transaction. A field that a processor took out of the event is empty, `None` or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction<'a> {
    /// `type`: the protocol's name.
    pub protocol: &'a str,
    /// The network that the ends' addresses belong to; without VLAN ids unless `track_vlans` is on.
    pub realm: Realm,
    /// What carries it.
    pub transport: Transport,
    /// Which side of the connection is `source`: `ToServer` where it is the client.
    pub from: Direction,
    /// Who asked; port 0 where there are no ports.
    pub source: Option<SocketAddr>,
    /// Who was asked.
    pub destination: Option<SocketAddr>,
    /// The time of the event: its start, or its end where the start was not seen.
    pub time: Timestamp,
    /// When the request began.
    pub start: Option<Timestamp>,
    /// When the response began.
    pub end: Option<Timestamp>,
    /// From start to end.
    pub duration: Option<Duration>,
    /// Application bytes that the source sent.
    pub source_bytes: u64,
    /// Application bytes that the destination sent.
    pub destination_bytes: u64,
    /// What kind of request it was.
    pub method: &'a str,
    /// What the request was about.
    pub resource: &'a str,
    /// The request in a line.
    pub query: &'a str,
    /// How it ended in the protocol's own words, where it has some.
    pub result: &'a str,
    /// How it ended as every protocol says it: `OK`, `Error`, …
    pub status: &'a str,
    /// What was noteworthy about it (`error.message`).
    pub notes: &'a [&'a str],
}

/// How the summary of an event that is kept is to be read.
pub(super) enum Kept {
    /// From the event: neither constants nor processors concern what a summary reads.
    AsEmitted,
    /// From the document in the sink's buffer: constants were merged over what a summary reads.
    Merged,
    /// From the event as the processors left it.
    Edited(Tree),
}

/// Fields that a summary shows of every protocol.
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

/// The observer of a sink, and what is needed to read events for it.
pub(super) struct Observing {
    observer: Box<dyn Observer>,
    /// By [`PublisherId`]. A publisher that is not configured any more keeps its reader, as the sink keeps its chain.
    readers: Vec<Option<Reader>>,
    /// Room for the texts of a summary.
    texts: String,
}

/// Reads the summaries of a publisher's events.
struct Reader {
    summary: Summary,
    picked: Picked,
    /// See [`Kept::AsEmitted`].
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

    /// To be called when what is done to events has changed, and before the first event.
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

    /// How the summary of an event is to be read that the processors kept. `edited`: the event, where it became a tree.
    pub(super) fn kept(&self, publisher: PublisherId, edited: Option<Tree>) -> Kept {
        match (edited, self.readers.get(publisher.index()).and_then(Option::as_ref)) {
            (Some(tree), _) => Kept::Edited(tree),
            (None, Some(reader)) if !reader.as_emitted => Kept::Merged,
            (None, _) => Kept::AsEmitted,
        }
    }

    /// Shows a transaction. `event`: what was emitted; `written`: the document in the buffer.
    pub(super) fn transaction<E: Serialize>(
        &mut self,
        publisher: PublisherId,
        (peers, head): (&Peers, &Head<'_>),
        event: &E,
        (kept, written): (Kept, &[u8]),
    ) {
        let Some(Some(reader)) = self.readers.get_mut(publisher.index()) else { return };
        let left = match kept {
            Kept::AsEmitted => {
                reader.picked.fill(event);
                return self.show(publisher, peers, head, None);
            }
            Kept::Edited(tree) => tree,
            Kept::Merged => match serde_json::from_slice(written) {
                Ok(object) => Tree(object),
                // Not possible: the document was just written.
                Err(_) => return,
            },
        };
        reader.picked.fill(&left.0);
        self.show(publisher, peers, head, Some(&left));
    }

    /// `left`: the event as constants and processors left it, where they concern what a summary reads.
    fn show(&mut self, publisher: PublisherId, peers: &Peers, head: &Head<'_>, left: Option<&Tree>) {
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
            notes: head.notes,
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

    pub(super) fn flow(&mut self, record: &FlowRecord) {
        self.observer.flow(record);
    }
}

fn end(event: &Tree, ip: &str, port: &str) -> Option<SocketAddr> {
    let ip: IpAddr = event.get(ip)?.as_str()?.parse().ok()?;
    let port = event.get(port).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    Some(SocketAddr::new(ip, port.unwrap_or(0)))
}

/// The texts of a value: one, or those of a list.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        value => value.as_str().into_iter().collect(),
    }
}

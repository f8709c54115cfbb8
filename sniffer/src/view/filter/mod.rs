//! The filter language of views: words that select transactions and flows, such as `http status=error slow>100ms`. Words of one kind are
//! alternatives, and every kind must hold. This module decides what is shown, and not what is captured.

mod parse;
#[cfg(test)]
mod tests;
mod values;
mod words;

use crate::{
    net::{Direction, FlowRecord},
    process::{Ends, Process},
    publish::observer::Transaction,
};
use ipnet::IpNet;
use regex::Regex;
use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};
pub use words::Wrong;

/// A filter; the default selects everything.
#[derive(Clone, Debug, Default)]
pub struct Filter(Option<Expression>);

/// A part of a filter.
#[derive(Clone, Debug)]
enum Expression {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Is(Test),
}

/// What one word tests.
#[derive(Clone, Debug)]
enum Test {
    /// The name of the protocol; `flow` for flows.
    Protocol(String),
    /// The port of one end.
    Port(End, RangeInclusive<u16>),
    /// The address of one end.
    Network(End, IpNet),
    /// A text of the transaction.
    Text(Text, Comparison, Pattern),
    /// The result as a number.
    Code(Comparison, u64),
    Duration(Comparison, Duration),
    Bytes(Amount, Comparison, u64),
    /// A name of the process at one end.
    Process(Name, Comparison, Pattern),
    /// The id of the process at one end.
    Pid(Comparison, u64),
    /// Text that occurs in one of the texts of the transaction.
    Contains(Regex),
}

/// The end of a connection that a word is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Either,
    Client,
    Server,
    Source,
    Destination,
}

/// The texts of a transaction that have a word of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Status,
    Result,
    Method,
    Resource,
    Query,
    Note,
}

/// The names of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Process,
    User,
    Container,
    Service,
}

impl Name {
    fn of(self, process: &Process) -> &str {
        match self {
            Self::Process => &process.name,
            Self::User => &process.user_name,
            Self::Container => &process.container,
            Self::Service => &process.service,
        }
    }
}

/// Application bytes of one direction, or of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amount {
    Source,
    Destination,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Different,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Comparison {
    fn holds<T: PartialOrd>(self, value: &T, limit: &T) -> bool {
        match self {
            Self::Equal => value == limit,
            Self::Different => value != limit,
            Self::Less => value < limit,
            Self::AtMost => value <= limit,
            Self::Greater => value > limit,
            Self::AtLeast => value >= limit,
        }
    }
}

/// A text with `*` for any characters. Upper and lower case are alike.
#[derive(Clone, Debug)]
struct Pattern(Regex);

/// The parts of a transaction or a flow that filters test.
struct Subject<'a> {
    protocol: &'a str,
    /// Source and destination.
    ends: [Option<SocketAddr>; 2],
    /// Whether the client is the source.
    from_client: bool,
    /// Status, result, method, resource and query; all empty for flows.
    texts: [&'a str; 5],
    notes: &'a [&'a str],
    processes: &'a Ends,
    duration: Option<Duration>,
    /// Bytes of the source and of the destination.
    bytes: [u64; 2],
}

impl Filter {
    /// Reads a filter. `protocols`: the names that are words of the language.
    ///
    /// # Errors
    /// The first word that is wrong.
    pub fn parse(text: &str, protocols: &[&str]) -> Result<Self, Wrong> {
        parse::parse(text, protocols).map(Self)
    }

    /// Whether the filter selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the filter selects the transaction.
    pub fn selects(&self, of: &Transaction<'_>) -> bool {
        self.holds(|| Subject {
            protocol: of.protocol,
            ends: [of.source, of.destination],
            from_client: of.from == Direction::ToServer,
            texts: [of.status, of.result, of.method, of.resource, of.query],
            notes: of.notes,
            processes: of.processes,
            duration: of.duration,
            bytes: [of.source_bytes, of.destination_bytes],
        })
    }

    /// Whether the filter selects the flow, whose ends belong to `processes`. A flow has no texts and no result, so words about them select no flow.
    pub fn selects_flow(&self, of: &FlowRecord, processes: &Ends) -> bool {
        self.holds(|| Subject {
            protocol: "flow",
            ends: of.ends().map_or([None; 2], |ends| ends.map(Some)),
            from_client: true,
            texts: [""; 5],
            notes: &[],
            processes,
            duration: Some(Duration::from_nanos(of.end.since(of.start))),
            bytes: of.by_end().map(|count| count.bytes),
        })
    }

    fn holds<'a>(&self, subject: impl FnOnce() -> Subject<'a>) -> bool {
        self.0.as_ref().is_none_or(|expression| expression.holds(&subject()))
    }
}

impl Expression {
    fn holds(&self, of: &Subject<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(of)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(of)),
            Self::Not(part) => !part.holds(of),
            Self::Is(test) => test.holds(of),
        }
    }
}

impl Test {
    fn holds(&self, of: &Subject<'_>) -> bool {
        match self {
            Self::Protocol(name) => of.protocol == name,
            Self::Port(end, ports) => of.at(*end).any(|socket| ports.contains(&socket.port())),
            Self::Network(end, network) => of.at(*end).any(|socket| network.contains(&socket.ip().to_canonical())),
            Self::Text(text, Comparison::Different, pattern) => !of.has(*text, pattern),
            Self::Text(text, _, pattern) => of.has(*text, pattern),
            Self::Code(Comparison::Different, code) => of.text(Text::Result).parse() != Ok(*code),
            Self::Code(comparison, limit) => of.text(Text::Result).parse().is_ok_and(|code: u64| comparison.holds(&code, limit)),
            Self::Duration(comparison, limit) => of.duration.is_some_and(|duration| comparison.holds(&duration, limit)),
            Self::Bytes(amount, comparison, limit) => {
                let [source, destination] = of.bytes;
                let bytes = match amount {
                    Amount::Source => source,
                    Amount::Destination => destination,
                    Amount::Both => source.saturating_add(destination),
                };
                comparison.holds(&bytes, limit)
            }
            Self::Process(name, comparison, pattern) => {
                let found = of.processes().any(|process| pattern.0.is_match(name.of(process)));
                found != (*comparison == Comparison::Different)
            }
            Self::Pid(Comparison::Different, pid) => !of.processes().any(|process| u64::from(process.pid) == *pid),
            Self::Pid(comparison, pid) => of.processes().any(|process| comparison.holds(&process.pid.into(), pid)),
            Self::Contains(pattern) => of.texts.iter().chain(of.notes).any(|text| pattern.is_match(text)),
        }
    }
}

impl Subject<'_> {
    /// The addresses of an end: both for [`End::Either`].
    fn at(&self, end: End) -> impl Iterator<Item = SocketAddr> {
        let [source, destination] = self.ends;
        let (client, server) = if self.from_client { (source, destination) } else { (destination, source) };
        let (first, second) = match end {
            End::Either => (source, destination),
            End::Client => (client, None),
            End::Server => (server, None),
            End::Source => (source, None),
            End::Destination => (destination, None),
        };
        first.into_iter().chain(second)
    }

    /// The processes of both ends, as far as they are known.
    fn processes(&self) -> impl Iterator<Item = &Process> {
        let Ends { source, destination } = self.processes;
        source.iter().chain(destination).map(|process| &**process)
    }

    fn text(&self, text: Text) -> &str {
        let [status, result, method, resource, query] = self.texts;
        match text {
            Text::Status => status,
            Text::Result => result,
            Text::Method => method,
            Text::Resource => resource,
            Text::Query => query,
            Text::Note => self.notes.first().copied().unwrap_or_default(),
        }
    }

    fn has(&self, text: Text, pattern: &Pattern) -> bool {
        match text {
            Text::Note => self.notes.iter().any(|note| pattern.0.is_match(note)),
            text => pattern.0.is_match(self.text(text)),
        }
    }
}

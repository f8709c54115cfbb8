//! What every protocol implements, and the list of them. To add one: a folder, and one line in each list below.
//!
//! A protocol's folder has `wire.rs` (bytes → structs, pure), `mod.rs` (descriptor, configuration, state machine) and
//! `event.rs` (struct → [`Head`](crate::event::Head) and the protocol's own fields). No protocol knows another.

mod amqp;
mod cassandra;
mod context;
#[cfg(test)]
pub mod declaration_tests;
mod dhcpv4;
mod dns;
#[cfg(test)]
mod held_tests;
mod http;
mod icmp;
pub mod kit;
mod memcache;
mod mongodb;
mod mysql;
mod nfs;
#[cfg(test)]
mod page_tests;
mod pgsql;
mod redis;
mod sip;
#[cfg(test)]
pub mod testing;
mod thrift;
mod tls;

pub use context::{Context, Skipped, Times};

use crate::{
    config,
    event::{Field, Summary},
    net::{Direction, Transport},
};
use serde::Deserialize;
use std::time::Duration;

/// Every protocol there is, in the order of the reference configuration.
#[rustfmt::skip]
pub const PROTOCOLS: &[&Protocol] = &[
    &icmp::PROTOCOL,
    &amqp::PROTOCOL,
    &cassandra::PROTOCOL,
    &dhcpv4::PROTOCOL,
    &dns::PROTOCOL,
    &http::PROTOCOL,
    &memcache::PROTOCOL,
    &mysql::PROTOCOL,
    &pgsql::PROTOCOL,
    &redis::PROTOCOL,
    &thrift::PROTOCOL,
    &mongodb::PROTOCOL,
    &nfs::PROTOCOL,
    &tls::PROTOCOL,
    &sip::PROTOCOL,
];

/// All that the rest of the program knows of a protocol.
pub struct Protocol {
    /// The name in the configuration, and the `type` of its events.
    pub name: &'static str,
    /// The ports of the shipped configuration.
    pub ports: &'static [u16],
    /// What carries it.
    pub transports: &'static [Transport],
    /// Whether [`Protocol::ports`] apply where the configuration names the protocol and no ports. Otherwise it has none then.
    pub default_ports: bool,
    /// Reads its options.
    pub open: fn(&config::Node) -> Result<Box<dyn Plugin>, config::Error>,
    /// Says whether a connection is of this protocol, on a port that several protocols share or that no protocol has to itself. Looks at
    /// the first bytes of one direction.
    pub probe: fn(Direction, &[u8]) -> Probe,
    /// Every field that its events can have beside [`crate::event::TRANSACTION`], with its type. Conditions on fields that are missing
    /// here are decided at start, the index template has these types, and the field tables in `docs/protocols` are made from them.
    pub fields: &'static [Field],
    /// How its events are put into a line.
    pub summary: Summary,
}

/// What a protocol says of the first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It is this protocol.
    Yes,
    /// It is not.
    No,
    /// So many bytes more will tell.
    More(usize),
}

/// The options that every protocol has.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Common {
    /// Put the request's text into the document.
    pub send_request: bool,
    /// Put the response's text into the document.
    pub send_response: bool,
    /// How long a request waits for its response, in packet time.
    #[serde(with = "config::duration")]
    pub transaction_timeout: Duration,
}

impl Default for Common {
    fn default() -> Self {
        Self { send_request: false, send_response: false, transaction_timeout: Duration::from_secs(10) }
    }
}

/// A configured protocol, owned by one worker.
pub trait Plugin: Send {
    /// A parser for a new TCP connection.
    fn connect(&self) -> Option<Box<dyn StreamParser>> {
        None
    }

    /// One UDP datagram, or one ICMP message from its first byte on.
    fn on_datagram(&mut self, _dir: Direction, _data: &[u8], _cx: &mut Context<'_>) {}

    /// The time asked for with [`Context::wake_at`] has come. Here `cx.peers()` is nobody: emit with [`Context::emit_for`].
    fn on_timer(&mut self, _cx: &mut Context<'_>) {}

    /// The end: no more packets will come. What still waits is reported, or lost.
    fn on_end(&mut self, _cx: &mut Context<'_>) {}

    /// The plugins of this worker hold too much: gives up the request that has waited longest, and reports it as one without a response.
    /// Returns false when none waits.
    fn evict(&mut self, _cx: &mut Context<'_>) -> bool {
        false
    }

    /// Bytes that it has allocated for conversations, beyond its own `size_of`, as [`StreamParser::held`] counts them. Its parsers'
    /// bytes are not among them.
    fn held(&self) -> usize;
}

/// Follows both directions of one TCP connection.
pub trait StreamParser: Send {
    /// `data` starts at the first byte of this direction that is not yet consumed; it is never empty.
    fn on_data(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress;

    /// `lost` bytes are missing before the next data of this direction; what was not consumed before them is gone too.
    /// Not called where all of them had been declared unwanted by [`Progress::Consumed`].
    fn on_gap(&mut self, dir: Direction, lost: u64, cx: &mut Context<'_>) -> Recovery;

    /// This direction is over. Called once per direction at the most; `Reset`, `Idle`, `EndOfInput` and `Evicted` come for both.
    fn on_close(&mut self, dir: Direction, why: Close, cx: &mut Context<'_>);

    /// Whether it waits on for the other side after a FIN of one: then it is told how that one ends even where a file is read as
    /// Packetbeat does, which reports at the first FIN.
    fn outlives_fin(&self) -> bool {
        false
    }

    /// The time asked for with [`Context::wake_at`] has come.
    fn on_timer(&mut self, _cx: &mut Context<'_>) {}

    /// Whether the connection holds what a parser that joins later could not find out (prepared statements, what was agreed upon at
    /// its start). Such connections are kept through long pauses.
    fn remembers(&self) -> bool {
        false
    }

    /// Bytes that it has allocated, beyond its own `size_of`: capacity, not length, with queues and what lies in them. Called after
    /// each packet, so it takes constant time: [`kit`]'s queues keep the sum of what lies in them.
    fn held(&self) -> usize;
}

/// What a parser made of its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Done with `bytes`; not called again before `need` more than what is left over are there (0 is taken as 1).
    ///
    /// `bytes` may run past the data: the rest is skipped and never buffered; the next call finds in [`Context::skipped`] how
    /// much of it was seen and how much was lost.
    Consumed {
        /// From the start of the data.
        bytes: u64,
        /// Beyond what is left over.
        need: usize,
    },
    /// Done with `bytes`; not called again before `end` is found in what follows, or `most` bytes of it are there. For messages whose length
    /// only their end tells: the search goes on where it stopped, so that what comes in small parts is looked at once.
    Search {
        /// From the start of the data.
        bytes: usize,
        /// What is looked for behind them. It is not in the data yet.
        end: End,
        /// Bytes behind `bytes` after which it does not matter any more.
        most: usize,
    },
    /// Nothing more of this connection is wanted, in either direction: it may be shunted.
    Done,
    /// Not this protocol, or beyond repair: the connection is left alone from here on, and counted.
    GiveUp,
    /// From `bytes` on it is the protocol of that name (STARTTLS): its parser takes over both directions.
    HandOver {
        /// From the start of the data.
        bytes: u64,
        /// A [`Protocol::name`].
        to: &'static str,
    },
}

/// The end of a message that has no length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A line feed.
    Line,
    /// An empty line: a line feed, followed by another one or by CR and LF. That no other byte precedes them is the caller's to know.
    EmptyLine,
}

impl End {
    /// Whether `data` has it, at or behind `from`, or begins with it there. The bytes before `from` were searched already.
    pub fn is_in(self, data: &[u8], from: usize) -> bool {
        match self {
            Self::Line => data.get(from..).is_some_and(|rest| memchr::memchr(b'\n', rest).is_some()),
            Self::EmptyLine => {
                // The first line feed may be among the last two bytes that were searched.
                let mut rest = data.get(from.saturating_sub(2)..).unwrap_or_default();
                while let Some(at) = memchr::memchr(b'\n', rest) {
                    rest = rest.get(at + 1..).unwrap_or_default();
                    if matches!(rest, [b'\n', ..] | [b'\r', b'\n', ..]) {
                        return true;
                    }
                }
                false
            }
        }
    }
}

impl Progress {
    /// Done with `bytes`; anything more is welcome.
    pub fn consumed(bytes: usize) -> Self {
        Self::Consumed { bytes: bytes as u64, need: 1 }
    }
}

/// Whether a parser can go on after a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// It goes on with the next data.
    Resume,
    /// It cannot: the connection is left alone from here on.
    GiveUp,
}

/// Why a direction is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// A FIN, and all data before it was handed over.
    Fin,
    /// A RST from either side.
    Reset,
    /// Nothing was seen for the time-out.
    Idle,
    /// The program ends, or the capture file does.
    EndOfInput,
    /// There was no room for it any more.
    Evicted,
}

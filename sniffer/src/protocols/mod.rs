//! The interface that every protocol implements, and the list of protocols. A new protocol is a folder and one line in
//! each of the two lists below.
//!
//! A protocol's folder has `wire.rs` (parses bytes to structs, without state), `mod.rs` (descriptor, configuration,
//! state machine) and `event.rs` (from structs to a [`Head`](crate::event::Head) and the protocol's own fields). No
//! protocol uses another.

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
#[cfg(test)]
mod large_tests;
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

/// All protocols, in the order of the reference configuration.
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

/// Everything that the rest of the program knows about a protocol.
pub struct Protocol {
    /// The name in the configuration, and the `type` of its events.
    pub name: &'static str,
    /// The ports in the shipped configuration.
    pub ports: &'static [u16],
    /// The transports that carry the protocol.
    pub transports: &'static [Transport],
    /// Whether [`Protocol::ports`] are used if the configuration has the protocol without ports. If false, the
    /// protocol then claims no ports.
    pub default_ports: bool,
    /// Opens a plugin with the options in the node.
    pub open: fn(&config::Node) -> Result<Box<dyn Plugin>, config::Error>,
    /// Decides whether a connection is of this protocol, on a port that several protocols share or that none claims.
    /// Gets the first bytes of one direction.
    pub probe: fn(Direction, &[u8]) -> Probe,
    /// Every field that the protocol's events can have in addition to [`crate::event::TRANSACTION`], with its type. A
    /// condition on any other field is evaluated once at start. The index template has these types, and the field
    /// tables in `docs/protocols` are generated from them.
    pub fields: &'static [Field],
    /// How the protocol's events are summarized in one line.
    pub summary: Summary,
}

impl Protocol {
    /// A protocol over TCP without default ports, whose events are summarized by [`Summary::HEAD`].
    const fn over_tcp(
        name: &'static str,
        ports: &'static [u16],
        open: fn(&config::Node) -> Result<Box<dyn Plugin>, config::Error>,
        probe: fn(Direction, &[u8]) -> Probe,
        fields: &'static [Field],
    ) -> Self {
        Self { name, ports, transports: &[Transport::Tcp], default_ports: false, open, probe, fields, summary: Summary::HEAD }
    }
}

/// The result of a [`Protocol::probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The data is of this protocol.
    Yes,
    /// The data is not of this protocol.
    No,
    /// This many more bytes are needed to decide.
    More(usize),
}

/// The options that all protocols have.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct CommonOptions {
    /// Add the request's text to the document.
    pub send_request: bool,
    /// Add the response's text to the document.
    pub send_response: bool,
    /// How long a request waits for its response, in packet time.
    #[serde(with = "config::duration")]
    pub transaction_timeout: Duration,
}

impl Default for CommonOptions {
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

    /// Handles a UDP datagram, or an ICMP message from its first byte on.
    fn on_datagram(&mut self, _dir: Direction, _data: &[u8], _cx: &mut Context<'_>) {}

    /// Called when the timer set with [`Context::wake_at`] is due. `cx.peers()` has no addresses in this call, so events are reported with
    /// [`Context::emit_for`].
    fn on_timer(&mut self, _cx: &mut Context<'_>) {}

    /// Called at the end, when no more packets will come. The plugin must report its pending requests in this call.
    fn on_end(&mut self, _cx: &mut Context<'_>) {}

    /// How long a request in a datagram waits for its response; `None` if such requests do not wait.
    fn time_out(&self) -> Option<Duration> {
        None
    }

    /// How long a request on a connection waits for its response; `None` if parsers do not report requests after a time-out.
    fn time_out_on_connections(&self) -> Option<Duration> {
        self.time_out()
    }

    /// Drops the request that has waited longest, and reports it as a request without a response. The method is called when the plugins of
    /// this worker hold too many bytes. Returns false if no request waits.
    fn evict(&mut self, _cx: &mut Context<'_>) -> bool {
        false
    }

    /// Bytes allocated for conversations, in addition to the plugin's `size_of`, counted as in [`StreamParser::held`].
    /// The parsers that the plugin made for TCP connections are not included.
    fn held(&self) -> usize;
}

/// Parses both directions of one TCP connection.
pub trait StreamParser: Send {
    /// Handles data. `data` starts at the first byte of this direction that is not consumed, and is never empty.
    fn on_data(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress;

    /// Says that the SYN of this direction was not captured: the first data may begin inside a message. The method is called before the
    /// first data of the direction.
    fn on_join(&mut self, _dir: Direction) {}

    /// Handles a gap: `lost` bytes are missing before the next data of this direction. Unconsumed data before the gap has been dropped. The
    /// method is not called if [`Progress::Consumed`] declared all of the missing bytes unwanted.
    fn on_gap(&mut self, dir: Direction, lost: u64, cx: &mut Context<'_>) -> Recovery;

    /// Called when this direction ends, at most once per direction. `Reset`, `Idle`, `EndOfInput` and `Evicted` are
    /// reported for both directions.
    fn on_close(&mut self, dir: Direction, why: Close, cx: &mut Context<'_>);

    /// Whether the parser waits for the end of the other side after a FIN of one side. With
    /// `packetbeat.compatibility: strict`, the engine calls other parsers at a FIN only. It calls a parser that waits
    /// at any end of the other side, too.
    fn outlives_fin(&self) -> bool {
        false
    }

    /// Called when the timer set with [`Context::wake_at`] is due.
    fn on_timer(&mut self, _cx: &mut Context<'_>) {}

    /// Whether the parser has state that a parser started later in the same connection could not recover (prepared
    /// statements, parameters negotiated at the start). Such connections are kept through long pauses.
    fn remembers(&self) -> bool {
        false
    }

    /// Bytes allocated by the parser, in addition to its own `size_of`, by capacity and not by length, including queues and their contents.
    /// The method is called after each packet, so it must take constant time: the queues of [`kit`] keep the sum of their contents.
    fn held(&self) -> usize;
}

/// The result of a parser call: how much data the parser consumed, and when it must be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The parser has consumed `bytes`. It is not called again before `need` more bytes than the remaining ones are
    /// available (0 means 1).
    ///
    /// `bytes` may exceed the data. The rest is then skipped and never buffered; the next call finds in
    /// [`Context::skipped`] how much of it was captured and how much was lost.
    Consumed {
        /// Number of consumed bytes, counted from the start of the data.
        bytes: u64,
        /// Number of bytes needed in addition to the unconsumed data.
        need: usize,
    },
    /// The parser has consumed `bytes`. It is not called again before the following data contains `end` or has `most` bytes. This is for
    /// messages whose length is determined only by their end. The engine continues the search where it stopped, so that data in small
    /// segments is searched only once.
    Search {
        /// Number of consumed bytes, counted from the start of the data.
        bytes: usize,
        /// The end to search for after the consumed bytes. It must not be in the data yet.
        end: End,
        /// The parser is called even without `end` when there are this many bytes after the consumed ones.
        most: usize,
    },
    /// The parser needs no more data of this connection, in either direction, so capture may stop copying the
    /// connection's packets.
    Done,
    /// The data is not of this protocol or cannot be parsed. The connection is not analysed further, and is counted.
    GiveUp,
    /// From `bytes` on, the connection is of the protocol with this name (STARTTLS). Its parser takes over both
    /// directions.
    HandOver {
        /// Number of consumed bytes, counted from the start of the data.
        bytes: u64,
        /// The [`Protocol::name`] of the next protocol.
        to: &'static str,
    },
}

/// The end of a message that has no length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A line feed.
    Line,
    /// An empty line: a line feed, followed by another one or by CR and LF. The caller must check that no other byte
    /// precedes them.
    EmptyLine,
}

impl End {
    /// Whether `data` contains this end at or after `from`. The bytes before `from` were already searched, but the end may
    /// begin in them.
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
    /// The parser has consumed `bytes` and accepts any amount of further data.
    pub fn consumed(bytes: usize) -> Self {
        Self::Consumed { bytes: bytes as u64, need: 1 }
    }
}

/// Whether a parser can continue after a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// The parser continues with the next data.
    Resume,
    /// The parser cannot continue. The connection is not analysed further.
    GiveUp,
}

/// Why a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// A FIN, after all data before it was delivered.
    Fin,
    /// A RST from either side.
    Reset,
    /// No packet was captured for the time-out.
    Idle,
    /// The program or the capture file ended.
    EndOfInput,
    /// The connection was evicted to free memory.
    Evicted,
}

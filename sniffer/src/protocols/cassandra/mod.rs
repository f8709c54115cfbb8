//! Cassandra's CQL binary protocol, v3 to v5: requests and their responses, paired by stream id, and events that the
//! server pushes. v5 puts messages into segments after the connection is set up. The form of a direction is recognised
//! from its bytes, so parsing can start in the middle of a connection. v1 and v2 (before 2014) and the values of rows
//! and bind markers are not parsed.
//!
//! native_protocol_v3.spec, native_protocol_v4.spec and native_protocol_v5.spec in
//! <https://github.com/apache/cassandra/tree/trunk/doc>.

mod answer;
mod connection;
mod event;
mod failure;
mod fields;
mod result;
mod segment;
mod side;
mod wire;

use super::{Plugin, Probe, Protocol, kit::shared::Shared};
use crate::{config, event::Summary, net::Direction};
use connection::Connection;
use serde::Deserialize;
use side::{Side, Unit};
use std::time::Duration;
use wire::{Compression, Op};

/// The protocol `cassandra`.
pub const PROTOCOL: Protocol = Protocol {
    summary: Summary { query: &["{query}", "{cassandra.request.headers.op}", "{cassandra.response.headers.op}"], ..Summary::HEAD },
    ..Protocol::over_tcp("cassandra", &[9042], open, probe, fields::FIELDS)
};

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    /// Report `cassandra.request`.
    send_request: bool,
    /// Report `cassandra.response`.
    send_response: bool,
    /// Report `cassandra.request.headers`.
    send_request_header: bool,
    /// Report `cassandra.response.headers`.
    send_response_header: bool,
    #[serde(with = "config::duration")]
    transaction_timeout: Duration,
    /// The compression of v3 and v4 if the connection's STARTUP was not captured.
    compressor: String,
    /// Operations whose requests and responses are not reported.
    ignored_ops: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            send_request: true,
            send_response: true,
            send_request_header: true,
            send_response_header: true,
            transaction_timeout: Duration::from_secs(10),
            compressor: String::new(),
            ignored_ops: Vec::new(),
        }
    }
}

struct Cassandra {
    options: Options,
    compression: Option<Compression>,
    /// Bit mask of the ignored operations.
    ignored: u32,
}

impl Cassandra {
    fn ignores(&self, op: Op) -> bool {
        self.ignored >> op.0 & 1 != 0
    }
}

fn open(node: &config::Node) -> Result<Box<dyn Plugin>, config::Error> {
    let options: Options = node.read()?;
    let compression = wire::compression(options.compressor.as_bytes());
    if compression.is_none() && !options.compressor.is_empty() {
        let message = format!("there is no compressor {:?}; known are snappy and lz4, or leave it out", options.compressor);
        return Err(node.get("compressor").error(message));
    }
    let mut ignored = 0;
    for name in &options.ignored_ops {
        let Some(op) = Op::named(name) else {
            let known: Vec<&str> = Op::names().collect();
            return Err(node.get("ignored_ops").error(format!("there is no operation {name:?}; known are {}", known.join(", "))));
        };
        ignored |= 1 << op.0;
    }
    let time_out = options.transaction_timeout;
    Ok(Box::new(Shared::new(Cassandra { options, compression, ignored }, Connection::new).with_time_out(time_out)))
}

/// Recognises a header followed by a plausible body, or a segment with a correct checksum.
fn probe(_dir: Direction, data: &[u8]) -> Probe {
    match Side::default().unit(data) {
        Unit::Envelope(_) | Unit::Segment(_) => Probe::Yes,
        Unit::Need(n) => Probe::More(n),
        Unit::Junk(_) => Probe::No,
    }
}

#[cfg(test)]
mod tests;

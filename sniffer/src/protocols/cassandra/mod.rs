//! Cassandra's CQL binary protocol, v3 to v5: requests and their responses, paired by stream id, and events that the server pushes.
//! v5 packs its messages into segments once a connection is agreed upon; which form a direction has is told by its bytes, so that a
//! connection may be joined at any time. Not read: v1 and v2 (before 2014), values of rows and of bind markers.
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
use crate::{
    config,
    event::Summary,
    net::{Direction, Transport},
};
use connection::Connection;
use serde::Deserialize;
use side::{Side, Unit};
use std::time::Duration;
use wire::{Compression, Op};

/// See the module.
pub const PROTOCOL: Protocol = Protocol {
    name: "cassandra",
    ports: &[9042],
    transports: &[Transport::Tcp],
    default_ports: false,
    open,
    probe,
    fields: fields::FIELDS,
    summary: Summary::HEAD,
};

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    /// `cassandra.request`
    send_request: bool,
    /// `cassandra.response`
    send_response: bool,
    /// `cassandra.request.headers`
    send_request_header: bool,
    /// `cassandra.response.headers`
    send_response_header: bool,
    #[serde(with = "config::duration")]
    transaction_timeout: Duration,
    /// How v3 and v4 compress where the connection's own STARTUP was not seen.
    compressor: String,
    /// Operations that are not reported, neither as request nor as response.
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
    /// A bit for each operation.
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
    Ok(Box::new(Shared::new(Cassandra { options, compression, ignored }, Connection::new)))
}

/// A header whose body begins as it must, or a segment that its checksum vouches for.
fn probe(_dir: Direction, data: &[u8]) -> Probe {
    match Side::default().unit(data) {
        Unit::Envelope(_) | Unit::Segment(_) => Probe::Yes,
        Unit::Need(n) => Probe::More(n),
        Unit::Junk(_) => Probe::No,
    }
}

#[cfg(test)]
mod tests;

//! MySQL and MariaDB: queries and prepared statements with their responses, compressed or not, pipelined or not. The negotiated
//! capabilities are taken from the handshake, or otherwise from the packets. Logins, pings and similar commands, data for replicas, and
//! cursors are not reported. TLS is handed over to its parser.
//!
//! "Client/Server Protocol" of MySQL's source documentation; "Client/Server Protocol" of MariaDB's knowledge base.

mod allowance;
mod answer;
mod client;
mod columns;
mod command;
mod compressed;
mod connection;
mod csv;
mod event;
mod fields;
mod packed;
mod rows;
mod server;
mod state;
#[cfg(test)]
mod tests;
mod values;
mod wire;

use super::{CommonOptions, Plugin, Probe, Protocol, kit::shared::Shared};
use crate::{config, event::Summary, net::Direction};
use answer::Limits;
use connection::Connection;
use serde::Deserialize;
use std::time::Duration;
use wire::Header;

/// The protocol `mysql`.
pub const PROTOCOL: Protocol = Protocol {
    summary: Summary { result: &["{mysql.error_message}"], ..Summary::HEAD },
    ..Protocol::over_tcp("mysql", &[3306, 3307], open, probe, fields::FIELDS)
};

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    /// Number of rows in `response`.
    max_rows: usize,
    /// Maximum number of bytes of a row in `response`.
    max_row_length: usize,
    /// How long an unused prepared statement is remembered, in packet time.
    #[serde(with = "config::duration")]
    statement_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_rows: 10, max_row_length: 1024, statement_timeout: Duration::from_secs(3600) }
    }
}

struct Mysql {
    common: CommonOptions,
    options: Options,
    limits: Limits,
}

fn open(node: &config::Node) -> Result<Box<dyn Plugin>, config::Error> {
    let (common, options): (CommonOptions, Options) = (node.read()?, node.read()?);
    let limits = Limits { rows: options.max_rows, row_length: options.max_row_length, show: common.send_response };
    let time_out = common.transaction_timeout;
    Ok(Box::new(Shared::new(Mysql { common, options, limits }, Connection::new).with_time_out(time_out)))
}

/// Recognises a greeting, a response to one, or a complete query. Other packets are not sufficient evidence.
fn probe(dir: Direction, data: &[u8]) -> Probe {
    let Some(header) = Header::read(data) else { return Probe::More(4) };
    let payload = data.get(wire::HEADER..).unwrap_or_default();
    let missing = (header.len as usize).saturating_sub(payload.len());
    match (dir, header.seq, payload.first()) {
        (Direction::ToClient, 0, Some(10)) | (Direction::ToServer, 1, Some(_)) if header.len > 1024 => Probe::No,
        (Direction::ToClient, 0, None) | (Direction::ToServer, 0 | 1, None) => Probe::More(1),
        (Direction::ToClient, 0, Some(10)) | (Direction::ToServer, 1, Some(_)) if missing > 0 => Probe::More(missing),
        (Direction::ToClient, 0, Some(10)) if wire::greeting(payload).is_some() => Probe::Yes,
        (Direction::ToServer, 1, Some(_)) if wire::login(payload).is_some() => Probe::Yes,
        (Direction::ToServer, 0, Some(&wire::command::QUERY)) if missing == 0 && command::plausible(header.len, payload) => Probe::Yes,
        _ => Probe::No,
    }
}

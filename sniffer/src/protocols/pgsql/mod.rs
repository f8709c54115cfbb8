//! PostgreSQL: statements and their results, of simple and extended queries, pipelined or not. Messages that are not statements (login,
//! cancel requests, function calls, replication) and a Parse that succeeds are not reported.
//!
//! PostgreSQL manual, "Frontend/Backend Protocol" (chapter 55), version 3. The library `postgres-protocol` is not used: it reads complete
//! messages from its own buffers, and only those that a client receives.

mod answers;
mod connection;
mod event;
mod fields;
mod named;
mod requests;
mod sql;
mod state;
mod statements;
mod value;
mod wire;

use super::{CommonOptions, Plugin, Probe, Protocol, kit::shared::Shared};
use crate::{config, event::Summary, net::Direction};
use serde::Deserialize;

/// The protocol `pgsql`.
pub const PROTOCOL: Protocol = Protocol {
    summary: Summary { result: &["{pgsql.error_message}"], ..Summary::HEAD },
    ..Protocol::over_tcp("pgsql", &[5432], open, probe, fields::FIELDS)
};

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    /// Number of rows of a result that are shown.
    max_rows: u64,
    /// Number of bytes of a row that are shown.
    max_row_length: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_rows: 10, max_row_length: 1024 }
    }
}

struct Pgsql {
    common: CommonOptions,
    options: Options,
}

fn open(node: &config::Node) -> Result<Box<dyn Plugin>, config::Error> {
    Ok(Box::new(Shared::new(Pgsql { common: node.read()?, options: node.read()? }, connection::Connection::new)))
}

/// Recognises the start of a connection; later a query, or a response of several messages.
fn probe(dir: Direction, data: &[u8]) -> Probe {
    /// Number of bytes of a query's text, without a NUL, that are enough to recognise it.
    const TEXT: usize = 64;
    match wire::opening(data) {
        Ok(_) => return Probe::Yes,
        Err(0) => {}
        Err(n) => return Probe::More(n),
    }
    let (Some(whole), Some(&kind)) = (wire::chain(dir, data), data.first()) else { return Probe::No };
    let text = || data.get(wire::HEAD..).is_some_and(|text| memchr::memchr(0, text).is_none_or(|n| n + 1 == text.len()));
    match (dir, kind) {
        (Direction::ToServer, b'Q') if whole > 0 || data.len() > TEXT => {
            if whole > 1 || text() {
                Probe::Yes
            } else {
                Probe::No
            }
        }
        (Direction::ToServer, _) if whole > 1 => Probe::Yes,
        (Direction::ToClient, b'R') => match data.get(wire::HEAD..wire::HEAD + 4) {
            Some([0, 0, 0, 0..=12]) => Probe::Yes,
            Some(_) => Probe::No,
            None => Probe::More(wire::HEAD + 4 - data.len().min(wire::HEAD + 3)),
        },
        (Direction::ToClient, _) if whole > 1 => Probe::Yes,
        _ => Probe::More(1),
    }
}

#[cfg(test)]
mod tests;

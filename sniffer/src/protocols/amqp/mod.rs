//! AMQP 0-9-1 with RabbitMQ's extensions: methods and their responses, and messages that are published, delivered,
//! returned and fetched. AMQP 1.0, 0-10 and 0-8 are different protocols and are not supported.
//!
//! <https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf>, <https://www.rabbitmq.com/docs/extensions>

mod connection;
mod event;
mod fields;
mod messages;
mod methods;
mod table;
mod waiting;
mod wire;

use super::{CommonOptions, Plugin, Probe, Protocol, kit::shared::Shared};
use crate::{config, net::Direction};
use jiff::tz::TimeZone;
use methods::{Method, SentBy};
use serde::Deserialize;
use wire::{Frame, Kind};

/// The protocol `amqp`.
pub const PROTOCOL: Protocol = Protocol::over_tcp("amqp", &[5672], open, probe, fields::FIELDS);

/// Maximum number of bytes of a body that are kept, whatever `max_body_length` says.
const LONGEST_BODY: usize = 4 << 20;

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    /// Show the properties of messages.
    parse_headers: bool,
    /// Show the table `arguments`.
    parse_arguments: bool,
    /// Maximum number of bytes of a message's body in `request` or `response`.
    #[serde(with = "config::bytes")]
    max_body_length: u64,
    /// Leave out the methods that open, close and limit connections and channels, if they succeed.
    hide_connection_information: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { parse_headers: true, parse_arguments: true, max_body_length: 1000, hide_connection_information: true }
    }
}

/// The plugin of AMQP.
pub struct Amqp {
    common: CommonOptions,
    options: Options,
    /// The time zone in which times of messages are written.
    zone: TimeZone,
}

impl Amqp {
    fn wants_body(&self, method: &Method) -> bool {
        if method.by == SentBy::Client { self.common.send_request } else { self.common.send_response }
    }

    /// Number of bytes of the body that are shown.
    fn wanted(&self, method: &Method) -> usize {
        let most = usize::try_from(self.options.max_body_length).unwrap_or(LONGEST_BODY).min(LONGEST_BODY);
        if self.wants_body(method) { most } else { 0 }
    }
}

fn open(node: &config::Node) -> Result<Box<dyn Plugin>, config::Error> {
    let amqp = Amqp { common: node.read()?, options: node.read()?, zone: event::local_zone() };
    let time_out = amqp.common.transaction_timeout;
    Ok(Box::new(Shared::new(amqp, connection::Connection::new).with_time_out(time_out)))
}

/// Recognises the protocol header, or a frame with a known method.
fn probe(_dir: Direction, data: &[u8]) -> Probe {
    let header = wire::PROTOCOL_HEADER;
    if data.first() == Some(&b'A') {
        return match data.get(..header.len()) {
            Some(begin) if begin == header => Probe::Yes,
            None if header.starts_with(data) => Probe::More(header.len() - data.len()),
            _ => Probe::No,
        };
    }
    let enough = wire::FRAME_HEAD + 4;
    match Frame::head(data) {
        Some(Frame { kind: Kind::Heartbeat, channel: 0, .. }) => match data.get(wire::FRAME_HEAD) {
            Some(&wire::FRAME_END) => Probe::Yes,
            Some(_) => Probe::No,
            None => Probe::More(1),
        },
        Some(Frame { kind: Kind::Method | Kind::Header, size, .. }) => {
            let Some(payload) = data.get(wire::FRAME_HEAD..).filter(|p| p.len() >= 4) else { return Probe::More(enough - data.len()) };
            let content = payload.starts_with(&[0, 60, 0, 0]);
            let known = if data[0] == 1 { wire::method_in(payload).is_some() } else { content };
            let end = payload.get(size as usize);
            if known && end.is_none_or(|b| *b == wire::FRAME_END) { Probe::Yes } else { Probe::No }
        }
        None if data.len() < wire::FRAME_HEAD && matches!(data.first(), Some(1 | 2 | 8)) => Probe::More(enough - data.len()),
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests;

//! memcache: the text protocol with meta commands, and the binary protocol, over TCP and UDP. Values are skipped, not
//! buffered, unless they are shown. The output of `watch`, SASL secrets and the proxy's routes are not parsed.
//!
//! <https://github.com/memcached/memcached/blob/master/doc/protocol.txt>,
//! <https://github.com/memcached/memcached/wiki/BinaryProtocolRevamped>

mod binary;
mod event;
mod fields;
mod message;
mod pairing;
mod replies;
mod session;
mod udp;
mod wire;

use super::{Close, CommonOptions, Context, Plugin, Probe, Progress, Protocol, Recovery, StreamParser, kit::timers};
use crate::{
    config,
    event::Summary,
    net::{Direction, Transport},
};
use message::Message;
use serde::Deserialize;
use session::Session;
use std::{sync::Arc, time::Duration};
use wire::Line;

/// The protocol `memcache`.
pub const PROTOCOL: Protocol = Protocol {
    name: "memcache",
    ports: &[11211],
    transports: &[Transport::Tcp, Transport::Udp],
    default_ports: false,
    open,
    probe,
    fields: fields::FIELDS,
    summary: Summary::HEAD,
};

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    /// Report unknown commands.
    parseunknown: bool,
    /// Number of values of a message that are shown. A negative number means all.
    maxvalues: i64,
    /// Number of bytes of a value that are shown. 0 or a negative number means all.
    maxbytespervalue: i64,
    /// How long a request over UDP waits for its response, in packet time.
    #[serde(with = "config::duration")]
    udptransactiontimeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { parseunknown: false, maxvalues: 0, maxbytespervalue: 0, udptransactiontimeout: Duration::from_secs(10) }
    }
}

/// The options of the protocol.
pub struct Memcache {
    common: CommonOptions,
    options: Options,
}

/// The plugin. Its TCP parsers share the options; conversations over UDP belong to the plugin.
struct Memcached {
    options: Arc<Memcache>,
    udp: udp::Udp,
}

fn open(node: &config::Node) -> Result<Box<dyn Plugin>, config::Error> {
    let options = Arc::new(Memcache { common: node.read()?, options: node.read()? });
    Ok(Box::new(Memcached { udp: udp::Udp::new(Arc::clone(&options)), options }))
}

impl Plugin for Memcached {
    fn connect(&self) -> Option<Box<dyn StreamParser>> {
        Some(Box::new(Connection(Session::new(Arc::clone(&self.options), true))))
    }

    fn on_datagram(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) {
        self.udp.on_datagram(dir, data, cx);
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.udp.on_timer(cx);
    }

    fn on_end(&mut self, cx: &mut Context<'_>) {
        self.udp.on_end(cx);
    }

    fn evict(&mut self, cx: &mut Context<'_>) -> bool {
        self.udp.evict(cx)
    }

    fn time_out(&self) -> Option<Duration> {
        Some(self.options.options.udptransactiontimeout)
    }

    fn time_out_on_connections(&self) -> Option<Duration> {
        Some(self.options.common.transaction_timeout)
    }

    fn held(&self) -> usize {
        self.udp.held()
    }
}

/// A conversation over TCP.
struct Connection(Session);

impl StreamParser for Connection {
    fn on_data(&mut self, mut dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        if !self.0.known && self.0.pending.is_empty() && first_sender(data) == Some(dir.reverse()) {
            cx.flip();
            dir = dir.reverse();
        }
        let progress = self.0.on_data(dir, data, cx);
        self.wake(cx);
        progress
    }

    fn on_join(&mut self, dir: Direction) {
        self.0.on_join(dir);
    }

    fn on_gap(&mut self, dir: Direction, lost: u64, cx: &mut Context<'_>) -> Recovery {
        let recovery = self.0.on_gap(dir, lost, cx);
        self.wake(cx);
        recovery
    }

    fn on_close(&mut self, dir: Direction, why: Close, cx: &mut Context<'_>) {
        // After the server's last byte there is no further response.
        if dir == Direction::ToClient || why != Close::Fin {
            self.0.finish(cx);
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.0.on_timer(cx);
        self.wake(cx);
    }

    fn held(&self) -> usize {
        self.0.held()
    }
}

impl Connection {
    fn wake(&self, cx: &mut Context<'_>) {
        timers::arm(cx, self.0.pending.due());
    }
}

/// The direction of the first bytes of a connection; `None` if these bytes do not show it. A complete line or header is needed.
fn first_sender(data: &[u8]) -> Option<Direction> {
    match data.first()? {
        &binary::REQUEST => binary::Header::read(data, true).filter(|h| h.certain()).map(|_| Direction::ToServer),
        &binary::RESPONSE => binary::Header::read(data, false).filter(|h| h.certain()).map(|_| Direction::ToClient),
        b'a'..=b'z' => {
            let line = &data[..memchr::memchr(b'\n', data)?];
            (wire::request(line.trim_ascii_end(), &mut Message::default()) != Line::Unknown).then_some(Direction::ToServer)
        }
        b'A'..=b'Z' => {
            let line = &data[..memchr::memchr(b'\n', data)?];
            (replies::reply(line.trim_ascii_end(), &mut Message::default(), None) != Line::Unknown).then_some(Direction::ToClient)
        }
        _ => None,
    }
}

/// Names of commands with which a connection may begin.
const COMMANDS: &[&str] = &[
    "get ",
    "gets ",
    "gat ",
    "gats ",
    "set ",
    "add ",
    "replace ",
    "append ",
    "prepend ",
    "cas ",
    "incr ",
    "decr ",
    "touch ",
    "delete ",
    "flush_all",
    "stats",
    "version",
    "verbosity ",
    "mg ",
    "ms ",
    "md ",
    "ma ",
    "mn",
    "me ",
    "lru_crawler ",
    "slabs ",
];

/// Whether a line of the server, without its LF, can only come from memcached.
fn proves_memcached(line: &[u8]) -> bool {
    line.strip_suffix(b"\r").is_some_and(|line| !matches!(line, b"OK" | b"ERROR" | b"END" | b"BUSY" | b"RESET"))
}

fn probe(_: Direction, data: &[u8]) -> Probe {
    // Over UDP the message follows a header, whose last two bytes are zero.
    let data = match udp::Header::read(data) {
        Some((_, rest)) if data.get(6..8) == Some(&[0, 0]) && !matches!(data[0], 0x80 | 0x81) => rest,
        _ => data,
    };
    match data.first() {
        Some(&(binary::REQUEST | binary::RESPONSE)) if data.len() < binary::HEADER => Probe::More(binary::HEADER - data.len()),
        // Servers of other protocols also send lines that begin with an upper-case word. The line is rejected unless only memcached can
        // have sent it.
        Some(b'A'..=b'Z') if memchr::memchr(b'\n', data).is_some_and(|end| !proves_memcached(&data[..end])) => Probe::No,
        _ if first_sender(data).is_some() => Probe::Yes,
        Some(b'a'..=b'z') if memchr::memchr(b'\n', data).is_none() => {
            let begins = |name: &&str| name.as_bytes().starts_with(data) || data.starts_with(name.as_bytes());
            if data.len() < 4096 && COMMANDS.iter().any(begins) { Probe::More(1) } else { Probe::No }
        }
        Some(b'A'..=b'Z') if data.len() < 300 && data.iter().all(|b| (b' '..=b'~').contains(b)) => Probe::More(1),
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests;

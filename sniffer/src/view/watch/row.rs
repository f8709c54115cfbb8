//! [`Row`]: what one line shows about an event, without its place on the screen.

use crate::{
    net::{Direction, FlowRecord},
    process::Ends,
    publish::observer::Transaction,
    time::Timestamp,
    view::names::Names,
};
use std::{fmt::Write, net::SocketAddr, sync::Arc, time::Duration};

/// Maximum number of bytes that a row keeps of the request, of the note, and of each of the other texts.
const LONGEST: [usize; 4] = [32, 1024, 64, 512];

/// The result of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// There is no result, for instance for a flow.
    #[default]
    None,
    /// The status is `OK`.
    Success,
    /// The status is another one.
    Error,
}

/// One end of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Peer {
    /// The end is not known.
    #[default]
    Unknown,
    /// An address and a port; port 0 for transports without ports.
    Socket(SocketAddr),
    /// An Ethernet address, if the flow has no IP addresses.
    Ethernet([u8; 6]),
}

/// An event as the lines of `watch` show it. It owns its texts, so that it can wait for its turn.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The time of the event.
    pub time: Timestamp,
    /// The sender of the request, and its receiver.
    pub peers: [Peer; 2],
    /// Whether the sender of the request is the client.
    pub from_client: bool,
    /// The time between request and response.
    pub duration: Option<Duration>,
    /// Application bytes of both directions.
    pub bytes: u64,
    /// The result.
    pub outcome: Outcome,
    /// The processes at the ends.
    pub processes: Option<Box<Ends>>,
    /// The names of the addresses of `peers`, if answers of DNS gave them.
    pub names: [Option<Arc<str>>; 2],
    texts: String,
    /// The ends of protocol, request, code and note in `texts`.
    ends: [u16; 4],
}

impl Row {
    /// The row of a transaction.
    pub fn of_transaction(of: &Transaction<'_>) -> Self {
        let outcome = match of.status {
            "" => Outcome::None,
            "OK" => Outcome::Success,
            _ => Outcome::Error,
        };
        let mut row = Self {
            time: of.time,
            peers: [of.source, of.destination].map(|end| end.map_or(Peer::Unknown, Peer::Socket)),
            from_client: of.from == Direction::ToServer,
            duration: of.duration,
            bytes: of.source_bytes.saturating_add(of.destination_bytes),
            outcome,
            ..Self::default()
        };
        row.set_processes(of.processes);
        // A result of several words is a message. It stands behind the request like the notes.
        let is_code = is_code(of.result);
        let message = match (is_code, of.status) {
            (false, _) if outcome == Outcome::Error => of.result,
            (true, "NO_REPLY") => "no reply",
            _ => "",
        };
        row.put(0, &[of.protocol]);
        row.put(1, &[of.query]);
        row.put(2, &[if is_code { of.result } else { "" }]);
        match (message, of.notes) {
            ("", notes) => row.put(3, notes),
            (message, []) => row.put(3, &[message]),
            (message, [first, ..]) => row.put(3, &[message, first]),
        }
        row
    }

    /// The row of a flow.
    pub fn of_flow(of: &FlowRecord, processes: &Ends) -> Self {
        let macs = of.macs.get(usize::from(of.reversed)).copied().flatten();
        let peers = match (of.ends(), macs) {
            (Some(ends), _) => ends.map(Peer::Socket),
            (None, Some((source, destination))) => [Peer::Ethernet(source), Peer::Ethernet(destination)],
            (None, None) => [Peer::Unknown; 2],
        };
        let parts = of.key.parts(of.reversed);
        let transport = match (parts.is_tcp(), parts.is_udp(), of.icmp.iter().any(Option::is_some)) {
            (true, ..) => "tcp ",
            (_, true, _) => "udp ",
            (.., true) => "icmp ",
            _ => "",
        };
        let (packets, bytes) = of.counts.iter().fold((0u64, 0u64), |sum, count| (sum.0 + count.packets, sum.1 + count.bytes));
        let duration = Some(Duration::from_nanos(of.end.since(of.start)));
        let mut row = Self { time: of.end, peers, from_client: true, duration, bytes, ..Self::default() };
        row.set_processes(processes);
        row.put(0, &["flow"]);
        let mut request = String::new();
        // Writing to a string does not fail.
        let _ = write!(request, "{transport}{packets} packet{}", if packets == 1 { "" } else { "s" });
        row.put(1, &[&request]);
        row.put(3, &[]);
        row
    }

    /// The name of the protocol; `flow` for a flow.
    pub fn protocol(&self) -> &str {
        self.text(0)
    }

    /// The request as one line of text.
    pub fn request(&self) -> &str {
        self.text(1)
    }

    /// The result in the protocol's terms, if it is one word.
    pub fn code(&self) -> &str {
        self.text(2)
    }

    /// The notes about the transaction, and the message of an error.
    pub fn note(&self) -> &str {
        self.text(3)
    }

    /// Number of bytes that the row takes in memory.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.texts.len()
    }

    /// Sets the names of both ends.
    pub fn set_names(&mut self, names: &Names) {
        self.names = self.peers.map(|peer| match peer {
            Peer::Socket(socket) => names.of(socket.ip()).cloned(),
            Peer::Unknown | Peer::Ethernet(_) => None,
        });
    }

    fn set_processes(&mut self, of: &Ends) {
        if of.source.is_some() || of.destination.is_some() {
            self.processes = Some(Box::new(of.clone()));
        }
    }

    /// Appends the parts of a text, separated by `; `, and cuts them to the text's limit. The texts must be set in the order of their places.
    fn put(&mut self, place: usize, parts: &[&str]) {
        let most = self.texts.len() + LONGEST.get(place).copied().unwrap_or_default();
        for (index, part) in parts.iter().enumerate() {
            if index > 0 && self.texts.len() < most {
                self.texts.push_str("; ");
            }
            let part = part.get(..part.floor_char_boundary(most.saturating_sub(self.texts.len()))).unwrap_or_default();
            self.texts.push_str(part);
        }
        // The limits of all texts together are far below 65536.
        let end = u16::try_from(self.texts.len()).unwrap_or(u16::MAX);
        self.ends.iter_mut().skip(place).for_each(|place| *place = end);
    }

    fn text(&self, place: usize) -> &str {
        let end = |place: usize| self.ends.get(place).copied().map_or(0, usize::from);
        self.texts.get(place.checked_sub(1).map_or(0, end)..end(place)).unwrap_or_default()
    }
}

/// Whether a result is one word, such as `404` or `NXDOMAIN`.
fn is_code(result: &str) -> bool {
    result.len() <= 64 && result.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

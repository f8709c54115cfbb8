//! A transaction that outlives its event: the summary with its own copies of the texts.

use crate::{
    net::{Direction, Realm, Transport},
    process::{Ends, Process},
    publish::observer::{Details, Transaction},
    time::Timestamp,
};
use smallvec::SmallVec;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Maximum number of bytes of each text. A longer text is cut.
pub const LONGEST_TEXT: usize = 2048;
/// Maximum number of notes.
pub const MOST_NOTES: usize = 8;
/// Number of texts before those of [`Details`]: protocol, method, resource, query, result, status.
const COMMON: usize = 6;
const TEXTS: usize = COMMON + 4;

/// A transaction. It can be sent to another thread.
#[derive(Clone, Debug)]
pub struct Record {
    realm: Realm,
    transport: Transport,
    from: Direction,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
    time: Timestamp,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    duration: Option<Duration>,
    bytes: [u64; 2],
    /// All texts, one behind the other. The notes are the last ones.
    text: Box<str>,
    /// The end of each text in `text`.
    ends: [u16; TEXTS],
    /// The end of each note in `text`.
    notes: SmallVec<[u16; 2]>,
    /// Which details there are.
    details: Kind,
    processes: Ends,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    None,
    Http,
    Dns,
    Tls,
}

impl Record {
    /// Copies a transaction.
    pub fn new(of: &Transaction<'_>) -> Self {
        let mut texts = [of.protocol, of.method, of.resource, of.query, of.result, of.status, "", "", "", ""];
        for (place, text) in texts.iter_mut().skip(COMMON).zip(of.details.texts()) {
            *place = text;
        }
        let texts = texts.map(cut);
        let notes = || of.notes.iter().take(MOST_NOTES).map(|note| cut(note));
        let mut text = String::with_capacity(texts.iter().copied().chain(notes()).map(str::len).sum());
        // The sum of the limits is less than 64 KiB.
        let mut add = |part: &str| {
            text.push_str(part);
            u16::try_from(text.len()).unwrap_or(u16::MAX)
        };
        let ends = texts.map(&mut add);
        let notes = notes().map(&mut add).collect();
        Self {
            realm: of.realm,
            transport: of.transport,
            from: of.from,
            source: of.source,
            destination: of.destination,
            time: of.time,
            start: of.start,
            end: of.end,
            duration: of.duration,
            bytes: [of.source_bytes, of.destination_bytes],
            text: text.into(),
            ends,
            notes,
            details: match of.details {
                Details::None => Kind::None,
                Details::Http { .. } => Kind::Http,
                Details::Dns { .. } => Kind::Dns,
                Details::Tls { .. } => Kind::Tls,
            },
            processes: of.processes.clone(),
        }
    }

    /// Calls `use_it` with the transaction, and returns its result.
    pub fn with<T>(&self, use_it: impl FnOnce(&Transaction<'_>) -> T) -> T {
        let between = |start: u16, end: u16| self.text.get(usize::from(start)..usize::from(end)).unwrap_or_default();
        let mut start = 0;
        let mut next = |end: u16| between(std::mem::replace(&mut start, end), end);
        let [protocol, method, resource, query, result, status, a, b, c, d] = self.ends.map(&mut next);
        let notes: SmallVec<[&str; 2]> = self.notes.iter().map(|end| next(*end)).collect();
        use_it(&Transaction {
            protocol,
            realm: self.realm,
            transport: self.transport,
            from: self.from,
            source: self.source,
            destination: self.destination,
            time: self.time,
            start: self.start,
            end: self.end,
            duration: self.duration,
            source_bytes: self.bytes[0],
            destination_bytes: self.bytes[1],
            method,
            resource,
            query,
            result,
            status,
            details: match self.details {
                Kind::None => Details::None,
                Kind::Http => Details::Http { host: a },
                Kind::Dns => Details::Dns { name: a, kind: b, code: c, addresses: d },
                Kind::Tls => Details::Tls { server_name: a, version: b, cipher: c, certificate_end: d },
            },
            notes: &notes,
            processes: &self.processes,
        })
    }

    /// Number of bytes of memory. Processes are shared with the table of processes and not included.
    pub fn held(&self) -> usize {
        size_of::<Self>() + self.text.len()
    }
}

/// The client of a transaction: address and process.
pub fn client<'a>(of: &Transaction<'a>) -> (Option<SocketAddr>, Option<&'a Arc<Process>>) {
    let Ends { source, destination } = of.processes;
    if of.from == Direction::ToServer { (of.source, source.as_ref()) } else { (of.destination, destination.as_ref()) }
}

/// The server of a transaction: address and process.
pub fn server<'a>(of: &Transaction<'a>) -> (Option<SocketAddr>, Option<&'a Arc<Process>>) {
    let Ends { source, destination } = of.processes;
    if of.from == Direction::ToServer { (of.destination, destination.as_ref()) } else { (of.source, source.as_ref()) }
}

/// At most [`LONGEST_TEXT`] bytes of a text.
fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(LONGEST_TEXT)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::transaction;

    #[test]
    fn a_record_has_everything_of_the_transaction() {
        let of = Transaction {
            query: "GET /größe",
            notes: &["one", "", "three"],
            source_bytes: 7,
            destination_bytes: 9,
            from: Direction::ToClient,
            end: Some(Timestamp(7)),
            details: Details::Tls { server_name: "x.org", version: "1.3", cipher: "", certificate_end: "2026-01-02T00:00:00.000Z" },
            ..transaction()
        };
        for details in [
            of.details,
            Details::None,
            Details::Http { host: "h" },
            Details::Dns { name: "n", kind: "A", code: "NOERROR", addresses: "::1 ::2" },
        ] {
            let of = Transaction { details, ..of };
            Record::new(&of).with(|kept| assert_eq!(*kept, of));
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = format!("x{}", "ü".repeat(40_000));
        let notes = vec![long.as_str(); 20];
        let of = Transaction { query: &long, resource: &long, method: &long, notes: &notes, ..transaction() };
        let record = Record::new(&of);
        record.with(|kept| {
            let expected = format!("x{}", "ü".repeat(LONGEST_TEXT / 2 - 1));
            assert_eq!((kept.query, kept.method, kept.notes), (&*expected, &*expected, &[expected.as_str(); MOST_NOTES][..]));
            assert_eq!((kept.result, kept.status), (of.result, of.status));
        });
        assert!(record.held() < 32 << 10);
    }
}

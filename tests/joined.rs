//! Tests with captures that begin in the middle of a connection. Each connection of the golden captures is read once from its beginning,
//! and again from many positions in it, each time as the connection of another client. No such reading may give a transaction that is not
//! in the whole connection.

use crate::{
    golden::{captures, options},
    harness::{Home, assert_success, tests},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
    path::Path,
};

/// Maximum number of positions in one connection from which it is read. The positions are spread evenly over its bytes.
const MOST_STARTS: usize = 60;
/// Maximum number of positions in all connections of one capture.
const MOST_STARTS_OF_CAPTURE: usize = 120;
/// Number of bytes that are read from a position.
const FOLLOWED: usize = 8 << 10;

/// The notes that documents have about a transaction of which a part is before the position.
const INCOMPLETE: [&str; 6] = [
    "Unmatched response",
    "Response: received without an associated Query",
    "Invalid transaction. Request missing",
    "Missing response for non-quiet request",
    "Unfinished transaction",
    "The response was cut off",
];

/// The note that a document has about a prepared statement whose text is before the position. Its `query` is then the name of the
/// statement.
const UNKNOWN_STATEMENT: &str = "The actual query being used is unknown";

/// Documents that a reading from a position may give although the connection has no such transaction. Each entry has the capture, a part of
/// the document, and the reason.
const ALLOWED: [(&str, &str, &str); 7] = [
    ("http/probe-unsubscribe", r#""method":"SUBSCRIBE""#, "the rest of UNSUBSCRIBE is a method too"),
    ("http/url-full", r#""method":"SEARCH""#, "the rest of M-SEARCH is a method too"),
    ("redis/resp2", r#""method":"#, "a start between pipelined commands: the first response is that of an earlier command"),
    ("memcache/meta", r#""command":"#, "a start between pipelined commands: the first response is that of an earlier command"),
    ("tls/resumed12", r#""type":"tls""#, "that the session is resumed is known from the client's hello"),
    ("tls/resumed13", r#""type":"tls""#, "that the session is resumed is known from the client's hello"),
    ("nfs/v41_v42", r#""status":"NO_REPLY""#, "a reply in fragments of a few bytes is not recognised"),
];

/// A TCP segment.
#[derive(Clone)]
struct Segment {
    /// In nanoseconds.
    time: u64,
    from_client: bool,
    /// Source and destination port.
    ports: [u16; 2],
    seq: u32,
    ack: u32,
    flags: u8,
    window: u16,
    data: Vec<u8>,
}

fn be16(data: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(data[at..at + 2].try_into().unwrap())
}

fn be32(data: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(data[at..at + 4].try_into().unwrap())
}

/// The addresses, and the TCP segment in an IP packet.
fn tcp(packet: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (source, destination, protocol, segment) = match packet[0] >> 4 {
        4 => {
            let head = usize::from(packet[0] & 15) * 4;
            (&packet[12..16], &packet[16..20], packet[9], packet.get(head..usize::from(be16(packet, 2)))?)
        }
        6 => (&packet[8..24], &packet[24..40], packet[6], packet.get(40..40 + usize::from(be16(packet, 4)))?),
        _ => return None,
    };
    (protocol == 6).then_some((source, destination, segment))
}

/// The TCP connections in a capture file with Ethernet or IP packets, in the order of their first packets.
fn connections(file: &[u8]) -> Vec<Vec<Segment>> {
    let le32 = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let (unit, ethernet) = (if le32(0) == 0xa1b2_3c4d { 1 } else { 1000 }, le32(20) == 1);
    /// The addresses and ports of both ends, and the segments.
    type Connection = ([Vec<u8>; 2], [u16; 2], Vec<Segment>);
    let mut all: Vec<Connection> = vec![];
    let mut at = 24;
    while at < file.len() {
        let time = u64::from(le32(at)) * 1_000_000_000 + u64::from(le32(at + 4)) * unit;
        let mut packet = &file[at + 16..at + 16 + le32(at + 8) as usize];
        at += 16 + packet.len();
        if ethernet {
            while be16(packet, 12) == 0x8100 {
                packet = &packet[4..];
            }
            packet = &packet[14..];
        }
        let Some((source, destination, tcp)) = tcp(packet) else { continue };
        let (ports, flags) = ([be16(tcp, 0), be16(tcp, 2)], tcp[13]);
        let (source, destination) = (source.to_vec(), destination.to_vec());
        let there = [source.clone(), destination.clone()];
        let back = [destination, source];
        let reverse = [ports[1], ports[0]];
        let known = all.iter().rposition(|(ends, of, _)| (ends, of) == (&there, &ports) || (ends, of) == (&back, &reverse));
        let opens = flags & 0x12 == 2;
        let place = known.filter(|&i| !opens || all[i].2.iter().all(|segment| segment.data.is_empty())).unwrap_or_else(|| {
            all.push((there.clone(), ports, vec![]));
            all.len() - 1
        });
        let from_client = (&all[place].0, &all[place].1) == (&there, &ports);
        all[place].2.push(Segment {
            time,
            from_client,
            ports,
            seq: be32(tcp, 4),
            ack: be32(tcp, 8),
            flags,
            window: be16(tcp, 14),
            data: tcp[usize::from(tcp[12] >> 4) * 4..].to_vec(),
        });
    }
    all.into_iter().map(|(_, _, segments)| segments).filter(|segments| segments.iter().any(|segment| !segment.data.is_empty())).collect()
}

/// A capture file that is being written, and the time of its last packet in nanoseconds.
struct File(Vec<u8>, u64);

impl File {
    fn new() -> Self {
        let head = [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 101];
        Self(head.iter().flat_map(|number| number.to_le_bytes()).collect(), 1_700_000_000_000_000_000)
    }

    /// Adds the segments from number `first` on. The data of the first of them begins at `skipped`.
    fn add(&mut self, client: Ipv4Addr, segments: &[Segment], first: usize, skipped: usize, most: usize) {
        let (begin, mut sent) = (self.1 + 1_000_000, 0);
        for (i, segment) in segments[first..].iter().enumerate() {
            let skipped = if i == 0 { skipped } else { 0 };
            let data = &segment.data[skipped..];
            let time = begin + segment.time.saturating_sub(segments[first].time);
            self.1 = self.1.max(time);
            let server = Ipv4Addr::new(198, 51, 100, 20);
            let (from, to) = if segment.from_client { (client, server) } else { (server, client) };
            let length = (40 + data.len()) as u16;
            let mut packet = vec![0x45, 0];
            packet.extend(length.to_be_bytes());
            packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
            packet.extend([from.octets(), to.octets()].concat());
            packet.extend(segment.ports.iter().flat_map(|port| port.to_be_bytes()));
            packet.extend(segment.seq.wrapping_add(skipped as u32).to_be_bytes());
            packet.extend(segment.ack.to_be_bytes());
            packet.extend([0x50, segment.flags]);
            packet.extend(segment.window.to_be_bytes());
            packet.extend([0; 4]);
            packet.extend(data);
            let (seconds, nanos) = (time / 1_000_000_000, time % 1_000_000_000);
            for number in [seconds as u32, nanos as u32, u32::from(length), u32::from(length)] {
                self.0.extend(number.to_le_bytes());
            }
            self.0.extend(packet);
            sent += data.len();
            if sent > most {
                break;
            }
        }
    }
}

/// A document without the parts that depend on the client, or on the time and the extent of the capture.
fn content(document: &Value) -> Value {
    let mut content = document.clone();
    let map = content.as_object_mut().unwrap();
    for key in ["@timestamp", "@metadata", "agent", "ecs", "host", "source", "destination", "client", "server"] {
        map.remove(key);
    }
    let depends = [("event", "start"), ("event", "end"), ("event", "duration"), ("network", "community_id"), ("network", "bytes")];
    for (parent, key) in depends.into_iter().chain([("network", "direction"), ("related", "ip")]) {
        if let Some(parent) = map.get_mut(parent).and_then(Value::as_object_mut) {
            parent.remove(key);
        }
    }
    content
}

/// Whether each value in `part` is empty or also in `whole`. A handshake or message of which only one side was captured has no note that
/// would show this.
fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|other| is_part(value, other)))
        }
        _ => part == whole || part == "",
    }
}

/// The client of a document. It is one of the clients that [`client`] makes.
fn client_of(document: &Value) -> Ipv4Addr {
    let ends = ["source", "destination"].map(|end| document[end]["ip"].as_str().unwrap_or_default());
    ends.iter().find(|ip| ip.starts_with("10.")).unwrap_or_else(|| panic!("{document}")).parse().unwrap()
}

fn client(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number as u32)
}

/// Reads the connections of a capture from their beginning and from other positions. Returns the number of positions, and the documents
/// that are wrong.
fn starts(capture: &Path) -> (usize, String) {
    let name = capture.with_extension("").display().to_string();
    let (mut file, mut number, mut labels) = (File::new(), 0, BTreeMap::new());
    let connections = connections(&fs::read(capture).unwrap());
    let most = MOST_STARTS.min(MOST_STARTS_OF_CAPTURE / connections.len().max(1));
    for (c, segments) in connections.iter().enumerate() {
        let whole = client(number);
        number += 1;
        file.add(whole, segments, 0, 0, usize::MAX);
        let bytes: Vec<(usize, usize)> =
            segments.iter().enumerate().flat_map(|(i, s)| (0..s.data.len()).map(move |skip| (i, skip))).collect();
        for n in 0..bytes.len().min(most) {
            let (segment, skipped) = bytes[if bytes.len() > most { n * bytes.len() / most } else { n }];
            labels.insert(client(number), (whole, format!("connection {c}, segment {segment}, byte {skipped}")));
            file.add(client(number), segments, segment, skipped, FOLLOWED);
            number += 1;
        }
    }
    if labels.is_empty() {
        return (0, String::new());
    }
    let home = Home::new(&format!("name: joined\n{}\nqueue.mem.events: 100000\n", options(capture)));
    let path = home.path().join("starts.pcap");
    fs::write(&path, &file.0).unwrap();
    assert_success(&home.read_capture(&path));
    let mut by_client: BTreeMap<Ipv4Addr, Vec<Value>> = BTreeMap::new();
    for document in home.documents() {
        by_client.entry(client_of(&document)).or_default().push(content(&document));
    }
    let mut wrong = String::new();
    for (client, (whole, label)) in &labels {
        let empty = vec![];
        let expected = by_client.get(whole).unwrap_or(&empty);
        let queries: BTreeSet<String> = expected.iter().map(|document| document["query"].to_string()).collect();
        let is_other = |document: &&Value| !expected.iter().any(|whole| is_part(document, whole));
        for document in by_client.get(client).into_iter().flatten().filter(is_other) {
            let note = document["error"]["message"].as_str().unwrap_or_default();
            let incomplete = INCOMPLETE.contains(&note);
            let asked = document["query"].is_null() || queries.contains(&document["query"].to_string()) || document["query"] == "";
            let text = document.to_string();
            let allowed = ALLOWED.iter().any(|(of, part, _)| name.ends_with(of) && text.contains(part));
            if !(incomplete && asked || note == UNKNOWN_STATEMENT || allowed) {
                wrong += &format!("{}, {label}: {text}\n", capture.display());
            }
        }
    }
    (labels.len(), wrong)
}

#[test]
fn no_start_in_the_middle_of_a_connection_gives_an_invented_transaction() {
    let (mut count, mut wrong) = (0, String::new());
    for capture in captures().into_iter().filter(|capture| capture.starts_with(tests().join("protocols"))) {
        let (starts, what) = starts(&capture);
        count += starts;
        wrong += &what.lines().take(3).map(|line| format!("{line}\n")).collect::<String>();
    }
    assert!(count > 5000, "only {count} starts");
    assert!(wrong.is_empty(), "the first three documents of each capture:\n{wrong}");
}

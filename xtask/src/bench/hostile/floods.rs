//! The inputs of `bench hostile memory` and `bench hostile live`: traffic that makes the program hold as much as it can, with ordinary HTTP
//! transactions in between. To add a case, add an entry to [`CASES`].

use super::{capture::CaptureFile, requests::REQUESTS};
use crate::pcap::{
    End, Fragment, Tcp,
    flags::{ACK, FIN, PSH, RST, SYN},
};
use etherparse::IpNumber;
use std::io;

/// The address of the server of the attacks.
const SERVER: [u8; 4] = [192, 168, 0, 1];
/// The address of the server of the ordinary transactions.
const GOOD_SERVER: [u8; 4] = [192, 168, 0, 99];
const SECOND: u64 = 1_000_000_000;
const DATA: u8 = PSH | ACK;
/// Number of idle database sessions.
const SESSIONS: usize = 20_000;
/// Payload of the largest segment in bytes.
const FULL_SEGMENT: usize = 1460;

/// One kind of attack.
pub struct Case {
    pub name: &'static str,
    /// All options except the options of protocols, as text of a configuration file.
    pub options: &'static str,
    /// Whether `bench hostile live` sends this flood, too.
    pub live: bool,
    /// Writes the input and returns how many ordinary transactions it contains.
    pub write: fn(&mut Flood) -> io::Result<usize>,
}

/// A text that each document of an ordinary transaction contains, and no other document.
pub const GOOD: &str = "ordinary_transaction";

/// The options that drop the documents of the attack before the queue.
const ONLY_HTTP: &str = "processors: [{drop_event: {when: {not: {equals: {type: http}}}}}]\n";
const FLOWS: &str = "packetbeat.flows: {timeout: 30s, period: -1s}\nprocessors: [{drop_event: {when: {equals: {type: flow}}}}]\n";

pub const CASES: &[Case] = &[
    Case { name: "ordinary transactions only", options: "", live: false, write: |f| f.ordinary(2000) },
    Case { name: "100,000 Redis clients with one unanswered PING each, then HTTP", options: ONLY_HTTP, live: true, write: silent_clients },
    Case { name: "150,000 SYNs between request and response", options: "", live: true, write: syn_flood },
    Case { name: "150,000 handshakes between request and response", options: "", live: false, write: handshake_flood },
    Case { name: "unanswered requests of every protocol", options: ONLY_HTTP, live: true, write: unanswered },
    Case { name: "unanswered memcache requests, reported", options: "", live: true, write: |f| f.pipelined("memcache", 60) },
    Case { name: "incomplete MySQL packets behind long statements", options: ONLY_HTTP, live: false, write: long_statements },
    Case { name: "Cassandra bodies of 65 kB that are 16 MB decompressed", options: ONLY_HTTP, live: true, write: cassandra_bodies },
    Case { name: "HTTP bodies of 400 bytes that are 10 MB decompressed", options: "", live: true, write: http_bombs },
    Case { name: "incomplete HTTP bodies", options: "", live: false, write: incomplete_bodies },
    Case { name: "segments behind a hole", options: "", live: false, write: holes },
    Case { name: "incomplete heads in segments of one byte", options: "", live: false, write: small_segments },
    Case { name: "20,000 idle MySQL sessions with prepared statements", options: "", live: true, write: mysql_sessions },
    Case { name: "20,000 idle PostgreSQL sessions with prepared statements", options: "", live: true, write: pgsql_sessions },
    Case { name: "unanswered DNS queries over UDP", options: ONLY_HTTP, live: false, write: dns_queries },
    Case { name: "memcache datagrams without the first", options: ONLY_HTTP, live: false, write: memcache_datagrams },
    Case { name: "pings", options: ONLY_HTTP, live: false, write: pings },
    Case { name: "first fragments", options: "", live: false, write: fragments },
    Case { name: "1,000,000 flows", options: FLOWS, live: false, write: flows },
    Case { name: "1,000,000 connections that end", options: FLOWS, live: false, write: short_connections },
];

/// A capture with an attack and ordinary transactions.
pub struct Flood {
    pub capture: CaptureFile,
    /// The frames of the current ordinary transaction that are not written yet.
    coming: Vec<Segment>,
    ordinary: usize,
}

/// A TCP segment: source and destination, header and payload.
type Segment = ([End; 2], Tcp, Vec<u8>);

/// A connection of an attack: address and next sequence numbers.
struct Client {
    address: [u8; 4],
    port: u16,
    next: [u32; 2],
}

fn address(net: u8, number: usize) -> [u8; 4] {
    let [_, a, b, c] = (number as u32).to_be_bytes();
    [net, a, b, c]
}

impl Flood {
    pub fn new(capture: CaptureFile) -> Self {
        Self { capture, coming: Vec::new(), ordinary: 0 }
    }

    /// Writes the next frame of an ordinary transaction: handshake, request, response in two segments, end.
    fn tick(&mut self) -> io::Result<()> {
        if self.coming.is_empty() {
            self.coming = Self::transaction(self.ordinary);
            self.ordinary += 1;
        }
        if let Some((ends, tcp, payload)) = self.coming.pop() {
            self.capture.tcp(ends, tcp, &payload)?;
        }
        Ok(())
    }

    /// The frames of an ordinary transaction, the last one first.
    fn transaction(number: usize) -> Vec<Segment> {
        let client = ([172, 16 + (number / 60_000) as u8, 0, 1], 1024 + (number % 60_000) as u16);
        let server = (GOOD_SERVER, 80);
        let request = format!("GET /{GOOD}/{number} HTTP/1.1\r\nHost: good.test\r\n\r\n").into_bytes();
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood".to_vec();
        let (asked, answered) = (request.len() as u32, response.len() as u32);
        let frames = [
            (true, 100, 0, SYN, Vec::new()),
            (false, 500, 101, SYN | ACK, Vec::new()),
            (true, 101, 501, DATA, request),
            (false, 501, 101 + asked, DATA, response[..20].to_vec()),
            (false, 521, 101 + asked, DATA, response[20..].to_vec()),
            (true, 101 + asked, 501 + answered, FIN | ACK, Vec::new()),
            (false, 501 + answered, 102 + asked, FIN | ACK, Vec::new()),
        ];
        let frame = |(to_server, seq, ack, flags, payload)| {
            let ends = if to_server { [client, server] } else { [server, client] };
            (ends, Tcp { seq, ack, flags }, payload)
        };
        frames.into_iter().map(frame).rev().collect()
    }

    /// Completes the current ordinary transaction, and returns how many there were in total.
    fn finish(&mut self) -> io::Result<usize> {
        while !self.coming.is_empty() {
            self.tick()?;
        }
        Ok(self.ordinary)
    }

    fn ordinary(&mut self, count: usize) -> io::Result<usize> {
        for _ in 0..7 * count {
            self.tick()?;
        }
        self.finish()
    }

    /// Writes the handshake of an attacking client.
    fn connect(&mut self, number: usize, port: u16) -> io::Result<Client> {
        let mut client = Client { address: address(10, number), port, next: [1000, 5000] };
        self.send(&mut client, 0, SYN, b"")?;
        self.send(&mut client, 1, SYN | ACK, b"")?;
        self.send(&mut client, 0, ACK, b"")?;
        Ok(client)
    }

    /// Writes one segment of the client (0) or of the server (1).
    fn send(&mut self, client: &mut Client, side: usize, flags: u8, payload: &[u8]) -> io::Result<()> {
        let (seq, ack) = (client.next[side], client.next[1 - side]);
        client.next[side] = seq.wrapping_add(payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0));
        let ends = [(client.address, 40_000), (SERVER, client.port)];
        self.capture.tcp([ends[side], ends[1 - side]], Tcp { seq, ack, flags }, payload)
    }

    /// Writes data of the client (0) or of the server (1) in full segments.
    fn data(&mut self, client: &mut Client, side: usize, data: &[u8]) -> io::Result<()> {
        data.chunks(FULL_SEGMENT).try_for_each(|part| self.send(client, side, DATA, part))
    }

    /// Writes `clients` connections, each with as many requests as a parser keeps.
    fn pipelined(&mut self, name: &str, clients: usize) -> io::Result<usize> {
        for requests in REQUESTS.iter().filter(|requests| requests.name == name) {
            let data: Vec<u8> = (0..requests.most).flat_map(requests.make).collect();
            for number in 0..clients {
                let mut client = self.connect(number, requests.port)?;
                self.data(&mut client, 0, &data)?;
                self.tick()?;
            }
        }
        self.finish()
    }
}

fn silent_clients(f: &mut Flood) -> io::Result<usize> {
    for number in 0..100_000 {
        let mut client = Client { address: address(10, number), port: 6379, next: [100, 1] };
        f.send(&mut client, 0, SYN, b"")?;
        f.send(&mut client, 0, DATA, b"*1\r\n$4\r\nPING\r\n")?;
    }
    f.capture.wait(61 * SECOND);
    for _ in 0..7 * 1000 {
        f.tick()?;
        f.capture.wait(SECOND / 100);
    }
    f.finish()
}

/// Writes the requests of ordinary transactions, then the flood, then the responses.
fn between(f: &mut Flood, flood: impl Fn(&mut Flood) -> io::Result<()>) -> io::Result<usize> {
    let mut halves = Vec::new();
    for number in 0..100 {
        let mut frames = Flood::transaction(number);
        for (ends, tcp, payload) in frames.split_off(frames.len() - 3).into_iter().rev() {
            f.capture.tcp(ends, tcp, &payload)?;
        }
        halves.push(frames);
    }
    flood(f)?;
    for (ends, tcp, payload) in halves.iter().flat_map(|half| half.iter().rev()) {
        f.capture.tcp(*ends, *tcp, payload)?;
    }
    Ok(halves.len())
}

fn syn_flood(f: &mut Flood) -> io::Result<usize> {
    between(f, |f| {
        (0..150_000)
            .try_for_each(|number| f.send(&mut Client { address: address(10, number), port: 80, next: [number as u32, 0] }, 0, SYN, b""))
    })
}

fn handshake_flood(f: &mut Flood) -> io::Result<usize> {
    between(f, |f| (0..150_000).try_for_each(|number| f.connect(number, 80).map(drop)))
}

fn unanswered(f: &mut Flood) -> io::Result<usize> {
    let mut number = 0;
    for requests in REQUESTS {
        let data: Vec<u8> = (0..requests.most).flat_map(requests.make).collect();
        // With this number of connections, all protocols together would hold more than a gigabyte.
        for _ in 0..(80_000_000 / requests.holds / requests.most).clamp(20, 20_000) {
            let mut client = f.connect(number, requests.port)?;
            f.data(&mut client, 0, &data)?;
            f.tick()?;
            number += 1;
        }
    }
    f.finish()
}

fn long_statements(f: &mut Flood) -> io::Result<usize> {
    let statement = [&b"\x03select "[..], &[b'x'; 50_000]].concat();
    let request = [&(statement.len() as u32).to_le_bytes()[..3], &[0], &statement, &[5]].concat();
    for number in 0..2500 {
        let mut client = f.connect(number, 3306)?;
        f.data(&mut client, 0, &request)?;
        f.data(&mut client, 1, b"\x07\0\0\x01\0\0\0\x02\0\0\0")?;
        f.tick()?;
    }
    f.finish()
}

fn cassandra_bodies(f: &mut Flood) -> io::Result<usize> {
    // An LZ4 literal, then one match that repeats it: 255 bytes for each byte of the match length.
    let length = (16 << 20) / 255;
    let block = [&b"\x1f\0\x01\0"[..], &vec![0xff; length], b"\x10\x50\0\0\0\0\0"].concat();
    let plain = 1 + 19 + 255 * length + 0x10 + 5;
    let body = [&(plain as u32).to_be_bytes()[..], &block].concat();
    let options = b"\0\x02\0\x0bCQL_VERSION\0\x053.0.0\0\x0bCOMPRESSION\0\x03lz4";
    let startup = [&b"\x04\0\0\0\x01"[..], &(options.len() as u32).to_be_bytes(), options].concat();
    let query = [&b"\x04\x01\0\x01\x07"[..], &(body.len() as u32).to_be_bytes(), &body].concat();
    for number in 0..200 {
        let mut client = f.connect(number, 9042)?;
        f.data(&mut client, 0, &startup)?;
        f.data(&mut client, 0, &query)?;
        (0..7).try_for_each(|_| f.tick())?;
    }
    f.finish()
}

fn http_bombs(f: &mut Flood) -> io::Result<usize> {
    // A zstd frame without a size, window of 8 MiB: 80 blocks, each of which repeats one byte 128 KiB times.
    let mut body = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x68];
    for block in 0..80 {
        let header = (128 << 10) << 3 | 1 << 1 | u32::from(block == 79);
        body.extend([&header.to_le_bytes()[..3], &[0]].concat());
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: zstd\r\nContent-Length: {}\r\n\r\n", body.len());
    let response = [head.as_bytes(), &body].concat();
    for number in 0..100 {
        let mut client = f.connect(number, 80)?;
        f.data(&mut client, 0, b"GET /bomb HTTP/1.1\r\nHost: a\r\n\r\n")?;
        f.data(&mut client, 1, &response)?;
        f.send(&mut client, 0, FIN | ACK, b"")?;
        f.send(&mut client, 1, FIN | ACK, b"")?;
        (0..7).try_for_each(|_| f.tick())?;
    }
    f.finish()
}

fn incomplete_bodies(f: &mut Flood) -> io::Result<usize> {
    let request = [&b"POST / HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 9000000\r\n\r\n"[..], &[b'a'; 400_000]].concat();
    for number in 0..1000 {
        let mut client = f.connect(number, 80)?;
        f.data(&mut client, 0, &request)?;
        f.tick()?;
    }
    f.finish()
}

fn holes(f: &mut Flood) -> io::Result<usize> {
    for number in 0..1000 {
        let mut client = f.connect(number, 80)?;
        client.next[0] += 1;
        (0..900).try_for_each(|_| f.send(&mut client, 0, DATA, &[b'a'; 100]))?;
        f.tick()?;
    }
    f.finish()
}

fn small_segments(f: &mut Flood) -> io::Result<usize> {
    let head = [&b"GET / HTTP/1.1\r\nX: "[..], &[b'a'; 20_000]].concat();
    for number in 0..100 {
        let mut client = f.connect(number, 80)?;
        head.iter().try_for_each(|byte| f.send(&mut client, 0, DATA, &[*byte]))?;
        f.tick()?;
    }
    f.finish()
}

/// Writes sessions that prepare a statement and pause. After two minutes and a flood of SYNs, the sessions that were used last execute the
/// statement.
fn sessions(f: &mut Flood, port: u16, start: &[(usize, Vec<u8>)], execute: &[(usize, Vec<u8>)]) -> io::Result<usize> {
    let play = |f: &mut Flood, client: &mut Client, steps: &[(usize, Vec<u8>)]| {
        steps.iter().try_for_each(|(side, data)| f.data(client, *side, data))
    };
    let mut last = Vec::new();
    for number in 0..SESSIONS {
        let mut client = f.connect(number, port)?;
        play(f, &mut client, start)?;
        if number >= SESSIONS - 1000 {
            last.push(client);
        }
    }
    for _ in 0..12 {
        f.capture.wait(10 * SECOND);
        f.tick()?;
    }
    (0..100_000).try_for_each(|n| f.send(&mut Client { address: address(11, n), port, next: [7, 0] }, 0, SYN, b""))?;
    for client in &mut last {
        play(f, client, execute)?;
    }
    Ok(f.finish()? + last.len())
}

fn mysql_sessions(f: &mut Flood) -> io::Result<usize> {
    let packet = |seq: u8, body: &[u8]| [&(body.len() as u32).to_le_bytes()[..3], &[seq], body].concat();
    let sql = format!("select '{GOOD}'");
    let prepare = [(0, packet(0, &[&[0x16], sql.as_bytes()].concat())), (1, packet(1, b"\0\x01\0\0\0\0\0\0\0\0\0\0"))];
    let execute = [(0, packet(0, b"\x17\x01\0\0\0\0\x01\0\0\0")), (1, packet(1, b"\0\0\0\x02\0\0\0"))];
    // A PREPARE has its own document, which also contains the statement.
    Ok(sessions(f, 3306, &prepare, &execute)? + SESSIONS)
}

fn pgsql_sessions(f: &mut Flood) -> io::Result<usize> {
    let message = |kind: u8, body: &[u8]| [&[kind], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat();
    let sql = format!("s\0select '{GOOD}'\0\0\0");
    let prepare =
        [(0, [message(b'P', sql.as_bytes()), message(b'S', b"")].concat()), (1, [message(b'1', b""), message(b'Z', b"I")].concat())];
    let bind = message(b'B', b"\0s\0\0\0\0\0\0\0");
    let execute = message(b'E', b"\0\0\0\0\0");
    let asked = [bind, execute, message(b'S', b"")].concat();
    let answered = [message(b'2', b""), message(b'C', b"SELECT 0\0"), message(b'Z', b"I")].concat();
    sessions(f, 5432, &prepare, &[(0, asked), (1, answered)])
}

fn dns_queries(f: &mut Flood) -> io::Result<usize> {
    let label = [&[60][..], &[b'a'; 60]].concat();
    for number in 0..300_000_usize {
        let id = (number as u16).to_be_bytes();
        let query = [&id[..], b"\x01\0\0\x01\0\0\0\0\0\0", &label, &label, b"\0\0\x01\0\x01"].concat();
        f.capture.udp([(address(10, number), 5000), (SERVER, 53)], &query)?;
        if number % 100 == 0 {
            f.tick()?;
        }
    }
    f.finish()
}

fn memcache_datagrams(f: &mut Flood) -> io::Result<usize> {
    for number in 0..100_000_usize {
        let part = [&(number as u16).to_be_bytes()[..], b"\0\x07\0\x09\0\0", &[b'a'; 1000]].concat();
        f.capture.udp([(SERVER, 11211), (address(10, number / 8), 5000)], &part)?;
        if number % 100 == 0 {
            f.tick()?;
        }
    }
    f.finish()
}

fn pings(f: &mut Flood) -> io::Result<usize> {
    for number in 0..500_000_usize {
        f.capture.ipv4(address(10, number), SERVER, IpNumber::ICMP, Fragment::default(), &[b"\x08\0\0\0\0\x01\0\x01", &[b'a'; 32]])?;
        if number % 100 == 0 {
            f.tick()?;
        }
    }
    f.finish()
}

fn fragments(f: &mut Flood) -> io::Result<usize> {
    for number in 0..200_000_usize {
        // The fragment is far from the start of its datagram, so that each datagram would take 64 KiB.
        let fragment = Fragment { id: number as u16, more: true, offset: 7000 };
        f.capture.ipv4(address(10, number), SERVER, IpNumber::UDP, fragment, &[&[b'a'; 800]])?;
        if number % 100 == 0 {
            f.tick()?;
        }
    }
    f.finish()
}

fn flows(f: &mut Flood) -> io::Result<usize> {
    for number in 0..1_000_000_usize {
        f.capture.udp([(address(10, number), 5000), (SERVER, 9)], b"a")?;
        if number % 100 == 0 {
            f.tick()?;
        }
    }
    f.finish()
}

fn short_connections(f: &mut Flood) -> io::Result<usize> {
    for number in 0..1_000_000_usize {
        let mut client = Client { address: address(10, number), port: 443, next: [1000, 5000] };
        f.send(&mut client, 0, SYN, b"")?;
        f.send(&mut client, 1, RST | ACK, b"")?;
        if number % 100 == 0 {
            f.tick()?;
        }
    }
    f.finish()
}

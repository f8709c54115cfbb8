//! Tests that the bytes reported by `held` are correct. A conversation of each protocol is played: while requests are
//! pending, the number must grow at least by their bytes; after the responses nearly all must be freed. A new protocol
//! calls [`check`] in its own tests.

use super::{Close, Context, PROTOCOLS, Plugin, Progress, Protocol, StreamParser};
use crate::{
    config::Node,
    net::{Direction, Peers, Transport},
    publish::{PublisherId, Sink},
    time::Timestamp,
};
use Direction::{ToClient, ToServer};

/// Number of pending requests.
const REQUESTS: u16 = 250;

/// Requests, and their responses.
pub struct Conversation {
    /// Makes the request with this number.
    pub request: fn(u16) -> Vec<u8>,
    /// Makes the response to the request with this number.
    pub response: fn(u16) -> Vec<u8>,
    /// Minimum number of bytes kept per request.
    pub keeps: usize,
}

/// Returns the messages of a protocol. DHCPv4 and SIP are missing, because they keep no requests.
fn conversation(protocol: &str) -> Option<Conversation> {
    let c = |request, response, keeps| Some(Conversation { request, response, keeps });
    match protocol {
        "icmp" => c(|n| echo(8, n), |n| echo(0, n), 40),
        "amqp" => c(
            |n| amqp(10, &[&[0, 0, 200], text(n, 200).as_slice(), &[0; 5]].concat()),
            |n| amqp(11, &[&[200], text(n, 200).as_slice(), &[0; 8]].concat()),
            200,
        ),
        "cassandra" => c(
            |n| {
                let query = text(n, 1000);
                let body = [&1000_u32.to_be_bytes(), query.as_slice(), &[0, 1, 0]].concat();
                [&[4, 0], &n.to_be_bytes()[..], &[7], &(body.len() as u32).to_be_bytes(), &body].concat()
            },
            |n| [&[0x84, 0], &n.to_be_bytes()[..], &[8, 0, 0, 0, 4, 0, 0, 0, 1]].concat(),
            1000,
        ),
        "dns" => c(|n| dns(n, 0x0100), |n| dns(n, 0x8180), 100),
        "http" => c(
            |n| [b"GET /", text(n, 1000).as_slice(), b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat(),
            |_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
            1000,
        ),
        "memcache" => c(|n| [b"get ", text(n, 200).as_slice(), b"\r\n"].concat(), |_| b"END\r\n".to_vec(), 200),
        "mysql" => c(|n| [&[0xf0, 3, 0, 0, 3], &b"select "[..], &text(n, 1000)].concat(), |_| vec![7, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0], 1000),
        "pgsql" => c(
            |n| [&[b'Q', 0, 0, 3, 0xf4], &b"update "[..], &text(n, 1000), &[0]].concat(),
            |_| b"C\0\0\0\x0dUPDATE 1\0Z\0\0\0\x05I".to_vec(),
            1000,
        ),
        "redis" => c(|n| [b"*2\r\n$3\r\nGET\r\n$1000\r\n", text(n, 1000).as_slice(), b"\r\n"].concat(), |_| b"$-1\r\n".to_vec(), 1000),
        "thrift" => c(|n| thrift(1, n), |n| thrift(2, n), 200),
        "mongodb" => c(
            |n| {
                let name = text(n, 1000);
                let find = [&b"\x02find\0\xe9\x03\0\0"[..], &name, b"\0\x02$db\0\x02\0\0\0d\0"].concat();
                mongodb(u32::from(n) + 1, 0, &find)
            },
            |n| mongodb(u32::from(n) + 1000, u32::from(n) + 1, b"\x01ok\0\0\0\0\0\0\0\xf0\x3f"),
            1000,
        ),
        "nfs" => c(
            |n| {
                let machine = text(n, 200);
                let unix = [&[0, 0, 0, 0, 0, 0, 0, 200], machine.as_slice(), &[0; 12]].concat();
                let head = [u32::from(n), 0, 2, 100_003, 3, 1, 1, unix.len() as u32].map(u32::to_be_bytes).concat();
                nfs(&[head.as_slice(), &unix, &[0; 8], &[0, 0, 0, 4, 1, 2, 3, 4]].concat())
            },
            |n| nfs(&[u32::from(n), 1, 0, 0, 0, 0, 0].map(u32::to_be_bytes).concat()),
            200,
        ),
        // The conversation of TLS is one handshake: a hello, and the alert in response.
        "tls" => c(
            |n| match n {
                0 => [&[22, 3, 1, 3, 0xff, 1, 0, 3, 0xfb, 3, 3], &[7; 32][..], &[0, 3, 0xd2], &[0x13; 978], &[1, 0, 0, 0]].concat(),
                _ => vec![],
            },
            |n| if n == 0 { vec![21, 3, 3, 0, 2, 2, 40] } else { vec![] },
            4,
        ),
        _ => None,
    }
}

fn text(n: u16, length: usize) -> Vec<u8> {
    let mut text = format!("n{n}").into_bytes();
    text.resize(length, b'x');
    text
}

fn echo(kind: u8, n: u16) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 1][..], &n.to_be_bytes()].concat()
}

/// A queue.declare and its response.
fn amqp(method: u8, arguments: &[u8]) -> Vec<u8> {
    [&[1, 0, 1], &(arguments.len() as u32 + 4).to_be_bytes()[..], &[0, 50, 0, method], arguments, &[0xce]].concat()
}

fn dns(id: u16, flags: u16) -> Vec<u8> {
    let label = [&[60][..], &[b'a'; 60]].concat();
    let head = [id, flags, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
    [head.as_slice(), &label, &label, &[0, 0, 1, 0, 1]].concat()
}

fn thrift(kind: u8, n: u16) -> Vec<u8> {
    [&[0x80, 1, 0, kind, 0, 0, 0, 200], text(n, 200).as_slice(), &u32::from(n).to_be_bytes(), &[0]].concat()
}

fn mongodb(id: u32, to: u32, fields: &[u8]) -> Vec<u8> {
    let document = [&(fields.len() as u32 + 5).to_le_bytes(), fields, &[0]].concat();
    let length = 16 + 5 + document.len() as u32;
    let head = [length, id, to, 2013].map(u32::to_le_bytes).concat();
    [head.as_slice(), &[0; 5], &document].concat()
}

fn nfs(record: &[u8]) -> Vec<u8> {
    [&(0x8000_0000 | record.len() as u32).to_be_bytes(), record].concat()
}

/// The protocol under test: one of its parsers for TCP, otherwise the plugin.
struct Subject {
    plugin: Box<dyn Plugin>,
    parser: Option<Box<dyn StreamParser>>,
    peers: Peers,
    sink: Sink,
}

impl Subject {
    fn new(protocol: &Protocol) -> Self {
        let plugin = (protocol.open)(&Node::parse("{}").unwrap()).unwrap();
        let transport = protocol.transports.iter().copied().find(|t| *t == Transport::Tcp && protocol.name != "dns");
        let parser = transport.and_then(|_| plugin.connect());
        let transport = transport.unwrap_or(protocol.transports[0]);
        let peers = Peers::new("10.0.0.1:40000".parse().unwrap(), "10.0.0.2:1000".parse().unwrap(), transport);
        Self { plugin, parser, peers, sink: Sink::bare(Box::new(|_| ())) }
    }

    /// Passes a message to the parser or plugin under test. Returns an error if the result is wrong.
    fn message(&mut self, dir: Direction, data: &[u8]) -> Option<String> {
        if data.is_empty() {
            return None;
        }
        let mut peers = self.peers.clone();
        let mut cx = Context::new(Timestamp(1), &mut peers, &mut self.sink, PublisherId::default(), false);
        let Some(parser) = &mut self.parser else {
            self.plugin.on_datagram(dir, data, &mut cx);
            return None;
        };
        let progress = parser.on_data(dir, data, &mut cx);
        let whole = matches!(progress, Progress::Consumed { bytes, .. } if bytes >= data.len() as u64);
        (!whole).then(|| format!("{progress:?} of {} bytes {dir:?}", data.len()))
    }

    fn close(&mut self) {
        let mut cx = Context::new(Timestamp(1), &mut self.peers, &mut self.sink, PublisherId::default(), false);
        match &mut self.parser {
            Some(parser) => {
                parser.on_close(ToServer, Close::Fin, &mut cx);
                parser.on_close(ToClient, Close::Fin, &mut cx);
            }
            None => self.plugin.on_end(&mut cx),
        }
    }

    fn held(&self) -> usize {
        self.parser.as_ref().map_or_else(|| self.plugin.held(), |parser| parser.held())
    }
}

/// Plays the conversation and compares [`StreamParser::held`] or [`Plugin::held`] before it, in the middle and after
/// it.
pub fn check(protocol: &Protocol, conversation: &Conversation) {
    let mut subject = Subject::new(protocol);
    let before = subject.held();
    let mut wrong: Vec<String> = (0..REQUESTS).filter_map(|n| subject.message(ToServer, &(conversation.request)(n))).take(1).collect();
    let most = subject.held();
    wrong.extend((0..REQUESTS).filter_map(|n| subject.message(ToClient, &(conversation.response)(n))).take(1));
    if protocol.name == "tls" {
        subject.close(); // a handshake is reported when the connection closes
    }
    let after = subject.held();
    subject.close();
    let counters = subject.sink.counters();
    let mut compare = |holds: bool, what: &str| {
        if !holds {
            wrong.push(format!("{what}: {before} bytes before, {most} while requests wait, {after} after their responses; {counters:?}"));
        }
    };
    compare(before < 1 << 10, "too much before the first message");
    compare(most >= before + usize::from(REQUESTS) * conversation.keeps, "too little while requests wait");
    compare(after < before + (most - before) / 3, "too much is kept");
    compare(!counters.iter().any(|(_, name, _)| name.starts_with("unmatched")), "requests and responses are not paired");
    assert!(wrong.is_empty(), "{}: {wrong:#?}", protocol.name);
}

/// Minimum of the bytes that a parser reports with `held`, in percent of the bytes that it has allocated.
const LEAST: usize = 90;
/// Maximum of the reported bytes, in percent of the allocated bytes. It is more than 100 because shared memory is counted by
/// each of its owners.
const MOST: usize = 200;
/// Difference in bytes that is always allowed: the scratch memory of the sink, and the names of counters.
const SLACK: usize = 4 << 10;

/// Sends requests without responses, and compares [`StreamParser::held`] or [`Plugin::held`] with the allocated memory.
/// Returns the differences.
fn compare_with_allocated(protocol: &Protocol, what: &str, request: fn(u16) -> Vec<u8>) -> Option<String> {
    let mut subject = Subject::new(protocol);
    let before = subject.held();
    let allocated = allocation_counter::measure(|| {
        for n in 0..REQUESTS {
            let _ = subject.message(ToServer, &request(n));
        }
    });
    let (held, allocated) = (subject.held() - before, usize::try_from(allocated.bytes_current).unwrap_or(0));
    let within = held + SLACK >= allocated * LEAST / 100 && held <= allocated * MOST / 100 + SLACK;
    (!within).then(|| format!("{}, {what}: says {held} bytes, has allocated {allocated}", protocol.name))
}

/// The shortest request of a protocol. Its bytes are only a small part of the memory that it costs.
fn short(protocol: &str) -> Option<fn(u16) -> Vec<u8>> {
    Some(match protocol {
        "amqp" => |_| b"\x01\0\x01\0\0\0\x0d\0\x32\0\x0a\0\0\x01q\0\0\0\0\0\xce".to_vec(),
        "cassandra" => |n| [b"\x04\0", &n.to_be_bytes()[..], b"\x05\0\0\0\0"].concat(),
        "http" => |_| b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        "memcache" => |_| b"get a\r\n".to_vec(),
        "mongodb" => |n| {
            [&b"\x2a\0\0\0"[..], &u32::from(n).to_le_bytes(), b"\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x15\0\0\0\x10ping\0\x01\0\0\0\x02$db\0\0"]
                .concat()
        },
        "mysql" => |_| b"\x02\0\0\0\x03x".to_vec(),
        "nfs" => |n| {
            let call = [u32::from(n), 0, 2, 100_003, 3, 0, 0, 0, 0, 0].map(u32::to_be_bytes).concat();
            [&(0x8000_0000 | call.len() as u32).to_be_bytes()[..], &call].concat()
        },
        "pgsql" => |_| b"B\0\0\0\x0c\0\0\0\0\0\0\0\0".to_vec(),
        "redis" => |_| b"*1\r\n$1\r\nA\r\n".to_vec(),
        "thrift" => |n| [b"\0\0\0\x0e\x80\x01\0\x01\0\0\0\x01p", &u32::from(n).to_be_bytes()[..], b"\0"].concat(),
        _ => return None,
    })
}

#[test]
fn held_is_what_was_allocated() {
    let mut wrong = Vec::new();
    for protocol in PROTOCOLS {
        wrong.extend(conversation(protocol.name).and_then(|c| compare_with_allocated(protocol, "long requests", c.request)));
        wrong.extend(short(protocol.name).and_then(|request| compare_with_allocated(protocol, "short requests", request)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn held_grows_and_shrinks_with_the_waiting_requests() {
    for protocol in PROTOCOLS {
        match conversation(protocol.name) {
            Some(conversation) => check(protocol, &conversation),
            None => assert_eq!(Subject::new(protocol).held(), 0, "{} holds something before the first message", protocol.name),
        }
    }
}

//! Tests of the whole engine: frames in; documents, verdicts and counters out.

mod clock;
mod incomplete;
mod injection;
mod kernel_flows;
mod own;
mod time_outs;

use super::*;
use crate::{
    capture::{
        Link,
        control::recording::{Call, Recording},
    },
    config::Node,
    event::{Summary, TRANSACTION},
    flow::{self, options},
    net::{FlowKey, FlowRecord, Realm, Transport, Verdict, Vlans},
    opening::testing::opening,
    process::Ends,
    protocols::PROTOCOLS,
    publish::{
        HostData, Identity, Publisher, PublisherId, Publishers, Publishing,
        observer::{Observer, Transaction},
    },
};
use serde_json::Value;
use sniffer_common::ethertype;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

const SYN: u8 = 0x02;
const FIN: u8 = 0x11;
const ACK: u8 = 0x10;
const SECOND: u64 = 1_000_000_000;

/// A configured protocol: id, name, options (with `tags` for its documents), ports.
type Entry<'a> = (u32, &'a str, &'a str, &'a [u16]);

fn settings(entries: &[Entry<'_>], flows: Option<&str>) -> Settings {
    let mut publishers = vec![Publisher {
        id: PublisherId::FLOWS,
        dataset: "flow",
        fields: [flow::FIELDS, &[], &[]],
        summary: Summary::HEAD,
        settings: Node::default(),
    }];
    let mut configured = Vec::new();
    for (id, name, options, ports) in entries {
        let (id, options) = (PublisherId(*id), Node::parse(options).unwrap());
        let protocol = PROTOCOLS.iter().copied().find(|p| p.name == *name).unwrap();
        publishers.push(Publisher {
            id,
            dataset: protocol.name,
            fields: [TRANSACTION, protocol.fields, &[]],
            summary: protocol.summary,
            settings: options.clone(),
        });
        let claimed = ClaimedPorts { ports: ports.iter().map(|&port| (port, port)).collect(), any: false };
        configured.push(Configured { id, protocol, options, claimed });
    }
    let active: Vec<PublisherId> = publishers.iter().map(|publisher| publisher.id).collect();
    let root = Node::default();
    let publishers = Publishers::open(Identity::default(), &opening(&root), &publishers).unwrap();
    let publishing = Publishing::new(publishers, &active, &root, &[], HostData::default()).unwrap();
    let mut settings = Settings::new(configured, publishing);
    settings.flows = flows.map(|yaml| options::Options::read(&Node::parse(yaml).unwrap()).unwrap());
    settings
}

struct Bench {
    engine: Engine,
    control: Arc<Recording>,
    documents: Arc<Mutex<Vec<Value>>>,
    now: u64,
    /// VLAN tags (TCI) of the next frames. If empty, frames have no Ethernet header either.
    tags: Vec<u16>,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let documents: Arc<Mutex<Vec<Value>>> = Arc::default();
        let seen = documents.clone();
        let parsed = move |record: &crate::publish::Record| serde_json::from_slice(&record.body).unwrap();
        let deliver = Box::new(move |batch: Vec<crate::publish::Record>| seen.lock().unwrap().extend(batch.iter().map(parsed)));
        let control = Arc::new(Recording::default());
        let engine = Engine::new(Arc::new(settings), deliver).unwrap();
        Self { engine, control, documents, now: 1000 * SECOND, tags: Vec::new() }
    }

    /// The control acts on verdicts.
    fn shunting(self) -> Self {
        Self { engine: self.engine.with_shunts(self.control.clone()), ..self }
    }

    fn replace(&mut self, settings: Settings) {
        self.engine.replace_settings(Arc::new(settings)).unwrap();
    }

    /// Sends a segment between 10.0.0.1:`client` and 10.0.0.2:`server`.
    fn tcp(&mut self, client: u16, server: u16, to_server: bool, flags: u8, seq: u32, payload: &[u8]) {
        let (source, destination) = if to_server { (client, server) } else { (server, client) };
        let mut segment = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        segment.extend_from_slice(&seq.to_be_bytes());
        segment.extend_from_slice(&[0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend_from_slice(payload);
        self.ip(6, to_server, &segment);
    }

    fn udp(&mut self, client: u16, server: u16, to_server: bool, payload: &[u8]) {
        let (source, destination) = if to_server { (client, server) } else { (server, client) };
        let mut datagram = [source, destination, payload.len() as u16 + 8, 0].map(u16::to_be_bytes).concat();
        datagram.extend_from_slice(payload);
        self.ip(17, to_server, &datagram);
    }

    fn ip(&mut self, protocol: u8, to_server: bool, payload: &[u8]) {
        let mut data = Vec::new();
        if !self.tags.is_empty() {
            data.extend_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
            self.tags.iter().for_each(|tag| data.extend([ethertype::VLAN, *tag].map(u16::to_be_bytes).concat()));
            data.extend_from_slice(&ethertype::IPV4.to_be_bytes());
        }
        data.extend_from_slice(&[0x45, 0]);
        data.extend_from_slice(&(payload.len() as u16 + 20).to_be_bytes());
        data.extend_from_slice(&[0, 0, 0, 0, 64, protocol, 0, 0]);
        let (from, to) = if to_server { (1, 2) } else { (2, 1) };
        data.extend_from_slice(&[10, 0, 0, from, 10, 0, 0, to]);
        data.extend_from_slice(payload);
        self.now += 1000;
        self.engine.frame(&Frame {
            time: Timestamp(self.now),
            link: if self.tags.is_empty() { Link::RawIp } else { Link::Ethernet },
            data: &data,
            wire_len: data.len() as u32,
            tag: None,
            ifindex: 0,
            segments: Default::default(),
            task: Default::default(),
        });
    }

    fn at(&mut self, seconds: u64) {
        self.now += seconds * SECOND;
        self.engine.advance(Timestamp(self.now));
    }

    /// The documents of the last calls, as `TYPE METHOD STATUS TAGS`.
    fn documents(&mut self) -> Vec<String> {
        self.engine.flush();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let brief = |d: &Value| {
            let tags: Vec<_> = d["tags"].as_array().into_iter().flatten().map(text).collect();
            format!("{} {} {} {}", text(&d["type"]), text(&d["method"]), text(&d["status"]), tags.join("+"))
        };
        std::mem::take(&mut *self.documents.lock().unwrap()).iter().map(|d| brief(d).trim_end().to_owned()).collect()
    }

    /// Calls `Engine::exchange`. Returns the calls that the control has received since the previous call of this method.
    fn control_calls(&mut self) -> Vec<Call> {
        self.engine.exchange(&*self.control);
        self.control.take()
    }

    fn counter(&self, name: &str) -> Option<u64> {
        let mut found = None;
        self.engine.counters(&mut |counter, n| {
            if counter == name {
                found = Some(n);
            }
        });
        found
    }
}

fn key(client: u16, server: u16) -> FlowKey {
    let end = |host, port| SocketAddr::from(([10, 0, 0, host], port));
    FlowKey::new(Realm::default(), Transport::Tcp, end(1, client), end(2, server))
}

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const PONG: &[u8] = b"+PONG\r\n";

#[test]
fn a_parser_that_is_done_or_gives_up_is_a_verdict() {
    let mut b = Bench::new(settings(&[(1, "http", "{}", &[80]), (2, "amqp", "{}", &[5672])], None)).shunting();
    b.control_calls();
    b.tcp(4000, 80, true, ACK, 0, b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
    b.tcp(4000, 80, false, ACK, 0, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
    let shunt = Verdict::Shunt { at: [Some(61), Some(77)] };
    assert_eq!(b.control_calls(), [Call::Apply(vec![(key(4000, 80), shunt)])]);
    assert_eq!(b.control_calls(), [], "only once");
    b.tcp(4001, 5672, true, ACK, 0, b"AMQP\x03\x01\0\0");
    b.tcp(4002, 5672, true, ACK, 0, b"AMQP\x03\x01\0\0");
    let shunt = Verdict::Shunt { at: [Some(8), Some(0)] };
    assert_eq!(b.control_calls(), [Call::Apply(vec![(key(4001, 5672), shunt), (key(4002, 5672), shunt)])], "all of one poll in one call");
    assert_eq!((b.counter("verdicts.shunt"), b.counter("tcp.done_with"), b.counter("tcp.given_up")), (Some(3), Some(1), Some(2)));
    assert_eq!((b.counter("http.shunted"), b.counter("amqp.shunted")), (Some(1), Some(2)));
}

#[test]
fn a_long_body_is_a_verdict_on_its_sequence_numbers() {
    let mut b = Bench::new(settings(&[(1, "http", "{}", &[80])], None)).shunting();
    b.control_calls();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n";
    b.tcp(4000, 80, true, ACK, 0, b"GET / HTTP/1.1\r\n\r\n");
    b.tcp(4000, 80, false, ACK, 5, &[&head[..], &[b'x'; 1000]].concat());
    let body = 5 + head.len() as u32;
    // The range ends before the last byte of the body, because the parser must see that byte to know when the response ends.
    let skip = Verdict::Skip { sender: 1, from: body + 1000, until: body + 9_999_999 };
    assert_eq!(b.control_calls(), [Call::Apply(vec![(key(4000, 80), skip)])]);
    assert_eq!(b.counter("verdicts.skip"), Some(1));
}

#[test]
fn a_tls_handshake_that_is_over_is_a_verdict() {
    use crate::capture::{Polled, Source, file::FileSource};
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/protocols/tls/tls13.pcap");
    let mut b = Bench::new(settings(&[(1, "tls", "{}", &[24434])], None)).shunting();
    let mut file = FileSource::open(&path, Arc::default()).unwrap();
    while file.poll(Duration::ZERO, &mut |frame| b.engine.frame(&frame)).unwrap() != Polled::Ended {}
    let calls = b.control_calls();
    let verdicts = calls.iter().rev().find_map(|call| if let Call::Apply(verdicts) = call { Some(verdicts) } else { None });
    let verdicts = verdicts.unwrap_or_else(|| panic!("{calls:?} for {:?} frames", b.counter("capture.frames")));
    let connections = b.counter("tcp.connections").unwrap();
    let of = |is: fn(&Verdict) -> bool| verdicts.iter().filter(|(_, verdict)| is(verdict)).count() as u64;
    let (shunts, lifts) = (of(|v| matches!(v, Verdict::Shunt { at: [Some(_), Some(_)] })), of(|v| *v == Verdict::Lift));
    assert!(connections > 0, "{verdicts:?}");
    assert_eq!((shunts, lifts, verdicts.len() as u64), (connections, connections, 2 * connections), "each ends: {verdicts:?}");
    assert_eq!((b.counter("tcp.done_with"), b.counter("tls.shunted")), (Some(connections), Some(connections)));
}

#[test]
fn an_open_connection_keeps_the_protocol_that_is_configured_no_more() {
    let mut b = Bench::new(settings(&[(1, "redis", "{tags: [old]}", &[6379])], None));
    b.tcp(4000, 6379, true, SYN, 0, b"");
    b.tcp(4000, 6379, true, ACK, 1, PING);
    b.replace(settings(&[(2, "http", "{}", &[80])], None));
    b.tcp(4000, 6379, false, ACK, 0, PONG);
    assert_eq!(b.documents(), ["redis PING OK old"], "with the tags that it had");
    b.tcp(4001, 6379, true, ACK, 0, PING);
    b.tcp(4001, 6379, false, ACK, 0, PONG);
    assert_eq!((b.documents(), b.counter("tcp.connections")), (vec![], Some(1)), "no new connection");
    b.tcp(4000, 6379, true, ACK, 1 + PING.len() as u32, PING);
    b.tcp(4000, 6379, false, ACK, PONG.len() as u32, PONG);
    assert_eq!(b.documents(), ["redis PING OK old"]);
    // The connection keeps its parser even if the protocol is removed a second time.
    b.replace(settings(&[], None));
    b.tcp(4000, 6379, true, FIN, 1 + 2 * PING.len() as u32, PING);
    b.tcp(4000, 6379, false, FIN, 2 * PONG.len() as u32, PONG);
    assert_eq!(b.documents(), ["redis PING OK old"]);
    assert_eq!((b.counter("tcp.open"), b.engine.pipeline.given_up.is_some()), (Some(1), true));
    b.at(61);
    assert_eq!(
        (b.counter("tcp.open"), b.engine.pipeline.given_up.is_some()),
        (Some(0), false),
        "the ports are forgotten with the last connection"
    );
}

#[test]
fn a_protocol_with_the_same_id_goes_on_with_its_new_tags_and_ports() {
    let mut b = Bench::new(settings(&[(1, "redis", "{tags: [old]}", &[6379])], None));
    b.tcp(4000, 6379, true, ACK, 0, PING);
    // The protocol has another position in the list, another port and other tags.
    b.replace(settings(&[(2, "http", "{}", &[80]), (1, "redis", "{tags: [new]}", &[6380])], None));
    b.tcp(4000, 6379, false, ACK, 0, PONG);
    b.tcp(4001, 6380, true, ACK, 0, PING);
    b.tcp(4001, 6380, false, ACK, 0, PONG);
    assert_eq!(b.documents(), ["redis PING OK new", "redis PING OK new"]);
    // The protocol is configured again: the port is claimed as before.
    b.replace(settings(&[(1, "redis", "{tags: [back]}", &[6379])], None));
    b.tcp(4002, 6379, true, ACK, 0, PING);
    b.tcp(4002, 6379, false, ACK, 0, PONG);
    b.tcp(4001, 6380, true, ACK, PING.len() as u32, PING);
    b.tcp(4001, 6380, false, ACK, PONG.len() as u32, PONG);
    assert_eq!(b.documents(), ["redis PING OK back", "redis PING OK back"]);
}

#[test]
fn a_plugin_stays_while_its_options_do() {
    let ask = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
    let answer = b"\x12\x34\x81\x80\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
    let dns = |options| settings(&[(1, "dns", options, &[53])], None);
    let mut b = Bench::new(dns("{tags: [a]}"));
    b.udp(4000, 53, true, ask);
    b.replace(dns("{tags: [a]}"));
    b.udp(4000, 53, false, answer);
    assert_eq!(b.documents(), ["dns QUERY OK a"], "the request waited in the plugin");
    b.udp(4000, 53, true, ask);
    b.replace(dns("{tags: [b]}"));
    assert_eq!(b.documents(), ["dns QUERY Error a"], "reported when its plugin goes, under the old settings");
    b.udp(4000, 53, false, answer);
    assert_eq!(b.counter("dns.unmatched_responses"), Some(1));
    b.replace(settings(&[], None));
    b.udp(4000, 53, true, ask);
    b.at(60);
    b.engine.finish(&Recording::default());
    assert_eq!(b.counter("dns.unmatched_responses"), Some(1), "its counters still have their name");
    assert_eq!(b.documents().len(), 1, "the response without a request; nothing of the time after");
}

#[test]
fn settings_that_cannot_be_opened_change_nothing() {
    let mut b = Bench::new(settings(&[(1, "redis", "{}", &[6379])], None));
    let broken = settings(&[(2, "http", "{}", &[80]), (1, "redis", "{transaction_timeout: soon}", &[6379])], None);
    let error = b.engine.replace_settings(Arc::new(broken)).unwrap_err();
    assert!(error.to_string().contains("transaction_timeout"), "{error}");
    b.tcp(4000, 6379, true, ACK, 0, PING);
    b.tcp(4000, 6379, false, ACK, 0, PONG);
    b.tcp(4000, 80, true, ACK, 0, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!((b.documents(), b.counter("tcp.connections")), (vec!["redis PING OK".to_owned()], Some(1)));
}

#[test]
fn flows_go_on_unless_their_options_change() {
    let flows = |period| settings(&[], Some(&format!("{{period: {period}}}")));
    let mut b = Bench::new(flows("20s"));
    b.udp(4000, 53, true, b"x");
    b.replace(flows("20s"));
    assert_eq!((b.documents(), b.counter("flows.active")), (vec![], Some(1)));
    b.replace(flows("30s"));
    assert_eq!((b.documents(), b.counter("flows.active")), (vec!["flow - -".to_owned()], Some(0)), "what was counted is reported");
    b.udp(4000, 53, true, b"x");
    b.replace(settings(&[], None));
    assert_eq!((b.documents(), b.counter("flows.active")), (vec!["flow - -".to_owned()], None));
}

/// Records the realm of each transaction and flow.
struct Realms(Arc<Mutex<Vec<(String, Vlans)>>>);

impl Observer for Realms {
    fn transaction(&mut self, of: &Transaction<'_>) {
        self.0.lock().unwrap().push((of.protocol.to_owned(), of.realm.vlans));
    }

    fn flow(&mut self, of: &FlowRecord, _: &Ends) {
        let (_, vlan) = of.key.parts(false).vlans();
        self.0.lock().unwrap().push(("flow".to_owned(), vlan.map_or(Vlans::default(), |inner| Vlans { count: 1, outer: 0, inner })));
    }
}

#[test]
fn an_observer_is_shown_the_vlan_of_transactions_and_flows() {
    let of_protocols = [(1, "redis", "{}", &[6379][..]), (2, "dns", "{}", &[53]), (3, "icmp", "{}", &[]), (4, "sip", "{}", &[5060])];
    for (tags, track_vlans) in [(vec![0x6005], true), (vec![0x6005], false), (vec![], true)] {
        let mut settings = settings(&of_protocols, Some("{}"));
        settings.track_vlans = track_vlans;
        let mut b = Bench::new(settings);
        let shown = Arc::new(Mutex::new(Vec::new()));
        b.engine.show(Box::new(Realms(shown.clone())));
        b.tags = tags.clone();
        b.tcp(4000, 6379, true, ACK, 0, PING);
        b.tcp(4000, 6379, false, ACK, 0, PONG);
        b.udp(4001, 53, true, b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01");
        b.udp(4001, 53, false, b"\x12\x34\x81\x80\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01");
        // An echo reply without a request. The source is the side that should have sent the request.
        b.ip(1, false, &[0, 0, 0, 0, 0, 1, 0, 1]);
        b.udp(5060, 5060, true, b"OPTIONS sip:b@example.org SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n");
        b.engine.finish(&Recording::default());
        let vlan = |seen: bool| if seen && !tags.is_empty() { Vlans { count: 1, outer: 0, inner: 5 } } else { Vlans::default() };
        let mut got = std::mem::take(&mut *shown.lock().unwrap());
        got.sort_by(|a, b| a.0.cmp(&b.0));
        let of = |name: &str| (name.to_owned(), vlan(name == "flow" || track_vlans));
        let expected = ["dns", "flow", "flow", "flow", "flow", "icmp", "redis", "sip"].map(of);
        assert_eq!(got, expected, "tags {tags:?}, track_vlans {track_vlans}");
    }
}

#[test]
fn time_never_goes_back() {
    let mut b = Bench::new(settings(&[(1, "redis", "{transaction_timeout: 10s}", &[6379])], None));
    b.tcp(4000, 6379, true, ACK, 0, PING);
    let now = b.now;
    b.at(59);
    b.now = now;
    b.tcp(4000, 6379, false, ACK, 0, PONG);
    b.engine.advance(Timestamp(0));
    assert_eq!(b.documents(), ["redis PING OK"], "a packet that comes late is read all the same");
    b.at(70);
    assert_eq!(b.counter("tcp.idle"), Some(1));
}

/// Sends one DNS query without a response at each time in `steps` (seconds). Returns the engine and the documents reported by then.
fn requests_at(steps: &[u64]) -> (Bench, Vec<String>) {
    let flows = Some("{timeout: 5s, period: -1s}");
    let mut b = Bench::new(settings(&[(1, "dns", "{transaction_timeout: 10s}", &[53])], flows));
    for (id, seconds) in steps.iter().enumerate() {
        b.now = seconds * SECOND;
        let id = (id as u16).to_be_bytes();
        b.udp(2000 + u16::from(id[1]), 53, true, &[&id[..], b"\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01"].concat());
    }
    let got = b.documents();
    (b, got)
}

#[test]
fn one_wrong_time_moves_no_timers() {
    let all = |wrong: &[(usize, u64)]| {
        let mut times: Vec<u64> = (10_000..10_100).collect();
        wrong.iter().for_each(|&(at, time)| times[at] = time);
        let (mut b, mut got) = requests_at(&times);
        b.engine.finish(&*b.control);
        got.extend(b.documents());
        let count = |what: &str| got.iter().filter(|d| d.starts_with(what)).count();
        (count("dns"), count("flow"), b.counter("time.steps"))
    };
    assert_eq!(all(&[]), (100, 100, Some(0)));
    assert_eq!(all(&[(30, 13_600)]), (100, 100, Some(1)));
    assert_eq!(all(&[(30, 13_600), (31, 17_200), (60, 6_000), (99, 13_600)]), (100, 100, Some(2)));
}

#[test]
fn timers_go_on_after_the_clock_was_set() {
    // The clock is set forward or back by about an hour between periods of 20 s.
    for bases in [[20_000, 16_400, 12_800], [20_000, 23_600, 20_020], [20_000, 23_600, 27_200]] {
        let times: Vec<u64> = bases.into_iter().flat_map(|base| base..base + 20).collect();
        let (mut b, got) = requests_at(&times);
        let count = |what: &str, got: &[String]| got.iter().filter(|d| d.starts_with(what)).count();
        // All requests and flows except the last ones have timed out: transactions after 10 s, flows after 5 s.
        assert!((45..=50).contains(&count("dns", &got)), "{bases:?}: {} transactions", count("dns", &got));
        assert!((50..=56).contains(&count("flow", &got)), "{bases:?}: {} flows", count("flow", &got));
        b.at(11);
        let rest = b.documents();
        assert_eq!((count("dns", &got) + count("dns", &rest), count("flow", &got) + count("flow", &rest)), (60, 60), "{bases:?}");
    }
}

#[test]
fn connections_outlive_a_step_of_the_clock() {
    let mut b = Bench::new(settings(&[(1, "redis", "{}", &[6379])], None));
    b.now = 10_000 * SECOND;
    b.tcp(4000, 6379, true, ACK, 0, PING);
    b.tcp(4000, 6379, false, ACK, 0, PONG);
    b.now -= 3600 * SECOND;
    for n in 1..6_u32 {
        b.at(1);
        b.tcp(4000, 6379, true, ACK, n * PING.len() as u32, PING);
        b.tcp(4000, 6379, false, ACK, n * PONG.len() as u32, PONG);
    }
    assert_eq!(b.documents(), ["redis PING OK"; 6]);
    assert_eq!((b.counter("time.steps"), b.counter("tcp.idle"), b.counter("tcp.open")), (Some(1), Some(0), Some(1)));
    b.at(61);
    assert_eq!(b.counter("tcp.idle"), Some(1), "its silence counts from the step on");
}

#[test]
fn strict_mode_drops_what_waits() {
    let run = |strict| {
        let mut settings = settings(&[(1, "redis", "{}", &[6379]), (2, "dns", "{}", &[53])], None);
        settings.strict = strict;
        let mut b = Bench::new(settings);
        b.tcp(4000, 6379, true, ACK, 0, PING);
        b.udp(4000, 53, true, b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01");
        b.at(600);
        b.engine.finish(&Recording::default());
        (b.documents(), b.counter("redis.unmatched_requests"))
    };
    assert_eq!(run(true), (vec![], None));
    assert_eq!(run(false), (vec!["dns QUERY Error".to_owned()], Some(1)));
}

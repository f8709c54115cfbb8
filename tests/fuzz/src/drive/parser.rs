//! Fuzzes a protocol's parser with a connection whose packets pass through the real stream layer.
//!
//! Input: a byte of options ([`ALL_OPTIONS`] and the following constants), then pieces. A piece is a control byte with the direction (bit
//! 0) and the kind (bits 1 to 3, see [`Player::piece`]), a length of two bytes (big-endian), and, if the piece is data, as many bytes as
//! the length says.

use super::{Documents, Input};
use sniffer::{
    config::Node,
    decode::{Tcp, TcpFlags},
    net::{Direction, FlowKey, Peers, Realm, Transport, Verdict},
    protocols::{PROTOCOLS, Protocol},
    publish::{PublisherId, Sink},
    stream::{Env, Plugins, Streams, Totals, Warned, plugins::Call, ports::PortMap},
    time::Timestamp,
};
use std::{net::SocketAddr, sync::OnceLock, time::Duration};

/// Switch on all options that make the parser report more of a message.
const ALL_OPTIONS: u8 = 1;
/// Use datagrams, if the protocol supports both transports.
const DATAGRAMS: u8 = 2;
/// Start in the middle of the connection, without a handshake.
const JOINED: u8 = 4;
/// Let two protocols share the port, so that their probes determine the protocol of a connection.
const SHARED: u8 = 8;
/// Use IPv6 (and ICMPv6).
const V6: u8 = 16;

/// The options of all protocols. Each protocol ignores the options of others.
const OPTIONS: &str = "{send_request: true, send_response: true, send_all_headers: true, include_body_for: [text, json, form, html], \
    decode_body: true, split_cookie: true, hide_keywords: [password], real_ip_header: X-Forwarded-For, include_authorities: true, \
    include_additionals: true, parseunknown: true, maxvalues: -1, maxbytespervalue: 64, parse_arguments: true, \
    hide_connection_information: false, max_docs: 0, max_doc_length: 0, send_certificates: true, include_raw_certificates: true, \
    include_detailed_fields: true, parse_authorization: true, parse_body: true, keep_original: true}";

const ENDS: [&str; 4] = ["10.0.0.1:40000", "10.0.0.2:7000", "[fd00::1]:40000", "[fd00::2]:7000"];

fn options(all: bool) -> &'static Node {
    static NODES: OnceLock<[Node; 2]> = OnceLock::new();
    &NODES.get_or_init(|| ["{}", OPTIONS].map(|text| Node::parse(text).unwrap()))[usize::from(all)]
}

/// The protocol under test, and another one to which a connection may be handed over.
const IDS: [PublisherId; 2] = [PublisherId(1), PublisherId(2)];

/// The port map: every port belongs to the first protocol, or to both.
fn ports(shared: bool) -> &'static PortMap {
    static PORTS: OnceLock<[PortMap; 2]> = OnceLock::new();
    &PORTS.get_or_init(|| [PortMap::new([], &IDS[..1]), PortMap::new([], &IDS)])[usize::from(shared)]
}

/// Runs `data`, and checks that it gives at most as many events as it has bytes.
pub fn run(protocol: &'static Protocol, data: &[u8]) {
    let mut input = Input(data);
    let how = input.byte();
    let documents = Documents::default();
    let has = |tcp: bool| protocol.transports.iter().any(|t| (*t == Transport::Tcp) == tcp);
    let ends = if how & V6 == 0 { [ENDS[0], ENDS[1]] } else { [ENDS[2], ENDS[3]] }.map(|end| end.parse().unwrap());
    let mut player = Player {
        protocol,
        plugins: plugins(protocol, how),
        datagrams: has(false) && (how & DATAGRAMS != 0 || !has(true)),
        ports: ports(how & SHARED != 0),
        v6: how & V6 != 0,
        streams: Streams::default(),
        totals: Totals::default(),
        sink: documents.sink(),
        now: Timestamp(1_700_000_000_000_000_000),
        ends,
        next: [u32::MAX - 300, 1000],
    };
    if how & JOINED == 0 && !player.datagrams {
        player.handshake();
    }
    while !input.is_empty() {
        player.piece(&mut input);
    }
    player.end();
    documents.check(data.len() + 16);
}

fn plugins(protocol: &'static Protocol, how: u8) -> Plugins {
    let named = |name: &str| PROTOCOLS.iter().copied().find(|p| p.name == name && p.name != protocol.name);
    let other = named("tls").or_else(|| named("http")).or_else(|| named("redis"));
    let mut plugins = Plugins::default();
    for (id, protocol) in IDS.into_iter().zip([Some(protocol), other].into_iter().flatten()) {
        plugins.insert(id, protocol, (protocol.open)(options(how & ALL_OPTIONS != 0)).unwrap());
    }
    plugins
}

struct Player {
    protocol: &'static Protocol,
    plugins: Plugins,
    datagrams: bool,
    ports: &'static PortMap,
    v6: bool,
    streams: Streams,
    totals: Totals,
    sink: Sink,
    now: Timestamp,
    /// The client and the server.
    ends: [SocketAddr; 2],
    /// The next sequence number of client and server.
    next: [u32; 2],
}

impl Player {
    fn piece(&mut self, input: &mut Input<'_>) {
        let (control, len) = (input.byte(), input.short());
        let from = usize::from(control & 1);
        let step = Duration::from_millis(u64::from(len));
        match control >> 1 & 7 {
            0 | 1 => self.data(from, input.bytes(len.into()), 0),
            // Pass data that is cut to the snap length.
            2 => self.data(from, input.bytes(len.into()), 100),
            3 => input.bytes(len.into()).chunks(7).for_each(|part| self.data(from, part, 0)),
            4 => self.next[from] = self.next[from].wrapping_add(len.into()),
            5 => self.advance(self.now.after(step)),
            // Set the time back.
            6 => self.now = Timestamp(self.now.since(Timestamp(step.as_nanos() as u64))),
            _ => match len % 3 {
                0 => self.segment(from, 0x11, &[], 0),
                1 => self.segment(from, 0x14, &[], 0),
                _ => self.handshake(),
            },
        }
    }

    fn data(&mut self, from: usize, data: &[u8], cut: u32) {
        let dir = if from == 0 { Direction::ToServer } else { Direction::ToClient };
        (self.protocol.probe)(dir, data);
        if self.datagrams {
            self.datagram(dir, data);
        } else {
            self.segment(from, 0x18, data, cut);
        }
        self.now = self.now.after(Duration::from_micros(100));
    }

    fn handshake(&mut self) {
        self.segment(0, 0x02, &[], 0);
        self.segment(1, 0x12, &[], 0);
    }

    fn segment(&mut self, from: usize, flags: u8, payload: &[u8], cut: u32) {
        let (source, destination) = (self.ends[from], self.ends[1 - from]);
        let (seq, ack, flags) = (self.next[from], self.next[1 - from], TcpFlags(flags));
        let wire_payload = payload.len() as u32 + cut;
        self.next[from] = seq.wrapping_add(wire_payload).wrapping_add(u32::from(flags.syn() || flags.fin()));
        let tcp = Tcp {
            source: source.port(),
            destination: destination.port(),
            seq,
            ack,
            flags,
            window: u16::MAX,
            window_scale: None,
            payload,
            wire_payload,
        };
        let opens = flags.syn().then(|| !flags.ack());
        let claim = self.ports.claim(source.port(), destination.port(), opens);
        self.with_streams(|streams, env| streams.segment(source, destination, Realm::default(), claim, &tcp, env));
    }

    fn datagram(&mut self, dir: Direction, data: &[u8]) {
        let icmp = self.protocol.transports.contains(&Transport::Icmp);
        let transport = match (icmp, self.v6) {
            (false, _) => Transport::Udp,
            (true, false) => Transport::Icmp,
            (true, true) => Transport::Icmp6,
        };
        let [mut client, mut server] = self.ends;
        if icmp {
            // The stream layer does not know yet which end is the client, so the sender counts as the client.
            if dir == Direction::ToClient {
                std::mem::swap(&mut client, &mut server);
            }
            client.set_port(0);
            server.set_port(0);
        }
        let mut peers = Peers::new(client, server, transport);
        peers.icmp = data.first().zip(data.get(1)).filter(|_| icmp).map(|(kind, code)| (*kind, *code));
        let dir = if icmp { Direction::ToServer } else { dir };
        let call = Call { now: self.now, peers, sink: &mut self.sink, strict: false, missing: 0 };
        self.plugins.call(IDS[0], call, |plugin, cx| plugin.on_datagram(dir, data, cx));
    }

    fn advance(&mut self, now: Timestamp) {
        self.now = now;
        self.with_streams(Streams::advance);
        self.plugins.wake(now, &mut self.sink, true);
    }

    fn end(&mut self) {
        self.advance(self.now.after(Duration::from_secs(20)));
        self.with_streams(Streams::finish);
        assert_eq!(self.streams.len(), 0, "connections are left after the end");
        self.plugins.end_all(Duration::MAX, self.now, &mut self.sink);
    }

    fn with_streams<T>(&mut self, f: impl FnOnce(&mut Streams, &mut Env<'_>) -> T) -> T {
        // A verdict must skip fewer than 2^31 sequence numbers, because a longer range would be ambiguous.
        let mut check = |_: FlowKey, verdict: Verdict| {
            if let Verdict::Skip { from, until, .. } = verdict {
                assert!(until.wrapping_sub(from).cast_signed() > 0, "a skip from {from} until {until}");
            }
        };
        let (now, sink, totals) = (self.now, &mut self.sink, &mut self.totals);
        f(
            &mut self.streams,
            &mut Env {
                now,
                sink,
                plugins: &self.plugins,
                ports: self.ports,
                verdicts: &mut check,
                shunted: Some(&|_| None),
                track_vlans: false,
                totals,
                strict: false,
                timers: true,
                warned: &Warned::default(),
            },
        )
    }
}

//! Tests of the table and its connections: segments in, parser calls out. The test parser is controlled by the data and
//! records each call.

mod verdicts;

use super::{plugins::Plugins, ports::Claim, ports::PortMap, *};
use crate::{
    decode::{Tcp, TcpFlags},
    net::{Direction, FlowKey, Realm, Shunted, Transport, TunnelKey, Verdict},
    protocols::{Close, Context, PROTOCOLS, Plugin, Progress, Recovery, Skipped, StreamParser},
    publish::PublisherId,
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const FIN: u8 = 0x11;
const RST: u8 = 0x14;
/// The flags ACK and PSH, as in segments with data.
const ACK: u8 = 0x18;
const SECOND: u64 = 1_000_000_000;

/// The calls that were recorded, in order.
type Calls = Arc<Mutex<Vec<String>>>;

/// Makes parsers that are controlled by their data.
struct Obeys {
    calls: Calls,
    /// Number of connections that have a parser.
    parsers: Arc<Mutex<usize>>,
    name: &'static str,
}

struct Obedient {
    calls: Calls,
    number: usize,
    name: &'static str,
    remembers: bool,
    fragile: bool,
    holds: usize,
}

impl Plugin for Obeys {
    fn connect(&self) -> Option<Box<dyn StreamParser>> {
        let mut parsers = self.parsers.lock().unwrap();
        *parsers += 1;
        let (calls, number, name) = (self.calls.clone(), *parsers, self.name);
        Some(Box::new(Obedient { calls, number, name, remembers: false, fragile: false, holds: 0 }))
    }
    fn held(&self) -> usize {
        0
    }
}

impl Obedient {
    fn note(&self, what: &str) {
        self.calls.lock().unwrap().push(format!("{}{} {what}", self.name, self.number));
    }
}

impl StreamParser for Obedient {
    fn on_data(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let text = String::from_utf8_lossy(data).into_owned();
        let shown = if text.len() > 20 { format!("{} bytes", text.len()) } else { text.clone() };
        let skipped = match cx.skipped() {
            Skipped { seen: 0, lost: 0 } => String::new(),
            Skipped { seen, lost } => format!(" after {seen} and {lost} lost"),
        };
        self.note(&format!("{}{shown}{skipped}", if dir == Direction::ToServer { '>' } else { '<' }));
        let (word, number) = text.split_once(' ').map_or((text.as_str(), 0), |(word, n)| (word, n.parse().unwrap_or(0)));
        match word {
            "done" => return Progress::Done,
            "give-up" => return Progress::GiveUp,
            "over" => return Progress::HandOver { bytes: if number == 0 { 4 } else { 0 }, to: "redis" },
            "skip" => return Progress::Consumed { bytes: data.len() as u64 + number, need: 1 },
            "need" => return Progress::Consumed { bytes: 0, need: number as usize },
            "wake" => cx.wake_at(Timestamp(number)),
            "remember" => self.remembers = true,
            "fragile" => self.fragile = true,
            "flip" => cx.flip(),
            "hold" => self.holds = number as usize,
            _ => {}
        }
        Progress::consumed(data.len())
    }

    fn on_gap(&mut self, _dir: Direction, lost: u64, _cx: &mut Context<'_>) -> Recovery {
        self.note(&format!("gap {lost}"));
        if self.fragile { Recovery::GiveUp } else { Recovery::Resume }
    }

    fn on_close(&mut self, dir: Direction, why: Close, cx: &mut Context<'_>) {
        let skipped = if cx.skipped().seen > 0 { format!(" after {}", cx.skipped().seen) } else { String::new() };
        self.note(&format!("{}{why:?}{skipped}", if dir == Direction::ToServer { '>' } else { '<' }));
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.note(&format!("timer at {}", cx.now().0));
        // Sets a timer that is due at once. The table must not loop forever.
        cx.wake_at(cx.now());
    }

    fn remembers(&self) -> bool {
        self.remembers
    }

    fn held(&self) -> usize {
        self.holds
    }
}

/// A table with two configured protocols, of which the first claims port 1.
struct Bench {
    streams: Streams,
    plugins: Plugins,
    ports: PortMap,
    sink: Sink,
    totals: Totals,
    calls: Calls,
    verdicts: Vec<(FlowKey, Verdict)>,
    /// The acknowledgement of the next segments.
    ack: u32,
    /// Whether capture acts on verdicts.
    acts_on_verdicts: bool,
    /// What capture knows of every connection.
    shunted: Option<Shunted>,
    now: u64,
    strict: bool,
    track_vlans: bool,
}

impl Bench {
    fn new(most: usize, most_held: usize) -> Self {
        let (calls, mut plugins) = (Calls::default(), Plugins::default());
        for (id, name) in [(1, "http"), (2, "redis")] {
            let protocol = PROTOCOLS.iter().copied().find(|p| p.name == name).unwrap();
            let parsers = Arc::default();
            plugins.insert(PublisherId(id), protocol, Box::new(Obeys { calls: calls.clone(), parsers, name }));
        }
        Self {
            streams: Streams::new(most, most_held),
            plugins,
            ports: PortMap::new([(PublisherId(1), &[(1, 1)][..])], &[]),
            sink: Sink::bare(Box::new(|_| ())),
            totals: Totals::default(),
            calls,
            verdicts: Vec::new(),
            ack: 0,
            acts_on_verdicts: true,
            shunted: None,
            now: SECOND,
            strict: false,
            track_vlans: false,
        }
    }

    fn with<T>(&mut self, f: impl FnOnce(&mut Streams, &mut Env<'_>) -> T) -> T {
        let verdicts = &mut self.verdicts;
        let mut env = Env {
            now: Timestamp(self.now),
            sink: &mut self.sink,
            plugins: &self.plugins,
            ports: &self.ports,
            verdicts: &mut |key, verdict| verdicts.push((key, verdict)),
            shunted: if self.acts_on_verdicts { Some(&|_| self.shunted) } else { None },
            track_vlans: self.track_vlans,
            totals: &mut self.totals,
            strict: self.strict,
            timers: !self.strict,
            warned: &Warned::default(),
        };
        f(&mut self.streams, &mut env)
    }

    /// Sends a segment between client `c` and the server; returns the number of its connection.
    fn segment(&mut self, c: u16, to_server: bool, flags: u8, seq: u32, payload: &[u8]) -> Option<u64> {
        let claim = Some(Claim { set: 1, to_server });
        self.raw(Realm::default(), claim, c, to_server, TcpFlags(flags), seq, payload, payload.len() as u32)
    }

    #[allow(clippy::too_many_arguments)]
    fn raw(
        &mut self,
        realm: Realm,
        claim: Option<Claim>,
        c: u16,
        to_server: bool,
        flags: TcpFlags,
        seq: u32,
        payload: &[u8],
        wire: u32,
    ) -> Option<u64> {
        let ends = [SocketAddr::from(([10, 0, 0, 1], 1000 + c)), SocketAddr::from(([10, 0, 0, 2], 1))];
        let (source, destination) = if to_server { (ends[0], ends[1]) } else { (ends[1], ends[0]) };
        let tcp = Tcp {
            source: source.port(),
            destination: destination.port(),
            seq,
            ack: self.ack,
            flags,
            window: u16::MAX,
            window_scale: None,
            payload,
            wire_payload: wire,
        };
        self.with(|streams, env| streams.segment(source, destination, realm, claim, &tcp, env))
    }

    /// Sends data from client `c`.
    fn data(&mut self, c: u16, seq: u32, payload: &[u8]) -> Option<u64> {
        self.segment(c, true, ACK, seq, payload)
    }

    fn at(&mut self, now: u64) -> &mut Self {
        self.now = now;
        self.with(Streams::advance);
        self
    }

    fn calls(&mut self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    fn verdicts(&mut self) -> Vec<Verdict> {
        std::mem::take(&mut self.verdicts).into_iter().map(|(_, verdict)| verdict).collect()
    }
}

fn bench() -> Bench {
    Bench::new(100, usize::MAX)
}

#[path = "eviction_tests.rs"]
mod eviction;

#[test]
fn the_connection_that_has_been_silent_longest_is_evicted() {
    let mut b = Bench::new(2, usize::MAX);
    b.data(1, 0, b"a");
    b.data(2, 0, b"b");
    b.data(1, 1, b"c");
    b.data(3, 0, b"d");
    assert_eq!(b.calls(), ["http1 >a", "http2 >b", "http1 >c", "http2 >Evicted", "http2 <Evicted", "http3 >d"]);
    assert_eq!((b.totals.evicted_half_open, b.totals.evicted, b.streams.len()), (1, 0, 2));
}

#[test]
fn what_connections_hold_is_counted() {
    let mut b = bench();
    // The bytes kept for the parser, their times, the early segments and the parser are all counted.
    b.data(1, 0, b"need 2000");
    b.data(1, 9, &[b'x'; 400]);
    let first = b.streams.held_beyond();
    assert!((409..1200).contains(&first), "{first}");
    b.segment(2, true, SYN, 0, b"");
    assert_eq!(b.streams.held_beyond(), first, "no parser yet");
    b.data(2, 100, &[b'y'; 500]);
    let second = b.streams.held_beyond() - first;
    assert!((500..1200).contains(&second), "{second}");
    b.data(3, 0, b"hold 30000");
    let third = b.streams.held_beyond() - first - second;
    assert!((30_000..30_500).contains(&third), "{third}");
    b.data(3, 10, b"done");
    assert_eq!(b.streams.held_beyond(), first + second, "nothing is held for a connection that is left alone");
    b.with(Streams::finish);
    assert_eq!((b.streams.held_beyond(), b.streams.len()), (0, 0), "nothing is held for connections that are gone");
}

#[test]
fn idle_connections_end_in_the_order_of_their_last_packets() {
    let mut b = bench();
    b.data(1, 0, b"a");
    b.data(2, 0, b"b");
    b.now += SECOND;
    b.data(1, 1, b"c");
    b.calls();
    assert_eq!(b.at(61 * SECOND - 1).calls(), [""; 0], "not before 60 s");
    assert_eq!(b.at(61 * SECOND).calls(), ["http2 >Idle", "http2 <Idle"]);
    assert_eq!(b.at(62 * SECOND).calls(), ["http1 >Idle", "http1 <Idle"]);
    assert_eq!((b.totals.idle, b.streams.len()), (2, 0));
}

#[test]
fn what_remembers_lasts_an_hour() {
    let mut b = bench();
    b.data(1, 0, b"remember");
    b.segment(1, false, ACK, 0, b"");
    b.data(2, 0, b"b");
    b.data(3, 0, b"remember");
    b.calls();
    let over = ["http2 >Idle", "http2 <Idle", "http3 >Idle", "http3 <Idle"];
    assert_eq!(b.at(100 * SECOND).calls(), over, "nothing is remembered of a connection of which one side was seen");
    assert_eq!(b.at(3601 * SECOND - 1).calls(), [""; 0]);
    assert_eq!(b.at(3601 * SECOND).calls(), ["http1 >Idle", "http1 <Idle"]);
}

#[test]
fn ends_are_remembered_so_that_a_retransmission_opens_nothing() {
    let mut b = bench();
    b.data(1, 0, b"a");
    b.segment(1, true, FIN, 1, b"");
    assert_eq!(b.segment(1, false, FIN, 0, b""), Some(1));
    assert_eq!(b.calls(), ["http1 >a", "http1 >Fin", "http1 <Fin"]);
    assert_eq!(b.data(1, 0, b"a"), Some(1), "the same connection");
    b.at(61 * SECOND - 1);
    assert_eq!((b.data(1, 0, b"a"), b.streams.len(), b.calls()), (Some(1), 1, vec![]));
    b.at(61 * SECOND);
    assert_eq!((b.streams.len(), b.totals.idle), (0, 0), "forgotten, and not counted as idle");
    assert_eq!(b.data(1, 0, b"a"), Some(2));
}

#[test]
fn no_more_than_4096_ends_are_remembered() {
    let mut b = Bench::new(10_000, usize::MAX);
    for c in 0..5000 {
        b.data(c, 0, b"a");
        b.segment(c, true, RST, 1, b"");
    }
    assert_eq!(b.streams.len(), 4096);
    assert_eq!(b.data(4999, 0, b"a"), Some(5000), "the last one is");
    assert_eq!(b.data(0, 0, b"a"), Some(5001), "the first one is not");
}

#[test]
fn a_new_syn_is_a_new_connection() {
    let mut b = bench();
    b.segment(1, true, SYN, 100, b"");
    b.data(1, 101, b"a");
    assert_eq!(b.segment(1, true, SYN, 100, b""), Some(1), "the SYN again");
    assert_eq!(b.segment(1, true, SYN, 9000, b""), Some(2));
    b.data(1, 9001, b"b");
    assert_eq!(b.calls(), ["http1 >a", "http1 >Evicted", "http1 <Evicted", "http2 >b"]);
}

#[test]
fn nothing_begins_with_an_acknowledgement_and_a_scan_costs_no_parser() {
    let mut b = bench();
    assert_eq!([b.segment(1, true, ACK, 0, b""), b.segment(1, false, RST, 0, b""), b.segment(1, true, FIN, 0, b"")], [None; 3]);
    b.segment(1, true, SYN, 0, b"");
    b.segment(1, false, RST, 0, b"");
    assert_eq!((b.totals.connections, b.calls()), (1, vec![]));
    // A connection of which only the end is captured gets a parser if there is data.
    b.segment(2, true, FIN, 0, b"a");
    assert_eq!(b.calls(), ["http1 >a", "http1 >Fin"]);
}

#[test]
fn without_a_claim_only_known_connections_go_on() {
    let mut b = bench();
    let segment = |b: &mut Bench, seq| b.raw(Realm::default(), None, 1, true, TcpFlags(ACK), seq, b"x", 1);
    assert_eq!(segment(&mut b, 0), None);
    b.data(1, 0, b"a");
    assert_eq!(segment(&mut b, 1), Some(1));
    assert_eq!(b.calls(), ["http1 >a", "http1 >x"]);
}

#[test]
fn connections_that_are_open_now_are_counted_down() {
    let mut b = bench();
    b.data(1, 0, b"a");
    b.data(2, 0, b"a");
    b.streams.count_earlier();
    b.data(3, 0, b"a");
    b.segment(3, true, SYN, 77, b"");
    assert_eq!(b.streams.earlier(), 2);
    b.segment(1, true, SYN, 77, b"");
    assert_eq!(b.streams.earlier(), 1);
    b.with(Streams::finish);
    assert_eq!(b.streams.earlier(), 0);
}

#[test]
fn a_reset_counts_at_the_next_sequence_number_only() {
    let mut b = bench();
    b.data(1, 1000, b"a");
    for wrong in [1000, 1002, 1001 + (1 << 25), 1001_u32.wrapping_sub(1 << 25)] {
        b.segment(1, true, RST, wrong, b"");
    }
    assert_eq!((b.calls(), b.totals.ignored_resets), (vec!["http1 >a".to_owned()], 4));
    b.segment(1, true, RST, 1001, b"");
    assert_eq!((b.calls(), b.totals.resets), (vec!["http1 >Reset".to_owned(), "http1 <Reset".to_owned()], 1));
}

#[test]
fn a_retransmission_is_no_jump_although_the_receiver_is_not_captured() {
    let mut b = bench();
    b.segment(1, true, SYN, 0, b"");
    let mut send = |number: u32| {
        b.data(1, 1 + number * 20_000, &[b'x'; 20_000]);
        b.calls().len()
    };
    assert_eq!((0..10).map(&mut send).sum::<usize>(), 10);
    assert_eq!((2..5).map(&mut send).sum::<usize>(), 0, "segments that begin 160,000 bytes behind the next byte");
    b.data(1, 200_001, b"next");
    assert_eq!(b.calls(), ["http1 >next"]);
    assert_eq!((b.totals.retransmitted, b.totals.resynced, b.totals.out_of_window), (3, 0, 0));
}

#[test]
fn early_segments_are_delivered_before_the_end() {
    let mut b = bench();
    b.segment(1, true, SYN, 0, b"");
    b.data(1, 11, b"late");
    assert_eq!((b.calls().len(), b.totals.early), (0, 1));
    b.segment(1, false, RST, 0, b"");
    // The parser is made with the first data, which is after the gap.
    assert_eq!(b.calls(), ["http1 >late", "http1 >Reset", "http1 <Reset"]);
    assert_eq!((b.totals.gaps, b.totals.gap_bytes), (1, 10));
}

#[test]
fn a_hole_is_a_gap_after_its_time() {
    let mut b = bench();
    b.data(1, 0, b"a");
    b.data(1, 6, b"b");
    assert_eq!(b.at(4 * SECOND - 1).calls(), ["http1 >a"]);
    assert_eq!(b.at(4 * SECOND).calls(), ["http1 gap 5", "http1 >b"]);
    // A connection whose parser cannot continue after the gap is not analysed further.
    b.data(2, 0, b"fragile");
    b.raw(Realm::default(), None, 2, true, TcpFlags(ACK), 7, b"", 5);
    b.data(2, 12, b"ignored");
    assert_eq!(b.calls(), ["http2 >fragile", "http2 gap 5"]);
    assert_eq!((b.totals.dropped_because_of_gaps, b.verdicts()), (1, vec![Verdict::Shunt { at: [Some(12), Some(0)] }]));
}

#[test]
fn hand_overs_are_limited() {
    let mut b = bench();
    b.data(1, 0, b"over");
    b.data(1, 4, b"a");
    assert_eq!(b.calls(), ["http1 >over", "redis1 >a"], "bytes before the hand-over are the first one's");
    // Unread data is passed at once from one parser to the next.
    b.data(2, 0, b"over 1");
    assert_eq!(b.calls(), ["http2 >over 1", "redis2 >over 1", "redis3 >over 1", "redis4 >over 1", "redis5 >over 1"]);
    assert_eq!((b.totals.done_with, b.verdicts()), (1, vec![Verdict::Shunt { at: [Some(6), Some(0)] }]));
    b.data(2, 6, b"ignored");
    assert_eq!(b.calls(), [""; 0]);
}

#[test]
fn timers_fire_once_and_are_dropped_in_strict_mode() {
    let mut b = bench();
    b.data(1, 0, format!("wake {}", 5 * SECOND).as_bytes());
    b.calls();
    assert_eq!(b.at(5 * SECOND - 1).calls(), [""; 0]);
    assert_eq!(b.at(5 * SECOND).calls(), ["http1 timer at 5000000000"]);
    assert_eq!(b.at(6 * SECOND).calls(), ["http1 timer at 6000000000"], "the parser asked for it again");
    let mut b = bench();
    b.strict = true;
    b.data(1, 0, format!("wake {}", 5 * SECOND).as_bytes());
    b.calls();
    assert_eq!(b.at(7 * SECOND).calls(), [""; 0]);
}

#[test]
fn strict_mode_tells_of_fins_only_and_knows_no_idle_connection() {
    let mut b = bench();
    b.strict = true;
    b.data(1, 0, b"a");
    b.data(2, 0, b"b");
    b.segment(1, true, FIN, 1, b"");
    b.segment(1, false, RST, 0, b"");
    assert_eq!(b.at(10_000 * SECOND).calls(), ["http1 >a", "http2 >b", "http1 >Fin"]);
    b.with(Streams::finish);
    assert_eq!((b.calls(), b.totals.idle), (vec![], 0));
}

#[test]
fn a_flip_turns_directions_round_from_the_next_call_on() {
    let mut b = bench();
    b.segment(1, false, ACK, 0, b"flip");
    b.segment(1, false, ACK, 4, b"a");
    b.data(1, 0, b"b");
    b.segment(1, false, FIN, 5, b"");
    assert_eq!(b.calls(), ["http1 <flip", "http1 >a", "http1 <b", "http1 >Fin"]);
}

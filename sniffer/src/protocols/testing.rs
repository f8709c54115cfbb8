//! A harness for tests of protocols: sends segments or datagrams through the real stream layer to a plugin, and
//! collects the documents. The properties that every parser must have are tested here.

use super::{Close, Plugin, Progress, Protocol, Recovery, StreamParser, declaration_tests::undeclared};
use crate::{
    config::Node,
    decode::{Tcp, TcpFlags},
    memory::Share,
    net::{Direction, Peers, Realm, Transport, Verdict},
    publish::{PublisherId, Sink},
    stream::{Env, Plugins, Streams, Totals, Warned, pending::Outcome, plugins::Call, ports::PortMap},
    time::Timestamp,
};
use serde_json::Value;
use std::sync::{
    Arc, LazyLock, Mutex,
    atomic::{AtomicBool, Ordering},
};

pub use Direction::{ToClient, ToServer};

/// The id of the protocol under test.
const TESTED: PublisherId = PublisherId(1);
/// The id of the protocol to which the protocol under test may hand over connections.
const NEXT: PublisherId = PublisherId(2);
/// A protocol to which other protocols hand over connections.
const HANDED_OVER_TO: &str = "tls";
/// A time in seconds after which every connection counts as idle.
const IDLE: u64 = 3601;
/// Maximum number of bytes of a gap that are sent as one segment: sequence numbers are compared within half their range.
const LONGEST_SEGMENT: u64 = 1 << 30;

/// The protocol under test claims all ports.
static PORTS: LazyLock<PortMap> = LazyLock::new(|| PortMap::new([], &[TESTED]));

/// A plugin under test, and one of its connections.
pub struct Harness {
    plugins: Plugins,
    streams: Streams,
    totals: Totals,
    /// The two ends; a test may change them.
    pub peers: Peers,
    sink: Sink,
    out: Arc<Mutex<Vec<Value>>>,
    /// The time in milliseconds; a test advances it.
    pub now: u64,
    /// The state of the connection.
    pub state: Outcome,
    /// The verdicts passed to capture.
    pub verdicts: Vec<Verdict>,
    /// Whether the handshake was sent.
    opened: bool,
    /// The next sequence number of client and server.
    next: [u32; 2],
    handed_over: Arc<AtomicBool>,
}

impl Harness {
    /// Makes a connection from 10.0.0.1:40000 to 10.0.0.2 at the protocol's first port, with the options in `yaml`.
    pub fn new(protocol: &'static Protocol, yaml: &str) -> Self {
        let out = Arc::new(Mutex::new(vec![]));
        let seen = out.clone();
        let sink = Sink::bare(Box::new(move |json| {
            let document = serde_json::from_slice(json).unwrap();
            assert_eq!(undeclared(&document), Vec::<String>::new(), "{document}");
            seen.lock().unwrap().push(document);
        }));
        let server = format!("10.0.0.2:{}", protocol.ports.first().copied().unwrap_or(0)).parse().unwrap();
        let client = if protocol.ports.is_empty() { "10.0.0.1:0" } else { "10.0.0.1:40000" }.parse().unwrap();
        let peers = Peers::new(client, server, protocol.transports.first().copied().unwrap_or(Transport::Tcp));
        let mut plugins = Plugins::default();
        plugins.insert(TESTED, protocol, (protocol.open)(&Node::parse(yaml).unwrap()).unwrap());
        let handed_over = Arc::new(AtomicBool::new(false));
        if let Some(next) = super::PROTOCOLS.iter().find(|p| p.name == HANDED_OVER_TO && p.name != protocol.name) {
            plugins.insert(NEXT, next, Box::new(TakesOver(handed_over.clone())));
        }
        Self {
            plugins,
            streams: Streams::default(),
            totals: Totals::default(),
            peers,
            sink,
            out,
            now: 0,
            state: Outcome::Continue,
            verdicts: Vec::new(),
            opened: false,
            next: [u32::MAX - 300, 1000],
            handed_over,
        }
    }

    /// Documents have at most this number of bytes.
    #[must_use]
    pub fn with_document_limit(self, bytes: usize) -> Self {
        let share = Share::new(5 * bytes);
        assert_eq!(share.document(), bytes);
        Self { sink: self.sink.with_share(share), ..self }
    }

    /// Begins in the middle of a connection, without a handshake.
    #[must_use]
    pub fn joined(mut self) -> Self {
        self.opened = true;
        self
    }

    fn time(&self) -> Timestamp {
        Timestamp(self.now * 1_000_000)
    }

    fn with_streams(&mut self, now: Timestamp, f: impl FnOnce(&mut Streams, &mut Env<'_>)) {
        let (sink, plugins, totals) = (&mut self.sink, &self.plugins, &mut self.totals);
        let verdicts = &mut |_, verdict| self.verdicts.push(verdict);
        f(
            &mut self.streams,
            &mut Env {
                now,
                sink,
                plugins,
                ports: &PORTS,
                verdicts,
                shunted: Some(&|_| None),
                track_vlans: false,
                totals,
                strict: false,
                timers: true,
                warned: &Warned::default(),
            },
        );
        self.state = if self.handed_over.load(Ordering::Relaxed) {
            Outcome::HandOver(HANDED_OVER_TO)
        } else if self.totals.given_up + self.totals.dropped_because_of_gaps > 0 {
            Outcome::GaveUp
        } else if self.totals.done_with > 0 {
            Outcome::Done
        } else {
            Outcome::Continue
        };
    }

    /// Sends a segment of `wire` bytes, of which `payload` was captured.
    fn segment(&mut self, dir: Direction, flags: u8, payload: &[u8], wire: u32) {
        if !std::mem::replace(&mut self.opened, true) {
            self.segment(ToServer, 0x02, &[], 0);
            self.segment(ToClient, 0x12, &[], 0);
        }
        let (source, destination) = (self.peers.sender(dir), self.peers.receiver(dir));
        let (seq, ack, flags) = (self.next[dir.index()], self.next[dir.reverse().index()], TcpFlags(flags));
        self.next[dir.index()] = seq.wrapping_add(wire).wrapping_add(u32::from(flags.syn() || flags.fin()));
        let tcp = Tcp {
            source: source.port(),
            destination: destination.port(),
            seq,
            ack,
            flags,
            window: u16::MAX,
            window_scale: None,
            payload,
            wire_payload: wire,
        };
        let claim = PORTS.claim(source.port(), destination.port(), Some(dir == ToServer));
        self.with_streams(self.time(), |streams, env| {
            streams.segment(source, destination, Realm::default(), claim, &tcp, env);
        });
    }

    /// Sends the next bytes of one direction. `dir` refers to client and server at the start, even if the parser has
    /// swapped the roles.
    pub fn data(&mut self, dir: Direction, bytes: &[u8]) -> &mut Self {
        if !bytes.is_empty() {
            self.segment(dir, 0x18, bytes, bytes.len() as u32);
        }
        self
    }

    /// Sends bytes from the client.
    pub fn client(&mut self, bytes: &[u8]) -> &mut Self {
        self.data(ToServer, bytes)
    }

    /// Sends bytes from the server.
    pub fn server(&mut self, bytes: &[u8]) -> &mut Self {
        self.data(ToClient, bytes)
    }

    /// Loses `lost` bytes: sends segments of which nothing was captured.
    pub fn gap(&mut self, dir: Direction, mut lost: u64) -> &mut Self {
        assert!(lost <= 64 * LONGEST_SEGMENT, "no connection loses {lost} bytes at once");
        while lost > 0 {
            let wire = lost.min(LONGEST_SEGMENT);
            self.segment(dir, 0x18, &[], wire as u32);
            lost -= wire;
        }
        self
    }

    /// Bytes are sent and acknowledged that capture does not copy because of a verdict.
    pub fn shunt(&mut self, dir: Direction, bytes: u32) -> &mut Self {
        self.next[dir.index()] = self.next[dir.index()].wrapping_add(bytes);
        self.segment(dir.reverse(), 0x10, &[], 0);
        self
    }

    /// Ends one direction with a FIN, or both with a reset from the sender of that direction.
    pub fn close(&mut self, dir: Direction, why: Close) -> &mut Self {
        match why {
            Close::Fin => self.segment(dir, 0x11, &[], 0),
            Close::Reset => self.segment(dir, 0x14, &[], 0),
            _ => panic!("{why:?} ends both directions: close_both"),
        }
        self
    }

    /// Ends both directions.
    pub fn close_both(&mut self, why: Close) -> &mut Self {
        match why {
            Close::Fin => return self.close(ToServer, why).close(ToClient, why),
            Close::Reset => return self.close(ToServer, why),
            Close::Idle => {
                let later = Timestamp(self.time().0 + IDLE * 1_000_000_000);
                self.with_streams(later, Streams::advance);
            }
            Close::EndOfInput => self.with_streams(self.time(), Streams::finish),
            Close::Evicted => panic!("the table's tests evict"),
        }
        self
    }

    /// Sends a datagram.
    pub fn datagram(&mut self, dir: Direction, bytes: &[u8]) -> &mut Self {
        self.cut_datagram(dir, bytes, 0)
    }

    /// Sends a datagram of which the last `missing` bytes were not captured.
    pub fn cut_datagram(&mut self, dir: Direction, bytes: &[u8], missing: u32) -> &mut Self {
        let call = Call { now: self.time(), peers: self.peers.clone(), sink: &mut self.sink, strict: false, missing };
        self.plugins.call(TESTED, call, |plugin, cx| plugin.on_datagram(dir, bytes, cx));
        self
    }

    /// Advances the time to `ms` and fires the timers of parser and plugin that are due.
    pub fn at(&mut self, ms: u64) -> &mut Self {
        self.now = ms;
        self.with_streams(self.time(), Streams::advance);
        self.plugins.wake(self.time(), &mut self.sink, true);
        self
    }

    /// Returns the documents that were reported since the last call.
    pub fn events(&mut self) -> Vec<Value> {
        std::mem::take(&mut *self.out.lock().unwrap())
    }

    /// How often the protocol counted `name`.
    pub fn counted(&self, name: &str) -> u64 {
        self.sink.counters().iter().filter(|c| c.1 == name).map(|c| c.2).sum()
    }
}

/// The protocol to which the protocol under test hands over connections. Records that it was asked for a parser.
struct TakesOver(Arc<AtomicBool>);

impl Plugin for TakesOver {
    fn connect(&self) -> Option<Box<dyn StreamParser>> {
        self.0.store(true, Ordering::Relaxed);
        Some(Box::new(Ignores))
    }

    fn held(&self) -> usize {
        0
    }
}

/// A parser that reports nothing.
struct Ignores;

impl StreamParser for Ignores {
    fn on_data(&mut self, _dir: Direction, data: &[u8], _cx: &mut super::Context<'_>) -> Progress {
        Progress::consumed(data.len())
    }

    fn on_gap(&mut self, _dir: Direction, _lost: u64, _cx: &mut super::Context<'_>) -> Recovery {
        Recovery::Resume
    }

    fn on_close(&mut self, _dir: Direction, _why: Close, _cx: &mut super::Context<'_>) {}

    fn held(&self) -> usize {
        0
    }
}

/// A connection as a list of pieces of data, each with its direction.
pub type Script<'a> = &'a [(Direction, &'a [u8])];

/// Damage to a connection.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// The connection is not damaged.
    None,
    /// A gap: the index of the piece, and the range of the missing bytes in the piece (start, end).
    Gap(usize, usize, usize),
}

/// Plays a connection to its end. With `joined` the capture begins in the middle of the connection.
fn play(protocol: &'static Protocol, yaml: &str, pieces: &[(Direction, &[u8])], joined: bool, damage: Damage) -> Harness {
    let mut h = Harness::new(protocol, yaml);
    h.opened = joined;
    play_pieces(&mut h, pieces, damage);
    h.close_both(Close::Fin);
    h
}

fn play_pieces(h: &mut Harness, pieces: &[(Direction, &[u8])], damage: Damage) {
    for (i, (dir, bytes)) in pieces.iter().enumerate() {
        h.now += 1;
        match damage {
            Damage::Gap(piece, from, to) if piece == i => {
                h.data(*dir, &bytes[..from]).gap(*dir, (to - from) as u64).data(*dir, &bytes[to..]);
            }
            _ => {
                h.data(*dir, bytes);
            }
        }
    }
}

fn without_times(mut events: Vec<Value>) -> Vec<Value> {
    for e in &mut events {
        e.as_object_mut().unwrap().remove("@timestamp");
        for key in ["start", "end", "duration"] {
            e["event"].as_object_mut().unwrap().remove(key);
        }
    }
    events
}

/// Checks that the documents do not depend on how TCP divides the data. Each piece is divided in two at every byte, and all data is also
/// sent byte by byte. The documents must be the same except for their times. The function also checks that the parser does not panic if a
/// piece is missing, if the capture begins at a later piece, or if one of the first 300 bytes of a piece is changed, and that [`resyncs`]
/// succeeds. Returns the documents.
#[track_caller]
pub fn every_cut(protocol: &'static Protocol, yaml: &str, script: Script<'_>) -> Vec<Value> {
    let events = every_cut_only(protocol, yaml, script);
    if let Err(what) = resyncs(protocol, yaml, script) {
        panic!("{}: {what}", protocol.name);
    }
    events
}

/// [`every_cut`] for a script of which the parser does not find the next message after a gap; `why` is the reason. The check fails if the
/// parser finds it.
#[track_caller]
pub fn every_cut_without_resync(protocol: &'static Protocol, yaml: &str, script: Script<'_>, why: &str) -> Vec<Value> {
    let events = every_cut_only(protocol, yaml, script);
    assert!(resyncs(protocol, yaml, script).is_err(), "{}: it finds back, in spite of: {why}", protocol.name);
    events
}

fn every_cut_only(protocol: &'static Protocol, yaml: &str, script: Script<'_>) -> Vec<Value> {
    let whole = play(protocol, yaml, script, false, Damage::None).events();
    let expected = without_times(whole.clone());
    let same = |pieces: &[(Direction, &[u8])], what: &str| {
        let got = without_times(play(protocol, yaml, pieces, false, Damage::None).events());
        assert_eq!(got, expected, "{what}");
    };
    let bytes: Vec<(Direction, &[u8])> = script.iter().flat_map(|(dir, data)| data.chunks(1).map(|c| (*dir, c))).collect();
    same(&bytes, "byte by byte");
    for (i, (dir, data)) in script.iter().enumerate() {
        // Long pieces are divided at about 600 places: all places near an end, and some between.
        let step = (data.len() / 400).max(1);
        for cut in (1..data.len()).filter(|&c| c < 100 || data.len() - c < 100 || c % step == 0) {
            let mut pieces = script.to_vec();
            pieces[i].1 = &data[..cut];
            pieces.insert(i + 1, (*dir, &data[cut..]));
            same(&pieces, &format!("piece {i} cut at {cut}"));
        }
    }
    for i in 0..script.len() {
        let data = script[i].1;
        play(protocol, yaml, script, false, Damage::Gap(i, 0, data.len()));
        play(protocol, yaml, &script[i..], true, Damage::None);
        for at in (0..data.len()).take(300) {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = data.to_vec();
                changed[at] ^= flip;
                let mut pieces = script.to_vec();
                pieces[i].1 = &changed;
                play(protocol, yaml, &pieces, false, Damage::None);
            }
            let mut pieces = script.to_vec();
            pieces[i].1 = &data[..at];
            play(protocol, yaml, &pieces, false, Damage::None); // The end of the piece is missing.
            pieces[i].1 = &data[at..];
            play(protocol, yaml, &pieces[i..], true, Damage::None); // The capture begins in the middle of a message.
        }
    }
    whole
}

/// Checks that a gap does not change the documents of transactions before it, and of those that come some time after it.
/// The script is played four times in a row on one connection. In the second round, a piece or the middle of a piece is
/// missing. In the third round, the parser may still search for the next message. The documents of the first and the last
/// round must be the same as without the gap. The same is checked for the last round of a capture that begins in the
/// middle of a piece. Scripts whose rounds have different documents even without a gap are not checked.
fn resyncs(protocol: &'static Protocol, yaml: &str, script: Script<'_>) -> Result<(), String> {
    let repeated = |damage: Damage, skip: usize, joined: usize| {
        let mut h = Harness::new(protocol, yaml);
        h.opened = skip < script.len();
        let mut reports = Vec::new();
        for round in 0..4 {
            if round == 0 && skip < script.len() {
                h.now += 1;
                h.data(script[skip].0, &script[skip].1[joined..]);
                play_pieces(&mut h, &script[skip + 1..], Damage::None);
            } else {
                play_pieces(&mut h, script, if round == 1 { damage } else { Damage::None });
            }
            reports.push(without_times(h.events()));
        }
        reports
    };
    let whole = repeated(Damage::None, script.len(), 0);
    if whole.iter().any(|round| round.is_empty() || *round != whole[0]) {
        return Ok(());
    }
    let same = |got: &[Value], expected: &[Value], what: String| {
        if got == expected { Ok(()) } else { Err(format!("{what}:\n  left: {}\n right: {}", Value::from(got), Value::from(expected))) }
    };
    for (i, (_, data)) in script.iter().enumerate() {
        let third = data.len() / 3;
        for (from, to) in [(0, data.len()), (third, data.len() - third)] {
            let damaged = repeated(Damage::Gap(i, from, to), script.len(), 0);
            // The documents before the damage must not change.
            assert_eq!(damaged[0], whole[0], "before bytes {from} to {to} of piece {i} are missing");
            same(&damaged[3], &whole[3], format!("after bytes {from} to {to} of piece {i} were missing"))?;
            let late = repeated(Damage::None, i, from);
            same(&late[3], &whole[3], format!("after a capture that began at byte {from} of piece {i}"))?;
        }
    }
    Ok(())
}

//! For the tests of parsers: plays both sides of a connection to a parser, through the same buffering as the real engine, and
//! collects the documents. The properties that every parser must have are checked here, once for all.

use super::{Close, Context, Plugin, Protocol, Recovery, StreamParser};
use crate::{
    config::Node,
    net::{Direction, Peers, Transport},
    publish::Sink,
    stream::pending::{Onward, Pending},
    time::Timestamp,
};
use serde_json::Value;
use std::sync::{Arc, Mutex};

pub use Direction::{ToClient, ToServer};

/// A plugin under test, and one connection of it.
pub struct Harness {
    plugin: Box<dyn Plugin>,
    parser: Option<Box<dyn StreamParser>>,
    sides: [Pending; 2],
    /// The ends, for a test that wants other ones.
    pub peers: Peers,
    sink: Sink,
    out: Arc<Mutex<Vec<Value>>>,
    /// Milliseconds; a test moves it on.
    pub now: u64,
    wake: Option<Timestamp>,
    /// How the connection stands.
    pub state: Onward,
    flipped: bool,
}

impl Harness {
    /// A connection from 10.0.0.1:40000 to 10.0.0.2 at the protocol's first port, with the options in `yaml`.
    pub fn new(protocol: &Protocol, yaml: &str) -> Self {
        let plugin = (protocol.open)(&Node::parse(yaml).unwrap()).unwrap();
        let out = Arc::new(Mutex::new(vec![]));
        let seen = out.clone();
        let sink = Sink::bare(Box::new(move |json| seen.lock().unwrap().push(serde_json::from_slice(json).unwrap())));
        let server = format!("10.0.0.2:{}", protocol.ports.first().copied().unwrap_or(0)).parse().unwrap();
        let client = if protocol.ports.is_empty() { "10.0.0.1:0" } else { "10.0.0.1:40000" }.parse().unwrap();
        let peers = Peers::new(client, server, protocol.transports.first().copied().unwrap_or(Transport::Tcp));
        let parser = plugin.connect();
        Self { plugin, parser, sides: Default::default(), peers, sink, out, now: 0, wake: None, state: Onward::Going, flipped: false }
    }

    fn call<T>(&mut self, side: Option<Direction>, f: impl FnOnce(&mut Self, &mut Context<'_>) -> T) -> T {
        let mut sink = std::mem::replace(&mut self.sink, Sink::bare(Box::new(|_| ())));
        let mut peers = self.peers.clone();
        let skipped = side.map(|d| self.sides[d.index()].skipped()).unwrap_or_default();
        let mut cx = Context::new(Timestamp(self.now * 1_000_000), &mut peers, &mut sink, 0, false).with_skipped(skipped);
        let result = f(self, &mut cx);
        self.wake = [self.wake, cx.wake()].into_iter().flatten().min();
        self.flipped ^= peers.client != self.peers.client;
        self.peers = peers;
        self.sink = sink;
        result
    }

    /// The next bytes of one direction (as seen from the start, whatever the parser flipped since).
    pub fn data(&mut self, dir: Direction, bytes: &[u8]) -> &mut Self {
        if self.state != Onward::Going || bytes.is_empty() {
            return self;
        }
        let mut side = std::mem::take(&mut self.sides[dir.index()]);
        let label = if self.flipped { dir.reverse() } else { dir };
        let now = Timestamp(self.now * 1_000_000);
        self.state = self.call(None, |h, cx| {
            let mut parser = h.parser.take().unwrap();
            let onward = side.push(bytes, now, &mut |data, skipped, times| {
                let mut peers = cx.peers().clone();
                let mut inner = cx.about(&mut peers, now).with_skipped(skipped).with_times(times);
                let progress = parser.on_data(label, data, &mut inner);
                let wake = inner.wake();
                if peers.client != cx.peers().client {
                    cx.flip();
                }
                wake.into_iter().for_each(|due| cx.wake_at(due));
                progress
            });
            h.parser = Some(parser);
            onward
        });
        self.sides[dir.index()] = side;
        self
    }

    /// Bytes from the client.
    pub fn client(&mut self, bytes: &[u8]) -> &mut Self {
        self.data(ToServer, bytes)
    }

    /// Bytes from the server.
    pub fn server(&mut self, bytes: &[u8]) -> &mut Self {
        self.data(ToClient, bytes)
    }

    /// `lost` bytes are missing.
    pub fn gap(&mut self, dir: Direction, lost: u64) -> &mut Self {
        let (wanted, skipped) = self.sides[dir.index()].gap(lost);
        if wanted > 0 && self.state == Onward::Going {
            let label = if self.flipped { dir.reverse() } else { dir };
            let recovery = self.call(None, |h, cx| {
                let (now, mut peers) = (cx.now(), cx.peers().clone());
                h.parser.as_mut().unwrap().on_gap(label, wanted, &mut cx.about(&mut peers, now).with_skipped(skipped))
            });
            if recovery == Recovery::GiveUp {
                self.state = Onward::GaveUp;
            }
        }
        self
    }

    /// One direction ends.
    pub fn close(&mut self, dir: Direction, why: Close) -> &mut Self {
        if self.state == Onward::Going {
            let label = if self.flipped { dir.reverse() } else { dir };
            self.call(Some(dir), |h, cx| h.parser.as_mut().unwrap().on_close(label, why, cx));
        }
        self
    }

    /// Both directions end.
    pub fn close_both(&mut self, why: Close) -> &mut Self {
        self.close(ToServer, why).close(ToClient, why)
    }

    /// A datagram.
    pub fn datagram(&mut self, dir: Direction, bytes: &[u8]) -> &mut Self {
        self.call(None, |h, cx| {
            let mut plugin = std::mem::replace(&mut h.plugin, Box::new(Nothing));
            plugin.on_datagram(dir, bytes, cx);
            h.plugin = plugin;
        });
        if std::mem::take(&mut self.flipped) {
            self.peers.flip();
        }
        self
    }

    /// Moves time on to `ms` and fires the timer that was asked for, if it is due; parser and plugin alike.
    pub fn at(&mut self, ms: u64) -> &mut Self {
        self.now = ms;
        if self.wake.is_some_and(|due| due.0 <= ms * 1_000_000) {
            self.wake = None;
            self.call(None, |h, cx| {
                if let Some(parser) = &mut h.parser {
                    parser.on_timer(cx);
                }
                let mut plugin = std::mem::replace(&mut h.plugin, Box::new(Nothing));
                plugin.on_timer(cx);
                h.plugin = plugin;
            });
        }
        self
    }

    /// The documents so far, which are forgotten here.
    pub fn events(&mut self) -> Vec<Value> {
        std::mem::take(&mut *self.out.lock().unwrap())
    }

    /// How often `name` was counted.
    pub fn counted(&self, name: &str) -> u64 {
        self.sink.counters().iter().filter(|c| c.1 == name).map(|c| c.2).sum()
    }
}

struct Nothing;
impl Plugin for Nothing {
    fn held(&self) -> usize {
        0
    }
}

/// A connection as a list of what each side says in turn.
pub type Script<'a> = &'a [(Direction, &'a [u8])];

fn play(protocol: &Protocol, yaml: &str, pieces: &[(Direction, &[u8])], lost: Option<usize>) -> Harness {
    let mut h = Harness::new(protocol, yaml);
    for (i, (dir, bytes)) in pieces.iter().enumerate() {
        h.now += 1;
        if lost == Some(i) {
            h.gap(*dir, bytes.len() as u64)
        } else {
            h.data(*dir, bytes)
        };
    }
    h.close_both(Close::Fin);
    h
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

/// The every-cut property: wherever each piece is cut in two (and when everything comes byte by byte), the same documents
/// result, but for their times. Then the hostile cases: every piece missing, a start at every piece, every byte of the first
/// `flips` changed: nothing may panic. Returns the documents.
pub fn every_cut(protocol: &Protocol, yaml: &str, script: Script<'_>) -> Vec<Value> {
    let whole = play(protocol, yaml, script, None).events();
    let expected = without_times(whole.clone());
    let same = |pieces: &[(Direction, &[u8])], what: &str| {
        let got = without_times(play(protocol, yaml, pieces, None).events());
        assert_eq!(got, expected, "{what}");
    };
    let bytes: Vec<(Direction, &[u8])> = script.iter().flat_map(|(dir, data)| data.chunks(1).map(|c| (*dir, c))).collect();
    same(&bytes, "byte by byte");
    for (i, (dir, data)) in script.iter().enumerate() {
        // Long pieces are cut at some 600 places: all that are near an end, and every so many.
        let step = (data.len() / 400).max(1);
        for cut in (1..data.len()).filter(|&c| c < 100 || data.len() - c < 100 || c % step == 0) {
            let mut pieces = script.to_vec();
            pieces[i].1 = &data[..cut];
            pieces.insert(i + 1, (*dir, &data[cut..]));
            same(&pieces, &format!("piece {i} cut at {cut}"));
        }
    }
    for i in 0..script.len() {
        play(protocol, yaml, script, Some(i));
        play(protocol, yaml, &script[i..], None);
        let data = script[i].1;
        for at in (0..data.len()).take(300) {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = data.to_vec();
                changed[at] ^= flip;
                let mut pieces = script.to_vec();
                pieces[i].1 = &changed;
                play(protocol, yaml, &pieces, None);
            }
            let mut pieces = script.to_vec();
            pieces[i].1 = &data[..at];
            play(protocol, yaml, &pieces, None); // and some bytes are missing
            pieces[i].1 = &data[at..];
            play(protocol, yaml, &pieces[i..], None); // a start in the middle of a message
        }
    }
    whole
}

//! One worker: a source and everything between a frame and its documents. The only module that knows the whole pipeline, and the
//! last that asks the clock. One per core, nothing shared.

use crate::{
    capture::{Frame, Polled, Source},
    decode::{Decoder, Layer4, Packet, Tcp},
    flow::table::FlowTable,
    net::{Direction, Peers, Transport},
    protocols::{Context, Plugin, Probe},
    publish::Sink,
    stream::{
        Configured, Env, Streams, Totals,
        ports::{PortMap, Range},
    },
    time::Timestamp,
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Timers are looked at when packets' time has moved on by this much: the precision of all time-outs.
const TICK: Duration = Duration::from_millis(50);
/// How long a source may wait for a packet: what stop requests, timers and half-full batches wait at the most.
const WAIT: Duration = Duration::from_millis(100);
/// How often counters are reported.
const REPORT: Duration = Duration::from_secs(1);

/// The ports that a configured protocol wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Ports and ranges, both ends included.
    pub ports: Vec<Range>,
    /// What is nobody's, too.
    pub any: bool,
}

/// How an [`Engine`] is to be.
pub struct Options {
    /// The configured protocols, each with the ports it wants. Its place is its publisher.
    pub protocols: Vec<(Configured, Wants)>,
    /// The flow table and its publisher, when flows are on.
    pub flows: Option<(FlowTable, usize)>,
    /// What receives the events.
    pub sink: Sink,
    /// `packetbeat.compatibility: strict`, and the source is a file.
    pub strict: bool,
    /// The outputs' addresses: what the program itself says to them is none of the traffic it reports.
    pub own: Vec<SocketAddr>,
    /// Addresses of this machine, at the other end of that.
    pub local: Vec<IpAddr>,
}

/// Everything between a frame and its documents.
pub struct Engine {
    decoder: Decoder,
    pipeline: Pipeline,
}

/// Everything behind the decoder, whose packets it borrows.
struct Pipeline {
    tcp: PortMap,
    udp: PortMap,
    icmp: Option<usize>,
    plugins: Vec<Configured>,
    /// When each plugin wants to be woken.
    wakes: Vec<Option<Timestamp>>,
    streams: Streams,
    totals: Totals,
    flows: Option<(FlowTable, usize)>,
    sink: Sink,
    strict: bool,
    own: Vec<SocketAddr>,
    local: Vec<IpAddr>,
    /// The greatest time seen, on which timers run.
    now: Timestamp,
    ticked: Timestamp,
    frames: u64,
    own_packets: u64,
}

impl Engine {
    /// Nothing seen yet.
    pub fn new(options: Options) -> Self {
        let map = |transport: Transport| {
            let carried = || options.protocols.iter().enumerate().filter(move |(_, (p, _))| p.protocol.transports.contains(&transport));
            let any: Vec<usize> = carried().filter(|(_, (_, wants))| wants.any).map(|(i, _)| i).collect();
            PortMap::new(carried().map(|(i, (_, wants))| (i, wants.ports.as_slice())), &any)
        };
        let (tcp, udp) = (map(Transport::Tcp), map(Transport::Udp));
        let icmp = options.protocols.iter().position(|(p, _)| p.protocol.transports.contains(&Transport::Icmp));
        let plugins: Vec<Configured> = options.protocols.into_iter().map(|(plugin, _)| plugin).collect();
        let pipeline = Pipeline {
            tcp,
            udp,
            icmp,
            wakes: vec![None; plugins.len()],
            plugins,
            streams: Streams::default(),
            totals: Totals::default(),
            flows: options.flows,
            sink: options.sink,
            strict: options.strict,
            own: options.own,
            local: options.local,
            now: Timestamp::default(),
            ticked: Timestamp::default(),
            frames: 0,
            own_packets: 0,
        };
        Self { decoder: Decoder::new(), pipeline }
    }

    /// Takes a frame.
    pub fn frame(&mut self, frame: &Frame<'_>) {
        self.pipeline.frames += 1;
        self.pipeline.advance(frame.time);
        if let Ok(packet) = self.decoder.decode(frame) {
            self.pipeline.packet(&packet);
        }
    }

    /// Time has come to `now`, by a packet or, where none comes, by the clock. It never goes back.
    pub fn advance(&mut self, now: Timestamp) {
        self.pipeline.advance(now);
    }

    /// The end of the input: what waits is reported, as far as it is to be.
    pub fn finish(&mut self) {
        self.pipeline.finish();
    }

    /// Hands over the events that have come together.
    pub fn flush(&mut self) {
        self.pipeline.sink.flush();
    }

    /// Totals since the start, by the names they have among the metrics.
    pub fn counters(&self, each: &mut dyn FnMut(&str, u64)) {
        self.decoder.counters().for_each(|(name, n)| each(name, n));
        self.pipeline.counters(each);
    }
}

impl Pipeline {
    fn packet(&mut self, packet: &Packet<'_>) {
        if !self.own.is_empty() && is_own(packet, &self.own, &self.local) {
            self.own_packets += 1;
            return;
        }
        let mut connection = None;
        match packet.layer4 {
            Layer4::Tcp(tcp) => connection = self.segment(packet, &tcp),
            Layer4::Udp(udp) if !udp.payload.is_empty() => {
                if let Some(wanted) = self.udp.wanted(udp.source, udp.destination, None) {
                    let dir = if wanted.to_server { Direction::ToServer } else { Direction::ToClient };
                    let recognises = |&i: &usize| self.plugins.get(i).is_some_and(|p| (p.protocol.probe)(dir, udp.payload) == Probe::Yes);
                    let plugin = match self.udp.get(wanted.set) {
                        [one] => Some(*one),
                        several => several.iter().copied().find(recognises),
                    };
                    self.datagram(plugin, dir, udp.payload, packet, None);
                }
            }
            Layer4::Icmp(icmp) | Layer4::Icmp6(icmp) => {
                self.datagram(self.icmp, Direction::ToServer, icmp.payload, packet, Some((icmp.kind, icmp.code)));
            }
            Layer4::Udp(_) | Layer4::Fragment | Layer4::Other(_) | Layer4::None => {}
        }
        if let Some((flows, publisher)) = &mut self.flows
            && flows.packet(packet, connection)
        {
            flows.report(self.now, &mut self.sink, *publisher);
        }
    }

    /// Returns the number of its connection, when somebody wants it.
    fn segment(&mut self, packet: &Packet<'_>, tcp: &Tcp<'_>) -> Option<u64> {
        let opens = tcp.flags.syn().then(|| !tcp.flags.ack());
        let wanted = self.tcp.wanted(tcp.source, tcp.destination, opens)?;
        let (_, source, destination) = packet.ends()?;
        self.with_streams(packet.time, |streams, env| streams.segment(source, destination, wanted, tcp, env))
    }

    fn datagram(&mut self, plugin: Option<usize>, dir: Direction, data: &[u8], packet: &Packet<'_>, icmp: Option<(u8, u8)>) {
        let (Some(plugin), Some((transport, source, destination))) = (plugin, packet.ends()) else { return };
        let mut peers = match dir {
            Direction::ToServer => Peers::new(source, destination, transport),
            Direction::ToClient => Peers::new(destination, source, transport),
        };
        peers.icmp = icmp;
        self.with_plugin(plugin, packet.time, peers, |plugin, cx| plugin.on_datagram(dir, data, cx));
    }

    fn advance(&mut self, now: Timestamp) {
        if now <= self.now {
            return;
        }
        self.now = now;
        if now.since(self.ticked) >= TICK.as_nanos() as u64 {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.ticked = self.now;
        self.with_streams(self.now, Streams::advance);
        for index in 0..self.plugins.len() {
            if self.wakes[index].is_some_and(|due| due <= self.now) {
                self.wakes[index] = None;
                if !self.strict {
                    self.with_plugin(index, self.now, Peers::nobody(), |plugin, cx| plugin.on_timer(cx));
                }
            }
        }
        if let Some((flows, publisher)) = &mut self.flows {
            flows.report(self.now, &mut self.sink, *publisher);
        }
    }

    fn finish(&mut self) {
        self.with_streams(self.now, Streams::finish);
        if !self.strict {
            for index in 0..self.plugins.len() {
                self.with_plugin(index, self.now, Peers::nobody(), |plugin, cx| plugin.on_end(cx));
            }
        }
        if let Some((flows, publisher)) = &mut self.flows {
            flows.finish(self.now, &mut self.sink, *publisher);
        }
        self.sink.flush();
    }

    fn counters(&self, each: &mut dyn FnMut(&str, u64)) {
        each("capture.frames", self.frames);
        each("capture.own", self.own_packets);
        self.totals.named().iter().for_each(|&(name, n)| each(name, n));
        each("tcp.open", self.streams.len() as u64);
        if let Some((flows, _)) = &self.flows {
            flows.counters().for_each(|(name, n)| each(name, n));
        }
        for &(publisher, name, n) in self.sink.counters() {
            let of = self.plugins.get(publisher).map_or("flows", |p| p.protocol.name);
            each(&format!("{of}.{name}"), n);
        }
    }

    fn with_streams<T>(&mut self, now: Timestamp, f: impl FnOnce(&mut Streams, &mut Env<'_>) -> T) -> T {
        let mut env =
            Env { now, sink: &mut self.sink, plugins: &self.plugins, ports: &self.tcp, totals: &mut self.totals, strict: self.strict };
        f(&mut self.streams, &mut env)
    }

    fn with_plugin(&mut self, index: usize, now: Timestamp, mut peers: Peers, f: impl FnOnce(&mut dyn Plugin, &mut Context<'_>)) {
        let (Some(configured), Some(wake)) = (self.plugins.get_mut(index), self.wakes.get_mut(index)) else { return };
        let mut cx = Context::new(now, &mut peers, &mut self.sink, index, self.strict).with_wake(*wake);
        f(configured.plugin.as_mut(), &mut cx);
        *wake = cx.wake();
    }
}

/// Whether this machine talks to one of the outputs.
fn is_own(packet: &Packet<'_>, own: &[SocketAddr], local: &[IpAddr]) -> bool {
    packet.ends().is_some_and(|(_, source, destination)| {
        let ours = |output: SocketAddr, other: SocketAddr| own.contains(&output) && local.contains(&other.ip());
        ours(destination, source) || ours(source, destination)
    })
}

/// A source and its engine, on a thread of their own.
pub struct Worker {
    source: Box<dyn Source>,
    engine: Engine,
    /// Whether time goes on by itself while nothing comes.
    live: bool,
}

/// Where a worker stands: its totals, for whoever shows them.
pub struct Standing<'a> {
    /// The engine's counters.
    pub engine: &'a Engine,
}

impl Worker {
    /// `live` sources have a clock; files have not.
    pub fn new(source: Box<dyn Source>, engine: Engine, live: bool) -> Self {
        Self { source, engine, live }
    }

    /// Works until the source ends or `stop` is set, then finishes. `report` is called about once a second, and at the end.
    ///
    /// # Errors
    /// What made the source fail; everything until then has been reported.
    pub fn run(mut self, stop: &AtomicBool, report: &mut dyn FnMut(&Standing<'_>)) -> io::Result<()> {
        let mut reported = Instant::now();
        let result = loop {
            if stop.load(Ordering::Relaxed) {
                break Ok(());
            }
            let engine = &mut self.engine;
            match self.source.poll(WAIT, &mut |frame| engine.frame(&frame)) {
                Ok(Polled::Frames(_)) => {}
                Ok(Polled::Idle) => {
                    if self.live {
                        self.engine.advance(wall_clock());
                    }
                    self.engine.flush();
                }
                Ok(Polled::Ended) => break Ok(()),
                Err(error) => break Err(error),
            }
            if reported.elapsed() >= REPORT {
                reported = Instant::now();
                self.engine.flush();
                self.report(report);
            }
        };
        self.engine.finish();
        self.report(report);
        result
    }

    fn report(&mut self, report: &mut dyn FnMut(&Standing<'_>)) {
        // What the kernel does not answer now it may answer the next time.
        let _ = self.source.update_stats();
        report(&Standing { engine: &self.engine });
    }
}

fn wall_clock() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
}

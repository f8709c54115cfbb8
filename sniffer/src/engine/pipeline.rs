//! Processes decoded packets: finds the connection or plugin, counts the flow, and runs their timers.

use super::{Settings, datagrams::Conversations, own::Owners, verdicts::Verdicts};
use crate::{
    capture::{Task, control::Control},
    config,
    decode::{Layer4, Packet, Tcp},
    flow::table::FlowTable,
    memory::{Kind, Share},
    net::{Direction, FlowDelta, FlowKey, Peers, Traffic},
    process::Processes,
    protocols::Probe,
    publish::{PublisherId, Sink, observer::Observer},
    stream::{Env, Plugins, Streams, Totals, plugins::Call, ports::PortSet},
    time::{ClockSteps, Timestamp},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// Timers are checked whenever packet time has advanced by this much. It is the precision of all time-outs.
const TICK: Duration = Duration::from_millis(50);

/// After this number of packets, the memory that flows hold is measured again. In between the memory grows by at most
/// one flow per packet.
const PACKETS_PER_MEASUREMENT: u32 = 64;

/// Interval at which parts of the kernel's flow table are read.
const DRAIN: Duration = Duration::from_millis(10);

/// Longest time-out of any timer.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// All parts of the engine except the decoder, whose packets it borrows.
pub(super) struct Pipeline {
    settings: Arc<Settings>,
    plugins: Plugins,
    /// The protocols of datagrams on ports that several protocols share.
    conversations: Conversations,
    /// TCP ports that a protocol claimed before the settings were replaced and that no protocol claims now. They are kept while connections
    /// from that time are open.
    pub(super) given_up: Option<PortSet>,
    streams: Streams,
    totals: Totals,
    verdicts: Verdicts,
    flows: Option<FlowTable>,
    sink: Sink,
    /// The greatest time so far, on which timers run.
    now: Timestamp,
    ticked: Timestamp,
    /// The time at which the flows counted by the kernel were last read.
    drained: Timestamp,
    drain_failures: u64,
    /// The index of the worker and the delay of the counts, if the kernel counts flows.
    kernel_flows: Option<(usize, Duration)>,
    owners: Owners,
    /// The counts of the packets for protocols; `None` if they are not counted.
    pub(super) traffic: Option<Box<Traffic>>,
    /// The control of the interface, if it acts on verdicts.
    shunts: Option<Arc<dyn Control>>,
    /// Packets of the program's own connections.
    own_packets: u64,
    /// Requests in datagrams that were dropped because plugins held too many bytes.
    evicted_datagrams: u64,
    /// The worker's share of the memory.
    share: Share,
    /// Bytes that connections and plugins may hold. The number is measured every [`PACKETS_PER_MEASUREMENT`] packets and at every tick,
    /// because it depends on the memory that flows hold.
    room: usize,
    /// Packets since `room` was measured.
    packets: u32,
}

impl Pipeline {
    pub(super) fn new(settings: Arc<Settings>, sink: Sink) -> Result<Self, config::Error> {
        let share = Share::default();
        Ok(Self {
            plugins: settings.open()?,
            conversations: Conversations::default(),
            given_up: None,
            streams: Streams::default(),
            totals: Totals::default(),
            verdicts: Verdicts::default(),
            flows: flow_table(&settings, &share),
            sink,
            settings,
            now: Timestamp::default(),
            ticked: Timestamp::default(),
            drained: Timestamp::default(),
            drain_failures: 0,
            kernel_flows: None,
            owners: Owners::default(),
            traffic: None,
            shunts: None,
            own_packets: 0,
            evicted_datagrams: 0,
            share,
            room: 0,
            packets: PACKETS_PER_MEASUREMENT,
        })
    }

    /// Sets the worker's share of the memory, see [`super::Engine::with_share`].
    pub(super) fn with_share(self, share: &Share) -> Self {
        Self {
            streams: Streams::with_share(share.clone()),
            flows: flow_table(&self.settings, share),
            sink: self.sink.with_share(share.clone()),
            share: share.clone(),
            ..self
        }
    }

    /// Tells the pipeline that the kernel counts flows, see [`super::Engine::with_kernel_flows`].
    pub(super) fn with_kernel_flows(mut self, worker: usize, lag: Duration) -> Self {
        self.kernel_flows = Some((worker, lag));
        self.set_lag();
        self
    }

    /// Sets the control that acts on verdicts, see [`super::Engine::with_shunts`].
    pub(super) fn with_shunts(self, control: Arc<dyn Control>) -> Self {
        Self { shunts: Some(control), ..self }
    }

    fn set_lag(&mut self) {
        if let (Some(flows), Some((_, lag))) = (&mut self.flows, self.kernel_flows) {
            flows.set_lag(lag);
        }
    }

    /// Replaces the settings, see [`super::Engine::replace_settings`].
    pub(super) fn replace_settings(&mut self, settings: Arc<Settings>) -> Result<(), config::Error> {
        let opened = settings.open_changed(&self.settings)?;
        let before = std::mem::replace(&mut self.settings, settings);
        for id in self.plugins.ids() {
            let gone = !self.settings.has(id);
            if (gone || opened.protocol(id).is_some()) && !before.strict {
                self.plugins.end(id, self.now, &mut self.sink);
            }
            if gone {
                self.plugins.remove(id);
            }
        }
        self.plugins.replace_with(opened);
        self.conversations.clear();
        self.owners = Owners::default();
        if self.settings.flows != before.flows || self.settings.strict != before.strict {
            if let Some(flows) = &mut self.flows {
                flows.finish(self.now, &mut self.sink, PublisherId::FLOWS, &mut || true);
            }
            self.flows = flow_table(&self.settings, &self.share);
            self.set_lag();
        }
        let mut given_up = self.given_up.take().unwrap_or_default();
        given_up.add_given_up(before.tcp(), self.settings.tcp());
        self.given_up = (!given_up.is_empty()).then_some(given_up);
        self.streams.count_earlier();
        self.sink.replace(self.settings.publishing.clone());
        Ok(())
    }

    pub(super) fn show(&mut self, observer: Box<dyn Observer>) {
        self.sink.show(observer);
    }

    pub(super) fn name_processes(&mut self, processes: Arc<Processes>) {
        self.sink.name_processes(processes);
    }

    /// Sets the steps of the wall clock. Returns whether no worker of the interface has logged a step before.
    pub(super) fn set_clock_steps(&mut self, steps: &ClockSteps) -> bool {
        self.sink.set_clock_steps(steps);
        !self.settings.has_logged_clock_step.swap(true, Ordering::Relaxed)
    }

    pub(super) fn flush(&mut self) {
        self.sink.flush();
    }

    pub(super) fn packet(&mut self, packet: &Packet<'_>, task: Task) {
        if self.is_own(packet, task) {
            // A packet that the kernel could not count is delivered a second time, to be counted.
            self.own_packets += u64::from(task != Task::Parse);
            return;
        }
        let mut connection = None;
        if let Layer4::Tcp(tcp) = packet.layer4 {
            connection = self.segment(packet, &tcp);
        } else {
            self.datagram(packet);
        }
        if task != Task::Parse {
            self.count(packet, connection);
        }
        self.keep_within_share();
    }

    /// Handles the captured parts of a datagram whose other fragments are missing. The datagram's flow was counted with
    /// each fragment.
    pub(super) fn incomplete_datagram(&mut self, packet: &Packet<'_>) {
        match packet.layer4 {
            Layer4::Tcp(_) | Layer4::Udp(_) if self.is_own(packet, Task::Parse) => {}
            Layer4::Tcp(tcp) => drop(self.segment(packet, &tcp)),
            _ => self.datagram(packet),
        }
        self.keep_within_share();
    }

    /// Passes the payload of a UDP or ICMP packet to the plugin of its protocol.
    fn datagram(&mut self, packet: &Packet<'_>) {
        match packet.layer4 {
            Layer4::Udp(udp) if !udp.payload.is_empty() => {
                if let Some(claim) = self.settings.udp().claim(udp.source, udp.destination, None) {
                    if let Some(traffic) = &mut self.traffic {
                        traffic.datagram(packet.time, packet.wire_payload());
                    }
                    let dir = if claim.to_server { Direction::ToServer } else { Direction::ToClient };
                    let recognises =
                        |&id: &PublisherId| self.plugins.protocol(id).is_some_and(|p| (p.probe)(dir, udp.payload) == Probe::Yes);
                    let plugin = match (self.settings.udp().get(claim.set), packet.ends()) {
                        ([one], _) => Some(*one),
                        (several, Some((_, source, destination))) => {
                            let ends = (source, destination, packet.realm);
                            self.conversations.protocol(ends, packet.time, || several.iter().copied().find(recognises))
                        }
                        _ => None,
                    };
                    self.call_plugin(plugin, dir, udp.payload, packet, None);
                }
            }
            Layer4::Icmp(icmp) | Layer4::Icmp6(icmp) => {
                self.call_plugin(self.settings.icmp(), Direction::ToServer, icmp.payload, packet, Some((icmp.kind, icmp.code)));
            }
            _ => {}
        }
    }

    /// Handles a packet that is only to be counted. `connection` is the number of its TCP connection in the kernel.
    pub(super) fn head(&mut self, packet: &Packet<'_>, connection: Option<u64>) {
        if self.is_own(packet, Task::Count(connection)) {
            self.own_packets += 1;
        } else {
            self.count(packet, connection);
        }
    }

    /// Counts a packet in its flow. `connection` is the number of its TCP connection, if a protocol claims its port.
    #[inline]
    fn count(&mut self, packet: &Packet<'_>, connection: Option<u64>) {
        if let Some(flows) = &mut self.flows
            && flows.packet(packet, connection)
        {
            flows.report(self.now, &mut self.sink, PublisherId::FLOWS);
        }
    }

    /// Whether a packet belongs to a connection or a look-up of this process.
    #[inline]
    fn is_own(&mut self, packet: &Packet<'_>, task: Task) -> bool {
        match (&packet.layer4, &self.settings.own) {
            (Layer4::Tcp(tcp), Some(own)) if own.has_port(tcp.source, tcp.destination) => self.is_own_segment(packet, tcp, task),
            (Layer4::Udp(udp), Some(own)) if own.connections.may_send_datagrams(udp.source, udp.destination) => {
                packet.ends().is_some_and(|(_, source, destination)| own.connections.is_own_datagram(source, destination))
            }
            _ => false,
        }
    }

    #[inline(never)]
    fn is_own_segment(&mut self, packet: &Packet<'_>, tcp: &Tcp<'_>, task: Task) -> bool {
        let (Some(own), Some((_, source, destination))) = (&self.settings.own, packet.ends()) else { return false };
        // With `Task::Parse` the head of this SYN was examined earlier, when it was counted. The socket may be closed
        // by now.
        let opens = tcp.flags.syn() && !tcp.flags.ack() && task != Task::Parse;
        self.owners.is_own(own, source, destination, opens)
    }

    /// Bytes held by flows.
    fn held_by_flows(&self) -> usize {
        self.flows.as_ref().map_or(0, FlowTable::held)
    }

    /// Evicts requests of plugins and connections until the worker holds at most its share of the memory. Fragments
    /// have their own part of the share, and flows get at most half. Of the rest, plugins may always use their own
    /// part, and connections get the remainder.
    #[inline]
    fn keep_within_share(&mut self) {
        self.packets += 1;
        if self.packets > PACKETS_PER_MEASUREMENT {
            self.measure_room();
        }
        if self.streams.held() + self.plugins.held() > self.room {
            self.evict(self.room);
        }
    }

    fn measure_room(&mut self) {
        self.packets = 0;
        self.room = self.share.state().saturating_sub(self.share.fragments() + self.held_by_flows());
    }

    #[cold]
    fn evict(&mut self, room: usize) {
        let excess = (self.streams.held() + self.plugins.held()).saturating_sub(room);
        let most = self.share.plugins().max(self.plugins.held().saturating_sub(excess));
        let evicted = self.plugins.evict(most, self.now, &mut self.sink, self.settings.strict);
        if evicted > 0 {
            self.evicted_datagrams += evicted;
            self.share.warn_once(Kind::Datagram);
        }
        let left = room.saturating_sub(self.plugins.held());
        self.with_streams(self.now, |streams, env| streams.evict_until(left, env));
    }

    /// Returns the number of the segment's connection if a protocol claims it.
    fn segment(&mut self, packet: &Packet<'_>, tcp: &Tcp<'_>) -> Option<u64> {
        let opens = tcp.flags.syn().then(|| !tcp.flags.ack());
        let claim = match self.settings.tcp().claim(tcp.source, tcp.destination, opens) {
            None if self.given_up.as_ref().is_some_and(|ports| ports.has(tcp.source) || ports.has(tcp.destination)) => None,
            claim => Some(claim?),
        };
        if let Some(traffic) = &mut self.traffic {
            traffic.segment(packet.time, tcp.flags.0, tcp.wire_payload);
        }
        let (_, source, destination) = packet.ends()?;
        self.with_streams(packet.time, |streams, env| streams.segment(source, destination, packet.realm, claim, tcp, env))
    }

    fn call_plugin(&mut self, plugin: Option<PublisherId>, dir: Direction, data: &[u8], packet: &Packet<'_>, icmp: Option<(u8, u8)>) {
        let missing = packet.wire_payload().saturating_sub(data.len() as u32);
        let (Some(plugin), Some((transport, source, destination))) = (plugin, packet.ends()) else { return };
        let mut peers = match dir {
            Direction::ToServer => Peers::new(source, destination, transport),
            Direction::ToClient => Peers::new(destination, source, transport),
        };
        peers.icmp = icmp;
        peers.realm = packet.realm.of_connection(self.settings.track_vlans);
        let call = Call { now: packet.time, peers, sink: &mut self.sink, strict: self.settings.strict, missing };
        self.plugins.call(plugin, call, |plugin, cx| plugin.on_datagram(dir, data, cx));
    }

    /// Whether [`Pipeline::advance`] to `now` would run timers.
    #[inline]
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        now.since(self.ticked) >= TICK.as_nanos() as u64
    }

    pub(super) fn advance(&mut self, now: Timestamp) {
        if now <= self.now {
            return;
        }
        self.now = now;
        if self.is_due(now) {
            self.tick();
        }
    }

    /// Number of open connections: the approximate cost of [`Pipeline::restart_timers`].
    pub(super) fn open(&self) -> usize {
        self.streams.len()
    }

    /// Handles a step of the packet time back to `to`: runs all timers at once. Otherwise each
    /// timer that was set before the step would fire late, by the length of the step.
    pub(super) fn restart_timers(&mut self, to: Timestamp) {
        let over = self.now.after(LONGEST_WAIT);
        self.plugins.wake(over, &mut self.sink, self.settings.has_timers());
        self.with_streams(over, |streams, env| streams.restart_timers(to, env));
        if let Some(flows) = self.flows.as_mut().filter(|_| !self.settings.strict) {
            flows.finish(self.now, &mut self.sink, PublisherId::FLOWS, &mut || true);
        }
        (self.now, self.ticked, self.drained) = (to, to, to);
    }

    fn tick(&mut self) {
        self.ticked = self.now;
        self.with_streams(self.now, Streams::advance);
        if self.given_up.is_some() && self.streams.earlier() == 0 {
            self.given_up = None;
        }
        self.plugins.wake(self.now, &mut self.sink, self.settings.has_timers());
        if let Some(flows) = &mut self.flows {
            flows.report(self.now, &mut self.sink, PublisherId::FLOWS);
        }
        self.measure_room();
        self.keep_within_share();
    }

    /// Exchanges verdicts and counts with capture, see [`super::Engine::exchange`].
    pub(super) fn exchange(&mut self, control: &dyn Control) {
        self.owners.next_poll();
        if self.shunts.is_some() {
            self.verdicts.apply(control, self.now);
        }
        if self.kernel_flows.is_some() && self.now.since(self.drained) >= DRAIN.as_nanos() as u64 {
            self.drain_flows(control, false);
        }
    }

    /// Adds the kernel's counts to the flows. `end`: the input has ended.
    fn drain_flows(&mut self, control: &dyn Control, end: bool) {
        let (Some(flows), Some((worker, _))) = (&mut self.flows, self.kernel_flows) else { return };
        let (now, sink) = (self.now, &mut self.sink);
        self.drained = now;
        let (owners, own, own_packets) = (&mut self.owners, self.settings.own.as_ref(), &mut self.own_packets);
        let drained = control.drain_flows(worker, end, &mut |delta| {
            if own.is_some_and(|own| owners.is_own_delta(own, delta)) {
                *own_packets += delta.count.packets;
                return;
            }
            // The kernel's times are wall-clock times, as those of frames are.
            let delta = &FlowDelta { start: sink.steady(delta.start, now), end: sink.steady(delta.end, now), ..*delta };
            if flows.add_delta(delta) {
                flows.report(now, sink, PublisherId::FLOWS);
            }
        });
        if let Err(error) = drained {
            self.drain_failures += 1;
            if self.drain_failures == 1 {
                log::warn!("flows counted in the kernel are missing in reports until the next attempt: {error}");
            }
        }
    }

    pub(super) fn finish(&mut self, control: &dyn Control, goes_on: &mut dyn FnMut() -> bool) {
        let most = if self.settings.strict { self.settings.publish_timeout } else { Duration::MAX };
        if self.settings.strict {
            self.with_streams(self.now, |streams, env| streams.time_out(most, env));
        }
        self.with_streams(self.now, Streams::finish);
        self.plugins.end_all(most, self.now, &mut self.sink);
        self.drain_flows(control, true);
        if let Some(flows) = &mut self.flows {
            flows.finish(self.now, &mut self.sink, PublisherId::FLOWS, goes_on);
        }
        self.sink.flush();
    }

    pub(super) fn counters(&self, each: &mut dyn FnMut(&str, u64)) {
        each("capture.own", self.own_packets);
        self.totals.named().iter().for_each(|&(name, n)| each(name, n));
        self.verdicts.counters().iter().for_each(|&(name, n)| each(name, n));
        each("tcp.open", self.streams.len() as u64);
        each("tcp.held", self.streams.held() as u64);
        each("plugins.held", self.plugins.held() as u64);
        each("plugins.evicted", self.evicted_datagrams);
        each("flows.held", self.held_by_flows() as u64);
        if let Some(flows) = &self.flows {
            flows.counters().for_each(|(name, n)| each(name, n));
            each("flows.drain_failures", self.drain_failures);
        }
        for &(publisher, name, n) in self.sink.counters() {
            let of = self.plugins.protocol(publisher).map_or("flows", |protocol| protocol.name);
            each(&format!("{of}.{name}"), n);
        }
    }

    fn with_streams<T>(&mut self, now: Timestamp, f: impl FnOnce(&mut Streams, &mut Env<'_>) -> T) -> T {
        let verdicts = &mut self.verdicts;
        let shunted = self.shunts.as_ref().map(|control| |key: &FlowKey| control.shunted(key));
        let mut env = Env {
            now,
            sink: &mut self.sink,
            plugins: &self.plugins,
            ports: self.settings.tcp(),
            verdicts: &mut |key, verdict| verdicts.push(key, verdict),
            shunted: shunted.as_ref().map(|shunted| shunted as _),
            track_vlans: self.settings.track_vlans,
            totals: &mut self.totals,
            strict: self.settings.strict,
            timers: self.settings.has_timers(),
            warned: &self.settings.warned,
        };
        f(&mut self.streams, &mut env)
    }
}

fn flow_table(settings: &Settings, share: &Share) -> Option<FlowTable> {
    settings.flows.clone().map(|options| FlowTable::with_share(options, settings.strict, share))
}

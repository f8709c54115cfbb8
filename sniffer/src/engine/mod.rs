//! Turns frames into documents: decodes frames, dispatches packets, runs timers and counts. There is one engine per
//! worker. An engine has no clock, source or thread, so that tests can drive it frame by frame.

mod datagrams;
mod own;
mod pipeline;
pub mod settings;
#[cfg(test)]
mod tests;
mod timeline;
mod verdicts;

pub use own::Own;
pub use settings::{ClaimedPorts, Configured, InForce, Settings};

use crate::{
    capture::{Frame, Task, control::Control},
    config,
    decode::Decoder,
    memory::Share,
    net::Traffic,
    process::Processes,
    publish::{Deliver, Sink, observer::Observer},
    time::{ClockSteps, Timestamp},
};
use pipeline::Pipeline;
use std::{sync::Arc, time::Duration};
use timeline::{Meaning, Timeline};

/// Turns frames into documents.
pub struct Engine {
    decoder: Decoder,
    pipeline: Pipeline,
    timeline: Timeline,
    /// The steps of the wall clock while a device is captured. All times in the engine are steady times.
    steps: ClockSteps,
    /// Number of steps of the wall clock until now.
    clock_steps: u64,
    /// The steady time when the clock was last read.
    read_at: Timestamp,
    frames: u64,
}

impl Engine {
    /// Makes an engine, which passes its records to `deliver`.
    ///
    /// # Errors
    ///
    /// An error in a protocol's options.
    pub fn new(settings: Arc<Settings>, deliver: Deliver) -> Result<Self, config::Error> {
        let sink = Sink::new(settings.publishing.clone(), deliver);
        Ok(Self {
            decoder: Decoder::new(),
            pipeline: Pipeline::new(settings, sink)?,
            timeline: Timeline::default(),
            steps: ClockSteps::default(),
            clock_steps: 0,
            read_at: Timestamp::default(),
            frames: 0,
        })
    }

    /// Passes each event from now on to `observer` too.
    pub fn show(&mut self, observer: Box<dyn Observer>) {
        self.pipeline.show(observer);
    }

    /// Names the processes at the ends of transactions and flows from now on. Not for files, whose packets are not those of this host now.
    pub fn name_processes(&mut self, processes: Arc<Processes>) {
        self.pipeline.name_processes(processes);
    }

    /// Counts the packets for protocols from now on. [`Engine::traffic`] returns the counts.
    pub fn count_traffic(&mut self) {
        self.pipeline.traffic = Some(Box::default());
    }

    /// The packets for protocols; `None` if they are not counted.
    pub fn traffic(&self) -> Option<&Traffic> {
        self.pipeline.traffic.as_deref()
    }

    /// Records that all frames until now have been processed when the wall clock is at `wall`.
    pub fn processed(&mut self, wall: impl FnOnce() -> Timestamp) {
        if let Some(traffic) = &mut self.pipeline.traffic {
            traffic.processed(wall().since(self.timeline.now()));
        }
    }

    /// Sets the share of `memory.max`. This method must be called before the first frame.
    #[must_use]
    pub fn with_share(self, share: &Share) -> Self {
        Self { decoder: Decoder::with_share(share), pipeline: self.pipeline.with_share(share), ..self }
    }

    /// Replaces the settings. An open connection keeps its parser; a protocol that is no longer configured gets no new
    /// connections. A plugin whose options did not change stays; one whose options changed reports its pending requests
    /// and is replaced. Flows keep their counts unless their options changed.
    ///
    /// # Errors
    /// An error in a protocol's options; the previous settings then stay in force.
    pub fn replace_settings(&mut self, settings: Arc<Settings>) -> Result<(), config::Error> {
        self.pipeline.replace_settings(settings)
    }

    /// Processes a frame. A frame whose timestamp is far ahead of the previous ones is processed together with the next
    /// one, when it is known whether its timestamp is right.
    pub fn frame(&mut self, frame: &Frame<'_>) {
        self.frames += 1;
        if self.steps.is_empty() {
            self.frame_at_steady_time(frame);
        } else {
            self.frame_at_steady_time(&Frame { time: self.steps.steady(frame.time, self.read_at), ..*frame });
        }
    }

    /// Compares the wall clock with the steady time, both read now. If the wall clock was set, timers run as if it had not been set, and
    /// documents have the new time of the wall clock. The function is only for devices, whose frames have wall-clock times.
    pub fn observe_clock(&mut self, steady: Timestamp, wall: Timestamp) {
        self.read_at = steady;
        let Some(step) = self.steps.observe(steady, wall) else { return };
        self.clock_steps += 1;
        if self.pipeline.set_clock_steps(&self.steps) {
            let (seconds, way) = (step.unsigned_abs() / 1_000_000_000, if step < 0 { "back" } else { "ahead" });
            log::warn!(
                "the clock was set {way} by {seconds} s; time-outs go on, documents have the new time (later steps are only counted, as time.steps)"
            );
        }
    }

    /// Whether the time of a frame differs so much from the last reading of the wall clock that the clock may have been
    /// set since that reading.
    #[inline]
    pub fn is_unexpected(&self, frame: &Frame<'_>) -> bool {
        const EXPECTED: u64 = 1_000_000_000;
        let wall = self.steps.wall(self.read_at);
        frame.time.0.abs_diff(wall.0) > EXPECTED
    }

    #[inline]
    fn frame_at_steady_time(&mut self, frame: &Frame<'_>) {
        self.release(Some(frame.time));
        match self.timeline.frame(frame.time, self.pipeline.open()) {
            Meaning::Next => self.pass(frame.time),
            Meaning::Behind => {}
            Meaning::SteppedBack => {
                self.incomplete_datagrams(Timestamp(u64::MAX));
                self.pipeline.restart_timers(frame.time);
            }
            Meaning::Unsure => return self.timeline.wait(frame),
        }
        self.handle(frame);
    }

    /// Advances the time to `now` and runs the timers that are due. A time in the past is ignored.
    pub fn advance(&mut self, now: Timestamp) {
        self.release(Some(now));
        if self.timeline.advance(now) {
            self.pass(now);
        }
    }

    /// Advances the packet time. Incomplete datagrams are passed on before timers run, because they may contain a response.
    #[inline]
    fn pass(&mut self, now: Timestamp) {
        if self.pipeline.is_due(now) {
            self.incomplete_datagrams(now);
        }
        self.pipeline.advance(now);
    }

    /// Passes on the captured parts of datagrams whose other fragments did not arrive until `now`.
    fn incomplete_datagrams(&mut self, now: Timestamp) {
        let Self { decoder, pipeline, .. } = self;
        decoder.beginnings(now, &mut |packet| pipeline.incomplete_datagram(packet));
    }

    /// The greatest packet time since the last step.
    pub fn now(&self) -> Timestamp {
        self.timeline.now()
    }

    /// Processes the frame whose timestamp was uncertain; `next` is the next known time.
    #[inline]
    fn release(&mut self, next: Option<Timestamp>) {
        if self.timeline.is_waiting() {
            self.release_waiting(next);
        }
    }

    #[cold]
    fn release_waiting(&mut self, next: Option<Timestamp>) {
        if let Some(waiting) = self.timeline.release(next) {
            self.pass(self.timeline.now());
            self.handle(&waiting.frame());
        }
    }

    fn handle(&mut self, frame: &Frame<'_>) {
        if let Task::Count(connection) = frame.task {
            // The engine may also receive the same packet in full, so the head must not take part in the reassembly of fragments.
            if let Ok(packet) = &Decoder::decode_without_reassembly(frame) {
                self.pipeline.head(packet, connection);
            }
        // The packet is passed by reference, because moving a packet has a measurable cost.
        } else if let Ok(packet) = &self.decoder.decode(frame) {
            self.pipeline.packet(packet, frame.task);
        }
    }

    /// Tells the engine that the kernel counts its flows. `worker` is the index of the engine's worker on its
    /// interface, `lag` the longest delay of the counts.
    #[must_use]
    pub fn with_kernel_flows(self, worker: usize, lag: Duration) -> Self {
        Self { pipeline: self.pipeline.with_kernel_flows(worker, lag), ..self }
    }

    /// `control` acts on verdicts: segments that no parser needs are not copied any more.
    #[must_use]
    pub fn with_shunts(self, control: Arc<dyn Control>) -> Self {
        Self { pipeline: self.pipeline.with_shunts(control), ..self }
    }

    /// Called between two polls: passes verdicts to capture and, at the interval of flow reports, reports the flows
    /// that the kernel has counted.
    pub fn exchange(&mut self, control: &dyn Control) {
        self.pipeline.exchange(control);
    }

    /// Ends the input: parsers, plugins, the flow table and `control` report everything pending.
    pub fn finish(&mut self, control: &dyn Control) {
        self.finish_while(control, &mut || true);
    }

    /// Like [`Engine::finish`], but reports flows only as long as `goes_on` returns true. The
    /// remaining flows are only counted.
    pub fn finish_while(&mut self, control: &dyn Control, goes_on: &mut dyn FnMut() -> bool) {
        self.release(None);
        self.incomplete_datagrams(Timestamp(u64::MAX));
        self.pipeline.finish(control, goes_on);
    }

    /// Delivers the records collected so far.
    pub fn flush(&mut self) {
        self.pipeline.flush();
    }

    /// Totals since the start, by metric name.
    pub fn counters(&self, each: &mut dyn FnMut(&str, u64)) {
        each("capture.frames", self.frames);
        each("time.steps", self.timeline.steps() + self.clock_steps);
        self.decoder.counters().for_each(|(name, n)| each(name, n));
        each("decode.held", self.decoder.held() as u64);
        self.pipeline.counters(each);
    }
}

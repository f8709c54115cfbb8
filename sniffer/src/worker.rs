//! The loop of one worker thread: polls a source, hands frames to the engine, and reports counters. The modules that the worker uses do not
//! read the clock, except for sources.

use crate::{
    capture::{Polled, Source, control::Control},
    engine::{Engine, InForce},
    time::Timestamp,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How long a poll may wait for a packet. Stop requests, timers and incomplete batches are delayed by at most this time.
const WAIT: Duration = Duration::from_millis(100);
/// Maximum time for counting the packets that are left in the capture buffer at the end and are not processed.
const COUNT: Duration = Duration::from_millis(100);
/// Interval of counter reports.
const REPORT: Duration = Duration::from_secs(1);

/// A source and its engine, which run on one thread.
pub struct Worker {
    source: Box<dyn Source>,
    control: Arc<dyn Control>,
    engine: Engine,
    settings: Arc<InForce>,
    /// The version of the settings in use.
    version: u64,
    /// Whether packets come from a device. The packet time is then the time of the clock, so timers also run while no packet arrives.
    live: bool,
    limits: Limits,
    /// Packets that were in the capture buffer at the end and were not read.
    unread: u64,
    /// How often the source was polled.
    polls: u64,
}

/// How long a worker may take once it is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time for processing the packets in the capture buffer. Packets that are left after this time are only counted.
    pub read_out: Duration,
    /// Time until all flows are reported, including `read_out`. Flows that are left after this time are only counted.
    pub publish: Duration,
}

/// The state of a worker, for counter reports.
pub struct WorkerState<'a> {
    /// The engine's counters.
    pub engine: &'a Engine,
    /// Packets that were in the capture buffer at the end and were not read.
    pub unread: u64,
    /// How often the source was polled.
    pub polls: u64,
}

impl Worker {
    /// Makes a worker. `engine` must have been built with the first version of `settings`. `live`: the source is a device.
    pub fn new(
        source: Box<dyn Source>,
        control: Arc<dyn Control>,
        engine: Engine,
        settings: Arc<InForce>,
        live: bool,
        limits: Limits,
    ) -> Self {
        Self { source, control, engine, settings, version: 0, live, limits, unread: 0, polls: 0 }
    }

    /// Whether the source is a device.
    pub const fn is_live(&self) -> bool {
        self.live
    }

    /// Runs until the source ends or `stop` is set, reads out the capture buffer of a device, then finishes the engine. Calls `report`
    /// about once a second and at the end.
    ///
    /// # Errors
    /// The error of the source. The packets before the error have been processed.
    pub fn run(mut self, stop: &AtomicBool, report: &mut dyn FnMut(&WorkerState<'_>)) -> io::Result<()> {
        let mut reported = Instant::now();
        // While no packet arrives, the packet time advances from the last packet by the monotonic clock, because the wall
        // clock may be set.
        let started = (wall_clock(), Instant::now());
        let mut known = started;
        let mut stopped = None;
        let result = loop {
            if stop.load(Ordering::Relaxed) {
                stopped = Some(Instant::now());
                break self.read_out();
            }
            let (engine, live) = (&mut self.engine, self.live);
            let observe = |engine: &mut Engine| engine.observe_clock(started.0.after(started.1.elapsed()), wall_clock());
            if live {
                observe(engine);
            }
            let mut observed = !live;
            let polled = self.source.poll(WAIT, &mut |frame| {
                // The poll may have waited, and the clock may have been set meanwhile.
                if !observed && engine.is_unexpected(&frame) {
                    observed = true;
                    observe(engine);
                }
                engine.frame(&frame);
            });
            self.polls += 1;
            match polled {
                Ok(Polled::Frames(0)) => {}
                Ok(Polled::Frames(_)) => {
                    known = (self.engine.now(), Instant::now());
                    self.engine.processed(wall_clock);
                }
                Ok(Polled::Idle) => {
                    if self.live {
                        self.engine.advance(known.0.after(known.1.elapsed()));
                    }
                    self.engine.flush();
                }
                Ok(Polled::Ended) => break Ok(()),
                Err(error) => break Err(error),
            }
            self.engine.exchange(&*self.control);
            if self.settings.version() != self.version {
                self.take_settings();
            }
            if reported.elapsed() >= REPORT {
                reported = Instant::now();
                self.engine.flush();
                self.report(report);
            }
        };
        // The stop request may also arrive while the flows of a file are reported.
        let mut goes_on = || !stop.load(Ordering::Relaxed) || stopped.get_or_insert_with(Instant::now).elapsed() < self.limits.publish;
        self.engine.finish_while(&*self.control, &mut goes_on);
        self.report(report);
        result
    }

    /// Processes the packets that are still in a device's capture buffer, until the buffer is empty or the time for reading out is over.
    /// Counts the remaining packets.
    fn read_out(&mut self) -> io::Result<()> {
        if !self.live {
            return Ok(());
        }
        let end = Instant::now() + self.limits.read_out;
        while Instant::now() < end {
            let engine = &mut self.engine;
            // The poll waits once more, because some backends hand over packets only when a block is full or some time has passed.
            let polled = self.source.poll(WAIT, &mut |frame| engine.frame(&frame))?;
            self.engine.exchange(&*self.control);
            if !matches!(polled, Polled::Frames(_)) {
                return Ok(());
            }
        }
        let end = Instant::now() + COUNT;
        while Instant::now() < end {
            let unread = &mut self.unread;
            if !matches!(self.source.poll(Duration::ZERO, &mut |_| *unread += 1)?, Polled::Frames(_)) {
                break;
            }
        }
        Ok(())
    }

    fn take_settings(&mut self) {
        let (settings, version) = self.settings.get();
        self.version = version;
        if let Err(error) = self.engine.replace_settings(settings) {
            log::error!("the new settings cannot be used, the previous ones stay in force: {error}");
        }
    }

    fn report(&mut self, report: &mut dyn FnMut(&WorkerState<'_>)) {
        // Errors are ignored: the next update includes the counters that were not read now.
        let _ = self.source.update_stats();
        report(&WorkerState { engine: &self.engine, unread: self.unread, polls: self.polls });
    }
}

fn wall_clock() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::{
            Frame, Link,
            control::recording::{Call, Recording},
        },
        config::Node,
        engine::{ClaimedPorts, Configured, Settings},
        protocols::PROTOCOLS,
        publish::{PublisherId, Publishing},
    };
    use std::{collections::VecDeque, sync::Mutex};

    /// One poll of the scripted source: the frames to deliver, the result to return, and a closure to call before that.
    type Step = (Vec<Vec<u8>>, io::Result<Polled>, Box<dyn FnOnce() + Send>);

    struct Scripted(VecDeque<Step>);

    impl Source for Scripted {
        fn poll(&mut self, _wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
            let Some((frames, polled, then)) = self.0.pop_front() else { return Ok(Polled::Ended) };
            for data in frames {
                let (wire_len, time) = (data.len() as u32, Timestamp(1_000_000_000));
                let (link, segments) = (Link::RawIp, Default::default());
                each(Frame { time, link, data: &data, wire_len, tag: None, ifindex: 0, segments, task: Default::default() });
            }
            then();
            polled
        }

        fn update_stats(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A TCP segment with the first data of a connection to `port` on 10.0.0.2.
    fn frame(port: u16, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x45, 0, 0, 40 + data.len() as u8, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40];
        frame.extend_from_slice(&port.to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
        frame.extend_from_slice(data);
        frame
    }

    fn settings(port: u16) -> Arc<Settings> {
        let protocol = PROTOCOLS.iter().copied().find(|p| p.name == "amqp").unwrap();
        let claimed = ClaimedPorts { ports: vec![(port, port)], any: false };
        let configured = Configured { id: PublisherId(1), protocol, options: Node::default(), claimed };
        Arc::new(Settings::new(vec![configured], Arc::new(Publishing::bare())))
    }

    /// Runs a worker on a file. Returns its result and the reported totals of `tcp.connections`. If packets are unread, the list also
    /// contains 1000 plus their number.
    fn run(steps: Vec<Step>, in_force: Arc<InForce>, control: Arc<Recording>, stop: &AtomicBool) -> (io::Result<()>, Vec<u64>) {
        run_for(None, steps, in_force, control, stop)
    }

    /// Like [`run`]. If `read_out` is given, the source is a device, and `read_out` is the time for reading its buffer.
    fn run_for(
        read_out: Option<Duration>,
        steps: Vec<Step>,
        in_force: Arc<InForce>,
        control: Arc<Recording>,
        stop: &AtomicBool,
    ) -> (io::Result<()>, Vec<u64>) {
        let engine = Engine::new(in_force.get().0, Box::new(|_| ())).unwrap().with_shunts(control.clone());
        let limits = Limits { read_out: read_out.unwrap_or_default(), publish: Duration::from_secs(600) };
        let worker = Worker::new(Box::new(Scripted(steps.into())), control, engine, in_force, read_out.is_some(), limits);
        let mut totals = Vec::new();
        let result = worker.run(stop, &mut |standing| {
            standing.engine.counters(&mut |name, total| {
                if name == "tcp.connections" {
                    totals.push(total);
                }
            });
            totals.extend((standing.unread > 0).then_some(1000 + standing.unread));
        });
        (result, totals)
    }

    fn idle() -> Box<dyn FnOnce() + Send> {
        Box::new(|| ())
    }

    #[test]
    fn verdicts_are_applied_after_the_poll_and_settings_between_polls() {
        let (control, in_force) = (Arc::new(Recording::default()), Arc::new(InForce::new(settings(80))));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let look = || -> Box<dyn FnOnce() + Send> {
            let (calls, control) = (calls.clone(), control.clone());
            Box::new(move || calls.lock().unwrap().push(control.take().len()))
        };
        let replace = in_force.clone();
        let steps: Vec<Step> = vec![
            (vec![frame(80, b"AMQP\x03\x01\0\0"), frame(8080, b"GET ")], Ok(Polled::Frames(2)), look()),
            (vec![], Ok(Polled::Idle), look()),
            // The settings are replaced during a poll: frames of that poll are still processed with the old settings.
            (vec![], Ok(Polled::Frames(0)), Box::new(move || drop(replace.replace(settings(8080))))),
            (vec![frame(8080, b"GET "), frame(81, b"GET ")], Ok(Polled::Frames(2)), idle()),
        ];
        let (result, totals) = run(steps, in_force, control.clone(), &AtomicBool::new(false));
        assert!(result.is_ok());
        assert_eq!(*calls.lock().unwrap(), [0, 1], "calls of the control, seen at the end of each poll");
        assert_eq!(totals, [2], "one connection under each settings");
        assert!(!control.take().iter().any(|call| matches!(call, Call::Apply(_))), "and once only");
    }

    #[test]
    fn a_worker_finishes_when_it_is_stopped_and_when_its_source_fails() {
        let fresh = || (Arc::new(InForce::new(settings(80))), Arc::new(Recording::default()));
        let (in_force, control) = fresh();
        let steps = || -> Vec<Step> { vec![(vec![frame(80, b"GET ")], Err(io::Error::other("gone")), idle())] };
        let (result, totals) = run(steps(), in_force, control, &AtomicBool::new(false));
        assert_eq!((result.unwrap_err().to_string().as_str(), totals), ("gone", vec![1]), "everything until then is reported");
        let (in_force, control) = fresh();
        let (result, totals) = run(steps(), in_force, control, &AtomicBool::new(true));
        assert_eq!((result.is_ok(), totals), (true, vec![0]), "stopped before the first poll");
    }

    #[test]
    fn a_device_is_read_out_at_the_end_and_a_file_is_not() {
        let steps = || -> Vec<Step> {
            let burst = |ports: std::ops::Range<u16>| ports.map(|_| frame(80, b"GET ")).collect::<Vec<_>>();
            vec![
                (vec![frame(80, b"GET ")], Ok(Polled::Frames(1)), idle()),
                (burst(0..3), Ok(Polled::Frames(3)), idle()),
                (vec![], Ok(Polled::Idle), idle()),
                (burst(0..2), Ok(Polled::Frames(2)), idle()),
            ]
        };
        let stopped = AtomicBool::new(true);
        let run = |read_out| {
            let in_force = Arc::new(InForce::new(settings(80)));
            let frames = Arc::new(Mutex::new(0));
            let counted = frames.clone();
            let steps = steps().into_iter().map(|(data, polled, _)| {
                let (counted, n) = (counted.clone(), data.len());
                (data, polled, Box::new(move || *counted.lock().unwrap() += n) as Box<dyn FnOnce() + Send>)
            });
            let (result, totals) = run_for(read_out, steps.collect(), in_force, Arc::default(), &stopped);
            assert!(result.is_ok());
            (*frames.lock().unwrap(), totals)
        };
        assert_eq!(run(None), (0, vec![0]));
        let long = Duration::from_secs(600);
        assert_eq!(run(Some(long)), (4, vec![1]), "until nothing more comes");
        assert_eq!(run(Some(Duration::ZERO)), (4, vec![0, 1004]), "no time: all are counted, none is processed");
    }
}

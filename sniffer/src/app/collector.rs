//! [`Collector`]: collects the counters of all parts of the program, for the log and for the HTTP endpoint.

use crate::{
    capture::control::Control,
    endpoint::{Input, Output, Report, Source},
    engine::InForce,
    monitor::{Metrics, Snapshot},
    net::{Traffic, Transport},
    output::{counters::Counters, sending::Sending},
    processors::{Reported, Reports},
    queue::Queue,
    time::Durations,
    worker::WorkerState,
};
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// The main thread collects counters twice a second. If it has not collected them for this long, something blocks it.
const BLOCKED: Duration = Duration::from_secs(10);

/// What the workers report about packets, by the index of the worker.
#[derive(Debug, Default)]
pub struct Arrived(Mutex<BTreeMap<usize, OfWorker>>);

#[derive(Clone, Debug, Default)]
struct OfWorker {
    polls: u64,
    frames: u64,
    overlaps: u64,
    dropped_because_of_gaps: u64,
    traffic: Traffic,
}

impl Arrived {
    /// Takes over the totals of a worker.
    pub fn take(&self, worker: usize, state: &WorkerState<'_>) {
        let Some(traffic) = state.engine.traffic() else { return };
        let mut of_worker = OfWorker { polls: state.polls, traffic: traffic.clone(), ..OfWorker::default() };
        state.engine.counters(&mut |name, total| match name {
            "capture.frames" => of_worker.frames = total,
            "tcp.retransmitted" => of_worker.overlaps = total,
            "tcp.dropped_because_of_gaps" => of_worker.dropped_because_of_gaps = total,
            _ => {}
        });
        self.lock().insert(worker, of_worker);
    }

    /// The sum over some workers.
    fn sum(&self, workers: Range<usize>) -> OfWorker {
        let mut sum = OfWorker::default();
        for (_, one) in self.lock().range(workers) {
            sum.polls += one.polls;
            sum.frames += one.frames;
            sum.overlaps += one.overlaps;
            sum.dropped_because_of_gaps += one.dropped_because_of_gaps;
            sum.traffic.merge(&one.traffic);
        }
        sum
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, OfWorker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An interface whose statistics are collected.
pub struct Captured {
    /// Name of the device; `None` for a file.
    pub device: Option<String>,
    /// Name of the capture method.
    pub backend: &'static str,
    /// The statistics of the interface.
    pub control: Arc<dyn Control>,
    /// The settings of the interface's workers.
    pub in_force: Arc<InForce>,
    /// The indexes of the interface's workers.
    pub workers: Range<usize>,
}

/// Collects the counters of the workers, the queue, the output and the interfaces.
pub struct Collector {
    metrics: Metrics,
    queue: Arc<dyn Queue>,
    counters: Arc<Counters>,
    sending: Arc<Sending>,
    arrived: Arc<Arrived>,
    processors: Arc<Reports>,
    /// Number of workers that have not ended, and of all workers.
    running: (Arc<AtomicUsize>, usize),
    /// The interfaces; empty after the workers have ended. The lock is held while counters are collected, so that no snapshot has counters
    /// of two times.
    state: Mutex<State>,
}

struct State {
    captured: Vec<Captured>,
    /// When the main thread last collected counters.
    beat: Instant,
    /// Whether the program has been told to end, or its input has ended.
    ending: bool,
}

/// What a [`Collector`] reads.
pub struct Parts {
    /// The counters of the process.
    pub metrics: Metrics,
    /// The queue in front of the output.
    pub queue: Arc<dyn Queue>,
    /// The counters of the output.
    pub counters: Arc<Counters>,
    /// Which output sends.
    pub sending: Arc<Sending>,
    /// What the workers report about packets.
    pub arrived: Arc<Arrived>,
    /// What processors report.
    pub processors: Arc<Reports>,
    /// Number of workers that have not ended.
    pub running: Arc<AtomicUsize>,
    /// The interfaces.
    pub captured: Vec<Captured>,
}

impl Collector {
    /// Makes the collector of a run that begins at `now`.
    pub fn new(parts: Parts, now: Instant) -> Self {
        let Parts { metrics, queue, counters, sending, arrived, processors, running, captured } = parts;
        let all = running.load(Ordering::SeqCst);
        let state = Mutex::new(State { captured, beat: now, ending: false });
        Self { metrics, queue, counters, sending, arrived, processors, running: (running, all), state }
    }

    /// Collects all counters. The main thread calls this function at least twice a second.
    pub fn collect(&self) -> Snapshot {
        let mut state = self.lock();
        state.beat = Instant::now();
        self.update(&state)
    }

    /// Records that the program ends, so that the main thread's state is no longer a reason for a warning.
    pub fn ending(&self) {
        self.lock().ending = true;
    }

    /// Collects the counters of the interfaces for the last time, and releases the interfaces.
    pub fn detach(&self) {
        let mut state = self.lock();
        self.update(&state);
        state.captured.clear();
        state.ending = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, state: &State) -> Snapshot {
        let total = |name: &'static str, total| self.metrics.set_total(0, name, total);
        let gauge = |name: &'static str, value| self.metrics.set_gauge(name, value);
        self.counters.each(total, gauge);
        self.queue.stats().each(total, gauge);
        gauge("libbeat.pipeline.clients", self.running.0.load(Ordering::SeqCst) as f64);
        for (interface, captured) in state.captured.iter().enumerate() {
            // A failure is not reported: the next call may succeed.
            let Ok(stats) = captured.control.stats() else { continue };
            let total = |name, total| self.metrics.set_total(interface, name, total);
            total("capture.seen", stats.seen);
            total("capture.matched", stats.matched());
            total("capture.unmatched", stats.unmatched);
            total("capture.shunted", stats.shunted);
            total("capture.copied", stats.copied);
            total("capture.copied_bytes", stats.copied_bytes);
            total("capture.lost", stats.lost);
            total("capture.lost_by_interface", stats.lost_by_interface);
            total("capture.duplicates", stats.duplicates);
            total("capture.headers", stats.headers);
            total("flows.uncounted", stats.uncounted);
            total("capture.verdicts_not_entered", stats.not_entered);
        }
        let mut snapshot = self.metrics.snapshot();
        add_filtered(&mut snapshot);
        self.processors.each(|name, value| {
            if let Reported::Count(count) = value {
                snapshot.totals.insert(name, count);
            }
        });
        snapshot
    }

    /// The histograms of processors.
    fn histograms(&self) -> Vec<(String, Durations)> {
        let mut histograms = Vec::new();
        self.processors.each(|name, value| {
            if let Reported::Durations(durations) = value {
                histograms.push((name, *durations));
            }
        });
        histograms
    }

    /// Why the program does not work as it should; `None` if it does.
    fn problem(&self, state: &State) -> Option<String> {
        let running = self.running.0.load(Ordering::SeqCst);
        if state.ending {
            return Some("the program ends".to_owned());
        }
        let silent = state.beat.elapsed();
        if silent >= BLOCKED {
            return Some(format!("the main thread has been blocked for {} s", silent.as_secs()));
        }
        // The worker of a file ends with the file.
        let live = !state.captured.is_empty() && state.captured.iter().all(|captured| captured.device.is_some());
        (live && running < self.running.1).then(|| format!("{} of {} workers have ended", self.running.1 - running, self.running.1))
    }
}

/// Adds the events that processors dropped, which workers count by protocol, to the counters of the pipeline.
fn add_filtered(snapshot: &mut Snapshot) {
    let filtered: u64 =
        snapshot.totals.iter().filter(|(name, _)| name.ends_with(".filtered") && !name.contains("libbeat")).map(|(_, n)| n).sum();
    let unpublished =
        *snapshot.totals.entry("libbeat.pipeline.events.filtered".to_owned()).and_modify(|n| *n += filtered).or_insert(filtered);
    *snapshot.totals.entry("libbeat.pipeline.events.total".to_owned()).or_default() += unpublished;
}

impl Source for Collector {
    fn report(&self) -> Report {
        let state = self.lock();
        let counters = self.update(&state);
        let (by, times) = self.sending.get(Instant::now());
        let inputs = state.captured.iter().filter_map(|captured| {
            let device = captured.device.clone()?;
            let stats = captured.control.stats().unwrap_or_default();
            let OfWorker { polls, frames, overlaps, dropped_because_of_gaps, traffic } = self.arrived.sum(captured.workers.clone());
            let (settings, _) = captured.in_force.get();
            Some(Input {
                device,
                backend: captured.backend,
                packets: frames,
                polls,
                matched: stats.matched(),
                lost: stats.lost,
                tcp_ports: settings.ports(Transport::Tcp),
                udp_ports: settings.ports(Transport::Udp),
                traffic,
                overlaps,
                dropped_because_of_gaps,
            })
        });
        Report {
            inputs: inputs.collect(),
            counters,
            output: Output {
                name: by.name,
                batch_size: by.batch_size.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX)),
                clients: by.senders,
                cluster_uuid: by.cluster_uuid.get(),
            },
            queue: if self.queue.stats().is_kept { "disk" } else { "mem" },
            latency: times.all,
            recent_latency: times.recent,
            histograms: self.histograms(),
            problem: self.problem(&state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_processors_dropped_are_in_the_sums() {
        let metrics = Metrics::default();
        for (name, total) in [
            ("dns.filtered", 3),
            ("flows.filtered", 2),
            ("libbeat.pipeline.events.filtered", 4),
            ("libbeat.pipeline.events.total", 10),
            ("libbeat.pipeline.events.published", 9),
        ] {
            metrics.set_total(0, name, total);
        }
        let mut snapshot = metrics.snapshot();
        add_filtered(&mut snapshot);
        let of = |name: &str| snapshot.totals[&format!("libbeat.pipeline.events.{name}")];
        assert_eq!((of("filtered"), of("total"), of("published")), (9, 19, 9));
    }
}

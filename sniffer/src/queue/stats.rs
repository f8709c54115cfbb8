//! The counters of a queue.

/// The counters of a queue, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records accepted.
    pub added: u64,
    /// Records dropped because the queue was full or closed.
    pub dropped: u64,
    /// Records handed out; a record that was given back counts again.
    pub consumed: u64,
    /// Records settled: delivered, or dropped by the output.
    pub settled: u64,
    /// Records held, including those handed out and not settled.
    pub events: usize,
    /// Bytes of the records held.
    pub bytes: usize,
    /// Maximum number of records that the queue holds.
    pub max_events: usize,
}

impl Stats {
    /// Calls `total` with name and value of each counter, and `gauge` with name and value of each gauge. The names are Packetbeat's.
    pub fn each(&self, mut total: impl FnMut(&'static str, u64), mut gauge: impl FnMut(&'static str, f64)) {
        total("libbeat.pipeline.events.published", self.added);
        total("libbeat.pipeline.events.total", self.added.saturating_add(self.dropped));
        total("libbeat.pipeline.events.dropped", self.dropped);
        total("libbeat.pipeline.queue.added.events", self.added);
        total("libbeat.pipeline.queue.consumed.events", self.consumed);
        total("libbeat.pipeline.queue.removed.events", self.settled);
        total("libbeat.pipeline.queue.acked", self.settled);
        gauge("libbeat.pipeline.events.active", self.events as f64);
        gauge("libbeat.pipeline.queue.filled.events", self.events as f64);
        gauge("libbeat.pipeline.queue.filled.bytes", self.bytes as f64);
        gauge("libbeat.pipeline.queue.filled.pct", self.events as f64 / self.max_events.max(1) as f64);
        gauge("libbeat.pipeline.queue.max_events", self.max_events as f64);
    }
}

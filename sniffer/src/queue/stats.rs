//! The counters of a queue.

/// The counters of a queue, and the queue's current content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records that were accepted, and records of an earlier run that were found. The number is the sum of `settled`, `missing` and
    /// `events`.
    pub added: u64,
    /// The number of records in `added` that are of an earlier run.
    pub restored: u64,
    /// Records dropped because the queue was full or closed.
    pub dropped: u64,
    /// Records handed out; a record that was given back counts again.
    pub consumed: u64,
    /// Records settled: delivered, or dropped by the output.
    pub settled: u64,
    /// Bytes of the records of `added`. What is not in `bytes` any more was removed.
    pub added_bytes: u64,
    /// Bytes of the records of `consumed`.
    pub consumed_bytes: u64,
    /// Records held, including those handed out and not settled.
    pub events: usize,
    /// Bytes of the records held.
    pub bytes: usize,
    /// Maximum number of records that the queue holds; 0 if it has no such limit.
    pub max_events: usize,
    /// Maximum number of bytes on disk; 0 if the queue is not on disk or has no limit.
    pub max_bytes: u64,
    /// Whether the next run of the program delivers the records that the queue holds at the end.
    pub is_kept: bool,
    /// Damaged parts of files that were put aside.
    pub damaged: u64,
    /// Records that could not be read from the disk.
    pub missing: u64,
    /// Failed writes to the disk.
    pub write_errors: u64,
}

impl Stats {
    /// Calls `total` with name and value of each counter, and `gauge` with name and value of each gauge. The names are Packetbeat's.
    pub fn each(&self, mut total: impl FnMut(&'static str, u64), mut gauge: impl FnMut(&'static str, f64)) {
        let published = self.added.saturating_sub(self.restored);
        total("libbeat.pipeline.events.published", published);
        total("libbeat.pipeline.events.total", published.saturating_add(self.dropped));
        total("libbeat.pipeline.events.dropped", self.dropped);
        total("libbeat.pipeline.queue.added.events", self.added);
        total("libbeat.pipeline.queue.added.bytes", self.added_bytes);
        total("libbeat.pipeline.queue.consumed.events", self.consumed);
        total("libbeat.pipeline.queue.consumed.bytes", self.consumed_bytes);
        total("libbeat.pipeline.queue.removed.events", self.settled);
        total("libbeat.pipeline.queue.removed.bytes", self.added_bytes.saturating_sub(self.bytes as u64));
        total("libbeat.pipeline.queue.acked", self.settled);
        gauge("libbeat.pipeline.events.active", self.events as f64);
        gauge("libbeat.pipeline.queue.filled.events", self.events as f64);
        gauge("libbeat.pipeline.queue.filled.bytes", self.bytes as f64);
        if self.max_events > 0 {
            gauge("libbeat.pipeline.queue.filled.pct", self.events as f64 / self.max_events as f64);
            gauge("libbeat.pipeline.queue.max_events", self.max_events as f64);
        }
        if self.max_bytes > 0 {
            gauge("libbeat.pipeline.queue.filled.pct", self.bytes as f64 / self.max_bytes as f64);
            gauge("libbeat.pipeline.queue.max_bytes", self.max_bytes as f64);
        }
        if self.is_kept {
            total("queue.disk.restored", self.restored);
            total("queue.disk.damaged", self.damaged);
            total("queue.disk.missing", self.missing);
            total("queue.disk.write_errors", self.write_errors);
        }
    }
}

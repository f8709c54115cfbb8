//! The queue in memory: bounded in events and in bytes, what is under way included. Not a channel: what was taken and not settled comes back.

use super::{Batch, Origin};
use crate::publish::Record;
use serde::Deserialize;
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// `queue.mem`
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Options {
    /// How many events are held, those under way included; at least 32.
    pub events: usize,
    /// How many bytes are held (ours). A megabyte body must not be allowed to count as one event only.
    pub bytes: usize,
    /// When a batch is handed out.
    pub flush: Flush,
}

/// `queue.mem.flush`
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Flush {
    /// This many events make a batch; 0 and 1: whatever is there.
    pub min_events: usize,
    /// The first event waits at most this long for others.
    #[serde(deserialize_with = "crate::config::duration::deserialize")]
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { events: 3200, bytes: 64 << 20, flush: Flush::default() }
    }
}

impl Default for Flush {
    fn default() -> Self {
        Self { min_events: 1600, timeout: Duration::from_secs(10) }
    }
}

/// What a record costs of the limit in bytes.
pub(crate) fn size(record: &Record) -> usize {
    record.body.len() + size_of::<Record>()
}

/// What the queue did so far, and holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records accepted.
    pub added: u64,
    /// Records that found it full, or closed.
    pub dropped: u64,
    /// Records handed out, again for those that came back.
    pub consumed: u64,
    /// Records settled: delivered or given up.
    pub settled: u64,
    /// Records held, those under way included.
    pub events: usize,
    /// Bytes held, likewise.
    pub bytes: usize,
    /// `events` of the options.
    pub max_events: usize,
}

impl Stats {
    /// Calls `total` with each name and its sum, and `gauge` with each name and its value of now: the names that operators know.
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

#[derive(Default)]
struct State {
    waiting: VecDeque<Record>,
    stats: Stats,
    /// Since when the first record waits; set by the consumer, so that pushing asks no clock.
    since: Option<Instant>,
    /// Somebody found it full: waiting for more events would be waiting for nothing.
    pressed: bool,
    /// How many waiting records the consumer that looked last calls enough.
    wake_at: usize,
    /// Producers asleep until there is room.
    sleepers: usize,
    closed: bool,
}

struct Shared {
    options: Options,
    state: Mutex<State>,
    room: Condvar,
    ready: Notify,
}

/// A queue of records in memory. Cheap to clone; all clones are the same queue.
#[derive(Clone)]
pub struct Queue(Arc<Shared>);

enum Taken {
    Batch(Vec<Record>),
    /// Nothing yet; look again then, or when woken.
    Nothing(Option<Instant>),
    Ended,
}

impl Queue {
    /// An empty queue.
    pub fn new(mut options: Options) -> Self {
        options.events = options.events.max(1);
        let state = State {
            wake_at: options.flush.min_events,
            stats: Stats { max_events: options.events, ..Stats::default() },
            ..State::default()
        };
        Self(Arc::new(Shared { options, state: Mutex::new(state), room: Condvar::new(), ready: Notify::new() }))
    }

    /// Adds records in their order; returns how many found no room. With `wait` it blocks until there is room for all of them, and
    /// only what is left when the queue is closed is dropped.
    pub fn push(&self, batch: Vec<Record>, wait: bool) -> usize {
        if batch.is_empty() {
            return 0;
        }
        let limits = &self.0.options;
        let mut records = batch.into_iter();
        let mut state = self.0.lock();
        loop {
            let before = state.waiting.len();
            while !state.closed
                && state.stats.events < limits.events
                && let Some(next) = records.as_slice().first()
                && (state.stats.events == 0 || state.stats.bytes.saturating_add(size(next)) <= limits.bytes)
                && let Some(record) = records.next()
            {
                state.stats.events += 1;
                state.stats.bytes = state.stats.bytes.saturating_add(size(&record));
                state.stats.added += 1;
                state.waiting.push_back(record);
            }
            let (after, full) = (state.waiting.len(), records.len() > 0);
            let pressed = full && !std::mem::replace(&mut state.pressed, full);
            // The first record starts the consumer's clock; enough of them, or a full queue, ends its wait. Nothing else is worth a wake-up.
            if (before == 0 && after > 0) || (before < state.wake_at && after >= state.wake_at) || pressed {
                self.0.ready.notify_one();
            }
            if !full || !wait || state.closed {
                let dropped = records.len();
                state.stats.dropped += dropped as u64;
                return dropped;
            }
            state.sleepers += 1;
            state = self.0.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.sleepers -= 1;
        }
    }

    /// The next records, at most `max` of them; `None` when the queue is closed and everything in it is settled.
    pub async fn next(&self, max: usize) -> Option<Batch> {
        loop {
            let woken = self.0.ready.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            match self.0.take(max.max(1)) {
                Taken::Batch(records) => return Some(Batch { records, origin: Box::new(Held(self.0.clone())) }),
                Taken::Ended => return None,
                Taken::Nothing(None) => woken.await,
                Taken::Nothing(Some(at)) => {
                    tokio::select! { () = woken => {} () = tokio::time::sleep_until(at) => {} }
                }
            }
        }
    }

    /// Ends when the queue is closed and everything in it is settled.
    pub async fn finished(&self) {
        loop {
            let woken = self.0.ready.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            {
                let state = self.0.lock();
                if state.closed && state.stats.events == 0 {
                    return;
                }
            }
            woken.await;
        }
    }

    /// Takes no more records; what is there is handed out at once, and then [`Queue::next`] ends.
    pub fn close(&self) {
        self.0.lock().closed = true;
        self.0.room.notify_all();
        self.0.ready.notify_waiters();
        self.0.ready.notify_one();
    }

    /// Hands out what is there without waiting for more.
    pub fn flush(&self) {
        self.0.lock().pressed = true;
        self.0.ready.notify_one();
    }

    /// What it did and what it holds.
    pub fn stats(&self) -> Stats {
        self.0.lock().stats
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock can panic half way; a poisoned one is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, max: usize) -> Taken {
        let mut state = self.lock();
        let waiting = state.waiting.len();
        if waiting == 0 {
            state.pressed = false;
            state.since = None;
            // Not the end while another holds a batch: it may come back.
            return if state.closed && state.stats.events == 0 { Taken::Ended } else { Taken::Nothing(None) };
        }
        let enough = self.options.flush.min_events.min(self.options.events).min(max);
        state.wake_at = enough;
        if waiting < enough && !state.pressed && !state.closed && !self.options.flush.timeout.is_zero() {
            let now = Instant::now();
            let until = *state.since.get_or_insert(now) + self.options.flush.timeout;
            if now < until {
                return Taken::Nothing(Some(until));
            }
        }
        let count = waiting.min(max);
        let records: Vec<Record> = state.waiting.drain(..count).collect();
        state.stats.consumed += count as u64;
        state.since = None;
        if state.waiting.is_empty() {
            state.pressed = false;
        } else {
            // There may be enough for somebody else; if not, that one starts the clock for the rest.
            self.ready.notify_one();
        }
        Taken::Batch(records)
    }
}

/// The queue's hold on a batch that is under way.
struct Held(Arc<Shared>);

impl Origin for Held {
    fn settled(&self, records: usize, bytes: usize) {
        let mut state = self.0.lock();
        state.stats.events = state.stats.events.saturating_sub(records);
        state.stats.bytes = state.stats.bytes.saturating_sub(bytes);
        state.stats.settled += records as u64;
        let (sleepers, ended) = (state.sleepers, state.closed && state.stats.events == 0);
        drop(state);
        if sleepers > 0 {
            self.0.room.notify_all();
        }
        if ended {
            self.0.ready.notify_waiters();
        }
    }

    fn give_back(&self, records: Vec<Record>) {
        let mut state = self.0.lock();
        state.pressed = true;
        for record in records.into_iter().rev() {
            state.waiting.push_front(record);
        }
        drop(state);
        self.0.ready.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Fate, *};

    fn records(from: u32, to: u32) -> Vec<Record> {
        (from..to).map(|n| Record { body: n.to_string().into_bytes().into(), ..Record::default() }).collect()
    }

    fn bodies(batch: &Batch) -> Vec<u32> {
        batch.records().iter().map(|r| std::str::from_utf8(&r.body).unwrap().parse().unwrap()).collect()
    }

    fn queue(events: usize, min_events: usize, timeout: u64) -> Queue {
        Queue::new(Options { events, bytes: 1 << 20, flush: Flush { min_events, timeout: Duration::from_millis(timeout) } })
    }

    #[tokio::test]
    async fn a_dropped_batch_comes_back_in_front() {
        let queue = queue(100, 1, 1000);
        assert_eq!(queue.push(records(0, 10), false), 0);
        let mut batch = queue.next(4).await.unwrap();
        assert_eq!(bodies(&batch), [0, 1, 2, 3]);
        batch.settle(&[Fate::Delivered, Fate::Retry(String::new()), Fate::Rejected(String::new()), Fate::Later(String::new())]);
        assert_eq!(bodies(&batch), [1, 3]);
        drop(batch);
        assert_eq!(bodies(&queue.next(4).await.unwrap()), [1, 3, 4, 5]);
        let stats = queue.stats();
        assert_eq!((stats.added, stats.settled, stats.events), (10, 2, 8));
    }

    #[tokio::test]
    async fn full_in_events_or_bytes_is_full() {
        let queue = queue(5, 1, 1000);
        assert_eq!(queue.push(records(0, 8), false), 3);
        let mut batch = queue.next(5).await.unwrap();
        assert_eq!(queue.push(records(8, 9), false), 1, "what is under way counts");
        batch.settle_all();
        assert_eq!(queue.push(records(8, 9), false), 0);

        let small = Queue::new(Options { bytes: 3 * (size_of::<Record>() + 1), ..Options::default() });
        assert_eq!(small.push(records(0, 5), false), 2);
        let giant = Record { body: vec![b'x'; 1 << 12].into(), ..Record::default() };
        let empty = Queue::new(Options { bytes: 100, ..Options::default() });
        assert_eq!(empty.push(vec![giant], false), 0, "one that is larger than the limit goes alone");
    }

    #[tokio::test]
    async fn batches_wait_for_events_or_time() {
        let queue = queue(100, 10, 100);
        queue.push(records(0, 3), false);
        let start = Instant::now();
        let mut batch = queue.next(50).await.unwrap();
        assert_eq!(bodies(&batch), [0, 1, 2]);
        assert!(start.elapsed().as_millis() >= 100, "{:?}", start.elapsed());
        batch.settle_all();

        let queue = self::queue(100, 10, 60_000);
        let other = queue.clone();
        let waiting = tokio::spawn(async move { other.next(50).await.map(|b| b.records().len()) });
        for step in 0..5 {
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished(), "after {step} steps");
            queue.push(records(0, 2), false);
        }
        assert_eq!(waiting.await.unwrap(), Some(10));
    }

    #[tokio::test]
    async fn a_file_waits_and_the_end_is_after_the_last_settled() {
        let queue = queue(3, 2, 10_000);
        let producer = std::thread::spawn({
            let queue = queue.clone();
            move || {
                let dropped = queue.push(records(0, 10), true);
                queue.close();
                dropped
            }
        });
        let mut seen = Vec::new();
        while let Some(mut batch) = queue.next(2).await {
            seen.extend(bodies(&batch));
            batch.settle_all();
        }
        assert_eq!(producer.join().unwrap(), 0);
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        assert_eq!(queue.push(records(0, 1), true), 1, "closed");
    }

    #[tokio::test]
    async fn nobody_ends_while_another_holds_a_batch() {
        let queue = queue(10, 1, 1000);
        queue.push(records(0, 2), false);
        let held = queue.next(2).await.unwrap();
        queue.close();
        let other = queue.clone();
        let waiting = tokio::spawn(async move {
            let mut batch = other.next(2).await.unwrap();
            let seen = bodies(&batch);
            batch.settle_all();
            (seen, other.next(2).await.is_none())
        });
        tokio::task::yield_now().await;
        drop(held);
        assert_eq!(waiting.await.unwrap(), (vec![0, 1], true));
    }
}

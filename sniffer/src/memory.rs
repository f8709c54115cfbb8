//! The limit of the memory that traffic can make the process hold (`memory.max`), and its division: a part for the queue, a part for the
//! output, and an equal share for each worker. Within its share a worker decides what it evicts (`stream`, `engine`, `flow`). The rings of
//! live capture are not included; `buffer_size_mb` limits them.

use crate::config::{self, Node};
use serde::Deserialize;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// `memory.max` in bytes if the configuration does not set it, for up to four workers.
const DEFAULT: usize = 256_000_000;
/// The default of `memory.max` per worker in bytes, if there are more than four workers.
const PER_WORKER: usize = 64_000_000;
/// The smallest allowed `memory.max`. A smaller limit could not hold a single message of ten megabytes.
const LEAST: u64 = 32_000_000;

/// The settings `memory`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `memory.max` in bytes. `None` means the default, which depends on the number of workers.
    pub max: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Given {
    #[serde(deserialize_with = "optional_size")]
    max: Option<u64>,
}

fn optional_size<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    config::bytes::deserialize(deserializer).map(Some)
}

impl Options {
    /// Reads `memory` from the top level of the configuration.
    ///
    /// # Errors
    /// When `memory.max` is not a size or is too small; the error names file, line and key.
    pub fn read(root: &Node) -> Result<Self, config::Error> {
        let node = root.get("memory");
        if node.is_null() {
            return Ok(Self::default());
        }
        let given: Given = node.read()?;
        if let Some(max) = given.max.filter(|max| *max < LEAST) {
            return Err(node.get("max").error(format!("memory.max: {max} bytes are too few, the minimum is {}MB", LEAST / 1_000_000)));
        }
        Ok(Self { max: given.max.map(|max| usize::try_from(max).unwrap_or(usize::MAX)) })
    }

    /// Divides the budget among `workers`, the output, and the queue, which asks for `queue` bytes.
    pub fn divide(&self, workers: usize, queue: usize) -> Division {
        let workers = workers.max(1);
        let max = self.max.unwrap_or_else(|| DEFAULT.max(workers.saturating_mul(PER_WORKER)));
        let queue = queue.min(max / 10 * 3);
        // A batch that is being sent is counted in the queue. The output makes a request body of it, possibly compressed, which is about as
        // large. Several senders may do so at the same time.
        let batch = (queue / 16).max(64 << 10);
        let output = (4 * batch).min(max / 8);
        let worker = max.saturating_sub(queue + output) / workers;
        Division { max, queue, batch, worker: Share { bytes: worker, warned: Arc::default() } }
    }
}

/// The parts of the budget.
#[derive(Clone, Debug)]
pub struct Division {
    /// The whole budget in bytes.
    pub max: usize,
    /// Bytes of the records that the queue holds, including those that are being sent.
    pub queue: usize,
    /// Bytes of the records that a sender of the output gets at once.
    pub batch: usize,
    /// The share of each worker.
    pub worker: Share,
}

/// The kinds of objects that are evicted. The first eviction of each kind is logged as a warning, and all evictions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection with packets of only one side, or without data.
    HalfOpen,
    /// A connection with data.
    Connection,
    /// An idle connection whose parser has state that a new parser could not learn from later packets (prepared statements).
    Remembered,
    /// A request in a datagram that waits for its response.
    Datagram,
    /// A datagram of which fragments are missing.
    Fragments,
    /// A flow that is counted and not yet reported for the last time.
    Flow,
    /// A document that is larger than the share allows.
    Document,
}

/// The share of one worker. Clones of a share have common warnings: each warning is logged once.
#[derive(Clone, Debug)]
pub struct Share {
    bytes: usize,
    /// Which warnings were logged: a bit for each [`Kind`].
    warned: Arc<AtomicU32>,
}

impl Default for Share {
    /// Returns the share of a single worker with a queue of 64 MiB.
    fn default() -> Self {
        Options::default().divide(1, 64 << 20).worker
    }
}

impl Share {
    /// Makes a share of this number of bytes.
    pub fn new(bytes: usize) -> Self {
        Self { bytes, warned: Arc::default() }
    }

    /// Bytes for connections, parsers, plugins, fragments and flows together. The rest of the share is for the document that is being
    /// written and the batch that is not yet in the queue.
    pub fn state(&self) -> usize {
        self.bytes / 4 * 3
    }

    /// Bytes for flows: at most half of [`Share::state`], so that a flood of flows leaves room for connections.
    pub fn flows(&self) -> usize {
        self.state() / 2
    }

    /// Maximum number of bytes of the datagrams that are reassembled from fragments.
    pub fn fragments(&self) -> usize {
        (self.state() / 16).min(8 << 20)
    }

    /// Number of bytes that plugins may always hold. When memory must be freed, plugins that hold more evict data before connections are evicted.
    pub fn plugins(&self) -> usize {
        self.state() / 8
    }

    /// Maximum number of bytes of one document.
    pub fn document(&self) -> usize {
        (self.bytes / 5).min(32 << 20)
    }

    /// Number of bytes at which a batch is handed to the queue, even if it has fewer records than a full batch. Larger batches are not
    /// faster.
    pub fn batch(&self) -> usize {
        (self.bytes / 64).min(128 << 10)
    }

    /// Logs a warning if this is the first eviction of this kind in the process.
    pub fn warn_once(&self, kind: Kind) {
        let bit = 1 << kind as u32;
        if self.warned.load(Ordering::Relaxed) & bit == 0 && self.warned.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            log::warn!("{}", warning(kind));
        }
    }
}

fn warning(kind: Kind) -> &'static str {
    match kind {
        Kind::HalfOpen => {
            "Too many connections of which one side or no data was seen: those silent longest are evicted (counter tcp.evicted_half_open)"
        }
        Kind::Connection => {
            "Connections hold more than their part of memory.max, or are too many: those silent longest are evicted (counter tcp.evicted)"
        }
        Kind::Remembered => {
            "Too many idle connections with prepared statements: those silent longest are forgotten (counter tcp.evicted_remembered)"
        }
        Kind::Datagram => {
            "Requests in datagrams hold more than their part of memory.max: the oldest are reported as unanswered (counter plugins.evicted)"
        }
        Kind::Fragments => "Too many fragments: the oldest datagrams are given up (counter decode.fragments_evicted)",
        Kind::Flow => "Too many flows: those idle longest are reported as ended (counter flows.evicted)",
        Kind::Document => {
            "A document is larger than memory.max allows and is dropped (counter too_large of its protocol); raise memory.max"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_grows_with_the_workers() {
        let of = |workers| Options::default().divide(workers, 64 << 20).max;
        assert_eq!([1, 2, 4, 5, 16].map(of), [256_000_000, 256_000_000, 256_000_000, 320_000_000, 1_024_000_000]);
    }

    #[test]
    fn the_parts_never_exceed_the_whole() {
        for max in [32_000_000, 100_000_000, 256_000_000, 4_000_000_000_usize] {
            for workers in [0, 1, 2, 7, 64, 256] {
                for queue in [0, 1 << 20, 64 << 20, usize::MAX] {
                    let d = Options { max: Some(max) }.divide(workers, queue);
                    let share = &d.worker;
                    let worker = share.state() + share.document() + share.batch();
                    assert!(worker <= share.bytes, "{d:?}");
                    assert!(share.bytes * workers.max(1) + d.queue <= max, "{d:?} of {max} for {workers}");
                    assert!(share.flows() + share.fragments() + share.plugins() < share.state(), "{d:?}");
                }
            }
        }
    }

    #[test]
    fn reads_memory_max() {
        let read = |config: &str| Options::read(&Node::parse(config).unwrap()).map_err(|e| e.to_string());
        assert_eq!(read("{}"), Ok(Options::default()));
        assert_eq!(read("memory.max: 1GiB"), Ok(Options { max: Some(1 << 30) }));
        let error = read("memory.max: 1MB").unwrap_err();
        assert!(error.contains("memory.max") && error.contains("32MB"), "{error}");
    }

    #[test]
    fn every_kind_has_its_own_warning() {
        use Kind::*;
        let kinds = [HalfOpen, Connection, Remembered, Datagram, Fragments, Flow, Document];
        let share = Share::new(1);
        for (i, kind) in kinds.into_iter().enumerate() {
            share.warn_once(kind);
            share.clone().warn_once(kind);
            assert_eq!(share.warned.load(Ordering::Relaxed), (2 << i) - 1);
        }
        assert!(kinds.iter().all(|a| kinds.iter().filter(|b| warning(**b) == warning(*a)).count() == 1));
    }
}

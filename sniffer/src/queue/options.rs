//! The settings `queue.*`, at the top level of the configuration or below the output.

use super::DiskOptions;
use crate::config::{self, Node, Paths};
use serde::Deserialize;
use std::time::Duration;

/// The kinds of queues. Packetbeat removed `queue.spool` in version 8.
const KINDS: &[&str] = &["mem", "disk"];
/// The smallest `queue.mem.events` that Packetbeat accepts.
const FEWEST_EVENTS: usize = 32;

/// The settings of the queue. All except `disk` are those of `queue.mem`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Maximum number of events that the queue holds, including those handed out and not settled.
    pub events: usize,
    /// Maximum number of bytes that the queue holds, including events handed out and not settled. Packetbeat does not have this setting; it
    /// bounds memory when events have bodies of a megabyte.
    pub bytes: usize,
    /// Maximum number of bytes that are handed out at once, unless a single event is larger. The value is derived from `bytes`.
    pub batch_bytes: usize,
    /// When the queue hands out a batch.
    pub flush: Flush,
    /// `queue.disk`, if that is the configured queue.
    pub disk: Option<DiskOptions>,
}

/// The settings `queue.mem.flush`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flush {
    /// The queue waits until it has this many events. With 0 or 1 it hands out every event at once.
    pub min_events: usize,
    /// The longest time that the first event waits for further events.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { events: 3200, bytes: 64 << 20, batch_bytes: 4 << 20, flush: Flush::default(), disk: None }
    }
}

impl Default for Flush {
    fn default() -> Self {
        Self { min_events: 1600, timeout: Duration::from_secs(10) }
    }
}

impl Options {
    /// The section `queue`: the one below the output if there is one, otherwise that of the top level.
    pub fn settings(root: &Node, output: &Node) -> Node {
        let below = output.get("queue");
        if below.is_unset() { root.get("queue") } else { below }
    }

    /// Reads `queue` at the top level or below `output`. `defaults` has the output's values for missing keys of `queue.mem`.
    ///
    /// # Errors
    /// When a value is invalid, or more than one queue is configured; the error names file, line and key.
    pub fn read(root: &Node, output: &Node, defaults: Self, paths: &Paths) -> Result<Self, config::Error> {
        let (top, below) = (root.get("queue"), output.get("queue"));
        let queue = Self::settings(root, output);
        if !top.is_unset() && !below.is_unset() {
            return Err(below.error(format!(
                "top level queue and output level queue settings defined, only one is allowed; the other one is `queue` ({})",
                top.place()
            )));
        }
        let kinds = queue.keys();
        if let Some((name, node)) = kinds.iter().find(|(name, _)| !KINDS.contains(&name.as_str())) {
            return Err(node.error(format!("unrecognized queue type '{name}'; there are {}", KINDS.join(", "))));
        }
        if let [_, .., (_, last)] = kinds.as_slice() {
            let names: Vec<String> = kinds.iter().map(|(name, node)| format!("{name} ({})", node.place())).collect();
            return Err(last.error(format!("more than one namespace configured accessing 'queue': {}; keep one", names.join(", "))));
        }
        let is_enabled = |node: &Node| node.get("enabled").read::<Option<bool>>().map(|enabled| enabled != Some(false));
        let disk = queue.get("disk");
        if kinds.iter().any(|(name, _)| name == "disk") && is_enabled(&disk)? {
            return Ok(Self { disk: Some(DiskOptions::read(&disk, paths)?), ..defaults });
        }
        let node = queue.get("mem");
        if node.is_null() || !is_enabled(&node)? {
            return Ok(defaults);
        }
        let given: Given = node.read()?;
        let events = given.events.unwrap_or(defaults.events);
        if events < FEWEST_EVENTS {
            return Err(node.error(format!("events: {events} is less than {FEWEST_EVENTS}")));
        }
        let bytes = given.bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(defaults.bytes);
        Ok(Self {
            events,
            bytes,
            batch_bytes: bytes / 16,
            disk: None,
            flush: Flush {
                min_events: given.flush.min_events.unwrap_or(defaults.flush.min_events).min(events),
                timeout: given.flush.timeout.unwrap_or(defaults.flush.timeout),
            },
        })
    }
}

/// `queue.mem` as written in the configuration; `None` for a missing key.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Given {
    events: Option<usize>,
    #[serde(deserialize_with = "optional_size")]
    bytes: Option<u64>,
    flush: GivenFlush,
}

/// `queue.mem.flush` as written in the configuration; `None` for a missing key.
#[derive(Deserialize, Default)]
#[serde(default)]
struct GivenFlush {
    min_events: Option<usize>,
    #[serde(deserialize_with = "config::duration_option::deserialize")]
    timeout: Option<Duration>,
}

fn optional_size<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    config::bytes::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str) -> Result<Options, String> {
        let root = Node::parse(config).unwrap();
        Options::read(&root, &root.get("output.x"), Options::default(), &Paths::below("/h".as_ref())).map_err(|e| e.to_string())
    }

    #[test]
    fn at_the_top_level_or_below_the_output() {
        assert_eq!(read("output: {x: {}}"), Ok(Options::default()));
        let options = read("{output: {x: {}}, queue: {mem: {events: 64, bytes: 1MiB, flush: {timeout: 1s}}}}").unwrap();
        let flush = Flush { min_events: 64, timeout: Duration::from_secs(1) };
        assert_eq!(options, Options { events: 64, bytes: 1 << 20, batch_bytes: 1 << 16, flush, disk: None });
        let options = read("output: {x: {queue: {mem: {events: 5000, flush.min_events: 7}}}}").unwrap();
        let flush = Flush { min_events: 7, ..Flush::default() };
        assert_eq!(options, Options { events: 5000, flush, ..Options::default() });
        let error = read("queue: {mem: {events: 31}}").unwrap_err();
        assert!(error.contains("events: 31 is less than 32"), "{error}");
    }

    #[test]
    fn disk_queue() {
        let disk = |config: &str| read(config).map(|options| options.disk);
        let options = disk("queue.disk.max_size: 1GB").unwrap().unwrap();
        assert_eq!(options.path, std::path::Path::new("/h/data/diskqueue"));
        assert_eq!((options.max_size, options.segment_size, options.read_ahead), (1_000_000_000, 64 << 20, 512));
        let options = disk("output.x.queue.disk: {max_size: 10MB, path: /q, read_ahead: 7, retry_interval: 2s}").unwrap().unwrap();
        assert_eq!((options.path.to_str(), options.segment_size, options.read_ahead), (Some("/q"), 1_000_000, 7));
        assert_eq!(disk("queue.disk: {enabled: false}"), Ok(None));
        for (config, expected) in [
            ("queue.disk.path: /x", "queue.disk: max_size is missing"),
            ("queue.disk.max_size: 5MB", "max_size (5000000) cannot be less than 10MB"),
            ("queue.disk: {max_size: 10MB, segment_size: 1KB}", "segment_size (1000) cannot be less than 1MB"),
            ("queue.disk: {max_size: 10MB, segment_size: 6MB}", "at least twice as big as segment_size"),
            ("{queue.disk.max_size: 10MB, output.x.queue.disk.max_size: 20MB}", "only one is allowed"),
            ("{queue.mem.events: 64, output.x.queue.disk.max_size: 20MB}", "only one is allowed"),
            ("output.x.queue: {mem.events: 64, disk.max_size: 20MB}", "more than one namespace configured"),
            ("output.x.queue.spool: {}", "unrecognized queue type 'spool'"),
        ] {
            let error = read(config).unwrap_err();
            assert!(error.contains(expected), "{config}: {error}");
        }
    }
}

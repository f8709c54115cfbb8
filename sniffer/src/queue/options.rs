//! The settings `queue.*`, at the top level of the configuration or below the output.

use crate::config::{self, Node};
use serde::Deserialize;
use std::time::Duration;

/// The smallest `queue.mem.events` that Packetbeat accepts.
const FEWEST_EVENTS: usize = 32;

/// `queue.mem`
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
}

/// `queue.mem.flush`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flush {
    /// The queue waits until it has this many events. With 0 or 1 it hands out every event at once.
    pub min_events: usize,
    /// The longest time that the first event waits for further events.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { events: 3200, bytes: 64 << 20, batch_bytes: 4 << 20, flush: Flush::default() }
    }
}

impl Default for Flush {
    fn default() -> Self {
        Self { min_events: 1600, timeout: Duration::from_secs(10) }
    }
}

impl Options {
    /// Reads `queue.mem` at the top level, or else below `output`. `defaults` has the output's values for missing keys.
    ///
    /// # Errors
    /// When a value is invalid; the error names file, line and key.
    pub fn read(root: &Node, output: &Node, defaults: Self) -> Result<Self, config::Error> {
        let Some(node) = [root, output].iter().map(|node| node.get("queue.mem")).find(|node| !node.is_null()) else { return Ok(defaults) };
        let given: Given = node.read()?;
        let events = given.events.unwrap_or(defaults.events);
        if events < FEWEST_EVENTS {
            return Err(node.error(format!("queue.mem.events: {events} is less than {FEWEST_EVENTS}")));
        }
        let bytes = given.bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(defaults.bytes);
        Ok(Self {
            events,
            bytes,
            batch_bytes: bytes / 16,
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
    #[serde(deserialize_with = "some_bytes")]
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

fn some_bytes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    config::bytes::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str) -> Result<Options, String> {
        let root = Node::parse(config).unwrap();
        Options::read(&root, &root.get("output.x"), Options::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn precedence_is_top_level_then_output_section_then_defaults() {
        assert_eq!(read("output: {x: {}}"), Ok(Options::default()));
        let options =
            read("{output: {x: {queue: {mem: {events: 99}}}}, queue: {mem: {events: 64, bytes: 1MiB, flush: {timeout: 1s}}}}").unwrap();
        let flush = Flush { min_events: 64, timeout: Duration::from_secs(1) };
        assert_eq!(options, Options { events: 64, bytes: 1 << 20, batch_bytes: 1 << 16, flush });
        let options = read("output: {x: {queue: {mem: {events: 5000, flush.min_events: 7}}}}").unwrap();
        let flush = Flush { min_events: 7, ..Flush::default() };
        assert_eq!(options, Options { events: 5000, flush, ..Options::default() });
        let error = read("queue: {mem: {events: 31}}").unwrap_err();
        assert!(error.contains("queue.mem.events: 31 is less than 32"), "{error}");
    }
}

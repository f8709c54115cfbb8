//! The settings `queue.disk`.

use crate::config::{self, Node, Paths};
use serde::Deserialize;
use std::{path::PathBuf, time::Duration};

/// The smallest `max_size` and `segment_size` that Packetbeat accepts.
const LEAST_SIZE: u64 = 10_000_000;
const LEAST_SEGMENT: u64 = 1_000_000;
/// Segments have at most this size, because the last segment is read at the start.
const MOST_SEGMENT: u64 = 64 << 20;

/// `queue.disk`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The folder of the queue.
    pub path: PathBuf,
    /// Maximum number of bytes on disk; 0: no limit.
    pub max_size: u64,
    /// Size of a segment in bytes. A segment of this size gets no more records.
    pub segment_size: u64,
    /// Maximum number of events that are handed out and not settled.
    pub read_ahead: usize,
    /// Maximum number of bytes of these events, unless a single event is larger. A part of `memory.max`.
    pub read_ahead_bytes: usize,
    /// Maximum number of bytes that are handed out at once, unless a single event is larger.
    pub batch_bytes: usize,
    /// The wait after a failed write. It doubles up to `max_retry_interval`.
    pub retry_interval: Duration,
    /// The longest wait after a failed write.
    pub max_retry_interval: Duration,
}

#[derive(Deserialize)]
#[serde(default)]
struct Given {
    #[serde(rename = "enabled")]
    _enabled: bool,
    path: Option<PathBuf>,
    #[serde(deserialize_with = "optional_size")]
    max_size: Option<u64>,
    #[serde(deserialize_with = "optional_size")]
    segment_size: Option<u64>,
    read_ahead: usize,
    /// The setting is accepted without effect: records are written when they are pushed, so none waits to be written.
    #[serde(rename = "write_ahead")]
    _write_ahead: usize,
    #[serde(with = "config::duration")]
    retry_interval: Duration,
    #[serde(with = "config::duration")]
    max_retry_interval: Duration,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            _enabled: true,
            path: None,
            max_size: None,
            segment_size: None,
            read_ahead: 512,
            _write_ahead: 2048,
            retry_interval: Duration::from_secs(1),
            max_retry_interval: Duration::from_secs(30),
        }
    }
}

fn optional_size<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    config::bytes::deserialize(deserializer).map(Some)
}

impl Options {
    /// Reads the settings.
    ///
    /// # Errors
    /// When a value is invalid; the error names file, line and key.
    pub(in crate::queue) fn read(node: &Node, paths: &Paths) -> Result<Self, config::Error> {
        let given: Given = node.read()?;
        let Some(max_size) = given.max_size else {
            return Err(
                node.error("max_size is missing; set the number of bytes that the queue may use on disk, for example `max_size: 10GB`")
            );
        };
        if max_size > 0 && max_size < LEAST_SIZE {
            return Err(node.get("max_size").error(format!("max_size ({max_size}) cannot be less than 10MB")));
        }
        if let Some(segment) = given.segment_size {
            let at = node.get("segment_size");
            if segment < LEAST_SEGMENT {
                return Err(at.error(format!("segment_size ({segment}) cannot be less than 1MB")));
            }
            if max_size > 0 && max_size / 2 < segment {
                return Err(at.error("max_size must be at least twice as big as segment_size"));
            }
        }
        let usual = if max_size == 0 { MOST_SEGMENT } else { max_size / 10 };
        Ok(Self {
            path: given.path.unwrap_or_else(|| paths.data.join("diskqueue")),
            max_size,
            segment_size: given.segment_size.unwrap_or(usual).clamp(LEAST_SEGMENT, MOST_SEGMENT),
            read_ahead: given.read_ahead.max(1),
            read_ahead_bytes: 64 << 20,
            batch_bytes: 4 << 20,
            retry_interval: given.retry_interval,
            max_retry_interval: given.max_retry_interval,
        })
    }
}

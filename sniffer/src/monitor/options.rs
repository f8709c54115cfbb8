//! Whether and how often the counters are written to the log.

use crate::config;
use serde::Deserialize;
use std::time::Duration;

/// The settings `logging.metrics`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Options {
    /// Whether reports are written.
    pub enabled: bool,
    /// Time between reports.
    #[serde(deserialize_with = "config::duration::deserialize")]
    pub period: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { enabled: true, period: Duration::from_secs(30) }
    }
}

//! The counters in the log: every so often what changed, and everything at the end.

use super::{Metrics, Snapshot, log::Logger};
use crate::config;
use serde::Deserialize;
use std::time::{Duration, Instant};

/// `logging.metrics`
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Options {
    /// Whether anything is written.
    pub enabled: bool,
    /// How often.
    #[serde(deserialize_with = "config::duration::deserialize")]
    pub period: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { enabled: true, period: Duration::from_secs(30) }
    }
}

/// Writes the counters to the log; driven by whoever has a clock.
pub struct Reporter {
    metrics: Metrics,
    logger: Logger,
    options: Options,
    start: Instant,
    last: Snapshot,
    due: Instant,
}

impl Reporter {
    /// The first report is due one period after `now`; the period is the logger's.
    pub fn new(metrics: Metrics, logger: Logger, now: Instant) -> Self {
        let options = logger.metrics();
        let due = now + options.period;
        Self { metrics, logger, options, start: now, last: Snapshot::default(), due }
    }

    /// When the next report is due; `None` when there are none.
    pub fn due(&self) -> Option<Instant> {
        (self.options.enabled && !self.options.period.is_zero()).then_some(self.due)
    }

    /// Writes what changed since the last report, if it is time.
    pub fn tick(&mut self, now: Instant) {
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        // A machine that slept does not get the reports it missed.
        self.due = (self.due + self.options.period).max(now);
        let snapshot = self.metrics.snapshot();
        let changed = snapshot.since(&self.last);
        let seconds = self.options.period.as_secs_f64();
        let message = match changed.totals.is_empty() {
            true => format!("No non-zero metrics in the last {seconds}s"),
            false => format!("Non-zero metrics in the last {seconds}s"),
        };
        self.write(&message, &changed);
        self.last = snapshot;
    }

    /// The totals and how long it ran.
    pub fn finish(&self, now: Instant) {
        if !self.options.enabled {
            return;
        }
        self.write("Total metrics", &self.metrics.snapshot());
        self.logger.write(log::Level::Info, "monitoring", &format!("Uptime: {:.3}s", now.duration_since(self.start).as_secs_f64()), None);
    }

    fn write(&self, message: &str, metrics: &Snapshot) {
        let tree = serde_json::json!({"monitoring": {"metrics": metrics.tree()}});
        self.logger.write(log::Level::Info, "monitoring", message, tree.as_object());
    }
}

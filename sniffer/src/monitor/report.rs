//! Writes the counters to the log: periodically the changes, and at the end all totals.

use super::{ReportOptions as Options, Snapshot, log::Logger};
use std::time::Instant;

/// Writes the counters to the log. It reads no clock: the caller passes the time.
pub struct Reporter {
    logger: Logger,
    options: Options,
    start: Instant,
    last: Snapshot,
    due: Instant,
}

impl Reporter {
    /// Makes a reporter whose first report is due one period after `now`. The period is in the logger's settings.
    pub fn new(logger: Logger, now: Instant) -> Self {
        let options = logger.metrics();
        let due = now + options.period;
        Self { logger, options, start: now, last: Snapshot::default(), due }
    }

    /// When the next report is due; `None` if reports are off.
    pub fn due(&self) -> Option<Instant> {
        (self.options.enabled && !self.options.period.is_zero()).then_some(self.due)
    }

    /// Writes the changes since the last report, if a report is due at `now`. `counters`: the counters now.
    pub fn tick(&mut self, counters: &Snapshot, now: Instant) {
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        // After a suspension of the machine, missed reports are not written.
        self.due = (self.due + self.options.period).max(now);
        let changed = counters.since(&self.last);
        let seconds = self.options.period.as_secs_f64();
        let message = match changed.totals.is_empty() {
            true => format!("No non-zero metrics in the last {seconds}s"),
            false => format!("Non-zero metrics in the last {seconds}s"),
        };
        self.write(&message, &changed);
        self.last = counters.clone();
    }

    /// Writes all totals and the uptime.
    pub fn finish(&self, counters: &Snapshot, now: Instant) {
        if !self.options.enabled {
            return;
        }
        self.write("Total metrics", counters);
        self.logger.write(log::Level::Info, "monitoring", &format!("Uptime: {:.3}s", now.duration_since(self.start).as_secs_f64()), None);
    }

    fn write(&self, message: &str, metrics: &Snapshot) {
        let tree = serde_json::json!({"monitoring": {"metrics": metrics.tree()}});
        self.logger.write(log::Level::Info, "monitoring", message, tree.as_object());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Node,
        monitor::{Metrics, log::CommandLine},
    };
    use std::time::Duration;

    #[test]
    fn reports_have_the_changes_and_the_last_one_all_totals() {
        let folder = std::env::temp_dir().join(format!("sniffer-report-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let logger = Logger::open(
            &Node::parse("{metrics: {period: 10s}}").unwrap(),
            &CommandLine { folder: folder.clone(), ..CommandLine::default() },
        );
        let (metrics, start) = (Metrics::default(), Instant::now());
        let mut reporter = Reporter::new(logger.unwrap(), start);
        for (second, count) in [(9, 1), (10, 5), (19, 6), (20, 8), (30, 8)] {
            metrics.set_total(0, "packets.seen", count);
            reporter.tick(&metrics.snapshot(), start + Duration::from_secs(second));
        }
        reporter.finish(&metrics.snapshot(), start + Duration::from_secs(31));
        let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
        let lines: Vec<(String, serde_json::Value)> = std::fs::read_to_string(file)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|v| {
                (v["message"].as_str().unwrap().to_owned(), v.pointer("/monitoring/metrics/packets/seen").cloned().unwrap_or_default())
            })
            .collect();
        let expected = [
            ("Non-zero metrics in the last 10s", 5.into()),
            ("Non-zero metrics in the last 10s", 3.into()),
            ("No non-zero metrics in the last 10s", serde_json::Value::Null),
            ("Total metrics", 8.into()),
            ("Uptime: 31.000s", serde_json::Value::Null),
        ];
        assert_eq!(lines, expected.map(|(message, n)| (message.to_owned(), n)));
        let _ = std::fs::remove_dir_all(folder);
    }
}

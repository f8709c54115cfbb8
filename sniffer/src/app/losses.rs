//! Creates warnings while events or packets are lost, and a summary of all losses at the end of the program.

use crate::monitor::Snapshot;
use std::time::{Duration, Instant};

/// Minimum time between two warnings about the same counter.
const REPEAT: Duration = Duration::from_secs(10);

/// State of the warnings about lost events and lost packets.
pub struct Losses {
    events: Warning,
    packets: Warning,
    uncounted: Warning,
    missing: Warning,
}

/// State of the warnings about one counter of losses.
#[derive(Default)]
struct Warning {
    /// The value of the counter at the last warning.
    reported: u64,
    /// The earliest time of the next warning.
    due: Option<Instant>,
}

impl Warning {
    /// Returns how much the counter grew since the last warning, if a warning is due at `now`. `total`: the current value of the counter.
    fn increase_to_report(&mut self, total: u64, now: Instant) -> Option<u64> {
        if total <= self.reported || self.due.is_some_and(|due| now < due) {
            return None;
        }
        self.due = Some(now + REPEAT);
        Some(total - std::mem::replace(&mut self.reported, total))
    }
}

impl Losses {
    /// Makes the state at start, when nothing is lost yet.
    pub fn new() -> Self {
        let [events, packets, uncounted, missing] = Default::default();
        Self { events, packets, uncounted, missing }
    }

    /// Returns the warnings that are due at `now`. The first loss causes a warning at once. Later losses are summed up in at most one
    /// warning every ten seconds.
    pub fn warnings(&mut self, counters: &Snapshot, now: Instant) -> Vec<String> {
        let events = self.events.increase_to_report(total(counters, "libbeat.pipeline.events.dropped"), now).map(|n| {
            format!("{n} events were dropped because the queue is full: the output is slower than the traffic (queue.mem.events or queue.disk.max_size is the size of the queue)")
        });
        let packets = self.packets.increase_to_report(total(counters, "capture.lost"), now).map(|n| {
            format!("{n} packets were lost because the capture buffer is full (packetbeat.interfaces.buffer_size_mb is its size)")
        });
        let uncounted = self.uncounted.increase_to_report(total(counters, "flows.uncounted"), now).map(|n| {
            format!(
                "{n} packets are missing in their flows, because the kernel could not count them and the capture buffer is full \
                 (packetbeat.flows.kernel_flows is the number of flows that the kernel counts)"
            )
        });
        let missing = self.missing.increase_to_report(total(counters, "queue.disk.missing"), now).map(|n| {
            format!("{n} events of the disk queue are lost, because they could not be read (other lines of the log name the files)")
        });
        events.into_iter().chain(packets).chain(uncounted).chain(missing).collect()
    }
}

/// Describes all losses since the start of the program. Returns `None` when nothing was lost. `left`: number of events that are still in
/// the queue.
pub fn summary(counters: &Snapshot, left: u64) -> Option<String> {
    let of = |name: &str| total(counters, name);
    let parts = [
        (of("libbeat.pipeline.events.dropped"), "events were dropped because the queue was full"),
        (of("libbeat.output.events.dropped"), "events were refused by the output"),
        (of("queue.disk.missing"), "events could not be read from the disk queue"),
        (left, "events could not be delivered in time"),
        (of("flows.unreported"), "flows were not reported"),
        (of("capture.lost"), "packets were lost because the capture buffer was full"),
        (of("flows.uncounted"), "packets were not counted in their flows"),
        (of("capture.unread"), "packets were left in the capture buffer at the end"),
    ];
    let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    (!parts.is_empty()).then(|| format!("Not everything was published: {}", parts.join(", ")))
}

fn total(counters: &Snapshot, name: &str) -> u64 {
    counters.totals.get(name).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(totals: &[(&str, u64)]) -> Snapshot {
        let totals = totals.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        Snapshot { totals, ..Snapshot::default() }
    }

    #[test]
    fn the_first_loss_is_reported_at_once_and_further_ones_together() {
        let (mut losses, start) = (Losses::new(), Instant::now());
        let mut warned = |dropped, seconds| {
            let counters = counters(&[("libbeat.pipeline.events.dropped", dropped), ("libbeat.pipeline.events.published", 99)]);
            losses.warnings(&counters, start + Duration::from_secs(seconds)).iter().map(|text| text[..9].to_owned()).collect::<Vec<_>>()
        };
        let nothing = Vec::<String>::new();
        assert_eq!(warned(0, 0), nothing);
        assert_eq!(warned(7, 1), ["7 events "]);
        assert_eq!(warned(20, 2), nothing);
        assert_eq!(warned(20, 11), ["13 events"]);
        assert_eq!(warned(20, 60), nothing);
        assert_eq!(warned(21, 61), ["1 events "]);
    }

    #[test]
    fn packets_are_reported_apart_from_events() {
        let (mut losses, now) = (Losses::new(), Instant::now());
        let warnings = losses.warnings(&counters(&[("capture.lost", 5), ("libbeat.pipeline.events.dropped", 3)]), now);
        assert!(matches!(warnings.as_slice(), [a, b] if a.starts_with("3 events") && b.starts_with("5 packets")), "{warnings:?}");
        let warnings = losses.warnings(&counters(&[("flows.uncounted", 7)]), now);
        assert!(matches!(warnings.as_slice(), [a] if a.starts_with("7 packets are missing in their flows")), "{warnings:?}");
    }

    #[test]
    fn the_summary_lists_all_losses() {
        assert_eq!(summary(&counters(&[("libbeat.output.events.failed", 5), ("capture.lost_by_interface", 5)]), 0), None);
        for (name, left) in [
            ("libbeat.pipeline.events.dropped", 0),
            ("libbeat.output.events.dropped", 0),
            ("queue.disk.missing", 0),
            ("flows.unreported", 0),
            ("capture.lost", 0),
            ("flows.uncounted", 0),
            ("capture.unread", 0),
            ("none", 5),
        ] {
            let text = summary(&counters(&[(name, 5)]), left).unwrap_or_default();
            assert!(text.starts_with("Not everything was published: 5 "), "{name}: {text}");
        }
        let both = summary(&counters(&[("libbeat.pipeline.events.dropped", 2)]), 3).unwrap();
        assert_eq!(
            both,
            "Not everything was published: 2 events were dropped because the queue was full, 3 events could not be delivered in time"
        );
    }
}

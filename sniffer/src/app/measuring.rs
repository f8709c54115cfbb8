//! Makes what `otlp.metrics` sends: the transactions, and the numbers of flows and capture, that the HTTP endpoint shows on `/metrics`, too.

use crate::{
    endpoint::{DURATION_BOUNDS, Identity, Red},
    monitor::{Metrics, Snapshot},
    output::{Measured, Measurement, Number},
    time::Timestamp,
};

/// Nanoseconds of a second.
const SECOND: f64 = 1e9;

/// The counts of the run.
pub struct Counts {
    red: Red,
    metrics: Metrics,
    since: Timestamp,
    resource: Vec<(&'static str, String)>,
}

impl Counts {
    /// Makes the source. `since`: when the counting began.
    pub fn new(red: Red, metrics: Metrics, since: Timestamp, who: &Identity) -> Self {
        let host = |name: &str| who.host.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        let mut resource = vec![("service.instance.id", who.ephemeral_id.clone()), ("service.version", who.version.to_owned())];
        resource.extend(host("name").map(|name| ("host.name", name)));
        Self { red, metrics, since, resource }
    }
}

impl Measured for Counts {
    fn since(&self) -> Timestamp {
        self.since
    }

    fn resource(&self) -> Vec<(&'static str, String)> {
        self.resource.clone()
    }

    fn bounds(&self) -> Vec<f64> {
        DURATION_BOUNDS.iter().map(|nanos| *nanos as f64 / SECOND).collect()
    }

    fn transactions(&self) -> Vec<Measurement> {
        let series = self.red.series().into_iter();
        let measurement = series.map(|(key, numbers)| Measurement {
            protocol: key.protocol.into(),
            server: key.server.into(),
            operation: key.operation.into(),
            count: numbers.count,
            errors: numbers.errors,
            seconds: numbers.nanos as f64 / SECOND,
            buckets: numbers.buckets.to_vec(),
        });
        measurement.collect()
    }

    fn traffic(&self) -> Vec<Number> {
        traffic(&self.metrics.snapshot())
    }
}

/// The counters of capture, and those of flows if flows are configured.
fn traffic(counters: &Snapshot) -> Vec<Number> {
    let mut numbers = Vec::new();
    for (counter, name, description) in [
        ("capture.seen", "sniffer.capture.seen", "Packets on the devices, before the filter."),
        ("capture.matched", "sniffer.capture.matched", "Packets that passed the filter."),
        ("capture.lost", "sniffer.capture.lost", "Packets lost because the capture buffer was full."),
    ] {
        let total = counters.totals.get(counter).map(|value| (String::new(), *value));
        numbers.extend(total.map(|(transport, value)| Number { name, description, unit: "{packet}", transport, is_total: true, value }));
    }
    for (counter, name, description, unit) in [
        ("flows.bytes.", "sniffer.flow.io", "Bytes of all flows, link headers included.", "By"),
        ("flows.packets.", "sniffer.flow.packets", "Packets of all flows.", "{packet}"),
    ] {
        // There are five transports at most.
        let by_transport = counters.totals.iter().filter_map(|(key, value)| Some((key.strip_prefix(counter)?.to_owned(), *value)));
        numbers.extend(by_transport.map(|(transport, value)| Number { name, description, unit, transport, is_total: true, value }));
    }
    if let Some(open) = counters.gauges.get("flows.active") {
        let (name, description) = ("sniffer.flow.open", "Flows that have not ended.");
        numbers.push(Number { name, description, unit: "{flow}", value: *open as u64, ..Number::default() });
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_and_capture() {
        let metrics = Metrics::default();
        assert_eq!(traffic(&metrics.snapshot()), []);
        for (name, total) in [
            ("capture.seen", 9),
            ("capture.lost", 0),
            ("capture.matched", 7),
            ("flows.bytes.udp", 100),
            ("flows.bytes.tcp", 50),
            ("flows.packets.tcp", 2),
            ("flows.active", 3),
            ("flows.created", 4),
        ] {
            metrics.set_total(1, name, total);
        }
        let numbers = traffic(&metrics.snapshot());
        let brief: Vec<_> = numbers.iter().map(|n| (n.name, n.transport.as_str(), n.value, n.is_total)).collect();
        let expected = [
            ("sniffer.capture.seen", "", 9, true),
            ("sniffer.capture.matched", "", 7, true),
            ("sniffer.capture.lost", "", 0, true),
            ("sniffer.flow.io", "tcp", 50, true),
            ("sniffer.flow.io", "udp", 100, true),
            ("sniffer.flow.packets", "tcp", 2, true),
            ("sniffer.flow.open", "", 3, false),
        ];
        assert_eq!(brief, expected);
    }
}

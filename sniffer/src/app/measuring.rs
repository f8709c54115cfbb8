//! Makes what `otlp.metrics` sends: the transactions that the HTTP endpoint shows on `/metrics`, too.

use crate::{
    endpoint::{DURATION_BOUNDS, Identity, Red},
    output::{Measured, Measurement},
    time::Timestamp,
};

/// Nanoseconds of a second.
const SECOND: f64 = 1e9;

/// The counts of the run.
pub struct Counts {
    red: Red,
    since: Timestamp,
    resource: Vec<(&'static str, String)>,
}

impl Counts {
    /// Makes the source. `since`: when the counting began.
    pub fn new(red: Red, since: Timestamp, who: &Identity) -> Self {
        let host = |name: &str| who.host.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        let mut resource = vec![("service.instance.id", who.ephemeral_id.clone()), ("service.version", who.version.to_owned())];
        resource.extend(host("name").map(|name| ("host.name", name)));
        Self { red, since, resource }
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
}

//! `otlp.metrics`: sends the number, errors and durations of transactions by server and operation to a collector at an interval. It works
//! beside any output.

use super::{
    client::{Client, Signal},
    convert::Attributes,
    options::{Compression, Connection, Protocol, TIMEOUT},
};
use crate::{
    config,
    opening::{Clock, Opening},
    output::{
        Peer, http,
        measured::{Measured, Measurement, Number},
        shapes::Scalar,
    },
};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{InstrumentationScope, KeyValue},
    metrics::v1::{
        AggregationTemporality, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data,
        number_data_point::Value,
    },
    resource::v1::Resource,
};
use prost::Message as _;
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// The shortest interval.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest time for the last metrics of a run.
const AT_END: Duration = Duration::from_secs(2);

/// Largest value of `otlp.metrics.max_series`.
const MOST_SERIES: usize = 10_000;

/// `otlp.metrics`
#[derive(Deserialize)]
#[serde(default)]
struct Given {
    endpoint: String,
    protocol: Protocol,
    headers: BTreeMap<String, Scalar>,
    compression: Compression,
    service_name: String,
    #[serde(deserialize_with = "config::duration::deserialize")]
    interval: Duration,
    max_series: usize,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            endpoint: "localhost".into(),
            protocol: Protocol::default(),
            headers: BTreeMap::new(),
            compression: Compression::default(),
            service_name: "packetbeat".into(),
            interval: Duration::from_secs(60),
            max_series: 500,
        }
    }
}

/// The collector that gets the metrics of transactions.
pub struct Metrics {
    client: Client,
    clock: &'static dyn Clock,
    service_name: String,
    interval: Duration,
    max_series: usize,
}

impl Metrics {
    /// Reads `otlp.metrics`; `None` unless it is enabled. Opens no connection.
    ///
    /// # Errors
    /// When a setting is wrong. The error names file, line and key.
    pub fn read(opening: &Opening<'_>) -> Result<Option<Self>, config::Error> {
        let node = opening.root.get("otlp.metrics");
        if node.get("enabled").read::<Option<bool>>()? != Some(true) {
            node.accept();
            return Ok(None);
        }
        let Given { endpoint, protocol, headers, compression, service_name, interval, max_series } = node.read()?;
        if interval < SHORTEST {
            return Err(node.get("interval").error("must be at least 1s"));
        }
        if !(1..=MOST_SERIES).contains(&max_series) {
            return Err(node.get("max_series").error(format!("{max_series} is not between 1 and {MOST_SERIES}")));
        }
        let mut http: http::Options = node.read()?;
        if node.get("timeout").is_unset() {
            http.timeout = TIMEOUT;
        }
        http.is_http2 = protocol == Protocol::Grpc;
        let connection = Connection { protocol, headers, compression, http };
        let client = Client::new(&[endpoint], &connection, opening.connections.cloned()).map_err(|why| node.error(why))?;
        Ok(Some(Self { client, clock: opening.clock, service_name, interval, max_series }))
    }

    /// The servers and proxies that are connected to.
    pub fn peers(&self) -> Vec<Peer> {
        self.client.peers()
    }

    /// Maximum number of series.
    pub fn max_series(&self) -> usize {
        self.max_series
    }

    /// Sends the metrics at each interval. Never completes.
    pub async fn run(&self, source: &Arc<dyn Measured>) {
        let (mut failed, mut wait) = (false, Duration::ZERO);
        loop {
            sleep(self.interval.max(wait)).await;
            wait = Duration::ZERO;
            match self.send(&**source).await {
                Ok(()) if failed => {
                    log::info!("otlp.metrics: the collector accepts metrics again");
                    failed = false;
                }
                Ok(()) => {}
                Err((why, retry_after)) => {
                    wait = retry_after.unwrap_or_default();
                    if failed {
                        log::debug!("otlp.metrics: {why}");
                    } else {
                        log::warn!("otlp.metrics: {why}; the counts are sent again at the next interval");
                        failed = true;
                    }
                }
            }
        }
    }

    /// Sends the last metrics of a run.
    pub async fn finish(&self, source: &Arc<dyn Measured>) {
        match timeout(AT_END, self.send(&**source)).await {
            Ok(Ok(())) => {}
            Ok(Err((why, _))) => log::warn!("otlp.metrics: {why}; the last counts are lost"),
            Err(_) => log::warn!("otlp.metrics: the collector does not answer; the last counts are lost"),
        }
    }

    /// Sends all counts once. The error has the wait that the collector asks for.
    async fn send(&self, source: &dyn Measured) -> Result<(), (String, Option<Duration>)> {
        let now = self.clock.now().0;
        let request = request(source, &self.service_name, now);
        let Some(url) = self.client.url(0) else { return Ok(()) };
        let answer = self.client.export(0, Signal::Metrics, &request.encode_to_vec()).await;
        answer.map(|_| ()).map_err(|failed| (format!("{url}: {}", failed.error), failed.retry_after))
    }
}

/// The request with all counts. `now`: nanoseconds since 1970.
fn request(source: &dyn Measured, service_name: &str, now: u64) -> ExportMetricsServiceRequest {
    let start = source.since().0;
    let (bounds, transactions) = (source.bounds(), source.transactions());
    let mut resource = Attributes::default();
    resource.add("service.name", service_name);
    source.resource().into_iter().for_each(|(name, value)| resource.add(name, value));
    let sum = |name: &str, description: &str, of: fn(&Measurement) -> u64| {
        let point = |series: &Measurement| NumberDataPoint {
            attributes: attributes(series),
            start_time_unix_nano: start,
            time_unix_nano: now,
            value: Some(Value::AsInt(i64::try_from(of(series)).unwrap_or(i64::MAX))),
            ..NumberDataPoint::default()
        };
        let data_points = transactions.iter().map(point).collect();
        let data = Data::Sum(Sum { data_points, aggregation_temporality: AggregationTemporality::Cumulative.into(), is_monotonic: true });
        Metric { name: name.into(), description: description.into(), unit: "{transaction}".into(), data: Some(data), ..Metric::default() }
    };
    let point = |series: &Measurement| HistogramDataPoint {
        attributes: attributes(series),
        start_time_unix_nano: start,
        time_unix_nano: now,
        count: series.buckets.iter().sum(),
        sum: Some(series.seconds),
        bucket_counts: series.buckets.clone(),
        explicit_bounds: bounds.clone(),
        ..HistogramDataPoint::default()
    };
    let data_points = transactions.iter().map(point).collect();
    let durations = Metric {
        name: "sniffer.transaction.duration".into(),
        description: "Time from request to response.".into(),
        unit: "s".into(),
        data: Some(Data::Histogram(Histogram { data_points, aggregation_temporality: AggregationTemporality::Cumulative.into() })),
        ..Metric::default()
    };
    let mut metrics = vec![
        sum("sniffer.transactions", "Transactions.", |series| series.count),
        sum("sniffer.transaction.errors", "Transactions whose status is not OK.", |series| series.errors),
        durations,
    ];
    let traffic = source.traffic();
    metrics.extend(traffic.chunk_by(|a, b| a.name == b.name).filter_map(|same| of_traffic(same, start, now)));
    let scope =
        InstrumentationScope { name: "sniffer".into(), version: env!("CARGO_PKG_VERSION").into(), ..InstrumentationScope::default() };
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }];
    let resource = Some(Resource { attributes: resource.list, ..Resource::default() });
    ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }] }
}

/// The metric of numbers that have the same name.
fn of_traffic(numbers: &[Number], start: u64, now: u64) -> Option<Metric> {
    let Number { name, description, unit, is_total, .. } = numbers.first()?.clone();
    let point = |number: &Number| {
        let mut attributes = Attributes::default();
        if !number.transport.is_empty() {
            attributes.add("network.transport", number.transport.as_str());
        }
        NumberDataPoint {
            attributes: attributes.list,
            start_time_unix_nano: start,
            time_unix_nano: now,
            value: Some(Value::AsInt(i64::try_from(number.value).unwrap_or(i64::MAX))),
            ..NumberDataPoint::default()
        }
    };
    let data_points = numbers.iter().map(point).collect();
    let data = Data::Sum(Sum { data_points, aggregation_temporality: AggregationTemporality::Cumulative.into(), is_monotonic: is_total });
    Some(Metric { name: name.into(), description: description.into(), unit: unit.into(), data: Some(data), ..Metric::default() })
}

/// The attributes of a series.
fn attributes(series: &Measurement) -> Vec<KeyValue> {
    let mut attributes = Attributes::default();
    attributes.add("network.protocol.name", series.protocol.as_str());
    let (address, port) = match series.server.rsplit_once(':') {
        // An IPv6 address has a port only behind brackets.
        Some((address, port)) if !address.contains(':') || address.ends_with(']') => (address, port.parse::<i64>().ok()),
        _ => (series.server.as_str(), None),
    };
    if !address.is_empty() {
        attributes.add("server.address", address.trim_matches(['[', ']']));
    }
    if let Some(port) = port {
        attributes.add("server.port", port);
    }
    attributes.add("sniffer.operation", series.operation.as_str());
    attributes.list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

    struct Fixed;

    impl Measured for Fixed {
        fn since(&self) -> Timestamp {
            Timestamp(5)
        }

        fn resource(&self) -> Vec<(&'static str, String)> {
            vec![("host.name", "h".into())]
        }

        fn bounds(&self) -> Vec<f64> {
            vec![0.1, 1.0]
        }

        fn transactions(&self) -> Vec<Measurement> {
            let of = |server: &str| Measurement {
                protocol: "http".into(),
                server: server.into(),
                operation: "GET /".into(),
                count: 4,
                errors: 1,
                seconds: 2.5,
                buckets: vec![2, 0, 1],
            };
            vec![of("192.0.2.1:80"), of("[2001:db8::1]:80"), of("2001:db8::1"), of("other")]
        }

        fn traffic(&self) -> Vec<Number> {
            let of = |transport: &str, value| Number {
                name: "b",
                unit: "By",
                transport: transport.into(),
                is_total: true,
                value,
                ..Number::default()
            };
            vec![of("tcp", 7), of("udp", 8), Number { name: "open", value: 9, ..Number::default() }]
        }
    }

    #[test]
    fn counts_are_cumulative_sums_and_histograms() {
        let request = request(&Fixed, "x", 9);
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        assert_eq!(names, ["sniffer.transactions", "sniffer.transaction.errors", "sniffer.transaction.duration", "b", "open"]);
        for (metric, is_total, values) in [(&metrics[3], true, vec![("tcp", 7), ("udp", 8)]), (&metrics[4], false, vec![("", 9)])] {
            let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
            let transport = |point: &NumberDataPoint| match point.attributes.first().and_then(|a| a.value.clone()?.value) {
                Some(Any::StringValue(text)) => text,
                _ => String::new(),
            };
            let points: Vec<_> = sum.data_points.iter().map(|point| (transport(point), point.value)).collect();
            let values: Vec<_> = values.into_iter().map(|(name, value)| (name.to_owned(), Some(Value::AsInt(value)))).collect();
            assert_eq!((points, sum.is_monotonic), (values, is_total), "{}", metric.name);
        }
        let Some(Data::Sum(errors)) = &metrics[1].data else { panic!("{metrics:?}") };
        assert!(errors.is_monotonic && errors.aggregation_temporality() == AggregationTemporality::Cumulative);
        assert_eq!(errors.data_points[0].value, Some(Value::AsInt(1)));
        let Some(Data::Histogram(durations)) = &metrics[2].data else { panic!("{metrics:?}") };
        let point = &durations.data_points[0];
        assert_eq!((point.count, point.sum, point.start_time_unix_nano, point.time_unix_nano), (3, Some(2.5), 5, 9));
        assert_eq!((point.bucket_counts.as_slice(), point.explicit_bounds.as_slice()), (&[2, 0, 1][..], &[0.1, 1.0][..]));
        let servers = durations.data_points.iter().map(|point| {
            let value = |name: &str| {
                let found = point.attributes.iter().find(|attribute| attribute.key == name);
                match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
                    Some(Any::StringValue(text)) => text.clone(),
                    Some(Any::IntValue(number)) => number.to_string(),
                    _ => "-".to_owned(),
                }
            };
            format!("{} {}", value("server.address"), value("server.port"))
        });
        assert_eq!(servers.collect::<Vec<_>>(), ["192.0.2.1 80", "2001:db8::1 80", "2001:db8::1 -", "other -"]);
    }

    #[test]
    fn settings() {
        let read = |yaml: &str| {
            let node = config::Node::parse(yaml).unwrap();
            Metrics::read(&crate::opening::testing::opening(&node)).map(|metrics| metrics.is_some()).map_err(|error| error.to_string())
        };
        assert_eq!(read("{}"), Ok(false));
        assert_eq!(read("otlp.metrics: {enabled: false, interval: x}"), Ok(false));
        assert_eq!(read("otlp.metrics: {enabled: true, endpoint: 'http://u:p@x:1/y', headers: {a: b}, interval: 5s}"), Ok(true));
        for (settings, expected) in [
            ("interval: 10ms", "line 1: otlp.metrics.interval: must be at least 1s"),
            ("max_series: 0", "line 1: otlp.metrics.max_series: 0 is not between 1 and 10000"),
            ("protocol: x", "line 1: otlp.metrics.protocol: "),
            ("endpoint: 'ftp://x'", "the scheme is not one of http, https"),
        ] {
            let error = read(&format!("otlp.metrics: {{enabled: true, {settings}}}")).unwrap_err();
            assert!(error.contains(expected), "{settings}\n got: {error}\nwant: {expected}");
        }
    }
}

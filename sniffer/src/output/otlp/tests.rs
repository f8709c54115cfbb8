//! Tests of the OTLP output against a fake collector, which decodes requests and whose responses each test prescribes. gRPC is tested with the
//! collector's own receiver (`tests/servers`).

use super::{convert::convert, *};
use crate::{
    config::Node,
    opening::testing::opening,
    output::{
        Delivery, Outcome, open,
        testing::{Fake, Log, request},
    },
    publish::{Record, Route},
    queue::{self, WhenFull},
    time::Timestamp,
};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse},
        trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
    },
    common::v1::{AnyValue, KeyValue, any_value::Value as Any},
    trace::v1::{Span, status::StatusCode},
};
use prost::Message;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    path::Path,
    time::{Duration, Instant},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// A decoded request: the path and the number `n` of each event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    path: String,
    headers: String,
    events: Vec<i64>,
}

/// A response: status, headers and body.
type Reply = (u16, &'static str, Vec<u8>);

type Answering = dyn Fn(&Asked, usize) -> Reply + Send + Sync;

impl Fake<Asked> {
    /// Starts a collector. `answer` makes the responses to requests with events; the number counts them from 0. Status 0 closes the connection.
    async fn start(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        let answer: Arc<Answering> = Arc::new(answer);
        Self::listen(move |stream, _, log| serve(stream, answer.clone(), log)).await
    }

    /// The last part of the path and the events of each request.
    fn events(&self) -> Vec<(String, Vec<i64>)> {
        self.asked().into_iter().map(|asked| (asked.path.rsplit('/').next().unwrap().to_owned(), asked.events)).collect()
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<Answering>, log: Log<Asked>) {
    let mut buffer = Vec::new();
    while let Some((head, raw)) = request(&mut stream, &mut buffer).await {
        let mut body = Vec::new();
        if head.to_lowercase().contains("content-encoding: gzip") {
            flate2::read::GzDecoder::new(&raw[..]).read_to_end(&mut body).unwrap();
        } else {
            body = raw;
        }
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let events = if path.ends_with("/v1/logs") {
            let request = ExportLogsServiceRequest::decode(&*body).unwrap();
            let scopes = request.resource_logs.iter().flat_map(|group| &group.scope_logs);
            scopes.flat_map(|scope| &scope.log_records).map(|record| number(&record.attributes)).collect()
        } else {
            spans(&ExportTraceServiceRequest::decode(&*body).unwrap()).map(|span| number(&span.attributes)).collect()
        };
        let asked = Asked { path, headers: head.to_lowercase(), events };
        let (status, headers, body) = if asked.events.is_empty() {
            (200, "", Vec::new())
        } else {
            let count = log.lock().unwrap().len();
            log.lock().unwrap().push(asked.clone());
            answer(&asked, count)
        };
        if status == 0 {
            return;
        }
        let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    }
}

fn spans(request: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    request.resource_spans.iter().flat_map(|group| &group.scope_spans).flat_map(|scope| &scope.spans)
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Any> {
    attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()
}

fn number(attributes: &[KeyValue]) -> i64 {
    match attribute(attributes, "n") {
        Some(Any::IntValue(n)) => *n,
        other => panic!("{other:?}"),
    }
}

/// The text of an attribute; empty if there is none.
fn text(attributes: &[KeyValue], name: &str) -> String {
    match attribute(attributes, name) {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        None => String::new(),
        other => format!("{other:?}"),
    }
}

fn ok() -> Reply {
    (200, "", Vec::new())
}

fn record(document: &Value) -> Record {
    let time = Timestamp::parse(document["@timestamp"].as_str().unwrap_or("2024-01-01T00:00:00.000Z")).unwrap();
    Record { route: Route { time, ..Route::default() }, body: document.to_string().into_bytes().into() }
}

/// Transactions and flows, numbered in `n`: `t` is a transaction, `f` a flow.
fn events(kinds: &str) -> Vec<Record> {
    let kind = |kind| if kind == 'f' { "flow" } else { "dns" };
    kinds.chars().enumerate().map(|(n, letter)| record(&json!({"type": kind(letter), "n": n}))).collect()
}

fn output(port: u16, more: &str) -> Delivery {
    let config = format!("output.otlp: {{hosts: ['127.0.0.1:{port}'], backoff: {{init: 0.005s, max: 0.01s}}, timeout: 2s{more}}}");
    open(&opening(&Node::parse(&config).unwrap())).unwrap()
}

/// Delivers the events and returns the counters.
async fn deliver(output: Delivery, records: Vec<Record>) -> Arc<Counters> {
    let (counters, queue) = (output.counters(), queue::open(output.queue()));
    assert_eq!(queue.push(records, WhenFull::Drop), 0);
    queue.close();
    tokio::time::timeout(Duration::from_secs(60), output.run(queue.clone())).await.expect("the output did not finish in time");
    assert_eq!(queue.stats().events, 0);
    let c = &counters;
    assert_eq!(c.total.get(), c.acked.get() + c.dropped.get() + c.failed.get());
    counters
}

#[tokio::test]
async fn transactions_and_flows_are_two_requests() {
    let fake = Fake::start(|_, _| ok()).await;
    let counters = deliver(output(fake.port, ", headers: {X-Mine: '1'}"), events("tft")).await;
    assert_eq!((counters.acked.get(), counters.dropped.get()), (3, 0));
    assert_eq!(fake.events(), [("traces".into(), vec![0, 2]), ("logs".into(), vec![1])]);
    for header in ["content-type: application/x-protobuf", "content-encoding: gzip", "x-mine: 1", "user-agent: elastic-packetbeat/"] {
        assert!(fake.asked()[0].headers.contains(header), "{header} in {}", fake.asked()[0].headers);
    }
}

#[tokio::test]
async fn hosts_have_paths_and_credentials() {
    let fake = Fake::start(|_, _| ok()).await;
    let config = format!("output.otlp: {{hosts: ['http://u:p@127.0.0.1:{}/otel'], compression: none}}", fake.port);
    deliver(open(&opening(&Node::parse(&config).unwrap())).unwrap(), events("t")).await;
    let asked = &fake.asked()[0];
    assert_eq!(asked.path, "/otel/v1/traces");
    assert!(asked.headers.contains("authorization: basic dtpw\r\n") && !asked.headers.contains("gzip"), "{}", asked.headers);
}

#[tokio::test]
async fn a_partial_success_is_not_sent_again() {
    let fake = Fake::start(|asked, _| {
        let error_message = "quota".to_owned();
        let body = if asked.path.ends_with("logs") {
            let partial_success = Some(ExportLogsPartialSuccess { rejected_log_records: 9, error_message });
            ExportLogsServiceResponse { partial_success }.encode_to_vec()
        } else {
            let partial_success = Some(ExportTracePartialSuccess { rejected_spans: 2, error_message });
            ExportTraceServiceResponse { partial_success }.encode_to_vec()
        };
        (200, "", body)
    })
    .await;
    let counters = deliver(output(fake.port, ""), events("tttff")).await;
    assert_eq!((counters.acked.get(), counters.dropped.get(), counters.failed.get()), (1, 4, 0));
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test]
async fn a_warning_of_the_collector_rejects_nothing() {
    let fake = Fake::start(|_, _| {
        let partial_success = Some(ExportTracePartialSuccess { rejected_spans: 0, error_message: "slow down".into() });
        (200, "", ExportTraceServiceResponse { partial_success }.encode_to_vec())
    })
    .await;
    assert_eq!(deliver(output(fake.port, ""), events("tt")).await.acked.get(), 2);
}

#[tokio::test]
async fn an_overloaded_collector_gets_everything_later() {
    for (status, headers) in
        [(429, "retry-after: 1\r\n"), (503, "retry-after: 1\r\n"), (502, ""), (504, ""), (500, ""), (401, ""), (404, ""), (0, "")]
    {
        let fake = Fake::start(move |_, n| if n < 2 { (status, headers, b"no".to_vec()) } else { ok() }).await;
        let began = Instant::now();
        let counters = deliver(output(fake.port, ", max_retries: 0"), events("tt")).await;
        assert_eq!((counters.acked.get(), counters.dropped.get()), (2, 0), "{status}");
        let asks = if headers.is_empty() { 0 } else { 2 };
        assert!(began.elapsed() >= Duration::from_secs(asks), "{status}: after {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn only_log_records_are_sent_again_if_the_spans_were_delivered() {
    for status in [503, 413, 400, 0] {
        let fake = Fake::start(move |asked, n| if n < 2 && asked.path.ends_with("logs") { (status, "", Vec::new()) } else { ok() }).await;
        let counters = deliver(output(fake.port, ""), events("tff")).await;
        assert_eq!((counters.acked.get(), counters.dropped.get()), (3, 0), "{status}");
        let traces: Vec<_> = fake.events().into_iter().filter(|(path, _)| path == "traces").collect();
        assert_eq!(traces, [("traces".into(), vec![0])], "{status}");
    }
}

#[tokio::test]
async fn a_collector_that_knows_no_logs_gets_the_spans() {
    let fake = Fake::start(|asked, _| if asked.path.ends_with("logs") { (404, "", Vec::new()) } else { ok() }).await;
    let counters = deliver(output(fake.port, ", max_retries: 1"), events("ftftff")).await;
    assert_eq!((counters.acked.get(), counters.dropped.get()), (2, 4));
    let counters = deliver(output(fake.port, ", max_retries: 1"), events("ff")).await;
    assert_eq!((counters.acked.get(), counters.dropped.get()), (0, 2), "without transactions");
}

#[tokio::test]
async fn a_request_that_is_too_large_or_invalid_is_halved() {
    for (status, headers, body) in [(413, "", "no"), (400, "", "no"), (500, "content-type: application/x-protobuf\r\n", "")] {
        let answer = move |asked: &Asked, _| if asked.events.contains(&2) { (status, headers, body.into()) } else { ok() };
        let fake = Fake::start(answer).await;
        let counters = deliver(output(fake.port, ", max_retries: 1"), events("tttttt")).await;
        assert_eq!((counters.acked.get(), counters.dropped.get()), (5, 1), "{status}");
    }
}

#[tokio::test]
async fn another_host_takes_over() {
    let (bad, good) = (Fake::start(|_, _| (503, "retry-after: 300\r\n", Vec::new())).await, Fake::start(|_, _| ok()).await);
    let config = format!(
        "output.otlp: {{hosts: ['127.0.0.1:{}', '127.0.0.1:{}'], loadbalance: false, backoff: {{init: 0.005s, max: 0.01s}}}}",
        bad.port, good.port
    );
    let counters = deliver(open(&opening(&Node::parse(&config).unwrap())).unwrap(), events("tt")).await;
    assert_eq!((counters.acked.get(), bad.asked().len(), good.asked().len()), (2, 1, 1));
}

#[test]
fn a_request_of_http_continues_its_trace() {
    let document = |status: u16, direction: &str| {
        json!({
            "@timestamp": "2024-01-01T00:00:00.123456Z", "type": "http", "status": if status < 400 { "OK" } else { "Error" }, "method": "GET",
            "agent": {"name": "a", "type": "packetbeat"}, "host": {"name": "h", "architecture": "x86_64"}, "labels": {"team": "b"}, "tags": ["x"],
            "event": {"start": "2024-01-01T00:00:00.123Z", "end": "2024-01-01T00:00:00.130Z", "duration": 7_000_000, "dataset": "http"},
            "http": {
                "version": "1.1", "response": {"status_code": status},
                "request": {"method": "GET", "headers": {
                    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=b", "content-length": 0
                }}
            },
            "network": {"direction": direction, "transport": "tcp"},
            "client": {"ip": "192.0.2.1", "port": 4000}, "server": {"ip": "192.0.2.2", "port": 80, "domain": "example.org"}
        })
    };
    for (status, direction, kind, code) in [
        (200, "ingress", 2, StatusCode::Unset),
        (404, "ingress", 2, StatusCode::Unset),
        (500, "ingress", 2, StatusCode::Error),
        (404, "egress", 3, StatusCode::Error),
    ] {
        let converted = convert(&[record(&document(status, direction))], "fallback");
        let span = spans(&converted.traces).next().unwrap();
        let a = |name: &str| text(&span.attributes, name);
        assert_eq!((span.name.as_str(), span.kind, span.flags), ("GET", kind, 0x301));
        assert_eq!(hexadecimal(&span.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((hexadecimal(&span.parent_span_id), span.trace_state.as_str()), ("00f067aa0ba902b7".into(), "a=b"));
        assert_eq!(span.status.clone().unwrap_or_default().code(), code, "{status} {direction}");
        assert_eq!(a("error.type"), if code == StatusCode::Error { status.to_string() } else { String::new() });
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1_704_067_200_123_456_000, 1_704_067_200_130_456_000));
        assert_eq!((a("http.request.method"), a("http.response.status_code")), ("GET".into(), status.to_string()));
        assert_eq!((a("server.address"), a("server.port"), a("client.address")), ("example.org".into(), "80".into(), "192.0.2.1".into()));
        assert_eq!(a("network.peer.address"), if kind == 3 { "192.0.2.2" } else { "192.0.2.1" });
        assert_eq!((a("labels.team"), a("network.protocol.version")), ("b".into(), "1.1".into()));
        let resource = &converted.traces.resource_spans[0].resource.as_ref().unwrap().attributes;
        assert_eq!((text(resource, "service.name"), text(resource, "host.arch")), ("fallback".into(), "x86_64".into()));
    }
    let again = |n: u64| spans(&convert(&[record(&json!({"type": "dns", "n": n}))], "x").traces).next().unwrap().clone();
    assert_eq!(again(1), again(1), "an event that is sent again has the same ids");
    assert!(again(1).span_id != again(2).span_id && again(1).trace_id != again(2).trace_id);
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All values in the attributes, as text.
fn values(value: Option<&AnyValue>, into: &mut BTreeSet<String>) {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => drop(into.insert(text.clone())),
        Some(Any::IntValue(number)) => drop(into.insert(number.to_string())),
        Some(Any::BoolValue(is)) => drop(into.insert(is.to_string())),
        Some(Any::DoubleValue(number)) => drop(into.insert(number.to_string())),
        Some(Any::ArrayValue(list)) => list.values.iter().for_each(|item| values(Some(item), into)),
        Some(Any::KvlistValue(list)) => list.values.iter().for_each(|item| values(item.value.as_ref(), into)),
        _ => {}
    }
}

/// The values of all fields of a document, as text.
fn leaves(path: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| leaves(&format!("{path}.{key}"), value, into)),
        Value::Array(items) => items.iter().for_each(|item| leaves(path, item, into)),
        Value::Null => {}
        Value::String(text) => into.push((path.to_owned(), text.clone())),
        other => into.push((path.to_owned(), other.to_string())),
    }
}

/// Every value of every expected document is in the span or the log record.
#[test]
fn nothing_of_the_documents_is_missing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/protocols");
    let folders = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|folder| fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()));
    let (mut count, mut names) = (0, BTreeSet::new());
    for file in files.filter(|path| path.extension().is_some_and(|e| e == "ndjson")) {
        for line in fs::read_to_string(&file).unwrap().lines() {
            let document: Value = serde_json::from_str(line).unwrap();
            let converted = convert(&[record(&document)], "x");
            assert_eq!(converted.outcomes, [Outcome::Delivered]);
            let mut found = BTreeSet::new();
            let resources = converted.traces.resource_spans.iter().filter_map(|group| group.resource.as_ref());
            let resources = resources.chain(converted.logs.resource_logs.iter().filter_map(|group| group.resource.as_ref()));
            let mut attributes: Vec<_> = resources.flat_map(|resource| resource.attributes.clone()).collect();
            for span in spans(&converted.traces) {
                assert!(
                    !span.name.is_empty() && span.name.len() <= 120 && span.start_time_unix_nano <= span.end_time_unix_nano,
                    "{span:?}"
                );
                let unique: BTreeSet<&str> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
                assert_eq!(unique.len(), span.attributes.len(), "an attribute occurs twice: {span:?}");
                names.insert(span.name.clone());
                found.insert(span.status.clone().unwrap_or_default().message);
                attributes.extend(span.attributes.iter().cloned());
            }
            attributes.iter().for_each(|attribute| values(attribute.value.as_ref(), &mut found));
            let mut wanted = Vec::new();
            leaves("", &document, &mut wanted);
            for (path, value) in wanted {
                let is_time = ["@timestamp", "event.start", "event.end", "event.duration"].contains(&&path[1..]);
                let is_there = found.contains(&value) || found.contains(value.trim());
                assert!(is_time || value.is_empty() || is_there, "{}: {path} = {value} is missing in {found:?}", file.display());
            }
            count += 1;
        }
    }
    assert!(count > 100 && names.contains("GET") && names.iter().any(|name| name.starts_with("SELECT ")), "{count} {names:?}");
}

#[test]
fn unusual_documents() {
    let many: serde_json::Map<_, _> = (0..1000).map(|n| (format!("f{n}"), json!(n))).collect();
    let mut deep = json!("x");
    for _ in 0..60 {
        deep = json!([deep]);
    }
    let large = json!({"type": "x", "big": u64::MAX, "float": 1.5, "deep": deep, "many": many, "event.action": "literal", "event": {"action": "nested"}});
    let converted = convert(&[Record { body: (*b"[1]").into(), ..Record::default() }, record(&large)], "x");
    assert!(matches!(converted.outcomes.as_slice(), [Outcome::Rejected(_), Outcome::Delivered]), "{:?}", converted.outcomes);
    assert_eq!(converted.spans, [1]);
    let span = spans(&converted.traces).next().unwrap();
    assert_eq!((span.attributes.len(), span.dropped_attributes_count > 480), (512, true));
    assert_eq!(text(&span.attributes, "big"), u64::MAX.to_string(), "exact");
    assert!(ExportTraceServiceRequest::decode(&*converted.traces.encode_to_vec()).is_ok(), "receivers limit the depth of messages");
}

#[test]
fn errors_name_file_line_and_key() {
    for (settings, expected) in [
        ("{hosts: []}", "line 1: output.otlp.hosts: is an empty list"),
        ("{protocol: udp}", "line 1: output.otlp.protocol: "),
        ("{compression: zstd}", "line 1: output.otlp.compression: "),
        ("{workers: 0}", "line 1: output.otlp.workers: must be at least 1"),
        ("{service_name: ''}", "line 1: output.otlp.service_name: is empty"),
        ("{hosts: ['ftp://u:secret@x']}", "hosts: 'ftp://***@x': the scheme is not one of http, https"),
        ("{hosts: ['http://x/y'], protocol: grpc}", "hosts: 'http://x/y': gRPC has no path; remove it"),
        ("{hosts: ['http://x/?key=1']}", "a query is not possible here"),
        ("{headers: {'a b': c}}", "headers: 'a b' is not a valid header name"),
    ] {
        let node = Node::parse(&format!("output: {{otlp: {settings}}}")).unwrap();
        let error = open(&opening(&node)).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected) && !error.contains("secret"), "{settings}\n got: {error}\nwant: {expected}");
    }
}

#[test]
fn default_ports() {
    for (settings, expected) in [
        ("{}", "localhost:4318"),
        ("{protocol: grpc}", "localhost:4317"),
        ("{hosts: [a]}", "a:4318"),
        ("{hosts: ['https://a']}", "a:443"),
        ("{hosts: ['http://a:5/x']}", "a:5"),
    ] {
        let node = Node::parse(&format!("output: {{otlp: {settings}}}")).unwrap();
        let peers = (OUTPUT.open)(&opening(&node).at(&node.get("output.otlp"))).unwrap().peers();
        assert_eq!(peers.iter().map(|peer| format!("{}:{}", peer.host, peer.port)).collect::<Vec<_>>(), [expected], "{settings}");
    }
}

//! Tests over real connections, with a source whose report the test sets.

use super::{Identity, Input, Listener, Options, Output, Report, Server, Source, server::MOST_CONNECTIONS};
use crate::{config::Node, monitor::Metrics, net::Traffic, time::Timestamp};
use serde_json::{Value, json};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Longest wait for an answer, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Fake {
    report: Mutex<Report>,
    calls: AtomicUsize,
}

impl Source for Fake {
    fn report(&self) -> Report {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.report.lock().unwrap().clone()
    }
}

fn identity() -> Identity {
    let host = json!({"hostname": "h", "id": "m", "architecture": "x86_64", "containerized": false, "name": "not shown",
                      "os": {"type": "not shown", "kernel": "6.1", "platform": "debian", "family": "debian"}});
    Identity {
        id: "i-d".into(),
        ephemeral_id: "0123abcd-4567-89ef-0000-111122223333".into(),
        name: "n".into(),
        version: "9.6.0",
        host: host.as_object().unwrap().clone(),
        protocols: vec!["dns", "http"],
        cluster_uuid: Some("of monitoring".into()),
        start: Instant::now(),
        red: None,
    }
}

fn report() -> Report {
    let metrics = Metrics::default();
    metrics.set_total(0, "dns.unmatched_requests", 2);
    metrics.set_total(1, "http.unmatched_responses", 3);
    metrics.set_total(0, "tcp.open", 4);
    metrics.set_total(0, "flows.bytes.tcp", 50);
    metrics.set_total(0, "flows.active", 6);
    metrics.set_total(0, "capture.frames", 7);
    metrics.set_total(0, "libbeat.output.events.acked", 5);
    metrics.set_gauge("libbeat.pipeline.queue.filled.pct", 0.5);
    let mut traffic = Traffic::default();
    traffic.segment(Timestamp(10), 0x02, 0);
    traffic.segment(Timestamp(30), 0x18, 100);
    traffic.datagram(Timestamp(5), 22);
    let input = Input {
        device: "eth\"0".into(),
        backend: "af_packet",
        packets: 3,
        polls: 2,
        matched: 4,
        lost: 1,
        tcp_ports: vec!["53".into(), "80".into()],
        udp_ports: vec!["53".into()],
        traffic,
        overlaps: 6,
        dropped_because_of_gaps: 8,
    };
    let mut report = Report {
        counters: metrics.snapshot(),
        inputs: vec![input],
        output: Output { name: "file", batch_size: -1, clients: 1, cluster_uuid: "of the output".into() },
        queue: "disk",
        ..Report::default()
    };
    report.latency.add(3_000_000);
    report
}

/// A running endpoint.
struct Running {
    fake: Arc<Fake>,
    address: SocketAddr,
    _server: Server,
}

impl Running {
    fn start(head_time: Duration, life: Duration) -> Self {
        let options = Options::read(&Node::parse("http: {enabled: true, port: 0}").unwrap()).unwrap().unwrap();
        let listener = Listener::bind(&options).unwrap();
        let address = listener.addresses()[0];
        let fake = Arc::new(Fake::default());
        *fake.report.lock().unwrap() = report();
        let server = Server::start_with(listener, identity(), fake.clone(), head_time, life).unwrap();
        Self { fake, address, _server: server }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Returns status, lower-case headers, and body of the answer to `METHOD PATH`.
    fn ask(&self, line: &str) -> (u16, String, String) {
        let mut stream = self.connect();
        write!(stream, "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{line}: {text:?}"));
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
    }

    fn json(&self, path: &str) -> Value {
        let (status, head, body) = self.ask(&format!("GET {path}"));
        assert_eq!(status, 200, "{path}: {body}");
        assert!(head.contains("content-type: application/json; charset=utf-8"), "{path}: {head}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e} in {body}"))
    }
}

fn start() -> Running {
    Running::start(PATIENCE, PATIENCE)
}

#[test]
fn paths_have_the_status_that_packetbeat_gives() {
    let running = start();
    for (line, status, header) in [
        ("GET /", 200, "content-type: application/json; charset=utf-8"),
        ("POST /stats", 200, "content-type: application/json; charset=utf-8"),
        ("GET /stats/", 301, "location: /stats"),
        ("GET /dataset/", 301, "location: /dataset"),
        ("GET /inputs", 307, "location: /inputs/"),
        ("GET /inputs/x", 404, "content-type: text/plain; charset=utf-8"),
        ("GET /STATS", 404, "content-type: text/plain"),
        ("GET /debug/pprof/", 404, "content-type: text/plain"),
        ("GET /metrics", 200, "content-type: text/plain; version=0.0.4"),
        ("GET /healthz", 200, "content-type: application/json"),
    ] {
        let (got, head, body) = running.ask(line);
        assert_eq!(got, status, "{line}: {head}\n{body}");
        assert!(head.contains(header), "{line}: no {header:?} in {head}");
    }
    let (_, head, body) = running.ask("HEAD /stats");
    assert_eq!((body.as_str(), head.contains("content-length: 0")), ("", false), "{head}");
    let (_, _, body) = running.ask("GET /?pretty");
    assert!(body.starts_with("{\n  \"beat\": \"packetbeat\",\n"), "{body}");
}

#[test]
fn documents_have_the_values_of_the_report() {
    let running = start();
    let root = running.json("/");
    assert_eq!(
        (&root["uuid"], &root["name"], &root["hostname"], &root["version"]),
        (&json!("i-d"), &json!("n"), &json!("h"), &json!("9.6.0"))
    );
    let stats = running.json("/stats");
    for (path, expected) in [
        ("/dns/unmatched_requests", json!(2)),
        ("/dns/unmatched_responses", json!(0)),
        ("/http/unmatched_responses", json!(3)),
        ("/tcp/open", json!(4)),
        ("/libbeat/output/events/acked", json!(5)),
        ("/libbeat/output/events/failed", json!(0)),
        ("/libbeat/output/type", json!("file")),
        ("/libbeat/output/write/latency/histogram/max", json!(3)),
        ("/libbeat/output/write/latency_delta/histogram/count", json!(0)),
        ("/libbeat/pipeline/queue/filled/pct", json!(0.5)),
    ] {
        assert_eq!(stats.pointer(path), Some(&expected), "{path} in {stats:#}");
    }
    let state = running.json("/state");
    let os = json!({"codename": "", "family": "debian", "kernel": "6.1", "name": "", "platform": "debian", "version": ""});
    let host = json!({"architecture": "x86_64", "containerized": false, "hostname": "h", "id": "m", "os": os});
    assert_eq!((&state["host"], &state["output"]), (&host, &json!({"batch_size": -1, "clients": 1, "name": "file"})));
    assert_eq!((&state["queue"]["name"], &state["monitoring"]["cluster_uuid"]), (&json!("disk"), &json!("of monitoring")));
    assert_eq!(state["outputs"]["elasticsearch"]["cluster_uuid"], "of the output");
    let inputs = running.json("/inputs/");
    let ids: Vec<&str> = inputs.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    let run = "0123ABCD456789EF_0";
    assert_eq!(ids, [format!("{run}-af_packet::eth\"0"), format!("{run}-tcp-53-80::eth\"0"), format!("{run}-udp-53::eth\"0")]);
    let tcp = &inputs[1];
    assert_eq!(
        (&tcp["received_events_total"], &tcp["received_headers_total"], &tcp["received_bytes_total"]),
        (&json!(1), &json!(1), &json!(100))
    );
    assert_eq!((&tcp["syn_flags_total"], &tcp["psh_flags_total"], &tcp["fin_flags_total"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!((&tcp["tcp_overlaps"], &tcp["tcp"]["dropped_because_of_gaps"]), (&json!(6), &json!(8)));
    assert_eq!(tcp["arrival_period"]["histogram"]["max"], 20);
    assert_eq!(running.json("/inputs/?type=udp"), json!([inputs[2]]));
    assert_eq!(running.json("/inputs/?type=nothing"), json!([]));
    assert_eq!(running.json("/dataset")[ids[0]], inputs[0]);
}

#[test]
fn metrics_are_in_the_format_of_prometheus() {
    let running = start();
    let (_, _, text) = running.ask("GET /metrics");
    for line in [
        "# TYPE sniffer_protocol_unmatched_requests_total counter",
        "sniffer_protocol_unmatched_requests_total{protocol=\"dns\"} 2",
        "sniffer_protocol_unmatched_responses_total{protocol=\"http\"} 3",
        "# TYPE sniffer_tcp_open gauge",
        "sniffer_tcp_open 4",
        "# TYPE sniffer_flows_bytes_total counter",
        "sniffer_flows_bytes_total{transport=\"tcp\"} 50",
        "sniffer_flows_active 6",
        "sniffer_output_events_acked_total 5",
        "sniffer_pipeline_queue_filled_pct 0.5",
        "sniffer_input_lost_packets_total{device=\"eth\\\"0\",input=\"af_packet\"} 1",
        "sniffer_output_write_latency_seconds_count 1",
        "sniffer_output_write_latency_seconds_sum 0.003",
        "# TYPE process_cpu_seconds_total counter",
    ] {
        assert!(text.lines().any(|have| have == line), "no {line:?} in:\n{text}");
    }
    let mut types = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(types.insert(rest.split(' ').next().unwrap()), "{line}: a second time");
        } else if !line.starts_with('#') {
            let (_, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[test]
fn health_has_the_reason() {
    let running = start();
    assert_eq!(running.json("/healthz"), json!({"status": "ok"}));
    let fresh = start();
    fresh.fake.report.lock().unwrap().problem = Some("a \"worker\" ended".into());
    let (status, _, body) = fresh.ask("GET /healthz");
    assert_eq!((status, body.as_str()), (503, r#"{"reason":"a \"worker\" ended","status":"failing"}"#));
}

#[test]
fn many_requests_cost_few_reports() {
    let running = start();
    let began = Instant::now();
    let mut stream = running.connect();
    let mut answered = 0;
    for _ in 0..200 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut part = [0; 1024];
        let n = stream.read(&mut part).unwrap();
        answered += usize::from(part[..n].starts_with(b"HTTP/1.1 200 OK"));
    }
    let calls = running.fake.calls.load(Ordering::SeqCst);
    assert_eq!(answered, 200, "on one connection");
    // The source is asked at the beginning, and then at most once per 100 ms.
    let most = 1 + began.elapsed().as_millis() as usize / 100;
    assert!((1..=most).contains(&calls), "{calls} reports, at most {most}");
}

#[test]
fn a_slow_client_and_a_large_head_are_cut_off() {
    let running = Running::start(Duration::from_millis(200), PATIENCE);
    for begin in ["", "GET /stats HTTP/1.1\r\nHost: x\r\nX-Long: "] {
        let mut stream = running.connect();
        stream.write_all(begin.as_bytes()).unwrap();
        let mut rest = Vec::new();
        let result = stream.read_to_end(&mut rest);
        assert!(result.is_ok() || result.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset), "{begin:?}: the connection is closed");
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{begin:?}: {}", String::from_utf8_lossy(&rest));
    }
    let patient = start();
    let mut stream = patient.connect();
    let mut text = String::new();
    let sent = stream.write_all(format!("GET / HTTP/1.1\r\nX-Long: {}\r\n\r\n", "a".repeat(100_000)).as_bytes());
    let _ = stream.read_to_string(&mut text);
    assert!(text.starts_with("HTTP/1.1 431") || sent.is_err() || text.is_empty(), "{text}");
    assert!(!text.contains("packetbeat"), "{text}");
    assert_eq!(patient.ask("GET /").0, 200, "others are served");
}

#[test]
fn the_number_and_the_life_of_connections_are_bounded() {
    let running = Running::start(PATIENCE, Duration::from_millis(300));
    let idle: Vec<TcpStream> = (0..MOST_CONNECTIONS).map(|_| running.connect()).collect();
    // The next connection waits until the idle ones are closed because of their age.
    assert_eq!(running.ask("GET /").0, 200);
    for mut stream in idle {
        let ended = stream.read(&mut [0]);
        assert!(matches!(ended, Ok(0)), "{ended:?}");
    }
}

#[test]
fn dropping_the_server_closes_everything() {
    let running = start();
    let mut idle = running.connect();
    let address = running.address;
    assert_eq!(running.ask("GET /").0, 200);
    drop(running);
    let ended = idle.read(&mut [0]);
    assert!(matches!(ended, Ok(0)) || ended.is_err(), "{ended:?}");
    assert!(TcpStream::connect(address).is_err(), "the port is free");
}

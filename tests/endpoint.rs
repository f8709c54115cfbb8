//! Tests of the HTTP endpoint of the running program. `tests/endpoint/` has the shapes of the answers that Packetbeat's endpoint gives: in
//! a shape, each value is replaced by the name of its type.

use crate::{
    harness::{Home, tests},
    net::{Net, Running, may_run, until},
};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::net::UnixStream,
    path::Path,
};

/// The settings of an endpoint on a Unix socket in the folder of the run.
fn settings(home: &Path) -> String {
    format!("http: {{enabled: true, host: 'unix://{}/endpoint.sock'}}\n", home.display())
}

/// Status and body of the answer to a GET.
fn get(home: &Home, path: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(home.path().join("endpoint.sock")).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {text:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn json(home: &Home, path: &str) -> Value {
    let (status, body) = get(home, path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e} in {body}"))
}

/// Returns the places where `got` differs from `shape`. `got` may have additional keys.
fn missing(at: &str, shape: &Value, got: Option<&Value>) -> Vec<String> {
    let Some(got) = got else { return vec![format!("{at}: missing")] };
    match shape {
        Value::Object(keys) => keys.iter().flat_map(|(key, shape)| missing(&format!("{at}.{key}"), shape, got.get(key))).collect(),
        Value::String(kind) => {
            let fits = match kind.as_str() {
                "integer" => got.is_u64() || got.is_i64(),
                "float" => got.is_number(),
                "bool" => got.is_boolean(),
                "empty string" => got == "",
                "string" => got.is_string(),
                other => panic!("{at}: unknown type {other}"),
            };
            if fits { Vec::new() } else { vec![format!("{at}: {got} is not of type {kind}")] }
        }
        other => panic!("{at}: {other} is no shape"),
    }
}

fn shape(name: &str) -> Value {
    let text = fs::read_to_string(tests().join("endpoint").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Fails if the counters of `/stats` do not add up.
fn adds_up(stats: &Value) {
    let of = |path: &str| stats.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {path} in {stats:#}"));
    let output = |name: &str| of(&format!("/libbeat/output/events/{name}"));
    let events = |name: &str| of(&format!("/libbeat/pipeline/events/{name}"));
    let queue = |name: &str| of(&format!("/libbeat/pipeline/queue/{name}"));
    assert_eq!(output("total"), output("acked") + output("failed") + output("dropped") + output("active"), "{stats:#}");
    assert_eq!(events("total"), events("published") + events("filtered") + events("dropped") + events("failed"), "{stats:#}");
    assert_eq!(queue("added/events"), queue("removed/events") + queue("filled/events"), "{stats:#}");
    assert_eq!((events("published"), events("active")), (queue("added/events"), queue("filled/events")), "{stats:#}");
}

#[test]
fn live_answers_have_the_shapes_of_packetbeat_and_true_counters() {
    if !may_run("live_answers_have_the_shapes_of_packetbeat_and_true_counters") {
        return;
    }
    for kind in ["af_packet", "ebpf", "pcap"] {
        let net = Net::new();
        let home = Home::with_output("");
        let out = home.path().join("out");
        home.write(
            "packetbeat.yml",
            &format!(
                "packetbeat.interfaces: {{device: v0, type: {kind}}}\n\
                 packetbeat.protocols: [{{type: http, ports: [8123]}}, {{type: dns, ports: [53]}}]\n\
                 processors: [{{drop_event.when.contains.url.path: /secret}}]\n\
                 queue.mem: {{flush.min_events: 1}}\n\
                 output.file: {{path: {}, filename: events}}\n{}",
                out.display(),
                settings(home.path())
            ),
        );
        let mut server = Running::start(net.on_server("python3").args(["-c", SERVER]));
        server.wait_for("listening");
        let program = home.live();
        let mut running = Running::start(net.on_client(&program.get_program().to_string_lossy()).args(program.get_args()));
        running.wait_for("sniffer is running");
        let urls = ["/a", "/b", "/secret"].map(|path| format!("http://192.0.2.2:8123{path}"));
        let curl = net
            .on_client("curl")
            .args(["-sf", "--noproxy", "*", "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null"])
            .args(&urls)
            .status();
        assert!(curl.unwrap().success());
        until("three transactions are counted", || {
            let stats = json(&home, "/stats");
            let of = |path: &str| stats.pointer(path).and_then(Value::as_u64).unwrap_or_default();
            (of("/libbeat/output/events/acked"), of("/libbeat/pipeline/events/filtered")) == (2, 1)
        });
        let stats = json(&home, "/stats");
        adds_up(&stats);
        assert_eq!(stats["libbeat"]["output"]["type"], "file");
        assert_eq!(stats["libbeat"]["output"]["write"]["latency"]["histogram"]["count"], stats["libbeat"]["output"]["events"]["batches"]);
        // `processor.*` depends on the processors that are configured.
        let mut expected = shape("stats.json");
        expected.as_object_mut().unwrap().remove("processor");
        assert_eq!(missing("stats", &expected, Some(&stats)), Vec::<String>::new(), "{kind}");
        for (path, file) in [("/", "root.json"), ("/state", "state.json")] {
            assert_eq!(missing(path, &shape(file), Some(&json(&home, path))), Vec::<String>::new(), "{kind}");
        }
        let inputs = json(&home, "/inputs/");
        let expected = shape("inputs.json");
        for (shape, got) in expected.as_array().unwrap().iter().zip(inputs.as_array().unwrap()) {
            assert_eq!(missing("inputs", shape, Some(got)), Vec::<String>::new(), "{kind}: {got:#}");
        }
        assert_eq!(inputs.as_array().unwrap().len(), 3, "{inputs:#}");
        assert_eq!(inputs[0]["input"], kind);
        let tcp = &inputs[1];
        let count = |name: &str| tcp[name].as_u64().unwrap();
        // The capture has one connection with three requests. Each request has one response of at most two segments.
        assert_eq!((count("syn_flags_total"), count("fin_flags_total"), count("rst_flags_total")), (2, 2, 0), "{kind}: {tcp:#}");
        assert!((6..=9).contains(&count("received_events_total")), "{kind}: {tcp:#}");
        let segments = count("received_events_total") + count("received_headers_total");
        assert_eq!(count("ack_flags_total"), segments - 1, "{kind}: every segment but the first acknowledges; {tcp:#}");
        assert_eq!(tcp["arrival_period"]["histogram"]["count"], segments - 1, "{kind}");
        assert!(tcp["processing_time"]["histogram"]["count"].as_u64().unwrap() > 0, "{kind}: {tcp:#}");
        assert_eq!(json(&home, "/dataset")[tcp["id"].as_str().unwrap()], *tcp);
        let (_, metrics) = get(&home, "/metrics");
        let line = format!("sniffer_input_protocol_packets_total{{device=\"v0\",transport=\"tcp\"}} {segments}");
        assert!(metrics.lines().any(|have| have == line), "{kind}: no {line} in\n{metrics}");
        running.stop();
        assert!(!home.path().join("endpoint.sock").exists(), "the socket is removed");
    }
}

/// Answers every request with a body that fits into one segment, and closes no connection.
const SERVER: &str = r#"
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 1000)

server = ThreadingHTTPServer(("192.0.2.2", 8123), Handler)
print("listening", file=sys.stderr, flush=True)
server.serve_forever()
"#;

#[test]
fn counters_add_up_while_a_file_is_read_and_a_change_of_http_is_refused() {
    let home = Home::with_output("");
    let config = |more: &str| {
        let out = home.path().join("out");
        format!(
            "packetbeat.protocols: [{{type: dns, ports: [53]}}]\nreload: {{enabled: true, period: 100ms}}\n\
             output.file: {{path: {}, filename: events}}\n{}{more}",
            out.display(),
            settings(home.path())
        )
    };
    home.write("packetbeat.yml", &config("http.metrics.transactions.enabled: true\n"));
    let capture = crate::ending::capture(&home, 50);
    let mut running = Running::start(home.command(&["-e", "-t", "-l", "0"]).arg("-I").arg(capture));
    running.wait_for("sniffer is running");
    until("events are delivered", || json(&home, "/stats").pointer("/libbeat/output/events/acked").unwrap().as_u64().unwrap() > 1000);
    let (_, metrics) = get(&home, "/metrics");
    let start = "sniffer_transactions_total{protocol=\"dns\",server=\"10.0.0.2:53\",operation=\"QUERY\"} ";
    let counted = metrics.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_else(|| panic!("no {start} in\n{metrics}"));
    assert!(counted.parse::<u64>().unwrap() > 1000, "{counted}");
    for _ in 0..20 {
        adds_up(&json(&home, "/stats"));
    }
    assert_eq!(get(&home, "/healthz"), (200, r#"{"status":"ok"}"#.to_owned()));
    home.write("packetbeat.yml", &config("http.port: 7\nhttp.metrics.transactions.enabled: true\n"));
    running.wait_for("The running configuration stays in force");
    let last = running.last();
    assert!(last.contains("http.port: cannot be changed while the program runs; restart it for this change"), "{last}");
    home.write("packetbeat.yml", &config("http.metrics.transactions.enabled: true\ntags: [new]\n"));
    running.wait_for("The new configuration is in force");
    // The counter changes after the line is written.
    until("the reload is counted", || json(&home, "/stats")["libbeat"]["config"]["reloads"] == 1);
    let config = json(&home, "/stats")["libbeat"]["config"].clone();
    assert!(config["scans"].as_u64().unwrap() > 0, "{config}");
    running.stop();
}

#[test]
fn without_its_address_the_program_runs_without_the_endpoint() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port();
    for (settings, expected, runs) in [
        (format!("{{enabled: true, port: {port}}}"), format!("packetbeat.yml:2: http.port: cannot listen on {address}: "), true),
        ("{enabled: true, host: 'unix:///no/such/folder/s'}".into(), "packetbeat.yml:2: http.host: cannot listen on /no/such".into(), true),
        (
            "{enabled: true, named_pipe.user: x}".into(),
            "packetbeat.yml:2: http.named_pipe.user: named pipes exist only on Windows".into(),
            false,
        ),
    ] {
        let home =
            Home::with_output(&format!("output.console: {{}}\nhttp: {settings}\npacketbeat.protocols: [{{type: dns, ports: [53]}}]\n"));
        let output = home.read_capture(&crate::ending::capture(&home, 1));
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((output.status.success(), stdout.lines().count()), (runs, usize::from(runs)), "{stdout}{stderr}");
        let is_said = |line: &str| line.contains(&expected) && line.contains("runs without the HTTP endpoint") == runs;
        assert!(stderr.lines().any(is_said), "{expected}\n{stderr}");
    }
}

//! Tests of `output.otlp` against a collector made of OpenTelemetry's own receiver (`collector/`).

use super::{COUNT, Running, ServerProcess, certificates, free_port, queries_to, required_variable, wait_until};
use crate::{
    golden,
    harness::{Home, assert_success},
};
use serde_json::Value;
use std::{collections::BTreeSet, fs, net::TcpStream, path::Path, process::Command, time::Duration};

/// The collector. Dropping the value ends it.
struct Collector<'a> {
    folder: &'a Path,
    /// The ports for HTTP and for gRPC.
    ports: [u16; 2],
    process: ServerProcess,
}

impl<'a> Collector<'a> {
    fn new(folder: &'a Path) -> Self {
        Self { folder, ports: [free_port(), free_port()], process: ServerProcess::default() }
    }

    fn start(&mut self, args: &[&str]) {
        let [http, grpc] = self.ports.map(|port| format!("localhost:{port}"));
        let mut command = Command::new(required_variable("SNIFFER_TEST_COLLECTOR"));
        command.args(["-http", &http, "-grpc", &grpc, "-out"]).arg(self.folder.join("events")).args(args);
        self.process.start(&mut command);
        for port in self.ports {
            wait_until("the collector", || TcpStream::connect(("localhost", port)).is_ok());
        }
    }

    /// The protocols with their ports.
    fn protocols(&self) -> [(&'static str, u16); 2] {
        [("http/protobuf", self.ports[0]), ("grpc", self.ports[1])]
    }

    /// What arrived. An incomplete line, which the killed collector left, is left out.
    fn received(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.join("events")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The names of the questions that arrived, and the number of spans.
    fn names(&self) -> (BTreeSet<String>, usize) {
        let received = self.received();
        let names = received.iter().map(|span| span["attributes"]["dns.question.name"].as_str().unwrap().to_owned());
        (names.collect(), received.len())
    }
}

#[test]
#[ignore = "needs a server: cargo xtask test-servers"]
fn servers_otlp_stops_starts_refuses_and_hangs_and_no_event_is_lost() {
    for grpc in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut collector = Collector::new(folder.path());
        let (protocol, port) = collector.protocols()[usize::from(grpc)];
        let output =
            format!("output.otlp: {{hosts: ['localhost:{port}'], protocol: {protocol}, timeout: 1s, backoff: {{init: 0.1s, max: 0.3s}}}}");
        let home = queries_to(&output, Duration::from_millis(60));
        let mut running = Running::start(&home, &["-e", "-I", home.path().join("x.pcap").to_str().unwrap()]);
        running.wait_for("Failed to connect to the output", 30);
        collector.start(&[]);
        wait_until("the first events", || collector.names().1 > 0);
        collector.process.stop();
        running.wait_for("Failed to", 30);
        let before = collector.names().1;
        collector.start(&["-refuse"]);
        // The number of the status differs between HTTP and gRPC.
        let status = if grpc { "gRPC status 14" } else { "503" };
        running.wait_for(status, 30);
        assert_eq!(collector.names().1, before);
        collector.process.stop();
        collector.start(&[]);
        wait_until("events of the collector that accepts again", || collector.names().1 > before);
        collector.process.signal("STOP");
        let lines = running.log().len();
        wait_until("a time-out", || running.log()[lines..].contains("Failed to"));
        collector.process.signal("CONT");
        let status = running.wait(90);
        let (names, events) = collector.names();
        println!("{protocol}: {events} events for {} of {COUNT} questions", names.len());
        assert!(status.success() && names.len() == COUNT as usize, "{protocol}: {status}, {} of {COUNT}:\n{}", names.len(), running.log());
    }
}

#[test]
#[ignore = "needs a server: cargo xtask test-servers"]
fn servers_otlp_with_tls_and_without_compression() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let mut collector = Collector::new(folder.path());
    collector.start(&["-cert", &file("srv.pem"), "-key", &file("srv.key")]);
    for (protocol, port) in collector.protocols() {
        for more in ["compression: none", "compression: gzip, bulk_max_size: 7, worker: 2"] {
            let before = collector.names().1;
            let output = format!(
                "output.otlp: {{hosts: ['https://localhost:{port}'], protocol: {protocol}, {more}, ssl.certificate_authorities: ['{}']}}",
                file("ca.pem")
            );
            let home = queries_to(&output, Duration::ZERO);
            let tested = home.command(&["test", "output"]).output().unwrap();
            assert!(String::from_utf8_lossy(&tested.stdout).contains("talk to server... OK"), "{tested:?}");
            let mut running = Running::start(&home, &["-e", "-t", "-I", home.path().join("x.pcap").to_str().unwrap()]);
            let status = running.wait(60);
            let (names, events) = collector.names();
            assert!(status.success() && (names.len(), events - before) == (200, 200), "{more}: {status}, {events}:\n{}", running.log());
        }
    }
}

#[test]
#[ignore = "needs a server: cargo xtask test-servers"]
fn servers_otlp_events_that_the_collector_refuses_are_dropped_and_counted() {
    for grpc in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut collector = Collector::new(folder.path());
        collector.start(&["-invalid"]);
        let (protocol, port) = collector.protocols()[usize::from(grpc)];
        let output = format!(
            "output.otlp: {{hosts: ['localhost:{port}'], protocol: {protocol}, max_retries: 0, backoff: {{init: 0.1s, max: 0.1s}}}}"
        );
        let home = queries_to(&output, Duration::ZERO);
        let mut running = Running::start(&home, &["-e", "-t", "-I", home.path().join("x.pcap").to_str().unwrap()]);
        let status = running.wait(60);
        assert!(status.success() && running.log().contains("refused too often"), "{protocol}: {status}\n{}", running.log());
        assert_eq!(collector.received().len(), 0);
    }
}

/// Every expected document arrives: a flow as a log record, all others as spans.
#[test]
#[ignore = "needs a server: cargo xtask test-servers"]
fn servers_otlp_every_document_arrives() {
    for grpc in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut collector = Collector::new(folder.path());
        collector.start(&[]);
        let (protocol, port) = collector.protocols()[usize::from(grpc)];
        let mut total = 0;
        for capture in golden::captures() {
            let before = collector.received().len();
            let output = format!("output.otlp: {{hosts: ['localhost:{port}'], protocol: {protocol}}}");
            let home = Home::with_output(&format!("name: golden\n{}\n{output}\n", golden::options(&capture)));
            assert_success(&home.read_capture(&capture));
            let expected = fs::read_to_string(capture.with_extension("ndjson")).unwrap();
            let expected: Vec<Value> = expected.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let flows = expected.iter().filter(|document| document["type"] == "flow").count();
            let received = collector.received().split_off(before);
            let logs = received.iter().filter(|event| event["signal"] == "log").count();
            assert_eq!((received.len(), logs), (expected.len(), flows), "{protocol}, {}", capture.display());
            for event in &received {
                assert_eq!(event["resource"]["agent.name"], "golden", "{event}");
                assert!(event["signal"] == "log" || !event["name"].as_str().unwrap().is_empty(), "{event}");
            }
            total += received.len();
        }
        println!("{protocol}: {total} documents");
        assert!(total > 0);
    }
}

#[test]
#[ignore = "needs a server: cargo xtask test-servers"]
fn servers_otlp_metrics_of_transactions_arrive_beside_another_output() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::new(folder.path());
    collector.start(&[]);
    for (protocol, port) in collector.protocols() {
        let before = collector.received().len();
        let home = queries_to(
            &format!(
                "output.console: {{}}\notlp.metrics: {{enabled: true, endpoint: 'localhost:{port}', protocol: {protocol}, interval: 1h}}"
            ),
            Duration::ZERO,
        );
        let capture = home.path().join("x.pcap");
        assert_success(&home.read_capture(&capture));
        let points = collector.received().split_off(before);
        let named = |name: &str| points.iter().filter(|point| point["name"] == name).collect::<Vec<_>>();
        let [transactions, errors, durations] =
            ["sniffer.transactions", "sniffer.transaction.errors", "sniffer.transaction.duration"].map(named);
        assert_eq!((transactions.len(), errors.len(), durations.len()), (1, 1, 1), "{protocol}: {points:#?}");
        assert_eq!((&transactions[0]["value"], &errors[0]["value"], &durations[0]["count"]), (&200.into(), &0.into(), &200.into()));
        let attributes = &transactions[0]["attributes"];
        assert_eq!((&attributes["server.address"], &attributes["server.port"]), (&"10.0.0.2".into(), &53.into()));
        assert_eq!(transactions[0]["resource"]["service.name"], "packetbeat");
    }
}

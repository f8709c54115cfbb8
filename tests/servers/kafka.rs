//! Tests of `output.kafka` against a real broker.

use super::{COUNT, Running, names, queries_to, required_variable, shell, signal, wait_until};
use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf, process::Command, time::Duration};

/// How often a topic is read until one reading succeeds.
const READS: u32 = 5;

/// The broker that `kafka.sh` runs.
struct Kafka {
    folder: PathBuf,
    port: u16,
}

impl Kafka {
    /// Starts the broker if it is not running: an earlier test that failed may have stopped it.
    fn up() -> Self {
        let port = required_variable("SNIFFER_TEST_KAFKA_PORT").parse().unwrap();
        let kafka = Self { folder: required_variable("SNIFFER_TEST_KAFKA_FOLDER").into(), port };
        kafka.start();
        kafka
    }

    fn start(&self) {
        shell("SNIFFER_TEST_KAFKA_START");
    }

    fn stop(&self) {
        shell("SNIFFER_TEST_KAFKA_STOP");
    }

    fn signal(&self, name: &str) {
        signal(fs::read_to_string(self.folder.join("pid")).unwrap().trim().parse().unwrap(), name);
    }

    /// The output of kcat for each message of a topic; empty if the broker has no such topic. Where kcat fails for another reason, for
    /// example because the broker did not answer in time, it is started again, up to [`READS`] times.
    fn messages(&self, topic: &str, format: &str) -> String {
        let broker = format!("127.0.0.1:{}", self.port);
        let mut failures = String::new();
        for _ in 0..READS {
            let read = Command::new("kcat").args(["-b", &broker, "-C", "-t", topic, "-e", "-q", "-o", "beginning", "-f", format]).output();
            let read = read.unwrap();
            let said = String::from_utf8_lossy(&read.stderr);
            if read.status.success() || said.contains("Unknown topic") {
                return String::from_utf8_lossy(&read.stdout).into_owned();
            }
            writeln!(failures, "{}: {said}", read.status).unwrap();
        }
        panic!("kcat cannot read topic {topic}:\n{failures}");
    }

    fn names(&self, topic: &str) -> (BTreeSet<String>, usize) {
        names(&self.messages(topic, "%s\n"))
    }

    /// Settings for a connection to the broker's listener with SASL and TLS.
    fn secured(&self, mechanism: &str, password: &str) -> String {
        let (port, ca) = (self.port + 1, self.folder.join("ca.pem"));
        format!(
            "hosts: ['127.0.0.1:{port}'], username: sender, password: {password}, sasl.mechanism: {mechanism}, \
             ssl.certificate_authorities: ['{}']",
            ca.display()
        )
    }
}

#[test]
#[ignore = "needs a server: cargo xtask test-servers"]
fn servers_kafka_stops_starts_and_hangs_and_no_event_is_lost() {
    let kafka = Kafka::up();
    kafka.stop();
    let topic = format!("stopped-{}", std::process::id());
    let output =
        format!("output.kafka: {{hosts: ['127.0.0.1:{}'], topic: {topic}, timeout: 1s, backoff: {{init: 0.1s, max: 0.5s}}}}", kafka.port);
    let home = queries_to(&output, Duration::from_millis(300));
    let mut running = Running::start(&home, &["-e", "-I", home.path().join("x.pcap").to_str().unwrap()]);
    running.wait_for("Failed to connect to the output", 30);
    kafka.start();
    running.wait_for("established", 30);
    wait_until("the first events", || kafka.names(&topic).1 > 0);
    let before = kafka.names(&topic).1;
    kafka.stop();
    running.wait_for("Failed to publish", 30);
    kafka.start();
    wait_until("events after the restart", || kafka.names(&topic).1 > before);
    kafka.signal("STOP");
    running.wait_for("no progress within `timeout`", 30);
    kafka.signal("CONT");
    let status = running.wait(120);
    let (names, messages) = kafka.names(&topic);
    println!("{messages} messages for {} of {COUNT} questions", names.len());
    assert!(status.success() && names.len() == COUNT as usize, "{status}, {} of {COUNT}:\n{}", names.len(), running.log());
}

#[test]
#[ignore = "needs a server: cargo xtask test-servers"]
fn servers_kafka_reads_every_codec_and_halves_what_is_too_large() {
    let kafka = Kafka::up();
    let mechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
    for (n, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let topic = format!("codec-{codec}-{}", std::process::id());
        // The broker accepts batches of 20 kB, and all events together are ten times as long.
        let more = "key: '%{[dns.question.name]}', headers: [{key: h, value: 1}, {key: h, value: 2}], required_acks: -1";
        let secured = kafka.secured(mechanisms[n % 3], "a secret");
        let home = queries_to(&format!("output.kafka: {{{secured}, topic: {topic}, compression: {codec}, {more}}}"), Duration::ZERO);
        let mut running = Running::start(&home, &["-e", "-t", "-I", home.path().join("x.pcap").to_str().unwrap()]);
        let status = running.wait(60);
        let (names, messages) = kafka.names(&topic);
        assert!(status.success() && (names.len(), messages) == (200, 200), "{codec}: {status}, {messages} messages:\n{}", running.log());
        let mut described = String::new();
        wait_until("all messages with their keys, headers and partitions", || {
            described = kafka.messages(&topic, "%k %h %p\n");
            described.lines().count() >= messages
        });
        let partitions: BTreeSet<&str> = described.lines().filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(partitions.len(), 3, "keys choose the partition: {partitions:?}");
        assert!(described.lines().any(|line| line.starts_with("n0007.test h=1,h=2 ")), "{described}");
    }
}

#[test]
#[ignore = "needs a server: cargo xtask test-servers"]
fn servers_kafka_refuses_credentials_and_events_that_are_too_large() {
    let kafka = Kafka::up();
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let output = format!("output.kafka: {{{}, topic: refused}}", kafka.secured(mechanism, "wrong-one"));
        let home = queries_to(&output, Duration::ZERO);
        let running = Running::start(&home, &["-e", "-t", "-I", home.path().join("x.pcap").to_str().unwrap()]);
        running.wait_for("authentication: ", 30);
        assert!(!running.log().contains("wrong-one"), "the password is in the log:\n{}", running.log());
    }
    // Each event alone is larger than the broker accepts, or than the option allows.
    for (limit, why) in [(1_000_000, "the event alone is larger than the broker accepts"), (2000, "larger than max_message_bytes (2000)")] {
        let topic = format!("large-{limit}-{}", std::process::id());
        let large = "x".repeat(30_000);
        let output = format!(
            "fields.x: {large}\noutput.kafka: {{hosts: ['127.0.0.1:{}'], topic: {topic}, compression: none, max_message_bytes: {limit}}}",
            kafka.port
        );
        let home = queries_to(&output, Duration::ZERO);
        let mut running = Running::start(&home, &["-e", "-t", "-I", home.path().join("x.pcap").to_str().unwrap()]);
        assert!(running.wait(60).success(), "{}", running.log());
        assert!(running.log().contains(why), "{}", running.log());
        assert_eq!(kafka.names(&topic).1, 0);
    }
}

//! Tests of `output.logstash` against a Beats input made of Elastic's own server library (`lumberjack/`).

use super::{COUNT, Running, ServerProcess, certificates, free_port, names, queries_to, required_variable, wait_until};
use std::{collections::BTreeSet, fs, net::TcpStream, path::Path, process::Command, time::Duration};

/// The server. Dropping the value ends it.
struct Input<'a> {
    folder: &'a Path,
    port: u16,
    process: ServerProcess,
}

impl<'a> Input<'a> {
    fn new(folder: &'a Path) -> Self {
        Self { folder, port: free_port(), process: ServerProcess::default() }
    }

    fn start(&mut self, args: &[&str]) {
        let mut command = Command::new(required_variable("SNIFFER_TEST_LUMBERJACK"));
        command.args(["-bind", &format!("127.0.0.1:{}", self.port), "-out"]).arg(self.folder.join("events")).args(args);
        self.process.start(&mut command);
        wait_until("the server", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    /// The names of the questions that arrived. An incomplete line, which the killed server left, is left out.
    fn names(&self) -> (BTreeSet<String>, usize) {
        let text = fs::read_to_string(self.folder.join("events")).unwrap_or_default();
        names(&text.lines().filter(|line| line.ends_with('}')).map(|line| format!("{line}\n")).collect::<String>())
    }
}

#[test]
#[ignore = "needs a server: cargo xtask test-servers"]
fn servers_logstash_stops_starts_is_slow_and_hangs_and_no_event_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut input = Input::new(folder.path());
    let output = format!("output.logstash: {{hosts: ['127.0.0.1:{}'], timeout: 1s, backoff: {{init: 0.1s, max: 0.3s}}}}", input.port);
    let home = queries_to(&output, Duration::from_millis(80));
    let mut running = Running::start(&home, &["-e", "-I", home.path().join("x.pcap").to_str().unwrap()]);
    running.wait_for("Failed to connect to the output", 30);
    input.start(&[]);
    wait_until("the first events", || input.names().1 > 0);
    input.process.stop();
    running.wait_for("Failed to", 30);
    let before = input.names().1;
    // Each acknowledgement comes after the time limit. Before that, the server reports that it is still working.
    input.start(&["-delay", "1500ms"]);
    wait_until("events of the slow server", || input.names().1 > before + 20);
    assert!(!running.log().contains("silent"), "a slow server is not silent:\n{}", running.log());
    input.process.stop();
    let before = input.names().1;
    input.start(&[]);
    wait_until("events of the quick server", || input.names().1 > before);
    input.process.signal("STOP");
    running.wait_for("Logstash is silent for `timeout`", 30);
    input.process.signal("CONT");
    let status = running.wait(90);
    let (names, events) = input.names();
    println!("{events} events for {} of {COUNT} questions", names.len());
    assert!(status.success() && names.len() == COUNT as usize, "{status}, {} of {COUNT}:\n{}", names.len(), running.log());
}

#[test]
#[ignore = "needs a server: cargo xtask test-servers"]
fn servers_logstash_with_tls_and_every_compression() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let mut input = Input::new(folder.path());
    input.start(&["-cert", &file("srv.pem"), "-key", &file("srv.key")]);
    for (level, more) in [(0, "pipelining: 0"), (3, "slow_start: true"), (9, "bulk_max_size: 7, pipelining: 5, ttl: 50ms")] {
        let before = input.names().1;
        let output = format!(
            "output.logstash: {{hosts: ['localhost:{}'], compression_level: {level}, {more}, ssl.certificate_authorities: ['{}']}}",
            input.port,
            file("ca.pem")
        );
        let home = queries_to(&output, Duration::ZERO);
        let mut running = Running::start(&home, &["-e", "-t", "-I", home.path().join("x.pcap").to_str().unwrap()]);
        let status = running.wait(60);
        let (names, events) = input.names();
        assert!(status.success() && (names.len(), events - before) == (200, 200), "{more}: {status}, {events}:\n{}", running.log());
    }
}

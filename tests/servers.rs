//! Tests against real servers. `cargo xtask test-servers` downloads and starts Elasticsearch and Kafka, and builds a Beats input
//! and an OpenTelemetry collector (`servers/`). The variables `SNIFFER_TEST_*` contain addresses, and the commands that stop and start the servers. These tests run one at a
//! time, because some of them stop the server. Redis comes from the system's packages, and its tests are among the ordinary ones.

mod kafka;
mod logstash;
mod otlp;
mod redis;

use crate::{
    golden,
    harness::{Home, assert_success},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

fn required_variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: `cargo xtask test-servers` runs these tests"))
}

/// The Elasticsearch server.
struct Server {
    /// The URL with user and password, for curl.
    url: String,
}

impl Server {
    /// Starts the server if it is not running: an earlier test that failed may have stopped it.
    fn up() -> Self {
        let server = Self { url: required_variable("SNIFFER_TEST_ELASTICSEARCH") };
        server.start();
        server
    }

    fn start(&self) {
        shell("SNIFFER_TEST_ELASTICSEARCH_START");
    }

    fn stop(&self) {
        shell("SNIFFER_TEST_ELASTICSEARCH_STOP");
    }

    /// The setting `output.elasticsearch` for this server. `more` is appended inside the braces and may override earlier keys.
    fn output(&self, more: &str) -> String {
        let (user, host) = self.url.strip_prefix("http://").and_then(|rest| rest.split_once('@')).unwrap();
        let (name, password) = user.split_once(':').unwrap();
        format!(
            "output.elasticsearch: {{hosts: ['http://{host}'], username: {name}, password: {password}, backoff: {{init: 0.2s, max: 1s}}{more}}}\n"
        )
    }

    fn ask(&self, path: &str) -> Value {
        let answer = Command::new("curl").args(["-sS", "-m", "30"]).arg(format!("{}/{path}", self.url)).output().unwrap();
        serde_json::from_slice(&answer.stdout).unwrap_or_else(|e| panic!("{path}: {e}: {}", String::from_utf8_lossy(&answer.stderr)))
    }

    /// The documents in `index` whose `agent.name` is `name`.
    fn found(&self, index: &str, name: &str) -> Vec<Value> {
        self.ask(&format!("{index}/_refresh"));
        let found = self.ask(&format!("{index}/_search?size=10000&q=agent.name:%22{name}%22"));
        let hits = found["hits"]["hits"].as_array().unwrap_or_else(|| panic!("{index}, {name}: {found}"));
        hits.iter().map(|hit| hit["_source"].clone()).collect()
    }
}

fn shell(variable: &str) {
    let command = required_variable(variable);
    let status = Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).status().unwrap();
    assert!(status.success(), "`{command}`: {status}");
}

/// The process of a server that a test starts and stops. Dropping the value ends the process.
#[derive(Default)]
struct ServerProcess(Option<Child>);

impl ServerProcess {
    fn start(&mut self, command: &mut Command) {
        self.0 = Some(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.0.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn signal(&self, name: &str) {
        signal(self.0.as_ref().unwrap().id(), name);
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The program running in the background. Dropping the value kills the program.
struct Running {
    program: Child,
    log: PathBuf,
}

impl Running {
    fn start(home: &Home, args: &[&str]) -> Self {
        let log = home.path().join("log");
        let program = home.command(args).stdin(Stdio::null()).stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        Self { program, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log contains `text`.
    fn wait_for(&self, text: &str, seconds: u64) {
        let until = Instant::now() + Duration::from_secs(seconds);
        while !self.log().contains(text) {
            assert!(Instant::now() < until, "`{text}` is not in the log after {seconds} s:\n{}", self.log());
            sleep(Duration::from_millis(50));
        }
    }

    fn wait(&mut self, seconds: u64) -> ExitStatus {
        let until = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(status) = self.program.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the program has not ended after {seconds} s:\n{}", self.log());
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Makes a raw-IP pcap file with `count` DNS queries and their responses, each for a different name. `gap` is the time between the queries.
fn questions(count: u32, gap: Duration) -> Vec<u8> {
    let mut file = [0xa1b2_c3d4u32.to_le_bytes(), [2, 0, 4, 0], [0; 4], [0; 4], 65_535u32.to_le_bytes(), 101u32.to_le_bytes()].concat();
    for n in 0..count {
        let id = (n as u16).to_be_bytes();
        let question = [b"\x05".as_slice(), format!("n{n:04}").as_bytes(), b"\x04test\0\0\x01\0\x01"].concat();
        let query = [&id, b"\x01\0\0\x01\0\0\0\0\0\0".as_slice(), &question].concat();
        let answer =
            [&id, b"\x81\x80\0\x01\0\x01\0\0\0\0".as_slice(), &question, b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01"].concat();
        for (late, from, ports, dns) in [(0, 1, [40_000u16, 53], query), (1, 2, [53, 40_000], answer)] {
            let time = 1_700_000_000_000_000 + u64::from(n) * gap.as_micros() as u64 + late * 1000;
            let length = 28 + dns.len() as u16;
            let mut packet = vec![0x45, 0];
            packet.extend(length.to_be_bytes());
            packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, from, 10, 0, 0, 3 - from]);
            packet.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
            packet.extend((length - 20).to_be_bytes());
            packet.extend([0, 0]);
            packet.extend(dns);
            for word in [(time / 1_000_000) as u32, (time % 1_000_000) as u32, length.into(), length.into()] {
                file.extend(word.to_le_bytes());
            }
            file.extend(packet);
        }
    }
    file
}

/// A folder with a capture of [`COUNT`] DNS queries, and a configuration with this output.
fn queries_to(output: &str, gap: Duration) -> Home {
    let home = Home::with_output(&format!(
        "packetbeat.protocols: [{{type: dns, ports: [53]}}]\npacketbeat.shutdown_timeout: 60s\nqueue.mem.flush.timeout: 50ms\n{output}\n"
    ));
    fs::write(home.path().join("x.pcap"), questions(COUNT, gap)).unwrap();
    home
}

/// The names of the questions in these documents, one per line, and the number of documents.
fn names(documents: &str) -> (BTreeSet<String>, usize) {
    let parsed = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let documents: Vec<Value> = documents.lines().filter(|line| !line.is_empty()).map(parsed).collect();
    let names = documents.iter().map(|document| document["dns"]["question"]["name"].as_str().unwrap().to_owned());
    (names.collect(), documents.len())
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "{what}: not after a minute");
        sleep(Duration::from_millis(20));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port()
}

/// Makes an authority (`ca`), and two certificates that it signs: one for the server (`srv`, for localhost) and one for the client (`cli`).
fn certificates(folder: &Path) {
    let script = "set -e
        new='openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'
        $new -subj /CN=ca -keyout ca.key -out ca.pem
        for end in srv cli; do $new -subj /CN=$end -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
            -CA ca.pem -CAkey ca.key -keyout $end.key -out $end.pem; done";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Sends a signal to a process.
fn signal(process: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap().success());
}

/// A folder with a capture of DNS queries, and a configuration that sends their events to `index`.
fn dns_to(server: &Server, index: &str) -> Home {
    let home = Home::with_output(&format!(
        "name: {index}\npacketbeat.protocols: [{{type: dns, ports: [53]}}]\npacketbeat.shutdown_timeout: 120s\n\
         setup.template: {{name: {index}, pattern: '{index}*'}}\nlogging.level: info\n{}",
        server.output(&format!(", index: {index}"))
    ));
    fs::write(home.path().join("x.pcap"), questions(COUNT, GAP)).unwrap();
    home
}

const COUNT: u32 = 200;
const GAP: Duration = Duration::from_millis(50);

/// Asserts that the index contains every query. Duplicates are allowed: the server may have stored an event and stopped before it
/// acknowledged it.
fn assert_all_there(server: &Server, index: &str) {
    let documents = server.found(index, index);
    let names: BTreeSet<&str> = documents.iter().filter_map(|d| d["dns"]["question"]["name"].as_str()).collect();
    let wanted: Vec<String> = (0..COUNT).map(|n| format!("n{n:04}.test")).collect();
    let missing: Vec<&String> = wanted.iter().filter(|name| !names.contains(name.as_str())).collect();
    println!("{index}: {} documents for {} questions", documents.len(), names.len());
    assert!(missing.is_empty() && names.len() == wanted.len(), "{} of {} are missing: {missing:?}", missing.len(), wanted.len());
}

fn sorted(mut documents: Vec<Value>) -> Vec<String> {
    for document in &mut documents {
        let document = document.as_object_mut().unwrap();
        // Remove the fields that differ between runs or hosts, as `golden::documents` does.
        for constant in ["@metadata", "agent", "ecs", "host"] {
            document.remove(constant);
        }
    }
    let mut lines: Vec<String> = documents.iter().map(Value::to_string).collect();
    lines.sort();
    lines
}

#[test]
#[ignore = "needs a server: cargo xtask test-servers"]
fn servers_elasticsearch_stores_the_same_documents_as_a_file() {
    let server = Server::up();
    let (captures, mut total, mut wrong) = (golden::captures(), 0, String::new());
    for (n, capture) in captures.iter().enumerate() {
        let name = format!("capture-{n}");
        let home = Home::with_output(&format!("name: {name}\n{}\n{}", golden::options(capture), server.output("")));
        assert_success(&home.read_capture(capture));
        let (want, got) = (sorted(golden::documents(capture)), sorted(server.found("packetbeat-*", &name)));
        total += got.len();
        if want != got {
            let only =
                |a: &[String], b: &[String]| a.iter().filter(|line| !b.contains(line)).take(2).cloned().collect::<Vec<_>>().join("\n  ");
            wrong += &format!(
                "{}: {} documents in a file, {} in Elasticsearch\n only in the file:\n  {}\n only in Elasticsearch:\n  {}\n",
                capture.display(),
                want.len(),
                got.len(),
                only(&want, &got),
                only(&got, &want)
            );
        }
    }
    println!("{} captures, {total} documents", captures.len());
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(total > 0, "the captures gave no documents");

    // Check the data stream, policy and mapping that the program created.
    let streams = server.ask("_data_stream/packetbeat-*");
    let stream = streams["data_streams"][0]["name"].as_str().unwrap_or_else(|| panic!("no data stream: {streams}")).to_owned();
    let policy = server.ask("_ilm/policy/packetbeat");
    assert!(policy.pointer("/packetbeat/policy/phases/hot/actions/rollover").is_some(), "{policy}");
    let settings = server.ask(&format!("{stream}/_settings?flat_settings=true"));
    let settings = settings.as_object().and_then(|o| o.values().next()).unwrap();
    assert_eq!(settings["settings"]["index.lifecycle.name"], json!("packetbeat"), "{settings}");
    let wanted = [
        ("@timestamp", "date"),
        ("source.ip", "ip"),
        ("destination.port", "long"),
        ("event.duration", "long"),
        ("http.response.status_code", "long"),
        ("status", "keyword"),
    ];
    let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
    let answer = server.ask(&format!("{stream}/_mapping/field/{}", names.join(",")));
    let fields = &answer.as_object().and_then(|o| o.values().next()).unwrap()["mappings"];
    let got = names.iter().map(|name| {
        let leaf = name.rsplit('.').next().unwrap();
        (*name, fields[*name]["mapping"][leaf]["type"].as_str().unwrap_or("nothing"))
    });
    assert_eq!(got.collect::<Vec<_>>(), wanted, "{answer}");
    // A query for an address range succeeds only if the `ip` mapping is in use.
    let private = server.ask(&format!("{stream}/_count?q=source.ip:%2210.0.0.0/8%22%20OR%20source.ip:%22127.0.0.0/8%22"));
    assert!(private["count"].as_u64().is_some_and(|count| count > 0), "{private}");
}

#[test]
#[ignore = "needs a server: cargo xtask test-servers"]
fn servers_elasticsearch_restarts_and_no_event_is_lost() {
    let server = Server::up();
    let home = dns_to(&server, "sniffer-stopped");
    let capture = home.path().join("x.pcap");
    let mut running = Running::start(&home, &["-e", "-I", capture.to_str().unwrap()]);
    running.wait_for("established", 30);
    // Stop the server in the middle of the replay, which takes ten seconds.
    sleep(GAP * COUNT / 4);
    assert!(running.program.try_wait().unwrap().is_none(), "the program ended too soon:\n{}", running.log());
    server.stop();
    running.wait_for("Failed to", 60);
    let before = running.log().len();
    server.start();
    let status = running.wait(120);
    let log = running.log();
    assert!(status.success(), "{status}\n{log}");
    assert!(log[before..].contains("established"), "nothing in the log says that the server is back:\n{log}");
    assert_all_there(&server, "sniffer-stopped");
}

#[test]
#[ignore = "needs a server: cargo xtask test-servers"]
fn servers_elasticsearch_starts_after_the_program() {
    let server = Server::up();
    server.stop();
    let home = dns_to(&server, "sniffer-late");
    let capture = home.path().join("x.pcap");
    let mut running = Running::start(&home, &["-e", "-t", "-I", capture.to_str().unwrap()]);
    running.wait_for("Failed to connect to the output", 30);
    server.start();
    let status = running.wait(120);
    assert!(status.success(), "{status}\n{}", running.log());
    assert!(running.log().contains("established"), "{}", running.log());
    assert_all_there(&server, "sniffer-late");
}

#[test]
#[ignore = "needs a server: cargo xtask test-servers"]
fn servers_elasticsearch_checks_the_credentials() {
    let server = Server::up();
    for right in [true, false] {
        let home = dns_to(&server, "sniffer-who");
        let wrong: &[&str] = if right { &[] } else { &["-E", "output.elasticsearch.password=not-this-one"] };
        let args = [&["test", "output"], wrong].concat();
        let output = home.command(&args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), right, "{text}");
        if right {
            assert!(text.contains("8."), "{text}");
        } else {
            assert!(text.contains("401"), "the output does not mention status 401: {text}");
            let capture = home.path().join("x.pcap");
            let running = Running::start(&home, &[&["-e", "-t", "-I", capture.to_str().unwrap()], wrong].concat());
            running.wait_for("Failed to connect to the output", 30);
            assert!(running.log().contains("401"), "{}", running.log());
            assert!(!running.log().contains("not-this-one"), "a password in the log:\n{}", running.log());
        }
    }
}

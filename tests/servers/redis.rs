//! Tests of `output.redis` against a real redis-server. Each test starts its server; some stop it, slow it down, or
//! make it refuse commands.

use super::{COUNT, Running, ServerProcess, certificates, free_port, names, queries_to, wait_until};
use std::{
    collections::BTreeSet,
    fs,
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A redis-server with its data in a folder. Dropping the value ends the server.
struct Redis<'a> {
    folder: &'a Path,
    port: u16,
    /// Arguments of redis-server and of redis-cli.
    args: [Vec<String>; 2],
    process: ServerProcess,
}

impl<'a> Redis<'a> {
    fn new(folder: &'a Path) -> Self {
        let port = free_port();
        let server = format!("--port {port} --dir {} --appendonly yes --appendfsync always --save", folder.display());
        let server = server.split(' ').map(str::to_owned).chain([String::new()]).collect();
        Self { folder, port, args: [server, Vec::new()], process: ServerProcess::default() }
    }

    fn start(&mut self) {
        let log = fs::File::create(self.folder.join("redis.log")).unwrap();
        let process = Command::new("redis-server").args(&self.args[0]).stdout(log).stdin(Stdio::null()).spawn();
        self.process = ServerProcess(Some(process.expect("redis-server is not installed; `cargo xtask test` installs it")));
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() || !self.ask(&["PING"]).contains("PONG") {
            assert!(Instant::now() < until, "{}", fs::read_to_string(self.folder.join("redis.log")).unwrap());
            sleep(Duration::from_millis(20));
        }
    }

    fn ask(&self, words: &[&str]) -> String {
        let answer = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(&self.args[1]).args(words).output().unwrap();
        String::from_utf8_lossy(&answer.stdout).into_owned()
    }

    /// Returns the names of all questions in the list, and the number of entries of the list.
    fn names(&self, list: &str) -> (BTreeSet<String>, usize) {
        names(&self.ask(&["--raw", "LRANGE", list, "0", "-1"]))
    }
}

#[test]
fn a_real_redis_stops_starts_refuses_and_is_slow_and_no_event_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut redis = Redis::new(folder.path());
    let output =
        format!("output.redis: {{hosts: ['127.0.0.1:{}'], key: events, timeout: 1s, backoff: {{init: 0.1s, max: 0.3s}}}}", redis.port);
    let home = queries_to(&output, Duration::from_millis(80));
    let capture = home.path().join("x.pcap");
    // The program starts before the server.
    let mut running = Running::start(&home, &["-e", "-I", capture.to_str().unwrap()]);
    running.wait_for("Failed to connect to the output", 30);
    redis.start();
    running.wait_for("established, version", 30);
    wait_until("the first events", || redis.names("events").1 > 0);
    let before = redis.names("events").1;
    redis.process.stop();
    running.wait_for("Failed to publish", 30);
    redis.start();
    wait_until("events after the restart", || redis.names("events").1 > before);
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    running.wait_for("the server refuses the command: OOM", 30);
    let before = redis.names("events").1;
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    wait_until("events after it has memory again", || redis.names("events").1 > before);
    redis.ask(&["CLIENT", "PAUSE", "2500", "WRITE"]);
    running.wait_for("no progress within `timeout`", 30);
    let status = running.wait(90);
    let (names, entries) = redis.names("events");
    println!("{entries} entries for {} of {COUNT} questions", names.len());
    assert!(status.success() && names.len() == COUNT as usize, "{status}, {} of {COUNT}:\n{}", names.len(), running.log());
}

#[test]
fn a_real_redis_with_tls_and_a_user() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let mut redis = Redis::new(folder.path());
    let tls = format!("--tls-port {} --tls-ca-cert-file {} --tls-cert-file {}", redis.port, file("ca.pem"), file("srv.pem"));
    redis.args[0] = redis.args[0].iter().map(|arg| if *arg == redis.port.to_string() { "0".into() } else { arg.clone() }).collect();
    redis.args[0].extend(format!("{tls} --tls-key-file {}", file("srv.key")).split(' ').map(str::to_owned));
    let tls = format!("--tls --cacert {} --cert {} --key {}", file("ca.pem"), file("cli.pem"), file("cli.key"));
    redis.args[1] = tls.split(' ').map(str::to_owned).collect();
    redis.start();
    redis.ask(&["ACL", "SETUSER", "sender", "on", ">a secret", "~q-*", "+rpush", "+ping", "+select"]);
    let output = |password: &str| {
        format!(
            "output.redis: {{hosts: ['rediss://localhost:{}'], username: sender, password: {password}, key: 'q-%{{[method]}}', \
             keys: [{{key: q-last, when: {{contains: {{dns.question.name: n0199}}}}}}], backoff: {{init: 0.1s, max: 0.3s}}, \
             ssl: {{certificate_authorities: ['{}'], certificate: '{}', key: '{}'}}}}",
            redis.port,
            file("ca.pem"),
            file("cli.pem"),
            file("cli.key")
        )
    };
    let refused = queries_to(&output("wrong-one"), Duration::ZERO);
    let running = Running::start(&refused, &["-e", "-t", "-I", refused.path().join("x.pcap").to_str().unwrap()]);
    running.wait_for("AUTH: WRONGPASS", 30);
    assert!(!running.log().contains("wrong-one"), "the password is in the log:\n{}", running.log());
    drop(running);
    let home = queries_to(&output("a secret"), Duration::ZERO);
    let mut running = Running::start(&home, &["-e", "-t", "-I", home.path().join("x.pcap").to_str().unwrap()]);
    let status = running.wait(60);
    redis.ask(&["ACL", "SETUSER", "default", "on", "nopass", "+@all", "~*"]);
    let (query, last) = (redis.names("q-QUERY"), redis.names("q-last"));
    assert!(status.success(), "{status}\n{}", running.log());
    assert_eq!((query.1, last.1), (COUNT as usize - 1, 1), "{}", running.log());
}

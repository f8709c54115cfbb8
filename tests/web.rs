//! The page of `sniffer web` and `web.enabled` as a client sees it: what it says about captures, who gets no data, and that its own
//! connections are not captured.

use crate::{
    harness::{Home, assert_success, sniffer, tests},
    net::{Net, PATIENCE, Running, may_run, until},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

/// A program that serves the page, and its link.
struct Served {
    child: Child,
    /// Kept, so that the program can write.
    _stdout: BufReader<ChildStdout>,
    address: String,
    token: String,
}

impl Served {
    /// Starts `sniffer web` with these arguments and a free port.
    fn start(args: &[&str]) -> Self {
        let mut command = sniffer();
        command.arg("web").args(args).args(["--listen", "localhost:0"]).env("TZ", "UTC");
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let (address, token) = parts(&line);
        Self { child, _stdout: stdout, address, token }
    }

    /// The page about a capture file, when the file has been read.
    fn about(file: &Path, args: &[&str]) -> Self {
        let served = Self::start(&[&["-r", file.to_str().unwrap()], args].concat());
        until("the file is read", || served.json("/api/view")["ended"] == true);
        served
    }

    /// The status and the body of an answer. The headers Host and Authorization are right unless `headers` has others.
    fn ask(&self, path: &str, headers: &[(&str, &str)]) -> (u16, Vec<u8>) {
        ask(TcpStream::connect(&self.address).unwrap(), (&self.address, &self.token), path, headers)
    }

    fn json(&self, path: &str) -> Value {
        let (status, body) = self.ask(path, &[]);
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error} in {text}"))
    }

    /// Sends SIGTERM and waits for the program to end.
    fn stop(mut self) {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        until("the program ends", || self.child.try_wait().unwrap().is_some());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Address and token of a link.
fn parts(link: &str) -> (String, String) {
    let (address, rest) =
        link.trim().strip_prefix("http://").and_then(|rest| rest.split_once("/#token=")).unwrap_or_else(|| panic!("{link:?}"));
    let token = rest.split(['&', ' ']).next().unwrap_or_default();
    assert!(token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{link}");
    (address.to_owned(), token.to_owned())
}

/// Asks once. A header of `headers` takes the place of one that would be right.
fn ask(mut stream: impl Read + Write, (host, token): (&str, &str), path: &str, headers: &[(&str, &str)]) -> (u16, Vec<u8>) {
    let mut all = BTreeMap::from([("Host", host.to_owned()), ("Authorization", format!("Bearer {token}"))]);
    headers.iter().for_each(|(name, value)| drop(all.insert(name, (*value).to_owned())));
    let all: String = all.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "GET {path} HTTP/1.1\r\n{all}Connection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer:?}"));
    let status = String::from_utf8_lossy(&answer[..end]).split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer[end + 4..].to_vec())
}

/// Number of documents of transactions, and of those with an error, by protocol.
fn counts<'a>(of: impl Iterator<Item = (&'a str, bool)>) -> BTreeMap<String, (u64, u64)> {
    let mut counts = BTreeMap::new();
    for (protocol, is_error) in of {
        let (all, errors): &mut (u64, u64) = counts.entry(protocol.to_owned()).or_default();
        *all += 1;
        *errors += u64::from(is_error);
    }
    counts
}

#[test]
fn the_page_counts_what_the_output_counts() {
    let configuration = |output: &str| {
        format!(
            "packetbeat.protocols: [{{type: http, ports: [80, 8080]}}, {{type: dns, ports: [53]}}, {{type: pgsql, ports: [5432]}}, {{type: tls, ports: [443]}}, {{type: redis, ports: [6379]}}]\n\
             packetbeat.flows.enabled: false\n{output}"
        )
    };
    for folder in ["http", "dns", "pgsql", "tls", "redis"] {
        let captures = fs::read_dir(tests().join("protocols").join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let mut captures: Vec<_> = captures.filter(|path| path.extension().is_some_and(|end| end == "pcap")).collect();
        captures.sort();
        let with_documents = captures.into_iter().find_map(|capture| {
            let home = Home::new(&configuration(""));
            assert_success(&home.read_capture(&capture));
            let documents: Vec<Value> = home.documents().into_iter().filter(|document| document["type"] != "flow").collect();
            (!documents.is_empty()).then_some((capture, home, documents))
        });
        let (capture, home, documents) = with_documents.unwrap_or_else(|| panic!("no capture of {folder} has documents"));
        let documents = || documents.iter();
        let expected = counts(documents().map(|document| (document["type"].as_str().unwrap(), document["status"] != "OK")));
        let config = home.path().join("packetbeat.yml");
        let served = Served::about(&capture, &["-c", config.to_str().unwrap()]);
        let view = served.json("/api/view?parts=services,edges,dns,tls,flows,health&limit=2000");
        let sum = |rows: &Value| -> (u64, u64) {
            let numbers = rows["rows"].as_array().unwrap().iter().map(|row| &row["numbers"]);
            numbers.fold((0, 0), |(all, errors), row| (all + row["count"].as_u64().unwrap(), errors + row["errors"].as_u64().unwrap()))
        };
        let total = expected.values().fold((0, 0), |(all, errors), (more, failed)| (all + more, errors + failed));
        assert!(total.0 > 0, "{}", capture.display());
        let totals = (view["totals"]["count"].as_u64().unwrap(), view["totals"]["errors"].as_u64().unwrap());
        assert_eq!(totals, total, "{}: {expected:?}", capture.display());
        assert_eq!(sum(&view["services"]), total, "{}", view["services"]);
        assert_eq!(sum(&served.json("/api/operations?limit=2000")), total, "{}", capture.display());
        let tail = served.json("/api/tail?limit=1000");
        let rows = tail["rows"].as_array().unwrap();
        let listed = counts(rows.iter().map(|row| (row["protocol"].as_str().unwrap(), row["error"].as_bool().unwrap())));
        if total.0 <= 1000 {
            assert_eq!(listed, expected, "{}", capture.display());
        }
        for (name, (all, _)) in &expected {
            let filtered = served.json(&format!("/api/view?filter={name}"));
            assert_eq!((&filtered["totals"]["count"], &filtered["hidden"]), (&(*all).into(), &(total.0 - all).into()), "{name}");
        }
        let (_, csv) = served.ask("/api/export?format=csv", &[]);
        assert_eq!(String::from_utf8(csv).unwrap().matches("\r\n").count() as u64, total.0 + 1);
        served.stop();
    }
}

#[test]
fn who_may_not_ask_gets_no_data() {
    let served = Served::about(&tests().join("configs/request.pcap"), &[]);
    let row = served.json("/api/tail")["rows"][0].clone();
    assert_eq!((&row["client"], &row["server"], &row["server_port"]), (&"192.0.2.10".into(), &"198.51.100.20".into(), &80.into()), "{row}");
    for path in ["/api/view", "/api/operations", "/api/tail", "/api/transaction?seq=0", "/api/export?format=ndjson"] {
        for header in [
            ("Host", "evil.example"),
            ("Host", "192.0.2.1:5067"),
            ("Origin", "http://evil.example"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
            ("Authorization", ""),
            ("Authorization", "Bearer 0123456789abcdef0123456789abcdef"),
        ] {
            let (status, body) = served.ask(path, &[header]);
            let body = String::from_utf8(body).unwrap();
            assert_eq!(status, 403, "{path} {header:?}: {body}");
            assert!(body.starts_with("{\"error\":\"") && !body.contains("192.0.2.10") && !body.contains("198.51"), "{path}: {body}");
        }
        assert_eq!(served.ask(path, &[]).0, 200, "{path}");
    }
    let (status, page) = served.ask("/", &[("Authorization", "")]);
    assert!(status == 200 && page.starts_with(b"<!"), "{status}");
    let (status, error) = served.ask("/api/view?filter=http%20htpp", &[]);
    let error: Value = serde_json::from_slice(&error).unwrap();
    assert_eq!((status, &error["parameter"], &error["column"]), (400, &"filter".into(), &6.into()), "{error}");
    served.stop();
}

#[test]
fn a_unix_socket_and_refused_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("page.sock");
    let file = tests().join("configs/request.pcap");
    let mut command = sniffer();
    command.args(["web", "-r"]).arg(&file).args(["--listen", &format!("unix://{}", socket.display()), "http"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut link = String::new();
    stdout.read_line(&mut link).unwrap();
    let (_, token) = parts(&link);
    assert!(link.contains("&filter=http  (on the Unix socket "), "{link}");
    let (status, _) = ask(UnixStream::connect(&socket).unwrap(), ("localhost", &token), "/api/view", &[]);
    assert_eq!(status, 200);
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(child.wait().unwrap().success() && !socket.exists());
    let used = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = used.local_addr().unwrap().port();
    for (listen, expected) in [
        ("0.0.0.0:5067".to_owned(), "is not an address of loopback, and other addresses need TLS"),
        (format!("localhost:{port}"), "stop the program that listens there, or choose another port"),
        ("localhost:x".to_owned(), "`x` is no port"),
    ] {
        let output = sniffer().args(["web", "--listen", &listen, "-r"]).arg(&file).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(expected), "{listen}: {error}");
    }
}

/// The page is polled on a port that is configured for HTTP. No transaction and no flow of it may be reported; another request must be.
#[test]
fn live_the_own_connections_are_not_captured() {
    if !may_run("live_the_own_connections_are_not_captured") {
        return;
    }
    for kind in ["ebpf", "af_packet"] {
        let net = Net::new();
        let home = Home::new(&format!(
            "packetbeat.interfaces: {{device: lo, type: {kind}}}\n\
             packetbeat.protocols: [{{type: http, ports: [5067, 8000]}}]\n\
             packetbeat.flows: {{timeout: 1s, period: -1s}}\n\
             packetbeat.shutdown_timeout: 10s\n\
             queue.mem: {{flush.min_events: 1, flush.timeout: 0.1s}}\n\
             web.enabled: true\n"
        ));
        let program = home.live();
        let mut running = Running::start(net.on_server(&program.get_program().to_string_lossy()).args(program.get_args()));
        running.wait_for("sniffer is running");
        let mut file = None;
        until("the link is written", || {
            file = fs::read_dir(home.path().join("data"))
                .ok()
                .and_then(|mut list| list.find_map(|entry| entry.ok().map(|entry| entry.path()).filter(|path| path.ends_with("web.link"))));
            file.as_ref().is_some_and(|file| fs::read_to_string(file).is_ok_and(|text| text.ends_with('\n')))
        });
        let file = file.unwrap();
        let link = fs::read_to_string(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let printed = home.command(&["web", "--url"]).output().unwrap();
        assert_eq!((String::from_utf8_lossy(&printed.stdout), printed.status.success()), (link.as_str().into(), true));
        let (_, token) = parts(&link);
        let curl = |url: &str| {
            let patience = PATIENCE.as_secs().to_string();
            let header = format!("Authorization: Bearer {token}");
            let output =
                net.on_server("curl").args(["-gs", "--noproxy", "*", "--max-time", &patience, "-H", &header, url]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let mut other = Running::start(net.on_server("python3").args(["-u", "-c", SERVER]));
        other.wait_for("listening");
        for round in 1..=5 {
            for host in ["127.0.0.1", "[::1]", "localhost"] {
                let view = curl(&format!("http://{host}:5067/api/view?parts=services,flows"));
                assert!(view.starts_with("{\"now_us\":"), "{kind} {host}: {view}");
            }
            curl("http://127.0.0.1:8000/other");
            let is_seen = || {
                let view: Value = serde_json::from_str(&curl("http://localhost:5067/api/view")).unwrap();
                view["totals"]["count"] == round
            };
            until("the page counts the other requests", is_seen);
        }
        until("the other requests and their flows are reported", || {
            let documents = home.documents_so_far();
            documents.iter().filter(|document| document["destination"]["port"] == 8000).count() >= 10
        });
        let view: Value = serde_json::from_str(&curl("http://localhost:5067/api/view?parts=services,flows&range=all")).unwrap();
        let rows = |table: &str| view[table]["rows"].as_array().unwrap().iter().map(|row| row["port"].clone()).collect::<Vec<_>>();
        assert_eq!((rows("services"), rows("flows")), (vec![8000.into()], vec![8000.into()]), "{kind}: {view}");
        let log = running.stop();
        let documents = home.documents();
        let own: Vec<&Value> =
            documents.iter().filter(|document| ["source", "destination"].iter().any(|end| document[end]["port"] == 5067)).collect();
        assert!(own.is_empty(), "{kind}: {own:#?}\n{log}");
        assert_eq!(documents.iter().filter(|document| document["type"] == "http").count(), 5, "{kind}: {log}");
        assert!(
            !log.contains(&token) && !documents.iter().any(|document| document.to_string().contains(&token)),
            "{kind}: the token is logged"
        );
        assert!(!file.exists(), "the link is removed at the end");
    }
}

/// A server of HTTP on port 8000.
const SERVER: &str = r#"
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

server = HTTPServer(("127.0.0.1", 8000), Handler)
print("listening", file=sys.stderr, flush=True)
server.serve_forever()
"#;

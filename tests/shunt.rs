//! Tests that segments which no parser needs stay in the kernel. Real servers and clients run in network namespaces, over every hook. The
//! transactions and flows must be the same as if every segment was copied.

use crate::{
    harness::Home,
    live::tcp_counter,
    net::{Net, Running, may_run, until},
};
use serde_json::Value;
use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::{Command, Output},
};

const HOOKS: [&str; 3] = ["xdp", "tc", "socket"];
/// Size in bytes of the large file that the servers have.
const LARGE: u64 = 64 << 20;
/// Size in bytes of the small file.
const SMALL: u64 = 1000;
/// Number of bytes of a form that a document cannot show completely.
const MEDIUM: u64 = 16 << 20;

const CONFIG: &str = "
name: shunt
packetbeat.protocols:
  - {type: http, ports: [80]}
  - {type: tls, ports: [443]}
packetbeat.flows: {timeout: 60s, period: -1s}
packetbeat.shutdown_timeout: 20s
queue.mem: {events: 4096, flush.min_events: 1, flush.timeout: 0.1s}
";

/// Starts nginx in the server's namespace: HTTP on port 80, TLS on port 443, and HTTP on port 81, which no parser reads. `/up` accepts any
/// request. Files in `/chunks` are sent in chunks, files in `/close` until the connection is closed.
fn start_server(net: &Net, dir: &Path) -> Running {
    let at = dir.display();
    fs::write(dir.join("large"), vec![b'x'; LARGE as usize]).unwrap();
    fs::write(dir.join("small"), vec![b'x'; SMALL as usize]).unwrap();
    let key = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shunt.test", "-keyout", "key", "-out", "cert"];
    ok(Command::new("openssl").current_dir(dir).args(key));
    let conf = format!(
        "daemon off; master_process off; pid {at}/pid; error_log stderr; user root; events {{}} http {{ access_log off; client_body_temp_path {at}/b; \
         proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; server {{ listen 80; listen 81; root {at}; client_max_body_size 0; \
         location /up {{ proxy_method GET; proxy_set_body \"\"; proxy_pass http://127.0.0.1:81/small; }} \
         location /chunks/ {{ alias {at}/; ssi on; ssi_types *; }} \
         location /close/ {{ alias {at}/; ssi on; ssi_types *; chunked_transfer_encoding off; }} }} \
         server {{ listen 443 ssl; ssl_certificate {at}/cert; ssl_certificate_key {at}/key; root {at}; }} }}"
    );
    fs::write(dir.join("nginx.conf"), conf).unwrap();
    let server = Running::start(net.on_server("nginx").arg("-c").arg(dir.join("nginx.conf")));
    until("nginx answers", || curl(net, &["http://192.0.2.2:81/small"]).output().is_ok_and(|output| output.status.success()));
    server
}

/// A client that requests URLs, one after the other on one connection.
fn curl(net: &Net, urls: &[&str]) -> Command {
    let mut command = net.on_client("curl");
    command.args(["-sSfk", "--http1.1"]).args(urls.iter().flat_map(|url| ["-o", "/dev/null", url]));
    command
}

fn ok(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    output
}

/// Starts the program on the server.
fn start(net: &Net, config: &str, interface: &str) -> (Home, Running) {
    let home = Home::new(&format!("{config}packetbeat.interfaces: {{device: v0, type: ebpf, {interface}}}\n"));
    let program = home.live();
    let mut running = Running::start(net.on_server(&program.get_program().to_string_lossy()).args(program.get_args()));
    running.wait_for("sniffer is running");
    (home, running)
}

/// The counters of the whole run, from the log of the program.
struct Totals(Value, String);

impl Totals {
    fn of(log_text: String) -> Self {
        let records = log_text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let totals = records.into_iter().find(|record| record["message"] == "Total metrics");
        Self(totals.unwrap_or_else(|| panic!("no totals in\n{log_text}"))["monitoring"]["metrics"].clone(), log_text)
    }

    fn get(&self, counter: &str) -> u64 {
        self.0.pointer(&format!("/{}", counter.replace('.', "/"))).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Fails unless each packet is counted by one of the counters.
    fn add_up(&self, what: &str) {
        let [seen, shunted, unmatched, copied, lost] =
            ["seen", "shunted", "unmatched", "copied", "lost"].map(|name| self.get(&format!("capture.{name}")));
        assert_eq!(
            seen,
            shunted + unmatched + copied + lost,
            "{what}: {shunted} shunted, {unmatched} unmatched, {copied} copied, {lost} lost\n{}",
            self.0
        );
    }
}

fn number(document: &Value, path: &str) -> u64 {
    document.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {path} in {document:#}"))
}

/// A TLS client that gets the small file, waits until its standard input ends, and gets the large file on the same connection.
/// Arguments: host, size of the large file.
const TLS_CLIENT: &str = "
import http.client, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
connection = http.client.HTTPSConnection(sys.argv[1], context=context)
connection.request('GET', '/small')
connection.getresponse().read()
sys.stdin.read()
connection.request('GET', '/large')
response, size = connection.getresponse(), 0
while data := response.read(1 << 20):
    size += len(data)
assert size == int(sys.argv[2]), size
";

#[test]
fn live_a_tls_connection_stays_in_the_kernel_after_its_handshake() {
    if !may_run("live_a_tls_connection_stays_in_the_kernel_after_its_handshake") {
        return;
    }
    for (hook, more) in HOOKS.map(|hook| (hook, "")).into_iter().chain([("tc", "bpf_filter: tcp"), ("tc", "shunt: false")]) {
        let net = Net::new();
        let dir = tempfile::tempdir().unwrap();
        let _server = start_server(&net, dir.path());
        let (home, running) = start(&net, CONFIG, &format!("hook: {hook}, {more}"));
        let before = [net.on_client("cat"), net.on_server("cat")].map(|cat| tcp_counter(cat, "OutSegs"));
        let mut client = net.on_client("python3");
        client.args(["-c", TLS_CLIENT, "192.0.2.2", &LARGE.to_string()]).stdin(std::process::Stdio::piped());
        let mut client = client.spawn().unwrap();
        // The event is delivered only after the verdict was entered.
        until("the handshake is reported", || home.documents_so_far().iter().any(|document| document["type"] == "tls"));
        drop(client.stdin.take());
        assert!(client.wait().unwrap().success());
        let [sent, answered] = [net.on_client("cat"), net.on_server("cat")].map(|cat| tcp_counter(cat, "OutSegs"));
        let again = [net.on_client("cat"), net.on_server("cat")].map(|cat| tcp_counter(cat, "RetransSegs"));
        let totals = Totals::of(running.stop());
        let what = format!("{hook} {more}");
        totals.add_up(&what);
        let (copied, shunted) = (totals.get("capture.copied_bytes"), totals.get("capture.shunted"));
        if more == "shunt: false" {
            assert!(copied > LARGE && shunted == 0, "{what}: {copied} bytes copied, {shunted} packets shunted\n{}", totals.1);
            continue;
        }
        assert!(copied < 100_000, "{what}: {copied} bytes copied\n{}", totals.1);
        assert!(shunted > 100, "{what}: {shunted} packets shunted\n{}", totals.1);
        assert_eq!((totals.get("tls.shunted"), totals.get("tcp.gaps"), totals.get("tcp.out_of_window")), (1, 0, 0), "{what}\n{}", totals.1);
        let documents = home.documents();
        let flows: Vec<&Value> = documents.iter().filter(|d| d["type"] == "flow" && d["destination"]["port"] == 443).collect();
        let [flow] = flows[..] else { panic!("{what}: one flow expected: {flows:#?}\n{}", totals.1) };
        let packets = [number(flow, "/source/packets"), number(flow, "/destination/packets")];
        assert_eq!(packets, [sent - before[0] + again[0], answered - before[1] + again[1]], "{what}: {flow:#}");
        assert!(number(flow, "/destination/bytes") > LARGE, "{what}: {flow:#}");
    }
}

#[test]
fn live_bodies_that_nobody_wants_stay_in_the_kernel() {
    if !may_run("live_bodies_that_nobody_wants_stay_in_the_kernel") {
        return;
    }
    let net = Net::new();
    let dir = tempfile::tempdir().unwrap();
    let _server = start_server(&net, dir.path());
    let without_flows = CONFIG.replace("packetbeat.flows: {", "packetbeat.flows: {enabled: false, ");
    let url = |path: &str| format!("http://192.0.2.2/{path}");
    let file = format!("@{}", dir.path().join("large").display());
    let post = |kind: &str| {
        let fixed = ["-H", "Expect:", "-H", kind, "-o", "/dev/null", "--data-binary", &file];
        fixed.map(str::to_owned).into_iter().chain([url("up")]).collect::<Vec<_>>()
    };
    let get = |path: &str| vec!["-o".to_owned(), "/dev/null".to_owned(), url(path)];
    // Each is what one curl does on one connection: arguments and the expected transaction.
    let downloads = vec![
        (get("large"), format!("GET /large 0 200 {LARGE}")),
        (get("small"), format!("GET /small 0 200 {SMALL}")),
        (get("large"), format!("GET /large 0 200 {LARGE}")),
        (get("small"), format!("GET /small 0 200 {SMALL}")),
        (get("close/large"), format!("GET /close/large 0 200 {LARGE}")),
    ];
    let both = vec![
        (post("Content-Type: application/octet-stream"), format!("POST /up {LARGE} 200 {SMALL}")),
        (get("small"), format!("GET /small 0 200 {SMALL}")),
        (get("large"), format!("GET /large 0 200 {LARGE}")),
        (post("Content-Type: application/octet-stream"), format!("POST /up {LARGE} 200 {SMALL}")),
        (get("small"), format!("GET /small 0 200 {SMALL}")),
    ];
    let directions = [("tc, bpf_filter: src port 80", false), ("tc, bpf_filter: dst port 80", true)];
    let hooks = HOOKS.map(|hook| (hook, CONFIG)).into_iter().chain([("tc", without_flows.as_str())]);
    for (interface, config) in hooks.chain(directions.map(|(interface, _)| (interface, CONFIG))) {
        let one_sided = directions.iter().find(|(with, _)| *with == interface).map(|(_, requests)| *requests);
        let (home, running) = start(&net, config, &format!("hook: {interface}, buffer_size_mb: 64"));
        for transactions in [&downloads, &both] {
            let mut command = net.on_client("curl");
            for (i, (arguments, _)) in transactions.iter().enumerate() {
                command.args((i > 0).then_some("--next")).args(["-sSf", "--http1.1"]).args(arguments);
            }
            ok(&mut command);
        }
        let expected: Vec<String> = downloads.iter().chain(&both).map(|(_, gist)| of_side(gist, one_sided)).collect();
        until("all transactions", || home.documents_so_far().iter().filter(|d| d["type"] == "http").count() >= expected.len());
        let totals = Totals::of(running.stop());
        let what = format!("{interface} {config}");
        totals.add_up(&what);
        let documents = home.documents();
        let transactions: Vec<&Value> = documents.iter().filter(|d| d["type"] == "http").collect();
        let gists: Vec<String> = transactions.iter().map(|d| of_side(&gist(d), one_sided)).collect();
        assert_eq!(gists, expected, "{what}\n{}", totals.1);
        let connections: HashSet<u64> = transactions.iter().map(|d| number(d, "/client/port")).collect();
        assert_eq!(connections.len(), 2, "{what}: each curl uses one connection");
        // One of the connections has no large body of the client.
        let with_verdicts = if one_sided == Some(true) { 1 } else { 2 };
        assert_eq!(totals.get("http.shunted"), with_verdicts, "{what}\n{}", totals.1);
        assert!(totals.get("capture.shunted") > 100, "{what}\n{}", totals.1);
        // Without verdicts it would be more than 6 times this number of bytes with both directions, and half of that with one.
        let copied = totals.get("capture.copied_bytes");
        assert!(copied < 2 * LARGE, "{what}: {copied} bytes copied\n{}", totals.1);
        assert_eq!((totals.get("tcp.gaps"), totals.get("tcp.out_of_window"), totals.get("tcp.bad_ack")), (0, 0, 0), "{what}\n{}", totals.1);
    }
}

/// What is essential in a transaction: request line, bytes of the request's body, status, bytes of the response's body.
fn gist(document: &Value) -> String {
    let size = |side: &str| document["http"][side]["body"]["bytes"].as_u64().unwrap_or(0);
    let query = document["query"].as_str().unwrap_or("- -");
    format!("{query} {} {} {}", size("request"), document["http"]["response"]["status_code"], size("response"))
}

/// Of a gist, only the words about the requests (`Some(true)`) or the responses (`Some(false)`).
fn of_side(gist: &str, requests: Option<bool>) -> String {
    let words: Vec<&str> = gist.split(' ').collect();
    match requests {
        None => words.join(" "),
        Some(true) => words[..3].join(" "),
        Some(false) => words[3..].join(" "),
    }
}

/// A form is kept and shown, but not more of it than fits in a document. Each chunk of nginx and curl is shorter than what is
/// worth a verdict, so these bodies are copied.
#[test]
fn live_large_bodies_that_are_copied_are_reported() {
    if !may_run("live_large_bodies_that_are_copied_are_reported") {
        return;
    }
    let net = Net::new();
    let dir = tempfile::tempdir().unwrap();
    let _server = start_server(&net, dir.path());
    let file = dir.path().join("medium");
    fs::write(&file, vec![b'x'; MEDIUM as usize]).unwrap();
    let (home, running) = start(&net, CONFIG, "buffer_size_mb: 256, workers: 1");
    let mut command = net.on_client("curl");
    // All bodies together fit in the ring, so that nothing is lost on a busy machine.
    let each = ["-sSf", "--http1.1", "-H", "Expect:", "-o", "/dev/null"];
    command.args(each).arg("--data-binary").arg(format!("@{}", file.display())).args(["http://192.0.2.2/up", "--next"]);
    command.args(each).args(["-X", "POST", "-H", "Transfer-Encoding: chunked", "-T"]).arg(&file).args(["http://192.0.2.2/up", "--next"]);
    ok(command.args(each).args(["http://192.0.2.2/chunks/medium", "-o", "/dev/null", "http://192.0.2.2/small"]));
    until("all transactions", || home.documents_so_far().iter().filter(|d| d["type"] == "http").count() >= 4);
    let totals = Totals::of(running.stop());
    totals.add_up("forms and chunks");
    let mut gists: Vec<String> = home.documents().iter().filter(|d| d["type"] == "http").map(gist).collect();
    let mut expected = [
        format!("POST /up {MEDIUM} 200 {SMALL}"),
        format!("POST /up {MEDIUM} 200 {SMALL}"),
        format!("GET /chunks/medium 0 200 {MEDIUM}"),
        format!("GET /small 0 200 {SMALL}"),
    ];
    // The document of the form is so long that the output begins a new file.
    gists.sort();
    expected.sort();
    assert_eq!(gists, expected, "{}", totals.1);
    assert_eq!((totals.get("http.too_large"), totals.get("tcp.gaps"), totals.get("capture.lost")), (0, 0, 0), "{}", totals.1);
}

#[test]
fn live_each_packet_is_counted_once_while_a_small_ring_overflows() {
    if !may_run("live_each_packet_is_counted_once_while_a_small_ring_overflows") {
        return;
    }
    let net = Net::new();
    let dir = tempfile::tempdir().unwrap();
    let _server = start_server(&net, dir.path());
    // The parser wants all bodies of HTTP, which is more than a ring of 256 KiB can hold.
    let config = CONFIG.replace("{type: http, ports: [80]}", "{type: http, ports: [80], include_body_for: [text]}");
    for hook in HOOKS {
        let (_home, running) = start(&net, &config, &format!("hook: {hook}, buffer_size_mb: 1, workers: 4"));
        let urls = ["http://192.0.2.2/large", "https://192.0.2.2/large", "http://192.0.2.2:81/large"];
        let clients: Vec<_> = urls.iter().map(|url| curl(&net, &[url, url]).spawn().unwrap()).collect();
        clients.into_iter().for_each(|mut client| assert!(client.wait().unwrap().success()));
        let totals = Totals::of(running.stop());
        totals.add_up(hook);
        for counter in ["shunted", "unmatched", "copied", "lost"] {
            assert!(totals.get(&format!("capture.{counter}")) > 0, "{hook}: {counter} is 0, so this shows nothing\n{}", totals.1);
        }
    }
}

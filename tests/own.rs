//! Tests with every backend that the program's own requests to its output are not reported, and that requests of other
//! programs to the same server are. Its requests to Kibana are not reported either.

use crate::{
    harness::Home,
    net::{Net, Running, may_run, until},
};
use std::{collections::BTreeMap, fs, path::Path};

/// A Python script that acts as Elasticsearch. Arguments: the version of HTTP (with 1.0 each connection ends after one response), and a
/// file to which it writes the paths in the documents, one per line. The flows are written to a file with `.flows` added to its name.
const SERVER: &str = r#"
import gzip, json, socket, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = sys.argv[1]

    def log_message(self, *_):
        pass

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        answer = {"version": {"number": "9.6.0", "build_flavor": "default"}}
        if "_bulk" in self.path:
            documents = [json.loads(line) for line in body.split(b"\n") if line][1::2]
            answer = {"errors": False, "items": [{"create": {"status": 201}}] * len(documents)}
            with open(sys.argv[2], "a") as file:
                for document in documents:
                    if document["type"] == "http":
                        print(document.get("url", {}).get("path"), file=file)
                    elif document.get("flow", {}).get("final"):
                        with open(sys.argv[2] + ".flows", "a") as flows:
                            print(json.dumps(document), file=flows)
                        print("flow to", document["destination"]["port"], file=file)
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_HEAD = do_PUT = do_POST = do_GET

class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True

server = Server(("::", 9200), Handler)
print("listening", file=sys.stderr, flush=True)
server.serve_forever()
"#;

/// Returns how often each line occurs in the file.
fn lines(path: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    fs::read_to_string(path).unwrap_or_default().lines().for_each(|line| *counts.entry(line.to_owned()).or_default() += 1);
    counts
}

#[test]
fn live_requests_of_others_to_the_server_of_the_output_are_reported() {
    if !may_run("live_requests_of_others_to_the_server_of_the_output_are_reported") {
        return;
    }
    for (kind, version, host, others) in [
        ("ebpf", "HTTP/1.0", "127.0.0.1", "127.0.0.1"),
        ("ebpf", "HTTP/1.1", "[::1]", "[::1]"),
        ("af_packet", "HTTP/1.0", "[::1]", "127.0.0.1"),
        ("af_packet", "HTTP/1.1", "192.0.2.2", "192.0.2.2"),
        ("pcap", "HTTP/1.0", "127.0.0.1", "127.0.0.2"),
        ("pcap", "HTTP/1.1", "127.0.0.1", "[::1]"),
    ] {
        let net = Net::new();
        let seen = tempfile::tempdir().unwrap();
        let seen = seen.path().join("seen");
        let mut server = Running::start(net.on_server("python3").args(["-c", SERVER, version]).arg(&seen));
        server.wait_for("listening");
        // A flow ends one second after the last packet of its connection.
        let home = Home::with_output(&format!(
            "packetbeat.interfaces: {{device: lo, type: {kind}}}\n\
             packetbeat.protocols: [{{type: http, ports: [9200]}}]\n\
             packetbeat.flows: {{timeout: 1s, period: -1s}}\n\
             packetbeat.shutdown_timeout: 10s\n\
             setup: {{template.enabled: false, ilm.enabled: false}}\n\
             queue.mem: {{flush.min_events: 1, flush.timeout: 0.1s}}\n\
             output.elasticsearch: {{hosts: ['http://{host}:9200'], proxy_disable: true, idle_connection_timeout: 1s}}\n"
        ));
        let program = home.live();
        let mut running = Running::start(net.on_server(&program.get_program().to_string_lossy()).args(program.get_args()));
        running.wait_for("sniffer is running");
        let mut expected = BTreeMap::new();
        for round in 1..=3 {
            let url = format!("http://{others}:9200/mine");
            let curl =
                net.on_server("curl").args(["-gsf", "--noproxy", "*", "--max-time", "20", "-o", "/dev/null", &url]).status().unwrap();
            assert!(curl.success(), "{kind}: {curl}");
            expected = [("/mine", round), ("flow to 9200", round)].map(|(line, n)| (line.to_owned(), n)).into();
            // Each round waits for the documents of the round before, so that the program has sent several requests.
            until("the documents arrive", || lines(&seen).values().sum::<usize>() >= 2 * round);
        }
        let log_text = running.stop();
        let flows = fs::read_to_string(seen.with_extension("flows")).unwrap_or_default();
        assert_eq!(lines(&seen), expected, "{kind}, {version}, output {host}, others {others}; flows:\n{flows}\nlog:\n{log_text}");
    }
}

/// Kibana is not among the servers of the output. It becomes available while packets are captured.
#[test]
fn live_requests_to_kibana_are_not_reported() {
    if !may_run("live_requests_to_kibana_are_not_reported") {
        return;
    }
    for kind in ["ebpf", "af_packet"] {
        let net = Net::new();
        let home = Home::new(&format!(
            "packetbeat.interfaces: {{device: lo, type: {kind}}}\n\
             packetbeat.protocols: [{{type: http, ports: [9200]}}]\n\
             packetbeat.flows: {{timeout: 1s, period: -1s}}\n\
             packetbeat.shutdown_timeout: 10s\n\
             queue.mem: {{flush.min_events: 1, flush.timeout: 0.1s}}\n\
             setup.kibana.host: 127.0.0.1:9200\n\
             setup.dashboards: {{enabled: true, retry: {{enabled: true, interval: 200ms}}}}\n"
        ));
        let program = home.command(&["-e"]);
        let mut running = Running::start(net.on_server(&program.get_program().to_string_lossy()).args(program.get_args()));
        running.wait_for("sniffer is running");
        let seen = home.path().join("seen");
        let mut server = Running::start(net.on_server("python3").args(["-c", SERVER, "HTTP/1.1"]).arg(&seen));
        server.wait_for("listening");
        running.wait_for("dashboards are not loaded");
        let url = "http://127.0.0.1:9200/mine";
        let curl = net.on_server("curl").args(["-gsf", "--noproxy", "*", "--max-time", "20", "-o", "/dev/null", url]).status().unwrap();
        assert!(curl.success(), "{kind}: {curl}");
        until("the request of another program is reported", || home.documents_so_far().iter().any(|d| d["url"]["path"] == "/mine"));
        let log_text = running.stop();
        let documents = home.documents();
        let paths: Vec<&str> =
            documents.iter().filter(|d| d["type"] == "http").map(|d| d["url"]["path"].as_str().unwrap_or_default()).collect();
        assert_eq!(paths, ["/mine"], "{kind}; log:\n{log_text}");
    }
}

/// A Python script that acts as a name server: every name and every address has the name `looked.up`.
const NAME_SERVER: &str = r#"
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
print("listening", file=sys.stderr, flush=True)
while True:
    query, client = server.recvfrom(2000)
    end = query.index(0, 12) + 5
    answer = b"\xc0\x0c" + query[end - 4:end] + b"\0\0\0\x3c\0\x0b\x06looked\x02up\0"
    server.sendto(query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end] + answer, client)
"#;

/// A Python script that asks the name server for the PTR records of the name in its argument.
const ASK: &str = r#"
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(20)
client.connect(("127.0.0.1", 53))
name = sys.argv[1].encode()
client.send(b"\0\7\1\0\0\1\0\0\0\0\0\0" + bytes([len(name)]) + name + b"\0\0\x0c\0\1")
client.recv(2000)
"#;

#[test]
fn live_look_ups_of_the_dns_processor_are_not_reported() {
    if !may_run("live_look_ups_of_the_dns_processor_are_not_reported") {
        return;
    }
    for kind in ["ebpf", "af_packet", "pcap"] {
        let net = Net::new();
        let home = Home::new(&format!(
            "packetbeat.interfaces: {{device: lo, type: {kind}}}\n\
             packetbeat.protocols: [{{type: dns, ports: [53]}}]\n\
             packetbeat.flows: {{timeout: 1s, period: -1s}}\n\
             packetbeat.shutdown_timeout: 10s\n\
             queue.mem: {{flush.min_events: 1, flush.timeout: 0.1s}}\n\
             processors:\n- dns: {{type: reverse, nameservers: ['127.0.0.1'], fields: {{source.ip: source.looked_up}}}}\n"
        ));
        let mut server = Running::start(net.on_server("python3").args(["-c", NAME_SERVER]));
        server.wait_for("listening");
        let program = home.command(&["-e"]);
        let mut running = Running::start(net.on_server(&program.get_program().to_string_lossy()).args(program.get_args()));
        running.wait_for("sniffer is running");
        let mut asked = Vec::new();
        // The first event starts the look-up in the background. One of the next has its result.
        until("an event has the name that was looked up", || {
            let name = format!("n{}", asked.len());
            let status = net.on_server("python3").args(["-c", ASK, &name]).status().unwrap();
            assert!(status.success(), "{kind}: {status}");
            asked.push(name);
            home.documents_so_far().iter().any(|document| document["source"]["looked_up"] == "looked.up")
        });
        let flows = || home.documents_so_far().iter().filter(|document| document["flow"]["final"] == true).count();
        until("the flows are reported", || flows() >= asked.len());
        let log_text = running.stop();
        let documents = home.documents();
        let names: Vec<&str> =
            documents.iter().filter(|d| d["type"] == "dns").map(|d| d["dns"]["question"]["name"].as_str().unwrap_or_default()).collect();
        assert_eq!(names, asked, "{kind}; log:\n{log_text}");
        assert_eq!(documents.iter().filter(|document| document["type"] == "flow").count(), asked.len(), "{kind}: {documents:?}");
    }
}

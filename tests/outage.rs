//! The server of the output is away for a time while events come at a constant rate. The disk queue loses nothing, the queue in memory counts what
//! it drops, and the memory of the program stays bounded. `cargo xtask test-queue --outage SECONDS` runs this with a longer outage.

use crate::{
    harness::Home,
    net::{Net, Running, may_run, until},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// Transactions per second.
const RATE: u64 = 2000;
/// Length of the outage in seconds, unless the environment has another one.
const OUTAGE: u64 = 2;
/// Most memory that is not backed by files, in kB, whatever the length of the outage.
const MOST_MEMORY: u64 = 128 << 10;

/// Answers each query with the same message and the bit QR.
const RESPONDER: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.bind(('192.0.2.2', 53))
import sys; print('listening', file=sys.stderr, flush=True)
while True:
    data, peer = s.recvfrom(2048)
    s.sendto(data[:2] + b'\\x81\\x80' + data[4:], peer)
";

/// Sends queries for n0.x, n1.x and so on, as many per second as the first argument says, the second argument in total.
const SENDER: &str = "
import socket, struct, sys, time
rate, total = int(sys.argv[1]), int(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(('192.0.2.2', 53))
print('sending', file=sys.stderr, flush=True)
start, sent = time.monotonic(), 0
while sent < total:
    due = min(total, int((time.monotonic() - start) * rate), sent + 50)
    for n in range(sent, due):
        name = b'n%d' % n
        s.send(struct.pack('>6H', n & 0xffff, 0x100, 1, 0, 0, 0) + bytes([len(name)]) + name + b'\\x01x\\0\\0\\x01\\0\\x01')
    sent = due
    time.sleep(0.005)
";

/// An Elasticsearch that appends the number of each event to a file before it answers.
const SERVER: &str = "
import gzip, json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass
    def do_GET(self):
        body = self.rfile.read(int(self.headers.get('content-length') or 0))
        answer = {'version': {'number': '9.6.0', 'build_flavor': 'default'}}
        if '_bulk' in self.path:
            if self.headers.get('content-encoding') == 'gzip': body = gzip.decompress(body)
            documents = [json.loads(line) for line in body.splitlines()[1::2]]
            with open(sys.argv[1], 'a') as file: file.write(''.join(d['dns']['question']['name'][1:-2] + '\\n' for d in documents))
            answer = {'errors': False, 'items': [{'create': {'status': 201}}] * len(documents)}
        data = json.dumps(answer).encode()
        self.send_response(200)
        for name, value in (('X-Elastic-Product', 'Elasticsearch'), ('Content-Type', 'application/json'), ('Content-Length', str(len(data)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(data)
    do_HEAD = do_PUT = do_POST = do_GET
ThreadingHTTPServer.daemon_threads = True
server = ThreadingHTTPServer(('127.0.0.1', 9200), Handler)
print('listening', file=sys.stderr, flush=True)
server.serve_forever()
";

/// The numbers of the events that arrived, and how many arrived more than once.
fn arrived(file: &Path) -> (BTreeSet<u64>, usize) {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let all: Vec<u64> = whole.lines().map(|line| line.parse().unwrap()).collect();
    let distinct: BTreeSet<u64> = all.iter().copied().collect();
    let again = all.len() - distinct.len();
    (distinct, again)
}

/// The most memory not backed by files that the process was seen to have so far, in kB.
fn memory(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The counters at the end of a run.
fn totals(log: &str) -> Value {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut totals = lines.filter(|line| line["message"] == "Total metrics").map(|line| line["monitoring"]["metrics"].clone());
    totals.next_back().unwrap_or_else(|| panic!("no totals in\n{log}"))
}

#[test]
fn an_outage_of_the_server_costs_nothing_that_is_not_counted() {
    if !may_run("an_outage_of_the_server_costs_nothing_that_is_not_counted") {
        return;
    }
    let outage = std::env::var("OUTAGE_SECONDS").ok().map_or(OUTAGE, |seconds| seconds.parse().unwrap());
    for (queue, loses) in [("disk: {max_size: 10GB}", false), ("mem: {flush.timeout: 1s}", true)] {
        let (net, home) = (Net::new(), Home::with_output(""));
        home.write(
            "packetbeat.yml",
            &format!(
                "packetbeat.interfaces: {{device: v0, type: af_packet}}\npacketbeat.protocols: [{{type: dns, ports: [53]}}]\n\
                 setup: {{template.enabled: false, ilm.enabled: false}}\nqueue.{queue}\n\
                 output.elasticsearch: {{hosts: ['127.0.0.1:9200'], backoff: {{init: 100ms, max: 500ms}}}}\npacketbeat.shutdown_timeout: 60s\n"
            ),
        );
        let file = home.path().join("arrived");
        let server = || {
            let mut server = Running::start(net.on_client("python3").args(["-c", SERVER]).arg(&file));
            server.wait_for("listening");
            server
        };
        let mut responder = Running::start(net.on_server("python3").args(["-c", RESPONDER]));
        responder.wait_for("listening");
        let first = server();
        let program = home.live();
        let mut running = Running::start(net.on_client(&program.get_program().to_string_lossy()).args(program.get_args()));
        running.wait_for("sniffer is running");
        let total = RATE * (outage + 2);
        let mut sender = Running::start(net.on_client("python3").args(["-c", SENDER]).args([RATE.to_string(), total.to_string()]));
        sender.wait_for("sending");
        until("the first events arrive", || !arrived(&file).0.is_empty());
        drop(first);
        let (away, mut most) = (Instant::now(), 0);
        while away.elapsed() < Duration::from_secs(outage) {
            std::thread::sleep(Duration::from_millis(50));
            most = most.max(memory(running.id()));
        }
        let _second = server();
        sender.finish();
        if !loses {
            until("all events have arrived", || {
                most = most.max(memory(running.id()));
                arrived(&file).0.len() as u64 == total
            });
        }
        let log = running.stop();
        let totals = totals(&log);
        let count = |path: &str| totals.pointer(path).and_then(Value::as_u64).unwrap_or_default();
        let (distinct, again) = arrived(&file);
        let (published, dropped) = (count("/libbeat/pipeline/events/published"), count("/libbeat/pipeline/events/dropped"));
        println!(
            "queue.{queue}: {total} events, {} arrived, {again} of them again, {dropped} dropped and counted; {most} kB of memory",
            distinct.len()
        );
        assert_eq!((count("/libbeat/output/events/dropped"), count("/capture/lost")), (0, 0), "{totals:#}");
        assert_eq!((published + dropped, distinct.len() as u64), (total, published), "{totals:#}");
        assert!(loses || dropped == 0, "{totals:#}");
        assert!(most < MOST_MEMORY, "{most} kB");
    }
}

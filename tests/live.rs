//! Tests of live capture in network namespaces. The same traffic of real servers and clients must give exactly the same transactions with
//! every capture backend and hook.

use crate::{
    harness::{Home, tests},
    net::{Net, Running, may_run, until},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
};

/// The settings `type` and `hook` of each way to capture.
const BACKENDS: &[(&str, &str)] =
    &[("ebpf", "xdp"), ("ebpf", "tc"), ("ebpf", "socket"), ("af_packet", "auto"), ("pcap", "auto"), ("auto", "auto")];

const PROTOCOLS: &str = "
name: live
packetbeat.protocols:
  - {type: icmp, enabled: true}
  - {type: dns, ports: [53]}
  - {type: http, ports: [80]}
packetbeat.shutdown_timeout: 10s
queue.mem: {events: 4096, flush.min_events: 1, flush.timeout: 0.1s}
";

fn config(kind: &str, hook: &str) -> String {
    format!("{PROTOCOLS}packetbeat.interfaces: {{device: v0, type: {kind}, hook: {hook}, buffer_size_mb: 8}}\n")
}

/// A line that identifies the transaction of a document; `None` for ICMP that hosts send by themselves (neighbour and router discovery).
fn gist(document: &Value) -> Option<String> {
    let text = |path: &str| document.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let what = match text("/type").as_str() {
        "icmp" if !text("/icmp/request/message").starts_with("Echo") => return None,
        "icmp" => format!("{} {}", text("/icmp/request/message"), text("/icmp/response/message")),
        "dns" => format!("{} {} {}", text("/dns/question/type"), text("/resource"), text("/dns/response_code")),
        _ => format!("{} {}", text("/query"), document["http"]["response"]["status_code"]),
    };
    Some(format!("{} {} {what} from {}", text("/type"), text("/status"), text("/source/ip")))
}

fn gists(documents: &[Value]) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    documents.iter().filter_map(gist).for_each(|gist| *all.entry(gist).or_default() += 1);
    all
}

/// Runs the program on the server, calls `traffic`, waits until as many transactions as `expected` are written, and ends the program.
/// Returns the transactions and the program's log.
fn capture(
    net: &Net,
    config: &str,
    expected: &BTreeMap<String, usize>,
    traffic: impl FnOnce(&mut Running),
) -> (BTreeMap<String, usize>, String) {
    let home = Home::new(config);
    let program = home.live();
    let mut command = net.on_server(&program.get_program().to_string_lossy());
    let mut running = Running::start(command.args(program.get_args()));
    running.wait_for("sniffer is running");
    traffic(&mut running);
    let wanted: usize = expected.values().sum();
    // Lost transactions never arrive, so wait at most ten seconds. The documents are read again after the program has ended.
    let start = std::time::Instant::now();
    while gists(&home.documents_so_far()).values().sum::<usize>() < wanted && start.elapsed().as_secs() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let log_text = running.stop();
    (gists(&home.documents()), log_text)
}

fn ok(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

/// Starts nginx and dnsmasq in the server's namespace and waits until they answer.
fn start_servers(net: &Net, dir: &Path) -> [Running; 2] {
    let at = dir.display();
    std::fs::write(dir.join("index.html"), "x".repeat(3000)).unwrap();
    let conf = format!(
        "daemon off; master_process off; pid {at}/pid; error_log stderr; user root; events {{}} http {{ access_log off; client_body_temp_path {at}/b; \
         proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; \
         server {{ listen 80; root {at}; location /n/ {{ return 200 \"fine\\n\"; }} }} }}"
    );
    std::fs::write(dir.join("nginx.conf"), conf).unwrap();
    let nginx = Running::start(net.on_server("nginx").arg("-c").arg(dir.join("nginx.conf")));
    let dnsmasq = Running::start(net.on_server("dnsmasq").args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
        "--pid-file=",
        "--listen-address=192.0.2.2",
        "--bind-interfaces",
        "--local=/test/",
        "--host-record=www.test,192.0.2.7,2001:db8::7",
        "--txt-record=www.test,text",
    ]));
    let get = || {
        net.on_client("curl").args(["-sf", "--max-time", "2", "-o", "/dev/null", "http://192.0.2.2/"]).status().is_ok_and(|s| s.success())
    };
    until("nginx answers", get);
    let dig = || {
        net.on_client("dig")
            .args(["+tries=1", "+time=1", "@192.0.2.2", "www.test"])
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    };
    until("dnsmasq answers", dig);
    [nginx, dnsmasq]
}

fn real_traffic(net: &Net) {
    // Send several requests on one connection, then open one connection for each request.
    let curl = || {
        let mut command = net.on_client("curl");
        command.args(["-sS", "--max-time", "20", "-o", "/dev/null"]);
        command
    };
    let urls: Vec<String> = (0..20).map(|n| format!("http://192.0.2.2/n/{n}")).collect();
    ok(curl().args(["--remove-on-error", "--parallel-max", "1"]).args(urls.iter().flat_map(|url| ["-o", "/dev/null", url.as_str()])));
    ok(curl().arg("http://192.0.2.2/"));
    ok(curl().arg("http://192.0.2.2/missing"));
    ok(curl().args(["-I", "http://192.0.2.2/"]));
    ok(curl().args(["-g", "http://192.0.2.2/n/last"]));
    for question in [["www.test", "A"], ["www.test", "AAAA"], ["www.test", "TXT"], ["none.test", "A"]] {
        ok(net.on_client("dig").args(["+tries=1", "+time=5", "@192.0.2.2"]).args(question).stdout(Stdio::null()));
    }
    ok(net.on_client("dig").args(["+tcp", "+tries=1", "+time=5", "@192.0.2.2", "www.test", "A"]).stdout(Stdio::null()));
    ok(net.on_client("ping").args(["-q", "-c", "5", "-i", "0.2", "192.0.2.2"]));
    ok(net.on_client("ping").args(["-q", "-c", "5", "-i", "0.2", "fd00::2"]));
}

fn expected_of_real_traffic() -> BTreeMap<String, usize> {
    let one = |text: &str| (text.to_owned(), 1);
    let mut all: BTreeMap<String, usize> = (0..20).map(|n| one(&format!("http OK GET /n/{n} 200 from 192.0.2.1"))).collect();
    all.extend([
        one("http OK GET / 200 from 192.0.2.1"),
        one("http Error GET /missing 404 from 192.0.2.1"),
        one("http OK HEAD / 200 from 192.0.2.1"),
        one("http OK GET /n/last 200 from 192.0.2.1"),
        ("dns OK A www.test NOERROR from 192.0.2.1".to_owned(), 2),
        one("dns OK AAAA www.test NOERROR from 192.0.2.1"),
        one("dns OK TXT www.test NOERROR from 192.0.2.1"),
        one("dns Error A none.test NXDOMAIN from 192.0.2.1"),
        ("icmp OK EchoRequest EchoReply from 192.0.2.1".to_owned(), 5),
        ("icmp OK EchoRequest EchoReply from fd00::1".to_owned(), 5),
    ]);
    all
}

#[test]
fn live_servers_give_the_same_transactions_over_every_backend() {
    if !may_run("live_servers_give_the_same_transactions_over_every_backend") {
        return;
    }
    let net = Net::new();
    let dir = tempfile::tempdir().unwrap();
    let _servers = start_servers(&net, dir.path());
    let expected = expected_of_real_traffic();
    for (kind, hook) in BACKENDS {
        let (got, log_text) = capture(&net, &config(kind, hook), &expected, |_| real_traffic(&net));
        assert_eq!(got, expected, "\nover {kind} {hook}; log:\n{log_text}");
    }
}

#[test]
fn live_tagged_frames_give_the_same_transactions_over_every_backend() {
    if !may_run("live_tagged_frames_give_the_same_transactions_over_every_backend") {
        return;
    }
    let captures = ["protocols/http/nginx.pcap", "protocols/dns/dnsmasq.pcap"];
    let mut expected = BTreeMap::new();
    for capture in captures {
        let home = Home::new(PROTOCOLS);
        home.read_capture(&tests().join(capture));
        gists(&home.documents()).into_iter().for_each(|(gist, n)| *expected.entry(gist).or_default() += n);
    }
    assert!(expected.len() > 10, "{expected:?}");
    let net = Net::new();
    for tags in ["", "8100:5", "88a8:7,8100:5"] {
        for (kind, hook) in BACKENDS {
            let inject = |_: &mut Running| {
                let mut python = net.on_client("python3");
                ok(python.arg(tests().join("inject.py")).args(["v0", tags]).args(captures.map(|capture| tests().join(capture))));
            };
            let (got, log_text) = capture(&net, &config(kind, hook), &expected, inject);
            assert_eq!(got, expected, "\ntags {tags:?} over {kind} {hook}; log:\n{log_text}");
        }
    }
}

/// One of two devices does not exist at the start. Its traffic is reported once the device exists.
#[test]
fn live_a_missing_device_is_waited_for() {
    if !may_run("live_a_missing_device_is_waited_for") {
        return;
    }
    let net = Net::new();
    let captures = ["protocols/http/nginx.pcap"];
    let home = Home::new(PROTOCOLS);
    home.read_capture(&tests().join(captures[0]));
    let expected = gists(&home.documents());
    let interfaces = |devices: [&str; 2]| {
        let [first, second] = devices.map(|device| format!("{{device: {device}, buffer_size_mb: 8}}"));
        format!("{PROTOCOLS}packetbeat.interfaces: [{first}, {second}]\n")
    };
    let (got, log_text) = capture(&net, &interfaces(["v0", "later"]), &expected, |running| {
        ok(net.on_server("ip").args("link add later type veth peer name other".split(' ')));
        for device in ["later", "other"] {
            ok(net.on_server("ip").args(["link", "set", device, "up"]));
            let _ = net.on_server("ethtool").args(["-K", device, "gro", "on"]).output();
        }
        running.wait_for("later: the device is there");
        ok(net.on_server("python3").arg(tests().join("inject.py")).args(["other", ""]).args(captures.map(|capture| tests().join(capture))));
    });
    assert_eq!(got, expected, "log:\n{log_text}");
    assert!(log_text.contains("device later: there is no such device") && log_text.contains("later: the device is there"), "{log_text}");

    let home = Home::new(&interfaces(["later1", "later2"]));
    let program = home.live();
    let output = net.on_server(&program.get_program().to_string_lossy()).args(program.get_args()).output().unwrap();
    let log_text = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && log_text.contains("Exiting: ") && log_text.contains("device later1: there is no such device"),
        "{log_text}"
    );
}

/// A Python script that sends data over TCP. Arguments: host, port, number of bytes.
const SENDER: &str = "
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as s:
    s.sendall(bytes(int(sys.argv[3])))
    s.shutdown(socket.SHUT_WR)
    s.recv(1)
";

/// A Python script that accepts one TCP connection and reads until it is closed. Argument: port.
const RECEIVER: &str = "
import socket, sys
with socket.create_server(('0.0.0.0', int(sys.argv[1]))) as s:
    print('listening', file=sys.stderr, flush=True)
    connection, _ = s.accept()
    with connection:
        while connection.recv(1 << 20):
            pass
";

/// The TCP counter `name` of the kernel for one network namespace, from the `Tcp:` lines of /proc/net/snmp. `cat` runs in this namespace.
pub fn tcp_counter(mut cat: Command, name: &str) -> u64 {
    let output = cat.arg("/proc/net/snmp").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().filter(|l| l.starts_with("Tcp:")).map(|l| l.split(' ').collect()).collect();
    let at = lines[0].iter().position(|column| *column == name).unwrap_or_else(|| panic!("no {name} in {text}"));
    lines[1][at].parse().unwrap()
}

/// Number of frames that the interface `v0` received; each frame may contain several segments. `cat` runs in the network namespace of the
/// interface.
fn received_frames(mut cat: Command) -> u64 {
    let output = cat.arg("/proc/net/dev").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|l| l.trim().strip_prefix("v0:")).unwrap_or_else(|| panic!("no v0 in {text}"));
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn live_flows_count_segments_that_were_joined() {
    const BYTES: u64 = 4_000_000;
    const PORT: &str = "5001";
    if !may_run("live_flows_count_segments_that_were_joined") {
        return;
    }
    for hook in ["tc", "socket"] {
        let net = Net::new();
        let home = Home::new(&format!(
            "name: live\npacketbeat.flows: {{timeout: 60s, period: -1s}}\npacketbeat.shutdown_timeout: 10s\n\
             packetbeat.interfaces: {{device: v0, type: ebpf, hook: {hook}, buffer_size_mb: 64}}\n"
        ));
        let program = home.live();
        let mut running = Running::start(net.on_server(&program.get_program().to_string_lossy()).args(program.get_args()));
        running.wait_for("sniffer is running");
        let mut receiver = Running::start(net.on_server("python3").args(["-c", RECEIVER, PORT]));
        receiver.wait_for("listening");
        let frames = received_frames(net.on_server("cat"));
        ok(net.on_client("python3").args(["-c", SENDER, "192.0.2.2", PORT, &BYTES.to_string()]));
        let frames = received_frames(net.on_server("cat")) - frames;
        // The namespaces are new, and this is their only TCP connection.
        let (sent, answered) = (tcp_counter(net.on_client("cat"), "OutSegs"), tcp_counter(net.on_server("cat"), "OutSegs"));
        let retransmitted = tcp_counter(net.on_client("cat"), "RetransSegs");
        let log_text = running.stop();
        let documents = home.documents();
        let flows: Vec<&Value> = documents.iter().filter(|d| d["destination"]["port"] == 5001).collect();
        let [flow] = flows[..] else { panic!("{hook}: one flow expected: {documents:#?}\nit log_text:\n{log_text}") };
        let number = |path: &str| flow.pointer(path).and_then(Value::as_u64).unwrap_or_default();
        let seen = (number("/source/packets"), number("/destination/packets"));
        assert!(frames < sent, "{frames} frames, {sent} segments: none were joined, so this shows nothing");
        // `OutSegs` does not include retransmitted segments.
        let on_the_wire = (sent + retransmitted, answered);
        assert_eq!(seen, on_the_wire, "{hook}: segments sent and answered; {frames} frames; {flow:#}\nit log_text:\n{log_text}");
        // Headers of Ethernet, IPv4, and TCP with the timestamp option; the SYN has eight more bytes of options.
        let (bytes, expected) = (number("/source/bytes"), BYTES + (sent + retransmitted) * (14 + 20 + 32) + 8);
        let exact = bytes == expected || retransmitted > 0 && bytes > expected;
        assert!(exact, "{hook}: {bytes} bytes, expected {expected}; {sent} segments, {retransmitted} of them again; {flow:#}");
    }
}

//! `on_match: drop` for interfaces that only receive mirrored packets: captured packets do not reach the host, all others do.

use crate::{
    harness::Home,
    net::{Net, Running, may_run, until},
};
use serde_json::Value;

const CONFIG: &str = "
packetbeat.protocols:
  - {type: dns, ports: [53], transaction_timeout: 1s}
packetbeat.flows: {timeout: 60s, period: -1s}
packetbeat.shutdown_timeout: 20s
queue.mem: {events: 4096, flush.min_events: 1, flush.timeout: 0.1s}
";

/// Prints the port of each datagram that arrives at port 53 or 9999, until one says `end`.
const RECEIVER: &str = "
import select, socket, sys
sockets = {port: socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for port in (53, 9999)}
for port, at in sockets.items():
    at.bind(('192.0.2.2', port))
print('ready', file=sys.stderr, flush=True)
while True:
    for at in select.select(list(sockets.values()), [], [])[0]:
        data = at.recv(2000)
        print('datagram for', at.getsockname()[1], file=sys.stderr, flush=True)
        if data == b'end':
            sys.exit()
";

/// Sends ten DNS requests to port 53, ten datagrams to port 9999, and the one that ends the receiver.
const SENDER: &str = "
import socket, struct
at = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
at.bind(('192.0.2.1', 5000))
for n in range(10):
    at.sendto(struct.pack('>6H', n, 0x100, 1, 0, 0, 0) + b'\\x04test\\x00' + struct.pack('>2H', 1, 1), ('192.0.2.2', 53))
    at.sendto(b'more', ('192.0.2.2', 9999))
at.sendto(b'end', ('192.0.2.2', 9999))
";

/// Starts the program on the server, whose interface has an address.
fn start(net: &Net, interface: &str) -> (Home, Running) {
    let home = Home::new(&format!("{CONFIG}packetbeat.interfaces: {{device: v0, type: ebpf, {interface}}}\n"));
    let program = home.live();
    (home, Running::start(net.on_server(&program.get_program().to_string_lossy()).args(program.get_args())))
}

#[test]
fn live_captured_packets_are_dropped_if_the_user_says_so() {
    if !may_run("live_captured_packets_are_dropped_if_the_user_says_so") {
        return;
    }
    let dropped = "on_match: drop, on_match_force: true";
    for (interface, rxvlan, hook, drops) in [
        (format!("hook: xdp, {dropped}"), "off", "XDP", true),
        (format!("hook: tc, {dropped}"), "on", "tc", true),
        (format!("hook: auto, {dropped}"), "off", "XDP", true),
        (format!("hook: auto, {dropped}"), "on", "tc", true),
        (format!("hook: xdp, {dropped}, bpf_filter: udp port 53"), "on", "XDP", true),
        ("hook: xdp".to_owned(), "off", "XDP", false),
    ] {
        let what = format!("{interface}, rxvlan {rxvlan}");
        let net = Net::new();
        let set = net.on_server("ethtool").args(["-K", "v0", "rxvlan", rxvlan]).output().unwrap();
        assert!(set.status.success(), "{what}: {}", String::from_utf8_lossy(&set.stderr));
        let (home, mut running) = start(&net, &interface);
        running.wait_for("sniffer is running");
        let mut receiver = Running::start(net.on_server("python3").args(["-c", RECEIVER]));
        receiver.wait_for("ready");
        assert!(net.on_client("python3").args(["-c", SENDER]).status().unwrap().success(), "{what}");
        let received = receiver.finish();
        until("all requests are reported", || home.documents_so_far().iter().filter(|d| d["type"] == "dns").count() >= 10);
        let log_text = running.stop();
        let count = |port: u16| received.lines().filter(|line| line.ends_with(&format!("datagram for {port}"))).count();
        assert_eq!((count(53), count(9999)), (if drops { 0 } else { 10 }, 11), "{what}:\n{received}\n{log_text}");
        assert!(log_text.contains(hook), "{what}: the hook should be {hook}:\n{log_text}");
        let warns = log_text.contains("`ethtool -K v0 rxvlan off`");
        assert_eq!(warns, rxvlan == "on" && interface.starts_with("hook: xdp"), "{what}:\n{log_text}");
        let documents = home.documents();
        let flow = |port: u16| documents.iter().find(|d| d["type"] == "flow" && d["destination"]["port"] == port);
        assert_eq!(flow(53).map(|flow| &flow["source"]["packets"]), Some(&Value::from(10)), "{what}: {documents:#?}");
        let others = if interface.contains("bpf_filter") { None } else { Some(Value::from(11)) };
        assert_eq!(flow(9999).map(|flow| flow["source"]["packets"].clone()), others, "{what}: {documents:#?}");
    }
}

#[test]
fn live_packets_of_an_interface_with_an_address_are_not_dropped() {
    if !may_run("live_packets_of_an_interface_with_an_address_are_not_dropped") {
        return;
    }
    let net = Net::new();
    for interface in ["type: ebpf, hook: tc", "type: ebpf, hook: xdp", "type: auto"] {
        let home = Home::new(&format!("{CONFIG}packetbeat.interfaces: {{device: v0, on_match: drop, {interface}}}\n"));
        let program = home.live();
        let output = net.on_server(&program.get_program().to_string_lossy()).args(program.get_args()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("on_match_force: true"), "{interface}: {text}");
    }
}

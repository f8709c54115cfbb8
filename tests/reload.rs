//! Tests of `reload.enabled`: the configuration is read again while the program runs.

use crate::{
    ending::{capture, signal, start_on_server},
    harness::Home,
    net::{Net, Running, may_run, until},
};
use serde_json::Value;
use std::{collections::BTreeSet, fs, io::Write, process::Stdio};

const IN_FORCE: &str = "The new configuration is in force";
const KEPT: &str = "The running configuration stays in force";

/// A configuration whose events are written to the file `name` and have the tag `name`.
fn config(home: &Home, name: &str, more: &str) -> String {
    format!(
        "packetbeat.protocols: [{{type: dns, ports: [53]}}]\nreload: {{enabled: true, period: 100ms}}\ntags: [{name}]\n\
         output.file: {{path: {}, filename: {name}}}\n{more}\n",
        home.path().join("out").display()
    )
}

/// Starts the program on a file that is read again and again.
fn start(home: &Home) -> Running {
    let mut running = Running::start(home.command(&["-e", "-t", "-l", "0"]).arg("-I").arg(capture(home, 50)));
    running.wait_for("sniffer is running");
    running
}

#[test]
fn a_changed_file_is_read_and_a_wrong_one_changes_nothing() {
    let home = Home::with_output("");
    home.write("packetbeat.yml", &config(&home, "first", ""));
    let mut running = start(&home);
    until("events have the first tag", || home.documents_in("first").iter().any(|document| document["tags"][0] == "first"));
    home.write("packetbeat.yml", &config(&home, "second", ""));
    running.wait_for(IN_FORCE);
    until("events have the second tag", || home.documents_in("second").iter().any(|document| document["tags"][0] == "second"));
    for (wrong, expected) in [
        ("processors: [{", "packetbeat.yml"),
        ("processors: [{no_such_processor: {}}]", "packetbeat.yml:5: processors"),
        ("logging.metrics.period: never", "packetbeat.yml:5: logging.metrics.period"),
        ("queue.mem.events: 64", "packetbeat.yml:5: queue.mem.events: cannot be changed while the program runs"),
        ("packetbeat.interfaces.device: lo", "packetbeat.yml:5: packetbeat.interfaces.device: cannot be changed while"),
        ("output.file.queue.mem.events: 64", "output.file.queue.mem.events: cannot be changed while the program runs"),
    ] {
        home.write("packetbeat.yml", &config(&home, "third", wrong));
        running.wait_for(KEPT);
        let last = running.last();
        assert!(last.contains(expected), "{wrong}: {expected:?} is not in {last}");
    }
    fs::remove_file(home.path().join("packetbeat.yml")).unwrap();
    running.wait_for("the file is gone");
    home.write("packetbeat.yml", &config(&home, "fourth", ""));
    running.wait_for(IN_FORCE);
    until("events have the fourth tag", || home.documents_in("fourth").iter().any(|document| document["tags"][0] == "fourth"));
    running.stop();
    assert_eq!(home.documents_in("third").len(), 0, "a refused configuration has no effect");
}

#[test]
fn a_changed_secret_is_read() {
    let home = Home::with_output("");
    let add = |name: &str, value: &str| {
        let mut command = home.command(&["keystore", "add", name, "--stdin", "--force"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{name}");
    };
    home.write("packetbeat.yml", &config(&home, "out", "").replace("[out]", "['${TAG}', common]"));
    add("TAG", "before");
    let mut running = start(&home);
    let tagged = |tag: &str| home.documents_in("out").iter().any(|document| document["tags"][0] == tag);
    until("events have the first secret", || tagged("before"));
    add("TAG", "after");
    running.wait_for("packetbeat.keystore changed: the configuration is read again");
    running.wait_for(IN_FORCE);
    until("events have the second secret", || tagged("after"));
    running.stop();
}

#[test]
fn what_waits_goes_to_the_new_output() {
    let home = Home::with_output("");
    home.write(
        "packetbeat.yml",
        "packetbeat.protocols: [{type: dns, ports: [53]}]\nreload.enabled: true\nqueue.mem: {events: 64, flush.min_events: 1}\n\
         output.elasticsearch: {hosts: ['127.0.0.1:9']}\n",
    );
    let mut running = start(&home);
    running.wait_for("Failed to connect");
    home.write("packetbeat.yml", &config(&home, "file", "queue.mem: {events: 64, flush.min_events: 1}").replace(", period: 100ms", ""));
    signal(running.id(), "HUP");
    running.wait_for(IN_FORCE);
    // The waiting events were made before the configuration with the tags was in force.
    until("waiting events", || home.documents_in("file").iter().any(|document| document["tags"].is_null()));
    until("new events", || home.documents_in("file").iter().any(|document| document["tags"][0] == "file"));
    running.stop();
}

#[test]
fn sighup_ends_the_program_without_reload_and_is_ignored_at_the_end() {
    let home = Home::with_output("packetbeat.protocols: [{type: dns, ports: [53]}]\noutput.discard: {}\n");
    let running = start(&home);
    signal(running.id(), "HUP");
    let log_text = running.finish();
    assert!(log_text.contains("Received SIGHUP, stopping"), "{log_text}");

    let home = Home::with_output(
        "packetbeat.protocols: [{type: dns, ports: [53]}]\nreload.enabled: true\npacketbeat.shutdown_timeout: 2s\n\
         output.elasticsearch: {hosts: ['127.0.0.1:9']}\n",
    );
    let mut running = start(&home);
    running.wait_for("Failed to connect");
    signal(running.id(), "TERM");
    running.wait_for("stopping");
    (0..20).for_each(|_| signal(running.id(), "HUP"));
    running.wait_for("Received SIGHUP while the program ends");
    let log_text = running.finish();
    assert!(!log_text.contains("not waiting any longer") && !log_text.contains(IN_FORCE), "{log_text}");
}

/// Sends DNS queries with different ids to ports 53 and 5353. Arguments: their number for each port.
const QUERIES: &str = "
import socket, sys, time
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
for n in range(int(sys.argv[1])):
    query = n.to_bytes(2, 'big') + bytes.fromhex('0100000100000000000001610000010001')
    for s, port in zip(sockets, [53, 5353]):
        s.sendto(query, ('192.0.2.2', port))
    if n % 10 == 9:
        time.sleep(0.002)
";

#[test]
fn protocols_ports_and_filters_are_exchanged_without_losing_a_packet() {
    if !may_run("protocols_ports_and_filters_are_exchanged_without_losing_a_packet") {
        return;
    }
    const COUNT: usize = 20_000;
    let net = Net::new();
    for (kind, flows) in [("ebpf", ""), ("ebpf", "packetbeat.flows: {timeout: 60s, period: 30s}"), ("af_packet", ""), ("pcap", "")] {
        let home = Home::with_output("");
        let with = |ports: &str, filter: &str, tag: &str| {
            let config = config(
                &home,
                "events",
                &format!(
                    "packetbeat.interfaces: {{device: v0, type: {kind}, buffer_size_mb: 64{filter}}}\n{flows}\n\
                     packetbeat.shutdown_timeout: 20s\nqueue.mem: {{events: 200000, bytes: 512MiB, flush.min_events: 1}}\nmemory.max: 2GiB\n"
                ),
            );
            let config = config.replace("ports: [53]", &format!("ports: [{ports}]")).replace("tags: [events]", &format!("tags: [{tag}]"));
            home.write("packetbeat.yml", &config.replace("period: 100ms", "period: 1h"));
        };
        let filter = ", bpf_filter: 'udp port 53 or udp port 5353'";
        // While the kernel counts flows, a user's filter can be replaced only by another user's filter.
        let filters = if flows.is_empty() { ["", filter] } else { ["", ""] };
        with("53", "", "t0");
        let mut running = start_on_server(&net, &home);
        let mut sender = net.on_client("python3").args(["-c", QUERIES, &COUNT.to_string()]).spawn().unwrap();
        let mut rounds = 0;
        while sender.try_wait().unwrap().is_none() {
            rounds += 1;
            let ports = ["53", "53, 5353", "5353, 53, 80"][rounds % 3];
            with(ports, filters[rounds % 2], &format!("t{rounds}"));
            signal(running.id(), "HUP");
            running.wait_for(IN_FORCE);
        }
        let log_text = running.stop();
        let documents = home.documents_in("events");
        let to = |port: u16| {
            let of_port = documents.iter().filter(|document| document["type"] == "dns" && document["destination"]["port"] == port);
            of_port.map(|document| document["dns"]["id"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        let (at_53, unique) = (to(53), to(53).into_iter().collect::<BTreeSet<_>>());
        assert_eq!((at_53.len(), unique.len()), (COUNT, COUNT), "{kind} {flows}, {rounds} rounds:\n{log_text}");
        assert!(rounds > 3 && !to(5353).is_empty(), "{kind}: {rounds} rounds, {} events of the other port", to(5353).len());
        if !flows.is_empty() {
            let packets: u64 = documents
                .iter()
                .filter(|document| document["type"] == "flow" && document["destination"]["port"] == 53 && document["flow"]["final"] == true)
                .filter_map(|document| document["source"]["packets"].as_u64())
                .sum();
            assert_eq!(packets, COUNT as u64, "{kind}: packets in flow events");
        }
    }
}

/// Makes two connections between the same ends. The server refuses both.
const CONNECTIONS: &str = "
import socket
for _ in range(2):
    s = socket.socket()
    s.bind(('', 40000))
    try:
        s.connect(('192.0.2.2', 8080))
    except ConnectionRefusedError:
        pass
    s.close()
";

#[test]
fn each_connection_to_a_new_port_is_a_flow() {
    if !may_run("each_connection_to_a_new_port_is_a_flow") {
        return;
    }
    let net = Net::new();
    for kind in ["ebpf", "af_packet", "pcap"] {
        let home = Home::with_output("");
        let with = |ports: &str| {
            let more = format!("packetbeat.interfaces: {{device: v0, type: {kind}}}\npacketbeat.flows: {{timeout: 60s, period: 30s}}\n");
            let config = config(&home, "events", &more).replace("{type: dns, ports: [53]}", &format!("{{type: http, ports: [{ports}]}}"));
            home.write("packetbeat.yml", &config.replace("period: 100ms", "period: 1h"));
        };
        with("80");
        let mut running = start_on_server(&net, &home);
        with("80, 8080");
        signal(running.id(), "HUP");
        running.wait_for(IN_FORCE);
        assert!(net.on_client("python3").args(["-c", CONNECTIONS]).status().unwrap().success());
        let log_text = running.stop();
        let documents = home.documents_in("events");
        let is_last = |document: &&Value| document["flow"]["final"] == true && document["destination"]["port"] == 8080;
        let flows = documents.iter().filter(is_last);
        let packets: Vec<_> = flows.map(|document| (&document["source"]["packets"], &document["destination"]["packets"])).collect();
        assert_eq!(packets, [(&Value::from(1), &Value::from(1)); 2], "{kind}: {documents:?}\n{log_text}");
    }
}

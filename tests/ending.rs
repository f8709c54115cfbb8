//! Tests of the end of the program. It ends in time even if its output blocks. It publishes everything for which there is time, and its
//! log names the events that it lost.

use crate::{
    harness::Home,
    net::{Net, Running, may_run, until},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const DNS: &str = "packetbeat.protocols: [{type: dns, ports: [53]}]\n";

/// A configuration whose server is not reachable, with a small queue. `backoff`: the wait between attempts to connect.
fn unreachable(host: &str, backoff: &str) -> String {
    format!(
        "{DNS}queue.mem: {{events: 32, flush.min_events: 1}}\nsetup.template.enabled: false\nsetup.ilm.enabled: false\n\
         output.elasticsearch: {{hosts: ['{host}'], backoff: {{init: {backoff}, max: {backoff}}}}}\n"
    )
}

/// A capture of DNS queries and their answers, each of which gives one event.
pub fn capture(home: &Home, events: u16) -> PathBuf {
    let mut pcap: Vec<u8> = [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65535, 101].iter().flat_map(|word| word.to_le_bytes()).collect();
    for n in 0..events {
        for answer in [false, true] {
            let (ports, flags) = if answer { ([53, 40_000], 0x8180) } else { ([40_000, 53], 0x0100) };
            let question = b"\x07example\x03org\0\0\x01\0\x01";
            let length = 20 + 8 + 12 + question.len() as u16;
            let mut packet = [0x4500, length, 0, 0, 0x4011, 0].map(u16::to_be_bytes).concat();
            packet.extend_from_slice(if answer { &[10, 0, 0, 2, 10, 0, 0, 1] } else { &[10, 0, 0, 1, 10, 0, 0, 2] });
            packet.extend([ports[0], ports[1], length - 20, 0, n, flags, 1, 0, 0, 0].map(u16::to_be_bytes).concat());
            packet.extend_from_slice(question);
            let size = packet.len() as u32;
            pcap.extend([1_700_000_000, u32::from(n), size, size].iter().flat_map(|word: &u32| word.to_le_bytes()));
            pcap.extend_from_slice(&packet);
        }
    }
    let path = home.path().join("capture.pcap");
    fs::write(&path, pcap).unwrap();
    path
}

/// Waits until a thread of the process is blocked because nobody reads its pipe.
fn until_a_pipe_blocks(id: u32) {
    let blocks = |task: fs::DirEntry| fs::read_to_string(task.path().join("wchan")).is_ok_and(|name| name.contains("pipe_write"));
    until("a thread waits for the reader of its pipe", || fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten().any(blocks));
}

/// Sends the signal with this name to a process.
pub fn signal(id: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status().unwrap().success());
}

/// A process that is killed when the value is dropped.
struct Blocked(Child);

impl Blocked {
    /// Starts the program and waits until it is blocked by a pipe that nobody reads.
    fn start(command: &mut Command) -> Self {
        let blocked = Self(command.spawn().unwrap());
        until_a_pipe_blocks(blocked.0.id());
        blocked
    }

    /// Sends SIGTERM to the process and waits until the process has ended.
    fn terminate(mut self) {
        signal(self.0.id(), "TERM");
        until("SIGTERM ends it", || self.0.try_wait().unwrap().is_some());
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program in the server's namespace. The program runs until the value is dropped or stopped.
pub fn start_on_server(net: &Net, home: &Home) -> Running {
    let program = home.live();
    let mut running = Running::start(net.on_server(&program.get_program().to_string_lossy()).args(program.get_args()));
    running.wait_for("sniffer is running");
    running
}

/// A Python script that sends UDP datagrams. Arguments: address, port of the first datagram, increment of the port for each further
/// datagram, number of datagrams, content.
const DATAGRAMS: &str = "
import socket, sys, time
address, port, step, count, content = sys.argv[1], *map(int, sys.argv[2:5]), bytes.fromhex(sys.argv[5])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(count):
    s.sendto(content, (address, port + n * step))
    if n % 100 == 99:
        time.sleep(0.002)
";

fn send_datagrams(net: &Net, port: &str, step: &str, count: u32, content: &str) {
    let mut python = net.on_client("python3");
    assert!(python.args(["-c", DATAGRAMS, "192.0.2.2", port, step, &count.to_string(), content]).status().unwrap().success());
}

/// Sends DNS queries that no server answers.
fn send_queries(net: &Net, count: u32) {
    send_datagrams(net, "53", "0", count, "12340100000100000000000001610000010001");
}

/// The total of a counter in the log record that the program writes at its end.
fn total(log_text: &str, counter: &str) -> u64 {
    let line = log_text.lines().find(|line| line.contains("Total metrics")).unwrap_or_else(|| panic!("no totals in:\n{log_text}"));
    let record: Value = serde_json::from_str(line).unwrap();
    record.pointer(&format!("/monitoring/metrics/{}", counter.replace('.', "/"))).and_then(Value::as_u64).unwrap_or(0)
}

#[test]
fn a_file_with_a_full_queue_and_no_server_ends() {
    let home = Home::with_output(&unreachable("http://127.0.0.1:9", "50ms"));
    let mut running = Running::start(home.command(&["-e", "-t"]).arg("-I").arg(capture(&home, 5000)));
    running.wait_for("Failed to connect");
    let log_text = running.stop();
    assert!(log_text.contains("Not everything was published: "), "{log_text}");
    assert!(log_text.contains("events could not be delivered in time"), "{log_text}");
    assert!(!log_text.contains("All enqueued events have been published"), "{log_text}");
}

#[test]
fn a_stopped_reader_of_the_events_does_not_delay_the_end() {
    let home = Home::with_output(&format!("{DNS}output.console: {{}}\n"));
    let mut command = home.command(&["-t"]);
    Blocked::start(command.arg("-I").arg(capture(&home, 5000)).stdout(Stdio::piped()).stderr(Stdio::null())).terminate();
}

#[test]
fn a_stopped_reader_of_the_log_does_not_delay_the_end() {
    // Each event causes one line in the log, because its processor fails.
    let home = Home::new(&format!(
        "{DNS}logging.level: debug\nprocessors: [{{convert: {{fields: [{{from: dns.question.name, type: integer}}]}}}}]\n"
    ));
    let mut command = home.command(&["-e", "-t"]);
    Blocked::start(command.arg("-I").arg(capture(&home, 5000)).stdout(Stdio::null()).stderr(Stdio::piped())).terminate();
}

#[test]
fn final_reports_of_flows_wait_for_the_output() {
    if !may_run("final_reports_of_flows_wait_for_the_output") {
        return;
    }
    let net = Net::new();
    let home = Home::new(
        "packetbeat.flows: {timeout: 600s, period: -1s}\npacketbeat.shutdown_timeout: 60s\n\
         packetbeat.interfaces: {device: v0, buffer_size_mb: 32}\nqueue.mem: {events: 32, flush.min_events: 1}\n",
    );
    let running = start_on_server(&net, &home);
    send_datagrams(&net, "10000", "1", 20_000, "00");
    let log_text = running.stop();
    let created = total(&log_text, "flows.created");
    assert!(created >= 20_000, "{log_text}");
    assert_eq!(home.documents().len() as u64, created, "{log_text}");
    assert_eq!(total(&log_text, "libbeat.pipeline.events.dropped"), 0, "{log_text}");
    assert!(log_text.contains("All enqueued events have been published"), "{log_text}");
}

#[test]
fn packets_in_the_capture_buffer_are_read_out() {
    if !may_run("packets_in_the_capture_buffer_are_read_out") {
        return;
    }
    let net = Net::new();
    for kind in ["ebpf", "af_packet", "pcap"] {
        let home = Home::new(&format!(
            "packetbeat.protocols: [{{type: dns, ports: [53]}}]\npacketbeat.shutdown_timeout: 60s\n\
             packetbeat.interfaces: {{device: v0, type: {kind}, buffer_size_mb: 64}}\n"
        ));
        let running = start_on_server(&net, &home);
        signal(running.id(), "STOP");
        send_queries(&net, 8000);
        // The program handles pending signals when SIGCONT continues it.
        signal(running.id(), "TERM");
        signal(running.id(), "CONT");
        let log_text = running.finish();
        let (matched, frames, unread) =
            (total(&log_text, "capture.matched"), total(&log_text, "capture.frames"), total(&log_text, "capture.unread"));
        assert!(matched >= 8000, "{kind}: {log_text}");
        assert_eq!((frames, unread, total(&log_text, "capture.lost")), (matched, 0, 0), "{kind}: {log_text}");
    }
}

#[test]
fn events_dropped_because_the_queue_is_full_are_reported_at_once_and_at_the_end() {
    if !may_run("events_dropped_because_the_queue_is_full_are_reported_at_once_and_at_the_end") {
        return;
    }
    let net = Net::new();
    let home = Home::with_output(
        "packetbeat.protocols: [{type: dns, ports: [53], transaction_timeout: 1s}]\npacketbeat.interfaces: {device: v0}\n\
         queue.mem: {events: 32, flush.min_events: 1}\nsetup.template.enabled: false\nsetup.ilm.enabled: false\n\
         output.elasticsearch: {hosts: ['http://192.0.2.2:9'], backoff: {init: 50ms, max: 100ms}}\n",
    );
    let mut running = start_on_server(&net, &home);
    send_queries(&net, 1000);
    running.wait_for("events were dropped because the queue is full");
    let log_text = running.stop();
    let dropped = total(&log_text, "libbeat.pipeline.events.dropped");
    assert!(
        log_text.contains(&format!("Not everything was published: {dropped} events were dropped because the queue was full")),
        "{log_text}"
    );
    assert!(!log_text.contains("All enqueued events have been published"), "{log_text}");
}

/// Runs the program in its own mount namespace, with its event files on a disk of one megabyte. Afterwards the files are copied to
/// `result`.
fn on_small_disk(home: &Home, prepare: &str) -> Running {
    let program = home.command(&["-e", "-t"]);
    let args: Vec<String> = program.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let script = format!(
        "set -e; cd '{home}'; mkdir out; mount -t tmpfs -o size=1m none out; {prepare}; \"$@\" -I '{capture}'; cp -r out result",
        home = home.path().display(),
        capture = capture(home, 600).display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh"]).arg(program.get_program()).args(args).env("TZ", "UTC").stdin(Stdio::null());
    Running::start(&mut command)
}

fn files(folder: &Path) -> Vec<(String, u64)> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().flatten().collect();
    files.sort_by_key(fs::DirEntry::file_name);
    files.iter().map(|file| (file.file_name().to_string_lossy().into_owned(), file.metadata().unwrap().len())).collect()
}

#[test]
fn a_full_disk_loses_no_file_and_no_event() {
    if !may_run("a_full_disk_loses_no_file_and_no_event") {
        return;
    }
    let home = Home::with_output(&format!(
        "{DNS}output.file: {{path: out, filename: events, number_of_files: 2, backoff: {{init: 50ms, max: 50ms}}}}\n"
    ));
    let old = "out/events-20200101.ndjson";
    let mut running = on_small_disk(
        &home,
        &format!("echo kept > {old}; head -c 700000 /dev/zero > out/filler; head -c 4000000 /dev/zero > out/rest || true"),
    );
    for _ in 0..5 {
        running.wait_for("No space left on device");
    }
    let inside = PathBuf::from(format!("/proc/{}/root{}", running.id(), home.path().display()));
    let seen = files(&inside.join("out"));
    assert_eq!(fs::read_to_string(inside.join(old)).unwrap(), "kept\n", "{seen:?}");
    assert_eq!(seen.len(), 4, "the old file, one new file, and the two that fill the disk: {seen:?}");
    fs::remove_file(inside.join("out/filler")).unwrap();
    fs::remove_file(inside.join("out/rest")).unwrap();
    running.wait_for("All enqueued events have been published");
    running.finish();
    let result = home.path().join("result");
    let text = fs::read_to_string(result.join(&files(&result)[1].0)).unwrap();
    assert_eq!(files(&result).len(), 2, "{:?}", files(&result));
    let documents: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: BTreeSet<_> = documents.iter().map(|document| document["dns"]["id"].as_u64()).collect();
    assert_eq!((documents.len(), ids.len()), (600, 600));
}

//! `bench live`: measures every capture backend on a veth pair between two network namespaces, at the highest rate that tcpreplay reaches.
//! The matching packets are UDP on the port of `dns`, but not DNS: they are captured, decoded and rejected by the parser, so capture
//! dominates the cost. The kernel's work per packet counts as the sender's time: it lowers the rate and does not appear in the program's
//! CPU time.

use super::{Scratch, may_capture, measure, program};
use crate::{Outcome, pcap::Capture};
use serde_json::Value;
use std::{
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Seconds that tcpreplay sends, per case.
const SECONDS: &str = "2";
/// Longest time that the program may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pause after sending, in which the program empties the rings and reads the counters once more.
const SETTLE: Duration = Duration::from_millis(1500);
/// Packets in the generated capture, which is sent repeatedly.
const PACKETS: u32 = 2000;
/// A destination port that the filter matches, and one that it does not match.
const PORTS: (u16, u16) = (53, 9);

/// The backends: name in the table, `type`, `hook`.
const BACKENDS: &[(&str, &str, &str)] = &[
    ("ebpf xdp", "ebpf", "xdp"),
    ("ebpf tc", "ebpf", "tc"),
    ("ebpf socket", "ebpf", "socket"),
    ("af_packet", "af_packet", "auto"),
    ("pcap", "pcap", "auto"),
];

/// The result of one case.
struct Measured {
    /// Packets sent per second.
    rate: f64,
    /// Packets sent that the filter matches.
    matching: f64,
    /// The program's CPU time per packet sent, in nanoseconds.
    per_packet: f64,
    /// Packets that reached the decoder.
    taken: u64,
    seen: u64,
    lost: u64,
}

/// Measures all backends with all packet sizes and shares of matching packets. The function prints ratios to the two backends without eBPF.
pub fn run(scratch: &Scratch) -> Outcome {
    if !may_capture() {
        return Ok(());
    }
    println!("Live capture: {SECONDS} s of tcpreplay --topspeed over a veth; CPU is the program's, per packet sent.");
    println!("\"taken\" of those that match came to the decoder; \"lost\" is what the program itself counted as lost.\n");
    println!("| bytes | matching | backend | sent/s | CPU ns/packet | ÷ af_packet | ÷ pcap | seen | taken | missing | lost |");
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for size in [64, 1500] {
        for percent in [1, 100] {
            let capture = scratch.write("generated.pcap", &generate(size, percent).map_err(|e| e.to_string())?)?;
            let share = f64::from(percent) / 100.0;
            let mut all = Vec::new();
            for (_, kind, hook) in BACKENDS {
                all.push(measure_case(scratch, &capture, kind, hook, share));
            }
            let cost = |index: usize| all.get(index).and_then(|m| m.as_ref().ok()).map_or(f64::NAN, |m| m.per_packet);
            let (af_packet, pcap) = (cost(BACKENDS.len() - 2), cost(BACKENDS.len() - 1));
            for ((name, ..), measured) in BACKENDS.iter().zip(&all) {
                match measured {
                    Ok(m) => println!(
                        "| {size} | {percent} % | {name} | {:.0} | {:.0} | {:.2} | {:.2} | {} | {} | {:.2} % | {} |",
                        m.rate,
                        m.per_packet,
                        m.per_packet / af_packet,
                        m.per_packet / pcap,
                        m.seen,
                        m.taken,
                        100.0 * (1.0 - m.taken as f64 / m.matching).max(0.0),
                        m.lost,
                    ),
                    Err(error) => println!("| {size} | {percent} % | {name} | {error} | | | | | | | |"),
                }
            }
        }
    }
    Ok(())
}

fn measure_case(scratch: &Scratch, capture: &Path, kind: &str, hook: &str, share: f64) -> Result<Measured, String> {
    let net = Net::new()?;
    let config = format!(
        "packetbeat.interfaces: {{device: v0, type: {kind}, hook: {hook}}}\npacketbeat.protocols: [{{type: dns, ports: [{}]}}]\n\
         packetbeat.flows.enabled: false\noutput.discard: {{}}\n",
        PORTS.0
    );
    let config = scratch.write("live.yml", config.as_bytes())?;
    let sniffer = Running::start(net.on(&net.receiver, &program()).arg("-e").arg("-c").arg(config).arg("--path.home").arg(&scratch.0))?;
    sniffer.wait_for("sniffer is running")?;
    let before = measure::cpu_so_far(sniffer.child.id()).ok_or("the program has ended")?;
    let sent = net
        .on(&net.sender, Path::new("tcpreplay"))
        .args(["-q", "--preload-pcap", "--topspeed", "--loop=100000000", "--duration", SECONDS, "-i", "v0"])
        .arg(capture)
        .output()
        .map_err(|e| format!("tcpreplay: {e}"))?;
    let said = String::from_utf8_lossy(&sent.stdout).into_owned() + &String::from_utf8_lossy(&sent.stderr);
    let (packets, seconds) =
        actual(&said).ok_or_else(|| format!("the output of tcpreplay has no statistics: {}", said.replace('\n', "; ")))?;
    thread::sleep(SETTLE);
    let after = measure::cpu_so_far(sniffer.child.id()).ok_or("the program has ended")?;
    let capture = total_metrics(&sniffer.stop()?)?["capture"].clone();
    let counter = |name: &str| capture[name].as_u64().unwrap_or(0);
    Ok(Measured {
        rate: packets / seconds,
        matching: packets * share,
        per_packet: (after - before) * 1e9 / packets,
        taken: counter("frames"),
        seen: counter("seen"),
        lost: counter("lost") + counter("lost_by_interface"),
    })
}

/// The metrics of the whole run, from the log of a program that has ended.
pub fn total_metrics(log: &[String]) -> Result<Value, String> {
    let records = log.iter().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let totals = records.into_iter().find(|record| record["message"] == "Total metrics");
    Ok(totals.ok_or("the log contains no record `Total metrics`")?["monitoring"]["metrics"].clone())
}

/// Parses packets and seconds from tcpreplay's line `Actual: 615643 packets (…) sent in 3.27 seconds`.
fn actual(said: &str) -> Option<(f64, f64)> {
    let words: Vec<&str> = said.lines().find_map(|line| line.strip_prefix("Actual: "))?.split_whitespace().collect();
    let seconds = words.iter().position(|word| *word == "in")? + 1;
    Some((words.first()?.parse().ok()?, words.get(seconds)?.parse().ok()?))
}

/// A pcap file of UDP packets in frames of `size` bytes; `percent` of them go to the port that the filter matches.
fn generate(size: usize, percent: u32) -> io::Result<Vec<u8>> {
    // The headers of Ethernet, IPv4 and UDP take 42 bytes of a frame.
    let payload = vec![0xff; size.saturating_sub(42)];
    let mut capture = Capture::new(Vec::new(), 1000)?;
    for number in 0..PACKETS {
        // Use many client addresses, as in real traffic.
        let client = ([10, 0, (number >> 8) as u8, number as u8], 20_000 + (number % 10_000) as u16);
        let port = if number % 100 < percent { PORTS.0 } else { PORTS.1 };
        capture.udp([client, ([192, 0, 2, 2], port)], &payload)?;
    }
    capture.finish()
}

/// Two network namespaces connected by a veth pair whose ends are both named `v0`. Dropping it removes them.
pub struct Net {
    /// The namespace that sends.
    pub sender: String,
    /// The namespace in which the program captures.
    pub receiver: String,
}

impl Net {
    /// Makes the namespaces and the pair.
    pub fn new() -> Result<Self, String> {
        let name = |end: &str| format!("snbench{}{end}", std::process::id());
        let net = Self { sender: name("s"), receiver: name("r") };
        let Self { sender, receiver } = &net;
        let ip = |args: &str| match Command::new("ip").args(args.split(' ')).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("ip {args}: {}", String::from_utf8_lossy(&output.stderr).trim())),
            Err(error) => Err(format!("ip {args}: {error}")),
        };
        ip(&format!("netns add {sender}"))?;
        ip(&format!("netns add {receiver}"))?;
        ip(&format!("-n {sender} link add v0 mtu 9000 type veth peer name v0 mtu 9000 netns {receiver}"))?;
        for ns in [sender, receiver] {
            // Switch off address generation, so that only the packets of the benchmark are on the link.
            ip(&format!("-n {ns} link set v0 addrgenmode none up"))?;
            // GRO is needed: without GRO and without native XDP of the driver, frames from packet sockets bypass XDP.
            let _ = net.on(ns, Path::new("ethtool")).args(["-K", "v0", "gro", "on"]).output();
        }
        Ok(net)
    }

    /// The command that runs `program` in a namespace.
    // This uses nsenter, because `ip netns exec` mounts a new /sys, which hides bpffs.
    pub fn on(&self, ns: &str, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{ns}")).arg(program).stdin(Stdio::null());
        command
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for ns in [&self.sender, &self.receiver] {
            let _ = Command::new("ip").args(["netns", "del", ns]).output();
        }
    }
}

/// A running program whose log is read. Dropping it kills the program.
pub struct Running {
    /// The process of the program.
    pub child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    /// Starts the program and reads its log in the background.
    pub fn start(command: &mut Command) -> Result<Self, String> {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
        let (sender, lines) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        }
        Ok(Self { child, lines })
    }

    /// Waits until the program writes a line that contains `text`.
    pub fn wait_for(&self, text: &str) -> Outcome {
        let (start, mut last) = (Instant::now(), String::new());
        while let Ok(line) = self.lines.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
            if line.contains(text) {
                return Ok(());
            }
            last = line;
        }
        Err(format!("the program did not say {text:?} but {last:?}"))
    }

    /// Ends the program with SIGTERM and returns the log lines since the last call.
    pub fn stop(mut self) -> Result<Vec<String>, String> {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return Ok(self.lines.iter().collect());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err("the program did not end when it was asked to".into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Reading big captures from files: all of the program but live capture, beside tcpdump and Suricata on the same file. And what the
//! events of each protocol cost.

use super::{Scratch, measure, measure::Cost, program};
use crate::{
    Outcome,
    setup::{is_there, project},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where the generator and its configurations lie, beside the project.
const PERF: &str = "../shared/perf";
/// The small captures that are blown up.
const CAPTURES: &str = "../shared/conformance/captures";
/// Megabytes of the captures that are replayed whole, and of those per protocol.
const MEGABYTES: (&str, &str) = ("200", "20");
/// Copies of the small captures that overlap in time.
const CONCURRENT: &str = "40";
/// Runs of each measurement: the cheapest counts, as what others do on the machine only ever adds.
const RUNS: usize = 3;

/// The two captures of 200 MB, whole.
pub fn run(scratch: &Scratch) -> Outcome {
    let Some(perf) = folder() else { return Ok(()) };
    println!("Replay of {} MB captures (best of {RUNS} runs):\n", MEGABYTES.0);
    println!("| capture | program | events | CPU s | ÷ tcpdump | peak MB | µs/event | ns/packet |");
    println!("|---|---|---|---|---|---|---|---|");
    for name in ["slice", "mix"] {
        let sources = list(&perf, name)?;
        let (capture, packets) = blow_up(scratch, &perf, &sources, MEGABYTES.0)?;
        let file = capture.to_string_lossy().into_owned();
        let ours = fs::read_to_string(perf.join(format!("{name}.yml"))).map_err(|e| format!("{name}.yml: {e}"))?;
        let (cost, events) = sniff(scratch, &capture, &ours)?;
        let tcpdump = cheapest(|| measure::cost(scratch, Path::new("tcpdump"), &["-nr", &file, "-w", "/dev/null"]))?;
        let line = |program: &str, events: &str, cost: Cost, per_event: &str| {
            let (ratio, per_packet) = (cost.cpu / tcpdump.cpu, cost.cpu * 1e9 / packets);
            println!(
                "| {name} | {program} | {events} | {:.3} | {ratio:.1} | {:.1} | {per_event} | {per_packet:.0} |",
                cost.cpu, cost.memory
            );
        };
        line("sniffer", &events.to_string(), cost, &format!("{:.2}", cost.cpu * 1e6 / events as f64));
        line("tcpdump", "", tcpdump, "");
        if is_there("suricata") {
            let logs = scratch.path("suricata");
            fs::create_dir_all(&logs).map_err(|e| e.to_string())?;
            let args = ["-r", &file, "-l", &logs.to_string_lossy(), "-S", "/dev/null", "-k", "none"];
            // It takes seconds: once is enough.
            line("suricata", "", measure::cost(scratch, Path::new("suricata"), &args)?, "");
            scratch.remove(&logs);
        }
        scratch.remove(&capture);
    }
    if !is_there("suricata") {
        println!("\nLeft out: Suricata, which is not installed.");
    }
    Ok(())
}

/// Every protocol alone, dearest first.
pub fn protocols(scratch: &Scratch) -> Outcome {
    let Some(perf) = folder() else { return Ok(()) };
    let config = fs::read_to_string(perf.join("mix.yml")).map_err(|e| format!("mix.yml: {e}"))?;
    let (own, rest): (Vec<&str>, Vec<&str>) = config.lines().partition(|line| line.starts_with("  - {type: "));
    let mut by_protocol: BTreeMap<&str, (&str, Vec<PathBuf>)> = BTreeMap::new();
    for capture in list(&perf, "mix")? {
        let stem = capture.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let named = own.iter().find_map(|line| {
            let name = line.trim_start_matches("  - {type: ").split([',', '}']).next()?;
            // `dhcp.pcap` holds what the protocol `dhcpv4` reads.
            stem.starts_with(name.trim_end_matches("v4")).then_some((name, *line))
        });
        let Some((name, line)) = named else { continue };
        by_protocol.entry(name).or_insert((line, Vec::new())).1.push(capture);
    }
    // What starting and ending cost is no event's.
    let empty = scratch.write("empty.pcap", &[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0])?;
    let (start, _) = sniff(scratch, &empty, &config)?;
    let mut rows = Vec::new();
    for (name, (line, sources)) in by_protocol {
        let (capture, packets) = blow_up(scratch, &perf, &sources, MEGABYTES.1)?;
        let alone = rest.iter().flat_map(|l| if l.starts_with("packetbeat.protocols") { vec![*l, line] } else { vec![*l] });
        let (cost, events) = sniff(scratch, &capture, &(alone.collect::<Vec<_>>().join("\n") + "\n"))?;
        let cpu = (cost.cpu - start.cpu).max(0.0);
        rows.push((cpu * 1e6 / (events as f64), cpu * 1e9 / packets, name, events, packets, cost));
        scratch.remove(&capture);
    }
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!(
        "What events cost: each protocol alone, {} MB (best of {RUNS} runs, less {:.3} s for start and end):\n",
        MEGABYTES.1, start.cpu
    );
    println!("| protocol | µs/event | ns/packet | events | packets | packets/event | CPU s | peak MB |");
    println!("|---|---|---|---|---|---|---|---|");
    for (per_event, per_packet, name, events, packets, cost) in rows {
        let each = packets / events as f64;
        println!("| {name} | {per_event:.2} | {per_packet:.0} | {events} | {packets} | {each:.1} | {:.3} | {:.1} |", cost.cpu, cost.memory);
    }
    Ok(())
}

/// The folder with the generator, with captures to blow up beside it; says so where there is none.
fn folder() -> Option<PathBuf> {
    let there = project().join(PERF);
    let complete = there.join("gen_big.py").exists() && project().join(CAPTURES).exists();
    if !complete {
        println!("Left out: replay of big captures ({PERF} and {CAPTURES} are not there).");
    }
    complete.then_some(there)
}

/// The captures of which a big one is made.
fn list(perf: &Path, name: &str) -> Result<Vec<PathBuf>, String> {
    let output =
        python().arg(perf.join("lists.py")).arg(name).arg(project().join(CAPTURES)).output().map_err(|e| format!("python3: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(text.split_whitespace().map(PathBuf::from).collect()) } else { Err("lists.py failed".into()) }
}

/// Makes a big capture; returns it and how many packets are in it.
fn blow_up(scratch: &Scratch, perf: &Path, sources: &[PathBuf], megabytes: &str) -> Result<(PathBuf, f64), String> {
    let out = scratch.path("big.pcap");
    let output = python()
        .arg(perf.join("gen_big.py"))
        .arg(&out)
        .args([megabytes, CONCURRENT])
        .args(sources)
        .output()
        .map_err(|e| format!("python3: {e}"))?;
    // `…: 2377 copies of 259 packets (84125 B), 615643 packets, ~40 copies in flight`
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let packets = said.split(", ").nth(1).and_then(|part| part.split(' ').next()).and_then(|n| n.parse().ok());
    packets.map(|n| (out, n)).ok_or_else(|| format!("gen_big.py: {said}{}", String::from_utf8_lossy(&output.stderr)))
}

fn python() -> Command {
    let mut python = Command::new("python3");
    // The folder is not ours to write compiled files to.
    python.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    python
}

/// Reads a capture with the program; returns what it cost and how many events it wrote.
fn sniff(scratch: &Scratch, capture: &Path, config: &str) -> Result<(Cost, usize), String> {
    let (config, home) = (scratch.write("replay.yml", config.as_bytes())?, scratch.path("home"));
    let (config, capture, home) = (config.to_string_lossy(), capture.to_string_lossy(), home.to_string_lossy());
    let path = format!("output.file.path={home}/out");
    let mut events = 0;
    let cost = cheapest(|| {
        let args = ["-e", "-t", "-I", &*capture, "-c", &*config, "--path.home", &*home, "-E", &path];
        let cost = measure::cost(scratch, &program(), &args);
        events = lines(&scratch.path("home/out"));
        scratch.remove(&scratch.path("home"));
        cost
    })?;
    Ok((cost, events))
}

/// Lines in all files of a folder.
fn lines(folder: &Path) -> usize {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.map(|f| fs::read(f.path()).unwrap_or_default().iter().filter(|b| **b == b'\n').count()).sum()
}

fn cheapest(mut run: impl FnMut() -> Result<Cost, String>) -> Result<Cost, String> {
    let mut best = run()?;
    for _ in 1..RUNS {
        let again = run()?;
        best = Cost { cpu: best.cpu.min(again.cpu), memory: best.memory.max(again.memory) };
    }
    Ok(best)
}

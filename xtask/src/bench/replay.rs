//! Replays big captures from files, and compares the cost with tcpdump and Suricata on the same file. This module also measures the cost of
//! each protocol's events.

use super::{Scratch, measure, measure::Cost, program};
use crate::{
    Outcome,
    setup::{is_there, project},
};
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Folder with the generator of big captures and its configurations. It is not part of the project.
const PERF: &str = "../shared/perf";
/// Folder with the small captures that big ones are generated from.
const CAPTURES: &str = "../shared/conformance/captures";
/// Size in megabytes of each big capture, and of each protocol's capture.
const MEGABYTES: (&str, &str) = ("200", "20");
/// Number of copies of the small captures that overlap in time.
const CONCURRENT: &str = "40";
/// Number of runs per measurement. The result is that of the cheapest run, because other processes can only add to the cost.
const RUNS: usize = 3;
/// A pcap file header without packets.
const EMPTY: &[u8] = &[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];

/// A capture and the configuration to read it with.
pub struct Case {
    /// `slice`, `mix`, or the name of a protocol.
    pub name: String,
    /// The configuration in YAML.
    config: String,
    /// The capture file.
    path: PathBuf,
    packets: f64,
}

/// Measures the two big captures with this program, tcpdump and Suricata.
pub fn run(scratch: &Scratch) -> Outcome {
    println!("Replay of {} MB captures (best of {RUNS} runs):\n", MEGABYTES.0);
    println!("| capture | program | events | CPU s | ÷ tcpdump | peak MB | µs/event | ns/packet |");
    println!("|---|---|---|---|---|---|---|---|");
    whole_cases(scratch, &mut |case| {
        let (name, file) = (&case.name, case.path.to_string_lossy());
        let (cost, events) = cheapest_sniff(scratch, case)?;
        let tcpdump = cheapest(|| measure::cost(scratch, Path::new("tcpdump"), &["-nr", &file, "-w", "/dev/null"]))?;
        let line = |program: &str, events: &str, cost: Cost, per_event: &str| {
            let (ratio, per_packet) = (cost.cpu / tcpdump.cpu, cost.cpu * 1e9 / case.packets);
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
            // Run Suricata only once, because it takes several seconds.
            line("suricata", "", measure::cost(scratch, Path::new("suricata"), &args)?, "");
            scratch.remove(&logs);
        }
        Ok(())
    })?;
    if !is_there("suricata") {
        println!("\nLeft out: Suricata, which is not installed.");
    }
    Ok(())
}

/// Measures each protocol's capture; prints them sorted by the cost of an event.
pub fn protocols(scratch: &Scratch) -> Outcome {
    let mut rows = Vec::new();
    let mut start = None;
    protocol_cases(scratch, &mut |case| {
        let start = match start {
            Some(known) => known,
            None => *start.insert(cost_of_start(scratch, case)?),
        };
        let (cost, events) = cheapest_sniff(scratch, case)?;
        let cpu = (cost.cpu - start).max(0.0);
        rows.push((cpu * 1e6 / (events as f64), cpu * 1e9 / case.packets, case.name.clone(), events, case.packets, cost));
        Ok(())
    })?;
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!(
        "What events cost: each protocol alone, {} MB (best of {RUNS} runs, less {:.3} s for start and end):\n",
        MEGABYTES.1,
        start.unwrap_or_default()
    );
    println!("| protocol | µs/event | ns/packet | events | packets | packets/event | CPU s | peak MB |");
    println!("|---|---|---|---|---|---|---|---|");
    for (per_event, per_packet, name, events, packets, cost) in rows {
        let each = packets / events as f64;
        println!("| {name} | {per_event:.2} | {per_packet:.0} | {events} | {packets} | {each:.1} | {:.3} | {:.1} |", cost.cpu, cost.memory);
    }
    Ok(())
}

/// CPU seconds of a run without packets: start, reading the configuration, shutdown.
fn cost_of_start(scratch: &Scratch, case: &Case) -> Result<f64, String> {
    let path = scratch.write("empty.pcap", EMPTY)?;
    let empty = Case { name: "empty".into(), config: case.config.clone(), path, packets: 0.0 };
    Ok(cheapest_sniff(scratch, &empty)?.0.cpu)
}

/// Generates the big captures one after the other and calls `each` with each of them. Only one of them is on the disk at a time.
pub fn whole_cases(scratch: &Scratch, each: &mut dyn FnMut(&Case) -> Outcome) -> Outcome {
    let Some(perf) = folder() else { return Ok(()) };
    for name in ["slice", "mix"] {
        let config = fs::read_to_string(perf.join(format!("{name}.yml"))).map_err(|e| format!("{name}.yml: {e}"))?;
        let (path, packets) = generate_capture(scratch, &perf, &list(&perf, name)?, MEGABYTES.0)?;
        let case = Case { name: name.into(), config, path, packets };
        each(&case)?;
        scratch.remove(&case.path);
    }
    Ok(())
}

/// Generates one capture per protocol and calls `each` with it, in alphabetical order.
pub fn protocol_cases(scratch: &Scratch, each: &mut dyn FnMut(&Case) -> Outcome) -> Outcome {
    let Some(perf) = folder() else { return Ok(()) };
    let config = fs::read_to_string(perf.join("mix.yml")).map_err(|e| format!("mix.yml: {e}"))?;
    let (own, rest): (Vec<&str>, Vec<&str>) = config.lines().partition(|line| line.starts_with("  - {type: "));
    let mut by_protocol: BTreeMap<&str, (&str, Vec<PathBuf>)> = BTreeMap::new();
    for capture in list(&perf, "mix")? {
        let stem = capture.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let named = own.iter().find_map(|line| {
            let name = line.trim_start_matches("  - {type: ").split([',', '}']).next()?;
            // The name of a capture may lack the version: `dhcp.pcap` belongs to the protocol `dhcpv4`.
            stem.starts_with(name.trim_end_matches("v4")).then_some((name, *line))
        });
        let Some((name, line)) = named else { continue };
        by_protocol.entry(name).or_insert((line, Vec::new())).1.push(capture);
    }
    for (name, (line, sources)) in by_protocol {
        let (path, packets) = generate_capture(scratch, &perf, &sources, MEGABYTES.1)?;
        let alone = rest.iter().flat_map(|l| if l.starts_with("packetbeat.protocols") { vec![*l, line] } else { vec![*l] });
        let config = alone.collect::<Vec<_>>().join("\n") + "\n";
        let case = Case { name: name.into(), config, path, packets };
        each(&case)?;
        scratch.remove(&case.path);
    }
    Ok(())
}

/// The folder of the generator if it and its captures exist; prints a message if not.
fn folder() -> Option<PathBuf> {
    let there = project().join(PERF);
    let complete = there.join("gen_big.py").exists() && project().join(CAPTURES).exists();
    if !complete {
        println!("Left out: replay of big captures ({PERF} and {CAPTURES} are not there).");
    }
    complete.then_some(there)
}

/// The small captures from which the big capture of this name is generated.
fn list(perf: &Path, name: &str) -> Result<Vec<PathBuf>, String> {
    let output =
        python().arg(perf.join("lists.py")).arg(name).arg(project().join(CAPTURES)).output().map_err(|e| format!("python3: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(text.split_whitespace().map(PathBuf::from).collect()) } else { Err("lists.py failed".into()) }
}

/// Generates a big capture; returns its path and its number of packets.
fn generate_capture(scratch: &Scratch, perf: &Path, sources: &[PathBuf], megabytes: &str) -> Result<(PathBuf, f64), String> {
    let out = scratch.path("big.pcap");
    let output = python()
        .arg(perf.join("gen_big.py"))
        .arg(&out)
        .args([megabytes, CONCURRENT])
        .args(sources)
        .output()
        .map_err(|e| format!("python3: {e}"))?;
    // The generator prints: `…: 2377 copies of 259 packets (84125 B), 615643 packets, ~40 copies in flight`
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let packets = said.split(", ").nth(1).and_then(|part| part.split(' ').next()).and_then(|n| n.parse().ok());
    packets.map(|n| (out, n)).ok_or_else(|| format!("gen_big.py: {said}{}", String::from_utf8_lossy(&output.stderr)))
}

fn python() -> Command {
    let mut python = Command::new("python3");
    // The folder is not part of the project, so do not leave compiled files in it.
    python.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    python
}

/// Reads a capture with `program` once. Returns the cost and the number of events written.
pub fn sniff(scratch: &Scratch, program: &Path, case: &Case) -> Result<(Cost, usize), String> {
    let (config, home) = (scratch.write("replay.yml", case.config.as_bytes())?, scratch.path("home"));
    let (config, capture, home) = (config.to_string_lossy(), case.path.to_string_lossy(), home.to_string_lossy());
    let path = format!("output.file.path={home}/out");
    let args = ["-e", "-t", "-I", &*capture, "-c", &*config, "--path.home", &*home, "-E", &path];
    let cost = measure::cost(scratch, program, &args);
    let events = lines(&scratch.path("home/out"));
    scratch.remove(&scratch.path("home"));
    Ok((cost?, events?))
}

/// The cheapest of several runs of this checkout's program.
fn cheapest_sniff(scratch: &Scratch, case: &Case) -> Result<(Cost, usize), String> {
    let mut events = 0;
    let cost = cheapest(|| {
        let (cost, count) = sniff(scratch, &program(), case)?;
        events = count;
        Ok(cost)
    })?;
    Ok((cost, events))
}

/// Number of lines in all files of a folder; 0 if the folder does not exist. This function reads in chunks to keep this process small, see
/// [`measure::cost`].
fn lines(folder: &Path) -> Result<usize, String> {
    let (mut count, mut piece) = (0, vec![0; 1 << 16]);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let failed = |e: std::io::Error| format!("{}: {e}", entry.path().display());
        let mut file = fs::File::open(entry.path()).map_err(failed)?;
        loop {
            let len = file.read(&mut piece).map_err(failed)?;
            if len == 0 {
                break;
            }
            count += piece[..len].iter().filter(|byte| **byte == b'\n').count();
        }
    }
    Ok(count)
}

/// The smallest CPU time and the largest memory of [`RUNS`] runs.
fn cheapest(mut run: impl FnMut() -> Result<Cost, String>) -> Result<Cost, String> {
    let mut best = run()?;
    for _ in 1..RUNS {
        let again = run()?;
        best = Cost { cpu: best.cpu.min(again.cpu), memory: best.memory.max(again.memory), anonymous: best.anonymous.max(again.anonymous) };
    }
    Ok(best)
}

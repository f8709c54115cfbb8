//! `bench hostile live`: the floods that are marked as live, sent over a veth pair to a program with two workers. The bound of the peak memory
//! is that of `bench hostile memory`; the rings of the capture are not counted, because `buffer_size_mb` limits them.

use super::{
    floods::{CASES, Case},
    memory::{BOUND, Prepared, prepare, take_reported},
};
use crate::bench::{
    Scratch,
    live::{Net, Running, total_metrics},
    may_capture,
    measure::kilobytes,
};
use std::{fs, path::Path};

/// Nanoseconds between two frames: the first value for the first attempt, the others for later attempts. A case is repeated more slowly if
/// capture lost packets, because a transaction whose packets were never captured says nothing about the flood.
const STEPS: &[u64] = &[25_000, 50_000];

/// Options of the program: two workers, and enough time after the signal to read out the rings and write every document.
const OPTIONS: &str = "packetbeat.interfaces: {device: v0, workers: 2, buffer_size_mb: 64}\npacketbeat.shutdown_timeout: 10s\n";

/// Prints the table; returns the rows that exceed the bound, or in which ordinary transactions are missing.
pub fn run(scratch: &Scratch, program: &Path) -> Result<Vec<String>, String> {
    if !may_capture() {
        return Ok(Vec::new());
    }
    println!("Floods over a veth, two workers. Bound: peak memory without the rings of at most {:.0} MB; every ordinary", BOUND / 1e6);
    println!("transaction is reported. \"lost\" is what the program counted as lost by the capture.\n");
    println!("| case | packets/s | lost | reported | expected | peak MB | |");
    println!("|---|---|---|---|---|---|---|");
    let mut out = Vec::new();
    for case in CASES.iter().filter(|case| case.live) {
        match measure(scratch, program, case) {
            Ok(row) => {
                let wrong = row.peak > BOUND || row.reported != row.expected || row.lost > 0;
                let verdict = if wrong { "out of bounds" } else { "" };
                let (rate, peak) = (1_000_000_000 / row.step, row.peak / 1e6);
                println!("| {} | {rate} | {} | {} | {} | {peak:.0} | {verdict} |", case.name, row.lost, row.reported, row.expected);
                if wrong {
                    out.push(format!("{}: {} of {} reported, {} lost, {peak:.0} MB", case.name, row.reported, row.expected, row.lost));
                }
            }
            Err(error) => {
                println!("| {} | | | | | | failed |", case.name);
                out.push(format!("{}: {error}", case.name));
            }
        }
    }
    Ok(out)
}

struct Row {
    /// Nanoseconds between two frames.
    step: u64,
    lost: u64,
    reported: usize,
    expected: usize,
    /// Peak memory in bytes, without the rings.
    peak: f64,
}

/// Measures with the first of [`STEPS`] at which capture loses nothing, or with the last of them.
fn measure(scratch: &Scratch, program: &Path, case: &Case) -> Result<Row, String> {
    let mut last = Err("no rate to send with".to_owned());
    for step in STEPS {
        last = attempt(scratch, program, case, *step);
        if !matches!(&last, Ok(row) if row.lost > 0) {
            break;
        }
    }
    last
}

fn attempt(scratch: &Scratch, program: &Path, case: &Case, step: u64) -> Result<Row, String> {
    let Prepared { capture: path, events, config, expected } = prepare(scratch, case, step, OPTIONS)?;
    let net = Net::new()?;
    let sniffer =
        Running::start(net.on(&net.receiver, program).arg("-e").arg("-c").arg(config).arg("--path.home").arg(scratch.path("home")))?;
    sniffer.wait_for("sniffer is running")?;
    let sent = net.on(&net.sender, Path::new("tcpreplay")).args(["-q", "-i", "v0"]).arg(&path).output();
    let sent = sent.map_err(|e| format!("tcpreplay: {e}"))?;
    scratch.remove(&path);
    if !sent.status.success() {
        return Err(format!("tcpreplay: {}", String::from_utf8_lossy(&sent.stderr).trim()));
    }
    let peak = peak(sniffer.child.id())?;
    let capture = total_metrics(&sniffer.stop()?)?["capture"].clone();
    let lost = ["lost", "lost_by_interface", "unread"].iter().filter_map(|name| capture[name].as_u64()).sum();
    Ok(Row { step, lost, reported: take_reported(scratch, &events)?, expected, peak })
}

/// The peak resident memory of a process in bytes, without the rings of a capture.
fn peak(process: u32) -> Result<f64, String> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).map_err(|e| format!("/proc/{process}/{file}: {e}"));
    let peak = kilobytes(&read("status")?, "VmHWM:").ok_or("/proc/PID/status has no line VmHWM")?;
    Ok(peak.saturating_sub(rings(&read("smaps")?)) as f64 * 1024.0)
}

/// The resident kilobytes of the rings in the text of `/proc/PID/smaps`: mappings of BPF maps and of packet sockets.
fn rings(smaps: &str) -> u64 {
    let (mut sum, mut is_ring) = (0, false);
    for line in smaps.lines() {
        if line.split_whitespace().next().is_some_and(|first| !first.ends_with(':')) {
            is_ring = line.contains("anon_inode:") || line.contains("socket:");
        } else if is_ring {
            sum += kilobytes(line, "Rss:").unwrap_or(0);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mappings_of_rings_are_subtracted() {
        let smaps = "7f00-7f10 rw-s 00000000 00:0e 12     anon_inode:bpf-map\nSize:   64 kB\nRss:    40 kB\nVmFlags: rd\n\
                     7f20-7f30 rw-p 00000000 00:00 0\nRss:    900 kB\n7f40-7f50 rw-s 00000000 00:08 7    socket:[7]\nRss:   2 kB\n";
        assert_eq!(rings(smaps), 42);
        assert_eq!(kilobytes("VmPeak:\t9 kB\nVmHWM:\t 1234 kB\n", "VmHWM:"), Some(1234));
    }
}

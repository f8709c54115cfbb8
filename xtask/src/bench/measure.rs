//! Running something with its cost taken, and what is to be known about the machine to read the numbers.

use super::Scratch;
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// No measurement lasts longer (seconds): what hangs is ended and told as a failure.
const LIMIT: &str = "120";

/// What a run cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// User and system seconds of the whole process.
    pub cpu: f64,
    /// The greatest resident size, in MB.
    pub memory: f64,
}

/// Runs `program` to its end and takes what it cost. `/usr/bin/time` has the memory but only hundredths of seconds; bash has
/// thousandths.
///
/// # Errors
/// When it cannot be started, takes longer than [`LIMIT`], or fails: with the end of what it said.
pub fn cost(scratch: &Scratch, program: &Path, args: &[&str]) -> Result<Cost, String> {
    let (peak, said) = (scratch.path("peak"), scratch.path("said"));
    let output = Command::new("bash")
        .args([
            "-c",
            "said=$1; peak=$2; shift 2; TIMEFORMAT='%3U %3S'; time /usr/bin/time -f %M -o \"$peak\" \"$@\" >\"$said\" 2>&1",
            "time",
        ])
        .args([&said, &peak])
        .args(["timeout", "-s", "KILL", LIMIT])
        .arg(program)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("bash: {e}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let said = fs::read(&said).unwrap_or_default();
        let said = String::from_utf8_lossy(&said[said.len().saturating_sub(2000)..]).into_owned();
        return Err(format!("{} {} failed ({}): {said}", program.display(), args.join(" "), output.status));
    }
    let times: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let peak = fs::read_to_string(&peak).unwrap_or_default();
    match (times.as_slice(), peak.trim().parse::<f64>()) {
        (&[user, system], Ok(kilobytes)) => Ok(Cost { cpu: user + system, memory: kilobytes / 1024.0 }),
        _ => Err(format!("could not read the times of {}: {text:?}, {peak:?}", program.display())),
    }
}

/// User and system seconds that a running process has used so far: in hundredths, as the kernel tells them.
pub fn cpu_so_far(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything; the times are the 12th and 13th word behind it.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((user + system) / 100.0)
}

/// Cores, kernel and load: what else the machine did is in the numbers.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|l| l.strip_prefix("model name")).map_or("unknown", |l| l.trim_start_matches(['\t', ' ', ':']));
    let load: Vec<&str> = load.split(' ').take(3).collect();
    format!("Machine: {cores} core(s), {model}, kernel {}, load {}", kernel.trim(), load.join(" "))
}

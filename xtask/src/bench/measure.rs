//! Runs a program and measures its CPU time and peak memory. This module also describes the machine.

use super::Scratch;
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use wait4::Wait4;

/// Maximum time of a measured run. A longer run is killed and reported as a failure.
const LIMIT: Duration = Duration::from_secs(120);
/// Interval of checks whether the program has ended.
const TICK: Duration = Duration::from_millis(10);

/// The cost of a run.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// User and system time of the process in seconds.
    pub cpu: f64,
    /// Peak resident memory in MB (2^20 bytes).
    pub memory: f64,
    /// The part of `memory` that belongs to the process alone (heap and stacks), in MB: the largest of samples taken every [`TICK`]. The
    /// rest is mapped files, mainly the pages of the program that were read.
    pub anonymous: f64,
}

/// Runs `program` until it ends and returns its cost as reported by `wait4(2)`.
///
/// The kernel initialises the child's peak memory with the memory of this process, so this process must stay small: it
/// must not read a whole capture or output into memory.
///
/// # Errors
/// When the program cannot be started, exceeds [`LIMIT`] or fails; the message has the end of its output.
pub fn cost(scratch: &Scratch, program: &Path, args: &[&str]) -> Result<Cost, String> {
    let log = scratch.path("log");
    let output = fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    let errors = output.try_clone().map_err(|e| format!("{}: {e}", log.display()))?;
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C").stdin(Stdio::null()).stdout(output).stderr(errors);
    let begun = Instant::now();
    let mut child = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
    let (mut killed, mut anonymous) = (false, 0.0_f64);
    let used = loop {
        anonymous = anonymous.max(anonymous_so_far(child.id()).unwrap_or(0.0));
        match child.try_wait4().map_err(|e| format!("{}: {e}", program.display()))? {
            Some(used) => break used,
            None if begun.elapsed() > LIMIT && !killed => {
                killed = true;
                child.kill().map_err(|e| format!("{}: {e}", program.display()))?;
            }
            None => thread::sleep(TICK),
        }
    };
    if !used.status.success() {
        let text = fs::read(&log).unwrap_or_default();
        let end = String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).into_owned();
        let why = if killed { format!("did not end within {} s", LIMIT.as_secs()) } else { format!("failed ({})", used.status) };
        return Err(format!("{} {} {why}: {end}", program.display(), args.join(" ")));
    }
    let cpu = (used.rusage.utime + used.rusage.stime).as_secs_f64();
    Ok(Cost { cpu, memory: used.rusage.maxrss as f64 / f64::from(1 << 20), anonymous })
}

/// Resident memory of a running process that is not mapped from a file, in MB. `None` after its end.
fn anonymous_so_far(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(kilobytes(&status, "RssAnon:")? as f64 / 1024.0)
}

/// The number in the line of `text` that begins with `name`, such as `VmHWM:     1234 kB` in `/proc/PID/status`.
pub fn kilobytes(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// User and system time of a running process so far, in seconds with a resolution of 0.01.
pub fn cpu_so_far(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses, which may contain spaces. User and system time are the 12th and 13th
    // field after it.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((user + system) / 100.0)
}

/// Cores, kernel and load of the machine. The load shows how much other processes may have affected the results.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|l| l.strip_prefix("model name")).map_or("unknown", |l| l.trim_start_matches(['\t', ' ', ':']));
    let load: Vec<&str> = load.split(' ').take(3).collect();
    format!("Machine: {cores} core(s), {model}, kernel {}, load {}", kernel.trim(), load.join(" "))
}

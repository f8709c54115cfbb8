//! Runs a program and takes its CPU time and peak memory; describes the machine.

use super::Scratch;
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use wait4::Wait4;

/// No measured run may last longer; one that does is killed and reported as a failure.
const LIMIT: Duration = Duration::from_secs(120);
/// How often is looked whether the program has ended.
const TICK: Duration = Duration::from_millis(10);

/// What a run cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// User and system seconds of the whole process.
    pub cpu: f64,
    /// The greatest resident size, in MB (2^20 bytes).
    pub memory: f64,
}

/// Runs `program` to its end and returns what `wait4(2)` says that it cost.
///
/// The kernel starts the child's peak memory with that of this process, so this process must stay small: nothing here may read a
/// whole capture or a whole output into memory.
///
/// # Errors
/// When the program cannot be started, takes longer than [`LIMIT`], or fails; with the end of its output.
pub fn cost(scratch: &Scratch, program: &Path, args: &[&str]) -> Result<Cost, String> {
    let log = scratch.path("log");
    let output = fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    let errors = output.try_clone().map_err(|e| format!("{}: {e}", log.display()))?;
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C").stdin(Stdio::null()).stdout(output).stderr(errors);
    let begun = Instant::now();
    let mut child = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
    let mut killed = false;
    let used = loop {
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
    Ok(Cost { cpu, memory: used.rusage.maxrss as f64 / f64::from(1 << 20) })
}

/// User and system seconds that a running process has used so far: in hundredths of a second.
pub fn cpu_so_far(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second word is the name in brackets, which may hold spaces; user and system time are the 12th and 13th word after it.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((user + system) / 100.0)
}

/// Cores, kernel and load. The load says how far other processes may have disturbed the numbers.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|l| l.strip_prefix("model name")).map_or("unknown", |l| l.trim_start_matches(['\t', ' ', ':']));
    let load: Vec<&str> = load.split(' ').take(3).collect();
    format!("Machine: {cores} core(s), {model}, kernel {}, load {}", kernel.trim(), load.join(" "))
}

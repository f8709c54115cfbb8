//! The checks of `doctor` that are not about a way of capturing: configuration, output, clock, locked memory, other programs.

use super::{
    super::{Checked, check, opening, runtime},
    report::Check,
};
use crate::{
    capture::{ebpf::sys, trial::clock_is_synchronised},
    config::Loaded,
    output,
};
use std::{fs, io, path::Path};

/// Programs that capture the same traffic and would report it twice.
const SAME_WORK: &[&str] = &["packetbeat"];

/// Checks the configuration as `test config` does.
pub(super) fn configuration(loaded: &Loaded) -> Check {
    let files: Vec<String> = loaded.files.iter().map(|file| file.display().to_string()).collect();
    match check(loaded).map_err(|error| super::super::all_errors::with_others(&error, &loaded.root, &loaded.paths)) {
        Err(error) => wrong(&error.to_string()),
        Ok(Checked { warnings, .. }) => match warnings.as_slice() {
            [] => Check::ok("configuration", files.join(", ")),
            [first, rest @ ..] => {
                let more = if rest.is_empty() { String::new() } else { format!(" (and {} more warnings)", rest.len()) };
                Check::remark("configuration", format!("{first}{more}"), "`sniffer test config` shows all warnings.")
            }
        },
    }
}

/// The check of a configuration that cannot be used.
pub(super) fn wrong(error: &str) -> Check {
    Check::problem("configuration", error, "Correct the file; `sniffer test config -c FILE` checks it.")
}

/// Connects to the output as `test output` does.
pub(super) fn output(loaded: &Loaded) -> Check {
    let mut text = Vec::new();
    let result = output::open(&opening(&loaded.root, &loaded.paths)).map_err(|error| error.to_string()).and_then(|output| {
        if !output.is_testable() {
            return Ok(None);
        }
        let done = runtime().and_then(|runtime| runtime.block_on(output.test(&mut text))).map_err(|error| error.to_string())?;
        Ok(Some(done))
    });
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let server = lines.first().copied().unwrap_or_default();
    match result {
        Ok(None) => Check::ok("output", "it has no server"),
        Ok(Some(true)) => Check::ok("output", server.trim_end_matches("...")),
        Ok(Some(false)) => {
            let failed = lines.iter().find(|line| line.contains("ERROR")).copied().unwrap_or_default();
            Check::problem("output", format!("{server} {failed}"), "`sniffer test output` shows every step.")
        }
        Err(error) => Check::problem("output", error, "`sniffer test output` shows every step."),
    }
}

/// Whether the clock of the system can be relied on: documents have its time.
pub(super) fn clock() -> Check {
    match clock_is_synchronised() {
        Ok(true) => Check::ok("clock", "synchronised"),
        Ok(false) => Check::remark(
            "clock",
            "The clock is not synchronised, so the times of documents may be wrong.",
            "Start a time service: `sudo systemctl enable --now systemd-timesyncd`, or chrony.",
        ),
        Err(error) => Check::remark("clock", format!("The kernel does not say whether it is synchronised: {error}"), "Nothing to do."),
    }
}

/// Whether the limit of locked memory permits eBPF maps.
pub(super) fn locked_memory() -> Check {
    // Capture raises the limit too, if it may.
    sys::raise_memlock();
    match sys::memlock() {
        None => Check::ok("locked memory", "the limit does not apply to eBPF"),
        Some(limit) => Check::problem(
            "locked memory",
            format!("This kernel counts eBPF maps as locked memory, whose limit is {limit} bytes."),
            "Raise it: `ulimit -l unlimited`, or in a unit of systemd LimitMEMLOCK=infinity.",
        ),
    }
}

/// Programs that would report the same traffic again. `xdp`: the devices with another XDP program.
pub(super) fn conflicts(xdp: &[String]) -> Check {
    let mut found: Vec<String> = processes(Path::new("/proc"), SAME_WORK).unwrap_or_default();
    let has_same_work = !found.is_empty();
    found.extend(xdp.iter().map(|device| format!("an XDP program on {device}")));
    if found.is_empty() {
        return Check::ok("conflicts", "no packetbeat and no other XDP program");
    }
    let mut mends = Vec::new();
    if has_same_work {
        mends.push("Both would report the same traffic: `sudo systemctl stop packetbeat`, or see `sniffer migrate --beside`.");
    }
    if !xdp.is_empty() {
        mends.push("With an XDP program of another owner on a device, use `hook: tc`, which is the default.");
    }
    Check::remark("conflicts", format!("running: {}", found.join(", ")), mends.join("\n"))
}

/// The running processes with one of these names: `packetbeat (4711)`.
fn processes(proc: &Path, names: &[&str]) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(proc)?.flatten() {
        let name = entry.file_name();
        let pid = name.to_string_lossy();
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // A process can end while its folder is read.
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if names.contains(&comm.trim()) {
            found.push(format!("{} ({pid})", comm.trim()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::report::Level;

    #[test]
    fn other_programs_are_found() {
        let folder = tempfile::tempdir().unwrap();
        for (pid, comm) in [("12", "packetbeat\n"), ("13", "packetbeat2\n"), ("self", "packetbeat\n"), ("14", "")] {
            fs::create_dir(folder.path().join(pid)).unwrap();
            fs::write(folder.path().join(pid).join("comm"), comm).unwrap();
        }
        fs::create_dir(folder.path().join("15")).unwrap();
        assert_eq!(processes(folder.path(), SAME_WORK).unwrap(), ["packetbeat (12)"]);
        let check = conflicts(&["eth0".to_owned()]);
        assert!(check.level == Level::Remark && check.text.contains("an XDP program on eth0"), "{check:?}");
    }
}

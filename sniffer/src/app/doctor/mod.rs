//! `doctor`: what works on this system, and what to do about what does not. It captures nothing, and attaches nothing to existing devices.

mod checks;
mod report;
mod ways;

use super::{Error, plan::Plan};
use crate::{
    capture::{
        ebpf::sys,
        filter::{FilterSpec, Filters, Ports, Transports, Vlans},
        options::Interface,
        trial,
    },
    cli::{DoctorFlags, Invocation},
    config::{self, Loaded},
};
use report::{Check, Report};
use std::{fs, io::Write, os::unix::fs::MetadataExt};

/// Examines the system and prints the report. Returns whether every configured interface has a way of capturing that works. `arguments`: the
/// arguments of the program, for the commands in the advice.
///
/// # Errors
/// When the system's devices cannot be listed, or standard output is closed.
pub fn doctor(invocation: &Invocation, flags: &DoctorFlags, arguments: &[String], stdout: &mut impl Write) -> Result<bool, Error> {
    let (loaded, mut checks) = configuration(invocation);
    let plan = loaded.as_ref().map(|loaded| Plan::read(&loaded.root, None, None));
    let interfaces: Vec<Interface> = match &plan {
        None if checks.iter().any(|check| check.level == report::Level::Problem) => Vec::new(),
        None => vec![Interface::default()],
        Some(Ok(plan)) => plan.interfaces.iter().filter(|interface| interface.file.is_none()).cloned().collect(),
        Some(Err(_)) => Vec::new(),
    };
    let reads_files = matches!(&plan, Some(Ok(_))) && interfaces.is_empty();
    let filters = match (&plan, interfaces.first()) {
        (Some(Ok(plan)), Some(first)) => plan.filters(first, &[]).ok(),
        _ => None,
    };
    let trials = trial::run(&filters.map_or_else(usual_filters, Ok)?);
    let rights = ways::rights(arguments);
    let devices = sys::interfaces()?;
    let mut reports: Vec<_> =
        interfaces.iter().map(|interface| ways::interface(&interface.device, Some(interface), &trials, &rights)).collect();
    for name in std::iter::once("any").chain(devices.iter().map(|(_, name)| name.as_str())) {
        if !reports.iter().any(|report| report.name == name) {
            reports.push(ways::interface(name, None, &trials, &rights));
        }
    }
    if let Some(error) = trials.no_network.as_ref().filter(|_| reports.iter().any(report::InterfaceReport::is_likely)) {
        let text = format!("Programs were loaded, but not attached to a pair of devices in a network namespace of its own: {error}");
        checks.push(Check::remark("trial", text, "That needs CAP_SYS_ADMIN (`sudo sniffer doctor`) and devices of type veth."));
    }
    if let Some(loaded) = &loaded {
        checks.push(checks::output(loaded));
    }
    checks.extend([checks::clock(), checks::locked_memory(), checks::conflicts(&ways::with_xdp(&devices))]);
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        user: fs::metadata("/proc/self").map(|process| process.uid()).unwrap_or_default(),
        missing_capabilities: rights.missing,
        works: reads_files
            || reports.iter().any(|report| report.configured) && reports.iter().all(|report| report.works || !report.configured),
        interfaces: reports,
        checks,
    };
    if flags.json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(stdout, "{report}")?;
    }
    Ok(report.works)
}

/// Loads and checks the configuration. A missing one is only a remark.
fn configuration(invocation: &Invocation) -> (Option<Loaded>, Vec<Check>) {
    match config::load(&invocation.load) {
        Ok(loaded) => {
            let check = checks::configuration(&loaded);
            (Some(loaded), vec![check])
        }
        Err(_) if config::default_file_is_missing(&invocation.load) => {
            let text = "There is none, so `any` is examined.";
            (None, vec![Check::remark("configuration", text, "`sniffer watch` needs none; name one with -c FILE.")])
        }
        Err(error) => (None, vec![checks::wrong(&error.to_string())]),
    }
}

/// A filter like that of a configuration with one protocol.
fn usual_filters() -> Result<Filters, Error> {
    let ports = vec![Ports { first: 80, last: 80, transports: Transports::Tcp }];
    Ok(Filters::new(&FilterSpec { ports, icmp: true, vlans: Vlans::Match, user_expression: None, everything: false })?)
}

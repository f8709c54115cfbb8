//! The commands that a user can type when rights for capturing are missing. This module only makes the text of the advice, and changes no
//! rights.

use super::Error;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The rights that capture with eBPF needs, with their bits in `/proc/PID/status` (linux/capability.h). af_packet and libpcap need only the
/// first.
const NEEDED: &[(&str, u32)] = &[("cap_net_raw", 13), ("cap_net_admin", 12), ("cap_perfmon", 38), ("cap_bpf", 39)];
/// `CAP_SYS_ADMIN`, which includes the last two.
const SYS_ADMIN: u32 = 21;

/// Adds the commands that give the missing rights to an error that says that an operation is not permitted. `arguments`: the arguments of
/// the program, for the command with `sudo`.
pub(super) fn with_advice(error: Error, arguments: &[String]) -> Error {
    let text = error.to_string();
    // The text of EPERM, which the libraries of all capture types pass on.
    if !text.contains("Operation not permitted") {
        return error;
    }
    match advice(&missing(), &program(), arguments) {
        Some(advice) => format!("{text}\n{advice}").into(),
        None => error,
    }
}

/// The capabilities for capture that this process does not have.
pub(super) fn missing() -> Vec<&'static str> {
    lacking(&fs::read_to_string("/proc/self/status").unwrap_or_default()).unwrap_or_default()
}

/// The commands that let this program capture.
pub(super) fn commands(arguments: &[String]) -> String {
    commands_for(&program(), arguments)
}

fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("sniffer"))
}

/// The capabilities for capture that are not among the effective ones in `status` (the text of `/proc/PID/status`).
fn lacking(status: &str) -> Option<Vec<&'static str>> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    let has = |bit: u32| effective >> bit & 1 == 1 || bit > SYS_ADMIN && effective >> SYS_ADMIN & 1 == 1;
    Some(NEEDED.iter().filter(|(_, bit)| !has(*bit)).map(|(name, _)| *name).collect())
}

/// The advice, if capabilities are missing.
fn advice(missing: &[&str], program: &Path, arguments: &[String]) -> Option<String> {
    if missing.is_empty() {
        return None;
    }
    Some(format!("This user may not capture packets ({} missing). {}", missing.join(", "), commands_for(program, arguments)))
}

fn commands_for(program: &Path, arguments: &[String]) -> String {
    let all: Vec<&str> = NEEDED.iter().map(|(name, _)| *name).collect();
    let (program, all) = (quoted(&program.display().to_string()), all.join(","));
    let arguments: String = arguments.iter().map(|argument| format!(" {}", quoted(argument))).collect();
    format!(
        "To capture once:\n  sudo {program}{arguments}\n\
         To let every user of this file capture:\n  sudo setcap {all}+ep {program}"
    )
}

/// The text as one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(effective: &str) -> Option<String> {
        let missing = lacking(&format!("Name:\tx\nCapEff:\t{effective}\n")).unwrap_or_default();
        advice(&missing, Path::new("/a b/sniffer"), &["watch".into(), "slow>1s".into(), "it's".into()])
    }

    #[test]
    fn missing_rights_are_named_with_the_commands() {
        let none = of("0000000000000000").unwrap();
        assert_eq!(
            none,
            "This user may not capture packets (cap_net_raw, cap_net_admin, cap_perfmon, cap_bpf missing). To capture once:\n  \
             sudo '/a b/sniffer' watch 'slow>1s' 'it'\\''s'\nTo let every user of this file capture:\n  \
             sudo setcap cap_net_raw,cap_net_admin,cap_perfmon,cap_bpf+ep '/a b/sniffer'"
        );
        // CAP_NET_RAW and CAP_NET_ADMIN
        assert!(of("0000000000003000").unwrap().starts_with("This user may not capture packets (cap_perfmon, cap_bpf missing)"));
        // and CAP_SYS_ADMIN
        assert_eq!(of("0000000000203000"), None);
        assert_eq!(of("000001ffffffffff"), None);
        assert_eq!(of("nonsense"), None);
        let other: Error = "no such file".into();
        assert_eq!(with_advice(other, &[]).to_string(), "no such file");
    }
}

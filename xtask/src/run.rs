//! `run`: builds a fresh checkout and shows this host's transactions on the terminal.

use crate::{
    Outcome,
    setup::{self, BUILD, as_root, cargo, ensure, is_root, project, run_command},
};
use std::process::{Command, Stdio};

/// The capture that is shown if live traffic cannot be captured.
const SAMPLE: &str = "tests/protocols/http/nginx.pcap";

/// Installs packages, builds, and runs `sniffer watch`, or `sniffer` with the arguments after `--`.
pub fn run(args: &[String]) -> Outcome {
    ensure(BUILD)?;
    run_command(&mut cargo(&["build", "--release", "--package", "sniffer"]))?;
    let program = project().join("target/release/sniffer");
    let given = args.strip_prefix(&["--".to_owned()]).unwrap_or(args);
    let args: Vec<&str> = if given.is_empty() { vec!["watch"] } else { given.iter().map(String::as_str).collect() };
    if is_root() || may_sudo() {
        return run_command(as_root(&program.to_string_lossy()).args(args));
    }
    println!("Watching live traffic needs root (or CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_NET_RAW), and sudo cannot be used here.");
    println!("Showing the transactions of a small capture file instead:");
    run_command(Command::new(program).args(["watch", "-r", SAMPLE]))
}

/// Whether sudo exists and the user may use it. sudo may ask for the password.
fn may_sudo() -> bool {
    setup::is_there("sudo") && {
        println!("Watching live traffic needs root; running the program with sudo.");
        Command::new("sudo").arg("--validate").stdin(Stdio::inherit()).status().is_ok_and(|s| s.success())
    }
}

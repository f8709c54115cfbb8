//! `run`: builds a fresh checkout and shows this host's transactions on the terminal.

use crate::{
    Outcome,
    setup::{self, BUILD, as_root, cargo, ensure, is_root, project, run_command, target_folder},
};
use std::process::{Command, Stdio};

/// The capture that is shown if live traffic cannot be captured.
const SAMPLE: &str = "tests/protocols/http/nginx.pcap";

/// Commands of the program that capture nothing, so that they need no rights.
const WITHOUT_RIGHTS: &[&str] = &["devices", "test", "export", "setup", "keystore", "version", "help"];
/// Flags with which the program captures nothing: help, capture files, and the flags of old guides for commands.
const FLAGS_WITHOUT_RIGHTS: &[&str] =
    &["-h", "--help", "-I", "-r", "--version", "-version", "-devices", "--devices", "-configtest", "--configtest"];

/// Installs packages, builds, and runs `sniffer watch`, or `sniffer` with the arguments after `--`. The program runs in the folder of the
/// caller, and alone writes to standard output.
pub fn run(args: &[String]) -> Outcome {
    ensure(BUILD)?;
    run_command(&mut cargo(&["build", "--release", "--package", "sniffer"]))?;
    let program = target_folder().join("release/sniffer");
    let given = args.strip_prefix(&["--".to_owned()]).unwrap_or(args);
    let args: Vec<&str> = if given.is_empty() { vec!["watch"] } else { given.iter().map(String::as_str).collect() };
    if !needs_rights(&args) || is_root() {
        return here(Command::new(program).args(args));
    }
    if may_sudo() {
        return here(as_root(&program.to_string_lossy()).args(args));
    }
    if !given.is_empty() {
        // The program says which rights are missing and how to get them.
        return here(Command::new(program).args(args));
    }
    eprintln!("Watching live traffic needs root (or CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_NET_RAW), and sudo cannot be used here.");
    eprintln!("Showing the transactions of a small capture file instead:");
    here(Command::new(program).args(["watch", "-r"]).arg(project().join(SAMPLE)))
}

/// Whether the program captures live traffic with these arguments.
fn needs_rights(args: &[&str]) -> bool {
    let flags = args.iter().take_while(|arg| **arg != "--");
    let command = args.iter().find(|arg| !arg.starts_with('-'));
    !flags.clone().any(|flag| FLAGS_WITHOUT_RIGHTS.contains(flag)) && !command.is_some_and(|command| WITHOUT_RIGHTS.contains(command))
}

/// Runs the program in the folder of the caller.
fn here(command: &mut Command) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the program failed ({status})")),
        Err(error) => Err(format!("{} could not be started: {error}", command.get_program().to_string_lossy())),
    }
}

/// Whether sudo exists and the user may use it. sudo may ask for the password.
fn may_sudo() -> bool {
    setup::is_there("sudo") && {
        eprintln!("Watching live traffic needs root; running the program with sudo.");
        Command::new("sudo").arg("--validate").stdin(Stdio::inherit()).status().is_ok_and(|s| s.success())
    }
}

#[cfg(test)]
mod tests {
    use super::{here, needs_rights};
    use crate::setup::run_command;
    use std::{env, process::Command};

    /// The test runs itself in another folder, as the verb is run there.
    #[test]
    fn standard_output_and_the_folder_belong_to_the_program() {
        const MARK: &str = "XTASK_TEST_OF_RUN";
        if env::var_os(MARK).is_some() {
            run_command(Command::new("echo").arg("from the build")).unwrap();
            here(&mut Command::new("pwd")).unwrap();
            return;
        }
        let name = "run::tests::standard_output_and_the_folder_belong_to_the_program";
        let mut again = Command::new(env::current_exe().unwrap());
        let output = again.args(["--exact", name, "--nocapture"]).env(MARK, "1").current_dir("/usr").output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(output.status.success(), "{out}{err}");
        assert!(out.lines().any(|line| line.ends_with("from the build")) && out.lines().any(|line| line == "/usr"), "{out}");
        assert!(!out.contains("$ "), "{out}");
        assert!(err.contains("$ echo from the build"), "{err}");
    }

    #[test]
    fn only_live_capture_needs_rights() {
        for (args, wanted) in [
            ("watch", true),
            ("watch -i lo", true),
            ("watch http -- port 80", true),
            ("watch -- -r", true),
            ("-e -c packetbeat.yml", true),
            ("run -e", true),
            ("watch -r x.pcap", false),
            ("watch --help", false),
            ("-t -I x.pcap", false),
            ("version", false),
            ("--version", false),
            ("devices", false),
            ("test config -c packetbeat.yml", false),
            // The value of a flag looks like the command. The program then needs no rights, but sudo does no harm.
            ("-c packetbeat.yml test config", true),
        ] {
            assert_eq!(needs_rights(&args.split(' ').collect::<Vec<_>>()), wanted, "{args}");
        }
    }
}

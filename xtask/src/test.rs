//! `test`: all checks except those that need downloaded servers.

use crate::{
    Outcome,
    checks::{self, check},
    lint, package,
    setup::{BUILD, TEST, cargo, ensure, is_root, project, run_command, target_folder},
};
use std::process::Command;

/// The conformance check against Packetbeat's recorded behaviour. It is not part of the project and is skipped if it
/// does not exist.
const CONFORM: &str = "../shared/conformance/conform";

/// How long the verb takes, for the person who waits. The README says the same.
const TIME: &str = "15 minutes on two cores, of which 5 are for building the first time";

/// Runs all checks, beginning with those of `lint`; stops at the first failure.
pub fn test(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err("this verb takes no arguments".into());
    }
    ensure(BUILD)?;
    ensure(TEST)?;
    let mut left_out = vec![
        "the tests against a real Elasticsearch, Kafka and Beats input (cargo xtask test-servers)".to_owned(),
        "fuzzing (cargo xtask fuzz)".to_owned(),
        "the template of new protocols (cargo xtask new-protocol --check)".to_owned(),
        "reproducible builds, rpm and container image (cargo xtask package --check)".to_owned(),
        "known vulnerabilities of dependencies (cargo xtask advisories)".to_owned(),
    ];
    if !is_root() {
        left_out.push("live tests: they need root".into());
    }
    println!("All checks take about {TIME}. Each one says when it begins and ends.");
    let mut checks = lint::all();
    checks.push(check("tests: build", || run_command(&mut cargo(&["test", "--workspace", "--locked", "--no-run"]))));
    checks.push(check("tests: run", || run_command(&mut cargo(&["test", "--workspace", "--locked"]))));
    checks.push(check("package: a deb is installed, upgraded and purged", package::installs));
    if project().join(CONFORM).exists() {
        checks.push(check("conformance with Packetbeat", || run_command(Command::new(CONFORM).arg(target_folder().join("debug/sniffer")))));
    } else {
        left_out.push(format!("conformance with Packetbeat ({CONFORM} does not exist)"));
    }
    checks::run(checks)?;
    println!("\nAll checks passed. Not run: {}.", left_out.join("; "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::setup::project;

    #[test]
    fn the_readme_says_how_long_it_takes() {
        let readme = std::fs::read_to_string(project().join("README.md")).unwrap();
        let words = readme.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(super::TIME), "README.md does not say: {}", super::TIME);
    }
}

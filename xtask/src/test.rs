//! `test`: all checks except those against servers that have to be downloaded.

use crate::{
    Outcome, lint,
    setup::{BUILD, TEST, cargo, ensure, is_root, project, sh},
    steps::{self, step},
};
use std::process::Command;

/// The conformance check against Packetbeat's recorded behaviour. It is not part of the project and is skipped if it
/// does not exist.
const CONFORM: &str = "../shared/conformance/conform";

/// Runs all checks, beginning with those of `lint`; stops at the first failure.
pub fn test(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err("takes no arguments".into());
    }
    ensure(BUILD)?;
    ensure(TEST)?;
    let mut left_out = vec![
        "the tests against a real Elasticsearch (cargo xtask test-servers)".to_owned(),
        "fuzzing (cargo xtask fuzz)".to_owned(),
        "the template of new protocols (cargo xtask new-protocol --check)".to_owned(),
        "known vulnerabilities of dependencies (cargo xtask advisories)".to_owned(),
    ];
    if !is_root() {
        left_out.push("live tests: they need root".into());
    }
    let mut steps = lint::all();
    steps.push(step("tests: build", || sh(&mut cargo(&["test", "--workspace", "--locked", "--no-run"]))));
    steps.push(step("tests: run", || sh(&mut cargo(&["test", "--workspace", "--locked"]))));
    if project().join(CONFORM).exists() {
        steps.push(step("conformance with Packetbeat", || sh(Command::new(CONFORM).arg("target/debug/sniffer"))));
    } else {
        left_out.push(format!("conformance with Packetbeat ({CONFORM} is not there)"));
    }
    steps::run(steps)?;
    println!("\nAll passed. Left out: {}.", left_out.join("; "));
    Ok(())
}

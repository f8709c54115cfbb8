//! `test`: every check there is but those against servers that have to be downloaded.

use crate::{
    Outcome, build_ebpf, layers,
    setup::{BUILD, TEST, cargo, ensure, is_root, project, sh},
};
use std::process::Command;

/// The recorded behaviour of Packetbeat, where it lies beside the project.
const CONFORM: &str = "../shared/conformance/conform";

/// Runs them all, the quick ones first; stops at the first that fails.
pub fn test(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err("takes no arguments".into());
    }
    ensure(BUILD)?;
    ensure(TEST)?;
    sh(&mut cargo(&["fmt", "--all", "--check"]))?;
    layers::layers(&[])?;
    build_ebpf::is_fresh()?;
    sh(&mut cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    sh(&mut cargo(&["test", "--workspace", "--locked"]))?;
    let mut left_out =
        vec!["the tests against a real Elasticsearch (cargo xtask test-servers)".to_owned(), "fuzzing (cargo xtask fuzz)".to_owned()];
    if project().join(CONFORM).exists() {
        sh(Command::new(CONFORM).arg("target/debug/sniffer"))?;
    } else {
        left_out.push(format!("conformance with Packetbeat ({CONFORM} is not there)"));
    }
    if !is_root() {
        left_out.push("live tests: they need root".into());
    }
    println!("\nAll passed. Left out: {}.", left_out.join("; "));
    Ok(())
}

//! `lint`: every check that needs neither the program nor its tests to run. The first part of `test`.

use crate::{
    Outcome, build_ebpf, layers,
    setup::{BUILD, cargo, cargo_tool, cargo_with_tools, ensure, outside_workspace, sh},
    steps::{self, Step, step},
};

/// Crates that are not members of the workspace. See the workspace's `Cargo.toml` for why.
const OTHER_CRATES: &[&str] = &["sniffer-ebpf", "tests/fuzz"];

/// Version of cargo-deny that is installed where there is none. It builds with Rust 1.88 and newer.
const DENY_VERSION: &str = "0.20.2";

/// Runs them all and stops at the first that fails.
pub fn lint(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err("takes no arguments".into());
    }
    ensure(BUILD)?;
    steps::run(all())
}

/// The checks, quickest first.
pub fn all() -> Vec<Step> {
    let mut steps = vec![
        step("rustfmt", format),
        step("layers: who uses whom", || layers::layers(&[])),
        step("eBPF object: built from the sources beside it", build_ebpf::is_fresh),
        step("cargo-deny: licences, sources and bans", || deny(&["bans", "licenses", "sources"])),
        step("clippy, workspace", || sh(&mut cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))),
        step("clippy, sniffer-ebpf", clippy_ebpf),
        step("clippy, tests/fuzz", clippy_fuzz),
    ];
    steps.push(step("rustdoc", || sh(cargo(&["doc", "--no-deps", "--workspace", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))));
    steps
}

fn format() -> Outcome {
    sh(&mut cargo(&["fmt", "--all", "--check"]))?;
    OTHER_CRATES.iter().try_for_each(|folder| sh(&mut cargo(&["fmt", "--check", "--manifest-path", &format!("{folder}/Cargo.toml")])))
}

/// Clippy for the eBPF crate, on the host's target: the compiler that has a `core` library for BPF is Debian's, whose version of clippy
/// a checkout does not have. The code is the same but for what aya compiles by `target_arch`. `RUSTC_BOOTSTRAP` is for the crate's
/// unstable feature (BPF assembler), the release profile for `panic = "abort"`, without which a `no_std` program is refused.
fn clippy_ebpf() -> Outcome {
    let mut clippy = outside_workspace(cargo(&["clippy", "--release", "--all-features", "--locked"]));
    clippy.args(["--manifest-path", "sniffer-ebpf/Cargo.toml", "--", "-D", "warnings"]).env("RUSTC_BOOTSTRAP", "1");
    sh(&mut clippy)
}

/// Clippy for the fuzz targets. They build libFuzzer, which is C++.
fn clippy_fuzz() -> Outcome {
    ensure(&[("g++", "c++")])?;
    let mut clippy = outside_workspace(cargo(&["clippy", "--all-targets", "--locked"]));
    sh(clippy.args(["--manifest-path", "tests/fuzz/Cargo.toml", "--", "-D", "warnings"]))
}

/// `cargo deny check` for these kinds, over everything that is linked into the program and into the kernel half.
fn deny(kinds: &[&str]) -> Outcome {
    cargo_tool("deny", DENY_VERSION, "checks the licences and sources of all dependencies")?;
    ["Cargo.toml", "sniffer-ebpf/Cargo.toml"].iter().try_for_each(|manifest| {
        let mut deny = cargo_with_tools(&["deny", "--manifest-path", manifest, "--all-features", "--locked", "--config", "deny.toml"]);
        sh(deny.args(["check", "--hide-inclusion-graph"]).args(kinds))
    })
}

/// `advisories`: known vulnerabilities of dependencies. Not part of `lint` or `test`: it needs the network, and its answer changes
/// without a change to the project.
pub fn advisories(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err("takes no arguments".into());
    }
    deny(&["advisories"])
}

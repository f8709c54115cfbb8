//! `lint`: the checks that do not run the program or its tests. They are also the first part of `test`.

use crate::{
    Outcome, build_ebpf,
    checks::{self, Check, check},
    docs, layers,
    setup::{BUILD, cargo, cargo_tool, cargo_with_tools, ensure, outside_workspace, run_command, target_folder},
};

/// Crates that are not members of the workspace. The `Cargo.toml` of the workspace gives the reason.
const OTHER_CRATES: &[&str] = &["sniffer-ebpf", "tests/fuzz"];

/// Version of cargo-deny that is installed if there is none. It needs Rust 1.88 or newer.
const DENY_VERSION: &str = "0.20.2";

/// Runs all checks and stops at the first failure.
pub fn lint(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err("this verb takes no arguments".into());
    }
    ensure(BUILD)?;
    checks::run(all())
}

/// The checks. The fastest ones come first.
pub fn all() -> Vec<Check> {
    let mut checks = vec![
        check("rustfmt", format),
        check("layers: who uses whom", || layers::layers(&[])),
        check("docs: table of contents and links", docs::check),
        check("eBPF object: built from the sources beside it", build_ebpf::is_fresh),
        check("cargo-deny: licences, sources and bans", || deny(&["bans", "licenses", "sources"])),
        check("clippy, workspace", || {
            run_command(&mut cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
        }),
        check("clippy, sniffer-ebpf", clippy_ebpf),
        check("clippy, tests/fuzz", clippy_fuzz),
    ];
    checks
        .push(check("rustdoc", || run_command(cargo(&["doc", "--no-deps", "--workspace", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))));
    checks
}

fn format() -> Outcome {
    run_command(&mut cargo(&["fmt", "--all", "--check"]))?;
    OTHER_CRATES
        .iter()
        .try_for_each(|folder| run_command(&mut cargo(&["fmt", "--check", "--manifest-path", &format!("{folder}/Cargo.toml")])))
}

/// Runs Clippy on the eBPF crate for the host's target: only Debian's compiler has a `core` library for BPF, and a matching Clippy is not
/// installed. Both targets compile the same code, except for parts of aya. `RUSTC_BOOTSTRAP` allows the crate's unstable feature (BPF
/// assembler). The release profile sets `panic = "abort"`, which a `no_std` program needs.
fn clippy_ebpf() -> Outcome {
    let mut clippy = outside_workspace(cargo(&["clippy", "--release", "--all-features", "--locked"]));
    clippy.args(["--manifest-path", "sniffer-ebpf/Cargo.toml", "--", "-D", "warnings"]).env("RUSTC_BOOTSTRAP", "1");
    run_command(&mut clippy)
}

/// Runs Clippy on the fuzz targets. Building them builds libFuzzer, which needs a C++ compiler. They use the target folder of the workspace,
/// where Clippy has just checked the dependencies that both have.
fn clippy_fuzz() -> Outcome {
    ensure(&[("g++", "c++")])?;
    let mut clippy = outside_workspace(cargo(&["clippy", "--all-targets", "--locked"]));
    clippy.env("CARGO_TARGET_DIR", target_folder());
    run_command(clippy.args(["--manifest-path", "tests/fuzz/Cargo.toml", "--", "-D", "warnings"]))
}

/// Runs `cargo deny check` for all dependencies of the program and of the eBPF programs. `kinds`: the names of the
/// checks.
fn deny(kinds: &[&str]) -> Outcome {
    cargo_tool("deny", DENY_VERSION, "checks the licences and sources of all dependencies")?;
    ["Cargo.toml", "sniffer-ebpf/Cargo.toml"].iter().try_for_each(|manifest| {
        let mut deny = cargo_with_tools(&["deny", "--manifest-path", manifest, "--all-features", "--locked", "--config", "deny.toml"]);
        run_command(deny.args(["check", "--hide-inclusion-graph"]).args(kinds))
    })
}

/// `advisories`: checks dependencies for known vulnerabilities. It is not part of `lint` and `test`, because it needs the network and its
/// result can change while the project stays the same.
pub fn advisories(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err("this verb takes no arguments".into());
    }
    deny(&["advisories"])
}

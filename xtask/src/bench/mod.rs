//! `bench`: what capture, replay and events cost on this machine, in one run. It measures and prints, and judges nothing: times on
//! a machine that others use are no test. What it makes (files, namespaces) is gone at the end, also after an error.

mod live;
mod measure;
mod replay;

use crate::{
    Outcome,
    setup::{BENCH, BUILD, cargo, ensure, is_root, project, sh},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The name by which a part is asked for, and its code.
type Part = (&'static str, fn(&Scratch) -> Outcome);

/// In the order in which they are run.
const PARTS: &[Part] = &[("live", live::run), ("replay", replay::run), ("protocols", replay::protocols)];

/// Builds, measures, and prints; only the named parts where some are named.
pub fn bench(args: &[String]) -> Outcome {
    if let Some(unknown) = args.iter().find(|a| PARTS.iter().all(|(name, _)| name != a)) {
        let known: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is no part {unknown:?}; there are: {}", known.join(", ")));
    }
    ensure(BUILD)?;
    ensure(BENCH)?;
    sh(&mut cargo(&["build", "--release", "--package", "sniffer", "--locked"]))?;
    let scratch = Scratch::new()?;
    println!("\n{}", measure::machine());
    let wanted = |name: &str| args.is_empty() || args.iter().any(|a| a == name);
    for (_, part) in PARTS.iter().filter(|(name, _)| wanted(name)) {
        println!();
        part(&scratch)?;
    }
    Ok(())
}

/// The program that is measured.
fn program() -> PathBuf {
    project().join("target/release/sniffer")
}

/// A folder for what the measurements read and write; removed with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, String> {
        let path = project().join(format!("target/bench-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file that nobody else may write to, as the program asks of its configuration.
    fn write(&self, name: &str, contents: &[u8]) -> Result<PathBuf, String> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        let done = fs::write(&path, contents).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)));
        done.map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }

    fn remove(&self, path: &Path) {
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether live parts can be run; says so where not.
fn may_capture() -> bool {
    if !is_root() {
        println!("Left out: live capture needs root (two network namespaces are made for it).");
    }
    is_root()
}

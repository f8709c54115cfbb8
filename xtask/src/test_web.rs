//! `test-web`: tests of the page in a headless Chromium.

use crate::{
    Outcome,
    setup::{Package, ensure, project, run_command},
};
use std::{fs, process::Command, time::Instant};

/// Packages needed to install the libraries of the tests, and to run them.
const BROWSER: &[Package] = &[
    ("chromium", "chromium"),
    ("fonts-dejavu-core", "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"),
    ("nodejs", "node"),
    ("npm", "npm"),
];

/// Where the tests and the lock file of their libraries are.
const TESTS: &str = "tests/web";

/// Installs what is missing, and runs the tests, or those whose names contain one of the arguments. `--screenshots FOLDER` writes pictures of all
/// views instead. The tests print what they measured.
pub fn test_web(args: &[String]) -> Outcome {
    ensure(BROWSER)?;
    install()?;
    let begin = Instant::now();
    let script = format!("{TESTS}/run.mjs");
    // The tests measure the page, but nothing depends on their speed: other work on this machine comes first.
    run_command(Command::new("nice").args(["-n", "19", "node", &script]).args(args))?;
    eprintln!("the tests of the page took {:.0} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Installs the libraries of the tests if those of the lock file are not installed yet.
fn install() -> Outcome {
    let folder = project().join(TESTS);
    let lock = fs::read(folder.join("package-lock.json")).map_err(|e| format!("{TESTS}/package-lock.json: {e}"))?;
    let installed = folder.join("node_modules/.of-lock-file");
    if fs::read(&installed).is_ok_and(|of| of == lock) {
        return Ok(());
    }
    run_command(Command::new("npm").args(["ci", "--prefix", TESTS, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]))?;
    fs::write(&installed, lock).map_err(|e| format!("{}: {e}", installed.display()))
}

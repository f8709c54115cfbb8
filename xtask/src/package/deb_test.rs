//! Tests the deb: makes it twice from the program of the test build, compares the two, and installs, upgrades and purges it.

use super::{About, contents, deb_product, folder, program, write};
use crate::{
    Outcome,
    setup::{ensure, is_root, run_command},
};
use std::process::Command;

/// What the script needs.
const NEEDS: &[(&str, &str)] = &[
    ("binutils", "strip"),
    ("curl", "curl"),
    ("dpkg", "dpkg-deb"),
    ("iproute2", "ip"),
    ("passwd", "useradd"),
    ("python3", "python3"),
    ("util-linux", "setpriv"),
];

/// Makes the package, and runs `tests/packages/deb.sh` if this process is root.
///
/// # Errors
/// When two packages of the same program differ, or the script fails.
pub fn installs() -> Outcome {
    ensure(NEEDS)?;
    let program = program::debug()?;
    let about = About::new(&program)?;
    let package = |about: &About| deb_product(about, &contents::files(about, &program)?);
    let old = package(&about)?;
    if package(&about)? != old {
        return Err("two packages of the same program are different".into());
    }
    // The upgrade is to the same program under a higher version, as a package of a distribution has it.
    let new = package(&About { version: format!("{}+1", about.version), ..about })?;
    let folder = folder().join("test");
    let paths = [&old, &new].map(|(name, _)| folder.join(name));
    write(&folder, &[old, new])?;
    if !is_root() {
        println!("not root: the packages are not installed");
        return Ok(());
    }
    run_command(Command::new("unshare").args(["--mount", "--net", "tests/packages/deb.sh"]).args(paths))
}

//! `package --check`: builds the program a second time from a copy of the checkout in another folder, and compares all packages.

use super::{About, Product, deb_test, folder, products, program, sha256, source_date, write};
use crate::{
    Outcome,
    checks::{self, check},
    setup::{cargo, run_command},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Runs all checks of packages.
pub fn run() -> Outcome {
    checks::run(vec![
        check("build of the program of the tests", || run_command(&mut cargo(&["build", "--locked"]))),
        check("deb: install, upgrade, purge", deb_test::installs),
        check("two builds of the last commit give the same packages", same),
        check("rpm and container image can be read", readable),
    ])
}

fn build(name: &str) -> Result<Vec<Product>, String> {
    let checkout = folder().join(name);
    program::copy_of_checkout(&checkout)?;
    let program = program::release(&checkout, &folder().join(format!("build-{name}")), source_date()?)?;
    products(&About::new(&program)?, &program)
}

fn same() -> Outcome {
    let (first, second) = (build("one")?, build("another")?);
    let differ = |((name, a), (_, b)): (&Product, &Product)| (a != b).then(|| format!("{name}: {} and {}", sha256(a), sha256(b)));
    let wrong: Vec<String> = first.iter().zip(&second).filter_map(differ).collect();
    write(&folder(), &first)?;
    if wrong.is_empty() { Ok(()) } else { Err(format!("the builds differ:\n  {}", wrong.join("\n  "))) }
}

fn readable() -> Outcome {
    let found = |end: &str| -> Result<PathBuf, String> {
        let entries = fs::read_dir(folder()).map_err(|e| e.to_string())?;
        let path = entries.flatten().map(|entry| entry.path()).find(|path| path.to_string_lossy().ends_with(end));
        path.ok_or_else(|| format!("no {end} in {}", folder().display()))
    };
    read_rpm(&found(".rpm")?)?;
    run_command(Command::new("tar").args(["--list", "--file"]).arg(found("-oci.tar")?))
}

/// Reads the package with the crate that made it, which also checks the digests in it.
fn read_rpm(path: &Path) -> Outcome {
    let package = rpm::Package::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    package.verify_digests().map_err(|e| format!("{}: {e}", path.display()))?;
    let files = package.metadata.get_file_entries().map_err(|e| format!("{}: {e}", path.display()))?;
    println!("{}: {} files", path.display(), files.len());
    Ok(())
}

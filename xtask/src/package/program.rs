//! Builds the program for a package, so that every build of a commit gives the same bytes.

use crate::{
    Outcome,
    setup::{cargo, cargo_home, run_command, target_folder},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The version of glibc that a package asks for if the program names none.
const OLDEST_GLIBC: u32 = 28;

/// Builds the checkout in `checkout` with optimisation, `target` being the folder for intermediate files. Returns the stripped program.
///
/// # Errors
/// When cargo or `strip` fails.
pub fn release(checkout: &Path, target: &Path, time: u64) -> Result<PathBuf, String> {
    let manifest = checkout.join("Cargo.toml");
    let mut build = cargo(&["build", "--release", "--locked", "--package", "sniffer", "--manifest-path"]);
    build.arg(manifest).env("CARGO_TARGET_DIR", target).env("SOURCE_DATE_EPOCH", time.to_string());
    build.env("CARGO_INCREMENTAL", "0").env_remove("RUSTFLAGS");
    // The program has no path of this machine in it: not in messages of panics, and not in assertions of C sources.
    let mut prefixes = vec![(target.to_owned(), "/target"), (checkout.to_owned(), "/sniffer")];
    prefixes.extend(cargo_home().map(|home| (home, "/cargo")));
    let flags = |option: &str, between: &str| {
        prefixes.iter().map(|(from, to)| format!("{option}={}={to}", from.display())).collect::<Vec<_>>().join(between)
    };
    build.env("CARGO_ENCODED_RUSTFLAGS", flags("--remap-path-prefix", "\u{1f}"));
    build.env("CFLAGS", flags("-ffile-prefix-map", " "));
    run_command(&mut build)?;
    let stripped = target.join("sniffer");
    strip(&target.join("release/sniffer"), &stripped)?;
    Ok(stripped)
}

/// The program as the tests have built it, stripped. It is not built here: that could compile all dependencies again, with other features.
///
/// # Errors
/// When it does not exist, or `strip` fails.
pub fn debug() -> Result<PathBuf, String> {
    let built = target_folder().join("debug/sniffer");
    if !built.exists() {
        return Err(format!("{} does not exist; `cargo build` makes it", built.display()));
    }
    let stripped = super::folder().join("sniffer");
    strip(&built, &stripped)?;
    Ok(stripped)
}

fn strip(from: &Path, to: &Path) -> Outcome {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    run_command(Command::new("strip").arg("-o").arg(to).arg(from))
}

/// A copy of the committed state of the checkout in another folder, for a build whose paths are different.
///
/// # Errors
/// When git or tar fails.
pub fn copy_of_checkout(to: &Path) -> Outcome {
    // Files that were removed since an earlier copy must not be built.
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).map_err(|e| format!("{}: {e}", to.display()))?;
    let archive = to.with_extension("tar");
    // Git refuses a checkout of another user, as it is when root runs this in a user's folder.
    run_command(Command::new("git").args(["-c", "safe.directory=*", "archive", "--format=tar", "--output"]).arg(&archive).arg("HEAD"))?;
    run_command(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(to))
}

/// The newest version of glibc whose symbols the program uses, as `2.34`.
///
/// # Errors
/// When `objdump` fails.
pub fn glibc(program: &Path) -> Result<String, String> {
    Ok(newest_glibc(&super::output(Command::new("objdump").arg("--private-headers").arg(program))?))
}

/// The newest version in the version references that `objdump` lists.
fn newest_glibc(headers: &str) -> String {
    let minor = |word: &str| word.strip_prefix("GLIBC_2.")?.split('.').next()?.parse::<u32>().ok();
    format!("2.{}", headers.split_whitespace().filter_map(minor).max().unwrap_or(OLDEST_GLIBC))
}

#[cfg(test)]
mod tests {
    use super::newest_glibc;

    #[test]
    fn the_newest_version_of_glibc() {
        let headers =
            "  required from libc.so.6:\n    0x09691a75 0x00 16 GLIBC_2.2.5\n    0x069691b4 0x00 06 GLIBC_2.34\n 0x0 GLIBC_2.17\n";
        assert_eq!(newest_glibc(headers), "2.34");
        assert_eq!(newest_glibc("a static program"), "2.28");
    }
}

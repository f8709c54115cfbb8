//! `package`: makes the packages of a release in `target/package`: deb, rpm, tar archive and container image, the list of all that is linked
//! in, and checksums. Two builds of one commit give the same bytes.

mod archive;
mod check;
mod contents;
mod deb;
mod deb_test;
mod linked;
mod oci;
mod program;
mod rpm;
mod sbom;

pub use deb_test::installs;

use crate::{
    Outcome,
    setup::{BUILD, ensure, project, target_folder},
};
use sha2::{Digest, Sha256};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const NAME: &str = "sniffer";
const SUMMARY: &str = "network traffic analyser, a replacement for Packetbeat";
const DESCRIPTION: &str = "sniffer captures network traffic with eBPF and reports every application transaction\nas a document in the \
                           Elastic Common Schema.";
const LICENSE: &str = "Apache-2.0 OR MIT";
const MAINTAINER: &str = "the sniffer developers <sniffer@localhost>";

/// What the formats of packages say about the program.
#[derive(Clone, Debug)]
pub struct About {
    /// The version of the package.
    version: String,
    /// The version in `Cargo.toml`.
    cargo_version: String,
    /// The processor, as Rust and RPM name it.
    architecture: &'static str,
    /// Time of the last commit, in seconds since 1970.
    time: u64,
    /// The version of glibc that the program needs.
    glibc: String,
}

impl About {
    fn new(program: &Path) -> Result<Self, String> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let glibc = program::glibc(program)?;
        Ok(Self { version: version.clone(), cargo_version: version, architecture: env::consts::ARCH, time: source_date()?, glibc })
    }

    fn debian_architecture(&self) -> &str {
        self.go_architecture()
    }

    fn go_architecture(&self) -> &str {
        match self.architecture {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
    }

    /// The time as RFC 3339.
    fn time_text(&self) -> Result<String, String> {
        output(Command::new("date").args(["--utc", "+%Y-%m-%dT%H:%M:%SZ", "--date"]).arg(format!("@{}", self.time)))
    }
}

/// What a command prints, without the line end.
fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.current_dir(project()).output().map_err(|e| format!("{name}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr))) }
}

/// `SOURCE_DATE_EPOCH`, or the time of the last commit.
fn source_date() -> Result<u64, String> {
    let text = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        // Git refuses a checkout of another user, as it is when root runs this in a user's folder.
        Err(_) => output(Command::new("git").args(["-c", "safe.directory=*", "log", "-1", "--format=%ct"]))
            .map_err(|why| format!("{why}; outside a git checkout set SOURCE_DATE_EPOCH to a time in seconds"))?,
    };
    text.parse().map_err(|_| format!("SOURCE_DATE_EPOCH must be a number of seconds, got `{text}`"))
}

/// The folder of the results.
fn folder() -> PathBuf {
    target_folder().join("package")
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file of the release: its name and its content.
type Product = (String, Vec<u8>);

/// Makes every package of the program.
fn products(about: &About, program: &Path) -> Result<Vec<Product>, String> {
    let files = contents::files(about, program)?;
    let (version, architecture) = (&about.version, about.architecture);
    let named = |what: &str, error: String| format!("{what}: {error}");
    let stem = format!("{NAME}-{version}-{architecture}-linux");
    let tar = files.tar(&format!("{stem}/"), about.time).and_then(|tar| archive::gzip(&tar));
    let bill = files.0.get("usr/share/doc/sniffer/sniffer.cdx.json").and_then(|entry| entry.content.clone());
    Ok(vec![
        deb_product(about, &files)?,
        (format!("{NAME}-{version}-1.{architecture}.rpm"), rpm::package(about, &files).map_err(|e| named("rpm", e.to_string()))?),
        (format!("{stem}.tar.gz"), tar.map_err(|e| named("tar", e.to_string()))?),
        (format!("{NAME}-{version}-{architecture}-oci.tar"), oci::image(about, program, &files, &about.time_text()?)?),
        (format!("{NAME}-{version}-{architecture}.cdx.json"), bill.unwrap_or_default()),
    ])
}

fn deb_product(about: &About, files: &archive::Files) -> Result<Product, String> {
    let name = format!("{NAME}_{}_{}.deb", about.version, about.debian_architecture());
    Ok((name, deb::package(about, files).map_err(|e| format!("deb: {e}"))?))
}

/// Writes the products and their checksums to a folder.
fn write(folder: &Path, products: &[Product]) -> Outcome {
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for (name, content) in products {
        let path = folder.join(name);
        fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("{:>10.1} MB  {}", content.len() as f64 / 1e6, path.display());
    }
    let names = products.iter().map(|(name, _)| name);
    let sums = Command::new("sha256sum").args(names).current_dir(folder).output().map_err(|e| format!("sha256sum: {e}"))?;
    fs::write(folder.join("SHA256SUMS"), sums.stdout).map_err(|e| format!("SHA256SUMS: {e}"))
}

/// Builds the program and makes the packages. `--debug` takes the unoptimised program that the tests use; `--check` checks packages of it.
pub fn package(args: &[String]) -> Outcome {
    ensure(BUILD)?;
    ensure(&[("binutils", "strip")])?;
    let program = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => program::release(&project(), &folder().join("build"), source_date()?)?,
        ["--debug"] => program::debug()?,
        ["--check"] => return check::run(),
        _ => return Err("this verb takes --debug or --check".into()),
    };
    write(&folder(), &products(&About::new(&program)?, &program)?)
}

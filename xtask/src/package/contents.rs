//! What a package contains, and where it is installed.

use super::{
    About,
    archive::{Files, gzip},
    linked, sbom,
};
use crate::{docs::pages, setup::project};
use std::{fs, path::Path, process::Command};

/// Where the shells look for the completions of packages, with the name of the shell.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "usr/share/bash-completion/completions/sniffer"),
    ("zsh", "usr/share/zsh/vendor-completions/_sniffer"),
    ("fish", "usr/share/fish/vendor_completions.d/sniffer.fish"),
];

/// Files of the checkout that are installed as they are.
const PLAIN: &[(&str, &str)] = &[
    ("packaging/sniffer.service", "usr/lib/systemd/system/sniffer.service"),
    ("packaging/sysusers.conf", "usr/lib/sysusers.d/sniffer.conf"),
    ("packaging/kubernetes.yml", "usr/share/doc/sniffer/kubernetes.yml"),
    ("packaging/compose.yml", "usr/share/doc/sniffer/compose.yml"),
    ("README.md", "usr/share/doc/sniffer/README.md"),
    ("CHANGELOG.md", "usr/share/doc/sniffer/CHANGELOG.md"),
    ("SECURITY.md", "usr/share/doc/sniffer/SECURITY.md"),
    ("LICENSE-APACHE", "usr/share/doc/sniffer/LICENSE-APACHE"),
    ("LICENSE-MIT", "usr/share/doc/sniffer/LICENSE-MIT"),
];

/// The files of the packages. `program`: the stripped binary. It can be run on this machine: it makes its own man pages and completions.
///
/// # Errors
/// When a file cannot be read, or the program fails.
pub fn files(about: &About, program: &Path) -> Result<Files, String> {
    let mut files = Files::default();
    files.add_with_mode("usr/bin/sniffer", 0o755, read(program)?);
    for (from, to) in PLAIN {
        files.add(*to, read(&project().join(from))?);
    }
    files.add_config("etc/sniffer/sniffer.yml", read(&project().join("packaging/sniffer.yml"))?);
    // Not a configuration file for the package managers: an upgrade replaces it.
    files.add("etc/sniffer/sniffer.reference.yml", run(program, &["export", "reference"])?);
    for (shell, path) in COMPLETIONS {
        files.add(*path, run(program, &["export", "completions", shell])?);
    }
    man_pages(program, &mut files)?;
    let docs = project().join("docs");
    for path in pages(&docs) {
        let name = path.strip_prefix(&docs).unwrap_or(&path).display().to_string();
        files.add(format!("usr/share/doc/sniffer/docs/{name}"), read(&path)?);
    }
    let crates = linked::crates()?;
    let notices = linked::notices(&crates);
    files.add("usr/share/doc/sniffer/copyright", copyright());
    files.add("usr/share/doc/sniffer/LICENSES-OF-LIBRARIES.gz", gzip(notices.as_bytes()).map_err(|e| e.to_string())?);
    files.add("usr/share/doc/sniffer/sniffer.cdx.json", sbom::document(about, &crates, &about.time_text()?)?);
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// What the program prints with these arguments.
fn run(program: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{}: {e}", program.display()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("`sniffer {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)))
}

fn man_pages(program: &Path, files: &mut Files) -> Result<(), String> {
    let folder = super::folder().join("man");
    // Pages of commands that no longer exist must not get into a package.
    let _ = fs::remove_dir_all(&folder);
    run(program, &["export", "man-pages", "--dir", &folder.to_string_lossy()])?;
    for entry in fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        files.add(format!("usr/share/man/man1/{name}.gz"), gzip(&read(&entry.path())?).map_err(|e| e.to_string())?);
    }
    Ok(())
}

/// Debian's summary of the licences.
fn copyright() -> String {
    format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: {}\n\nFiles: *\nCopyright: the authors of \
         sniffer\nLicense: Apache-2.0 or Expat\n The texts are LICENSE-APACHE and LICENSE-MIT in this folder; Apache-2.0 is also in\n \
         /usr/share/common-licenses. LICENSES-OF-LIBRARIES.gz has the notices of the libraries in the program.\n",
        super::NAME
    )
}

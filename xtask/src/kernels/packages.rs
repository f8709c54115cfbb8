//! Debian's kernel packages: finds the newest of a release with apt, downloads and unpacks it. apt gets a state folder of its own, so the
//! package lists of this system stay as they are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A Debian release.
pub struct Release {
    /// The package's name in the archive.
    pub name: &'static str,
    /// The version of the package's kernel, for the user.
    pub kernel: &'static str,
    /// Whether updates of the package are in the archive of security updates.
    pub security: bool,
}

/// An unpacked kernel.
pub struct Kernel {
    /// The kernel's version as `uname -r` prints it.
    pub version: String,
    /// The compressed kernel.
    pub image: PathBuf,
    /// The folder that contains `lib/modules`.
    pub root: PathBuf,
}

/// The kernel for cloud machines is used, because it is smaller and has every module that capture needs.
const METAPACKAGE: &str = "linux-image-cloud-amd64";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Downloads and unpacks the newest kernel of a release, unless it is in `folder` already.
///
/// # Errors
/// When apt fails; the message has its command.
pub fn fetch(release: &Release, folder: &Path) -> Result<Kernel, String> {
    let state = folder.join("apt").join(release.name);
    for part in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(state.join(part)).map_err(|e| format!("{}: {e}", state.display()))?;
    }
    let line = |archive: &str, suite: &str| format!("deb [signed-by={KEYS}] http://deb.debian.org/{archive} {suite} main\n");
    let mut sources = line("debian", release.name);
    if release.security {
        sources += &line("debian-security", &format!("{}-security", release.name));
    }
    fs::write(state.join("sources.list"), sources).map_err(|e| e.to_string())?;
    let apt = |program: &str, args: &[&str]| -> Result<String, String> {
        let mut command = Command::new(program);
        for (option, value) in [("Dir::Etc::sourcelist", "sources.list"), ("Dir::State::lists", "lists"), ("Dir::Cache", "cache")] {
            command.arg("-o").arg(format!("{option}={}", state.join(value).display()));
        }
        command.args(["-o", "Dir::Etc::sourceparts=/dev/null", "-o", "APT::Sandbox::User=root"]).args(args).current_dir(&state);
        let output = command.output().map_err(|e| format!("{program}: {e}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(text) } else { Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))) }
    };
    apt("apt-get", &["update", "-qq"])?;
    let depends = apt("apt-cache", &["depends", METAPACKAGE])?;
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: ").filter(|name| name.starts_with("linux-image-")));
    let package = package.ok_or_else(|| format!("{} has no {METAPACKAGE}", release.name))?;
    let version = package.trim_start_matches("linux-image-").to_owned();
    let root = folder.join("unpacked").join(&version);
    if !root.join("lib/modules").is_dir() {
        fs::create_dir_all(root.join("usr/lib")).map_err(|e| format!("{}: {e}", root.display()))?;
        // Newer kernels come in several packages.
        let depends = apt("apt-cache", &["depends", package])?;
        let parts = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        let parts = parts.filter(|name| name.starts_with("linux-binary-") || name.starts_with("linux-modules-"));
        for part in std::iter::once(package).chain(parts) {
            apt("apt-get", &["download", "-qq", part])?;
            let files = fs::read_dir(&state).map_err(|e| e.to_string())?.flatten().map(|entry| entry.path());
            let is_part = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{part}_")));
            let deb =
                files.into_iter().find(is_part).ok_or_else(|| format!("{}: apt-get download {part} left no file", state.display()))?;
            super::image::run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&root))?;
        }
        // Newer packages have their modules in usr/lib.
        if !root.join("lib").exists() {
            std::os::unix::fs::symlink("usr/lib", root.join("lib")).map_err(|e| e.to_string())?;
        }
        super::image::run(Command::new("/sbin/depmod").arg("-b").arg(&root).arg(&version))?;
    }
    Ok(Kernel { image: root.join("boot").join(format!("vmlinuz-{version}")), version, root })
}

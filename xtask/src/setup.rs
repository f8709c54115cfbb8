//! What a machine has to have: looks for it, installs what is missing, and says so. Not what cargo fetches by itself.

use crate::Outcome;
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A Debian package, and a file or command whose presence shows that it (or its like on another system) is there.
pub type Package = (&'static str, &'static str);

/// What a build needs.
pub const BUILD: &[Package] = &[("gcc", "cc"), ("libpcap-dev", "/usr/include/pcap/pcap.h")];

/// What the tests need besides: the servers and clients whose traffic is watched.
pub const TEST: &[Package] = &[
    ("bind9-dnsutils", "dig"),
    ("curl", "curl"),
    ("dnsmasq-base", "dnsmasq"),
    ("ethtool", "ethtool"),
    ("iproute2", "ip"),
    ("iputils-ping", "ping"),
    ("nginx-light", "nginx"),
    ("python3", "python3"),
    ("tcpdump", "tcpdump"),
];

/// What the benchmarks need besides.
pub const BENCH: &[Package] =
    &[("ethtool", "ethtool"), ("iproute2", "ip"), ("python3", "python3"), ("tcpdump", "tcpdump"), ("tcpreplay", "tcpreplay")];

/// Installs those of `packages` that are missing.
///
/// # Errors
/// Where there is no apt, or it fails: names what is missing.
pub fn ensure(packages: &[(&str, &str)]) -> Outcome {
    let missing: Vec<&str> = packages.iter().filter(|(_, shown_by)| !is_there(shown_by)).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_there("apt-get") {
        return Err(format!("needs these packages (Debian's names; there is no apt here to install them with): {list}"));
    }
    println!("installing {list}");
    let apt = |args: &[&str]| as_root("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()).status();
    let install: Vec<&str> = ["install", "-y", "--no-install-recommends"].into_iter().chain(missing.iter().copied()).collect();
    // Lists that are out of date, or not there at all, are the usual reason for a failure.
    let installed = apt(&install).is_ok_and(|s| s.success())
        || (apt(&["update"]).is_ok_and(|s| s.success()) && apt(&install).is_ok_and(|s| s.success()));
    if installed { Ok(()) } else { Err(format!("could not install {list}: run `apt-get install {list}` as root, then try again")) }
}

/// Whether a file, or a command of that name, is there.
pub fn is_there(what: &str) -> bool {
    if what.starts_with('/') {
        return Path::new(what).exists();
    }
    // Servers live where an ordinary user's PATH does not look.
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(|dir| dir.join(what).is_file())
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

/// `program`, run as root: through sudo where this process is not.
pub fn as_root(program: &str) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.arg(program);
    sudo
}

/// The folder of the project.
pub fn project() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(Path::to_path_buf).unwrap_or(here)
}

/// Runs `command` in the project's folder and shows what it prints.
///
/// # Errors
/// When it cannot be started or fails; says which.
pub fn sh(command: &mut Command) -> Outcome {
    let shown = std::iter::once(command.get_program()).chain(command.get_args()).map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ");
    println!("$ {shown}");
    match command.current_dir(project()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` failed ({status})")),
        Err(error) => Err(format!("`{shown}` could not be started: {error}")),
    }
}

/// `cargo` with these arguments: the same one that runs this.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// `cargo` with these arguments, to which subcommands that `cargo install` installed are known whatever the shell's PATH is.
pub fn cargo_with_tools(args: &[&str]) -> Command {
    let mut command = cargo(args);
    if let Some(path) = path_with_cargo_bin() {
        command.env("PATH", path);
    }
    command
}

/// A command for a crate that is not a member of the workspace: without what cargo and the caller set for this one.
pub fn outside_workspace(mut command: Command) -> Command {
    command.env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR").env_remove("RUSTC_WORKSPACE_WRAPPER");
    command
}

/// Installs the subcommand `cargo NAME` where it is missing; says that it does, and what for.
///
/// # Errors
/// When it cannot be built.
pub fn cargo_tool(name: &str, version: &str, purpose: &str) -> Outcome {
    if cargo_with_tools(&[name, "--version"]).output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    println!("installing cargo-{name} {version} ({purpose}); it is built from source once, which takes some minutes");
    // Not for release: a tool that runs for seconds need not be optimised for minutes.
    let mut install = outside_workspace(cargo(&["install", "--locked", "--debug", &format!("cargo-{name}@{version}")]));
    sh(install.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_DEV_OPT_LEVEL", "1"))
}

/// Where cargo keeps what it installs and downloads.
pub fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")))
}

/// PATH with cargo's folder of installed programs in front.
pub fn path_with_cargo_bin() -> Option<OsString> {
    let now = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(cargo_home()?.join("bin")).chain(env::split_paths(&now))).ok()
}

//! System packages and tools that the tasks need: checks for them, installs missing ones, and prints this. Cargo itself downloads crates.

use crate::Outcome;
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Name of a Debian package, and a file or command that shows that it, or its equivalent on other systems, is
/// installed.
pub type Package = (&'static str, &'static str);

/// Packages needed for a build.
pub const BUILD: &[Package] = &[("gcc", "cc"), ("libpcap-dev", "/usr/include/pcap/pcap.h")];

/// Further packages needed for the tests: servers and clients whose traffic is captured.
pub const TEST: &[Package] = &[
    ("bind9-dnsutils", "dig"),
    ("curl", "curl"),
    ("dnsmasq-base", "dnsmasq"),
    ("ethtool", "ethtool"),
    ("iproute2", "ip"),
    ("iputils-ping", "ping"),
    ("nginx-light", "nginx"),
    ("openssl", "openssl"),
    ("python3", "python3"),
    ("redis-server", "redis-server"),
    ("tcpdump", "tcpdump"),
];

/// Further packages needed for the benchmarks.
pub const BENCH: &[Package] = &[
    ("curl", "curl"),
    ("ethtool", "ethtool"),
    ("iproute2", "ip"),
    ("nginx-light", "nginx"),
    ("openssl", "openssl"),
    ("python3", "python3"),
    ("tcpdump", "tcpdump"),
    ("tcpreplay", "tcpreplay"),
];

/// Installs the packages that are missing.
///
/// # Errors
/// When apt does not exist or fails; the message lists the missing packages.
pub fn ensure(packages: &[(&str, &str)]) -> Outcome {
    let missing: Vec<&str> = packages.iter().filter(|(_, shown_by)| !is_there(shown_by)).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_there("apt-get") {
        return Err(format!(
            "these packages are missing (Debian's names); install them, because this system has no apt-get to install them automatically: {list}"
        ));
    }
    // Standard output belongs to the program that is then run.
    eprintln!("installing {list}");
    let apt = |args: &[&str]| as_root("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()).status();
    let install: Vec<&str> = ["install", "-y", "--no-install-recommends"].into_iter().chain(missing.iter().copied()).collect();
    // A common cause of failure are missing or outdated package lists: update them and try again.
    let installed = apt(&install).is_ok_and(|s| s.success())
        || (apt(&["update"]).is_ok_and(|s| s.success()) && apt(&install).is_ok_and(|s| s.success()));
    if installed { Ok(()) } else { Err(format!("could not install {list}: run `apt-get install {list}` as root, then try again")) }
}

/// Whether the file, or a command of this name, exists.
pub fn is_there(what: &str) -> bool {
    if what.starts_with('/') {
        return Path::new(what).exists();
    }
    // Servers are installed in folders that are not in the PATH of ordinary users.
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(|dir| dir.join(what).is_file())
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

/// A command that runs `program` as root, through sudo if this process is not root.
pub fn as_root(program: &str) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.arg(program);
    sudo
}

/// The root folder of the project.
pub fn project() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(Path::to_path_buf).unwrap_or(here)
}

/// Runs `command` in the root folder of the project. The function prints the command, and does not capture its output.
///
/// # Errors
/// When the command cannot be started or fails; the message has the command.
pub fn run_command(command: &mut Command) -> Outcome {
    let shown = std::iter::once(command.get_program()).chain(command.get_args()).map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ");
    // Standard output belongs to the command.
    eprintln!("$ {shown}");
    match command.current_dir(project()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` failed ({status})")),
        Err(error) => Err(format!("`{shown}` could not be started: {error}")),
    }
}

/// Cargo with these arguments. It is the same executable that runs this task.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// Cargo with these arguments. Subcommands from `cargo install` are found even if the PATH does not contain them.
pub fn cargo_with_tools(args: &[&str]) -> Command {
    let mut command = cargo(args);
    if let Some(path) = path_with_cargo_bin() {
        command.env("PATH", path);
    }
    command
}

/// The target folder of the workspace: `CARGO_TARGET_DIR`, or `target`.
pub fn target_folder() -> PathBuf {
    project().join(env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from))
}

/// Removes the environment variables that cargo and the caller set for this workspace. They must not apply to a crate that is not a member
/// of the workspace.
pub fn outside_workspace(mut command: Command) -> Command {
    command.env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR").env_remove("RUSTC_WORKSPACE_WRAPPER");
    command
}

/// Installs the subcommand `cargo NAME` if it is missing, and prints that with its purpose.
///
/// # Errors
/// When the subcommand cannot be built.
pub fn cargo_tool(name: &str, version: &str, purpose: &str) -> Outcome {
    if cargo_with_tools(&[name, "--version"]).output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    eprintln!("installing cargo-{name} {version} ({purpose}); it is built from source once, which takes some minutes");
    // Use a debug build: the tool runs for seconds, which does not justify minutes of optimisation.
    let mut install = outside_workspace(cargo(&["install", "--locked", "--debug", &format!("cargo-{name}@{version}")]));
    run_command(install.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_DEV_OPT_LEVEL", "1"))
}

/// The folder to which cargo installs programs and downloads crates.
pub fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")))
}

/// PATH, preceded by the folder of programs that cargo installed.
pub fn path_with_cargo_bin() -> Option<OsString> {
    let now = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(cargo_home()?.join("bin")).chain(env::split_paths(&now))).ok()
}

//! Functions that the tests of the disk queue share.

use super::*;
use std::{env, process::Command};
use tempfile::TempDir;

/// A step that takes longer than this fails the test.
pub(super) const HANGS: Duration = Duration::from_secs(60);
/// The environment variable with the small file system, in the process that runs there.
const SMALL: &str = "DISK_QUEUE_SMALL_FILESYSTEM";

/// Makes a temporary folder in memory if the system has a file system for that. Tests open thousands of queues in such folders, and none waits
/// for a device. What a power loss costs is simulated by the tests, which take it from the files.
pub(super) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Makes options for a queue with small segments, which hands out its records at once.
pub(super) fn options(path: &Path) -> Options {
    Options {
        path: path.to_owned(),
        max_size: 100 << 20,
        segment_size: 2_000,
        read_ahead: 100_000,
        read_ahead_bytes: 64 << 20,
        batch_bytes: 4 << 20,
        retry_interval: Duration::from_millis(1),
        max_retry_interval: Duration::from_millis(1),
    }
}

/// The segments in the folder, in order.
pub(super) fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "segment"));
    all.sort();
    all
}

/// Runs a future to its end, and fails if it takes too long.
pub(super) fn run<T>(what: &str, future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(HANGS, future).await.unwrap_or_else(|_| panic!("{what} waits")) })
}

/// Runs the test of this name in a mount namespace with a file system of `size`, which no other process sees. In the process that runs
/// there, the function returns the folder of the file system; in the process that started it, `None`. If namespaces are not permitted, the
/// function prints that the test is skipped.
pub(super) fn in_small_filesystem(test: &str, size: &str) -> Option<PathBuf> {
    if let Some(folder) = env::var_os(SMALL) {
        return Some(folder.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args([
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            &format!("mount -t tmpfs -o size={size} sniffer-test \"$1\" && {script}"),
            "sh",
        ]);
        command.arg(folder.path()).arg(env::current_exe().unwrap()).arg(test).env(SMALL, folder.path());
        command
    };
    let permitted = unshare("true").output();
    if !permitted.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: {test}: no file system can be mounted in a namespace: {permitted:?}");
        return None;
    }
    let script = "exec \"$2\" --exact \"$3\" --nocapture --test-threads=1";
    let output = unshare(script).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    print!("{text}");
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
    None
}

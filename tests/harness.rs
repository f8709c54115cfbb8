//! Functions that the tests share: running the program with a configuration, and reading the documents that it wrote.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The unprivileged user that live tests run the program as: name, user id, group id.
pub const UNPRIVILEGED: (&str, u32, u32) = ("nobody", 65534, 65534);

/// Whether this process is root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The program under test.
pub fn sniffer() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sniffer"))
}

/// The path of the folder `tests`.
pub fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

/// A temporary folder with the configuration and the output of one run of the program. Dropping the value removes the folder.
pub struct Home(tempfile::TempDir);

impl Home {
    /// Makes the folder with `config` (YAML) as the configuration. The program writes its documents to a file in the folder.
    pub fn new(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let out = home.path().join("out");
        home.write("packetbeat.yml", &format!("{config}\noutput.file: {{path: {}, filename: events}}\n", out.display()));
        home
    }

    /// Makes the folder with `config` as the whole configuration. `config` must name the output.
    pub fn with_output(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.write("packetbeat.yml", config);
        home
    }

    /// Writes a file that others than its owner may not write, because the program refuses such a configuration. The unprivileged user of
    /// [`Home::live`] may read it.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&path, None, Some(UNPRIVILEGED.2)).unwrap();
        }
        path
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The program, with this folder as `path.home`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = sniffer();
        // Set the time zone, because some documents contain local times.
        command.env("TZ", "UTC").args(args).arg("--path.home").arg(self.path()).arg("-c").arg(self.path().join("packetbeat.yml"));
        command
    }

    /// The program for a live capture. As root, it runs as an unprivileged user, and a system call that is not in its list ends it. All live
    /// tests use this function.
    pub fn live(&self) -> Command {
        let mut command = self.command(&["-e", "-E", "seccomp.default_action=kill_process"]);
        if is_root() {
            std::os::unix::fs::chown(self.path(), Some(UNPRIVILEGED.1), Some(UNPRIVILEGED.2)).unwrap();
            command.args(["--user", UNPRIVILEGED.0]);
        }
        command
    }

    /// Runs the program on a capture file and waits until it ends.
    pub fn read_capture(&self, capture: &Path) -> Output {
        self.command(&["-e", "-t"]).arg("-I").arg(capture).output().unwrap()
    }

    /// The documents written so far. An incomplete line is left out.
    pub fn documents_so_far(&self) -> Vec<Value> {
        self.documents_in("")
    }

    /// The documents written so far to the files whose names begin with `name`. An incomplete line is left out.
    pub fn documents_in(&self, name: &str) -> Vec<Value> {
        self.lines(name).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// All documents, in order. Panics on a line that is not JSON.
    pub fn documents(&self) -> Vec<Value> {
        self.lines("").lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"))).collect()
    }

    /// The text of the files whose names begin with `name`.
    fn lines(&self, name: &str) -> String {
        let mut files: Vec<_> = fs::read_dir(self.path().join("out")).map(|d| d.flatten().map(|e| e.path()).collect()).unwrap_or_default();
        files.retain(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)));
        files.sort();
        files.iter().map(|f| fs::read_to_string(f).unwrap()).collect()
    }
}

/// Fails and shows stdout and stderr if the program ended with an error.
pub fn assert_success(output: &Output) {
    assert!(
        output.status.success(),
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

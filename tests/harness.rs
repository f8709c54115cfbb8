//! What the tests share: running the program, reading its documents, network namespaces with something in them.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The program under test.
pub fn sniffer() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sniffer"))
}

/// The folder `tests`.
pub fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

/// A folder for one run of the program, with its configuration in it. Removed when dropped.
pub struct Home(tempfile::TempDir);

impl Home {
    /// Writes `config` (YAML) where the program will find it; documents go to a file.
    pub fn new(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let out = home.path().join("out");
        home.write("packetbeat.yml", &format!("{config}\noutput.file: {{path: {}, filename: events}}\n", out.display()));
        home
    }

    /// The same, but documents go where `config` says.
    pub fn with_output(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.write("packetbeat.yml", config);
        home
    }

    /// Writes a file that nobody else may write to, as the program asks of its configuration.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The program, told to live here.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = sniffer();
        // Some documents tell times in the local zone.
        command.env("TZ", "UTC").args(args).arg("--path.home").arg(self.path()).arg("-c").arg(self.path().join("packetbeat.yml"));
        command
    }

    /// Reads a capture to its end.
    pub fn read_capture(&self, capture: &Path) -> Output {
        self.command(&["-e", "-t"]).arg("-I").arg(capture).output().unwrap()
    }

    /// The documents written so far, but for a line that is being written.
    pub fn documents_so_far(&self) -> Vec<Value> {
        self.lines().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The documents, in order.
    pub fn documents(&self) -> Vec<Value> {
        self.lines().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"))).collect()
    }

    fn lines(&self) -> String {
        let mut files: Vec<_> = fs::read_dir(self.path().join("out")).map(|d| d.flatten().map(|e| e.path()).collect()).unwrap_or_default();
        files.sort();
        files.iter().map(|f| fs::read_to_string(f).unwrap()).collect()
    }
}

/// Fails with both sides when a run did not end well.
pub fn assert_success(output: &Output) {
    assert!(
        output.status.success(),
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

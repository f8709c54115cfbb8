//! `test-servers`: tests against real servers that have to be downloaded first.

use crate::{
    Outcome,
    setup::{BUILD, Package, cargo, ensure, project, sh},
};
use std::{
    env,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Command},
};

/// What gets the server, starts it and asks it.
const SERVER: &[Package] = &[("curl", "curl"), ("default-jdk-headless", "javac"), ("maven", "mvn"), ("unzip", "unzip")];

/// Downloads an Elasticsearch and starts it, runs the tests that need one, and stops it whatever became of them.
pub fn test_servers(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err("takes no arguments".into());
    }
    ensure(BUILD)?;
    ensure(SERVER)?;
    // Before the server is there: what does not compile needs none, and the two would be in each other's way.
    sh(&mut cargo(&["test", "--package", "sniffer", "--lib", "--test", "integration", "--locked", "--no-run"]))?;
    let server = Elasticsearch::start()?;
    // One at a time: some stop the server.
    let output = ["test", "--package", "sniffer", "--lib", "--locked", "a_real_server", "--", "--nocapture", "--test-threads=1"];
    sh(server.known_to(&mut cargo(&output)))?;
    let program = ["test", "--package", "sniffer", "--test", "integration", "--locked", "servers::"];
    sh(server.known_to(cargo(&program).args(["--", "--ignored", "--nocapture", "--test-threads=1"])))
}

/// A running server. Stopped and removed when dropped; its script does the same when this process is killed.
struct Elasticsearch {
    script: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Elasticsearch {
    fn start() -> Result<Self, String> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| format!("no free port: {e}"))?.port();
        let folder = env::temp_dir().join(format!("sniffer-elasticsearch-{}", process::id()));
        let server = Self { script: project().join("tests/servers/elasticsearch.sh"), folder, port };
        let owner = process::id().to_string();
        sh(Command::new(&server.script).arg("start").arg(&server.folder).args([&port.to_string(), &owner]))?;
        Ok(server)
    }

    /// Tells the tests where it is, and the shell commands that stop and start it.
    fn known_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let script = quoted(&self.script);
        let (stop, start) =
            (format!("{script} stop {}", quoted(&self.folder)), format!("{script} start {} {}", quoted(&self.folder), self.port));
        command
            .env("SNIFFER_TEST_ELASTICSEARCH", format!("http://elastic:changeme@127.0.0.1:{}", self.port))
            .env("SNIFFER_TEST_ELASTICSEARCH_RESTART", format!("{stop} && sleep 3 && {start}"))
            .env("SNIFFER_TEST_ELASTICSEARCH_STOP", stop)
            .env("SNIFFER_TEST_ELASTICSEARCH_START", start)
    }
}

impl Drop for Elasticsearch {
    fn drop(&mut self) {
        if let Err(why) = sh(Command::new(&self.script).arg("remove").arg(&self.folder)) {
            eprintln!("{why}");
        }
    }
}

/// A path as one word of the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

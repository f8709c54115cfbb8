//! `test-servers`: tests against real servers that have to be downloaded.

use crate::{
    Outcome,
    setup::{BUILD, Package, cargo, ensure, project, run_command},
};
use std::{
    env,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Command},
};

/// Packages needed to download, build, start and query the server.
const SERVER: &[Package] = &[("curl", "curl"), ("default-jdk-headless", "javac"), ("maven", "mvn"), ("unzip", "unzip")];

/// Downloads and starts Elasticsearch, runs the tests that need it, and stops it even if a test fails.
pub fn test_servers(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err("this verb takes no arguments".into());
    }
    ensure(BUILD)?;
    ensure(SERVER)?;
    // Compile before starting the server: a compile error needs no server, and compiler and server would slow each other down.
    run_command(&mut cargo(&["test", "--package", "sniffer", "--lib", "--test", "integration", "--locked", "--no-run"]))?;
    let server = Elasticsearch::start()?;
    // One test at a time, because some of them stop the server.
    let output = ["test", "--package", "sniffer", "--lib", "--locked", "a_real_server", "--", "--nocapture", "--test-threads=1"];
    run_command(server.set_server_variables(&mut cargo(&output)))?;
    let program = ["test", "--package", "sniffer", "--test", "integration", "--locked", "servers::"];
    run_command(server.set_server_variables(cargo(&program).args(["--", "--ignored", "--nocapture", "--test-threads=1"])))
}

/// A running server. Dropping the value stops and removes the server; if this process is killed, the server's script does that.
struct Elasticsearch {
    script: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Elasticsearch {
    fn start() -> Result<Self, String> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| format!("finding a free port: {e}"))?.port();
        let folder = env::temp_dir().join(format!("sniffer-elasticsearch-{}", process::id()));
        let server = Self { script: project().join("tests/servers/elasticsearch.sh"), folder, port };
        let owner = process::id().to_string();
        run_command(Command::new(&server.script).arg("start").arg(&server.folder).args([&port.to_string(), &owner]))?;
        Ok(server)
    }

    /// Sets the environment variables that tell the tests the address of the server and the commands that stop and
    /// start it.
    fn set_server_variables<'a>(&self, command: &'a mut Command) -> &'a mut Command {
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
        if let Err(why) = run_command(Command::new(&self.script).arg("remove").arg(&self.folder)) {
            eprintln!("{why}");
        }
    }
}

/// Quotes a path for the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

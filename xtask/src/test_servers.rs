//! `test-servers`: tests against real servers that have to be downloaded.

use crate::{
    Outcome,
    setup::{BUILD, Package, TEST, cargo, ensure, project, run_command},
};
use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Command},
};

/// Packages needed to download, build, start and query the servers.
const SERVERS: &[Package] =
    &[("curl", "curl"), ("default-jdk-headless", "javac"), ("golang-go", "go"), ("kcat", "kcat"), ("maven", "mvn"), ("unzip", "unzip")];

/// Downloads and starts the servers, runs the tests that need them, and stops the servers even if a test fails.
pub fn test_servers(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err("this verb takes no arguments".into());
    }
    ensure(BUILD)?;
    ensure(TEST)?;
    ensure(SERVERS)?;
    // Compile before starting the servers: a compile error needs no server, and compiler and servers would slow each other down.
    run_command(&mut cargo(&["test", "--package", "sniffer", "--lib", "--test", "integration", "--locked", "--no-run"]))?;
    let (lumberjack, collector) = (Built::build("lumberjack")?, Built::build("collector")?);
    let (elasticsearch, kafka) = (Server::start("elasticsearch")?, Server::start("kafka")?);
    let prepared = |mut command: Command| {
        let host = format!("127.0.0.1:{}", elasticsearch.port);
        command.env("SNIFFER_TEST_ELASTICSEARCH", format!("http://elastic:changeme@{host}"));
        command.env("SNIFFER_TEST_KAFKA_PORT", kafka.port.to_string()).env("SNIFFER_TEST_KAFKA_FOLDER", &kafka.folder);
        command.env("SNIFFER_TEST_LUMBERJACK", &lumberjack.0).env("SNIFFER_TEST_COLLECTOR", &collector.0);
        for server in [&elasticsearch, &kafka] {
            let [stop, start] = server.commands();
            let variable = |what: &str| format!("SNIFFER_TEST_{}_{what}", server.name.to_uppercase());
            command.env(variable("RESTART"), format!("{stop} && sleep 3 && {start}"));
            command.env(variable("STOP"), stop).env(variable("START"), start);
        }
        command
    };
    // One test at a time, because some of them stop a server.
    let output = ["test", "--package", "sniffer", "--lib", "--locked", "a_real_server", "--", "--nocapture", "--test-threads=1"];
    run_command(&mut prepared(cargo(&output)))?;
    let program = ["test", "--package", "sniffer", "--test", "integration", "--locked", "servers::"];
    run_command(prepared(cargo(&program)).args(["--", "--ignored", "--nocapture", "--test-threads=1"]))
}

/// A running server. Dropping the value stops and removes the server. If this process is killed, the server's script
/// stops and removes it.
struct Server {
    name: &'static str,
    script: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Server {
    fn start(name: &'static str) -> Result<Self, String> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| format!("finding a free port: {e}"))?.port();
        let folder = env::temp_dir().join(format!("sniffer-{name}-{}", process::id()));
        let server = Self { name, script: project().join(format!("tests/servers/{name}.sh")), folder, port };
        let owner = process::id().to_string();
        run_command(Command::new(&server.script).arg("start").arg(&server.folder).args([&port.to_string(), &owner]))?;
        Ok(server)
    }

    /// The commands that stop and start the server.
    fn commands(&self) -> [String; 2] {
        let (script, folder) = (quoted(&self.script), quoted(&self.folder));
        [format!("{script} stop {folder}"), format!("{script} start {folder} {}", self.port)]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(why) = run_command(Command::new(&self.script).arg("remove").arg(&self.folder)) {
            eprintln!("{why}");
        }
    }
}

/// A server that was built from `tests/servers/NAME`. Dropping the value removes it.
struct Built(PathBuf);

impl Built {
    fn build(name: &str) -> Result<Self, String> {
        let built = Self(env::temp_dir().join(format!("sniffer-{name}-{}", process::id())));
        run_command(Command::new("go").args(["build", "-C", &format!("tests/servers/{name}"), "-o"]).arg(&built.0).arg("."))?;
        Ok(built)
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Quotes a path for the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

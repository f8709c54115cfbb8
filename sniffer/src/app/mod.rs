//! The commands of the program. This module connects the other modules, prints errors and sets the exit code. It may use all modules; no
//! module uses it.

mod all_errors;
mod collector;
mod doctor;
mod documents;
mod ids;
mod interfaces;
mod keystore;
mod losses;
mod measuring;
mod migrate;
mod monitoring;
mod notices;
mod page;
mod plan;
mod privileges;
mod reference;
mod reload;
mod rights;
mod run;
mod running;
mod service;
mod setup;
mod shared;
mod signals;
mod top;
mod view;
mod watch;
mod web;

use crate::{
    capture::{devices, open},
    cli::{self, Command, Invocation},
    config::{self, Loaded, Node, Paths},
    endpoint,
    monitor::log::{CommandLine, Logger},
    net::OwnConnections,
    opening::{Clock, Opening},
    output,
    time::Timestamp,
};
use plan::Plan;
use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// The version of Packetbeat that this program is compatible with.
const COMPATIBLE: &str = crate::publish::VERSION;

/// Executes the command line. The exit code is 0 or 1; an error is written to stderr.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let typed: Vec<String> = args.iter().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let invocation = match cli::parse(args) {
        Ok(invocation) => invocation,
        Err(stop) => return stop.print(),
    };
    match command(&invocation, &typed).map_err(|error| rights::with_advice(error, &typed)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // When stderr is closed the error cannot be reported.
            let _ = writeln!(io::stderr(), "Exiting: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The line that `sniffer version` prints and that begins the log.
fn version() -> String {
    format!("sniffer version {} ({}), compatible with packetbeat {COMPATIBLE}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH)
}

/// An error of any module, worded for the user.
type Error = Box<dyn std::error::Error>;

fn command(invocation: &Invocation, typed: &[String]) -> Result<bool, Error> {
    let mut stdout = io::stdout();
    match &invocation.command {
        Command::Version => {
            writeln!(stdout, "{}", version())?;
        }
        Command::Devices => write!(stdout, "{}", devices::text(&devices::list()?))?,
        Command::Migrate(flags) => return migrate::migrate(invocation, flags, &mut stdout),
        Command::Doctor(flags) => return doctor::doctor(invocation, flags, typed, &mut stdout),
        Command::Watch(flags) => return watch::watch(invocation, flags),
        Command::Top(flags) => return top::top(invocation, flags),
        Command::Web(flags) => return web::web(invocation, flags, &mut stdout),
        Command::Run(flags) => return run::run(invocation, flags),
        Command::TestConfig => {
            let loaded = loaded(invocation)?;
            test_config(&loaded, &mut stdout).map_err(|error| all_errors::with_others(&error, &loaded.root, &loaded.paths))?;
        }
        Command::TestOutput => {
            let Loaded { root, paths, .. } = loaded(invocation)?;
            let output = output::open(&opening(&root, &paths))?;
            return Ok(runtime()?.block_on(output.test(&mut stdout))?);
        }
        Command::ExportConfig(flags) => write!(stdout, "{}", loaded(invocation)?.export(flags.show_secrets)?)?,
        Command::ExportTemplate(flags) => {
            let text = output::elasticsearch::exported(&loaded(invocation)?.root, plan::declared_fields())?.template_text();
            export(&text, flags.dir.as_deref(), &format!("packetbeat-{COMPATIBLE}.template.json"), &mut stdout)?;
        }
        Command::ExportIlmPolicy(flags) => {
            let text = output::elasticsearch::exported(&loaded(invocation)?.root, plan::declared_fields())?.policy_text();
            export(&text, flags.dir.as_deref(), "policy/packetbeat.json", &mut stdout)?;
        }
        Command::Keystore(command) => keystore::keystore(&invocation.load, command, &mut stdout)?,
        Command::ExportIndexPattern(_) => setup::export_index_pattern(&mut stdout)?,
        Command::ExportDashboard(flags) => setup::export_dashboard(invocation, flags, &mut stdout)?,
        Command::ExportCompletions(shell) => stdout.write_all(&cli::manual::completions(*shell))?,
        Command::ExportManPages(flags) => man_pages(flags.dir.as_deref(), &mut stdout)?,
        Command::ExportReference => stdout.write_all(reference::text().as_bytes())?,
        Command::Setup(flags) => setup::setup(invocation, flags, &mut stdout)?,
    }
    Ok(true)
}

/// The async runtime of the output and the queue. It has one thread, the one that calls `block_on`.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// What the command line says about the log.
fn command_line(invocation: &Invocation, paths: &Paths) -> CommandLine {
    CommandLine {
        stderr: invocation.log.stderr,
        stderr_by_default: matches!(invocation.log.environment, cli::Environment::Systemd | cli::Environment::Container),
        plain: false,
        before: "",
        verbose: invocation.log.verbose,
        debug: invocation.log.debug.clone(),
        folder: paths.logs.clone(),
    }
}

/// The clock of the system, for modules that get a [`Clock`].
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Makes the arguments with which the outputs and processors of a configuration are opened.
fn opening<'a>(root: &'a Node, paths: &'a Paths) -> Opening<'a> {
    Opening { node: root, root, paths, clock: &SystemClock, live: true, fields: plan::declared_fields(), connections: None, shared: None }
}

/// Opens the output of a configuration for a run. `connections` is the list of this process's connections; the output refreshes it when it
/// has connected to a server.
fn open_output(root: &Node, paths: &Paths, connections: Option<&Arc<OwnConnections>>) -> Result<output::Delivery, Error> {
    Ok(output::open(&Opening { connections, ..opening(root, paths) })?)
}

/// Reads the configuration for commands other than `run`. Warnings go to stderr.
fn loaded(invocation: &Invocation) -> Result<Loaded, config::Error> {
    let loaded = config::load(&invocation.load)?;
    warn(&loaded.warnings);
    Ok(loaded)
}

/// Writes warnings to stderr.
fn warn(warnings: &[String]) {
    for warning in warnings {
        // When stderr is closed the warning cannot be reported.
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
}

/// `test config`: every module reads its settings, and the filters are compiled. Nothing is captured, and no connection is made.
fn test_config(loaded: &Loaded, stdout: &mut impl Write) -> Result<(), Error> {
    let Checked { interfaces, warnings } = check(loaded)?;
    warn(&warnings);
    for line in interfaces {
        writeln!(stdout, "{line}")?;
    }
    writeln!(stdout, "Config OK")?;
    Ok(())
}

/// The result of [`check`].
struct Checked {
    /// A line about each interface, with its filter.
    interfaces: Vec<String>,
    /// Warnings about settings. Those of loading the configuration are not among them.
    warnings: Vec<String>,
}

/// Every module reads its settings, and the filters are compiled.
fn check(loaded: &Loaded) -> Result<Checked, Error> {
    let plan = Plan::read(&loaded.root, None, None)?;
    output::open(&opening(&loaded.root, &loaded.paths))?;
    setup::loader(&opening(&loaded.root, &loaded.paths))?;
    Logger::open(&loaded.root.get("logging"), &CommandLine::default())?;
    reload::Options::read(&loaded.root)?;
    endpoint::Options::read(&loaded.root)?;
    crate::web::Options::read(&loaded.root)?;
    privileges::Seccomp::read(&loaded.root)?;
    let identity = plan::AgentAndHost::empty();
    let publishers = plan.publishers(&opening(&loaded.root, &loaded.paths), &identity, None)?;
    let mut interfaces = Vec::new();
    for interface in &plan.interfaces {
        let publishing = plan.publishing(interface, &publishers, &identity)?;
        plan.settings(interface, publishing, None).open()?;
        let filters = plan.filters(interface, &[])?;
        open::check(interface, &filters.text).map_err(|e| e.at(interface))?;
        let shown = if filters.text.is_empty() { "(everything)" } else { &filters.text };
        interfaces.push(format!("{}: filter: {shown}", interface.device));
    }
    let warnings = plan.warnings.into_iter().chain(config::leftover(&loaded.root)).collect();
    Ok(Checked { interfaces, warnings })
}

/// Writes the man pages to a folder, or the page of the program to `stdout`.
fn man_pages(dir: Option<&Path>, stdout: &mut impl Write) -> io::Result<()> {
    for (name, page) in cli::manual::man_pages()? {
        match dir {
            Some(dir) => {
                fs::create_dir_all(dir)?;
                fs::write(dir.join(name), page)?;
            }
            None if name == "sniffer.1" => stdout.write_all(&page)?,
            None => {}
        }
    }
    Ok(())
}

fn export(text: &str, dir: Option<&Path>, name: &str, stdout: &mut impl Write) -> io::Result<()> {
    let Some(dir) = dir else { return writeln!(stdout, "{text}") };
    let path = dir.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&path, text)
}

//! The commands of the program. This module connects the other modules, prints errors and sets the exit code. It may use all modules; no
//! module uses it.

mod ids;
mod interfaces;
mod losses;
mod plan;
mod reload;
mod run;
mod running;
mod signals;
mod view;
mod watch;

use crate::{
    capture::{devices, open},
    cli::{self, Command, Invocation},
    config::{self, Loaded, Node, Paths},
    monitor::log::{CommandLine, Logger},
    net::OwnConnections,
    opening::{Clock, Connected, Opening},
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
    let invocation = match cli::parse(args) {
        Ok(invocation) => invocation,
        Err(stop) => return stop.print(),
    };
    match command(&invocation) {
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

fn command(invocation: &Invocation) -> Result<bool, Error> {
    let mut stdout = io::stdout();
    match &invocation.command {
        Command::Version => {
            writeln!(stdout, "{}", version())?;
        }
        Command::Devices => write!(stdout, "{}", devices::text(&devices::list()?))?,
        Command::Watch(flags) => return watch::watch(flags),
        Command::Run(flags) => return run::run(invocation, flags),
        Command::TestConfig => test_config(&loaded(invocation)?, &mut stdout)?,
        Command::TestOutput => {
            let Loaded { root, paths, .. } = loaded(invocation)?;
            let output = output::open(&opening(&root, &paths))?;
            return Ok(run::runtime()?.block_on(output.test(&mut stdout))?);
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
        Command::Setup(_) => {
            return Err("`setup` as a command of its own is not there yet: `run` prepares Elasticsearch at its start".into());
        }
    }
    Ok(true)
}

/// The clock of the system, for modules that get a [`Clock`].
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The arguments for opening the outputs and processors of a configuration.
fn opening<'a>(root: &'a Node, paths: &'a Paths) -> Opening<'a> {
    Opening { node: root, root, paths, clock: &SystemClock, live: true, fields: plan::declared_fields(), connected: None }
}

/// Opens the output of a configuration for a run. The output refreshes `connections`, those of this process, when it has connected.
fn open_output(root: &Node, paths: &Paths, connections: Option<&Arc<OwnConnections>>) -> Result<output::Delivery, Error> {
    let connected = connections.cloned().map(|connections| -> Connected { Arc::new(move || connections.refresh()) });
    Ok(output::open(&Opening { connected: connected.as_ref(), ..opening(root, paths) })?)
}

/// Reads the configuration for commands other than `run`. Warnings go to stderr.
fn loaded(invocation: &Invocation) -> Result<Loaded, config::Error> {
    let loaded = config::load(&invocation.load)?;
    for warning in &loaded.warnings {
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    Ok(loaded)
}

/// `test config`: every module reads its settings, and the filters are compiled. Nothing is captured or connected to.
fn test_config(loaded: &Loaded, stdout: &mut impl Write) -> Result<(), Error> {
    let plan = Plan::read(&loaded.root, None, None)?;
    output::open(&opening(&loaded.root, &loaded.paths))?;
    Logger::open(&loaded.root.get("logging"), &CommandLine::default())?;
    reload::Options::read(&loaded.root)?;
    let nobody = plan::Who::nobody();
    let publishers = plan.publishers(&opening(&loaded.root, &loaded.paths), &nobody, None)?;
    for interface in &plan.interfaces {
        let publishing = plan.publishing(interface, &publishers, &nobody)?;
        plan.settings(interface, publishing, None).open()?;
        let filters = plan.filters(interface, &[])?;
        open::check(interface, &filters.text).map_err(|e| e.at(interface))?;
        let shown = if filters.text.is_empty() { "(everything)" } else { &filters.text };
        writeln!(stdout, "{}: filter: {shown}", interface.device)?;
    }
    for warning in plan.warnings.iter().chain(&config::leftover(&loaded.root)) {
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    writeln!(stdout, "Config OK")?;
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

//! The command line: Packetbeat's commands and flags, and those that Packetbeat does not have (`watch`). This module only
//! parses the command line; `app` executes the commands.

use crate::config::LoadOptions;
use clap::{
    ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum,
    error::{ContextKind, ErrorKind},
};
use std::{ffi::OsString, io::Write, path::PathBuf, process::ExitCode};

/// A parsed command line.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Where to find the configuration.
    pub load: LoadOptions,
    /// Flags about the log.
    pub log: LogFlags,
    /// The command.
    pub command: Command,
}

/// The flags of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFlags {
    /// `-e`: log to stderr and to no file.
    pub stderr: bool,
    /// `-v`: log level info.
    pub verbose: bool,
    /// `-d a,b`: log level debug for these selectors; `*` selects all.
    pub debug: Vec<String>,
    /// `--environment`
    pub environment: Environment,
}

/// `--environment`: the environment that starts the program. It determines the default destination of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Environment {
    /// Log files.
    #[default]
    Default,
    /// stderr, which systemd collects.
    Systemd,
    /// stderr.
    Container,
    /// Same as `default`.
    MacosService,
    /// Same as `default`.
    WindowsService,
}

/// A command with its flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Capture and report; the default.
    Run(RunFlags),
    /// Show live transactions to a person, without configuration.
    Watch(WatchFlags),
    /// List the devices that packets can be captured on.
    Devices,
    /// Check the configuration.
    TestConfig,
    /// Check the connection to the output.
    TestOutput,
    /// Print the merged configuration.
    ExportConfig(ConfigFlags),
    /// Print the index template.
    ExportTemplate(TemplateFlags),
    /// Print the index lifecycle policy.
    ExportIlmPolicy(PolicyFlags),
    /// Prepare the output for the first events.
    Setup(SetupFlags),
    /// Print the version.
    Version,
}

/// Why there is no command to execute: help was requested, or the command line is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The help text or the error message.
    pub text: String,
    /// Whether `text` is requested help. It then goes to stdout with exit code 0, otherwise to stderr with exit code 1.
    pub ok: bool,
}

impl Stop {
    /// Prints the text. Returns the exit code, 0 or 1.
    pub fn print(&self) -> ExitCode {
        // A write error is ignored, because there is no other place to report it.
        if self.ok {
            let _ = writeln!(std::io::stdout(), "{}", self.text.trim_end());
            ExitCode::SUCCESS
        } else {
            let _ = writeln!(std::io::stderr(), "{}", self.text.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Flags of every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "For all commands")]
struct GlobalFlags {
    /// Configuration file; can be repeated, and later files override earlier ones. A relative name is searched in
    /// path.config
    #[arg(short = 'c', alias = "c", value_name = "FILE", action = ArgAction::Append)]
    files: Vec<PathBuf>,
    /// Override a setting; can be repeated. The key is dotted; the value is a word, a [list] or a {map}
    #[arg(short = 'E', alias = "E", value_name = "KEY=VALUE", action = ArgAction::Append)]
    settings: Vec<String>,
    /// Log to stderr and to no file
    #[arg(short = 'e', alias = "e", action = ArgAction::Count)]
    stderr: u8,
    /// Log from level info on
    #[arg(short = 'v', alias = "v", action = ArgAction::Count)]
    verbose: u8,
    /// Log from level debug on, for these selectors ("*" for all)
    #[arg(short = 'd', alias = "d", value_name = "SELECTORS", value_delimiter = ',', action = ArgAction::Append)]
    debug: Vec<String>,
    /// What starts the program; determines where the log goes by default
    #[arg(long, value_enum)]
    environment: Option<Environment>,
    /// Home directory [default: the directory of the program]
    #[arg(long = "path.home", value_name = "DIR")]
    home: Option<PathBuf>,
    /// Directory of configuration files [default: path.home]
    #[arg(long = "path.config", value_name = "DIR")]
    config: Option<PathBuf>,
    /// Directory of data that is kept between runs [default: path.home/data]
    #[arg(long = "path.data", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Directory of log files [default: path.home/logs]
    #[arg(long = "path.logs", value_name = "DIR")]
    logs: Option<PathBuf>,
    /// Refuse configuration files that other users can write [default: true]
    #[arg(long = "strict.perms", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    strict_perms: Option<bool>,
}

impl GlobalFlags {
    /// Merges flags given before the command with those given after it. A single value after the command overrides the
    /// one before it; lists are joined.
    fn then(self, inner: Self) -> Self {
        let chain = |mut a: Vec<_>, b| {
            a.extend(b);
            a
        };
        let mut files = self.files;
        files.extend(inner.files);
        Self {
            files,
            settings: chain(self.settings, inner.settings),
            stderr: self.stderr.saturating_add(inner.stderr),
            verbose: self.verbose.saturating_add(inner.verbose),
            debug: chain(self.debug, inner.debug),
            environment: inner.environment.or(self.environment),
            home: inner.home.or(self.home),
            config: inner.config.or(self.config),
            data: inner.data.or(self.data),
            logs: inner.logs.or(self.logs),
            strict_perms: inner.strict_perms.or(self.strict_perms),
        }
    }
}

/// Flags of `run`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFlags {
    /// Read a capture file (pcap, pcapng) instead of a device
    #[arg(short = 'I', alias = "I", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Read the file as fast as possible and keep its timestamps; without -t, packets are replayed at their original
    /// pace with the current time
    #[arg(short = 't', alias = "t")]
    pub top_speed: bool,
    /// Read the file N times; 0 means forever [default: 1]
    #[arg(short = 'l', alias = "l", value_name = "N")]
    pub loops: Option<u64>,
    /// Read one packet of the file each time Enter is pressed
    #[arg(short = 'O', alias = "O")]
    pub one_at_a_time: bool,
    /// Write all captured packets to PREFIX-YYYYmmddHHMMSS.pcap
    #[arg(long, value_name = "PREFIX")]
    pub dump: Option<PathBuf>,
    /// Publish nothing
    #[arg(short = 'N', alias = "N")]
    pub no_publish: bool,
    #[arg(long, value_name = "FILE", hide = true)]
    cpuprofile: Option<OsString>,
    #[arg(long, value_name = "FILE", hide = true)]
    memprofile: Option<OsString>,
    #[arg(long, value_name = "ADDRESS", hide = true)]
    httpprof: Option<OsString>,
}

impl RunFlags {
    fn then(self, inner: Self) -> Self {
        Self {
            file: inner.file.or(self.file),
            top_speed: self.top_speed | inner.top_speed,
            loops: inner.loops.or(self.loops),
            one_at_a_time: self.one_at_a_time | inner.one_at_a_time,
            dump: inner.dump.or(self.dump),
            no_publish: self.no_publish | inner.no_publish,
            cpuprofile: inner.cpuprofile.or(self.cpuprofile),
            memprofile: inner.memprofile.or(self.memprofile),
            httpprof: inner.httpprof.or(self.httpprof),
        }
    }

    /// Flags of Go's profilers. They are accepted only to be refused with a reason.
    fn refused(&self) -> Result<(), Stop> {
        let asked = [("cpuprofile", &self.cpuprofile), ("memprofile", &self.memprofile), ("httpprof", &self.httpprof)];
        match asked.iter().find(|(_, value)| value.is_some()) {
            Some((flag, _)) => Err(Stop {
                text: format!(
                    "Exiting: --{flag} asks for a profile of Go's runtime, which this program does not have; \
                     `perf record -g -p PID` shows where its time goes, `heaptrack -p PID` its memory"
                ),
                ok: false,
            }),
            None => Ok(()),
        }
    }
}

/// Flags of `watch`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchFlags {
    /// The device to watch [default: any]
    #[arg(short = 'i', value_name = "DEVICE", conflicts_with = "file")]
    pub device: Option<String>,
    /// Read a capture file instead of a device
    #[arg(short = 'r', value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Print complete documents, one per line
    #[arg(long)]
    pub json: bool,
}

/// Flags of `export config`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFlags {
    /// Print passwords, API keys and tokens instead of ***
    #[arg(long)]
    pub show_secrets: bool,
}

/// Flags of `export template`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateFlags {
    /// Make the template for this version of Elasticsearch
    #[arg(long = "es.version", value_name = "VERSION")]
    pub es_version: Option<String>,
    /// Make the template without the lifecycle policy
    #[arg(long)]
    pub noilm: bool,
    /// Write to this directory instead of stdout
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Flags of `export ilm-policy`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyFlags {
    /// Make the policy for this version of Elasticsearch
    #[arg(long = "es.version", value_name = "VERSION")]
    pub es_version: Option<String>,
    /// Write to this directory instead of stdout
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Flags of `setup`; without any, everything is set up.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct SetupFlags {
    /// Set up the index template, data stream and lifecycle policy
    #[arg(long)]
    pub index_management: bool,
    /// Set up Kibana's dashboards
    #[arg(long)]
    pub dashboards: bool,
    /// Set up ingest pipelines
    #[arg(long)]
    pub pipelines: bool,
    /// Accepted without effect: there are no filesets
    #[arg(long)]
    pub enable_all_filesets: bool,
    /// Accepted without effect: there are no filesets
    #[arg(long)]
    pub force_enable_module_filesets: bool,
}

/// Captures network traffic and reports each application transaction; a drop-in replacement for Packetbeat.
#[derive(Parser)]
#[command(name = "sniffer", disable_version_flag = true)]
struct Root {
    #[command(flatten)]
    common: GlobalFlags,
    #[command(flatten)]
    run: RunFlags,
    #[command(subcommand)]
    command: Option<Sub>,
}

#[derive(Subcommand)]
enum Sub {
    /// Capture and report (the default)
    Run {
        #[command(flatten)]
        run: RunFlags,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// Show the transactions in live traffic, one per line; needs no configuration
    Watch {
        #[command(flatten)]
        watch: WatchFlags,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// List the devices on which packets can be captured
    Devices(GlobalFlags),
    /// Check the configuration, or the connection to the output
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Test {
        #[command(flatten)]
        common: GlobalFlags,
        #[command(subcommand)]
        what: Test,
    },
    /// Print the configuration, the index template or the lifecycle policy
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Export {
        #[command(flatten)]
        common: GlobalFlags,
        #[command(subcommand)]
        what: Export,
    },
    /// Set up Elasticsearch before the first events
    Setup {
        #[command(flatten)]
        setup: SetupFlags,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// Print the version of this program and that of the Packetbeat it replaces
    Version(GlobalFlags),
}

#[derive(Subcommand)]
enum Test {
    /// Check the configuration, and print the capture filter
    Config(GlobalFlags),
    /// Check the connection to the output
    Output(GlobalFlags),
}

#[derive(Subcommand)]
enum Export {
    /// Print the merged configuration; secrets are shown as ***
    Config {
        #[command(flatten)]
        config: ConfigFlags,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// Print the index template
    Template {
        #[command(flatten)]
        template: TemplateFlags,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// Print the index lifecycle policy
    IlmPolicy {
        #[command(flatten)]
        policy: PolicyFlags,
        #[command(flatten)]
        common: GlobalFlags,
    },
}

/// Parses the command line; the first of `args` is the program's name.
///
/// # Errors
/// The help text if it was requested, otherwise the error in the arguments.
pub fn parse<I, T>(args: I) -> Result<Invocation, Stop>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let root = Root::try_parse_from(args).map_err(|e| stop(&e))?;
    let outer = root.run;
    // Flags of `run` before another command are an error, because they would have no effect.
    let only_run = |command: Command| {
        if outer == RunFlags::default() {
            Ok(command)
        } else {
            Err(Stop { text: format!("Error: -I, -t, -l, -O, -N and --dump are flags of run\n\n{}", usage()), ok: false })
        }
    };
    let (common, command) = match root.command {
        None => (GlobalFlags::default(), Command::Run(outer)),
        Some(Sub::Run { run, common }) => (common, Command::Run(outer.then(run))),
        Some(Sub::Watch { watch, common }) => (common, only_run(Command::Watch(watch))?),
        Some(Sub::Devices(common)) => (common, only_run(Command::Devices)?),
        Some(Sub::Test { common, what: Test::Config(inner) }) => (common.then(inner), only_run(Command::TestConfig)?),
        Some(Sub::Test { common, what: Test::Output(inner) }) => (common.then(inner), only_run(Command::TestOutput)?),
        Some(Sub::Export { common, what }) => match what {
            Export::Config { config, common: inner } => (common.then(inner), only_run(Command::ExportConfig(config))?),
            Export::Template { template, common: inner } => (common.then(inner), only_run(Command::ExportTemplate(template))?),
            Export::IlmPolicy { policy, common: inner } => (common.then(inner), only_run(Command::ExportIlmPolicy(policy))?),
        },
        Some(Sub::Setup { setup, common }) => (common, only_run(Command::Setup(setup))?),
        Some(Sub::Version(common)) => (common, only_run(Command::Version)?),
    };
    if let Command::Run(run) = &command {
        run.refused()?;
    }
    let all = root.common.then(common);
    Ok(Invocation {
        load: LoadOptions {
            files: all.files,
            settings: all.settings,
            home: all.home,
            config: all.config,
            data: all.data,
            logs: all.logs,
            strict_perms: all.strict_perms.unwrap_or(true),
        },
        log: LogFlags {
            stderr: all.stderr > 0,
            verbose: all.verbose > 0,
            debug: all.debug,
            environment: all.environment.unwrap_or_default(),
        },
        command,
    })
}

fn usage() -> String {
    Root::command().render_usage().to_string()
}

/// Chooses the text of an error: Packetbeat's wording for errors that Packetbeat reports too, clap's wording for all others. The exit
/// code is 1, not clap's 2.
fn stop(error: &clap::Error) -> Stop {
    let rendered = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::DisplayVersion) {
        return Stop { text: rendered, ok: true };
    }
    let (first, rest) = rendered.split_once('\n').unwrap_or((&rendered, ""));
    let what = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let first = match error.kind() {
        ErrorKind::UnknownArgument => format!("unknown flag: {}", what(ContextKind::InvalidArg)),
        ErrorKind::InvalidSubcommand => format!("unknown command \"{}\" for \"sniffer\"", what(ContextKind::InvalidSubcommand)),
        _ => first.strip_prefix("error: ").unwrap_or(first).to_owned(),
    };
    let mut text = format!("Error: {first}\n{}", rest.trim_end());
    if !text.contains("Usage:") {
        text = format!("{text}\n\n{}", usage());
    }
    Stop { text, ok: false }
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;

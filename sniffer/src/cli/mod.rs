//! The command line: Packetbeat's commands and flags, and those that Packetbeat does not have (`watch`). This module only
//! parses the command line; `app` executes the commands.

mod flags;
pub mod manual;
mod old_forms;
mod wrong;

use crate::config::LoadOptions;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};
pub use flags::{
    Color, ConfigFlags, DashboardFlags, DoctorFlags, Keystore, ManPagesFlags, MigrateFlags, PatternFlags, PolicyFlags, RunFlags,
    SetupFlags, SourceFlags, TemplateFlags, TopFlags, WatchFlags, WebFlags,
};
use std::{ffi::OsString, io::Write, path::PathBuf, process::ExitCode};

/// A parsed command line.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Where to find the configuration.
    pub load: LoadOptions,
    /// Flags about the log.
    pub log: LogFlags,
    /// The subcommand with its own flags.
    pub command: Command,
}

/// The flags that determine where the log goes and what it contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFlags {
    /// `-e`: log to stderr and to no file.
    pub stderr: bool,
    /// `-v`: log from level info on.
    pub verbose: bool,
    /// `-d a,b`: log level debug for these selectors; `*` selects all.
    pub debug: Vec<String>,
    /// `--environment`: the environment that starts the program.
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
    /// Show screens about live traffic or a capture file.
    Top(TopFlags),
    /// Serve the page about live traffic or a capture file.
    Web(WebFlags),
    /// List the devices that packets can be captured on.
    Devices,
    /// Say what works on this system, and how to mend what does not.
    Doctor(DoctorFlags),
    /// Make a configuration of this program from one of Packetbeat.
    Migrate(MigrateFlags),
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
    /// Print Kibana's index pattern.
    ExportIndexPattern(PatternFlags),
    /// Write dashboards of Kibana to files, or print those of this program.
    ExportDashboard(DashboardFlags),
    /// Print the completions of a shell.
    ExportCompletions(clap_complete::Shell),
    /// Write the man pages.
    ExportManPages(ManPagesFlags),
    /// Print a configuration with every option.
    ExportReference,
    /// Prepare Elasticsearch and Kibana.
    Setup(SetupFlags),
    /// Change the keystore.
    Keystore(Keystore),
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
    /// Show services, operations and their latencies on screens, live or from a capture file; needs no configuration
    Top {
        #[command(flatten)]
        top: TopFlags,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// Serve a page for the browser about live traffic or a capture file; needs no configuration
    Web {
        #[command(flatten)]
        web: WebFlags,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// List the devices on which packets can be captured
    Devices(GlobalFlags),
    /// Say which ways of capturing work here, and what to do about those that do not; exit code 0 if packets can be
    /// captured on the configured interfaces, else 1
    Doctor {
        #[command(flatten)]
        doctor: DoctorFlags,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// Make a configuration of this program from one of Packetbeat, and say what will be different
    Migrate {
        #[command(flatten)]
        migrate: MigrateFlags,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// Check the configuration, or the connection to the output
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Test {
        #[command(flatten)]
        common: GlobalFlags,
        #[command(subcommand)]
        what: Test,
    },
    /// Print the configuration, all options, what is set up in Elasticsearch and Kibana, completions or man pages
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Export {
        #[command(flatten)]
        common: GlobalFlags,
        #[command(subcommand)]
        what: Export,
    },
    /// Set up Elasticsearch and Kibana before the first events
    Setup {
        #[command(flatten)]
        setup: SetupFlags,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// Keep passwords and other secrets outside the configuration file, which uses them as ${NAME}
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Keystore {
        #[command(flatten)]
        common: GlobalFlags,
        #[command(subcommand)]
        what: Secrets,
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
    /// Print Kibana's index pattern
    IndexPattern {
        #[command(flatten)]
        pattern: PatternFlags,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// Write dashboards of Kibana to files
    Dashboard {
        #[command(flatten)]
        dashboard: DashboardFlags,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// Write the man pages of this program
    ManPages {
        #[command(flatten)]
        pages: ManPagesFlags,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// Print a configuration with every option, its default and its meaning, as comments
    Reference(GlobalFlags),
}

/// The commands of `keystore`.
#[derive(Subcommand)]
enum Secrets {
    /// Make a keystore without secrets
    Create {
        /// Replace the keystore that exists
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// Add a secret; asks for it on the terminal
    Add {
        /// The name of the secret, as in ${NAME}
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Read the secret from standard input
        #[arg(long)]
        stdin: bool,
        /// Replace the secret that exists
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        common: GlobalFlags,
    },
    /// List the names of the secrets
    List(GlobalFlags),
    /// Remove secrets
    Remove {
        /// The names of the secrets
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        common: GlobalFlags,
    },
}

impl Secrets {
    fn split(self) -> (GlobalFlags, Keystore) {
        match self {
            Self::Create { force, common } => (common, Keystore::Create { force }),
            Self::Add { names, stdin, force, common } => (common, Keystore::Add { names, stdin, force }),
            Self::List(common) => (common, Keystore::List),
            Self::Remove { names, common } => (common, Keystore::Remove { names }),
        }
    }
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
    let root = Root::try_parse_from(old_forms::current(args.into_iter().map(Into::into))).map_err(|e| wrong::stop(&e))?;
    let outer = root.run;
    // Flags of `run` before another command are an error, because they would have no effect.
    let only_run = |command: Command| {
        if outer == RunFlags::default() {
            Ok(command)
        } else {
            Err(Stop { text: format!("Error: -I, -t, -l, -O, -N, --dump and --user are flags of run\n\n{}", usage()), ok: false })
        }
    };
    let (common, command) = match root.command {
        None => (GlobalFlags::default(), Command::Run(outer)),
        Some(Sub::Run { run, common }) => (common, Command::Run(outer.then(run))),
        Some(Sub::Watch { watch, common }) => (common, only_run(Command::Watch(watch))?),
        Some(Sub::Top { top, common }) => (common, only_run(Command::Top(top))?),
        Some(Sub::Web { web, common }) => (common, only_run(Command::Web(web))?),
        Some(Sub::Devices(common)) => (common, only_run(Command::Devices)?),
        Some(Sub::Doctor { doctor, common }) => (common, only_run(Command::Doctor(doctor))?),
        Some(Sub::Migrate { migrate, common }) => (common, only_run(Command::Migrate(migrate))?),
        Some(Sub::Test { common, what: Test::Config(inner) }) => (common.then(inner), only_run(Command::TestConfig)?),
        Some(Sub::Test { common, what: Test::Output(inner) }) => (common.then(inner), only_run(Command::TestOutput)?),
        Some(Sub::Export { common, what }) => match what {
            Export::Config { config, common: inner } => (common.then(inner), only_run(Command::ExportConfig(config))?),
            Export::Template { template, common: inner } => (common.then(inner), only_run(Command::ExportTemplate(template))?),
            Export::IlmPolicy { policy, common: inner } => (common.then(inner), only_run(Command::ExportIlmPolicy(policy))?),
            Export::IndexPattern { pattern, common: inner } => (common.then(inner), only_run(Command::ExportIndexPattern(pattern))?),
            Export::Dashboard { dashboard, common: inner } => (common.then(inner), only_run(Command::ExportDashboard(dashboard))?),
            Export::Completions { shell, common: inner } => (common.then(inner), only_run(Command::ExportCompletions(shell))?),
            Export::ManPages { pages, common: inner } => (common.then(inner), only_run(Command::ExportManPages(pages))?),
            Export::Reference(inner) => (common.then(inner), only_run(Command::ExportReference)?),
        },
        Some(Sub::Setup { setup, common }) => (common, only_run(Command::Setup(setup))?),
        Some(Sub::Keystore { common, what }) => {
            let (inner, what) = what.split();
            (common.then(inner), only_run(Command::Keystore(what))?)
        }
        Some(Sub::Version(common)) => (common, only_run(Command::Version)?),
    };
    if let Command::Run(run) = &command {
        run.refused()?;
    }
    let all = root.common.then(common);
    Ok(Invocation {
        load: LoadOptions {
            files: all.files,
            built_in: None,
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

#[cfg(test)]
mod tests;

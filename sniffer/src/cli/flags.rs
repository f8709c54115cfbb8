//! The flags of the commands.

use super::Stop;
use clap::{ArgAction, Args};
use std::{ffi::OsString, path::PathBuf};

/// Flags that only the command `run` has.
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
    /// Become this user before anything is opened, and keep only the capabilities that capture needs; for starts as root
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    #[arg(long, value_name = "FILE", hide = true)]
    cpuprofile: Option<OsString>,
    #[arg(long, value_name = "FILE", hide = true)]
    memprofile: Option<OsString>,
    #[arg(long, value_name = "ADDRESS", hide = true)]
    httpprof: Option<OsString>,
}

impl RunFlags {
    pub(super) fn then(self, inner: Self) -> Self {
        Self {
            file: inner.file.or(self.file),
            top_speed: self.top_speed | inner.top_speed,
            loops: inner.loops.or(self.loops),
            one_at_a_time: self.one_at_a_time | inner.one_at_a_time,
            dump: inner.dump.or(self.dump),
            no_publish: self.no_publish | inner.no_publish,
            user: inner.user.or(self.user),
            cpuprofile: inner.cpuprofile.or(self.cpuprofile),
            memprofile: inner.memprofile.or(self.memprofile),
            httpprof: inner.httpprof.or(self.httpprof),
        }
    }

    /// Refuses the flags of Go's profilers with a reason. The parser knows these flags only for this purpose.
    pub(super) fn refused(&self) -> Result<(), Stop> {
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

/// When lines have colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a view shows: the flags that `watch`, `top` and `web` share.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFlags {
    /// The device to show [default: any]
    #[arg(short = 'i', value_name = "DEVICE", conflicts_with = "file")]
    pub device: Option<String>,
    /// Read a capture file, or documents that output.file wrote, instead of a device; - is standard input
    #[arg(short = 'r', value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Read a port for a protocol besides its usual ports; can be repeated. `any`: recognise all protocols on all ports
    #[arg(short = 'p', value_name = "PORT=PROTOCOL", action = ArgAction::Append)]
    pub ports: Vec<String>,
    /// What to show: protocols (http dns), `port 8123`, `host 10.1.2.3`, `net 10.0.0.0/8`, status=error, code>=500,
    /// slow>100ms, bytes>1M, path=/pay*, "a text", ~REGEX, and, or, not, brackets; or the device
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
    /// A filter of libpcap: only packets that match are captured
    #[arg(last = true, value_name = "PCAP FILTER")]
    pub expression: Vec<String>,
}

/// Flags of `watch`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchFlags {
    /// What is shown.
    #[command(flatten)]
    pub source: SourceFlags,
    /// Print complete documents, one per line
    #[arg(long)]
    pub json: bool,
    /// Become this user before anything is opened; for starts as root
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// When to use colours; `auto`: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub color: Color,
}

/// Flags of `doctor`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct DoctorFlags {
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `migrate`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrateFlags {
    /// Packetbeat's configuration file
    #[arg(value_name = "FILE", default_value = "/etc/packetbeat/packetbeat.yml")]
    pub file: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "/etc/sniffer/sniffer.yml")]
    pub output: PathBuf,
    /// Replace files that exist
    #[arg(long)]
    pub force: bool,
    /// Give the index, the template and the data path names of their own, so that both programs can run at the same
    /// time
    #[arg(long)]
    pub beside: bool,
}

/// Flags of `top`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct TopFlags {
    /// What is shown; the words are the filter to begin with.
    #[command(flatten)]
    pub source: SourceFlags,
    /// Print one table after this time and end, without screens: 30s, 5m
    #[arg(long = "for", value_name = "TIME")]
    pub time: Option<String>,
    /// Print the table as JSON
    #[arg(long)]
    pub json: bool,
    /// Print the services as comma-separated values
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Print the table as Markdown
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    pub markdown: bool,
}

/// Flags of `web`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct WebFlags {
    /// What is shown; the words are the filter to begin with. After the end of a file the page stays.
    #[command(flatten)]
    pub source: SourceFlags,
    /// Where the page is served: HOST:PORT on loopback, or unix:///PATH [default: localhost:5067]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Print the link to the page of the running service (`web.enabled`) and end
    #[arg(long, conflicts_with_all = ["device", "file", "ports", "listen", "words", "expression"])]
    pub url: bool,
    /// Become this user before anything is opened; for starts as root
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
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

/// Flags of `export index-pattern`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct PatternFlags {
    /// Accepted without effect: the index pattern is the same for every version
    #[arg(long = "es.version", value_name = "VERSION")]
    pub es_version: Option<String>,
}

/// Flags of `export dashboard`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct DashboardFlags {
    /// The identifier of the dashboard in Kibana
    #[arg(long, value_name = "ID", conflicts_with = "yml")]
    pub id: Option<String>,
    /// A file that lists dashboards: `dashboards: [{id: ID, file: NAME.json}]`
    #[arg(long, value_name = "FILE")]
    pub yml: Option<PathBuf>,
    /// The directory to write to
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Print the dashboards of this program as NDJSON, for the import page of Kibana or OpenSearch Dashboards; needs no
    /// Kibana
    #[arg(long, conflicts_with_all = ["id", "yml", "folder"])]
    pub built_in: bool,
}

/// Flags of `export man-pages`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ManPagesFlags {
    /// Write a file for each command to this directory; without it, the page of the program goes to stdout
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

/// The commands of `keystore`, with their flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keystore {
    /// Make a keystore without secrets.
    Create {
        /// Replace the keystore that exists, without a question.
        force: bool,
    },
    /// Add a secret.
    Add {
        /// The name of the secret. Several are an error.
        names: Vec<String>,
        /// Read the secret from standard input instead of the terminal.
        stdin: bool,
        /// Replace the secret that exists, without a question.
        force: bool,
    },
    /// List the names of the secrets.
    List,
    /// Remove secrets.
    Remove {
        /// The names of the secrets.
        names: Vec<String>,
    },
}

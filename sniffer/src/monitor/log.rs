//! The program's log: ECS JSON records, one per line, on standard error or in rotated files.
//! <https://www.elastic.co/docs/reference/ecs/logging/intro>
//!
//! The content of events is never logged.

use crate::{
    config::{self, Node},
    rotate::{self, Rotator},
};
use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// `service.name` of the records. The value is Packetbeat's name, so that pipelines which collect Packetbeat's log also work with this log.
const SERVICE: &str = "packetbeat";

/// The settings `logging`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    level: Threshold,
    selectors: Vec<String>,
    to_stderr: Option<bool>,
    to_files: Option<bool>,
    files: Files,
    metrics: super::ReportOptions,
}

impl Default for Options {
    fn default() -> Self {
        let (level, files, metrics) = (Threshold::Info, Files::default(), super::ReportOptions::default());
        Self { level, selectors: Vec::new(), to_stderr: None, to_files: None, files, metrics }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threshold {
    Debug,
    Info,
    Warning,
    Error,
}

impl<'de> Deserialize<'de> for Threshold {
    /// The level may be in upper or lower case, as in Packetbeat.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.to_lowercase().as_str() {
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" | "warning" => Ok(Self::Warning),
            "error" | "critical" => Ok(Self::Error),
            _ => {
                Err(serde::de::Error::custom(format_args!("expected one of `debug`, `info`, `warning`, `error`, `critical`, got `{text}`")))
            }
        }
    }
}

/// The settings `logging.files`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Files {
    path: Option<PathBuf>,
    name: String,
    #[serde(deserialize_with = "config::bytes::deserialize")]
    rotateeverybytes: u64,
    keepfiles: usize,
    #[serde(deserialize_with = "bits")]
    permissions: u32,
    #[serde(deserialize_with = "config::duration::deserialize")]
    interval: Duration,
    rotateonstartup: bool,
}

impl Default for Files {
    fn default() -> Self {
        let (path, name, rotateeverybytes, keepfiles) = (None, SERVICE.into(), 10 << 20, 7);
        Self { path, name, rotateeverybytes, keepfiles, permissions: 0o600, interval: Duration::ZERO, rotateonstartup: true }
    }
}

fn bits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let text = String::deserialize(deserializer)?;
    rotate::permissions(&text).ok_or_else(|| serde::de::Error::custom("expected permission bits such as 0600"))
}

/// The command-line flags about the log. They override the configuration.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// `-e`: log to standard error, even if the configuration names another destination.
    pub stderr: bool,
    /// Whether standard error is the default destination, because the environment (`systemd`, `container`) collects it.
    pub stderr_by_default: bool,
    /// `-v`
    pub verbose: bool,
    /// `-d`: selectors. If not empty, the level is debug.
    pub debug: Vec<String>,
    /// `path.logs`
    pub folder: PathBuf,
}

/// The logger. Clones are cheap and write to the same place.
#[derive(Clone)]
pub struct Logger(Arc<Inner>);

struct Inner {
    level: LevelFilter,
    /// The selectors whose debug records are written. If the list is empty or contains `*`, all debug records are written.
    selectors: Vec<String>,
    to: Mutex<To>,
    metrics: super::ReportOptions,
}

enum To {
    Stderr,
    Files(Rotator),
    Nowhere,
    #[cfg(test)]
    Memory(Vec<u8>),
}

impl Logger {
    /// Opens the log as the settings and the command line describe it. `logging`: the node of the settings `logging`.
    ///
    /// # Errors
    /// When a value is invalid.
    pub fn open(logging: &Node, line: &CommandLine) -> Result<Self, config::Error> {
        let options: Options = logging.read()?;
        if !(2..=1024).contains(&options.files.keepfiles) {
            let node = logging.get("files.keepfiles");
            return Err(node.error(format!("{} is not between 2 and 1024", options.files.keepfiles)));
        }
        rotate::check_name(&options.files.name).map_err(|why| logging.get("files.name").error(why))?;
        let mut selectors = options.selectors;
        selectors.extend(line.debug.iter().cloned());
        let level = match options.level {
            _ if !line.debug.is_empty() => LevelFilter::Debug,
            Threshold::Debug => LevelFilter::Debug,
            Threshold::Warning | Threshold::Error if line.verbose => LevelFilter::Info,
            Threshold::Info => LevelFilter::Info,
            Threshold::Warning => LevelFilter::Warn,
            Threshold::Error => LevelFilter::Error,
        };
        let asked_for_files = options.to_files == Some(true);
        let to = if line.stderr || options.to_stderr == Some(true) || line.stderr_by_default && !asked_for_files {
            To::Stderr
        } else if options.to_files != Some(false) {
            To::Files(Rotator::new(rotate::Options {
                folder: options.files.path.unwrap_or_else(|| line.folder.clone()),
                name: options.files.name,
                max_bytes: options.files.rotateeverybytes.max(1),
                keep: options.files.keepfiles,
                permissions: options.files.permissions,
                on_startup: options.files.rotateonstartup,
                interval: options.files.interval,
            }))
        } else {
            To::Nowhere
        };
        Ok(Self(Arc::new(Inner { level, selectors, to: Mutex::new(to), metrics: options.metrics })))
    }

    /// Makes this the logger of the whole program (`log::set_boxed_logger`).
    ///
    /// # Errors
    /// When a logger is already set.
    pub fn install(&self) -> Result<(), SetLoggerError> {
        log::set_boxed_logger(Box::new(self.clone()))?;
        log::set_max_level(self.0.level);
        Ok(())
    }

    /// The settings `logging.metrics`.
    pub fn metrics(&self) -> super::ReportOptions {
        self.0.metrics.clone()
    }

    /// Writes one record with additional fields.
    pub fn write(&self, level: Level, logger: &str, message: &str, more: Option<&Map<String, Value>>) {
        if level <= self.0.level {
            self.put(&Line { level, logger, message, origin: None, more });
        }
    }

    fn put(&self, line: &Line<'_>) {
        let mut text = line.text();
        text.push('\n');
        let mut to = self.0.to.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match &mut *to {
            To::Stderr => io::stderr().lock().write_all(text.as_bytes()),
            To::Files(rotator) => rotator.write(text.as_bytes()),
            To::Nowhere => Ok(()),
            #[cfg(test)]
            To::Memory(all) => all.write_all(text.as_bytes()),
        };
        if written.is_err() && matches!(*to, To::Files(_)) {
            // If the log cannot be written, the record goes to standard error. If that also fails, the record is lost.
            let _ = io::stderr().lock().write_all(text.as_bytes());
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let (own, name) = name(metadata.target());
        if metadata.level() > self.0.level {
            return false;
        }
        if metadata.level() <= Level::Warn {
            return true;
        }
        let everybody = self.0.selectors.iter().any(|selector| selector == "*");
        // Debug records of libraries are written only with `-d '*'`.
        if metadata.level() >= Level::Debug {
            return everybody
                || own
                    && (self.0.selectors.is_empty() || self.0.selectors.iter().any(|s| name == *s || name.starts_with(&format!("{s}."))));
        }
        own || everybody
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let (_, logger) = name(record.target());
            let origin = record.file().zip(record.line());
            self.put(&Line { level: record.level(), logger: &logger, message: &record.args().to_string(), origin, more: None });
        }
    }

    fn flush(&self) {}
}

/// Returns whether the record comes from this crate (not from a dependency), and the value of `log.logger`: the module path without the
/// name of the crate.
fn name(target: &str) -> (bool, String) {
    let own = target == "sniffer" || target.starts_with("sniffer::") || !target.contains("::") && target == "monitoring";
    let rest = target.strip_prefix("sniffer::").unwrap_or(target);
    (own, rest.replace("::", "."))
}

struct Line<'a> {
    level: Level,
    logger: &'a str,
    message: &'a str,
    origin: Option<(&'a str, u32)>,
    more: Option<&'a Map<String, Value>>,
}

impl Line<'_> {
    fn text(&self) -> String {
        let level = match self.level {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug | Level::Trace => "debug",
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = crate::time::Timestamp(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
        // Level and time come first, because people also read these records.
        let mut text = format!(r#"{{"log.level":"{level}","@timestamp":"{}","log.logger":{}"#, time.text(3).as_str(), json!(self.logger));
        if let Some((file, line)) = self.origin {
            let file = file.rsplit_once("src/").map_or(file, |(_, name)| name);
            text.push_str(&format!(r#","log.origin":{{"file.name":{},"file.line":{line}}}"#, json!(file)));
        }
        text.push_str(&format!(r#","message":{},"service.name":"{SERVICE}""#, json!(self.message)));
        for (key, value) in self.more.into_iter().flatten() {
            text.push_str(&format!(",{}:{value}", json!(key)));
        }
        text.push_str(r#","ecs.version":"1.6.0"}"#);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logger(config: &str, line: &CommandLine) -> Logger {
        let logger = Logger::open(&Node::parse(config).unwrap(), line).unwrap();
        *logger.0.to.lock().unwrap() = To::Memory(Vec::new());
        logger
    }

    fn lines(logger: &Logger) -> Vec<Value> {
        let to = logger.0.to.lock().unwrap();
        let To::Memory(text) = &*to else { panic!("not in memory") };
        String::from_utf8(text.clone()).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn say(logger: &Logger, level: Level, target: &str) {
        logger.log(
            &Record::builder()
                .level(level)
                .target(target)
                .file(Some("sniffer/src/output/x.rs"))
                .line(Some(7))
                .args(format_args!("say \"it\"\n"))
                .build(),
        );
    }

    #[test]
    fn the_form_of_a_record() {
        let logger = logger("{}", &CommandLine::default());
        say(&logger, Level::Warn, "sniffer::output::drive");
        logger.write(Level::Info, "monitoring", "m", json!({"monitoring": {"metrics": {"a": 1}}}).as_object());
        let lines = lines(&logger);
        let [first, second] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(first["log.level"], "warn");
        assert_eq!(first["log.logger"], "output.drive");
        assert_eq!(first["log.origin"], json!({"file.name": "output/x.rs", "file.line": 7}));
        assert_eq!(first["message"], "say \"it\"\n");
        assert_eq!(first["service.name"], "packetbeat");
        assert_eq!(first["ecs.version"], "1.6.0");
        assert!(first["@timestamp"].as_str().unwrap().ends_with('Z'));
        assert_eq!(second["monitoring"]["metrics"]["a"], 1);
    }

    #[test]
    fn levels_and_selectors() {
        let ours = "sniffer::output";
        for (config, debug, target, level, heard) in [
            ("{}", "", ours, Level::Info, true),
            ("{}", "", ours, Level::Debug, false),
            ("{}", "", "hyper::client", Level::Info, false),
            ("{}", "", "hyper::client", Level::Warn, true),
            ("{level: warning}", "", ours, Level::Info, false),
            ("{level: debug}", "", ours, Level::Debug, true),
            ("{level: debug}", "", "hyper::client", Level::Debug, false),
            ("{level: error}", "output", "sniffer::output::drive", Level::Debug, true),
            ("{level: error}", "capture", "sniffer::output::drive", Level::Debug, false),
            ("{level: error}", "*", "hyper::client", Level::Debug, true),
            ("{level: debug, selectors: [capture]}", "", ours, Level::Debug, false),
        ] {
            let debug = debug.split(',').filter(|s| !s.is_empty()).map(Into::into).collect();
            let logger = logger(config, &CommandLine { debug, ..CommandLine::default() });
            say(&logger, level, target);
            assert_eq!(lines(&logger).len() == 1, heard, "{config} {target} {level}");
        }
    }

    #[test]
    fn records_are_written_to_files() {
        let folder = std::env::temp_dir().join(format!("sniffer-log-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let line = CommandLine { folder: folder.clone(), ..CommandLine::default() };
        let logger =
            Logger::open(&Node::parse("{files: {rotateeverybytes: 400, keepfiles: 2, permissions: 0640}}").unwrap(), &line).unwrap();
        for _ in 0..9 {
            say(&logger, Level::Info, "sniffer::app");
        }
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(files.len(), 2, "{files:?}");
        for file in files {
            assert!(file.metadata().unwrap().len() <= 400);
            assert!(file.file_name().unwrap().to_str().unwrap().starts_with("packetbeat-20"));
        }
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn the_destination_of_the_log() {
        for (config, stderr, by_default, expected) in [
            ("{}", false, false, "files"),
            ("{}", false, true, "stderr"),
            ("{}", true, false, "stderr"),
            ("{to_files: true}", false, true, "files"),
            ("{to_files: true, to_stderr: false}", false, true, "files"),
            ("{to_files: true, to_stderr: false}", true, true, "stderr"),
            ("{to_stderr: false}", false, true, "stderr"),
            ("{to_stderr: true}", false, false, "stderr"),
            ("{to_files: false}", false, false, "nowhere"),
            ("{to_stderr: '', to_files: ''}", false, false, "files"),
        ] {
            let line = CommandLine { stderr, stderr_by_default: by_default, ..CommandLine::default() };
            let logger = Logger::open(&Node::parse(config).unwrap(), &line).unwrap();
            let to = match &*logger.0.to.lock().unwrap() {
                To::Stderr => "stderr",
                To::Files(_) => "files",
                To::Nowhere => "nowhere",
                To::Memory(_) => "memory",
            };
            assert_eq!(to, expected, "{config} -e {stderr} by default {by_default}");
        }
    }

    #[test]
    fn levels_in_capitals() {
        for (level, expected) in [
            ("INFO", LevelFilter::Info),
            ("Warning", LevelFilter::Warn),
            ("warn", LevelFilter::Warn),
            ("DEBUG", LevelFilter::Debug),
            ("critical", LevelFilter::Error),
            ("''", LevelFilter::Info),
        ] {
            assert_eq!(logger(&format!("{{level: {level}}}"), &CommandLine::default()).0.level, expected, "{level}");
        }
    }

    #[test]
    fn wrong_settings() {
        let wrong = |config: &str| Logger::open(&Node::parse(config).unwrap(), &CommandLine::default()).map(drop).unwrap_err().to_string();
        assert!(wrong("{level: loud}").contains("warning"), "{}", wrong("{level: loud}"));
        assert!(wrong("{files: {keepfiles: 1}}").contains("files.keepfiles: 1 is not between"));
        assert!(wrong("{files: {name: a/b}}").contains("name: 'a/b' contains '/'"), "{}", wrong("{files: {name: a/b}}"));
    }
}

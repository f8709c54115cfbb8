//! The program's log: ECS JSON records, one per line, on standard error or in rotated files.
//! <https://www.elastic.co/docs/reference/ecs/logging/intro>
//!
//! The content of events is never in this log. Events that are dropped are written, with their content, to a log of their own
//! ([`EVENT_DATA`], `logging.event_data`).

mod destination;
mod options;

use crate::config::{self, Node};
use destination::To;
use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};
use options::{Options, SERVICE, Threshold};
use serde_json::{Map, Value, json};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// The target of log records about dropped events, with the content of the event: `log::warn!(target: EVENT_DATA, …)`.
pub const EVENT_DATA: &str = "event_data";

/// The command-line flags about the log. They override the configuration.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// `-e`: log to standard error, even if the configuration names another destination.
    pub stderr: bool,
    /// Whether standard error is the default destination, because the environment (`systemd`, `container`) collects it.
    pub stderr_by_default: bool,
    /// Whether records are lines for a person (`warning: …`) instead of JSON, for commands whose output a person reads.
    pub plain: bool,
    /// Text before each record. It clears the line of a terminal that has a status line.
    pub before: &'static str,
    /// The flag `-v`: log from level info on.
    pub verbose: bool,
    /// `-d`: selectors. If not empty, the level is debug.
    pub debug: Vec<String>,
    /// The setting `path.logs`: the directory of log files.
    pub folder: PathBuf,
}

/// The logger. Clones are cheap and write to the same place.
#[derive(Clone)]
pub struct Logger(Arc<Inner>);

struct Inner {
    level: LevelFilter,
    plain: bool,
    before: &'static str,
    /// The selectors whose debug records are written. If the list is empty or contains `*`, all debug records are written.
    selectors: Vec<String>,
    to: Mutex<To>,
    /// The destination of records with the target [`EVENT_DATA`].
    event_data: Mutex<To>,
    metrics: super::ReportOptions,
}

impl Logger {
    /// Opens the log as the settings and the command line describe it. `logging`: the node of the settings `logging`.
    ///
    /// # Errors
    /// When a value is invalid.
    pub fn open(logging: &Node, line: &CommandLine) -> Result<Self, config::Error> {
        let options = Options::read(logging)?;
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
        let asked = options.to_files == Some(true) || options.to_syslog == Some(true);
        let to = if line.stderr || options.to_stderr == Some(true) || line.stderr_by_default && !asked {
            To::Stderr
        } else if options.to_syslog == Some(true) {
            To::syslog()
        } else if options.to_files != Some(false) {
            options.files.destination(&line.folder)
        } else {
            To::Nowhere
        };
        let event_data = Mutex::new(options.event_data.destination(&line.folder));
        let (plain, before, to) = (line.plain, line.before, Mutex::new(to));
        Ok(Self(Arc::new(Inner { level, plain, before, selectors, to, event_data, metrics: options.metrics })))
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
        let mut text = if self.0.plain { line.plain() } else { line.text() };
        text.insert_str(0, self.0.before);
        text.push('\n');
        let to = if line.logger == EVENT_DATA { &self.0.event_data } else { &self.0.to };
        to.lock().unwrap_or_else(PoisonError::into_inner).write(line.level, &text);
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
            let kind = (logger == EVENT_DATA).then(|| Map::from_iter([("log.type".to_owned(), "event".into())]));
            self.put(&Line { level: record.level(), logger: &logger, message: &record.args().to_string(), origin, more: kind.as_ref() });
        }
    }

    fn flush(&self) {}
}

/// Returns whether the record comes from this crate (not from a dependency), and the value of `log.logger`: the module path without the
/// name of the crate.
fn name(target: &str) -> (bool, String) {
    let own = target == "sniffer"
        || target.starts_with("sniffer::")
        || !target.contains("::") && (target == "monitoring" || target == EVENT_DATA);
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
    /// The record as a line for a person.
    fn plain(&self) -> String {
        let level = if self.level == Level::Warn { "warning".to_owned() } else { self.level.to_string().to_lowercase() };
        format!("{level}: {}", self.message)
    }

    /// The record as JSON.
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

    fn name_of(to: &Mutex<To>) -> &'static str {
        match &*to.lock().unwrap() {
            To::Stderr => "stderr",
            To::Files(_) => "files",
            To::Syslog(_) => "syslog",
            To::Nowhere => "nowhere",
            To::Memory(_) => "memory",
        }
    }

    #[test]
    fn dropped_events_have_a_log_of_their_own() {
        for (config, expected) in [
            ("{}", "files"),
            ("{to_stderr: true}", "files"),
            ("{event_data.to_stderr: true}", "stderr"),
            ("{event_data: {to_syslog: true, to_files: true}}", "syslog"),
            ("{event_data.to_files: false}", "nowhere"),
        ] {
            let logger = Logger::open(&Node::parse(config).unwrap(), &CommandLine { stderr: true, ..CommandLine::default() }).unwrap();
            assert_eq!(name_of(&logger.0.event_data), expected, "{config}");
        }
        let folder = tempfile::tempdir().unwrap();
        let line = CommandLine { folder: folder.path().to_owned(), ..CommandLine::default() };
        let logger = Logger::open(&Node::parse("{level: warning, event_data.files.permissions: 0640}").unwrap(), &line).unwrap();
        *logger.0.to.lock().unwrap() = To::Memory(Vec::new());
        say(&logger, Level::Warn, EVENT_DATA);
        say(&logger, Level::Info, EVENT_DATA);
        assert_eq!(lines(&logger), Vec::<Value>::new(), "nothing in the other log");
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
        let [file] = files.as_slice() else { panic!("{files:?}") };
        assert!(file.file_name().unwrap().to_str().unwrap().starts_with("packetbeat-events-data-"), "{file:?}");
        let record: Value = serde_json::from_str(std::fs::read_to_string(file).unwrap().trim_end()).unwrap();
        assert_eq!((&record["log.type"], &record["message"]), (&json!("event"), &json!("say \"it\"\n")));
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
            ("{to_syslog: true}", false, true, "syslog"),
            ("{to_syslog: true, to_files: true}", false, false, "syslog"),
            ("{to_syslog: true, to_stderr: true}", false, false, "stderr"),
            ("{to_syslog: true}", true, false, "stderr"),
            ("{to_syslog: false}", false, false, "files"),
            ("{to_stderr: '', to_files: ''}", false, false, "files"),
        ] {
            let line = CommandLine { stderr, stderr_by_default: by_default, ..CommandLine::default() };
            let logger = Logger::open(&Node::parse(config).unwrap(), &line).unwrap();
            assert_eq!(name_of(&logger.0.to), expected, "{config} -e {stderr} by default {by_default}");
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
        assert!(wrong("{event_data.files.keepfiles: 1}").contains("event_data.files.keepfiles: 1 is not between"));
        assert!(wrong("{event_data.files.rotateeverybytes: many}").contains("event_data.files.rotateeverybytes: "));
        assert!(wrong("{files: {name: a/b}}").contains("name: 'a/b' contains '/'"), "{}", wrong("{files: {name: a/b}}"));
    }
}

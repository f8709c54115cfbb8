//! The settings `packetbeat.procs`.

use super::redact::Redactor;
use crate::config::{self, Node};
use serde::Deserialize;

/// `packetbeat.procs`, except for the settings that have no effect, also in Packetbeat (`max_proc_read_freq`, `refresh_pids_freq`).
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether documents name processes.
    pub enabled: bool,
    /// Names for processes, by their command lines.
    pub monitored: Vec<Monitored>,
    /// Replaces secrets in arguments.
    pub redactor: Redactor,
}

/// An entry of `monitored`: the name of processes whose command line contains a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Monitored {
    /// The name in documents.
    pub process: String,
    /// The text that the command line contains: the arguments with spaces between them. If it is empty: the name.
    pub cmdline_grep: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    enabled: bool,
    monitored: Vec<Monitored>,
    redact_args: Option<Vec<String>>,
}

impl Options {
    /// Reads `packetbeat.procs` in the whole configuration.
    ///
    /// # Errors
    /// When a value is wrong; names file, line and key.
    pub fn read(root: &Node) -> Result<Self, config::Error> {
        let node = root.get("packetbeat.procs");
        let Raw { enabled, mut monitored, redact_args } = node.read()?;
        for (index, entry) in monitored.iter_mut().enumerate() {
            if entry.process.is_empty() {
                let at = node.get("monitored").items().get(index).cloned().unwrap_or_else(|| node.get("monitored"));
                return Err(at.error("`process` is missing: the name in documents of processes whose command line contains `cmdline_grep`"));
            }
            if entry.cmdline_grep.is_empty() {
                entry.cmdline_grep.clone_from(&entry.process);
            }
        }
        let redactor = match redact_args {
            None => Redactor::Usual,
            Some(patterns) => Redactor::new(&patterns).map_err(|(index, error)| {
                let at = node.get("redact_args").items().get(index).cloned().unwrap_or_else(|| node.get("redact_args"));
                at.error(error.to_string())
            })?,
        };
        Ok(Self { enabled, monitored, redactor })
    }

    /// The name that `monitored` gives to a process with these arguments. The first entry that applies counts.
    pub fn name_of(&self, args: &[String]) -> Option<&str> {
        if self.monitored.is_empty() {
            return None;
        }
        let line = args.join(" ");
        self.monitored.iter().find(|entry| line.contains(&entry.cmdline_grep)).map(|entry| entry.process.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Options, String> {
        Options::read(&Node::parse(yaml).unwrap()).map_err(|error| error.to_string())
    }

    fn redacted(yaml: &str) -> String {
        let mut args = ["app", "--password=X", "--key=Y"].map(str::to_owned);
        read(yaml).unwrap().redactor.redact(&mut args);
        args.join(" ")
    }

    #[test]
    fn every_option_counts() {
        assert!(!read("{}").unwrap().enabled && !read("packetbeat.procs:").unwrap().enabled);
        assert!(read("packetbeat.procs.enabled: true").unwrap().enabled);
        let options = read(
            "packetbeat.procs: {monitored: [{process: web, cmdline_grep: nginx -g}, {process: mysqld}, {process: any, cmdline_grep: ' '}]}",
        )
        .unwrap();
        let name = |line: &str| options.name_of(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).map(str::to_owned);
        assert_eq!(name("nginx -g x").as_deref(), Some("web"));
        assert_eq!(name("/usr/sbin/mysqld --x").as_deref(), Some("mysqld"));
        assert_eq!(name("nginx x").as_deref(), Some("any"));
        assert_eq!(name("Nginx").as_deref(), None);
        assert_eq!(redacted("{}"), "app --password=xxxxx --key=Y");
        assert_eq!(redacted("packetbeat.procs.redact_args: [--key]"), "app --password=X --key=xxxxx");
        assert_eq!(redacted("packetbeat.procs.redact_args: []"), "app --password=X --key=Y");
    }

    #[test]
    fn wrong_values_are_refused() {
        for (yaml, error) in [
            ("packetbeat.procs:\n  enabled: maybe", "line 2: packetbeat.procs.enabled: expected `true` or `false`"),
            (
                "packetbeat.procs:\n  monitored:\n  - process: a\n  - cmdline_grep: b",
                "line 4: packetbeat.procs.monitored.1: `process` is missing",
            ),
            ("packetbeat.procs:\n  redact_args:\n  - a\n  - (", "line 4: packetbeat.procs.redact_args.1: regex parse error"),
        ] {
            let got = read(yaml).map(|_| ()).unwrap_err();
            assert!(got.starts_with(error), "{yaml}\nwant: {error}\ngot:  {got}");
        }
    }
}

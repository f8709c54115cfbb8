//! Settings that concern the whole program.

use super::{Error, Node, duration};
use serde::Deserialize;
use std::time::Duration;

/// The general settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct General {
    /// `name`: the value of `agent.name` and `host.name`. If it is not set, the host's name is used.
    pub name: Option<String>,
    /// `tags`: tags of every event.
    pub tags: Vec<String>,
    /// `fields`: fields of every event; dotted keys are already nested.
    pub fields: serde_json::Map<String, serde_json::Value>,
    /// Put `fields` at the top of the document instead of under `fields`.
    pub fields_under_root: bool,
    /// `max_procs`: number of cores to use; 0: all.
    pub max_procs: usize,
    /// `timestamp.precision`: the number of fractional digits of times in documents.
    pub precision: Precision,
    /// `packetbeat.ignore_outgoing`: drop events of requests that this host sends.
    pub ignore_outgoing: bool,
    /// `packetbeat.shutdown_timeout`: how long shutdown waits for queued events to be delivered.
    pub shutdown_timeout: Duration,
    /// `packetbeat.publish_timeout`: the longest time-out that expires at the end of a file, see
    /// [`crate::engine::Settings::publish_timeout`].
    pub publish_timeout: Duration,
    /// `packetbeat.compatibility`: how capture files are read.
    pub compatibility: Compatibility,
}

/// Number of digits of times in documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Three digits.
    #[default]
    Millisecond,
    /// Six digits.
    Microsecond,
    /// Nine digits.
    Nanosecond,
}

/// How capture files are read if the result of Packetbeat depends on the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compatibility {
    /// Gives the result that live capture of the same packets has. Timers run on packet time.
    #[default]
    Corrected,
    /// Gives the result that Packetbeat has.
    Strict,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Top {
    name: Option<String>,
    tags: Vec<String>,
    fields: serde_json::Map<String, serde_json::Value>,
    fields_under_root: bool,
    max_procs: usize,
    timestamp: Timestamp,
    packetbeat: Packetbeat,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Timestamp {
    precision: Precision,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Packetbeat {
    ignore_outgoing: bool,
    #[serde(with = "duration")]
    shutdown_timeout: Duration,
    #[serde(with = "duration")]
    publish_timeout: Duration,
    compatibility: Compatibility,
}

impl General {
    /// Reads the settings from the root of the configuration.
    ///
    /// # Errors
    /// When a value is invalid. The error names file, line, key and the allowed values.
    pub fn read(root: &Node) -> Result<Self, Error> {
        let top: Top = root.read()?;
        refuse_instrumentation(&root.get("instrumentation"))?;
        Ok(Self {
            name: top.name.filter(|name| !name.is_empty()),
            tags: top.tags,
            fields: top.fields,
            fields_under_root: top.fields_under_root,
            max_procs: top.max_procs,
            precision: top.timestamp.precision,
            ignore_outgoing: top.packetbeat.ignore_outgoing,
            shutdown_timeout: top.packetbeat.shutdown_timeout,
            publish_timeout: top.packetbeat.publish_timeout,
            compatibility: top.packetbeat.compatibility,
        })
    }
}

/// Refuses to trace the program with an APM server, which Packetbeat's `instrumentation.enabled` does.
fn refuse_instrumentation(node: &Node) -> Result<(), Error> {
    let enabled = node.get("enabled");
    node.accept();
    match enabled.read::<Option<bool>>()? {
        Some(true) => Err(enabled.error(
            "this program does not send traces of itself to an APM server; write `instrumentation.enabled: false`, and see the HTTP \
             endpoint (`http.enabled`) for its metrics",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Compatibility, General, Node, Precision};
    use std::time::Duration;

    #[test]
    fn read() {
        let root = Node::parse(
            "name: n\ntags: one\nfields: {a.b: 1, c: [x]}\nmax_procs: '2'\ntimestamp.precision: nanosecond\n\
             packetbeat: {shutdown_timeout: 5s, compatibility: strict, other: 1}\nqueue.mem.events: 4096\n",
        )
        .unwrap();
        let general = General::read(&root).unwrap();
        assert_eq!(general.name.as_deref(), Some("n"));
        assert_eq!(general.tags, ["one"]);
        assert_eq!(serde_json::Value::from(general.fields), serde_json::json!({"a": {"b": 1}, "c": ["x"]}));
        assert_eq!(general.max_procs, 2);
        assert_eq!(general.precision, Precision::Nanosecond);
        assert_eq!(general.shutdown_timeout, Duration::from_secs(5));
        assert_eq!(general.compatibility, Compatibility::Strict);
        let unknown: Vec<_> = root.unknown().iter().map(ToString::to_string).collect();
        assert_eq!(
            unknown,
            ["line 6: packetbeat.other: unknown setting, ignored", "line 7: queue: unknown setting, ignored"],
            "what others read is theirs to know"
        );
        assert_eq!(General::read(&Node::default()).unwrap(), General::default());
    }

    #[test]
    fn wrong_values_are_refused() {
        for (yaml, want) in [
            (
                "timestamp.precision: hour",
                "line 1: timestamp.precision: expected one of `millisecond`, `microsecond`, `nanosecond`, got `hour`",
            ),
            ("packetbeat.compatibility: no", "line 1: packetbeat.compatibility: expected one of `corrected`, `strict`, got `no`"),
            (
                "\npacketbeat:\n  shutdown_timeout: -1s",
                "line 3: packetbeat.shutdown_timeout: expected a duration (`10s`, `1m30s`, `500ms`, `1h`, or a number of seconds), got `-1s`",
            ),
            ("fields: 1", "line 1: fields: expected a map (`key: value`), got `1`"),
            ("tags: {a: 1}", "line 1: tags: expected a text, got a map"),
        ] {
            assert_eq!(General::read(&Node::parse(yaml).unwrap()).unwrap_err().0, want, "{yaml}");
        }
    }

    #[test]
    fn instrumentation_is_refused_when_it_is_enabled() {
        let read = |yaml: &str| General::read(&Node::parse(yaml).unwrap()).map(drop).map_err(|e| e.to_string());
        for accepted in ["instrumentation:", "instrumentation: {enabled: false, hosts: [x]}", "instrumentation.hosts: [x]"] {
            assert_eq!(read(accepted), Ok(()), "{accepted}");
        }
        let error = read("name: n\ninstrumentation: {hosts: [x], enabled: true}").unwrap_err();
        assert!(error.starts_with("line 2: instrumentation.enabled: this program does not send traces of itself"), "{error}");
        assert!(read("instrumentation.enabled: maybe").unwrap_err().starts_with("line 1: instrumentation.enabled: "));
    }
}

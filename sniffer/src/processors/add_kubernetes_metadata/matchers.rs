//! Matchers and indexers of the configuration: how the key of a pod is made from an event, and by which keys pods are found.

use super::metadata::Indexers;
use crate::{
    config::{Error, Node},
    event::{format::Format, tree::Tree},
    processors::replace::Pattern,
};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::Value;

/// A list of matchers or indexers, which is read by [`read`] or [`indexers`].
#[derive(Debug)]
pub(super) struct Entries;

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// Makes a key from an event.
#[derive(Clone, Debug)]
pub(super) enum Matcher {
    /// A format string.
    FieldFormat(Format),
    /// The first of these fields that the event has, or the part of it that the group `key` of a pattern matches.
    Fields(Vec<String>, Option<regex::Regex>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldFormat {
    format: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    lookup_fields: Vec<String>,
    #[serde(default)]
    regex_pattern: Option<Pattern>,
}

impl Matcher {
    /// The key; `None` if the event lacks a field.
    pub(super) fn key(&self, event: &Tree) -> Option<String> {
        let key = match self {
            Self::FieldFormat(format) => format.text_of(event)?,
            Self::Fields(names, pattern) => {
                let text = names.iter().find_map(|name| match event.get(name)? {
                    Value::String(text) => Some(text.as_str()),
                    // Some fields with addresses are lists.
                    Value::Array(list) => list.first()?.as_str(),
                    _ => None,
                })?;
                match pattern {
                    Some(pattern) => pattern.captures(text)?.name("key")?.as_str().to_owned(),
                    None => text.to_owned(),
                }
            }
        };
        (!key.is_empty()).then_some(key)
    }
}

/// The matchers that are used besides the configured ones: the pod of the server, or else that of the client.
pub(super) fn defaults() -> Vec<Matcher> {
    let field = |name: &str| Matcher::Fields(vec![name.to_owned()], None);
    let formats = ["%{[server.ip]}:%{[server.port]}", "%{[destination.ip]}:%{[destination.port]}"];
    let formats = formats.iter().filter_map(|text| Format::parse(text).ok()).map(Matcher::FieldFormat);
    formats.chain(["server.ip", "destination.ip", "client.ip", "source.ip"].map(field)).collect()
}

/// The only key of a map, and its value.
fn only(entry: &Node) -> Result<(&str, &Node), Error> {
    let mut entries = entry.entries();
    match (entries.next(), entries.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(entry.error("each entry must be a map with one key, its name")),
    }
}

/// Reads the list of matchers.
///
/// # Errors
/// When a matcher is unknown or an option of it is wrong.
pub(super) fn read(list: &Node) -> Result<Vec<Matcher>, Error> {
    let mut matchers = Vec::new();
    for entry in list.items() {
        let (name, node) = only(&entry)?;
        match name {
            "field_format" => {
                let options: FieldFormat = node.read()?;
                let format = Format::parse(&options.format).map_err(|error| node.get("format").error(error))?;
                matchers.push(Matcher::FieldFormat(format));
            }
            "fields" => {
                let options: Fields = node.read()?;
                let pattern = options.regex_pattern.map(|pattern| pattern.0);
                if pattern.as_ref().is_some_and(|pattern| pattern.capture_names().flatten().all(|name| name != "key")) {
                    return Err(node.get("regex_pattern").error("the pattern has no group `key`, as in `(?P<key>...)`"));
                }
                matchers.push(Matcher::Fields(options.lookup_fields, pattern));
            }
            "logs_path" | "logs" => {
                node.accept();
                log::warn!("{}", node.error("no event has the path of a log file, so this matcher finds nothing"));
            }
            _ => return Err(node.error("there is no such matcher; write field_format or fields")),
        }
    }
    Ok(matchers)
}

/// Reads the list of indexers into `indexers`.
///
/// # Errors
/// When an indexer is unknown.
pub(super) fn indexers(list: &Node, indexers: &mut Indexers) -> Result<(), Error> {
    for entry in list.items() {
        let (name, node) = only(&entry)?;
        node.accept();
        let indexer = match name {
            "pod_name" => &mut indexers.pod_name,
            "pod_uid" => &mut indexers.pod_uid,
            "container" => &mut indexers.container,
            "ip_port" => &mut indexers.ip_port,
            _ => return Err(node.error("there is no such indexer; write container, ip_port, pod_name or pod_uid")),
        };
        *indexer = true;
    }
    Ok(())
}

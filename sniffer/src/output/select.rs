//! Selects the name that an event is sent to (an index, a pipeline, a topic, a key): the name of the first matching rule, or the default if
//! no rule matches.

use super::{
    Reason,
    format::{Format, KNOWN},
    shapes::Scalar,
};
use crate::{
    config::{self, Node},
    event::tree::Tree,
    processors::condition::Condition,
    publish::Record,
};
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap};

/// The names of a selector's settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    /// The list of rules: `indices`.
    pub list: &'static str,
    /// The key of the name, for example `index`. A rule contains this key; the default has the same key next to the list of rules.
    pub name: &'static str,
    /// Whether `mappings` apply without regard to upper and lower case, because names are in lower case anyway.
    pub ignores_case: bool,
}

/// The parsed rules and the default.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    rules: Vec<Rule>,
    default: Option<Format>,
    needs_event: bool,
}

#[derive(Clone, Debug)]
struct Rule {
    when: Option<Condition>,
    name: Format,
    /// Replacements of the formatted name.
    mappings: BTreeMap<String, String>,
    /// Whether the keys of `mappings` are in lower case.
    ignores_case: bool,
    default: Option<Format>,
}

impl Selector {
    /// Reads the list of rules below `node`. `default` is the name when no rule matches.
    ///
    /// # Errors
    /// When a rule has no name, or a format string or condition is wrong. The error names file, line and key.
    pub(super) fn read(node: &Node, keys: Keys, default: Option<&str>) -> Result<Self, config::Error> {
        let format = |text: &str| Format::parse(text).map(|format| format.fold(KNOWN));
        let rules = node.get(keys.list).items().iter().map(|item| rule(item, keys)).collect::<Result<Vec<_>, _>>()?;
        let default = default.map(format).transpose().map_err(|why| node.error(format!("{}: {why}", keys.name)))?;
        let formats = rules.iter().flat_map(|rule| [Some(&rule.name), rule.default.as_ref()]).chain([default.as_ref()]);
        let needs_event = formats.flatten().any(Format::needs_event) || rules.iter().any(|rule| rule.when.is_some());
        Ok(Self { rules, default, needs_event })
    }

    /// The name for this record; `None` when no rule matches and there is no default.
    pub(super) fn choose(&self, record: &Record) -> Option<Cow<'_, str>> {
        if self.rules.is_empty()
            && let Some(constant) = self.default.as_ref()?.constant()
        {
            return Some(Cow::Borrowed(constant));
        }
        let event = if self.needs_event { serde_json::from_slice(&record.body).unwrap_or_default() } else { Value::Null };
        let tree = if self.rules.iter().any(|rule| rule.when.is_some()) {
            Tree::from(event.as_object().cloned().unwrap_or_default())
        } else {
            Tree::default()
        };
        let text = |format: &Format| format.text(record.route.time, &event).filter(|text| !text.is_empty());
        let by_rule = self.rules.iter().find_map(|rule| {
            if rule.when.as_ref().is_some_and(|when| when.holds(&tree) != Some(true)) {
                return None;
            }
            let mut name = text(&rule.name);
            if !rule.mappings.is_empty() {
                name = name.and_then(|name| rule.mappings.get(&folded(name, rule.ignores_case)).cloned());
            }
            name.or_else(|| rule.default.as_ref().and_then(text))
        });
        by_rule.or_else(|| self.default.as_ref().and_then(text)).map(Cow::Owned)
    }
}

impl Selector {
    /// The name, if it is the same for every event.
    pub(super) fn constant(&self) -> Option<&str> {
        if self.rules.is_empty() { self.default.as_ref()?.constant().filter(|name| !name.is_empty()) } else { None }
    }

    /// Why there is no name for this record: the fields that it lacks. `name` is the setting.
    pub(super) fn missing(&self, name: &str, record: &Record) -> Reason {
        let event = serde_json::from_slice(&record.body).unwrap_or_default();
        let formats = self.rules.iter().flat_map(|rule| [Some(&rule.name), rule.default.as_ref()]).chain([self.default.as_ref()]);
        let mut fields: Vec<&str> = formats.flatten().flat_map(|format| format.missing(&event)).collect();
        fields.sort_unstable();
        fields.dedup();
        match fields.as_slice() {
            [] => format!("no rule gives the event a name for `{name}`").into(),
            [field] => format!("the event has no field {field}, of which `{name}` is made").into(),
            fields => format!("the event lacks fields of which `{name}` is made: {}", fields.join(", ")).into(),
        }
    }
}

fn rule(item: &Node, keys: Keys) -> Result<Rule, config::Error> {
    let format = |key: &str| -> Result<Option<Format>, config::Error> {
        let node = item.get(key);
        if node.is_null() {
            return Ok(None);
        }
        let Scalar(text) = node.read()?;
        Format::parse(&text).map(|format| Some(format.fold(KNOWN))).map_err(|why| node.error(why))
    };
    let name = format(keys.name)?.ok_or_else(|| item.error(format!("{}: missing", keys.name)))?;
    let mappings: BTreeMap<String, Scalar> = item.get("mappings").read()?;
    let mappings = mappings.into_iter().map(|(from, to)| (folded(from, keys.ignores_case), to.0)).collect();
    let when = item.get("when").read()?;
    Ok(Rule { when, name, mappings, ignores_case: keys.ignores_case, default: format("default")? })
}

fn folded(name: String, ignores_case: bool) -> String {
    if ignores_case { name.to_lowercase() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Keys = Keys { list: "indices", name: "index", ignores_case: true };

    fn record(body: &str) -> Record {
        Record { body: body.as_bytes().into(), ..Record::default() }
    }

    #[test]
    fn rules_then_default() {
        let node = Node::parse(
            "indices: [{index: m, when: {equals: {type: x}}}, {index: '%{[type]}', mappings: {DNS: Names, icmp: ''}, default: '%{[other]}'}, \
             {index: 'l-%{[list]}'}, {index: 'by-%{[status]}'}]",
        )
        .unwrap();
        let selector = Selector::read(&node, KEYS, Some("packetbeat-%{[agent.version]}")).unwrap();
        for (body, expected) in [
            (r#"{"type":"x"}"#, "m"),
            (r#"{"type":"dns"}"#, "Names"),
            (r#"{"type":"tls","other":"o"}"#, "o"),
            (r#"{"type":"http","status":"OK"}"#, "by-OK"),
            (r#"{"list":"a"}"#, "l-a"),
            (r#"{"list":["a"],"status":"OK"}"#, "by-OK"),
            (r#"{"list":{"a":1}}"#, "packetbeat-9.6.0"),
            ("{}", "packetbeat-9.6.0"),
        ] {
            assert_eq!(selector.choose(&record(body)).as_deref(), Some(expected), "{body}");
        }
        assert_eq!(node.unknown(), []);
    }

    #[test]
    fn mappings_with_and_without_regard_to_case() {
        for (ignores_case, expected) in [(true, "lower"), (false, "none")] {
            let node = Node::parse("indices: [{index: '%{[m]}', mappings: {set: lower, GET: upper}, default: none}]").unwrap();
            let selector = Selector::read(&node, Keys { ignores_case, ..KEYS }, None).unwrap();
            assert_eq!(selector.choose(&record(r#"{"m":"SET"}"#)).as_deref(), Some(expected));
            assert_eq!(selector.choose(&record(r#"{"m":"GET"}"#)).as_deref(), Some("upper"));
        }
    }

    #[test]
    fn a_constant_needs_no_event() {
        let selector = Selector::read(&Node::default(), KEYS, Some("a-%{[agent.version]}")).unwrap();
        assert!(!selector.needs_event);
        assert!(matches!(selector.choose(&record("not JSON")), Some(Cow::Borrowed("a-9.6.0"))));
        assert_eq!(Selector::default().choose(&record("{}")), None);
        let missing = Selector::read(&Node::default(), KEYS, Some("%{[a]}")).unwrap();
        assert_eq!(missing.choose(&record("{}")), None, "an empty name is no name");
    }

    #[test]
    fn errors_of_rules_have_their_place() {
        for (config, expected) in [
            ("indices: [{pipeline: x}]", "indices.0: index: missing"),
            ("indices: [{index: '%{'}]", "indices.0.index: format string '%{'"),
            ("indices: [{index: x, when: {nonsense: 1}}]", "indices.0.when.nonsense: there is no condition"),
        ] {
            let error = Selector::read(&Node::parse(config).unwrap(), KEYS, None).unwrap_err().to_string();
            assert!(error.contains(expected), "{config}: {error}");
        }
    }
}

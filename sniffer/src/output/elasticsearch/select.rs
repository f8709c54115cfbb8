//! Which index or pipeline an event goes to: the event's own route, else the first rule that fits, else the default.

use crate::{
    event::tree::Tree,
    output::{format::Format, shapes::Scalar},
    processors::condition::Condition,
    publish::Record,
};
use serde::Deserialize;
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap};

/// One rule of `indices` or `pipelines`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Rule {
    #[serde(alias = "pipeline")]
    index: Scalar,
    #[serde(default)]
    mappings: BTreeMap<String, Scalar>,
    default: Option<Scalar>,
    #[serde(default)]
    when: Option<Value>,
}

/// The rules, read once.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    rules: Vec<Chosen>,
    default: Option<Format>,
    needs_event: bool,
}

#[derive(Clone, Debug)]
struct Chosen {
    when: Option<Condition>,
    format: Format,
    mappings: BTreeMap<String, String>,
    default: Option<Format>,
}

impl Selector {
    /// `key` names the list in errors.
    pub(super) fn new(key: &str, rules: &[Rule], default: Option<&str>, known: &[(&str, &str)]) -> Result<Self, String> {
        let read = |text: &str| Format::parse(text).map(|format| format.fold(known)).map_err(|why| format!("{key}: {why}"));
        let mut chosen = Vec::new();
        for rule in rules {
            let mappings = rule.mappings.iter().map(|(from, to)| (from.to_lowercase(), to.0.clone())).collect();
            let default = rule.default.as_ref().map(|text| read(&text.0)).transpose()?;
            let when = rule.when.as_ref().map(Condition::parse).transpose().map_err(|why| format!("{key}: when: {why}"))?;
            chosen.push(Chosen { when, format: read(&rule.index.0)?, mappings, default });
        }
        let default = default.map(read).transpose()?;
        let needs_event =
            default.iter().chain(chosen.iter().flat_map(|rule| [&rule.format].into_iter().chain(&rule.default))).any(Format::needs_event);
        let needs_event = needs_event || chosen.iter().any(|rule| rule.when.is_some());
        Ok(Self { rules: chosen, default, needs_event })
    }

    /// The name for this record, in lower case; `None` when nothing fits.
    pub(super) fn choose<'a>(&'a self, own: Option<&'a str>, record: &Record) -> Option<Cow<'a, str>> {
        if let Some(own) = own {
            return Some(Cow::Borrowed(own));
        }
        if self.rules.is_empty()
            && let Some(constant) = self.default.as_ref()?.constant()
        {
            return Some(Cow::Borrowed(constant));
        }
        let event = if self.needs_event { serde_json::from_slice(&record.body).unwrap_or_default() } else { Value::Null };
        let tree = if self.rules.iter().any(|rule| rule.when.is_some()) {
            Tree(event.as_object().cloned().unwrap_or_default())
        } else {
            Tree::default()
        };
        let text = |format: &Format| format.text(record.route.time, &event).filter(|text| !text.is_empty());
        let by_rule = self.rules.iter().find_map(|rule| {
            if rule.when.as_ref().is_some_and(|when| when.holds(&tree) != Some(true)) {
                return None;
            }
            let found = text(&rule.format);
            if rule.mappings.is_empty() {
                return found.or_else(|| rule.default.as_ref().and_then(text));
            }
            let mapped = found.and_then(|found| rule.mappings.get(&found.to_lowercase()).cloned());
            mapped.or_else(|| rule.default.as_ref().and_then(text))
        });
        by_rule.or_else(|| self.default.as_ref().and_then(text)).map(|name| Cow::Owned(name.to_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_route_then_rules_then_default() {
        let record = |body: &str| Record { body: body.as_bytes().into(), ..Record::default() };
        let rules: Vec<Rule> = serde_json::from_str(
            r#"[{"index": "m", "when": {"equals": {"type": "x"}}}, {"index": "%{[type]}", "mappings": {"DNS": "names"}}, {"index": "by-%{[status]}"}]"#,
        )
        .unwrap();
        let selector = Selector::new("indices", &rules, Some("packetbeat-%{[agent.version]}"), &[("agent.version", "9.6.0")]).unwrap();
        for (own, body, expected) in [
            (Some("Own"), "{}", "Own"),
            (None, r#"{"type":"x"}"#, "m"),
            (None, r#"{"type":"dns"}"#, "names"),
            (None, r#"{"type":"http","status":"OK"}"#, "by-ok"),
            (None, "{}", "packetbeat-9.6.0"),
        ] {
            assert_eq!(selector.choose(own, &record(body)).as_deref(), Some(expected), "{body}");
        }
    }
}

//! `drop_fields`: removes fields, by name or by `/pattern/` (RE2 syntax, matched anywhere in the dotted name). Never
//! removes `@timestamp` and `type`.

use super::{AtStart, Decision, Factory, Facts, Shared, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{constants::Constants, tree::Tree},
    opening::Opening,
};
use regex::Regex;
use serde::Deserialize;

/// Fields that no processor removes.
pub(super) const MANDATORY: [&str; 2] = ["@timestamp", "type"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    fields: FieldSelector,
    // The option is accepted without effect: a missing field is never an error here.
    #[serde(default, rename = "ignore_missing")]
    _ignore_missing: bool,
}

/// Selects fields by name or by pattern.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(super) struct FieldSelector {
    pub(super) names: Vec<String>,
    pub(super) patterns: Vec<Regex>,
}

impl TryFrom<Vec<String>> for FieldSelector {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<Self, String> {
        let mut selector = Self::default();
        for word in words {
            match word.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')).filter(|pattern| !pattern.is_empty()) {
                Some(pattern) => selector.patterns.push(Regex::new(pattern).map_err(|error| format!("`{word}`: {error}"))?),
                None => selector.names.push(word),
            }
        }
        Ok(selector)
    }
}

impl FieldSelector {
    /// The names of the fields in `event` that match a pattern.
    pub(super) fn matching(&self, event: &Tree) -> Vec<String> {
        if self.patterns.is_empty() {
            return Vec::new();
        }
        let mut names = event.names();
        names.retain(|name| !name.starts_with("@metadata") && self.patterns.iter().any(|pattern| pattern.is_match(name)));
        names
    }
}

#[derive(Debug)]
struct DropFields(FieldSelector);

pub(super) fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let mut selector = opening.node.read::<Options>()?.fields;
    selector.names.retain(|name| !MANDATORY.contains(&name.as_str()));
    Ok(shared(DropFields(selector)))
}

impl Shared for DropFields {
    fn apply_at_start(&self, constants: &mut Constants, _: &Facts, _: &HostData) -> AtStart {
        if !self.0.patterns.is_empty() {
            return AtStart::PerEvent;
        }
        for name in &self.0.names {
            constants.remove(name);
        }
        AtStart::Done
    }

    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let matching = self.0.matching(event);
        for name in self.0.names.iter().chain(&matching) {
            if !MANDATORY.contains(&name.as_str()) {
                event.remove(name);
            }
        }
        Decision::Keep
    }
}

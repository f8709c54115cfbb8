//! `drop_fields`: takes fields out, by name or by `/pattern/` (RE2's syntax, found anywhere in the dotted name). `@timestamp` and
//! `type` always stay.

use super::{Facts, Fold, Processor, Verdict, one_or_many, read};
use crate::{
    enrich::World,
    event::{constants::Constants, tree::Tree},
};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// What no processor takes out of an event.
pub(super) const MANDATORY: [&str; 2] = ["@timestamp", "type"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(deserialize_with = "one_or_many")]
    fields: Vec<String>,
    // A missing field is nothing that anybody would hear of.
    #[serde(default, rename = "ignore_missing")]
    _ignore_missing: bool,
}

/// Fields by name and by pattern.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) names: Vec<String>,
    pub(super) patterns: Vec<Regex>,
}

impl Chosen {
    pub(super) fn new(words: Vec<String>) -> Result<Self, String> {
        let mut chosen = Self::default();
        for word in words {
            match word.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')).filter(|pattern| !pattern.is_empty()) {
                Some(pattern) => chosen.patterns.push(Regex::new(pattern).map_err(|error| format!("`{word}`: {error}"))?),
                None => chosen.names.push(word),
            }
        }
        Ok(chosen)
    }

    /// The names that the patterns choose among the fields of `event`.
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
struct DropFields(Chosen);

pub(super) fn open(options: Value) -> Result<Arc<dyn Processor>, String> {
    let mut chosen = Chosen::new(read::<Options>(options)?.fields)?;
    chosen.names.retain(|name| !MANDATORY.contains(&name.as_str()));
    Ok(Arc::new(DropFields(chosen)))
}

impl Processor for DropFields {
    fn fold(&self, constants: &mut Constants, _: &Facts, _: &World) -> Fold {
        if !self.0.patterns.is_empty() {
            return Fold::PerEvent;
        }
        for name in &self.0.names {
            constants.remove(name);
        }
        Fold::Done
    }

    fn run(&self, event: &mut Tree, _: &World) -> Verdict {
        let matching = self.0.matching(event);
        for name in self.0.names.iter().chain(&matching) {
            if !MANDATORY.contains(&name.as_str()) {
                event.remove(name);
            }
        }
        Verdict::Keep
    }
}

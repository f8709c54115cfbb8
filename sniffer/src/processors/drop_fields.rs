//! `drop_fields`: removes fields, by name or by pattern.

use super::{AtStart, Decision, Factory, Facts, ProcessorKind, Shared, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{constants::Constants, tree::Tree},
    opening::Opening,
};
use regex::Regex;
use serde::Deserialize;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "drop_fields",
    about: "Removes fields. `@timestamp` is never removed, and `type` only by a pattern.",
    example: "fields: [host, '/^http\\.request\\.headers\\.x-/']\nignore_missing: true",
    options: &[("", Options::OPTIONS)],
    open,
};

/// Fields that are not removed by name.
pub(super) const MANDATORY: [&str; 2] = ["@timestamp", "type"];

options! {
    struct Options {
        /// The names of fields, and patterns (`/…/`, RE2 syntax) that match anywhere in the dotted name of a field.
        fields: FieldSelector,
        /// Accepted without effect: a missing field is never an error.
        ignore_missing: bool = false,
    }
}

/// Selects fields by name or by pattern.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Vec<String>")]
struct FieldSelector {
    names: Vec<String>,
    patterns: Vec<Regex>,
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
    fn matching(&self, event: &Tree) -> Vec<String> {
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

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = Options::read(opening.node)?;
    // A missing field is never an error.
    let _ = options.ignore_missing;
    let mut selector = options.fields;
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
            event.remove(name);
        }
        Decision::Keep
    }
}

//! `replace`: replaces what a pattern matches in texts.

use super::{
    Decision, Factory, ProcessorKind, Shared,
    kit::{edit_each, keep, not_fetched, print},
    options::options,
    shared,
};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::{Tree, kind},
    opening::Opening,
};
use regex::Regex;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use std::borrow::Cow;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "replace",
    about: "Replaces everything that a pattern (RE2 syntax) matches in the text of a field. The replacement can use groups of the pattern: \
            `$1`, `$name`, `$${1}` (in a configuration `$${` is a literal `${`). An error undoes all changes of the processor and is reported \
            in `error.message`, unless `fail_on_error` is false.",
    example: "fields:\n- {field: url.path, pattern: '/users/[0-9]+', replacement: /users/N}",
    options: &[("", Replace::OPTIONS), ("fields.", Replacement::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct Replace {
        /// The replacements, made one after the other.
        fields: Vec<Replacement>,
        /// A missing field is not an error.
        ignore_missing: bool = false,
        /// If true, the first error undoes the changes. If false, the processor goes on with the next field.
        fail_on_error: bool = true,
    }
}

options! {
    #[derive(Debug)]
    struct Replacement {
        /// The field that is changed.
        field: String,
        /// The regular expression that is searched in the text of the field.
        pattern: Pattern,
        /// The text that replaces every match of the pattern.
        replacement: String,
    }
}

/// A regular expression of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Pattern(pub(super) Regex);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Regex::new(&text).map(Self).map_err(de::Error::custom)
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(Replace::read(opening.node)?))
}

impl Replace {
    fn replace(&self, event: &mut Tree, Replacement { field, pattern, replacement }: &Replacement) -> Result<(), String> {
        let text = match event.fetch(field) {
            Ok(Value::String(text)) => text,
            Ok(other) => {
                return Err(format!("key '{field}' expected type string, but got {} with value '{}'", kind(other), print(other)));
            }
            Err(error) if self.ignore_missing && error.is_missing() => return Ok(()),
            Err(error) => return Err(not_fetched(field, error)),
        };
        if let Cow::Owned(text) = pattern.0.replace_all(text, replacement) {
            event.put(field, text.into()).map_err(|error| format!("could not put value: {field}: {error}"))?;
        }
        Ok(())
    }
}

impl Shared for Replace {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let result = edit_each(event, &self.fields, self.fail_on_error, |item| [&item.field, &item.field], |e, item| self.replace(e, item));
        keep(event, self.fail_on_error, "Failed to replace fields in processor: ", result)
    }
}

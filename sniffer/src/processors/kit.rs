//! Code that several processors share: pairs of field names, messages in the event, undoing changes, values as
//! Packetbeat prints them.

use super::{AtStart, Decision, Facts, Shared, options::options};
use crate::{
    config,
    enrich::HostData,
    event::{
        constants::Constants,
        tree::{Object, Tree},
    },
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::time::Duration;

options! {
    /// A field and the field that the result is written to.
    #[derive(Clone, Debug)]
    pub(super) struct FromTo {
        /// The field that is read.
        from: String,
        /// The field that is written.
        to: String = String::new(),
    }
}

impl FromTo {
    /// The names of both fields.
    pub(super) fn names(&self) -> [&str; 2] {
        [&self.from, &self.to]
    }

    /// The field that is written: `from` if there is no `to`.
    pub(super) fn target(&self) -> &str {
        if self.to.is_empty() { &self.from } else { &self.to }
    }
}

/// The pairs in an option such as `fields: {source.ip: source.domain}`: the field that is read, and the field that is written. The first can
/// also be written as nested objects.
///
/// # Errors
/// When a value is neither an object nor a text.
pub(super) fn field_pairs(option: &Object) -> Result<Vec<(String, String)>, String> {
    fn add(prefix: &str, object: &Object, pairs: &mut Vec<(String, String)>) -> Result<(), String> {
        for (key, value) in object {
            let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                Value::Object(inner) => add(&name, inner, pairs)?,
                Value::String(target) => pairs.push((name, target.clone())),
                other => return Err(format!("{name}: expected the name of a field, got `{}`", print(other))),
            }
        }
        Ok(())
    }
    let mut pairs = Vec::new();
    add("", option, &mut pairs)?;
    Ok(pairs)
}

/// A processor that adds the same fields to every event.
#[derive(Debug)]
pub(super) struct AddConstant(pub(super) Object);

impl Shared for AddConstant {
    fn apply_at_start(&self, constants: &mut Constants, _: &Facts, _: &HostData) -> AtStart {
        constants.add(&self.0, true);
        AtStart::Done
    }

    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        event.merge(&self.0);
        Decision::Keep
    }
}

/// A duration of the configuration, such as `5m`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        config::duration::deserialize(deserializer).map(Self)
    }
}

/// Writes why a processor failed to `error.message`.
pub(super) fn report(event: &mut Tree, message: String) {
    log::debug!("{message}");
    // If `error` is not an object, the message is only in the log.
    let _ = event.put("error.message", message.into());
}

/// Edits an event once for each of `items`. With `undo` (the option `fail_on_error`) the first error ends the processor
/// and undoes its changes of the fields `names`; without `undo` the next item follows.
///
/// # Errors
///
/// The first error, with `undo` only.
pub(super) fn edit_each<'a, T>(
    event: &mut Tree,
    items: &'a [T],
    undo: bool,
    names: impl Fn(&'a T) -> [&'a str; 2],
    edit: impl Fn(&mut Tree, &'a T) -> Result<(), String>,
) -> Result<(), String> {
    // A single edit needs no undoing, because an edit that fails has changed nothing.
    let mut saved = (undo && items.len() > 1).then(|| event.save(items.iter().flat_map(names)));
    for item in items {
        if let Err(error) = edit(event, item) {
            if undo {
                if let Some(saved) = saved.take() {
                    event.restore(saved);
                }
                return Err(error);
            }
            log::debug!("{error}");
        }
    }
    Ok(())
}

/// Keeps the event. Reports an error in it, below the text `what`, unless the option `fail_on_error` is false.
pub(super) fn keep(event: &mut Tree, fail_on_error: bool, what: &str, result: Result<(), String>) -> Decision {
    match result {
        Err(error) if fail_on_error => report(event, format!("{what}{error}")),
        Err(error) => log::debug!("{what}{error}"),
        Ok(()) => {}
    }
    Decision::Keep
}

/// Whether no event of a publisher can have the field, so that a processor that only reads it changes nothing.
pub(super) fn never_has(name: &str, constants: &Constants, facts: &Facts) -> bool {
    facts.cannot_have(name) && constants.get(name).is_none()
}

/// The message of a field that cannot be read.
pub(super) fn not_fetched(name: &str, error: impl std::fmt::Display) -> String {
    format!("could not fetch value for key: {name}, Error: {error}")
}

/// A value as Packetbeat prints it in messages and when it converts a value to text.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(print).collect::<Vec<_>>().join(" ")),
        Value::Object(_) => escaped_json(value),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => print_float(float),
            _ => number.to_string(),
        },
        Value::Bool(_) => value.to_string(),
    }
}

/// The time of the event as Packetbeat converts it to text.
pub(super) fn time_text(event: &Tree) -> String {
    let text = event.time.text(9);
    let (day, time) = text.as_str().trim_end_matches('Z').split_once('T').unwrap_or_default();
    format!("{day} {} +0000 UTC", time.trim_end_matches('0').trim_end_matches('.'))
}

/// A float as Packetbeat prints it: with an exponent below 10⁻⁴ and from 10⁶ on.
fn print_float(float: f64) -> String {
    let size = float.abs();
    if size != 0.0 && !(1e-4..1e6).contains(&size) {
        let text = format!("{float:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    float.to_string()
}

/// Writes JSON in which `<`, `>` and `&` are escaped.
fn escaped_json(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escaped.push_str(&format!("\\u{:04x}", u32::from(character))),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_printed_as_packetbeat_does() {
        for (value, text) in [
            (json!("a"), "a"),
            (json!(["a", 1, [true, null]]), "[a 1 [true <nil>]]"),
            (json!({"b": "<&>", "a": 1}), r#"{"a":1,"b":"\u003c\u0026\u003e"}"#),
            (json!(2.5), "2.5"),
            (json!(1_234_567.5), "1.2345675e+06"),
            (json!(100_000.25), "100000.25"),
            (json!(1e20), "1e+20"),
            (json!(1.5e-7), "1.5e-07"),
            (json!(-7), "-7"),
        ] {
            assert_eq!(print(&value), text, "{value}");
        }
    }
}

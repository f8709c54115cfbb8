//! `decode_duration`: converts the text of a duration to a number.

use super::{Decision, Factory, ProcessorKind, Shared, options::options, shared};
use crate::{
    config::{self, Error},
    enrich::HostData,
    event::tree::Tree,
    opening::Opening,
};
use serde_json::Value;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "decode_duration",
    about: "Replaces the text of a duration, such as `1h2m3.5s`, by a number. A field that is missing or no duration stays as it is.",
    example: "field: app.latency\nformat: milliseconds",
    options: &[("", DecodeDuration::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct DecodeDuration {
        /// The field with the text of the duration. The number replaces the text.
        field: String,
        /// The unit of the number: `milliseconds`, `seconds`, `minutes` or `hours`. Any other word means milliseconds.
        format: String,
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = DecodeDuration::read(opening.node)?;
    if !["milliseconds", "seconds", "minutes", "hours"].contains(&options.format.as_str()) {
        log::warn!("{}", opening.node.get("format").error("expected milliseconds, seconds, minutes or hours; milliseconds are used"));
    }
    Ok(shared(options))
}

impl DecodeDuration {
    fn decode(&self, text: &str) -> Option<Value> {
        // A bare number in the configuration means seconds. In an event the text of a duration must have a unit, except for 0.
        if !text.ends_with(|c: char| c.is_ascii_alphabetic()) && text != "0" {
            return None;
        }
        let nanoseconds = config::nanoseconds(text)?;
        Some(match self.format.as_str() {
            "seconds" => (nanoseconds as f64 / 1e9).into(),
            "minutes" => (nanoseconds as f64 / 60e9).into(),
            "hours" => (nanoseconds as f64 / 3600e9).into(),
            _ => i64::try_from(nanoseconds / 1_000_000).ok()?.into(),
        })
    }
}

impl Shared for DecodeDuration {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let number = event.get(&self.field).and_then(Value::as_str).and_then(|text| self.decode(text));
        if let Some(Err(error)) = number.map(|number| event.put(&self.field, number)) {
            log::debug!("decode_duration: {}: {error}", self.field);
        }
        Decision::Keep
    }
}

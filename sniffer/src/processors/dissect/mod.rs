//! `dissect`: splits a text at fixed delimiters into named parts.

mod tokenizer;

use super::{Decision, Factory, ProcessorKind, Shared, options::options, shared};
use crate::{config::Error, enrich::HostData, event::tree::Tree, opening::Opening};
use serde::Deserialize;
use serde_json::Value;
use tokenizer::Tokenizer;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "dissect",
    about: "Splits a text into named parts. The `tokenizer` consists of keys (`%{key}`) and the texts between them. `%{}` and `%{?key}` skip a \
            part; `%{+key}` appends to the part before (`%{+key/2}` says in which order); the value of `%{*key}` or `%{?key}` becomes the name \
            of the part `%{&key}`; `%{key->}` also skips repetitions of the text behind it; `%{key#3}` is three bytes long; `%{key|long}` \
            converts the part (to the types of [convert](convert.md)). If the text does not fit, `dissect_parsing_error` is added to \
            `log.flags`.",
    example: "tokenizer: '%{client} %{port|integer} %{rest}'\nfield: message\ntarget_prefix: parsed\ntrim_values: all",
    options: &[("", Dissect::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct Dissect {
        /// The keys and delimiters.
        tokenizer: Tokenizer,
        /// The field with the text.
        field: String = "message".to_owned(),
        /// The object for the parts. If it is empty, they become fields of the document.
        target_prefix: String = "dissect".to_owned(),
        /// Accepted without effect: failures are logged only at debug level.
        ignore_failure: bool = false,
        /// Replaces fields that exist. If false, a field that exists is a failure.
        overwrite_keys: bool = false,
        /// Removes `trim_chars` from the `left` or `right` end of each part, or from `all` (`both`) ends; `none` removes nothing.
        trim_values: Trim = Trim::None,
        /// The characters that `trim_values` removes.
        trim_chars: String = " ".to_owned(),
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Trim {
    None,
    Left,
    Right,
    #[serde(alias = "both")]
    All,
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = Dissect::read(opening.node)?;
    let _ = options.ignore_failure;
    Ok(shared(options))
}

impl Dissect {
    fn trimmed<'a>(&self, part: &'a str) -> &'a str {
        let of_them = |c: char| self.trim_chars.contains(c);
        let part = if matches!(self.trim_values, Trim::Left | Trim::All) { part.trim_start_matches(of_them) } else { part };
        if matches!(self.trim_values, Trim::Right | Trim::All) { part.trim_end_matches(of_them) } else { part }
    }

    fn dissect(&self, event: &mut Tree) -> Result<(), String> {
        let Some(Value::String(text)) = event.get(&self.field) else { return Err(format!("{} is no text", self.field)) };
        let Some(parts) = self.tokenizer.split(text) else {
            event.append("log.flags", &["dissect_parsing_error".into()]).map_err(|error| format!("log.flags: {error}"))?;
            return Err(format!("{} does not fit the tokenizer", self.field));
        };
        let mut fields = Vec::with_capacity(parts.len());
        for part in parts {
            let name = if self.target_prefix.is_empty() { part.name } else { format!("{}.{}", self.target_prefix, part.name) };
            let text: Value = self.trimmed(&part.text).into();
            // A part that cannot be converted stays a text.
            let value = part.convert.and_then(|wanted| wanted.convert(&text)).unwrap_or(text);
            fields.push((name, value));
        }
        if !self.overwrite_keys
            && let Some((name, _)) = fields.iter().find(|(name, _)| event.has(name))
        {
            return Err(format!("the field {name} exists"));
        }
        for (name, value) in fields {
            event.put(&name, value).map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(())
    }
}

impl Shared for Dissect {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        if let Err(error) = self.dissect(event) {
            log::debug!("dissect: {error}");
        }
        Decision::Keep
    }
}

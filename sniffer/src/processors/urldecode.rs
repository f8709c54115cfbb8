//! `urldecode`: decodes percent-encoded texts.

use super::{
    Decision, Factory, ProcessorKind, Shared,
    kit::{FromTo, edit_each, keep, not_fetched, print},
    options::options,
    shared,
};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::{Tree, kind},
    opening::Opening,
};
use serde_json::Value;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "urldecode",
    about: "Decodes percent-encoded texts, such as parts of URLs: `%2F` becomes `/`, and `+` becomes a space. An error undoes all changes of \
            the processor and is reported in `error.message`, unless `fail_on_error` is false.",
    example: "fields: [{from: url.query, to: url.decoded}]\nignore_missing: true",
    options: &[("", UrlDecode::OPTIONS), ("fields.", FromTo::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct UrlDecode {
        /// The fields (`from`) and where the decoded text goes (`to`; without it the field itself is replaced).
        fields: Vec<FromTo>,
        /// A missing field is not an error.
        ignore_missing: bool = false,
        /// If true, the first error undoes the changes. If false, the processor goes on with the next field.
        fail_on_error: bool = true,
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = UrlDecode::read(opening.node)?;
    if options.fields.is_empty() {
        return Err(opening.node.error("fields: at least one field is needed, `- {from: FIELD}`"));
    }
    Ok(shared(options))
}

/// Decodes a text; `None` if a `%` is not followed by two hexadecimal digits.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (&[high, low], tail) = rest.split_first_chunk()?;
                rest = tail;
                u8::try_from(digit(high)? * 16 + digit(low)?).ok()?
            }
            other => other,
        });
    }
    Some(bytes)
}

impl UrlDecode {
    fn decode_field(&self, event: &mut Tree, pair: &FromTo) -> Result<(), String> {
        let from = &pair.from;
        let text = match event.fetch(from) {
            Ok(Value::String(text)) => text,
            Ok(other) => return Err(format!("invalid type for `from`, expecting a string received {}", kind(other))),
            Err(error) if self.ignore_missing && error.is_missing() => return Ok(()),
            Err(error) => return Err(not_fetched(from, error)),
        };
        let bytes = decode(text).ok_or_else(|| format!("error trying to URL-decode {text}: invalid URL escape"))?;
        let value = event.raw(&bytes);
        let shown = print(&value);
        event.put(pair.target(), value).map_err(|error| format!("could not put value: {shown}: {}, {error}", pair.target()))
    }
}

impl Shared for UrlDecode {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let result = edit_each(event, &self.fields, self.fail_on_error, FromTo::names, |event, pair| self.decode_field(event, pair));
        keep(event, self.fail_on_error, "failed to decode fields in urldecode processor: ", result)
    }
}

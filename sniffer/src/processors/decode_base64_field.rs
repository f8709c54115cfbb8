//! `decode_base64_field`: decodes base64 (RFC 4648).

use super::{
    Decision, Factory, ProcessorKind, Shared,
    kit::{FromTo, keep, print},
    options::options,
    shared,
};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::{Tree, kind},
    opening::Opening,
};
use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::Value;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "decode_base64_field",
    about: "Decodes a text in base64 (the alphabet with `+` and `/`, with or without padding). Line ends in the text are ignored. An error is \
            reported in `error.message`, unless `fail_on_error` is false.",
    example: "field: {from: http.request.body.content, to: decoded}\nignore_missing: true",
    options: &[("", DecodeBase64::OPTIONS), ("field.", FromTo::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct DecodeBase64 {
        /// The field (`from`) and where the decoded text goes (`to`; without it the field itself is replaced).
        field: FromTo,
        /// A missing field is not an error.
        ignore_missing: bool = false,
        /// An error is reported in `error.message`.
        fail_on_error: bool = true,
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(DecodeBase64::read(opening.node)?))
}

const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true);
const ENGINE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, CONFIG);

impl DecodeBase64 {
    fn decode(&self, event: &mut Tree) -> Result<(), String> {
        let from = &self.field.from;
        let text = match event.fetch(from) {
            Ok(Value::String(text)) => text,
            Ok(other) => return Err(format!("invalid type for `from`, expecting a string received {}", kind(other))),
            Err(error) if self.ignore_missing && error.is_missing() => return Ok(()),
            Err(error) => return Err(format!("could not fetch base64 value for key: {from}, Error: {error}")),
        };
        let joined: String;
        let plain = if text.contains(['\r', '\n']) {
            joined = text.replace(['\r', '\n'], "");
            joined.as_str()
        } else {
            text
        };
        let bytes = ENGINE.decode(plain).map_err(|error| format!("error trying to decode {text}: illegal base64 data: {error}"))?;
        let value = event.raw(&bytes);
        let shown = print(&value);
        let target = self.field.target();
        event.put(target, value).map_err(|error| format!("could not put value: {shown}: {target}, {error}"))
    }
}

impl Shared for DecodeBase64 {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let result = self.decode(event);
        keep(event, self.fail_on_error, "failed to decode base64 fields in processor: ", result)
    }
}

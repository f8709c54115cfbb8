//! `truncate_fields`: shortens texts.

use super::{Decision, Factory, ProcessorKind, Shared, kit, options::options, shared};
use crate::{config::Error, enrich::HostData, event::tree::Tree, opening::Opening};
use serde_json::Value;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "truncate_fields",
    about: "Shortens texts to a number of bytes or characters, and adds `truncated` to `log.flags` for each text it shortened. It never cuts a \
            character. A field that is missing or no text stays as it is; if that is the last of `fields`, the other fields stay as they are \
            too, unless `fail_on_error` is false.",
    example: "fields: [http.request.body.content]\nmax_characters: 1000\nfail_on_error: false",
    options: &[("", TruncateFields::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct TruncateFields {
        /// The fields whose texts are shortened.
        fields: Vec<String>,
        /// The maximum number of bytes. Either `max_bytes` or `max_characters` is needed.
        max_bytes: Option<usize> = None,
        /// The maximum number of characters.
        max_characters: Option<usize> = None,
        /// A missing field is not an error.
        ignore_missing: bool = false,
        /// An error at the last field undoes the changes.
        fail_on_error: bool = true,
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = TruncateFields::read(opening.node)?;
    match (options.max_bytes, options.max_characters) {
        (Some(_), Some(_)) => Err(opening.node.error("set either `max_bytes` or `max_characters`, not both")),
        (None, None) => Err(opening.node.error("`max_bytes` or `max_characters` is missing")),
        _ => Ok(shared(options)),
    }
}

impl TruncateFields {
    /// The length that remains of a text that is too long.
    fn length(&self, text: &str) -> Option<usize> {
        let end = match (self.max_bytes, self.max_characters) {
            (Some(bytes), _) if bytes < text.len() => text.floor_char_boundary(bytes),
            (_, Some(characters)) => text.char_indices().nth(characters)?.0,
            _ => return None,
        };
        Some(end)
    }

    fn truncate(&self, event: &mut Tree, name: &str) -> Result<(), String> {
        let text = match event.fetch(name) {
            Ok(Value::String(text)) => text,
            Ok(_) => return Err(format!("value cannot be truncated: {name} is no text")),
            Err(error) if error.is_missing() && self.ignore_missing => return Ok(()),
            Err(error) => return Err(kit::not_fetched(name, error)),
        };
        let Some(short) = self.length(text).and_then(|length| text.get(..length)).map(str::to_owned) else { return Ok(()) };
        event.put(name, short.into()).map_err(|error| format!("could not put value: {name}: {error}"))?;
        event.append("log.flags", &["truncated".into()]).map_err(|error| format!("log.flags: {error}"))
    }
}

impl Shared for TruncateFields {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let saved =
            (self.fail_on_error && self.fields.len() > 1).then(|| event.save(self.fields.iter().map(String::as_str).chain(["log.flags"])));
        let mut last = Ok(());
        for name in &self.fields {
            // As in Packetbeat, only an error at the last field undoes the changes.
            last = self.truncate(event, name);
            if let Err(error) = &last {
                log::debug!("truncate_fields: {error}");
            }
        }
        if let (Err(_), Some(saved)) = (last, saved) {
            event.restore(saved);
        }
        Decision::Keep
    }
}

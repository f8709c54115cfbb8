//! `include_fields`: removes every field except the listed ones, `@timestamp` and `type`.

use super::{Decision, Factory, ProcessorKind, Shared, drop_fields::MANDATORY, options::options, shared};
use crate::{config::Error, enrich::HostData, event::tree::Tree, opening::Opening};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "include_fields",
    about: "Removes every field except those listed, `@timestamp` and `type`.",
    example: "fields: [source.ip, destination.ip, http.response]",
    options: &[("", IncludeFields::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct IncludeFields {
        /// The names of the fields that stay. A name of an object keeps everything in it.
        fields: Vec<String>,
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(IncludeFields::read(opening.node)?))
}

impl Shared for IncludeFields {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let before = Tree::new(std::mem::take(&mut event.fields), event.time, event.digits);
        // Keep `@metadata`: the output reads it, and it is not part of the document.
        for name in ["@metadata"].into_iter().chain(MANDATORY) {
            if let Some(value) = before.get(name) {
                event.fields.insert(name.to_owned(), value.clone());
            }
        }
        for name in self.fields.iter().filter(|name| !MANDATORY.contains(&name.as_str())) {
            // `put` does not fail here, because the path of an existing field consists of objects.
            if let Some(Err(error)) = before.get(name).map(|value| event.put(name, value.clone())) {
                log::debug!("include_fields: {name}: {error}");
            }
        }
        Decision::Keep
    }
}

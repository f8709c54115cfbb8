//! `include_fields`: removes every field except the listed ones, `@timestamp` and `type`.

use super::{
    Decision, Factory, Shared,
    drop_fields::{FieldSelector, MANDATORY},
    shared,
};
use crate::{config::Error, enrich::HostData, event::tree::Tree, opening::Opening};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    fields: FieldSelector,
}

#[derive(Debug)]
struct IncludeFields(FieldSelector);

pub(super) fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(IncludeFields(opening.node.read::<Options>()?.fields)))
}

impl Shared for IncludeFields {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let mut kept = Tree::default();
        let matching = self.0.matching(event);
        let names = self.0.names.iter().chain(&matching).map(String::as_str);
        // Keep `@metadata`: the output reads it, and it is not part of the document.
        for name in ["@metadata"].into_iter().chain(MANDATORY).chain(names) {
            // `put` does not fail here, because the path of an existing field consists of objects.
            if let Some(Err(error)) = event.get(name).map(|value| kept.put(name, value.clone())) {
                log::debug!("include_fields: {name}: {error}");
            }
        }
        *event = kept;
        Decision::Keep
    }
}

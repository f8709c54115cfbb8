//! `add_tags`: appends to the list `tags`, or to the list named by `target`.

use super::{AtStart, Decision, Factory, Facts, ProcessorKind, Shared, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{constants::Constants, tree::Tree},
    opening::Opening,
};
use serde_json::Value;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "add_tags",
    about: "Appends tags to a list. A field that exists and is no list stays as it is.",
    example: "tags: [web, production]\ntarget: environment",
    options: &[("", AddTags::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct AddTags {
        /// The tags that are appended.
        tags: Vec<Option<String>>,
        /// The field with the list of tags. Without this option, the tags are appended to `tags`.
        target: String = String::new(),
    }
}

#[derive(Debug)]
struct Configured {
    tags: Vec<Value>,
    target: String,
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let AddTags { tags, target } = AddTags::read(opening.node)?;
    if tags.is_empty() || tags.iter().flatten().any(String::is_empty) {
        return Err(opening.node.error("tags: at least one tag is needed, and no tag can be empty"));
    }
    let target = if target.is_empty() { "tags".to_owned() } else { target };
    Ok(shared(Configured { tags: tags.into_iter().flatten().map(Into::into).collect(), target }))
}

impl Shared for Configured {
    fn apply_at_start(&self, constants: &mut Constants, _: &Facts, _: &HostData) -> AtStart {
        if self.target != "tags" {
            return AtStart::PerEvent;
        }
        constants.append("tags", &self.tags);
        AtStart::Done
    }

    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        if let Err(error) = event.append(&self.target, &self.tags) {
            log::debug!("add_tags: {}: {error}", self.target);
        }
        Decision::Keep
    }
}

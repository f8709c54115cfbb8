//! `add_tags`: appends to the list `tags`, or to the list named by `target`.

use super::{AtStart, Decision, Factory, Facts, Shared, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{constants::Constants, tree::Tree},
    opening::Opening,
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddTags {
    tags: Vec<Value>,
    #[serde(default = "tags")]
    target: String,
}

fn tags() -> String {
    "tags".to_owned()
}

pub(super) fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let mut all: AddTags = opening.node.read()?;
    if all.target.is_empty() {
        all.target = tags();
    }
    Ok(shared(all))
}

impl Shared for AddTags {
    fn apply_at_start(&self, constants: &mut Constants, _: &Facts, _: &HostData) -> AtStart {
        if self.target != "tags" {
            return AtStart::PerEvent;
        }
        constants.append("tags", &self.tags);
        AtStart::Done
    }

    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let mut list = match event.get(&self.target) {
            Some(Value::Array(list)) => list.clone(),
            Some(Value::Null) | None => Vec::new(),
            Some(single) => vec![single.clone()],
        };
        list.extend_from_slice(&self.tags);
        if let Err(error) = event.put(&self.target, list.into()) {
            log::debug!("add_tags: {}: {error}", self.target);
        }
        Decision::Keep
    }
}

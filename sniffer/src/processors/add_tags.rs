//! `add_tags`: appends to `tags`, or to the list that `target` names.

use super::{Facts, Fold, Processor, Verdict, one_or_many, read};
use crate::{
    enrich::World,
    event::{constants::Constants, tree::Tree},
};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddTags {
    #[serde(deserialize_with = "one_or_many")]
    tags: Vec<Value>,
    #[serde(default = "tags")]
    target: String,
}

fn tags() -> String {
    "tags".to_owned()
}

pub(super) fn open(options: Value) -> Result<Arc<dyn Processor>, String> {
    let mut all: AddTags = read(options)?;
    if all.target.is_empty() {
        all.target = tags();
    }
    Ok(Arc::new(all))
}

impl Processor for AddTags {
    fn fold(&self, constants: &mut Constants, _: &Facts, _: &World) -> Fold {
        if self.target != "tags" {
            return Fold::PerEvent;
        }
        constants.append("tags", &self.tags);
        Fold::Done
    }

    fn run(&self, event: &mut Tree, _: &World) -> Verdict {
        let mut list = match event.get(&self.target) {
            Some(Value::Array(list)) => list.clone(),
            Some(Value::Null) | None => Vec::new(),
            Some(single) => vec![single.clone()],
        };
        list.extend_from_slice(&self.tags);
        if let Err(error) = event.put(&self.target, list.into()) {
            log::debug!("add_tags: {}: {error}", self.target);
        }
        Verdict::Keep
    }
}

//! `include_fields`: keeps these fields, `@timestamp` and `type`, and nothing else.

use super::{
    Processor, Verdict,
    drop_fields::{Chosen, MANDATORY},
    one_or_many, read,
};
use crate::{enrich::World, event::tree::Tree};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(deserialize_with = "one_or_many")]
    fields: Vec<String>,
}

#[derive(Debug)]
struct IncludeFields(Chosen);

pub(super) fn open(options: Value) -> Result<Arc<dyn Processor>, String> {
    Ok(Arc::new(IncludeFields(Chosen::new(read::<Options>(options)?.fields)?)))
}

impl Processor for IncludeFields {
    fn run(&self, event: &mut Tree, _: &World) -> Verdict {
        let mut kept = Tree::default();
        let matching = self.0.matching(event);
        let names = self.0.names.iter().chain(&matching).map(String::as_str);
        // `@metadata` tells the output what to do with the event; it is no part of it.
        for name in ["@metadata"].into_iter().chain(MANDATORY).chain(names) {
            // Nothing is in the way: a name that was found leads through objects alone.
            if let Some(Err(error)) = event.get(name).map(|value| kept.put(name, value.clone())) {
                log::debug!("include_fields: {name}: {error}");
            }
        }
        *event = kept;
        Verdict::Keep
    }
}

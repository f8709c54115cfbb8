//! `drop_event`: the event is not published. Without `when` that is all of them.

use super::{Facts, Fold, Processor, Verdict, read};
use crate::{
    enrich::World,
    event::{constants::Constants, tree::Tree},
};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DropEvent {}

pub(super) fn open(options: Value) -> Result<Arc<dyn Processor>, String> {
    Ok(Arc::new(read::<DropEvent>(options)?))
}

impl Processor for DropEvent {
    fn fold(&self, _: &mut Constants, _: &Facts, _: &World) -> Fold {
        Fold::DropsAll
    }

    fn run(&self, _: &mut Tree, _: &World) -> Verdict {
        Verdict::Drop
    }
}

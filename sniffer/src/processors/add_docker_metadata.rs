//! `add_docker_metadata`: nothing yet. It finds an event's container by its process or by a field that the user names, and no event
//! has the one; the options are accepted so that the stock configuration loads.

use super::{Facts, Fold, Processor, Verdict};
use crate::{
    enrich::World,
    event::{constants::Constants, tree::Tree},
};
use serde_json::Value;
use std::sync::Arc;

#[derive(Debug)]
struct AddDockerMetadata;

pub(super) fn open(options: Value) -> Result<Arc<dyn Processor>, String> {
    if options.get("match_fields").is_some() {
        log::warn!("add_docker_metadata: match_fields is not supported yet, no container is looked up");
    }
    Ok(Arc::new(AddDockerMetadata))
}

impl Processor for AddDockerMetadata {
    fn fold(&self, _: &mut Constants, _: &Facts, _: &World) -> Fold {
        Fold::Done
    }

    fn run(&self, _: &mut Tree, _: &World) -> Verdict {
        Verdict::Keep
    }
}

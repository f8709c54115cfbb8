//! `drop_event`: drops the event; without `when`, every event.

use super::{AtStart, Decision, Factory, Facts, Shared, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{constants::Constants, tree::Tree},
    opening::Opening,
};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DropEvent {}

pub(super) fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(opening.node.read::<DropEvent>()?))
}

impl Shared for DropEvent {
    fn apply_at_start(&self, _: &mut Constants, _: &Facts, _: &HostData) -> AtStart {
        AtStart::DropsAll
    }

    fn run(&self, _: &mut Tree, _: &HostData) -> Decision {
        Decision::Drop
    }
}

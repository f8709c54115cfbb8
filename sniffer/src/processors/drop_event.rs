//! `drop_event`: drops the event; without `when`, every event.

use super::{AtStart, Decision, Factory, Facts, ProcessorKind, Shared, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{constants::Constants, tree::Tree},
    opening::Opening,
};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "drop_event",
    about: "Drops the event. It is counted as `filtered`. Without `when`, every event is dropped.",
    example: "when.equals.status: OK",
    options: &[("", DropEvent::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct DropEvent {}
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(DropEvent::read(opening.node)?))
}

impl Shared for DropEvent {
    fn apply_at_start(&self, _: &mut Constants, _: &Facts, _: &HostData) -> AtStart {
        AtStart::DropsAll
    }

    fn run(&self, _: &mut Tree, _: &HostData) -> Decision {
        Decision::Drop
    }
}

//! `add_docker_metadata`: accepts its options, so that Packetbeat's default configuration loads, and changes nothing. In Packetbeat this
//! processor finds the container of an event by the process of the event or by a field that the user names. Events of this program have no
//! process, and the field is not supported.

use super::{AtStart, Decision, Factory, Facts, ProcessorKind, Shared, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{constants::Constants, tree::Tree},
    opening::Opening,
};

pub(super) const KIND: ProcessorKind =
    ProcessorKind { name: "add_docker_metadata", about: "Accepted without effect.", example: "", options: &[], open };

#[derive(Debug)]
struct AddDockerMetadata;

pub(super) fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    opening.node.accept();
    let fields = opening.node.get("match_fields");
    if !fields.is_null() {
        log::warn!("{}", fields.error("not supported yet; no metadata of containers is added"));
    }
    Ok(shared(AddDockerMetadata))
}

impl Shared for AddDockerMetadata {
    fn apply_at_start(&self, _: &mut Constants, _: &Facts, _: &HostData) -> AtStart {
        AtStart::Done
    }

    fn run(&self, _: &mut Tree, _: &HostData) -> Decision {
        Decision::Keep
    }
}

//! `add_kubernetes_metadata`: accepts its options, so that configurations for Kubernetes load, and changes nothing. No API server is asked.

use super::{AtStart, Decision, Factory, Facts, ProcessorKind, Shared, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{constants::Constants, tree::Tree},
    opening::Opening,
};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "add_kubernetes_metadata",
    about: "Not supported yet: its options are accepted with a warning, and no metadata of pods is added.",
    example: "",
    options: &[],
    open,
};

#[derive(Debug)]
struct AddKubernetesMetadata;

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    opening.node.accept();
    log::warn!("{}", opening.node.error("not supported yet; no metadata of pods is added"));
    Ok(shared(AddKubernetesMetadata))
}

impl Shared for AddKubernetesMetadata {
    fn apply_at_start(&self, _: &mut Constants, _: &Facts, _: &HostData) -> AtStart {
        AtStart::Done
    }

    fn run(&self, _: &mut Tree, _: &HostData) -> Decision {
        Decision::Keep
    }
}

//! `add_network_direction`: says whether the ends of a conversation are inside or outside of the internal networks.

use super::{Decision, Factory, ProcessorKind, Shared, options::options, shared};
use crate::{
    config::Error,
    enrich::{HostData, networks::Networks},
    event::tree::Tree,
    opening::Opening,
};
use serde::Deserialize;
use serde_json::Value;
use std::net::IpAddr;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "add_network_direction",
    about: "Writes `internal`, `external`, `inbound` or `outbound`, depending on which ends of a conversation are in the internal networks. If a \
            field is missing or no address, nothing is written.",
    example: "source: source.ip\ndestination: destination.ip\ntarget: network.direction\ninternal_networks: [private, 2001:db8::/32]",
    options: &[("", AddNetworkDirection::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct AddNetworkDirection {
        /// The field with the address of the source.
        source: String,
        /// The field with the address of the destination.
        destination: String,
        /// The field for the direction.
        target: String,
        /// The internal networks: CIDR notation, or a class of addresses such as `private`.
        internal_networks: Internal,
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<String>")]
struct Internal(Networks);

impl TryFrom<Vec<String>> for Internal {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<Self, String> {
        Networks::parse(&words).map(Self)
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(AddNetworkDirection::read(opening.node)?))
}

impl Shared for AddNetworkDirection {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let internal = |name: &str| {
            let ip: IpAddr = event.get(name).and_then(Value::as_str)?.parse().ok()?;
            Some(self.internal_networks.0.contains(ip))
        };
        let direction = match (internal(&self.source), internal(&self.destination)) {
            (Some(true), Some(true)) => "internal",
            (Some(true), Some(false)) => "outbound",
            (Some(false), Some(true)) => "inbound",
            (Some(false), Some(false)) => "external",
            _ => return Decision::Keep,
        };
        if let Err(error) = event.put(&self.target, direction.into()) {
            log::debug!("add_network_direction: {}: {error}", self.target);
        }
        Decision::Keep
    }
}

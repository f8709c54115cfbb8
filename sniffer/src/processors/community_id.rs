//! `community_id`: computes a community id from fields (<https://github.com/corelight/community-id-spec>).

use super::{Decision, Factory, ProcessorKind, Shared, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::Tree,
    net::{CommunityId, Transport},
    opening::Opening,
};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "community_id",
    about: "Computes the community id of a conversation from its addresses, ports and protocol. The events of this program have one with the \
            seed 0 in `network.community_id`; the processor is for another seed or for other fields. If the target exists, or a field is \
            missing or invalid, nothing is written.",
    example: "seed: 5\ntarget: network.seeded_community_id",
    options: &[("", Community::OPTIONS), ("fields.", FieldNames::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct Community {
        /// The fields that are read.
        fields: FieldNames = FieldNames::default(),
        /// The field for the id.
        target: String = "network.community_id".to_owned(),
        /// The seed of the hash.
        seed: u16 = 0,
    }
}

options! {
    #[derive(Debug)]
    struct FieldNames {
        /// The address of the source.
        source_ip: String = "source.ip".to_owned(),
        /// The port of the source.
        source_port: String = "source.port".to_owned(),
        /// The address of the destination.
        destination_ip: String = "destination.ip".to_owned(),
        /// The port of the destination.
        destination_port: String = "destination.port".to_owned(),
        /// The type of an ICMP message.
        icmp_type: String = "icmp.type".to_owned(),
        /// The code of an ICMP message.
        icmp_code: String = "icmp.code".to_owned(),
        /// The name or number of the protocol. It is read if there is no `iana_number`.
        transport: String = "network.transport".to_owned(),
        /// The number of the protocol.
        iana_number: String = "network.iana_number".to_owned(),
    }
}

impl Default for FieldNames {
    fn default() -> Self {
        let name = |name: &str| name.to_owned();
        Self {
            source_ip: name("source.ip"),
            source_port: name("source.port"),
            destination_ip: name("destination.ip"),
            destination_port: name("destination.port"),
            icmp_type: name("icmp.type"),
            icmp_code: name("icmp.code"),
            transport: name("network.transport"),
            iana_number: name("network.iana_number"),
        }
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(Community::read(opening.node)?))
}

/// The names of IP protocols with their numbers (IANA).
const PROTOCOLS: [(&str, u8); 14] = [
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("udp", 17),
    ("rdp", 27),
    ("gre", 47),
    ("esp", 50),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("eigrp", 88),
    ("pim", 103),
    ("sctp", 132),
];

/// Converts the name or the number of a protocol to its number.
fn protocol(value: &Value) -> Option<u8> {
    match value {
        Value::String(text) => {
            let name = text.to_ascii_lowercase();
            let known = PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
            known.or_else(|| name.parse().ok())
        }
        value => number(value),
    }
}

/// A number, or a text with a number.
fn number<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    let number = match value {
        Value::String(text) => text.parse().ok()?,
        value => value.as_u64()?,
    };
    T::try_from(number).ok()
}

impl Community {
    fn compute(&self, event: &Tree) -> Option<CommunityId> {
        let FieldNames { source_ip, source_port, destination_ip, destination_port, icmp_type, icmp_code, transport, iana_number } =
            &self.fields;
        let ip = |name: &str| event.get(name)?.as_str()?.parse::<IpAddr>().ok();
        let (source, destination) = (ip(source_ip)?, ip(destination_ip)?);
        let protocol = event.get(iana_number).or_else(|| event.get(transport)).and_then(protocol)?;
        let icmp = |name: &str| event.get(name).map_or(Some(0), number::<u8>);
        let seed = self.seed;
        match protocol {
            1 => Some(CommunityId::icmp_with(seed, source, destination, Transport::Icmp, icmp(icmp_type)?, icmp(icmp_code)?)),
            58 => Some(CommunityId::icmp_with(seed, source, destination, Transport::Icmp6, icmp(icmp_type)?, icmp(icmp_code)?)),
            6 | 17 | 132 => {
                let port = |name: &str| event.get(name).and_then(number::<u16>);
                let ends = (SocketAddr::new(source, port(source_port)?), SocketAddr::new(destination, port(destination_port)?));
                Some(CommunityId::ports_with(seed, ends.0, ends.1, protocol))
            }
            _ => Some(CommunityId::ports_with(seed, SocketAddr::new(source, 0), SocketAddr::new(destination, 0), protocol)),
        }
    }
}

impl Shared for Community {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        if event.has(&self.target) {
            return Decision::Keep;
        }
        if let Some(Err(error)) = self.compute(event).map(|id| event.put(&self.target, id.as_str().into())) {
            log::debug!("community_id: {}: {error}", self.target);
        }
        Decision::Keep
    }
}

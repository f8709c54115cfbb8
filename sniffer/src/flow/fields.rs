//! The fields of a flow's document.

use crate::event::{
    Field,
    Kind::{Boolean, Date, Ip, Keyword, Long},
};

/// All fields that the document of a flow can have.
pub const FIELDS: &[Field] = &[
    Field::new("@timestamp", Date),
    Field::new("type", Keyword),
    Field::new("event.kind", Keyword),
    Field::new("event.category", Keyword),
    Field::new("event.type", Keyword),
    Field::new("event.dataset", Keyword),
    Field::new("event.action", Keyword),
    Field::new("event.start", Date),
    Field::new("event.end", Date),
    Field::new("event.duration", Long),
    Field::new("source.mac", Keyword),
    Field::new("source.ip", Ip),
    Field::new("source.port", Long),
    Field::new("source.packets", Long),
    Field::new("source.bytes", Long),
    Field::new("destination.mac", Keyword),
    Field::new("destination.ip", Ip),
    Field::new("destination.port", Long),
    Field::new("destination.packets", Long),
    Field::new("destination.bytes", Long),
    Field::new("network.type", Keyword),
    Field::new("network.transport", Keyword),
    Field::new("network.community_id", Keyword),
    Field::new("network.bytes", Long),
    Field::new("network.packets", Long),
    Field::new("flow.final", Boolean),
    Field::new("flow.id", Keyword),
    Field::new("flow.vlan", Long),
];

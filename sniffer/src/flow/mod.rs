//! Flows: counts the packets and bytes that pairs of ends exchange, whatever the protocol.
//!
//! [`table::FlowTable`] counts, in packet time; `id` makes the key of a packet's flow, `fragments` keeps
//! the counts of fragments until their flow is known, `timer` decides when flows are
//! reported, `report` makes the document of a flow, and [`options`] has the settings of `packetbeat.flows`.

mod counted;
mod fields;
mod fragments;
mod id;
pub mod options;
mod report;
pub mod table;
mod timer;

pub use fields::FIELDS;

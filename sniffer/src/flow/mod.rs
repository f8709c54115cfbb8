//! Flows: how many packets and bytes were sent between which ends, whatever they carried.
//!
//! [`table::FlowTable`] counts, on the packets' own time; `id` makes the key of a packet's flow, `timer` says when flows are reported, and
//! `report` makes the document of a counted flow, whoever counted it. [`options`] is `packetbeat.flows`.

mod fields;
mod id;
pub mod options;
mod report;
pub mod table;
mod timer;

pub use fields::FIELDS;

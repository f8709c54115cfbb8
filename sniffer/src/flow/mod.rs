//! Flows: how many packets and bytes went between whom, whatever they were. Not their contents.
//!
//! [`table::FlowTable`] counts, on the packets' own time; `id` is what makes two packets of one flow, `report` its documents,
//! `timer` says when.

mod fields;
mod id;
mod report;
pub mod table;
mod timer;

pub use fields::FIELDS;

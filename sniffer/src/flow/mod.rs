//! Flows: how many packets and bytes went between whom, whatever they were. Not their contents.

pub mod key;
pub mod table;

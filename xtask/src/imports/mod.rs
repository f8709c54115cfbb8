//! Which file of a crate uses which other one, from its sources.

pub mod cycles;
pub mod source;

//! Determines which file of a crate uses which other file, from the sources of the crate.

pub mod cycles;
pub mod source;

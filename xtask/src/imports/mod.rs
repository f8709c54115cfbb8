//! Determines from the sources of a crate which file uses which.

pub mod cycles;
pub mod source;

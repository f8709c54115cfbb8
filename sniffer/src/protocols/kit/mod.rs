//! What protocols have in common: reading bytes, waiting for answers.

pub mod matcher;
pub mod reader;

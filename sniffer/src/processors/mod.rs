//! Processors edit events on their way out.

pub mod condition;

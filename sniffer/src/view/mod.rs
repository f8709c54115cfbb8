//! Views for people while the program runs: observers of events, and the text that they show. This module does not use documents or outputs.

pub mod filter;
pub mod filtering;
pub mod fold;
pub mod histogram;
pub mod inbox;
pub mod model;
pub mod names;
pub mod naming;
#[cfg(test)]
pub mod testing;
pub mod text;
pub mod top;
pub mod units;
pub mod watch;
pub mod web;

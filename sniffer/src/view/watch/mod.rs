//! The lines of `watch`: one for each event, fed by the observers of all workers, the status line below them, and the summary at the end.
//! This module selects and formats lines. It does not print them, and does not read the terminal.

pub mod burst;
pub mod feed;
pub mod layout;
#[cfg(test)]
mod layout_tests;
pub mod row;
pub mod status;
pub mod summary;
pub mod tally;

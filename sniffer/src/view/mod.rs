//! Views for people while the program runs: observers of events, and the screen that prints their text. This module does not use documents
//! or outputs.

pub mod lines;
pub mod screen;

//! What people are shown while the program runs: observers of events, and where their text goes. Knows no documents and no outputs.

pub mod lines;
pub mod screen;

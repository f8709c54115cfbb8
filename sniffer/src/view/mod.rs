//! Views for people while the program runs: observers of events, and the screen that prints their text. Knows neither
//! documents nor outputs.

pub mod lines;
pub mod screen;

//! The screens of `top`: what they show of a view model, the keys, and drawing. This module neither opens the terminal nor captures.

mod detail;
mod draw;
mod empty;
mod keys;
pub mod look;
pub mod place;
mod rows;
pub mod state;
pub mod table;
#[cfg(test)]
mod tests;

pub use draw::draw;
pub use keys::{Outcome, press};
pub use look::Look;
pub use rows::{operations, services};
pub use state::{Health, Source, State};

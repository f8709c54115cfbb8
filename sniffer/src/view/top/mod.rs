//! The screens of `top`: what they show of a view model, the keys, and drawing. This module neither opens the terminal nor captures.

#[cfg(test)]
mod actions_tests;
mod compare;
mod copy;
mod detail;
mod draw;
mod empty;
pub mod export;
mod keys;
pub mod look;
mod pick;
pub mod place;
mod prompts;
mod redact;
mod rows;
pub mod state;
pub mod table;
#[cfg(test)]
mod tests;
mod words;

pub use draw::draw;
pub use keys::press;
pub use look::Look;
pub use rows::{operations, services};
pub use state::{Health, Outcome, Source, State};

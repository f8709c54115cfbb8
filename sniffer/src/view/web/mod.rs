//! The answers of the page's API (`docs/web-api.md`), made from a view model as JSON. HTTP, and who may ask, are not part of this module.

mod answers;
mod export;
mod filters;
mod operations;
mod overview;
mod parameters;
mod state;
mod tail;
#[cfg(test)]
mod tests;
mod values;

pub use answers::Reply;
pub use parameters::{Parameters, Refused};
pub use state::State;

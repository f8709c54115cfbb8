//! Serves the page of `sniffer web` and `web.enabled`, and the data that it draws (`docs/web-api.md`): who may ask, the files, and the
//! answers over HTTP. What an answer says is made by `view::web`. It runs on a thread of its own and is read-only.

mod files;
mod guard;
mod options;
mod routes;
#[cfg(test)]
mod tests;
mod token;

pub use options::Options;
pub use routes::{Page, Update};
pub use token::Token;

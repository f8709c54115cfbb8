//! The HTTP endpoint (`http.enabled`). It answers requests about the running program with its identity, counters and state. It changes
//! nothing, and `app` collects the values that it reports. It runs on a thread of its own, so that it delays neither workers nor the
//! output.

mod documents;
mod histogram;
mod inputs;
mod listener;
mod options;
mod process;
mod prometheus;
mod red;
mod report;
mod routes;
mod server;
mod service;
#[cfg(test)]
mod tests;

pub use documents::{beat_of_monitoring, state, stats};
pub use listener::{Listener, Unusable};
pub use options::{At, Options};
pub use red::{BOUNDS as DURATION_BOUNDS, Key, Numbers, Red};
pub use report::{Identity, Input, Output, Report, Source};
pub use server::{Limits, Server};
pub use service::{Answer, Service};

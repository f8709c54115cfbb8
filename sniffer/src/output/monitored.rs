//! [`Monitored`]: what `monitoring` sends. `app` makes it.

use serde_json::Value;

/// Makes the documents of `monitoring`.
pub trait Monitored: Send + Sync {
    /// Name, version and id of the program.
    fn beat(&self) -> Value;

    /// All counters.
    fn metrics(&self) -> Value;

    /// The host and what is configured.
    fn state(&self) -> Value;

    /// Counts a document, which the server has accepted or which is dropped.
    fn count(&self, accepted: bool);
}

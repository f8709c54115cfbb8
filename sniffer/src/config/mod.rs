//! What the user wrote: YAML with places for errors that point. Not what the program makes of it: each module reads its own part.

mod node;

pub use node::{Error, Node};

/// Durations as Packetbeat writes them (`10s`, `1m30s`, `-1s`, a bare number of seconds), for `#[serde(with = …)]`.
pub mod duration {
    use serde::{Deserialize, Deserializer, de::Error};
    use std::time::Duration;

    /// Reads a duration that is not negative.
    ///
    /// # Errors
    /// When it is no duration, or a negative one.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.strip_suffix('s').and_then(|n| n.parse().ok()).map(Duration::from_secs_f64).ok_or_else(|| D::Error::custom("not a duration"))
    }
}

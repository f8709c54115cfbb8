//! Errors of opening a source or setting its filter, worded for the user.

use std::path::Path;

/// Why a source could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A capture file that cannot be read, or that is not a capture file.
    #[error("{path}: {reason}")]
    File {
        /// The file as the user named it.
        path: String,
        /// The problem with the file.
        reason: String,
    },
    /// A device that does not exist, or does not support the requested operation.
    #[error("device {device}: {reason}")]
    Device {
        /// The device as the user named it.
        device: String,
        /// The problem with the device.
        reason: String,
    },
    /// A device or route that does not exist now.
    #[error("device {device}: {reason}")]
    Missing {
        /// The device as the user named it.
        device: String,
        /// Which device or route is missing.
        reason: String,
    },
    /// An invalid setting of `packetbeat.interfaces`.
    #[error("{0}")]
    Setting(String),
}

impl Error {
    pub(super) fn file(path: &Path, reason: impl Into<String>) -> Self {
        Self::File { path: path.display().to_string(), reason: reason.into() }
    }

    pub(super) fn device(device: &str, reason: impl ToString) -> Self {
        Self::Device { device: device.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn missing(device: &str, reason: impl ToString) -> Self {
        Self::Missing { device: device.to_owned(), reason: reason.to_string() }
    }

    /// Whether the device may appear later.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

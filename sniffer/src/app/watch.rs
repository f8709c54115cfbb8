//! `watch`: zero configuration, for people.

use super::Error;
use crate::cli::WatchFlags;

/// Shows transactions.
pub fn watch(_flags: &WatchFlags) -> Result<bool, Error> {
    Err("not yet".into())
}

//! Takes everything and keeps nothing, for measuring the rest.

use super::{Error, Outcome, Output};
use crate::publish::Record;

/// `output.discard`
#[derive(Debug)]
pub(super) struct Discard;

impl Output for Discard {
    async fn send(&mut self, _: &[Record]) -> Result<Outcome, Error> {
        Ok(Outcome::Delivered)
    }
}

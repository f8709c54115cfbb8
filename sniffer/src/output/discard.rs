//! `output.discard`: counts every record as delivered and drops it, to measure the rest of the program without the cost of an output.

use super::{Error, Output, OutputKind, Sender, Sent, counters::Counters, drive, is_never_implied};
use crate::{config, opening::Opening, publish::Record, queue::BoxFuture};
use std::sync::Arc;

/// The output `discard`, for the list of outputs.
pub(super) const OUTPUT: OutputKind = OutputKind { name: "discard", open, is_implied: is_never_implied };

struct Discard(drive::Options);

fn open(opening: &Opening<'_>) -> Result<Box<dyn Output>, config::Error> {
    Ok(Box::new(Discard(opening.node.read()?)))
}

impl Output for Discard {
    fn options(&self) -> drive::Options {
        self.0
    }

    fn senders(self: Box<Self>, _counters: &Arc<Counters>) -> Vec<Box<dyn Sender>> {
        vec![self]
    }
}

impl Sender for Discard {
    fn send<'a>(&'a mut self, _batch: &'a [Record]) -> BoxFuture<'a, Result<Sent, Error>> {
        Box::pin(std::future::ready(Ok(Sent::All)))
    }
}

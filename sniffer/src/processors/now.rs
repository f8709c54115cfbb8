//! `now`: writes the current time.

use super::{Decision, Factory, ProcessorKind, Shared, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::Tree,
    opening::{Clock, Opening},
};
use std::fmt;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "now",
    about: "Writes the time at which the event is processed.",
    example: "field: event.ingested",
    options: &[("", Now::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct Now {
        /// The field for the time.
        field: String,
    }
}

struct Configured {
    options: Now,
    clock: &'static dyn Clock,
}

impl fmt::Debug for Configured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(Configured { options: Now::read(opening.node)?, clock: opening.clock }))
}

impl Shared for Configured {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let now = event.text(self.clock.now());
        if let Err(error) = event.put(&self.options.field, now) {
            log::debug!("now: {}: {error}", self.options.field);
        }
        Decision::Keep
    }
}

//! `add_locale`: adds the time zone of this host.

use super::{AtStart, Decision, Factory, Facts, ProcessorKind, Shared, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{
        constants::Constants,
        tree::{Object, Tree},
    },
    opening::Opening,
};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "add_locale",
    about: "Adds the time zone of this host as `event.timezone`.",
    example: "format: abbreviation",
    options: &[("", AddLocale::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct AddLocale {
        /// `offset` (`+05:30`) or `abbreviation` (`IST`).
        format: Format = Format::Offset,
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Offset,
    Abbreviation,
}

/// The time zone is read for each event, because the offset changes with daylight saving time.
const INTERVAL: Duration = Duration::from_secs(60);

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(AddLocale::read(opening.node)?))
}

impl AddLocale {
    fn layer(&self, host_data: &HostData) -> Object {
        let zone = match self.format {
            Format::Offset => &host_data.zone.offset,
            Format::Abbreviation => &host_data.zone.abbreviation,
        };
        Object::from_iter([("event".to_owned(), json!({ "timezone": zone }))])
    }
}

impl Shared for AddLocale {
    fn apply_at_start(&self, constants: &mut Constants, _: &Facts, host_data: &HostData) -> AtStart {
        constants.add(&self.layer(host_data), true);
        AtStart::Done
    }

    fn run(&self, event: &mut Tree, host_data: &HostData) -> Decision {
        event.merge(&self.layer(host_data));
        Decision::Keep
    }

    fn refresh_every(&self) -> Option<Duration> {
        Some(INTERVAL)
    }
}

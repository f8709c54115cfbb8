//! `timestamp`: parses the text of a time.

use super::{Decision, Factory, ProcessorKind, Shared, layout::Layout, options::options, shared, zone::Zone};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::{TIMESTAMP, Tree},
    opening::{Clock, Opening},
    time::Timestamp,
};
use serde_json::Value;
use std::fmt;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "timestamp",
    about: "Parses the text of a time by the first layout that fits. A layout is the time `Mon Jan 2 15:04:05 -0700 MST 2006`, written as the \
            texts are written; `UNIX` and `UNIX_MS` are seconds and milliseconds since 1970. A field that fits no layout stays as it is.",
    example: "field: app.time\nlayouts: ['2006-01-02T15:04:05Z07:00', UNIX]\ntimezone: Europe/Paris",
    options: &[("", Options::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct Options {
        /// The field that the time is read from.
        field: String,
        /// The field that the time is written to.
        target_field: String = "@timestamp".to_owned(),
        /// The layouts that the time can have, tried in this order.
        layouts: Vec<Layout>,
        /// The time zone of texts that have none: a name, an offset, `UTC`, or `Local` for that of this host.
        timezone: Zone = Zone(jiff::tz::TimeZone::UTC),
        /// Texts that must fit a layout. They are checked at start.
        test: Vec<String> = Vec::new(),
        /// A missing field is not logged.
        ignore_missing: bool = false,
        /// Failures are not logged.
        ignore_failure: bool = false,
        /// A name for this processor in the log.
        id: String = String::new(),
    }
}

struct Configured {
    options: Options,
    clock: &'static dyn Clock,
}

impl fmt::Debug for Configured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let configured = Configured { options: Options::read(opening.node)?, clock: opening.clock };
    for text in &configured.options.test {
        if configured.parse(&text.as_str().into()).is_none() {
            return Err(opening.node.error(format!("test: `{text}` fits none of the layouts")));
        }
    }
    Ok(shared(configured))
}

impl Configured {
    fn parse(&self, value: &Value) -> Option<Timestamp> {
        let written: String;
        let text = match value {
            Value::String(text) => text.as_str(),
            Value::Number(number) => {
                written = number.to_string();
                written.as_str()
            }
            _ => return None,
        };
        self.options.layouts.iter().find_map(|layout| layout.parse(text, &self.options.timezone.0, self.clock.now()))
    }
}

impl Shared for Configured {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let Options { field, target_field, ignore_missing, ignore_failure, id, .. } = &self.options;
        let result = match event.get(field) {
            // The time of the event is not a text, so the layouts do not apply to it.
            Some(_) if field == TIMESTAMP => Ok(Some(event.time)),
            Some(value) => {
                match value.as_str().filter(|_| ["event.start", "event.end"].contains(&field.as_str())).and_then(Timestamp::parse) {
                    Some(time) => Ok(Some(time)),
                    None => self.parse(value).map(Some).ok_or_else(|| format!("{field} fits none of the layouts")),
                }
            }
            None if *ignore_missing => Ok(None),
            None => Err(format!("{field} is missing")),
        };
        let written = result.and_then(|time| match time {
            Some(time) if target_field == TIMESTAMP => {
                event.set_time(time);
                Ok(())
            }
            Some(time) => {
                let text = event.text(time);
                event.put(target_field, text).map_err(|error| format!("{target_field}: {error}"))
            }
            None => Ok(()),
        });
        if let Err(error) = written
            && !ignore_failure
        {
            log::debug!("timestamp {id}: {error}");
        }
        Decision::Keep
    }
}

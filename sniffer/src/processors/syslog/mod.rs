//! `syslog`: parses syslog messages.

mod parse;

use super::{Decision, Factory, ProcessorKind, Shared, kit, options::options, shared, zone::Zone};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::Tree,
    opening::{Clock, Opening},
};
use parse::Message;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "syslog",
    about: "Parses syslog messages (RFC 3164 and RFC 5424): writes their parts to `log.syslog`, their text to `message`, and their time to \
            `@timestamp`. What was parsed before an error is written too; the error is reported in `error.message`, unless `ignore_failure` is \
            true.",
    example: "field: message\nformat: rfc3164\ntimezone: Europe/Paris",
    options: &[("", Syslog::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct Syslog {
        /// The field with the message.
        field: String,
        /// `rfc3164`, `rfc5424`, or `auto`: a message with a version is RFC 5424.
        format: Format = Format::Auto,
        /// The time zone of times that have none: a name, an offset, `UTC`, or `Local` for that of this host.
        timezone: Zone = Zone::local(),
        /// Replaces `message` and the fields of `log.syslog` if they exist.
        overwrite_keys: bool = true,
        /// A missing field is not an error.
        ignore_missing: bool = false,
        /// Errors are logged only at debug level.
        ignore_failure: bool = false,
        /// A name for this processor in the log.
        tag: String = String::new(),
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Format {
    Auto,
    Rfc3164,
    Rfc5424,
}

struct Configured {
    options: Syslog,
    clock: &'static dyn Clock,
}

impl fmt::Debug for Configured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(Configured { options: Syslog::read(opening.node)?, clock: opening.clock }))
}

const FACILITIES: [&str; 24] = [
    "kernel",
    "user-level",
    "mail",
    "system",
    "security/authorization",
    "syslogd",
    "line printer",
    "network news",
    "UUCP",
    "clock",
    "security/authorization",
    "FTP",
    "NTP",
    "log audit",
    "log alert",
    "clock",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];
const SEVERITIES: [&str; 8] = ["Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"];

/// The contents of `log.syslog`.
fn fields(message: &Message<'_>) -> Vec<(&'static str, Value)> {
    let mut fields = Vec::new();
    if let Some(priority) = message.priority {
        let (facility, severity) = (priority / 8, priority % 8);
        let name = |names: &[&str], code: u8| names.get(usize::from(code)).copied().unwrap_or_default().to_owned();
        fields.push(("priority", json!(priority)));
        fields.push(("facility", json!({"code": facility, "name": name(&FACILITIES, facility)})));
        fields.push(("severity", json!({"code": severity, "name": name(&SEVERITIES, severity)})));
    }
    let texts = [
        ("version", message.version),
        ("hostname", message.hostname),
        ("appname", message.appname),
        ("procid", message.procid),
        ("msgid", message.msgid),
    ];
    fields.extend(texts.into_iter().filter_map(|(key, text)| Some((key, text?.into()))));
    if let Some(data) = &message.structured_data {
        fields.push(("structured_data", data.clone().into()));
    }
    fields
}

impl Configured {
    fn parse(&self, event: &mut Tree) -> Result<(), String> {
        let Syslog { field, format, timezone, overwrite_keys, ignore_missing, .. } = &self.options;
        let text = match event.fetch(field) {
            Ok(Value::String(text)) => text.clone(),
            Ok(_) => return Err(format!("type of field {field:?} is not a string")),
            Err(error) if error.is_missing() && *ignore_missing => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let with_version = match format {
            Format::Auto => parse::has_version(&text),
            Format::Rfc3164 => false,
            Format::Rfc5424 => true,
        };
        let mut message = Message::default();
        let result = match with_version {
            true => message.read_5424(&text),
            false => message.read_3164(&text, &timezone.0, self.clock.now()),
        };
        if let Some(time) = message.time {
            event.set_time(time);
        }
        let named = fields(&message).into_iter().map(|(key, value)| (format!("log.syslog.{key}"), value));
        let text = message.text.map(|text| ("message".to_owned(), text.into()));
        for (name, value) in named.chain(text) {
            if *overwrite_keys || !event.has(&name) {
                event.put(&name, value).map_err(|error| format!("could not put value: {name}: {error}"))?;
            }
        }
        result
    }
}

impl Shared for Configured {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let Syslog { field, ignore_failure, tag, .. } = &self.options;
        let result = self.parse(event).map_err(|error| format!("syslog failed to process field {field:?}: {error}"));
        if let Err(error) = &result {
            log::debug!("{tag}: {error}");
        }
        kit::keep(event, !ignore_failure, "", result)
    }
}

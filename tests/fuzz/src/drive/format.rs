//! A time in eight bytes, a format string, a NUL, and an event as JSON.

use super::Input;
use serde_json::{Value, json};
use sniffer::{output::format::Format, time::Timestamp};

/// What is known of every event beforehand, as in an output.
const KNOWN: [(&str, &str); 2] = [("agent.version", "9.6.0"), ("agent.name", "here")];

/// What is filled in beforehand gives the same text as what is filled in for each event.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let time = Timestamp(u64::from(input.word()) << 32 | u64::from(input.word()));
    let Ok(text) = std::str::from_utf8(input.0) else { return };
    let (format, event) = text.split_once('\0').unwrap_or((text, "{}"));
    let Ok(format) = Format::parse(format) else { return };
    let mut event: Value = serde_json::from_str(event).unwrap_or_default();
    let plain = format.text(time, &event);
    if let Some(constant) = format.constant() {
        assert_eq!(plain.as_deref(), Some(constant));
    }
    if !format.needs_event() {
        assert_eq!(plain, format.text(time, &Value::Null), "{format:?} needs no event");
    }
    if !event.is_object() {
        event = json!({});
    }
    for (name, value) in KNOWN {
        // One key with a dot is found first.
        event[name] = value.into();
    }
    let filled = format.text(time, &event);
    assert_eq!(format.clone().fold(&KNOWN).text(time, &event), filled, "{format:?}");
}

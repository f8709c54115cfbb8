//! Fuzzes format strings. Input: a time (eight bytes), a format string, a NUL byte, and an event in JSON.

use super::Input;
use serde_json::{Value, json};
use sniffer::{output::format::Format, time::Timestamp};

/// Fields with the same value in every event, which an output fills in once.
const KNOWN: [(&str, &str); 2] = [("agent.version", "9.6.0"), ("agent.name", "here")];

/// Checks that filling in these fields once gives the same text as filling them in per event.
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
        // A key that contains a dot takes precedence over nested objects.
        event[name] = value.into();
    }
    let filled = format.text(time, &event);
    assert_eq!(format.clone().fold(&KNOWN).text(time, &event), filled, "{format:?}");
}

//! How outputs write an event as text: the JSON document unchanged, indented, or with `<`, `>` and `&` escaped; or a format string.

use super::format::Format;
use crate::{publish::Record, time::Timestamp};
use jiff::tz::TimeZone;
use serde::Deserialize;
use std::borrow::Cow;

/// The settings `codec` of an output.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    json: Option<Json>,
    format: Option<FormatOptions>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Json {
    pretty: bool,
    /// The option `escape_html`, as Packetbeat documents it; Packetbeat itself reads `escapehtml`.
    #[serde(alias = "escapehtml")]
    escape_html: bool,
    /// Whether `@timestamp` is written in the local time zone, with its offset.
    localtime: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct FormatOptions {
    string: String,
}

/// Why a record is rejected when [`Codec::line`] fails.
pub(super) const MISSING_FIELD: &str = "the format string asks for a field that the event does not have";

/// The configured codec.
#[derive(Clone, Debug)]
pub(super) enum Codec {
    /// The codec `json`. It has a time zone for `@timestamp` if that is not UTC.
    Json {
        pretty: bool,
        escape_html: bool,
        zone: Option<TimeZone>,
    },
    Format(Format),
}

impl Codec {
    pub(super) fn new(options: &Options, pretty: bool) -> Result<Self, String> {
        match (&options.json, &options.format) {
            (Some(_), Some(_)) => Err("codec: one of json and format, not both".into()),
            (_, Some(format)) => Ok(Self::Format(Format::parse(&format.string)?)),
            (json, None) => {
                let json = json.unwrap_or_default();
                let zone = json.localtime.then(TimeZone::system);
                Ok(Self::Json { pretty: pretty || json.pretty, escape_html: json.escape_html, zone })
            }
        }
    }

    /// Whether the codec writes the document unchanged.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Json { pretty: false, escape_html: false, zone: None })
    }

    /// Appends the record as one line. Returns `false`, without appending, when the record lacks a field that the format string names.
    pub(super) fn line(&self, record: &Record, out: &mut Vec<u8>) -> bool {
        let written = self.write(record, out);
        if written {
            out.push(b'\n');
        }
        written
    }

    /// Appends the record without a line break. Returns `false`, without appending, when the record lacks a field that the format string
    /// names.
    pub(super) fn write(&self, record: &Record, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Json { pretty: false, escape_html: false, zone: None } => out.extend_from_slice(&record.body),
            Self::Json { pretty, escape_html, zone } => {
                let mut body = Cow::Borrowed(&*record.body);
                if let Some(local) = zone.as_ref().and_then(|zone| in_zone(&body, zone)) {
                    body = Cow::Owned(local);
                }
                if *escape_html {
                    body = Cow::Owned(escape(&body));
                }
                if *pretty { indent(&body, out) } else { out.extend_from_slice(&body) }
            }
            Self::Format(format) => {
                let mut event =
                    if format.needs_event() { serde_json::from_slice(&record.body).unwrap_or_default() } else { serde_json::Value::Null };
                // As in Packetbeat, the format string of a codec cannot name metadata.
                event.as_object_mut().map(|event| event.remove("@metadata"));
                let Some(text) = format.line(record.route.time, &event, map) else { return false };
                out.extend_from_slice(text.as_bytes());
            }
        }
        true
    }
}

/// The document with `@timestamp` in this time zone. `None` if the document does not begin with `@timestamp`.
fn in_zone(body: &[u8], zone: &TimeZone) -> Option<Vec<u8>> {
    const BEFORE: &[u8] = b"{\"@timestamp\":\"";
    let rest = body.strip_prefix(BEFORE)?;
    let (time, tail) = rest.split_at_checked(rest.iter().position(|byte| *byte == b'"')?)?;
    let time = std::str::from_utf8(time).ok()?;
    let digits = time.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('Z').len());
    let at = jiff::Timestamp::from_nanosecond(i128::from(Timestamp::parse(time)?.0)).ok()?.to_zoned(zone.clone());
    let local = at.strftime(match digits {
        0 => "%Y-%m-%dT%H:%M:%S%:z",
        1..=3 => "%Y-%m-%dT%H:%M:%S.%3f%:z",
        4..=6 => "%Y-%m-%dT%H:%M:%S.%6f%:z",
        _ => "%Y-%m-%dT%H:%M:%S.%9f%:z",
    });
    Some([BEFORE, local.to_string().as_bytes(), tail].concat())
}

/// The text of a map in a format string: JSON with sorted keys, and escaped as in Packetbeat.
fn map(map: &serde_json::Value) -> Option<String> {
    String::from_utf8(escape(map.to_string().as_bytes())).ok()
}

/// Escapes the characters of a JSON document that have a meaning in HTML. They occur only inside strings, so the JSON is not parsed.
pub(super) fn escape(json: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(json.len() + json.len() / 8);
    let mut rest = json;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'<' => escaped.extend_from_slice(b"\\u003c"),
            b'>' => escaped.extend_from_slice(b"\\u003e"),
            b'&' => escaped.extend_from_slice(b"\\u0026"),
            0xe2 if tail.starts_with(&[0x80, 0xa8]) || tail.starts_with(&[0x80, 0xa9]) => {
                escaped.extend_from_slice(if tail[1] == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                rest = &tail[2..];
            }
            byte => escaped.push(byte),
        }
    }
    escaped
}

/// Appends the JSON with line breaks and two spaces of indentation per level. The order of keys does not change.
fn indent(json: &[u8], out: &mut Vec<u8>) {
    fn newline(out: &mut Vec<u8>, depth: usize) {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', 2 * depth));
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (i, &byte) in json.iter().enumerate() {
        if in_string {
            out.push(byte);
            (in_string, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
            continue;
        }
        match byte {
            b'{' | b'[' => {
                out.push(byte);
                depth += 1;
                if !matches!(json.get(i + 1), Some(b'}' | b']')) {
                    newline(out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !matches!(i.checked_sub(1).and_then(|i| json.get(i)), Some(b'{' | b'[')) {
                    newline(out, depth);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                newline(out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            byte => {
                in_string = byte == b'"';
                out.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(options: &str, body: &str) -> Option<String> {
        let codec = Codec::new(&serde_json::from_str(options).unwrap(), false).unwrap();
        let mut out = Vec::new();
        codec.line(&Record { body: body.as_bytes().into(), ..Record::default() }, &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_codec() {
        let body = r#"{"a":{"b":[1,"x<\"{"],"c":[],"d":{}},"e":null}"#;
        assert_eq!(written("{}", body).unwrap(), format!("{body}\n"));
        assert_eq!(
            written(r#"{"json":{"escape_html":true}}"#, "{\"a\":\"<&>\u{2028}\u{20ac}\"}").unwrap(),
            "{\"a\":\"\\u003c\\u0026\\u003e\\u2028\u{20ac}\"}\n"
        );
        let pretty =
            "{\n  \"a\": {\n    \"b\": [\n      1,\n      \"x<\\\"{\"\n    ],\n    \"c\": [],\n    \"d\": {}\n  },\n  \"e\": null\n}\n";
        assert_eq!(written(r#"{"json":{"pretty":true}}"#, body).unwrap(), pretty);
        assert_eq!(written(r#"{"format":{"string":"%{[a.b]:list} %{[a]:map} %{+yyyy}"}}"#, body).unwrap(), "list map 1970\n");
        assert_eq!(written(r#"{"format":{"string":"%{[a.b]}"}}"#, body), None);
        let shown = written(r#"{"format":{"string":"%{[m]}"}}"#, r#"{"m":{"b":"<&>","a":[1]}}"#);
        assert_eq!(shown.as_deref(), Some("{\"a\":[1],\"b\":\"\\u003c\\u0026\\u003e\"}\n"));
        assert_eq!(written(r#"{"format":{"string":"%{[nothing]}"}}"#, body), None);
        let metadata = r#"{"@metadata":{"beat":"packetbeat"},"a":1}"#;
        assert_eq!(written(r#"{"format":{"string":"%{[@metadata.beat]:none}%{[a]}"}}"#, metadata).as_deref(), Some("none1\n"));
    }

    #[test]
    fn times_in_a_time_zone() {
        let zone = TimeZone::get("America/Phoenix").unwrap();
        for (body, expected) in [
            (r#"{"@timestamp":"2015-03-31T02:52:59.704Z","a":1}"#, Some(r#"{"@timestamp":"2015-03-30T19:52:59.704-07:00","a":1}"#)),
            (r#"{"@timestamp":"2015-03-31T02:52:59.704621000Z"}"#, Some(r#"{"@timestamp":"2015-03-30T19:52:59.704621000-07:00"}"#)),
            (r#"{"@timestamp":"2015-03-31T02:52:59.704621Z"}"#, Some(r#"{"@timestamp":"2015-03-30T19:52:59.704621-07:00"}"#)),
            (r#"{"@timestamp":"yesterday"}"#, None),
            (r#"{"@timestamp":""#, None),
            (r#"{"a":1}"#, None),
        ] {
            assert_eq!(in_zone(body.as_bytes(), &zone).map(|local| String::from_utf8(local).unwrap()).as_deref(), expected, "{body}");
        }
        let local = written(r#"{"json":{"localtime":true}}"#, r#"{"@timestamp":"2015-03-31T11:52:59.704Z"}"#).unwrap();
        let zoned: jiff::Timestamp = local.split('"').nth(3).unwrap().parse().unwrap();
        assert_eq!((zoned.as_millisecond(), local.contains('Z')), (1_427_802_779_704, false), "{local}");
    }
}

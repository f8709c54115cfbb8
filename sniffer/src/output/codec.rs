//! How outputs write an event as text: the JSON document unchanged, indented, or with `<`, `>` and `&` escaped; or a format string.

use super::format::Format;
use crate::publish::Record;
use serde::Deserialize;

/// `codec`
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
    /// Packetbeat documents `escape_html`, and reads `escapehtml`.
    #[serde(alias = "escapehtml")]
    escape_html: bool,
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
    Json { pretty: bool, escape_html: bool },
    Format(Format),
}

impl Codec {
    pub(super) fn new(options: &Options, pretty: bool) -> Result<Self, String> {
        match (&options.json, &options.format) {
            (Some(_), Some(_)) => Err("codec: one of json and format, not both".into()),
            (_, Some(format)) => Ok(Self::Format(Format::parse(&format.string)?)),
            (json, None) => {
                let json = json.unwrap_or_default();
                Ok(Self::Json { pretty: pretty || json.pretty, escape_html: json.escape_html })
            }
        }
    }

    /// Whether a line is the document as it is.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Json { pretty: false, escape_html: false })
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
            Self::Json { pretty: false, escape_html: false } => out.extend_from_slice(&record.body),
            Self::Json { pretty, escape_html } => {
                let from = out.len();
                if *pretty {
                    indent(&record.body, out)
                } else {
                    out.extend_from_slice(&record.body)
                }
                if *escape_html {
                    let escaped = escape(&out[from..]);
                    out.truncate(from);
                    out.extend_from_slice(&escaped);
                }
            }
            Self::Format(format) => {
                let event =
                    if format.needs_event() { serde_json::from_slice(&record.body).unwrap_or_default() } else { serde_json::Value::Null };
                let Some(text) = format.line(record.route.time, &event, map) else { return false };
                out.extend_from_slice(text.as_bytes());
            }
        }
        true
    }
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
    }
}

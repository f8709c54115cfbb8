//! The `_bulk` request: its lines, and what the answer says of each. <https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk>

use super::select::Selector;
use crate::{output::codec, publish::Record, queue::Fate};
use flate2::{Compression, write::GzEncoder};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    io::{self, Write as _},
};

/// The address below the host, with what the answer is to be reduced to.
pub(super) const PATH: &str = "_bulk?filter_path=errors,items.*.error,items.*.status,items.*.failure_store";

/// Where records go, and how they are written.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub index: Selector,
    pub pipeline: Selector,
    pub escape_html: bool,
}

#[derive(Serialize)]
struct Action<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    create: Option<Place<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<Place<'a>>,
}

#[derive(Serialize)]
struct Place<'a> {
    _index: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline: Option<&'a str>,
}

impl Lines {
    /// The body of a request for these records, in order.
    pub(super) fn write(&self, batch: &[Record], out: &mut Vec<u8>) -> io::Result<()> {
        for record in batch {
            let index = self.index.choose(record.route.target.as_deref(), record).unwrap_or(Cow::Borrowed(""));
            let pipeline = self.pipeline.choose(record.route.pipeline.as_deref(), record);
            let create = Place { _index: &index, pipeline: pipeline.as_deref().filter(|name| !name.is_empty()) };
            serde_json::to_writer(&mut *out, &Action { create: Some(create), index: None })?;
            out.push(b'\n');
            if self.escape_html {
                out.extend_from_slice(&codec::escape(&record.body))
            } else {
                out.extend_from_slice(&record.body)
            }
            out.push(b'\n');
        }
        Ok(())
    }
}

/// The body for refused records: the document as a text, and why it was refused.
pub(super) fn dead_letters<'a>(
    index: &str,
    letters: impl Iterator<Item = (&'a Record, u16, &'a str)>,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    for (record, status, reason) in letters {
        serde_json::to_writer(&mut *out, &Action { create: None, index: Some(Place { _index: index, pipeline: None }) })?;
        let message = String::from_utf8_lossy(&record.body);
        let error = serde_json::json!({"type": status, "message": reason});
        let letter = serde_json::json!({"@timestamp": record.route.time, "message": message, "error": error});
        writeln!(out, "\n{letter}")?;
    }
    Ok(())
}

/// Compresses into `out`.
pub(super) fn compress(body: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 6 + 64), Compression::new(level));
    encoder.write_all(body)?;
    encoder.finish()
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    errors: bool,
    #[serde(default, borrow)]
    items: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(alias = "index", borrow)]
    create: Item<'a>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(default)]
    status: u16,
    #[serde(default, borrow)]
    error: Option<Reason<'a>>,
}

#[derive(Deserialize)]
struct Reason<'a> {
    #[serde(default, borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default, borrow)]
    reason: Cow<'a, str>,
}

/// What became of one record, with the status that said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub status: u16,
    pub fate: Fate,
}

/// Reads the answer to a request with `count` records: `None` when all are delivered.
///
/// # Errors
/// When it is no answer to such a request.
pub(super) fn read(answer: &[u8], count: usize) -> Result<Option<Vec<Verdict>>, String> {
    let answer: Answer<'_> = serde_json::from_slice(answer).map_err(|e| format!("the answer to _bulk cannot be read: {e}"))?;
    if !answer.errors && (answer.items.is_empty() || answer.items.len() == count) {
        return Ok(None);
    }
    if answer.items.len() != count {
        return Err(format!("{} answers to {count} events", answer.items.len()));
    }
    Ok(Some(answer.items.iter().map(|entry| verdict(&entry.create)).collect()))
}

fn verdict(item: &Item<'_>) -> Verdict {
    // The reason may quote the value that did not fit, and events do not belong into the log.
    let why = || match &item.error {
        Some(error) => {
            let reason = error.reason.split(" Preview of field's value").next().unwrap_or_default();
            format!("{} {}: {reason}", item.status, error.kind)
        }
        None => item.status.to_string(),
    };
    let fate = match item.status {
        200..300 => Fate::Delivered,
        409 => Fate::Duplicate,
        429 => Fate::Retry(why()),
        502..=504 => Fate::Later(why()),
        500.. => Fate::Retry(why()),
        _ => Fate::Rejected(why()),
    };
    Verdict { status: item.status, fate }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Route;

    #[test]
    fn lines_name_index_and_pipeline() {
        let lines =
            Lines { index: Selector::new("index", &[], Some("packetbeat-9.6.0"), &[]).unwrap(), escape_html: true, ..Lines::default() };
        let routed = Route { target: Some("mine".into()), pipeline: Some("p".into()), ..Route::default() };
        let batch = [Record { body: b"{\"a\":\"<\"}"[..].into(), ..Record::default() }, Record { route: routed, body: b"{}"[..].into() }];
        let mut out = Vec::new();
        lines.write(&batch, &mut out).unwrap();
        let expected = "{\"create\":{\"_index\":\"packetbeat-9.6.0\"}}\n{\"a\":\"\\u003c\"}\n{\"create\":{\"_index\":\"mine\",\"pipeline\":\"p\"}}\n{}\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_verdict_for_each() {
        assert_eq!(read(br#"{"errors":false}"#, 3), Ok(None));
        assert_eq!(read(br#"{"errors":false,"items":[{"create":{"status":201}}]}"#, 1), Ok(None));
        assert!(read(br#"{"errors":true,"items":[{"create":{"status":201}}]}"#, 2).is_err());
        assert!(read(b"<html>", 1).is_err());
        let reason = r#"{"status":400,"error":{"type":"document_parsing_exception","reason":"failed to parse field [a]. Preview of field's value: 'secret'"}}"#;
        let text = format!(
            r#"{{"errors":true,"items":[{{"create":{{"status":201}}}},{{"create":{{"status":409}}}},{{"create":{reason}}},{{"create":{{"status":429}}}},{{"create":{{"status":503}}}},{{"index":{{"status":500}}}}]}}"#
        );
        let fates: Vec<_> = read(text.as_bytes(), 6).unwrap().unwrap().into_iter().map(|v| v.fate).collect();
        let expected = [
            Fate::Delivered,
            Fate::Duplicate,
            Fate::Rejected("400 document_parsing_exception: failed to parse field [a].".into()),
            Fate::Retry("429".into()),
            Fate::Later("503".into()),
            Fate::Retry("500".into()),
        ];
        assert_eq!(fates, expected);
    }
}

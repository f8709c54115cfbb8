//! Writes the body of a `_bulk` request and reads the result of each record from the response.
//! <https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk>

use crate::{
    output::{Outcome, codec, select::Selector},
    publish::Record,
};
use flate2::{Compression, write::GzEncoder};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    io::{self, Write as _},
};

/// Path and query of the request. `filter_path` reduces the response to the parts that are read.
pub(super) const PATH: &str = "_bulk?filter_path=errors,items.*.error,items.*.status,items.*.failure_store";

/// Selects index and pipeline of each record and writes the lines of the request.
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
    /// Appends the body of a request with these records, in order.
    pub(super) fn write(&self, batch: &[Record], out: &mut Vec<u8>) -> io::Result<()> {
        for record in batch {
            let index = name(record.route.target.as_deref(), &self.index, record).unwrap_or(Cow::Borrowed(""));
            let pipeline = name(record.route.pipeline.as_deref(), &self.pipeline, record);
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

/// Returns the name in the record's route (`own`) if there is one, otherwise the name that the selector chooses. The chosen name is
/// converted to lower case, as Elasticsearch requires.
fn name<'a>(own: Option<&'a str>, selector: &'a Selector, record: &Record) -> Option<Cow<'a, str>> {
    own.map(Cow::Borrowed).or_else(|| match selector.choose(record)? {
        Cow::Owned(chosen) => Some(Cow::Owned(chosen.to_lowercase())),
        constant => Some(constant),
    })
}

/// Appends the body of a request to the dead letter index: each refused document as text, with the reason.
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

/// Compresses the body with gzip.
pub(super) fn compress(body: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 6 + 64), Compression::new(level));
    encoder.write_all(body)?;
    encoder.finish()
}

#[derive(Deserialize)]
struct Answer<'a> {
    // Both fields are required. A response without them does not come from Elasticsearch but, for example, from a proxy, and
    // the records count as not delivered.
    errors: bool,
    #[serde(borrow)]
    items: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(alias = "index", borrow)]
    create: Item<'a>,
}

#[derive(Deserialize)]
struct Item<'a> {
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

/// The server's result for one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ItemResult {
    pub status: u16,
    pub outcome: Outcome,
}

/// Reads the response to a request with `count` records. Returns `None` when all are delivered.
///
/// # Errors
/// When the response is not JSON of the expected form, or has another number of results.
pub(super) fn read(answer: &[u8], count: usize) -> Result<Option<Vec<ItemResult>>, String> {
    let answer: Answer<'_> = serde_json::from_slice(answer)
        .map_err(|e| format!("the answer to _bulk is not Elasticsearch's; does something else answer in its place? ({e})"))?;
    if answer.items.len() != count {
        return Err(format!("the answer to _bulk has {} results for {count} events", answer.items.len()));
    }
    if !answer.errors && answer.items.iter().all(|entry| (200..300).contains(&entry.create.status)) {
        return Ok(None);
    }
    Ok(Some(answer.items.iter().map(|entry| result(&entry.create)).collect()))
}

fn result(item: &Item<'_>) -> ItemResult {
    // The reason may quote the refused value. That part is cut off, because values of events must not reach the log.
    let why = || match &item.error {
        Some(error) => {
            let reason = error.reason.split(" Preview of field's value").next().unwrap_or_default();
            format!("{} {}: {reason}", item.status, error.kind)
        }
        None => item.status.to_string(),
    };
    let outcome = match item.status {
        200..300 => Outcome::Delivered,
        409 => Outcome::Duplicate,
        429 => Outcome::Retry(why()),
        502..=504 => Outcome::Later(why()),
        500.. => Outcome::Retry(why()),
        _ => Outcome::Rejected(why()),
    };
    ItemResult { status: item.status, outcome }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Node, output::select::Keys, publish::Route};

    #[test]
    fn lines_name_index_and_pipeline() {
        let indices = Node::parse("indices: [{index: 'By-%{[type]}', when: {has_fields: [type]}}]").unwrap();
        let keys = Keys { list: "indices", name: "index" };
        let lines =
            Lines { index: Selector::read(&indices, keys, Some("packetbeat-9.6.0")).unwrap(), escape_html: true, ..Lines::default() };
        let routed = Route { target: Some("mine".into()), pipeline: Some("p".into()), ..Route::default() };
        let batch = [
            Record { body: b"{\"a\":\"<\"}"[..].into(), ..Record::default() },
            Record { route: routed, body: b"{}"[..].into() },
            Record { body: b"{\"type\":\"DNS\"}"[..].into(), ..Record::default() },
        ];
        let mut out = Vec::new();
        lines.write(&batch, &mut out).unwrap();
        let expected = "{\"create\":{\"_index\":\"packetbeat-9.6.0\"}}\n{\"a\":\"\\u003c\"}\n{\"create\":{\"_index\":\"mine\",\"pipeline\":\"p\"}}\n{}\n{\"create\":{\"_index\":\"by-dns\"}}\n{\"type\":\"DNS\"}\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn answers_that_deliver_nothing() {
        for answer in [
            "{}",
            "[]",
            "null",
            "true",
            "",
            "<html>",
            r#"{"errors":false}"#,
            r#"{"items":[{"create":{"status":201}}]}"#,
            r#"{"errors":false,"items":[]}"#,
            r#"{"errors":false,"items":{}}"#,
            r#"{"errors":false,"items":null}"#,
            r#"{"errors":"false","items":[{"create":{"status":201}}]}"#,
            r#"{"errors":false,"items":[{}]}"#,
            r#"{"errors":false,"items":[{"create":{}}]}"#,
            r#"{"errors":false,"items":[{"delete":{"status":200}}]}"#,
            r#"{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}"#,
            r#"{"acknowledged":true}"#,
            r#"{"errors":false,"items":[{"create":{"status":201}}]"#,
        ] {
            let result = read(answer.as_bytes(), 1);
            assert!(result.is_err(), "{answer}: {result:?}");
        }
    }

    #[test]
    fn a_result_for_each() {
        assert_eq!(read(br#"{"errors":false,"items":[{"create":{"status":201}}]}"#, 1), Ok(None));
        assert!(read(br#"{"errors":true,"items":[{"create":{"status":201}}]}"#, 2).is_err());
        let refused = br#"{"errors":false,"items":[{"create":{"status":429}}]}"#;
        assert_eq!(read(refused, 1).unwrap().unwrap()[0].outcome, Outcome::Retry("429".into()), "whatever `errors` says");
        let reason = r#"{"status":400,"error":{"type":"document_parsing_exception","reason":"failed to parse field [a]. Preview of field's value: 'secret'"}}"#;
        let text = format!(
            r#"{{"errors":true,"items":[{{"create":{{"status":201}}}},{{"create":{{"status":409}}}},{{"create":{reason}}},{{"create":{{"status":429}}}},{{"create":{{"status":503}}}},{{"index":{{"status":500}}}}]}}"#
        );
        let outcomes: Vec<_> = read(text.as_bytes(), 6).unwrap().unwrap().into_iter().map(|result| result.outcome).collect();
        let expected = [
            Outcome::Delivered,
            Outcome::Duplicate,
            Outcome::Rejected("400 document_parsing_exception: failed to parse field [a].".into()),
            Outcome::Retry("429".into()),
            Outcome::Later("503".into()),
            Outcome::Retry("500".into()),
        ];
        assert_eq!(outcomes, expected);
    }
}

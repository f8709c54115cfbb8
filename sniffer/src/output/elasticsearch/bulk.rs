//! Writes the body of a `_bulk` request and reads the result of each record from the response.
//! <https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk>

use crate::{
    output::{Outcome, Reason, codec, http::kind_of_error, select::Selector},
    publish::Record,
};
use flate2::{Compression, write::GzEncoder};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    io::{self, Write as _},
};

/// Path and query of the request. `filter_path` reduces the response to the parts that this module reads.
pub(super) const PATH: &str = "_bulk?filter_path=errors%2Citems.%2A.error%2Citems.%2A.status%2Citems.%2A.failure_store";

/// Selects index and pipeline of each record and writes the lines of the request.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub index: Selector,
    pub pipeline: Selector,
    pub escape_html: bool,
}

/// The operation that the server performs with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Create,
    Index,
    Delete,
}

#[derive(Serialize)]
struct Place<'a> {
    _index: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    _id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline: Option<&'a str>,
}

/// Appends the line with the operation for a document.
fn action(operation: Operation, place: &Place<'_>, out: &mut Vec<u8>) {
    // Writing to memory does not fail, and none of these types refuses to be serialized.
    let _ = serde_json::to_writer(&mut *out, &BTreeMap::from([(operation, place)]));
    out.push(b'\n');
}

impl Lines {
    /// Appends the lines of one record.
    ///
    /// # Errors
    /// When the record has no index, or lacks the identifier of the document that it deletes. In this case nothing is appended.
    pub(super) fn write(&self, record: &Record, out: &mut Vec<u8>) -> Result<(), Reason> {
        let to = &record.route.destination;
        let index = name(to.target.as_deref(), &self.index, record).ok_or_else(|| self.index.missing("index", record))?;
        let pipeline = name(to.pipeline.as_deref(), &self.pipeline, record);
        let document = to.document.as_deref();
        let id = document.and_then(|document| document.id.as_deref());
        let operation = match document.and_then(|document| document.operation.as_deref()) {
            Some("index") => Operation::Index,
            Some("delete") if id.is_none() => return Err("op_type is delete, but the event has no @metadata._id".into()),
            Some("delete") => Operation::Delete,
            _ => Operation::Create,
        };
        action(operation, &Place { _index: &index, _id: id, pipeline: pipeline.as_deref() }, out);
        if operation == Operation::Delete {
            return Ok(());
        }
        if self.escape_html {
            out.extend_from_slice(&codec::escape(&record.body))
        } else {
            out.extend_from_slice(&record.body)
        }
        out.push(b'\n');
        Ok(())
    }
}

/// Returns the name in the record's route (`own`) if there is one, otherwise the name that the selector chooses, in lower case, as
/// Elasticsearch requires. An empty name counts as none.
fn name<'a>(own: Option<&'a str>, selector: &'a Selector, record: &Record) -> Option<Cow<'a, str>> {
    let name = own.map(Cow::Borrowed).or_else(|| selector.choose(record)).filter(|name| !name.is_empty())?;
    Some(if name.chars().any(char::is_uppercase) { Cow::Owned(name.to_lowercase()) } else { name })
}

/// Appends the lines of a dead letter: the refused document as text, with the status and the server's error. The event's ingest pipeline is
/// not applied to a dead letter.
pub(super) fn dead_letter(index: &str, record: &Record, status: u16, why: &Reason, out: &mut Vec<u8>) {
    action(Operation::Create, &Place { _index: index, _id: None, pipeline: None }, out);
    let error = why.detail.as_deref().unwrap_or(&why.summary);
    let message = String::from_utf8_lossy(&record.body);
    let time = jiff::Timestamp::from_nanosecond(record.route.time.0.into()).unwrap_or_default().to_string();
    let letter = serde_json::json!({"@timestamp": time, "message": message, "error.type": status, "error.message": error});
    out.extend_from_slice(letter.to_string().as_bytes());
    out.push(b'\n');
}

/// Compresses the body with gzip.
pub(super) fn compress(body: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 6 + 64), Compression::new(level));
    encoder.write_all(body)?;
    encoder.finish()
}

#[derive(Deserialize)]
struct Answer<'a> {
    /// The field is required, because a response without it does not come from Elasticsearch but, for example, from a proxy.
    #[serde(borrow)]
    items: Vec<Entry<'a>>,
}

/// An item such as `{"create": {"status": 201}}`. The name of the operation is not read.
struct Entry<'a>(Item<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Entry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Item<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an operation and its result")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Item<'de>, A::Error> {
                let item = map.next_entry::<de::IgnoredAny, Item<'de>>()?.map(|(_, item)| item);
                while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
                item.ok_or_else(|| de::Error::missing_field("create"))
            }
        }
        deserializer.deserialize_map(Visitor).map(Self)
    }
}

#[derive(Deserialize)]
struct Item<'a> {
    status: u16,
    /// The error of an item. Today's servers send a map, older servers and gateways a text.
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(default, borrow, rename = "type")]
    kind: Cow<'a, str>,
}

/// The server's result for one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ItemResult {
    pub status: u16,
    pub outcome: Outcome,
}

/// Maximum number of characters of an unreadable response that the log shows.
const MAX_SHOWN: usize = 60;

/// Reads the response to a request with `count` records. Returns `None` when all are delivered. The `status` of each item counts, whatever
/// else the response contains.
///
/// # Errors
/// When the response is not JSON of the expected form, or has another number of results.
pub(super) fn read(answer: &[u8], count: usize) -> Result<Option<Vec<ItemResult>>, String> {
    let parsed: Answer<'_> = serde_json::from_slice(answer).map_err(|e| {
        let begin: String = String::from_utf8_lossy(answer).chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!(
            "the response to _bulk is not from Elasticsearch; check that `hosts` names the server. The response begins with '{begin}' ({e})"
        )
    })?;
    if parsed.items.len() != count {
        return Err(format!("the answer to _bulk has {} results for {count} events", parsed.items.len()));
    }
    if parsed.items.iter().all(|entry| (200..300).contains(&entry.0.status)) {
        return Ok(None);
    }
    Ok(Some(parsed.items.iter().map(|entry| result(&entry.0)).collect()))
}

/// Types of errors that say that the index or the server cannot accept the event now, whatever the status.
const NOT_NOW: &[&str] = &[
    "circuit_breaking_exception",
    "cluster_block_exception",
    "es_rejected_execution_exception",
    "index_closed_exception",
    "process_cluster_event_timeout_exception",
    "security_exception",
    "unavailable_shards_exception",
];

fn result(item: &Item<'_>) -> ItemResult {
    let parsed: Option<Kind<'_>> = item.error.and_then(|error| serde_json::from_str(error.get()).ok());
    let kind = parsed.as_ref().map(|error| kind_of_error(&error.kind)).unwrap_or_default();
    let why = || Reason::with_detail(format!("{} {kind}", item.status).trim_end(), item.error.map_or("", RawValue::get));
    let outcome = match item.status {
        200..300 => Outcome::Delivered,
        409 => Outcome::Duplicate,
        _ if NOT_NOW.contains(&kind) => Outcome::Later(why()),
        401 | 403 | 408 | 425 | 429 => Outcome::Later(why()),
        // A failing ingest pipeline has the status 500, although it may fail for this event only. A missing index may be created in the
        // meantime.
        404 | 500 | 501 => Outcome::Retry(why()),
        500.. => Outcome::Later(why()),
        _ => Outcome::Rejected(why()),
    };
    ItemResult { status: item.status, outcome }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Node,
        output::select::Keys,
        publish::{Destination, Document, Route},
    };

    #[test]
    fn lines_name_index_and_pipeline() {
        let indices = Node::parse("indices: [{index: 'By-%{[type]}', when: {has_fields: [type]}}]").unwrap();
        let keys = Keys { list: "indices", name: "index", ignores_case: true };
        let lines =
            Lines { index: Selector::read(&indices, keys, Some("packetbeat-9.6.0")).unwrap(), escape_html: true, ..Lines::default() };
        let to = |target: &str, document| Destination { target: Some(target.into()), pipeline: Some("P".into()), document };
        let routed = |destination| Route { destination, ..Route::default() };
        let document =
            |operation: &str, id: Option<&str>| Some(Box::new(Document { id: id.map(Into::into), operation: Some(operation.into()) }));
        let batch = [
            Record { body: b"{\"a\":\"<\"}"[..].into(), ..Record::default() },
            Record { route: routed(to("Mine", None)), body: b"{}"[..].into() },
            Record { route: routed(to("a", document("index", Some("7")))), body: b"{}"[..].into() },
            Record { route: routed(to("a", document("delete", Some("8")))), body: b"{}"[..].into() },
            Record { route: routed(to("a", document("update", None))), body: b"{}"[..].into() },
            Record { body: b"{\"type\":\"DNS\"}"[..].into(), ..Record::default() },
        ];
        let mut out = Vec::new();
        batch.iter().for_each(|record| lines.write(record, &mut out).unwrap());
        let expected = "{\"create\":{\"_index\":\"packetbeat-9.6.0\"}}\n{\"a\":\"\\u003c\"}\n{\"create\":{\"_index\":\"mine\",\"pipeline\":\"p\"}}\n{}\n\
                        {\"index\":{\"_index\":\"a\",\"_id\":\"7\",\"pipeline\":\"p\"}}\n{}\n\
                        {\"delete\":{\"_index\":\"a\",\"_id\":\"8\",\"pipeline\":\"p\"}}\n\
                        {\"create\":{\"_index\":\"a\",\"pipeline\":\"p\"}}\n{}\n{\"create\":{\"_index\":\"by-dns\"}}\n{\"type\":\"DNS\"}\n";
        assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
        let delete = Record { route: routed(to("a", document("delete", None))), body: b"{}"[..].into() };
        assert!(lines.write(&delete, &mut out).unwrap_err().summary.contains("no @metadata._id"));
        let lines = Lines { index: Selector::read(&Node::default(), keys, Some("%{[a]}-%{[b.c]}")).unwrap(), ..Lines::default() };
        let why = lines.write(&Record { body: b"{\"a\":1}"[..].into(), ..Record::default() }, &mut out).unwrap_err();
        assert_eq!(why.summary, "the event has no field b.c, of which `index` is made");
        assert_eq!(String::from_utf8(out).unwrap(), expected, "nothing is written for them");
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
            r#"{"errors":false,"items":[]}"#,
            r#"{"errors":false,"items":{}}"#,
            r#"{"errors":false,"items":null}"#,
            r#"{"errors":false,"items":[{}]}"#,
            r#"{"errors":false,"items":[{"create":{}}]}"#,
            r#"{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}"#,
            r#"{"acknowledged":true}"#,
            r#"{"errors":false,"items":[{"create":{"status":201}}]"#,
        ] {
            let result = read(answer.as_bytes(), 1);
            assert!(result.is_err(), "{answer}: {result:?}");
        }
    }

    #[test]
    fn only_the_status_of_each_item_decides() {
        for answer in [
            r#"{"errors":false,"items":[{"create":{"status":201}}]}"#,
            r#"{"items":[{"create":{"status":201}}]}"#,
            r#"{"errors":true,"items":[{"create":{"status":201,"error":"made up"}}]}"#,
            r#"{"errors":"false","items":[{"delete":{"status":200,"error":{"type":7}}}],"took":{}}"#,
            r#"{"errors":null,"items":[{"update":{"error":[],"status":200},"more":1}]}"#,
        ] {
            assert_eq!(read(answer.as_bytes(), 1), Ok(None), "{answer}");
        }
        assert!(read(br#"{"errors":true,"items":[{"create":{"status":201}}]}"#, 2).is_err());
    }

    #[test]
    fn each_record_has_its_own_result() {
        let item = |status: u16, error: &str| {
            let error = if error.is_empty() { String::new() } else { format!(r#","error":{error}"#) };
            format!(r#"{{"errors":false,"items":[{{"create":{{"status":{status}{error}}}}}]}}"#)
        };
        let outcome = |status, error: &str| read(item(status, error).as_bytes(), 1).unwrap().unwrap().remove(0).outcome;
        assert_eq!(outcome(409, ""), Outcome::Duplicate);
        for status in [401, 403, 408, 429, 502, 503, 504, 520, 529] {
            assert_eq!(outcome(status, ""), Outcome::Later(status.to_string().into()));
        }
        for status in [404, 500] {
            assert_eq!(outcome(status, ""), Outcome::Retry(status.to_string().into()));
        }
        let error = r#"{"type":"document_parsing_exception","reason":"failed to parse field [a] with 'secret'"}"#;
        let refused = Reason { summary: "400 document_parsing_exception".into(), detail: Some(error.into()) };
        assert_eq!(outcome(400, error), Outcome::Rejected(refused));
        let text = Reason { summary: "400".into(), detail: Some(r#""secret""#.into()) };
        assert_eq!(outcome(400, r#""secret""#), Outcome::Rejected(text));
        assert!(!format!("{}", Reason::with_detail("400", "secret")).contains("secret"));
        for kind in ["cluster_block_exception", "index_closed_exception", "security_exception"] {
            assert!(matches!(outcome(400, &format!(r#"{{"type":"{kind}"}}"#)), Outcome::Later(_)), "{kind}");
        }
        let quoting = outcome(400, r#"{"type":"a secret"}"#);
        assert!(matches!(&quoting, Outcome::Rejected(why) if why.summary == "400"), "{quoting:?}");
    }
}

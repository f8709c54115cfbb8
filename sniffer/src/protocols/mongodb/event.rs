//! Reports a request and its reply as a document.

use super::{
    Mongo, json,
    request::{Request, number},
    wire::{Message, Msg, documents},
};
use crate::{
    event::{Head, Status, Text},
    protocols::Context,
    time::Timestamp,
};
use bson::{RawBsonRef, RawDocument};
use serde::Serialize;

/// Maximum number of bytes of an error's text.
const MOST_ERROR: usize = 16 << 10;

/// A server's reply to a request.
pub struct Reply<'a> {
    /// Packet time of the reply's first byte.
    pub time: Timestamp,
    /// Length of the reply on the wire in bytes.
    pub bytes: u64,
    /// The contents of the reply; `None` if they cannot be parsed.
    pub message: Option<Message<'a>>,
    /// Whether only a part of the message was read.
    pub cut: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    mongodb: Fields<'a>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    full_collection_name: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number_to_skip: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number_to_return: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number_returned: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starting_from: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_fields_selector: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Text<'a>>,
}

/// The result fields of a reply to a command.
#[derive(Default)]
struct Outcome {
    error: Option<String>,
    cursor: Option<i64>,
    returned: Option<i64>,
}

/// Reports a request, with its reply if there is one.
pub fn emit(request: &Request, reply: Option<&Reply<'_>>, plugin: &Mongo, cx: &mut Context<'_>) {
    let span = |span: Option<_>| span.map(|span| request.at(span));
    let mut fields = Fields {
        full_collection_name: span(request.name),
        number_to_skip: request.skip,
        number_to_return: request.number,
        cursor_id: request.cursor,
        selector: span(request.selector),
        update: span(request.update),
        return_fields_selector: span(request.fields),
        message: span(request.message),
        ..Fields::default()
    };
    let outcome = match reply.and_then(|r| r.message.as_ref()) {
        Some(&Message::Reply { cursor, from, number, documents: data }) => {
            fields.starting_from = Some(from);
            Outcome { error: legacy_error(data), cursor: Some(cursor), returned: Some(number.into()) }
        }
        Some(Message::Msg(msg)) => outcome(msg, reply.is_some_and(|r| r.cut)),
        _ => Outcome::default(),
    };
    fields.cursor_id = outcome.cursor.or(fields.cursor_id);
    fields.number_returned = outcome.returned;
    fields.error = outcome.error.as_ref().map(Text::from);
    let failed = outcome.error.is_some();
    let response = reply.filter(|_| plugin.common.send_response).and_then(|reply| response(reply, plugin));
    let head = Head {
        status: if failed { Status::Error } else { Status::OK },
        // As in Packetbeat, `event.outcome` is "failure" only for an OP_MSG, and empty for legacy operations.
        outcome: if failed && request.modern { "failure" } else { "" },
        start: Some(request.time),
        end: reply.map(|r| r.time),
        source_bytes: request.bytes,
        destination_bytes: reply.map_or(0, |r| r.bytes),
        method: Some(request.at(request.method)),
        resource: Some(request.at(request.resource)),
        query: Some(request.at(request.query)),
        request: span(request.request),
        response: response.as_ref().map(Text::from),
        ..Head::new("mongodb")
    };
    cx.emit(&head, &Body { mongodb: fields });
}

/// The error in the reply to a legacy operation. The first document shows whether a query or writes failed.
fn legacy_error(data: &[u8]) -> Option<String> {
    let first = documents(data).next()?;
    let element = first.iter_elements().map_while(Result::ok).find(|e| matches!(e.key().as_str(), "$err" | "writeErrors"))?;
    let mut text = String::new();
    json::value(&mut text, &element, MOST_ERROR);
    Some(text)
}

fn outcome(msg: &Msg<'_>, cut: bool) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut failed, mut message, mut code, mut writes) = (false, None, None, None);
    for element in msg.body.iter_elements().map_while(Result::ok) {
        match element.key().as_str() {
            "ok" => failed = number(&element) == Some(0),
            "errmsg" => message = Some(element),
            "code" => code = number(&element),
            "writeErrors" | "writeConcernError" => writes = writes.or(Some(element)),
            "cursor" => {
                if let Ok(RawBsonRef::Document(cursor)) = element.value() {
                    (outcome.cursor, outcome.returned) = batch(cursor, cut);
                }
            }
            _ => {}
        }
    }
    outcome.error = match (failed, message, writes) {
        (true, Some(message), _) => Some(match message.value() {
            Ok(RawBsonRef::String(text)) => text.chars().take(MOST_ERROR).collect(),
            _ => String::new(),
        }),
        (true, None, None) => Some(format!("code {}", code.unwrap_or(0))),
        (_, _, Some(writes)) => {
            let mut text = String::new();
            json::value(&mut text, &writes, MOST_ERROR);
            Some(text)
        }
        _ => None,
    };
    outcome
}

/// The id of the cursor, and how many documents of the result this reply contains.
fn batch(cursor: &RawDocument, cut: bool) -> (Option<i64>, Option<i64>) {
    let (mut id, mut returned) = (None, None);
    for element in cursor.iter_elements().map_while(Result::ok) {
        match (element.key().as_str(), element.value()) {
            ("id", _) => id = number(&element),
            ("firstBatch" | "nextBatch", Ok(RawBsonRef::Array(batch))) if !cut => {
                let items = RawDocument::from_bytes(batch.as_bytes()).map(|d| d.iter_elements().map_while(Result::ok).count());
                returned = items.ok().and_then(|n| i64::try_from(n).ok());
            }
            _ => {}
        }
    }
    (id, returned)
}

/// The documents of the reply, one per line; `None` if there are none.
fn response(reply: &Reply<'_>, plugin: &Mongo) -> Option<String> {
    let mut out = String::new();
    let most = plugin.max_doc_length();
    let mut left = plugin.max_docs();
    let mut add = |document: &RawDocument| {
        if !out.is_empty() {
            out.push('\n');
        }
        if left == 0 {
            out.push_str("[...]");
            return false;
        }
        left -= 1;
        json::document(&mut out, document, most);
        true
    };
    match reply.message.as_ref()? {
        Message::Reply { documents: data, .. } => documents(data).all(&mut add),
        Message::Msg(msg) => add(msg.body) && msg.sequences.iter().all(|(_, data)| documents(data).all(&mut add)),
        _ => true,
    };
    (!out.is_empty()).then_some(out)
}

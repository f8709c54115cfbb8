//! Reports a command and its response as a document.

use super::{
    answer::Answer,
    command::{Command, Kind},
    values::List,
};
use crate::{
    event::{Head, Status, Text},
    protocols::{CommonOptions, Context},
};
use serde::{Serialize, Serializer};

const CUT: &str = "Packet loss while capturing the response";
const UNKNOWN: &str = "The actual query being used is unknown";

#[derive(Serialize)]
struct Body<'a> {
    mysql: Fields<'a>,
    #[serde(skip_serializing_if = "List::is_empty", serialize_with = "texts")]
    params: &'a List,
}

#[derive(Serialize)]
struct Fields<'a> {
    affected_rows: u64,
    insert_id: u64,
    num_rows: u64,
    num_fields: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<Text<'a>>,
}

fn texts<S: Serializer>(list: &List, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(Text))
}

/// Reports a command and its response. `failed` is set if the connection ended in the middle of the response.
pub fn emit(command: &Command, answer: &Answer, failed: bool, common: &CommonOptions, method: &mut Vec<u8>, cx: &mut Context<'_>) {
    let sql: &[u8] = match (&command.statement, command.kind) {
        (Some(sql), _) => sql,
        (None, Kind::Execute) => b"",
        (None, _) => &command.text,
    };
    let sql = trim(sql);
    method.clear();
    method.extend(sql.split(|b| matches!(b, b' ' | b'\r' | b'\n' | b'\t')).next().unwrap_or_default().iter().map(u8::to_ascii_uppercase));
    let mut notes = Vec::new();
    let statement;
    let query = match command.kind {
        Kind::Prepare if answer.prepared.is_some() => {
            statement = Text(sql).to_str();
            notes.push(&*statement);
            b"Request Prepare Statement"
        }
        Kind::Execute if command.statement.is_none() => {
            notes.push(UNKNOWN);
            method.extend_from_slice(b"EXECUTE");
            b"Request Execute Statement"
        }
        _ => sql,
    };
    if answer.lost {
        notes.push(CUT);
    }
    let request: &[u8] = if command.kind == Kind::Execute { b"" } else { &command.text };
    let error = answer.error.as_ref();
    let head = Head {
        status: if failed || error.is_some() { Status::Error } else { Status::OK },
        start: Some(command.time),
        end: Some(answer.start),
        source_bytes: command.bytes,
        destination_bytes: answer.bytes,
        method: Some(Text(method)),
        path: Some(Text(&answer.tables)).filter(|t| !t.is_empty()),
        query: Some(Text(query)),
        request: common.send_request.then_some(Text(request)),
        response: common.send_response.then_some(Text(&answer.csv)),
        notes: &notes,
        ..Head::new("mysql")
    };
    // As in Packetbeat, the highest bit of numbers that do not fit 64 signed bits is cleared.
    let signed = |n: u64| n & (u64::MAX >> 1);
    let mysql = Fields {
        affected_rows: signed(answer.affected),
        insert_id: signed(answer.insert_id),
        num_rows: answer.rows,
        num_fields: answer.fields,
        error_code: error.map(|e| e.0),
        error_message: error.map(|e| Text(&e.1)),
    };
    cx.emit(&head, &Body { mysql, params: &command.params });
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\r' | b'\n' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\r' | b'\n' | b'\t'] = text {
        text = rest;
    }
    text
}

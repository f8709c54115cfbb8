//! Reports a call and its reply as a document.

use super::{idl::Method, values::Values};
use crate::{
    event::{Head, Status, Text},
    protocols::{
        CommonOptions, Context,
        kit::{backlog::Waits, held::Held},
    },
    time::Timestamp,
};
use serde::Serialize;
use std::{fmt::Write, sync::Arc};

/// A call that may wait for its reply.
pub struct Asked {
    /// The method, without the service of a multiplexed call.
    pub name: String,
    /// The service of a multiplexed call.
    pub service: Option<String>,
    /// The definition of the method, if it is known.
    pub method: Option<Arc<Method>>,
    pub sequence: i32,
    pub params: String,
    pub time: Timestamp,
    pub bytes: u64,
    /// The state of the call.
    pub outcome: Outcome,
}

/// The state of a call.
pub enum Outcome {
    /// The call is open: a reply may arrive.
    Open,
    /// The call is one-way: no reply will arrive.
    OneWay,
    /// The reply has arrived.
    Answered(Box<Answer>),
}

impl Held for Asked {
    fn held(&self) -> usize {
        let answer = match &self.outcome {
            Outcome::Answered(answer) => size_of::<Answer>() + answer.values.held(),
            Outcome::Open | Outcome::OneWay => 0,
        };
        self.name.held() + self.params.held() + self.service.held() + answer
    }
}

impl Waits for Asked {
    fn since(&self) -> Timestamp {
        self.time
    }
}

/// A captured reply.
pub struct Answer {
    pub values: Values,
    /// Whether the reply is an error of the server (TApplicationException), not of the method.
    pub exception: bool,
    pub time: Timestamp,
    pub bytes: u64,
    /// Whether a part of the message is missing.
    pub damaged: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    thrift: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    params: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    service: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exceptions: Option<&'a str>,
}

/// The options that determine the texts of a document.
pub struct Shown<'a> {
    pub common: &'a CommonOptions,
    pub string_max_size: usize,
    pub reply: bool,
}

/// Reports a call, with its reply if there is one. `failed` is set if the reply is missing although the call requires
/// one.
pub fn emit(asked: &Asked, answer: Option<&Answer>, failed: bool, shown: &Shown<'_>, scratch: &mut String, cx: &mut Context<'_>) {
    let service = asked.service.as_deref().or(asked.method.as_ref().map(|method| method.service.as_str())).unwrap_or_default();
    scratch.clear();
    if asked.name.len() > shown.string_max_size {
        let cut = asked.name.floor_char_boundary(shown.string_max_size);
        scratch.push_str(asked.name.get(..cut).unwrap_or_default());
        scratch.push_str("...");
    } else {
        scratch.push_str(&asked.name);
    }
    let name = scratch.len();
    scratch.push_str(&asked.params);
    let query = scratch.len();
    let raised = answer.is_some_and(|answer| answer.exception || answer.values.first.is_some_and(|first| first.0 != 0));
    let exceptions = answer.filter(|_| raised && shown.reply).map(|answer| answer.values.text.as_str());
    let value = answer.filter(|_| !raised && shown.reply).map_or("", |answer| answer.values.first_value());
    if let Some(exceptions) = exceptions.filter(|_| shown.common.send_response) {
        let _ = write!(scratch, "Exceptions: {exceptions}");
    }
    let part = |from: usize, to: usize| Text(scratch.as_bytes().get(from..to).unwrap_or_default());
    let response = if exceptions.is_some() { part(query, scratch.len()) } else { value.into() };
    let notes: &[&str] = if answer.is_some_and(|answer| answer.damaged) { &["Packet loss while capturing the response"] } else { &[] };
    let head = Head {
        status: if raised || failed { Status::Error } else { Status::OK },
        start: Some(asked.time),
        end: answer.map(|answer| answer.time),
        source_bytes: asked.bytes,
        destination_bytes: answer.map_or(0, |answer| answer.bytes),
        method: Some(part(0, name)),
        path: Some(service.into()),
        query: Some(part(0, query)),
        request: shown.common.send_request.then(|| part(0, query)),
        response: (shown.common.send_response && answer.is_some()).then_some(response),
        notes,
        ..Head::new("thrift")
    };
    let fields = Fields { params: &asked.params, service, return_value: answer.map(|_| value), exceptions };
    cx.emit(&head, &Body { thrift: fields });
}

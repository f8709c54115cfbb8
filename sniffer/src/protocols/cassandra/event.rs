//! Reports a request and its response, or an event that the server pushes, as a document.

use super::{
    Options,
    answer::Answer,
    wire::{Header, Op},
};
use crate::{
    event::{Head, Status, Text},
    protocols::{Context, kit::held::Held},
    time::Timestamp,
};
use serde::Serialize;

/// A request that waits for its response.
pub struct Request {
    /// The header of the request's envelope.
    pub header: Header,
    /// The text of a QUERY.
    pub query: Option<Box<[u8]>>,
    /// Packet time of the request's first byte.
    pub time: Timestamp,
}

impl Held for Request {
    fn held(&self) -> usize {
        self.query.held()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    cassandra: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    no_request: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Asked<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Answer<'a>>,
}

#[derive(Serialize)]
struct Asked<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Header>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<Text<'a>>,
}

/// Reports a response whose first byte arrived at `end`, with its request if there is one.
pub fn emit(request: Option<&Request>, header: &Header, mut answer: Answer<'_>, end: Timestamp, options: &Options, cx: &mut Context<'_>) {
    let failed = header.op == Op::ERROR;
    let head = Head {
        status: if failed { Status::Error } else { Status::OK },
        outcome: if failed { "failure" } else { "" },
        start: request.map(|request| request.time),
        end: Some(end),
        source_bytes: request.map_or(0, |request| request.header.total()),
        destination_bytes: header.total(),
        ..Head::new("cassandra")
    };
    let asked = request
        .filter(|_| options.send_request)
        .map(|request| Asked { headers: options.send_request_header.then_some(request.header), query: request.query.as_deref().map(Text) });
    answer.headers = options.send_response_header.then_some(*header);
    let body = Body {
        cassandra: Fields {
            no_request: request.is_none().then_some(true),
            request: asked.filter(|asked| asked.headers.is_some() || asked.query.is_some()),
            response: Some(answer).filter(|answer| options.send_response && !answer.is_empty()),
        },
    };
    cx.emit(&head, &body);
}

//! Reports a command and its reply as a document.

use super::wire::{Kind, Message};
use crate::{
    event::{Head, Status, Text},
    protocols::{
        CommonOptions, Context,
        kit::{backlog::Waits, held::Held},
    },
    time::Timestamp,
};
use serde::Serialize;

/// Commands whose name has two words. Packetbeat has the first four; the others were added by later servers.
const CONTAINERS: &[&[u8]] = &[
    b"CLIENT",
    b"CONFIG",
    b"DEBUG",
    b"SCRIPT",
    b"ACL",
    b"CLUSTER",
    b"COMMAND",
    b"FUNCTION",
    b"LATENCY",
    b"MEMORY",
    b"MODULE",
    b"XGROUP",
    b"XINFO",
];

/// Maximum number of bytes that the text of a command may have allocated in addition to its length.
const MOST_SLACK: usize = 4 << 10;

/// A command that waits for its reply.
pub struct Request {
    /// All words, joined by spaces; empty if there was no room to keep them.
    pub text: Vec<u8>,
    /// The command in upper case, one or two words.
    pub method: Vec<u8>,
    /// Position of the first argument in `text`.
    resource: (usize, usize),
    /// Length of the command on the wire in bytes.
    pub bytes: u64,
    /// Packet time of the command's first byte.
    pub time: Timestamp,
}

impl Request {
    /// Makes the command of a message of the client; `None` if the message is empty.
    pub fn new(message: Message, time: Timestamp) -> Option<Self> {
        let mut method = message.word(0)?.to_ascii_uppercase();
        let mut words = 1;
        if CONTAINERS.contains(&method.as_slice())
            && let Some(second) = message.word(1)
        {
            method.push(b' ');
            method.extend(second.to_ascii_uppercase());
            words = 2;
        }
        let resource = message.words.get(words).copied().unwrap_or_default();
        let mut text = message.text;
        // A long text has unused capacity, which must not count as held bytes.
        if text.capacity() - text.len() > MOST_SLACK {
            text.shrink_to_fit();
        }
        Some(Self { method, resource, bytes: message.bytes, time, text })
    }

    /// Drops the text of the command. The command stays in the queue, so that its reply is still paired with it.
    pub fn shrink(&mut self) {
        self.text = Vec::new();
        self.method = Vec::new();
    }
}

impl Held for Request {
    fn held(&self) -> usize {
        self.text.held() + self.method.held()
    }
}

impl Waits for Request {
    fn since(&self) -> Timestamp {
        self.time
    }
}

#[derive(Serialize)]
struct Body<'a> {
    redis: Fields<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Fields<'a> {
    ReturnValue(Text<'a>),
    Error(Text<'a>),
}

/// Reports a command and its reply, whose first byte arrived at `end`.
pub fn emit(request: &Request, reply: &Message, end: Timestamp, common: &CommonOptions, scratch: &mut String, cx: &mut Context<'_>) {
    scratch.clear();
    scratch.push_str("redis.");
    scratch.extend(Text(&request.method).to_str().chars().map(|c| c.to_ascii_lowercase()));
    let failed = reply.kind == Kind::Error;
    let text = Text(&reply.text);
    let head = Head {
        status: if failed { Status::Error } else { Status::OK },
        outcome: if failed { "failure" } else { "" },
        action: scratch,
        start: Some(request.time),
        end: Some(end),
        source_bytes: request.bytes,
        destination_bytes: reply.bytes,
        method: Some(Text(&request.method)),
        resource: Some(Text(request.text.get(request.resource.0..request.resource.1).unwrap_or_default())),
        query: Some(Text(&request.text)),
        request: common.send_request.then_some(Text(&request.text)),
        response: common.send_response.then_some(text),
        ..Head::new("redis")
    };
    cx.emit(&head, &Body { redis: if failed { Fields::Error(text) } else { Fields::ReturnValue(text) } });
}

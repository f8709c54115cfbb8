//! Reports methods with their responses, and messages, as documents.

use super::{
    Amqp,
    methods::{self, Method},
    table::{Decimals, InZone},
    wire::{Fields, Value},
};
use crate::{
    event::{Head, Status, Text},
    net::Direction,
    protocols::{
        Context,
        kit::{backlog::Waits, held::Held},
    },
    time::Timestamp,
};
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer, ser::SerializeMap};
use std::{borrow::Cow, fmt::Write};

/// Bytes of class, method and frame end. Packetbeat adds them to the length of the arguments.
const BESIDE_ARGUMENTS: u64 = 12;

/// Packetbeat's note about a close without confirmation.
const UNCONFIRMED: &str = "Close-ok method not received by sender";

/// A request, or a method without a response.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub method: &'static Method,
    pub dir: Direction,
    pub channel: u16,
    pub args: Cow<'a, [u8]>,
    /// Packet time of the request's first byte.
    pub time: Timestamp,
    /// Whether data was lost since the request was captured, by direction.
    pub gaps: [bool; 2],
}

impl Request<'_> {
    /// Copies the borrowed arguments.
    pub fn into_owned(self) -> Request<'static> {
        Request { args: self.args.into_owned().into(), ..self }
    }
}

impl Held for Request<'_> {
    fn held(&self) -> usize {
        match &self.args {
            Cow::Borrowed(_) => 0,
            Cow::Owned(args) => args.held(),
        }
    }
}

impl Waits for Request<'_> {
    fn since(&self) -> Timestamp {
        self.time
    }
}

/// The response to a request.
pub struct Answer<'a> {
    pub method: &'static Method,
    pub args: &'a [u8],
    pub time: Timestamp,
}

/// A message, with the method that carries it.
pub struct Message<'a> {
    pub method: &'static Method,
    pub args: &'a [u8],
    /// The payload of the content header.
    pub header: &'a [u8],
    /// The needed part of the body.
    pub body: &'a [u8],
    /// Size of the complete body.
    pub size: u64,
    pub time: Timestamp,
    /// The basic.get that the message is the response to.
    pub asked: Option<Request<'static>>,
}

#[derive(Serialize)]
struct Body<'f, 'a> {
    amqp: InZone<'f, &'f Fields<'a>>,
    #[serde(rename = "user.id", skip_serializing_if = "Text::is_empty")]
    user: Text<'a>,
}

impl Serialize for InZone<'_, &Fields<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.0.len()))?;
        for (name, value) in &self.0.0 {
            match value {
                Value::Bool(b) => map.serialize_entry(name, b)?,
                Value::Number(n) => map.serialize_entry(name, n)?,
                Value::Text(text) => map.serialize_entry(name, text)?,
                Value::Table(table) => map.serialize_entry(name, &InZone(*table, self.1))?,
                Value::Time(seconds) => map.serialize_entry(name, &InZone(*seconds, self.1))?,
            }
        }
        map.end()
    }
}

/// The text of a method for `request`.
fn text_of(method: &Method, fields: &Fields<'_>) -> String {
    let mut text = String::new();
    for (i, name) in method.text.iter().enumerate() {
        text.push_str(if i == 0 { "" } else { " " });
        match fields.get(name) {
            Some(Value::Number(n)) => text.push_str(itoa::Buffer::new().format(n)),
            _ => text.push_str(&Text(fields.text(name)).to_str()),
        }
    }
    if text.is_empty() { method.name().to_owned() } else { format!("{} {text}", method.name()) }
}

/// Reports a request. `answer`: its response, if there is one. A close without a response is reported with the note [`UNCONFIRMED`].
/// Returns `None` if the arguments of the request or response are incomplete.
pub fn request(amqp: &Amqp, asked: &Request<'_>, answer: Option<&Answer<'_>>, cx: &mut Context<'_>) -> Option<()> {
    let method = asked.method;
    let mut fields = Fields::default();
    fields.arguments(method, &asked.args, amqp.options.parse_arguments)?;
    let failed = method.closes() && fields.number("reply-code").is_some_and(|code| code >= 300);
    if amqp.options.hide_connection_information && (method.hidden || method.closes() && !failed) {
        return Some(());
    }
    let unconfirmed = method.closes() && answer.is_none();
    let text = if amqp.common.send_request { text_of(method, &fields) } else { String::new() };
    let mut shown = method;
    if let Some(answer) = answer {
        fields.arguments(answer.method, answer.args, amqp.options.parse_arguments)?;
        if (answer.method.class, answer.method.id) == methods::BASIC_GET_EMPTY {
            shown = answer.method;
        }
    }
    let head = Head {
        status: if failed || (method.class, method.id) == methods::BASIC_REJECT { Status::Error } else { Status::OK },
        from: asked.dir,
        start: Some(asked.time),
        end: answer.map(|answer| answer.time),
        source_bytes: asked.args.len() as u64 + BESIDE_ARGUMENTS,
        destination_bytes: answer.map_or(0, |answer| answer.args.len() as u64 + BESIDE_ARGUMENTS),
        method: Some(shown.name().into()),
        request: amqp.common.send_request.then_some(Text(text.as_bytes())),
        response: amqp.common.send_response.then_some(Text(if answer.is_some() { b"OK" } else { b"" })),
        notes: if unconfirmed { &[UNCONFIRMED] } else { &[] },
        action: shown.action,
        ..Head::new("amqp")
    };
    cx.emit(&head, &Body { amqp: InZone(&fields, &amqp.zone), user: Text(b"") });
    Some(())
}

/// Reports a message that was published, delivered, returned or fetched. `None` if the arguments of the method are
/// incomplete.
pub fn message(amqp: &Amqp, message: &Message<'_>, cx: &mut Context<'_>) -> Option<()> {
    let method = message.method;
    let mut fields = Fields::default();
    fields.arguments(method, message.args, amqp.options.parse_arguments)?;
    let returned = (method.class, method.id) == methods::BASIC_RETURN;
    if returned && fields.number("reply-code").is_none_or(|code| code < 300) {
        return Some(());
    }
    if amqp.options.parse_headers && fields.properties(message.header).is_none() {
        cx.count("malformed");
    }
    let published = method.by == methods::SentBy::Client;
    let body = if amqp.wants_body(method) { body_text(message, &fields) } else { String::new() };
    let (name, action) =
        if (method.class, method.id) == methods::BASIC_GET_OK { ("basic.get", "amqp.basic.get") } else { (method.name(), method.action) };
    let user = Text(fields.text("user-id"));
    let asked = message.asked.as_ref();
    let mut asked_for = String::new();
    if let Some(asked) = asked.filter(|_| amqp.common.send_request) {
        let mut fields = Fields::default();
        fields.arguments(asked.method, &asked.args, false)?;
        asked_for = text_of(asked.method, &fields);
    }
    let (request, response) = if published { (&body, &asked_for) } else { (&asked_for, &body) };
    let head = Head {
        status: if returned { Status::Error } else { Status::OK },
        start: Some(asked.map_or(message.time, |asked| asked.time)),
        end: asked.map(|_| message.time),
        source_bytes: if published { message.size } else { asked.map_or(0, |asked| asked.args.len() as u64 + BESIDE_ARGUMENTS) },
        destination_bytes: if published { 0 } else { message.size },
        method: Some(name.into()),
        request: amqp.common.send_request.then_some(Text(request.as_bytes())),
        response: amqp.common.send_response.then_some(Text(response.as_bytes())),
        action,
        names_user: !user.is_empty(),
        ..Head::new("amqp")
    };
    cx.emit(&head, &Body { amqp: InZone(&fields, &amqp.zone), user });
    Some(())
}

/// The body as text if its properties say that it is text, otherwise its bytes as numbers.
fn body_text(message: &Message<'_>, fields: &Fields<'_>) -> String {
    let kind = fields.text("content-type");
    let is = |what: &[u8]| memchr::memmem::find(kind, what).is_some();
    let readable = fields.text("content-encoding").is_empty() && (is(b"text") || is(b"json"));
    let mut text = String::new();
    let written = if readable { write!(text, "{}", Text(message.body)) } else { write!(text, "{}", Decimals(message.body, " ")) };
    if written.is_ok() && (message.body.len() as u64) < message.size {
        text.push_str(" [...]");
    }
    text
}

/// The time zone in which times of messages are written.
pub fn local_zone() -> TimeZone {
    TimeZone::system()
}

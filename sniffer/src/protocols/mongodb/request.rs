//! A request that waits for its reply, with the texts of its event.

use super::{
    Mongo,
    commands::is_command,
    inflate, json,
    wire::{Message, Msg, Sequences, flag},
};
use crate::{event::Text, protocols::kit::held::Held, time::Timestamp};
use bson::{RawBsonRef, RawDocument, raw::RawElement};
use std::time::Duration;

/// Maximum number of bytes of one text (selector, fields). A longer text is not readable in one line.
const MOST_TEXT: usize = 64 << 10;
/// Fields that contain the data of a command. They are left out of `query`. Packetbeat leaves out only the first of
/// them.
const DATA: &[&str] = &["documents", "updates", "update", "ops"];
/// Fields about the session and the cluster; left out of `query`, as are all names that begin with `$`.
const ENVELOPE: &[&str] = &["lsid", "txnNumber", "autocommit", "startTransaction"];
/// Fields with secrets: passwords and authentication messages.
const SECRETS: &[&str] = &["payload", "pwd", "speculativeAuthenticate"];

/// The range of a text in [`Request::text`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Span(usize, usize);

/// A request that waits for its reply.
#[derive(Debug, Default)]
pub struct Request {
    /// The id of the request, which its reply contains.
    pub id: i32,
    /// Packet time of the request's first byte.
    pub time: Timestamp,
    /// Length of the request on the wire in bytes.
    pub bytes: u64,
    /// Whether the server sends no reply.
    pub no_reply: bool,
    /// Number of additional time-outs for which the request waits, because it allows the server to take longer.
    pub extra_timeouts: u8,
    /// Whether each reply is followed by another one (OP_QUERY).
    pub exhaust: bool,
    /// Whether the request is an OP_MSG.
    pub modern: bool,
    /// The buffer of all texts.
    pub text: String,
    /// The value of the field `method`.
    pub method: Span,
    /// The value of the field `resource`.
    pub resource: Span,
    /// The value of the field `query`.
    pub query: Span,
    /// The value of the field `request`.
    pub request: Option<Span>,
    /// The value of the field `mongodb.fullCollectionName`.
    pub name: Option<Span>,
    /// The value of the field `mongodb.selector`.
    pub selector: Option<Span>,
    /// The value of the field `mongodb.update`.
    pub update: Option<Span>,
    /// The value of the field `mongodb.returnFieldsSelector`.
    pub fields: Option<Span>,
    /// The value of the field `mongodb.message`.
    pub message: Option<Span>,
    /// The value of the field `mongodb.numberToSkip`.
    pub skip: Option<i64>,
    /// The value of the field `mongodb.numberToReturn`.
    pub number: Option<i64>,
    /// The value of the field `mongodb.cursorId`.
    pub cursor: Option<i64>,
}

impl Held for Request {
    fn held(&self) -> usize {
        self.text.held()
    }
}

impl Request {
    /// Makes the request of `message`; `None` if it is not reported.
    pub fn new(message: &Message<'_>, plugin: &Mongo) -> Option<Self> {
        // Most requests are shorter than this capacity.
        let mut r = Self { text: String::with_capacity(512), ..Self::default() };
        match message {
            Message::Msg(msg) => r.command(msg, plugin)?,
            Message::Query { flags, name, skip, number, document, fields } => {
                r.exhaust = flags & 1 << 6 != 0;
                r.name = Some(r.lossy(name));
                (r.skip, r.number) = (Some((*skip).into()), Some((*number).into()));
                r.fields = fields.map(|fields| r.json(fields));
                r.query(name, document, plugin);
            }
            Message::GetMore { name, number, cursor } => {
                r.name = Some(r.lossy(name));
                (r.number, r.cursor) = (Some((*number).into()), Some(*cursor));
                r.bare("getMore", plugin);
            }
            Message::Insert { name } => {
                r.name = Some(r.lossy(name));
                r.bare("insert", plugin);
            }
            Message::Update { name, selector, update } => {
                r.name = Some(r.lossy(name));
                r.selector = Some(r.json(selector));
                r.update = Some(r.json(update));
                r.bare("update", plugin);
            }
            Message::Delete { name, selector } => {
                r.name = Some(r.lossy(name));
                r.selector = Some(r.json(selector));
                r.bare("delete", plugin);
            }
            Message::KillCursors => r.bare("killCursors", plugin),
            Message::OldMsg(text) => {
                r.message = Some(r.lossy(text));
                r.bare("msg", plugin);
            }
            Message::Reply { .. } | Message::Other => return None,
        }
        r.no_reply |= !matches!(message, Message::Msg(_) | Message::Query { .. } | Message::GetMore { .. });
        Some(r)
    }

    /// The text in the range `span`.
    pub fn at(&self, span: Span) -> Text<'_> {
        self.text.get(span.0..span.1).unwrap_or_default().into()
    }

    /// Drops the text of the complete request.
    pub fn shrink(&mut self) {
        // The complete request is at the end of `text`, so the positions of all other parts stay valid. If it has the same
        // position as `query`, it is not removed.
        if let Some(whole) = self.request.take_if(|whole| whole.0 >= self.query.1) {
            self.text.truncate(whole.0);
            self.text.shrink_to_fit();
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut String)) -> Span {
        let from = self.text.len();
        write(&mut self.text);
        Span(from, self.text.len())
    }

    fn lossy(&mut self, bytes: &[u8]) -> Span {
        self.write(|out| out.push_str(&Text(bytes).to_str()))
    }

    fn json(&mut self, document: &RawDocument) -> Span {
        self.write(|out| json::document(out, document, MOST_TEXT))
    }

    /// Makes the texts of an operation whose contents are reported only in separate fields: `query` has no arguments.
    fn bare(&mut self, method: &str, plugin: &Mongo) {
        self.method = self.write(|out| out.push_str(method));
        self.query = self.write(|out| {
            out.push('.');
            out.push_str(method);
            out.push_str("()");
        });
        self.request = plugin.common.send_request.then_some(self.query);
    }

    /// Writes `resource.method(arguments)` twice: once without the data, once complete.
    fn texts<'a>(
        &mut self,
        document: &'a RawDocument,
        sequences: &Sequences<'a>,
        plugin: &Mongo,
        query: impl Fn(&str) -> bool,
        request: impl Fn(&str) -> bool,
    ) {
        let (resource, method) = (self.resource, self.method);
        // Resource and method are adjacent in the buffer.
        let start = |out: &mut String| {
            out.extend_from_within(resource.0..resource.1);
            out.push('.');
            out.extend_from_within(method.0..method.1);
            out.push('(');
        };
        self.query = self.write(|out| {
            start(out);
            json::call(out, document, sequences, plugin.max_doc_length(), query);
            out.push(')');
        });
        if plugin.common.send_request {
            self.request = Some(self.write(|out| {
                start(out);
                json::call(out, document, sequences, 2 * inflate::MOST, request);
                out.push(')');
            }));
        }
    }

    /// Makes the texts of an OP_QUERY: a search, or a command (sent to the pseudo-collection `$cmd`).
    fn query(&mut self, name: &[u8], document: &RawDocument, plugin: &Mongo) {
        let Some(database) = name.strip_suffix(b".$cmd") else {
            self.resource = self.lossy(name);
            self.method = self.write(|out| out.push_str("find"));
            return self.texts(document, &Sequences::new(), plugin, |_| true, |_| true);
        };
        let found = document.iter_elements().map_while(Result::ok).find_map(|e| {
            let target = match e.value().ok()? {
                RawBsonRef::String(target) => Some(target),
                RawBsonRef::Double(1.0) => None,
                _ => return None,
            };
            is_command(e.key().as_str()).then(|| (e.key().as_str(), target))
        });
        let (command, target) = found.unwrap_or(("otherCommand", None));
        self.resource = self.write(|out| {
            out.push_str(&Text(database).to_str());
            out.push('.');
            out.push_str(target.unwrap_or("$cmd"));
        });
        self.method = self.write(|out| out.push_str(command));
        let data = match command {
            c if c.eq_ignore_ascii_case("insert") => "documents",
            c if c.eq_ignore_ascii_case("update") => "updates",
            c if c.eq_ignore_ascii_case("findandmodify") => "update",
            _ => "",
        };
        let query = |key: &str| key != command && key != data && !SECRETS.contains(&key);
        self.texts(document, &Sequences::new(), plugin, query, |key| key != command);
    }

    /// Makes the texts of a command in an OP_MSG.
    fn command(&mut self, msg: &Msg<'_>, plugin: &Mongo) -> Option<()> {
        let (mut database, mut collection) = (None, None);
        let mut first: Option<RawElement<'_>> = None;
        for element in msg.body.iter_elements().map_while(Result::ok) {
            match element.key().as_str() {
                "$db" => database = text(&element),
                "collection" => collection = text(&element),
                "skip" => self.skip = number(&element),
                "limit" | "batchSize" => self.number = number(&element),
                // The request waits for at most ten additional time-outs: a server gives up earlier.
                "maxAwaitTimeMS" | "maxTimeMS" => {
                    let wait = Duration::from_millis(u64::try_from(number(&element).unwrap_or(0)).unwrap_or(0));
                    let timeouts = wait.as_millis().div_ceil(plugin.common.transaction_timeout.as_millis().max(1));
                    self.extra_timeouts = u8::try_from(timeouts).unwrap_or(u8::MAX).min(10);
                }
                _ => {}
            }
            first.get_or_insert(element);
        }
        // Every command names a database; a message without one is a reply that was taken for a command.
        let (first, database) = (first?, database?);
        let command = first.key().as_str();
        let target = match first.value().ok() {
            Some(RawBsonRef::String(target)) => Some(target),
            // The value of `explain` is the command that is explained.
            Some(RawBsonRef::Document(inner)) => inner.iter_elements().next().and_then(Result::ok).and_then(|e| text(&e)),
            Some(RawBsonRef::Int64(cursor)) if command == "getMore" => {
                self.cursor = Some(cursor);
                collection
            }
            _ => None,
        };
        self.resource = self.write(|out| {
            out.push_str(database);
            out.push('.');
            out.push_str(target.unwrap_or("$cmd"));
        });
        self.name = target.map(|_| self.resource);
        self.method = self.write(|out| out.push_str(command));
        self.modern = true;
        self.no_reply = msg.flags & flag::MORE_TO_COME != 0;
        let secret = |key: &str| SECRETS.contains(&key);
        self.texts(
            msg.body,
            &msg.sequences,
            plugin,
            |key| key != command && !key.starts_with('$') && !ENVELOPE.contains(&key) && !DATA.contains(&key) && !secret(key),
            |key| key != command && key != "lsid" && !secret(key),
        );
        Some(())
    }
}

fn text<'a>(element: &RawElement<'a>) -> Option<&'a str> {
    match element.value().ok()? {
        RawBsonRef::String(text) => Some(text),
        _ => None,
    }
}

/// An integer of any BSON type.
pub fn number(element: &RawElement<'_>) -> Option<i64> {
    match element.value().ok()? {
        RawBsonRef::Int32(n) => Some(n.into()),
        RawBsonRef::Int64(n) => Some(n),
        RawBsonRef::Double(x) => Some(x as i64),
        RawBsonRef::Boolean(b) => Some(b.into()),
        _ => None,
    }
}

//! Reports a query and its response as one event, and keeps queries until then. The same code serves UDP and TCP.

use super::{
    Options,
    event::{self, Body, Dump, Fields},
    names,
    rdata::NameText,
    wire::{Fault, HEADER, Message},
};
use crate::{
    event::{Head, Status},
    net::Peers,
    protocols::{Context, kit::held::Held},
    time::Timestamp,
};
use smallvec::SmallVec;
use std::{fmt::Write, net::IpAddr};

pub const DUPLICATE: &str =
    "Another query with the same DNS ID from this client was received so this query was closed without receiving a response";
pub const UNANSWERED: &str = "No response to this query was received";
const UNASKED: &str = "Response: received without an associated Query";
const QUERY_TOO_LARGE: &str = "Non-EDNS packet has size greater than 512";
const RESPONSE_TOO_LARGE: &str = "Response: Non-EDNS packet has size greater than 512";
const NO_EDNS: &str = "Responder does not support EDNS";
const UNEXPECTED_EDNS: &str = "Unexpected EDNS answer";
pub const UNDECODABLE: &str = "Response: Message's data could not be decoded as DNS";
pub const EMPTY: &str = "Response: Message's length was set to zero";
pub const INCOMPLETE: &str = "Response: Message's data is incomplete";

/// Maximum number of bytes of a query that are kept. Of a longer query, only the header and the questions are kept.
/// Packets of this size are not fragmented on any usual path (DNS flag day 2020). Waiting queries over UDP take at
/// most 20 MiB.
const MOST_KEPT: usize = 1232;

/// The largest message on UDP without EDNS (RFC 1035, 4.2.1).
const PLAIN_UDP: u64 = 512;

/// A query that waits for its response.
pub struct Query {
    pub peers: Peers,
    time: Timestamp,
    bytes: u64,
    octets: SmallVec<[u8; 64]>,
    questions_end: usize,
    has_edns: bool,
    udp: bool,
}

impl Query {
    /// Keeps a query. `bytes` is its length on the wire, including the length field of TCP.
    pub fn new(message: &Message<'_>, peers: &Peers, time: Timestamp, bytes: usize, udp: bool) -> Self {
        let octets = if message.octets().len() > MOST_KEPT { message.head_octets() } else { message.octets() };
        Self {
            peers: peers.clone(),
            time,
            bytes: bytes as u64,
            octets: octets.into(),
            questions_end: message.head_octets().len(),
            has_edns: message.edns().is_some(),
            udp,
        }
    }

    /// The id of the query.
    pub fn id(&self) -> u16 {
        self.octets.first_chunk().map_or(0, |id| u16::from_be_bytes(*id))
    }

    fn is_too_large(&self) -> bool {
        self.udp && !self.has_edns && self.bytes > PLAIN_UDP
    }

    /// Whether id, operation and questions equal those of `response`, so that the query need not be parsed again.
    fn agrees_with(&self, response: &Message<'_>) -> bool {
        let opcode = |octets: &[u8]| octets.get(2).map(|b| b & 0x78);
        self.octets.get(HEADER..self.questions_end) == Some(response.question_octets()) && opcode(&self.octets) == opcode(response.octets())
    }
}

impl Held for Query {
    fn held(&self) -> usize {
        self.octets.held()
    }
}

/// A captured response.
pub struct Response<'a> {
    pub message: &'a Message<'a>,
    pub time: Timestamp,
    /// Length on the wire, including the length field of TCP.
    pub bytes: usize,
    pub udp: bool,
}

/// Reports events; holds buffers for their texts.
#[derive(Default)]
pub struct Reporter {
    pub options: Options,
    /// The value of the field `query`, whose end is the value of `resource`.
    query: String,
    /// The name in the question of the message that is shown, if that question differs from the query's.
    name: String,
    request: String,
    response: String,
    related: Vec<IpAddr>,
}

impl Held for Reporter {
    fn held(&self) -> usize {
        [&self.query, &self.name, &self.request, &self.response].map(Held::held).iter().sum::<usize>() + self.related.held()
    }
}

impl Reporter {
    /// Makes a reporter with these options.
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// Reports a query without a response; `note` is the reason.
    pub fn unanswered(&mut self, cx: &mut Context<'_>, query: &Query, note: &'static str) {
        // The query was parsed before, when it arrived.
        let Ok(message) = Message::parse(&query.octets) else { return };
        cx.count("unmatched_requests");
        let mut notes: SmallVec<[&str; 4]> = SmallVec::new();
        if query.is_too_large() {
            notes.push(QUERY_TOO_LARGE);
        }
        notes.push(note);
        self.report(cx, &query.peers, &message, Some(&message), Some(query), None, &notes);
    }

    /// Reports a response, with its query if that was captured.
    pub fn answered(&mut self, cx: &mut Context<'_>, query: Option<&Query>, response: &Response<'_>) {
        let message = response.message;
        let has_edns = message.edns().is_some();
        let mut notes: SmallVec<[&str; 4]> = SmallVec::new();
        if query.is_none() {
            cx.count("unmatched_responses");
            notes.push(UNASKED);
        }
        if query.is_some_and(Query::is_too_large) {
            notes.push(QUERY_TOO_LARGE);
        }
        match message.fault {
            Some(Fault::Cut) => notes.push(INCOMPLETE),
            Some(Fault::Malformed) => notes.push(UNDECODABLE),
            None => {}
        }
        if response.udp && message.fault.is_none() {
            if !has_edns && response.bytes as u64 > PLAIN_UDP {
                notes.push(RESPONSE_TOO_LARGE);
            }
            match query.map(|query| query.has_edns) {
                Some(true) if !has_edns => notes.push(NO_EDNS),
                Some(false) if has_edns => notes.push(UNEXPECTED_EDNS),
                _ => (),
            }
        }
        let again = query.filter(|query| self.options.send_request || !query.agrees_with(message));
        let asked = again.and_then(|query| Message::parse(&query.octets).ok());
        let peers = cx.peers().clone();
        self.report(cx, &peers, asked.as_ref().unwrap_or(message), asked.as_ref(), query, Some(response), &notes);
    }

    /// Reports a transaction. `asked`: the message that contains the question, which gives the fields `method` and `query`. `request`:
    /// the parsed query, if the text of the request is shown.
    #[allow(clippy::too_many_arguments)]
    fn report(
        &mut self,
        cx: &mut Context<'_>,
        peers: &Peers,
        asked: &Message<'_>,
        request: Option<&Message<'_>>,
        query: Option<&Query>,
        response: Option<&Response<'_>>,
        notes: &[&str],
    ) {
        let shown = response.map_or(asked, |response| response.message);
        self.query.clear();
        let name_at = asked.question.map(|question| {
            let _ = write!(self.query, "class {}, type {}, ", names::class(question.class), names::rtype(question.rtype));
            let at = self.query.len();
            let _ = write!(self.query, "{}", NameText(&question.name));
            at
        });
        let resource = name_at.and_then(|at| self.query.get(at..));
        self.name.clear();
        let name = if std::ptr::eq(shown, asked) || shown.question_octets() == asked.question_octets() {
            resource.unwrap_or_default()
        } else {
            if let Some(question) = &shown.question {
                let _ = write!(self.name, "{}", NameText(&question.name));
            }
            &self.name
        };
        self.request.clear();
        self.response.clear();
        if let Some(message) = request.filter(|_| self.options.send_request) {
            let _ = write!(self.request, "{}", Dump(message));
        }
        if let Some(response) = response.filter(|_| self.options.send_response) {
            let _ = write!(self.response, "{}", Dump(response.message));
        }
        self.related.clear();
        self.related.extend(event::addresses(shown));
        let number;
        let method = names::opcode(asked.header.opcode());
        let method = match method.0 {
            Some(name) => name,
            None => {
                number = method.to_string();
                &number
            }
        };
        let is_ok = query.is_some() && response.is_some_and(|response| response.message.rcode() == 0);
        let head = Head {
            status: if is_ok { Status::OK } else { Status::Error },
            start: query.map(|query| query.time),
            end: response.map(|response| response.time),
            source_bytes: query.map_or(0, |query| query.bytes),
            destination_bytes: response.map_or(0, |response| response.bytes as u64),
            method: Some(method.into()),
            resource: resource.map(Into::into),
            query: resource.map(|_| self.query.as_str().into()),
            request: Some(self.request.as_str()).filter(|text| !text.is_empty()).map(Into::into),
            response: Some(self.response.as_str()).filter(|text| !text.is_empty()).map(Into::into),
            notes,
            related_ips: &self.related,
            ..Head::new("dns")
        };
        let (authorities, additionals) = (self.options.include_authorities, self.options.include_additionals);
        cx.emit_for(peers, &head, &Body { dns: Fields { message: shown, name, resolved: &self.related, authorities, additionals } });
    }
}

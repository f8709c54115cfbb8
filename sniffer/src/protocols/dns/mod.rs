//! DNS over UDP and TCP: queries and responses, paired by addresses, ports and id. Multicast DNS, DNS over TLS and DNS
//! over HTTPS are not supported. Specifications: RFC 1035, and those named in the modules.

mod event;
mod fields;
mod names;
mod opt;
mod rdata;
mod stream;
mod transaction;
mod wire;

use super::{
    CommonOptions, Context, Plugin, Probe, Protocol, StreamParser,
    kit::{backlog::Limits, held::Held, matcher::Matcher, timers},
};
use crate::{
    event::{Details, Summary},
    net::{Direction, Transport},
};
use serde::Deserialize;
use std::{net::SocketAddr, time::Duration};
use stream::Stream;
use transaction::{DUPLICATE, Query, Reporter, Response, UNANSWERED};
use wire::Message;

/// The protocol `dns`.
pub const PROTOCOL: Protocol = Protocol {
    name: "dns",
    ports: &[53],
    transports: &[Transport::Udp, Transport::Tcp],
    default_ports: false,
    open: |node| {
        let (common, sections): (CommonOptions, Sections) = (node.read()?, node.read()?);
        let options = Options {
            send_request: common.send_request,
            send_response: common.send_response,
            include_authorities: sections.include_authorities,
            include_additionals: sections.include_additionals,
            timeout: common.transaction_timeout,
        };
        let waiting = Matcher::new(Limits { items: MOST_WAITING, bytes: usize::MAX, timeout: options.timeout });
        Ok(Box::new(Dns { reporter: Reporter::new(options), waiting }))
    },
    probe,
    fields: fields::FIELDS,
    summary: Summary {
        query: &["{dns.question.type} {dns.question.name}", "{dns.question.type}"],
        result: &["{dns.response_code}"],
        details: Details::Dns {
            name: "dns.question.name",
            kind: "dns.question.type",
            code: "dns.response_code",
            addresses: "dns.resolved_ip",
        },
        ..Summary::HEAD
    },
};

/// Maximum number of waiting queries over UDP. A busy resolver sends some thousands per second and gets the responses within
/// milliseconds.
const MOST_WAITING: usize = 16 << 10;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Sections {
    include_authorities: bool,
    include_additionals: bool,
}

#[derive(Clone, Copy, Default)]
struct Options {
    send_request: bool,
    send_response: bool,
    include_authorities: bool,
    include_additionals: bool,
    timeout: Duration,
}

/// Recognises a datagram that is a message, and a TCP connection that begins with the length of a message and the
/// message. The complete message must be valid, because arbitrary bytes could be the beginning of one.
fn probe(_: Direction, data: &[u8]) -> Probe {
    let is_certain = |data: &[u8]| {
        let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
        wire::plausible(length, data) == Some(true) && Message::parse(data).is_ok_and(|message| message.is_certain())
    };
    if is_certain(data) {
        return Probe::Yes;
    }
    let Some(length) = data.first_chunk().map(|l| u16::from_be_bytes(*l)) else { return Probe::More(2 - data.len()) };
    match wire::plausible(length, data.get(2..).unwrap_or_default()) {
        None => Probe::More((2 + wire::HEADER).saturating_sub(data.len())),
        Some(false) => Probe::No,
        Some(true) => {
            let whole = 2 + usize::from(length);
            match data.get(2..whole) {
                None => Probe::More(whole - data.len()),
                Some(message) if is_certain(message) => Probe::Yes,
                Some(_) => Probe::No,
            }
        }
    }
}

/// Client, server and id of a query.
type Key = (SocketAddr, SocketAddr, u16);

struct Dns {
    reporter: Reporter,
    waiting: Matcher<Key, Query>,
}

impl Plugin for Dns {
    fn connect(&self) -> Option<Box<dyn StreamParser>> {
        Some(Box::new(Stream::new(self.reporter.options)))
    }

    fn on_datagram(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) {
        let Ok(message) = Message::parse(data) else {
            return cx.count("parse_failures");
        };
        // The message, not the ports, determines which side is the client.
        let is_response = message.header.is_response();
        if is_response == (dir == Direction::ToServer) {
            cx.flip();
        }
        let key = (cx.peers().client, cx.peers().server, message.header.id);
        let bytes = data.len() + cx.missing() as usize;
        if is_response {
            let query = self.waiting.take(&key);
            if query.is_none() && !message.is_acceptable(bytes) {
                return cx.count("parse_failures");
            }
            let response = Response { message: &message, time: cx.now(), bytes, udp: true };
            self.reporter.answered(cx, query.as_ref(), &response);
        } else {
            if !message.is_acceptable(bytes) {
                return cx.count("parse_failures");
            }
            let query = Query::new(&message, cx.peers(), cx.now(), bytes, true);
            if let Some(out) = self.waiting.insert(key, query, cx.now()) {
                let same = (out.peers.client, out.peers.server, out.id()) == key;
                self.reporter.unanswered(cx, &out, if same { DUPLICATE } else { UNANSWERED });
            }
        }
        self.wake(cx);
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        while let Some(query) = self.waiting.expired(cx.now()) {
            self.reporter.unanswered(cx, &query, UNANSWERED);
        }
        self.wake(cx);
    }

    fn on_end(&mut self, cx: &mut Context<'_>) {
        while let Some(query) = self.waiting.pop() {
            self.reporter.unanswered(cx, &query, UNANSWERED);
        }
    }

    fn evict(&mut self, cx: &mut Context<'_>) -> bool {
        let query = self.waiting.pop();
        if let Some(query) = &query {
            self.reporter.unanswered(cx, query, UNANSWERED);
        }
        query.is_some()
    }

    fn time_out(&self) -> Option<Duration> {
        Some(self.reporter.options.timeout)
    }

    fn held(&self) -> usize {
        self.waiting.held() + self.reporter.held()
    }
}

impl Dns {
    fn wake(&self, cx: &mut Context<'_>) {
        timers::arm(cx, self.waiting.due());
    }
}

#[cfg(test)]
mod tests;

//! ICMP and ICMPv6: requests and their responses are paired by addresses, identifier and sequence number; every other
//! message is one event. An error message is not attributed to the conversation whose packet it quotes.

mod event;
mod fields;
mod wire;

use super::{
    CommonOptions, Context, Plugin, Probe, Protocol,
    kit::{backlog::Limits, held::Held, matcher::Matcher, timers},
};
use crate::{
    event::{Head, Status, Summary, Text},
    net::{Direction, Peers, Transport},
    time::Timestamp,
};
use event::Body;
use std::{io::Write, net::IpAddr, time::Duration};
use wire::Message;

/// The protocol `icmp`.
pub const PROTOCOL: Protocol = Protocol {
    name: "icmp",
    ports: &[],
    transports: &[Transport::Icmp, Transport::Icmp6],
    default_ports: false,
    open: |node| {
        let common: CommonOptions = node.read()?;
        let limits = Limits { items: MOST_WAITING, bytes: usize::MAX, timeout: common.transaction_timeout };
        Ok(Box::new(Icmp { waiting: Matcher::new(limits) }))
    },
    probe: |_, _| Probe::No,
    fields: fields::FIELDS,
    summary: Summary {
        query: &["{icmp.request.message}", "{icmp.response.message}"],
        result: &["{icmp.response.message}"],
        ..Summary::HEAD
    },
};

/// Maximum number of waiting requests, about 4 MiB. A scan of more hosts within one time-out reports the oldest requests early.
const MOST_WAITING: usize = 16 << 10;

const DUPLICATE: &str = "Another request with the same Id and Seq was received so this request was closed without receiving a response.";
const UNANSWERED: &str = "Request was received without an associated response.";
const UNASKED: &str = "Response was received without an associated request.";

/// Sender and receiver of the request, its type, identifier and sequence number.
type Key = (IpAddr, IpAddr, u8, u16, u16);

struct Request {
    peers: Peers,
    time: Timestamp,
    message: Message,
    key: Key,
}

/// A pending request owns no memory on the heap.
impl Held for Request {
    fn held(&self) -> usize {
        0
    }
}

struct Icmp {
    waiting: Matcher<Key, Request>,
}

impl Plugin for Icmp {
    fn on_datagram(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) {
        let Some(message) = Message::parse(data, cx.peers().transport == Transport::Icmp6) else {
            return cx.count("parse_failures");
        };
        let (from, to) = (cx.peers().sender(dir).ip(), cx.peers().receiver(dir).ip());
        if let Some(asked) = message.answers() {
            match self.waiting.take(&(to, from, asked, message.id, message.seq)) {
                Some(request) => {
                    report(cx, &request.peers, Some((&request.message, request.time)), Some((&message, cx.now())), None);
                }
                None => {
                    cx.count("unmatched_responses");
                    // The source of the event is the side that should have sent the request.
                    let Peers { transport, realm, .. } = *cx.peers();
                    let mut peers = Peers::new(cx.peers().receiver(dir), cx.peers().sender(dir), transport).with_realm(realm);
                    peers.icmp = Some((asked, 0));
                    report(cx, &peers, None, Some((&message, cx.now())), Some(UNASKED));
                }
            }
        } else if message.asks() {
            let key = (from, to, message.kind, message.id, message.seq);
            let request = Request { peers: cx.peers().clone(), time: cx.now(), message, key };
            if let Some(out) = self.waiting.insert(key, request, cx.now()) {
                let same = out.key == key;
                if same {
                    cx.count("duplicate_requests");
                }
                unanswered(cx, &out, if same { DUPLICATE } else { UNANSWERED });
            }
        } else {
            let peers = cx.peers().clone();
            report(cx, &peers, Some((&message, cx.now())), None, None);
        }
        self.wake(cx);
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        while let Some(request) = self.waiting.expired(cx.now()) {
            unanswered(cx, &request, UNANSWERED);
        }
        self.wake(cx);
    }

    fn on_end(&mut self, cx: &mut Context<'_>) {
        while let Some(request) = self.waiting.pop() {
            unanswered(cx, &request, UNANSWERED);
        }
    }

    fn evict(&mut self, cx: &mut Context<'_>) -> bool {
        let request = self.waiting.pop();
        if let Some(request) = &request {
            unanswered(cx, request, UNANSWERED);
        }
        request.is_some()
    }

    fn time_out(&self) -> Option<Duration> {
        Some(self.waiting.timeout())
    }

    fn held(&self) -> usize {
        self.waiting.held()
    }
}

impl Icmp {
    fn wake(&self, cx: &mut Context<'_>) {
        timers::arm(cx, self.waiting.due());
    }
}

fn unanswered(cx: &mut Context<'_>, request: &Request, note: &'static str) {
    cx.count("unmatched_requests");
    report(cx, &request.peers, Some((&request.message, request.time)), None, Some(note));
}

type Half<'a> = Option<(&'a Message, Timestamp)>;

/// Reports a request and its response. `note` states which of them is missing.
fn report(cx: &mut Context<'_>, peers: &Peers, request: Half<'_>, response: Half<'_>, note: Option<&'static str>) {
    let any = |is: fn(&Message) -> bool| [request, response].into_iter().flatten().any(|(m, _)| is(m));
    let mut path = [0; 48]; // the longest address has 45 characters
    let mut rest = &mut path[..];
    let _ = write!(rest, "{}", peers.server.ip());
    let left = rest.len();
    let head = Head {
        status: if note.is_some() || any(Message::is_error) { Status::Error } else { Status::OK },
        start: request.map(|(_, time)| time),
        end: response.map(|(_, time)| time),
        source_bytes: request.map_or(0, |(m, _)| m.length as u64),
        destination_bytes: response.map_or(0, |(m, _)| m.length as u64),
        path: Some(Text(&path[..path.len() - left])),
        notes: note.as_slice(),
        types: &["connection"],
        protocol: "",
        ..Head::new("icmp")
    };
    let v6 = any(|m| m.v6);
    cx.emit_for(peers, &head, &Body::new(v6, request.map(|(m, _)| m), response.map(|(m, _)| m)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::testing::{Harness, ToServer};
    use serde_json::json;

    fn harness() -> Harness {
        let mut h = Harness::new(&PROTOCOL, "transaction_timeout: 10s");
        h.peers.client = "10.0.0.1:0".parse().unwrap();
        h.peers.server = "10.0.0.2:0".parse().unwrap();
        h
    }

    /// Sends a message as the engine does: its sender is the client.
    fn send(h: &mut Harness, from_first: bool, message: &[u8]) {
        let ends = (h.peers.client, h.peers.server);
        if !from_first {
            h.peers.flip();
        }
        h.peers.icmp = Some((message[0], message[1]));
        h.datagram(ToServer, message);
        (h.peers.client, h.peers.server) = ends;
    }

    #[test]
    fn a_ping() {
        let mut h = harness();
        send(&mut h, true, &[8, 0, 0, 0, 0, 1, 0, 7, 1, 2, 3]);
        h.now = 5;
        send(&mut h, false, &[0, 0, 0, 0, 0, 1, 0, 7, 1, 2, 3]);
        let events = h.at(60_000).events();
        assert_eq!(events.len(), 1, "{events:#?}");
        assert_eq!(
            events[0]["icmp"],
            json!({"version": 4, "request": {"message": "EchoRequest", "type": 8, "code": 0}, "response": {"message": "EchoReply", "type": 0, "code": 0}})
        );
        assert_eq!(
            (&events[0]["status"], &events[0]["path"], &events[0]["source"]["bytes"]),
            (&json!("OK"), &json!("10.0.0.2"), &json!(3))
        );
        assert_eq!(events[0]["event"]["duration"], json!(5_000_000));
        assert_eq!(events[0]["network"]["protocol"], json!(null));
    }

    #[test]
    fn only_a_response_of_the_fitting_type_answers() {
        let mut h = harness();
        for (request, response) in [(8, 0), (13, 14), (15, 16), (17, 18)] {
            for other in [0, 14, 16, 18] {
                send(&mut h, true, &[request, 0, 0, 0, 0, 1, 0, 7]);
                send(&mut h, false, &[other, 0, 0, 0, 0, 1, 0, 7]);
                let e = h.events();
                let paired = e.len() == 1 && e[0]["error"].is_null();
                assert_eq!(paired, other == response, "{request} and {other}: {e:#?}");
                h.at(h.now + 20_000);
                h.events();
            }
        }
        // Requests of two types with the same identifier and sequence number wait at the same time.
        send(&mut h, true, &[8, 0, 0, 0, 0, 1, 0, 7]);
        send(&mut h, true, &[13, 0, 0, 0, 0, 1, 0, 7]);
        send(&mut h, false, &[14, 0, 0, 0, 0, 1, 0, 7]);
        send(&mut h, false, &[0, 0, 0, 0, 0, 1, 0, 7]);
        let e = h.events();
        let pairs: Vec<_> = e.iter().map(|e| (e["icmp"]["request"]["type"].as_u64(), e["icmp"]["response"]["type"].as_u64())).collect();
        assert_eq!(pairs, [(Some(13), Some(14)), (Some(8), Some(0))]);
        assert_eq!(h.counted("duplicate_requests"), 0);
    }

    #[test]
    fn requests_without_responses_and_responses_without_requests() {
        let mut h = harness();
        send(&mut h, false, &[0, 0, 0, 0, 0, 1, 0, 7]); // a response without a request
        send(&mut h, true, &[8, 0, 0, 0, 0, 1, 0, 8]);
        send(&mut h, true, &[8, 0, 0, 0, 0, 1, 0, 8]); // the same request twice
        send(&mut h, true, &[3, 3, 0, 0, 0, 0, 0, 0, 9]);
        send(&mut h, true, &[8, 0, 0]);
        let e = h.events();
        assert_eq!(e.len(), 3, "{e:#?}");
        assert_eq!((&e[0]["error"]["message"], &e[0]["source"]["ip"]), (&json!(UNASKED), &json!("10.0.0.1")));
        let mut asked = Peers::new("10.0.0.1:0".parse().unwrap(), "10.0.0.2:0".parse().unwrap(), Transport::Icmp);
        asked.icmp = Some((8, 0));
        assert_eq!(e[0]["network"]["community_id"], json!(asked.community_id().as_str()), "the same for an answer alone");
        assert_eq!(e[1]["error"]["message"], json!(DUPLICATE));
        assert_eq!((&e[2]["status"], &e[2]["icmp"]["request"]["message"]), (&json!("Error"), &json!("DestinationUnreachable(Port)")));
        assert_eq!(e[2]["error"], json!(null));
        assert!(h.at(9_999).events().is_empty());
        assert_eq!(h.at(10_000).events()[0]["error"]["message"], json!(UNANSWERED));
        assert_eq!(h.counted("duplicate_requests"), 1);
        assert_eq!((h.counted("unmatched_requests"), h.counted("unmatched_responses"), h.counted("parse_failures")), (2, 1, 1));
    }
}

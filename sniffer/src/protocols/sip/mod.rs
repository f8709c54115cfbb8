//! SIP over UDP and TCP: every message is one event; requests and responses are not paired.
//!
//! RFC 3261; bodies RFC 8866. SIP over TLS and WebSocket, and bodies other than SDP, are not supported.

mod event;
mod fields;
mod wire;

use super::{Close, Context, End, Plugin, Probe, Progress, Protocol, Recovery, StreamParser, kit::shared::Shared};
use crate::{
    config,
    event::Summary,
    net::{Direction, Transport},
};
use event::Found;
use serde::Deserialize;
use std::sync::Arc;

/// The protocol `sip`.
pub const PROTOCOL: Protocol = Protocol {
    name: "sip",
    ports: &[5060],
    transports: &[Transport::Udp, Transport::Tcp],
    default_ports: false,
    open,
    probe,
    fields: fields::FIELDS,
    summary: Summary::HEAD,
};

/// Longest body in bytes that is kept; a longer one is skipped, and the message is reported without it.
const LONGEST_BODY: u64 = 1 << 20;

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    /// Accepted without effect: the transport is taken from the packet.
    #[serde(rename = "transport_protocol")]
    _transport_protocol: String,
    parse_authorization: bool,
    parse_body: bool,
    keep_original: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { _transport_protocol: "udp".into(), parse_authorization: true, parse_body: true, keep_original: true }
    }
}

/// The plugin of SIP.
pub struct Sip {
    options: Options,
}

fn open(node: &config::Node) -> Result<Box<dyn Plugin>, config::Error> {
    Ok(Box::new(Shared::new(Sip { options: node.read()? }, Connection::new).with_datagrams(on_datagram)))
}

fn probe(_dir: Direction, data: &[u8]) -> Probe {
    let data = after_line_ends(data);
    match memchr::memchr(b'\n', data) {
        Some(end) if wire::start_line(data[..end].trim_ascii_end()).is_some() => Probe::Yes,
        None if data.len() < 1024 && data.iter().all(|b| (b' '..=b'~').contains(b)) => Probe::More(1),
        _ => Probe::No,
    }
}

/// Skips line ends at the start of the data. Senders keep connections alive with line ends between messages (RFC 5626
/// section 3.5.1).
fn after_line_ends(data: &[u8]) -> &[u8] {
    &data[data.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count()..]
}

fn on_datagram(sip: &Sip, dir: Direction, data: &[u8], cx: &mut Context<'_>) {
    let raw = after_line_ends(data);
    if raw.is_empty() || raw == [0] {
        return; // Such data is a keep-alive for firewalls and NAT.
    }
    let body = wire::head_end(raw).unwrap_or(raw.len());
    event::emit(&Found { dir, raw, body, time: cx.now() }, sip, cx);
}

/// The parser of a connection: parses messages one after the other.
struct Connection {
    sip: Arc<Sip>,
    /// Whether the first data of a direction may begin inside a message. The rest of a method looks like a method, so only
    /// a known one is accepted.
    joined: [bool; 2],
}

impl Connection {
    fn new(sip: Arc<Sip>) -> Self {
        Self { sip, joined: [false; 2] }
    }

    fn may_begin(&self, dir: Direction, line: &[u8]) -> bool {
        match wire::start_line(line.trim_ascii_end()) {
            Some(wire::Start::Request { method, .. }) => !self.joined[dir.index()] || wire::is_known(method),
            start => start.is_some(),
        }
    }
}

impl StreamParser for Connection {
    fn on_data(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) -> Progress {
        let mut at = 0;
        loop {
            at = data.len() - after_line_ends(&data[at..]).len();
            let rest = &data[at..];
            if rest.is_empty() {
                return Progress::consumed(at);
            }
            if let Some(line) = memchr::memchr(b'\n', rest)
                && !self.may_begin(dir, &rest[..line])
            {
                // This line belongs to a message whose start was not captured. Parsing continues at the next line.
                cx.count("skipped_lines");
                at += line + 1;
                continue;
            }
            let Some(body) = wire::head_end(rest) else {
                if rest.len() <= wire::LONGEST_HEAD {
                    let end = if memchr::memchr(b'\n', rest).is_some() { End::EmptyLine } else { End::Line };
                    return Progress::Search { bytes: at, end, most: wire::LONGEST_HEAD + 1 };
                }
                cx.count("malformed");
                return Progress::consumed(data.len());
            };
            let head = wire::unfold(&rest[..body]);
            let length = wire::Headers::parse(&head).number("content-length").unwrap_or(0);
            let whole = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(body);
            let kept = if length > LONGEST_BODY { body } else { whole };
            let Some(raw) = rest.get(..kept) else {
                return Progress::Consumed { bytes: at as u64, need: kept - rest.len() };
            };
            event::emit(&Found { dir, raw, body, time: cx.time_at(at) }, &self.sip, cx);
            self.joined[dir.index()] = false;
            if whole > rest.len() {
                return Progress::Consumed { bytes: (at as u64).saturating_add(whole as u64), need: 1 };
            }
            at += whole;
        }
    }

    fn on_join(&mut self, dir: Direction) {
        self.joined[dir.index()] = true;
    }

    fn on_gap(&mut self, _dir: Direction, _lost: u64, _cx: &mut Context<'_>) -> Recovery {
        Recovery::Resume
    }

    fn on_close(&mut self, _dir: Direction, _why: Close, _cx: &mut Context<'_>) {}

    fn held(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::testing::{Harness, ToClient, ToServer, every_cut};
    use serde_json::json;

    const INVITE: &[u8] = b"INVITE sip:test@10.0.0.2:5060 SIP/2.0\r\nv: SIP/2.0/TCP a;branch=1\r\nVia: SIP/2.0/TCP a;branch=1\r\nf: \"Me\" <sip:me@a>;tag=1\r\n\
        To: test <sip:test@b>\r\nCall-ID: 1@a\r\nCSeq: 7 INVITE\r\nm: <sip:me@a:5062;transport=TCP>;expires=60;q=0.5\r\n\
        Authorization: Digest username=\"me\", realm=\"r,1\", uri=\"sip:b:5060\"\r\nAllow: INVITE, ACK\r\nContent-Type: application/sdp\r\n\
        Content-Length:  54\r\n\r\nv=0\r\no=- 42 43 IN IP4 10.9.9.9\r\ns=-\r\nc=IN IP4 h\r\nm=a\r\n";
    const BUSY: &[u8] = b"SIP/2.0 486 Busy Here\r\nCSeq: 7 INVITE\r\nl: 0\r\n\r\n";

    #[test]
    fn several_messages_in_a_segment_and_a_message_in_several() {
        let both = [&b"\r\n\r\n"[..], INVITE, b"\r\n", INVITE].concat();
        let events = every_cut(&PROTOCOL, "{keep_original: false}", &[(ToServer, &both), (ToClient, BUSY)]);
        assert_eq!(events.len(), 3);
        assert_eq!(
            events[0]["sip"],
            json!({"type": "request", "method": "INVITE", "version": "2.0",
                "uri": {"original": "sip:test@10.0.0.2:5060", "scheme": "sip", "username": "test", "host": "10.0.0.2", "port": 5060},
                "allow": ["invite", "ack"], "call_id": "1@a", "content_length": 54, "content_type": "application/sdp",
                "via": {"original": ["SIP/2.0/TCP a;branch=1"]}, "cseq": {"code": 7, "method": "INVITE"},
                "from": {"display_info": "Me", "tag": "1", "uri": {"original": "sip:me@a", "scheme": "sip", "username": "me", "host": "a"}},
                "to": {"display_info": "test", "uri": {"original": "sip:test@b", "scheme": "sip", "username": "test", "host": "b"}},
                "contact": {"uri": {"original": "sip:me@a:5062;transport=TCP", "scheme": "sip", "username": "me", "host": "a", "port": 5062},
                    "expires": 60, "q": 0.5, "transport": "tcp"},
                "auth": {"scheme": "Digest", "realm": "r,1", "uri": {"original": "sip:b:5060", "scheme": "sip", "host": "b", "port": 5060}},
                "sdp": {"version": "0", "owner": {"session_id": "42", "version": "43", "ip": "10.9.9.9"},
                    "connection": {"info": "IN IP4 h"},
                    "body": {"original": "v=0\r\no=- 42 43 IN IP4 10.9.9.9\r\ns=-\r\nc=IN IP4 h\r\nm=a\r\n"}}})
        );
        assert_eq!(
            events[0]["related"],
            json!({"ip": ["10.9.9.9", "10.0.0.1", "10.0.0.2"], "hosts": ["10.0.0.2", "a", "b", "h"], "user": ["test", "me"]})
        );
        assert_eq!((&events[0]["event"]["category"], &events[0]["user"]), (&json!(["network", "authentication"]), &json!({"name": "me"})));
        let busy = &events[2];
        assert_eq!(
            (&busy["status"], &busy["event"]["outcome"], &busy["event"]["action"]),
            (&json!("Error"), &json!("failure"), &json!("sip-invite"))
        );
        assert_eq!((&busy["source"]["ip"], &busy["client"]["ip"]), (&json!("10.0.0.2"), &json!("10.0.0.2")));
    }

    #[test]
    fn datagrams_and_keep_alives() {
        let mut h = Harness::new(&PROTOCOL, "{}");
        h.datagram(ToServer, b"\r\n\r\n").datagram(ToClient, BUSY).datagram(ToServer, b"nonsense");
        let events = h.events();
        assert_eq!((events.len(), h.counted("malformed")), (1, 1));
        assert_eq!(events[0]["event"]["original"], json!(std::str::from_utf8(BUSY).unwrap()));
    }

    #[test]
    fn a_large_body_is_skipped_and_the_next_message_found() {
        let mut h = Harness::new(&PROTOCOL, "{}");
        h.peers.transport = Transport::Tcp;
        h.client(b"MESSAGE sip:x SIP/2.0\r\nContent-Length: 2000000\r\n\r\n")
            .client(&vec![b'x'; 1_500_000])
            .gap(ToServer, 500_000)
            .client(BUSY);
        let events = h.events();
        assert_eq!((events.len(), &events[0]["network"]["iana_number"]), (2, &json!("6")));
    }
}

//! Tests of the state machine: pairing per channel, messages in several frames, gaps, and limits.

use super::*;
use crate::protocols::{
    Close,
    testing::{Harness, Script, ToClient, ToServer, every_cut},
};
use serde_json::{Value, json};

const ALL: &str = "{send_request: true, send_response: true, hide_connection_information: false}";

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind][..], &channel.to_be_bytes(), &size, payload, &[0xce]].concat()
}

fn call(channel: u16, class: u16, id: u16, args: &[u8]) -> Vec<u8> {
    frame(1, channel, &[&class.to_be_bytes()[..], &id.to_be_bytes(), args].concat())
}

/// A content header with the content type `text/plain`.
fn header(channel: u16, size: u64) -> Vec<u8> {
    frame(2, channel, &[b"\0\x3c\0\0", &size.to_be_bytes()[..], b"\x80\0\x0atext/plain"].concat())
}

fn declare(channel: u16, queue: &str) -> Vec<u8> {
    call(channel, 50, 10, &[b"\0\0", &[queue.len() as u8][..], queue.as_bytes(), b"\x02\0\0\0\0"].concat())
}

fn declared(channel: u16, queue: &str) -> Vec<u8> {
    call(channel, 50, 11, &[&[queue.len() as u8][..], queue.as_bytes(), b"\0\0\0\x01\0\0\0\x02"].concat())
}

fn publish(channel: u16) -> Vec<u8> {
    call(channel, 60, 40, b"\0\0\0\x01q\0")
}

fn lines(events: &[Value]) -> Vec<String> {
    let part = |v: &Value| v.as_str().unwrap_or("-").to_owned();
    let line = |e: &Value| {
        let (from, note) = (part(&e["source"]["ip"]), e["error"]["message"].as_str().map(|n| format!(" ({n})")).unwrap_or_default());
        format!("{from} {} | {} | {} | {}{note}", part(&e["method"]), part(&e["request"]), part(&e["response"]), part(&e["status"]))
    };
    events.iter().map(line).collect()
}

fn run(yaml: &str, script: Script<'_>) -> Vec<String> {
    lines(&every_cut(&PROTOCOL, yaml, script))
}

#[test]
fn channels_are_kept_apart() {
    let got = run(
        ALL,
        &[
            (ToServer, &[&b"AMQP\0\0\x09\x01"[..], &declare(1, "a"), &declare(2, "b")].concat()),
            (ToClient, &[declared(2, "b"), b"\x08\0\0\0\0\0\0\xce".to_vec(), declared(1, "a")].concat()),
            // The frames of two messages alternate.
            (ToServer, &[publish(1), publish(2), header(2, 3), header(1, 4)].concat()),
            (ToServer, &[frame(3, 1, b"on"), frame(3, 2, b"two"), frame(3, 1, b"e!")].concat()),
        ],
    );
    assert_eq!(
        got,
        [
            "10.0.0.1 queue.declare | queue.declare b | OK | OK",
            "10.0.0.1 queue.declare | queue.declare a | OK | OK",
            "10.0.0.1 basic.publish | two |  | OK",
            "10.0.0.1 basic.publish | one! |  | OK",
        ]
    );
}

#[test]
fn confirms_rejects_and_gets() {
    let got = run(
        ALL,
        &[
            (ToServer, &call(1, 85, 10, b"\0")),
            (ToClient, &call(1, 85, 11, b"")),
            (ToServer, &[publish(1), header(1, 0)].concat()),
            (ToClient, &[call(1, 60, 80, b"\0\0\0\0\0\0\0\x01\0"), call(1, 60, 120, b"\0\0\0\0\0\0\0\x02\x03")].concat()),
            (ToServer, &[call(1, 60, 90, b"\0\0\0\0\0\0\0\x05\x01"), call(1, 60, 70, b"\0\0\x01q\0")].concat()),
            (
                ToClient,
                &[
                    call(1, 60, 72, b"\0"),
                    call(1, 60, 50, &[&312u16.to_be_bytes()[..], b"\x02no\0\x01r"].concat()),
                    header(1, 1),
                    frame(3, 1, b"x"),
                ]
                .concat(),
            ),
            (ToServer, &call(1, 60, 70, b"\0\0\x01q\0")),
            (ToClient, &[call(1, 60, 71, b"\0\0\0\0\0\0\0\x01\0\0\x01q\0\0\0\0"), header(1, 2), frame(3, 1, b"hi")].concat()),
        ],
    );
    assert_eq!(
        got,
        [
            "10.0.0.1 confirm.select | confirm.select | OK | OK",
            "10.0.0.1 basic.publish |  |  | OK",
            "10.0.0.2 basic.ack | basic.ack |  | OK",
            "10.0.0.2 basic.nack | basic.nack |  | OK",
            "10.0.0.1 basic.reject | basic.reject 5 |  | Error",
            "10.0.0.1 basic.get-empty | basic.get q | OK | OK",
            "10.0.0.1 basic.return |  | x | Error",
            "10.0.0.1 basic.get | basic.get q | hi | OK",
        ]
    );
}

#[test]
fn fields_of_a_pair_and_of_a_message() {
    let events = every_cut(&PROTOCOL, "{}", &[(ToServer, &declare(1, "")), (ToClient, &declared(1, "amq.gen-1"))]);
    assert_eq!(
        events[0]["amqp"],
        json!({"queue": "amq.gen-1", "passive": false, "durable": true, "exclusive": false, "auto-delete": false, "no-wait": false,
            "message-count": 1, "consumer-count": 2})
    );
    assert_eq!((&events[0]["source"]["bytes"], &events[0]["destination"]["bytes"]), (&json!(20), &json!(30)));
    let head = frame(2, 1, b"\0\x3c\0\0\0\0\0\0\0\0\0\x01\x30\x50\0\0\0\x07\x01kS\0\0\0\x00\x02\0\0\0\0\0\0\0\0\x02me");
    let body = frame(3, 1, b"\xff");
    let events = every_cut(&PROTOCOL, ALL, &[(ToServer, &[publish(1), head, body].concat())]);
    assert_eq!(events[0]["amqp"]["headers"], json!({"k": ""}));
    assert_eq!(events[0]["amqp"]["delivery-mode"], json!("persistent"));
    assert_eq!((&events[0]["user.id"], &events[0]["request"]), (&json!("me"), &json!("255")));
}

#[test]
fn large_bodies_are_not_kept() {
    let big = vec![b'x'; 100_000];
    let mut h = Harness::new(&PROTOCOL, "{send_request: true, max_body_length: 3}");
    h.client(&publish(1)).client(&header(1, 200_000)).client(&frame(3, 1, &big)[..1000]).gap(ToServer, 90_000);
    assert_eq!(h.events(), [] as [Value; 0]);
    h.client(&frame(3, 1, &big)[91_000..]).client(&frame(3, 1, &big));
    let events = h.events();
    assert_eq!(lines(&events), ["10.0.0.1 basic.publish | xxx [...] | - | OK"]);
    assert_eq!(events[0]["source"]["bytes"], json!(200_000));
    // The gap is in the kept part of the body. The text ends there, but the rest of the message is parsed.
    let mut h = Harness::new(&PROTOCOL, "{send_request: true}");
    h.client(&[publish(1), header(1, 10)].concat()).client(&frame(3, 1, b"0123456789")[..10]).gap(ToServer, 3).client(b"6789\xce");
    assert_eq!(lines(&h.events()), ["10.0.0.1 basic.publish | 012 [...] | - | OK"]);
}

#[test]
fn after_a_gap_frames_are_found_again() {
    let mut h = Harness::new(&PROTOCOL, ALL);
    h.client(&[declare(1, "a"), publish(1), header(1, 100)].concat()).gap(ToServer, 50);
    h.client(&[&b"\x01 rest of a body \x01\0\x01\0\0\xce"[..], &declare(1, "b")].concat())
        .server(&declared(1, "a"))
        .server(&declared(1, "b"));
    assert_eq!(
        lines(&h.events()),
        ["10.0.0.1 queue.declare | queue.declare a | OK | OK", "10.0.0.1 queue.declare | queue.declare b | OK | OK"]
    );
    // One of two responses is lost, and it is unknown which. The remaining one is paired with the only request that it
    // fits.
    h.client(&[declare(1, "c"), declare(1, "d"), declare(2, "e")].concat())
        .gap(ToClient, 10)
        .server(&declared(1, "d"))
        .server(&declared(2, "e"));
    assert_eq!(lines(&h.events()), ["10.0.0.1 queue.declare | queue.declare e | OK | OK"]);
    assert_eq!((h.counted("unmatched_requests"), h.counted("unmatched_responses")), (2, 1));
    // A request may have been lost, too. The response may belong to that request.
    h.client(&declare(1, "f")).gap(ToServer, 10).gap(ToClient, 10).server(&declared(1, "g"));
    assert_eq!((h.events().len(), h.counted("unmatched_requests"), h.counted("unmatched_responses")), (0, 3, 2));
}

#[test]
fn client_and_server_are_corrected() {
    let mut h = Harness::new(&PROTOCOL, ALL);
    h.data(ToServer, &call(1, 60, 60, b"\x01t\0\0\0\0\0\0\0\x01\0\0\x01q"))
        .data(ToServer, &header(1, 0))
        .data(ToClient, &call(1, 60, 80, b"\0\0\0\0\0\0\0\x01\0"));
    assert_eq!(lines(&h.events()), ["10.0.0.2 basic.deliver |  |  | OK", "10.0.0.2 basic.ack | basic.ack |  | OK"]);
}

#[test]
fn a_connection_of_another_protocol_is_given_up() {
    use crate::stream::pending::Outcome;
    for other in [&b"AMQP\0\x01\0\0"[..], b"AMQP\x03\x01\0\0", b"AMQP\x01\x01\0\x09"] {
        assert_eq!(Harness::new(&PROTOCOL, "{}").client(other).state, Outcome::GaveUp, "{other:?}");
        assert_eq!(probe(ToServer, other), Probe::No);
    }
    let mut h = Harness::new(&PROTOCOL, "{}");
    for _ in 0..17 {
        h.client(&vec![b'x'; 1 << 20]);
    }
    assert_eq!(h.state, Outcome::GaveUp);
    assert_eq!(probe(ToServer, b"AMQP"), Probe::More(4));
    assert_eq!(probe(ToServer, b"AMQP\0\0\x09\x01"), Probe::Yes);
    assert_eq!(probe(ToClient, &declare(1, "a")), Probe::Yes);
    assert_eq!(probe(ToServer, b"GET / HTTP/1.1\r\n\r\n"), Probe::No);
    assert_eq!(probe(ToServer, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"), Probe::No);
}

const FAILED: &[u8] = b"\x01\x94\x05wrong\0\x32\0\x0a";

#[test]
fn closes_and_their_confirmations() {
    let mut h = Harness::new(&PROTOCOL, ALL);
    h.client(&declare(1, "a")).server(&call(1, 20, 40, FAILED));
    h.client(&call(1, 20, 41, b""));
    let events = h.events();
    assert_eq!(lines(&events), ["10.0.0.2 channel.close | channel.close | OK | Error"]);
    assert_eq!(events[0]["amqp"], json!({"reply-code": 404, "reply-text": "wrong", "class-id": 50, "method-id": 10}));
    assert_eq!((&events[0]["client"]["ip"], h.counted("unmatched_requests")), (&json!("10.0.0.1"), 1));
    let unconfirmed = ["10.0.0.2 connection.close | connection.close |  | Error (Close-ok method not received by sender)"];
    h.server(&call(0, 10, 50, FAILED)).at(9_999);
    assert_eq!(h.events().len(), 0);
    h.at(10_001);
    assert_eq!(lines(&h.events()), unconfirmed);
    h.server(&call(0, 10, 50, FAILED)).close(ToServer, Close::Fin);
    assert_eq!(lines(&h.events()), unconfirmed);
}

#[test]
fn methods_hidden_by_the_option() {
    let script: Script<'_> = &[
        (ToClient, &call(0, 10, 30, b"\0\0\0\0\0\0\0\x0a")),
        (ToServer, &call(0, 10, 31, b"\0\x10\0\0\x10\0\0\x0a")),
        (ToServer, &call(1, 20, 10, b"\0")),
        (ToClient, &call(1, 20, 11, b"\0\0\0\0")),
        (ToServer, &call(1, 20, 40, b"\0\xc8\0\0\0\0\0")),
        (ToClient, &call(1, 20, 41, b"")),
    ];
    assert_eq!(run("{}", script), [] as [&str; 0]);
    let events = every_cut(&PROTOCOL, "{hide_connection_information: false}", script);
    assert_eq!(
        lines(&events),
        ["10.0.0.2 connection.tune | - | - | OK", "10.0.0.1 channel.open | - | - | OK", "10.0.0.1 channel.close | - | - | OK"]
    );
    assert_eq!(events[0]["amqp"], json!({"channel-max": 16, "frame-max": 4096, "heartbeat": 10}));
}

#[test]
fn incomplete_messages_and_waiting_methods_are_bounded() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    for channel in 0..5000 {
        h.client(&declare(channel, "a")).client(&publish(channel));
    }
    assert_eq!((h.counted("unmatched_requests"), h.counted("incomplete_messages")), (5000 - 1024, 5000 - 256));
}

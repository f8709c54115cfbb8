//! Tests of the state machine: framed and unframed calls, one-way calls, several outstanding calls, and gaps.

use super::PROTOCOL;
use crate::protocols::{
    Close,
    testing::{Harness, ToClient, ToServer, every_cut},
};
use serde_json::{Value, json};

/// Makes a message in the strict binary protocol: type, name, sequence number, and the bytes of its fields.
fn message(kind: u8, name: &str, sequence: u8, fields: &[u8]) -> Vec<u8> {
    [&[0x80, 1, 0, kind, 0, 0, 0, name.len() as u8][..], name.as_bytes(), &[0, 0, 0, sequence], fields, &[0]].concat()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes(), message].concat()
}

const ONE: &[u8] = &[8, 0, 1, 0, 0, 0, 1];
const MINUS: &[u8] = &[8, 0, 0, 0xff, 0xff, 0xff, 0xff];

fn lines(events: &[Value]) -> Vec<String> {
    let text = |v: &Value| v.as_str().unwrap_or("-").to_owned();
    let line = |e: &Value| format!("{} {} {}", text(&e["query"]), text(&e["thrift"]["return_value"]), text(&e["status"]));
    events.iter().map(line).collect()
}

#[test]
fn a_call_and_its_reply_bare_and_framed() {
    let (ask, answer) = (message(1, "add", 7, ONE), message(2, "add", 7, MINUS));
    for (ask, answer) in [(ask.clone(), answer.clone()), (framed(&ask), framed(&answer))] {
        let events = every_cut(&PROTOCOL, "{send_request: true, send_response: true}", &[(ToServer, &ask), (ToClient, &answer)]);
        assert_eq!(events.len(), 1);
        let e = &events[0];
        assert_eq!(e["thrift"], json!({"params": "(1: 1)", "return_value": "-1"}));
        assert_eq!((&e["method"], &e["path"], &e["query"]), (&json!("add"), &json!(""), &json!("add(1: 1)")));
        assert_eq!((&e["request"], &e["response"], &e["status"]), (&json!("add(1: 1)"), &json!("-1"), &json!("OK")));
        assert_eq!((&e["source"]["bytes"], &e["destination"]["bytes"]), (&json!(23), &json!(23)));
    }
}

#[test]
fn outstanding_calls_and_exceptions() {
    let asks = [message(1, "a", 1, ONE), message(1, "b", 2, ONE), message(1, "a", 3, &[])].concat();
    let raised = [12, 0, 1, 8, 0, 1, 0, 0, 0, 4, 0];
    let unknown = [11, 0, 1, 0, 0, 0, 2, b'n', b'o', 8, 0, 2, 0, 0, 0, 1];
    let answers = [message(2, "a", 3, MINUS), message(2, "b", 2, &raised), message(3, "a", 1, &unknown)].concat();
    let events = every_cut(&PROTOCOL, "{send_response: true}", &[(ToServer, &asks), (ToClient, &answers)]);
    // The calls are reported in their own order, not in the order of the replies.
    assert_eq!(lines(&events), ["a(1: 1)  Error", "b(1: 1)  Error", "a() -1 OK"]);
    assert_eq!(events[1]["thrift"]["exceptions"], "(1: (1: 4))");
    assert_eq!(events[0]["response"], "Exceptions: (1: \"no\", 2: 1)");
}

#[test]
fn calls_without_replies() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&message(4, "zip", 1, &[]));
    assert_eq!(lines(&h.events()), ["zip() - OK"]);
    h.client(&message(1, "old", 0, &[])).client(&message(1, "add", 0, ONE)).server(&message(2, "add", 0, MINUS));
    // The next call has the same sequence number, which shows that the client does not wait for a reply.
    assert_eq!(lines(&h.events()), ["old() - OK", "add(1: 1) -1 OK"]);
    h.client(&message(1, "old", 0, &[]));
    assert!(h.events().is_empty());
    h.at(20_000);
    assert_eq!(lines(&h.events()), ["old() - OK"]);
    h.client(&message(1, "old", 0, &[])).close(ToServer, Close::Fin).close(ToClient, Close::Fin);
    assert_eq!((lines(&h.events()), h.counted("unmatched_requests")), (vec!["old() - OK".to_owned()], 3));
}

#[test]
fn calls_are_reported_in_their_order() {
    let (one, two, three) = (message(1, "one", 1, &[]), message(1, "two", 2, ONE), message(1, "three", 3, &[]));
    let (second, third) = (message(2, "two", 2, MINUS), message(2, "three", 3, &[]));
    let (zip, before, after) = (message(4, "zip", 9, &[]), ["one() - OK", "two(1: 1) -1 OK"], "three()  OK");
    // The calls have sequence numbers. The first is known to be one-way when the client continues after the reply to
    // the second.
    let events =
        every_cut(&PROTOCOL, "{}", &[(ToServer, &one), (ToServer, &two), (ToClient, &second), (ToServer, &three), (ToClient, &third)]);
    assert_eq!(lines(&events), [&before[..], &[after]].concat());
    // A call without a response is reported after the time-out, or at the end of the connection.
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&one).client(&two).server(&second);
    assert!(h.events().is_empty());
    assert_eq!(lines(&h.at(10_001).events()), before);
    h.client(&one).client(&two).server(&second).close(ToServer, Close::Fin).close(ToClient, Close::Fin);
    assert_eq!(lines(&h.events()), before);
    // A call of the type one-way is reported after the calls before it.
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&two).client(&zip);
    assert!(h.events().is_empty());
    assert_eq!(lines(&h.server(&second).events()), ["two(1: 1) -1 OK", "zip() - OK"]);
    // The calls have no sequence numbers. They are sent framed and unframed.
    for wrap in [framed as fn(&[u8]) -> Vec<u8>, <[u8]>::to_vec] {
        let calls: Vec<Vec<u8>> = (0..3).map(|i| wrap(&message(1, ["a", "b", "c"][i], 0, &[]))).collect();
        let mut h = Harness::new(&PROTOCOL, "{}");
        h.client(&calls[0]).client(&calls[1]);
        assert_eq!(lines(&h.events()), ["a() - OK"]);
        h.client(&calls[2]).server(&wrap(&message(2, "c", 0, &[])));
        assert_eq!(lines(&h.events()), ["b() - OK", "c()  OK"]);
    }
}

#[test]
fn names_from_the_definitions() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.thrift");
    std::fs::write(&file, "service S { i32 add(1: i32 left) throws (1: Bad ouch), oneway void zip() }").unwrap();
    let yaml = format!("{{idl_files: [{}]}}", file.display());
    let mut h = Harness::new(&PROTOCOL, &yaml);
    h.client(&message(1, "add", 1, ONE)).server(&message(2, "add", 1, &[12, 0, 1, 0]));
    h.client(&message(1, "zip", 2, &[])).client(&message(1, "S:add", 3, ONE)).server(&message(2, "add", 3, MINUS));
    let events = h.events();
    assert_eq!(lines(&events), ["add(left: 1)  Error", "zip() - OK", "add(left: 1) -1 OK"]);
    assert_eq!((&events[0]["path"], &events[0]["thrift"]["service"]), (&json!("S"), &json!("S")));
    assert_eq!(events[0]["thrift"]["exceptions"], "(ouch: ())");
    let wrong = (PROTOCOL.open)(&crate::config::Node::parse("{idl_files: [/none.thrift]}").unwrap());
    assert!(wrong.err().unwrap().0.contains("/none.thrift"));
}

#[test]
fn compact_and_header() {
    let ask = b"\x82\x21\x07\x03add\x15\x02\0";
    let answer = b"\x82\x41\x07\x03add\x05\0\x01\0";
    let header = |m: &[u8]| framed(&[&b"\x0f\xff\0\0\0\0\0\x07\0\x01\x02\0\0\0"[..], m].concat());
    for (ask, answer) in [(ask.to_vec(), answer.to_vec()), (framed(ask), framed(answer)), (header(ask), header(answer))] {
        let script: [(_, &[u8]); 2] = [(ToServer, &ask), (ToClient, &answer)];
        let events = every_cut(&PROTOCOL, "{}", &script);
        assert_eq!(lines(&events), ["add(1: 1) -1 OK"]);
    }
}

#[test]
fn replies_are_not_shown() {
    let mut h = Harness::new(&PROTOCOL, "{capture_reply: false}");
    h.client(&message(1, "add", 1, ONE)).server(&message(2, "add", 1, MINUS));
    h.client(&message(1, "add", 2, ONE)).server(&message(2, "add", 2, &[12, 0, 1, 0]));
    assert_eq!(lines(&h.events()), ["add(1: 1)  OK", "add(1: 1)  Error"]);
}

#[test]
fn messages_are_found_again_after_a_gap() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(b"middle of something").client(&message(1, "add", 1, ONE)).server(&message(2, "add", 1, MINUS));
    h.client(&message(1, "add", 2, ONE)).server(&message(2, "add", 2, MINUS)[..18]).gap(ToClient, 5);
    h.client(&message(1, "add", 3, ONE)).server(&message(2, "add", 3, MINUS));
    let events = h.events();
    assert_eq!(lines(&events), ["add(1: 1) -1 OK", "add(1: 1)  OK", "add(1: 1) -1 OK"]);
    assert_eq!(events[1]["error"]["message"], "Packet loss while capturing the response");
    // After a gap in a frame, the next frame is parsed, because the end of the damaged frame is known.
    let answers = [framed(&message(2, "add", 4, MINUS)), framed(&message(2, "add", 5, MINUS))].concat();
    h.client(&framed(&message(1, "add", 4, ONE))).client(&framed(&message(1, "add", 5, ONE)));
    h.server(&answers[..24]).gap(ToClient, 2).server(&answers[26..]);
    assert_eq!(lines(&h.events()), ["add(1: 1)  OK", "add(1: 1) -1 OK"]);
    // Only the frame with invalid data is lost.
    h.client(&framed(&message(1, "add", 4, &[1, 1, 1])))
        .client(&framed(&message(1, "add", 5, ONE)))
        .server(&framed(&message(2, "add", 5, MINUS)));
    assert_eq!((lines(&h.events()).len(), h.counted("malformed")), (1, 2));
}

#[test]
fn client_and_server_are_corrected() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&message(2, "add", 1, MINUS)).server(&message(1, "add", 2, ONE)).client(&message(2, "add", 2, MINUS));
    let events = h.events();
    assert_eq!((lines(&events), &events[0]["source"]["ip"]), (vec!["add(1: 1) -1 OK".to_owned()], &json!("10.0.0.2")));
}

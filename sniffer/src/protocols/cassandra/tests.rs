//! Tests of the state machine: pairing by stream id, segments of v5, compression, gaps, and limits.

use super::{
    connection::{MOST_HELD, MOST_READ},
    wire::{COMPRESSED, HEADER},
    *,
};
use crate::protocols::testing::{Harness, ToClient, ToServer, every_cut};
use segment::wrap;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn envelope(version: u8, flags: u8, stream: u16, op: Op, body: &[u8]) -> Vec<u8> {
    let mut out = vec![version, flags];
    out.extend(stream.to_be_bytes());
    out.push(op.0);
    out.extend((body.len() as u32).to_be_bytes());
    out.extend(body);
    out
}

fn query(version: u8, stream: u16, text: &str) -> Vec<u8> {
    let body = [&(text.len() as u32).to_be_bytes()[..], text.as_bytes(), b"\0\x01\0"].concat();
    envelope(version, 0, stream, Op::QUERY, &body)
}

fn void(version: u8, stream: u16) -> Vec<u8> {
    envelope(version | 0x80, 0, stream, Op::RESULT, b"\0\0\0\x01")
}

fn rows(version: u8, stream: u16, rows: u32, filler: usize) -> Vec<u8> {
    let body = [&b"\0\0\0\x02\0\0\0\x04\0\0\0\x01"[..], &rows.to_be_bytes(), &vec![b'r'; filler]].concat();
    envelope(version | 0x80, 0, stream, Op::RESULT, &body)
}

fn startup(version: u8, compression: &str) -> Vec<u8> {
    let mut body = b"\0\x02\0\x0bCQL_VERSION\0\x053.4.5\0\x0bCOMPRESSION".to_vec();
    body.extend((compression.len() as u16).to_be_bytes());
    body.extend(compression.as_bytes());
    envelope(version, 0, 0, Op::STARTUP, &body)
}

fn ready(version: u8) -> Vec<u8> {
    envelope(version | 0x80, 0, 0, Op::READY, b"")
}

/// Shows each event as `op text -> op type`, or with the number of rows or the error instead of the type.
fn pairs(events: &[Value]) -> Vec<String> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    events
        .iter()
        .map(|e| {
            let (asked, answer) = (&e["cassandra"]["request"], &e["cassandra"]["response"]);
            let result = &answer["result"];
            let what = match &result["rows"]["num_rows"] {
                Value::Null => text(&result["type"]) + &text(&answer["error"]["type"]) + &text(&answer["event"]["type"]),
                rows => format!("{rows} rows"),
            };
            let line = format!("{} {} -> {} {what}", text(&asked["headers"]["op"]), text(&asked["query"]), text(&answer["headers"]["op"]));
            line.trim_end().to_owned()
        })
        .collect()
}

#[test]
fn answers_in_another_order() {
    let asked = [query(4, 1, "a"), query(4, 2, "b"), query(4, 3, "c")].concat();
    let answers = [rows(4, 3, 3, 0), void(4, 1), envelope(0x84, 0, 2, Op::ERROR, b"\0\0\x22\0\0\x02no")].concat();
    let events = every_cut(&PROTOCOL, "{}", &[(ToServer, &asked), (ToClient, &answers)]);
    assert_eq!(pairs(&events), ["QUERY c -> RESULT 3 rows", "QUERY a -> RESULT void", "QUERY b -> ERROR errInvalid"]);
    assert_eq!((&events[2]["status"], &events[2]["event"]["outcome"]), (&json!("Error"), &json!("failure")));
    assert_eq!((&events[0]["status"], &events[0]["event"]["outcome"]), (&json!("OK"), &Value::Null));
    assert_eq!(events[0]["source"]["bytes"], json!(query(4, 3, "c").len()));
    assert_eq!(events[0]["destination"]["bytes"], json!(rows(4, 3, 3, 0).len()));
}

#[test]
fn v5_changes_its_form_after_the_handshake() {
    for (compression, lz4) in [("", false), ("lz4", true)] {
        let asked = [query(5, 1, "a"), query(5, 2, "b")].concat();
        let long = rows(5, 2, 9, 300);
        let events = every_cut(
            &PROTOCOL,
            "{}",
            &[
                (ToServer, &envelope(5, 0, 0, Op::OPTIONS, b"")),
                (ToClient, &envelope(0x85, 0, 0, Op::SUPPORTED, b"\0\0")),
                (ToServer, &startup(5, compression)),
                (ToClient, &ready(5)),
                (ToServer, &wrap(&asked, true, lz4)),
                (ToClient, &wrap(&void(5, 1), true, lz4)),
                (ToClient, &wrap(&long[..200], false, lz4)),
                (ToClient, &wrap(&long[200..], false, lz4)),
                (ToServer, &wrap(&query(5, 1, "c"), true, lz4)),
                (ToClient, &wrap(&void(5, 1), true, lz4)),
            ],
        );
        let want =
            ["OPTIONS  -> SUPPORTED", "STARTUP  -> READY", "QUERY a -> RESULT void", "QUERY b -> RESULT 9 rows", "QUERY c -> RESULT void"];
        assert_eq!(pairs(&events), want, "lz4: {lz4}");
    }
}

#[test]
fn long_messages_are_reported_from_their_beginning() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    let long = rows(5, 1, 9, 3 << 20);
    h.client(&wrap(&query(5, 1, "a"), true, false));
    for (i, part) in long.chunks(100_000).enumerate() {
        h.server(&wrap(part, false, false));
        assert_eq!(h.events().len(), usize::from(i == (MOST_READ + HEADER) / 100_000), "part {i}");
    }
    h.client(&wrap(&query(5, 1, "b"), true, false)).server(&wrap(&void(5, 1), true, false));
    assert_eq!(pairs(&h.events()), ["QUERY b -> RESULT void"]);
    // v4: the unneeded rest of a body is not buffered, and may be lost.
    let mut h = Harness::new(&PROTOCOL, "{}");
    let long = rows(4, 1, 8, 3 << 20);
    h.client(&query(4, 1, "a")).server(&long[..2 << 20]).gap(ToClient, 1 << 20).server(&long[3 << 20..]);
    h.client(&query(4, 1, "b")).server(&void(4, 1));
    assert_eq!(pairs(&h.events()), ["QUERY a -> RESULT 8 rows", "QUERY b -> RESULT void"]);
}

#[test]
fn compression_is_that_of_the_startup() {
    let long = rows(4, 1, 7, 500)[HEADER..].to_vec();
    let lz4 = [&(long.len() as u32).to_be_bytes()[..], &lz4_flex::block::compress(&long)].concat();
    let snappy = snap::raw::Encoder::new().compress_vec(&long).unwrap();
    for (name, body) in [("lz4", lz4), ("snappy", snappy)] {
        let answer = envelope(0x84, COMPRESSED, 1, Op::RESULT, &body);
        let asked = query(4, 1, "a");
        let script = [(ToServer, startup(4, name)), (ToClient, ready(4)), (ToServer, asked), (ToClient, answer)];
        let script: Vec<(Direction, &[u8])> = script.iter().map(|(dir, data)| (*dir, data.as_slice())).collect();
        let want = ["STARTUP  -> READY", "QUERY a -> RESULT 7 rows"];
        assert_eq!(pairs(&every_cut(&PROTOCOL, "{}", &script)), want, "{name}");
        // The capture begins after the STARTUP. The compression is taken from the configuration, or detected.
        assert_eq!(pairs(&every_cut(&PROTOCOL, "{}", &script[2..])), want[1..], "{name}");
        assert_eq!(pairs(&every_cut(&PROTOCOL, &format!("{{compressor: {name}}}"), &script[2..])), want[1..], "{name}");
        // Messages are found again if all of them are compressed.
        let mut h = Harness::new(&PROTOCOL, "{}");
        h.client(script[0].1)
            .server(script[1].1)
            .client(script[2].1)
            .gap(ToClient, 20)
            .server(b"some rest \x84\0\0\x01")
            .server(script[3].1);
        assert_eq!(pairs(&h.events()), want, "{name}");
    }
}

#[test]
fn events_of_the_server() {
    let up = envelope(0x84, 0, 0xffff, Op::EVENT, b"\0\x0dSTATUS_CHANGE\0\x02UP\x04\x0a\0\0\x02\0\0\x23\x52");
    let events = every_cut(&PROTOCOL, "{}", &[(ToServer, &query(4, 1, "a")), (ToClient, &[up, void(4, 1)].concat())]);
    assert_eq!(pairs(&events), ["  -> EVENT STATUS_CHANGE", "QUERY a -> RESULT void"]);
    assert_eq!(events[0]["cassandra"]["no_request"], json!(true));
    assert_eq!(events[0]["cassandra"]["response"]["event"]["host"], json!("10.0.0.2"));
    assert_eq!((&events[0]["destination"]["port"], &events[0]["event"]["start"]), (&json!(9042), &Value::Null));
}

#[test]
fn options() {
    let talk = |yaml: &str| {
        let mut h = Harness::new(&PROTOCOL, yaml);
        h.client(&envelope(4, 0, 0, Op::OPTIONS, b"")).server(&envelope(0x84, 0, 0, Op::SUPPORTED, b"\0\0"));
        h.client(&query(4, 0, "a")).server(&void(4, 0));
        h.events().into_iter().map(|e| e["cassandra"].clone()).collect::<Vec<_>>()
    };
    let asked = json!({"query": "a"});
    assert_eq!(
        talk("{send_request_header: false, send_response_header: false}"),
        [json!({"response": {"supported": {}}}), json!({"request": asked, "response": {"result": {"type": "void"}}})]
    );
    assert_eq!(talk("{send_request: false, send_response: false}"), [json!({}), json!({})]);
    assert_eq!(talk("{ignored_ops: [SUPPORTED]}").len(), 1);
    assert_eq!(talk("{ignored_ops: [OPTIONS, QUERY]}").len(), 0);
    let error = |yaml: &str| (PROTOCOL.open)(&config::Node::parse(yaml).unwrap()).err().unwrap().to_string();
    assert!(error("{compressor: zip}").contains("known are snappy and lz4"), "{}", error("{compressor: zip}"));
    assert!(error("{ignored_ops: [SELECT]}").contains("known are ERROR, STARTUP"), "{}", error("{ignored_ops: [SELECT]}"));
}

#[test]
fn capture_from_the_middle_with_confused_roles() {
    for lz4 in [None, Some(false), Some(true)] {
        let form = |data: Vec<u8>| lz4.map_or(data.clone(), |lz4| wrap(&data, true, lz4));
        let version = if lz4.is_some() { 5 } else { 4 };
        let mut h = Harness::new(&PROTOCOL, "{}");
        h.server(&b"the rest of some row \0\0\0\x04\x84\0\0\x01\x08".repeat(50));
        h.server(&form(void(version, 9)));
        h.client(&form(query(version, 1, "a"))).server(&form(void(version, 1)));
        assert_eq!(pairs(&h.events()), ["QUERY a -> RESULT void"], "{lz4:?}");
        assert_eq!((h.counted("malformed"), h.counted("unmatched_responses")), (1, 1), "{lz4:?}");

        let mut h = Harness::new(&PROTOCOL, "{}");
        h.client(&form(void(version, 1))).server(&form(query(version, 1, "a"))).client(&form(void(version, 1)));
        let events = h.events();
        assert_eq!(pairs(&events), ["QUERY a -> RESULT void"], "{lz4:?}");
        assert_eq!(events[0]["source"]["ip"], json!("10.0.0.2"), "{lz4:?}");
    }
}

#[test]
fn a_gap_costs_only_the_messages_in_it() {
    for lz4 in [None, Some(false), Some(true)] {
        let form = |data: Vec<u8>| lz4.map_or(data.clone(), |lz4| wrap(&data, true, lz4));
        let version = if lz4.is_some() { 5 } else { 4 };
        let mut h = Harness::new(&PROTOCOL, "{}");
        for stream in 1..=3 {
            h.client(&form(query(version, stream, "a query of some length")));
        }
        let answer = form(rows(version, 1, 1, 200));
        let third = answer.len() / 3;
        h.server(&answer[..third]).gap(ToClient, third as u64).server(&answer[2 * third..]);
        h.server(&form(void(version, 3))).server(&form(void(version, 2)));
        assert_eq!(pairs(&h.events()).len(), 2, "{lz4:?}");
        // A response and a request are lost. Stream 1 has a waiting request, but it is unknown whether the next
        // response belongs to it.
        h.client(&form(query(version, 1, "b"))).gap(ToClient, 50).gap(ToServer, 50).server(&form(void(version, 1)));
        assert_eq!(pairs(&h.events()), [""; 0], "{lz4:?}");
        h.client(&form(query(version, 1, "c"))).server(&form(void(version, 1)));
        assert_eq!(pairs(&h.events()), ["QUERY c -> RESULT void"], "{lz4:?}");
    }
}

#[test]
fn waiting_requests_are_bounded_in_time_and_bytes() {
    let mut h = Harness::new(&PROTOCOL, "{transaction_timeout: 1s}");
    h.client(&query(4, 1, "a"));
    h.at(1500).client(&query(4, 2, "b")).server(&void(4, 1)).server(&void(4, 2));
    assert_eq!(pairs(&h.events()), ["QUERY b -> RESULT void"]);
    assert_eq!((h.counted("unmatched_requests"), h.counted("unmatched_responses")), (1, 1));
    // The request times out at 2.5 s although no other message arrives.
    h.client(&query(4, 3, "c")).at(2_400);
    assert_eq!(h.counted("unmatched_requests"), 1);
    h.at(2_600);
    assert_eq!(h.counted("unmatched_requests"), 2);
    let long = "x".repeat(1 << 20);
    for stream in 0..6 {
        h.client(&query(4, stream, &long));
    }
    for stream in 0..6 {
        h.server(&void(4, stream));
    }
    let events = h.events();
    let with_text = events.iter().filter(|e| !e["cassandra"]["request"]["query"].is_null()).count();
    assert_eq!((events.len(), with_text), (6, MOST_HELD >> 20));
}

#[test]
fn tls_and_unknown_data_are_given_up() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03");
    assert_eq!(format!("{:?}", h.state), "GaveUp");
    let mut h = Harness::new(&PROTOCOL, "{}");
    for _ in 0..17 {
        h.server(&vec![b'z'; 1 << 20]);
    }
    assert_eq!(format!("{:?}", h.state), "GaveUp");
}

#[test]
fn probes() {
    let yes: [(Direction, Vec<u8>); 4] = [
        (ToServer, startup(4, "lz4")),
        (ToServer, wrap(&query(5, 1, "a"), true, true)),
        (ToClient, wrap(&void(5, 1), true, false)),
        (ToClient, void(3, 1)),
    ];
    for (dir, data) in yes {
        assert_eq!(probe(dir, &data), Probe::Yes, "{data:x?}");
        assert!(matches!(probe(dir, &data[..3]), Probe::More(_)), "{data:x?}");
    }
    for data in
        [&b"GET / HTTP/1.1\r\n"[..], b"*1\r\n$4\r\nPING\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"\x02\0\0\x07\0\0\0\0\0"]
    {
        assert_eq!(probe(ToServer, data), Probe::No, "{data:?}");
    }
}

/// The conversations in a capture (loopback, IPv4, no losses), by the port of the client.
fn conversations(capture: &str) -> BTreeMap<u16, Vec<(Direction, Vec<u8>)>> {
    let path = format!("{}/../tests/protocols/cassandra/{capture}.pcap", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(path).unwrap();
    let (mut at, mut found) = (24, BTreeMap::<u16, Vec<(Direction, Vec<u8>)>>::new());
    while let Some(length) = file.get(at + 8..at + 12) {
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let packet = &file[at + 16 + 14..at + 16 + length];
        at += 16 + length;
        let ip = usize::from(packet[0] & 15) * 4;
        let end = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        let tcp = &packet[ip..end];
        let ports = [u16::from_be_bytes([tcp[0], tcp[1]]), u16::from_be_bytes([tcp[2], tcp[3]])];
        let data = &tcp[usize::from(tcp[12] >> 4) * 4..];
        if !data.is_empty() {
            let (dir, client) = if ports[1] == 9042 { (ToServer, ports[0]) } else { (ToClient, ports[1]) };
            found.entry(client).or_default().push((dir, data.to_vec()));
        }
    }
    found
}

#[test]
fn real_conversations_at_every_cut() {
    for capture in ["v3_snappy", "v4_lz4", "v5_lz4", "out_of_order"] {
        // The conversation with the most requests. Its first messages are enough; the others are in the golden
        // documents.
        let script = conversations(capture).into_values().max_by_key(Vec::len).unwrap();
        let script: Vec<(Direction, &[u8])> = script.iter().take(6).map(|(dir, data)| (*dir, data.as_slice())).collect();
        let events = pairs(&every_cut(&PROTOCOL, "{}", &script));
        assert_eq!(events[..2], ["OPTIONS  -> SUPPORTED", "STARTUP  -> READY"], "{capture}");
        assert!(events.len() > 2 || capture == "out_of_order", "{capture}: {events:?}");
    }
}

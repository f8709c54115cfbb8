//! Tests of the state machine: pairing by request id, several replies, compression, legacy operations, and limits.

use super::*;
use crate::protocols::testing::{Harness, ToClient, ToServer, every_cut};
use bson::{Document, doc};
use serde_json::{Value, json};

const BOTH: &str = "{send_request: true, send_response: true}";

fn packet(id: i32, to: i32, op: i32, body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(HEADER + body.len()).unwrap();
    [&length.to_le_bytes(), &id.to_le_bytes(), &to.to_le_bytes(), &op.to_le_bytes(), body].concat()
}

fn msg(id: i32, to: i32, flags: u32, body: &Document, sequence: Option<(&str, &[Document])>) -> Vec<u8> {
    let mut data = [&flags.to_le_bytes()[..], b"\0", &body.to_vec().unwrap()].concat();
    if let Some((name, documents)) = sequence {
        let documents: Vec<u8> = documents.iter().flat_map(|d| d.to_vec().unwrap()).collect();
        let size = u32::try_from(4 + name.len() + 1 + documents.len()).unwrap();
        data.extend([b"\x01", &size.to_le_bytes()[..], name.as_bytes(), b"\0", &documents].concat());
    }
    if flags & flag::CHECKSUM_PRESENT != 0 {
        data.extend([1, 2, 3, 4]);
    }
    packet(id, to, op::MSG, &data)
}

fn ok(to: i32) -> Vec<u8> {
    msg(1000 + to, to, 0, &doc! {"n": 1, "ok": 1.0}, None)
}

fn lines(events: &[Value]) -> Vec<String> {
    let text = |v: &Value| v.as_str().unwrap_or("-").to_owned();
    let line = |e: &Value| {
        let m = &e["mongodb"];
        format!(
            "{} | {} | {} | {} | {} | {m}",
            text(&e["status"]),
            text(&e["resource"]),
            text(&e["query"]),
            text(&e["request"]),
            text(&e["response"])
        )
    };
    events.iter().map(line).collect()
}

#[test]
fn commands_in_op_msg() {
    let find = doc! {"find": "c", "filter": {"a": {"$gt": 1}}, "limit": 2, "lsid": {"id": 1}, "$db": "d"};
    let found = doc! {"cursor": {"firstBatch": [{"a": 2}, {"a": 3}], "id": 7_i64, "ns": "d.c"}, "ok": 1.0};
    let more = doc! {"getMore": 7_i64, "collection": "c", "$db": "d"};
    let documents = [doc! {"_id": 1}, doc! {"_id": 2}];
    let failed = doc! {"n": 1, "writeErrors": [{"index": 1, "code": 11000}], "ok": 1.0};
    let events = every_cut(
        &PROTOCOL,
        BOTH,
        &[
            (ToServer, &msg(0, 0, 0, &find, None)),
            (ToClient, &msg(9, 0, 0, &found, None)),
            (ToServer, &msg(1, 0, 0, &more, None)),
            (ToClient, &msg(10, 1, 0, &doc! {"ok": 0.0, "errmsg": "cursor id 7 not found", "code": 43}, None)),
            (
                ToServer,
                &msg(2, 0, flag::CHECKSUM_PRESENT, &doc! {"insert": "c", "ordered": true, "$db": "d"}, Some(("documents", &documents))),
            ),
            (ToClient, &msg(11, 2, flag::CHECKSUM_PRESENT, &failed, None)),
            (ToServer, &msg(3, 0, 0, &doc! {"ping": 1, "$db": "admin"}, None)),
            (ToClient, &ok(3)),
        ],
    );
    assert_eq!(
        lines(&events),
        [
            r#"OK | d.c | d.c.find({"filter":{"a":{"$gt":1}},"limit":2}) | d.c.find({"$db":"d","filter":{"a":{"$gt":1}},"limit":2}) | {"cursor":{"firstBatch":[{"a":2},{"a":3}],"id":7,"ns":"d.c"},"ok":1} | {"cursorId":7,"fullCollectionName":"d.c","numberReturned":2,"numberToReturn":2}"#,
            r#"Error | d.c | d.c.getMore({"collection":"c"}) | d.c.getMore({"$db":"d","collection":"c"}) | {"code":43,"errmsg":"cursor id 7 not found","ok":0} | {"cursorId":7,"error":"cursor id 7 not found","fullCollectionName":"d.c"}"#,
            r#"Error | d.c | d.c.insert({"ordered":true}) | d.c.insert({"$db":"d","documents":[{"_id":1},{"_id":2}],"ordered":true}) | {"n":1,"ok":1,"writeErrors":[{"code":11000,"index":1}]} | {"error":"[{\"code\":11000,\"index\":1}]","fullCollectionName":"d.c"}"#,
            r#"OK | admin.$cmd | admin.$cmd.ping({}) | admin.$cmd.ping({"$db":"admin"}) | {"n":1,"ok":1} | {}"#,
        ]
    );
    assert_eq!(events[1]["event"]["outcome"], json!("failure"));
    assert_eq!((&events[0]["method"], &events[3]["method"]), (&json!("find"), &json!("ping")));
}

#[test]
fn requests_with_several_replies_and_with_none() {
    let mut h = Harness::new(&PROTOCOL, BOTH);
    h.client(&msg(1, 0, flag::MORE_TO_COME, &doc! {"insert": "c", "documents": [{"x": 1}], "$db": "d"}, None));
    assert_eq!(
        lines(&h.events()),
        [r#"OK | d.c | d.c.insert({}) | d.c.insert({"$db":"d","documents":[{"x":1}]}) | - | {"fullCollectionName":"d.c"}"#]
    );
    h.client(&msg(2, 0, 1 << 16, &doc! {"hello": 1, "maxAwaitTimeMS": 10_000, "$db": "admin"}, None));
    h.at(15_000).server(&msg(50, 2, flag::MORE_TO_COME, &doc! {"ok": 1}, None));
    h.server(&msg(51, 50, flag::MORE_TO_COME, &doc! {"ok": 1}, None)).server(&msg(52, 51, 0, &doc! {"ok": 1}, None));
    h.server(&msg(53, 52, 0, &doc! {"ok": 1}, None));
    assert_eq!((h.events().len(), h.counted("exhaust_replies"), h.counted("unmatched_responses")), (1, 2, 1));
    h.client(&msg(3, 0, 0, &doc! {"ping": 1, "$db": "d"}, None)).at(25_001).server(&ok(3));
    assert_eq!((h.events().len(), h.counted("unmatched_requests"), h.counted("unmatched_responses")), (0, 1, 2));
}

#[test]
fn secrets_are_not_shown() {
    let mut h = Harness::new(&PROTOCOL, BOTH);
    h.client(&msg(1, 0, 0, &doc! {"createUser": "u", "pwd": "hunter2", "roles": ["r"], "$db": "d"}, None)).server(&ok(1));
    h.client(&msg(2, 0, 0, &doc! {"saslStart": 1, "payload": "hunter2", "$db": "d"}, None)).server(&ok(2));
    let events = h.events();
    assert_eq!(events.len(), 2);
    assert!(!format!("{events:?}").contains("hunter2"), "{events:?}");
}

#[test]
fn compressed_messages() {
    use std::io::Write;
    let (plain_request, plain_reply) = (msg(1, 0, 0, &doc! {"find": "c", "$db": "d"}, None), ok(1));
    for how in 0..=4u8 {
        let pack = |id: i32, to: i32, plain: &[u8]| {
            let body = &plain[HEADER..];
            let data = match how {
                1 => snap::raw::Encoder::new().compress_vec(body).unwrap(),
                2 => {
                    let mut w = flate2::write::ZlibEncoder::new(vec![], flate2::Compression::fast());
                    w.write_all(body).unwrap();
                    w.finish().unwrap()
                }
                3 => zstd::stream::encode_all(body, 3).unwrap(),
                _ => body.to_vec(),
            };
            let size = u32::try_from(body.len()).unwrap();
            packet(id, to, op::COMPRESSED, &[&op::MSG.to_le_bytes()[..], &size.to_le_bytes(), &[how], &data].concat())
        };
        let (request, reply) = (pack(1, 0, &plain_request), pack(2, 1, &plain_reply));
        let events = every_cut(&PROTOCOL, BOTH, &[(ToServer, &request), (ToClient, &reply)]);
        let want: &[&str] = &[r#"OK | d.c | d.c.find({}) | d.c.find({"$db":"d"}) | {"n":1,"ok":1} | {"fullCollectionName":"d.c"}"#];
        assert_eq!(lines(&events), if how == 4 { &[] } else { want }, "compressor {how}");
        assert_eq!(events.first().map(|e| e["source"]["bytes"].clone()), (how < 4).then(|| json!(request.len())));
    }
}

#[test]
fn legacy_operations() {
    let query = |id, name: &[u8], d: Document| {
        packet(id, 0, op::QUERY, &[b"\0\0\0\0", name, b"\0\0\0\0\0\xff\xff\xff\xff", &d.to_vec().unwrap()].concat())
    };
    let reply = |to, d: &[Document]| {
        let documents: Vec<u8> = d.iter().flat_map(|d| d.to_vec().unwrap()).collect();
        packet(9, to, op::REPLY, &[&[0; 16][..], &u32::try_from(d.len()).unwrap().to_le_bytes(), &documents].concat())
    };
    let selector = doc! {"a": 1}.to_vec().unwrap();
    let mut options = String::from(BOTH);
    options.insert_str(options.len() - 1, ", max_docs: 1");
    let events = every_cut(
        &PROTOCOL,
        &options,
        &[
            (ToServer, &query(1, b"d.c", doc! {"a": 1})),
            (ToClient, &reply(1, &[doc! {"a": 1}, doc! {"a": 1}])),
            (ToServer, &query(2, b"d.$cmd", doc! {"insert": "c", "documents": [{"x": 1}]})),
            (ToClient, &reply(2, &[doc! {"ok": 1, "writeErrors": ["bad"]}])),
            (ToServer, &query(3, b"d.$cmd", doc! {"isMaster": 1})),
            (ToClient, &reply(3, &[])),
            (ToServer, &packet(4, 0, op::UPDATE, &[b"\0\0\0\0d.c\0\0\0\0\0" as &[u8], &selector, &selector].concat())),
            (ToServer, &packet(5, 0, op::GET_MORE, b"\0\0\0\0d.c\0\x02\0\0\0\x07\0\0\0\0\0\0\0")),
            (ToClient, &reply(5, &[doc! {"$err": "bad"}])),
        ],
    );
    let returned = r#""fullCollectionName":"d.c""#;
    assert_eq!(
        lines(&events),
        [
            &format!(
                r#"OK | d.c | d.c.find({{"a":1}}) | d.c.find({{"a":1}}) | {{"a":1}}
[...] | {{"cursorId":0,{returned},"numberReturned":2,"numberToReturn":-1,"numberToSkip":0,"startingFrom":0}}"#
            ),
            r#"Error | d.c | d.c.insert({}) | d.c.insert({"documents":[{"x":1}]}) | {"ok":1,"writeErrors":["bad"]} | {"cursorId":0,"error":"[\"bad\"]","fullCollectionName":"d.$cmd","numberReturned":1,"numberToReturn":-1,"numberToSkip":0,"startingFrom":0}"#,
            r#"OK | d.$cmd | d.$cmd.otherCommand({"isMaster":1}) | d.$cmd.otherCommand({"isMaster":1}) | - | {"cursorId":0,"fullCollectionName":"d.$cmd","numberReturned":0,"numberToReturn":-1,"numberToSkip":0,"startingFrom":0}"#,
            r#"OK |  | .update() | .update() | - | {"fullCollectionName":"d.c","selector":"{\"a\":1}","update":"{\"a\":1}"}"#,
            r#"Error |  | .getMore() | .getMore() | {"$err":"bad"} | {"cursorId":0,"error":"\"bad\"","fullCollectionName":"d.c","numberReturned":1,"numberToReturn":2,"startingFrom":0}"#,
        ]
    );
}

#[test]
fn a_message_longer_than_the_limit() {
    let big: Vec<Document> = (0..40).map(|i| doc! {"_id": i, "x": "y".repeat(100_000)}).collect();
    let insert = msg(1, 0, 0, &doc! {"insert": "c", "$db": "d"}, Some(("documents", &big)));
    let found = msg(2, 1, 0, &doc! {"cursor": {"firstBatch": big, "id": 5_i64}, "ok": 1.0}, None);
    let mut h = Harness::new(&PROTOCOL, "{send_response: true, max_doc_length: 40}");
    for chunk in insert.chunks(60_000) {
        h.client(chunk);
    }
    for chunk in found.chunks(60_000) {
        h.server(chunk);
    }
    h.client(&msg(3, 0, 0, &doc! {"ping": 1, "$db": "d"}, None)).server(&ok(3));
    let events = h.events();
    assert_eq!(
        lines(&events)[0],
        r#"OK | d.c | d.c.insert({}) | - | {"cursor":{"firstBatch":[{"_id":0,"x":"y ... | {"fullCollectionName":"d.c"}"#
    );
    assert_eq!((&events[0]["destination"]["bytes"], events.len()), (&json!(found.len()), 2));
}

#[test]
fn capture_from_the_middle_with_confused_roles() {
    let request = |id| msg(id, 0, 0, &doc! {"ping": 1, "$db": "d"}, None);
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&ok(7)).server(&request(8)).client(&ok(8));
    let events = h.events();
    assert_eq!((events.len(), &events[0]["source"]["ip"], h.counted("unmatched_responses")), (1, &json!("10.0.0.2"), 1));
    let mut h = Harness::new(&PROTOCOL, "{}");
    let (q, a) = (request(3), ok(3));
    h.server(&a[20..]).client(&q[5..]).client(&request(4)).server(&ok(4));
    assert_eq!(h.events().len(), 1);
    h.client(&q[..20]).gap(ToServer, 17).client(&q[37..]).client(&request(5)).gap(ToClient, 200).server(&[&a[30..], &ok(5)].concat());
    assert_eq!(h.events().len(), 1);
}

#[test]
fn other_protocols_are_given_up() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03abcdefghijklmnopq");
    assert_eq!(format!("{:?}", h.state), r#"HandOver("tls")"#);
    let mut h = Harness::new(&PROTOCOL, "{}");
    let noise: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for chunk in noise.chunks(10_000).cycle().take(1_700) {
        h.client(chunk);
    }
    assert_eq!((format!("{:?}", h.state).as_str(), h.events().len()), ("GaveUp", 0));
    assert_eq!(probe(ToServer, b"GET / HTTP/1.1\r\n\r\n"), Probe::No);
    assert_eq!(probe(ToServer, &ok(1)[..10]), Probe::More(6));
    assert_eq!(probe(ToClient, &ok(1)), Probe::Yes);
}

#[test]
fn waiting_requests_are_bounded() {
    let mut h = Harness::new(&PROTOCOL, BOTH);
    for id in 0..2000 {
        h.client(&msg(id, 0, 0, &doc! {"insert": "c", "x": "y".repeat(10_000), "$db": "d"}, None));
    }
    h.server(&ok(1)).server(&ok(1999));
    let events = h.events();
    assert_eq!((events.len(), &events[0]["request"]), (1, &Value::Null));
    h.close_both(Close::Fin);
    assert_eq!((h.counted("unmatched_requests"), h.counted("unmatched_responses")), (1999, 1));
}

/// The payloads of the TCP segments in a capture, with their directions. The capture has Ethernet, IPv4 and TCP headers without options,
/// and no lost or reordered segments.
fn conversation(capture: &[u8]) -> Vec<(Direction, Vec<u8>)> {
    let (mut at, mut out) = (24, vec![]);
    while let Some(length) = capture.get(at + 8..).and_then(|b| b.first_chunk()) {
        let frame = &capture[at + 16..][..usize::try_from(u32::from_le_bytes(*length)).unwrap()];
        at += 16 + frame.len();
        let dir = if frame[36..38] == 27017u16.to_be_bytes() { ToServer } else { ToClient };
        out.push((dir, frame[54..].to_vec()));
    }
    out.retain(|(_, data)| !data.is_empty());
    out
}

#[test]
fn crafted_captures_under_every_cut() {
    // Each exchange is checked separately, because checking the whole capture at once takes a minute.
    let exhaust = (include_bytes!("../../../../tests/protocols/mongodb/exhaust.pcap").as_slice(), [4, 2, 3, 5, 3, 2, 2].as_slice(), 11);
    let packed = (include_bytes!("../../../../tests/protocols/mongodb/packed.pcap").as_slice(), [2; 11].as_slice(), 10);
    for (capture, exchanges, events) in [exhaust, packed] {
        let owned = conversation(capture);
        let script: Vec<(Direction, &[u8])> = owned.iter().map(|(dir, data)| (*dir, data.as_slice())).collect();
        let (mut rest, mut seen) = (script.as_slice(), 0);
        for n in exchanges {
            let (exchange, after) = rest.split_at(*n);
            seen += every_cut(&PROTOCOL, BOTH, exchange).len();
            rest = after;
        }
        assert_eq!((seen, rest.len()), (events, 0));
    }
}

#[test]
fn swapped_and_repeated_messages_are_paired_by_their_numbers() {
    let ask = |id: i32| msg(id, 0, 0, &doc! {"find": format!("c{id}"), "$db": "d"}, None);
    let tell = |to: i32| msg(100 + to, to, 0, &doc! {"cursor": {"firstBatch": [{"of": to}], "id": 0_i64}, "ok": 1.0}, None);
    let mut h = Harness::new(&PROTOCOL, BOTH);
    h.client(&[ask(1), ask(2), ask(3)].concat()).server(&[tell(3), tell(1)].concat()).server(&tell(1)).server(&tell(2));
    let events = h.events();
    let pairs: Vec<(&str, bool)> = events
        .iter()
        .map(|e| {
            let resource = e["resource"].as_str().unwrap();
            (resource, e["response"].as_str().unwrap().contains(&format!("\"of\":{}", &resource[3..])))
        })
        .collect();
    assert_eq!(pairs, [("d.c3", true), ("d.c1", true), ("d.c2", true)]);
    assert_eq!(h.counted("unmatched_responses"), 1);
}

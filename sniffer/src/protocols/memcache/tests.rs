//! Tests of the state machine: text and binary protocol, meta commands, values, gaps, time-outs, and datagrams.

use super::*;
use crate::protocols::testing::{Harness, ToClient, ToServer, every_cut};
use serde_json::{Value, json};

/// Shows each event as `command keys -> command keys | status`, followed by its note.
fn summaries(events: &[Value]) -> Vec<String> {
    let one = |m: &Value| {
        let keys: Vec<_> = m["keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("{} {}", m["command"].as_str().unwrap_or("-"), keys.join(",")).trim().to_owned()
    };
    let text = |e: &Value| {
        let (m, note) = (&e["memcache"], &e["error"]["message"]);
        let note = if note.is_null() { String::new() } else { format!(" {note}") };
        format!("{} -> {} | {}{note}", one(&m["request"]), one(&m["response"]), e["status"].as_str().unwrap())
    };
    events.iter().map(text).collect()
}

#[test]
fn text_pipelined() {
    let events = every_cut(
        &PROTOCOL,
        "{maxvalues: -1}",
        &[
            (ToServer, b"set a 1 2 5\r\nhe\r\no\r\nget a b\r\nincr n 1\r\n"),
            (ToClient, b"STORED\r\nVALUE a 1 5\r\nhe\r\no\r\nVALUE b 0 2 77\r\nxx\r\nEND\r\nNOT_FOUND\r\n"),
            (ToServer, b"delete a noreply\r\nget a\r\nstats items\r\nbogus\r\nversion\r\nincr n 3\r\nquit\r\n"),
            (ToClient, b"END\r\nSTAT x 1 2\r\nSTAT y 3\r\nEND\r\nERROR\r\nVERSION 1.6\r\n18446744073709551615\r\n"),
        ],
    );
    assert_eq!(
        summaries(&events),
        [
            "set a -> STORED | OK",
            "get a,b -> VALUE a,b | OK",
            "incr n -> NOT_FOUND | Error",
            "delete a -> - | OK",
            "quit -> - | OK",
            "get a -> END | OK",
            "stats -> STAT | OK",
            "version -> VERSION | OK",
            "incr n -> <counter_op_res> | OK",
        ]
    );
    assert_eq!(
        events[0]["memcache"]["request"],
        json!({"command": "set", "type": "Store", "keys": ["a"], "flags": 1, "exptime": 2, "bytes": 5, "noreply": false,
            "count_values": 1, "values": "he\r\no"})
    );
    assert_eq!(
        events[1]["memcache"]["response"],
        json!({"command": "VALUE", "type": "Load", "keys": ["a", "b"], "flags": 1, "cas_unique": 0, "bytes": 7, "count_values": 2,
            "values": ["he\r\no", "xx"]})
    );
    assert_eq!((&events[1]["source"]["bytes"], &events[1]["destination"]["bytes"]), (&json!(9), &json!(45)));
    assert_eq!((&events[2]["event.outcome"], &events[2]["event"]["outcome"]), (&json!("failure"), &Value::Null));
    assert_eq!(events[6]["memcache"]["response"]["stats"], json!([{"name": "x", "value": "1 2"}, {"name": "y", "value": "3"}]));
    assert_eq!(events[6]["memcache"]["request"]["raw_args"], json!("items"));
    assert_eq!(events[8]["memcache"]["response"]["value"], json!(i64::MAX));
}

#[test]
fn unknown_commands_are_reported_with_parseunknown() {
    let script: &[(Direction, &[u8])] = &[(ToServer, b"bogus 1\r\nget a\r\n"), (ToClient, b"WHAT 1\r\nEND\r\n")];
    let events = every_cut(&PROTOCOL, "{parseunknown: true}", script);
    assert_eq!(summaries(&events), ["UNKNOWN -> UNKNOWN | OK", "get a -> END | OK"]);
    assert_eq!(events[0]["memcache"]["request"], json!({"command": "UNKNOWN", "type": "UNKNOWN", "line": "bogus 1"}));
    assert_eq!(summaries(&every_cut(&PROTOCOL, "{}", script)), ["get a -> END | OK"]);
    let script: &[(Direction, &[u8])] = &[
        (ToServer, b"bogus 1\r\nget a\r\nbogus 2\r\n"),
        (ToClient, b"WHAT 1\r\nVALUE a 0 1\r\nx\r\nEND\r\nWHAT 2\r\n"),
        (ToServer, b"bogus 3\r\n"),
        (ToClient, b"WHAT 3\r\n"),
    ];
    assert_eq!(every_cut(&PROTOCOL, "{parseunknown: true}", script).len(), 4);
}

#[test]
fn meta_commands_quiet_and_not() {
    let events = every_cut(
        &PROTOCOL,
        "{maxvalues: 1, maxbytespervalue: 2}",
        &[
            (ToServer, b"ms foo 3 T90 F5 c\r\nbar\r\nmg foo k v f O7\r\nmg miss v\r\nmg a v q\r\nmg b v q k\r\nmd a q\r\nma n N0 J13 v\r\nmn\r\nme foo\r\n"),
            (ToClient, b"HD c12\r\nVA 3 kfoo f5 O7\r\nbar\r\nEN\r\nVA 1 kb\r\nx\r\nVA 2\r\n13\r\nMN\r\nME foo exp=-1 la=2\r\n"),
            (ToServer, b"md foo\r\nms foo 1 C9\r\n1\r\n"),
            (ToClient, b"NF\r\nEX\r\n"),
        ],
    );
    assert_eq!(
        summaries(&events),
        [
            "ms foo -> HD | OK",
            "mg foo -> VA foo | OK",
            "mg miss -> EN | OK",
            "mg a -> - | OK",
            "mg b -> VA b | OK",
            "md a -> - | OK",
            "ma n -> VA | OK",
            "mn -> MN | OK",
            "me foo -> ME foo | OK",
            "md foo -> NF | Error",
            "ms foo -> EX | Error",
        ]
    );
    assert_eq!(
        events[1]["memcache"],
        json!({"protocol_type": "text",
            "request": {"command": "mg", "type": "Load", "keys": ["foo"], "raw_args": "k v f O7", "opaque": 7},
            "response": {"command": "VA", "type": "Load", "keys": ["foo"], "raw_args": "kfoo f5 O7", "flags": 5, "opaque": 7, "bytes": 3,
                "count_values": 1, "values": ["ba"]}})
    );
}

/// Makes a message of the binary protocol.
fn binary(magic: u8, opcode: u8, status: u8, opaque: u8, [extras, key, value]: [&[u8]; 3]) -> Vec<u8> {
    let body = (extras.len() + key.len() + value.len()) as u32;
    let mut m = vec![magic, opcode, 0, key.len() as u8, extras.len() as u8, 0, 0, status];
    m.extend(body.to_be_bytes());
    m.extend([0, 0, 0, opaque, 0, 0, 0, 0, 0, 0, 0, 0]);
    m.extend([extras, key, value].concat());
    m
}

#[test]
fn binary_quiet_and_statistics() {
    let flags = &[0, 0, 0, 3][..];
    let asks = [
        binary(0x80, 0x09, 0, 1, [b"", b"x", b""]),
        binary(0x80, 0x09, 0, 2, [b"", b"y", b""]),
        binary(0x80, 0x04, 0, 3, [b"", b"z", b""]),
        binary(0x80, 0x0a, 0, 4, [b"", b"", b""]),
        binary(0x80, 0x10, 0, 5, [b"", b"", b""]),
        binary(0x80, 0x01, 0, 6, [&[0; 8], b"k", b"value"]),
        binary(0x80, 0x17, 0, 7, [b"", b"", b""]),
        binary(0x80, 0x14, 0, 8, [b"", b"last", b""]),
    ]
    .concat();
    let answers = [
        binary(0x81, 0x09, 0, 2, [flags, b"", b"hello"]),
        binary(0x81, 0x0a, 0, 4, [b"", b"", b""]),
        binary(0x81, 0x10, 0, 5, [b"", b"pid", b"1"]),
        binary(0x81, 0x10, 0, 5, [b"", b"n", b""]),
        binary(0x81, 0x10, 0, 5, [b"", b"", b""]),
        binary(0x81, 0x01, 0x82, 6, [b"", b"", b"Out of memory"]),
    ]
    .concat();
    let events = every_cut(&PROTOCOL, "{maxvalues: 1}", &[(ToServer, &asks), (ToClient, &answers)]);
    assert_eq!(
        summaries(&events),
        [
            "quit -> - | OK",
            "get x -> - | OK",
            "get y -> get | OK",
            "delete z -> - | Server Error \"Missing response for non-quiet request\"",
            "noop -> noop | OK",
            "stats -> stats | OK",
            "set k -> set | Server Error",
            "delete last -> - | OK",
        ]
    );
    assert_eq!(
        events[2]["memcache"]["response"],
        json!({"command": "get", "type": "Load", "opcode": "GetQ", "opcode_value": 9, "opaque": 2, "status": "Success", "status_code": 0,
            "flags": 3, "bytes": 5, "count_values": 1, "values": ["hello"]})
    );
    assert_eq!(events[5]["memcache"]["response"]["stats"], json!([{"name": "pid", "value": "1"}, {"name": "n", "value": ""}]));
    assert_eq!((&events[5]["destination"]["bytes"], &events[6]["event.outcome"]), (&json!(24 * 3 + 5), &Value::Null));
}

#[test]
fn large_values_and_gaps_in_them_are_skipped() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(b"set a 0 0 100000000\r\nstart").gap(ToServer, 50_000_000).client(&vec![b'x'; 49_999_995]).client(b"\r\nget b\r\n");
    h.server(b"STORED\r\nVALUE b 0 10\r\n0123").gap(ToClient, 6).server(b"\r\nEND\r\n");
    h.client(b"get c\r\n").server(b"VALUE c 0 10\r\n0123").gap(ToClient, 8).server(b"END\r\n");
    let events = h.events();
    assert_eq!(
        summaries(&events),
        [
            "set a -> STORED | OK \"Packet loss while capturing the request\"",
            "get b -> VALUE b | OK \"Packet loss while capturing the response\"",
            "get c -> VALUE c | OK \"Packet loss while capturing the response\"",
        ]
    );
    assert_eq!(events[0]["source"]["bytes"], json!(100_000_023));
}

#[test]
fn a_gap_outside_a_value_costs_only_the_messages_in_it() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(b"get a\r\nget b\r\n").server(b"VALUE a 0 1\r\n1\r\n").gap(ToClient, 20).server(b"END\r\n");
    h.client(b"get c\r\n").server(b"END\r\n");
    h.client(b"se").gap(ToServer, 30).server(b"STORED\r\n").client(b"rest of it\r\nget d\r\n").server(b"END\r\n");
    assert_eq!(
        summaries(&h.events()),
        [
            "get a -> VALUE a | OK \"Packet loss while capturing the response\"",
            "get b -> - | Server Error \"Unfinished transaction\"",
            "get c -> END | OK",
            "get d -> END | OK",
        ]
    );
}

#[test]
fn capture_from_the_middle_with_confused_roles() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(b"VALUE x 0 1\r\n1\r\nEND\r\n").server(b"get a\r\n").client(b"END\r\n");
    let events = h.events();
    assert_eq!(summaries(&events), ["- -> VALUE x | Client Error \"Invalid transaction. Request missing\"", "get a -> END | OK"]);
    assert_eq!((&events[1]["source"]["ip"], &events[1]["server"]["ip"]), (&json!("10.0.0.2"), &json!("10.0.0.1")));

    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(b"\x00\xff middle of a value\r\n").client(b"get a\r\n").server(b"END\r\n");
    assert_eq!(summaries(&h.events()), ["get a -> END | OK"]);

    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(b"\x00\xff\x80 middle of a value").client(&binary(0x80, 0, 0, 1, [b"", b"k", b""]));
    h.server(&binary(0x81, 0, 1, 1, [b"", b"", b"Not found"]));
    assert_eq!(summaries(&h.events()), ["get k -> get | Error"]);
}

#[test]
fn requests_time_out() {
    let mut h = Harness::new(&PROTOCOL, "{transaction_timeout: 5s}");
    h.client(b"get a\r\nmg b q v\r\nget c\r\n").at(4999);
    assert_eq!(summaries(&h.events()), [""; 0]);
    h.at(5000);
    let events = h.events();
    assert_eq!(
        summaries(&events),
        ["get a -> - | Server Error \"Unfinished transaction\"", "mg b -> - | OK", "get c -> - | Server Error \"Unfinished transaction\"",]
    );
    // A late response is not paired with another request.
    h.client(b"get a\r\n").server(b"END\r\nEND\r\nVALUE a 0 1\r\n1\r\nEND\r\n");
    assert_eq!(summaries(&h.events()), ["get a -> VALUE a | OK"]);
    assert_eq!((h.counted("unfinished_transactions"), h.counted("unmatched_responses")), (2, 2));
    h.client(b"get z\r\n").close(ToServer, Close::Fin);
    assert_eq!(summaries(&h.events()), [""; 0]);
    h.close(ToClient, Close::Fin);
    assert_eq!(summaries(&h.events()), ["get z -> - | Server Error \"Unfinished transaction\""]);
}

fn datagram(id: u8, number: u8, total: u8, part: &[u8]) -> Vec<u8> {
    [&[0, id, 0, number, 0, total, 0, 0], part].concat()
}

#[test]
fn datagrams_in_any_order() {
    let mut h = Harness::new(&PROTOCOL, "{maxvalues: 1}");
    h.peers.transport = Transport::Udp;
    h.datagram(ToServer, &datagram(1, 0, 1, b"get a\r\n"));
    h.at(1).datagram(ToClient, &datagram(1, 2, 3, b"r\r\nEND\r\n"));
    h.at(2).datagram(ToClient, &datagram(1, 1, 3, b"\nfoo\r\nba"));
    h.at(3).datagram(ToClient, &datagram(1, 0, 3, b"VALUE a 0 8\r"));
    let events = h.events();
    assert_eq!(summaries(&events), ["get a -> VALUE a | OK"]);
    assert_eq!(
        (&events[0]["memcache"]["response"]["values"], &events[0]["event"]["duration"]),
        (&json!(["foo\r\nbar"]), &json!(1_000_000))
    );
    assert_eq!((&events[0]["network"]["transport"], &events[0]["destination"]["bytes"]), (&json!("udp"), &json!(28)));

    // A request without a response, a request that expects no response, and a response without a request.
    h.datagram(ToServer, &datagram(2, 0, 1, b"get b\r\n")).datagram(ToServer, &datagram(3, 0, 1, b"set c 0 0 1 noreply\r\nx\r\n"));
    h.datagram(ToClient, &datagram(4, 0, 1, b"STORED\r\n"));
    assert_eq!(summaries(&h.events()), ["set c -> - | OK", "- -> STORED | Client Error"]);
    h.at(10_003);
    assert_eq!(summaries(&h.events()), ["get b -> - | Server Error"]);

    // One datagram contains several requests. Three malformed datagrams follow.
    h.datagram(ToServer, &datagram(5, 0, 1, b"get d\r\nget e\r\n"));
    h.datagram(ToClient, &datagram(5, 0, 1, b"END\r\n")).datagram(ToClient, &datagram(5, 0, 1, b"END\r\n"));
    assert_eq!(summaries(&h.events()), ["get d -> END | OK", "get e -> END | OK"]);
    h.datagram(ToServer, b"").datagram(ToServer, b"\0\x01\0\x01\0\x01\0\0x").datagram(ToServer, &datagram(6, 0, 1, b"\xff\xff\xff"));
    h.at(30_000);
    assert_eq!((summaries(&h.events()).len(), h.counted("malformed")), (0, 3));
}

#[test]
fn connections_are_recognised() {
    assert_eq!(probe(ToServer, b"get a\r\n"), Probe::Yes);
    assert_eq!(probe(ToServer, b"ge"), Probe::More(1));
    assert_eq!(probe(ToServer, b"GET / HTTP/1.1\r\n"), Probe::No);
    assert_eq!(probe(ToServer, &binary(0x80, 0, 0, 1, [b"", b"k", b""])), Probe::Yes);
    assert_eq!(probe(ToServer, b"\x80"), Probe::More(23));
    assert_eq!(probe(ToClient, b"STORED\r\n"), Probe::Yes);
    assert_eq!(probe(ToClient, b"HTTP/1.1 200 OK\r\n"), Probe::No);
    assert_eq!(probe(ToServer, &datagram(1, 0, 1, b"get a\r\n")), Probe::Yes);
    assert_eq!(probe(ToServer, b"\x16\x03\x01\x02\x00\x01"), Probe::No);
}

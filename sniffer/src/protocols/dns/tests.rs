//! Tests of the state machine over UDP and TCP, and of the documents.

use super::*;
use crate::protocols::{
    Close,
    testing::{Harness, ToClient, ToServer, every_cut},
};
use serde_json::{Value, json};

const QUERY: u16 = 0x0100;
const RESPONSE: u16 = 0x8180;
const ALL: &str = "{send_request: true, send_response: true, include_authorities: true, include_additionals: true}";

/// The question for `example.com`, type A, class IN.
const QUESTION: &[u8] = b"\x07example\x03com\0\0\x01\0\x01";

fn with_question(id: u16, bits: u16, question: &[u8], sections: [&[&[u8]]; 3]) -> Vec<u8> {
    let counts = [usize::from(!question.is_empty()), sections[0].len(), sections[1].len(), sections[2].len()];
    let mut m: Vec<u8> = [id, bits].into_iter().chain(counts.map(|n| n as u16)).flat_map(u16::to_be_bytes).collect();
    m.extend_from_slice(question);
    sections.into_iter().flatten().for_each(|record| m.extend_from_slice(record));
    m
}

fn message(id: u16, bits: u16, sections: [&[&[u8]]; 3]) -> Vec<u8> {
    with_question(id, bits, QUESTION, sections)
}

fn query(id: u16) -> Vec<u8> {
    message(id, QUERY, [&[], &[], &[]])
}

/// A record with the name of the question, class IN, and a TTL of one minute.
fn record(rtype: u16, data: &[u8]) -> Vec<u8> {
    let mut r = vec![0xc0, 12];
    r.extend(rtype.to_be_bytes());
    r.extend([0, 1, 0, 0, 0, 60]);
    r.extend((data.len() as u16).to_be_bytes());
    r.extend(data);
    r
}

fn opt(ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut r = vec![0, 0, 41, 0x04, 0xd0];
    r.extend(ttl.to_be_bytes());
    r.extend((data.len() as u16).to_be_bytes());
    r.extend(data);
    r
}

fn a() -> Vec<u8> {
    record(1, &[93, 184, 216, 34])
}

fn answer(id: u16) -> Vec<u8> {
    message(id, RESPONSE, [&[&a()], &[], &[]])
}

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().flat_map(|m| (m.len() as u16).to_be_bytes().into_iter().chain(m.iter().copied())).collect()
}

fn notes(events: &[Value]) -> Vec<&str> {
    events.iter().map(|e| e["error"]["message"].as_str().unwrap_or_default()).collect()
}

#[test]
fn a_query_and_its_answer() {
    let mut h = Harness::new(&PROTOCOL, ALL);
    h.datagram(ToServer, &query(7));
    h.now = 3;
    let e = h.datagram(ToClient, &answer(7)).at(60_000).events();
    assert_eq!(e.len(), 1, "{e:#?}");
    let e = &e[0];
    assert_eq!((&e["status"], &e["method"], &e["resource"]), (&json!("OK"), &json!("QUERY"), &json!("example.com")));
    assert_eq!(e["query"], json!("class IN, type A, example.com"));
    assert_eq!(e["request"], json!("ID 7; QR query; OPCODE QUERY; FLAGS rd; RCODE NOERROR; QUESTION class IN, type A, example.com"));
    assert_eq!(
        e["response"],
        json!("ID 7; QR response; OPCODE QUERY; FLAGS rd ra; RCODE NOERROR; QUESTION class IN, type A, example.com; ANSWER 93.184.216.34")
    );
    assert_eq!((&e["event"]["duration"], &e["source"]["bytes"], &e["destination"]["bytes"]), (&json!(3_000_000), &json!(29), &json!(45)));
    assert_eq!(e["related"]["ip"], json!(["10.0.0.1", "10.0.0.2", "93.184.216.34"]));
    assert_eq!(
        e["dns"],
        json!({"type": "answer", "id": 7, "op_code": "QUERY", "response_code": "NOERROR", "header_flags": ["RD", "RA"],
            "flags": {"authoritative": false, "truncated_response": false, "recursion_desired": true, "recursion_available": true,
                "authentic_data": false, "checking_disabled": false},
            "question": {"name": "example.com", "type": "A", "class": "IN", "etld_plus_one": "example.com",
                "registered_domain": "example.com", "top_level_domain": "com"},
            "answers": [{"name": "example.com", "type": "A", "class": "IN", "ttl": "60", "data": "93.184.216.34"}],
            "answers_count": 1, "resolved_ip": ["93.184.216.34"], "authorities_count": 0, "additionals_count": 0})
    );
}

#[test]
fn queries_without_responses_and_responses_without_queries() {
    let mut h = Harness::new(&PROTOCOL, "transaction_timeout: 10s");
    h.datagram(ToServer, &query(1)).datagram(ToServer, &query(1)).datagram(ToServer, &query(2));
    h.datagram(ToClient, &answer(2)).datagram(ToClient, &answer(3));
    let e = h.events();
    assert_eq!(notes(&e), [DUPLICATE, "", "Response: received without an associated Query"]);
    assert_eq!((&e[2]["status"], &e[2]["source"]["port"], &e[2]["event"]["start"]), (&json!("Error"), &json!(40000), &json!(null)));
    assert!(h.at(9_999).events().is_empty());
    let e = h.at(10_000).events();
    assert_eq!(notes(&e), [UNANSWERED]);
    assert_eq!((&e[0]["dns"]["type"], &e[0]["status"], &e[0]["event"]["end"]), (&json!("query"), &json!("Error"), &json!(null)));
    assert_eq!((h.counted("unmatched_requests"), h.counted("unmatched_responses")), (2, 1));
}

#[test]
fn edns_and_sizes() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    let edns = opt(0, &[]);
    let padding = record(65280, &[0; 600]);
    h.datagram(ToServer, &message(1, QUERY, [&[], &[], &[&edns]])).datagram(ToClient, &answer(1));
    h.datagram(ToServer, &query(2)).datagram(ToClient, &message(2, RESPONSE, [&[], &[], &[&edns]]));
    h.datagram(ToServer, &message(3, QUERY, [&[], &[], &[&padding]]));
    h.datagram(ToClient, &message(3, RESPONSE, [&[&padding], &[], &[]]));
    h.datagram(ToServer, &message(4, QUERY, [&[], &[], &[&padding, &edns]]));
    h.datagram(ToClient, &message(4, RESPONSE, [&[&padding], &[], &[&edns]]));
    let e = h.events();
    let got: Vec<&Value> = e.iter().map(|e| &e["error"]["message"]).collect();
    let large = json!(["Non-EDNS packet has size greater than 512", "Response: Non-EDNS packet has size greater than 512"]);
    assert_eq!(got, [&json!("Responder does not support EDNS"), &json!("Unexpected EDNS answer"), &large, &json!(null)]);
}

#[test]
fn the_message_determines_the_client() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.datagram(ToClient, &query(1));
    h.datagram(ToServer, &answer(1));
    let e = h.events();
    assert_eq!((e.len(), &e[0]["source"]["ip"], &e[0]["status"]), (1, &json!("10.0.0.2"), &json!("OK")));
}

#[test]
fn a_response_without_a_question_needs_its_query() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    let refused = with_question(1, 0x8185, &[], [&[], &[], &[]]);
    h.datagram(ToClient, &refused).datagram(ToServer, &query(1)).datagram(ToClient, &refused);
    let e = h.events();
    assert_eq!((e.len(), h.counted("parse_failures")), (1, 1), "{e:#?}");
    assert_eq!((&e[0]["dns"]["response_code"], &e[0]["resource"]), (&json!("REFUSED"), &json!("example.com")));
}

#[test]
fn the_readable_part_of_a_message_is_shown() {
    let bad = record(46, &[0, 1, 8]); // a truncated RRSIG
    let whole = message(1, RESPONSE | 3, [&[&a(), &bad, &a()], &[&a()], &[&a(), &opt(0, &[])]]);
    let mut unreadable = whole.clone();
    let owner = unreadable.windows(2).rposition(|pair| pair == [0xc0, 12]).unwrap();
    unreadable[owner + 1] = 0xff; // the owner of an additional record points past the end of the message
    let bare = &whole[..12];
    let decoded = "Response: Message's data could not be decoded as DNS";
    let incomplete = "Response: Message's data is incomplete";
    for (octets, missing, answers, authorities, note) in [
        (&whole[..], 0, 2, 1, decoded),
        (&whole[..], 700, 2, 1, decoded),
        (&unreadable, 0, 2, 1, decoded),
        (&whole[..whole.len() - 20], 20, 2, 1, decoded), // the first fault is reported
        (&whole[..29 + 16], 40, 1, 0, incomplete),
        (&whole[..29 + 10], 40, 0, 0, incomplete),
        (&whole[..20], 40, 0, 0, incomplete),
        (bare, 0, 0, 0, incomplete),
    ] {
        let what = format!("{} of {} bytes, {missing} missing", octets.len(), whole.len());
        let mut h = Harness::new(&PROTOCOL, "{}");
        let e = h.datagram(ToServer, &query(1)).cut_datagram(ToClient, octets, missing).events();
        assert_eq!(e.len(), 1, "{what}");
        let dns = &e[0]["dns"];
        assert_eq!((&dns["type"], &dns["id"], &dns["response_code"]), (&json!("answer"), &json!(1), &json!("NXDOMAIN")), "{what}");
        assert_eq!((&dns["answers_count"], &dns["authorities_count"]), (&json!(answers), &json!(authorities)), "{what}");
        assert_eq!(e[0]["destination"]["bytes"], octets.len() as u64 + u64::from(missing), "{what}");
        assert!(e[0]["error"]["message"].to_string().contains(note), "{what}: {}", e[0]["error"]);
        assert_eq!((&e[0]["resource"], e[0]["event"]["end"].is_null()), (&json!("example.com"), false), "{what}");
        // Over TCP the truncated response is reported in the same way if it comes between two complete responses. Without its query it is
        // reported only if its question was captured.
        let mut h = Harness::new(&PROTOCOL, "{}");
        let over_tcp = h.client(&framed(&[query(1)])).server(&framed(&[answer(6), octets.to_vec(), answer(7)])).events();
        assert_eq!(over_tcp.len(), 3, "{what}");
        assert_eq!((&over_tcp[1]["dns"], &over_tcp[2]["dns"]["id"]), (dns, &json!(7)), "{what}");
        let mut h = Harness::new(&PROTOCOL, "{}");
        let alone = h.cut_datagram(ToClient, octets, missing).events();
        assert_eq!(alone.len(), usize::from(octets.len() > 28), "{what}");
    }
    // A query of which the end was not captured is accepted if its question was captured.
    let long = message(2, QUERY, [&[], &[], &[&record(65280, &[0; 100])]]);
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.cut_datagram(ToServer, &long[..60], long.len() as u32 - 60).datagram(ToClient, &answer(2));
    let e = h.events();
    assert_eq!((e.len(), &e[0]["source"]["bytes"], &e[0]["status"]), (1, &json!(long.len()), &json!("OK")));
    // Data that is not DNS is rejected, even if its first bytes could be a DNS header.
    let mut h = Harness::new(&PROTOCOL, "{}");
    for data in [&b"\x16\x03\x01\0\xbf\x01\0\0\xbb\x03\x03abc"[..], b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", &[0xff; 100], &[0; 100]] {
        h.datagram(ToServer, data).datagram(ToClient, data);
    }
    assert_eq!((h.events().len(), h.counted("parse_failures")), (0, 8));
}

#[test]
fn records_of_every_kind() {
    let host = b"\x02ns\xc0\x0c";
    let soa = [&host[..], b"\x04a.b@\xc0\x0c", &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5]].concat();
    let rrsig = [&[0, 1, 8, 2, 0, 0, 0, 60, 0x5f, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 9][..], b"\xc0\x0c", &[0xfb, 0xff]].concat();
    let nsec3 = [&[1u8, 0, 0, 10, 0, 5][..], &[0xff, 0x00, 0x44, 0x32, 0x14], &[0, 1, 0x40]].concat();
    let records = [
        record(28, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        record(1, &[]),
        record(15, &[&[0, 10][..], host].concat()),
        record(33, &[&[0, 1, 0, 2, 0, 3][..], host].concat()),
        record(6, &soa),
        record(16, b"\x03a\"b\x02\\\x01\x00"),
        record(48, &[1, 0, 3, 8, 0xfb, 0xff]),
        record(43, &[0, 9, 13, 2, 0xab, 0xcd]),
        record(46, &rrsig),
        record(47, &[&host[..], &[0, 6, 0x40, 0, 0, 0, 0, 3, 1, 1, 0x40]].concat()),
        record(50, &nsec3),
        record(51, &[1, 0, 0, 10, 1, 0xab]),
        record(65, b"\0\x01\0\0\x01\0\x03\x02h2"),
        record(65280, b"a\tb\n\x7f\""),
        record(39, b"\xc0\x0c"),
        record(35, b"\0\x01\0\x02\x01U\x03SIP\0\xc0\x0c"),
    ];
    let all: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let mut h = Harness::new(&PROTOCOL, ALL);
    let e = h.datagram(ToClient, &message(1, RESPONSE, [&all, &[], &[]])).events();
    assert_eq!(h.counted("parse_failures"), 0);
    let mut got = e[0]["dns"]["answers"].clone();
    for record in got.as_array_mut().unwrap() {
        ["name", "class", "ttl"].iter().for_each(|key| assert!(record.as_object_mut().unwrap().remove(*key).is_some()));
    }
    let expected = json!([
        {"type": "AAAA", "data": "2001:db8::1"},
        {"type": "MX", "preference": 10, "data": "ns.example.com"},
        {"type": "SRV", "priority": 1, "weight": 2, "port": 3, "data": "ns.example.com"},
        {"type": "SOA", "rname": "a\\.b\\@.example.com", "serial": 1, "refresh": 2, "retry": 3, "expire": 4, "minimum": 5, "data": "ns.example.com"},
        {"type": "TXT", "data": "a\\\"b \\\\\\001 "},
        {"type": "DNSKEY", "flags": "256", "protocol": "3", "algorithm": "RSASHA256", "data": "+/8="},
        {"type": "DS", "key_tag": "9", "algorithm": "ECDSAP256SHA256", "digest_type": "SHA256", "data": "ABCD"},
        {"type": "RRSIG", "type_covered": "A", "algorithm": "RSASHA256", "labels": "2", "original_ttl": "60", "expiration": "20200704040520",
            "inception": "21060207062815", "key_tag": "9", "signer_name": "example.com", "data": "+/8="},
        {"type": "NSEC", "type_bits": "A RRSIG NSEC CAA", "data": "ns.example.com."},
        {"type": "NSEC3", "hash": "SHA1", "flags": "0", "iterations": "10", "salt": "-", "type_bits": "A", "data": "VS048CGK"},
        {"type": "NSEC3PARAM", "hash": "SHA1", "flags": "0", "iterations": "10", "data": "AB"},
        {"type": "HTTPS", "data": "\\000\\001\\000\\000\\001\\000\\003\\002h2"},
        {"type": "65280", "data": "a\\tb\\n\\127\\\""},
        {"type": "DNAME", "data": "\\007example\\003com\\000"},
        {"type": "NAPTR", "data": "\\000\\001\\000\\002\\001U\\003SIP\\000\\007example\\003com\\000"},
    ]);
    assert_eq!(got, expected, "{got:#}");
    assert_eq!(e[0]["dns"]["answers_count"], json!(16));
    let text = e[0]["response"].as_str().unwrap();
    assert!(text.contains("; rname a\\.b\\@.example.com, ns.example.com; "), "{text}");
    assert!(text.contains("; algorithm ECDSAP256SHA256, digest_type SHA256, key_tag 9, ABCD; "), "{text}");
}

#[test]
fn edns_options() {
    let options = [
        &[0, 3, 0, 2, b'h', b'i', 0, 10, 0, 2, 0xab, 0xcd, 0, 8, 0, 7, 0, 1, 24, 0, 10, 1, 2][..],
        &[0, 5, 0, 3, 5, 8, 99, 0, 7, 0, 1, 1, 0, 9, 0, 4, 0, 0, 0, 7, 0, 12, 0, 1, 0, 0xff, 0xe9, 0, 1, 0x5a],
        &[0, 2, 0, 4, 0, 0, 0, 9, 0, 8, 0, 99], // the last one is cut off
    ]
    .concat();
    let mut h = Harness::new(&PROTOCOL, ALL);
    let e = h.datagram(ToClient, &message(1, RESPONSE | 7, [&[], &[], &[&opt(0x0100_8000, &options)]])).events();
    assert_eq!(
        e[0]["dns"]["opt"],
        json!({"do": true, "version": "0", "udp_size": 1232, "ext_rcode": "BADVERS", "nsid": "6869", "cookie": "abcd", "subnet": "10.1.2.0/24/0",
            "dau": " RSASHA1 RSASHA256 99", "n3u": " SHA1", "local": "65513:0x5a", "ul": "9 0"})
    );
    assert_eq!((&e[0]["dns"]["response_code"], &e[0]["dns"]["header_flags"]), (&json!("BADCOOKIE"), &json!(["RD", "RA", "DO"])));
    assert_eq!((&e[0]["dns"]["additionals_count"], &e[0]["dns"]["additionals"]), (&json!(0), &json!(null)));
    assert!(e[0]["response"].as_str().unwrap().ends_with("; ADDITIONAL "), "{}", e[0]["response"]);
}

#[test]
fn tcp_out_of_order_and_wherever_it_is_cut() {
    let (asked, answered) = (framed(&[query(1), query(2), query(3)]), framed(&[answer(2), answer(1)]));
    let last = framed(&[answer(3)]);
    let e = every_cut(&PROTOCOL, ALL, &[(ToServer, &asked), (ToClient, &answered), (ToClient, &last)]);
    let ids: Vec<&Value> = e.iter().map(|e| &e["dns"]["id"]).collect();
    assert_eq!(ids, [2, 1, 3]);
    assert_eq!((notes(&e), &e[0]["source"]["bytes"], &e[0]["destination"]["bytes"]), (vec![""; 3], &json!(31), &json!(47)));
}

#[test]
fn tcp_when_the_capture_begins_with_a_response() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&framed(&[answer(9)])).server(&framed(&[query(1)])).client(&framed(&[answer(1)]));
    let e = h.events();
    assert_eq!(e.len(), 2, "{e:#?}");
    assert_eq!((&e[0]["source"]["ip"], &e[1]["status"], &e[1]["source"]["ip"]), (&json!("10.0.0.2"), &json!("OK"), &json!("10.0.0.2")));
}

#[test]
fn tcp_responses_that_are_incomplete() {
    let ask = framed(&[query(1)]);
    let first = framed(&[query(8)]);
    let good = framed(&[answer(8)]);
    let mut broken = framed(&[answer(1)]);
    let end = broken.len() - 5;
    broken[end] = 9; // the address is longer than the message
    for (bytes, note, kind) in [(&broken[..], transaction::INCOMPLETE, "answer"), (&[0, 0], transaction::EMPTY, "query")] {
        let mut h = Harness::new(&PROTOCOL, "{}");
        h.client(&first).server(&good).client(&ask).server(bytes).client(&first).server(&good);
        let e = h.close_both(Close::Fin).events();
        assert_eq!(notes(&e), ["", note, ""], "{e:#?}");
        let status = if kind == "answer" { "OK" } else { "Error" };
        assert_eq!((&e[1]["status"], &e[1]["dns"]["type"]), (&json!(status), &json!(kind)));
    }
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&ask).server(&good[..20]);
    assert_eq!(notes(&h.close_both(Close::Fin).events()), [transaction::INCOMPLETE]);
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&ask).client(&first).server(&good[..20]).gap(ToClient, 100).server(&framed(&[answer(1)]));
    assert_eq!(notes(&h.close_both(Close::Fin).events()), [transaction::INCOMPLETE, ""]);
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&ask);
    assert_eq!(notes(&h.close_both(Close::Fin).events()), [UNANSWERED]);
}

#[test]
fn tcp_that_is_not_dns() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    let upload = [&b"PUT / HTTP/1.1\r\nHost: example.com\r\n\r\n"[..], &[b'x'; 1 << 20]].concat();
    for _ in 0..17 {
        h.client(&upload).server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
    assert_eq!(format!("{:?}", h.state), "GaveUp");
    assert!(h.events().is_empty());
}

#[test]
fn a_zone_transfer_is_one_event() {
    let axfr = b"\x07example\x03com\0\0\xfc\0\x01";
    let mut h = Harness::new(&PROTOCOL, "{}");
    let root = b"\0\0\x01\0\x01\0\0\0\0\0\x04\x01\x01\x01\x01";
    let part = |question: &[u8]| framed(&[with_question(1, 0x8400, question, [&[root], &[], &[]])]);
    h.client(&framed(&[with_question(1, 0, axfr, [&[], &[], &[]])])).server(&part(axfr)).server(&part(&[])).server(&part(axfr));
    assert_eq!((h.events().len(), h.counted("transfer_messages")), (1, 2));
}

#[test]
fn hostile_messages() {
    let bad = |question: &[u8]| {
        let octets = with_question(1, QUERY, question, [&[], &[], &[]]);
        let message = Message::parse(&octets).unwrap();
        assert!(!message.is_acceptable(octets.len()));
        message.question.is_none() && message.fault.is_some()
    };
    assert!(bad(b"\xc0\x0c\0\x01\0\x01"), "a pointer to itself");
    assert!(bad(b"\xc0\x20\0\x01\0\x01"), "a pointer forwards");
    assert!(bad(b"\x01a\xc0\x0c\0\x01\0\x01"), "a loop");
    assert!(bad(&[&[&[63][..], &[b'a'; 63]].concat().repeat(4)[..], &[0, 0, 1, 0, 1]].concat()), "a name of 257 bytes");
    assert!(bad(b"\x40a\0\0\x01\0\x01"), "a label type that is none");
    let mut lies = answer(1);
    lies[6..12].fill(0xff);
    let read = Message::parse(&lies).unwrap();
    assert_eq!((read.answers().len(), read.authorities().len(), read.additionals().len()), (1, 0, 0));
    let many = vec![a(); 4000];
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    let mut h = Harness::new(&PROTOCOL, "{}");
    let e = h.datagram(ToClient, &message(1, RESPONSE, [&many, &[], &[]])).events();
    assert_eq!((&e[0]["dns"]["answers_count"], e[0]["dns"]["answers"].as_array().unwrap().len()), (&json!(4000), event::MOST_SHOWN));
}

#[test]
fn arbitrary_bytes_over_udp_do_not_panic() {
    let whole = message(
        1,
        RESPONSE,
        [
            &[&a(), &record(6, b"\x02ns\xc0\x0c\0aaaabbbbccccddddeeee")],
            &[&record(47, b"\0\0\x01\x40")],
            &[&opt(0, &[0, 8, 0, 4, 0, 1, 0, 0])],
        ],
    );
    assert!(Message::parse(&whole).is_ok());
    for at in 0..whole.len() {
        for flip in [1, 2, 0x40, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[at] ^= flip;
            Harness::new(&PROTOCOL, ALL).datagram(ToClient, &changed).datagram(ToServer, &changed[..at]);
        }
    }
}

#[test]
fn connections_are_recognised() {
    assert_eq!(probe(ToServer, &framed(&[query(1)])), Probe::Yes);
    assert_eq!(probe(ToServer, &query(1)), Probe::Yes);
    assert_eq!(probe(ToServer, &framed(&[query(1)])[..16]), Probe::More(15));
    assert_eq!(probe(ToServer, &[0, 40, 1]), Probe::More(11));
    assert_eq!(probe(ToServer, b"GET / HTTP/1.1\r\n\r\n"), Probe::No);
    // The beginning of a TLS hello. Parsed as DNS, it is the header of a message with 48897 questions and an invalid
    // length.
    assert_eq!(probe(ToServer, &[b"\x16\x03\x01\0\xbf\x01\0\0\xbb\x03\x03"[..].to_vec(), vec![0; 300]].concat()), Probe::No);
    assert_eq!(probe(ToServer, &[query(1), vec![0]].concat()), Probe::No, "bytes behind the last record");
    assert_eq!(probe(ToServer, &answer(1)[..40]), Probe::No, "a message that is cut");
}

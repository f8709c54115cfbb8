//! Tests of handshakes: full, resumed and failed ones, with plain text before them, and with hostile lengths.

use super::{wire::Hello, *};
use crate::net::Direction;
use crate::protocols::Close;
use crate::protocols::testing::{Harness, Script, ToClient, ToServer, every_cut};
use serde_json::{Value, json};

const CCS: &[u8] = &[20, 3, 3, 0, 1, 1];

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(content.len() as u16).to_be_bytes(), content].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
}

fn extensions(list: &[(u16, &[u8])]) -> Vec<u8> {
    let all: Vec<u8> = list.iter().flat_map(|(n, v)| [&n.to_be_bytes()[..], &(v.len() as u16).to_be_bytes(), v].concat()).collect();
    [&(all.len() as u16).to_be_bytes()[..], &all].concat()
}

const NAME: (u16, &[u8]) = (0, b"\0\x09\0\0\x06a.test");
const VERSIONS: (u16, &[u8]) = (43, &[2, 3, 4]);

fn client_hello(session: &[u8], list: &[(u16, &[u8])]) -> Vec<u8> {
    let body = [&[3, 3][..], &[7; 32], &[session.len() as u8], session, &[0, 4, 0x13, 1, 0xc0, 0x2f, 1, 0], &extensions(list)].concat();
    message(1, &body)
}

fn server_hello(random: &[u8], session: &[u8], cipher: [u8; 2], list: &[(u16, &[u8])]) -> Vec<u8> {
    message(2, &[&[3, 3][..], random, &[session.len() as u8], session, &cipher, &[0], &extensions(list)].concat())
}

const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
    0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// A full handshake of TLS 1.2, up to the encrypted Finished of both sides.
fn old() -> Vec<(Direction, Vec<u8>)> {
    let hello = record(22, &client_hello(&[], &[NAME, (35, b"")]));
    let answer =
        [server_hello(&[8; 32], &[5; 32], [0xc0, 0x2f], &[(16, b"\0\x03\x02h2"), (35, b"")]), message(11, &[0; 3]), message(14, &[])]
            .concat();
    let keys = [record(22, &message(16, &[4; 33])), CCS.to_vec(), record(22, &[9; 40])].concat();
    let last = [record(22, &message(4, &[1; 50])), CCS.to_vec(), record(22, &[9; 40]), record(23, b"secret")].concat();
    vec![(ToServer, hello), (ToClient, record(22, &answer)), (ToServer, keys), (ToClient, last)]
}

fn script(pieces: &[(Direction, Vec<u8>)]) -> Vec<(Direction, &[u8])> {
    pieces.iter().map(|(dir, data)| (*dir, data.as_slice())).collect()
}

fn one(events: Vec<Value>) -> Value {
    let [one] = &events[..] else { panic!("{events:#?}") };
    one.clone()
}

#[test]
fn a_full_handshake_under_every_cut() {
    let event = one(every_cut(&PROTOCOL, "{}", &script(&old())));
    assert_eq!((&event["status"], &event["destination"]["domain"]), (&json!("OK"), &json!("a.test")));
    assert_eq!((&event["event"]["start"], &event["event"]["duration"]), (&json!("1970-01-01T00:00:00.001Z"), &json!(3_000_000)));
    let tls = &event["tls"];
    assert_eq!(
        (&tls["version"], &tls["established"], &tls["resumed"], &tls["next_protocol"], &tls["cipher"]),
        (&json!("1.2"), &json!(true), &json!(false), &json!("h2"), &json!("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"))
    );
    assert_eq!(
        fingerprint::ja3s_text(&Hello::server(&server_hello(&[8; 32], &[], [0xc0, 0x2f], &[(16, b""), (35, b"")])[4..]).unwrap()),
        "771,49199,16-35"
    );
    assert_eq!(tls["client"]["supported_ciphers"], json!(["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]));
}

#[test]
fn a_hello_in_many_records_with_confused_roles() {
    let mut pieces = old();
    let hello = client_hello(&[], &[NAME, (35, b"")]);
    pieces[0].1 = hello.chunks(3).flat_map(|part| record(22, part)).collect();
    let event = one(every_cut(&PROTOCOL, "{}", &script(&pieces)));
    assert_eq!(event["tls"]["client"]["server_name"], "a.test");
    for (dir, _) in &mut pieces {
        *dir = dir.reverse();
    }
    let event = one(every_cut(&PROTOCOL, "{}", &script(&pieces)));
    assert_eq!((&event["source"]["ip"], &event["server"]["ip"]), (&json!("10.0.0.2"), &json!("10.0.0.1")));
}

#[test]
fn resumed_by_id_and_by_ticket() {
    for (id, list, method) in [(&[5u8; 32][..], &[][..], "id"), (&[], &[(35, &b"x"[..])][..], "ticket")] {
        let pieces = [
            (ToServer, record(22, &client_hello(id, list))),
            (ToClient, [record(22, &server_hello(&[8; 32], id, [0xc0, 0x2f], list)), CCS.to_vec(), record(22, &[9; 40])].concat()),
            (ToServer, [CCS.to_vec(), record(22, &[9; 40])].concat()),
        ];
        let tls = one(every_cut(&PROTOCOL, "{}", &script(&pieces)))["tls"].clone();
        assert_eq!((&tls["resumed"], &tls["detailed"]["resumption_method"]), (&json!(true), &json!(method)));
    }
}

/// A handshake of TLS 1.3 with a HelloRetryRequest and a pre-shared key. Only the server sends a ChangeCipherSpec,
/// which has no effect.
fn new(finished: usize) -> Vec<(Direction, Vec<u8>)> {
    let server = |random, list| record(22, &server_hello(random, &[], [0x13, 1], list));
    vec![
        (ToServer, record(22, &client_hello(&[], &[VERSIONS, (51, b"")]))),
        (ToClient, [server(&RETRY, &[(43, &[3, 4]), (51, b"")]), CCS.to_vec()].concat()),
        (ToServer, [CCS.to_vec(), record(22, &client_hello(&[], &[VERSIONS, (51, b"longer")]))].concat()),
        (ToClient, [server(&[8; 32], &[(43, &[3, 4]), (51, b""), (41, b"")]), record(23, &[1; 70]), record(23, &[1; 53])].concat()),
        (ToServer, record(23, &vec![2; finished])),
    ]
}

#[test]
fn hello_retry_is_one_event_with_the_first_hello() {
    let event = one(every_cut(&PROTOCOL, "{}", &script(&new(53))));
    let tls = &event["tls"];
    assert_eq!((&tls["version"], &tls["established"], &tls["detailed"]["resumption_method"]), (&json!("1.3"), &json!(true), &json!("psk")));
    assert_eq!(tls["detailed"]["server_hello"]["random"], "08".repeat(32));
    assert_eq!(event["event"]["duration"], 4_000_000);
    let mut h = Harness::new(&PROTOCOL, "{}");
    for (dir, data) in new(19) {
        h.data(dir, &data);
    }
    let rejected = one(h.events());
    assert_eq!((&rejected["status"], &rejected["tls"]["established"]), (&json!("Error"), &json!(false)), "an alert, no Finished");
}

#[test]
fn only_a_message_as_long_as_an_alert_is_one() {
    // 19 bytes are an alert. 25 bytes are an empty Certificate with a tag of 16 bytes, and 17 bytes one with a tag of 8
    // bytes. 45 and 53 bytes are a Finished.
    for (length, status) in [(19, "Error"), (17, "OK"), (25, "OK"), (45, "OK"), (53, "OK"), (1000, "OK")] {
        let mut h = Harness::new(&PROTOCOL, "{}");
        for (dir, data) in new(length) {
            h.data(dir, &data);
        }
        assert_eq!(one(h.events())["status"], status, "{length} bytes");
    }
}

#[test]
fn handshakes_within_other_binary_protocols_are_not_reported() {
    let hello = record(22, &client_hello(&[], &[NAME]));
    let openvpn = |data: &[u8]| [&(data.len() as u16 + 1).to_be_bytes()[..], &[0x38], data].concat();
    for cut in [1, 2, 5, 40] {
        let data = openvpn(&hello);
        let mut h = Harness::new(&PROTOCOL, "{}");
        h.client(&data[..cut]).client(&data[cut..]).server(&openvpn(&hello)).close_both(Close::Fin);
        assert_eq!((h.events().len(), h.state), (0, crate::stream::pending::Outcome::GaveUp), "cut at {cut}");
    }
    // The handshake follows LDAP's StartTLS request and its response.
    let mut pieces = old();
    pieces.insert(0, (ToServer, b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037".to_vec()));
    pieces.insert(1, (ToClient, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0".to_vec()));
    assert_eq!(one(every_cut(&PROTOCOL, "{}", &script(&pieces)))["status"], "OK");
    // The handshake follows a PROXY header of version 2 in the same segment as the hello.
    let mut pieces = old();
    pieces[0].1 = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\0\x01\0\x02", &pieces[0].1[..]].concat();
    assert_eq!(one(every_cut(&PROTOCOL, "{}", &script(&pieces)))["status"], "OK");
}

#[test]
fn alerts_are_reported_at_the_end() {
    let hello = record(22, &client_hello(&[], &[VERSIONS]));
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&hello).server(&[21, 3, 1, 0, 2, 2, 40]);
    assert_eq!(h.events(), [Value::Null; 0]);
    let event = one(h.close(ToClient, Close::Fin).events());
    assert_eq!(
        event["tls"]["detailed"]["alerts"],
        json!([{"severity": "fatal", "code": 40, "type": "handshake_failure", "source": "server"}])
    );
    assert_eq!((&event["tls"]["detailed"]["alert_types"], &event["status"]), (&json!(["handshake_failure"]), &json!("Error")));
    assert_eq!(h.close(ToServer, Close::Fin).events(), [Value::Null; 0]);
}

#[test]
fn a_half_closed_connection_continues_and_a_time_out_reports() {
    let hello = record(22, &client_hello(&[], &[VERSIONS, (0xfe0d, b"\0"), NAME]));
    let mut h = Harness::new(&PROTOCOL, "{transaction_timeout: 2s}");
    let answer = record(22, &server_hello(&[8; 32], &[], [0x13, 1], &[(43, &[3, 4])]));
    h.client(&hello).close(ToServer, Close::Fin).server(&answer).close(ToClient, Close::Reset);
    let event = one(h.events());
    assert_eq!((&event["tls"]["version"], &event["tls"]["client"]["ech"]), (&json!("1.3"), &json!("a.test")));
    let mut h = Harness::new(&PROTOCOL, "{transaction_timeout: 2s}");
    h.client(&hello).at(1500);
    h.server(&answer).at(2100);
    assert_eq!(h.events(), [Value::Null; 0], "it moved on");
    let event = one(h.at(3600).events());
    assert_eq!((&event["status"], h.counted("unfinished_handshakes")), (&json!("Error"), 1));
    assert_eq!(h.server(CCS).close_both(Close::Idle).events(), [Value::Null; 0]);
}

#[test]
fn a_gap_reports_the_known_part_and_a_start_in_the_middle_nothing() {
    let pieces = old();
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&pieces[0].1).gap(ToClient, 1000).server(&pieces[3].1).close_both(Close::Fin);
    assert_eq!(one(h.events())["tls"]["established"], false);
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.gap(ToServer, 300).server(&pieces[1].1).client(&pieces[2].1).server(&pieces[3].1);
    let event = one(h.events());
    assert_eq!(
        (&event["tls"]["established"], &event["event"]["start"], &event["tls"]["client"]),
        (&json!(true), &Value::Null, &Value::Null)
    );
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.server(&record(23, &[1; 30])).client(&pieces[0].1);
    assert_eq!((h.events(), format!("{:?}", h.state)), (vec![], "GaveUp".to_owned()));
}

#[test]
fn a_handshake_after_plain_text() {
    let mut pieces = vec![
        (ToClient, b"220 mail ESMTP\r\n".to_vec()),
        (ToServer, b"EHLO me\r\nSTARTTLS\r\n".to_vec()),
        (ToClient, b"250 STARTTLS\r\n220 Go\r\n".to_vec()),
    ];
    pieces.extend(old());
    let script: Vec<_> = script(&pieces);
    let script: Script<'_> = &script;
    assert_eq!(one(every_cut(&PROTOCOL, "{}", script))["tls"]["established"], true);
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&vec![b'x'; 9000]).client(&vec![b'x'; 9000]);
    assert_eq!((h.events(), format!("{:?}", h.state)), (vec![], "GaveUp".to_owned()));
}

#[test]
fn connections_are_recognised_by_either_side() {
    let pieces = old();
    assert_eq!((probe(ToServer, &pieces[0].1), probe(ToClient, &pieces[1].1)), (Probe::Yes, Probe::Yes));
    assert_eq!((probe(ToServer, b"GET / HTTP/1.1"), probe(ToServer, &[22, 3])), (Probe::No, Probe::More(9)));
}

#[test]
fn hostile_lengths_are_skipped() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    let pieces = old();
    h.client(&pieces[0].1);
    // The server begins a certificate message of 16 MiB, and then sends many other messages.
    h.server(&record(22, &server_hello(&[8; 32], &[], [0xc0, 0x2f], &[])));
    h.server(&record(22, &[11, 0xff, 0xff, 0xff, 1, 2, 3]));
    for _ in 0..100 {
        h.server(&record(22, &[0; 16000]));
    }
    assert_eq!((h.events(), h.counted("oversized")), (vec![], 1));
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&pieces[0].1).server(&record(22, &[0; 4 * 100]));
    assert_eq!((one(h.events())["status"].clone(), h.counted("malformed")), (json!("Error"), 1));
}

type Pieces = Vec<(Direction, Vec<u8>)>;

/// The connections in a capture on loopback Ethernet, each as a list of pieces of data. The capture must not have
/// retransmitted or reordered segments.
fn connections(capture: &[u8]) -> Vec<Pieces> {
    let mut found: Vec<([u8; 2], Pieces)> = vec![];
    let mut rest = &capture[24..];
    while rest.len() > 16 {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let ip = &rest[16 + 14..16 + length];
        let whole = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let tcp = &ip[usize::from(ip[0] & 15) * 4..whole];
        let (from, to): ([u8; 2], [u8; 2]) = (tcp[..2].try_into().unwrap(), tcp[2..4].try_into().unwrap());
        if tcp[13] & 0x12 == 2 {
            found.push((from, vec![]));
        }
        let data = tcp[usize::from(tcp[12] >> 4) * 4..].to_vec();
        for (client, pieces) in found.iter_mut().rev().filter(|(client, _)| [from, to].contains(client)).take(1) {
            pieces.push((if *client == from { ToServer } else { ToClient }, data.clone()));
        }
        rest = &rest[16 + length..];
    }
    found.into_iter().map(|(_, pieces)| pieces.into_iter().filter(|p| !p.1.is_empty()).collect()).collect()
}

/// Real conversations that are cut into pieces of all sizes give the same events as uncut ones. Shortened
/// conversations never give more events.
#[test]
fn real_conversations_in_pieces() {
    macro_rules! captures {
        ($($name:literal $events:literal),*) => {
            [$(($name, $events, &include_bytes!(concat!("../../../../tests/protocols/tls/", $name, ".pcap"))[..])),*]
        };
    }
    let captures = captures!("alerts" 3, "client-certificate" 2, "ech" 2, "nginx-curl" 2, "resumed12" 4, "resumed13" 2, "retry" 1, "split" 1, "starttls" 1, "tls12" 1, "tls13" 1);
    for (name, expected, capture) in captures {
        let mut events = 0;
        for pieces in connections(capture) {
            let play = |size: usize, without: usize| {
                let mut h = Harness::new(&PROTOCOL, "{}");
                for (i, (dir, data)) in pieces.iter().enumerate() {
                    if i == without {
                        h.gap(*dir, data.len() as u64);
                    } else {
                        for part in data.chunks(size) {
                            h.data(*dir, part);
                        }
                    }
                }
                h.close_both(Close::Fin).events()
            };
            let whole = play(usize::MAX, usize::MAX);
            events += whole.len();
            for size in [1, 2, 5, 11, 100, 511] {
                assert_eq!(play(size, usize::MAX), whole, "{name} in pieces of {size}");
            }
            for missing in 0..pieces.len() {
                assert!(play(usize::MAX, missing).len() <= whole.len(), "{name} without piece {missing}");
            }
        }
        assert_eq!(events, expected, "{name}");
    }
}

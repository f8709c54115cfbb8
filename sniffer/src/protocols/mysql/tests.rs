//! Tests of the state machine: recorded connections, results with and without EOF packets, gaps, compression, and
//! limits.

use super::{packed::Side, *};
use crate::protocols::{
    Close,
    testing::{Harness, ToClient, ToServer, every_cut},
};
use serde_json::{Value, json};
use std::path::Path;

/// The data of one connection in order, with directions.
type Pieces = Vec<(Direction, Vec<u8>)>;

const SHOW: &str = "{send_request: true, send_response: true}";

/// The TCP payloads in a capture, by connection, in the order of the file.
fn connections(capture: &Path) -> Vec<Pieces> {
    let data = std::fs::read(capture).unwrap();
    let number = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().unwrap()) as usize;
    let link = match number(20) {
        1 => 14,
        0 => 4,
        113 => 16,
        other => panic!("link type {other}"),
    };
    let mut all: Vec<(u16, Pieces)> = vec![];
    let mut at = 24;
    while at < data.len() {
        let len = number(at + 8);
        let ip = &data[at + 16 + link..at + 16 + len];
        at += 16 + len;
        let whole = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let tcp = &ip[usize::from(ip[0] & 15) * 4..whole];
        let ports = [u16::from_be_bytes([tcp[0], tcp[1]]), u16::from_be_bytes([tcp[2], tcp[3]])];
        let server = ports.iter().copied().min().unwrap();
        let (client, dir) = if ports[1] == server { (ports[0], ToServer) } else { (ports[1], ToClient) };
        let payload = &tcp[usize::from(tcp[12] >> 4) * 4..];
        if tcp[13] & 2 != 0 || all.iter().all(|(port, _)| *port != client) {
            all.push((client, vec![]));
        }
        if !payload.is_empty() {
            all.iter_mut().rev().find(|(port, _)| *port == client).unwrap().1.push((dir, payload.to_vec()));
        }
    }
    all.into_iter().map(|(_, pieces)| pieces).collect()
}

fn recorded(name: &str) -> Vec<Pieces> {
    connections(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/protocols/mysql").join(name).with_extension("pcap"))
}

fn brief(e: &Value) -> String {
    let mysql = &e["mysql"];
    format!(
        "{} [{}] {} {}/{} {}x{} {}>{} {} {} {}",
        e["status"].as_str().unwrap(),
        e["method"].as_str().unwrap(),
        e["query"].as_str().unwrap(),
        mysql["affected_rows"],
        mysql["insert_id"],
        mysql["num_fields"],
        mysql["num_rows"],
        e["source"]["bytes"],
        e["destination"]["bytes"],
        e["path"].as_str().unwrap_or("-"),
        e["params"],
        e["response"],
    )
}

fn play(pieces: &[(Direction, Vec<u8>)]) -> Harness {
    let mut h = Harness::new(&PROTOCOL, SHOW);
    for (dir, data) in pieces {
        h.now += 1;
        h.data(*dir, data);
    }
    h.close_both(Close::Fin);
    h
}

const CAPTURES: &[&str] =
    &["mariadb_cli", "mariadb_compressed", "mariadb_connector", "mariadb_connector_j", "mysql8_connector_j", "mysql8_tls"];

fn briefs(h: &mut Harness) -> Vec<String> {
    h.events().iter().map(brief).collect()
}

fn packet(seq: u8, payload: &[u8]) -> Vec<u8> {
    let mut all = (payload.len() as u32).to_le_bytes().to_vec();
    all[3] = seq;
    all.extend_from_slice(payload);
    all
}

fn query(sql: &str) -> Vec<u8> {
    packet(0, &[&[3], sql.as_bytes()].concat())
}

const OK: &[u8] = b"\x07\0\0\x01\0\x01\0\x02\0\0\0";
const COLUMN: &[u8] = b"\x03def\x01d\x01t\x01t\x01a\x01a\x0c?\0\x0b\0\0\0\x03\0\0\0\0\0";

/// Makes a result of one column with these rows, with or without EOF packets.
fn result(eof: bool, rows: &[&[u8]]) -> Vec<u8> {
    let mut packets: Vec<&[u8]> = vec![b"\x01", COLUMN];
    if eof {
        packets.push(b"\xfe\0\0\x02\0");
    }
    packets.extend(rows);
    packets.push(if eof { b"\xfe\0\0\x02\0" } else { b"\xfe\0\0\x02\0\0\0" });
    packets.iter().zip(1..).flat_map(|(p, seq)| packet(seq, p)).collect()
}

#[test]
fn recorded_connections_at_every_cut() {
    for name in CAPTURES {
        for pieces in recorded(name) {
            let script: Vec<(Direction, &[u8])> = pieces.iter().map(|(dir, data)| (*dir, data.as_slice())).collect();
            // `every_cut` makes many cases, so it gets only the login of each connection, and all of the largest
            // connection.
            let few = if *name == "mariadb_connector" { script.len().min(16) } else { script.len().min(5) };
            for script in script[..few].chunks(8) {
                every_cut(&PROTOCOL, SHOW, script);
            }
        }
    }
}

#[test]
fn recorded_connections_byte_by_byte_and_from_every_start() {
    for name in CAPTURES {
        for pieces in recorded(name) {
            let whole = briefs(&mut play(&pieces));
            let bytes: Vec<(Direction, Vec<u8>)> = pieces.iter().flat_map(|(dir, data)| data.iter().map(|b| (*dir, vec![*b]))).collect();
            assert_eq!(briefs(&mut play(&bytes)), whole, "{name} byte by byte");
            if name.contains("tls") {
                continue;
            }
            // The events after the cut are the same as without the cut, except for statements that were prepared
            // before it.
            for from in (0..pieces.len()).step_by(pieces.len() / 30 + 1) {
                let got = briefs(&mut play(&pieces[from..]));
                for event in got.iter().filter(|e| !e.contains("Request Execute Statement")) {
                    assert!(whole.contains(event), "{name} from piece {from}: {event}\n{whole:#?}");
                }
                let late = whole.len() - got.len();
                assert!(
                    pieces[..=from].iter().filter(|(dir, _)| *dir == ToServer).count() >= late,
                    "{name} from piece {from}: {late} are missing"
                );
            }
        }
    }
}

#[test]
fn a_missing_piece_costs_only_its_own_transaction() {
    for name in CAPTURES {
        for pieces in recorded(name).iter().filter(|p| p.len() > 10) {
            let whole = briefs(&mut play(pieces));
            for lost in (0..pieces.len()).step_by(pieces.len() / 30 + 1) {
                let mut h = Harness::new(&PROTOCOL, SHOW);
                for (i, (dir, data)) in pieces.iter().enumerate() {
                    h.now += 1;
                    if i == lost {
                        h.gap(*dir, data.len() as u64)
                    } else {
                        h.data(*dir, data)
                    };
                }
                h.close_both(Close::Fin);
                let events = h.events();
                let lacks_parameters = |e: &Value| e["params"].is_null() && e["query"].as_str().unwrap().contains('?');
                let shows_loss = |e: &Value| {
                    e["error"].to_string().contains("Packet loss") || e["query"] == "Request Execute Statement" || lacks_parameters(e)
                };
                // The length of a file is unknown if compressed pieces of it are missing.
                for e in events.iter().filter(|e| !(shows_loss(e) || *name == "mariadb_compressed" && e["method"] == "LOAD")) {
                    assert!(whole.contains(&brief(e)), "{name} without piece {lost}: {}", brief(e));
                }
            }
        }
    }
}

#[test]
fn with_and_without_eof_packets() {
    for eof in [true, false] {
        for rows in [&[][..], &[&b"\x011"[..], b"\xfb"]] {
            let (ask, answer) = (query("select a from t"), result(eof, rows));
            let got = every_cut(&PROTOCOL, SHOW, &[(ToServer, &ask), (ToClient, &answer), (ToServer, &ask), (ToClient, &answer)]);
            assert_eq!(got.len(), 2, "{eof} {rows:?}");
            assert_eq!(got[1]["mysql"]["num_rows"], json!(rows.len()));
            assert_eq!(got[1]["destination"]["bytes"], json!(answer.len()));
            assert_eq!(got[1]["path"], json!("d.t"));
            assert_eq!(got[1]["response"], json!(if rows.is_empty() { "a\n" } else { "a\n1\nNULL\n" }));
        }
    }
}

#[test]
fn rows_and_their_length_are_limited() {
    let long = [&[0xfc, 0xe8, 3][..], &[b'x'; 1000]].concat();
    let answer = result(true, &[&long, b"\x011", b"\x012"]);
    let mut h = Harness::new(&PROTOCOL, "{send_response: true, max_rows: 2, max_row_length: 5}");
    h.client(&query("select a from t")).server(&answer);
    let events = h.events();
    assert_eq!((&events[0]["response"], &events[0]["mysql"]["num_rows"]), (&json!("a\nxxxxx\n1\n"), &json!(3)));
    assert_eq!(events[0].get("request"), None);
}

#[test]
fn pipelined_commands() {
    let asked = [query("select 1"), packet(0, &[0x0e]), query("delete from t"), packet(0, b"\x02db")].concat();
    let answered = [result(false, &[b"\x011"]), OK.to_vec(), OK.to_vec(), OK.to_vec()].concat();
    let got = every_cut(&PROTOCOL, SHOW, &[(ToServer, &asked), (ToClient, &answered)]);
    let queries: Vec<_> = got.iter().map(|e| format!("{} {}", e["query"], e["mysql"]["affected_rows"])).collect();
    assert_eq!(queries, [r#""select 1" 0"#, r#""delete from t" 1"#]);
}

#[test]
fn a_statement_of_which_only_the_last_packet_is_in_doubt() {
    // The capture begins in the middle of the connection. It is unknown whether an EOF packet follows the column
    // definitions.
    let definition = |seq| packet(seq, b"\x03def\0\0\0\x01?\0\x0c?\0\0\0\0\0\xfd\x80\0\0\0\0");
    let prepare = packet(0, b"\x16delete from t where a = ?");
    let described = [packet(1, b"\0\x07\0\0\0\0\0\x01\0\0\0\0"), definition(2)].concat();
    let with_eof = [described.clone(), packet(3, b"\xfe\0\0\x02\0")].concat();
    let execute = packet(0, b"\x17\x07\0\0\0\0\x01\0\0\0\0\x01\x03\0\x2a\0\0\0");
    for answer in [described, with_eof] {
        let got = every_cut(&PROTOCOL, SHOW, &[(ToServer, &prepare), (ToClient, &answer), (ToServer, &execute), (ToClient, OK)]);
        assert_eq!(got.len(), 2);
        assert_eq!(got[0]["query"], json!("Request Prepare Statement"));
        assert_eq!(got[0]["error"]["message"], json!("delete from t where a = ?"));
        assert_eq!(got[0]["destination"]["bytes"], json!(answer.len()));
        assert_eq!((&got[1]["query"], &got[1]["params"]), (&json!("delete from t where a = ?"), &json!(["42"])));
        assert_eq!((&got[1]["method"], &got[1]["request"]), (&json!("DELETE"), &json!("")));
    }
}

#[test]
fn statements_are_forgotten_when_closed_and_when_unused() {
    let prepare = packet(0, b"\x16delete from t");
    let prepared = packet(1, b"\0\x07\0\0\0\0\0\0\0\0\0\0");
    let execute = packet(0, b"\x17\x07\0\0\0\0\x01\0\0\0");
    let mut h = Harness::new(&PROTOCOL, "{statement_timeout: 60s}");
    h.client(&prepare).server(&prepared);
    h.now = 60_000;
    h.client(&execute).server(OK);
    h.now = 120_001;
    h.client(&execute).server(OK);
    h.client(&prepare).server(&prepared).client(&packet(0, b"\x19\x07\0\0\0")).client(&execute).server(OK);
    let queries: Vec<_> = h.events().iter().map(|e| format!("{} {}", e["query"], e["error"]["message"])).collect();
    let (unknown, prepare) =
        (r#""Request Execute Statement" "The actual query being used is unknown""#, r#""Request Prepare Statement" "delete from t""#);
    assert_eq!(queries, [prepare, r#""delete from t" null"#, unknown, prepare, unknown]);
}

#[test]
fn a_gap_in_rows_is_noted_and_the_next_response_is_complete() {
    let answer = result(true, &[b"\x011", b"\x012", b"\x013"]);
    let mut h = Harness::new(&PROTOCOL, SHOW);
    let cut = answer.len() - 20;
    h.client(&query("select a from t")).server(&answer[..cut]).gap(ToClient, 5).server(&answer[cut + 5..]);
    h.client(&query("delete from t")).server(OK);
    let events = h.events();
    let message = "Packet loss while capturing the response";
    assert_eq!((&events[0]["error"]["message"], &events[0]["status"], events.len()), (&json!(message), &json!("OK"), 2));
    assert_eq!(events[1]["query"], json!("delete from t"));
}

#[test]
fn a_long_row_is_skipped_and_its_gap_costs_nothing_else() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    let row = [&[0xfd, 0, 0, 2][..], &vec![b'x'; 0x2_0000]].concat();
    let answer = result(true, &[&row, b"\x012"]);
    h.client(&query("select a from t")).server(&answer[..1000]).gap(ToClient, 100_000).server(&answer[101_000..]);
    let events = h.events();
    assert_eq!((events.len(), &events[0]["mysql"]["num_rows"]), (1, &json!(2)));
    assert_eq!(events[0]["error"]["message"], json!("Packet loss while capturing the response"));
}

#[test]
fn packets_of_16_mib_are_continued() {
    let sql = format!("insert into t values ('{}')", "x".repeat(16 << 20));
    let payload = [&[3], sql.as_bytes()].concat();
    let asked = [packet(0, &payload[..0xff_ffff]), packet(1, &payload[0xff_ffff..])].concat();
    let mut h = Harness::new(&PROTOCOL, "{}");
    for piece in asked.chunks(60_000) {
        h.client(piece);
    }
    let mut answer = OK.to_vec();
    answer[3] = 2;
    h.server(&answer).client(&query("select 1")).server(OK);
    let events = h.events();
    assert_eq!((events.len(), &events[0]["source"]["bytes"]), (2, &json!(asked.len())));
    assert_eq!(events[0]["query"].as_str().unwrap().len(), command::LONGEST - 1);
    // A row of more than 16 MiB continues in a second packet, whose payload begins like that of an error packet.
    let packets =
        [packet(1, b"\x01"), packet(2, COLUMN), packet(3, &vec![b'x'; 0xff_ffff]), packet(4, b"\xff"), packet(5, b"\xfe\0\0\x02\0\0\0")];
    h.client(&query("select a from t"));
    for piece in packets.concat().chunks(60_000) {
        h.server(piece);
    }
    let events = h.events();
    assert_eq!((events.len(), &events[0]["mysql"]["num_rows"], &events[0]["status"]), (1, &json!(1), &json!("OK")));
}

#[test]
fn unanswered_requests_are_counted_after_the_time_out() {
    let mut h = Harness::new(&PROTOCOL, "{transaction_timeout: 10s}");
    h.client(&query("select sleep(20)")).at(9_999);
    assert_eq!(h.counted("unmatched_requests"), 0);
    h.at(10_000);
    assert_eq!(h.counted("unmatched_requests"), 1);
    h.at(20_000).server(OK).client(&query("select 2")).server(OK);
    assert_eq!(h.events().iter().map(|e| e["query"].clone()).collect::<Vec<_>>(), ["select 2"]);
}

#[test]
fn client_and_server_are_corrected() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.server(&query("select 1")).client(OK);
    let events = h.events();
    assert_eq!((events.len(), &events[0]["source"]["ip"]), (1, &json!("10.0.0.2")));
}

#[test]
fn tls_is_handed_over_and_unknown_data_is_given_up() {
    let tls = &recorded("mysql8_tls")[1];
    assert_eq!(format!("{:?}", play(tls).state), "HandOver(\"tls\")");
    let mut h = Harness::new(&PROTOCOL, "{}");
    let upload = [&b"PUT / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[b'x'; 1 << 20]].concat();
    for _ in 0..17 {
        h.client(&upload).server(b"HTTP/1.1 200 OK\r\n\r\n");
    }
    assert_eq!((format!("{:?}", h.state).as_str(), h.events().len()), ("GaveUp", 0));
}

#[test]
fn probes() {
    let cli = &recorded("mariadb_cli")[1];
    assert_eq!((cli[0].0, probe(ToClient, &cli[0].1)), (ToClient, Probe::Yes));
    assert_eq!((cli[1].0, probe(ToServer, &cli[1].1)), (ToServer, Probe::Yes));
    assert_eq!(probe(ToServer, &query("select 1")), Probe::Yes);
    assert_eq!(probe(ToClient, &cli[0].1[..20]), Probe::More(cli[0].1.len() - 20));
    for other in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"*1\r\n$4\r\nPING\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"] {
        assert_eq!((probe(ToServer, other), probe(ToClient, other)), (Probe::No, Probe::No), "{other:?}");
    }
}

#[test]
fn events_of_recorded_connections() {
    let h = |name: &str, n: usize| play(&recorded(name)[n]);
    let (mut plain, mut packed) = (h("mariadb_cli", 1), h("mariadb_compressed", 1));
    assert_eq!((plain.counted("compressed"), packed.counted("compressed")), (0, 1));
    let shown = briefs(&mut plain);
    assert_eq!(shown, briefs(&mut packed), "compressed");
    assert!(shown.iter().any(|e| e.starts_with("OK [LOAD] ") && e.contains(" 3/0 0x0 ")), "{shown:#?}");
    for name in ["mariadb_connector", "mariadb_connector_j", "mysql8_connector_j"] {
        let mut h = h(name, 1);
        let shown = briefs(&mut h);
        assert_eq!((h.counted("unmatched_requests"), h.counted("unmatched_responses")), (0, 0), "{name}");
        let kinds = r#"["-8","-300","-70000","-5000000000","18446744073709551615","1.5","-2.25","123.456","2017/7/28 ::","2017/7/28 1:2:3"#;
        assert!(shown.iter().any(|e| e.contains(kinds)), "{name}: {shown:#?}");
        assert!(
            shown
                .iter()
                .any(|e| e.contains("15x2") && e.contains("-8,-300,-70000,-5000000000,18446744073709551615,1.5,-2.25,123.456,2017-07-28"))
        );
        assert!(shown.iter().any(|e| e.contains("update kinds set m = ?") && e.contains(r#"["streamed streamed"#)), "{name}: {shown:#?}");
        assert!(!shown.iter().any(|e| e.contains("Request Execute")), "{name}: {shown:#?}");
    }
}

/// Makes a compressed packet; `how` compresses.
fn packed_packet(seq: u8, plain: &[u8], how: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let body = how(plain);
    let mut all = (body.len() as u32).to_le_bytes().to_vec();
    all[3] = seq;
    all.extend_from_slice(&(plain.len() as u32).to_le_bytes()[..3]);
    all.extend_from_slice(&body);
    all
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(plain, 3).unwrap()
}

#[test]
fn both_compressions_without_a_handshake() {
    let sql = format!("select a from t where b in ({})", "'x', ".repeat(100));
    let answer = result(true, &[&[&[0xfc, 0, 3][..], &[b'y'; 0x300]].concat()]);
    for how in [zlib, zstd] {
        // The response is in two packets, one of which ends inside an inner packet.
        let (first, second) = (packed_packet(1, &answer[..150], how), packed_packet(2, &answer[150..], how));
        let ask = packed_packet(0, &query(&sql), how);
        let got = every_cut(&PROTOCOL, SHOW, &[(ToServer, &ask), (ToClient, &[first, second].concat())]);
        assert_eq!((got.len(), &got[0]["mysql"]["num_rows"]), (1, &json!(1)));
        assert_eq!((&got[0]["source"]["bytes"], &got[0]["destination"]["bytes"]), (&json!(query(&sql).len()), &json!(answer.len())));
        assert_eq!(got[0]["response"], json!(format!("a\n{}\n", "y".repeat(0x300))));
    }
}

#[test]
fn a_compressed_packet_that_is_malformed_or_has_a_gap_costs_only_its_own_command() {
    let plain = query(&format!("select a from t where b in ({})", "'x', ".repeat(100)));
    let answer = result(true, &[&[&[0xfc, 0, 3][..], &[b'y'; 0x300]].concat()]);
    let short = query("select a");
    let stored = [&[short.len() as u8, 0, 0, 0, 0, 0, 0], &short[..]].concat();
    for how in [zlib, zstd] {
        let (ask, reply) = (packed_packet(0, &plain, how), packed_packet(1, &answer, how));
        for damage in ["malformed", "gap", "gap beyond the packet"] {
            let mut h = Harness::new(&PROTOCOL, SHOW).joined();
            for round in 0..4 {
                h.now += 1;
                match (round, damage) {
                    (1, "malformed") => h.client(&[&ask[..12], &vec![0xff; ask.len() - 12]].concat()),
                    (1, "gap") => h.client(&ask[..12]).gap(ToServer, 3).client(&ask[15..]),
                    (1, _) => h.client(&ask[..12]).gap(ToServer, 1000),
                    (3, _) => h.client(&stored),
                    _ => h.client(&ask),
                };
                h.now += 1;
                h.server(&reply);
                let events = h.events().len();
                // In round 2 the answer may belong to a command within the gap.
                assert!(events == 1 || matches!(round, 1 | 2), "{damage}, round {round}: {events} events, {:?}", h.state);
            }
            assert_eq!(h.counted("malformed"), u64::from(damage == "malformed"), "{damage}");
        }
    }
}

#[test]
fn decompressed_data_is_cut_at_the_announced_length() {
    let (mut side, mut out) = (Side::default(), [0; packed::PIECE]);
    let bomb = zlib(&vec![0; 1 << 20]);
    let mut packet = packed_packet(0, &[0; 100], |_| vec![]);
    packet[..3].copy_from_slice(&(bomb.len() as u32).to_le_bytes()[..3]);
    side.begin(&packet).unwrap();
    assert_eq!(side.unpack(&bomb, &mut out).map(|(_, written)| written), Some(100));
    side.begin(&packet).unwrap();
    assert_eq!(side.unpack(b"no such thing", &mut out), None);
}

#[test]
fn work_is_bounded_by_the_captured_bytes() {
    const PING: [u8; 5] = [1, 0, 0, 0, 14];
    let pings = PING.repeat(16_000_000 / PING.len());
    let select = query("select a");
    let stored = [&[select.len() as u8, 0, 0, 0, 0, 0, 0], &select[..]].concat();
    for how in [zlib, zstd] {
        let flood = packed_packet(0, &pings, how);
        let mut h = Harness::new(&PROTOCOL, SHOW).joined();
        // A long statement shows that the connection is compressed.
        h.client(&packed_packet(0, &query(&format!("select {}", "a, ".repeat(100))), how));
        for _ in 0..20 {
            h.client(&flood);
        }
        let (captured, refused) = (20 * flood.len() as u64, h.counted("unmatched_requests"));
        assert!(refused < captured + 10_000, "{refused} pings of {captured} captured bytes were handled");
        assert!((19..=20).contains(&h.counted("over_compressed")), "{}", h.counted("over_compressed"));
        // The connection continues with the next command.
        h.now += 1;
        h.server(&packed_packet(1, &result(true, &[b"\x011"]), how));
        h.events();
        for _ in 0..2 {
            h.now += 1;
            h.client(&stored);
            h.now += 1;
            h.server(&[&[result(true, &[b"\x011"]).len() as u8, 0, 0, 1, 0, 0, 0], &result(true, &[b"\x011"])[..]].concat());
        }
        let events = h.events();
        assert_eq!(events.last().map(|e| e["query"].clone()), Some(json!("select a")), "{events:#?}");
    }
}

#[test]
fn one_long_value_may_be_compressed_to_a_few_bytes() {
    let text = vec![b'x'; 4_000_000];
    let row = [&[0xfd][..], &(text.len() as u32).to_le_bytes()[..3], &text].concat();
    let answer = result(true, &[&row]);
    for how in [zlib, zstd] {
        let mut h = Harness::new(&PROTOCOL, SHOW).joined();
        for _ in 0..4 {
            h.now += 1;
            h.client(&packed_packet(0, &query(&format!("select {}", "a, ".repeat(100))), how));
            h.now += 1;
            h.server(&packed_packet(1, &answer, how));
        }
        assert_eq!((h.events().len(), h.counted("over_compressed")), (4, 0));
    }
}

//! Tests of the state machine: simple and extended queries, pipelines, COPY, gaps, and limits.

use super::*;
use crate::protocols::{
    Close,
    testing::{Harness, ToClient, ToServer, every_cut, every_cut_without_resync},
};
use serde_json::{Value, json};

const SHOWN: &str = "{send_request: true, send_response: true}";
const READY: &[u8] = b"Z\0\0\0\x05I";

fn message(kind: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), &body].concat()
}

fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), b"\0"])
}

fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"])
}

/// Makes a Bind with results as text or binary.
fn bind(portal: &str, statement: &str, format: u8) -> Vec<u8> {
    message(b'B', &[portal.as_bytes(), b"\0", statement.as_bytes(), b"\0\0\0\0\0\0\x01\0", &[format]])
}

fn describe(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', &[&[kind], name.as_bytes(), b"\0"])
}

fn execute(portal: &str) -> Vec<u8> {
    message(b'E', &[portal.as_bytes(), b"\0\0\0\0\0"])
}

fn sync() -> Vec<u8> {
    message(b'S', &[])
}

/// Makes a RowDescription of columns with these names and types.
fn columns(list: &[(&str, u32)]) -> Vec<u8> {
    let mut body = (list.len() as u16).to_be_bytes().to_vec();
    for (name, oid) in list {
        body.extend([name.as_bytes(), b"\0\0\0\0\0\0\0", &oid.to_be_bytes(), b"\xff\xff\xff\xff\xff\xff\0\0"].concat());
    }
    message(b'T', &[&body])
}

fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        body.extend(value.map_or(-1, |v| v.len() as i32).to_be_bytes());
        body.extend(value.unwrap_or_default());
    }
    message(b'D', &[&body])
}

fn tag(text: &str) -> Vec<u8> {
    message(b'C', &[text.as_bytes(), b"\0"])
}

fn error(code: &str) -> Vec<u8> {
    message(b'E', &[b"SERROR\0VERROR\0C", code.as_bytes(), b"\0Mwhat went wrong\0\0"])
}

const PARSED: &[u8] = b"1\0\0\0\x04";
const BOUND: &[u8] = b"2\0\0\0\x04";

fn lines(events: &[Value]) -> Vec<String> {
    let text = |v: &Value| v.as_str().unwrap_or("-").to_owned();
    events
        .iter()
        .map(|e| {
            let pg = &e["pgsql"];
            let note = if e["error"].is_null() { String::new() } else { format!(" !{}", text(&e["error"]["message"])) };
            format!("{} {}x{} {:?} {}{note}", text(&e["query"]), pg["num_rows"], pg["num_fields"], text(&e["response"]), text(&e["status"]))
        })
        .collect()
}

fn selected(value: &str) -> Vec<u8> {
    [columns(&[("a", 25)]), row(&[Some(value.as_bytes())]), tag("SELECT 1"), READY.to_vec()].concat()
}

#[test]
fn simple_queries() {
    let asked = query("select a from t; insert into t values (';'); selec; select 3");
    let answered = [
        columns(&[("a", 25), ("b c", 25)]),
        row(&[Some(b"x,y"), None]),
        row(&[Some(b""), Some(b"\n")]),
        tag("SELECT 2"),
        tag("INSERT 0 1"),
        error("42601"),
    ]
    .concat();
    let events = every_cut(
        &PROTOCOL,
        SHOWN,
        &[
            (ToServer, &asked),
            (ToClient, &[&answered, READY].concat()),
            (ToServer, &query(";")),
            (ToClient, &[b"I\0\0\0\x04", READY].concat()),
        ],
    );
    assert_eq!(
        lines(&events),
        [
            "select a from t 2x2 \"a,b c\\n\\\"x,y\\\",NULL\\n,\\\\n\\n\" OK",
            "insert into t values (';') 0x0 \"\" OK",
            "selec 0x0 \"\" Error"
        ]
    );
    assert_eq!(
        events[2]["pgsql"],
        json!({"num_rows": 0, "num_fields": 0, "error_code": "42601", "error_message": "what went wrong", "error_severity": "ERROR"})
    );
    assert_eq!((&events[0]["source"]["bytes"], &events[1]["destination"]["bytes"]), (&json!(asked.len()), &json!(16)));
}

#[test]
fn named_statements_remain_after_the_sync() {
    let events = every_cut(
        &PROTOCOL,
        SHOWN,
        &[
            (ToServer, &[parse("s1", " select $1; "), describe(b'S', "s1"), sync()].concat()),
            (ToClient, &[PARSED, b"t\0\0\0\x0a\0\x01\0\0\0\x17", &columns(&[("n", 23)]), READY].concat()),
            (ToServer, &[bind("", "s1", 1), execute(""), sync()].concat()),
            (ToClient, &[BOUND, &row(&[Some(&[0, 0, 1, 0])]), &tag("SELECT 1"), READY].concat()),
            (ToServer, &[bind("p", "s1", 0), execute("p"), execute("p"), sync()].concat()),
            (ToClient, &[BOUND, &row(&[Some(b"7")]), b"s\0\0\0\x04", &row(&[Some(b"8")]), &tag("SELECT 1"), READY].concat()),
            (ToServer, &[bind("", "before", 0), execute(""), sync()].concat()),
            (ToClient, &[BOUND, &row(&[Some(b"1")]), &tag("SELECT 1"), READY].concat()),
        ],
    );
    assert_eq!(
        lines(&events),
        [
            "select $1 1x1 \"n\\n256\\n\" OK",
            "select $1 1x1 \"n\\n7\\n\" OK",
            "select $1 1x1 \"n\\n8\\n\" OK",
            "EXECUTE before 1x1 \"1\\n\" OK !The actual query being used is unknown"
        ]
    );
}

#[test]
fn pipelines_and_errors_skip_to_the_sync() {
    let one = |sql: &str| [parse("", sql), bind("", "", 0), describe(b'P', ""), execute("")].concat();
    let good = [PARSED, BOUND, b"n\0\0\0\x04", &tag("INSERT 0 1")].concat();
    let first = [one("insert 1"), one("insert 2"), one("insert 3"), sync()].concat();
    let mut h = Harness::new(&PROTOCOL, SHOWN);
    h.client(&first).client(&[one("SET x = 1"), one("insert 4"), sync()].concat());
    h.server(&good).server(&[PARSED, BOUND, &error("23505"), READY].concat()).server(&[&good[..], &good, READY].concat());
    let events = h.events();
    assert_eq!(lines(&events), ["insert 1 0x0 \"\" OK", "insert 2 0x0 \"\" Error", "insert 4 0x0 \"\" OK"]);
    assert_eq!((h.counted("unmatched_requests"), h.counted("unmatched_responses")), (1, 0));
    assert_eq!(events[1]["source"]["bytes"], json!(one("insert 2").len()));
    every_cut(&PROTOCOL, SHOWN, &[(ToServer, &first), (ToClient, &[&good[..], PARSED, BOUND, &error("23505"), READY].concat())]);
}

#[test]
fn a_parse_that_fails_does_not_replace_the_earlier_statement() {
    let mut h = Harness::new(&PROTOCOL, SHOWN);
    h.client(&[parse("s", "select 1"), sync()].concat()).server(&[PARSED, READY].concat());
    h.client(&[parse("s", "select 2"), sync()].concat()).server(&[&error("42P05")[..], READY].concat());
    h.client(&[bind("", "s", 0), execute(""), sync()].concat()).server(&[BOUND, &row(&[Some(b"1")]), &tag("SELECT 1"), READY].concat());
    assert_eq!(lines(&h.events()), ["select 2 0x0 \"\" Error", "select 1 1x1 \"1\\n\" OK"]);
}

#[test]
fn a_statement_has_the_time_of_its_own_exchange() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&[parse("s", "select 1"), message(b'H', &[])].concat()).at(1).server(PARSED).at(5000);
    let asked = [bind("", "s", 0), execute(""), sync()].concat();
    h.client(&asked).at(5002).server(&[BOUND, &tag("SELECT 0"), READY].concat()).at(6000);
    h.client(&parse("", "select 2")).at(6001).server(PARSED).at(7000).client(&query("select 3")).at(7003).server(&selected("x"));
    let events = h.events();
    let durations: Vec<_> = events.iter().map(|e| (&e["query"], &e["event"]["duration"])).collect();
    assert_eq!(durations, [(&json!("select 1"), &json!(2_000_000)), (&json!("select 3"), &json!(3_000_000))]);
    assert_eq!(events[0]["source"]["bytes"], json!(asked.len()));
}

#[test]
fn a_constraint_that_fails_at_the_sync() {
    let mut h = Harness::new(&PROTOCOL, SHOWN);
    h.client(&[parse("", "insert"), bind("", "", 0), execute(""), sync()].concat());
    h.server(&[PARSED, BOUND, &tag("INSERT 0 1"), &error("23505"), READY].concat());
    assert_eq!(lines(&h.events()), ["insert 0x0 \"\" OK", "insert 0x0 \"\" Error"]);
}

#[test]
fn copies() {
    let data = |text: &[u8]| message(b'd', &[text]);
    let events = every_cut(
        &PROTOCOL,
        SHOWN,
        &[
            (ToServer, &query("copy t from stdin")),
            (ToClient, b"G\0\0\0\x07\0\0\0"),
            (ToServer, &[data(b"1\n2\n"), data(b"3\n"), message(b'c', &[])].concat()),
            (ToClient, &[&tag("COPY 3")[..], READY].concat()),
            (ToServer, &query("copy t to stdout")),
            (ToClient, &[b"H\0\0\0\x07\0\0\0", &data(b"1\n")[..], &data(b"2\n"), &message(b'c', &[]), &tag("COPY 2"), READY].concat()),
            // A Sync before the end of the data gets no response.
            (ToServer, &[parse("", "copy u from stdin"), bind("", "", 0), execute(""), sync()].concat()),
            (ToClient, &[PARSED, BOUND, b"G\0\0\0\x07\0\0\0"].concat()),
            (ToServer, &[data(b"1\n"), message(b'c', &[]), sync()].concat()),
            (ToClient, &[&tag("COPY 1")[..], READY].concat()),
            (ToServer, &query("select a")),
            (ToClient, &selected("x")),
        ],
    );
    assert_eq!(
        lines(&events),
        ["copy t from stdin 3x0 \"\" OK", "copy t to stdout 2x0 \"\" OK", "copy u from stdin 1x0 \"\" OK", "select a 1x1 \"a\\nx\\n\" OK"]
    );
    assert_eq!((&events[0]["source"]["bytes"], &events[1]["destination"]["bytes"]), (&json!(23 + 9 + 7 + 5), &json!(8 + 7 + 7 + 5 + 12)));
}

#[test]
fn copied_data_and_gaps_in_it_are_skipped() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&query("copy t from stdin")).server(b"G\0\0\0\x07\0\0\0");
    h.client(b"d\x10\0\0\x04abc").gap(ToServer, (0x1000_0000 - 3) as u64).client(&message(b'c', &[]));
    h.server(&[&tag("COPY 9")[..], READY].concat());
    h.client(&query("select a")).server(&selected("x"));
    let events = h.events();
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!((&events[0]["pgsql"]["num_rows"], &events[0]["source"]["bytes"]), (&json!(9), &json!(23 + 0x1000_0005 + 5)));
}

#[test]
fn notices_and_notifications_are_not_responses() {
    let notice = message(b'N', &[b"SNOTICE\0Mhello\0\0"]);
    let push = message(b'A', &[b"\0\0\0\x01ch\0hi\0"]);
    let status = message(b'S', &[b"TimeZone\0UTC\0"]);
    let answer =
        [columns(&[("a", 25)]), notice.clone(), row(&[Some(b"x")]), push.clone(), tag("SELECT 1"), status, READY.to_vec(), push].concat();
    let events = every_cut(
        &PROTOCOL,
        SHOWN,
        &[(ToServer, &query("select a")), (ToClient, &answer), (ToServer, &query("select a")), (ToClient, &selected("y"))],
    );
    assert_eq!(lines(&events), ["select a 1x1 \"a\\nx\\n\" OK", "select a 1x1 \"a\\ny\\n\" OK"]);
}

const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const STARTUP: &[u8] = b"\0\0\0\x13\0\x03\0\0user\0me\0\0\0\0";

#[test]
fn the_beginning_of_a_connection() {
    let login = [b"R\0\0\0\x08\0\0\0\0", &message(b'S', &[b"a\0b\0"])[..], b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x02", READY].concat();
    let events = every_cut_without_resync(
        &PROTOCOL,
        SHOWN,
        &[
            (ToServer, b"\0\0\0\x08\x04\xd2\x16\x30"),
            (ToClient, b"N"),
            (ToServer, SSL),
            (ToClient, b"N"),
            (ToServer, STARTUP),
            (ToClient, b"R\0\0\0\x08\0\0\0\x03"),
            (ToServer, &message(b'p', &[b"secret\0"])),
            (ToClient, &login),
            (ToServer, &query("select a")),
            (ToClient, &selected("x")),
            (ToServer, &message(b'X', &[])),
        ],
        "observed: the script logs in again on one connection, which no client does",
    );
    assert_eq!(lines(&events), ["select a 1x1 \"a\\nx\\n\" OK"]);
    let state = |script: &[(Direction, &[u8])]| {
        let mut h = Harness::new(&PROTOCOL, "{}");
        for (dir, data) in script {
            h.data(*dir, data);
        }
        (format!("{:?}", h.state), h.events().len())
    };
    assert_eq!(state(&[(ToServer, SSL), (ToClient, b"S")]), ("HandOver(\"tls\")".to_owned(), 0));
    assert_eq!(state(&[(ToServer, b"\x16\x03\x01\x02\0\x01")]), ("HandOver(\"tls\")".to_owned(), 0));
    assert_eq!(state(&[(ToServer, b"\0\0\0\x08\x04\xd2\x16\x30"), (ToClient, b"G")]), ("Done".to_owned(), 0));
    assert_eq!(state(&[(ToServer, b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02")]), ("Done".to_owned(), 0));
}

#[test]
fn a_gap_in_an_answer() {
    let mut h = Harness::new(&PROTOCOL, SHOWN);
    let answer = selected("x");
    h.client(&query("select a")).server(&answer[..45]).gap(ToClient, 4).server(&answer[49..]);
    h.client(&query("select b")).server(&answer[..10]).gap(ToClient, 4).server(&answer[14..]);
    h.client(&query("select c")).server(&selected("z"));
    assert_eq!(
        lines(&h.events()),
        ["select a 1x1 \"a\\nx\\n\" OK !Packet loss while capturing the response", "select c 1x1 \"a\\nz\\n\" OK"]
    );
    // The end of the response is missing too. The parser notices this when the client sends its next request.
    h.client(&query("select d")).gap(ToClient, answer.len() as u64);
    h.client(&query("select e")).server(&answer);
    assert_eq!(lines(&h.events()), ["select e 1x1 \"a\\nx\\n\" OK"]);
}

#[test]
fn a_gap_in_a_request() {
    let mut h = Harness::new(&PROTOCOL, SHOWN);
    let asked = query("select a");
    h.client(&asked[..5]).gap(ToServer, 8).server(&selected("x")).client(&asked).server(&selected("y"));
    assert_eq!(lines(&h.events()), ["select a 1x1 \"a\\ny\\n\" OK"]);
    h.client(&parse("", "select p")).gap(ToServer, 40).server(&[PARSED, BOUND, &selected("z")].concat());
    assert_eq!(lines(&h.events()), ["select p 1x1 \"a\\nz\\n\" OK !Packet loss while capturing the request"]);
    // The missing data did not contain a request.
    h.client(&asked).gap(ToServer, 40).server(&selected("1")).client(&asked).server(&selected("2")).client(&asked).server(&selected("3"));
    assert_eq!(lines(&h.events()), ["select a 1x1 \"a\\n1\\n\" OK", "select a 1x1 \"a\\n2\\n\" OK", "select a 1x1 \"a\\n3\\n\" OK"]);
}

#[test]
fn capture_from_the_middle_with_confused_roles() {
    let mut h = Harness::new(&PROTOCOL, SHOWN);
    h.server(&selected("x")[20..]).client(&query("select a")).server(&selected("y"));
    assert_eq!(lines(&h.events()), ["select a 1x1 \"a\\ny\\n\" OK"]);
    let mut h = Harness::new(&PROTOCOL, SHOWN);
    h.client(&selected("x")).server(&query("select a")).client(&selected("y"));
    let events = h.events();
    assert_eq!((lines(&events), &events[0]["source"]["ip"]), (vec!["select a 1x1 \"a\\ny\\n\" OK".to_owned()], &json!("10.0.0.2")));
    let mut h = Harness::new(&PROTOCOL, SHOWN);
    h.server(STARTUP).client(READY).server(&query("select a")).client(&selected("y"));
    assert_eq!(h.events().len(), 1);
}

#[test]
fn an_answer_cut_off_by_the_end() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&query("select a")).server(&selected("x")[..45]).close_both(Close::EndOfInput);
    assert_eq!(h.events()[0]["error"]["message"], json!("Packet loss while capturing the response"));
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&query("select a")).server(&selected("x")[..45]).close_both(Close::Fin);
    assert_eq!((h.events().len(), h.counted("unmatched_requests")), (0, 1));
}

#[test]
fn kept_data_is_bounded() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    for _ in 0..connection::MOST_PENDING {
        h.client(&execute(""));
    }
    assert_eq!(h.counted("unmatched_requests"), 0);
    h.client(&execute(""));
    assert_eq!(h.counted("unmatched_requests"), connection::MOST_PENDING as u64 + 1);
    // Of the statement only the beginning is kept, and the row is not kept.
    let mut h = Harness::new(&PROTOCOL, SHOWN);
    h.client(b"Q\0\x20\0\x05").client(&vec![b'x'; 2 << 20]).client(b"\0");
    h.server(&columns(&[("a", 25)])).server(b"D\0\x20\0\x0a\0\x01\0\x20\0\0").server(&vec![b'y'; 2 << 20]).server(&tag("SELECT 1"));
    let events = h.events();
    assert_eq!(
        (events[0]["query"].as_str().unwrap().len(), &events[0]["destination"]["bytes"]),
        (1 << 20, &json!(27 + (2 << 20) + 11 + 14))
    );
    assert_eq!(events[0]["response"].as_str().unwrap().len(), 2 + 1024 + 1);
    // A connection with invalid data is given up eventually.
    let mut h = Harness::new(&PROTOCOL, "{}");
    for _ in 0..17 {
        h.client(&vec![b'#'; 1 << 20]);
    }
    assert_eq!(format!("{:?}", h.state), "GaveUp");
}

#[test]
fn probes() {
    assert_eq!(probe(ToServer, SSL), Probe::Yes);
    assert_eq!(probe(ToServer, &STARTUP[..3]), Probe::More(5));
    assert_eq!(probe(ToServer, &query("select 1")), Probe::Yes);
    assert_eq!(probe(ToServer, b"GET / HTTP/1.1\r\n"), Probe::No);
    assert_eq!(probe(ToClient, b"R\0\0\0\x08\0\0\0\0"), Probe::Yes);
    assert_eq!(probe(ToClient, b"R\0\0\0\x0a8.0.36\0"), Probe::No);
    assert_eq!(probe(ToClient, &selected("x")), Probe::Yes);
    assert_eq!(probe(ToClient, b"HTTP/1.1 200 OK\r\n"), Probe::No);
    assert_eq!(probe(ToServer, b"\x16\x03\x01\0\x05"), Probe::No);
}

/// The payloads of the last connection of a capture: Ethernet, IPv4, TCP, in order.
fn payloads(capture: &[u8]) -> Vec<(Direction, &[u8])> {
    let (mut at, mut client, mut found) = (24, 0, vec![]);
    while let Some(head) = capture.get(at..at + 16) {
        let length = u32::from_le_bytes(head[8..12].try_into().unwrap()) as usize;
        let ip = &capture[at + 30..at + 16 + length];
        let tcp = &ip[usize::from(ip[0] & 15) * 4..usize::from(u16::from_be_bytes([ip[2], ip[3]]))];
        let (from, to) = (u16::from_be_bytes([tcp[0], tcp[1]]), u16::from_be_bytes([tcp[2], tcp[3]]));
        let data = &tcp[usize::from(tcp[12] >> 4) * 4..];
        if tcp[13] & 0x12 == 2 {
            (client, found) = (from, vec![]);
        }
        match data {
            [] => {}
            _ if to == 5432 && from == client => found.push((ToServer, data)),
            _ if to == client => found.push((ToClient, data)),
            _ => {}
        }
        at += 16 + length;
    }
    found
}

#[test]
fn real_conversations_at_every_cut() {
    let prepared = include_bytes!("../../../../tests/protocols/pgsql/prepared.pcap");
    let events = every_cut(&PROTOCOL, SHOWN, &payloads(prepared));
    let queries: Vec<_> = events.iter().map(|e| e["query"].as_str().unwrap()).collect();
    assert_eq!(queries, ["select $1 + 1 as sum", "insert into t(a) values ($1)"].repeat(3));
    // Large captures are played byte by byte, and with each segment missing. Every reported statement must be a real
    // request with its own response.
    for (capture, count) in [
        (&include_bytes!("../../../../tests/protocols/pgsql/pipeline.pcap")[..], 19),
        (&include_bytes!("../../../../tests/protocols/pgsql/binary.pcap")[..], 19),
        (&include_bytes!("../../../../tests/protocols/pgsql/simple.pcap")[..], 16),
    ] {
        let script = payloads(capture);
        let play = |size: usize, lost: Option<usize>| {
            let mut h = Harness::new(&PROTOCOL, SHOWN);
            for (i, (dir, data)) in script.iter().enumerate() {
                h.now += 1;
                if lost == Some(i) {
                    h.gap(*dir, data.len() as u64);
                    continue;
                }
                for piece in data.chunks(size) {
                    h.data(*dir, piece);
                }
            }
            lines(&h.close_both(Close::Fin).events())
        };
        let whole = play(usize::MAX, None);
        assert_eq!((whole.len(), &play(1, None)), (count, &whole));
        for lost in 0..script.len() {
            let clean = |line: &&String| !line.contains(" !") && !line.contains("EXECUTE ");
            for line in play(usize::MAX, Some(lost)).iter().filter(clean) {
                assert!(whole.contains(line), "segment {lost} missing\n{line}\n{whole:#?}");
            }
        }
    }
}

/// Bytes in the middle of a message must not be taken for the header of a message of many megabytes.
#[test]
fn capture_from_every_byte_of_a_message() {
    let asked = [parse("s", "select 1 from Table 1"), bind("", "s", 0), execute(""), sync()].concat();
    let copied = [&tag("COPY 3")[..], READY].concat();
    let answered = [PARSED, BOUND, &selected("Data 1 and 2")].concat();
    for (dir, data) in [(ToServer, &query("Select 1, Query 2")), (ToServer, &asked), (ToClient, &answered), (ToClient, &copied)] {
        for from in 0..data.len() {
            let mut h = Harness::new(&PROTOCOL, "{}").joined();
            h.data(dir, &data[from..]);
            if dir == ToServer {
                h.server(&answered);
            }
            let reports: Vec<usize> = (0..3).map(|_| h.client(&query("select a")).server(&selected("x")).events().len()).collect();
            assert_eq!(reports[2], 1, "from byte {from} of {:?}: {reports:?}", data.escape_ascii().to_string());
        }
    }
}

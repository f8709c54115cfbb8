//! Tests of the state machine: pairing of commands with replies, messages without a command, gaps, and limits.

use super::*;
use crate::protocols::testing::{Harness, Script, ToClient, ToServer, every_cut, every_cut_without_resync};
use serde_json::{Value, json};

fn pairs(events: &[Value]) -> Vec<String> {
    let text = |v: &Value| v.as_str().map(str::to_owned);
    events
        .iter()
        .map(|e| {
            let value = text(&e["redis"]["return_value"]).or_else(|| text(&e["redis"]["error"]).map(|t| format!("!{t}")));
            format!(
                "{} | {} | {} -> {}",
                e["method"].as_str().unwrap(),
                e["resource"].as_str().unwrap(),
                e["query"].as_str().unwrap(),
                value.unwrap()
            )
        })
        .collect()
}

fn run(script: Script<'_>) -> Vec<String> {
    pairs(&every_cut(&PROTOCOL, "{}", script))
}

#[test]
fn commands_and_replies() {
    let got = run(&[
        (ToServer, b"*3\r\n$3\r\nset\r\n$4\r\nkey3\r\n$2\r\nme\r\n"),
        (ToClient, b"+OK\r\n"),
        (ToServer, b"*1\r\n$4\r\nPING\r\n*2\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n"),
        (ToClient, b"+PONG\r\n-ERR wrong\r\n"),
        (ToServer, b"*2\r\n$8\r\nHSETNEWX\r\n$1\r\nh\r\n"),
        (ToClient, b"*2\r\n$1\r\na\r\n$-1\r\n"),
    ]);
    assert_eq!(
        got,
        [
            "SET | key3 | set key3 me -> OK",
            "PING |  | PING -> PONG",
            "CONFIG GET |  | CONFIG GET -> !ERR wrong",
            "HSETNEWX | h | HSETNEWX h -> [a, nil]",
        ]
    );
}

#[test]
fn inline_commands() {
    let got = run(&[(ToServer, b"get a\r\n\r\nPING\n"), (ToClient, b"$1\r\n1\r\n+PONG\r\n")]);
    assert_eq!(got, ["GET | a | get a -> 1", "PING |  | PING -> PONG"]);
}

#[test]
fn replies_turned_off_do_not_shift_the_pairing() {
    let script: Script<'_> = &[
        (ToServer, b"CLIENT REPLY SKIP\r\nget a\r\nget b\r\n"),
        (ToClient, b"$1\r\nB\r\n"),
        (ToServer, b"client reply off\r\nget c\r\nclient reply on\r\nget d\r\n"),
        (ToClient, b"+OK\r\n$1\r\nD\r\n"),
    ];
    let got = pairs(&every_cut_without_resync(&PROTOCOL, "{}", script, "which replies were declined is in the bytes that are missing"));
    assert_eq!(got, ["GET | b | get b -> B", "CLIENT REPLY | on | client reply on -> OK", "GET | d | get d -> D"]);
}

#[test]
fn resp3_pushes_do_not_shift_the_pairing() {
    let got = run(&[
        (ToServer, b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"),
        (ToClient, b"%1\r\n$5\r\nproto\r\n:3\r\n"),
        (ToServer, b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"),
        (ToClient, b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n|1\r\n+ttl\r\n:1\r\n$1\r\nA\r\n"),
        (ToServer, b"*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n$1\r\nd\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"),
        (ToClient, b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nd\r\n:2\r\n,1.5\r\n"),
    ]);
    assert_eq!(
        got,
        [
            "HELLO | 3 | HELLO 3 -> [proto, 3]",
            "GET | a | GET a -> A",
            "SUBSCRIBE | c | SUBSCRIBE c d -> [subscribe, c, 1]",
            "GET | b | GET b -> 1.5"
        ]
    );
}

#[test]
fn subscriptions_and_monitors_of_resp2() {
    let got = run(&[
        (ToServer, b"*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n$1\r\nd\r\n"),
        (ToClient, b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nd\r\n:2\r\n"),
        (ToClient, b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n"),
        (ToServer, b"*1\r\n$4\r\nPING\r\n"),
        (ToClient, b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
    ]);
    assert_eq!(got, ["SUBSCRIBE | c | SUBSCRIBE c d -> [subscribe, c, 1]", "PING |  | PING -> [pong, ]"]);
    let got = run(&[
        (ToServer, b"*1\r\n$7\r\nMONITOR\r\n"),
        (ToClient, b"+OK\r\n+1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n"),
        (ToServer, b"*1\r\n$4\r\nQUIT\r\n"),
        (ToClient, b"+OK\r\n"),
    ]);
    assert_eq!(got, ["MONITOR |  | MONITOR -> OK", "QUIT |  | QUIT -> OK"]);
}

#[test]
fn a_gap_in_a_value_costs_its_command_and_any_other_gap_the_waiting_ones() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n");
    h.server(b"$100\r\n0123456789").gap(ToClient, 80).server(b"0123456789\r\n$1\r\nB\r\n");
    assert_eq!(pairs(&h.events()), ["GET | b | GET b -> B"]);
    h.client(b"*2\r\n$3\r\nGET\r\n$1\r\nc\r\n*2\r\n$3\r\nGET\r\n$1\r\nd\r\n").gap(ToClient, 7).server(b"$1\r\nD\r\n");
    h.client(b"*2\r\n$3\r\nGET\r\n$1\r\ne\r\n").server(b"$1\r\nE\r\n");
    assert_eq!(pairs(&h.events()), ["GET | e | GET e -> E"]);
    assert_eq!(h.counted("unmatched_requests"), 3);
}

#[test]
fn client_and_server_are_corrected() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(b"+OK\r\n").server(b"*1\r\n$4\r\nPING\r\n").client(b"+PONG\r\n");
    let events = h.events();
    assert_eq!(pairs(&events), ["PING |  | PING -> PONG"]);
    assert_eq!(events[0]["source"]["ip"], json!("10.0.0.2"));
}

#[test]
fn waiting_commands_are_bounded_and_keep_their_order() {
    let mut h = Harness::new(&PROTOCOL, "{queue_max_bytes: 16, queue_max_messages: 3}");
    h.client(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n").server(b"$1\r\nA\r\n$1\r\nB\r\n");
    assert_eq!(pairs(&h.events()), ["GET | a | GET a -> A"]);
    h.client(&b"*1\r\n$4\r\nPING\r\n".repeat(4));
    assert_eq!(h.counted("unmatched_requests"), 4);
}

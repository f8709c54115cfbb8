//! Tests of the answers, read as JSON.

use super::{
    Parameters, Refused, Reply, State,
    filters::{Filters, MOST_FILTERS, MOST_IDLE},
};
use crate::{
    publish::observer::{Details, Transaction},
    time::Timestamp,
    view::{
        inbox::Item,
        model::{Model, Record, kept::MOST_KEPT},
        testing::{TIME, transaction},
        top::Source,
    },
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Markup, an escape sequence, and a right-to-left override.
const HOSTILE: &str = "</script><b>\u{1b}[2J\u{202e}\"\\";

fn item(of: &Transaction<'_>) -> Item {
    Item::Transaction(Arc::new(Record::new(of)))
}

/// A state with these transactions, one second after the last one of [`transaction`].
fn state(of: &[Transaction<'_>]) -> State {
    let source = Source { host: "h".into(), is_live: true, ..Source::default() };
    let mut state = State::new(source, 3600, vec!["http", "dns", "pgsql", "tls"]);
    state.take(&mut of.iter().map(item).collect(), Some(Timestamp(TIME.0 + 1_000_000_000)));
    state
}

fn ask(state: &mut State, path: &str) -> Result<Value, Refused> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let body = match state.answer(path, &Parameters::read(query))? {
        Reply::Json(body) | Reply::File(_, _, body) => body,
        Reply::Tail(tail) => tail.json,
    };
    Ok(serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body))))
}

fn seqs(answer: &Value) -> Vec<u64> {
    answer["rows"].as_array().unwrap().iter().map(|row| row["seq"].as_u64().unwrap()).collect()
}

#[test]
fn the_overview_says_what_the_contract_says() {
    let failed = Transaction { result: "500", status: "Error", resource: "/pay", ..transaction() };
    let mut state = state(&[transaction(), failed, Transaction { protocol: "pgsql", query: "SELECT 1", ..transaction() }]);
    let all = ask(&mut state, "/api/view?parts=services,edges,dns,tls,flows,health").unwrap();
    let rest: Vec<&str> = all.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = vec![
        "now_us",
        "live",
        "ended",
        "host",
        "capture",
        "watched",
        "covered_ns",
        "zone_seconds",
        "range",
        "totals",
        "packets",
        "skipped",
        "hidden",
        "filter_sees",
        "notice",
        "services",
        "edges",
        "dns",
        "tls",
        "flows",
        "health",
    ];
    expected.sort_unstable();
    let mut names = rest.clone();
    names.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(
        (&all["range"], &all["zone_seconds"], &all["filter_sees"], &all["notice"]),
        (&json!("5m"), &json!(3600), &json!(20000), &json!(null))
    );
    assert_eq!(all["now_us"], (TIME.0 + 1_000_000_000) / 1000);
    let totals = &all["totals"];
    assert_eq!((&totals["count"], &totals["errors"], &totals["time_ns"]), (&json!(3), &json!(1), &json!(6_000_000)));
    let seconds = totals["seconds"].as_array().unwrap();
    assert_eq!((seconds.len(), &seconds[59]), (60, &json!(3)), "the last second is complete");
    let services = &all["services"];
    assert_eq!((&services["total"], &services["rest"]), (&json!(2), &json!(null)));
    let first = &services["rows"][0];
    assert_eq!(first["id"], "http/10.0.0.9:8080");
    assert_eq!((&first["name"], &first["address"], &first["port"]), (&json!("api.shop:8080"), &json!("10.0.0.9"), &json!(8080)));
    assert_eq!((&first["numbers"]["count"], &first["operations"], &first["process"]), (&json!(2), &json!(2), &json!(null)));
    let edge = &all["edges"]["rows"][0];
    assert_eq!((&edge["client"], &edge["service"], &edge["count"]), (&json!("10.0.0.7"), &json!("http/10.0.0.9:8080"), &json!(2)));
    assert_eq!(all["dns"]["wide"], json!([]));
    assert_eq!(all["health"], json!({"counters": {}}));
    let one = ask(&mut state, "/api/view?limit=1").unwrap();
    assert_eq!((one["services"]["rows"].as_array().unwrap().len(), &one["services"]["total"]), (1, &json!(2)));
    assert!(one.get("edges").is_none());
}

#[test]
fn wrong_parameters_are_named() {
    let mut state = state(&[transaction()]);
    for (path, parameter, column) in [
        ("/api/view?parts=x", "parts", None),
        ("/api/view?range=1h", "range", None),
        ("/api/view?limit=0", "limit", None),
        ("/api/view?limit=2001", "limit", None),
        ("/api/view?filter=http+htpp", "filter", Some(6)),
        ("/api/operations?filter=(", "filter", Some(2)),
        ("/api/tail?filter=http%20htpp", "filter", Some(6)),
        ("/api/tail?after=x", "after", None),
        ("/api/tail?limit=1001", "limit", None),
        ("/api/tail?order=x", "order", None),
        ("/api/tail?wait_ms=10001", "wait_ms", None),
        ("/api/export", "format", None),
        ("/api/transaction", "seq", None),
    ] {
        let refused = ask(&mut state, path).unwrap_err();
        assert_eq!((refused.status, refused.parameter, refused.column), (400, Some(parameter), column), "{path}: {refused:?}");
        assert!(!refused.error.is_empty(), "{path}");
    }
    for path in ["/api/transaction?seq=1", "/api/operations?service=http/192.0.2.1:1", "/api/operations?service=x", "/api/x", "/api/"] {
        assert_eq!(ask(&mut state, path).unwrap_err().status, 404, "{path}");
    }
}

#[test]
fn a_filter_hides_what_it_does_not_select() {
    let failed = Transaction { result: "500", status: "Error", ..transaction() };
    let mut state = state(&[transaction(), failed, transaction()]);
    let of = |state: &mut State, filter: &str| {
        let answer = ask(state, &format!("/api/view?filter={filter}")).unwrap();
        (answer["totals"]["count"].as_u64().unwrap(), answer["hidden"].as_u64().unwrap())
    };
    assert_eq!((of(&mut state, ""), of(&mut state, "status=error")), ((3, 0), (1, 2)));
    let more = Some(Timestamp(TIME.0 + 2_000_000_000));
    state.take(&mut vec![item(&failed), item(&transaction())], more);
    assert_eq!((of(&mut state, ""), of(&mut state, "status=error")), ((5, 0), (2, 3)));
    let operations = ask(&mut state, "/api/operations?service=http/10.0.0.9:8080&filter=dns").unwrap();
    assert_eq!((&operations["total"], &operations["called_by"]), (&json!(0), &json!([])));
}

#[test]
fn filters_that_are_not_used_go() {
    let (mut filters, all, names) = (Filters::default(), Model::default(), ["http"]);
    assert!(filters.model(" ", &names, &all).unwrap().is_none());
    for port in 1..=MOST_FILTERS as u16 + 1 {
        filters.model(&format!("port {port}"), &names, &all).unwrap().unwrap();
        filters.model("http", &names, &all).unwrap();
    }
    let texts: Vec<String> = filters.list().iter().map(|filtering| filtering.text.clone()).collect();
    assert_eq!(texts.len(), MOST_FILTERS);
    assert!(texts.contains(&"http".to_owned()) && !texts.contains(&"port 1".to_owned()), "{texts:?}");
    assert_eq!(filters.model("http htpp", &names, &all).unwrap_err().column, 6);
    (0..=MOST_IDLE).for_each(|_| filters.tick());
    assert!(filters.list().is_empty());
}

#[test]
fn a_tail_goes_on_where_it_was() {
    let failed = Transaction { result: "500", status: "Error", duration: Some(Duration::from_millis(90)), ..transaction() };
    let mut state = state(&[transaction(), failed, transaction()]);
    let first = ask(&mut state, "/api/tail?limit=2").unwrap();
    assert_eq!((seqs(&first), &first["next"], &first["skipped"]), (vec![1, 2], &json!(3), &json!(0)));
    assert_eq!(seqs(&ask(&mut state, "/api/tail?after=3").unwrap()), Vec::<u64>::new());
    state.take(&mut vec![item(&failed), item(&transaction()), item(&failed)], None);
    let more = ask(&mut state, "/api/tail?after=3").unwrap();
    assert_eq!((seqs(&more), &more["next"], &more["skipped"]), (vec![3, 4, 5], &json!(6), &json!(0)));
    let cut = ask(&mut state, "/api/tail?after=0&limit=4").unwrap();
    assert_eq!((seqs(&cut), &cut["skipped"]), (vec![2, 3, 4, 5], &json!(2)));
    let errors = ask(&mut state, "/api/tail?after=0&filter=status%3Derror").unwrap();
    assert_eq!((seqs(&errors), &errors["next"], &errors["skipped"]), (vec![1, 3, 5], &json!(6), &json!(0)));
    assert_eq!(seqs(&ask(&mut state, "/api/tail?order=failed&limit=2").unwrap()), [3, 5]);
    assert_eq!(seqs(&ask(&mut state, "/api/tail?order=slow&limit=4").unwrap()), [5, 3, 1, 4]);
    let of = |service: &str, operation: &str| format!("/api/tail?service={service}&operation={operation}");
    assert_eq!(seqs(&ask(&mut state, &of("http/10.0.0.9:8080", "GET+/orders")).unwrap()).len(), 6);
    assert_eq!(seqs(&ask(&mut state, &of("http/10.0.0.9:8080", "GET+/x")).unwrap()), Vec::<u64>::new());
    assert_eq!(seqs(&ask(&mut state, &of("dns/10.0.0.9:8080", "")).unwrap()), Vec::<u64>::new());
    assert_eq!(seqs(&ask(&mut state, &of("x", "")).unwrap()), Vec::<u64>::new());
    // Of a page that was open during an earlier run.
    assert_eq!(seqs(&ask(&mut state, "/api/tail?after=1000").unwrap()).len(), 6);
    let many: Vec<Item> = (0..MOST_KEPT + 4).map(|_| item(&transaction())).collect();
    state.take(&mut { many }, None);
    let answer = ask(&mut state, "/api/tail?after=6&limit=10").unwrap();
    assert_eq!(answer["skipped"], MOST_KEPT + 4 - 10);
}

#[test]
fn a_held_request_counts_what_it_passed_over() {
    let mut state = state(&[transaction()]);
    let parameters = Parameters::read("after=1&filter=status%3Derror&wait_ms=1000");
    let Reply::Tail(empty) = state.answer("/api/tail", &parameters).unwrap() else { panic!() };
    assert!(empty.is_empty);
    state.take(&mut vec![item(&transaction())], None);
    let empty = state.tail(&parameters, &empty).unwrap();
    assert!(empty.is_empty);
    state.take(&mut vec![item(&Transaction { status: "Error", ..transaction() })], None);
    let tail = state.tail(&parameters, &empty).unwrap();
    let json: Value = serde_json::from_slice(&tail.json).unwrap();
    assert_eq!((seqs(&json), &json["next"], &json["skipped"]), (vec![2], &json!(3), &json!(0)));
}

#[test]
fn one_transaction_with_its_details() {
    let dns = Details::Dns { name: HOSTILE, kind: "A", code: "NXDOMAIN", addresses: "" };
    let of = Transaction { protocol: "dns", details: dns, notes: &[HOSTILE], ..transaction() };
    let other = Transaction { source: Some("10.0.0.7:1".parse().unwrap()), ..of };
    let mut state = state(&[transaction(), of, other, of]);
    let one = ask(&mut state, "/api/transaction?seq=1").unwrap();
    assert_eq!(one["details"], json!({"name": HOSTILE, "kind": "A", "code": "NXDOMAIN"}));
    assert_eq!((&one["notes"], &one["vlans"], &one["transport"]), (&json!([HOSTILE]), &json!([]), &json!("tcp")));
    assert_eq!(one["on_connection"], json!([0, 1, 3]), "the same ends");
    assert_eq!((&one["start_us"], &one["end_us"]), (&json!(TIME.0 / 1000), &json!(TIME.0 / 1000 + 2000)));
    assert_eq!((&one["slower_than_percent"], &one["operation"], &one["bytes"]), (&json!(0.0), &json!("A"), &json!([100, 900])));
}

#[test]
fn text_of_the_wire_is_text() {
    let tls = Details::Tls { server_name: HOSTILE, version: "1.0", cipher: HOSTILE, certificate_end: "" };
    let of = [
        Transaction {
            query: HOSTILE,
            resource: HOSTILE,
            method: HOSTILE,
            result: HOSTILE,
            details: Details::Http { host: HOSTILE },
            ..transaction()
        },
        Transaction { protocol: "tls", details: tls, ..transaction() },
        Transaction { protocol: "pgsql", query: HOSTILE, ..transaction() },
    ];
    let mut state = state(&of);
    let all = ask(&mut state, "/api/view?parts=services,dns,tls").unwrap();
    let names: Vec<&str> = all["services"]["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| **name == format!("{HOSTILE}:8080")).count(), 2, "{names:?}");
    assert_eq!((&all["tls"]["rows"][0]["name"], &all["tls"]["rows"][0]["weak"]), (&json!(HOSTILE), &json!(true)));
    let tail = ask(&mut state, "/api/tail").unwrap();
    assert_eq!((&tail["rows"][0]["query"], &tail["rows"][2]["query"]), (&json!(HOSTILE), &json!(HOSTILE)));
    let Reply::Tail(raw) = state.answer("/api/tail", &Parameters::default()).unwrap() else { panic!() };
    assert!(!raw.json.contains(&0x1b), "control characters are escaped");
}

#[test]
fn exports() {
    let formula = Transaction { query: "=cmd|' /C calc'!A0, \"x\"", ..transaction() };
    let mut state = state(&[transaction(), formula]);
    let file = |state: &mut State, query: &str| match state.answer("/api/export", &Parameters::read(query)).unwrap() {
        Reply::File(name, _, body) => (name, String::from_utf8(body).unwrap()),
        other => panic!("{other:?}"),
    };
    let (name, csv) = file(&mut state, "format=csv");
    let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!((name, lines.len()), ("transactions.csv", 3));
    assert!(lines[2].contains(",\"'=cmd|' /C calc'!A0, \"\"x\"\"\","), "{}", lines[2]);
    assert_eq!(lines[0].split(',').count(), lines[1].split(',').count());
    let (name, rows) = file(&mut state, "format=ndjson&filter=http");
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((name, rows.len(), &rows[1]["query"]), ("transactions.ndjson", 2, &json!(formula.query)));
    assert_eq!(file(&mut state, "format=ndjson&filter=dns").1, "");
}

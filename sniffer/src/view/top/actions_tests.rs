//! Tests of what the user does with rows: filters, exports, copies, pseudonyms, comparisons, columns.

use super::{
    export::Export,
    tests::{UTF8, keys, screen, state, traffic},
    *,
};
use crate::time::Timestamp;
use crate::view::testing::TIME;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

const SIZE: (u16, u16) = (200, 60);
/// Texts of the traffic that a redacted screen must not show.
const PRIVATE: [&str; 12] =
    ["10.0.0", "127.0.0", "2001:db8", "api.shop", "api.bank", "cache.shop", "orders", "/pay", "gunicorn", "postgres", "web[", "web-1"];

fn shown(state: &mut State) -> String {
    screen(state, SIZE).join("\n")
}

fn press_key(state: &mut State, key: char) -> Outcome {
    screen(state, SIZE);
    press(state, KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE))
}

fn exported(state: &mut State, form: char) -> Export {
    keys(state, "e");
    match press_key(state, form) {
        Outcome::Export(export) => export,
        other => panic!("{other:?} instead of an export; the screen:\n{}", shown(state)),
    }
}

fn copied(state: &mut State, what: char) -> Option<String> {
    keys(state, "y");
    if let Outcome::Copy(text) = press_key(state, what) { Some(text) } else { None }
}

#[test]
fn redacted_screens_and_exports_have_no_address_name_or_query() {
    for typed in ["", "2", "3", "4", "5", "6", "7", "\n", "\n\n", "\n\n\n", "2\n\n", "/server=10.0.0.9\n", "/path=/nosuch\n", "m="] {
        let mut state = state(traffic(), UTF8);
        keys(&mut state, typed);
        assert!(PRIVATE.iter().any(|text| shown(&mut state).contains(text)), "{typed:?}: nothing to redact");
        keys(&mut state, "P");
        state.notice = Some("10.0.0.9 refused".to_owned());
        let screen = shown(&mut state);
        let found = |text: &str| PRIVATE.iter().filter(|private| text.contains(**private)).copied().collect::<Vec<_>>();
        assert_eq!(found(&screen), Vec::<&str>::new(), "{typed:?}:\n{screen}");
        if typed != "/path=/nosuch\n" {
            for form in ['n', 'c', 'm'] {
                let export = exported(&mut state, form);
                assert_eq!(found(&export.text), Vec::<&str>::new(), "{typed:?} {form}:\n{}", export.text);
            }
        }
        let names = |screen: &str| screen.matches("-").count();
        assert_eq!(names(&shown(&mut state)), names(&screen), "{typed:?}: pseudonyms are stable");
    }
    let mut state = state(traffic(), UTF8);
    keys(&mut state, "P3");
    assert_eq!([copied(&mut state, 'c'), copied(&mut state, 'p')], [None, None]);
    let document = copied(&mut state, 'j').unwrap();
    assert!(!PRIVATE.iter().any(|text| document.contains(text)), "{document}");
}

#[test]
fn an_export_has_all_shown_rows() {
    let mut state = state(traffic(), UTF8);
    let csv = exported(&mut state, 'c');
    assert_eq!((csv.screen, csv.extension, csv.rows), ("services", "csv", 4));
    let lines: Vec<&str> = csv.text.split("\r\n").collect();
    assert_eq!(lines[0], "service,protocol,process,rate,error_percent,p50_ns,p95_ns,p99_ns,bytes_per_second");
    assert_eq!((lines.len(), lines[5]), (6, ""), "{}", csv.text);
    assert!(csv.text.contains("\"api.shop:8080\",\"http\",\"gunicorn\","), "{}", csv.text);
    let markdown = exported(&mut state, 'm');
    assert!(markdown.text.starts_with("| SERVICE ") && markdown.text.lines().count() == 6, "{}", markdown.text);
    // The filter and the order apply.
    keys(&mut state, "/dns\n2");
    let ndjson = exported(&mut state, 'n');
    let rows: Vec<serde_json::Value> = ndjson.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((ndjson.screen, rows.len(), &rows[0]["service"]), ("operations", ndjson.rows, &"127.0.0.53:53".into()), "{}", ndjson.text);
    // A list of transactions is exported as documents, without characters that a terminal would obey.
    keys(&mut state, "\u{1b}3");
    let ndjson = exported(&mut state, 'n');
    assert_eq!((ndjson.screen, ndjson.rows), ("transactions", 1000));
    assert!(ndjson.text.is_ascii() && ndjson.text.lines().count() == 1000 && ndjson.text.contains("\\u001b[2Jb\\u202ec"));
    keys(&mut state, "\n");
    assert_eq!(exported(&mut state, 'n').text.lines().count(), 1);
    assert!(exported(&mut state, 'c').text.starts_with("field,value\r\n\"type\","));
    keys(&mut state, "e\u{1b}");
    assert!(!shown(&mut state).contains("n ndjson"), "Escape leaves the question");
    keys(&mut state, "/port 1\n1e");
    assert!(shown(&mut state).contains("no rows to export"), "{}", shown(&mut state));
}

#[test]
fn a_transaction_is_copied() {
    let mut state = state(traffic(), UTF8);
    keys(&mut state, "y");
    assert!(shown(&mut state).contains("Select a transaction first"));
    keys(&mut state, "/http method=GET\n3");
    let document: serde_json::Value = serde_json::from_str(&copied(&mut state, 'j').unwrap()).unwrap();
    assert_eq!((&document["type"], &document["source"]["ip"]), (&"http".into(), &"10.0.0.7".into()), "{document}");
    keys(&mut state, "\n");
    assert_eq!(copied(&mut state, 'p').unwrap(), "tcp and host 10.0.0.7 and host 10.0.0.9 and port 40000 and port 8080");
    let said = shown(&mut state);
    assert!(said.contains("Copied 68 bytes: pcap filter"), "{said}");
}

#[test]
fn what_is_selected_goes_into_the_filter() {
    for (typed, expected) in [
        ("f", "(http server=10.0.0.9:8080)"),
        ("F", "not (http server=10.0.0.9:8080)"),
        ("/http\n2f", "http and (http server=10.0.0.9:8080 method=POST path=/pay)"),
        ("/http\n2jf", "http and (http server=10.0.0.9:8080 method=GET path=/orders/*)"),
        ("/tls\n3f", "tls and (tls server=[2001:db8::7]:443)"),
        ("4F", "not (client=10.0.0.7 server=10.0.0.9:8080)"),
        ("5f", "(dns \"api.shop.local\")"),
        ("6f", "(tls server=[2001:db8::7]:443)"),
        ("/dns\n3\njjjjjf", "dns and type=dns"),
    ] {
        let mut state = state(traffic(), UTF8);
        keys(&mut state, typed);
        let screen = shown(&mut state);
        assert_eq!(state.filtering.text, expected, "{typed:?}; the screen:\n{screen}");
        assert!(state.filtering.wrong.is_none(), "{typed:?}: {:?}", state.filtering.wrong);
    }
    let mut state = state(traffic(), UTF8);
    keys(&mut state, "7f");
    assert!(state.filtering.text.is_empty() && shown(&mut state).contains("A filter cannot select this"));
}

#[test]
fn numbers_since_the_mark_are_beside_those_before_it() {
    let mut state = state(traffic(), UTF8);
    keys(&mut state, "=");
    assert!(shown(&mut state).contains("There is no mark yet"));
    keys(&mut state, "m=");
    let pgsql = |state: &mut State| {
        let rows = screen(state, SIZE);
        let row = rows.iter().find(|row| row.contains("pgsql")).unwrap_or_else(|| panic!("{}", rows.join("\n")));
        row.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    // 1,200 in 60.5 s before the mark, nothing since.
    assert_eq!(pgsql(&mut state)[..5], ["pgsql", "0", "20", "0", "0"]);
    state.take(&mut traffic(), Some(Timestamp(TIME.0 + 180_500_000_000)));
    let row = pgsql(&mut state);
    assert_eq!((row[..5].join(" "), row.len()), ("pgsql 10 20 0 0".to_owned(), 11), "{row:?}: 1,200 in 120 s since the mark");
    assert_eq!(row[5], row[6], "the same traffic has the same median");
    let screen = shown(&mut state);
    assert!(screen.contains("BEFORE") && screen.contains("since 03:05:05"), "{screen}");
    keys(&mut state, "2");
    assert!(shown(&mut state).contains("P95 BEF"), "{}", shown(&mut state));
    keys(&mut state, "/http\n");
    assert!(state.mark.is_none() && !shown(&mut state).contains("BEFORE"), "a mark belongs to a filter");
}

#[test]
fn columns_are_chosen() {
    let mut state = state(traffic(), UTF8);
    keys(&mut state, "cjj ");
    let screen = shown(&mut state);
    assert!(screen.contains(">[ ] PROCESS") && screen.contains(" [x] SERVICE"), "{screen}");
    keys(&mut state, "\u{1b}");
    assert!(!shown(&mut state).contains("PROCESS") && shown(&mut state).contains("RATE/s"));
    assert!(!exported(&mut state, 'c').text.contains("process"));
    // Screens with the same columns share the choice, others do not.
    keys(&mut state, "2cj \u{1b}");
    let operations = shown(&mut state);
    assert!(!operations.contains("SERVICE ") && operations.contains("OPERATION"), "{operations}");
    keys(&mut state, "1c");
    keys(&mut state, &" j".repeat(12));
    assert!(shown(&mut state).contains("[x]"), "one column stays");
    keys(&mut state, "\u{1b}");
}

#[test]
fn the_list_of_keys_is_that_of_the_screen() {
    let mut state = state(traffic(), UTF8);
    let list = |state: &mut State, typed: &str| {
        keys(state, typed);
        let screen = shown(state);
        keys(state, "x");
        screen
    };
    let services = list(&mut state, "?");
    assert!(services.contains("sort by") && services.contains("m = ") && !services.contains("copy: "), "{services}");
    let tail = list(&mut state, "3?");
    assert!(tail.contains("copy: ") && !tail.contains("sort by"), "{tail}");
    let health = list(&mut state, "7?");
    assert!(!health.contains("to the filter, or exclude"), "{health}");
    // A small terminal shows the list in pages.
    keys(&mut state, "1");
    screen(&mut state, (40, 10));
    let key = |state: &mut State, key| press(state, KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE));
    key(&mut state, '?');
    let mut pages = Vec::new();
    for _ in 0..4 {
        pages.push(screen(&mut state, (40, 10)).join("\n"));
        key(&mut state, 'x');
    }
    assert!(pages[0].contains("1-6 of 16") && pages[2].contains("quit") && pages[3].contains("SERVICE"), "{}", pages.join("\n\n"));
}

#[test]
fn a_service_has_the_name_that_dns_gave_its_address() {
    let mut state = state(traffic(), UTF8);
    let services = shown(&mut state);
    assert!(
        services.contains("api.shop.local:5432") && services.contains("api.shop:8080"),
        "the name that clients used comes first:\n{services}"
    );
    keys(&mut state, "4");
    assert!(shown(&mut state).contains("api.shop.local:8080"), "{}", shown(&mut state));
    keys(&mut state, "/pgsql\n1");
    assert!(shown(&mut state).contains("api.shop.local:5432"), "a filter does not select names:\n{}", shown(&mut state));
    keys(&mut state, "n");
    assert!(shown(&mut state).contains(">10.0.0.9:5432"), "{}", shown(&mut state));
}

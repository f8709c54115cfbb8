//! Tests of the screens in four sizes, and of the keys.

use super::*;
use crate::{
    net::{Count, FlowRecord, StoredKey},
    process::{Ends, Process},
    publish::observer::{Details, Transaction},
    time::Timestamp,
    view::{
        inbox::Item,
        model::Record,
        testing::{TIME, transaction},
        text::Charset,
    },
};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Terminal, backend::TestBackend};
use std::{sync::Arc, time::Duration};

const SIZES: [(u16, u16); 4] = [(40, 10), (80, 24), (120, 40), (200, 60)];

fn process(pid: u32, name: &str) -> Option<Arc<Process>> {
    Some(Arc::new(Process { pid, name: name.into(), ..Process::default() }))
}

/// Adds a transaction that begins this many milliseconds after the start and takes some microseconds.
fn add(items: &mut Vec<Item>, millis: u64, micros: u64, of: Transaction<'_>) {
    let time = Timestamp(TIME.0 + millis * 1_000_000);
    let duration = Some(Duration::from_micros(micros));
    let end = duration.map(|duration| time.after(duration));
    let record = Record::new(&Transaction { time, start: Some(time), end, duration, ..of });
    items.push(Item::Transaction(Arc::new(record)));
}

/// A minute of traffic of a shop.
pub(super) fn traffic() -> Vec<Item> {
    let mut items = Vec::new();
    let web = Ends { source: process(511, "web"), destination: process(812, "gunicorn") };
    let store = Ends { source: process(812, "gunicorn"), destination: process(99, "postgres") };
    let destination = |text: &str| Some(text.parse().unwrap());
    for index in 0..1200u64 {
        let (at, path) = (index * 50, format!("/orders/{index}"));
        add(&mut items, at, 2000 + index * 37 % 40_000, Transaction { resource: &path, query: &path, processes: &web, ..transaction() });
        let select = format!("SELECT * FROM orders WHERE id = {index}");
        let of = Transaction { protocol: "pgsql", method: "SELECT", query: &select, details: Details::None, result: "", ..transaction() };
        let of = Transaction { source: destination("10.0.0.5:50000"), destination: destination("10.0.0.9:5432"), processes: &store, ..of };
        add(&mut items, at + 1, 300 + index % 7 * 100, of);
        if index % 20 == 0 {
            let pay =
                Transaction { method: "POST", resource: "/pay", query: "POST /pay a\u{1b}[2Jb\u{202e}c", processes: &web, ..transaction() };
            let failed = index % 60 == 0;
            let (result, status) = if failed { ("503", "Server Error") } else { ("200", "OK") };
            add(&mut items, at + 2, 210_000 + index * 900, Transaction { result, status, ..pay });
        }
        if index % 4 == 0 {
            let code = if index % 40 == 0 { "NXDOMAIN" } else { "NOERROR" };
            let details = Details::Dns {
                name: if index % 8 == 0 { "api.shop.local" } else { "cache.shop.local" },
                kind: "A",
                code,
                addresses: if index % 8 == 0 { "10.0.0.9" } else { "" },
            };
            let of = Transaction { protocol: "dns", details, result: code, query: "A api.shop.local", ..transaction() };
            let status = if code == "NOERROR" { "OK" } else { "Error" };
            add(&mut items, at + 3, 200 + index, Transaction { destination: destination("127.0.0.53:53"), status, ..of });
        }
        if index % 100 == 0 {
            let end = "2026-01-08T00:00:00.000Z";
            let cipher = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA";
            let details = Details::Tls { server_name: "api.bank", version: "1.1", cipher, certificate_end: end };
            let of = Transaction { protocol: "tls", details, query: "api.bank", result: "", ..transaction() };
            add(&mut items, at + 4, 12_000, Transaction { destination: destination("[2001:db8::7]:443"), ..of });
        }
    }
    let key = StoredKey::new(&[2, 0, 1, 0, 255, 0, 255, 255, 10, 0, 0, 7, 10, 0, 0, 9, 64, 156, 144, 31]);
    let counts = [Count { packets: 9, bytes: 41_000 }, Count { packets: 90, bytes: 4_100_000 }];
    let flow = FlowRecord { end: Timestamp(TIME.0 + 59_000_000_000), counts, ..FlowRecord::new(key, false, TIME) };
    items.push(Item::Flow(Box::new((flow, web))));
    items
}

pub(super) fn state(items: Vec<Item>, look: Look) -> State {
    let source = Source {
        host: "web-1".into(),
        capture: "any (eBPF: eth0, lo)".into(),
        watched: "16 protocols on 41 ports".into(),
        is_live: true,
        unit: "packet",
        example: "curl http://127.0.0.1:8000/".into(),
    };
    let mut state = State::new(source, look, "", vec!["http", "dns", "pgsql", "tls"]);
    state.take(&mut Vec::new(), Some(TIME));
    let mut items = items;
    state.take(&mut items, Some(Timestamp(TIME.0 + 60_500_000_000)));
    let counters = vec![("capture.seen".to_owned(), 9114), ("http.gave_up".to_owned(), 2), ("tcp.dropped".to_owned(), 0)];
    state.health = Health { seen: 9114, matched: 6100, lost: 0, skipped: 0, counters };
    state
}

pub(super) const UTF8: Look = Look { color: true, charset: Charset::Utf8, ahead_of_utc: 0 };

pub(super) fn screen(state: &mut State, (width, height): (u16, u16)) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| {
            let area = frame.area();
            draw(state, area, frame.buffer_mut());
        })
        .unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(row).collect()
}

pub(super) fn keys(state: &mut State, keys: &str) {
    for key in keys.chars() {
        screen(state, (120, 40));
        let code = match key {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '\t' => KeyCode::Tab,
            '\u{8}' => KeyCode::Backspace,
            key => KeyCode::Char(key),
        };
        assert_eq!(press(state, KeyEvent::new(code, KeyModifiers::NONE)), Outcome::Draw, "{key:?}");
    }
}

#[test]
fn every_screen_is_sound_in_every_size() {
    for (typed, part) in [
        ("", "api.shop"),
        ("2", "SELECT * FROM"),
        ("3", "RESULT"),
        ("4", "10.0.0.7"),
        ("5", "api.shop.local"),
        ("6", "api.bank"),
        ("7", "http.gave_up"),
        ("j\n", "SELECT * FROM"),
        ("3k\n", "type"),
        ("?", "filter as you type"),
        ("/http status!=ok", "api.shop"),
        ("/htpp", "api.shop"),
    ] {
        for (look, size) in SIZES.into_iter().flat_map(|size| [(UTF8, size), (Look::default(), size)]) {
            let mut state = state(traffic(), look);
            keys(&mut state, typed);
            let rows = screen(&mut state, size);
            let shown = rows.join("\n");
            assert!(shown.contains(part), "{typed:?} {size:?}: {part} is missing in\n{shown}");
            assert!(rows.iter().all(|row| row.chars().all(|c| !c.is_control() && c != '\u{202e}')), "{typed:?} {size:?}:\n{shown}");
            assert!(look.charset == Charset::Utf8 || shown.is_ascii(), "{typed:?} {size:?}: characters that are not ASCII in\n{shown}");
            assert!(rows[0].starts_with("web-1"), "{typed:?} {size:?}:\n{shown}");
        }
    }
}

#[test]
fn an_empty_screen_says_why() {
    let mut waiting = state(Vec::new(), UTF8);
    let shown = screen(&mut waiting, (200, 60)).join("\n");
    for part in ["Nothing yet: any (eBPF: eth0, lo)", "9,114 packets", "6,100 packets on watched ports", "curl http://127.0.0.1:8000/"] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    waiting.health = Health::default();
    assert!(screen(&mut waiting, (200, 60)).join("\n").contains("no packet."));
    waiting.health.seen = 7;
    assert!(screen(&mut waiting, (200, 60)).join("\n").contains("none on a watched port"));
    let mut file = state(Vec::new(), UTF8);
    (file.source.is_live, file.source.host) = (false, "x.pcap".into());
    file.end();
    assert!(screen(&mut file, (200, 60)).join("\n").contains("x.pcap has 9,114 packets and no transaction of 16 protocols"));
    let mut hidden = state(traffic(), UTF8);
    keys(&mut hidden, "/port 1\n");
    let shown = screen(&mut hidden, (200, 60)).join("\n");
    assert!(shown.contains("The filter hides everything") && shown.contains("Esc removes it"), "{shown}");
    keys(&mut hidden, "\u{1b}");
    assert!(screen(&mut hidden, (200, 60)).join("\n").contains("api.shop:8080"));
}

#[test]
fn a_small_terminal_gets_one_line() {
    let mut state = state(traffic(), UTF8);
    for size in [(39, 24), (80, 9), (20, 3)] {
        let rows = screen(&mut state, size);
        assert!(rows[0].starts_with(&format!("{}x{}", size.0, size.1)[..1]), "{rows:?}");
        assert!(rows[1..].iter().all(|row| row.trim().is_empty()), "{rows:?}");
    }
    screen(&mut state, (1, 1));
}

#[test]
fn the_filter_applies_while_it_is_typed_and_the_last_valid_one_stays() {
    let mut state = state(traffic(), UTF8);
    keys(&mut state, "/dns");
    assert_eq!(state.model().stats.all().count, 300);
    keys(&mut state, " nosuch");
    assert!(state.filtering.wrong.is_some());
    assert_eq!(state.model().stats.all().count, 300, "the last valid filter stays");
    keys(&mut state, "\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\n");
    assert!(state.filtering.wrong.is_none() && !state.filtering.is_typed);
    // New transactions pass through the filter, and the others are still counted.
    let before = state.live.stats.all().count;
    state.take(&mut traffic(), None);
    assert_eq!((state.model().stats.all().count, state.live.stats.all().count), (600, before * 2));
    keys(&mut state, "\u{1b}");
    assert_eq!(state.model().stats.all().count, before * 2);
}

#[test]
fn a_frozen_screen_does_not_change_and_says_what_it_missed() {
    let mut state = state(traffic(), UTF8);
    keys(&mut state, " ");
    let frozen = screen(&mut state, (120, 40));
    state.take(&mut traffic(), Some(Timestamp(TIME.0 + 70_000_000_000)));
    let later = screen(&mut state, (120, 40));
    assert_eq!(frozen[1..], later[1..]);
    assert!(frozen[0].contains("FROZEN +0 since") && later[0].contains("FROZEN +2,772 since"), "{}\n{}", frozen[0], later[0]);
    keys(&mut state, " ");
    assert!(screen(&mut state, (120, 40))[0].contains("LIVE"));
}

#[test]
fn every_number_leads_to_its_transactions_and_back() {
    let mut state = state(traffic(), UTF8);
    // Services by rate: http comes first; then its operation with most time, and the newest transaction.
    keys(&mut state, "\n");
    let shown = screen(&mut state, (120, 40)).join("\n");
    assert!(shown.contains("web-1 > ") && shown.contains("GET /orders/{}") && shown.contains("Called by web"), "{shown}");
    keys(&mut state, "\n\n");
    let shown = screen(&mut state, (120, 40)).join("\n");
    assert!(shown.contains("10.0.0.7:40000 web[511] > 10.0.0.9:8080 gunicorn[812]") && shown.contains("slower than"), "{shown}");
    keys(&mut state, "hhh");
    assert_eq!(state.levels.len(), 1);
    keys(&mut state, "\t\t");
    assert!(screen(&mut state, (120, 40))[1].contains("[3 Tail]"));
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(press(&mut state, control_c), Outcome::Quit);
}

#[test]
fn a_selected_transaction_stays_selected_while_others_come() {
    let mut state = state(traffic(), UTF8);
    keys(&mut state, "3kk");
    let selected = |state: &mut State| screen(state, (80, 24)).into_iter().find(|row| row.starts_with('>')).unwrap();
    let before = selected(&mut state);
    let mut more = traffic();
    more.truncate(5);
    state.take(&mut more, None);
    assert_eq!(selected(&mut state), before);
}

//! Golden lines: rows in terminals of several widths.

use super::{
    layout::{Layout, Style},
    row::Row,
    tally::tests::transaction,
};
use crate::{
    net::{Count, Direction, FlowRecord, StoredKey},
    process::{Ends, Process},
    publish::observer::{Details, Transaction},
    time::Timestamp,
    view::{
        names::Names,
        text::{self, Charset},
    },
};
use std::{sync::Arc, time::Duration};

const UTF8: Style = Style { color: false, charset: Charset::Utf8, ahead_of_utc: 0 };

/// Transactions of several protocols, with hostile texts.
fn mixed() -> Vec<Transaction<'static>> {
    let all = transaction();
    vec![
        all,
        Transaction {
            protocol: "pgsql",
            destination: Some("10.0.0.9:5432".parse().unwrap()),
            query: "SELECT * FROM orders WHERE id = 4711",
            result: "",
            duration: Some(Duration::from_micros(420)),
            destination_bytes: 462,
            ..all
        },
        Transaction {
            protocol: "dns",
            source: Some("[2001:db8:1234:5678:9abc:def0:1234:5678]:40000".parse().unwrap()),
            destination: Some("[2001:db8::1]:53".parse().unwrap()),
            query: "A api.shop.local",
            result: "NXDOMAIN",
            status: "Error",
            duration: Some(Duration::from_micros(200)),
            source_bytes: 40,
            destination_bytes: 78,
            ..all
        },
        Transaction {
            query: "POST /pay a\u{1b}[2J\u{9b}31m\u{202e}b",
            result: "503",
            status: "Error",
            duration: Some(Duration::from_millis(1092)),
            source_bytes: 0,
            destination_bytes: 88,
            ..all
        },
        Transaction {
            protocol: "cassandra",
            destination: Some("10.0.0.9:9042".parse().unwrap()),
            query: "SELECT 你好世界你好世界你好世界 שלום",
            result: "",
            status: "Error",
            notes: &["line 1: no viable alternative", "b"],
            duration: None,
            destination_bytes: 9_500_000,
            ..all
        },
    ]
}

fn lines(layout: &mut Layout, rows: &[Transaction<'_>]) -> String {
    let mut out = String::new();
    rows.iter().for_each(|of| layout.write(&mut out, &Row::of_transaction(of)));
    out
}

#[test]
fn eighty_columns() {
    let shown = lines(&mut Layout::new(UTF8, Some(80)), &mixed());
    assert_eq!(
        shown,
        "\
03:04:05 http  10.0.0.7 > 10.0.0.5:8080 GET /orders/4711?full~  200  1.1ms  2.1K
03:04:05 pgsql 10.0.0.7 > 10.0.0.9:5432 SELECT * FROM orders ~   OK  0.4ms   612
03:04:05 dns   2001:~4:5678 > [2001:~:1]:53 A api.shop.local   !NXD  0.2ms   118
03:04:05 http  10.0.0.7 > 10.0.0.5:8080     POST /pay a\\x1b[2~ !503  1.09s    88
03:04:05 cassandra 10.0.0.7 > 10.0.0.9:9042  SELECT 你好世界~  !ERR         9.1M
"
    );
}

#[test]
fn narrow_and_wide_terminals() {
    let one = &mixed()[..1];
    let wide = |ends: &str, gap: usize| format!("03:04:05.678 http  {ends} GET /orders/4711?full=1{:gap$}200  1.1ms  2.1K\n", "");
    let with_ports = "10.0.0.7:40000 > 10.0.0.5:8080";
    for (width, expected) in [
        (Some(40), "http  GET /orders/4711?full~  200  1.1ms\n".to_owned()),
        (Some(48), "http  10.0.0.5:8080    GET /orders/~  200  1.1ms\n".to_owned()),
        (Some(64), "03:04:05 http  10.0.0.5:8080    GET /orders/4711?fu~  200  1.1ms\n".to_owned()),
        (Some(120), wide("10.0.0.7 > 10.0.0.5:8080", 24)),
        (Some(200), wide(with_ports, 24)),
        (None, wide(with_ports, 24)),
    ] {
        assert_eq!(lines(&mut Layout::new(UTF8, width), one), expected, "{width:?}");
    }
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let long = "x".repeat(300);
    let wide = "你".repeat(300);
    let process = |name: &str| Some(Arc::new(Process { pid: 4711, name: name.into(), ..Process::default() }));
    let ends = Ends { source: process("a-very-long-name-of-a-process"), destination: process("ng\u{1b}inx") };
    let mut rows = mixed();
    let all = transaction();
    rows.extend([
        Transaction { query: &long, ..all },
        Transaction { query: &wide, protocol: "a-protocol-that-a-processor-renamed", ..all },
        Transaction { processes: &ends, result: "A_VERY_LONG_CODE", status: "Error", source: None, ..all },
        Transaction { duration: Some(Duration::MAX), source_bytes: u64::MAX, from: Direction::ToClient, ..all },
    ]);
    for charset in [Charset::Ascii, Charset::Utf8, Charset::Utf8Wide] {
        for width in 40..=220 {
            let mut layout = Layout::new(Style { charset, ..UTF8 }, Some(width));
            for line in lines(&mut layout, &rows).lines() {
                let mut again = String::new();
                let columns = text::push(&mut again, line, 999, charset);
                assert!(columns <= width, "{columns} columns in {width}: {line}");
                assert_eq!(again, line, "the line has only characters that a terminal displays");
                assert!(charset != Charset::Ascii || line.is_ascii(), "{line}");
            }
        }
    }
}

#[test]
fn a_resized_terminal_has_other_columns() {
    let mut layout = Layout::new(UTF8, Some(120));
    lines(&mut layout, &mixed());
    layout.resize(Some(60));
    assert!(lines(&mut layout, &mixed()).lines().all(|line| line.chars().count() <= 60));
}

#[test]
fn the_request_is_on_one_line_and_its_column_grows_in_a_wide_terminal() {
    let query = "SELECT 1,\r\n\t  2 \n FROM a_table_with_a_long_name\rx";
    let rows = [Transaction { query, ..transaction() }, transaction()];
    let shown = lines(&mut Layout::new(UTF8, Some(130)), &rows);
    let ends: Vec<_> = shown.lines().map(|line| line.split_once("8080 ").unwrap().1).collect();
    assert_eq!(
        ends,
        [
            "SELECT 1, 2 FROM a_table_with_a_long_name\\rx       200  1.1ms  2.1K",
            "GET /orders/4711?full=1                            200  1.1ms  2.1K"
        ]
    );
}

#[test]
fn times_are_local() {
    let one = &mixed()[..1];
    for (ahead_of_utc, expected) in [(8 * 3600, "11:04:05"), (-(3 * 3600 + 1800), "23:34:05"), (0, "03:04:05")] {
        let shown = lines(&mut Layout::new(Style { ahead_of_utc, ..UTF8 }, Some(80)), one);
        assert_eq!(shown.get(..8), Some(expected));
    }
}

#[test]
fn colours_mark_errors_and_slow_transactions() {
    let mut rows = mixed();
    let colored = Style { color: true, ..UTF8 };
    let shown = lines(&mut Layout::new(colored, Some(80)), &rows.split_off(3)[..1]);
    assert!(shown.contains(" \x1b[31m!503\x1b[0m  \x1b[33m1.09s\x1b[0m    88\n"), "{shown:?}");
    assert!(!lines(&mut Layout::new(colored, Some(80)), &rows[..1]).contains('\x1b'));
}

#[test]
fn processes_have_the_last_column() {
    let process = |name: &str, pid| Some(Arc::new(Process { pid, name: name.into(), ..Process::default() }));
    let both = Ends { source: process("curl", 812), destination: process("ng\u{1b}inx", 7) };
    let of = Transaction { processes: &both, ..transaction() };
    let end = |width| lines(&mut Layout::new(UTF8, width), &[of]).trim_end().rsplit_once("2.1K").map(|(_, end)| end.to_owned());
    assert_eq!(end(None).as_deref(), Some(" curl[812] > ng\\x1binx[7]"));
    assert_eq!(end(Some(120)).as_deref(), Some(" curl > ng\\x1binx"));
    assert_eq!(end(Some(80)).as_deref(), Some(""));
}

#[test]
fn lines_of_flows() {
    let key = StoredKey::new(&[2, 0, 1, 0, 255, 0, 255, 255, 10, 0, 0, 1, 10, 0, 0, 2, 80, 0, 2, 0]);
    let start = transaction().time;
    let mut flow = FlowRecord::new(key, true, start);
    flow.add(0, Count { packets: 2, bytes: 200 }, start, None, None);
    flow.add(1, Count { packets: 1, bytes: 100 }, Timestamp(start.0 + 2_000_000), None, None);
    let shown = |flow: &FlowRecord| {
        let mut out = String::new();
        Layout::new(UTF8, Some(80)).write(&mut out, &Row::of_flow(flow, &Ends::NONE));
        out
    };
    assert_eq!(shown(&flow), "03:04:05 flow  10.0.0.2 > 10.0.0.1:80 tcp 3 packets                  2.0ms   300\n");
    let mut flow = FlowRecord::new(StoredKey::new(&[]), false, start);
    flow.macs = [Some(([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 255])), None];
    assert_eq!(shown(&flow), "03:04:05 flow  02-00~-00-01 > 02-00-~-00-FF 0 packets                  0us     0\n");
}

/// On a terminal, an end has the name that DNS gave its address, and the name is cut like an address. Programs get addresses.
#[test]
fn names_of_addresses() {
    let mut names = Names::default();
    let addresses = "10.0.0.5 10.0.0.9";
    let long = format!("{}.example", "x".repeat(60));
    let mut learn = |name: &str| {
        names.learn(&Transaction { details: Details::Dns { name, kind: "A", code: "NOERROR", addresses }, ..transaction() });
        names.clone()
    };
    let (with_long, names) = (learn(&long), learn("api.shop"));
    let mut row = Row::of_transaction(&Transaction { destination: Some("10.0.0.9:5432".parse().unwrap()), ..transaction() });
    row.set_names(&names);
    let line = |row: &Row, width| {
        let mut out = String::new();
        Layout::new(UTF8, width).write(&mut out, row);
        out
    };
    assert!(line(&row, Some(120)).contains("api.shop:5432 "), "{}", line(&row, Some(120)));
    row.set_names(&with_long);
    for width in [48, 80, 120] {
        let line = line(&row, Some(width));
        assert!(line.contains(":5432 ") && line.trim_end().chars().count() <= width, "{width}: {line}");
    }
    row.set_names(&names);
    assert!(line(&row, None).contains("10.0.0.9:5432") && !line(&row, None).contains("api.shop"), "{}", line(&row, None));
}

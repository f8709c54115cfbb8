//! Tests of the whole model, and the cost of a transaction.

use super::*;
use crate::view::testing::{TIME, transaction};
use std::time::Instant;

/// A mix of requests of several services and clients, as of a busy host.
fn mixed(index: u64) -> Record {
    let source = Some(std::net::SocketAddr::from(([10, 0, 0, (index % 20) as u8], 40_000 + (index % 500) as u16)));
    let time = Timestamp(TIME.0 + index * 100_000);
    let duration = Some(Duration::from_micros(index * 7919 % 90_000));
    let base =
        Transaction { source, time, start: Some(time), end: duration.map(|duration| time.after(duration)), duration, ..transaction() };
    let destination = |address: &str| Some(address.parse().unwrap());
    let path = format!("/orders/{index}/items");
    let select = format!("SELECT id, name, total FROM orders WHERE id = {index} AND state IN ('open', 'paid') ORDER BY id LIMIT 10");
    Record::new(&match index % 4 {
        0 => Transaction { resource: &path, query: "GET api.shop/orders", ..base },
        1 => Transaction { resource: "/health", result: "503", status: "Error", ..base },
        2 => Transaction {
            protocol: "pgsql",
            destination: destination("10.0.0.9:5432"),
            query: &select,
            details: Details::None,
            result: "",
            ..base
        },
        _ => Transaction {
            protocol: "dns",
            destination: destination("127.0.0.53:53"),
            details: Details::Dns { name: "api.shop.local", kind: "A", code: "NOERROR", addresses: "10.0.0.9" },
            ..base
        },
    })
}

#[test]
fn all_tables_count_the_same_transactions() {
    let mut model = Model::default();
    (0..4000).for_each(|index| model.add(Arc::new(mixed(index))));
    let all = model.stats.all();
    assert_eq!((all.count, all.errors, all.durations.total()), (4000, 1000, 4000));
    let services = model.services.list();
    assert_eq!(services.iter().map(|service| service.stats.all().count).sum::<u64>(), 4000);
    let operations = services.iter().flat_map(|service| service.operations.list());
    let mut names: Vec<_> = operations.map(|of| (&*of.name, of.stats.all().count)).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            ("A", 1000),
            ("GET /health", 1000),
            ("GET /orders/{}/items", 1000),
            ("SELECT id, name, total FROM orders WHERE id = ? AND state IN (?) ORDER BY id LIMIT ?", 1000)
        ]
    );
    assert_eq!(model.edges.list().iter().map(Edge::count).sum::<u64>(), 4000);
    assert_eq!((model.dns.rows()[0].numbers.count, model.kept.len()), (1000, 4000));
    let mut merged = crate::view::histogram::Histogram::default();
    services.iter().for_each(|service| merged.merge(&service.stats.all().durations));
    assert_eq!(merged, all.durations, "percentiles of services can be merged");
}

#[test]
fn rates_need_the_time() {
    let mut model = Model::default();
    model.advance(TIME);
    assert_eq!((model.covered(), model.rate(&model.stats, Range::Minutes)), (Duration::ZERO, 0.0));
    // 10,000 transactions a second
    (0..100_000).for_each(|index| model.count_mixed(index));
    model.advance(Timestamp(TIME.0 + 9_999_999_999));
    assert_eq!(model.rate(&model.stats, Range::All).round(), 10_000.0);
    assert!((9_900.0..10_100.0).contains(&model.rate(&model.stats, Range::Minutes)));
    model.advance(Timestamp(TIME.0 + 20_200_000_000));
    assert_eq!(model.rate(&model.stats, Range::Minutes), 0.0, "nothing came in the last ten seconds");
}

impl Model {
    fn count_mixed(&mut self, index: u64) {
        mixed(index).with(|of| self.count(of));
    }
}

/// Prints the cost of a transaction. `cargo test --release -p sniffer --lib cost_of_a_transaction -- --ignored --nocapture`
#[test]
#[ignore = "prints a measurement"]
fn cost_of_a_transaction() {
    let records: Vec<_> = (0..20_000).map(|index| Arc::new(mixed(index))).collect();
    let mut model = Model::default();
    for _ in 0..3 {
        let start = Instant::now();
        records.iter().for_each(|record| model.add(record.clone()));
        let (add, start) = (start.elapsed(), Instant::now());
        let copies: Vec<Record> = records.iter().map(|record| record.with(Record::new)).collect();
        let (copy, count) = (start.elapsed(), records.len() as u32);
        eprintln!("model {:?}, copy {:?} a transaction, {} kept", add / count, copy / count, copies.len());
    }
}

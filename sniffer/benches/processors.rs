//! Measures the cost per event of each processor, with the options of its example in the documentation. It also measures the cost that all
//! processors share: making the tree of an event and writing it. `cargo bench -p sniffer --bench processors -- NAME` runs the benchmarks
//! whose name contains `NAME`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a benchmark that cannot be set up ends")]

use divan::{Bencher, black_box};
use sniffer::{
    config::{Node, Paths},
    enrich::HostData,
    event::{
        TRANSACTION,
        constants::Constants,
        tree::{Object, Tree},
    },
    opening::{Clock, Opening},
    processors::{Chain, Facts, Instances, Lists, PROCESSORS, Step},
    time::Timestamp,
};
use std::path::Path;

fn main() {
    divan::main();
}

/// A clock that always returns the same time.
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp(1_709_208_000_000_000_000)
    }
}

/// An HTTP transaction of ordinary size, with the fields that the examples read.
const EVENT: &str = r#"{"@timestamp":"2024-02-29T12:00:00.123Z","type":"http","status":"OK","method":"GET","message":"one two three four",
"event":{"kind":"event","category":["network"],"type":["connection","protocol"],"dataset":"http","start":"2024-02-29T12:00:00.123Z","end":"2024-02-29T12:00:00.456Z","duration":333000000},
"source":{"ip":"10.0.0.7","port":51021,"bytes":137},"destination":{"ip":"192.0.2.80","port":80,"bytes":9108,"domain":"www.example.co.uk"},
"client":{"ip":"10.0.0.7","port":51021,"bytes":137},"server":{"ip":"192.0.2.80","port":80,"bytes":9108,"domain":"www.example.co.uk"},
"network":{"type":"ipv4","transport":"tcp","protocol":"http","bytes":9245,"direction":"outbound"},
"related":{"ip":["10.0.0.7","192.0.2.80"],"hosts":["www.example.co.uk"]},"query":"GET /users/17",
"url":{"scheme":"http","domain":"www.example.co.uk","path":"/users/17","query":"a%20b=1","full":"http://www.example.co.uk/users/17?a%20b=1"},
"http":{"version":"1.1","request":{"method":"GET","bytes":137,"body":{"content":"{\"a\": [1, 2, 3]}"},"headers":{"content-length":16}},
"response":{"status_code":200,"status_phrase":"ok","bytes":9108,"body":{"bytes":8936},"headers":{"content-length":8936}}},
"agent":{"name":"bench","type":"packetbeat","version":"9.6.0"},"ecs":{"version":"8.0.0"},"host":{"name":"bench"},
"app":{"latency":"1h2m3.5s","time":"2024-02-29T12:00:00+01:00"},"payload":"H4sIAAAAAAACA8tIzcnJVyjPL8pJAQCFEUoNCwAAAA==","dns":{"resolved_ip":["192.0.2.80"]}}"#;

fn tree() -> Tree {
    Tree::new(serde_json::from_str::<Object>(EVENT).unwrap(), Noon.now(), 3)
}

/// The processors with an example.
fn names() -> Vec<&'static str> {
    PROCESSORS.iter().filter(|kind| !kind.example.is_empty()).map(|kind| kind.name).collect()
}

/// A processor on a tree that exists already. Making and dropping the tree is not measured.
#[divan::bench(args = names())]
fn processor(bencher: Bencher<'_, '_>, name: &'static str) {
    let kind = PROCESSORS.iter().find(|kind| kind.name == name).unwrap();
    let root = Node::parse(&format!("- {name}:\n    {}", kind.example.replace('\n', "\n    "))).unwrap();
    let paths = Paths::below(Path::new("/nonexistent"));
    let opening =
        Opening { node: &root, root: &root, paths: &paths, clock: &Noon, live: true, fields: TRANSACTION, connections: None, shared: None };
    let mut lists = Lists::default();
    let steps = lists.open(&opening);
    lists.finish().unwrap();
    // A chain applies its first processors once, at start, if they need no event. After this step, which needs an
    // event, the measured processor runs on every event.
    let first = [Step::Add(Constants::default())];
    let (facts, host_data) = (Facts::default(), HostData::gather());
    let chain = Chain::build(&facts, &host_data).processors(&first).processors(&steps).finish(true).unwrap();
    let mut instances = Instances::default();
    bencher.with_inputs(tree).bench_local_values(|mut tree| {
        _ = black_box(chain.run(&mut tree, &host_data, &mut instances));
        tree
    });
}

/// Measures the cost of a chain as soon as one processor runs on each event: parsing the written document to a tree,
/// and writing it again.
#[divan::bench]
fn building_and_writing_the_tree(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let mut tree = tree();
        black_box(serde_json::to_vec(&tree.finish()).unwrap())
    });
}

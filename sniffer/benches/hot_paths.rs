//! Benchmarks of the work done for every packet and every event: decoding, reassembly, each protocol from frame to document, and writing
//! a document. `cargo bench -p sniffer` runs them all, `cargo bench -p sniffer -- NAME` those whose path contains the name.
//!
//! The frames come from the golden captures. Every protocol in `PROTOCOLS` that has a golden capture is benchmarked. To compare whole
//! replays with those of another build, use `cargo xtask bench --against`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a benchmark that cannot be set up ends")]

use divan::{Bencher, black_box, counter::ItemsCount};
use sniffer::{
    capture::{Frame, Link, Polled, Source, file::FileSource},
    config::{Node, Paths},
    decode::Decoder,
    engine::{ClaimedPorts, Configured, Engine, Settings},
    event::{Head, Summary, TRANSACTION, Text},
    net::{Peers, Transport},
    opening::{Clock, Opening},
    protocols::PROTOCOLS,
    publish::{Deliver, HostData, Identity, Publisher, PublisherId, Publishers, Publishing, Record, Sink},
    stream::reassembly::{Piece, Reassembler},
    time::Timestamp,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

fn main() {
    divan::main();
}

/// A frame with its own copy of the bytes.
struct Kept {
    time: Timestamp,
    link: Link,
    data: Vec<u8>,
    wire_len: u32,
}

impl Kept {
    fn frame(&self) -> Frame<'_> {
        let Self { time, link, ref data, wire_len } = *self;
        Frame { time, link, data, wire_len, tag: None, ifindex: 0, segments: Default::default(), task: Default::default() }
    }
}

/// The frames of the golden captures of a protocol, one list per capture.
fn captures(protocol: &str) -> Vec<Vec<Kept>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/protocols").join(protocol);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "pcap" || e == "pcapng"));
    files.sort();
    files.iter().map(|path| frames(path)).collect()
}

fn frames(path: &Path) -> Vec<Kept> {
    let mut source = FileSource::open(path, Arc::default()).unwrap();
    let mut kept = Vec::new();
    let mut keep = |f: Frame<'_>| kept.push(Kept { time: f.time, link: f.link, data: f.data.to_vec(), wire_len: f.wire_len });
    while source.poll(Duration::ZERO, &mut keep).unwrap() != Polled::Ended {}
    kept
}

/// The protocols that have a golden capture.
fn protocols() -> Vec<&'static str> {
    PROTOCOLS.iter().map(|protocol| protocol.name).filter(|name| !captures(name).is_empty()).collect()
}

/// Decodes the headers of all frames of all golden captures. An item is a frame.
#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let frames: Vec<Kept> = PROTOCOLS.iter().flat_map(|protocol| captures(protocol.name)).flatten().collect();
    let mut decoder = Decoder::new();
    // Some captures have malformed frames on purpose.
    let decoded = frames.iter().filter(|kept| decoder.decode(&kept.frame()).is_ok()).count();
    assert!(decoded * 10 >= frames.len() * 9, "{decoded} of {} frames can be decoded", frames.len());
    bencher.counter(ItemsCount::new(frames.len())).bench_local(|| {
        for kept in &frames {
            // By reference: a copy of the packet would be measured too.
            black_box(&decoder.decode(&kept.frame()));
        }
    });
}

/// Payload of each segment in bytes.
const SEGMENT: u32 = 1448;
/// Number of segments of one direction.
const SEGMENTS: u32 = 1000;

/// Passes the segments with these numbers, in this order, to a new reassembler. An item is a segment.
fn reassemble(bencher: Bencher<'_, '_>, numbers: &[u32]) {
    let data = vec![7; SEGMENT as usize];
    let new = || {
        let mut reassembler = Reassembler::default();
        reassembler.begin(1);
        reassembler
    };
    let pass = |mut reassembler: Reassembler, each: &mut dyn FnMut(Piece<'_>)| {
        for number in numbers {
            reassembler.segment(1 + number * SEGMENT, &data, SEGMENT, Timestamp(0), each);
        }
        reassembler
    };
    let mut delivered = 0;
    pass(new(), &mut |piece| match piece {
        Piece::Data(bytes, _) => delivered += bytes.len(),
        Piece::Gap(lost) | Piece::Skipped(lost) => panic!("a gap of {lost} bytes"),
    });
    assert_eq!(delivered, (SEGMENT * SEGMENTS) as usize, "delivered bytes");
    // The reassembler is made before the measurement and dropped after it.
    bencher
        .counter(ItemsCount::new(SEGMENTS))
        .with_inputs(new)
        .bench_local_values(|reassembler| pass(reassembler, &mut |piece| _ = black_box(piece)));
}

/// Segments in order, so the reassembler keeps none of them back.
#[divan::bench]
fn reassembly_in_order(bencher: Bencher<'_, '_>) {
    reassemble(bencher, &(0..SEGMENTS).collect::<Vec<_>>());
}

/// In each pair of segments the second arrives before the first, so the reassembler keeps back every other segment.
#[divan::bench]
fn reassembly_swapped(bencher: Bencher<'_, '_>) {
    reassemble(bencher, &(0..SEGMENTS).map(|number| number ^ 1).collect::<Vec<_>>());
}

/// In each group of 100 segments the first arrives last, so the reassembler keeps back 99 segments.
#[divan::bench]
fn reassembly_late(bencher: Bencher<'_, '_>) {
    let late = |number: u32| if number % 100 == 99 { number - 99 } else { number + 1 };
    reassemble(bencher, &(0..SEGMENTS).map(late).collect::<Vec<_>>());
}

/// A clock that always returns the same time. No benchmark has a processor that reads the time.
struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
}

/// The publishing configuration of one publisher without processors.
fn publishing(publisher: Publisher) -> Arc<Publishing> {
    let (root, paths, id) = (Node::default(), Paths::below(Path::new("/nonexistent")), publisher.id);
    let opening = Opening {
        node: &root,
        root: &root,
        paths: &paths,
        clock: &Epoch,
        live: true,
        fields: TRANSACTION,
        connections: None,
        shared: None,
    };
    let publishers = Publishers::open(Identity::default(), &opening, &[publisher]).unwrap();
    Publishing::new(publishers, &[id], &root, &[], HostData::default()).unwrap()
}

/// An engine with this protocol alone, which claims all ports. Passes its records to `deliver`.
fn engine(name: &'static str, deliver: Deliver) -> Engine {
    let protocol = PROTOCOLS.iter().copied().find(|protocol| protocol.name == name).unwrap();
    let options = Node::parse("{send_request: true, send_response: true}").unwrap();
    let id = PublisherId(1);
    let publishing = publishing(Publisher {
        id,
        dataset: name,
        fields: [TRANSACTION, protocol.fields, &[]],
        summary: protocol.summary,
        settings: options.clone(),
    });
    let claimed = ClaimedPorts { ports: vec![(0, u16::MAX)], any: false };
    let settings = Settings::new(vec![Configured { id, protocol, options, claimed }], publishing);
    Engine::new(Arc::new(settings), deliver).unwrap()
}

/// Number of documents of a capture.
fn documents(name: &'static str, frames: &[Kept]) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let deliver = move |records: Vec<Record>| _ = counted.fetch_add(records.len(), Ordering::Relaxed);
    let mut engine = engine(name, Box::new(deliver));
    frames.iter().for_each(|kept| engine.frame(&kept.frame()));
    engine.flush();
    count.load(Ordering::Relaxed)
}

/// From frames to documents: decoding, connections, reassembly, the parser, its documents. An item is a frame. Transactions that wait for
/// the end of the input are not reported and not measured.
#[divan::bench(args = protocols())]
fn protocol(bencher: Bencher<'_, '_>, name: &'static str) {
    let captures = captures(name);
    let packets: usize = captures.iter().map(Vec::len).sum();
    assert!(captures.iter().any(|frames| documents(name, frames) > 0), "no capture of {name} gives a document");
    let engines = || captures.iter().map(|_| engine(name, Box::new(|records| _ = black_box(records)))).collect::<Vec<_>>();
    bencher.counter(ItemsCount::new(packets)).with_inputs(engines).bench_local_values(|mut engines| {
        for (engine, frames) in engines.iter_mut().zip(&captures) {
            frames.iter().for_each(|kept| engine.frame(&kept.frame()));
            engine.flush();
        }
        // The engines are dropped after the measurement.
        engines
    });
}

/// Writes the document of a transaction of ordinary size, with a batch for the queue after every 256. All transactions are of one
/// connection, so the community id is computed once.
#[divan::bench]
fn event(bencher: Bencher<'_, '_>) {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        redis: Fields<'a>,
    }
    #[derive(serde::Serialize)]
    struct Fields<'a> {
        return_value: Text<'a>,
    }
    let publishing = publishing(Publisher {
        id: PublisherId(1),
        dataset: "redis",
        fields: [TRANSACTION, &[], &[]],
        summary: Summary::HEAD,
        settings: Node::default(),
    });
    let mut sink = Sink::new(publishing, Box::new(|records| _ = black_box(records)));
    let peers = Peers::new("10.0.0.1:40000".parse().unwrap(), "10.0.0.2:6379".parse().unwrap(), Transport::Tcp);
    let head = Head {
        start: Some(Timestamp(1_700_000_000_000_000_000)),
        end: Some(Timestamp(1_700_000_000_001_000_000)),
        source_bytes: 31,
        destination_bytes: 11,
        method: Some(Text(b"GET")),
        resource: Some(Text(b"session:4711")),
        query: Some(Text(b"GET session:4711")),
        request: Some(Text(b"GET session:4711")),
        response: Some(Text(b"{\"user\": \"j\xc3\xb6rg\"}")),
        ..Head::new("redis")
    };
    let body = Body { redis: Fields { return_value: Text(b"{\"user\": \"j\xc3\xb6rg\"}") } };
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| sink.emit(PublisherId(1), &peers, black_box(&head), &body));
}

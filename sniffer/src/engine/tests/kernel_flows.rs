//! Tests of flows that the kernel counts: how the kernel's counts are added, and whether the reports equal those of
//! flows counted in user space.

use super::*;
use crate::{
    capture::{
        Polled, Segments, Source, Task, devices, ebpf,
        file::FileSource,
        filter::{Counting, FilterSpec, Filters, Ports, Transports},
        options::{HookSetting, Interface, Kind},
        testing::{self, Sender, in_a_network},
    },
    net::{Count, FlowDelta},
};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use std::{collections::BTreeMap, path::Path};

#[test]
fn flows_counted_in_the_kernel_are_reported_like_others() {
    let mut b = Bench::new(settings(&[], Some("{period: 10s, timeout: 30s}")));
    b.engine = b.engine.with_kernel_flows(3, Duration::from_secs(2));
    b.at(9);
    let start = b.now;
    let delta = |packets: u64, end: u64| FlowDelta {
        vlans: Vlans::default(),
        source: "10.0.0.1".parse().unwrap(),
        destination: "10.0.0.2".parse().unwrap(),
        ports: Some((Transport::Udp, 4000, 53)),
        connection: None,
        macs: None,
        icmp: None,
        count: Count { packets, bytes: 100 * packets },
        start: Timestamp(start),
        end: Timestamp(start + end * SECOND),
    };
    b.engine.exchange(&*b.control);
    assert_eq!(b.control_calls(), [Call::DrainFlows(3, false)]);
    b.control.answers(|answers| answers.flows = vec![delta(2, 0), delta(3, 1)]);
    b.at(1);
    b.engine.exchange(&*b.control);
    b.at(20);
    b.engine.flush();
    let reports = |b: &Bench| -> Vec<(Option<bool>, Option<u64>)> {
        b.documents.lock().unwrap().drain(..).map(|d| (d["flow"]["final"].as_bool(), d["source"]["packets"].as_u64())).collect()
    };
    let periodic = reports(&b);
    assert!(!periodic.is_empty() && periodic.iter().all(|report| *report == (Some(false), Some(5))), "{periodic:?}");
    // The flow timed out after 31 s, but the kernel's counts may be 2 s late.
    b.at(12);
    b.control.answers(|answers| answers.flows = vec![delta(1, 30)]);
    b.engine.exchange(&*b.control);
    b.engine.finish(&*b.control);
    assert_eq!(reports(&b).last(), Some(&(Some(true), Some(6))), "the late count is in the same flow");
    assert_eq!(b.control.take().last(), Some(&Call::DrainFlows(3, true)));

    let mut b = Bench::new(settings(&[(1, "redis", "{}", &[6379])], Some("{}")));
    b.at(100);
    b.engine.finish(&*b.control);
    assert_eq!(b.control.take(), [], "the kernel counts no flows");
}

#[test]
fn a_head_is_only_counted() {
    let mut b = Bench::new(settings(&[(1, "redis", "{}", &[6379])], Some("{}")));
    let packet = [
        &[0x45, 0, 0, 46, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0x18, 0xeb][..],
        &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0],
        b"PING\r\n",
    ]
    .concat();
    for task in [Task::Count(Some(7)), Task::Parse] {
        let (time, wire_len) = (Timestamp(b.now), packet.len() as u32);
        b.engine.frame(&Frame {
            time,
            link: Link::RawIp,
            data: &packet,
            wire_len,
            tag: None,
            ifindex: 0,
            segments: Segments::default(),
            task,
        });
        let connections = if task == Task::Parse { 1 } else { 0 };
        assert_eq!((b.counter("tcp.connections"), b.counter("flows.created")), (Some(connections), Some(1)), "{task:?}");
    }
    b.engine.finish(&*b.control);
    let id = BASE64_STANDARD_NO_PAD.decode(b.documents.lock().unwrap()[0]["flow"]["id"].as_str().unwrap()).unwrap();
    assert!(id.ends_with(&7_u64.to_le_bytes()), "{id:?}: the connection number of the head is the last part of the id");
}

/// A capture and the engines of its workers.
struct Side {
    sources: Vec<Box<dyn Source>>,
    engines: Vec<Engine>,
    control: Arc<dyn Control>,
    documents: Arc<Mutex<Vec<Value>>>,
}

/// The filters of a capture of HTTP on port 80 and UDP on port [`testing::WANTED`] with flows. With `entries` the kernel counts up to that many flows.
fn filters(entries: Option<u32>, user: Option<&str>) -> Filters {
    let spec = FilterSpec {
        ports: vec![Ports::one(80, Transports::Tcp), Ports::one(testing::WANTED, Transports::Udp)],
        user_expression: user.map(str::to_owned),
        everything: true,
        ..FilterSpec::default()
    };
    let counting = entries.map(|entries| {
        let filters = Filters::new(&FilterSpec { everything: false, ..spec.clone() }).unwrap();
        Arc::new(Counting {
            filters,
            tcp_ports: vec![(80, 80)],
            output_ports: Vec::new(),
            entries,
            timeout: Duration::from_secs(30),
            ethernet: true,
        })
    });
    Filters { counting, ..Filters::new(&spec).unwrap() }
}

impl Side {
    fn open(hook: HookSetting, filters: &Filters, buffer_size_mb: u64) -> Self {
        let interface = Interface { hook, buffer_size_mb, ..testing::interface("vb", Kind::Ebpf) };
        let (sources, control) = ebpf::open(&interface, &devices::resolve("vb").unwrap(), filters, true).unwrap();
        assert_eq!(control.counts_flows(), filters.counting.is_some());
        let documents: Arc<Mutex<Vec<Value>>> = Arc::default();
        let engines = (0..sources.len()).map(|worker| {
            let seen = documents.clone();
            let deliver = Box::new(move |batch: Vec<crate::publish::Record>| {
                seen.lock().unwrap().extend(batch.iter().map(|record| serde_json::from_slice::<Value>(&record.body).unwrap()));
            });
            let settings = settings(&[(1, "http", "{}", &[80])], Some("{period: -1s}"));
            let engine = Engine::new(Arc::new(settings), deliver).unwrap();
            if filters.counting.is_some() { engine.with_kernel_flows(worker, ebpf::LAG) } else { engine }
        });
        Self { engines: engines.collect(), sources, control, documents }
    }

    fn poll(&mut self) {
        for (source, engine) in self.sources.iter_mut().zip(&mut self.engines) {
            while source.poll(Duration::from_millis(1), &mut |frame| engine.frame(&frame)).unwrap() != Polled::Idle {}
            engine.exchange(&*self.control);
        }
    }

    /// The final reports of all flows, without times, and how often each occurs.
    fn finish(mut self) -> BTreeMap<String, usize> {
        self.poll();
        self.engines.iter_mut().for_each(|engine| engine.finish(&*self.control));
        let mut reports = BTreeMap::new();
        for mut document in self.documents.lock().unwrap().drain(..).filter(|document| document["type"] == "flow") {
            let id = BASE64_STANDARD_NO_PAD.decode(document["flow"]["id"].as_str().unwrap()).unwrap();
            // The id of a flow ends with the number of the flow's TCP connection if a bit in the second byte is set.
            // This number differs between the two runs, so it is left out.
            let id = if id[1] & 8 != 0 { &id[..id.len() - 8] } else { &id[..] };
            document["flow"]["id"] = Value::from(format!("{id:x?}"));
            let parts = ["flow", "source", "destination", "network"].map(|part| document[part].to_string());
            *reports.entry(parts.join(" ")).or_default() += 1;
        }
        reports
    }
}

/// The Ethernet frames of captures in `tests/`, whole and up to the MTU of the devices.
fn frames(files: &[&str]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for file in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(file);
        let mut source = FileSource::open(&path, Arc::default()).unwrap();
        let mut each = |frame: Frame<'_>| {
            if frame.link == Link::Ethernet && frame.data.len() == frame.wire_len as usize && (14..=9014).contains(&frame.data.len()) {
                frames.push(frame.data.to_vec());
            }
        };
        while source.poll(Duration::ZERO, &mut each).unwrap() != Polled::Ended {}
    }
    assert!(frames.len() > 10, "{} frames in {files:?}", frames.len());
    frames
}

/// Sends frames to captures of which one counts in the kernel and the other one in user space, and compares the reports.
fn compare(hook: HookSetting, user_expression: Option<&str>, entries: u32, frames: &[Vec<u8>]) {
    let mut kernel = Side::open(hook, &filters(Some(entries), user_expression), 32);
    let mut user = Side::open(HookSetting::Socket, &filters(None, user_expression), 32);
    let sender = Sender::new("va");
    for part in frames.chunks(200) {
        part.iter().for_each(|frame| sender.send(frame));
        kernel.poll();
        user.poll();
    }
    kernel.poll();
    let stats = kernel.control.stats().unwrap();
    let passed = if user_expression.is_some() { stats.matched() } else { stats.seen };
    assert_eq!((stats.seen, stats.lost, stats.uncounted), (frames.len() as u64, 0, 0), "{stats:?}");
    if entries > 2 {
        assert!(stats.headers < passed / 2, "the kernel counts most packets: {stats:?}");
    } else {
        assert!(stats.headers > passed / 4, "the kernel has room for two flows: {stats:?}");
    }
    assert_eq!(user.control.stats().unwrap().lost, 0);
    let (kernel, user) = (kernel.finish(), user.finish());
    let only = |a: &BTreeMap<String, usize>, b: &BTreeMap<String, usize>| {
        let differing = a.iter().filter(|(report, count)| b.get(*report) != Some(count));
        differing.map(|(report, count)| format!("{count} x {report}")).collect::<Vec<_>>().join("\n")
    };
    let (of_kernel, of_user) = (only(&kernel, &user), only(&user, &kernel));
    assert!(kernel == user, "{hook:?} {user_expression:?} {entries}\nkernel:\n{of_kernel}\nuser space:\n{of_user}");
    assert!(user.len() > 3, "{user:?}");
}

const CAPTURES: &[&str] = &[
    "flows/tcp.pcap",
    "flows/udp.pcap",
    "flows/icmp.pcap",
    "flows/ipv6.pcap",
    "flows/sctp.pcap",
    "flows/vlan.pcap",
    "flows/ip_in_ip.pcap",
    "flows/fragments.pcap",
];

#[test]
fn reports_of_both_tables_are_the_same() {
    in_a_network("reports_of_both_tables_are_the_same", || {
        let frames = frames(CAPTURES);
        for hook in [HookSetting::Xdp, HookSetting::Tc, HookSetting::Socket] {
            compare(hook, None, 4096, &frames);
        }
        compare(HookSetting::Tc, Some("udp or icmp"), 4096, &frames);
    });
}

#[test]
fn a_full_table_loses_no_count() {
    in_a_network("a_full_table_loses_no_count", || compare(HookSetting::Tc, None, 2, &frames(CAPTURES)));
}

/// Floods rings that are too small. The counters must account for every packet, and every packet must be in a flow or
/// in `flows.uncounted`.
fn add_up(hook: HookSetting, user_expression: Option<&str>, entries: u32) {
    const PACKETS: usize = 20_000;
    const FLOWS: u16 = 100;
    let mut side = Side::open(hook, &filters(Some(entries), user_expression), 0);
    let sender = Sender::new("va");
    // Every tenth packet is wanted by a parser; the others are only counted.
    let frames: Vec<_> =
        (0..FLOWS).map(|from| testing::udp(&[], from, if from % 10 == 0 { testing::WANTED } else { testing::OTHER }, 200)).collect();
    (0..PACKETS).for_each(|n| sender.send(&frames[n % frames.len()]));
    side.poll();
    let stats = side.control.stats().unwrap();
    let mut frames = 0;
    for engine in &side.engines {
        engine.counters(&mut |name, n| frames += if name == "capture.frames" { n } else { 0 });
    }
    let what = format!("{hook:?} {user_expression:?} {entries}: {stats:?}, {frames} frames");
    assert_eq!(stats.seen, PACKETS as u64, "{what}");
    assert_eq!(stats.unmatched, PACKETS as u64 / 10 * 9, "{what}");
    assert_eq!(stats.seen, stats.shunted + stats.unmatched + stats.copied + stats.lost, "{what}");
    assert_eq!(stats.copied + stats.headers, frames, "{what}");
    assert_eq!(stats.copied_bytes, stats.copied * 242, "{what}");
    assert!(stats.lost > 0, "the ring was large enough: {what}");
    assert_eq!(stats.uncounted > 0, entries < u32::from(FLOWS), "{what}");
    let documents = side.documents.clone();
    side.engines.iter_mut().for_each(|engine| engine.finish(&*side.control));
    let documents = documents.lock().unwrap();
    let flows = documents.iter().filter(|document| document["type"] == "flow");
    let counted: u64 = flows.map(|flow| flow["network"]["packets"].as_u64().unwrap()).sum();
    let expected = if user_expression.is_some() { stats.matched() } else { stats.seen };
    assert_eq!(counted + stats.uncounted, expected, "{what}");
}

#[test]
fn counters_add_up_when_rings_are_too_small() {
    in_a_network("counters_add_up_when_rings_are_too_small", || {
        for hook in [HookSetting::Xdp, HookSetting::Tc, HookSetting::Socket] {
            add_up(hook, None, 1024);
            add_up(hook, None, 10);
        }
        add_up(HookSetting::Tc, Some("udp port 9999"), 1024);
        add_up(HookSetting::Tc, Some("udp port 9999"), 1);
    });
}

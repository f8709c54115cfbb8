//! Tests of the flow table: keys and `flow.id`, expiry and periodic reports in packet time, and eviction.

use super::*;
use crate::{
    capture::{Frame, Link, Segments},
    decode::Decoder,
    net::TunnelKey,
    protocols::declaration_tests::faults,
};
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// A table, and the documents that it reported.
struct Bench {
    decoder: Decoder,
    table: FlowTable,
    sink: Sink,
    documents: Arc<Mutex<Vec<Value>>>,
}

impl Bench {
    fn new(table: FlowTable) -> Self {
        let documents: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = Arc::clone(&documents);
        let sink = Sink::bare(Box::new(move |bytes| {
            let document = serde_json::from_slice(bytes).unwrap();
            assert_eq!(faults(&document), Vec::<String>::new(), "{document}");
            kept.lock().unwrap().push(document);
        }));
        Self { decoder: Decoder::new(), table, sink, documents }
    }

    fn frame(&mut self, seconds: f64, link: Link, data: &[u8], wire_len: u32, connection: Option<u64>) {
        let time = Timestamp((seconds * 1e9) as u64);
        let frame = Frame { time, link, data, wire_len, tag: None, ifindex: 0, segments: Segments::default(), task: Default::default() };
        if let Ok(packet) = self.decoder.decode(&frame) {
            self.table.packet(&packet, connection);
        }
    }

    fn ethernet(&mut self, seconds: f64, data: &[u8]) {
        self.frame(seconds, Link::Ethernet, data, data.len() as u32, None);
    }

    fn report(&mut self, seconds: f64) -> Vec<Value> {
        self.table.report(Timestamp((seconds * 1e9) as u64), &mut self.sink, PublisherId::FLOWS);
        std::mem::take(&mut self.documents.lock().unwrap())
    }

    fn finish(&mut self) -> Vec<Value> {
        self.table.finish(Timestamp(0), &mut self.sink, PublisherId::FLOWS, &mut || true);
        std::mem::take(&mut self.documents.lock().unwrap())
    }

    fn counter(&self, name: &str) -> u64 {
        self.table.counters().find(|c| c.0 == name).unwrap().1
    }
}

fn strict() -> Bench {
    Bench::new(FlowTable::new(Options::default(), true))
}

fn live(options: Options) -> Bench {
    Bench::new(FlowTable::new(options, false))
}

const A: [u8; 6] = [0xa0, 0x88, 0xb4, 0x15, 0xc8, 0x90];
const B: [u8; 6] = [0x00, 0x1e, 0x68, 0x37, 0x90, 0xf1];
const C: [u8; 6] = [0x00, 0x00, 0x5e, 0x00, 0x01, 0x01];

/// An Ethernet frame with VLAN tags `tags`, an IPv4 header for each pair of `ips`, and a TCP header.
fn tcp(from: [u8; 6], to: [u8; 6], tags: &[u16], ips: &[([u8; 4], [u8; 4])], ports: (u16, u16)) -> Vec<u8> {
    let mut frame = [to, from].concat();
    for tag in tags {
        frame.extend([0x81, 0]);
        frame.extend(tag.to_be_bytes());
    }
    frame.extend([8, 0]);
    for (i, (source, destination)) in ips.iter().enumerate() {
        let left = ips.len() - i;
        frame.extend([0x45, 0, 0, left as u8 * 20 + 20, 0, 0, 0, 0, 64, if left == 1 { 6 } else { 4 }, 0, 0]);
        frame.extend(source);
        frame.extend(destination);
    }
    frame.extend(ports.0.to_be_bytes());
    frame.extend(ports.1.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    frame
}

fn simple(from: u16) -> Vec<u8> {
    tcp(A, B, &[], &[([10, 0, 0, 9], [10, 0, 0, 6])], (from, 80))
}

#[test]
fn the_id_of_the_first_example() {
    let mut bench = strict();
    bench.ethernet(1.0, &tcp(A, B, &[1], &[([10, 0, 0, 9], [10, 0, 0, 6])], (60335, 8080)));
    let [flow] = &bench.finish()[..] else { panic!("one flow") };
    assert_eq!(flow["flow"]["id"], "FQQA/wz/Dv//////Fv8BAQEAHmg3kPGgiLQVyJABAAoAAAYKAAAJkB+v6w");
    assert_eq!(flow["source"]["mac"], "A0-88-B4-15-C8-90");
    assert_eq!(flow["source"]["ip"], "10.0.0.9");
    assert_eq!(flow["source"]["port"], 60335);
    assert_eq!(flow["flow"]["vlan"], 1);
    assert_eq!(flow["destination"].get("packets"), None, "{flow}");
}

#[test]
fn the_id_of_the_second_example() {
    let mut packet = vec![30, 0, 0, 0, 0x60, 0, 0, 0, 0, 20, 6, 64];
    packet.extend([0; 15]);
    packet.extend([1]);
    packet.extend([0; 15]);
    packet.extend([2, 0x1f, 0x90, 0xc0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    let mut bench = strict();
    bench.frame(1.0, Link::Null, &packet, packet.len() as u32, Some(1));
    bench.frame(1.1, Link::Null, &packet, packet.len() as u32, Some(2));
    let [flow, next] = &bench.finish()[..] else { panic!("another connection is another flow") };
    let id = |flow: &Value| base64::Engine::decode(&base64::prelude::BASE64_STANDARD_NO_PAD, flow["flow"]["id"].as_str().unwrap()).unwrap();
    let bytes = id(flow);
    assert_eq!(bytes[..2], [0x40, 0x0c]);
    assert_eq!(bytes[2..17], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 32, 36, 0, 0, 1]);
    assert_eq!(bytes[17 + 36..], [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(id(next)[17 + 36..], [2, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn both_directions_meet() {
    let mut bench = strict();
    bench.ethernet(1.0, &tcp(A, B, &[], &[([10, 0, 0, 9], [10, 0, 0, 6])], (1000, 80)));
    bench.ethernet(1.25, &tcp(B, A, &[], &[([10, 0, 0, 6], [10, 0, 0, 9])], (80, 1000)));
    bench.ethernet(1.5, &tcp(A, B, &[], &[([10, 0, 0, 9], [10, 0, 0, 6])], (1000, 80)));
    bench.ethernet(1.5, &tcp(A, B, &[], &[([10, 0, 0, 9], [10, 0, 0, 6])], (1001, 80)));
    let flows = bench.finish();
    assert_eq!(flows.len(), 2, "{flows:#?}");
    let flow = &flows[0];
    assert_eq!((&flow["source"]["packets"], &flow["source"]["bytes"]), (&Value::from(2), &Value::from(108)));
    assert_eq!((&flow["destination"]["packets"], &flow["destination"]["bytes"]), (&Value::from(1), &Value::from(54)));
    assert_eq!((&flow["network"]["packets"], &flow["network"]["bytes"]), (&Value::from(3), &Value::from(162)));
    assert_eq!(flow["event"]["start"], "1970-01-01T00:00:01.000Z");
    assert_eq!(flow["event"]["end"], "1970-01-01T00:00:01.500Z");
    assert_eq!(flow["event"]["duration"], 500_000_000);
    assert_eq!(flow["event"]["type"], serde_json::json!(["connection", "end"]));
}

#[test]
fn asymmetric_routes_are_one_flow() {
    let there = tcp(A, B, &[], &[([10, 0, 0, 9], [10, 0, 0, 6])], (1000, 80));
    let back = tcp(C, A, &[], &[([10, 0, 0, 6], [10, 0, 0, 9])], (80, 1000));
    let mut bench = strict();
    bench.ethernet(1.0, &there);
    bench.ethernet(1.1, &back);
    bench.ethernet(1.2, &there);
    bench.ethernet(1.3, &back);
    let [flow] = &bench.finish()[..] else { panic!("one flow") };
    assert_eq!(flow["network"]["packets"], 4);
    assert_eq!(flow["source"]["mac"], "A0-88-B4-15-C8-90");
    assert_eq!(flow["destination"]["mac"], "00-1E-68-37-90-F1");
}

#[test]
fn both_sides_of_a_router_are_two_flows() {
    let (there, back) = ([([10, 0, 0, 9], [10, 0, 0, 6])], [([10, 0, 0, 6], [10, 0, 0, 9])]);
    for mismatched in [false, true] {
        let mut bench = live(Options { allow_mismatched_eth: mismatched, ..Options::default() });
        bench.ethernet(1.0, &tcp(A, B, &[], &there, (1000, 80)));
        bench.ethernet(1.0, &tcp(B, C, &[], &there, (1000, 80)));
        bench.ethernet(1.1, &tcp(C, B, &[], &back, (80, 1000)));
        bench.ethernet(1.1, &tcp(B, A, &[], &back, (80, 1000)));
        let flows = bench.finish();
        if mismatched {
            assert_eq!(flows.len(), 1, "{flows:#?}");
            assert_eq!(flows[0]["source"].get("mac"), None);
            assert!(flows[0]["flow"]["id"].as_str().unwrap().starts_with("EAT/////AP//////CP8AAAE"), "{}", flows[0]);
        } else {
            let packets: Vec<_> = flows.iter().map(|f| (f["source"]["packets"].clone(), f["destination"]["packets"].clone())).collect();
            assert_eq!(packets, [(1.into(), 1.into()), (1.into(), 1.into())], "{flows:#?}");
        }
    }
}

#[test]
fn many_tags_and_headers() {
    let ips = [([1, 0, 0, 1], [1, 0, 0, 2]), ([2, 0, 0, 2], [2, 0, 0, 1]), ([3, 0, 0, 1], [3, 0, 0, 2])];
    let back: Vec<_> = ips.iter().map(|(a, b)| (*b, *a)).collect();
    let mut bench = strict();
    bench.ethernet(1.0, &tcp(A, B, &[7, 8, 9], &ips, (1, 2)));
    bench.ethernet(1.0, &tcp(B, A, &[7, 8, 9], &back, (2, 1)));
    let [flow] = &bench.finish()[..] else { panic!("one flow") };
    assert_eq!(flow["flow"]["vlan"], serde_json::json!([8, 9]));
    assert_eq!(flow["source"]["ip"], serde_json::json!(["2.0.0.2", "3.0.0.1"]));
    let id = base64::Engine::decode(&base64::prelude::BASE64_STANDARD_NO_PAD, flow["flow"]["id"].as_str().unwrap()).unwrap();
    assert_eq!(id[..17], [0x1f, 0x04, 0, 14, 12, 24, 16, 0xff, 0xff, 0xff, 0xff, 0xff, 32, 0xff, 1, 3, 3]);
    // The third VLAN id replaced the first. The receiver comes first, because it has the smaller Ethernet address.
    assert_eq!(id[29..], [9, 0, 8, 0, 3, 0, 0, 2, 3, 0, 0, 1, 2, 0, 0, 1, 2, 0, 0, 2, 2, 0, 1, 0]);
}

#[test]
fn without_ip_there_are_only_ethernet_addresses() {
    let mut bench = strict();
    bench.ethernet(1.0, &[&A[..], &B, &[0x88, 0x47, 0, 0, 1, 0x40]].concat());
    bench.ethernet(1.0, &[&B[..], &A, &[0x88, 0x47, 0, 0, 1, 0x40]].concat());
    let [flow] = &bench.finish()[..] else { panic!("one flow") };
    assert_eq!(flow["flow"]["id"], "AQAA//////////////8BAAAAHmg3kPGgiLQVyJA", "{flow}");
    assert_eq!(flow["source"]["packets"], 1);
    assert_eq!(flow["destination"]["packets"], 1);
    assert_eq!(flow["network"].get("type"), None);
}

#[test]
fn flows_expire_by_packet_time() {
    let mut bench = live(Options { period: None, ..Options::default() });
    bench.ethernet(100.0, &simple(1));
    bench.ethernet(110.0, &simple(2));
    bench.ethernet(120.0, &simple(1));
    assert!(bench.report(140.0).is_empty(), "30 s after the last packet, not earlier");
    let over = bench.report(140.1);
    assert_eq!(over.len(), 1);
    assert_eq!((&over[0]["source"]["port"], &over[0]["flow"]["final"]), (&Value::from(2), &Value::from(true)));
    assert_eq!(bench.report(150.1).len(), 1);
    assert!(bench.table.is_empty());
    // `report` was not called for longer than the time-out: the packets still belong to two flows.
    bench.ethernet(200.0, &simple(3));
    bench.ethernet(300.0, &simple(3));
    let over = bench.report(300.0);
    assert_eq!(over.len(), 1, "{over:#?}");
    assert_eq!(over[0]["event"]["end"], "1970-01-01T00:03:20.000Z");
    assert_eq!(bench.finish().len(), 1);
    assert_eq!((bench.counter("flows.created"), bench.counter("flows.expired"), bench.counter("flows.reports")), (4, 3, 4));
    // All packets are TCP. Bytes and packets are counted by transport, also those of flows that have ended.
    let traffic: Vec<_> = bench.table.counters().filter(|c| c.0.matches('.').count() == 2).collect();
    assert!(matches!(traffic.as_slice(), [("flows.packets.tcp", 1..), ("flows.bytes.tcp", 1..)]), "{traffic:?}");
}

#[test]
fn reports_every_period() {
    for delta in [false, true] {
        let mut bench = live(Options { enable_delta_flow_reports: delta, ..Options::default() });
        let mut packets = Vec::new();
        bench.ethernet(100.0, &simple(1));
        for tenth in 1000..1600 {
            let seconds = f64::from(tenth) / 10.0;
            if tenth == 1150 {
                bench.ethernet(seconds, &simple(1));
            }
            packets.extend(bench.report(seconds).iter().map(|f| (f["flow"]["final"] == true, f["network"]["packets"].as_u64())));
        }
        let none = if delta { None } else { Some(2) };
        let (first, second) = (Some(1), if delta { Some(1) } else { Some(2) });
        assert_eq!(packets, [(false, first), (false, second), (false, none), (false, none), (true, none)], "delta {delta}");
    }
}

#[test]
fn a_full_table_evicts_idle_flows() {
    let mut bench = Bench::new(FlowTable::with_room_for(Options { period: None, ..Options::default() }, false, 4));
    for port in 1..=4 {
        bench.ethernet(f64::from(port), &simple(port));
    }
    bench.ethernet(5.0, &simple(1));
    bench.ethernet(6.0, &simple(5));
    bench.ethernet(7.0, &simple(6));
    let ports: Vec<_> = bench.report(7.0).iter().map(|f| f["source"]["port"].clone()).collect();
    assert_eq!(ports, [2, 3]);
    assert_eq!((bench.table.len(), bench.counter("flows.evicted")), (4, 2));
    assert_eq!(bench.finish().len(), 4);
}

#[test]
fn with_strict_flows_are_reported_at_the_end() {
    let mut bench = strict();
    for seconds in [1.0, 100.0, 1000.0] {
        bench.ethernet(seconds, &simple(1));
        assert!(bench.report(seconds).is_empty());
    }
    let [flow] = &bench.finish()[..] else { panic!("one flow") };
    assert_eq!(flow["network"]["packets"], 3);
}

#[test]
fn tunnel_keys_keep_flows_apart() {
    let mut bench = strict();
    let data = simple(1);
    for tunnels in [[0, 0], [7, 0], [7, 9], [7, 0]] {
        let frame = Frame {
            time: Timestamp(1),
            link: Link::Ethernet,
            data: &data,
            wire_len: 54,
            tag: None,
            ifindex: 0,
            segments: Segments::default(),
            task: Default::default(),
        };
        let mut packet = bench.decoder.decode(&frame).unwrap();
        packet.realm.tunnels = tunnels.map(TunnelKey);
        bench.table.packet(&packet, None);
    }
    let flows = bench.finish();
    let packets: Vec<_> = flows.iter().map(|f| f["source"]["packets"].clone()).collect();
    assert_eq!(packets, [1, 2, 1], "{flows:#?}");
    let id = |flow: &Value| base64::Engine::decode(&base64::prelude::BASE64_STANDARD_NO_PAD, flow["flow"]["id"].as_str().unwrap()).unwrap();
    let (plain, inner) = (id(&flows[0]), id(&flows[2]));
    assert_eq!(inner[..plain.len()], plain, "what Packetbeat's id has is unchanged");
    assert_eq!(inner[plain.len()..], [7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    for flow in &flows {
        assert_eq!(flow["source"]["port"], 1, "{flow}");
    }
}

#[test]
fn every_segment_of_a_frame_is_a_packet() {
    let mut bench = strict();
    let frame = |data, segments| Frame {
        time: Timestamp(1),
        link: Link::Ethernet,
        data,
        wire_len: 3054,
        tag: None,
        ifindex: 0,
        segments,
        task: Default::default(),
    };
    let ips = [([10, 0, 0, 9], [10, 0, 0, 6])];
    // The length field is 0: the datagram extends to the end of the frame.
    let mut there = tcp(A, B, &[], &ips, (1000, 80));
    there[16..18].fill(0);
    for segments in [Segments::Count(3), Segments::OfSize(1448), Segments::default()] {
        let packet = bench.decoder.decode(&frame(&there, segments)).unwrap();
        bench.table.packet(&packet, None);
    }
    let [flow] = &bench.finish()[..] else { panic!("one flow") };
    let all = 3054 * 3 + 2 * 54 + 2 * 54;
    assert_eq!((&flow["source"]["packets"], &flow["source"]["bytes"]), (&Value::from(7), &Value::from(all)), "{flow:#}");
    assert_eq!((&flow["network"]["packets"], &flow["network"]["bytes"]), (&Value::from(7), &Value::from(all)), "{flow:#}");
}

#[test]
fn flows_that_cannot_be_reported_in_time_are_counted() {
    let mut bench = strict();
    for port in 0..1000 {
        bench.ethernet(1.0, &tcp(A, B, &[], &[([10, 0, 0, 9], [10, 0, 0, 6])], (10_000 + port, 80)));
    }
    let mut looks = 0;
    let mut goes_on = || {
        looks += 1;
        looks <= 2
    };
    bench.table.finish(Timestamp(0), &mut bench.sink, PublisherId::FLOWS, &mut goes_on);
    let reported = bench.documents.lock().unwrap().len() as u64;
    assert_eq!((looks, reported), (3, 2 * 256));
    assert_eq!((bench.counter("flows.reports"), bench.counter("flows.unreported")), (reported, 1000 - reported));
    assert!(bench.table.is_empty());
}

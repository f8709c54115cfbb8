//! Fuzzes the decoder and the flow table. Input: the link type (one byte), then for each frame a control byte (time step, snap length, VLAN
//! tag, interface, segments), its length (two bytes) and its bytes.

use super::{Documents, Input};
use sniffer::{
    capture::{Frame, Link, Segments, StrippedTag},
    decode::{Decoder, Layer4},
    flow::{options::Options, table::FlowTable},
    publish::PublisherId,
    time::Timestamp,
};
use std::time::Duration;

const LINKS: [Link; 5] = [Link::Ethernet, Link::RawIp, Link::LinuxSll, Link::LinuxSll2, Link::Null];

/// Checks that each frame makes at most one flow, and that each flow has at most one report per call of `report` and
/// one at the end.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let link = LINKS[usize::from(input.byte()) % LINKS.len()];
    let documents = Documents::default();
    let (mut decoder, mut flows, mut sink) = (Decoder::new(), FlowTable::new(Options::default(), false), documents.sink());
    let (mut frames, mut reports, mut now) = (0, 1, Timestamp(1_700_000_000_000_000_000));
    while !input.is_empty() {
        let (how, len) = (input.byte(), input.short());
        let data = input.bytes(len.into());
        now = now.after(Duration::from_millis([0, 1, 1000, 40_000][usize::from(how & 3)]));
        let cut = if how & 4 == 0 { 0 } else { u32::from(how) << 4 };
        let tag = (how & 8 != 0).then_some(StrippedTag { tpid: 0x8100, tci: 7 });
        let segments = match how >> 5 {
            0..4 => Segments::default(),
            n @ 4..6 => Segments::Count(u32::from(n)),
            n => Segments::OfSize(u32::from(n) * 100),
        };
        let frame = Frame {
            time: now,
            link,
            data,
            wire_len: data.len() as u32 + cut,
            tag,
            ifindex: u32::from(how & 16),
            segments,
            task: Default::default(),
        };
        frames += 1;
        if let Ok(packet) = decoder.decode(&frame) {
            assert!(packet.ips.kept().len() <= usize::from(packet.ips.count()).min(4), "{packet:?}");
            let payload = match packet.layer4 {
                Layer4::Tcp(tcp) => Some((tcp.payload.len(), tcp.wire_payload)),
                _ => None,
            };
            if let Some((captured, wire)) = payload {
                assert!(captured <= wire as usize, "{captured} bytes were captured of {wire}");
            }
            packet.ends();
            flows.packet(&packet, None);
        }
        assert!(flows.len() <= frames, "{} flows of {frames} frames", flows.len());
        if how & 3 > 1 {
            reports += 1;
            flows.report(now, &mut sink, PublisherId::FLOWS);
        }
    }
    flows.finish(now, &mut sink, PublisherId::FLOWS, &mut || true);
    documents.check(frames * reports);
    assert_eq!(decoder.counters().count(), 16, "the number of counters changed");
}

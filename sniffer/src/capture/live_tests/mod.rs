//! Live capture in network namespaces that the tests create: tests that apply to every backend.

mod device;
mod expressions;
mod filter;

use super::{
    Frame, Link, Polled, Source,
    afpacket::{self, SocketFilter},
    devices,
    ebpf::sys::{SOCKET_FILTER, load},
    filter::{Filters, ebpf::Insn},
    libpcap::{self, Libpcap},
    open::{self, Backend, Capture},
    options::{HookSetting, Interface, Kind, Replay},
    slot::Slot,
    testing::*,
};
use std::{collections::BTreeMap, io::Write, net::UdpSocket, os::fd::OwnedFd, sync::Arc};

fn opened(interface: &Interface, filters: &Filters) -> Capture {
    open::open(interface, &Replay::default(), filters).unwrap()
}

/// Settings for every backend and hook on one device, each with a name.
fn every_way(device: &str) -> Vec<(String, Interface)> {
    let ebpf = [HookSetting::Xdp, HookSetting::Tc, HookSetting::Socket];
    let mut ways: Vec<_> =
        ebpf.iter().map(|&hook| (format!("ebpf {hook:?}"), Interface { hook, ..interface(device, Kind::Ebpf) })).collect();
    ways.extend([Kind::AfPacket, Kind::Pcap].map(|kind| (format!("{kind:?}"), interface(device, kind))));
    ways
}

/// The destination port of a UDP packet over IPv4, for any link type.
fn port(frame: &Frame<'_>) -> Option<u16> {
    let start = match frame.link {
        Link::LinuxSll2 => 20,
        Link::RawIp => 0,
        _ => 14,
    };
    let field = frame.data.get(start + 22..).and_then(|data| data.first_chunk())?;
    Some(u16::from_be_bytes(*field))
}

fn counted(packets: impl IntoIterator<Item = Vec<u8>>) -> BTreeMap<Vec<u8>, usize> {
    packets.into_iter().fold(BTreeMap::new(), |mut counts, packet| {
        *counts.entry(packet).or_default() += 1;
        counts
    })
}

#[test]
fn every_backend_delivers_the_same_frames() {
    in_a_network("every_backend_delivers_the_same_frames", || {
        let mut frames = Vec::new();
        for n in 0..60 {
            frames.extend([udp(&[], n, WANTED, 40), udp(&[DOT1Q], n, WANTED, 40), udp(&[SERVICE, DOT1Q], n, WANTED, 40)]);
        }
        let others = (0..60).flat_map(|n| [udp(&[], n, OTHER, 40), udp(&[DOT1Q], n, OTHER, 40)]);
        let filters = wanted(true);
        let mut captures: Vec<_> = every_way("va").into_iter().map(|(name, way)| (name, opened(&way, &filters))).collect();
        let before = now();
        send_all("vb", &others.chain(frames.clone()).collect::<Vec<_>>());
        let ifindex = devices::resolve("va").unwrap().ifindex;
        for (name, capture) in &mut captures {
            // The sources convert boot time to wall-clock time, which is accurate to some microseconds.
            let tolerance = 1_000_000;
            let got = collect(&mut capture.sources, frames.len(), |frame| {
                assert_eq!((frame.link, frame.ifindex, frame.wire_len as usize), (Link::Ethernet, ifindex, frame.data.len()), "{name}");
                let time = frame.time.0;
                assert!(time + tolerance >= before && time <= now() + tolerance, "{name}: {time} is not between {before} and now");
                Some((frame.tag.map(|tag| (tag.tpid, tag.tci)), whole(&frame)))
            });
            assert_eq!(counted(got.iter().map(|(_, frame)| frame.clone())), counted(frames.clone()), "{name}");
            let mut tags = BTreeMap::new();
            got.iter().filter_map(|(tag, _)| *tag).for_each(|tag| *tags.entry(tag).or_insert(0) += 1);
            let out_of_band = BTreeMap::from([((0x8100, 0x6007), 60), ((0x88a8, 9), 60)]);
            // XDP sees the frame as on the wire, and libpcap reinserts stripped tags.
            let in_band = name == "ebpf Xdp" || name == "Pcap";
            assert_eq!(tags, if in_band { BTreeMap::new() } else { out_of_band }, "{name}: tags that are not in the frame");
            let bytes: usize = got.iter().map(|(tag, frame)| frame.len() - if tag.is_some() { 4 } else { 0 }).sum();
            for time in ["first", "second"] {
                let stats = stats(&mut capture.sources, capture.control.as_ref());
                let have = (stats.matched(), stats.copied, stats.copied_bytes, stats.lost);
                assert_eq!(have, (frames.len() as u64, frames.len() as u64, bytes as u64, 0), "{name}, asked for the {time} time");
            }
            let workers = if name == "Pcap" { 1 } else { 2 };
            assert_eq!(capture.sources.len(), workers, "{name}");
        }
    });
}

#[test]
fn af_packet_shares_the_traffic_among_workers() {
    in_a_network("af_packet_shares_the_traffic_among_workers", || {
        let mut capture = opened(&interface("va", Kind::AfPacket), &wanted(false));
        send_all("vb", &(0..60).map(|n| udp(&[], n, WANTED, 40)).collect::<Vec<_>>());
        let loads: Vec<usize> = capture.sources.chunks_mut(1).map(|source| collect(source, 1, |_| Some(())).len()).collect();
        assert!(loads.iter().sum::<usize>() == 60 && loads.iter().all(|load| *load > 0), "{loads:?}");
    });
}

/// The eBPF program `r0 = value; exit`.
fn returns(value: i32) -> OwnedFd {
    load(SOCKET_FILTER, &[Insn { code: 0xb7, imm: value, ..Insn::default() }, Insn { code: 0x95, ..Insn::default() }], "test").unwrap()
}

fn with_filter(interface: &Interface, filter: &SocketFilter) -> Vec<Box<dyn Source>> {
    let config = afpacket::Config::new(interface, &devices::resolve(&interface.device).unwrap());
    let (sources, _) = afpacket::open(&config, 1, None, filter, &Arc::default()).unwrap();
    sources.into_iter().map(|source| Box::new(source) as Box<dyn Source>).collect()
}

#[test]
fn snap_length() {
    in_a_network("snap_length", || {
        let interface = Interface { snaplen: 50, ..interface("va", Kind::AfPacket) };
        let mut sources = Vec::new();
        for filter in [SocketFilter::None, SocketFilter::Classic(vec![(0x06, 0, 0, 262_144)]), SocketFilter::Ebpf(returns(50))] {
            sources.extend(with_filter(&interface, &filter));
        }
        let config = libpcap::Config { device: "va".to_owned(), ifindex: 0, snaplen: 50, buffer_bytes: 1 << 20 };
        sources.push(Box::new(Libpcap::open(&config, &Slot::new("udp port 9999".into()), Arc::default()).unwrap()));
        send_all("vb", &[udp(&[], 3, WANTED, 40)]);
        for source in sources.chunks_mut(1) {
            let seen = collect(source, 1, |frame| (port(&frame) == Some(WANTED)).then_some((frame.data.len(), frame.wire_len)));
            assert_eq!(seen, [(50, 82)]);
        }
    });
}

#[test]
fn an_ebpf_filter_decides() {
    in_a_network("an_ebpf_filter_decides", || {
        for (returned, expected) in [(0, 0), (65_535, 5)] {
            let mut sources = with_filter(&interface("va", Kind::AfPacket), &SocketFilter::Ebpf(returns(returned)));
            send_all("vb", &(0..5).map(|n| udp(&[], n, WANTED, 40)).collect::<Vec<_>>());
            let seen = collect(&mut sources, expected, |frame| (port(&frame) == Some(WANTED)).then_some(()));
            assert_eq!(seen.len(), expected, "the program returns {returned}");
        }
    });
}

/// On `any`, a device without a link header yields raw IP frames, others Ethernet frames, and loopback yields each
/// packet once.
#[test]
fn any_device() {
    in_a_network("any_device", || {
        let mut tun = tun("tun7");
        run("ip link set tun7 up");
        let one = |kind| Interface { workers: Some(1), ..interface("any", kind) };
        let filtered = opened(&one(Kind::AfPacket), &wanted(true));
        let libpcap = opened(&one(Kind::Pcap), &wanted(true));
        let mut sources = filtered.sources;
        sources.extend(with_filter(&one(Kind::AfPacket), &SocketFilter::None));
        sources.extend(libpcap.sources);
        let raw = udp(&[], 2, WANTED, 40)[14..].to_vec();
        send_all("vb", &[udp(&[], 1, WANTED, 40), udp(&[], 1, OTHER, 40)]);
        tun.write_all(&raw).unwrap();
        tun.write_all(&udp(&[], 2, OTHER, 40)[14..]).unwrap();
        UdpSocket::bind("127.0.0.1:9998").unwrap().send_to(&[9; 40], "127.0.0.1:9999").unwrap();

        let index = |name: &str| devices::resolve(name).unwrap().ifindex;
        let (va, vb, lo, tun7) = (index("va"), index("vb"), index("lo"), index("tun7"));
        for (which, source) in sources.chunks_mut(1).enumerate() {
            let mut seen = collect(source, 4, |frame| (port(&frame) == Some(WANTED)).then_some((frame.ifindex, frame.link)));
            seen.sort_by_key(|(ifindex, _)| [lo, va, vb, tun7].iter().position(|i| i == ifindex));
            let link = |link| if which == 2 { Link::LinuxSll2 } else { link };
            // A packet sent on vb is also seen as outgoing on vb. This test does not check which of the two devices the packet is assigned
            // to.
            let expected = [(lo, Link::Ethernet), (va, Link::Ethernet), (vb, Link::Ethernet), (tun7, Link::RawIp)];
            assert_eq!(seen, expected.map(|(ifindex, l)| (ifindex, link(l))), "source {which}");
        }
        // One device instead of `any`.
        for kind in [Kind::AfPacket, Kind::Pcap] {
            let mut alone = opened(&Interface { workers: Some(1), ..interface("tun7", kind) }, &wanted(true));
            tun.write_all(&raw).unwrap();
            let seen = collect(&mut alone.sources, 1, |frame| Some((frame.link, frame.data.to_vec())));
            assert_eq!(seen, [(Link::RawIp, raw.clone())], "{kind:?}");
        }
        let mut lo = opened(&interface("lo", Kind::AfPacket), &wanted(true));
        UdpSocket::bind("127.0.0.1:9997").unwrap().send_to(&[9; 40], "127.0.0.1:9999").unwrap();
        assert_eq!(collect(&mut lo.sources, 1, |_| Some(())).len(), 1, "loopback shows each packet once");
    });
}

#[test]
fn auto_uses_the_first_backend_that_works() {
    in_a_network("the_ladder", || {
        let best = opened(&interface("va", Kind::Auto), &wanted(false));
        assert_eq!((best.backend, best.sources.len()), (Backend::Ebpf, 2));
        // XDP and TC cannot attach to all devices at once, and a fanout group works only for sockets on one device.
        let all = Interface { hook: HookSetting::Xdp, fanout_group: Some(7), ..interface("any", Kind::Auto) };
        assert_eq!(opened(&all, &wanted(false)).backend, Backend::AfPacket);
        let taken = Interface { fanout_group: Some(7), ..interface("va", Kind::AfPacket) };
        let taken = opened(&taken, &wanted(false));
        assert_eq!(opened(&all, &wanted(false)).backend, Backend::Pcap);
        let named = Interface { kind: Kind::AfPacket, ..all };
        let error = open::open(&named, &Replay::default(), &wanted(false)).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("device any: af_packet: joining the fanout group"), "a named type does not walk down: {error}");
        drop(taken);
    });
}

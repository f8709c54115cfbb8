//! Tests of the decoder: every kind of header, lengths that contradict each other, and malformed or truncated frames.

mod fragments;

use super::*;
use crate::{
    capture::{Link, Segments, StrippedTag},
    time::Timestamp,
};

fn frame(link: Link, data: &[u8]) -> Frame<'_> {
    Frame {
        time: Timestamp(1),
        link,
        data,
        wire_len: data.len() as u32,
        tag: None,
        ifindex: 3,
        segments: Segments::default(),
        task: Default::default(),
    }
}

fn ethernet(tags: &[(u16, u16)], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    for (tpid, tci) in tags {
        out.extend(tpid.to_be_bytes());
        out.extend(tci.to_be_bytes());
    }
    out.extend(ethertype.to_be_bytes());
    out.extend(payload);
    out
}

/// A packet with an IPv4 header from 10.0.0.`hosts.0` to 10.0.0.`hosts.1` and `payload`.
fn v4(hosts: (u8, u8), protocol: u8, payload: &[u8]) -> Vec<u8> {
    fragment4(hosts, protocol, 0, 0, false, payload)
}

fn fragment4(hosts: (u8, u8), protocol: u8, id: u16, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x45, 0];
    out.extend((payload.len() as u16 + 20).to_be_bytes());
    out.extend(id.to_be_bytes());
    out.extend(((offset as u16 / 8) | (u16::from(more) << 13)).to_be_bytes());
    out.extend([64, protocol, 0, 0, 10, 0, 0, hosts.0, 10, 0, 0, hosts.1]);
    out.extend(payload);
    out
}

fn v6(hosts: (u8, u8), next: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x60, 0, 0, 0];
    out.extend((payload.len() as u16).to_be_bytes());
    out.extend([next, 64]);
    for host in [hosts.0, hosts.1] {
        out.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
    }
    out.extend(payload);
    out
}

fn fragment6(next: u8, id: u32, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![next, 0];
    out.extend((offset as u16 | u16::from(more)).to_be_bytes());
    out.extend(id.to_be_bytes());
    out.extend(payload);
    v6((1, 2), 44, &out)
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x30, 0x39, 0, 53];
    out.extend((payload.len() as u16 + 8).to_be_bytes());
    out.extend([0, 0]);
    out.extend(payload);
    out
}

/// A TCP segment with options: the header has 24 bytes.
fn tcp(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x30, 0x39, 0, 80, 0, 0, 1, 0, 0, 0, 2, 0, 0x60, 0x18, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1];
    out.extend(payload);
    out
}

fn text(packet: &Packet<'_>) -> String {
    let ips: Vec<_> = packet.ips.kept().iter().map(|ip| format!("{}>{}", ip.source(), ip.destination())).collect();
    let layer4 = match packet.layer4 {
        Layer4::Tcp(t) => format!(
            "tcp {}>{} seq {} ack {} flags {:#x} {:?} of {}",
            t.source,
            t.destination,
            t.seq,
            t.ack,
            t.flags.0,
            String::from_utf8_lossy(t.payload),
            t.wire_payload
        ),
        Layer4::Udp(u) => format!("udp {}>{} {:?} of {}", u.source, u.destination, String::from_utf8_lossy(u.payload), u.wire_payload),
        Layer4::Icmp(i) => format!("icmp {}/{} {:?} of {}", i.kind, i.code, i.payload, i.wire_payload),
        Layer4::Icmp6(i) => format!("icmp6 {}/{} {:?} of {}", i.kind, i.code, i.payload, i.wire_payload),
        Layer4::Other(other) => format!("Other({}) of {}", other.protocol, other.wire_payload),
        other => format!("{other:?}"),
    };
    let vlans = packet.realm.vlans;
    format!("vlans {:?} {} | {layer4}", (vlans.count, vlans.outer, vlans.inner), ips.join(" "))
}

fn decoded(frame: &Frame<'_>) -> String {
    match Decoder::new().decode(frame) {
        Ok(Packet { undecoded: Some(reason), .. }) | Err(reason) => format!("{reason:?}"),
        Ok(packet) => text(&packet),
    }
}

fn ip(data: &[u8]) -> String {
    decoded(&frame(Link::RawIp, data))
}

const HI: &str = "udp 12345>53 \"hi\" of 2";

#[test]
fn links() {
    let packet = v4((1, 2), 17, &udp(b"hi"));
    let expected = format!("vlans (0, 0, 0) 10.0.0.1>10.0.0.2 | {HI}");
    let sll = [&[0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 8, 0][..], &packet].concat();
    let sll2 = [&[8, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0][..], &packet].concat();
    assert_eq!(decoded(&frame(Link::LinuxSll, &sll)), expected);
    assert_eq!(decoded(&frame(Link::LinuxSll2, &sll2)), expected);
    assert_eq!(ip(&packet), expected);
    for family in [[2, 0, 0, 0], [0, 0, 0, 2]] {
        assert_eq!(decoded(&frame(Link::Null, &[&family, &packet[..]].concat())), expected);
    }
    let six = v6((1, 2), 17, &udp(b"hi"));
    for family in [[24, 0, 0, 0], [0, 0, 0, 30], [10, 0, 0, 0], [28, 0, 0, 0]] {
        let expected = format!("vlans (0, 0, 0) fd00::1>fd00::2 | {HI}");
        assert_eq!(decoded(&frame(Link::Null, &[&family, &six[..]].concat())), expected);
    }
    let data = ethernet(&[], 0x0800, &packet);
    let mut decoder = Decoder::new();
    let frame = frame(Link::Ethernet, &data);
    let packet = decoder.decode(&frame).unwrap();
    assert_eq!(text(&packet), expected);
    assert_eq!(packet.macs.map(|m| (m.source(), m.destination())), Some(([7, 8, 9, 10, 11, 12], [1, 2, 3, 4, 5, 6])));
    assert_eq!((packet.ifindex, packet.time, packet.wire_len), (3, Timestamp(1), data.len() as u32));
    let (transport, from, to) = packet.ends().unwrap();
    assert_eq!((transport.name(), from.to_string(), to.to_string()), ("udp", "10.0.0.1:12345".into(), "10.0.0.2:53".into()));
}

#[test]
fn tags() {
    let packet = v4((1, 2), 17, &udp(b"hi"));
    let rest = format!("10.0.0.1>10.0.0.2 | {HI}");
    for (tags, vlans) in [
        (&[(0x8100, 0xe00a)][..], "(1, 0, 10)"),
        (&[(0x88a8, 5), (0x8100, 6)], "(2, 5, 6)"),
        (&[(0x8100, 4), (0x9100, 5), (0x8100, 6)], "(3, 5, 6)"),
        (&[(0x8100, 9); 16], "(16, 9, 9)"),
    ] {
        let data = ethernet(tags, 0x0800, &packet);
        assert_eq!(decoded(&frame(Link::Ethernet, &data)), format!("vlans {vlans} {rest}"));
        let data = [&[0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0][..], &data[12..]].concat();
        assert_eq!(decoded(&frame(Link::LinuxSll, &data)), format!("vlans {vlans} {rest}"));
    }
    let data = ethernet(&[(0x8100, 6)], 0x0800, &packet);
    let outermost = Frame { tag: Some(StrippedTag { tpid: 0x88a8, tci: 0x2005 }), ..frame(Link::Ethernet, &data) };
    assert_eq!(decoded(&outermost), format!("vlans (2, 5, 6) {rest}"));
    // There are more tags than the decoder follows, so only the Ethernet addresses are known.
    let data = ethernet(&[(0x8100, 9); 40], 0x0800, &packet);
    assert_eq!(decoded(&frame(Link::Ethernet, &data)), "vlans (39, 9, 9)  | None");
}

#[test]
fn transports() {
    let head = "vlans (0, 0, 0) 10.0.0.1>10.0.0.2 |";
    let segment = tcp(b"GET");
    assert_eq!(ip(&v4((1, 2), 6, &segment)), format!("{head} tcp 12345>80 seq 256 ack 512 flags 0x18 \"GET\" of 3"));
    assert_eq!(ip(&v4((1, 2), 1, &[8, 0, 0, 0, 1, 2])), format!("{head} icmp 8/0 [8, 0, 0, 0, 1, 2] of 6"));
    assert_eq!(ip(&v6((1, 2), 58, &[128, 0, 1, 2])), "vlans (0, 0, 0) fd00::1>fd00::2 | icmp6 128/0 [128, 0, 1, 2] of 4");
    assert_eq!(ip(&v4((1, 2), 47, &[0, 0, 8, 0])), format!("{head} Other(47) of 4"));
    assert_eq!(ip(&v4((1, 2), 89, &[])), format!("{head} Other(89) of 0"));
    assert_eq!(ip(&v6((1, 2), 59, &[])), "vlans (0, 0, 0) fd00::1>fd00::2 | None");
    // The IPv4 header has options.
    let mut options = v4((1, 2), 17, &udp(b"hi"));
    options[0] = 0x46;
    options[3] += 4;
    options.splice(20..20, [1, 1, 1, 0]);
    assert_eq!(ip(&options), format!("{head} {HI}"));
    // The length field of UDP is smaller or larger than the IP payload, or 0.
    for (length, expected) in [(9, "\"h\" of 1"), (200, "\"hi\" of 2"), (0, "\"hi\" of 2")] {
        let mut datagram = v4((1, 2), 17, &udp(b"hi"));
        datagram[25] = length;
        assert_eq!(ip(&datagram), format!("{head} udp 12345>53 {expected}"), "length {length}");
    }
}

#[test]
fn lengths() {
    let head = "vlans (0, 0, 0) 10.0.0.1>10.0.0.2 |";
    // Ethernet pads frames to 60 bytes; the padding is not payload.
    let mut padded = ethernet(&[], 0x0800, &v4((1, 2), 6, &tcp(b"")));
    padded.resize(60, 0);
    assert_eq!(decoded(&frame(Link::Ethernet, &padded)), format!("{head} tcp 12345>80 seq 256 ack 512 flags 0x18 \"\" of 0"));
    // The frame is cut to the snap length. The length on the wire is known.
    let whole = ethernet(&[], 0x0800, &v4((1, 2), 6, &tcp(&[b'x'; 500])));
    let cut = Frame { wire_len: whole.len() as u32, ..frame(Link::Ethernet, &whole[..61]) };
    assert_eq!(decoded(&cut), format!("{head} tcp 12345>80 seq 256 ack 512 flags 0x18 \"xxx\" of 500"));
    let cut = Frame { wire_len: whole.len() as u32, ..frame(Link::Ethernet, &whole[..57]) };
    assert_eq!(decoded(&cut), "TransportTruncated");
    // A packet that the network card will split has 0 in its length field. This is tested for IPv4 and IPv6, also with a stripped tag.
    let mut large = ethernet(&[], 0x0800, &v4((1, 2), 6, &tcp(b"large")));
    large[16..18].fill(0);
    let expected = "tcp 12345>80 seq 256 ack 512 flags 0x18 \"large\" of 5";
    assert_eq!(decoded(&frame(Link::Ethernet, &large)), format!("{head} {expected}"));
    let tag = Some(StrippedTag { tpid: 0x8100, tci: 1 });
    let tagged = Frame { tag, ..frame(Link::Ethernet, &large) };
    assert_eq!(decoded(&tagged), format!("vlans (1, 0, 1) 10.0.0.1>10.0.0.2 | {expected}"));
    assert_eq!(Decoder::new().decode(&tagged).unwrap().wire_len, large.len() as u32 + 4);
    let mut jumbo = v6((1, 2), 6, &tcp(b"large"));
    jumbo[4..6].fill(0);
    assert_eq!(ip(&jumbo), format!("vlans (0, 0, 0) fd00::1>fd00::2 | {expected}"));
}

/// A frame that was merged from several segments (GRO), or will be split into them (GSO): each segment counts with its
/// headers.
#[test]
fn segments_are_counted_with_their_headers() {
    let counted = |data: &[u8], segments: Segments, tag: Option<StrippedTag>| {
        let count = Decoder::new().decode(&Frame { segments, tag, ..frame(Link::Ethernet, data) }).unwrap().count();
        (count.packets, count.bytes)
    };
    let segment = ethernet(&[], 0x0800, &v4((1, 2), 6, &tcp(&[b'x'; 2500])));
    let (headers, tag) = (14 + 20 + 24, Some(StrippedTag { tpid: 0x8100, tci: 1 }));
    let all = 2500 + headers;
    for (segments, packets) in [
        (Segments::Count(1), 1),
        (Segments::Count(3), 3),
        (Segments::Count(0), 1),
        (Segments::OfSize(1000), 3),
        (Segments::OfSize(1250), 2),
        (Segments::OfSize(2500), 1),
        (Segments::OfSize(9000), 1),
    ] {
        assert_eq!(counted(&segment, segments, None), (packets, all + (packets - 1) * headers), "{segments:?}");
        assert_eq!(counted(&segment, segments, tag), (packets, all + 4 + (packets - 1) * (headers + 4)), "{segments:?}, tagged");
    }
    let in_parts = Segments::OfSize(100);
    let datagram = ethernet(&[], 0x86dd, &v6((1, 2), 17, &udp(&[b'x'; 250])));
    assert_eq!(counted(&datagram, in_parts, None), (3, 250 + 3 * (14 + 40 + 8)), "UDP over IPv6");
    let tunnel = ethernet(&[], 0x0800, &v4((1, 2), 4, &v4((3, 4), 6, &tcp(&[b'x'; 250]))));
    assert_eq!(counted(&tunnel, in_parts, None), (3, 250 + 3 * (14 + 20 + 20 + 24)), "IP in IP");
    let opaque = ethernet(&[], 0x0800, &v4((1, 2), 132, &[0; 250]));
    assert_eq!(counted(&opaque, in_parts, None), (3, 250 + 3 * (14 + 20)), "a protocol whose header is not read");
    let other = ethernet(&[], 0x0806, &[0; 250]);
    assert_eq!(counted(&other, Segments::Count(3), None), (3, 264), "no header is known");
    // Payload that was not captured is also counted.
    let cut = Frame { wire_len: segment.len() as u32, segments: in_parts, ..frame(Link::Ethernet, &segment[..100]) };
    let count = Decoder::new().decode(&cut).unwrap().count();
    assert_eq!((count.packets, count.bytes), (25, 2500 + 25 * headers), "cut to the snap length");
}

#[test]
fn each_malformed_header_has_its_reason() {
    let good = v4((1, 2), 6, &tcp(b"x"));
    let with = |at: usize, value: u8| {
        let mut data = good.clone();
        data[at] = value;
        data
    };
    assert_eq!(ip(&with(0, 0x44)), "IpMalformed", "header shorter than a header");
    assert_eq!(ip(&with(0, 0x4f)), "IpTruncated", "options beyond the end");
    assert_eq!(ip(&with(0, 0x4b)), "TransportMalformed", "options that swallow the segment");
    assert_eq!(ip(&with(3, 19)), "IpMalformed", "total length shorter than the header");
    assert_eq!(ip(&with(32, 0x40)), "TransportMalformed", "data offset below 5");
    assert_eq!(ip(&with(32, 0xf0)), "TransportMalformed", "data offset beyond the segment");
    assert_eq!(ip(&with(0, 0x55)), "NotIp");
    assert_eq!(ip(&good[..19]), "IpTruncated");
    assert_eq!(ip(&[]), "IpTruncated");
    assert_eq!(decoded(&frame(Link::Ethernet, &[0; 13])), "LinkTruncated");
    assert_eq!(decoded(&frame(Link::Ethernet, &ethernet(&[], 0x0800, &[0x60]))), "IpMalformed");
    assert_eq!(decoded(&frame(Link::Null, &[7, 0, 0, 0])), "NotIp");
    assert_eq!(decoded(&frame(Link::Ethernet, &ethernet(&[], 0x0806, &[0; 28]))), "vlans (0, 0, 0)  | None");
    let mut decoder = Decoder::new();
    for data in [&good[..3], &good[..19], &with(32, 0x40), &[0x50]] {
        assert!(!decoder.decode(&frame(Link::RawIp, data)).is_ok_and(|packet| packet.undecoded.is_none()), "{data:?}");
    }
    let counted: Vec<_> = decoder.counters().filter(|c| c.1 != 0).collect();
    assert_eq!(counted, [("decode.not_ip", 1), ("decode.ip_truncated", 2), ("decode.transport_malformed", 1)]);
    for (i, (reason, _)) in UNDECODED.iter().enumerate() {
        assert_eq!(*reason as usize, i, "{reason:?}");
    }
}

#[test]
fn extension_headers() {
    let expected = format!("vlans (0, 0, 0) fd00::1>fd00::2 | {HI}");
    let options = |next: u8| vec![next, 0, 1, 4, 0, 0, 0, 0];
    let chain =
        [options(43), options(60), vec![51, 1, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], vec![17, 2, 0, 0], vec![0; 12], udp(b"hi")];
    assert_eq!(ip(&v6((1, 2), 0, &chain.concat())), expected);
    // The packet is an atomic fragment (RFC 6946).
    assert_eq!(ip(&fragment6(17, 7, 0, false, &udp(b"hi"))), expected);
    // ESP encrypts the following bytes, so they are not decoded.
    assert_eq!(ip(&v6((1, 2), 50, &[0; 20])), "vlans (0, 0, 0) fd00::1>fd00::2 | Other(50) of 20");
    let long: Vec<u8> = (0..20).flat_map(|_| options(60)).chain(options(17)).chain(udp(b"hi")).collect();
    assert_eq!(ip(&v6((1, 2), 60, &long)), "IpMalformed");
    assert_eq!(ip(&v6((1, 2), 60, &[17, 9, 0, 0])), "IpTruncated");
}

#[test]
fn ip_in_ip() {
    let inner4 = v4((3, 4), 17, &udp(b"hi"));
    let inner6 = v6((3, 4), 17, &udp(b"hi"));
    for (outer, expected) in [
        (v4((1, 2), 4, &inner4), "10.0.0.1>10.0.0.2 10.0.0.3>10.0.0.4"),
        (v4((1, 2), 41, &inner6), "10.0.0.1>10.0.0.2 fd00::3>fd00::4"),
        (v6((1, 2), 4, &inner4), "fd00::1>fd00::2 10.0.0.3>10.0.0.4"),
        (v6((1, 2), 41, &inner6), "fd00::1>fd00::2 fd00::3>fd00::4"),
        (v4((5, 6), 4, &v4((1, 2), 4, &inner4)), "10.0.0.3>10.0.0.4 10.0.0.1>10.0.0.2"),
        (v6((5, 6), 4, &v4((1, 2), 41, &inner6)), "fd00::5>fd00::6 10.0.0.1>10.0.0.2 fd00::3>fd00::4"),
    ] {
        assert_eq!(ip(&outer), format!("vlans (0, 0, 0) {expected} | {HI}"));
        let mut decoder = Decoder::new();
        let frame = frame(Link::RawIp, &outer);
        let innermost = decoder.decode(&frame).unwrap().ips.innermost().unwrap();
        assert!(innermost.source().to_string().ends_with('3'), "{innermost:?}");
    }
    let deep = (0..30).fold(inner4, |inside, _| v4((1, 2), 4, &inside));
    assert_eq!(ip(&deep), "IpMalformed");
}

/// Frames with every kind of header, cut at every length, and with every byte changed.
#[test]
fn changed_and_cut_frames_do_not_panic() {
    let body = udp(b"0123456789abcdef");
    let frames = [
        (Link::Ethernet, ethernet(&[(0x88a8, 1), (0x8100, 2)], 0x0800, &v4((1, 2), 6, &tcp(b"payload")))),
        (
            Link::Ethernet,
            ethernet(&[], 0x86dd, &v6((1, 2), 0, &[vec![60, 0, 0, 0, 0, 0, 0, 0], vec![17, 0, 0, 0, 0, 0, 0, 0], body.clone()].concat())),
        ),
        (
            Link::LinuxSll2,
            [&[8, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0][..], &v4((1, 2), 41, &v6((1, 2), 58, &[1; 9]))].concat(),
        ),
        (Link::LinuxSll, [&[0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 8, 0][..], &v4((1, 2), 1, &[8; 20])].concat()),
        (Link::Null, [&[2, 0, 0, 0][..], &fragment4((1, 2), 17, 1, 0, true, &body[..16])].concat()),
        (Link::RawIp, fragment6(17, 1, 16, false, &body[16..])),
    ];
    let mut decoder = Decoder::new();
    for (link, data) in &frames {
        for wire_len in [0, 1, data.len() as u32, u32::MAX] {
            for cut in 0..=data.len() {
                let _ = decoder.decode(&Frame { wire_len, ..frame(*link, &data[..cut]) });
            }
        }
        let mut changed = data.clone();
        for at in 0..data.len() {
            for value in [0, 1, 0x0f, 0x7f, 0x80, 0xff, data[at] ^ 0x10, data[at].wrapping_add(1)] {
                changed[at] = value;
                let _ = decoder.decode(&frame(*link, &changed));
            }
            changed[at] = data[at];
        }
    }
}

/// The decoder does not panic on frames of the test captures that are cut at any length.
#[test]
fn real_frames_cut_anywhere() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/protocols");
    let captures = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = captures.flat_map(|protocol| std::fs::read_dir(protocol.path()).into_iter().flatten().flatten());
    let mut decoder = Decoder::new();
    let (mut frames, mut whole) = (0, 0);
    for file in files.filter(|f| f.path().extension().is_some_and(|e| e == "pcap")) {
        let bytes = std::fs::read(file.path()).unwrap();
        let number = |at: usize| bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b) as usize);
        let link = match number(20) & 0xffff {
            1 => Link::Ethernet,
            113 => Link::LinuxSll,
            0 => Link::Null,
            _ => continue,
        };
        let mut at = 24;
        while let Some(data) = bytes.get(at + 16..at + 16 + number(at + 8)) {
            for cut in 0..=data.len().min(200) {
                let _ = decoder.decode(&Frame { wire_len: data.len() as u32, ..frame(link, &data[..cut]) });
            }
            frames += 1;
            whole += u32::from(decoder.decode(&frame(link, data)).is_ok());
            at += 16 + data.len();
        }
    }
    // Some captures contain malformed frames on purpose.
    assert!(whole * 10 >= frames * 9, "{whole} of {frames} frames were decoded");
}

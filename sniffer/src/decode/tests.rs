use super::*;
use crate::{
    capture::{Link, Segments, StrippedTag},
    time::Timestamp,
};

fn frame(link: Link, data: &[u8]) -> Frame<'_> {
    Frame { time: Timestamp(1), link, data, wire_len: data.len() as u32, tag: None, ifindex: 3, segments: Segments::default() }
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

/// An IPv4 header from 10.0.0.`hosts.0` to 10.0.0.`hosts.1`, and `payload`.
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

/// With options: 24 bytes of header.
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
        other => format!("{other:?}"),
    };
    let vlans = packet.realm.vlans;
    format!("vlans {:?} {} | {layer4}", (vlans.count, vlans.outer, vlans.inner), ips.join(" "))
}

fn decoded(frame: &Frame<'_>) -> String {
    match Decoder::new().decode(frame) {
        Ok(packet) => text(&packet),
        Err(reason) => format!("{reason:?}"),
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
    // Beyond reason: the addresses are all that is known.
    let data = ethernet(&[(0x8100, 9); 40], 0x0800, &packet);
    assert_eq!(decoded(&frame(Link::Ethernet, &data)), "vlans (17, 9, 9)  | None");
}

#[test]
fn transports() {
    let head = "vlans (0, 0, 0) 10.0.0.1>10.0.0.2 |";
    let segment = tcp(b"GET");
    assert_eq!(ip(&v4((1, 2), 6, &segment)), format!("{head} tcp 12345>80 seq 256 ack 512 flags 0x18 \"GET\" of 3"));
    assert_eq!(ip(&v4((1, 2), 1, &[8, 0, 0, 0, 1, 2])), format!("{head} icmp 8/0 [8, 0, 0, 0, 1, 2] of 6"));
    assert_eq!(ip(&v6((1, 2), 58, &[128, 0, 1, 2])), "vlans (0, 0, 0) fd00::1>fd00::2 | icmp6 128/0 [128, 0, 1, 2] of 4");
    assert_eq!(ip(&v4((1, 2), 47, &[0, 0, 8, 0])), format!("{head} Other(47)"));
    assert_eq!(ip(&v4((1, 2), 132, &[])), format!("{head} Other(132)"));
    assert_eq!(ip(&v6((1, 2), 59, &[])), "vlans (0, 0, 0) fd00::1>fd00::2 | None");
    // IPv4 options.
    let mut options = v4((1, 2), 17, &udp(b"hi"));
    options[0] = 0x46;
    options[3] += 4;
    options.splice(20..20, [1, 1, 1, 0]);
    assert_eq!(ip(&options), format!("{head} {HI}"));
    // UDP says less than IP, or more, or nothing.
    for (length, expected) in [(9, "\"h\" of 1"), (200, "\"hi\" of 2"), (0, "\"hi\" of 2")] {
        let mut datagram = v4((1, 2), 17, &udp(b"hi"));
        datagram[25] = length;
        assert_eq!(ip(&datagram), format!("{head} udp 12345>53 {expected}"), "length {length}");
    }
}

#[test]
fn lengths() {
    let head = "vlans (0, 0, 0) 10.0.0.1>10.0.0.2 |";
    // Ethernet pads to 60 bytes: that is no data.
    let mut padded = ethernet(&[], 0x0800, &v4((1, 2), 6, &tcp(b"")));
    padded.resize(60, 0);
    assert_eq!(decoded(&frame(Link::Ethernet, &padded)), format!("{head} tcp 12345>80 seq 256 ack 512 flags 0x18 \"\" of 0"));
    // Cut to the snap length: what was on the wire is known.
    let whole = ethernet(&[], 0x0800, &v4((1, 2), 6, &tcp(&[b'x'; 500])));
    let cut = Frame { wire_len: whole.len() as u32, ..frame(Link::Ethernet, &whole[..61]) };
    assert_eq!(decoded(&cut), format!("{head} tcp 12345>80 seq 256 ack 512 flags 0x18 \"xxx\" of 500"));
    let cut = Frame { wire_len: whole.len() as u32, ..frame(Link::Ethernet, &whole[..57]) };
    assert_eq!(decoded(&cut), "TransportTruncated");
    // Segmentation left to the card: no length in the header, in either family; with a tag in the metadata too.
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

#[test]
fn broken_headers_say_why() {
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
        decoder.decode(&frame(Link::RawIp, data)).unwrap_err();
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
    // A fragment that is the whole.
    assert_eq!(ip(&fragment6(17, 7, 0, false, &udp(b"hi"))), expected);
    // ESP hides what follows.
    assert_eq!(ip(&v6((1, 2), 50, &[0; 20])), "vlans (0, 0, 0) fd00::1>fd00::2 | Other(50)");
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

/// Hands the fragments over in turn and gives what came of each.
fn in_turn(decoder: &mut Decoder, fragments: &[Vec<u8>]) -> Vec<String> {
    let each = |data: &Vec<u8>| match decoder.decode(&frame(Link::RawIp, data)) {
        Ok(packet) => text(&packet),
        Err(reason) => format!("{reason:?}"),
    };
    fragments.iter().map(each).collect()
}

fn permutations(of: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    if of.len() < 2 {
        return vec![of.to_vec()];
    }
    let mut all = Vec::new();
    for first in 0..of.len() {
        let mut rest = of.to_vec();
        let head = rest.remove(first);
        all.extend(permutations(&rest).into_iter().map(|tail| [vec![head.clone()], tail].concat()));
    }
    all
}

fn count(decoder: &Decoder, name: &str) -> u64 {
    decoder.counters().find(|c| c.0 == name).unwrap_or_else(|| panic!("no {name}")).1
}

#[test]
fn fragments_in_every_order() {
    let body = udp(b"0123456789abcdef0123456789abcdefTHE END");
    let parts = [0..8, 8..24, 24..40, 40..body.len()];
    let whole = "udp 12345>53 \"0123456789abcdef0123456789abcdefTHE END\" of 39";
    let four: Vec<_> = parts.iter().map(|r| fragment4((1, 2), 17, 7, r.start, r.end != body.len(), &body[r.clone()])).collect();
    let six: Vec<_> = parts.iter().map(|r| fragment6(17, 7, r.start, r.end != body.len(), &body[r.clone()])).collect();
    let tunnel: Vec<_> = four.iter().map(|f| v6((8, 9), 4, f)).collect();
    let mut decoder = Decoder::new();
    for (set, ips) in [(four, "10.0.0.1>10.0.0.2"), (six, "fd00::1>fd00::2"), (tunnel, "fd00::8>fd00::9 10.0.0.1>10.0.0.2")] {
        for mut order in permutations(&set) {
            order.insert(2, order[1].clone()); // and one of them twice
            let mut expected = vec![format!("vlans (0, 0, 0) {ips} | Fragment"); 4];
            expected.push(format!("vlans (0, 0, 0) {ips} | {whole}"));
            assert_eq!(in_turn(&mut decoder, &order), expected);
        }
    }
    assert_eq!((count(&decoder, "decode.fragments_reassembled"), count(&decoder, "decode.fragments_repeated")), (72, 72));
    assert_eq!(count(&decoder, "decode.fragments"), 288);
}

#[test]
fn fragments_within_fragments() {
    let body = udp(b"0123456789abcdef");
    let inner: Vec<_> = [0..16, 16..24].iter().map(|r| fragment4((3, 4), 17, 7, r.start, r.end != 24, &body[r.clone()])).collect();
    let mut outer = Vec::new();
    for (id, inner) in inner.iter().enumerate() {
        outer.push(fragment4((1, 2), 4, id as u16, 0, true, &inner[..24]));
        outer.push(fragment4((1, 2), 4, id as u16, 24, false, &inner[24..]));
    }
    let got = in_turn(&mut Decoder::new(), &outer);
    assert_eq!(got[3], "vlans (0, 0, 0) 10.0.0.1>10.0.0.2 10.0.0.3>10.0.0.4 | udp 12345>53 \"0123456789abcdef\" of 16", "{got:#?}");
    assert_eq!(got[1], "vlans (0, 0, 0) 10.0.0.1>10.0.0.2 10.0.0.3>10.0.0.4 | Fragment");
}

#[test]
fn hostile_fragments_come_to_nothing() {
    let body = udp(&[b'x'; 40]);
    let f = |offset: usize, more: bool, data: &[u8]| fragment4((1, 2), 17, 7, offset, more, data);
    for (what, fragments, counter) in [
        ("teardrop: inside another", vec![f(0, true, &body[..40]), f(24, false, &body[24..32])], "decode.fragments_malformed"),
        ("overlap", vec![f(0, true, &body[..24]), f(16, false, &body[16..])], "decode.fragments_overlapping"),
        ("overlap from before", vec![f(16, false, &body[16..]), f(0, true, &body[..24])], "decode.fragments_overlapping"),
        (
            "repeated with other data",
            vec![f(0, true, &body[..24]), f(0, true, &[b'y'; 24]), f(24, false, &body[24..])],
            "decode.fragments_overlapping",
        ),
        ("ping of death", vec![f(65_528, false, &[0; 100]), f(0, true, &body[..24])], "decode.fragments_malformed"),
        ("odd length in the middle", vec![f(0, true, &body[..20]), f(24, false, &body[24..])], "decode.fragments_malformed"),
        ("empty", vec![f(8, true, &[]), f(0, true, &body[..8]), f(8, false, &body[8..])], "decode.fragments_malformed"),
        ("two ends", vec![f(24, false, &body[24..32]), f(24, false, &body[24..]), f(0, true, &body[..24])], "decode.fragments_malformed"),
        (
            "beyond the end",
            vec![f(24, false, &body[24..32]), f(32, true, &body[32..40]), f(0, true, &body[..24])],
            "decode.fragments_malformed",
        ),
    ] {
        let mut decoder = Decoder::new();
        let mut fragments = fragments;
        fragments.extend([f(0, true, &body[..24]), f(24, false, &body[24..])]); // the honest ones come too late
        let got = in_turn(&mut decoder, &fragments);
        assert!(got.iter().all(|g| g.ends_with("| Fragment")), "{what}: {got:#?}");
        assert_eq!(count(&decoder, counter), 1, "{what}");
    }
    // Fragments cut to the snap length cannot be put together.
    let mut decoder = Decoder::new();
    let first = f(0, true, &body[..24]);
    let cut = Frame { wire_len: first.len() as u32, ..frame(Link::RawIp, &first[..30]) };
    assert!(matches!(decoder.decode(&cut).map(|p| p.layer4), Ok(Layer4::Fragment)));
    assert_eq!(count(&decoder, "decode.fragments_snapped"), 1);
}

#[test]
fn fragments_are_bounded() {
    let mut decoder = Decoder::new();
    let mut at = |nanos: u64, data: &[u8]| {
        let frame = Frame { time: Timestamp(nanos), ..frame(Link::RawIp, data) };
        let text = decoder.decode(&frame).map(|p| text(&p));
        (text.unwrap(), count(&decoder, "decode.fragments_evicted"), count(&decoder, "decode.fragments_expired"))
    };
    let body = udp(&[b'x'; 16]);
    let first = |id: u16| fragment4((1, 2), 17, id, 0, true, &body[..16]);
    let last = |id: u16| fragment4((1, 2), 17, id, 16, false, &body[16..]);
    for id in 0..513 {
        at(0, &first(id));
    }
    let (text, evicted, _) = at(0, &last(1));
    assert!(text.ends_with("of 16") && evicted == 1, "the oldest goes, the next stays: {text}, evicted {evicted}");
    let (text, ..) = at(0, &last(0));
    assert!(text.ends_with("Fragment"), "{text}");
    let (_, _, expired) = at(1_000_000_000, &first(600));
    assert_eq!(expired, 0);
    let (text, _, expired) = at(1_000_000_001, &last(2));
    assert!(text.ends_with("Fragment") && expired == 512 - 1, "{text}, expired {expired}");
    // Far offsets: 64 KiB each, in 128 sets.
    let evicted = at(2_000_000_002, &first(0)).1;
    for id in 1000..1400 {
        at(2_000_000_002, &fragment4((1, 2), 17, id, 65_496, true, &[0; 16]));
    }
    assert_eq!(at(2_000_000_002, &first(0)).1 - evicted, 400 + 2 - 128 - 1, "8 MiB in all");
    // More fragments than any network makes.
    for i in 0..65 {
        at(4_000_000_000, &fragment4((1, 2), 17, 9, i * 8, true, &[0; 8]));
    }
    assert_eq!(count(&decoder, "decode.fragments_too_many"), 1);
}

/// Many completed datagrams within a second: their names must not pile up.
#[test]
fn completed_datagrams_leave_nothing_behind() {
    let mut decoder = Decoder::new();
    let body = udp(&[b'x'; 16]);
    for id in 0..5000 {
        let set = [fragment4((1, 2), 17, id, 0, true, &body[..16]), fragment4((1, 2), 17, id, 16, false, &body[16..])];
        assert!(in_turn(&mut decoder, &set)[1].ends_with("of 16"));
    }
    assert_eq!(count(&decoder, "decode.fragments_evicted"), 0);
}

/// Every cut of frames with all kinds of headers, and every byte of them changed.
#[test]
fn nothing_panics() {
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

/// Every cut of real frames, where the captures are at hand.
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
    // Some captures are broken on purpose.
    assert!(whole * 10 >= frames * 9, "{whole} of {frames} frames were decoded");
}

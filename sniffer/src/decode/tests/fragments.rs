//! Fragmented datagrams: reassembly in every order, and hostile fragments.

use super::*;

/// Decodes the fragments in the given order and returns the result of each as text.
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
            order.insert(2, order[1].clone()); // one fragment arrives twice
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
fn hostile_fragments_give_no_datagram() {
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
        fragments.extend([f(0, true, &body[..24]), f(24, false, &body[24..])]); // the valid fragments arrive after the invalid one
        let got = in_turn(&mut decoder, &fragments);
        assert!(got.iter().all(|g| g.ends_with("| Fragment")), "{what}: {got:#?}");
        assert_eq!(count(&decoder, counter), 1, "{what}");
    }
    // Fragments cut to the snap length cannot be reassembled.
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
    // Each fragment has a large offset and allocates 64 KiB, so `MAX_BYTES` allows 128 incomplete
    // datagrams.
    let evicted = at(2_000_000_002, &first(0)).1;
    for id in 1000..1400 {
        at(2_000_000_002, &fragment4((1, 2), 17, id, 65_496, true, &[0; 16]));
    }
    assert_eq!(at(2_000_000_002, &first(0)).1 - evicted, 400 + 2 - 128 - 1, "8 MiB in all");
    // The datagram has more fragments than the limit.
    for i in 0..65 {
        at(4_000_000_000, &fragment4((1, 2), 17, 9, i * 8, true, &[0; 8]));
    }
    assert_eq!(count(&decoder, "decode.fragments_too_many"), 1);
}

/// Many datagrams complete within a second: their entries in `order` must not accumulate.
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

//! Tests of the reassembly: order of segments, holes and gaps, SYN and FIN, and limits.

use super::*;

/// Runs `(seq, data)` segments through a reassembler and formats the output: bytes as they are, gaps as `<n>`.
fn play(start: u32, segments: &[(u32, &[u8])]) -> String {
    let (mut order, mut out) = (Reassembler::default(), String::new());
    let mut write = |piece: Piece<'_>| match piece {
        Piece::Data(data, _) => out += std::str::from_utf8(data).unwrap(),
        Piece::Gap(n) | Piece::Skipped(n) => out += &format!("<{n}>"),
    };
    order.begin(start);
    for (seq, data) in segments {
        order.segment(start.wrapping_add(*seq), data, data.len() as u32, Timestamp(0), &mut write);
    }
    order.flush(&mut write);
    out
}

#[test]
fn every_order_of_four_segments_and_every_wrap() {
    let parts: [(u32, &[u8]); 4] = [(0, b"ab"), (2, b"cde"), (5, b"f"), (6, b"gh")];
    for start in [0, 1, u32::MAX, u32::MAX - 3, u32::MAX - 7, 1 << 31] {
        for n in 0..256usize {
            let order = [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6];
            if (0..4).all(|i| order.contains(&i)) {
                assert_eq!(play(start, &order.map(|i| parts[i])), "abcdefgh", "{order:?} from {start}");
            }
        }
    }
}

#[test]
fn overlaps_and_repetitions() {
    assert_eq!(play(10, &[(0, b"abc"), (0, b"abc"), (1, b"bcde"), (4, b"ef")]), "abcdef");
    assert_eq!(play(10, &[(4, b"ef"), (2, b"cdef"), (4, b"ef"), (0, b"abc")]), "abcdef");
    assert_eq!(play(10, &[(0, b"ab"), (1, b"b"), (2, b"cd")]), "abcd"); // a keep-alive with its byte
    assert_eq!(play(10, &[(3, b"d"), (8, b"i")]), "<3>d<4>i");
}

#[test]
fn early_segments_behind_skipped_bytes_are_delivered() {
    for start in [0, u32::MAX - 5, 1 << 31] {
        let at = |n: u32| start.wrapping_add(n);
        let (mut order, mut pieces) = (Reassembler::default(), Vec::new());
        let mut out = |piece: Piece<'_>| pieces.push(format!("{piece:?}"));
        order.begin(start);
        for (seq, data) in [(3, &b"de"[..]), (8, b"ijk"), (20, b"u")] {
            order.segment(at(seq), data, data.len() as u32, Timestamp(0), &mut out);
        }
        order.skip_to(at(9), &mut out);
        assert_eq!((order.next(), order.has_early()), (Some(at(11)), true));
        order.follow(at(11) ^ 1 << 31);
        assert_eq!((order.next(), order.front(), order.has_early()), (Some(at(11) ^ 1 << 31), Some(at(11) ^ 1 << 31), false));
        assert_eq!(pieces, ["Skipped(9)", "Data([106, 107], Timestamp(0))"]);
    }
}

#[test]
fn when_a_hole_is_a_gap() {
    type Step<'a> = &'a dyn Fn(&mut Reassembler, &mut dyn FnMut(Piece<'_>));
    let run = |f: Step<'_>| {
        let (mut order, mut gaps) = (Reassembler::default(), 0);
        let mut out = |p: Piece<'_>| {
            if let Piece::Gap(n) = p {
                gaps += n
            }
        };
        order.begin(1);
        order.segment(11, b"x", 1, Timestamp(0), &mut out);
        f(&mut order, &mut out);
        gaps
    };
    assert_eq!(run(&|o, out| o.expire(Timestamp(2_000_000_000), out)), 0);
    assert_eq!(run(&|o, out| o.expire(Timestamp(3_000_000_000), out)), 10);
    assert_eq!(run(&|o, out| o.acknowledged(10, true, Timestamp(1), out)), 0);
    assert_eq!(run(&|o, out| o.acknowledged(11, true, Timestamp(1), out)), 10);
    assert_eq!(
        run(&|o, out| {
            o.acknowledged(12, false, Timestamp(0), out);
            o.expire(Timestamp(10_000_000), out);
        }),
        0
    );
    assert_eq!(
        run(&|o, out| {
            o.acknowledged(12, false, Timestamp(0), out);
            o.expire(Timestamp(20_000_000), out);
        }),
        10
    );
}

#[test]
fn a_cut_segment_is_data_and_a_gap() {
    let (mut order, mut out) = (Reassembler::default(), vec![]);
    order.segment(5, b"ab", 10, Timestamp(7), &mut |p| out.push(format!("{p:?}")));
    order.segment(15, b"c", 1, Timestamp(7), &mut |p| out.push(format!("{p:?}")));
    assert_eq!(out, ["Data([97, 98], Timestamp(7))", "Gap(8)", "Data([99], Timestamp(7))"]);
}

#[test]
fn early_segments_are_bounded() {
    let (mut order, mut most) = (Reassembler::default(), 0);
    order.begin(1);
    for i in 0..4000u32 {
        order.segment(2 + i * 2000, &[0; 1000], 1000, Timestamp(0), &mut |_| ());
        most = most.max(order.held.as_ref().map_or(0, |held| held.bytes));
    }
    assert!(most <= MOST_EARLY_BYTES + 1000, "{most}");
}

#[test]
fn a_fin_waits_for_the_bytes_before_it() {
    let mut order = Reassembler::default();
    order.begin(1);
    order.finish(4);
    assert!(!order.finished());
    order.segment(1, b"abc", 3, Timestamp(0), &mut |_| ());
    assert!(order.finished());
}

fn pieces(f: impl FnOnce(&mut Reassembler, &mut dyn FnMut(Piece<'_>))) -> Vec<String> {
    let (mut order, mut out) = (Reassembler::default(), vec![]);
    order.begin(1);
    f(&mut order, &mut |piece| {
        out.push(match piece {
            Piece::Data(data, _) => String::from_utf8_lossy(data).into_owned(),
            Piece::Gap(n) | Piece::Skipped(n) => format!("<{n}>"),
        });
    });
    out
}

#[test]
fn a_hole_that_the_receiver_waits_for_is_no_gap() {
    let waits = pieces(|order, out| {
        order.note_acknowledged(1);
        order.segment(11, b"late", 4, Timestamp(0), out);
        assert_eq!(order.deadline(), None);
        order.expire(Timestamp(60_000_000_000), out);
        assert_eq!(order.flush(out), 1, "dropped at the end");
    });
    assert_eq!(waits, [""; 0]);
    let acknowledges = pieces(|order, out| {
        order.note_acknowledged(1);
        order.segment(11, b"late", 4, Timestamp(0), out);
        order.acknowledged(15, false, Timestamp(5), out);
        // The new acknowledgement does not cover the segment. Either the earlier one was forged, or this one is
        // older.
        order.acknowledged(1, false, Timestamp(6), out);
        assert_eq!(order.deadline(), None);
        order.acknowledged(15, false, Timestamp(7), out);
        order.expire(Timestamp(20_000_007), out);
    });
    assert_eq!(acknowledges, ["<10>", "late"]);
}

#[test]
fn data_of_a_syn_waits_for_its_acknowledgement() {
    let acknowledged = pieces(|order, out| {
        order.segment_of_syn(1, b"first", 5, Timestamp(0));
        order.acknowledged(1, false, Timestamp(1), out);
        out(Piece::Gap(0));
        order.acknowledged(6, true, Timestamp(2), out);
    });
    assert_eq!(acknowledged, ["<0>", "first"]);
    let followed = pieces(|order, out| {
        order.segment_of_syn(1, b"first", 5, Timestamp(0));
        order.segment(6, b"second", 6, Timestamp(1), out);
        order.acknowledged(12, false, Timestamp(2), out);
        assert_eq!(order.segment(1, b"first", 5, Timestamp(3), out), Arrival::Retransmitted);
    });
    assert_eq!(followed, ["first", "second"]);
    let of_another = pieces(|order, out| {
        order.segment_of_syn(1, b"forged", 6, Timestamp(0));
        order.begin(501);
        order.segment(501, b"good", 4, Timestamp(1), out);
        order.flush(out);
    });
    assert_eq!(of_another, ["good"]);
}

#[test]
fn a_fin_before_delivered_bytes_was_none() {
    let mut order = Reassembler::default();
    order.begin(1);
    assert!(order.finish(3), "it may come early");
    order.segment(1, b"abc", 3, Timestamp(0), &mut |_| ());
    assert!(!order.finished() && !order.finish(3));
    assert!(!order.finish(4) && order.finished(), "the first one is replaced");
    assert!(order.finish(4) && order.finished(), "a retransmission");
}

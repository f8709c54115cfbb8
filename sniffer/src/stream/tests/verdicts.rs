//! Tests of verdicts, and of which connections are distinguished.

use super::*;

#[test]
fn done_and_give_up_are_verdicts_on_the_connection() {
    let mut b = bench();
    b.data(1, 0, b"a");
    b.data(1, 1, b"done");
    b.data(1, 5, b"x");
    b.segment(2, false, ACK, 0, b"give-up");
    b.segment(1, true, FIN, 6, b"");
    let end = |port, host| SocketAddr::from(([10, 0, 0, host], port));
    let key = |c: u16| FlowKey::new(Realm::default(), Transport::Tcp, end(1000 + c, 1), end(1, 2));
    let shunt = |a, b| Verdict::Shunt { at: [a, b] };
    assert_eq!(b.verdicts, [(key(1), shunt(Some(5), Some(0))), (key(2), shunt(Some(0), Some(7)))], "one each");
    assert_eq!((b.totals.done_with, b.totals.given_up), (1, 1));
    assert_eq!(b.calls(), ["http1 >a", "http1 >done", "http2 <give-up"]);
    assert_eq!(b.sink.counters(), [(PublisherId(1), "shunted", 2)]);
}

/// Opens connection 1, whose windows are 65,535 bytes. Both ends begin at 100.
fn opened() -> Bench {
    let mut b = bench();
    b.ack = 100;
    b.segment(1, true, SYN, 99, b"");
    b.segment(1, false, SYN_ACK, 99, b"");
    b
}

fn known(at: [Option<u32>; 2], now: u64) -> Option<Shunted> {
    Some(Shunted { last: Timestamp(now), at })
}

#[test]
fn the_end_of_a_connection_is_where_capture_says() {
    // Between the verdict and the end, 5 GB pass in each direction, so the sequence numbers have wrapped.
    let passed = 5_000_000_000_u64 as u32;
    for (position, ends, how) in [
        (Some(104 + passed), true, "at the position of capture"),
        (Some(104 + passed - 65_535), true, "within the window"),
        (Some(104 + passed - 65_536), false, "beyond the window"),
        (None, false, "at a position that is not known"),
    ] {
        for flags in [FIN, RST] {
            let mut b = opened();
            b.data(1, 100, b"done");
            assert_eq!(b.verdicts(), [Verdict::Shunt { at: [Some(104), Some(100)] }]);
            b.shunted = known([position, Some(100 + passed)], b.now);
            b.segment(1, true, flags, 104 + passed, b"");
            assert_eq!(b.totals.ignored_fins + b.totals.ignored_resets, u64::from(!ends), "{how} {flags}");
            if flags == FIN {
                assert_eq!(b.verdicts(), [], "the other end may go on");
                b.segment(1, false, FIN, 100 + passed, b"");
            }
            assert_eq!(b.verdicts(), if ends { vec![Verdict::Lift] } else { vec![] }, "{how} {flags}");
            assert_eq!((b.totals.out_of_window, b.totals.bad_ack, b.totals.gaps, b.totals.resynced), (0, 0, 0, 0), "{how}");
        }
    }
}

#[test]
fn what_was_copied_before_the_verdict_was_in_force_may_be_ahead_of_capture() {
    let mut b = opened();
    b.data(1, 100, b"done");
    b.shunted = known([Some(104), Some(100)], b.now);
    for n in 0..100 {
        b.data(1, 104 + n * 10_000, &[b'x'; 10_000]);
    }
    b.segment(1, true, RST, 104 + 1_000_000, b"");
    assert_eq!((b.totals.resets, b.verdicts().last()), (1, Some(&Verdict::Lift)));
}

#[test]
fn a_verdict_that_is_not_in_force_is_made_again() {
    let mut b = opened();
    b.data(1, 100, b"done");
    b.verdicts();
    b.data(1, 104, b"xxxx");
    b.now += SECOND;
    b.segment(1, true, ACK, 108, b"");
    assert_eq!(b.verdicts(), [], "within a second, or without data");
    // The receiver acknowledges what was not copied.
    let far = 108 + (1 << 31) + 5;
    b.data(1, far, b"xxxx");
    assert_eq!(b.verdicts(), [Verdict::Shunt { at: [Some(far + 4), Some(100)] }]);
    b.data(1, far + 4, b"xxxx");
    assert_eq!((b.verdicts(), b.calls()), (vec![], vec!["http1 >done".to_owned()]), "at most once per second");
    assert_eq!(b.sink.counters(), [(PublisherId(1), "shunted", 1)], "it is one connection");
}

#[test]
fn a_connection_that_capture_sees_is_not_idle() {
    let mut b = opened();
    b.data(1, 100, b"done");
    b.data(2, 100, b"a");
    b.shunted = known([None; 2], 50 * SECOND);
    b.at(61 * SECOND);
    assert_eq!((b.totals.idle, b.streams.len()), (1, 1), "the other one has no verdict");
    assert_eq!(b.segment(1, true, SYN, 7, b""), Some(1), "a SYN does not replace an active connection");
    b.at(109 * SECOND);
    assert_eq!(b.streams.len(), 1);
    b.at(122 * SECOND);
    assert_eq!((b.totals.idle, b.streams.len()), (2, 0));
}

#[test]
fn a_connection_that_follows_lifts_the_verdict() {
    let mut b = opened();
    b.data(1, 100, b"done");
    b.verdicts();
    b.segment(1, true, SYN, 5000, b"");
    assert_eq!(b.verdicts(), [], "the SYN may be forged");
    b.ack = 5001;
    b.segment(1, false, SYN_ACK, 7000, b"");
    b.ack = 7001;
    assert_eq!(b.segment(1, true, ACK, 5001, b"done"), Some(2));
    assert_eq!(b.verdicts(), [Verdict::Lift, Verdict::Shunt { at: [Some(5005), Some(7001)] }]);
}

#[test]
fn bytes_that_capture_did_not_copy_are_no_gap() {
    let mut b = opened();
    b.data(1, 100, b"skip 3000000");
    assert_eq!(b.verdicts(), [Verdict::Skip { sender: 0, from: 112, until: 3_000_112 }]);
    // The first segment was copied before the verdict was in force. The second one reaches the end of the range.
    b.data(1, 112, &[b'x'; 1000]);
    b.data(1, 3_000_110, b"xxnext");
    assert_eq!(b.calls(), ["http1 >skip 3000000", "http1 >next after 3000000 and 0 lost"]);
    // A segment behind the end of the range; bytes after the end are missing.
    b.data(1, 3_000_116, b"skip 3000000");
    b.data(1, 6_000_130, b"behind");
    assert_eq!(b.calls(), ["http1 >skip 3000000"]);
    b.data(1, 6_000_128, b"xx");
    assert_eq!(b.calls(), ["http1 >xx after 3000000 and 0 lost", "http1 >behind"]);
    assert_eq!((b.totals.gaps, b.totals.out_of_window, b.totals.early), (0, 0, 1));
}

#[test]
fn a_connection_may_end_within_the_range() {
    for flags in [FIN, RST] {
        let mut b = opened();
        b.data(1, 100, b"skip 3000000");
        // The receiver has acknowledged two million bytes.
        b.ack = 2_000_000;
        b.segment(1, false, ACK, 100, b"");
        b.ack = 100;
        b.segment(1, true, flags, 2_000_100, b"");
        if flags == FIN {
            b.ack = 2_000_101;
            b.segment(1, false, FIN, 100, b"");
        }
        let why = if flags == FIN { "Fin" } else { "Reset" };
        assert_eq!(b.calls(), ["http1 >skip 3000000".to_owned(), format!("http1 >{why} after 1999988"), format!("http1 <{why}")]);
        assert_eq!((b.totals.gaps, b.verdicts().last()), (0, Some(&Verdict::Lift)));
    }
}

#[test]
fn a_reset_within_the_range_counts_within_the_window() {
    for (seq, counts) in [(2_000_000 - 1, false), (2_000_000, true), (2_065_535, true), (2_065_536, false), (112, false)] {
        let mut b = opened();
        b.data(1, 100, b"skip 3000000");
        b.ack = 2_000_000;
        b.segment(1, false, ACK, 100, b"");
        b.segment(1, true, RST, seq, b"");
        // Without skips, 112 is the next number. Here it is known that the stream is further ahead.
        let counts = counts || seq == 112;
        assert_eq!((b.totals.resets, b.totals.ignored_resets), if counts { (1, 0) } else { (0, 1) }, "{seq}");
    }
}

#[test]
fn without_verdicts_missing_bytes_are_a_gap() {
    let mut b = opened();
    b.acts_on_verdicts = false;
    b.data(1, 100, b"skip 3000000");
    b.data(1, 3_000_110, b"xxnext");
    // An acknowledgement far ahead counts from the second one on.
    b.ack = 3_000_116;
    b.segment(1, false, ACK, 100, b"");
    b.segment(1, false, ACK, 100, b"x");
    assert_eq!(b.calls(), ["http1 >skip 3000000", "http1 >next after 2 and 2999998 lost", "http1 <x"]);
    b.ack = 101;
    b.data(1, 3_000_116, b"done");
    assert_eq!((b.calls(), b.verdicts()), (vec!["http1 >done".to_owned()], vec![]));
}

#[test]
fn a_long_skip_is_a_verdict_on_its_range() {
    let mut b = bench();
    // The server's sequence numbers begin at 2^32 - 20, so the range wraps. The server is the second of the ends,
    // ordered by address.
    b.segment(1, false, ACK, u32::MAX - 19, b"skip 2000000");
    let range = (u32::MAX - 7, 2_000_000 - 8);
    assert_eq!(b.verdicts(), [Verdict::Skip { sender: 1, from: range.0, until: range.1 }]);
    // No second verdict is made while the first covers the next byte.
    b.segment(1, false, ACK, u32::MAX - 7, &[b'x'; 100]);
    assert_eq!(b.verdicts(), []);
    // A short range gets no verdict.
    b.data(1, 0, b"skip 1048575");
    b.data(2, 0, b"skip 1048576");
    assert_eq!(b.verdicts(), [Verdict::Skip { sender: 0, from: 12, until: 12 + (1 << 20) }]);
}

#[test]
fn a_skip_longer_than_half_the_sequence_numbers_is_several_verdicts() {
    let mut b = bench();
    b.data(1, 0, b"skip 5000000000");
    for i in 0..9 {
        // No bytes of these segments were captured.
        b.raw(Realm::default(), None, 1, true, TcpFlags(ACK), 15_u32.wrapping_add(i << 29), b"", 1 << 29);
    }
    let longest = 1 << 30;
    let skip = |from: u32, length| Verdict::Skip { sender: 0, from, until: from.wrapping_add(length) };
    let rest = (5_000_000_000_u64 - (1 << 32)) as u32;
    let each: Vec<_> = (0..4).map(|i| skip(15 + (i << 30), longest)).chain([skip(15, rest)]).collect();
    assert_eq!(b.verdicts(), each);

    // Of each range, only the segment that reaches its end is copied.
    let mut b = bench();
    b.data(1, 0, b"skip 5000000000");
    for i in 1..5_u32 {
        b.data(1, 15_u32.wrapping_add(i << 30).wrapping_sub(1), b"x");
    }
    b.data(1, 15_u32.wrapping_add(rest), b"next");
    assert_eq!(b.verdicts(), each);
    assert_eq!(b.calls(), ["http1 >skip 5000000000", "http1 >next after 5000000000 and 0 lost"]);
    assert_eq!((b.totals.gaps, b.totals.resynced, b.totals.out_of_window), (0, 0, 0));
}

#[test]
fn tunnels_tell_connections_apart_and_vlans_only_when_tracked() {
    let mut tunnelled = Realm::default();
    tunnelled.push_tunnel(TunnelKey(7));
    let mut tagged = Realm::default();
    tagged.vlans.push(5);
    let claim = Some(Claim { set: 1, to_server: true });
    let numbers = |track_vlans| {
        let mut b = bench();
        b.track_vlans = track_vlans;
        let numbers = [Realm::default(), tunnelled, tagged, tunnelled, Realm::default()]
            .map(|realm| b.raw(realm, claim, 1, true, TcpFlags(ACK), 0, b"done", 4).unwrap());
        (numbers, b.verdicts.iter().map(|(key, _)| key.realm).collect::<Vec<_>>())
    };
    assert_eq!(numbers(false), ([1, 2, 1, 2, 1], vec![Realm::default(), tunnelled]));
    assert_eq!(numbers(true), ([1, 2, 3, 2, 1], vec![Realm::default(), tunnelled, tagged]));
}

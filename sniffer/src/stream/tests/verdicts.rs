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
    assert_eq!(b.verdicts, [(key(1), Verdict::Shunt), (key(2), Verdict::Shunt)], "one each");
    assert_eq!((b.totals.done_with, b.totals.given_up), (1, 1));
    assert_eq!(b.calls(), ["http1 >a", "http1 >done", "http2 <give-up"]);
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
    let longest = (1 << 31) - 1;
    let skip = |from: u32, length| Verdict::Skip { sender: 0, from, until: from.wrapping_add(length) };
    let rest = (5_000_000_000_u64 - (1 << 32)) as u32;
    assert_eq!(b.verdicts(), [skip(15, longest), skip(15 + (1 << 31), longest), skip(15, rest)]);
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

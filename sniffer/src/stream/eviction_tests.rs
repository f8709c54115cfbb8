//! Tests of which connections are evicted when there are too many, or when they hold too many bytes.

use super::*;

impl Bench {
    /// A connection of client `c` with data, and segments of both sides.
    fn established(&mut self, c: u16, data: &[u8]) {
        self.data(c, 0, b"-");
        self.segment(c, false, ACK, 0, b"");
        self.data(c, 1, data);
        self.calls();
    }

    /// Whether the table has the connection of client `c`. The function sends an acknowledgement without data, which opens no connection.
    fn knows(&mut self, c: u16) -> bool {
        let claim = Some(Claim { set: 1, to_server: false });
        self.raw(Realm::default(), claim, c, false, TcpFlags(ACK), 1, b"", 0).is_some()
    }

    fn evicted(&self) -> [u64; 3] {
        [self.totals.evicted_half_open, self.totals.evicted, self.totals.evicted_remembered]
    }
}

#[test]
fn a_flood_of_half_open_connections_evicts_no_other() {
    let mut b = Bench::new(50, usize::MAX);
    (0..20).for_each(|c| b.established(c, b"a"));
    for c in 1000..9000 {
        // Connections with data, without data, and with a response of the server.
        match c % 3 {
            0 => b.data(c, 0, b"remember"),
            1 => b.segment(c, true, SYN, 7, b""),
            _ => b.segment(c, true, SYN, 7, b"").and(b.segment(c, false, SYN | ACK, 7, b"")),
        };
    }
    assert_eq!((0..20).filter(|c| b.knows(*c)).count(), 20);
    assert_eq!((b.evicted(), b.streams.len()), ([8000 - 30, 0, 0], 50));
}

#[test]
fn live_connections_are_evicted_in_the_order_of_last_use_and_remembered_ones_last() {
    let mut b = Bench::new(8, usize::MAX);
    b.established(0, b"remember");
    b.at(100 * SECOND);
    assert!(b.calls().is_empty(), "it lasts");
    for c in 1..8 {
        b.established(c, if c == 3 { b"hold 100000" } else { b"a" });
    }
    b.data(1, 2, b"again");
    b.established(10, b"a"); // evicts connection 2
    b.established(11, b"a"); // This segment evicts connection 3, although connection 3 is large.
    assert_eq!((0..12).filter(|c| b.knows(*c)).collect::<Vec<_>>(), [0, 1, 4, 5, 6, 7, 10, 11]);
    assert_eq!(b.evicted(), [0, 2, 0]);
}

#[test]
fn a_remembered_connection_that_goes_on_is_a_live_one_again() {
    let mut b = Bench::new(8, usize::MAX);
    b.established(0, b"remember");
    b.established(1, b"remember");
    b.at(100 * SECOND);
    b.data(0, 9, b"a");
    b.calls();
    assert_eq!(b.at(3602 * SECOND).calls(), ["http2 >Idle", "http2 <Idle"], "not moved by anything but its own packets");
    assert_eq!(b.at(3702 * SECOND).calls(), ["http1 >Idle", "http1 <Idle"]);
}

#[test]
fn what_is_remembered_has_a_bound_of_its_own() {
    let mut b = Bench::new(100, usize::MAX);
    (0..60).for_each(|c| b.established(c, b"remember"));
    b.at(100 * SECOND);
    assert_eq!((b.streams.len(), b.evicted()), (25, [0, 0, 35]));
    assert_eq!((0..60).filter(|c| b.knows(*c)).collect::<Vec<_>>(), (35..60).collect::<Vec<_>>(), "those silent longest go first");
    let mut b = Bench::new(100, 4_000_000);
    (0..20).for_each(|c| b.established(c, b"hold 100000"));
    for c in 0..20 {
        b.data(c, 12, b"remember");
        b.data(c, 20, b"hold 100000");
    }
    b.at(100 * SECOND);
    assert_eq!((b.streams.len(), b.evicted()), (9, [0, 0, 11]), "a quarter of the bytes");
}

#[test]
fn a_few_large_connections_evict_each_other_and_many_small_ones_too() {
    let mut b = Bench::new(1000, 2_000_000);
    (0..100).for_each(|c| b.established(c, b"hold 1000"));
    for c in 100..200 {
        b.established(c, b"hold 500000");
    }
    assert_eq!((0..100).filter(|c| b.knows(*c)).count(), 100, "no small one");
    assert_eq!((b.knows(199), b.knows(100)), (true, false));
    assert!(b.streams.held() <= 2_000_000, "{}", b.streams.held());
    let mut b = Bench::new(10_000, 2_000_000);
    b.established(0, b"hold 500000");
    (1..5000).for_each(|c| b.established(c, b"hold 10000"));
    assert_eq!((b.knows(0), b.knows(4999), b.knows(1)), (true, true, false), "the small ones are to blame");
    assert!(b.streams.held() <= 2_000_000, "{}", b.streams.held());
}

#[test]
fn half_open_connections_go_first_where_that_frees_anything() {
    let mut b = Bench::new(100_000, 2_000_000);
    b.established(0, b"hold 500000");
    for c in 1..20_000 {
        b.segment(c, true, SYN, 7, b"");
    }
    assert!(b.knows(0) && b.evicted()[0] > 10_000 && b.evicted()[1] == 0, "{:?}", b.evicted());
    assert!(b.streams.held() <= 2_000_000, "{}", b.streams.held());
}

#[test]
fn timers_of_connections_that_are_gone_do_not_pile_up() {
    let mut b = Bench::new(10, usize::MAX);
    for c in 0..20_000 {
        b.established(c, b"wake 1000000000000");
    }
    assert!(b.streams.held() < 200_000, "{}", b.streams.held());
}

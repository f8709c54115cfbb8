//! Injects forged segments into a connection of four HTTP transactions. Exactly these four transactions must be reported,
//! for all kinds and positions of forged segments. The exceptions are segments that the real receiver would accept too:
//! those at the next sequence number with a valid acknowledgement.

use super::*;

const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const DATA: u8 = 0x18;
const SYN_ACK: u8 = 0x12;
/// Largest window of the receiver in these connections, in bytes.
const WINDOW: u32 = 65_535;

/// How the segments are sent.
#[derive(Clone, Copy, Debug)]
enum Carrier {
    V4,
    V6,
    Vlan,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    to_server: bool,
    flags: u8,
    seq: u32,
    ack: u32,
    data: &'static [u8],
}

const REQUESTS: [&[u8]; 4] = [
    b"GET /good/0 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /good/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /good/2 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /good/3 HTTP/1.1\r\nHost: a\r\n\r\n",
];
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
const EVIL: [&[u8]; 2] = [b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 500 Evil\r\nContent-Length: 0\r\n\r\n"];

/// The connection without forged segments; its sequence numbers wrap.
fn conversation() -> Vec<Segment> {
    let (mut next, mut all) = ([u32::MAX - 40, 5000_u32], Vec::new());
    let mut add = |to_server: bool, flags: u8, data: &'static [u8]| {
        let (own, other) = if to_server { (0, 1) } else { (1, 0) };
        let ack = if flags & ACK == 0 { 0 } else { next[other] };
        all.push(Segment { to_server, flags, seq: next[own], ack, data });
        next[own] = next[own].wrapping_add(data.len() as u32 + u32::from(flags & 3 != 0));
    };
    add(true, SYN, b"");
    add(false, SYN_ACK, b"");
    add(true, ACK, b"");
    for request in REQUESTS {
        add(true, DATA, request);
        add(false, DATA, RESPONSE);
    }
    add(true, FIN, b"");
    add(false, FIN, b"");
    add(true, ACK, b"");
    all
}

/// Segments forged with knowledge of the next sequence numbers: `own` of the direction, `other` of the other direction.
fn forged(to_server: bool, own: u32, other: u32) -> Vec<Segment> {
    let evil = EVIL[usize::from(!to_server)];
    let mut all = Vec::new();
    for data in [b"", evil] {
        let mut add = |flags: u8, seq: u32, ack: u32| all.push(Segment { to_server, flags, seq, ack, data });
        let behind = [1, 50, 4000, 100_000, 10_000_000, 1_500_000_000].map(|n: u32| own.wrapping_sub(n));
        let beyond = [100_000, 10_000_000, 1_500_000_000].map(|n: u32| own.wrapping_add(n));
        for seq in behind.into_iter().chain(beyond).chain([own.wrapping_add(1), own.wrapping_add(5000)]) {
            add(RST, seq, other);
            add(RST | ACK, seq, other);
        }
        for seq in behind.into_iter().filter(|seq| own.wrapping_sub(*seq) >= 50).chain(beyond) {
            add(DATA, seq, other);
            add(FIN, seq, other);
            add(FIN | PSH, seq, other.wrapping_add(100_000));
        }
        // The segment is within the window. It is held until it is known that the bytes before it do not arrive.
        add(FIN, own.wrapping_add(5000), other);
        add(DATA, own.wrapping_add(WINDOW - 1000), other);
        for seq in [77_777, own.wrapping_add(100), own.wrapping_sub(100)] {
            add(SYN, seq, 0);
            for ack in [5, other, other.wrapping_add(1)] {
                add(SYN_ACK, seq, ack);
            }
        }
        for flags in [0, PSH, 0x01, 0x28] {
            add(flags, own, 0);
            add(flags, own, other);
        }
        for ack in [200_000, 1_500_000_000, 200_000_u32.wrapping_neg(), 1_500_000_000_u32.wrapping_neg()] {
            add(DATA, own, other.wrapping_add(ack));
            add(FIN, own, other.wrapping_add(ack));
        }
    }
    all.push(Segment { to_server, flags: 0x38, seq: own, ack: other, data: b"" }); // URG
    all
}

impl Bench {
    fn play(&mut self, segment: &Segment, carrier: Carrier) {
        let (source, destination) = if segment.to_server { (40_000_u16, 80_u16) } else { (80, 40_000) };
        let mut tcp = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        tcp.extend([segment.seq, segment.ack].map(u32::to_be_bytes).concat());
        tcp.extend([0x50, segment.flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(segment.data);
        self.tags = if matches!(carrier, Carrier::Vlan) { vec![7] } else { vec![] };
        if !matches!(carrier, Carrier::V6) {
            return self.ip(6, segment.to_server, &tcp);
        }
        let mut data = vec![0x60, 0, 0, 0];
        data.extend((tcp.len() as u16).to_be_bytes());
        data.extend([6, 64]);
        for end in if segment.to_server { [1, 2] } else { [2, 1] } {
            data.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end]);
        }
        data.extend(tcp);
        self.now += 1000;
        let (time, wire_len) = (Timestamp(self.now), data.len() as u32);
        self.engine.frame(&Frame {
            time,
            link: Link::RawIp,
            data: &data,
            wire_len,
            tag: None,
            ifindex: 0,
            segments: Default::default(),
            task: Default::default(),
        });
    }

    /// Paths and status of all reported transactions.
    fn paths(&mut self) -> Vec<String> {
        self.engine.finish(&*self.control);
        let documents = std::mem::take(&mut *self.documents.lock().unwrap());
        documents.iter().map(|d| format!("{} {}", d["url"]["path"].as_str().unwrap_or("-"), d["status"].as_str().unwrap_or("-"))).collect()
    }
}

fn bench() -> Bench {
    Bench::new(settings(&[(1, "http", "{}", &[80])], None))
}

fn good() -> Vec<String> {
    (0..4).map(|n| format!("/good/{n} OK")).collect()
}

/// Sends the connection, with these segments before segment `at`.
fn with(at: usize, extra: &[Segment], carrier: Carrier, pause: u64) -> Vec<String> {
    let mut b = bench();
    for (number, segment) in conversation().iter().enumerate() {
        if number == at {
            extra.iter().for_each(|segment| b.play(segment, carrier));
            b.at(pause);
        }
        b.play(segment, carrier);
    }
    b.paths()
}

/// The next sequence numbers of both directions before segment `at`: the client's and the server's.
fn next(at: usize) -> [u32; 2] {
    let end = |to_server: bool| {
        let all = conversation();
        let last = all.iter().take(at).rfind(|s| s.to_server == to_server);
        let after = |s: &Segment| s.seq.wrapping_add(s.data.len() as u32 + u32::from(s.flags & 3 != 0));
        // The end has not sent its SYN yet: use the sequence number of the end's SYN.
        last.map_or_else(|| all.iter().find(|s| s.to_server == to_server).map_or(0, |s| s.seq.wrapping_add(1)), after)
    };
    [end(true), end(false)]
}

/// Until the server has answered the SYN, its sequence numbers are unknown: data of the client at the right number
/// cannot be distinguished from real data, whatever it acknowledges. The same holds for a reset with the number that
/// the SYN requires.
fn could_be_good(at: usize, segment: &Segment) -> bool {
    at == 1 && segment.to_server && segment.seq == next(1)[0] && segment.flags & ACK != 0
}

#[test]
fn one_forged_segment_anywhere_changes_nothing() {
    assert_eq!(with(usize::MAX, &[], Carrier::V4, 0), good());
    let mut failures = Vec::new();
    for (at, carrier) in
        (1..=11).map(|at| (at, Carrier::V4)).chain([(2, Carrier::V6), (5, Carrier::V6), (3, Carrier::Vlan), (6, Carrier::Vlan)])
    {
        let [client, server] = next(at);
        let all = forged(true, client, server).into_iter().chain(forged(false, server, client));
        for segment in all.filter(|segment| !could_be_good(at, segment)) {
            let got = with(at, &[segment], carrier, 0);
            if got != good() {
                failures.push(format!(
                    "before {at}, {carrier:?}: {segment:?} own+{} gives {got:?}",
                    segment.seq.wrapping_sub(if segment.to_server { client } else { server }) as i32
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures[..failures.len().min(30)].join("\n"));
}

#[test]
fn a_pause_after_a_forged_segment_changes_nothing() {
    for at in [3, 4, 5] {
        let [client, server] = next(at);
        for segment in forged(true, client, server).into_iter().chain(forged(false, server, client)) {
            // The pause is longer than the time limit of a hole, and shorter than the time-out of a
            // transaction.
            assert_eq!(with(at, &[segment], Carrier::V4, 8), good(), "before {at}: {segment:?}");
        }
    }
}

#[test]
fn forged_segments_of_both_directions_change_nothing() {
    for at in 2..=11 {
        let [client, server] = next(at);
        let (up, down) = (forged(true, client, server), forged(false, server, client));
        for (a, b) in up.iter().zip(&down) {
            assert_eq!(with(at, &[*a, *b], Carrier::V4, 0), good(), "before {at}: {a:?} {b:?}");
        }
    }
    // Segments of both ends are forged: data far ahead with its acknowledgement, and a SYN with its
    // SYN-ACK.
    let [client, server] = next(5);
    let ahead = Segment { to_server: true, flags: DATA, seq: client.wrapping_add(100_000), ack: server, data: EVIL[0] };
    let acknowledged = Segment { to_server: false, flags: ACK, seq: server, ack: client.wrapping_add(100_033), data: b"" };
    let syn = Segment { to_server: true, flags: SYN, seq: 77_777, ack: 0, data: b"" };
    let answer = Segment { to_server: false, flags: SYN_ACK, seq: 88_888, ack: 77_778, data: b"" };
    assert_eq!(with(5, &[ahead, acknowledged], Carrier::V4, 0), good());
    assert_eq!(with(5, &[syn, answer], Carrier::V4, 0), good());
}

#[test]
fn the_first_ignored_segment_of_each_kind_is_warned_of() {
    let settings = settings(&[(1, "http", "{}", &[80])], None);
    let warned = settings.warned.clone();
    let mut b = Bench::new(settings);
    conversation().iter().for_each(|segment| b.play(segment, Carrier::V4));
    // Segments after the end of the connection are ordinary. A SYN begins the next connection.
    let late = forged(true, next(12)[0], next(12)[1]);
    late.iter().filter(|segment| segment.flags & SYN == 0).for_each(|segment| b.play(segment, Carrier::V4));
    assert_eq!(warned.kinds(), 0);
    let all = conversation();
    let mut b = Bench::new({
        let mut settings = self::settings(&[(1, "http", "{}", &[80])], None);
        settings.warned = warned.clone();
        settings
    });
    all[..5].iter().for_each(|segment| b.play(segment, Carrier::V4));
    let [client, server] = next(5);
    forged(true, client, server).iter().for_each(|segment| b.play(segment, Carrier::V4));
    let counters = ["ignored_resets", "ignored_syns", "ignored_fins", "without_ack", "bad_ack", "out_of_window"];
    let counted = counters.map(|name| b.counter(&format!("tcp.{name}")).unwrap_or_default() > 0);
    assert_eq!((counted, warned.kinds()), ([true; 6], 6));
}

/// The connection as captured without the segments in `lost`.
fn losing(lost: impl Fn(usize) -> bool) -> (Vec<String>, Bench) {
    let mut b = bench();
    for (_, segment) in conversation().iter().enumerate().filter(|(number, _)| !lost(*number)) {
        b.play(segment, Carrier::V4);
    }
    (b.paths(), b)
}

/// Whether `got` contains the transactions of `want`; those of the missing segments may have been reported in any form.
fn includes(got: &[String], want: &[&str]) -> bool {
    want.iter().all(|one| got.iter().filter(|path| path == one).count() == 1)
}

#[test]
fn what_the_capture_loses_costs_what_was_in_it() {
    let all = ["/good/0 OK", "/good/1 OK", "/good/2 OK", "/good/3 OK"];
    // The SYN, the SYN-ACK and the acknowledgement are missing in every combination.
    for mask in 1..8_usize {
        let (got, _) = losing(|number| number < 3 && mask >> number & 1 == 1);
        assert_eq!(got, all, "handshake without {mask:03b}");
    }
    // One direction is not captured. This is tested with and without that direction's part of the handshake.
    let requests = losing(|number| !conversation()[number].to_server).0;
    assert_eq!(requests.len(), 4, "{requests:?}");
    // The second transaction is missing in the capture.
    let (got, b) = losing(|number| number == 5 || number == 6);
    assert!(includes(&got, &[all[0], all[2], all[3]]), "{got:?}");
    assert_eq!(b.counter("tcp.bad_ack"), Some(0));
}

/// The connection with `lost` bytes missing in both directions before its second transaction.
fn far(lost: u32) -> (Vec<String>, Bench) {
    let mut b = bench();
    for (number, mut segment) in conversation().into_iter().enumerate() {
        if number >= 5 {
            segment.seq = segment.seq.wrapping_add(lost);
            segment.ack = segment.ack.wrapping_add(lost);
        }
        b.play(&segment, Carrier::V4);
    }
    (b.paths(), b)
}

#[test]
fn a_connection_is_followed_over_any_loss() {
    for lost in [1000, 70_000, 10_000_000, 1 << 30, 3 << 30] {
        let (got, b) = far(lost);
        // The loss of more bytes than the window costs one more transaction, whose segments only show the new sequence
        // numbers of both ends.
        let want: &[&str] = if lost < WINDOW {
            &["/good/0 OK", "/good/1 OK", "/good/2 OK", "/good/3 OK"]
        } else {
            &["/good/0 OK", "/good/2 OK", "/good/3 OK"]
        };
        assert!(includes(&got, want), "{lost} bytes: {got:?}");
        assert_eq!(b.counter("tcp.resynced"), Some(if lost < WINDOW { 0 } else { 2 }), "{lost} bytes");
    }
}

#[test]
fn the_next_connection_between_the_same_ends() {
    for (gap, fins) in [(0, false), (0, true), (100, false)] {
        let mut b = bench();
        let first = conversation();
        let end = if fins { first.len() } else { first.len() - 3 };
        first[..end].iter().for_each(|segment| b.play(segment, Carrier::V4));
        b.at(gap);
        for mut segment in conversation() {
            let (own, other) = if segment.to_server { (7_000_000, 9_000_000) } else { (9_000_000, 7_000_000) };
            segment.seq = segment.seq.wrapping_add(own);
            segment.ack = if segment.flags & ACK == 0 { 0 } else { segment.ack.wrapping_add(other) };
            b.play(&segment, Carrier::V4);
        }
        assert_eq!(b.paths(), [good(), good()].concat(), "after {gap} s, with FINs: {fins}");
        assert_eq!(b.counter("tcp.connections"), Some(2));
    }
}

#[test]
fn both_ends_open_at_once() {
    let mut b = bench();
    let mut all = conversation();
    // The SYNs of both ends cross, and each end answers with the same sequence number (RFC 9293, figure 8).
    let (client, server) = (all[0].seq, all[1].seq);
    let answers = [(true, client, server), (false, server, client)].map(|(to_server, seq, other)| Segment {
        to_server,
        flags: SYN_ACK,
        seq,
        ack: other.wrapping_add(1),
        data: b"",
    });
    all[1] = Segment { flags: SYN, ack: 0, ..all[1] };
    all.splice(2..3, answers);
    all.iter().for_each(|segment| b.play(segment, Carrier::V4));
    assert_eq!(b.paths(), good());
    assert_eq!(b.counter("tcp.connections"), Some(1));
}

#[test]
fn of_several_syns_and_answers_those_count_that_are_acknowledged() {
    let all = conversation();
    let syns: Vec<Segment> = [11, 22, 33].iter().map(|&seq| Segment { seq, ..all[0] }).collect();
    let answers: Vec<Segment> = [44, 55, 66].iter().map(|&seq| Segment { seq, ..all[1] }).collect();
    for at in 0..=syns.len() {
        let mut b = bench();
        let play = |b: &mut Bench, others: &[Segment], good: &Segment| {
            others[..at].iter().chain([good]).chain(&others[at..]).for_each(|segment| b.play(segment, Carrier::V4));
        };
        play(&mut b, &syns, &all[0]);
        play(&mut b, &answers, &all[1]);
        all[2..].iter().for_each(|segment| b.play(segment, Carrier::V4));
        assert_eq!(b.paths(), good(), "the good ones come after {at} others");
        // The capture begins with the responses, without the acknowledgement of the handshake; they are seconds apart.
        let mut b = bench();
        for segment in answers[..at].iter().chain([&all[1]]).chain(&answers[at..]) {
            b.play(segment, Carrier::V4);
            b.at(9);
        }
        all[3..].iter().for_each(|segment| b.play(segment, Carrier::V4));
        assert_eq!(b.paths(), good(), "the good answer comes after {at} others");
    }
}

#[test]
fn a_keep_alive_where_the_capture_joins_is_no_data() {
    let byte = |number: usize| {
        let segment = conversation()[number];
        Segment { flags: ACK, seq: segment.seq.wrapping_sub(1), data: b"\0", ..segment }
    };
    let answer = Segment { flags: ACK, data: b"", ..conversation()[4] };
    // The single byte is sent by the client, acknowledged or not, once or repeatedly, or by the
    // server.
    let before = |number: usize| Segment { ack: conversation()[number].seq, ..answer };
    for (extra, pause) in
        [(vec![byte(3)], 2), (vec![byte(3), before(3)], 0), (vec![byte(3), byte(3), byte(3)], 2), (vec![byte(3), before(3), byte(3)], 60)]
    {
        let mut b = bench();
        for segment in &extra {
            b.play(segment, Carrier::V4);
            b.at(pause);
        }
        conversation()[3..].iter().for_each(|segment| b.play(segment, Carrier::V4));
        assert_eq!(b.paths(), good(), "{extra:?}");
    }
    // A first byte that is followed by more data at once is data, whatever its flags.
    let mut b = bench();
    for (number, segment) in conversation().iter().enumerate().skip(3) {
        if number > 3 {
            b.play(segment, Carrier::V4);
            continue;
        }
        for at in 0..segment.data.len() {
            b.play(
                &Segment { flags: ACK, seq: segment.seq.wrapping_add(at as u32), data: &segment.data[at..=at], ..*segment },
                Carrier::V4,
            );
        }
    }
    assert_eq!(b.paths(), good());
}

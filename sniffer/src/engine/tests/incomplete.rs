//! Tests of datagrams of which some fragments were not captured.

use super::*;

/// A DNS query and an answer with ten addresses, each as a UDP datagram.
fn query() -> Vec<u8> {
    udp([4000, 53], b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01")
}

fn answer() -> Vec<u8> {
    let mut message = b"\0\x07\x81\x80\0\x01\0\x0a\0\0\0\0\x01a\0\0\x01\0\x01".to_vec();
    (0..10).for_each(|n| message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, n]));
    udp([53, 4000], &message)
}

fn udp(ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    [&[ports[0], ports[1], payload.len() as u16 + 8, 0].map(u16::to_be_bytes).concat()[..], payload].concat()
}

struct Lossy {
    bench: Bench,
    v6: bool,
}

impl Lossy {
    fn new(v6: bool) -> Self {
        let settings = settings(&[(1, "dns", "{}", &[53]), (2, "icmp", "{}", &[]), (3, "http", "{}", &[80])], Some("{}"));
        Self { bench: Bench::new(settings), v6 }
    }

    /// Sends bytes of a datagram as a fragment. `captured`: how many of them were captured.
    fn fragment(&mut self, to_server: bool, protocol: u8, datagram: &[u8], range: std::ops::Range<usize>, captured: usize) {
        let b = &mut self.bench;
        let (from, to) = if to_server { (1, 2) } else { (2, 1) };
        let more = range.end < datagram.len();
        let place = (range.start as u16) | u16::from(more);
        let mut data = if self.v6 {
            let length = (range.len() as u16 + 8).to_be_bytes();
            let ip = |last| [&[0xfd][..], &[0; 14], &[last]].concat();
            let place = place.to_be_bytes();
            [&[0x60, 0, 0, 0, length[0], length[1], 44, 64][..], &ip(from), &ip(to), &[protocol, 0, place[0], place[1], 0, 0, 0, 9]]
                .concat()
        } else {
            let length = (range.len() as u16 + 20).to_be_bytes();
            let place = (place >> 3 | u16::from(more) << 13).to_be_bytes();
            vec![0x45, 0, length[0], length[1], 0, 9, place[0], place[1], 64, protocol, 0, 0, 10, 0, 0, from, 10, 0, 0, to]
        };
        data.extend_from_slice(&datagram[range.clone()]);
        let wire_len = data.len() as u32;
        data.truncate(data.len() - (range.len() - captured));
        b.now += 1000;
        let (time, segments) = (Timestamp(b.now), Default::default());
        b.engine.frame(&Frame {
            time,
            link: Link::RawIp,
            data: &data,
            wire_len,
            tag: None,
            ifindex: 0,
            segments,
            task: Default::default(),
        });
    }

    fn ask(&mut self) {
        let query = query();
        self.fragment(true, 17, &query, 0..query.len(), query.len());
    }

    fn events(&mut self) -> Vec<Value> {
        self.bench.engine.flush();
        std::mem::take(&mut *self.bench.documents.lock().unwrap()).into_iter().filter(|d| d["type"] != "flow").collect()
    }
}

#[test]
fn a_response_whose_other_fragments_are_missing_is_read_as_far_as_it_goes() {
    let answer = answer();
    for v6 in [false, true] {
        // Fragments, bytes captured of the first one, addresses that can be read.
        for (parts, captured, addresses) in [
            (std::iter::once(0..64).collect(), 64, 2),
            (vec![0..64, 64..96], 64, 4),
            (vec![0..64, 96..answer.len()], 64, 2),
            (vec![96..answer.len(), 0..64], 64, 2),
            (vec![0..64, 64..96, 96..answer.len()], 48, 1),
        ] {
            // Time advances without packets or with the next packet, or the input ends.
            for end in ["idle", "packet", "end"] {
                let mut l = Lossy::new(v6);
                l.ask();
                for part in &parts {
                    let captured = if part.start == 0 { captured } else { part.len() };
                    l.fragment(false, 17, &answer, part.clone(), captured);
                }
                assert_eq!(l.events().len(), 0);
                match end {
                    "idle" => l.bench.at(2),
                    "packet" => {
                        l.bench.now += 60 * SECOND;
                        l.bench.udp(5000, 9999, true, b"x");
                        l.bench.udp(5000, 9999, true, b"x");
                    }
                    _ => l.bench.engine.finish(&Recording::default()),
                }
                let events = l.events();
                let of = format!("{parts:?}, {end}, IPv6 {v6}: {events:#?}");
                assert_eq!(events.len(), 1, "{of}");
                assert_eq!(events[0]["dns"]["response_code"], "NOERROR", "{of}");
                assert_eq!(events[0]["dns"]["answers"].as_array().map(Vec::len), Some(addresses), "{of}");
                assert_eq!(events[0]["error"]["message"], "Response: Message's data is incomplete", "{of}");
                assert_eq!(events[0]["destination"]["bytes"], answer.len() - 8, "{of}");
            }
        }
    }
}

#[test]
fn a_datagram_without_its_beginning_is_not_reported() {
    let answer = answer();
    let mut l = Lossy::new(false);
    l.fragment(false, 17, &answer, 64..96, 32);
    l.fragment(false, 17, &answer, 96..answer.len(), answer.len() - 96);
    l.bench.at(2);
    assert_eq!((l.events(), l.bench.counter("decode.fragments_beginnings")), (vec![], Some(0)));
    // Overlapping fragments with different bytes make the datagram invalid.
    let mut other = answer.clone();
    other[40] ^= 1;
    l.fragment(false, 17, &answer, 0..64, 64);
    l.fragment(false, 17, &other, 0..64, 64);
    l.bench.at(2);
    assert_eq!((l.events(), l.bench.counter("decode.fragments_beginnings")), (vec![], Some(0)));
}

#[test]
fn a_ping_is_answered_by_its_first_fragment() {
    let ping = |kind| [&[kind, 0, 0, 0, 0, 1, 0, 1][..], &[7; 3000]].concat();
    let mut l = Lossy::new(false);
    for (to_server, kind) in [(true, 8), (false, 0)] {
        l.fragment(to_server, 1, &ping(kind), 0..1480, 1480);
    }
    l.bench.at(2);
    let events = l.events();
    assert_eq!((events.len(), &events[0]["status"], &events[0]["type"]), (1, &"OK".into(), &"icmp".into()), "{events:#?}");
}

#[test]
fn flows_count_each_fragment_once() {
    let answer = answer();
    let mut l = Lossy::new(false);
    l.fragment(false, 17, &answer, 0..64, 64);
    l.fragment(false, 17, &answer, 64..96, 32);
    l.bench.at(5);
    l.bench.engine.finish(&Recording::default());
    l.bench.engine.flush();
    let documents = l.bench.documents.lock().unwrap();
    let flows: Vec<&Value> = documents.iter().filter(|d| d["type"] == "flow").collect();
    let packets = |flow: &Value| flow["network"]["packets"].as_u64().unwrap_or_default();
    assert_eq!((flows.len(), flows.iter().map(|flow| packets(flow)).sum::<u64>()), (1, 2), "{flows:#?}");
}

/// A TCP segment between port 4000 of the client and port 80 of the server.
fn tcp(to_server: bool, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let ports = if to_server { [4000_u16, 80] } else { [80, 4000] };
    let numbers = [seq, ack].map(u32::to_be_bytes).concat();
    [&ports.map(u16::to_be_bytes).concat()[..], &numbers, &[0x50, flags, 0xff, 0xff, 0, 0, 0, 0], payload].concat()
}

/// A TCP connection, with the next sequence numbers of client and server.
struct Exchange {
    l: Lossy,
    seq: [u32; 2],
}

impl Exchange {
    fn whole(&mut self, to_server: bool, flags: u8, payload: &[u8]) {
        let (from, to) = if to_server { (0, 1) } else { (1, 0) };
        let segment = tcp(to_server, self.seq[from], self.seq[to], flags, payload);
        self.l.fragment(to_server, 6, &segment, 0..segment.len(), segment.len());
        self.seq[from] += payload.len() as u32 + u32::from(flags & 0x03 != 0);
    }

    fn ask(&mut self, path: &str) {
        self.whole(true, ACK, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    }
}

#[test]
fn a_tcp_segment_whose_other_fragments_are_missing_is_read_as_far_as_it_goes() {
    let response = [&b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n"[..], &[b'x'; 2000]].concat();
    let length = response.len() + 20;
    for v6 in [false, true] {
        // Fragments, and how many bytes of the first one were captured.
        for (parts, captured) in [
            (std::iter::once(0..1400).collect(), 1400),
            (vec![0..1400, 1400..1600], 1400),
            (vec![0..1400, 1600..length], 1400),
            (vec![1600..length, 0..1400], 1400),
            (vec![0..1400, 1400..length], 100),
        ] {
            for flags in [ACK, FIN] {
                for retransmitted in [false, true] {
                    let mut e = Exchange { l: Lossy::new(v6), seq: [1000, 5000] };
                    e.whole(true, SYN, b"");
                    e.whole(false, SYN | ACK, b"");
                    e.ask("/first");
                    let segment = tcp(false, e.seq[1], e.seq[0], flags, &response);
                    for part in &parts {
                        let captured = if part.start == 0 { captured } else { part.len() };
                        e.l.fragment(false, 6, &segment, part.clone(), captured);
                    }
                    if retransmitted {
                        e.whole(false, flags, &response);
                    } else {
                        e.seq[1] += response.len() as u32 + u32::from(flags == FIN);
                    }
                    // A connection that the server has closed has no second response.
                    let expected = if flags == FIN {
                        e.whole(true, FIN, b"");
                        1
                    } else {
                        e.ask("/second");
                        e.whole(false, ACK, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                        2
                    };
                    for second in 2..10 {
                        e.l.bench.at(second);
                    }
                    e.l.bench.engine.finish(&Recording::default());
                    let events = e.l.events();
                    let of = format!("{parts:?}, {captured}, flags {flags:#x}, IPv6 {v6}, retransmitted {retransmitted}: {events:#?}");
                    assert_eq!(events.len(), expected, "{of}");
                    assert_eq!(
                        (&events[0]["url"]["path"], &events[0]["http"]["response"]["status_code"]),
                        (&"/first".into(), &200.into()),
                        "{of}"
                    );
                    assert_eq!(events[0]["error"].is_null(), retransmitted, "{of}");
                    if let Some(second) = events.get(1) {
                        assert_eq!(
                            (&second["url"]["path"], &second["status"], &second["error"]),
                            (&"/second".into(), &"OK".into(), &Value::Null),
                            "{of}"
                        );
                    }
                }
            }
        }
    }
}

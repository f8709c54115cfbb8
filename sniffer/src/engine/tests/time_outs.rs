//! Tests of the time-outs of requests in files that are read with `packetbeat.compatibility: strict`. In Packetbeat time-outs run on the wall
//! clock.

use super::*;
use std::time::Duration;

#[test]
fn time_outs_strike_in_a_strict_file_read_at_its_own_pace() {
    let reported = |real_time| {
        let mut settings = settings(&[(1, "dns", "{transaction_timeout: 2s}", &[53])], None);
        (settings.strict, settings.real_time) = (true, real_time);
        let mut b = Bench::new(settings);
        for seconds in [1000, 1010] {
            b.now = u64::from(seconds) * SECOND;
            b.udp(seconds, 53, true, b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01");
        }
        b.documents().len()
    };
    assert_eq!((reported(true), reported(false)), (1, 0));
}

const GET: &[u8] = b"GET /a HTTP/1.1\r\n\r\n";
const FOUND: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
/// A DNS query over TCP, and its answer.
const QUERY: &[u8] = b"\0\x13\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
const ANSWER: &[u8] = b"\0\x13\0\x01\x81\x80\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
/// A Thrift call of the method `a` with a framed transport and the binary protocol, and its reply.
const CALL: &[u8] = b"\0\0\0\x0e\x80\x01\0\x01\0\0\0\x01a\0\0\0\x07\0";
const REPLY: &[u8] = b"\0\0\0\x0e\x80\x01\0\x02\0\0\0\x01a\0\0\0\x07\0";

/// A request over TCP of each protocol that reports requests without a response, with its response, and the port.
const EXCHANGES: [(&str, u16, &[u8], &[u8]); 4] =
    [("http", 80, GET, FOUND), ("dns", 53, QUERY, ANSWER), ("memcache", 11211, b"get a\r\n", b"END\r\n"), ("thrift", 9090, CALL, REPLY)];

/// The status of all documents: a request, its response after 1 s, another request, its response after 5 s of silence, and a third request
/// without a response.
fn statuses(protocol: &str, port: u16, exchange: (&[u8], &[u8]), set: impl FnOnce(&mut Settings)) -> Vec<String> {
    let (request, response) = exchange;
    let options = format!("{{transaction_timeout: 2s, transport_type: framed, type: {protocol}}}");
    let mut settings = settings(&[(1, protocol, &options, &[port])], None);
    set(&mut settings);
    let mut b = Bench::new(settings);
    for (n, pause) in (0..).zip([1, 5]) {
        b.tcp(4000, port, true, ACK, 1 + n * request.len() as u32, request);
        b.at(pause);
        b.tcp(4000, port, false, ACK, 1 + n * response.len() as u32, response);
    }
    b.tcp(4000, port, true, ACK, 1 + 2 * request.len() as u32, request);
    b.engine.finish(&Recording::default());
    b.documents().iter().map(|d| d.split(' ').nth(2).unwrap_or_default().to_owned()).collect()
}

#[test]
fn requests_on_connections_in_a_strict_file_read_at_its_own_pace() {
    for (protocol, port, request, response) in EXCHANGES {
        let got = statuses(protocol, port, (request, response), |s| (s.strict, s.real_time) = (true, true));
        // The second request has timed out. Its response has no request, and the third request waits at the end.
        assert_eq!(got.first().map(String::as_str), Some("OK"), "{protocol}: {got:?}");
        assert!(protocol == "thrift" || got[1..].iter().all(|status| status != "OK"), "{protocol}: {got:?}");
        assert!(got.len() >= 2, "{protocol}: {got:?}");
    }
}

#[test]
fn requests_on_connections_in_a_strict_file_read_at_top_speed() {
    for (protocol, port, request, response) in EXCHANGES {
        for (publish_timeout, unanswered) in [(0, 0), (1999, 0), (2000, 1), (60_000, 1)] {
            let got = statuses(protocol, port, (request, response), |s| {
                (s.strict, s.publish_timeout) = (true, Duration::from_millis(publish_timeout));
            });
            // A late response still belongs to its request, because no time passes while the file is read.
            let of = format!("{protocol}, publish_timeout {publish_timeout} ms: {got:?}");
            assert_eq!((&got[..2], got.len()), (&["OK".to_owned(), "OK".to_owned()][..], 2 + unanswered), "{of}");
            // The status of a Thrift call without a reply is OK, because it may be a one-way call.
            assert!(protocol == "thrift" || got[2..].iter().all(|status| status != "OK"), "{of}");
        }
    }
}

#[test]
fn a_tls_handshake_is_not_reported_at_the_end_of_a_strict_file() {
    let mut settings = settings(&[(1, "redis", "{}", &[6379]), (2, "tls", "{}", &[443])], None);
    (settings.strict, settings.publish_timeout) = (true, Duration::from_secs(600));
    let mut b = Bench::new(settings);
    b.tcp(4000, 443, true, ACK, 1, &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3]);
    b.engine.finish(&Recording::default());
    assert_eq!(b.documents(), Vec::<String>::new());
}

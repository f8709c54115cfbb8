//! Tests `dns` against a name server that the test runs on loopback.

use crate::processors::testing::{Running, errors};
use domain::{
    base::{Message, MessageBuilder, Name, Rtype, Ttl, iana::Rcode},
    rdata::{A, Aaaa, Ptr, Txt},
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, UdpSocket},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// The response to a query. Names that begin with `none` do not exist; names that begin with `slow` get no response; names that begin with
/// `large` get an answer over TCP only.
fn respond(query: &[u8], tcp: bool) -> Option<Vec<u8>> {
    let message = Message::from_octets(query).unwrap();
    let question = message.sole_question().unwrap();
    let asked = question.qname().to_string();
    if asked.starts_with("slow") {
        return None;
    }
    let rcode = if asked.starts_with("none") { Rcode::NXDOMAIN } else { Rcode::NOERROR };
    let mut builder = MessageBuilder::new_vec().start_answer(&message, rcode).unwrap();
    if asked.starts_with("large") && !tcp {
        builder.header_mut().set_tc(true);
        return Some(builder.finish());
    }
    let ttl = Ttl::from_secs(300);
    let name = question.qname();
    if rcode == Rcode::NOERROR && !asked.starts_with("empty") {
        match question.qtype() {
            Rtype::A => {
                builder.push((name, ttl, A::from_octets(192, 0, 2, 1))).unwrap();
                builder.push((name, ttl, A::from_octets(192, 0, 2, 2))).unwrap();
            }
            Rtype::AAAA => builder.push((name, ttl, Aaaa::from_str("2001:db8::1").unwrap())).unwrap(),
            Rtype::TXT => builder.push((name, ttl, Txt::<Vec<u8>>::build_from_slice(b"some text").unwrap())).unwrap(),
            _ => builder.push((name, ttl, Ptr::new(Name::<Vec<u8>>::from_str(&format!("x.{asked}.")).unwrap()))).unwrap(),
        }
    }
    Some(builder.finish())
}

/// Starts a name server. Returns its address, and the number of queries it has got.
fn server() -> (SocketAddr, Arc<AtomicUsize>) {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).unwrap();
    let queries = Arc::new(AtomicUsize::new(0));
    let count = queries.clone();
    thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            count.fetch_add(1, Ordering::Relaxed);
            if let Some(response) = respond(&buffer[..length], false) {
                udp.send_to(&response, from).unwrap();
            }
        }
    });
    thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).unwrap();
            let response = respond(&query, true).unwrap();
            stream.write_all(&u16::try_from(response.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&response).unwrap();
        }
    });
    (address, queries)
}

fn of_file(options: &str) -> Running {
    let (address, _) = server();
    Running::open_with(&format!("- dns: {{nameservers: ['{address}'], {options}}}"), false)
}

#[test]
fn records_are_looked_up() {
    for (options, event, expected) in [
        ("type: reverse, fields: {a: b}", json!({"a": "192.0.2.7"}), json!({"a": "192.0.2.7", "b": "x.7.2.0.192.in-addr.arpa"})),
        (
            "type: PTR, fields: {a: b}",
            json!({"a": "192.0.2.7", "b": "y"}),
            json!({"a": "192.0.2.7", "b": ["y", "x.7.2.0.192.in-addr.arpa"]}),
        ),
        (
            "type: reverse, fields: {a: b}, action: replace",
            json!({"a": "192.0.2.7", "b": "y"}),
            json!({"a": "192.0.2.7", "b": "x.7.2.0.192.in-addr.arpa"}),
        ),
        ("type: A, fields: {a: b.c}", json!({"a": "host."}), json!({"a": "host.", "b": {"c": ["192.0.2.1", "192.0.2.2"]}})),
        ("type: AAAA, fields: {a: b}", json!({"a": "host"}), json!({"a": "host", "b": ["2001:db8::1"]})),
        ("type: TXT, fields: {a: b}", json!({"a": "large.host"}), json!({"a": "large.host", "b": ["some text"]})),
        (
            "type: A, fields: {a: b, c: d}, tag_on_failure: [f]",
            json!({"a": "none.x", "c": "empty"}),
            json!({"a": "none.x", "c": "empty", "tags": ["f"]}),
        ),
        ("type: reverse, fields: {a: b}, tag_on_failure: [f, g]", json!({"a": "text"}), json!({"a": "text", "tags": ["f", "g"]})),
        ("type: A, fields: {a: b}, tag_on_failure: [f], timeout: 50ms", json!({"a": "slow.x"}), json!({"a": "slow.x", "tags": ["f"]})),
        ("type: A, fields: {a: b}, tag_on_failure: [f]", json!({"a": 5}), json!({"a": 5})),
    ] {
        assert_eq!(of_file(options).run(&event), Some(expected), "{options} {event}");
    }
}

#[test]
fn answers_and_failures_are_remembered() {
    for (cache, name, queries) in [
        ("success_cache.min_ttl: 1m", "host", 1),
        ("failure_cache: {ttl: 1m, capacity.max: 5}", "none.x", 1),
        ("failure_cache.ttl: 0s", "none.x", 3),
        ("success_cache: {capacity: {max: 1, initial: 1}}, failure_cache.capacity.max: 1", "host", 1),
    ] {
        let (address, count) = server();
        let mut running = Running::open_with(&format!("- dns: {{type: A, nameservers: ['{address}'], fields: {{a: b}}, {cache}}}"), false);
        (0..3).for_each(|_| _ = running.run(&json!({"a": name})));
        assert_eq!(count.load(Ordering::Relaxed), queries, "{cache}");
    }
}

#[test]
fn a_live_event_goes_on_without_an_answer_and_a_later_one_has_it() {
    let (address, _) = server();
    let mut running = Running::open(&format!("- dns: {{type: reverse, nameservers: ['{address}'], fields: {{a: b}}}}"));
    let event = json!({"a": "192.0.2.7"});
    assert_eq!(running.run(&event), Some(event.clone()));
    let answered = (0..1000).find_map(|_| {
        thread::sleep(Duration::from_millis(10));
        running.run(&event).filter(|event| event.get("b").is_some())
    });
    assert_eq!(answered.unwrap()["b"], Value::from("x.7.2.0.192.in-addr.arpa"));
}

#[test]
fn wrong_options_are_refused() {
    for (options, error) in [
        ("fields: {a: b}", "line 1: 0.dns: `type` is missing"),
        ("type: MX, fields: {a: b}", "line 1: 0.dns.type: expected reverse, PTR, A, AAAA or TXT, got `MX`"),
        ("type: A, fields: {a: b}, action: merge", "line 1: 0.dns.action: "),
        ("type: A, fields: {a: b}, transport: pigeon", "line 1: 0.dns.transport: "),
        ("type: A, fields: {a: b}, nameservers: [here]", "line 1: 0.dns.nameservers: `here` is no address"),
        ("type: A, fields: {a: 5}", "line 1: 0.dns.fields.a: expected the name of a field"),
    ] {
        let got = errors(&format!("- dns: {{{options}}}")).unwrap_or_default();
        assert!(got.starts_with(error), "{options}\nwant: {error}\ngot:  {got}");
    }
}

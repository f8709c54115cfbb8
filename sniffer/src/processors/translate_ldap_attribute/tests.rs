//! Tests `translate_ldap_attribute` against a directory that the test runs.

use super::{
    address, guid,
    wire::{self, Reader, testing},
};
use crate::processors::testing::{Running, errors};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const GUID: &str = "2f1ca1d8-506c-4ea6-9f9f-0102030405aa";

/// The number of connections and of searches.
#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    searches: AtomicUsize,
}

/// Answers the requests of one connection; closes it after `most` of them.
fn serve(mut stream: TcpStream, counts: &Counts, most: usize) {
    counts.connections.fetch_add(1, Ordering::Relaxed);
    let mut pending = Vec::new();
    let mut answered = 0;
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        pending.extend_from_slice(&buffer[..read]);
        let mut reader = Reader(&pending);
        let Some(message) = reader.expect(wire::SEQUENCE) else { continue };
        let answer = answer(message, counts);
        pending = reader.0.to_vec();
        // In two parts, to be put together again.
        let (one, two) = answer.split_at(answer.len() / 2);
        stream.write_all(one).and_then(|()| stream.write_all(two)).unwrap();
        answered += 1;
        if answered == most {
            return;
        }
    }
}

fn answer(message: &[u8], counts: &Counts) -> Vec<u8> {
    let mut reader = Reader(message);
    let id = wire::read_number(reader.expect(2).unwrap()).unwrap();
    let (operation, content) = reader.next().unwrap();
    let mut fields = Reader(content);
    if operation == wire::BIND_REQUEST {
        let password = fields.0.windows(5).any(|bytes| bytes == b"wrong");
        return wire::message(id, wire::BIND_RESPONSE, &testing::done(if password { 49 } else { 0 }));
    }
    let base = fields.expect(4).unwrap();
    let done = |code| wire::message(id, wire::SEARCH_DONE, &testing::done(code));
    let entry = |attribute: &str, values: &[&str]| wire::message(id, wire::SEARCH_ENTRY, &testing::entry("dn", attribute, values));
    if base.is_empty() {
        return [entry("namingContexts", &["dc=test"]), done(0)].concat();
    }
    counts.searches.fetch_add(1, Ordering::Relaxed);
    (0..5).for_each(|_| _ = fields.next());
    let mut filter = Reader(fields.expect(0xa3).unwrap());
    let (name, value) = (filter.expect(4).unwrap(), filter.expect(4).unwrap());
    let wanted = Reader(fields.expect(0x30).unwrap()).expect(4).unwrap().to_vec();
    let wanted = String::from_utf8(wanted).unwrap();
    let is_bytes = |text: &str| guid(text).unwrap() == value;
    match (base, name, &*wanted) {
        (b"dc=test", b"objectGUID", "cn") if is_bytes(GUID) => [entry("cn", &["Ann"]), done(0)].concat(),
        (b"dc=test", b"uid", "mail") if value == b"bob" => [entry("mail", &["b@x", "bob@x"]), entry("mail", &["other"]), done(4)].concat(),
        (b"dc=test", b"uid", _) if value == b"busy" => done(51),
        (b"dc=test", ..) => done(0),
        _ => done(32),
    }
}

fn directory(most: usize) -> (String, Arc<Counts>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("ldap://{}", listener.local_addr().unwrap());
    let counts = Arc::new(Counts::default());
    let shared = counts.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let counts = shared.clone();
            thread::spawn(move || serve(stream.unwrap(), &counts, most));
        }
    });
    (address, counts)
}

#[test]
fn an_attribute_is_translated() {
    let (address, _) = directory(usize::MAX);
    let uid = "ldap_search_attribute: uid, ldap_mapped_attribute: mail";
    let (ann, mails) = (json!({"w": ["Ann"]}), json!({"w": "bob", "t": {"u": ["b@x", "bob@x"]}}));
    for (options, event, wanted) in [
        ("ldap_base_dn: dc=test", json!({"w": GUID}), ann.clone()),
        ("ldap_base_dn: dc=test", json!({"w": format!("{{{}}}", GUID.to_uppercase())}), ann.clone()),
        ("ignore_missing: true, ignore_failure: true, ldap_search_time_limit: 5", json!({"w": GUID}), ann.clone()),
        ("ldap_bind_user: me, ldap_bind_password: 123", json!({"w": GUID}), ann),
        (&format!("target_field: t.u, {uid}"), json!({"w": "bob"}), mails),
        // What is not found, or cannot be asked for, changes nothing.
        ("ldap_base_dn: dc=other", json!({"w": GUID}), json!({"w": GUID})),
        ("ldap_bind_user: me, ldap_bind_password: wrong", json!({"w": GUID}), json!({"w": GUID})),
        ("", json!({"w": "not-a-guid"}), json!({"w": "not-a-guid"})),
        ("", json!({"w": 7}), json!({"w": 7})),
        ("", json!({}), json!({})),
        (uid, json!({"w": "zoe"}), json!({"w": "zoe"})),
        (uid, json!({"w": "busy"}), json!({"w": "busy"})),
    ] {
        let yaml = format!("- translate_ldap_attribute: {{field: w, ldap_address: '{address}', {options}}}");
        let got = Running::open_with(&yaml, false).run(&event).unwrap();
        assert_eq!(got, wanted, "{options} {event}");
    }
}

#[test]
fn values_are_remembered_and_a_closed_connection_is_opened_again() {
    // A search for the base DN and one for a value.
    let (address, counts) = directory(2);
    let yaml = format!(
        "- translate_ldap_attribute: {{field: w, ldap_address: '{address}', ldap_search_attribute: uid, ldap_mapped_attribute: mail}}"
    );
    let mut running = Running::open_with(&yaml, false);
    for name in ["bob", "bob", "zoe", "zoe", "bob", "eve"] {
        let got = running.run(&json!({"w": name})).unwrap();
        assert_eq!(got["w"].is_array(), name == "bob", "{got}");
    }
    assert_eq!((counts.searches.load(Ordering::Relaxed), counts.connections.load(Ordering::Relaxed)), (3, 3));
}

#[test]
fn a_live_event_does_not_wait() {
    let (address, _) = directory(usize::MAX);
    let mut live = Running::open(&format!("- translate_ldap_attribute: {{field: w, ldap_address: '{address}'}}"));
    let event = json!({"w": GUID});
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let got = live.run(&event).unwrap();
        if got["w"] == json!(["Ann"]) {
            return;
        }
        assert_eq!(got, event);
        assert!(Instant::now() < end, "the value never came");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn answers_that_are_no_ldap_harm_nothing() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x80",
        b"\x30\x03\x02\x01\x01",
        b"\x30\x05\x02\x01\x09\x78\x00",
        b"\x30\x05\x02\x01\x01\x65\x00",
        b"\x30\x07\x02\x01\x01\x64\x02\x04\x09",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                if stream.read(&mut [0; 1000]).is_ok_and(|read| read > 0) {
                    stream.write_all(answer).unwrap();
                }
            }
        });
        let yaml = format!("- translate_ldap_attribute: {{field: w, ldap_address: 'ldap://{address}', ldap_base_dn: dc=test}}");
        let event = json!({"w": GUID});
        assert_eq!(Running::open_with(&yaml, false).run(&event), Some(event), "{answer:?}");
    }
}

#[test]
fn addresses_have_a_scheme_and_a_port() {
    for (text, wanted) in [
        ("ldap://a", ("a:389", false)),
        ("ldap://a:1/", ("a:1", false)),
        ("ldaps://a", ("a:636", true)),
        ("ldaps://[::1]", ("[::1]:636", true)),
        ("ldap://[::1]:1", ("[::1]:1", false)),
    ] {
        assert_eq!(address(text), Ok((wanted.0.to_owned(), wanted.1)), "{text}");
    }
    for (options, error) in [
        ("ldap_address: 'http://a'", "ldap_address: `http://a` is not supported"),
        ("ldap_address: 'ldap://'", "has no host"),
        ("ldap_address: 'ldaps://a', ldap_ssl: {certificate_authorities: [/nonexistent]}", "/nonexistent"),
        ("ldap_base_dn: a", "`ldap_address` is missing"),
    ] {
        let got = errors(&format!("- translate_ldap_attribute: {{field: w, {options}}}")).unwrap_or_default();
        assert!(got.contains(error), "{options}: {got} lacks {error}");
    }
    assert_eq!(Value::from(guid("2f1ca1d8506c4ea69f9f0102030405aa").is_some()), json!(false), "the groups have hyphens");
}

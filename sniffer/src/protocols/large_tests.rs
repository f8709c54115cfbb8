//! Documents that would be too large: a hostile request whose text takes several times as many bytes in JSON costs neither its own event nor
//! the next one. Texts in the protocol's own fields and in the common ones are cut off.

use super::{PROTOCOLS, testing::Harness};
use serde_json::Value;

/// Maximum number of bytes of a document in these tests.
const LIMIT: usize = 100_000;

/// The bytes of a request that contains `text`, and those of its response.
type Exchange = fn(text: &str) -> (Vec<u8>, Vec<u8>);

fn redis(text: &str) -> (Vec<u8>, Vec<u8>) {
    let bulk = format!("${}\r\n{text}\r\n", text.len());
    (format!("*2\r\n$4\r\nECHO\r\n{bulk}").into_bytes(), bulk.into_bytes())
}

fn mysql(text: &str) -> (Vec<u8>, Vec<u8>) {
    let sql = format!("SELECT '{text}'");
    let mut request = (sql.len() as u32 + 1).to_le_bytes().to_vec();
    request[3] = 0;
    request.push(3);
    request.extend(sql.as_bytes());
    (request, b"\x07\0\0\x01\0\x01\0\x02\0\0\0".to_vec())
}

fn pgsql(text: &str) -> (Vec<u8>, Vec<u8>) {
    let message = |kind: u8, body: &[u8]| [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat();
    let sql = format!("SELECT '{text}'\0");
    (message(b'Q', sql.as_bytes()), [message(b'C', b"SELECT 0\0"), message(b'Z', b"I")].concat())
}

fn cassandra(text: &str) -> (Vec<u8>, Vec<u8>) {
    let envelope = |version: u8, op: u8, body: &[u8]| [&[version, 0, 0, 1, op][..], &(body.len() as u32).to_be_bytes(), body].concat();
    let query = [&(text.len() as u32).to_be_bytes()[..], text.as_bytes(), b"\0\x01\0"].concat();
    (envelope(4, 7, &query), envelope(0x84, 8, b"\0\0\0\x01"))
}

fn mongodb(text: &str) -> (Vec<u8>, Vec<u8>) {
    let message = |id: i32, to: i32, document: &bson::Document| {
        let body = [&[0; 5][..], &document.to_vec().unwrap()].concat();
        [&(body.len() as i32 + 16).to_le_bytes()[..], &id.to_le_bytes(), &to.to_le_bytes(), &2013i32.to_le_bytes(), &body].concat()
    };
    let request = bson::doc! {"find": "c", "filter": {"a": text}, "$db": "d"};
    (message(1, 0, &request), message(2, 1, &bson::doc! {"n": 1, "ok": 1.0}))
}

fn thrift(text: &str) -> (Vec<u8>, Vec<u8>) {
    let message = |kind: u8, fields: &[u8]| [&[0x80, 1, 0, kind, 0, 0, 0, 3][..], b"add", &[0, 0, 0, 7], fields, &[0]].concat();
    let string = [&[11, 0, 1][..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat();
    (message(1, &string), message(2, &[8, 0, 0, 0, 0, 0, 1]))
}

/// The name of each protocol, its options, an exchange, and the number of bytes in the long text.
const CASES: &[(&str, &str, Exchange, usize)] = &[
    ("redis", "{send_request: true, send_response: true}", redis, 60_000),
    ("mysql", "{send_request: true, send_response: true}", mysql, 60_000),
    ("pgsql", "{send_request: true, send_response: true}", pgsql, 60_000),
    ("cassandra", "{send_request: true, send_response: true}", cassandra, 60_000),
    ("mongodb", "{send_request: true, send_response: true}", mongodb, 60_000),
    ("thrift", "{send_request: true, send_response: true, string_max_size: 100000}", thrift, 60_000),
];

#[test]
fn a_document_that_is_too_large_is_cut_off() {
    for &(name, yaml, exchange, length) in CASES {
        let protocol = PROTOCOLS.iter().find(|protocol| protocol.name == name).unwrap();
        // A control character has one byte on the wire and six in JSON.
        let mut h = Harness::new(protocol, yaml).with_document_limit(LIMIT);
        for text in ["\u{1}".repeat(length), "short".to_owned()] {
            let (request, response) = exchange(&text);
            h.now += 1;
            h.client(&request);
            h.now += 1;
            h.server(&response);
        }
        let counted = ["shortened", "too_large"].map(|counter| h.counted(counter));
        let events = h.events();
        let [cut, whole] = events.as_slice() else { panic!("{name}: {} events, counted {counted:?}", events.len()) };
        assert_eq!(counted, [1, 0], "{name}");
        assert_eq!(cut["error"]["message"], "Long texts are cut off because of memory.max", "{name}");
        let bytes = cut.to_string().len();
        assert!((LIMIT / 10..=LIMIT).contains(&bytes), "{name}: {bytes} bytes");
        assert_eq!((&cut["status"], &cut["type"]), (&"OK".into(), &name.into()), "{name}");
        assert_eq!((&whole["error"], &whole["status"]), (&Value::Null, &"OK".into()), "{name}: {whole}");
        assert!(whole.to_string().contains("short"), "{name}: {whole}");
    }
}

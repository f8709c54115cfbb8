//! Tests of large messages: documents that would be too large, and bodies that capture need not copy.

use super::{
    PROTOCOL,
    tests::{GET, brief},
};
use crate::{
    net::Verdict,
    protocols::{
        Close,
        testing::{Harness, ToClient},
    },
};

#[test]
fn texts_that_make_the_document_too_large_are_cut_off() {
    let limit = 400_000;
    let body = |byte: &str, count| format!("a=1&b={}", byte.repeat(count));
    let message = |start: &str, kind: &str, body: &str| {
        format!("{start}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let post = |kind, body: &str| message("POST /up?q=1 HTTP/1.1\r\nHost: h", kind, body);
    let answer = |body: &str| message("HTTP/1.1 200 OK", "text/html", body);
    let form = "application/x-www-form-urlencoded";
    for (what, yaml, kind) in [
        ("a form", "", form),
        ("bodies", "include_body_for: [html]", "text/html"),
        ("all of it", "{include_body_for: [html, form], send_request: true, send_response: true}", form),
        ("with masked values", "{include_body_for: [html, form], send_request: true, hide_keywords: [q]}", form),
    ] {
        // The second byte takes three bytes as a parameter, the third one six bytes as JSON text.
        for byte in ["x", "/", "\u{1}"] {
            let mut h = Harness::new(&PROTOCOL, yaml).with_document_limit(limit);
            let (large, small) = (body(byte, 300_000), body("x", 4));
            h.client(&post(kind, &large)).server(&answer(&large));
            h.client(&post(kind, &small)).server(&answer(&small));
            let counted = ["shortened", "too_large"].map(|name| h.counted(name));
            let events = h.events();
            let [cut, whole] = &events[..] else { panic!("{what} of {byte:?}: {} events", events.len()) };
            assert_eq!(counted, [1, 0], "{what} of {byte:?}");
            assert_eq!(cut["error"]["message"], "Long texts are cut off because of memory.max", "{what} of {byte:?}");
            assert_eq!(cut["http"]["request"]["body"]["bytes"], large.len(), "{what} of {byte:?}");
            let length = cut.to_string().len();
            assert!(length <= limit && length > limit / 10, "{what} of {byte:?}: {length} bytes");
            assert!(whole["error"].is_null(), "{what} of {byte:?}: {whole}");
            let has_form = whole["url"]["query"].as_str().unwrap().starts_with("a=1&b=xxxx&q=");
            assert_eq!(has_form, kind == form, "{what} of {byte:?}: {whole}");
        }
    }
}

#[test]
fn a_body_that_ends_with_the_connection_is_skipped() {
    let head: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
    let mut h = Harness::new(&PROTOCOL, "");
    h.client(GET).server(head).server(&[b'x'; 65_535]);
    assert_eq!(h.verdicts, [], "it may still be the next response");
    h.server(b"x");
    let from = 1001 + head.len() as u32 + 65_536;
    let range = |n: u32| Verdict::Skip { sender: 1, from: from.wrapping_add(n << 30), until: from.wrapping_add((n + 1) << 30) };
    for n in 0..5 {
        assert_eq!(h.verdicts, (0..=n).map(range).collect::<Vec<_>>(), "one range follows the other");
        // The segment that reaches the end of the range is copied.
        h.shunt(ToClient, (1 << 30) - 10).server(&[b'x'; 10]);
    }
    h.shunt(ToClient, 1000).close(ToClient, Close::Fin);
    let events = h.events();
    let bytes = 65_536 + (5 << 30) + 1000;
    assert_eq!(brief(&events), [format!("OK GET /a 200 33/{}", bytes + head.len())]);
    assert_eq!(events[0]["http"]["response"]["body"]["bytes"], bytes);

    let mut h = Harness::new(&PROTOCOL, "include_body_for: [text]");
    let text = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";
    h.client(GET).server(text).server(&[b'x'; 60_000]).server(&[b'x'; 60_000]).close_both(Close::Fin);
    assert_eq!(h.verdicts, [Verdict::Lift; 0], "a body that is reported is copied");
    assert_eq!(h.events()[0]["http"]["response"]["body"]["content"].as_str().unwrap().len(), 120_000);
}

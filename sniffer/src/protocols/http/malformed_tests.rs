//! Tests of malformed, incomplete and oversized messages, and of values that must be hidden.

use super::{
    PROTOCOL,
    tests::{FULL, GET, OK, brief, play},
};
use crate::protocols::{
    Close,
    testing::{Harness, Script, ToClient, ToServer, every_cut},
};
use serde_json::{Value, json};

#[test]
fn only_a_complete_response_is_ok() {
    let heads = ["Content-Length: 500", "Transfer-Encoding: chunked", "Connection: close"];
    let body: [&[u8]; 3] = [b"abc", b"5\r\nabc", b"abc"];
    for (head, body) in heads.into_iter().zip(body) {
        let answer = [format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes(), body].concat();
        for why in [Close::Fin, Close::Reset, Close::Idle, Close::EndOfInput] {
            let mut h = play("", &[(ToServer, GET), (ToClient, &answer)]);
            if why == Close::Fin {
                h.close(ToClient, why)
            } else {
                h.close_both(why)
            };
            let complete = head.starts_with("Connection") && why == Close::Fin;
            let (status, note) = if complete { ("OK", "") } else { ("Error", " The response was cut off") };
            assert_eq!(brief(&h.events()), [format!("{status} GET /a 200 33/{}{note}", answer.len())], "{head}, {why:?}");
        }
    }
    // The body is complete except for the empty line that ends the trailers.
    let mut h = play("", &[(ToServer, GET), (ToClient, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")]);
    assert_eq!(brief(&h.close(ToClient, Close::Fin).events()), ["OK GET /a 200 33/50"]);
}

#[test]
fn malformed_messages_are_no_packet_loss() {
    let next: Script<'_> = &[(ToServer, b"GET /next HTTP/1.1\r\n\r\n"), (ToClient, OK)];
    for (answer, first) in [
        (&b"HTTP/1.1\r\nContent-Length: 0\r\n\r\n"[..], "Error GET /a - 33/- Unmatched request"),
        (b"220 ftp.example.com ready\r\n", "Error GET /a - 33/- Unmatched request"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n0\r\n\r\n", "OK GET /a 200 33/47"),
    ] {
        let mut h = play("", &[&[(ToServer, GET), (ToClient, answer)], next].concat());
        assert_eq!(brief(&h.events()), [first, "OK GET /next 200 22/69"], "{}", String::from_utf8_lossy(answer));
    }
    // The header sections are large, up to `max_message_size`.
    let large = |size: usize| format!("GET /a HTTP/1.1\r\nX-Big: {}\r\n\r\n", "h".repeat(size - 28)).into_bytes();
    let long_target = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)).into_bytes();
    for (yaml, head, taken) in [
        ("", large(100_000), true),
        ("", large(3 << 20), true),
        ("", long_target, true),
        ("max_message_size: 200000", large(199_000), true),
        ("max_message_size: 200000", large(220_000), false),
        ("max_message_size: 10", large(60_000), true),
    ] {
        let mut h = Harness::new(&PROTOCOL, yaml);
        for part in head.chunks(1400) {
            h.client(part);
        }
        h.server(OK).client(GET).server(OK);
        let events = h.events();
        let shown = &brief(&events)[0];
        assert_eq!(
            shown.contains(&format!("200 {}/69", head.len())),
            taken,
            "{yaml}, {} bytes: {}",
            head.len(),
            &shown[..shown.len().min(99)]
        );
        assert_eq!(brief(&events)[1], "OK GET /a 200 33/69");
    }
    // The response has a large header section.
    let answer = format!("HTTP/1.1 204 No\r\nX-Big: {}\r\n\r\n", "h".repeat(200_000)).into_bytes();
    let mut h = play("", &[(ToServer, GET)]);
    answer.chunks(1400).for_each(|part| {
        h.server(part);
    });
    assert_eq!(brief(&h.events()), [format!("OK GET /a 204 33/{}", answer.len())]);
}

#[test]
fn hidden_parameters_stand_nowhere() {
    let yaml = r#"{"send_request": true, "send_response": true, "send_all_headers": true, "hide_keywords": ["password"],
        "include_body_for": ["form", "text"]}"#;
    let multipart = "--AB\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nq1\r\n--AB--\r\n";
    let bodies = [("application/x-www-form-urlencoded", "a=1&password=q1"), ("multipart/form-data; boundary=AB", multipart)];
    for (content_type, body) in bodies {
        let request = format!(
            "POST /x?PassWord=q2&%70assword=q3 4 HTTP/1.1\r\nHost: h\r\nReferer: http://h/?b=1&password=q5\r\nX-Original-URL: /y?\r\n password=q6\r\n\
            Destination: http://h/?password=q7#q8\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let response =
            "HTTP/1.1 302 Found\r\nLocation: /x?a=q&password=q9\r\nLink: </x?password=q10>; rel=next\r\nContent-Length: 0\r\n\r\n";
        let events = every_cut(&PROTOCOL, yaml, &[(ToServer, request.as_bytes()), (ToClient, response.as_bytes())]);
        let text = events[0].to_string();
        for secret in 1..=10 {
            assert!(!text.contains(&format!("q{secret}")), "q{secret} in {text}");
        }
        assert_eq!(events[0]["http"]["request"]["referrer"], "http://h/?b=1&password=xxxxx");
        assert_eq!(events[0]["related"]["hosts"], json!(["h", "http://h/?b=1&password=xxxxx"]));
        assert_eq!(events[0]["http"]["response"]["headers"]["location"], "/x?a=q&password=xxxxx");
        assert_eq!(events[0]["http"]["request"]["body"]["bytes"], body.len());
    }
}

#[test]
fn the_client_of_a_proxy_is_an_address_or_nothing() {
    for (headers, ip) in [
        ("X-Forwarded-For: 203.0.113.7:4711, 10.0.0.9\r\n", json!("203.0.113.7")),
        ("x-forwarded-for: \r\nX-Forwarded-For: [2001:db8::7]:80\r\n", json!("2001:db8::7")),
        ("X-Forwarded-For: unknown, 203.0.113.9\r\n", Value::Null),
        ("X-Forwarded-For: ,, 203.0.113.9\r\n", json!("203.0.113.9")),
    ] {
        let request = format!("GET / HTTP/1.1\r\n{headers}\r\n");
        let e = &play(FULL, &[(ToServer, request.as_bytes()), (ToClient, OK)]).events()[0];
        assert_eq!(e["network"]["forwarded_ip"], ip, "{headers}");
        assert_eq!(e["related"]["ip"].as_array().unwrap().get(2).unwrap_or(&Value::Null), &ip, "{headers}");
    }
}

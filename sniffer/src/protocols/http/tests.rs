//! Tests of the state machine: which messages are paired, and which notes are reported.

use super::*;
use crate::{
    protocols::{
        Close,
        testing::{Harness, Script, ToClient, ToServer, every_cut, every_cut_without_resync},
    },
    stream::pending::Outcome,
};
use serde_json::{Value, json};

pub(super) const FULL: &str = r#"{"send_request": true, "send_response": true, "send_all_headers": true, "split_cookie": true,
    "hide_keywords": ["pass"], "include_body_for": ["text", "json", "form"], "real_ip_header": "X-Forwarded-For"}"#;
pub(super) const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: ex.org\r\n\r\n";
pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

/// Shows the essential parts of each event: request, response code, bytes of both, notes.
pub(super) fn brief(events: &[Value]) -> Vec<String> {
    let show = |e: &Value| {
        let n = |v: &Value| v.as_u64().map_or("-".into(), |n| n.to_string());
        let mut s = format!(
            "{} {} {} {}/{}",
            e["status"].as_str().unwrap(),
            e["query"].as_str().unwrap_or("-"),
            n(&e["http"]["response"]["status_code"]),
            n(&e["source"]["bytes"]),
            n(&e["destination"]["bytes"]),
        );
        if !e["error"].is_null() {
            s += &format!(" {}", e["error"]["message"].as_str().map_or_else(|| e["error"]["message"].to_string(), String::from));
        }
        s
    };
    events.iter().map(show).collect()
}

pub(super) fn play(yaml: &str, script: Script<'_>) -> Harness {
    let mut h = Harness::new(&PROTOCOL, yaml);
    for (dir, bytes) in script {
        h.now += 10;
        h.data(*dir, bytes);
    }
    h
}

#[test]
fn a_get() {
    for yaml in ["", FULL] {
        let events = every_cut(&PROTOCOL, yaml, &[(ToServer, GET), (ToClient, OK)]);
        assert_eq!(brief(&events), ["OK GET /a 200 33/69"]);
    }
    let e = &play("", &[(ToServer, GET), (ToClient, OK)]).events()[0];
    assert_eq!(
        e["http"],
        json!({"version": "1.1", "request": {"method": "GET", "bytes": 33, "headers": {"content-length": 0}},
        "response": {"status_code": 200, "status_phrase": "ok", "bytes": 69, "body": {"bytes": 5},
            "headers": {"content-length": 5, "content-type": "text/plain"}}})
    );
    assert_eq!(e["url"], json!({"full": "http://ex.org/a", "scheme": "http", "domain": "ex.org", "path": "/a"}));
    assert_eq!((&e["event"]["start"], &e["event"]["end"]), (&json!("1970-01-01T00:00:00.010Z"), &json!("1970-01-01T00:00:00.020Z")));
    assert_eq!((&e["destination"]["domain"], &e["related"]["hosts"]), (&json!("ex.org"), &json!(["ex.org"])));
}

#[test]
fn times_are_those_of_first_bytes() {
    let mut h = Harness::new(&PROTOCOL, "");
    for (ms, dir, bytes) in
        [(1, ToServer, &GET[..5]), (2, ToServer, &GET[5..]), (3, ToClient, &OK[..30]), (4, ToClient, &OK[30..68]), (5, ToClient, &OK[68..])]
    {
        h.now = ms;
        h.data(dir, bytes);
    }
    let e = &h.events()[0];
    assert_eq!((&e["event"]["start"], &e["event"]["end"]), (&json!("1970-01-01T00:00:00.001Z"), &json!("1970-01-01T00:00:00.003Z")));
}

#[test]
fn all_fields() {
    let request = b"POST /r%C3%A9g/x.tar.gz?b=2&pass=s HTTP/1.0\r\nhost: 10.9.9.9:81\r\nReferer: http://r/\r\nUSER-AGENT: ua\r\n\
        x-forwarded-for: 1.2.3.4, 5.6.7.8\r\nAuthorization: Basic bWU6c2VjcmV0\r\nCookie: A=1; b=\"2\"; c\r\nX-a: 1\r\nx-A: 2\r\n\
        Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\na=1&pass=t";
    let response = b"HTTP/1.0 404 Not Found\r\nSet-Cookie: a=1; path=/\r\nContent-Length: 0\r\n\r\n";
    let events = every_cut(&PROTOCOL, FULL, &[(ToServer, request), (ToClient, response)]);
    let e = &events[0];
    assert_eq!(
        e["http"],
        json!({"version": "1.0",
            "request": {"method": "POST", "bytes": request.len(), "referrer": "http://r/", "body": {"bytes": 10, "content": "a=1&pass=xxxxx"},
                "headers": {"content-length": 10, "content-type": "application/x-www-form-urlencoded", "host": "10.9.9.9:81",
                    "referer": "http://r/", "user-agent": "ua", "x-forwarded-for": "1.2.3.4, 5.6.7.8",
                    "authorization": "Basic bWU6c2VjcmV0", "cookie": {"a": "1", "b": "2"}, "x-a": "1, 2"}},
            "response": {"status_code": 404, "status_phrase": "not found", "bytes": response.len(),
                "headers": {"content-length": 0, "set-cookie": {"a": "1", "path": "/"}}}})
    );
    assert_eq!(
        e["url"],
        json!({"full": "http://10.9.9.9:81/r%C3%A9g/x.tar.gz?a=1&b=2&pass=xxxxx", "scheme": "http", "domain": "10.9.9.9", "port": 81,
            "path": "/rég/x.tar.gz", "query": "a=1&b=2&pass=xxxxx", "extension": "gz"})
    );
    assert_eq!(e["error"]["message"], "Host header port number mismatch");
    assert_eq!((&e["status"], &e["user.name"], &e["user_agent"]["original"]), (&json!("Error"), &json!("me"), &json!("ua")));
    assert_eq!(e["network"]["forwarded_ip"], "1.2.3.4");
    assert_eq!(e["related"], json!({"ip": ["10.0.0.1", "10.0.0.2", "10.9.9.9", "1.2.3.4"], "hosts": ["http://r/"], "user": ["me"]}));
    assert_eq!(e["query"], "POST /rég/x.tar.gz");
    let text = e["request"].as_str().unwrap();
    assert!(
        text.starts_with("POST /r%C3%A9g/x.tar.gz?b=2&pass=xxxxx HTTP/1.0\r\nhost: 10") && text.ends_with("\r\n\r\na=1&pass=xxxxx"),
        "{text}"
    );
    assert_eq!(e["response"].as_str().unwrap().as_bytes(), response);
}

#[test]
fn what_is_to_be_hidden() {
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic bWU6\r\nX-Key: k1\r\n k2\r\nReferer: r\r\n\r\n";
    let yaml = r#"{"send_request": true, "send_all_headers": true, "redact_authorization": true, "redact_headers": ["X-key", "referer"]}"#;
    let e = &play(yaml, &[(ToServer, request), (ToClient, OK)]).events()[0];
    assert_eq!(
        e["request"],
        "GET / HTTP/1.1\r\nHost: h\r\nAuthorization:***********\r\nX-Key: REDACTED\r\n REDACTED\r\nReferer: REDACTED\r\n\r\n"
    );
    assert_eq!(
        e["http"]["request"]["headers"],
        json!({"content-length": 0, "host": "h", "authorization": "*", "x-key": "REDACTED", "referer": "REDACTED"})
    );
    assert_eq!((&e["user.name"], &e["http"]["request"]["referrer"]), (&Value::Null, &json!("REDACTED")));
    let e = &play(r#"{"send_headers": ["x-KEY"]}"#, &[(ToServer, request), (ToClient, OK)]).events()[0];
    assert_eq!(e["http"]["request"]["headers"], json!({"content-length": 0, "x-key": "k1 k2"}));
}

#[test]
fn pipelining_and_bodies() {
    let requests = [GET, b"POST /b HTTP/1.1\r\ncontent-length:3\r\n\r\nabc\r\n", b"GET /c HTTP/1.1\r\n\r\n"].concat();
    let answers = [
        &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/x\r\n\r\n5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n"[..],
        b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 500 No\r\n\r\nuntil the end",
    ];
    let script: Script<'_> = &[(ToServer, &requests), (ToClient, &answers.concat())];
    let events = every_cut(&PROTOCOL, FULL, script);
    let first = format!("OK GET /a 200 33/{}", answers[0].len());
    assert_eq!(brief(&events), [first.as_str(), "OK POST /b 204 41/46", "Error GET /c 500 19/32"]);
    assert_eq!(events[0]["http"]["response"]["body"], json!({"bytes": 6, "content": "hello!"}));
    assert_eq!(events[0]["http"]["response"]["headers"]["content-length"], 6);
    let mut h = play("", script);
    h.close(ToClient, Close::Fin);
    assert_eq!(brief(&h.events()), brief(&events));
}

#[test]
fn head_has_no_body_and_interim_answers_are_none() {
    let head = b"HEAD /h HTTP/1.1\r\n\r\n";
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
    let interim = [&b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"[..], OK].concat();
    let events = every_cut(&PROTOCOL, "", &[(ToServer, head), (ToClient, answer), (ToServer, GET), (ToClient, &interim)]);
    assert_eq!(brief(&events), ["OK HEAD /h 200 20/40", "OK GET /a 200 33/69"]);
    assert_eq!(
        (&events[0]["http"]["response"]["body"], &events[0]["http"]["response"]["headers"]["content-length"]),
        (&Value::Null, &json!(500))
    );

    let expect = b"PUT /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let go = b"HTTP/1.1 100 Continue\r\n\r\n";
    let events = every_cut(&PROTOCOL, "", &[(ToServer, expect), (ToClient, go), (ToServer, b"body"), (ToClient, OK)]);
    assert_eq!(brief(&events), ["OK PUT /e 200 64/69"]);
    let no = b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n";
    let h = &mut play("", &[(ToServer, expect), (ToClient, no), (ToServer, GET), (ToClient, OK)]);
    assert_eq!(brief(&h.events()), ["Error PUT /e 417 60/38", "OK GET /a 200 33/69"]);
}

#[test]
fn an_early_answer_waits_for_its_request() {
    let post = b"POST /b HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345";
    let no = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
    let events = every_cut(&PROTOCOL, "", &[(ToServer, post), (ToClient, no), (ToServer, b"67890"), (ToServer, GET), (ToClient, OK)]);
    assert_eq!(brief(&events), ["Error POST /b 413 50/45", "OK GET /a 200 33/69"]);
    let mut h = play("", &[(ToServer, post), (ToClient, no)]);
    assert_eq!(brief(&h.events()), [""; 0]);
    h.close(ToClient, Close::Fin);
    h.close(ToServer, Close::Reset);
    assert_eq!(brief(&h.events()), ["Error POST /b 413 45/45"]);
}

#[test]
fn connect_upgrades_and_http2() {
    let connect = b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n";
    let script: Script<'_> = &[(ToServer, connect), (ToClient, b"HTTP/1.1 200 ok\r\n\r\n"), (ToServer, b"\x16\x03"), (ToClient, GET)];
    let events = every_cut(&PROTOCOL, "", script);
    assert_eq!(brief(&events), ["OK CONNECT h:443 200 39/19"]);
    assert_eq!(events[0]["url"], json!({"full": "http://h:443", "scheme": "http", "domain": "h", "port": 443}));
    let h = play("", script);
    assert_eq!((h.state, h.counted("upgraded")), (Outcome::Done, 1));

    let refused = b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n";
    let events = every_cut_without_resync(
        &PROTOCOL,
        "",
        &[(ToServer, connect), (ToClient, refused), (ToServer, GET), (ToClient, OK)],
        "the answer that refuses the tunnel is lost: what follows is taken for the tunnel",
    );
    assert_eq!(brief(&events), ["Error CONNECT h:443 407 39/38", "OK GET /a 200 33/69"]);

    let upgrade = b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let script: Script<'_> = &[(ToServer, upgrade), (ToClient, b"HTTP/1.1 101 Switching\r\n\r\n\x81\x05hello"), (ToServer, b"\x81\x85")];
    assert_eq!(brief(&every_cut(&PROTOCOL, "", script)), ["OK GET /ws 101 61/26"]);
    assert_eq!(play("", script).counted("upgraded"), 1);

    let script: Script<'_> = &[(ToServer, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04"), (ToClient, b"\0\0\0\x04")];
    assert_eq!(brief(&every_cut(&PROTOCOL, "", script)), [""; 0]);
    let h = play("", script);
    assert_eq!((h.state, h.counted("http2")), (Outcome::Done, 1));
}

#[test]
fn gaps_in_bodies_are_survived() {
    let large = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\nxxxxxxxxxx";
    for yaml in ["", FULL] {
        let mut h = play(yaml, &[(ToServer, GET), (ToClient, large)]);
        h.data(ToClient, &[b'a'; 100]).gap(ToClient, 800).data(ToClient, &[b'b'; 90]);
        h.client(GET).server(OK);
        assert_eq!(brief(&h.events()), ["OK GET /a 200 33/1067 Packet loss while capturing the response", "OK GET /a 200 33/69"], "{yaml}");
        // The end of the body is lost, and then the beginning of another message.
        let mut h = play(yaml, &[(ToServer, GET), (ToClient, large)]);
        h.gap(ToClient, 990);
        assert_eq!(brief(&h.events()), ["OK GET /a 200 33/1067 Packet loss while capturing the response"], "{yaml}");
        h.client(b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n").gap(ToServer, 50);
        h.client(&[b'x'; 50]).client(b"\r\n0\r\n\r\n").server(OK);
        assert_eq!(brief(&h.events()), ["OK POST /c 200 159/69 Packet loss while capturing the request"], "{yaml}");
    }
}

#[test]
fn after_a_lost_head_pairs_are_right_again() {
    let mut h = play("", &[(ToServer, GET)]);
    // The whole response is missing. The parser notices this only when the next response arrives.
    h.at(15).client(b"GET /b HTTP/1.1\r\n\r\n").at(20).gap(ToClient, 69).server(OK);
    assert_eq!(
        brief(&h.events()),
        [r#"Error GET /a - 33/- ["Unmatched request","Packet loss while capturing the response"]"#, "OK GET /b 200 19/69"]
    );
    // A request is missing in the capture, so its response is reported without a request.
    h.at(30).client(GET).at(40).server(OK).at(50).gap(ToServer, 33).server(OK).at(60).client(GET).at(70).server(OK);
    assert_eq!(brief(&h.events()), ["OK GET /a 200 33/69", "Error - 200 -/69 Unmatched response", "OK GET /a 200 33/69"]);
    // The rest of a response whose header section is lost is skipped.
    h.client(GET).gap(ToClient, 10).server(b"xt/plain\r\n\r\nhello HTTP/1.1 and HTTP/1.1 2").client(GET).server(OK);
    assert_eq!(
        brief(&h.events()),
        [r#"Error GET /a - 33/- ["Unmatched request","Packet loss while capturing the response"]"#, "OK GET /a 200 33/69"]
    );
}

#[test]
fn a_capture_may_begin_anywhere() {
    // The capture starts with a response, whose sender is first assumed to be the client.
    let mut h = play("", &[(ToServer, OK), (ToClient, GET), (ToServer, OK)]);
    let events = h.events();
    assert_eq!(brief(&events), ["Error - 200 -/69 Unmatched response", "OK GET /a 200 33/69"]);
    assert_eq!((&events[0]["server"]["port"], &events[1]["client"]["port"]), (&json!(40000), &json!(80)));
    // The capture starts in the middle of a response, in the middle of a request, and with other data.
    let mut h = play("", &[(ToClient, b"rest of a page"), (ToServer, GET), (ToClient, OK)]);
    assert_eq!(brief(&h.events()), ["OK GET /a 200 33/69"]);
    let mut h = play("", &[(ToServer, b"ost: x\r\n\r\n"), (ToClient, OK), (ToServer, GET), (ToClient, OK)]);
    assert_eq!(brief(&h.events()), ["Error - 200 -/69 Unmatched response", "OK GET /a 200 33/69"]);
    let mut h = play("", &[(ToServer, &[0; 70_000]), (ToClient, &[0; 70_000])]);
    assert_eq!((brief(&h.events()).len(), h.state), (0, Outcome::GaveUp));
    // The first message is the response to a HEAD that was not captured.
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
    let mut h = play("", &[(ToClient, answer), (ToServer, GET), (ToClient, OK)]);
    assert_eq!(brief(&h.events()), ["Error - 200 -/40 Unmatched response", "OK GET /a 200 33/69"]);
}

#[test]
fn unanswered_requests_are_reported_in_time() {
    let mut h = Harness::new(&PROTOCOL, "transaction_timeout: 2s");
    h.at(1000).client(GET).at(2000).client(b"GET /b HTTP/1.1\r\n\r\n").at(2999);
    assert_eq!(brief(&h.events()), [""; 0]);
    h.at(3000);
    assert_eq!(brief(&h.events()), ["Error GET /a - 33/- Unmatched request"]);
    // The response to the first request arrives after the time-out. The response to the next request arrives in time.
    h.at(3500).server(OK).server(OK).at(9000);
    assert_eq!(brief(&h.events()), ["Error - 200 -/69 Unmatched response", "OK GET /b 200 19/69"]);
    // The time-out does not run while the request or the response is being sent.
    h.client(b"POST /p HTTP/1.1\r\nContent-Length: 2\r\n\r\na")
        .at(19_000)
        .client(b"b")
        .at(20_000)
        .server(&OK[..66])
        .at(40_000)
        .server(&OK[66..]);
    assert_eq!(brief(&h.events()), ["OK POST /p 200 41/69"]);
    assert_eq!((h.counted("unmatched_requests"), h.counted("unmatched_responses")), (1, 1));
}

#[test]
fn what_the_end_leaves() {
    let mut h = play("", &[(ToServer, &[GET, b"POST /p HTTP/1.1\r\nContent-Length: 9\r\n\r\nab"].concat()), (ToClient, &OK[..66])]);
    h.close_both(Close::EndOfInput);
    assert_eq!(brief(&h.events()), ["Error GET /a 200 33/66 The response was cut off", "Error POST /p - 41/- Unmatched request"]);
    // A skipped body is counted up to the place where it was cut off.
    let mut h = play("", &[(ToServer, GET), (ToClient, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nabc"), (ToClient, &[0; 100])]);
    h.close_both(Close::Reset);
    assert_eq!(brief(&h.events()), ["Error GET /a 200 33/143 The response was cut off"]);
}

#[test]
fn coded_and_oversized_bodies() {
    use std::io::Write;
    let mut gz = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
    gz.write_all(&[b'a'; 3000]).unwrap();
    let gz = gz.finish().unwrap();
    let answer = |coding: &str, body: &[u8]| {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let get = |yaml: &str, answer: &[u8]| play(yaml, &[(ToServer, GET), (ToClient, answer)]).events()[0].clone();
    let body = |e: &Value| e["http"]["response"]["body"].clone();
    assert_eq!(body(&get(FULL, &answer("gzip, identity", &gz))), json!({"bytes": 3000, "content": "a".repeat(3000)}));
    every_cut(&PROTOCOL, FULL, &[(ToServer, GET), (ToClient, &answer("gzip", &gz))]);
    assert_eq!(body(&get("", &answer("gzip", &gz))), json!({"bytes": gz.len()}));
    let e = get(FULL, &answer("br", b"xyz"));
    assert_eq!(
        (body(&e), &e["error"]["message"]),
        (json!({"bytes": 3}), &json!("unable to decode body using br encoding: decoder not found"))
    );
    let small = r#"{"include_body_for": [text], "max_message_size": 100}"#;
    let e = get(small, &answer("gzip", &gz));
    assert_eq!(e["error"]["message"], "unable to decode body using gzip encoding: body truncated due to size limitation");
    assert_eq!(body(&e), json!({"bytes": 100, "content": "a".repeat(100)}));
    assert_eq!(body(&get(small, &answer("identity", &[b'x'; 101]))), json!({"bytes": 101, "content": "x".repeat(100)}));
    let mut parts = play(small, &[(ToServer, GET), (ToClient, &answer("identity", &[b'x'; 1000])[..150])]);
    parts.server(&[b'x'; 500]).close(ToClient, Close::Fin);
    let shown = parts.events().remove(0)["http"]["response"]["body"].take();
    assert_eq!((&shown["bytes"], &shown["content"]), (&json!(559), &json!("x".repeat(100))));
    // The body is compressed and longer than the part that is kept. As much as can be decoded is shown.
    let long: Vec<u8> = (0..20_000u32).flat_map(|i| (i * 7919).to_string().into_bytes()).collect();
    let mut gz = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
    gz.write_all(&long).unwrap();
    let gz = gz.finish().unwrap();
    let e = get("{include_body_for: [text], max_message_size: 9000}", &answer("gzip", &gz));
    assert_eq!(e["error"]["message"], "unable to decode body using gzip encoding: body truncated due to size limitation");
    assert!(body(&e)["bytes"] == gz.len() && body(&e)["content"].as_str().unwrap().len() > 5000, "{e}");
}

#[test]
fn hostile_input_is_bounded() {
    // The header section does not end.
    let mut h = Harness::new(&PROTOCOL, "max_message_size: 65536");
    h.client(b"GET / HTTP/1.1\r\n");
    for _ in 0..2000 {
        h.client(b"a-header: with a value that goes on and on and on and on\r\n");
    }
    h.client(b"\r\n").client(GET).server(OK);
    assert_eq!(brief(&h.events()), ["OK GET /a 200 33/69"]);
    // The client sends many requests without getting a response.
    for _ in 0..1000 {
        h.client(GET);
    }
    assert_eq!(h.events().len(), 1000 - 256);
    h.close_both(Close::Idle);
    assert_eq!(h.events().len(), 256);
    // The response announces an unusual body length.
    for length in ["18446744073709551615", "9223372036854775807", "-1", "5, 5", "ff"] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n01234");
        play(FULL, &[(ToServer, GET), (ToClient, answer.as_bytes()), (ToClient, &[0; 100])]).close_both(Close::Fin);
    }
    for size in ["ffffffffffffffff", "fffffffffffffffe", "0x5", "-1", "fffffffffffffffff"] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n01234");
        play(FULL, &[(ToServer, GET), (ToClient, answer.as_bytes()), (ToClient, &[0; 100])]).gap(ToClient, 5 << 30).close_both(Close::Fin);
    }
}

#[test]
fn probing() {
    let p = |data: &[u8]| probe(ToServer, data);
    assert_eq!([p(b"GET / HTTP/1.1\r\n"), p(b"HTTP/1.1 200 OK"), p(b"PRI * HTTP/2.0\r\n")], [Probe::Yes; 3]);
    assert_eq!([p(b"GE"), p(b"HTTP/1."), p(b"PRI")], [Probe::More(1); 3]);
    assert_eq!([p(b"\x16\x03\x01"), p(b"SSH-2.0-OpenSSH_9.6\r\n"), p(b"get key\r\n")], [Probe::No; 3]);
    for line in ["GET /x", "UNSUBSCRIBE /x", "RPC_IN_DATA /rpc", "OPTIONS *", "CONNECT h:443", "FOO http://h/", "VERSION-CONTROL /"] {
        let line = format!("{line} HTTP/1.1\r\n");
        assert_eq!(p(line.as_bytes()), Probe::Yes, "{line}");
        for end in 0..line.len() - 1 {
            assert_eq!(p(&line.as_bytes()[..end]), Probe::More(1), "{}", &line[..end]);
        }
    }
    let long = format!("GET /{}", "a".repeat(3000));
    assert_eq!(p(long.as_bytes()), Probe::Yes);
    for line in [
        "OPTIONS sip:a@h SIP/2.0",
        "SUBSCRIBE sip:a SIP/2.0",
        "OPTIONS rtsp://h RTSP/1.0",
        "OPTIONS icap://h ICAP/1.0",
        "NOTIFY x",
        "GET key",
    ] {
        assert_eq!(p(format!("{line}\r\n").as_bytes()), Probe::No, "{line}");
    }
    assert_eq!(
        [p(b"HTTP/1.0 404\r\n"), p(b"HTTP/1.10 200 OK"), p(b"HTTP/x"), p(b"HTTP/1.1 2x0")],
        [Probe::Yes, Probe::Yes, Probe::No, Probe::No]
    );
}

#[test]
fn any_order_of_anything_is_survived() {
    let corpus: &[&[u8]] = &[
        GET,
        OK,
        b"HEAD / HTTP/1.1\r\nHost: [::1]:8\r\n\r\n",
        b"POST /?a=%%&b HTTP/1.0\r\nContent-Type: x/urlencoded\r\nContent-Length: 20\r\n\r\npass=1&a=%4",
        b"PUT http://u@h/ HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/x\r\n\r\n",
        b"HTTP/1.1 404\r\nTransfer-Encoding: chunked\r\nContent-Type: json\r\nContent-Encoding: deflate\r\n\r\n",
        b"5\r\nhello\r\n0\r\n",
        b"\r\n",
        b"HTTP/1.1 101 Switching\r\n",
        b"CONNECT h:1 HTTP/1.1\r\n\r\n",
        &[0xff; 50],
    ];
    let mut seed = 1u64;
    let mut random = move |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % n
    };
    for round in 0..1500 {
        let mut h = Harness::new(&PROTOCOL, if round % 2 == 0 { "" } else { FULL });
        for _ in 0..30 {
            let dir = if random(2) == 0 { ToServer } else { ToClient };
            let piece = corpus[random(corpus.len())];
            let (from, to) =
                if random(3) == 0 { (random(piece.len()), piece.len()) } else { (0, piece.len() - random(3).min(1) * random(piece.len())) };
            let then = h.now + random(3000) as u64;
            match random(12) {
                0 => h.gap(dir, 1 + random(100) as u64),
                1 => h.at(then),
                _ => h.data(dir, &piece[from.min(to)..to]),
            };
        }
        h.close_both(Close::Idle);
    }
}

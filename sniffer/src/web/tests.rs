//! Tests of the page over real connections, without a capture.

use super::{Page, Token};
use crate::{
    endpoint::{At, Limits, Listener, Server},
    view::{inbox::Item, model::Record, testing::transaction, web::State},
};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(30);
const PATHS: [&str; 6] = ["/api/view", "/api/operations", "/api/tail", "/api/transaction?seq=0", "/api/export?format=csv", "/api/nothing"];

/// A page about one transaction and those that are added.
struct Served {
    address: SocketAddr,
    token: Token,
    items: Arc<Mutex<Vec<Item>>>,
    _server: Server,
}

impl Served {
    fn start(limits: Limits) -> Self {
        let listener = Listener::open_on_loopback(&At::Tcp("localhost".into(), 0)).unwrap();
        let (address, token) = (listener.addresses()[0], Token::random().unwrap());
        let items = Arc::new(Mutex::new(vec![Item::Transaction(Arc::new(Record::new(&transaction())))]));
        let from = items.clone();
        let update = Box::new(move |state: &mut State| state.take(&mut from.lock().unwrap(), None));
        let page = Page::new(State::default(), update, token.clone(), vec!["a.example".into()]);
        let server = Server::serve(listener, Arc::new(page), limits).unwrap();
        let served = Self { address, token, items, _server: server };
        let start = Instant::now();
        while served.get("/api/view", &[]).2["totals"]["count"] != 1 {
            assert!(start.elapsed() < PATIENCE, "the transaction is counted");
        }
        served
    }

    /// Returns status, lower-case headers and body.
    fn ask(&self, line: &str, headers: &[(&str, &str)]) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        write!(stream, "{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or_else(|| panic!("{line}: {answer:?}"));
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head, answer[end + 4..].to_vec())
    }

    /// Asks with host and token, and perhaps further headers.
    fn get(&self, path: &str, more: &[(&str, &str)]) -> (u16, String, Value) {
        let token = format!("Bearer {}", self.token.text());
        let headers: Vec<(&str, &str)> = [("Host", "localhost:5067"), ("Authorization", &token)].iter().chain(more).copied().collect();
        let (status, head, body) = self.ask(&format!("GET {path}"), &headers);
        (status, head, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

/// Whether a response has the headers that all have.
fn assert_headers(head: &str, what: &str) {
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cross-origin-opener-policy: same-origin",
        "cross-origin-resource-policy: same-origin",
        "cache-control: no-store",
    ] {
        assert!(head.lines().any(|line| line == header), "{what} lacks {header}:\n{head}");
    }
    assert!(!head.contains("set-cookie") && !head.contains("access-control"), "{head}");
}

#[test]
fn others_get_no_data() {
    let served = Served::start(Limits::default());
    let token = format!("Bearer {}", served.token.text());
    let (host, good) = (("Host", "localhost:5067"), ("Authorization", token.as_str()));
    for path in PATHS {
        let cases: [&[(&str, &str)]; 9] = [
            &[("Host", "evil.example"), good],
            &[("Host", "evil.example:5067"), good],
            &[good],
            &[host, good, ("Origin", "http://evil.example")],
            &[host, good, ("Origin", "http://localhost:1")],
            &[host, good, ("Sec-Fetch-Site", "cross-site")],
            &[host, good, ("Sec-Fetch-Site", "same-site")],
            &[host],
            &[host, ("Authorization", "Bearer 00000000000000000000000000000000")],
        ];
        for headers in cases {
            let (status, head, body) = served.ask(&format!("GET {path}"), headers);
            // hyper itself refuses a request without a host.
            assert!(status == 403, "{path} {headers:?}: {head}");
            assert_headers(&head, path);
            let body: Value = serde_json::from_slice(&body).unwrap();
            let names: Vec<&String> = body.as_object().unwrap().keys().collect();
            assert_eq!(names, ["error"], "{path} {headers:?}: {body}");
            assert!(!body.to_string().contains("10.0.0") && !body.to_string().contains("orders"), "{body}");
        }
        let expected = if path == "/api/nothing" { 404 } else { 200 };
        let (status, head, _) = served.get(path, &[("Origin", "http://localhost:5067"), ("Sec-Fetch-Site", "same-origin")]);
        assert_eq!(status, expected, "{path}");
        assert_headers(&head, path);
    }
    let (status, ..) = served.ask("GET /api/view?parts=services,edges,dns,tls", &[("Host", "a.example"), good]);
    assert_eq!(status, 200, "an allowed host");
}

#[test]
fn files_need_no_token_and_nothing_is_changed() {
    let served = Served::start(Limits::default());
    let host = ("Host", "127.0.0.1:5067");
    let (status, head, body) = served.ask("GET /", &[host]);
    assert!(status == 200 && head.contains("content-type: text/html") && body.starts_with(b"<!"), "{head}");
    assert_headers(&head, "/");
    let (status, head, compressed) = served.ask("GET /", &[host, ("Accept-Encoding", "br, gzip;q=0.5")]);
    if head.contains("content-encoding: gzip") {
        let mut text = Vec::new();
        GzDecoder::new(compressed.as_slice()).read_to_end(&mut text).unwrap();
        assert_eq!((status, text), (200, body));
    }
    assert_eq!(served.ask("GET /", &[("Host", "evil.example")]).0, 403);
    for (line, expected) in
        [("GET /nothing", 404), ("GET /app/../index.html", 404), ("POST /", 405), ("DELETE /api/view", 405), ("OPTIONS /api/view", 405)]
    {
        let (status, head, _) = served.ask(line, &[host]);
        assert_eq!((status, head.contains("\r\nallow: get, head")), (expected, expected == 405), "{line}: {head}");
        assert_headers(&head, line);
    }
    let (status, head, body) = served.ask("HEAD /", &[host]);
    assert!(status == 200 && body.is_empty() && head.contains("content-length: "), "{head}");
    let (status, head, _) = served.ask(&format!("GET /api/view?filter={}", "x".repeat(14_000)), &[host]);
    assert_eq!(status, 414, "{head}");
    let (status, _, error) = served.get("/api/view?filter=htpp", &[]);
    assert_eq!((status, &error["parameter"], &error["column"]), (400, &"filter".into(), &1.into()), "{error}");
}

#[test]
fn data_is_compressed_for_clients_that_accept_it() {
    let served = Served::start(Limits::default());
    let token = format!("Bearer {}", served.token.text());
    let headers = [("Host", "localhost"), ("Authorization", token.as_str())];
    let (_, plain, body) = served.ask("GET /api/view?parts=services,edges,dns,tls", &headers);
    let (_, head, compressed) =
        served.ask("GET /api/view?parts=services,edges,dns,tls", &[headers[0], headers[1], ("Accept-Encoding", "gzip")]);
    assert!(head.contains("content-encoding: gzip") && !plain.contains("content-encoding") && compressed.len() < body.len(), "{head}");
    let mut text = String::new();
    GzDecoder::new(compressed.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["totals"]["count"], 1);
    let (_, head, _) = served.ask("GET /api/view?parts=services,edges,dns,tls", &[headers[0], headers[1], ("Accept-Encoding", "gzip;q=0")]);
    assert!(!head.contains("content-encoding"), "{head}");
}

#[test]
fn a_held_request_is_answered_when_there_is_something_new() {
    let served = Served::start(Limits::default());
    let start = Instant::now();
    let (_, _, empty) = served.get("/api/tail?after=1&wait_ms=300", &[]);
    assert_eq!((&empty["rows"], &empty["next"]), (&Value::Array(Vec::new()), &1.into()));
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| served.get("/api/tail?after=1&wait_ms=10000", &[]));
        served.items.lock().unwrap().push(Item::Transaction(Arc::new(Record::new(&transaction()))));
        let (_, _, new) = asking.join().unwrap();
        assert_eq!((&new["rows"][0]["seq"], &new["next"]), (&1.into(), &2.into()));
    });
}

#[test]
fn slow_clients_do_not_block_others() {
    let served = Served::start(Limits { connections: 4, head_time: Duration::from_millis(500), ..Limits::default() });
    let mut slow: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(served.address).unwrap()).collect();
    slow.iter_mut().for_each(|stream| write!(stream, "GET / HTTP/1.1\r\nHost: ").unwrap());
    let start = Instant::now();
    assert_eq!(served.get("/api/view", &[]).0, 200);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    // A request whose head is too large ends its connection.
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = write!(stream, "GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

//! Delivery to an Elasticsearch that misbehaves: the program runs with a capture file, and each test prescribes the answers of the server.

use crate::{
    ending::capture,
    harness::{Home, assert_success},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::Output,
    sync::{Arc, Mutex},
    time::Duration,
};

/// The result of one document: its status, and the error that the server reports.
type Item = (u16, Value);

/// The answer to a bulk request.
enum Answer {
    Items(Vec<Item>),
    /// The server does not answer.
    Never,
}

/// Makes the answer to a request with these documents.
type Answering = dyn Fn(&[Value]) -> Answer + Send + Sync;

/// An Elasticsearch. It keeps the numbers of the DNS queries of the documents that it accepted.
struct Server {
    port: u16,
    accepted: Arc<Mutex<Vec<u64>>>,
}

impl Server {
    fn start(answer: impl Fn(&[Value]) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, accepted) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
        let (answer, log): (Arc<Answering>, _) = (Arc::new(answer), accepted.clone());
        // The thread ends with the process that runs the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (answer.clone(), log.clone());
                std::thread::spawn(move || serve(&stream, &*answer, &log));
            }
        });
        Self { port, accepted }
    }

    /// The accepted documents, and how many were accepted more than once.
    fn accepted(&self) -> (BTreeSet<u64>, usize) {
        let all = self.accepted.lock().unwrap().clone();
        let distinct: BTreeSet<u64> = all.iter().copied().collect();
        let again = all.len() - distinct.len();
        (distinct, again)
    }
}

fn accept_all(documents: &[Value]) -> Answer {
    Answer::Items(vec![(201, Value::Null); documents.len()])
}

fn number(document: &Value) -> u64 {
    document["dns"]["id"].as_u64().unwrap_or_default()
}

fn serve(stream: &TcpStream, answer: &Answering, log: &Mutex<Vec<u64>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            if let Some(("content-length", value)) = header.to_lowercase().split_once(':') {
                length = value.trim().parse().unwrap();
            }
            if header.trim_end().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let answer = if line.contains("_bulk") {
            let lines: Vec<Value> = body.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
            let documents: Vec<Value> = lines.into_iter().skip(1).step_by(2).collect();
            match answer(&documents) {
                Answer::Never => std::thread::sleep(Duration::from_secs(600)),
                Answer::Items(items) => {
                    let accepted = documents.iter().zip(&items).filter(|(_, (status, _))| *status < 300).map(|(d, _)| number(d));
                    log.lock().unwrap().extend(accepted);
                    let item = |(status, error): &Item| json!({"create": {"status": status, "error": error}});
                    let items: Vec<Value> = items.iter().map(item).collect();
                    respond(stream, &json!({"errors": true, "items": items}));
                    continue;
                }
            }
            return;
        } else {
            json!({"version": {"number": "9.6.0", "build_flavor": "default"}})
        };
        respond(stream, &answer);
    }
}

fn respond(mut stream: &TcpStream, answer: &Value) {
    let text = answer.to_string();
    // The client may be gone.
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nX-Elastic-Product: Elasticsearch\r\ncontent-length: {}\r\n\r\n{text}", text.len());
}

/// Reads a capture of so many DNS queries, and sends their events to the hosts.
fn run(servers: &[&Server], events: u16, more: &str) -> (Home, Output) {
    let hosts: Vec<String> = servers.iter().map(|server| format!("'127.0.0.1:{}'", server.port)).collect();
    let home = Home::with_output(&format!(
        "packetbeat.protocols: [{{type: dns, ports: [53]}}]\npacketbeat.shutdown_timeout: 60s\n\
         setup: {{template.enabled: false, ilm.enabled: false}}\n\
         output.elasticsearch: {{hosts: [{}], compression_level: 0, backoff: {{init: 0.1s, max: 0.2s}}{more}}}\n",
        hosts.join(", ")
    ));
    let output = home.read_capture(&capture(&home, events));
    assert_success(&output);
    (home, output)
}

#[test]
fn a_server_that_does_not_answer_delays_only_its_own_batch() {
    let (frozen, good) = (Server::start(|_| Answer::Never), Server::start(accept_all));
    run(&[&frozen, &good], 1000, ", timeout: 1s, bulk_max_size: 50");
    let (distinct, _) = good.accepted();
    assert_eq!(distinct.len(), 1000);
}

#[test]
fn limits_of_zero_and_below_are_no_limits() {
    for more in ["bulk_max_size: 0", "bulk_max_size: -1", "timeout: 0", "max_retries: -1", "bulk_max_size: -1, timeout: 0s"] {
        let server = Server::start(accept_all);
        run(&[&server], 300, &format!(", {more}"));
        let (distinct, again) = server.accepted();
        assert_eq!((distinct.len(), again), (300, 0), "{more}");
    }
}

/// The reasons of real servers that quote a value of the event.
const QUOTES: [&str; 5] = [
    "Provided Grok expressions do not match field value: [hunter2secret]",
    "Unable to find match for dissect pattern: %{a} %{b} against source: hunter2secret",
    "failed to parse date field [hunter2secret] with format [x]",
    "'hunter2secret' is not an IP string literal.",
    "For input string: \"hunter2secret\"",
];

#[test]
fn values_that_the_server_quotes_are_not_in_the_log() {
    let server = Server::start(|documents| {
        let error = |document| json!({"type": "document_parsing_exception", "reason": QUOTES[number(document) as usize % QUOTES.len()]});
        Answer::Items(documents.iter().map(|document| (400, error(document))).collect())
    });
    let (_home, output) = run(&[&server], 500, ", bulk_max_size: 10");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("document_parsing_exception") && !log.contains("hunter2secret"), "{log}");
    let lines = log.lines().filter(|line| line.contains("document_parsing_exception")).count();
    assert!(lines <= 5, "{lines} lines for 50 batches:\n{log}");
}

#[test]
fn events_that_the_server_never_accepts_are_counted_and_cost_no_other() {
    let server = Server::start(|documents| {
        let item = |document| match number(document) % 10 {
            3 => (500, json!({"type": "made_up"})),
            7 => (400, json!({"type": "made_up"})),
            _ => (201, Value::Null),
        };
        Answer::Items(documents.iter().map(item).collect())
    });
    let (_home, output) = run(&[&server], 200, ", max_retries: 1, bulk_max_size: 50");
    let (distinct, again) = server.accepted();
    assert_eq!((distinct.len(), again), (160, 0));
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let totals = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).rfind(|line| line["message"] == "Total metrics");
    let totals = totals.unwrap_or_else(|| panic!("no totals in\n{log}"));
    let events = &totals["monitoring"]["metrics"]["libbeat"]["output"]["events"];
    let count = |name: &str| events[name].as_u64().unwrap_or_default();
    assert_eq!((count("acked"), count("dropped"), count("active")), (160, 40, 0), "{events}");
    assert_eq!(count("total"), count("acked") + count("dropped") + count("failed"), "{events}");
}

#[test]
fn a_wrong_secret_on_the_command_line_is_not_shown() {
    let home = Home::with_output("packetbeat.protocols: [{type: dns, ports: [53]}]\noutput.elasticsearch: {username: a, password: b}\n");
    for (key, value) in
        [("password", "{hunter2}"), ("password", "[a, hunter2"), ("api_key", "{hunter2"), ("headers", "{Authorization: hunter2")]
    {
        let output = home.command(&["test", "config", "-E", &format!("output.elasticsearch.{key}={value}")]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && text.contains(&format!("output.elasticsearch.{key}")) && !text.contains("hunter2"),
            "{value}: {text}"
        );
    }
}

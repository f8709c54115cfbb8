//! Tests of the Elasticsearch output against a fake server whose responses each test prescribes.

mod monitoring;
mod real;

use super::*;
use crate::{
    event::TRANSACTION,
    opening::testing::opening,
    output::{
        Delivery, open,
        testing::{Fake, Log, request},
    },
    publish::Record,
    queue::{Queue, WhenFull},
};
use serde_json::{Value, json};
use std::io::Read;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

#[derive(Clone, Debug)]
struct Asked {
    method: String,
    path: String,
    headers: String,
    body: String,
}

impl Asked {
    /// The documents of a bulk request.
    fn documents(&self) -> Vec<Value> {
        self.body.lines().skip(1).step_by(2).map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

enum Reply {
    Status(u16, Value),
    /// The server sends half a response and then closes the connection.
    HangUp,
    Never,
}

/// Makes the response to a request. The number is the index of the bulk request, counted from 0. `None` means the response of an
/// Elasticsearch without data.
type Answering = dyn Fn(&Asked, Option<usize>) -> Option<Reply> + Send + Sync;

fn created(asked: &Asked) -> Reply {
    Reply::Status(200, json!({"errors": false, "items": vec![json!({"create": {"status": 201}}); asked.documents().len()]}))
}

fn statuses(list: &[u16]) -> Reply {
    let item = |status: &u16| json!({"create": {"status": status, "error": {"type": "t", "reason": "r"}}});
    Reply::Status(200, json!({"errors": true, "items": list.iter().map(item).collect::<Vec<_>>()}))
}

impl Fake<Asked> {
    /// Starts a server. `answer` makes the responses to bulk requests.
    async fn start(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(move |asked, bulk| bulk.map(|bulk| answer(asked, bulk))).await
    }

    async fn start_with(answer: impl Fn(&Asked, Option<usize>) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let answer: Arc<Answering> = Arc::new(answer);
        Self::listen(move |stream, _, log| serve(stream, answer.clone(), log)).await
    }

    fn bulks(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|a| a.path.starts_with("/_bulk")).collect()
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<Answering>, log: Log<Asked>) {
    let mut buffer = Vec::new();
    while let Some((head, raw)) = request(&mut stream, &mut buffer).await {
        let head = head.to_lowercase();
        let mut body = String::new();
        if head.contains("content-encoding: gzip") {
            flate2::read::GzDecoder::new(&raw[..]).read_to_string(&mut body).unwrap();
        } else {
            body = String::from_utf8(raw).unwrap();
        }
        let mut line = head.split(' ');
        let asked = Asked { method: line.next().unwrap().to_uppercase(), path: line.next().unwrap().into(), headers: head.clone(), body };
        let bulk = log.lock().unwrap().iter().filter(|a: &&Asked| a.path.starts_with("/_bulk")).count();
        log.lock().unwrap().push(asked.clone());
        let reply = if let Some(reply) = answer(&asked, asked.path.starts_with("/_bulk").then_some(bulk)) {
            reply
        } else if asked.path == "/" || asked.path.starts_with("/?") {
            Reply::Status(200, json!({"version": {"number": "9.6.0", "build_flavor": "default"}}))
        } else if asked.method == "PUT" || asked.path.starts_with("/_license") {
            Reply::Status(200, json!({}))
        } else {
            Reply::Status(404, json!({}))
        };
        match reply {
            Reply::Status(status, body) => {
                let body = if asked.method == "HEAD" { String::new() } else { body.to_string() };
                let text = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(text.as_bytes()).await.unwrap();
            }
            Reply::HangUp => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"errors\":").await.unwrap();
                return;
            }
            Reply::Never => std::future::pending().await,
        }
    }
}

fn documents(count: usize) -> Vec<Record> {
    (0..count)
        .map(|n| Record {
            body: format!("{{\"@timestamp\":\"2024-01-01T00:00:00.000Z\",\"n\":{n}}}").into_bytes().into(),
            ..Record::default()
        })
        .collect()
}

fn output(hosts: &str, more: &str) -> Delivery {
    let config = format!("output: {{elasticsearch: {{hosts: {hosts}, backoff: {{init: 0.005s, max: 0.01s}}, timeout: 2s{more}}}}}");
    open(&opening(&Node::parse(&config).unwrap())).unwrap()
}

/// Delivers `count` documents and returns the counters and the queue afterwards.
async fn deliver(output: Delivery, count: usize) -> (Arc<Counters>, Arc<dyn Queue>) {
    let (counters, queue) = (output.counters(), queue::open(output.queue()));
    assert_eq!(queue.push(documents(count), WhenFull::Drop), 0);
    queue.close();
    tokio::time::timeout(Duration::from_secs(60), output.run(queue.clone())).await.expect("the output did not finish in time");
    (counters, queue)
}

fn numbers(asked: &[Asked]) -> Vec<Vec<u64>> {
    asked.iter().map(|a| a.documents().iter().map(|d| d["n"].as_u64().unwrap()).collect()).collect()
}

#[tokio::test]
async fn requests_as_they_are_sent() {
    let fake = Fake::start(|asked, _| created(asked)).await;
    let hosts = format!("['http://u%40x:p@127.0.0.1:{}']", fake.port);
    let (counters, _) = deliver(output(&hosts, ", parameters: {a: 'b c'}, headers: {X-Mine: '1'}, pipeline: pipe"), 3).await;
    assert_eq!(counters.acked.get(), 3);
    let all = fake.asked();
    let lines: Vec<String> = all.iter().map(|a| format!("{} {}", a.method, a.path)).collect();
    let expected = [
        "GET /?a=b+c",
        "GET /_license?human=false&a=b+c",
        "GET /_ilm/policy/packetbeat?a=b+c",
        "PUT /_ilm/policy/packetbeat?a=b+c",
        "HEAD /_index_template/packetbeat-9.6.0?a=b+c",
        "PUT /_index_template/packetbeat-9.6.0?a=b+c",
        "GET /_data_stream/packetbeat-9.6.0?a=b+c",
        "PUT /_data_stream/packetbeat-9.6.0?a=b+c",
        "POST /_bulk?filter_path=errors%2citems.%2a.error%2citems.%2a.status%2citems.%2a.failure_store&a=b+c",
    ];
    assert_eq!(lines, expected);
    let bulk = all.last().unwrap();
    for header in [
        "user-agent: elastic-packetbeat/9.6.0 (linux; ",
        "x-elastic-product-origin: beats\r\n",
        "x-elastic-event-count: 3\r\n",
        &format!("x-elastic-uncompressed-request-length: {}\r\n", bulk.body.len()),
        "content-encoding: gzip\r\n",
        "x-mine: 1\r\n",
        // The value is Base64 of `u@x:p`, in lower case like the whole head in `asked`.
        "authorization: basic dub4onA=\r\n",
    ] {
        let header = &header.to_lowercase();
        assert!(bulk.headers.contains(header.as_str()), "{header} in {}", bulk.headers);
    }
    assert_eq!(bulk.body.lines().next(), Some(r#"{"create":{"_index":"packetbeat-9.6.0","pipeline":"pipe"}}"#));
}

/// OpenSearch gives its name in its response. Builds of Elasticsearch without `_ilm` refuse the request for the policy, in different ways.
/// The output asks neither of them again when the connection was lost.
#[tokio::test]
async fn a_server_without_lifecycle_management() {
    for (distribution, status, questions) in [("opensearch", 400, 0), ("", 400, 1), ("", 405, 1), ("", 500, 1)] {
        let fake = Fake::start_with(move |asked, bulk| match asked.path.as_str() {
            "/" => Some(Reply::Status(200, json!({"version": {"number": "2.9.0", "distribution": distribution}}))),
            path if path.starts_with("/_ilm") => Some(Reply::Status(status, json!({"error": "no handler found for uri"}))),
            _ => bulk.map(|bulk| if bulk < 2 { Reply::Status(503, json!({})) } else { created(asked) }),
        })
        .await;
        let (counters, _) = deliver(output(&format!("['http://127.0.0.1:{}']", fake.port), ""), 2).await;
        assert_eq!(counters.acked.get(), 2, "{distribution} {status}");
        let all = fake.asked();
        assert_eq!(all.iter().filter(|asked| asked.path == "/").count(), 3, "the server is asked who it is for each connection");
        assert_eq!(all.iter().filter(|asked| asked.path.starts_with("/_ilm")).count(), questions, "{distribution} {status}");
        let template = all.iter().find(|asked| asked.method == "PUT" && asked.path.starts_with("/_index_template")).unwrap();
        assert!(!template.body.contains("lifecycle"), "{}", template.body);
        let is_licensed = ["flattened", "constant_keyword"].map(|kind| template.body.contains(&format!(r#""type":"{kind}""#)));
        assert_eq!(is_licensed, [distribution.is_empty(); 2], "types that only Elastic has: {distribution} {status}");
    }
}

#[tokio::test]
async fn each_event_has_its_own_outcome() {
    let fake = Fake::start(|asked, n| if n == 0 { statuses(&[201, 409, 400, 429, 503, 500]) } else { created(asked) }).await;
    let (counters, queue) = deliver(output(&format!("['127.0.0.1:{}']", fake.port), ""), 6).await;
    let mut sent = numbers(&fake.bulks());
    sent[1..].sort();
    assert_eq!(sent, [vec![0, 1, 2, 3, 4, 5], vec![3, 4], vec![5]]);
    let c = &counters;
    assert_eq!((c.acked.get(), c.duplicates.get(), c.dropped.get(), c.toomany.get(), c.failed.get(), c.retries.get()), (5, 1, 1, 1, 3, 3));
    assert_eq!(queue.stats().events, 0);
}

#[tokio::test]
async fn max_retries_limits_how_often_refused_events_are_sent() {
    let fake = Fake::start(|asked, _| statuses(&vec![500; asked.documents().len()])).await;
    let (counters, _) = deliver(output(&format!("['127.0.0.1:{}']", fake.port), ", max_retries: 2"), 2).await;
    assert_eq!((fake.bulks().len(), counters.dropped.get(), counters.acked.get()), (3, 2, 0));
    for status in [429, 403, 503] {
        let fake = Fake::start(move |asked, n| if n < 5 { statuses(&vec![status; asked.documents().len()]) } else { created(asked) }).await;
        let (counters, _) = deliver(output(&format!("['127.0.0.1:{}']", fake.port), ", max_retries: 0"), 2).await;
        assert_eq!((fake.bulks().len(), counters.dropped.get(), counters.acked.get()), (6, 0, 2), "{status}: not the events' fault");
    }
}

#[tokio::test]
async fn server_errors_are_retried_without_a_limit() {
    let fake = Fake::start(|asked, n| match n {
        0..5 => Reply::Status(503, json!({"error": {"reason": "starting"}})),
        5 => Reply::HangUp,
        6 => Reply::Never,
        7..16 => Reply::Status([429, 500, 520, 529, 404, 405, 307, 401, 403][n - 7], json!({})),
        _ => created(asked),
    })
    .await;
    let (counters, queue) = deliver(output(&format!("['127.0.0.1:{}']", fake.port), ", max_retries: 0"), 4).await;
    let sent = numbers(&fake.bulks());
    assert_eq!(sent.last().unwrap().last(), Some(&3), "{sent:?}");
    assert!(sent[..7].iter().all(|batch| batch == &[0, 1, 2, 3]), "{sent:?}");
    assert_eq!((counters.acked.get(), counters.dropped.get(), queue.stats().events), (4, 0, 0));
}

#[tokio::test]
async fn a_too_large_request_is_halved() {
    let fake = Fake::start(|asked, _| match asked.documents() {
        all if all.len() > 2 || all.iter().any(|d| d["n"] == 4) => Reply::Status(413, json!({})),
        _ => created(asked),
    })
    .await;
    let (counters, _) = deliver(output(&format!("['127.0.0.1:{}']", fake.port), ""), 7).await;
    let sent = numbers(&fake.bulks());
    assert_eq!((counters.acked.get(), counters.dropped.get()), (6, 1), "{sent:?}");
    let taken: Vec<u64> = sent.into_iter().filter(|s| s.len() <= 2 && !s.contains(&4)).flatten().collect();
    assert_eq!(taken, [0, 1, 2, 3, 5, 6]);
}

#[tokio::test]
async fn dead_letters_are_kept() {
    let fake = Fake::start(|asked, n| match n {
        0 => statuses(&[201, 400]),
        _ => Reply::Status(200, json!({"errors": false, "items": vec![json!({"index": {"status": 201}}); asked.body.lines().count() / 2]})),
    })
    .await;
    let policy = ", non_indexable_policy: {dead_letter_index: {index: dead}}";
    let (counters, _) = deliver(output(&format!("['127.0.0.1:{}']", fake.port), policy), 2).await;
    assert_eq!((counters.acked.get(), counters.dead_letter.get(), counters.dropped.get()), (2, 1, 0));
    let letter = fake.bulks().pop().unwrap();
    assert_eq!(letter.body.lines().next(), Some(r#"{"create":{"_index":"dead"}}"#));
    let letter = letter.documents().remove(0);
    assert_eq!((&letter["error.type"], &letter["error.message"]), (&json!(400), &json!(r#"{"reason":"r","type":"t"}"#)));
    assert!(letter["message"].as_str().unwrap().contains("\"n\":1"), "{letter}");
}

#[tokio::test]
async fn dead_letters_that_are_refused_block_nothing() {
    for (status, item) in [(404, 0), (403, 0), (200, 400), (200, 404), (200, 429)] {
        let fake = Fake::start(move |asked, _| {
            let documents = asked.documents();
            if documents.iter().any(|d| d.get("message").is_some()) {
                if status != 200 { Reply::Status(status, json!({})) } else { statuses(&vec![item; documents.len()]) }
            } else {
                statuses(&documents.iter().map(|d| if d["n"] == 1 { 400 } else { 201 }).collect::<Vec<_>>())
            }
        })
        .await;
        let policy = ", max_retries: 2, bulk_max_size: 2, non_indexable_policy: {dead_letter_index: {index: dead}}";
        let (counters, _) = deliver(output(&format!("['127.0.0.1:{}']", fake.port), policy), 6).await;
        assert_eq!((counters.acked.get(), counters.dead_letter.get(), counters.dropped.get()), (5, 0, 1), "{status} {item}");
    }
}

#[tokio::test]
async fn an_event_without_an_index_concerns_no_other() {
    for (policy, dead) in [("", 0), (", non_indexable_policy: {dead_letter_index: {index: dead}}", 1)] {
        let fake = Fake::start(|asked, _| created(asked)).await;
        let config = format!(
            "{{setup.template.enabled: false, output: {{elasticsearch: {{hosts: ['127.0.0.1:{}'], index: 'x-%{{[n]}}'{policy}}}}}}}",
            fake.port
        );
        let output = open(&opening(&Node::parse(&config).unwrap())).unwrap();
        let (counters, queue) = (output.counters(), queue::open(output.queue()));
        let other = Record { body: b"{\"other\":1}"[..].into(), ..Record::default() };
        queue.push(documents(2).into_iter().chain([other]).collect(), WhenFull::Drop);
        queue.close();
        tokio::time::timeout(Duration::from_secs(60), output.run(queue.clone())).await.expect("the output did not finish in time");
        assert_eq!((counters.acked.get(), counters.dropped.get(), counters.dead_letter.get()), (2 + dead, 1 - dead, dead));
        let names: Vec<_> = fake.bulks().iter().flat_map(|a| a.body.lines().step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect();
        assert_eq!(names[..2], [r#"{"create":{"_index":"x-0"}}"#, r#"{"create":{"_index":"x-1"}}"#]);
        assert_eq!(names.get(2).map(String::as_str), (dead == 1).then_some(r#"{"create":{"_index":"dead"}}"#));
    }
}

#[tokio::test]
async fn another_host_takes_over() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for more in ["", ", loadbalance: false"] {
        let fake = Fake::start(|asked, _| created(asked)).await;
        let hosts = format!("['127.0.0.1:{dead}', '127.0.0.1:{}']", fake.port);
        let (counters, queue) = deliver(output(&hosts, more), 5).await;
        assert_eq!((counters.acked.get(), queue.stats().events), (5, 0), "{more}");
    }
}

#[tokio::test]
async fn the_server_starts_after_the_output() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let output = output(&format!("['127.0.0.1:{port}']"), "");
    let (counters, queue) = (output.counters(), queue::open(output.queue()));
    queue.push(documents(2), WhenFull::Drop);
    let running = tokio::spawn(output.run(queue.clone()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(queue.stats().events, 2);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let answer: Arc<Answering> = Arc::new(|asked: &Asked, bulk: Option<usize>| bulk.map(|_| created(asked)));
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer.clone(), Arc::default()));
        }
    });
    queue.close();
    tokio::time::timeout(Duration::from_secs(10), running).await.unwrap().unwrap();
    accepting.abort();
    assert_eq!((counters.acked.get(), queue.stats().events), (2, 0));
}

#[tokio::test]
async fn test_output_shows_every_step() {
    let fake = Fake::start(|asked, _| created(asked)).await;
    let mut out = Vec::new();
    let one = output(&format!("['localhost:{}']", fake.port), "");
    assert!(one.test(&mut out).await.unwrap());
    let text = String::from_utf8(out).unwrap();
    for line in [
        "  parse url... OK",
        "  connection...",
        "    parse host... OK",
        "    dns lookup... OK",
        "    dial up... OK",
        "  talk to server... OK",
        "  version: 9.6.0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
    assert!(one.ports().contains(&fake.port));
    let mut out = Vec::new();
    drop(fake);
    assert!(!output("['127.0.0.1:1']", "").test(&mut out).await.unwrap());
    assert!(String::from_utf8(out).unwrap().contains("    dial up... ERROR"));
}

#[test]
fn a_configured_index_requires_template_name_and_pattern() {
    let opened = |config: &str| open(&opening(&Node::parse(config).unwrap())).map(drop).map_err(|e| e.to_string());
    let error = opened("{output: {elasticsearch: {index: x}}}").unwrap_err();
    assert!(error.contains("setup.template.name and setup.template.pattern have to be set"), "{error}");
    assert_eq!(opened("{output: {elasticsearch: {index: x}}, setup: {template: {enabled: false}}}"), Ok(()));
    assert_eq!(opened("{output: {elasticsearch: {index: x}}, setup: {template: {name: x, pattern: 'x*'}}}"), Ok(()));
}

#[test]
fn export_shows_template_and_policy() {
    let root =
        Node::parse("{setup: {template.settings: {index.number_of_shards: 3, _source.enabled: true}, ilm.policy_name: mine}}").unwrap();
    let template: Value = serde_json::from_str(&exported(&root, TRANSACTION).unwrap().template_text()).unwrap();
    assert_eq!(template.pointer("/template/settings/index/number_of_shards"), Some(&json!(3)));
    assert_eq!(template.pointer("/template/settings/index/lifecycle/name"), Some(&json!("mine")));
    assert_eq!(template.pointer("/template/mappings/_source"), Some(&json!({"enabled": true})));
    assert_eq!(template["index_patterns"], json!(["packetbeat-9.6.0"]));
    let without: Value = serde_json::from_str(&exported(&root, TRANSACTION).unwrap().without_policy().template_text()).unwrap();
    assert_eq!(without.pointer("/template/settings/index/lifecycle"), None);
    let policy: Value = serde_json::from_str(&exported(&root, TRANSACTION).unwrap().policy_text()).unwrap();
    let rollover = json!({"max_age": "30d", "max_primary_shard_size": "50gb"});
    assert_eq!(policy.pointer("/policy/phases/hot/actions/rollover"), Some(&rollover));
    assert_eq!(root.unknown(), []);
}

#[tokio::test]
async fn an_older_server_is_refused_unless_allowed() {
    let root = Node::default();
    let open = |yaml: &str| Elasticsearch::read(&opening(&root).at(&Node::parse(yaml).unwrap())).unwrap();
    for (version, strict) in [("8.19.21", false), ("9.5.9", false), ("9.6.0-SNAPSHOT", true), ("10.0.0", true)] {
        let server = serde_json::from_value(json!({"version": {"number": version}})).unwrap();
        assert_eq!(open("{allow_older_versions: false}").shared.check_version(&server).is_ok(), strict, "{version}");
        assert!(open("{}").shared.check_version(&server).is_ok(), "{version}");
    }
}

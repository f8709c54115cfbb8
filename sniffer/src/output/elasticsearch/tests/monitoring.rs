//! Tests of `monitoring`: the requests, whatever the output is, and settings.

use super::*;
use crate::output::Monitored;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of the documents that were accepted and dropped.
#[derive(Default)]
struct Program {
    accepted: AtomicU64,
    dropped: AtomicU64,
}

impl Monitored for Program {
    fn beat(&self) -> Value {
        json!({"type": "packetbeat", "uuid": "u"})
    }

    fn metrics(&self) -> Value {
        json!({"a": {"b": 1}})
    }

    fn state(&self) -> Value {
        json!({"queue": {"name": "mem"}})
    }

    fn count(&self, accepted: bool) {
        let counter = if accepted { &self.accepted } else { &self.dropped };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

/// The answers of an Elasticsearch that takes the documents.
fn takes(asked: &Asked) -> Option<Reply> {
    if asked.path.starts_with("/_xpack") || asked.path.starts_with("/es/_xpack") {
        return Some(Reply::Status(200, json!({"features": {"monitoring": {"enabled": true}}})));
    }
    if asked.path == "/es/" {
        return Some(Reply::Status(200, json!({"cluster_uuid": "c", "version": {"number": "9.6.0"}})));
    }
    asked.path.contains("/.monitoring").then(|| created(asked))
}

fn opened(config: &str) -> Result<Delivery, String> {
    open(&opening(&Node::parse(config).unwrap())).map_err(|error| error.to_string())
}

/// Runs the output until the server got `count` requests with documents, which it accepted or not, and returns these.
async fn run_until(config: &str, fake: &Fake<Asked>, count: usize) -> (Vec<Asked>, Arc<Program>) {
    let (mut output, program) = (opened(config).unwrap(), Arc::new(Program::default()));
    output.monitor(program.clone());
    let queue = queue::open(output.queue());
    let documents = || fake.asked().into_iter().filter(|asked| asked.path.contains("/.monitoring")).collect::<Vec<_>>();
    let enough = async {
        while documents().len() < count || program.accepted.load(Ordering::SeqCst) + program.dropped.load(Ordering::SeqCst) < count as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = output.run(queue) => panic!("the output ended"),
        () = enough => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("after a minute: {:?}", fake.asked()),
    }
    (documents(), program)
}

#[tokio::test]
async fn documents_of_both_kinds_are_sent_beside_any_output() {
    let fake = Fake::start_with(|asked, _| takes(asked)).await;
    let config = format!(
        "{{output.discard: {{}}, monitoring: {{enabled: true, cluster_uuid: cu, elasticsearch: {{hosts: ['127.0.0.1:{}'], api_key: 'a:b', \
         parameters: {{q: z}}, compression_level: 3, tags: [t], metrics.period: 20ms, state.period: 30ms}}}}}}",
        fake.port
    );
    let (sent, program) = run_until(&config, &fake, 6).await;
    let all: Vec<String> = fake.asked().iter().take(2).map(|asked| format!("{} {}", asked.method, asked.path)).collect();
    assert_eq!(all, ["GET /?q=z", "GET /_xpack?filter_path=features.monitoring.enabled&q=z"]);
    assert_eq!(program.dropped.load(Ordering::SeqCst), 0);
    let kinds = ["beats_stats", "beats_state"].map(|kind| sent.iter().filter(|asked| asked.documents()[0]["type"] == kind).count());
    assert!(kinds[0] > 1 && kinds[1] > 0, "{kinds:?} in {sent:#?}");
    for asked in sent {
        // The clock of tests stands at the epoch.
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/.monitoring-beats-7-1970.01.01/_bulk?q=z"));
        assert!(asked.headers.contains("authorization: apikey ytpi\r\n"), "{}", asked.headers);
        assert_eq!(asked.body.lines().next(), Some(r#"{"create":{"_index":".monitoring-beats-7-1970.01.01","_routing":null}}"#));
        let document = &asked.documents()[0];
        let kind = document["type"].as_str().unwrap();
        let (period, name, content) = match kind {
            "beats_stats" => (20, "metrics", json!({"a": {"b": 1}})),
            _ => (30, "state", json!({"queue": {"name": "mem"}})),
        };
        let beat = json!({"type": "packetbeat", "uuid": "u"});
        let inner = json!({"timestamp": "1970-01-01T00:00:00.000Z", "beat": beat, "tags": ["t"], name: content});
        let expected =
            json!({"timestamp": "1970-01-01T00:00:00.000Z", "type": kind, "interval_ms": period, "cluster_uuid": "cu", kind: inner});
        assert_eq!(*document, expected);
    }
}

#[tokio::test]
async fn settings_of_the_output_apply_and_events_are_delivered_beside_it() {
    let fake = Fake::start_with(|asked, bulk| takes(asked).or_else(|| bulk.map(|_| created(asked)))).await;
    let config = format!(
        "{{output.elasticsearch: {{hosts: ['127.0.0.1:{}'], path: /es, username: u, password: p, headers: {{X-A: b}}}}, \
         monitoring: {{enabled: true, elasticsearch.metrics.period: 20ms}}}}",
        fake.port
    );
    let (sent, _) = run_until(&config, &fake, 2).await;
    let first = &sent[0];
    assert_eq!(first.path, "/es/.monitoring-beats-7-1970.01.01/_bulk", "the path of the server applies, too");
    for header in ["authorization: basic dtpw\r\n", "x-a: b\r\n"] {
        assert!(first.headers.contains(header), "{header} in {}", first.headers);
    }
    assert!(!first.headers.contains("content-encoding"), "without its own setting nothing is compressed: {}", first.headers);
    assert_eq!(first.documents()[0]["cluster_uuid"], Value::Null);
}

#[tokio::test]
async fn what_a_server_does_not_take_is_counted_and_it_is_asked_again() {
    for refusal in ["no monitoring", "unknown path", "item", "status", "no answer"] {
        let refused = Arc::new(AtomicU64::new(0));
        let count = refused.clone();
        let fake = Fake::start_with(move |asked, _| {
            let is_document = asked.path.contains("/.monitoring");
            let applies = match refusal {
                "no monitoring" | "unknown path" => asked.path.starts_with("/_xpack"),
                _ => is_document,
            };
            if !applies || count.fetch_add(1, Ordering::SeqCst) >= 2 {
                return takes(asked);
            }
            Some(match refusal {
                "no monitoring" => Reply::Status(200, json!({"features": {"monitoring": {"enabled": false}}})),
                "unknown path" => Reply::Status(404, json!({})),
                "item" => statuses(&[403]),
                "status" => Reply::Status(429, json!({})),
                _ => Reply::HangUp,
            })
        })
        .await;
        let config = format!(
            "{{output.discard: {{}}, monitoring: {{enabled: true, elasticsearch: {{hosts: ['127.0.0.1:{}'], metrics.period: 10ms, \
             backoff: {{init: 0, max: 0}}}}}}}}",
            fake.port
        );
        let (_, program) = run_until(&config, &fake, 4).await;
        assert!(program.accepted.load(Ordering::SeqCst) > 0, "{refusal}");
        assert!(program.dropped.load(Ordering::SeqCst) >= 2, "{refusal}");
        assert!(fake.asked().iter().any(|asked| asked.headers.contains("authorization: basic ymvhdhnfc3lzdgvtog==")), "the default user");
    }
}

#[test]
fn settings() {
    let monitored = |more: &str| format!("{{output.discard: {{}}, monitoring: {{enabled: true, {more}}}}}");
    for (config, expected) in [
        (monitored(""), Err("monitoring: no monitoring reporter configured")),
        (monitored("elasticsearch: {enabled: false, hosts: [a]}"), Err("monitoring: no monitoring reporter configured")),
        (monitored("elasticsearch: {metrics.period: 1s}"), Err("monitoring.elasticsearch.hosts: missing required field")),
        (monitored("elasticsearch: {hosts: [a], metrics.period: 0}"), Err("monitoring.elasticsearch.metrics.period: must be more than 0")),
        (monitored("elasticsearch: {hosts: [a], state.period: x}"), Err("monitoring.elasticsearch.state.period: ")),
        (monitored("elasticsearch: {hosts: ['ftp://a']}"), Err("monitoring.elasticsearch.hosts: ")),
        (monitored("elasticsearch: {hosts: [a], api_key: 'a:b', username: c}"), Err("cannot set both api_key and username/password")),
        (monitored("elasticsearch: {hosts: [a], kerberos.enabled: true}"), Err("Kerberos is not supported")),
        (monitored("cloud.id: 'x:!!'"), Err("cloud.id")),
        (monitored("elasticsearch: {hosts: ['a:9300', 'https://b']}"), Ok(vec![9200, 9300])),
        (monitored("cloud.id: 'a:ZXhhbXBsZS5pbyRhYmM='"), Ok(vec![443])),
        ("{output.discard: {}, monitoring: {enabled: false, elasticsearch: {metrics.period: x}}}".into(), Ok(vec![])),
        ("{output.elasticsearch: {hosts: ['a:9201']}, monitoring.enabled: true}".into(), Ok(vec![9201])),
        (
            "{output.elasticsearch: {hosts: ['a:9201']}, monitoring: {enabled: true, elasticsearch.hosts: ['m:9202']}}".into(),
            Ok(vec![9201, 9202]),
        ),
        // Its own credentials replace those of the output.
        (
            "{output.elasticsearch: {api_key: 'a:b'}, monitoring: {enabled: true, elasticsearch: {username: u, password: p}}}".into(),
            Ok(vec![9200]),
        ),
    ] {
        match (opened(&config).map(|output| output.ports()), expected) {
            (Ok(ports), Ok(wanted)) => assert_eq!(ports, wanted, "{config}"),
            (Err(error), Err(wanted)) => assert!(error.contains(wanted), "{config}: {error}"),
            (got, wanted) => panic!("{config}: {got:?}, not {wanted:?}"),
        }
    }
}

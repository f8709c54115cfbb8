//! Tests against a real server. They run if the environment variable `SNIFFER_TEST_ELASTICSEARCH` has the URL of a
//! server.

use super::*;
use reqwest::Method;

/// Sends documents to a real server, searches them, and checks the field types of the template.
#[tokio::test]
async fn a_real_server() {
    let Ok(host) = std::env::var("SNIFFER_TEST_ELASTICSEARCH") else {
        println!("SKIPPED: SNIFFER_TEST_ELASTICSEARCH is not set");
        return;
    };
    let more = std::env::var("SNIFFER_TEST_ELASTICSEARCH_OPTIONS").unwrap_or_default();
    let run = std::process::id();
    let config = format!(
        "{{output: {{elasticsearch: {{hosts: ['{host}'], index: sniffer-test-{run}, non_indexable_policy: {{dead_letter_index: {{index: sniffer-dead-{run}}}}}{more}}}}}, \
         setup: {{template: {{name: sniffer-test-{run}, pattern: 'sniffer-test-{run}*'}}}}}}"
    );
    let root = Node::parse(&config).unwrap();
    let mut text = Vec::new();
    assert!(open(&opening(&root)).unwrap().test(&mut text).await.unwrap(), "{}", String::from_utf8_lossy(&text));
    let output = open(&opening(&root)).unwrap();
    let (counters, queue) = (output.counters(), queue::open(output.queue()));
    let document = |source: &str, n: usize| {
        Record {
        body: format!(r#"{{"@timestamp":"2024-01-01T00:00:00.000Z","source":{{"ip":"{source}","bytes":{n}}},"url":{{"full":"http://x/{n}"}},"new":"a"}}"#)
            .into_bytes()
            .into(),
        ..Record::default()
    }
    };
    let mut batch: Vec<_> = (0..2000).map(|n| document("10.0.0.1", n)).collect();
    batch.push(document("no address", 1));
    queue.push(batch, WhenFull::Drop);
    queue.close();
    tokio::time::timeout(Duration::from_secs(60), output.run(queue.clone())).await.expect("the output did not finish in time");
    assert_eq!((counters.acked.get(), counters.dead_letter.get(), queue.stats().events), (2001, 1, 0));

    let again = Elasticsearch::read(&opening(&root).at(&root.get("output.elasticsearch"))).unwrap();
    let get = async |path: &str| {
        let answer = http::send(again.shared.servers.request(0, Method::GET, path).unwrap()).await.unwrap();
        serde_json::from_slice::<Value>(&answer.body).unwrap()
    };
    get(&format!("sniffer-test-{run}/_refresh")).await;
    let found = get(&format!("sniffer-test-{run}/_count?q=source.ip:%2210.0.0.0/8%22%20AND%20source.bytes:%3E=1000")).await;
    assert_eq!(found["count"], json!(1000), "{found}");
    let mapping = get(&format!("sniffer-test-{run}/_mapping/field/source.ip,url.full,new,destination.port")).await;
    let fields = mapping.as_object().unwrap().values().next().unwrap()["mappings"].clone();
    for (field, expected) in [("source.ip", "ip"), ("url.full", "keyword"), ("new", "keyword"), ("destination.port", "long")] {
        let kind = fields[field]["mapping"][field.rsplit('.').next().unwrap()]["type"].as_str().unwrap_or("nothing");
        assert_eq!(kind, expected, "{field}: {fields}");
    }
    let policy = get("_ilm/policy/packetbeat").await;
    assert!(policy.pointer("/packetbeat/policy/phases/hot/actions/rollover").is_some(), "{policy}");
    for path in [format!("_data_stream/sniffer-test-{run}"), format!("_index_template/sniffer-test-{run}"), format!("sniffer-dead-{run}")] {
        let _ = http::send(again.shared.servers.request(0, Method::DELETE, &path).unwrap()).await;
    }
}

/// No event is lost when the server restarts. `SNIFFER_TEST_ELASTICSEARCH_RESTART` is the shell command that restarts it.
#[tokio::test]
async fn a_real_server_that_restarts() {
    let (Ok(host), Ok(restart)) = (std::env::var("SNIFFER_TEST_ELASTICSEARCH"), std::env::var("SNIFFER_TEST_ELASTICSEARCH_RESTART")) else {
        println!("SKIPPED: SNIFFER_TEST_ELASTICSEARCH or SNIFFER_TEST_ELASTICSEARCH_RESTART is not set");
        return;
    };
    let name = format!("sniffer-restart-{}", std::process::id());
    let config = format!(
        "{{output: {{elasticsearch: {{hosts: ['{host}'], index: {name}, backoff: {{max: 2s}}}}}}, setup: {{template: {{name: {name}, pattern: '{name}*'}}}}, \
         queue: {{mem: {{events: 10000, flush: {{timeout: 0.2s}}}}}}}}"
    );
    let root = Node::parse(&config).unwrap();
    let output = open(&opening(&root)).unwrap();
    let (counters, queue) = (output.counters(), queue::open(output.queue()));
    let running = tokio::spawn(output.run(queue.clone()));
    let mut command = None;
    let mut pushed = 0;
    for step in 0..2000 {
        if step == 10 {
            let restart = restart.clone();
            command = Some(std::thread::spawn(move || std::process::Command::new("sh").args(["-c", &restart]).status()));
        }
        if command.as_ref().is_some_and(|command| command.is_finished()) {
            break;
        }
        if pushed < 9000 {
            let batch = (pushed..pushed + 30).map(|n| format!(r#"{{"@timestamp":"2024-01-01T00:00:00.000Z","source":{{"bytes":{n}}}}}"#));
            assert_eq!(
                queue.push(batch.map(|body| Record { body: body.into_bytes().into(), ..Record::default() }).collect(), WhenFull::Drop),
                0
            );
            pushed += 30;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    queue.close();
    tokio::time::timeout(Duration::from_secs(90), running).await.expect("the output did not finish in time").unwrap();
    assert_eq!((counters.acked.get(), counters.dropped.get(), queue.stats().events), (pushed, 0, 0));
    let again = Elasticsearch::read(&opening(&root).at(&root.get("output.elasticsearch"))).unwrap();
    let get = async |method: Method, path: &str| {
        let answer = http::send(again.shared.servers.request(0, method, path).unwrap()).await.unwrap();
        serde_json::from_slice::<Value>(&answer.body).unwrap()
    };
    get(Method::GET, &format!("{name}/_refresh")).await;
    let found = get(Method::GET, &format!("{name}/_search?size=10000&_source=source.bytes")).await;
    let hits = found["hits"]["hits"].as_array().unwrap();
    let seen: std::collections::BTreeSet<u64> = hits.iter().map(|hit| hit["_source"]["source"]["bytes"].as_u64().unwrap()).collect();
    println!("{pushed} events, {} documents, failed attempts {}, retried {}", hits.len(), counters.failed.get(), counters.retries.get());
    assert_eq!(seen.len() as u64, pushed);
    assert!(counters.failed.get() > 0, "the server was never away");
    get(Method::DELETE, &format!("_data_stream/{name}")).await;
    get(Method::DELETE, &format!("_index_template/{name}")).await;
}

//! Tests of the Redis output against a fake server whose replies each test prescribes.

use super::*;
use crate::{
    config::Node,
    opening::testing::opening,
    output::{
        Delivery,
        connection::is_closed,
        open,
        testing::{Fake, Log},
    },
    publish::Record,
    queue::{self, WhenFull},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// A function that makes the reply to a command. The number is the number of earlier commands. The server closes the
/// connection if the reply is `None`, and after a reply that ends with `CLOSE`.
type Answering = dyn Fn(&[String], usize) -> Option<String> + Send + Sync;

impl Fake<String> {
    async fn start(answer: impl Fn(&[String], usize) -> Option<String> + Send + Sync + 'static) -> Self {
        let answer: Arc<Answering> = Arc::new(answer);
        Self::listen(move |stream, _, log| serve(stream, answer.clone(), log)).await
    }

    /// The commands that arrived, without those that begin a connection.
    fn sent(&self) -> Vec<String> {
        self.asked().into_iter().filter(|command| command.starts_with("RPUSH") || command.starts_with("PUBLISH")).collect()
    }
}

async fn serve(stream: TcpStream, answer: Arc<Answering>, log: Log<String>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
        let mut words = Vec::new();
        for _ in 0..head.trim().trim_start_matches('*').parse::<usize>().unwrap() {
            let mut size = String::new();
            stream.read_line(&mut size).await.unwrap();
            let mut word = vec![0; size.trim().trim_start_matches('$').parse::<usize>().unwrap() + 2];
            stream.read_exact(&mut word).await.unwrap();
            words.push(String::from_utf8(word[..word.len() - 2].to_vec()).unwrap());
        }
        let number = log.lock().unwrap().len();
        log.lock().unwrap().push(words.join(" "));
        let Some(reply) = answer(&words, number) else { return };
        let (reply, closes) = reply.strip_suffix("CLOSE").map_or((reply.as_str(), false), |reply| (reply, true));
        if closes {
            let _ = stream.write_all(reply.as_bytes()).await;
            return;
        }
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn fine(words: &[String]) -> Option<String> {
    Some(match words[0].as_str() {
        "RPUSH" | "PUBLISH" => ":1\r\n".into(),
        "INFO" => "$20\r\nredis_version:7.0.15\r\n".into(),
        _ => "+OK\r\n".into(),
    })
}

fn output(hosts: &str, more: &str) -> Delivery {
    let config = format!("output: {{redis: {{hosts: {hosts}, backoff: {{init: 0.1s, max: 0.1s}}, timeout: 1s{more}}}}}");
    open(&opening(&Node::parse(&config).unwrap())).unwrap()
}

/// Delivers the documents and returns the counters.
async fn deliver(output: Delivery, documents: &[&str]) -> Arc<Counters> {
    let (counters, queue) = (output.counters(), queue::open(output.queue()));
    queue.push(documents.iter().map(|body| Record { body: body.as_bytes().into(), ..Record::default() }).collect(), WhenFull::Drop);
    queue.close();
    tokio::time::timeout(Duration::from_secs(60), output.run(queue.clone())).await.expect("the output did not finish in time");
    assert_eq!(queue.stats().events, 0);
    counters
}

const TWO: &[&str] = &[r#"{"m":"a"}"#, r#"{"m":"b"}"#];

#[tokio::test]
async fn commands_as_packetbeat_sends_them() {
    for (userinfo, more, expected) in [
        ("", "", "PING|INFO|RPUSH packetbeat {\"m\":\"a\"} {\"m\":\"b\"}"),
        ("", ", key: k, db: 5, password: 'p w'", "AUTH p w|PING|SELECT 5|INFO|RPUSH k {\"m\":\"a\"} {\"m\":\"b\"}"),
        ("redis://:of%20host@", ", password: p, index: i", "AUTH of host|PING|INFO|RPUSH i {\"m\":\"a\"} {\"m\":\"b\"}"),
        ("", ", username: u, password: p, key: 'k-%{[m]}'", "AUTH u p|PING|RPUSH k-a {\"m\":\"a\"}|RPUSH k-b {\"m\":\"b\"}"),
        ("", ", datatype: channel, key: c", "PING|PUBLISH c {\"m\":\"a\"}|PUBLISH c {\"m\":\"b\"}"),
        ("", ", keys: [{key: x, when: {equals: {m: b}}}], codec: {format: {string: '%{[m]}'}}", "PING|RPUSH packetbeat a|RPUSH x b"),
        ("", ", bulk_max_size: 1", "PING|INFO|RPUSH packetbeat {\"m\":\"a\"}|RPUSH packetbeat {\"m\":\"b\"}"),
        (
            "",
            ", bulk_max_size: -1, timeout: 0, codec: {json: {escapehtml: true}}",
            "PING|INFO|RPUSH packetbeat {\"m\":\"a\"} {\"m\":\"b\"}",
        ),
    ] {
        let fake = Fake::start(|words, _| fine(words)).await;
        let counters = deliver(output(&format!("['{userinfo}127.0.0.1:{}']", fake.port), &more.replace("timeout: 0,", "")), TWO).await;
        assert_eq!(fake.asked().join("|"), expected, "{more}");
        assert_eq!((counters.acked.get(), counters.failed.get()), (2, 0));
    }
}

#[tokio::test]
async fn only_the_values_of_refused_commands_are_sent_again() {
    let fake = Fake::start(|words, number| match words {
        [_, key, _] if key == "k-b" && number < 6 => Some("-OOM command not allowed when used memory > 'maxmemory'.\r\n".into()),
        words => fine(words),
    })
    .await;
    let documents = [TWO, &[r#"{"other":1}"#]].concat();
    let counters = deliver(output(&format!("['127.0.0.1:{}']", fake.port), ", key: 'k-%{[m]}'"), &documents).await;
    let sent = fake.sent();
    assert_eq!(sent[..2], ["RPUSH k-a {\"m\":\"a\"}", "RPUSH k-b {\"m\":\"b\"}"]);
    assert!(sent.len() > 3 && sent[2..].iter().all(|command| command == "RPUSH k-b {\"m\":\"b\"}"), "{sent:?}");
    assert_eq!((counters.acked.get(), counters.dropped.get()), (2, 1), "an event without a key is dropped");
}

#[tokio::test]
async fn failures_lose_nothing() {
    for failure in [
        |n: usize| (n == 3).then_some(None),
        |n| (n == 3).then_some(Some("HTTP/1.1 400 Bad Request\r\n".to_owned())),
        |n| (n < 3).then_some(Some("-LOADING Redis is loading the dataset in memory\r\n".to_owned())),
        |n| (n == 0).then_some(None),
        // The second of two replies is missing.
        |n| (n == 2).then_some(None),
        |n| (n == 3).then_some(Some(String::new())),
    ] {
        let fake = Fake::start(move |words, n| failure(n).unwrap_or_else(|| fine(words))).await;
        let counters = deliver(output(&format!("['127.0.0.1:{}']", fake.port), ", key: 'k-%{[m]}'"), TWO).await;
        assert_eq!((counters.acked.get(), counters.dropped.get()), (2, 0));
        let sent = fake.sent();
        assert!(TWO.iter().all(|document| sent.iter().any(|command| command.ends_with(document))), "{sent:?}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_no_failure() {
    let fake = Fake::start(|words, n| if n == 2 { Some(":1\r\nCLOSE".into()) } else { fine(words) }).await;
    let shared = Redis::read(&opening(&Node::parse(&format!("{{hosts: ['127.0.0.1:{}']}}", fake.port)).unwrap())).unwrap().shared;
    let mut worker = Worker::new(shared, rotations(1, true, 1).remove(0), Arc::default());
    let batch = [Record { body: b"{}"[..].into(), ..Record::default() }];
    worker.connect().await.unwrap();
    assert_eq!(worker.send(&batch).await, Ok(crate::output::Sent::All));
    let closed = async {
        while !is_closed(worker.connection.as_mut().unwrap().get_mut()).await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed).await.unwrap();
    assert_eq!(worker.send(&batch).await, Ok(crate::output::Sent::All));
    assert_eq!(fake.sent().len(), 2);
}

#[tokio::test]
async fn another_host_takes_over() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for more in ["", ", loadbalance: false"] {
        let fake = Fake::start(|words, _| fine(words)).await;
        let counters = deliver(output(&format!("['127.0.0.1:{dead}', '127.0.0.1:{}']", fake.port), more), TWO).await;
        assert_eq!(counters.acked.get(), 2, "{more}");
    }
}

#[tokio::test]
async fn test_output_shows_every_step() {
    let fake = Fake::start(|words, _| fine(words)).await;
    let test = async |port: u16, more: &str| {
        let mut out = Vec::new();
        let succeeded = output(&format!("['127.0.0.1:{port}']"), more).test(&mut out).await.unwrap();
        (succeeded, String::from_utf8(out).unwrap())
    };
    let (succeeded, text) = test(fake.port, "").await;
    let steps = "    parse host... OK\n    dns lookup... OK\n    addresses: 127.0.0.1\n    dial up... OK\n  TLS... WARN secure connection disabled\n";
    let expected = format!("redis: 127.0.0.1:{}...\n  connection...\n{steps}  talk to server... OK\n", fake.port);
    assert_eq!((succeeded, text), (true, expected));
    let refusing = Fake::start(|_, _| Some("-NOAUTH Authentication required.\r\n".into())).await;
    let (succeeded, text) = test(refusing.port, "").await;
    assert!(!succeeded && text.contains("  talk to server... ERROR ") && text.contains("NOAUTH"), "{text}");
    let (succeeded, text) = test(1, "").await;
    assert!(!succeeded && text.contains("    dial up... ERROR Connection refused"), "{text}");
}

#[test]
fn wrong_settings() {
    for (config, expected) in [
        ("{key: x}", "hosts: missing"),
        ("{hosts: [a], datatype: stream}", "datatype"),
        ("{hosts: ['http://u:secret@a']}", "the scheme is not one of redis, rediss"),
        ("{hosts: [a], worker: 0}", "must be at least 1"),
        ("{hosts: [a], db: -1}", "db"),
        ("{hosts: [a], proxy_url: 'http://x'}", "only socks5://"),
        ("{hosts: [a], ssl: {renegotiation: freely}}", "ssl.renegotiation"),
    ] {
        let error = Redis::read(&opening(&Node::parse(config).unwrap())).map(drop).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("secret"), "{config}: {error}");
    }
}

#[tokio::test]
async fn what_a_silent_host_holds_is_sent_to_another_one() {
    let documents: Vec<String> = (100..200).map(|n| format!("{{\"m\":{n}}}")).collect();
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    // The first host answers nothing at all, the second one no command with events.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = Fake::listen(|mut stream: TcpStream, _, _| async move {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            let words = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if !words.contains("RPUSH") && stream.write_all(b"+OK\r\n").await.is_err() {
                return;
            }
        }
    });
    let hangs: Fake<String> = hangs.await;
    for port in [silent.local_addr().unwrap().port(), hangs.port] {
        let fake = Fake::start(|words, _| fine(words)).await;
        let hosts = format!("['127.0.0.1:{port}', '127.0.0.1:{}']", fake.port);
        let counters = deliver(output(&hosts, ", key: '%{[m]}', bulk_max_size: 7"), &documents).await;
        let mut arrived = fake.sent();
        arrived.sort();
        let expected: Vec<String> = (100..200).map(|n| format!("RPUSH {n} {{\"m\":{n}}}")).collect();
        assert_eq!(arrived, expected, "each once");
        let (acked, failed, total) = (counters.acked.get(), counters.failed.get(), counters.total.get());
        assert_eq!((acked, counters.dropped.get(), total), (100, 0, acked + failed));
    }
}

//! Tests of the Logstash output against a fake server whose acknowledgements each test prescribes.

use super::*;
use crate::{
    config::Node,
    opening::testing::opening,
    output::{
        Delivery, open,
        testing::{Fake, Log},
    },
    publish::Record,
    queue::{self, WhenFull},
};
use flate2::read::ZlibDecoder;
use std::io::Read;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The server's reply to a window.
#[derive(Clone, Copy, Debug)]
enum Reply {
    /// Acknowledges the documents with these numbers, one after the other.
    Acknowledge(&'static [u32]),
    All,
    /// Acknowledges everything and closes the connection.
    AllAndClose,
    /// Acknowledges this many documents and closes the connection.
    Close(u32),
    Silence,
    Nonsense,
}

/// A function that makes the reply to a window. The number is the number of earlier windows.
type Answering = dyn Fn(&[String], usize) -> Reply + Send + Sync;

/// A window that arrived: the number of its connection, and the documents.
type Window = (usize, Vec<String>);

impl Fake<Window> {
    async fn start(answer: impl Fn(&[String], usize) -> Reply + Send + Sync + 'static) -> Self {
        let answer: Arc<Answering> = Arc::new(answer);
        Self::listen(move |stream, connection, log| serve(stream, connection, answer.clone(), log)).await
    }
}

async fn window(stream: &mut TcpStream) -> Option<Vec<String>> {
    let mut head = [0; 6];
    stream.read_exact(&mut head).await.ok()?;
    assert_eq!(head[..2], *b"2W");
    let count = u32::from_be_bytes(head[2..].try_into().unwrap());
    stream.read_exact(&mut head).await.ok()?;
    let mut inner = Vec::new();
    if head[..2] == *b"2C" {
        let mut compressed = vec![0; u32::from_be_bytes(head[2..].try_into().unwrap()) as usize];
        stream.read_exact(&mut compressed).await.ok()?;
        ZlibDecoder::new(&compressed[..]).read_to_end(&mut inner).unwrap();
    } else {
        inner.extend(head);
        for number in 1..=count {
            let mut length = [0; 4];
            stream.read_exact(&mut length).await.ok()?;
            inner.extend(length);
            let mut rest = vec![0; u32::from_be_bytes(length) as usize + if number < count { 6 } else { 0 }];
            stream.read_exact(&mut rest).await.ok()?;
            inner.extend(rest);
        }
    }
    let (mut documents, mut rest) = (Vec::new(), &inner[..]);
    while let Some((frame, tail)) = rest.split_at_checked(10) {
        assert_eq!(frame[..2], *b"2J");
        assert_eq!(u32::from_be_bytes(frame[2..6].try_into().unwrap()), documents.len() as u32 + 1);
        let (document, tail) = tail.split_at(u32::from_be_bytes(frame[6..].try_into().unwrap()) as usize);
        documents.push(String::from_utf8(document.to_vec()).unwrap());
        rest = tail;
    }
    assert_eq!(documents.len(), count as usize);
    Some(documents)
}

async fn serve(mut stream: TcpStream, connection: usize, answer: Arc<Answering>, log: Log<Window>) {
    while let Some(documents) = window(&mut stream).await {
        let number = log.lock().unwrap().len();
        log.lock().unwrap().push((connection, documents.clone()));
        let all = [documents.len() as u32];
        let (numbers, closes) = match answer(&documents, number) {
            Reply::Acknowledge(numbers) => (numbers, false),
            Reply::All => (&all[..], false),
            Reply::AllAndClose => (&all[..], true),
            Reply::Close(0) => return,
            Reply::Close(number) => (&[number][..], true),
            Reply::Silence => (&[][..], false),
            Reply::Nonsense => {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n").await;
                continue;
            }
        };
        for number in numbers {
            if stream.write_all(&[&b"2A"[..], &number.to_be_bytes()].concat()).await.is_err() {
                return;
            }
        }
        if closes {
            return;
        }
    }
}

fn output(hosts: &str, more: &str) -> Delivery {
    let config = format!("output: {{logstash: {{hosts: {hosts}, backoff: {{init: 0.1s, max: 0.1s}}, timeout: 0.5s{more}}}}}");
    open(&opening(&Node::parse(&config).unwrap())).unwrap()
}

/// Delivers `count` numbered documents and returns the counters.
async fn deliver(output: Delivery, count: usize) -> Arc<Counters> {
    let (counters, queue) = (output.counters(), queue::open(output.queue()));
    let record = |n| Record { body: format!("{{\"n\":\"<{n}>\"}}").into_bytes().into(), ..Record::default() };
    queue.push((0..count).map(record).collect(), WhenFull::Drop);
    queue.close();
    tokio::time::timeout(Duration::from_secs(60), output.run(queue.clone())).await.expect("the output did not finish in time");
    assert_eq!(queue.stats().events, 0);
    counters
}

fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{{\"n\":\"<{n}>\"}}")).collect()
}

#[tokio::test]
async fn windows_as_packetbeat_sends_them() {
    for more in ["", ", compression_level: 0", ", compression_level: 9, pipelining: 0", ", bulk_max_size: 0, ttl: 1h"] {
        let fake = Fake::start(|_, _| Reply::All).await;
        let counters = deliver(output(&format!("['127.0.0.1:{}']", fake.port), more), 3).await;
        assert_eq!(fake.asked(), [(0, texts(0..3))], "{more}");
        assert_eq!((counters.acked.get(), counters.failed.get()), (3, 0));
    }
    let fake = Fake::start(|_, _| Reply::All).await;
    deliver(output(&format!("['127.0.0.1:{}']", fake.port), ", escape_html: true"), 1).await;
    assert_eq!(fake.asked(), [(0, vec![r#"{"n":"\u003c0\u003e"}"#.to_owned()])]);
}

#[tokio::test]
async fn slow_start_begins_with_small_windows() {
    let fake = Fake::start(|_, _| Reply::All).await;
    deliver(output(&format!("['127.0.0.1:{}']", fake.port), ", slow_start: true, pipelining: 0, bulk_max_size: 64"), 200).await;
    let sizes: Vec<usize> = fake.asked().iter().map(|(_, window)| window.len()).collect();
    assert_eq!(sizes, [10, 20, 40, 64, 64, 2]);
}

#[tokio::test]
async fn several_windows_are_on_their_way_and_share_a_connection() {
    // The server acknowledges the first window only when the second one has arrived.
    let fake = Fake::start(|_, n| if n == 0 { Reply::Silence } else { Reply::Acknowledge(&[2, 2]) }).await;
    let counters = deliver(output(&format!("['127.0.0.1:{}']", fake.port), ", bulk_max_size: 2, pipelining: 2"), 4).await;
    assert_eq!(fake.asked(), [(0, texts(0..2)), (0, texts(2..4))]);
    assert_eq!((counters.acked.get(), counters.failed.get()), (4, 0));
}

#[tokio::test]
async fn acknowledged_documents_are_not_sent_again() {
    let fake = Fake::start(|_, n| if n == 0 { Reply::Close(2) } else { Reply::All }).await;
    let counters = deliver(output(&format!("['127.0.0.1:{}']", fake.port), ""), 5).await;
    assert_eq!(fake.asked(), [(0, texts(0..5)), (1, texts(2..5))]);
    assert_eq!((counters.acked.get(), counters.failed.get(), counters.total.get()), (5, 3, 8));
    let fake = Fake::start(|_, _| Reply::Acknowledge(&[0, 1, 0, 3, 3, 5])).await;
    let counters = deliver(output(&format!("['127.0.0.1:{}']", fake.port), ""), 5).await;
    assert_eq!((counters.acked.get(), counters.failed.get(), fake.asked().len()), (5, 0, 1), "the window moves");
}

#[tokio::test]
async fn failures_lose_nothing() {
    for reply in
        [Reply::Close(0), Reply::Silence, Reply::Nonsense, Reply::Acknowledge(&[0, 0]), Reply::Acknowledge(&[7]), Reply::AllAndClose]
    {
        let fake = Fake::start(move |_, n| if n == 0 { reply } else { Reply::All }).await;
        let counters = deliver(output(&format!("['127.0.0.1:{}']", fake.port), ""), 5).await;
        assert_eq!((counters.acked.get(), counters.dropped.get()), (5, 0), "{reply:?}");
        let failed = if matches!(reply, Reply::AllAndClose) { 0 } else { 5 };
        assert_eq!(counters.failed.get(), failed, "{reply:?}");
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_while_idle_or_too_old_is_replaced_without_a_failure() {
    for (reply, ttl) in [(Reply::AllAndClose, ""), (Reply::All, ", ttl: 1ms")] {
        let fake = Fake::start(move |_, _| reply).await;
        let node = Node::parse(&format!("{{hosts: ['127.0.0.1:{}'], pipelining: 2{ttl}}}", fake.port)).unwrap();
        let shared = Logstash::read(&opening(&node)).unwrap().shared;
        let link = Arc::new(Link::new(shared, rotations(1, true, 1).remove(0), Arc::default()));
        let mut senders = [Worker(link.clone()), Worker(link)];
        let batch = [Record { body: b"{}"[..].into(), ..Record::default() }];
        for connection in 0..4 {
            let sender = &mut senders[connection % 2];
            assert_eq!(sender.send(&batch).await, Ok(crate::output::Sent::All));
            // The end of the connection is noticed by the task that reads from it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(fake.asked().iter().map(|(connection, _)| *connection).collect::<Vec<_>>(), [0, 1, 2, 3], "{ttl}");
    }
}

#[tokio::test]
async fn another_host_takes_over() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let closing = Fake::start(|_, _| Reply::Close(0)).await;
    for (first, more) in [(dead, ""), (dead, ", loadbalance: true"), (closing.port, ""), (closing.port, ", pipelining: 5")] {
        let fake = Fake::start(|_, _| Reply::All).await;
        let counters = deliver(output(&format!("['127.0.0.1:{first}', '127.0.0.1:{}']", fake.port), more), 5).await;
        assert_eq!(counters.acked.get(), 5, "{more}");
    }
}

#[test]
fn wrong_settings() {
    for (config, expected) in [
        ("{}", "hosts: missing"),
        ("{hosts: [a], compression_level: 10}", "10 is not between 0 and 9"),
        ("{hosts: ['http://a']}", "the scheme is not one of tcp"),
        ("{hosts: [a], workers: 0}", "must be at least 1"),
        ("{hosts: [a], pipelining: 1000}", "must be at most 64"),
    ] {
        let error = Logstash::read(&opening(&Node::parse(config).unwrap())).map(drop).unwrap_err().to_string();
        assert!(error.contains(expected), "{config}: {error}");
    }
}

#[tokio::test]
async fn what_a_silent_host_holds_is_sent_to_another_one() {
    // Connections to it are accepted by the kernel, and nothing answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    for (more, count) in [("5", 100), ("5, pipelining: 0", 100), ("5, pipelining: 5", 100), ("1", 20)] {
        let fake = Fake::start(|_, _| Reply::All).await;
        let hosts = format!("['127.0.0.1:{port}', '127.0.0.1:{}']", fake.port);
        let counters = deliver(output(&hosts, &format!(", loadbalance: true, bulk_max_size: {more}")), count).await;
        let mut arrived: Vec<String> = fake.asked().into_iter().flat_map(|(_, documents)| documents).collect();
        arrived.sort();
        let mut expected = texts(0..count);
        expected.sort();
        assert_eq!(arrived, expected, "{more}: each once");
        let (acked, failed, total) = (counters.acked.get(), counters.failed.get(), counters.total.get());
        assert_eq!((acked, counters.dropped.get(), total), (count as u64, 0, acked + failed), "{more}");
    }
}

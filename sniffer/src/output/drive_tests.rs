//! Tests of the delivery loop with a sender whose answers each test prescribes.

use super::*;
use crate::{
    publish::Record,
    queue::{self, BoxFuture, WhenFull},
};
use std::{collections::VecDeque, sync::Mutex, time::Duration};

/// A sender that returns `answers` in order and afterwards delivers everything. It records each batch that it gets in `sent`.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}
enum Answer {
    Connect(bool),
    Send(fn(&[Record]) -> Result<Sent, Error>),
}
impl Script {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Self::default() }
    }
}

impl Sender for Script {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.pop_front() {
            Some(Answer::Connect(false)) => Err(Error::Unreachable("no".into())),
            Some(Answer::Connect(true)) | None => Ok(()),
            Some(send) => {
                answers.push_front(send);
                Ok(())
            }
        };
        Box::pin(std::future::ready(answer))
    }

    fn send<'a>(&'a mut self, batch: &'a [Record]) -> BoxFuture<'a, Result<Sent, Error>> {
        self.sent.lock().unwrap().push(batch.iter().map(|r| r.body[0]).collect());
        let answer = match self.answers.lock().unwrap().pop_front() {
            Some(Answer::Send(answer)) => answer(batch),
            _ => Ok(Sent::All),
        };
        Box::pin(std::future::ready(answer))
    }
}

async fn run(answers: Vec<Answer>, max_retries: i64) -> (Vec<String>, Arc<Counters>, Arc<dyn Queue>) {
    let queue = queue::open(queue::Options::default());
    queue.push((b'a'..=b'd').map(|b| Record { body: [b].into(), ..Record::default() }).collect(), WhenFull::Drop);
    queue.close();
    let script = Script::new(answers);
    let (counters, backoff) =
        (Arc::new(Counters::default()), backoff::Options { init: Duration::from_millis(1), max: Duration::from_millis(2) });
    drive(Box::new(script.clone()), queue.clone(), Options { bulk_max_size: 10, max_retries, backoff }, counters.clone()).await;
    let sent = script.sent.lock().unwrap().iter().map(|s| String::from_utf8(s.clone()).unwrap()).collect();
    (sent, counters, queue)
}

#[tokio::test]
async fn an_unreachable_server_is_retried_without_a_limit_and_in_order() {
    let mut answers: Vec<_> = (0..20).map(|_| Answer::Connect(false)).collect();
    answers.extend([Answer::Connect(true), Answer::Send(|_| Err(Error::Unreachable("gone".into()))), Answer::Connect(false)]);
    let (sent, counters, queue) = run(answers, 0).await;
    assert_eq!(sent, ["abcd", "abcd"]);
    assert_eq!((counters.acked.get(), counters.failed.get(), counters.dropped.get(), queue.stats().events), (4, 4, 0, 0));
}

#[tokio::test]
async fn each_record_has_its_own_outcome() {
    let some = |_: &[Record]| {
        Ok(Sent::Each(vec![
            Outcome::Delivered,
            Outcome::Retry("busy".into()),
            Outcome::Rejected("bad".into()),
            Outcome::Later("soon".into()),
        ]))
    };
    let (sent, counters, _) = run(vec![Answer::Send(some)], 3).await;
    assert_eq!(sent, ["abcd", "bd"]);
    assert_eq!((counters.acked.get(), counters.failed.get(), counters.dropped.get(), counters.retries.get()), (3, 2, 1, 2));
}

#[tokio::test]
async fn records_refused_more_than_max_retries_times_are_dropped_and_counted() {
    let refuse = || Answer::Send(|_: &[Record]| Err(Error::Refused("400".into())));
    let (sent, counters, queue) = run(vec![refuse(), refuse(), refuse(), refuse()], 2).await;
    assert_eq!(sent.len(), 3);
    assert_eq!((counters.acked.get(), counters.dropped.get(), queue.stats().events), (0, 4, 0));
    let later = || Answer::Send(|b: &[Record]| Ok(Sent::Each(vec![Outcome::Later("503".into()); b.len()])));
    let (sent, counters, _) = run((0..9).map(|_| later()).collect(), 2).await;
    assert_eq!((sent.len(), counters.acked.get(), counters.dropped.get()), (10, 4, 0));
}

#[tokio::test]
async fn ends_when_the_queue_is_closed_and_empty_while_no_server_is_reachable() {
    let queue = queue::open(queue::Options::default());
    let script = Script::new((0..100_000).map(|_| Answer::Connect(false)));
    let running = tokio::spawn(drive(Box::new(script), queue.clone(), Options::default(), Arc::default()));
    tokio::time::sleep(Duration::from_millis(5)).await;
    queue.close();
    tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
}

#[tokio::test]
async fn cancelled_delivery_gives_records_back() {
    let queue = queue::open(queue::Options::default());
    queue.push(vec![Record { body: [1].into(), ..Record::default() }], WhenFull::Drop);
    queue.close();
    let script = Script::new((0..100_000).map(|_| Answer::Connect(false)));
    let cut =
        tokio::time::timeout(Duration::from_millis(20), drive(Box::new(script), queue.clone(), Options::default(), Arc::default())).await;
    assert!(cut.is_err());
    assert_eq!(queue.stats().events, 1);
}

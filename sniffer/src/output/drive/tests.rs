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

/// Delivers the records a to h, which one push puts into the queue. Time is paused, so waits cost nothing. Returns the batches that were
/// sent.
async fn run(answers: Vec<Answer>, options: Options) -> (Vec<String>, Arc<Counters>, Arc<dyn Queue>) {
    let queue = queue::open(queue::Options::default());
    queue.push((b'a'..=b'h').map(|b| Record { body: [b].into(), ..Record::default() }).collect(), WhenFull::Drop);
    queue.close();
    let script = Script::new(answers);
    let telemetry = Telemetry::default();
    drive(Box::new(script.clone()), queue.clone(), options, telemetry.clone()).await;
    let sent = script.sent.lock().unwrap().iter().map(|s| String::from_utf8(s.clone()).unwrap()).collect();
    assert_adds_up(&telemetry.counters, 0);
    (sent, telemetry.counters, queue)
}

/// Asserts that total = acked + failed + dropped + active.
fn assert_adds_up(counters: &Counters, active: u64) {
    let mut totals = std::collections::BTreeMap::new();
    let mut gauges = Vec::new();
    counters.each(|name, value| totals.extend([(name, value)]), |name, value| gauges.push((name, value)));
    let of = |name: &str| totals[format!("libbeat.output.events.{name}").as_str()];
    assert_eq!(of("total"), of("acked") + of("failed") + of("dropped") + active, "{totals:?}");
    assert_eq!(gauges, [("libbeat.output.events.active", active as f64)]);
}

fn options(bulk_max_size: usize, max_retries: i64) -> Options {
    Options { bulk_max_size, max_retries, ..Options::default() }
}

/// Answers each send according to the content of the batch.
fn always(answer: fn(&[Record]) -> Result<Sent, Error>) -> Vec<Answer> {
    (0..1000).map(|_| Answer::Send(answer)).collect()
}

/// Returns the outcome of each record, by its letter.
fn each(batch: &[Record], outcome: fn(u8) -> Outcome) -> Result<Sent, Error> {
    Ok(Sent::Each(batch.iter().map(|record| outcome(record.body[0])).collect()))
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_server_is_retried_without_a_limit_and_in_order() {
    let mut answers: Vec<_> = (0..20).map(|_| Answer::Connect(false)).collect();
    answers.extend([Answer::Connect(true), Answer::Send(|_| Err(Error::Unreachable("gone".into()))), Answer::Connect(false)]);
    let (sent, counters, queue) = run(answers, options(10, 0)).await;
    assert_eq!(sent, ["abcdefgh", "abcdefgh"]);
    assert_eq!((counters.acked.get(), counters.failed.get(), counters.dropped.get(), queue.stats().events), (8, 8, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn each_record_has_its_own_outcome() {
    let some = |batch: &[Record]| {
        each(batch, |letter| match letter {
            b'b' => Outcome::Retry("busy".into()),
            b'c' => Outcome::Rejected("bad".into()),
            b'd' => Outcome::Later("soon".into()),
            b'e' => Outcome::Duplicate,
            b'f' => Outcome::DeadLetter,
            _ => Outcome::Delivered,
        })
    };
    let (mut sent, counters, _) = run(vec![Answer::Send(some)], options(10, 3)).await;
    sent[1..].sort();
    assert_eq!(sent, ["abcdefgh", "b", "d"], "groups by the number of refusals");
    assert_eq!((counters.acked.get(), counters.failed.get(), counters.dropped.get(), counters.retries.get()), (7, 2, 1, 2));
    assert_eq!((counters.duplicates.get(), counters.dead_letter.get()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn records_refused_more_than_max_retries_times_are_dropped_and_counted() {
    let refuse = |batch: &[Record]| each(batch, |_| Outcome::Retry("500".into()));
    let (sent, counters, queue) = run(always(refuse), options(10, 2)).await;
    assert_eq!(sent, ["abcdefgh"; 3]);
    assert_eq!((counters.acked.get(), counters.dropped.get(), queue.stats().events), (0, 8, 0));
    let later = |batch: &[Record]| each(batch, |_| Outcome::Later("429".into()));
    let answers = (0..9).map(|_| Answer::Send(later)).collect();
    let (sent, counters, _) = run(answers, options(10, 2)).await;
    assert_eq!((sent.len(), counters.acked.get(), counters.dropped.get()), (10, 8, 0), "overload does not use up the attempts");
}

#[tokio::test(start_paused = true)]
async fn records_that_are_not_accepted_now_do_not_delay_others() {
    let poison = |batch: &[Record]| each(batch, |letter| if letter == b'b' { Outcome::Later("503".into()) } else { Outcome::Delivered });
    let queue = queue::open(queue::Options::default());
    queue.push((b'a'..=b'h').map(|b| Record { body: [b].into(), ..Record::default() }).collect(), WhenFull::Drop);
    queue.close();
    let script = Script::new(always(poison));
    let telemetry = Telemetry::default();
    let endless = drive(Box::new(script.clone()), queue.clone(), options(2, 0), telemetry.clone());
    assert!(tokio::time::timeout(Duration::from_secs(100), endless).await.is_err(), "b is never given up");
    let sent = script.sent.lock().unwrap();
    let others = [b"ab".to_vec(), b"cd".to_vec(), b"ef".to_vec(), b"gh".to_vec()];
    assert_eq!(sent[..4], others, "the others do not wait for b");
    assert!(sent[4..].iter().all(|batch| batch == b"b") && sent.len() < 30, "with growing waits: {}", sent.len());
    assert_eq!((telemetry.counters.acked.get(), queue.stats().events), (7, 1));
    assert_adds_up(&telemetry.counters, 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_large_or_refused_as_a_whole_is_halved() {
    let too_large = |batch: &[Record]| match batch {
        [one] if one.body[0] == b'c' => Err(Error::TooLarge("413".into())),
        batch if batch.len() > 3 => Err(Error::TooLarge("413".into())),
        batch if batch.iter().any(|record| record.body[0] == b'c') => Err(Error::TooLarge("413".into())),
        _ => Ok(Sent::All),
    };
    let (sent, counters, queue) = run(always(too_large), options(10, 0)).await;
    assert_eq!(sent, ["abcdefgh", "abcd", "ab", "cd", "c", "d", "efgh", "ef", "gh"]);
    assert_eq!((counters.acked.get(), counters.dropped.get(), queue.stats().events), (7, 1, 0));
    let refused = |batch: &[Record]| match batch.iter().any(|record| record.body[0] == b'f') {
        true => Err(Error::Refused("400".into())),
        false => Ok(Sent::All),
    };
    let (sent, counters, _) = run(always(refused), options(10, 2)).await;
    assert_eq!(sent, ["abcdefgh", "abcd", "efgh", "ef", "e", "f", "gh", "f", "f"]);
    assert_eq!((counters.acked.get(), counters.dropped.get()), (7, 1));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_breaks_connections_holds_up_no_other() {
    let breaks = |batch: &[Record]| match batch.iter().any(|record| record.body[0] == b'c') {
        true => Err(Error::Broken("reset".into())),
        false => Ok(Sent::All),
    };
    let queue = queue::open(queue::Options::default());
    queue.push((b'a'..=b'h').map(|b| Record { body: [b].into(), ..Record::default() }).collect(), WhenFull::Drop);
    queue.close();
    let script = Script::new(always(breaks));
    let telemetry = Telemetry::default();
    let endless = drive(Box::new(script.clone()), queue.clone(), options(8, 0), telemetry.clone());
    assert!(tokio::time::timeout(Duration::from_secs(600), endless).await.is_err(), "c is never given up");
    assert_eq!((telemetry.counters.acked.get(), telemetry.counters.dropped.get(), queue.stats().events), (7, 0, 1));
    let sent = script.sent.lock().unwrap();
    assert!(sent.iter().filter(|batch| batch.len() > 1 && batch.contains(&b'c')).count() < 20, "{sent:?}");
    assert_adds_up(&telemetry.counters, 0);
}

/// A sender whose server accepts connections and never answers.
struct Silent(Duration);

impl Sender for Silent {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn send<'a>(&'a mut self, _: &'a [Record]) -> BoxFuture<'a, Result<Sent, Error>> {
        Box::pin(async {
            sleep(self.0).await;
            Err(Error::Broken("no answer".into()))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_a_silent_server_holds_are_sent_to_another_one() {
    const TIMEOUT: Duration = Duration::from_secs(90);
    for (max, gap) in [(1, 10), (10, 1), (2048, 30), (1, 200)] {
        let (queue, telemetry, script) = (queue::open(queue::Options::default()), Telemetry::default(), Script::default());
        let options = Options { has_others: true, ..options(max, 3) };
        let workers = [Box::new(Silent(TIMEOUT)) as Box<dyn Sender>, Box::new(script.clone())];
        let workers = workers.map(|sender| tokio::spawn(drive(sender, queue.clone(), options, telemetry.clone())));
        let mut longest = 0;
        for number in 0..100_u8 {
            queue.push(vec![Record { body: [number].into(), ..Record::default() }], WhenFull::Drop);
            sleep(Duration::from_secs(gap)).await;
            longest = longest.max(queue.stats().events);
        }
        queue.close();
        for worker in workers {
            tokio::time::timeout(4 * TIMEOUT, worker).await.unwrap_or_else(|_| panic!("{max}, {gap}: {:?}", queue.stats())).unwrap();
        }
        let mut sent = script.sent.lock().unwrap().concat();
        sent.sort_unstable();
        assert_eq!(sent, (0..100).collect::<Vec<u8>>(), "{max}, {gap}: each once");
        assert_eq!((telemetry.counters.acked.get(), telemetry.counters.dropped.get(), queue.stats().events), (100, 0, 0), "{max}, {gap}");
        // The silent worker holds one batch, and at most two records that may be the cause. The queue waits for more records for 10 s.
        assert!(longest <= 30, "{max}, {gap}: {longest} records waited");
        assert_adds_up(&telemetry.counters, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn ends_when_the_queue_is_closed_and_empty_while_no_server_is_reachable() {
    let queue = queue::open(queue::Options::default());
    let script = Script::new((0..100_000).map(|_| Answer::Connect(false)));
    let running = tokio::spawn(drive(Box::new(script), queue.clone(), Options::default(), Telemetry::default()));
    tokio::task::yield_now().await;
    queue.close();
    tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn cancelled_delivery_gives_records_back() {
    for answers in [(0..100_000).map(|_| Answer::Connect(false)).collect(), always(|batch| each(batch, |_| Outcome::Later("x".into())))] {
        let queue = queue::open(queue::Options::default());
        queue.push(vec![Record { body: [1].into(), ..Record::default() }], WhenFull::Drop);
        queue.close();
        let delivery = drive(Box::new(Script::new(answers)), queue.clone(), Options::default(), Telemetry::default());
        let cut = tokio::time::timeout(Duration::from_secs(60), delivery).await;
        assert!(cut.is_err());
        assert_eq!(queue.stats().events, 1);
    }
}

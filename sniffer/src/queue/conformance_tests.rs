//! Tests of the guarantees that every [`Queue`] gives. They use only the trait; [`conformance!`] generates the tests
//! for one implementation.

use super::*;
use crate::publish::Record;
use std::{collections::BTreeSet, sync::Mutex, thread, time::Duration};

/// The size of a queue under test. The queue must hand records out without delay.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Maximum number of records, if the queue has such a limit.
    pub events: usize,
    /// Maximum number of bytes.
    pub bytes: usize,
}

/// A size that is large enough for every test that is not about limits.
const ROOMY: Limits = Limits { events: 100_000, bytes: 256 << 20 };

/// Opens an empty queue.
pub type Open<'a> = &'a dyn Fn(Limits) -> Arc<dyn Queue>;

/// A test that takes longer than this fails.
const HANGS: Duration = Duration::from_secs(30);

/// Makes one test for each guarantee, with the queue that the expression opens.
macro_rules! conformance {
    ($open:expr) => {
        conformance!(@tests $open;
            numbers_and_order
            settled_in_any_order
            a_dropped_batch_comes_back_first_and_in_order
            a_cancelled_next_loses_no_record
            a_full_queue_drops_and_counts
            a_producer_waits_for_room
            bytes_are_bounded
            closing_releases_a_producer_that_waits
            producers_wait_no_longer_than_the_limit
            a_closed_queue_hands_out_the_rest_and_ends
            no_end_while_a_batch_is_handed_out
            waiting_for_the_end_takes_no_wake_up_from_consumers
            many_producers_and_consumers_settle_each_record_once
        );
    };
    (@tests $open:expr; $($name:ident)*) => {
        $(#[test]
        fn $name() {
            $crate::queue::conformance_tests::$name(&$open);
        })*
    };
}
pub(super) use conformance;

/// Runs a future to its end. Panics after [`HANGS`].
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(HANGS, future).await.expect("the test hangs") })
}

fn record(number: usize) -> Record {
    Record { body: number.to_string().into_bytes().into(), ..Record::default() }
}

fn records(range: Range<usize>) -> Vec<Record> {
    range.map(record).collect()
}

/// The numbers that the records were made with by [`record`].
fn numbers(records: &[Record]) -> Vec<usize> {
    records.iter().map(|record| std::str::from_utf8(&record.body).unwrap().parse().unwrap()).collect()
}

async fn take(queue: &Arc<dyn Queue>, max: usize) -> Batch {
    queue.clone().next(max).await.expect("a batch")
}

/// Whether the future is still pending after all other tasks have run.
async fn waits<F: Future + Unpin>(future: &mut F) -> bool {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::ZERO, future).await.is_err()
}

pub fn numbers_and_order(open: Open<'_>) {
    run(async {
        let queue = open(ROOMY);
        assert_eq!(queue.push(Vec::new(), WhenFull::Wait), 0);
        assert_eq!(queue.push(records(0..5), WhenFull::Drop) + queue.push(records(5..300), WhenFull::Wait), 0);
        let (mut seen, mut sequences) = (Vec::new(), Runs::default());
        for max in [1, 7, 200, 1000].into_iter().cycle() {
            let mut batch = take(&queue, max).await;
            assert!((1..=max).contains(&batch.records().len()), "{} of {max}", batch.records().len());
            assert_eq!(batch.sequences().iter().count(), batch.records().len());
            seen.extend(numbers(batch.records()));
            batch.sequences().ranges().iter().for_each(|range| sequences.extend(range.clone()));
            batch.settle_all();
            assert!(batch.records().is_empty());
            if seen.len() >= 300 {
                break;
            }
        }
        assert_eq!(seen, (0..300).collect::<Vec<_>>());
        assert_eq!(sequences.ranges().len(), 1, "numbers without gaps: {sequences:?}");
        let stats = queue.stats();
        assert_eq!((stats.added, stats.consumed, stats.settled, stats.dropped, stats.events, stats.bytes), (300, 300, 300, 0, 0, 0));
    });
}

pub fn settled_in_any_order(open: Open<'_>) {
    run(async {
        let queue = open(ROOMY);
        queue.push(records(0..30), WhenFull::Drop);
        queue.close();
        let mut batches = [take(&queue, 10).await, take(&queue, 10).await, take(&queue, 10).await];
        let mut settled = 0;
        for place in [2, 0, 1] {
            let finished = queue.finished();
            tokio::pin!(finished);
            assert!(waits(&mut finished).await, "{settled} of 30 are settled");
            // Settle every second record, then the remaining ones.
            batches[place].settle(|i| i % 2 == 1);
            assert_eq!(batches[place].records().len(), 5);
            batches[place].settle_all();
            settled += 10;
            assert_eq!((queue.stats().settled, queue.stats().events), (settled, 30 - settled as usize));
        }
        queue.finished().await;
        assert!(queue.clone().next(1).await.is_none());
        assert_eq!(queue.stats().bytes, 0);
    });
}

pub fn a_dropped_batch_comes_back_first_and_in_order(open: Open<'_>) {
    run(async {
        let queue = open(ROOMY);
        queue.push(records(0..20), WhenFull::Drop);
        let (mut first, second) = (take(&queue, 5).await, take(&queue, 5).await);
        first.settle(|i| i == 0 || i == 3);
        assert_eq!(numbers(first.records()), [1, 2, 4]);
        let held = queue.stats();
        // Drop the later batch first. The records still come back in the order of their numbers.
        drop(second);
        drop(first);
        let stats = queue.stats();
        assert_eq!((stats.events, stats.bytes, stats.settled), (held.events, held.bytes, 2), "records given back still count");
        let mut seen = Vec::new();
        while seen.len() < 18 {
            let mut batch = take(&queue, 6).await;
            seen.extend(numbers(batch.records()));
            batch.settle_all();
        }
        let expected: Vec<usize> = (0..20).filter(|n| ![0, 3].contains(n)).collect();
        assert_eq!(seen, expected);
        assert_eq!((queue.stats().settled, queue.stats().events), (20, 0));
    });
}

pub fn a_cancelled_next_loses_no_record(open: Open<'_>) {
    run(async {
        let queue = open(ROOMY);
        let mut waiting = queue.clone().next(10);
        assert!(waits(&mut waiting).await);
        queue.push(records(0..3), WhenFull::Drop);
        // Drop a waiting future after it was woken and before it is polled again.
        drop(waiting);
        // Drop a future that was never polled.
        drop(queue.clone().next(10));
        assert_eq!(numbers(take(&queue, 10).await.records()), [0, 1, 2]);
    });
}

pub fn a_full_queue_drops_and_counts(open: Open<'_>) {
    run(async {
        let queue = open(Limits { events: 50, bytes: 1 << 20 });
        let one = |n: usize| Record { body: vec![b'0' + (n % 10) as u8; 30_000].into(), ..Record::default() };
        let dropped = queue.push((0..60).map(one).collect(), WhenFull::Drop);
        assert!(dropped > 0, "2 MB and 60 records do not fit");
        assert_eq!(queue.push(vec![one(0)], WhenFull::Drop), 1, "still full");
        let stats = queue.stats();
        assert_eq!((stats.added + stats.dropped, stats.dropped), (61, dropped as u64 + 1));
        // Records that are handed out and not settled still count towards the limits.
        let mut all = Vec::new();
        while queue.stats().consumed < stats.added {
            all.push(take(&queue, 7).await);
        }
        assert_eq!(queue.push(vec![one(0)], WhenFull::Drop), 1);
        let accepted: Vec<u8> = all.iter().flat_map(|batch| batch.records()).map(|record| record.body[0]).collect();
        let expected: Vec<u8> = (0..60 - dropped).map(|n| b'0' + (n % 10) as u8).collect();
        assert_eq!(accepted, expected, "the first are kept, the last dropped");
        all.iter_mut().for_each(Batch::settle_all);
        assert_eq!(queue.push(vec![one(0)], WhenFull::Drop), 0, "there is room again");
    });
}

pub fn a_producer_waits_for_room(open: Open<'_>) {
    run(async {
        let queue = open(Limits { events: 3, bytes: 1 << 20 });
        let producer = thread::spawn({
            let queue = queue.clone();
            move || {
                let dropped = queue.push(records(0..2000), WhenFull::Wait);
                queue.close();
                dropped
            }
        });
        let mut seen = Vec::new();
        while let Some(mut batch) = queue.clone().next(2).await {
            seen.extend(numbers(batch.records()));
            batch.settle_all();
        }
        assert_eq!(producer.join().unwrap(), 0);
        assert_eq!(seen, (0..2000).collect::<Vec<_>>());
    });
}

pub fn bytes_are_bounded(open: Open<'_>) {
    run(async {
        let limit = 1 << 20;
        let queue = open(Limits { events: 100_000, bytes: limit });
        let body = vec![b'x'; 10_000];
        let mut accepted = 0;
        for _ in 0..50 {
            let some: Vec<Record> = (0..10).map(|_| Record { body: body.as_slice().into(), ..Record::default() }).collect();
            accepted += 10 - queue.push(some, WhenFull::Drop);
            assert!(queue.stats().bytes <= limit, "{} bytes", queue.stats().bytes);
        }
        assert!((50..=limit / body.len()).contains(&accepted), "{accepted} records of 10,000 bytes in 1 MiB");
        assert_eq!(queue.stats().events, accepted);
    });
}

pub fn closing_releases_a_producer_that_waits(open: Open<'_>) {
    run(async {
        let queue = open(Limits { events: 2, bytes: 1 << 20 });
        let producer = thread::spawn({
            let queue = queue.clone();
            // These records are more than a queue of this size can hold.
            move || queue.push((0..200).map(|_| Record { body: vec![b'1'; 10_000].into(), ..Record::default() }).collect(), WhenFull::Wait)
        });
        let mut batch = take(&queue, 1).await;
        queue.close();
        let dropped = producer.join().unwrap();
        let stats = queue.stats();
        assert!(dropped > 0, "{stats:?}");
        assert_eq!((stats.dropped, stats.added), (dropped as u64, 200 - dropped as u64));
        batch.settle_all();
        while let Some(mut batch) = queue.clone().next(50).await {
            batch.settle_all();
        }
        assert_eq!((queue.stats().settled, queue.stats().events), (stats.added, 0), "what was accepted is handed out");
    });
}

pub fn producers_wait_no_longer_than_the_limit(open: Open<'_>) {
    run(async {
        let queue = open(Limits { events: 2, bytes: 1 << 20 });
        let large = |count: usize| vec![Record { body: vec![b'1'; 10_000].into(), ..Record::default() }; count];
        let producer = thread::spawn({
            let queue = queue.clone();
            // These records are more than a queue of this size can hold.
            move || queue.push(large(200), WhenFull::Wait)
        });
        let mut batch = take(&queue, 1).await;
        // With a limit in the future the producer still waits, and continues when there is room.
        queue.limit_waits(Instant::now() + HANGS * 100);
        let added = queue.stats().added;
        batch.settle_all();
        while queue.stats().added == added {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(!producer.is_finished(), "{:?}", queue.stats());
        queue.limit_waits(Instant::now());
        let dropped = producer.join().unwrap();
        let stats = queue.stats();
        assert!(dropped > 0, "{stats:?}");
        assert_eq!((stats.dropped, stats.added), (dropped as u64, 200 - dropped as u64));
        assert_eq!(queue.push(large(200), WhenFull::Wait), 200, "not at all after the limit");
        queue.close();
        while let Some(mut batch) = queue.clone().next(50).await {
            batch.settle_all();
        }
        assert_eq!((queue.stats().settled, queue.stats().events), (stats.added, 0), "what was accepted is handed out");
    });
}

pub fn a_closed_queue_hands_out_the_rest_and_ends(open: Open<'_>) {
    run(async {
        let queue = open(ROOMY);
        queue.push(records(0..3), WhenFull::Drop);
        queue.close();
        for full in [WhenFull::Drop, WhenFull::Wait] {
            assert_eq!(queue.push(records(3..5), full), 2, "closed");
        }
        let mut batch = take(&queue, 10).await;
        assert_eq!(numbers(batch.records()), [0, 1, 2]);
        batch.settle_all();
        queue.finished().await;
        assert!(queue.clone().next(10).await.is_none());
        assert_eq!((queue.stats().added, queue.stats().dropped), (3, 4));

        let empty = open(ROOMY);
        let mut waiting = [empty.clone().next(1), empty.clone().next(1)];
        for waiting in &mut waiting {
            assert!(waits(waiting).await);
        }
        empty.close();
        for waiting in waiting {
            assert!(waiting.await.is_none(), "every waiting consumer sees the end");
        }
    });
}

pub fn no_end_while_a_batch_is_handed_out(open: Open<'_>) {
    run(async {
        let queue = open(ROOMY);
        queue.push(records(0..2), WhenFull::Drop);
        let held = take(&queue, 2).await;
        queue.close();
        let (mut next, mut finished) = (queue.clone().next(2), queue.finished());
        assert!(waits(&mut next).await && waits(&mut finished).await);
        drop(held);
        let mut batch = next.await.expect("the batch that was given back");
        assert_eq!(numbers(batch.records()), [0, 1]);
        assert!(waits(&mut finished).await);
        batch.settle_all();
        finished.await;
        assert!(queue.clone().next(2).await.is_none());
    });
}

pub fn waiting_for_the_end_takes_no_wake_up_from_consumers(open: Open<'_>) {
    run(async {
        let queue = open(ROOMY);
        let mut finished = queue.finished();
        assert!(waits(&mut finished).await);
        let mut next = queue.clone().next(1);
        assert!(waits(&mut next).await);
        queue.push(records(0..1), WhenFull::Drop);
        assert!(waits(&mut finished).await);
        assert_eq!(numbers(next.await.unwrap().records()), [0]);
    });
}

pub fn many_producers_and_consumers_settle_each_record_once(open: Open<'_>) {
    const PRODUCERS: usize = 3;
    const EACH: usize = 2000;
    let queue = open(Limits { events: 64, bytes: 1 << 20 });
    let settled = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let queue = &queue;
                scope.spawn(move || {
                    let all = records(producer * EACH..(producer + 1) * EACH);
                    all.chunks(7).map(|chunk| queue.push(chunk.to_vec(), WhenFull::Wait)).sum::<usize>()
                })
            })
            .collect();
        for consumer in 0..3usize {
            let (queue, settled) = (queue.clone(), &settled);
            scope.spawn(move || {
                run(async {
                    let mut turn = consumer;
                    while let Some(mut batch) = queue.clone().next(5 + consumer).await {
                        turn += 1;
                        // Settle all records, every second one, or none. Then give back the remaining ones.
                        let is_settled = |i: usize| turn.is_multiple_of(3) || (turn % 3 == 1 && i.is_multiple_of(2));
                        let done: Vec<usize> =
                            numbers(batch.records()).into_iter().enumerate().filter(|(i, _)| is_settled(*i)).map(|(_, n)| n).collect();
                        batch.settle(is_settled);
                        settled.lock().unwrap().extend(done);
                    }
                });
            });
        }
        let dropped: usize = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
        assert_eq!(dropped, 0);
        queue.close();
    });
    let settled = settled.into_inner().unwrap();
    let distinct: BTreeSet<usize> = settled.iter().copied().collect();
    assert_eq!((settled.len(), distinct.len()), (PRODUCERS * EACH, PRODUCERS * EACH), "each record is settled once");
    let stats = queue.stats();
    assert_eq!((stats.added, stats.settled, stats.events, stats.bytes), (settled.len() as u64, settled.len() as u64, 0, 0));
    assert!(stats.consumed > stats.added, "some were given back: {stats:?}");
}

//! Tests of the queue in memory: the guarantees of every queue (`conformance_tests`), and when it hands out batches. Tests with
//! `start_paused` run on tokio's virtual clock.

use super::super::{Flush, conformance_tests::conformance};
use super::*;
use std::time::Duration;

mod every_queue {
    use super::*;

    conformance!(|limits: super::super::super::conformance_tests::Limits| -> Arc<dyn Queue> {
        let flush = Flush { min_events: 1, timeout: Duration::ZERO };
        Arc::new(Memory::new(Options { events: limits.events, bytes: limits.bytes, batch_bytes: usize::MAX, flush, disk: None }))
    });
}

fn records(count: usize) -> Vec<Record> {
    vec![Record { body: [b'x'].into(), ..Record::default() }; count]
}

fn queue(events: usize, min_events: usize, timeout: u64) -> Arc<Memory> {
    Arc::new(Memory::new(Options {
        events,
        bytes: 1 << 20,
        batch_bytes: usize::MAX,
        flush: Flush { min_events, timeout: Duration::from_secs(timeout) },
        disk: None,
    }))
}

#[tokio::test(start_paused = true)]
async fn the_first_record_waits_at_most_for_the_timeout() {
    let queue = queue(100, 10, 7);
    let start = Instant::now();
    queue.push(records(3), WhenFull::Drop);
    let mut batch = queue.clone().next(50).await.unwrap();
    assert_eq!((batch.records().len(), start.elapsed()), (3, Duration::from_secs(7)));
    batch.settle_all();
    // The timeout starts anew for a record that arrives later.
    let next = tokio::spawn(queue.clone().next(50));
    tokio::time::sleep(Duration::from_secs(100)).await;
    queue.push(records(1), WhenFull::Drop);
    assert_eq!(next.await.unwrap().unwrap().records().len(), 1);
    assert_eq!(start.elapsed(), Duration::from_secs(7 + 100 + 7));
}

#[tokio::test(start_paused = true)]
async fn enough_records_are_handed_out_at_once() {
    let queue = queue(100, 10, 60);
    let start = Instant::now();
    let waiting = tokio::spawn(queue.clone().next(50));
    for step in 0..5 {
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "after {step} pushes of 2");
        queue.push(records(2), WhenFull::Drop);
    }
    assert_eq!(waiting.await.unwrap().unwrap().records().len(), 10);
    queue.push(records(4), WhenFull::Drop);
    assert_eq!(queue.clone().next(4).await.unwrap().records().len(), 4, "as many as the consumer accepts are enough");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_full_or_closed_queue_and_records_given_back_do_not_wait() {
    let start = Instant::now();
    // This queue is full in bytes while it has fewer events than `min_events`.
    let small = Options {
        events: 100,
        bytes: 3 * (super::super::OVERHEAD + 1),
        batch_bytes: usize::MAX,
        flush: Flush { min_events: 50, timeout: Duration::from_secs(60) },
        disk: None,
    };
    let full = Arc::new(Memory::new(small));
    assert_eq!(full.push(records(5), WhenFull::Drop), 2);
    assert_eq!(full.clone().next(50).await.unwrap().records().len(), 3);

    let closed = queue(100, 50, 60);
    closed.push(records(5), WhenFull::Drop);
    closed.close();
    assert_eq!(closed.clone().next(50).await.unwrap().records().len(), 5);

    let returned = queue(100, 5, 60);
    returned.push(records(5), WhenFull::Drop);
    let mut batch = returned.clone().next(50).await.unwrap();
    batch.settle(|i| i > 0);
    drop(batch);
    assert_eq!(returned.clone().next(50).await.unwrap().records().len(), 1);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_record_larger_than_the_limit_is_taken_alone() {
    let queue = Arc::new(Memory::new(Options { bytes: 100, ..Options::default() }));
    let giant = || vec![Record { body: vec![b'x'; 1 << 12].into(), ..Record::default() }];
    assert_eq!((queue.push(giant(), WhenFull::Drop), queue.push(giant(), WhenFull::Drop)), (0, 1));
}

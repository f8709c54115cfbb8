//! The one loop that all outputs share: batches, retry, backoff, acknowledgement. What differs is only how a batch is sent.

use super::{
    Error, Outcome, Output,
    backoff::{self, Backoff},
    counters::Counters,
};
use crate::queue::{
    Batch, Fate,
    memory::{self, Queue},
};
use std::sync::Arc;

/// How one worker takes and retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Events of one batch at most; 0: as many as the queue gives.
    pub bulk_max_size: usize,
    /// How often the server may refuse an event before it is dropped; negative: for ever.
    pub max_retries: i64,
    /// Waits between attempts.
    pub backoff: backoff::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self { bulk_max_size: 2048, max_retries: 3, backoff: backoff::Options::default() }
    }
}

/// Delivers what is in the queue until it is closed and empty. Dropped before that, it gives back what it has taken.
pub async fn drive<O: Output>(mut output: O, queue: Queue, options: Options, counters: Arc<Counters>) {
    let mut worker = Worker { options, counters, backoff: Backoff::new(options.backoff) };
    loop {
        tokio::select! {
            // Nobody to reach and nothing left to deliver is an end too.
            () = queue.finished() => return,
            () = worker.connect(&mut output) => {}
        }
        loop {
            let max = if options.bulk_max_size == 0 { usize::MAX } else { options.bulk_max_size };
            let Some(mut batch) = queue.next(max).await else { return };
            worker.counters.batches.add(1);
            if let Err(Stopped { why, for_good }) = worker.deliver(&mut output, &mut batch).await {
                if for_good {
                    return log::error!("{why}");
                }
                let (count, wait) = (batch.records().len(), worker.backoff.after_failure());
                log::error!("Failed to publish {count} events, which are kept and sent again: {why}");
                worker.counters.failed.add(count);
                worker.counters.retries.add(count);
                // Back to the front of the queue before the wait: another worker may be luckier.
                drop(batch);
                tokio::time::sleep(wait).await;
                break;
            }
        }
    }
}

/// Why a batch was not delivered: nobody to send to, now or for good.
struct Stopped {
    why: String,
    for_good: bool,
}

struct Worker {
    options: Options,
    counters: Arc<Counters>,
    backoff: Backoff,
}

impl Worker {
    async fn connect<O: Output>(&mut self, output: &mut O) {
        while let Err(why) = output.connect().await {
            let wait = self.backoff.after_failure();
            log::error!("Failed to connect to the output, next attempt in {:.1} s: {why}", wait.as_secs_f64());
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends until every record of the batch is settled; an error when there is nobody to send to.
    async fn deliver<O: Output>(&mut self, output: &mut O, batch: &mut Batch) -> Result<(), Stopped> {
        let mut refused = 0i64;
        loop {
            let count = batch.records().len();
            self.counters.total.add(count);
            let mut fates = match output.send(batch.records()).await {
                Ok(Outcome::Delivered) => {
                    self.counters.acked.add(count);
                    batch.settle_all();
                    self.backoff.reset();
                    return Ok(());
                }
                Ok(Outcome::Partly(fates)) => fates,
                Err(Error::Refused(why)) => vec![Fate::Retry(why); count],
                Err(Error::Unreachable(why)) => return Err(Stopped { why, for_good: false }),
                Err(Error::Gone(why)) => return Err(Stopped { why, for_good: true }),
            };
            fates.resize(count, Fate::Later("the answer does not mention it".into()));
            if fates.iter().any(|fate| matches!(fate, Fate::Retry(_))) {
                refused += 1;
                if self.options.max_retries >= 0 && refused > self.options.max_retries {
                    give_up(&mut fates);
                }
            }
            self.count(&fates);
            let why = fates.iter().find_map(|fate| if let Fate::Retry(why) | Fate::Later(why) = fate { Some(why.clone()) } else { None });
            batch.settle(&fates);
            let Some(why) = why else {
                self.backoff.reset();
                return Ok(());
            };
            let (left, wait) = (batch.records().len(), self.backoff.after_failure());
            log::warn!("{left} of {count} events are sent again in {:.1} s: {why}", wait.as_secs_f64());
            self.counters.retries.add(left);
            tokio::time::sleep(wait).await;
        }
    }

    fn count(&self, fates: &[Fate]) {
        let (counters, mut rejected) = (&self.counters, None);
        for fate in fates {
            match fate {
                Fate::Delivered => counters.acked.add(1),
                Fate::Duplicate => {
                    counters.acked.add(1);
                    counters.duplicates.add(1);
                }
                Fate::DeadLetter => {
                    counters.acked.add(1);
                    counters.dead_letter.add(1);
                }
                Fate::Retry(_) | Fate::Later(_) => counters.failed.add(1),
                Fate::Rejected(why) => {
                    counters.dropped.add(1);
                    rejected = rejected.or(Some((why, fates.iter().filter(|f| matches!(f, Fate::Rejected(_))).count())));
                }
            }
        }
        if let Some((why, count)) = rejected {
            log::warn!("Cannot publish {count} events, which are dropped. The first: {why}");
        }
    }
}

fn give_up(fates: &mut [Fate]) {
    for fate in fates {
        if let Fate::Retry(why) = fate {
            *fate = Fate::Rejected(format!("refused too often (max_retries): {why}"));
        }
    }
}

/// The bytes of a batch, for buffers.
pub(super) fn bytes(batch: &[crate::publish::Record]) -> usize {
    batch.iter().map(memory::size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Record;
    use std::{collections::VecDeque, sync::Mutex, time::Duration};

    /// Does what it is told, in order; then delivers.
    #[derive(Clone, Default)]
    struct Script {
        answers: Arc<Mutex<VecDeque<Answer>>>,
        sent: Arc<Mutex<Vec<Vec<u8>>>>,
    }
    enum Answer {
        Connect(bool),
        Send(fn(&[Record]) -> Result<Outcome, Error>),
    }
    impl Output for Script {
        async fn connect(&mut self) -> Result<(), Error> {
            let mut answers = self.answers.lock().unwrap();
            match answers.pop_front() {
                Some(Answer::Connect(false)) => Err(Error::Unreachable("no".into())),
                Some(Answer::Connect(true)) | None => Ok(()),
                Some(send) => {
                    answers.push_front(send);
                    Ok(())
                }
            }
        }
        async fn send(&mut self, batch: &[Record]) -> Result<Outcome, Error> {
            self.sent.lock().unwrap().push(batch.iter().map(|r| r.body[0]).collect());
            match self.answers.lock().unwrap().pop_front() {
                Some(Answer::Send(answer)) => answer(batch),
                _ => Ok(Outcome::Delivered),
            }
        }
    }

    async fn run(answers: Vec<Answer>, max_retries: i64) -> (Vec<String>, Arc<Counters>, Queue) {
        let queue = Queue::new(memory::Options::default());
        queue.push((b'a'..=b'd').map(|b| Record { body: [b].into(), ..Record::default() }).collect(), false);
        queue.close();
        let script = Script { answers: Arc::new(Mutex::new(answers.into())), ..Script::default() };
        let (counters, backoff) =
            (Arc::new(Counters::default()), backoff::Options { init: Duration::from_millis(1), max: Duration::from_millis(2) });
        drive(script.clone(), queue.clone(), Options { bulk_max_size: 10, max_retries, backoff }, counters.clone()).await;
        let sent = script.sent.lock().unwrap().iter().map(|s| String::from_utf8(s.clone()).unwrap()).collect();
        (sent, counters, queue)
    }

    #[tokio::test]
    async fn unreachable_is_tried_for_ever_and_in_order() {
        let mut answers: Vec<_> = (0..20).map(|_| Answer::Connect(false)).collect();
        answers.extend([Answer::Connect(true), Answer::Send(|_| Err(Error::Unreachable("gone".into()))), Answer::Connect(false)]);
        let (sent, counters, queue) = run(answers, 0).await;
        assert_eq!(sent, ["abcd", "abcd"]);
        assert_eq!((counters.acked.get(), counters.failed.get(), counters.dropped.get(), queue.stats().events), (4, 4, 0, 0));
    }

    #[tokio::test]
    async fn each_record_has_its_own_fate() {
        let some = |_: &[Record]| {
            Ok(Outcome::Partly(vec![Fate::Delivered, Fate::Retry("busy".into()), Fate::Rejected("bad".into()), Fate::Later("soon".into())]))
        };
        let (sent, counters, _) = run(vec![Answer::Send(some)], 3).await;
        assert_eq!(sent, ["abcd", "bd"]);
        assert_eq!((counters.acked.get(), counters.failed.get(), counters.dropped.get(), counters.retries.get()), (3, 2, 1, 2));
    }

    #[tokio::test]
    async fn what_is_refused_too_often_is_dropped_and_counted() {
        let refuse = || Answer::Send(|_: &[Record]| Err(Error::Refused("400".into())));
        let (sent, counters, queue) = run(vec![refuse(), refuse(), refuse(), refuse()], 2).await;
        assert_eq!(sent.len(), 3);
        assert_eq!((counters.acked.get(), counters.dropped.get(), queue.stats().events), (0, 4, 0));
        let later = || Answer::Send(|b: &[Record]| Ok(Outcome::Partly(vec![Fate::Later("503".into()); b.len()])));
        let (sent, counters, _) = run((0..9).map(|_| later()).collect(), 2).await;
        assert_eq!((sent.len(), counters.acked.get(), counters.dropped.get()), (10, 4, 0));
    }

    #[tokio::test]
    async fn it_ends_when_there_is_nothing_to_deliver_and_nobody_to_reach() {
        let queue = Queue::new(memory::Options::default());
        let script = Script { answers: Arc::new(Mutex::new((0..100_000).map(|_| Answer::Connect(false)).collect())), ..Script::default() };
        let running = tokio::spawn(drive(script, queue.clone(), Options::default(), Arc::default()));
        tokio::time::sleep(Duration::from_millis(5)).await;
        queue.close();
        tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn cut_off_it_gives_back() {
        let queue = Queue::new(memory::Options::default());
        queue.push(vec![Record { body: [1].into(), ..Record::default() }], false);
        queue.close();
        let script = Script { answers: Arc::new(Mutex::new((0..100_000).map(|_| Answer::Connect(false)).collect())), ..Script::default() };
        let cut = tokio::time::timeout(Duration::from_millis(20), drive(script, queue.clone(), Options::default(), Arc::default())).await;
        assert!(cut.is_err());
        assert_eq!(queue.stats().events, 1);
    }
}

//! Runs the output of the program, and exchanges it for another one between two batches. Records that wait in the queue
//! go to the new output.

use super::Delivery;
use crate::{
    publish::Record,
    queue::{Batch, BoxFuture, Queue, Sequence, Stats, WhenFull},
};
use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

/// How long the batches that an output is sending when it is exchanged may take. After this time the new output sends them again.
const LAST_BATCHES: Duration = Duration::from_secs(3);

/// Hands the next output over to [`run`]. If several are handed over before one of them runs, only the last one runs.
#[derive(Clone, Default)]
pub struct Exchange(Arc<Shared>);

#[derive(Default)]
struct Shared {
    next: Mutex<Option<Delivery>>,
    changed: Notify,
}

impl Exchange {
    /// Hands over `output`, which delivers the records from now on.
    pub fn put(&self, output: Delivery) {
        *self.0.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(output);
        self.0.changed.notify_one();
    }

    fn take(&self) -> Option<Delivery> {
        self.0.next.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits for the next output.
    async fn next(&self) -> Delivery {
        loop {
            if let Some(output) = self.take() {
                return output;
            }
            self.0.changed.notified().await;
        }
    }
}

/// Delivers the records of the queue with `output`, and after each exchange with the next output, until the queue is
/// closed and empty, or an output cannot continue. The counters of the first output count the deliveries of all these
/// outputs.
pub async fn run(mut output: Delivery, queue: Arc<dyn Queue>, exchange: Exchange) {
    let telemetry = output.telemetry.clone();
    loop {
        let (stop, stopped) = watch::channel(false);
        let mut running = Box::pin(output.run(Arc::new(ExchangeableQueue { queue: queue.clone(), stopped })));
        output = tokio::select! {
            () = &mut running => return,
            next = exchange.next() => next,
        };
        stop.send_replace(true);
        if timeout(LAST_BATCHES, &mut running).await.is_err() {
            log::warn!("The previous output did not finish its batches within {LAST_BATCHES:?}; the new output sends them again");
        }
        drop(running);
        telemetry.counters.abandon();
        output = exchange.take().unwrap_or(output);
        output.telemetry = telemetry.clone();
        log::info!("Events go to the output {} of the new configuration", output.name());
    }
}

/// The queue for an output that may be exchanged. For this output the queue ends when the output is stopped.
struct ExchangeableQueue {
    queue: Arc<dyn Queue>,
    stopped: watch::Receiver<bool>,
}

/// Waits until the output is stopped. If the sender was dropped, the output is never stopped.
async fn stop(mut stopped: watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Queue for ExchangeableQueue {
    fn push(&self, records: Vec<Record>, full: WhenFull) -> usize {
        self.queue.push(records, full)
    }

    fn next(self: Arc<Self>, max: usize) -> BoxFuture<'static, Option<Batch>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = stop(self.stopped.clone()) => None,
                batch = self.queue.clone().next(max) => batch,
            }
        })
    }

    fn settle(&self, done: &[Range<Sequence>]) {
        self.queue.settle(done);
    }

    fn give_back(&self, unsettled: Vec<(Sequence, Record)>) {
        self.queue.give_back(unsettled);
    }

    fn postpone(&self, records: &[Range<Sequence>], may_take: bool) -> bool {
        self.queue.postpone(records, may_take)
    }

    fn limit_waits(&self, until: Instant) {
        self.queue.limit_waits(until);
    }

    fn close(&self) {
        self.queue.close();
    }

    fn finished(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            tokio::select! {
                () = stop(self.stopped.clone()) => {}
                () = self.queue.finished() => {}
            }
        })
    }

    fn stats(&self) -> Stats {
        self.queue.stats()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Node, opening::testing, output, queue};
    use std::{fs, path::Path};

    fn file(folder: &Path, name: &str) -> Delivery {
        let text =
            format!("{{queue.mem: {{events: 100, flush.min_events: 1}}, output.file: {{path: {}, filename: {name}}}}}", folder.display());
        output::open(&testing::opening(&Node::parse(&text).unwrap())).unwrap()
    }

    fn records(from: u32, until: u32) -> Vec<Record> {
        (from..until).map(|n| Record { body: format!("{n}").into_bytes().into(), ..Record::default() }).collect()
    }

    /// The lines of the files whose names begin with `name`.
    fn lines(folder: &Path, name: &str) -> Vec<u32> {
        let files = fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(name));
        let text: String = files.map(|entry| fs::read_to_string(entry.path()).unwrap()).collect();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn no_event_is_lost_or_delivered_twice() {
        let dir = tempfile::tempdir().unwrap();
        let first = file(dir.path(), "first");
        let (queue, exchange, counters) = (queue::open(first.queue()), Exchange::default(), first.counters());
        let delivering = tokio::spawn(run(first, queue.clone(), exchange.clone()));
        for n in 0..50 {
            queue.push(records(n * 2, n * 2 + 1), WhenFull::Drop);
            if n % 10 == 5 {
                tokio::task::yield_now().await;
                // Only the last of several outputs gets events.
                exchange.put(file(dir.path(), "skipped"));
                exchange.put(file(dir.path(), &format!("next{n}")));
            }
            queue.push(records(n * 2 + 1, n * 2 + 2), WhenFull::Drop);
            while queue.stats().events > 40 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        queue.close();
        delivering.await.unwrap();
        let mut all = [lines(dir.path(), "first"), lines(dir.path(), "next")].concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_eq!(lines(dir.path(), "skipped"), [0_u32; 0]);
        assert_eq!((counters.acked.get(), counters.total.get()), (100, 100), "one set of counters");
    }
}

//! Carries transactions and flows from the workers to the one thread that owns a view model. Memory is limited; what finds no room is
//! counted.

use super::model::Record;
use crate::{
    net::FlowRecord,
    process::Ends,
    publish::observer::{Observer, Transaction},
};
use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Maximum number of bytes that wait for the reader.
const MOST_WAITING: usize = 16 << 20;
/// How often a worker that waits for room checks whether it has to stop.
const LOOK: Duration = Duration::from_millis(100);

/// What a worker reports.
#[derive(Clone, Debug)]
pub enum Item {
    /// A transaction.
    Transaction(Arc<Record>),
    /// A report of a flow, and the processes at its ends.
    Flow(Box<(FlowRecord, Ends)>),
}

/// What waits for the reader, see [`Inbox::take`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Number of items since the start for which there was no room.
    pub skipped: u64,
    /// Whether the workers have ended, so that no more items come.
    pub has_ended: bool,
}

/// A queue of items, shared by the workers and the reader.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<State>,
    /// Wakes workers when items were taken or the reader is gone.
    drained: Condvar,
}

#[derive(Debug, Default)]
struct State {
    items: Vec<Item>,
    bytes: usize,
    skipped: u64,
    has_ended: bool,
    /// Set when the reader has gone.
    is_gone: bool,
}

impl Inbox {
    /// Adds an item. Without room, the worker waits until the flag is true; without a flag, or after that, the item is dropped and counted.
    fn add(&self, item: Item, waits: Option<&AtomicBool>) {
        let held = match &item {
            Item::Transaction(record) => record.held(),
            Item::Flow(flow) => size_of_val(&**flow),
        };
        let mut state = self.lock();
        while !state.is_gone && state.bytes + held > MOST_WAITING {
            match waits {
                Some(stop) if !stop.load(Ordering::Relaxed) => {
                    state = self.drained.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
                }
                _ => {
                    state.skipped += 1;
                    return;
                }
            }
        }
        if state.is_gone {
            state.skipped += 1;
            return;
        }
        state.bytes += held;
        state.items.push(item);
    }

    /// Moves all items to `to`, which must be empty.
    pub fn take(&self, to: &mut Vec<Item>) -> Taken {
        let mut state = self.lock();
        std::mem::swap(to, &mut state.items);
        state.bytes = 0;
        let taken = Taken { skipped: state.skipped, has_ended: state.has_ended };
        drop(state);
        self.drained.notify_all();
        taken
    }

    /// Says that the workers have ended.
    pub fn end(&self) {
        self.lock().has_ended = true;
    }

    /// Says that the reader has gone. No worker waits any longer.
    pub fn leave(&self) {
        let mut state = self.lock();
        state.is_gone = true;
        state.items = Vec::new();
        drop(state);
        self.drained.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The observer of one worker, which adds to an inbox.
pub struct Feeder {
    inbox: Arc<Inbox>,
    /// For a worker that reads a file and waits for room: the flag that ends the waiting. `None` for a live source, which does not wait.
    waits: Option<Arc<AtomicBool>>,
}

impl Feeder {
    /// Makes the observer. `waits`: the flag that ends waiting for room; `None` if the observer drops items instead.
    pub fn new(inbox: Arc<Inbox>, waits: Option<Arc<AtomicBool>>) -> Self {
        Self { inbox, waits }
    }
}

impl Observer for Feeder {
    fn transaction(&mut self, of: &Transaction<'_>) {
        self.inbox.add(Item::Transaction(Arc::new(Record::new(of))), self.waits.as_deref());
    }

    fn flow(&mut self, of: &FlowRecord, processes: &Ends) {
        self.inbox.add(Item::Flow(Box::new((of.clone(), processes.clone()))), self.waits.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::transaction, *};
    use std::thread;

    /// A transaction of about 10 KiB.
    fn feed(feeder: &mut Feeder, number: usize) {
        let text = "x".repeat(2048);
        (0..number).for_each(|_| {
            feeder.transaction(&Transaction { query: &text, resource: &text, method: &text, notes: &[&text, &text], ..transaction() });
        });
    }

    #[test]
    fn a_live_source_drops_and_counts_what_has_no_room() {
        let inbox = Arc::new(Inbox::default());
        feed(&mut Feeder::new(inbox.clone(), None), 2000);
        let mut items = Vec::new();
        let taken = inbox.take(&mut items);
        assert_eq!(items.len() as u64 + taken.skipped, 2000);
        assert!((1000..1700).contains(&items.len()), "{} items", items.len());
        inbox.end();
        items.clear();
        assert_eq!((inbox.take(&mut items).has_ended, items.len()), (true, 0));
    }

    #[test]
    fn a_file_waits_for_room_and_not_for_a_reader_that_has_gone() {
        let (inbox, stop) = (Arc::new(Inbox::default()), Arc::new(AtomicBool::new(false)));
        let mut feeder = Feeder::new(inbox.clone(), Some(stop));
        let worker = thread::spawn(move || feed(&mut feeder, 5000));
        let (mut seen, mut items) = (0, Vec::new());
        while seen < 3000 {
            inbox.take(&mut items);
            seen += items.len();
            items.clear();
            thread::yield_now();
        }
        inbox.leave();
        worker.join().unwrap();
        assert!(inbox.take(&mut items).skipped <= 2000);
    }
}

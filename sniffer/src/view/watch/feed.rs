//! [`Feed`]: carries rows from the workers to the thread that prints them. The memory of waiting rows is limited; rows for which there is no
//! room are counted.

use super::{row::Row, tally::Tally};
use crate::{
    net::FlowRecord,
    process::Ends,
    publish::observer::{Details, Observer, Transaction},
    view::{filter::Filter, names::Names},
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Maximum number of bytes of rows that wait to be printed.
const MOST_WAITING: usize = 1 << 20;
/// How often a worker that waits for room checks whether it has to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Numbers of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that the filter selects.
    pub selected: u64,
    /// Those of them that are errors.
    pub errors: u64,
    /// Selected events that were dropped, because the printing thread was too slow or is gone.
    pub dropped: u64,
    /// Events that the filter does not select.
    pub hidden: u64,
}

/// The result of [`Feed::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// More rows may follow.
    Open,
    /// No row will follow.
    Ended,
}

/// A queue of rows, shared by the workers and the printing thread. It also counts all events.
#[derive(Debug, Default)]
pub struct Feed {
    state: Mutex<State>,
    /// Wakes the printing thread when a row was added to an empty queue, or the queue was closed.
    filled: Condvar,
    /// Wakes workers when rows were taken or the printing thread is gone.
    drained: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rows: VecDeque<Row>,
    /// Bytes of `rows`.
    bytes: usize,
    tally: Tally,
    counts: Counts,
    /// The names of addresses.
    names: Names,
    /// Set when no more rows will be added.
    closed: bool,
    /// Set when the printing thread is gone.
    gone: bool,
}

impl Feed {
    /// Adds a row. `waits`: for a worker that waits until there is room, the flag that ends the waiting; `None` for a worker that drops the
    /// row instead.
    pub fn add(&self, mut row: Row, waits: Option<&AtomicBool>) {
        let mut state = self.lock();
        if !state.names.is_empty() {
            row.set_names(&state.names);
        }
        state.counts.selected += 1;
        state.tally.add(&row);
        state.counts.errors = state.tally.errors();
        let size = row.size();
        while !state.gone && !state.rows.is_empty() && state.bytes + size > MOST_WAITING {
            match waits {
                Some(stop) if !stop.load(Ordering::Relaxed) => {
                    state = self.drained.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
                }
                _ => {
                    state.counts.dropped += 1;
                    return;
                }
            }
        }
        if state.gone {
            state.counts.dropped += 1;
            return;
        }
        let was_empty = state.rows.is_empty();
        state.bytes += size;
        state.rows.push_back(row);
        drop(state);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Learns names from a transaction, if it is an answer of DNS.
    fn learn(&self, of: &Transaction<'_>) {
        if let Details::Dns { addresses, .. } = of.details
            && !addresses.is_empty()
        {
            self.lock().names.learn(of);
        }
    }

    /// Counts an event that the filter does not select.
    pub fn hide(&self) {
        self.lock().counts.hidden += 1;
    }

    /// Ends the input: [`Feed::take`] returns [`Taken::Ended`] when all rows are taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Tells the workers that no more rows will be taken.
    pub fn abandon(&self) {
        self.lock().gone = true;
        self.drained.notify_all();
    }

    /// Moves all waiting rows to `rows`. If there are none, waits for the first one until `until`.
    pub fn take(&self, until: Instant, rows: &mut VecDeque<Row>) -> Taken {
        let mut state = self.lock();
        while state.rows.is_empty() && !state.closed {
            let wait = until.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Taken::Open;
            }
            state = self.filled.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.bytes = 0;
        rows.append(&mut state.rows);
        let taken = if rows.is_empty() && state.closed { Taken::Ended } else { Taken::Open };
        drop(state);
        self.drained.notify_all();
        taken
    }

    /// The numbers of events until now.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Returns what was counted, and resets it.
    pub fn take_tally(&self) -> Tally {
        std::mem::take(&mut self.lock().tally)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An observer that adds the events of one worker to a feed.
pub struct Feeder {
    feed: Arc<Feed>,
    /// For a worker that reads a file and waits for room: the flag that ends the waiting. `None` for a live source, which does not wait.
    waits: Option<Arc<AtomicBool>>,
    /// Events that the filter does not select are counted and not shown.
    filter: Arc<Filter>,
}

impl Feeder {
    /// Makes an observer. `waits`: see [`Feed::add`].
    pub fn new(feed: Arc<Feed>, waits: Option<Arc<AtomicBool>>, filter: Arc<Filter>) -> Self {
        Self { feed, waits, filter }
    }
}

impl Observer for Feeder {
    fn transaction(&mut self, of: &Transaction<'_>) {
        self.feed.learn(of);
        match self.filter.selects(of) {
            true => self.feed.add(Row::of_transaction(of), self.waits.as_deref()),
            false => self.feed.hide(),
        }
    }

    fn flow(&mut self, of: &FlowRecord, ends: &Ends) {
        match self.filter.selects_flow(of, ends) {
            true => self.feed.add(Row::of_flow(of, ends), self.waits.as_deref()),
            false => self.feed.hide(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tally::tests::transaction, *};
    use crate::{net::StoredKey, time::Timestamp};
    use std::thread;

    fn row(request: &str) -> Row {
        Row::of_transaction(&Transaction { query: request, ..transaction() })
    }

    /// The requests of all rows that wait.
    fn taken(feed: &Feed) -> (Vec<String>, Taken) {
        let mut rows = VecDeque::new();
        let taken = feed.take(Instant::now(), &mut rows);
        (rows.iter().map(|row| row.request().to_owned()).collect(), taken)
    }

    #[test]
    fn all_rows_in_order_and_then_the_end() {
        let feed = Feed::default();
        assert_eq!(taken(&feed), (vec![], Taken::Open));
        feed.add(row("a"), None);
        feed.add(row("b"), None);
        assert_eq!(taken(&feed), (vec!["a".to_owned(), "b".to_owned()], Taken::Open));
        feed.add(row("c"), None);
        feed.close();
        assert_eq!(taken(&feed).0, ["c"]);
        assert_eq!(taken(&feed), (vec![], Taken::Ended));
        assert_eq!(feed.counts(), Counts { selected: 3, ..Counts::default() });
    }

    #[test]
    fn a_live_source_drops_and_counts_rows_without_room() {
        let (feed, long) = (Feed::default(), "x".repeat(2000));
        let fitting = MOST_WAITING / row(&long).size();
        for _ in 0..fitting + 3 {
            feed.add(row(&long), None);
        }
        assert_eq!(feed.counts(), Counts { selected: fitting as u64 + 3, dropped: 3, ..Counts::default() });
        assert_eq!(feed.take_tally().count(), fitting as u64 + 3, "dropped rows are counted");
        assert_eq!(taken(&feed).0.len(), fitting);
    }

    #[test]
    fn a_file_waits_for_room_until_it_has_to_stop() {
        let (feed, stop, long) = (Arc::new(Feed::default()), Arc::new(AtomicBool::new(false)), "x".repeat(2000));
        let fitting = MOST_WAITING / row(&long).size();
        let worker = thread::spawn({
            let (feed, stop) = (feed.clone(), stop.clone());
            move || {
                for _ in 0..2 * fitting + 1 {
                    feed.add(row(&long), Some(&stop));
                }
            }
        });
        // The worker fills the queue twice. It cannot add the last row.
        let mut number = 0;
        while number < fitting {
            let mut rows = VecDeque::new();
            feed.take(Instant::now() + LOOK, &mut rows);
            number += rows.len();
        }
        stop.store(true, Ordering::Relaxed);
        worker.join().unwrap();
        let (rest, counts) = (taken(&feed).0.len(), feed.counts());
        assert_eq!(number + rest + counts.dropped as usize, 2 * fitting + 1, "{counts:?}");
    }

    #[test]
    fn no_row_is_accepted_after_the_printing_thread_has_gone() {
        let feed = Feed::default();
        feed.abandon();
        feed.add(row("a"), Some(&AtomicBool::new(false)));
        assert_eq!(feed.counts(), Counts { selected: 1, dropped: 1, ..Counts::default() });
    }

    #[test]
    fn the_filter_selects_events() {
        let feed = Arc::new(Feed::default());
        let filter = Filter::parse("http or flow", &["http"]).unwrap();
        let mut feeder = Feeder::new(feed.clone(), None, Arc::new(filter));
        feeder.transaction(&Transaction { status: "Error", ..transaction() });
        feeder.transaction(&Transaction { protocol: "dns", ..transaction() });
        feeder.flow(&FlowRecord::new(StoredKey::new(&[]), false, Timestamp(0)), &Ends::NONE);
        assert_eq!(feed.counts(), Counts { selected: 2, errors: 1, hidden: 1, dropped: 0 });
    }
}

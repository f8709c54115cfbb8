//! Look-ups that take time, made by threads in the background. They are bounded in number and time, and a cache has their results.
//!
//! While packets are captured live, an event never waits: it is processed without the result, and later events find the result in the
//! cache. While a capture file is read, events wait for their result, because no packet is lost meanwhile.

use crate::{opening::Opening, time::Timestamp};
use hashbrown::{HashMap, HashSet};
use std::{
    hash::Hash,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

/// Maximum number of look-ups that wait for a thread.
const MAX_PENDING: usize = 1000;

/// Makes one look-up. Returns the result and how long it is valid.
pub(super) type LookUp<K, V> = Box<dyn Fn(&K) -> (V, Duration) + Send + Sync>;

/// The limits of look-ups.
pub(super) struct Limits {
    /// The name of the processor, for threads and warnings.
    pub(super) name: &'static str,
    /// The number of look-ups at a time.
    pub(super) threads: usize,
    /// Maximum number of results in the cache.
    pub(super) capacity: usize,
    /// The longest time that an event of a capture file waits for its result.
    pub(super) wait: Duration,
}

/// The results of look-ups of one configured processor. All workers share them.
pub(super) struct LookUps<K, V> {
    shared: Arc<Shared<K, V>>,
    queue: SyncSender<K>,
    limits: Limits,
    live: bool,
    has_warned: AtomicBool,
}

struct Shared<K, V> {
    state: Mutex<State<K, V>>,
    /// Notified when a result was added.
    changed: Condvar,
}

struct State<K, V> {
    results: Expiring<K, V>,
    /// Number of look-ups that were requested and have no result yet.
    pending: HashSet<K>,
}

impl<K: Clone + Eq + Hash + Send + 'static, V: Clone + Send + 'static> LookUps<K, V> {
    /// Starts the threads. They end when the last worker drops the processor.
    pub(super) fn start(opening: &Opening<'_>, limits: Limits, look_up: LookUp<K, V>) -> std::io::Result<Self> {
        let (queue, questions) = sync_channel(MAX_PENDING);
        let state = Mutex::new(State { results: Expiring::new(limits.capacity), pending: HashSet::new() });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let questions: Arc<Mutex<Receiver<K>>> = Arc::new(Mutex::new(questions));
        let look_up: Arc<LookUp<K, V>> = Arc::new(look_up);
        let clock = opening.clock;
        for _ in 0..limits.threads {
            let (questions, look_up, shared) = (questions.clone(), look_up.clone(), shared.clone());
            let answer = move || {
                loop {
                    let question = questions.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(key) = question else { return };
                    let (result, valid) = look_up(&key);
                    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
                    state.pending.remove(&key);
                    let now = clock.now();
                    state.results.insert(key, result, now, now.after(valid));
                    shared.changed.notify_all();
                }
            };
            thread::Builder::new().name(limits.name.to_owned()).spawn(answer)?;
        }
        Ok(Self { shared, queue, limits, live: opening.live, has_warned: AtomicBool::new(false) })
    }

    /// Whether the result for `key` is in the cache.
    pub(super) fn is_known(&self, key: &K, now: Timestamp) -> bool {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).results.get(key, now).is_some()
    }

    /// The result for `key`. An unknown key is looked up in the background; the result is then `None`, unless a capture
    /// file is read.
    pub(super) fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = state.results.get(key, now) {
            return Some(result.clone());
        }
        if !state.pending.contains(key) {
            if self.queue.try_send(key.clone()).is_err() {
                drop(state);
                if !self.has_warned.swap(true, Ordering::Relaxed) {
                    log::warn!("{}: more than {MAX_PENDING} look-ups are waiting; events go on without their results", self.limits.name);
                }
                return None;
            }
            state.pending.insert(key.clone());
        }
        if self.live {
            return None;
        }
        let waiting = |state: &mut State<K, V>| state.pending.contains(key);
        let waited = self.shared.changed.wait_timeout_while(state, self.limits.wait, waiting);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        // The result may have expired already (a TTL of 0), and is then used once.
        state.results.entries.get(key).map(|(result, _)| result.clone())
    }
}

/// A map whose entries are valid for a time, with a maximum number of entries.
pub(super) struct Expiring<K, V> {
    entries: HashMap<K, (V, Timestamp)>,
    capacity: usize,
}

impl<K: Eq + Hash, V> Expiring<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), capacity: capacity.max(1) }
    }

    /// The value of `key`, if it is valid at `now`.
    pub(super) fn get(&self, key: &K, now: Timestamp) -> Option<&V> {
        self.entries.get(key).filter(|(_, expires)| *expires > now).map(|(value, _)| value)
    }

    /// Adds a value. If there are too many entries, the expired ones are removed. If none has expired, the tenth that
    /// expires first is removed.
    pub(super) fn insert(&mut self, key: K, value: V, now: Timestamp, expires: Timestamp) {
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&key) {
            self.entries.retain(|_, (_, expires)| *expires > now);
            if self.entries.len() >= self.capacity {
                self.evict();
            }
        }
        self.entries.insert(key, (value, expires));
    }

    fn evict(&mut self) {
        let mut times: Vec<Timestamp> = self.entries.values().map(|(_, expires)| *expires).collect();
        let nth = times.len() / 10;
        let (_, limit, _) = times.select_nth_unstable(nth);
        let limit = *limit;
        let mut most = nth + 1;
        self.entries.retain(|_, (_, expires)| {
            let goes = *expires <= limit && most > 0;
            most -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Node, opening::testing::opening};
    use std::sync::mpsc;

    const LIMITS: Limits = Limits { name: "test", threads: 2, capacity: 10, wait: Duration::from_secs(20) };

    #[test]
    fn events_of_files_wait_and_live_events_do_not() {
        let node = Node::default();
        let double = || -> LookUp<u32, u32> { Box::new(|key| (key * 2, Duration::from_secs(60))) };
        let file = LookUps::start(&Opening { live: false, ..opening(&node) }, LIMITS, double()).unwrap();
        assert_eq!(file.get(&4, Timestamp(1)), Some(8));
        assert_eq!(file.get(&4, Timestamp(2)), Some(8));

        let (release, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let blocked: LookUp<u32, u32> = Box::new(move |key| {
            let _ = wait.lock().unwrap().recv();
            (*key, Duration::from_secs(60))
        });
        let live = LookUps::start(&opening(&node), LIMITS, blocked).unwrap();
        assert_eq!(live.get(&4, Timestamp(1)), None, "the look-up goes on in the background");
        assert_eq!((1..5000).filter_map(|key| live.get(&key, Timestamp(1))).count(), 0);
        assert!(live.shared.state.lock().unwrap().pending.len() <= MAX_PENDING + LIMITS.threads);
        drop(release);
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let mut entries = Expiring::new(100);
        for number in 0..1000_u64 {
            entries.insert(number, number, Timestamp(0), Timestamp(1000 + number));
        }
        assert!(entries.entries.len() <= 100);
        assert_eq!(entries.get(&999, Timestamp(0)), Some(&999), "the newest stays");
        assert_eq!(entries.get(&999, Timestamp(5000)), None, "it has expired");
    }
}

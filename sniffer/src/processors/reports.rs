//! What processors count about themselves, for the log and the HTTP endpoint: below `processor.KIND.NUMBER`, and of scripts below
//! `processor.javascript.TAG`.

use crate::{opening::Opening, time::Durations};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

/// Name of the [`Reports`] among the objects that processors share.
pub const REPORTS: &str = "processor reports";

/// A value that a processor reports.
#[derive(Clone, Debug, PartialEq)]
pub enum Reported {
    /// A counter.
    Count(u64),
    /// A histogram, in nanoseconds.
    Durations(Box<Durations>),
}

/// Counters of a processor, which its instances share.
pub(super) trait Counting: Send + Sync {
    /// Calls `add` with the name of each value below that of the processor, and the value.
    fn each(&self, add: &mut dyn FnMut(&str, Reported));
}

/// The counters of all processors that are open.
#[derive(Default)]
pub struct Reports(Mutex<Vec<Entry>>);

struct Entry {
    kind: &'static str,
    name: String,
    counters: Weak<dyn Counting>,
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().iter().map(|entry| (entry.kind, &entry.name))).finish()
    }
}

impl Reports {
    /// Calls `add` with name and value of everything that processors report. Processors that are gone report nothing.
    pub fn each(&self, mut add: impl FnMut(String, Reported)) {
        for Entry { kind, name, counters } in &*self.lock() {
            if let Some(counters) = counters.upgrade() {
                counters.each(&mut |below, value| add(format!("processor.{kind}.{name}.{below}"), value));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the counters of a processor to those that are reported. Without a name the processor gets the lowest number that no other one of its
/// kind has.
pub(super) fn add(opening: &Opening<'_>, kind: &'static str, name: Option<String>, counters: &Arc<impl Counting + 'static>) {
    let Some(shared) = opening.shared else { return };
    let reports = shared.get(REPORTS, Reports::default);
    let mut entries = reports.lock();
    entries.retain(|entry| entry.counters.strong_count() > 0);
    let is_free = |name: &String| !entries.iter().any(|entry| entry.kind == kind && entry.name == *name);
    let number = || (1..=entries.len() + 1).map(|number| number.to_string()).find(is_free).unwrap_or_default();
    let name = name.unwrap_or_else(number);
    let counters: Arc<dyn Counting> = counters.clone();
    entries.push(Entry { kind, name, counters: Arc::downgrade(&counters) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Node, opening::SharedObjects, opening::testing};

    struct Fixed(u64);

    impl Counting for Fixed {
        fn each(&self, add: &mut dyn FnMut(&str, Reported)) {
            add("dropped", Reported::Count(self.0));
        }
    }

    #[test]
    fn processors_are_numbered_by_kind_and_numbers_are_used_again() {
        let (shared, node) = (Arc::new(SharedObjects::default()), Node::default());
        let opening = Opening { shared: Some(&shared), ..testing::opening(&node) };
        let reports = shared.get(REPORTS, Reports::default);
        let all = || {
            let mut all = Vec::new();
            reports.each(|name, value| all.push((name, value)));
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        };
        let counted = |name: &str, n| (format!("processor.{name}.dropped"), Reported::Count(n));
        let [a, b, c, d] = [1, 2, 3, 4].map(|n| Arc::new(Fixed(n)));
        add(&opening, "rate_limit", None, &a);
        add(&opening, "dns", None, &b);
        add(&opening, "rate_limit", None, &c);
        add(&opening, "javascript", Some("mine".into()), &d);
        assert_eq!(all(), [counted("dns.1", 2), counted("javascript.mine", 4), counted("rate_limit.1", 1), counted("rate_limit.2", 3)]);
        drop((a, b));
        let e = Arc::new(Fixed(5));
        add(&opening, "rate_limit", None, &e);
        assert_eq!(all(), [counted("javascript.mine", 4), counted("rate_limit.1", 5), counted("rate_limit.2", 3)]);
    }
}

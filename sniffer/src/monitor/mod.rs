//! The program's log, and the counters that are written to it.
//!
//! The packet path does not access the shared counters: each worker counts in its own fields and sets its totals here
//! once a second.

pub mod log;
mod options;
mod report;

pub use options::Options as ReportOptions;
pub use report::Reporter;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Maximum number of counter names. Names come from the program, not from the traffic, so this limit is not reached in practice.
const MAX_NAMES: usize = 10_000;

/// The contributor id that [`Metrics::add`] uses.
const NOBODY: usize = usize::MAX;

/// All counters, by dotted name. The value of a counter is the sum over its contributors (workers). Clones share the
/// counters.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// For each name, the id and total of each contributor.
    totals: BTreeMap<String, Vec<(usize, u64)>>,
    gauges: BTreeMap<String, f64>,
}

impl State {
    fn part(&mut self, who: usize, name: &str, change: impl FnOnce(&mut u64)) {
        if !self.totals.contains_key(name) {
            if self.totals.len() >= MAX_NAMES {
                return;
            }
            self.totals.insert(name.to_owned(), Vec::new());
        }
        let Some(parts) = self.totals.get_mut(name) else { return };
        match parts.iter_mut().find(|part| part.0 == who) {
            Some(part) => change(&mut part.1),
            None => {
                let mut total = 0;
                change(&mut total);
                parts.push((who, total));
            }
        }
    }
}

/// The values of all counters and gauges at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Counters, which never decrease.
    pub totals: BTreeMap<String, u64>,
    /// Gauges, which may increase and decrease.
    pub gauges: BTreeMap<String, f64>,
}

impl Metrics {
    /// Sets the total of the contributor `who` under `name`. The counter is the sum over all contributors.
    pub fn set_total(&self, who: usize, name: &str, total: u64) {
        self.lock().part(who, name, |part| *part = total);
    }

    /// Adds `n` to a counter that has a single contributor.
    pub fn add(&self, name: &str, n: u64) {
        self.lock().part(NOBODY, name, |part| *part = part.saturating_add(n));
    }

    /// Sets the gauge `name` to its present value.
    pub fn set_gauge(&self, name: &str, value: f64) {
        let mut state = self.lock();
        if let Some(gauge) = state.gauges.get_mut(name) {
            *gauge = value;
        } else if state.gauges.len() < MAX_NAMES {
            state.gauges.insert(name.to_owned(), value);
        }
    }

    /// The current counters and gauges.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        let sum = |parts: &[(usize, u64)]| parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.1));
        let mut snapshot = Snapshot { totals: BTreeMap::new(), gauges: state.gauges.clone() };
        for (name, parts) in &state.totals {
            if is_level(name) {
                snapshot.gauges.insert(name.clone(), sum(parts) as f64);
            } else {
                snapshot.totals.insert(name.clone(), sum(parts));
            }
        }
        snapshot
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the number is a gauge: its totals are what a contributor has at the moment (open connections, flows, bytes held), and may
/// decrease.
fn is_level(name: &str) -> bool {
    matches!(name, "tcp.open" | "flows.active") || name.ends_with(".held")
}

impl Snapshot {
    /// Returns the increases since `earlier` of the counters that have increased, and the gauges that are not 0.
    pub fn since(&self, earlier: &Self) -> Self {
        let grown = |name: &String, total: u64| total.saturating_sub(earlier.totals.get(name).copied().unwrap_or(0));
        let totals = self.totals.iter().map(|(name, total)| (name.clone(), grown(name, *total))).filter(|(_, n)| *n > 0).collect();
        let gauges = self.gauges.iter().filter(|(_, value)| **value != 0.0).map(|(name, value)| (name.clone(), *value)).collect();
        Self { totals, gauges }
    }

    /// The counters as nested objects, as they are logged.
    pub fn tree(&self) -> serde_json::Value {
        let mut root = serde_json::Map::new();
        let whole = |value: f64| if value.fract() == 0.0 && value.abs() < 1e15 { (value as i64).into() } else { value.into() };
        let all =
            self.totals.iter().map(|(name, n)| (name, (*n).into())).chain(self.gauges.iter().map(|(name, value)| (name, whole(*value))));
        for (name, value) in all {
            insert(&mut root, name, value);
        }
        serde_json::Value::Object(root)
    }
}

fn insert(object: &mut serde_json::Map<String, serde_json::Value>, name: &str, value: serde_json::Value) {
    if let Some((first, rest)) = name.split_once('.')
        && let serde_json::Value::Object(inner) = object.entry(first).or_insert_with(|| serde_json::json!({}))
    {
        insert(inner, rest, value);
    } else {
        // If a name is both a counter and a group of counters, the counter keeps its dotted name.
        object.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn totals_are_summed_and_increases_are_computed() {
        let metrics = Metrics::default();
        metrics.set_total(0, "http.unmatched_responses", 3);
        metrics.set_total(1, "http.unmatched_responses", 4);
        metrics.add("libbeat.output.events.acked", 2);
        metrics.add("libbeat.output.events.acked", 2);
        metrics.set_total(0, "quiet", 7);
        let first = metrics.snapshot();
        assert_eq!(first.totals["http.unmatched_responses"], 7);
        metrics.set_total(1, "http.unmatched_responses", 9);
        metrics.set_gauge("libbeat.pipeline.queue.filled.pct", 0.5);
        metrics.set_gauge("idle", 0.0);
        let changed = metrics.snapshot().since(&first);
        assert_eq!(
            changed.tree(),
            json!({"http": {"unmatched_responses": 5}, "libbeat": {"pipeline": {"queue": {"filled": {"pct": 0.5}}}}})
        );
        assert_eq!(first.tree()["libbeat"]["output"]["events"]["acked"], 4);
    }

    #[test]
    fn levels_are_gauges() {
        let metrics = Metrics::default();
        metrics.set_total(0, "tcp.open", 3);
        metrics.set_total(1, "tcp.open", 4);
        metrics.set_total(1, "dns.held", 9);
        metrics.set_total(1, "tcp.connections", 9);
        let first = metrics.snapshot();
        assert_eq!((first.gauges["tcp.open"], first.gauges["dns.held"], first.totals.len()), (7.0, 9.0, 1));
        metrics.set_total(1, "tcp.open", 1);
        assert_eq!(metrics.snapshot().since(&first).tree(), json!({"tcp": {"open": 4}, "dns": {"held": 9}}));
    }

    #[test]
    fn a_counter_that_is_also_a_group() {
        let metrics = Metrics::default();
        metrics.add("a", 1);
        metrics.add("a.b", 2);
        assert_eq!(metrics.snapshot().tree(), json!({"a": 1, "a.b": 2}));
    }
}

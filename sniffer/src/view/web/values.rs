//! Values that several answers have: numbers, processes, tables.

use crate::{
    process::Process,
    time::Timestamp,
    view::model::{self, Model, Range, Stats},
};
use serde::Serialize;
use std::sync::Arc;

/// The counts of a row, see `numbers` in `docs/web-api.md`.
#[derive(Clone, Debug, Serialize)]
pub struct Numbers {
    count: u64,
    errors: u64,
    rate: f64,
    error_percent: f64,
    bytes_per_second: f64,
    p50_ns: Option<u64>,
    p95_ns: Option<u64>,
    p99_ns: Option<u64>,
    time_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<Vec<u32>>,
}

/// What numbers are calculated from.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// The model.
    pub model: &'a Model,
    /// The range of the numbers.
    pub range: Range,
}

impl Base<'_> {
    /// The numbers of counts that know when something happened.
    pub fn of(&self, stats: &Stats) -> Numbers {
        let sums = stats.over(self.range, self.model.now());
        let seconds = Some(stats.per_second(self.model.now()).into());
        Numbers { seconds, ..self.with_rate(&sums, self.model.rate(stats, self.range)) }
    }

    /// The numbers of sums over the whole run.
    pub fn of_sums(&self, sums: &model::Numbers) -> Numbers {
        self.with_rate(sums, sums.count as f64 / self.model.covered().as_secs_f64().max(1.0))
    }

    fn with_rate(&self, sums: &model::Numbers, rate: f64) -> Numbers {
        let percentile = |percent| sums.durations.percentile(percent);
        Numbers {
            count: sums.count,
            errors: sums.errors,
            rate: rounded(rate),
            error_percent: rounded(sums.error_percent()),
            bytes_per_second: rounded(sums.bytes as f64 / sums.count.max(1) as f64 * rate),
            p50_ns: percentile(50.0),
            p95_ns: percentile(95.0),
            p99_ns: percentile(99.0),
            time_ns: sums.nanos,
            seconds: None,
        }
    }
}

/// A number with three digits after the point.
pub fn rounded(of: f64) -> f64 {
    (of * 1000.0).round() / 1000.0
}

/// A time in microseconds since 1970.
pub fn micros(of: Timestamp) -> u64 {
    of.0 / 1000
}

/// A process; texts that are not known are missing.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProcessText<'a> {
    pid: u32,
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    container: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    service: &'a str,
}

impl<'a> ProcessText<'a> {
    /// The texts of a process that is known.
    pub fn of(process: Option<&'a Arc<Process>>) -> Option<Self> {
        process.map(|of| Self { pid: of.pid, name: &of.name, user: &of.user_name, container: &of.container, service: &of.service })
    }
}

/// A table; `R` is a row and `S` the counts beyond the limits of the program.
#[derive(Clone, Debug, Serialize)]
pub struct Table<R, S = Numbers> {
    /// The rows, the largest first.
    pub rows: Vec<R>,
    /// Number of rows without the limit of the request.
    pub total: usize,
    /// What exceeded the limits of the program.
    pub rest: Option<S>,
}

impl<R, S> Table<R, S> {
    /// Makes the rows of the largest `limit` items, by the number beside each.
    pub fn new<T: Copy>(mut items: Vec<(u64, T)>, limit: usize, rest: Option<S>, row: impl Fn(T) -> R) -> Self {
        // The sort is stable, so that equal rows keep their order between two requests.
        items.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
        Self { rows: items.iter().take(limit).map(|(_, item)| row(*item)).collect(), total: items.len(), rest }
    }
}

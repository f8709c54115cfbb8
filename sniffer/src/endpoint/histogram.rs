//! Histograms of durations in the form that Packetbeat's endpoint has.

use crate::time::Durations;
use serde_json::{Value, json};

/// Returns a number as JSON. A number without a fraction is written as an integer, as Go does.
pub(super) fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { (value as i64).into() } else { value.into() }
}

/// Returns all statistics of a histogram. Durations are divided by `unit` nanoseconds.
pub(super) fn full(durations: &Durations, unit: u64) -> Value {
    let quantile = |quantile| durations.quantile(quantile) / unit;
    json!({
        "count": durations.count(),
        "max": durations.max() / unit,
        "mean": number(durations.mean() / unit as f64),
        "median": quantile(0.5),
        "min": durations.min() / unit,
        "p75": quantile(0.75),
        "p95": quantile(0.95),
        "p99": quantile(0.99),
        "p999": quantile(0.999),
        "stddev": number(durations.deviation() / unit as f64),
    })
}

/// Returns the statistics of `latency_delta`.
pub(super) fn short(durations: &Durations, unit: u64) -> Value {
    json!({
        "count": durations.count(),
        "max": durations.max() / unit,
        "median": durations.quantile(0.5) / unit,
        "min": durations.min() / unit,
        "p99": durations.quantile(0.99) / unit,
    })
}

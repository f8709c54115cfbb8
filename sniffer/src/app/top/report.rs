//! One table as text for people and scripts: aligned columns, JSON, CSV or Markdown.

use crate::view::top::{
    State,
    export::{csv, json_value, lines, number},
    operations, services,
    table::{Table, Value},
};
use serde_json::{Map, Value as Json, json};
use std::fmt::Write;

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns.
    Text,
    /// One JSON object.
    Json,
    /// Comma-separated values (RFC 4180): the services.
    Csv,
    /// Tables of Markdown.
    Markdown,
}

/// Names of the columns of services in JSON and CSV. A sparkline has none.
const SERVICES: &[&str] = &["service", "protocol", "process", "rate", "error_percent", "p50_ns", "p95_ns", "p99_ns", "bytes_per_second"];
/// Names of the columns of operations in JSON.
const OPERATIONS: &[&str] = &["operation", "service", "rate", "error_percent", "p50_ns", "p95_ns", "p99_ns", "time_percent", "results"];

/// The report about everything that was counted.
pub fn text(state: &State, format: Format) -> String {
    let shown = state.shown();
    let tables = [services(&shown), operations(&shown)];
    let [Some(services), Some(operations)] = &tables else { return String::new() };
    let all = shown.model.stats.all();
    let seconds = shown.model.covered().as_secs_f64();
    match format {
        Format::Json => {
            let list = |table: &Table, names: &[&str]| -> Vec<Json> { table.rows.iter().map(|row| object(names, &row.values)).collect() };
            let report = json!({
                "seconds": number(seconds),
                "transactions": all.count,
                "errors": all.errors,
                "packets": {"seen": state.health.seen, "matched": state.health.matched, "lost": state.health.lost},
                "not_counted": state.health.skipped,
                "services": list(services, SERVICES),
                "operations": list(operations, OPERATIONS),
            });
            format!("{report}\n")
        }
        Format::Csv => {
            let mut out = SERVICES.join(",") + "\r\n";
            for row in &services.rows {
                let fields: Vec<String> = SERVICES.iter().zip(&row.values).map(|(_, value)| csv(&json_value(value))).collect();
                out.push_str(&fields.join(","));
                out.push_str("\r\n");
            }
            out
        }
        Format::Text | Format::Markdown => {
            let mut out = String::new();
            let is_markdown = format == Format::Markdown;
            for table in [services, operations] {
                lines(table, is_markdown, &mut out);
                out.push('\n');
            }
            let (count, lost) = (all.count, state.health.lost + state.health.skipped);
            // Writing to a string does not fail.
            let _ = writeln!(out, "{count} transactions in {seconds:.1} s, {} errors, lost {lost}", all.errors);
            out
        }
    }
}

fn object(names: &[&str], values: &[Value]) -> Json {
    Json::Object(names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), json_value(value))).collect::<Map<_, _>>())
}

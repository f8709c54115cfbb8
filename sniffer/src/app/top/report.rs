//! One table as text for people and scripts: aligned columns, JSON, CSV or Markdown.

use crate::view::{
    text::csv_text,
    top::{
        Look, State, operations, services,
        table::{Table, Value},
    },
};
use serde_json::{Map, Number, Value as Json, json};
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

fn json_value(value: &Value) -> Json {
    match value {
        Value::Text(text, _) => Json::from(text.as_str()),
        Value::Rate(of) | Value::Errors(of) | Value::Share(of) | Value::Speed(of) => number(*of),
        Value::Latency(nanos) => nanos.map_or(Json::Null, Json::from),
        Value::Size(of) | Value::Count(of) => Json::from(*of),
        Value::Spark(_) => Json::Null,
    }
}

/// A number with three digits after the point.
fn number(of: f64) -> Json {
    Number::from_f64((of * 1000.0).round() / 1000.0).map_or(Json::Null, Json::Number)
}

/// A field of CSV.
fn csv(value: &Json) -> String {
    match value {
        Json::String(text) => csv_text(text),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

/// The table with columns as wide as their widest value, without sparklines.
fn lines(table: &Table, is_markdown: bool, out: &mut String) {
    const WIDEST: usize = 80;
    let look = Look::default();
    let cell = |value: &Value| {
        let mut text = String::new();
        look.push(&mut text, &value.shown(1, &look).0, WIDEST);
        if is_markdown { text.replace('|', "\\|") } else { text }
    };
    let columns: Vec<usize> = (0..table.columns.len())
        .filter(|column| !table.rows.iter().any(|row| matches!(row.values.get(*column), Some(Value::Spark(_)))))
        .collect();
    let mut cells: Vec<Vec<String>> =
        vec![columns.iter().map(|column| table.columns.get(*column).map_or("", |column| column.title).to_owned()).collect()];
    cells
        .extend(table.rows.iter().map(|row| columns.iter().map(|column| row.values.get(*column).map_or_else(String::new, cell)).collect()));
    let is_right: Vec<bool> = columns.iter().map(|column| table.columns.get(*column).is_some_and(|column| column.is_right)).collect();
    let widths: Vec<usize> =
        (0..columns.len()).map(|place| cells.iter().filter_map(|row| row.get(place)).map(String::len).max().unwrap_or(0)).collect();
    for (index, row) in cells.iter().enumerate() {
        let padded = row
            .iter()
            .zip(&widths)
            .zip(&is_right)
            .map(|((text, &width), &is_right)| if is_right { format!("{text:>width$}") } else { format!("{text:<width$}") });
        let padded: Vec<String> = padded.collect();
        if is_markdown {
            out.push_str(&format!("| {} |\n", padded.join(" | ")));
        } else {
            out.push_str(padded.join("  ").trim_end());
            out.push('\n');
        }
        if is_markdown && index == 0 {
            let rules = widths.iter().zip(&is_right).map(|(&width, &is_right)| match is_right {
                true => format!("{}:", "-".repeat(width.max(3) - 1)),
                false => "-".repeat(width.max(3)),
            });
            out.push_str(&format!("| {} |\n", rules.collect::<Vec<_>>().join(" | ")));
        }
    }
}

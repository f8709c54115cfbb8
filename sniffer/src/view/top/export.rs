//! Rows and transactions as text for other programs and for people: newline-delimited JSON, CSV, Markdown.

use super::{
    look::Look,
    table::{Column, Table, Value},
};
use crate::view::text::csv_text;
use serde_json::{Map, Number, Value as Json};

/// Widest column of aligned text and of Markdown.
const WIDEST: usize = 80;

/// The form of an exported table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON object per line.
    Ndjson,
    /// Comma-separated values (RFC 4180).
    Csv,
    /// A table of Markdown.
    Markdown,
}

impl Form {
    /// The end of the names of files in this form.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Markdown => "md",
        }
    }
}

/// What the user exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The name of the screen, for the name of the file.
    pub screen: &'static str,
    /// The end of the file's name.
    pub extension: &'static str,
    /// Number of rows.
    pub rows: usize,
    /// The content of the file.
    pub text: String,
}

/// A table in a form. Sparklines and columns that the user has hidden are left out.
pub fn text(table: &Table, form: Form) -> String {
    let mut out = String::new();
    if form == Form::Markdown {
        lines(table, true, &mut out);
        return out;
    }
    let columns: Vec<(usize, String)> = columns(table).into_iter().map(|(index, column)| (index, key(table, index, column))).collect();
    if form == Form::Csv {
        out.push_str(&columns.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>().join(","));
        out.push_str("\r\n");
    }
    for row in &table.rows {
        let values = columns.iter().filter_map(|(index, key)| Some((key, json_value(row.values.get(*index)?))));
        if form == Form::Csv {
            out.push_str(&values.map(|(_, value)| csv(&value)).collect::<Vec<_>>().join(","));
            out.push_str("\r\n");
        } else {
            let object = values.map(|(key, value)| (key.clone(), value)).collect::<Map<_, _>>();
            out.push_str(&json_text(&Json::Object(object)));
            out.push('\n');
        }
    }
    out
}

/// The columns that are exported, with their indices.
fn columns(table: &Table) -> Vec<(usize, &Column)> {
    let is_spark = |index: usize| table.rows.iter().any(|row| matches!(row.values.get(index), Some(Value::Spark(_))));
    let all = table.columns.iter().enumerate();
    all.filter(|(index, column)| !is_spark(*index) && !table.hidden.contains(&column.title)).collect()
}

/// The name of a column for programs: `rate`, `error_percent`, `p95_ns`.
fn key(table: &Table, index: usize, column: &Column) -> String {
    let is_latency = table.rows.iter().any(|row| matches!(row.values.get(index), Some(Value::Latency(_))));
    let name = match column.title {
        "PROTO" => "protocol".to_owned(),
        "RATE/s" => "rate".to_owned(),
        "ERR%" => "error_percent".to_owned(),
        title => title.to_ascii_lowercase().replace("/s", "_per_second").replace('%', "_percent").replace(' ', "_"),
    };
    if is_latency { name + "_ns" } else { name }
}

/// A value as JSON. Numbers are in units without prefixes: nanoseconds, bytes, percent.
pub fn json_value(value: &Value) -> Json {
    match value {
        Value::Text(text, _) => Json::from(text.as_str()),
        Value::Rate(of) | Value::Errors(of) | Value::Share(of) | Value::Speed(of) => number(*of),
        Value::Latency(nanos) => nanos.map_or(Json::Null, Json::from),
        Value::Size(of) | Value::Count(of) => Json::from(*of),
        Value::Spark(_) => Json::Null,
    }
}

/// A number with three digits after the point.
pub fn number(of: f64) -> Json {
    Number::from_f64((of * 1000.0).round() / 1000.0).map_or(Json::Null, Json::Number)
}

/// JSON text in which characters that are not ASCII are escaped, so that none of them changes the terminal in which the text is shown.
pub fn json_text(of: &Json) -> String {
    let mut out = String::new();
    for c in of.to_string().chars() {
        if matches!(c, ' '..='~') {
            out.push(c);
        } else {
            // RFC 8259, section 7: a character outside the Basic Multilingual Plane is a surrogate pair. Such characters occur only in strings.
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}

/// A field of CSV.
pub fn csv(value: &Json) -> String {
    match value {
        Json::String(text) => csv_text(text),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

/// The table with columns as wide as their widest value, without sparklines.
pub fn lines(table: &Table, is_markdown: bool, out: &mut String) {
    let look = Look::default();
    let cell = |value: &Value| {
        let mut text = String::new();
        look.push(&mut text, &value.shown(1, &look).0, WIDEST);
        if is_markdown { text.replace('|', "\\|") } else { text }
    };
    let columns = columns(table);
    let mut cells: Vec<Vec<String>> = vec![columns.iter().map(|(_, column)| column.title.to_owned()).collect()];
    cells.extend(
        table.rows.iter().map(|row| columns.iter().map(|(index, _)| row.values.get(*index).map_or_else(String::new, cell)).collect()),
    );
    let is_right: Vec<bool> = columns.iter().map(|(_, column)| column.is_right).collect();
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

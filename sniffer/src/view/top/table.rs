//! A table of a screen: values, the columns that fit, sorting, and drawing. Columns are hidden before a column is cut.

use super::look::{Look, Tone};
use crate::view::units::{Grouped, Latency, Size};
use ratatui::{buffer::Buffer, layout::Rect};
use std::{cmp::Ordering, time::Duration};

/// From this share of errors on, in percent, a row is marked.
const MANY_ERRORS: f64 = 1.0;

/// A value of a row.
#[derive(Clone, Debug)]
pub enum Value {
    /// Text from the network or of the program; it is escaped when it is drawn.
    Text(String, Tone),
    /// A number per second.
    Rate(f64),
    /// A share of errors in percent.
    Errors(f64),
    /// Another share in percent.
    Share(f64),
    /// Nanoseconds; `None` without a value.
    Latency(Option<u64>),
    /// Bytes per second.
    Speed(f64),
    /// Bytes.
    Size(u64),
    /// A count.
    Count(u64),
    /// Transactions in each of the last seconds.
    Spark(Box<[u32]>),
}

impl Value {
    /// Text without a meaning of its own.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into(), Tone::Plain)
    }

    /// The value as text and its tone. `width`: the columns of a sparkline.
    pub fn shown(&self, width: usize, look: &Look) -> (String, Tone) {
        let plain = |text: String| (text, Tone::Plain);
        match self {
            Self::Text(text, tone) => (text.clone(), *tone),
            Self::Rate(rate) => plain(rate_text(*rate)),
            Self::Errors(percent) if *percent >= MANY_ERRORS => (format!("!{}", percent_text(*percent)), Tone::Error),
            Self::Errors(percent) | Self::Share(percent) => plain(percent_text(*percent)),
            Self::Latency(None) => plain(String::new()),
            Self::Latency(Some(nanos)) => plain(Latency(Duration::from_nanos(*nanos)).to_string()),
            Self::Speed(bytes) => plain(format!("{}/s", Size(*bytes as u64))),
            Self::Size(bytes) => plain(Size(*bytes).to_string()),
            Self::Count(count) => plain(count_text(*count)),
            Self::Spark(seconds) => (look.sparkline(seconds, width), Tone::Dim),
        }
    }

    fn number(&self) -> f64 {
        match self {
            Self::Text(..) | Self::Latency(None) => -1.0,
            Self::Rate(number) | Self::Errors(number) | Self::Share(number) | Self::Speed(number) => *number,
            Self::Latency(Some(number)) | Self::Size(number) | Self::Count(number) => *number as f64,
            Self::Spark(seconds) => seconds.iter().map(|count| f64::from(*count)).sum(),
        }
    }

    /// The order in a table: texts ascend, numbers descend.
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a, _), Self::Text(b, _)) => a.cmp(b),
            _ => other.number().total_cmp(&self.number()),
        }
    }
}

/// A number per second in at most seven columns.
pub fn rate_text(rate: f64) -> String {
    match rate {
        ..0.05 => "0".to_owned(),
        0.05..9.95 => format!("{rate:.1}"),
        _ => count_text(rate.round() as u64),
    }
}

/// A count in at most seven columns.
fn count_text(count: u64) -> String {
    match count {
        0..1_000_000 => Grouped(count).to_string(),
        1_000_000..1_000_000_000 => format!("{:.1}M", count as f64 / 1e6),
        _ => format!("{:.1}G", (count as f64 / 1e9).min(99_999.0)),
    }
}

/// A share in percent. Only no errors at all are `0`.
pub fn percent_text(percent: f64) -> String {
    match percent {
        0.0 => "0".to_owned(),
        ..0.1 => "0.1".to_owned(),
        99.95.. => "100".to_owned(),
        _ => format!("{percent:.1}"),
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The heading.
    pub title: &'static str,
    /// The smallest and the greatest width.
    pub width: (usize, usize),
    /// Whether the values end at the right edge.
    pub is_right: bool,
    /// The column with the greatest number is hidden first; a column with 0 stays.
    pub hide: u8,
}

/// Declares a column of text.
pub const fn left(title: &'static str, width: (usize, usize), hide: u8) -> Column {
    Column { title, width, is_right: false, hide }
}

/// Declares a column of numbers.
pub const fn right(title: &'static str, width: usize, hide: u8) -> Column {
    Column { title, width: (width, width), is_right: true, hide }
}

/// What identifies a row while the table changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A service: its address and port as text, and its protocol.
    Service(super::place::ServiceId),
    /// An operation of a service.
    Operation(super::place::ServiceId, Box<str>),
    /// The number of a transaction.
    Record(u64),
    /// A row that cannot be opened, by its place before sorting.
    Row(usize),
}

/// A row: its key, and a value for each column.
#[derive(Clone, Debug)]
pub struct Row {
    /// What identifies the row.
    pub key: Key,
    /// The values in the order of the columns.
    pub values: Vec<Value>,
}

/// The rows of a screen.
#[derive(Clone, Debug)]
pub struct Table {
    /// The columns in their order.
    pub columns: &'static [Column],
    /// The rows.
    pub rows: Vec<Row>,
    /// The index of the column by which the rows are sorted, and whether the order is reversed. `None`: the order of the rows.
    pub sort: Option<(usize, bool)>,
    /// The titles of the columns that the user has hidden.
    pub hidden: Vec<&'static str>,
}

impl Table {
    /// Sorts the rows. Rows with equal values keep their order.
    pub fn sort(&mut self) {
        let Some((column, is_reversed)) = self.sort else { return };
        self.rows.sort_by(|a, b| {
            let order = a.values.get(column).zip(b.values.get(column)).map_or(Ordering::Equal, |(a, b)| a.compare(b));
            if is_reversed { order.reverse() } else { order }
        });
    }

    /// Draws the heading, and the rows from `first` on. The row with the key `selected` is marked.
    pub fn draw(&self, area: Rect, first: usize, selected: Option<&Key>, look: &Look, buffer: &mut Buffer) {
        // The first column is for the mark of the selected row.
        let columns = fit(self.columns, &self.hidden, usize::from(area.width).saturating_sub(1));
        let mut x = area.x + 1;
        for &(index, width) in &columns {
            let Some(column) = self.columns.get(index) else { continue };
            let title = match self.sort {
                Some((sorted, is_reversed)) if sorted == index => format!("{} {}", column.title, if is_reversed { '^' } else { 'v' }),
                _ => column.title.to_owned(),
            };
            put(buffer, (x, area.y), &title, width, column.is_right, look.style(Tone::Heading), look);
            x += width as u16 + 1;
        }
        for (row, y) in self.rows.iter().skip(first).zip(area.y + 1..area.y + area.height) {
            let is_selected = selected == Some(&row.key);
            if is_selected {
                put(buffer, (area.x, y), ">", 1, false, look.style(Tone::Accent), look);
            }
            let mut x = area.x + 1;
            for &(index, width) in &columns {
                let (Some(column), Some(value)) = (self.columns.get(index), row.values.get(index)) else { continue };
                let (text, tone) = value.shown(width, look);
                let tone = if is_selected && tone == Tone::Plain { Tone::Selected } else { tone };
                put(buffer, (x, y), &text, width, column.is_right, look.style(tone), look);
                x += width as u16 + 1;
            }
        }
    }
}

/// The columns that fit, each with its width, without those whose titles are `hidden`. One blank is between two columns.
fn fit(columns: &[Column], hidden: &[&str], width: usize) -> Vec<(usize, usize)> {
    let wanted = columns.iter().enumerate().filter(|(_, column)| !hidden.contains(&column.title));
    let mut shown: Vec<(usize, usize)> = wanted.map(|(index, column)| (index, column.width.0)).collect();
    let needed = |shown: &[(usize, usize)]| shown.iter().map(|(_, width)| width + 1).sum::<usize>().saturating_sub(1);
    let hide = |index: usize| columns.get(index).map_or(0, |column| column.hide);
    while needed(&shown) > width
        && let Some(place) = (0..shown.len()).max_by_key(|place| shown.get(*place).map_or(0, |(index, _)| hide(*index)))
        && shown.get(place).is_some_and(|(index, _)| hide(*index) > 0)
    {
        shown.remove(place);
    }
    let mut left = width.saturating_sub(needed(&shown));
    for (index, width) in &mut shown {
        let more = left.min(columns.get(*index).map_or(0, |column| column.width.1.saturating_sub(*width)));
        *width += more;
        left -= more;
    }
    // If no column can be hidden any more, the first one becomes narrower.
    let over = needed(&shown).saturating_sub(width);
    if let Some((_, first)) = shown.first_mut() {
        *first = first.saturating_sub(over);
    }
    shown
}

/// Writes text in `width` columns, escaped and cut.
fn put(buffer: &mut Buffer, (x, y): (u16, u16), text: &str, width: usize, is_right: bool, style: ratatui::style::Style, look: &Look) {
    let mut shown = String::new();
    let used = look.push(&mut shown, text, width);
    let indent = if is_right { width.saturating_sub(used) } else { 0 };
    if buffer.area.contains((x, y).into()) {
        buffer.set_stringn(x + indent as u16, y, &shown, width, style);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[left("NAME", (10, 30), 0), right("RATE", 6, 0), right("P50", 6, 2), right("P95", 6, 1)];

    #[test]
    fn columns_are_hidden_in_their_order_before_one_is_cut() {
        let at = |width| fit(COLUMNS, &[], width);
        assert_eq!(at(60), [(0, 30), (1, 6), (2, 6), (3, 6)]);
        assert_eq!(at(31), [(0, 10), (1, 6), (2, 6), (3, 6)]);
        assert_eq!(at(30), [(0, 16), (1, 6), (3, 6)], "P50 goes first");
        assert_eq!(at(23), [(0, 16), (1, 6)]);
        assert_eq!(at(17), [(0, 10), (1, 6)]);
        assert_eq!(at(12), [(0, 5), (1, 6)], "the first column is cut if nothing can be hidden");
        assert_eq!(at(0), [(0, 0), (1, 6)]);
        assert_eq!(fit(COLUMNS, &["RATE"], 60), [(0, 30), (2, 6), (3, 6)]);
    }

    #[test]
    fn numbers_as_text() {
        assert_eq!([0.0, 0.04, 0.24, 9.94, 9.96, 1204.4, 1_234_567.0].map(rate_text), ["0", "0", "0.2", "9.9", "10", "1,204", "1.2M"]);
        assert_eq!([0.0, 0.01, 2.14, 31.0, 99.94, 99.99, 100.0].map(percent_text), ["0", "0.1", "2.1", "31.0", "99.9", "100", "100"]);
        assert!([0, 999_999, 1_000_000, u64::MAX].map(count_text).iter().all(|text| text.len() <= 8));
    }

    #[test]
    fn numbers_descend_and_texts_ascend() {
        let row = |name: &str, rate| Row { key: Key::Row(0), values: vec![Value::text(name), Value::Rate(rate)] };
        let mut table =
            Table { columns: COLUMNS, rows: vec![row("b", 1.0), row("a", 2.0), row("c", 3.0)], sort: Some((1, false)), hidden: vec![] };
        let order = |table: &mut Table, sort| {
            table.sort = sort;
            table.sort();
            table.rows.iter().map(|row| row.values[0].shown(9, &Look::default()).0).collect::<String>()
        };
        assert_eq!(order(&mut table, Some((1, false))), "cab");
        assert_eq!(order(&mut table, Some((1, true))), "bac");
        assert_eq!(order(&mut table, Some((0, false))), "abc");
        assert_eq!(order(&mut table, None), "abc");
    }
}

//! [`Burst`]: limits the lines per second on a terminal. In a second with more transactions than a person can read, it selects errors and
//! slow transactions, and counts the rest.

use super::row::{Outcome, Row};
use crate::view::units::Grouped;
use std::time::{Duration, Instant};

/// Maximum number of lines in one second, with the line that counts the rest.
pub const MOST_LINES: usize = 200;
/// Number of rows that are shown at once in a second, as long as the second before did not exceed the limit.
const AT_ONCE: usize = 100;
/// The period for which rows are counted together.
const PERIOD: Duration = Duration::from_secs(1);

/// Rows of the current second.
#[derive(Debug, Default)]
pub struct Burst {
    /// When the current second began; `None` before its first row.
    start: Option<Instant>,
    /// Whether the second before exceeded the limit. Then no row is shown at once, so that the selection is made from all of them.
    is_busy: bool,
    shown: usize,
    shown_errors: u64,
    /// Rows that wait for the end of the second.
    errors: Vec<Row>,
    others: Vec<Row>,
    /// What has no room in the two lists.
    more: More,
}

/// Rows that are not shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct More {
    /// How many rows there are of each protocol.
    protocols: Vec<(String, u64)>,
    /// How many of them are errors.
    errors: u64,
    /// How many errors are shown.
    shown_errors: u64,
    seconds: u64,
}

impl More {
    fn add(&mut self, row: &Row) {
        self.errors += u64::from(row.outcome == Outcome::Error);
        match self.protocols.iter_mut().find(|(name, _)| name == row.protocol()) {
            Some((_, count)) => *count += 1,
            None => self.protocols.push((row.protocol().to_owned(), 1)),
        }
    }

    /// Number of rows that are not shown.
    pub fn total(&self) -> u64 {
        self.protocols.iter().map(|(_, count)| count).sum()
    }

    /// The line about these rows, in at most `width` columns: `+5,812 more in this second: http 4,901, dns 911 (3 errors, all shown above)`.
    pub fn line(&self, width: usize) -> String {
        let all = self.errors + self.shown_errors;
        let errors = match (all, self.errors) {
            (0, _) => "(no errors)".to_owned(),
            (1, 0) => "(1 error, shown above)".to_owned(),
            (_, 0) => format!("({} errors, all shown above)", Grouped(all)),
            _ => format!("({} errors, {} shown)", Grouped(all), Grouped(self.shown_errors)),
        };
        let period = if self.seconds > 1 { format!("{} seconds", self.seconds) } else { "this second".to_owned() };
        let start = format!("+{} more in {period}", Grouped(self.total()));
        let mut protocols = self.protocols.clone();
        protocols.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        // As many protocols as fit.
        for number in (0..=protocols.len()).rev() {
            let named: Vec<String> = protocols.iter().take(number).map(|(name, count)| format!("{name} {}", Grouped(*count))).collect();
            let others = if number < protocols.len() { ", .." } else { "" };
            let colon = if number > 0 { ": " } else { "" };
            let line = format!("{start}{colon}{}{others} {errors}", named.join(", "));
            if line.len() <= width {
                return line;
            }
        }
        start.chars().take(width).collect()
    }
}

impl Burst {
    /// Adds a row at the time `now`. Returns the row if it is shown at once; otherwise it waits for the end of the second.
    pub fn add(&mut self, row: Row, now: Instant) -> Option<Row> {
        self.start.get_or_insert(now);
        let is_error = row.outcome == Outcome::Error;
        if !self.is_busy && self.shown < AT_ONCE {
            self.shown += 1;
            self.shown_errors += u64::from(is_error);
            return Some(row);
        }
        if is_error && self.errors.len() < MOST_LINES {
            self.errors.push(row);
        } else if !is_error && self.others.len() < MOST_LINES {
            self.others.push(row);
        } else if !is_error
            && let Some(fastest) = self.others.iter_mut().min_by_key(|other| other.duration)
            && fastest.duration < row.duration
        {
            self.more.add(fastest);
            *fastest = row;
        } else {
            self.more.add(&row);
        }
        None
    }

    /// When the current second ends; `None` if no row was added in it.
    pub fn end_of_second(&self) -> Option<Instant> {
        self.start.map(|start| start + PERIOD)
    }

    /// Ends the second, if it is over at `now` or `at_once`. Returns the rows that are shown, in the order of their times, and what is not
    /// shown. All errors that fit are shown, and then the slowest rows, so that there are `screen` lines.
    pub fn end(&mut self, now: Instant, screen: usize, at_once: bool) -> Option<(Vec<Row>, More)> {
        let start = self.start.filter(|&start| at_once || now >= start + PERIOD)?;
        let all = std::mem::take(self);
        let fit = MOST_LINES.saturating_sub(all.shown);
        let (mut rows, mut others, mut more) = (all.errors, all.others, all.more);
        let is_over = more.total() > 0 || rows.len() + others.len() > fit;
        if is_over {
            let room = fit.saturating_sub(1);
            rows.iter().skip(room).for_each(|row| more.add(row));
            rows.truncate(room);
            others.sort_by_key(|row| std::cmp::Reverse(row.duration));
            let room = room.min(screen.saturating_sub(all.shown + 1)).saturating_sub(rows.len());
            others.iter().skip(room).for_each(|row| more.add(row));
            others.truncate(room);
            more.shown_errors = all.shown_errors + rows.len() as u64;
            more.seconds = (now.saturating_duration_since(start).as_secs_f64().round() as u64).max(1);
        }
        rows.append(&mut others);
        rows.sort_by_key(|row| row.time);
        self.is_busy = is_over;
        Some((rows, more))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tally::tests::transaction, *};
    use crate::{publish::observer::Transaction, time::Timestamp};

    /// Row number `number`, which takes as many microseconds. Every `errors`-th row is an error.
    fn row(number: u64, errors: u64) -> Row {
        Row::of_transaction(&Transaction {
            time: Timestamp(number),
            protocol: if number.is_multiple_of(4) { "dns" } else { "http" },
            duration: Some(Duration::from_micros(number)),
            status: if number.is_multiple_of(errors) { "Error" } else { "OK" },
            ..transaction()
        })
    }

    fn second(burst: &mut Burst, rows: impl Iterator<Item = Row>, at: Instant, screen: usize) -> (usize, Vec<Row>, More) {
        let shown = rows.filter_map(|row| burst.add(row, at)).count();
        assert!(burst.end(at + PERIOD / 2, screen, false).is_none(), "the second is not over");
        let (rows, more) = burst.end(at + PERIOD, screen, false).unwrap();
        assert!(shown + rows.len() + usize::from(more.total() > 0) <= MOST_LINES, "{shown} and {}", rows.len());
        assert!(rows.is_sorted_by_key(|row| row.time));
        (shown, rows, more)
    }

    #[test]
    fn two_hundred_rows_are_all_shown() {
        let (mut burst, now) = (Burst::default(), Instant::now());
        let (shown, rows, more) = second(&mut burst, (1..=200).map(|n| row(n, 50)), now, 24);
        assert_eq!((shown, rows.len(), more.total()), (100, 100, 0));
        let (shown, rows, more) = second(&mut burst, (1..=200).map(|n| row(n, 50)), now, 24);
        assert_eq!((shown, rows.len(), more.total()), (100, 100, 0));
    }

    #[test]
    fn errors_and_the_slowest_are_shown_and_the_rest_is_counted() {
        let (mut burst, now) = (Burst::default(), Instant::now());
        let (shown, rows, more) = second(&mut burst, (1..=6000).map(|n| row(n, 2000)), now, 24);
        assert_eq!((shown, rows.len()), (100, 3), "the errors; the screen is full");
        assert_eq!(more.line(80), "+5,897 more in this second: http 4,425, dns 1,472 (3 errors, all shown above)");
        // The next second is busy from its beginning.
        let (shown, rows, more) = second(&mut burst, (1..=6000).map(|n| row(n, 2000)), now, 24);
        assert_eq!((shown, rows.len()), (0, 23));
        let times: Vec<u64> = rows.iter().map(|row| row.time.0).collect();
        assert_eq!(times.get(..3), Some(&[2000, 4000, 5980][..]), "errors, and then the slowest: {times:?}");
        assert_eq!(more.total(), 5977);
        // More errors than lines.
        let (shown, rows, more) = second(&mut burst, (1..=6000).map(|n| row(n, 2)), now, 24);
        assert_eq!((shown, rows.len()), (0, 199));
        assert_eq!(more.line(80), "+5,801 more in this second: http 4,400, dns 1,401 (3,000 errors, 199 shown)");
        // A calm second ends the selection.
        let (shown, rows, more) = second(&mut burst, (1..=5).map(|n| row(n, 9)), now, 24);
        assert_eq!((shown, rows.len(), more.total()), (0, 5, 0));
        assert!(burst.add(row(1, 9), now).is_some());
    }

    #[test]
    fn the_counting_line_fits() {
        let mut more = More::default();
        for name in ["http", "dns", "cassandra", "memcache", "mongodb"] {
            let of = Transaction { protocol: name, ..transaction() };
            (0..1000).for_each(|_| more.add(&Row::of_transaction(&of)));
        }
        assert_eq!(more.line(80), "+5,000 more in this second: http 1,000, dns 1,000, .. (no errors)");
        for width in 0..120 {
            assert!(more.line(width).len() <= width, "{width}");
        }
    }
}

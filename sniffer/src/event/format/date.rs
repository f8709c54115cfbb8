//! Patterns of dates in format strings, with the letters of Joda-Time that Packetbeat knows.

use crate::time::Timestamp;
use jiff::{Zoned, tz::TimeZone};
use std::fmt::Write;

/// Maximum number of digits of one number. If a pattern repeats a letter more often, the number still has this many digits. The limit is
/// needed because the standard library panics on a width beyond 65,535.
const MAX_WIDTH: usize = 64;
/// The letters that have a meaning in a pattern.
const LETTERS: &str = "yYxwedDEMahHKkmsSfnz";

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// One of [`LETTERS`], and how often it is repeated.
    Letter(char, usize),
}

impl Pattern {
    /// Parses a pattern: letters, text in single quotes (`''` is a quote), and other characters, which are copied.
    ///
    /// # Errors
    /// When a letter has no meaning, or a quote is not closed.
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), pattern);
        while let Some(letter) = rest.chars().next() {
            let (part, tail) = if let Some(inside) = rest.strip_prefix('\'') {
                let (quoted, tail) = inside.split_once('\'').ok_or("a single quote is not closed in the pattern of a date")?;
                // A quote directly after quoted text is part of the text: `'o''clock'`.
                let text = if quoted.is_empty() || rest.len() < pattern.len() && pattern[..pattern.len() - rest.len()].ends_with('\'') {
                    format!("'{quoted}")
                } else {
                    quoted.to_owned()
                };
                (Part::Text(text), tail)
            } else {
                let tail = rest.trim_start_matches(letter);
                let repeated = &rest[..rest.len() - tail.len()];
                if LETTERS.contains(letter) {
                    (Part::Letter(letter, repeated.len().min(MAX_WIDTH)), tail)
                } else if letter.is_ascii_alphabetic() {
                    return Err(format!("the letter '{letter}' has no meaning in a date; the letters are {LETTERS}"));
                } else {
                    (Part::Text(repeated.to_owned()), tail)
                }
            };
            parts.push(part);
            rest = tail;
        }
        Ok(Self(parts))
    }

    /// Appends the time, in UTC.
    pub(super) fn write(&self, text: &mut String, time: Timestamp) {
        let Ok(at) = jiff::Timestamp::from_nanosecond(i128::from(time.0)) else { return };
        let at = at.to_zoned(TimeZone::UTC);
        for part in &self.0 {
            match part {
                Part::Text(known) => text.push_str(known),
                Part::Letter(letter, width) => write_letter(text, *letter, *width, &at),
            }
        }
    }
}

fn write_letter(text: &mut String, letter: char, width: usize, at: &Zoned) {
    let week = at.date().iso_week_date();
    let number = match letter {
        'y' | 'Y' if width == 2 => i64::from(at.year()) % 100,
        'y' | 'Y' => i64::from(at.year()),
        'x' if width == 2 => i64::from(week.year()) % 100,
        'x' => i64::from(week.year()),
        'w' => i64::from(week.week()),
        'e' => i64::from(at.weekday().to_sunday_zero_offset()),
        'M' if width < 3 => i64::from(at.month()),
        'd' => i64::from(at.day()),
        'D' => i64::from(at.day_of_year()),
        'H' => i64::from(at.hour()),
        'K' => i64::from(at.hour() % 12),
        // Packetbeat writes hours that begin with 1 one hour late: 11 o'clock is 12.
        'h' => i64::from(at.hour() % 12 + 1),
        'k' => i64::from(at.hour() + 1),
        'm' => i64::from(at.minute()),
        's' => i64::from(at.second()),
        _ => return write_text(text, letter, width, at),
    };
    let _ = write!(text, "{number:0width$}");
}

fn write_text(text: &mut String, letter: char, width: usize, at: &Zoned) {
    let nanos = at.subsec_nanosecond();
    match letter {
        'E' => text.push_str(&at.strftime(if width < 4 { "%a" } else { "%A" }).to_string()),
        'M' => text.push_str(&at.strftime(if width < 4 { "%b" } else { "%B" }).to_string()),
        'a' => text.push_str(if at.hour() < 12 { "AM" } else { "PM" }),
        'S' => {
            let digits = format!("{nanos:09}");
            text.push_str(digits.get(..width).unwrap_or(&digits));
            text.extend(std::iter::repeat_n('0', width.saturating_sub(digits.len())));
        }
        // The fraction is written without the zeros at its end, but with at least three digits, and with at most `width` digits.
        'f' => {
            let digits = format!("{nanos:09}");
            let significant = digits.trim_end_matches('0').len().max(3);
            text.push_str(digits.get(..width.min(significant)).unwrap_or_default());
        }
        'n' => {
            let _ = write!(text, "{nanos:09}");
        }
        _ => text.push_str("+00:00"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pattern: &str, nanos: u64) -> String {
        let mut text = String::new();
        Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}")).write(&mut text, Timestamp(nanos));
        text
    }

    #[test]
    fn letters_are_those_of_packetbeat() {
        const TUESDAY: u64 = 1_427_802_779_704_621_000; // 2015-03-31T11:52:59.704621Z
        const SUNDAY: u64 = 1_430_006_400_700_000_000; // 2015-04-26T00:00:00.7Z
        for (pattern, tuesday, sunday) in [
            ("y yy yyy yyyyy Y YY", "2015 15 2015 02015 2015 15", "2015 15 2015 02015 2015 15"),
            ("x xx xxxxx w www e ee", "2015 15 02015 14 014 2 02", "2015 15 02015 17 017 0 00"),
            ("M MM MMM MMMM MMMMM d ddd D DDDD", "3 03 Mar March March 31 031 90 0090", "4 04 Apr April April 26 026 116 0116"),
            ("E EEE EEEE EEEEEE", "Tue Tue Tuesday Tuesday", "Sun Sun Sunday Sunday"),
            ("a aa h K k H HHH m ss", "AM AM 12 11 12 11 011 52 59", "AM AM 1 0 1 0 000 0 00"),
            ("S SS SSS SSSSSS SSSSSSSSSSS", "7 70 704 704621 70462100000", "7 70 700 700000 70000000000"),
            ("f ff fffff fffffffffff n nnnn", "7 70 70462 704621 704621000 704621000", "7 70 700 700 700000000 700000000"),
            ("z zzz", "+00:00 +00:00", "+00:00 +00:00"),
            ("'at' '' 'o''clock' -:/é", "at ' o'clock -:/é", "at ' o'clock -:/é"),
            ("", "", ""),
        ] {
            assert_eq!((written(pattern, TUESDAY).as_str(), written(pattern, SUNDAY).as_str()), (tuesday, sunday), "{pattern}");
        }
        let long = written(&"y".repeat(70_000), TUESDAY);
        assert_eq!((long.len(), long.trim_start_matches('0')), (MAX_WIDTH, "2015"));
    }

    #[test]
    fn wrong_patterns() {
        for wrong in ["G", "yyyy.C", "Z", "b", "'abc", "'"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}

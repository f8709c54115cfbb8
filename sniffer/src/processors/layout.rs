//! Layouts of times: a reference time, `Mon Jan 2 15:04:05.000 -0700 MST 2006`, shows how times are written.

use crate::time::Timestamp;
use jiff::{
    civil::{Date, DateTime, Time},
    tz::{Offset, TimeZone},
};
use serde::Deserialize;

/// A parsed layout.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "String")]
pub(super) enum Layout {
    /// Seconds since 1970, with a fraction.
    Unix,
    /// Milliseconds since 1970.
    UnixMillis,
    /// The parts of a text.
    Parts(Vec<Part>),
}

/// A part of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Year,
    ShortYear,
    Month,
    MonthName,
    LongMonthName,
    Day,
    Weekday,
    LongWeekday,
    Hour,
    Hour12,
    HalfDay,
    Minute,
    Second,
    /// A fraction of a second with its point, of any number of digits.
    Fraction,
    /// An offset from UTC: `-0700`, `-07:00` or `-07`. With `true`, `Z` is written for UTC.
    Offset(bool),
    /// An abbreviation of a time zone. Only `UTC` and `GMT` have a meaning.
    Abbreviation,
}

/// The texts that stand for the parts in a layout. If a text begins with another one, the longer text comes first.
const REFERENCE: &[(&str, Part)] = &[
    ("January", Part::LongMonthName),
    ("Jan", Part::MonthName),
    ("Monday", Part::LongWeekday),
    ("Mon", Part::Weekday),
    ("MST", Part::Abbreviation),
    ("2006", Part::Year),
    ("Z07:00", Part::Offset(true)),
    ("Z0700", Part::Offset(true)),
    ("Z07", Part::Offset(true)),
    ("-07:00", Part::Offset(false)),
    ("-0700", Part::Offset(false)),
    ("-07", Part::Offset(false)),
    ("01", Part::Month),
    ("02", Part::Day),
    ("03", Part::Hour12),
    ("04", Part::Minute),
    ("05", Part::Second),
    ("06", Part::ShortYear),
    ("15", Part::Hour),
    ("_2", Part::Day),
    ("PM", Part::HalfDay),
    ("pm", Part::HalfDay),
    ("1", Part::Month),
    ("2", Part::Day),
    ("3", Part::Hour12),
    ("4", Part::Minute),
    ("5", Part::Second),
];

impl From<String> for Layout {
    fn from(layout: String) -> Self {
        match layout.as_str() {
            "UNIX" => return Self::Unix,
            "UNIX_MS" => return Self::UnixMillis,
            _ => {}
        }
        let (mut parts, mut rest) = (Vec::new(), layout.as_str());
        while let Some(first) = rest.chars().next() {
            // A fraction begins with a point or comma, followed by zeros or nines, after which no other digit follows.
            let digits = rest.get(first.len_utf8()..).unwrap_or_default();
            let fill = digits.chars().next().filter(|c| matches!(first, '.' | ',') && matches!(c, '0' | '9'));
            if let Some(fill) = fill {
                let behind = digits.trim_start_matches(fill);
                if !behind.starts_with(|c: char| c.is_ascii_digit()) {
                    parts.push(Part::Fraction);
                    rest = behind;
                    continue;
                }
            }
            match REFERENCE.iter().find_map(|(text, part)| Some((rest.strip_prefix(text)?, part))) {
                Some((behind, part)) => {
                    parts.push(part.clone());
                    rest = behind;
                }
                None => {
                    match parts.last_mut() {
                        Some(Part::Text(text)) => text.push(first),
                        _ => parts.push(Part::Text(first.into())),
                    }
                    rest = digits;
                }
            }
        }
        Self::Parts(parts)
    }
}

/// The parts of a time that were found.
struct Found {
    year: Option<i16>,
    month: i8,
    day: i8,
    hour: i8,
    afternoon: Option<bool>,
    minute: i8,
    second: i8,
    nanos: i32,
    zone: Option<TimeZone>,
}

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A number of `min` to `max` digits at the beginning of a text, and the rest of the text.
fn digits(text: &str, min: usize, max: usize) -> Option<(i32, &str)> {
    let count = text.bytes().take(max).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at_checked(count).filter(|_| count >= min)?;
    Some((number.parse().ok()?, rest))
}

/// The index in `names` of the name that a text begins with. Either the first three letters of the name or the whole name count.
fn named<'a>(text: &'a str, names: &[&str], long: bool) -> Option<(i8, &'a str)> {
    (1..).zip(names).find_map(|(place, name)| {
        let wanted = if long { name } else { name.get(..3)? };
        let (word, rest) = text.split_at_checked(wanted.len())?;
        word.eq_ignore_ascii_case(wanted).then_some((place, rest))
    })
}

fn offset(text: &str, with_z: bool) -> Option<(TimeZone, &str)> {
    if let Some(rest) = text.strip_prefix('Z').filter(|_| with_z) {
        return Some((TimeZone::UTC, rest));
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, rest) = digits(text.strip_prefix(['+', '-'])?, 2, 2)?;
    let (minutes, rest) = digits(rest.strip_prefix(':').unwrap_or(rest), 2, 2).unwrap_or((0, rest));
    Some((TimeZone::fixed(Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()?), rest))
}

impl Layout {
    /// Parses a text. Parts that the layout does not have come from `zone`. A layout without a year has the year of `now`.
    pub(super) fn parse(&self, text: &str, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Unix => {
                let nanos = match text.parse::<u64>() {
                    Ok(seconds) => seconds.checked_mul(1_000_000_000)?,
                    // As in Packetbeat, the fraction is as exact as a float is.
                    Err(_) => {
                        text.parse::<f64>().ok().filter(|seconds| (0.0..1.8e10).contains(seconds)).map(|seconds| (seconds * 1e9) as u64)?
                    }
                };
                Some(Timestamp(nanos))
            }
            Self::UnixMillis => text.parse::<u64>().ok()?.checked_mul(1_000_000).map(Timestamp),
            Self::Parts(parts) => parse(parts, text, zone, now),
        }
    }
}

fn parse(parts: &[Part], text: &str, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    let mut found = Found { year: None, month: 1, day: 1, hour: 0, afternoon: None, minute: 0, second: 0, nanos: 0, zone: None };
    let mut rest = text;
    for part in parts {
        rest = found.read(part, rest)?;
    }
    if !rest.is_empty() {
        return None;
    }
    let zone = found.zone.clone().unwrap_or_else(|| zone.clone());
    let year = match found.year {
        Some(year) => year,
        None => jiff::Timestamp::from_nanosecond(i128::from(now.0)).ok()?.to_zoned(zone.clone()).year(),
    };
    let hour = match (found.afternoon, found.hour) {
        (Some(false), 12) => 0,
        (Some(true), hour) if hour < 12 => hour + 12,
        (_, hour) => hour,
    };
    let time = Time::new(hour, found.minute, found.second, found.nanos).ok()?;
    let at = DateTime::from_parts(Date::new(year, found.month, found.day).ok()?, time);
    u64::try_from(at.to_zoned(zone).ok()?.timestamp().as_nanosecond()).ok().map(Timestamp)
}

impl Found {
    /// Reads one part from the beginning of a text, and returns the rest of the text.
    fn read<'a>(&mut self, part: &Part, text: &'a str) -> Option<&'a str> {
        let small = |text: &'a str| {
            let (number, rest) = digits(text.strip_prefix(' ').unwrap_or(text), 1, 2)?;
            Some((i8::try_from(number).ok()?, rest))
        };
        let rest;
        match part {
            Part::Text(wanted) => rest = text.strip_prefix(wanted.as_str())?,
            Part::Year => {
                let (year, behind) = digits(text, 4, 4)?;
                (self.year, rest) = (Some(i16::try_from(year).ok()?), behind);
            }
            Part::ShortYear => {
                let (year, behind) = digits(text, 2, 2)?;
                (self.year, rest) = (Some(i16::try_from(if year < 69 { 2000 + year } else { 1900 + year }).ok()?), behind);
            }
            Part::Month => (self.month, rest) = small(text)?,
            Part::MonthName => (self.month, rest) = named(text, &MONTHS, false)?,
            Part::LongMonthName => (self.month, rest) = named(text, &MONTHS, true)?,
            Part::Day => (self.day, rest) = small(text)?,
            Part::Weekday => rest = named(text, &WEEKDAYS, false)?.1,
            Part::LongWeekday => rest = named(text, &WEEKDAYS, true)?.1,
            Part::Hour | Part::Hour12 => (self.hour, rest) = small(text)?,
            Part::HalfDay => {
                let (half, behind) = text.split_at_checked(2)?;
                self.afternoon = Some(match half {
                    "AM" | "am" => false,
                    "PM" | "pm" => true,
                    _ => return None,
                });
                rest = behind;
            }
            Part::Minute => (self.minute, rest) = small(text)?,
            Part::Second => {
                let (second, behind) = small(text)?;
                self.second = second;
                // A fraction is accepted after the seconds even if the layout has none.
                rest = match behind.strip_prefix(['.', ',']).filter(|fraction| fraction.starts_with(|c: char| c.is_ascii_digit())) {
                    Some(fraction) => self.fraction(fraction)?,
                    None => behind,
                };
            }
            // The fraction was already read together with the seconds.
            Part::Fraction => rest = text,
            Part::Offset(with_z) => {
                let (zone, behind) = offset(text, *with_z)?;
                (self.zone, rest) = (Some(zone), behind);
            }
            Part::Abbreviation => {
                let length = text.bytes().take(5).take_while(u8::is_ascii_uppercase).count();
                let (name, behind) = text.split_at_checked(length).filter(|_| length >= 3)?;
                if name == "UTC" || name == "GMT" {
                    self.zone = Some(TimeZone::UTC);
                }
                rest = behind;
            }
        }
        Some(rest)
    }

    /// Reads the digits of a fraction of a second.
    fn fraction<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let count = text.bytes().take_while(u8::is_ascii_digit).count();
        let (fraction, rest) = text.split_at_checked(count)?;
        let nine: String = fraction.chars().chain("000000000".chars()).take(9).collect();
        self.nanos = nine.parse().ok()?;
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_read_times() {
        for (layout, text, expected) in [
            ("2006-01-02 15:04:05.000", "2020-02-03 04:05:06.789", Some("2020-02-03T04:05:06.789Z")),
            ("2006-01-02T15:04:05Z07:00", "2020-02-03T04:05:06+02:00", Some("2020-02-03T02:05:06.000Z")),
            ("2006-01-02T15:04:05.999Z07:00", "2020-02-03T04:05:06Z", Some("2020-02-03T04:05:06.000Z")),
            ("Mon Jan _2 15:04:05 MST 2006", "Mon Feb  3 04:05:06 UTC 2020", Some("2020-02-03T04:05:06.000Z")),
            ("02/Jan/2006:15:04:05 -0700", "03/Feb/2020:04:05:06 -0130", Some("2020-02-03T05:35:06.000Z")),
            ("January 2, 06 3:04PM", "February 3, 20 4:05PM", Some("2020-02-03T16:05:00.000Z")),
            ("Jan 2 15:04:05", "Feb 3 04:05:06", Some("1970-02-03T04:05:06.000Z")),
            ("UNIX", "1580702706.25", Some("2020-02-03T04:05:06.249Z")),
            ("UNIX_MS", "1580702706789", Some("2020-02-03T04:05:06.789Z")),
            ("2006-01-02", "2020-02-30", None),
            ("2006-01-02", "2020-02-03 x", None),
            ("2006-01-02", "yesterday", None),
            ("UNIX", "NaN", None),
        ] {
            let time = Layout::from(layout.to_owned()).parse(text, &TimeZone::UTC, Timestamp(0));
            assert_eq!(time.map(|time| time.text(3).as_str().to_owned()).as_deref(), expected, "{layout}: {text}");
        }
    }
}

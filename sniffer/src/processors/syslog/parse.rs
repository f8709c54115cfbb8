//! Parses syslog messages: RFC 3164 (with the variants that are in use) and RFC 5424.

use crate::{event::tree::Object, time::Timestamp};
use jiff::{civil::DateTime, tz::TimeZone};
use serde_json::Value;

/// The parts of a message that were found.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) priority: Option<u8>,
    pub(super) version: Option<&'a str>,
    pub(super) time: Option<Timestamp>,
    pub(super) hostname: Option<&'a str>,
    pub(super) appname: Option<&'a str>,
    pub(super) procid: Option<&'a str>,
    pub(super) msgid: Option<&'a str>,
    pub(super) structured_data: Option<Object>,
    pub(super) text: Option<&'a str>,
}

/// Whether a version follows the priority of a message, so that the message is RFC 5424.
pub(super) fn has_version(text: &str) -> bool {
    let behind = text.strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(_, behind)| behind);
    behind.is_some_and(|behind| {
        let digits = behind.trim_start_matches(|c: char| c.is_ascii_digit());
        digits.len() < behind.len() && behind.len() - digits.len() <= 2 && digits.starts_with(' ')
    })
}

/// A message while it is read. Errors name the position in bytes, counted from 1.
struct Input<'a> {
    rest: &'a str,
    length: usize,
}

impl<'a> Input<'a> {
    fn error(&self, what: &str) -> String {
        format!("parsing error at position {}: {what}", self.length - self.rest.len() + 1)
    }

    /// The text before a space; the space is skipped.
    fn word(&mut self, what: &str) -> Result<&'a str, String> {
        match self.rest.split_once(' ') {
            Some((word, rest)) if !word.is_empty() => {
                self.rest = rest;
                Ok(word)
            }
            _ => Err(self.error(&format!("expected {what} and a space"))),
        }
    }

    /// A word, or `None` if it is `-`.
    fn optional(&mut self, what: &str) -> Result<Option<&'a str>, String> {
        self.word(what).map(|word| (word != "-").then_some(word))
    }

    /// The priority in angle brackets. Returns the error of a number that is too large, because the rest of the message
    /// can still be read.
    fn priority(&mut self, message: &mut Message<'a>) -> Result<Option<String>, String> {
        let inside = self.rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let Some((digits, rest)) = inside.filter(|(digits, _)| matches!(digits.len(), 1..=3)) else {
            return Err(self.error("expected a priority"));
        };
        let number: u16 = digits.parse().map_err(|_| self.error("expected a priority"))?;
        self.rest = rest;
        match u8::try_from(number) {
            Ok(priority @ 0..=191) => {
                message.priority = Some(priority);
                Ok(None)
            }
            _ => Ok(Some("validation error at position 2: priority value out of range (expected 0..191)".to_owned())),
        }
    }
}

fn to_timestamp(time: jiff::Timestamp) -> Option<Timestamp> {
    u64::try_from(time.as_nanosecond()).ok().map(Timestamp)
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time such as `Oct 11 22:14:15` at the beginning of a text, in the year of `now`, and the rest of the text.
fn short_time<'a>(text: &'a str, zone: &TimeZone, now: Timestamp) -> Option<(Timestamp, &'a str)> {
    let (month, rest) = text.split_at_checked(3)?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let rest = rest.strip_prefix(' ')?.trim_start_matches(' ');
    let (day, rest) = rest.split_once(' ')?;
    let (time, rest) = rest.split_at_checked(8)?;
    let mut parts = time.split(':').map(|part| if part.len() == 2 { part.parse::<i8>().ok() } else { None });
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let now = jiff::Timestamp::from_nanosecond(i128::from(now.0)).ok()?.to_zoned(zone.clone());
    let at = DateTime::new(now.year(), i8::try_from(month).ok()?, day.parse().ok()?, hour, minute, second, 0).ok()?;
    let time = to_timestamp(at.to_zoned(zone.clone()).ok()?.timestamp())?;
    Some((time, rest))
}

impl<'a> Message<'a> {
    /// Reads a message of RFC 3164. A priority, a time with a year (RFC 3339), and a tag are optional.
    ///
    /// # Errors
    /// When a part is missing. The parts before it are kept.
    pub(super) fn read_3164(&mut self, text: &'a str, zone: &TimeZone, now: Timestamp) -> Result<(), String> {
        let mut input = Input { rest: text, length: text.len() };
        let invalid = if text.starts_with('<') { input.priority(self)? } else { None };
        let rest = match short_time(input.rest, zone, now) {
            Some((time, rest)) => {
                self.time = Some(time);
                rest
            }
            None => {
                let Some((word, rest)) = input.rest.split_once(' ') else { return Err(input.error("expected a time")) };
                let Some(time) = Timestamp::parse(word) else { return Err(input.error("expected a time")) };
                self.time = Some(time);
                input.rest = rest;
                rest
            }
        };
        input.rest = rest.strip_prefix(' ').unwrap_or(rest);
        self.hostname = Some(input.word("a host name")?);
        self.tag(&mut input);
        self.text = Some(input.rest);
        invalid.map_or(Ok(()), Err)
    }

    /// Reads a tag: `program: ` or `program[id]: `.
    fn tag(&mut self, input: &mut Input<'a>) {
        let Some(end) = input.rest.find([' ', ':', '[']) else { return };
        let Some((name, behind)) = input.rest.split_at_checked(end).filter(|(name, _)| !name.is_empty()) else { return };
        if let Some(rest) = behind.strip_prefix(':') {
            (self.appname, input.rest) = (Some(name), rest.trim_start());
        } else if let Some(rest) = behind.strip_prefix('[') {
            (self.appname, input.rest) = (Some(name), rest);
            if let Some((id, rest)) = rest.split_once(']') {
                self.procid = Some(id);
                input.rest = rest.strip_prefix(':').unwrap_or(rest).trim_start();
            }
        }
    }

    /// Reads a message of RFC 5424.
    ///
    /// # Errors
    /// When a part is missing or invalid. The parts before it are kept.
    pub(super) fn read_5424(&mut self, text: &'a str) -> Result<(), String> {
        let mut input = Input { rest: text, length: text.len() };
        let invalid = input.priority(self)?;
        let version = input.word("a version")?;
        let before = input.error("expected a time (RFC 3339)");
        let time = input.word("a time")?;
        self.time = Some(Timestamp::parse(time).ok_or(before)?);
        self.version = Some(version);
        self.hostname = input.optional("a host name")?;
        self.appname = input.optional("a name of an application")?;
        self.procid = input.optional("an id of a process")?;
        self.msgid = input.optional("an id of a message")?;
        if let Some(rest) = input.rest.strip_prefix('-') {
            input.rest = rest;
        } else {
            self.structured_data = Some(structured_data(&mut input)?);
        }
        self.text = input.rest.strip_prefix(' ').map(|text| text.strip_prefix('\u{feff}').unwrap_or(text));
        invalid.map_or(Ok(()), Err)
    }
}

/// Reads elements such as `[id name="value"]`.
fn structured_data(input: &mut Input<'_>) -> Result<Object, String> {
    let mut data = Object::new();
    if !input.rest.starts_with('[') {
        return Err(input.error("expected structured data or `-`"));
    }
    while let Some(rest) = input.rest.strip_prefix('[') {
        input.rest = rest;
        let end = rest.find([' ', ']']).ok_or_else(|| input.error("expected `]`"))?;
        let (id, behind) = rest.split_at_checked(end).unwrap_or_default();
        input.rest = behind;
        let mut parameters = Object::new();
        loop {
            if let Some(rest) = input.rest.strip_prefix(']') {
                input.rest = rest;
                break;
            }
            let (name, rest) = input.rest.trim_start().split_once("=\"").ok_or_else(|| input.error("expected a parameter"))?;
            let (value, rest) = quoted(rest).ok_or_else(|| input.error("expected a closing quote"))?;
            parameters.insert(name.to_owned(), value.into());
            input.rest = rest;
        }
        data.insert(id.to_owned(), Value::Object(parameters));
    }
    Ok(data)
}

/// The text before the closing quote, without escapes, and the rest after the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match characters.next()? {
                (_, escaped @ ('"' | '\\' | ']')) => value.push(escaped),
                (_, other) => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}

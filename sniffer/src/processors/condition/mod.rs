//! Conditions of processors: `equals`, `contains`, `regexp`, `range`, `has_fields`, `network`, `and`, `or`, `not`.
//!
//! A condition is true if all fields it names match; a missing field does not match. It is evaluated on an event, or at
//! start on the fields that all events of a publisher have in common; in that case the result may be unknown.

mod read;

use crate::{
    enrich::networks::Networks,
    event::tree::{Fields, Known},
};
use regex::Regex;
use serde_json::Value;
use std::net::IpAddr;

/// A condition of a processor.
#[derive(Clone, Debug)]
pub enum Condition {
    /// True if each of these fields passes its test.
    Each(Vec<(String, Test)>),
    /// True if all of these conditions are true.
    And(Vec<Condition>),
    /// True if at least one of these conditions is true.
    Or(Vec<Condition>),
    /// True if this condition is false.
    Not(Box<Condition>),
}

/// The test of one field.
#[derive(Clone, Debug)]
pub enum Test {
    /// The value equals this string, boolean or integer.
    Equals(Value),
    /// The value contains this string, or is a list with a string that contains it.
    Contains(String),
    /// The value matches this pattern (RE2 syntax), or is a list with a string that matches it.
    Matches(Regex),
    /// The value is a number within all of these bounds.
    Range(Vec<(Bound, f64)>),
    /// The field exists.
    Exists,
    /// Nothing passes the test, because the field is a time and the test is for a text.
    Never,
    /// The value is an address in one of these networks, or a list with such an address.
    Network(Networks),
}

/// The comparison of a value with a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// `gt`: the value is greater.
    Greater,
    /// `gte`: the value is greater or equal.
    GreaterOrEqual,
    /// `lt`: the value is less.
    Less,
    /// `lte`: the value is less or equal.
    LessOrEqual,
}

impl Condition {
    /// Evaluates the condition; `None` if the result depends on the event.
    pub fn holds(&self, fields: &dyn Fields) -> Option<bool> {
        let all = |answers: &mut dyn Iterator<Item = Option<bool>>, decides: bool| {
            let mut open = false;
            for answer in answers {
                match answer {
                    Some(answer) if answer == decides => return Some(decides),
                    Some(_) => {}
                    None => open = true,
                }
            }
            (!open).then_some(!decides)
        };
        match self {
            Self::Each(tests) => all(&mut tests.iter().map(|(name, test)| test.holds(&fields.field(name))), false),
            Self::And(list) => all(&mut list.iter().map(|c| c.holds(fields)), false),
            Self::Or(list) => all(&mut list.iter().map(|c| c.holds(fields)), true),
            Self::Not(inner) => inner.holds(fields).map(|answer| !answer),
        }
    }
}

impl Test {
    fn holds(&self, field: &Known<'_>) -> Option<bool> {
        match field {
            Known::Unknown => None,
            Known::Absent => Some(false),
            Known::Value(value) => Some(self.accepts(value)),
        }
    }

    fn accepts(&self, value: &Value) -> bool {
        match self {
            Self::Equals(Value::Number(wanted)) => value.as_number().is_some_and(|n| as_integer(n) == as_integer(wanted)),
            Self::Equals(wanted) => value == wanted,
            // An empty text is contained only in a list that has an empty text, as in Packetbeat.
            Self::Contains(part) if part.is_empty() => value.as_array().is_some_and(|list| list.iter().any(|item| item == "")),
            Self::Contains(part) => any_string(value, |text| text.contains(part)),
            Self::Matches(regex) => any_string(value, |text| regex.is_match(text)),
            Self::Range(bounds) => number(value).is_some_and(|n| {
                bounds.iter().all(|&(bound, limit)| match bound {
                    Bound::Greater => n > limit,
                    Bound::GreaterOrEqual => n >= limit,
                    Bound::Less => n < limit,
                    Bound::LessOrEqual => n <= limit,
                })
            }),
            Self::Exists => true,
            Self::Never => false,
            Self::Network(networks) => any_string(value, |text| text.parse::<IpAddr>().is_ok_and(|ip| networks.contains(ip))),
        }
    }
}

fn any_string(value: &Value, accept: impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => accept(text),
        Value::Array(list) => list.iter().any(|item| item.as_str().is_some_and(&accept)),
        _ => false,
    }
}

fn as_integer(number: &serde_json::Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// Converts a number, or a string with a number.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests;

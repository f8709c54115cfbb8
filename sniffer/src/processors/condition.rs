//! Conditions of processors: `equals`, `contains`, `regexp`, `range`, `has_fields`, `network`, `and`, `or`, `not`.
//!
//! All fields of one condition must match; a missing field does not. A condition is asked of an event, or at start of what is
//! known of all events of a publisher, and may then have no answer.

use crate::{
    enrich::networks::Networks,
    event::tree::{Fields, Known, flatten},
};
use regex::Regex;
use serde_json::{Map, Value};
use std::{borrow::Cow, net::IpAddr};

/// A condition.
#[derive(Clone, Debug)]
pub enum Condition {
    /// All of these fields match.
    Each(Vec<(String, Test)>),
    /// All of these.
    And(Vec<Condition>),
    /// One of these.
    Or(Vec<Condition>),
    /// Not this.
    Not(Box<Condition>),
}

/// What one field is held against.
#[derive(Clone, Debug)]
pub enum Test {
    /// The same string, boolean or integer.
    Equals(Value),
    /// A string in it, or in one of its strings.
    Contains(String),
    /// A pattern (RE2's syntax) in it, or in one of its strings.
    Matches(Regex),
    /// A number between.
    Range(Vec<(Bound, f64)>),
    /// It is there.
    There,
    /// An address in a network, or one of its addresses.
    Network(Networks),
}

/// How a number is held against another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// `gt`
    Greater,
    /// `gte`
    GreaterOrEqual,
    /// `lt`
    Less,
    /// `lte`
    LessOrEqual,
}

/// In the order in which they count when a map names several.
const KINDS: [&str; 9] = ["equals", "contains", "regexp", "range", "has_fields", "network", "or", "and", "not"];

impl Condition {
    /// Reads a condition, in which dotted keys are nested objects.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let map = value.as_object().ok_or("a condition is a map such as `equals: {status: OK}`")?;
        if let Some(unknown) = map.keys().find(|key| !KINDS.contains(&key.as_str())) {
            return Err(format!("there is no condition `{unknown}`; there are {}", KINDS.join(", ")));
        }
        let mut there = KINDS.iter().filter_map(|kind| Some((*kind, map.get(*kind).filter(|v| !v.is_null())?)));
        let (kind, value) = there.next().ok_or_else(|| format!("a condition is missing; there are {}", KINDS.join(", ")))?;
        for (other, _) in there {
            log::warn!("a condition has both `{kind}` and `{other}`: only `{kind}` counts; join them with `and`");
        }
        let each = |test: fn(&str, &Value) -> Result<Test, String>| {
            let fields = flatten(object(kind, value)?.clone()).into_iter();
            fields.map(|(name, value)| Ok((name.clone(), test(&name, &value)?))).collect::<Result<_, String>>().map(Self::Each)
        };
        match kind {
            "equals" => each(|name, value| match value {
                Value::String(_) | Value::Bool(_) => Ok(Test::Equals(value.clone())),
                Value::Number(n) if !n.is_f64() => Ok(Test::Equals(value.clone())),
                _ => Err(format!("`equals` of `{name}` needs a string, a whole number or true or false, not `{value}`")),
            }),
            "contains" => each(|name, value| Ok(Test::Contains(string(name, "contains", value)?.to_owned()))),
            "regexp" => each(|name, value| {
                let pattern = string(name, "regexp", value)?;
                Ok(Test::Matches(Regex::new(pattern).map_err(|e| format!("`regexp` of `{name}`: {e}"))?))
            }),
            "range" => Self::range(object(kind, value)?),
            "has_fields" => {
                let names = strings(value).ok_or("`has_fields` is a list of field names")?;
                Ok(Self::Each(names.into_iter().map(|name| (name, Test::There)).collect()))
            }
            "network" => each(|name, value| {
                let words = strings(value).ok_or_else(|| format!("`network` of `{name}` is a network or a list of them"))?;
                Networks::parse(&words).map(Test::Network)
            }),
            "not" => Ok(Self::Not(Box::new(Self::parse(value)?))),
            _ => {
                let list = value.as_array().filter(|list| !list.is_empty()).ok_or_else(|| format!("`{kind}` is a list of conditions"))?;
                let list = list.iter().map(Self::parse).collect::<Result<_, _>>()?;
                Ok(if kind == "and" { Self::And(list) } else { Self::Or(list) })
            }
        }
    }

    fn range(fields: &Map<String, Value>) -> Result<Self, String> {
        let mut each: Vec<(String, Test)> = Vec::new();
        for (name, value) in flatten(fields.clone()) {
            let wrong = || format!("`range` needs a bound with a number, like `{name}.gte: 400`: gt, gte, lt and lte");
            let (field, bound) = name.rsplit_once('.').ok_or_else(wrong)?;
            let bound = match bound {
                "gt" => Bound::Greater,
                "gte" => Bound::GreaterOrEqual,
                "lt" => Bound::Less,
                "lte" => Bound::LessOrEqual,
                _ => return Err(wrong()),
            };
            let limit = number(&value).ok_or_else(wrong)?;
            match each.iter_mut().find(|(name, _)| name == field) {
                Some((_, Test::Range(bounds))) => bounds.push((bound, limit)),
                _ => each.push((field.to_owned(), Test::Range(vec![(bound, limit)]))),
            }
        }
        Ok(Self::Each(each))
    }

    /// Whether it holds; `None` where that depends on the event.
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
            Self::Equals(Value::Number(wanted)) => value.as_number().is_some_and(|n| whole(n) == whole(wanted)),
            Self::Equals(wanted) => value == wanted,
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
            Self::There => true,
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

fn whole(number: &serde_json::Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// A number, or a string that is one.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn object<'a>(kind: &str, value: &'a Value) -> Result<&'a Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("`{kind}` is a map of field names"))
}

fn string<'a>(name: &str, kind: &str, value: &'a Value) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| format!("`{kind}` of `{name}` needs a string (write numbers in quotes), not `{value}`"))
}

/// A list of strings; a single one stands for a list.
fn strings(value: &Value) -> Option<Vec<String>> {
    let list = match value {
        Value::Array(list) => Cow::Borrowed(list),
        single => Cow::Owned(vec![single.clone()]),
    };
    list.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tree::{Tree, expand_dots};
    use serde_json::json;

    fn holds(condition: Value) -> bool {
        let event = json!({
            "type": "http", "tags": ["a", "forwarded"], "http": {"response": {"code": 404, "text": "12.5"}}, "ok": true, "event.action": "x",
            "client": {"ip": "10.1.2.3"}, "related": {"ip": ["8.8.8.8", "192.168.0.1"]}, "neg": -5, "message": "hello world"
        });
        let condition = Condition::parse(&expand_dots(condition)).unwrap();
        condition.holds(&Tree(event.as_object().unwrap().clone())).unwrap()
    }

    #[test]
    fn each_kind() {
        for (condition, expected) in [
            (json!({"equals": {"type": "http", "http.response.code": 404, "ok": true}}), true),
            (json!({"equals": {"type": "http", "http.response.code": 200}}), false),
            (json!({"equals": {"http.response.code": "404"}}), false),
            (json!({"equals": {"neg": -5}}), true),
            (json!({"equals": {"event.action": "x"}}), true),
            (json!({"equals": {"missing": "x"}}), false),
            (json!({"contains": {"message": "lo wo"}}), true),
            (json!({"contains": {"tags": "forw"}}), true),
            (json!({"contains.tags": "b"}), false),
            (json!({"contains": {"http.response.code": "4"}}), false),
            (json!({"regexp": {"message": "^hel+o"}}), true),
            (json!({"regexp": {"message": "^world"}}), false),
            (json!({"range": {"http.response.code.gte": 400, "http.response.code.lt": 500}}), true),
            (json!({"range": {"http.response.code": {"gt": 404}}}), false),
            (json!({"range": {"http.response.text.gt": 12}}), true),
            (json!({"range": {"message.gt": 12}}), false),
            (json!({"has_fields": ["type", "http.response"]}), true),
            (json!({"has_fields": ["type", "missing"]}), false),
            (json!({"network": {"client.ip": "private"}}), true),
            (json!({"network": {"client.ip": ["192.0.2.0/24", "10.0.0.0/8"]}}), true),
            (json!({"network": {"client.ip": "public"}}), false),
            (json!({"network": {"related.ip": "public"}}), true),
            (json!({"network": {"message": "public"}}), false),
            (json!({"or": [{"equals.type": "dns"}, {"equals.type": "http"}]}), true),
            (json!({"and": [{"equals.type": "dns"}, {"equals.type": "http"}]}), false),
            (json!({"not": {"equals.type": "dns"}}), true),
            (json!({"not": {"equals.missing": "x"}}), true),
            // Only the first kind counts.
            (json!({"equals.type": "http", "not": {"equals.type": "http"}}), true),
        ] {
            assert_eq!(holds(condition.clone()), expected, "{condition}");
        }
    }

    #[test]
    fn errors_say_what_is_allowed() {
        for (condition, message) in [
            (json!({}), "a condition is missing"),
            (json!({"equal": {}}), "there is no condition `equal`; there are equals, contains"),
            (json!({"equals": {"a": 1.5}}), "`equals` of `a` needs"),
            (json!({"regexp": {"a": "("}}), "`regexp` of `a`: regex parse error"),
            (json!({"range": {"a": 1}}), "`range` needs a bound"),
            (json!({"network": {"a": "prviate"}}), "`prviate` is no network"),
            (json!({"and": []}), "`and` is a list"),
        ] {
            let error = Condition::parse(&condition).unwrap_err();
            assert!(error.starts_with(message), "{condition}: {error}");
        }
    }

    struct Nothing;
    impl Fields for Nothing {
        fn field(&self, name: &str) -> Known<'_> {
            match name {
                "absent" => Known::Absent,
                _ => Known::Unknown,
            }
        }
    }

    #[test]
    fn some_are_decided_without_an_event() {
        for (condition, expected) in [
            (json!({"equals": {"absent": 1, "a": 1}}), Some(false)),
            (json!({"equals": {"a": 1}}), None),
            (json!({"or": [{"equals": {"a": 1}}, {"not": {"has_fields": ["absent"]}}]}), Some(true)),
            (json!({"and": [{"equals": {"a": 1}}, {"not": {"has_fields": ["absent"]}}]}), None),
            (json!({"not": {"equals": {"a": 1}}}), None),
        ] {
            assert_eq!(Condition::parse(&condition).unwrap().holds(&Nothing), expected, "{condition}");
        }
    }
}

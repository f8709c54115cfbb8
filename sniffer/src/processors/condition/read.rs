//! Reads conditions from the configuration. With [`crate::config::Node::read`], errors have the line of the test.

use super::{Bound, Condition, Test, number};
use crate::enrich::networks::Networks;
use regex::Regex;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use serde_json::{Map, Value};
use std::{fmt, slice};

/// Fields that are times. Their values are texts only in documents.
const TIMES: [&str; 3] = ["@timestamp", "event.start", "event.end"];

/// The kinds of conditions. If a map has several kinds, the first one in this order takes effect.
const KINDS: [&str; 9] = ["equals", "contains", "regexp", "range", "has_fields", "network", "or", "and", "not"];

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ConditionVisitor)
    }
}

/// Reads a map whose key is the kind of the condition.
struct ConditionVisitor;

impl<'de> Visitor<'de> for ConditionVisitor {
    type Value = Condition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a condition, a map such as `equals: {status: OK}`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Condition, A::Error> {
        // Keep the results, because an error in a kind that does not take effect is ignored.
        let mut found: Vec<(usize, Result<Condition, A::Error>)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let Some(rank) = KINDS.iter().position(|kind| *kind == key) else {
                return map.next_value_seed(Refuse(format!("there is no condition `{key}`; the conditions are {}", KINDS.join(", "))));
            };
            // A null value (`equals: ~`) counts as absent.
            found.extend(map.next_value_seed(KindValue(rank)).transpose().map(|condition| (rank, condition)));
        }
        found.sort_by_key(|(rank, _)| *rank);
        let mut found = found.into_iter();
        let (first, condition) = found
            .next()
            .ok_or_else(|| A::Error::custom(format_args!("a condition is missing; the conditions are {}", KINDS.join(", "))))?;
        let (kind, condition) = (KINDS[first], condition?);
        for (other, _) in found {
            log::warn!("a condition has both `{kind}` and `{}`: only `{kind}` is used; join them with `and`", KINDS[other]);
        }
        Ok(condition)
    }
}

/// A deserializer seed that always fails with this message, so that the error has the line of the value.
struct Refuse(String);

impl<'de> DeserializeSeed<'de> for Refuse {
    type Value = Condition;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Condition, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        Err(D::Error::custom(self.0))
    }
}

/// Reads the value of the kind with this index in [`KINDS`]; `None` if it is null.
struct KindValue(usize);

impl<'de> DeserializeSeed<'de> for KindValue {
    type Value = Option<Condition>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Condition>, D::Error> {
        match KINDS[self.0] {
            "or" => Ok(deserializer.deserialize_any(List)?.map(Condition::Or)),
            "and" => Ok(deserializer.deserialize_any(List)?.map(Condition::And)),
            "not" => Ok(Option::deserialize(deserializer)?.map(Condition::Not)),
            "has_fields" => {
                let names = Option::<Vec<String>>::deserialize(deserializer)?;
                Ok(names.map(|names| Condition::Each(names.into_iter().map(|name| (name, Test::Exists)).collect())))
            }
            kind => {
                let mut each = Vec::new();
                let present = FieldTests { kind, name: String::new(), each: &mut each }.deserialize(deserializer)?;
                Ok(present.then_some(Condition::Each(each)))
            }
        }
    }
}

/// Reads the conditions of `and` and `or`; `None` if the value is null. A single condition outside of a list is an error.
struct List;

impl<'de> Visitor<'de> for List {
    type Value = Option<Vec<Condition>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of conditions")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(condition) = items.next_element()? {
            list.push(condition);
        }
        if list.is_empty() { Err(A::Error::invalid_length(0, &self)) } else { Ok(Some(list)) }
    }
}

/// Reads fields and the values to test them against. A field name is written with dots or as nested maps. Returns false if the value is
/// null.
struct FieldTests<'a> {
    kind: &'static str,
    /// Dotted name of the enclosing maps.
    name: String,
    each: &'a mut Vec<(String, Test)>,
}

impl<'de> DeserializeSeed<'de> for FieldTests<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! leaf {
    ($($visit:ident($kind:ty);)*) => {
        $(fn $visit<E: Error>(self, value: $kind) -> Result<bool, E> { self.leaf(value.into()) })*
    };
}

impl<'de> Visitor<'de> for FieldTests<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field names with a value for each (`{}` takes a map)", self.kind)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut empty = true;
        while let Some(key) = map.next_key::<String>()? {
            let name = if self.name.is_empty() { key } else { format!("{}.{key}", self.name) };
            map.next_value_seed(FieldTests { kind: self.kind, name, each: self.each })?;
            empty = false;
        }
        if empty && !self.name.is_empty() { self.leaf(Value::Object(Map::new())) } else { Ok(true) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<bool, A::Error> {
        let list = Value::deserialize(SeqAccessDeserializer::new(items))?;
        self.leaf(list)
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        if self.name.is_empty() { Ok(false) } else { self.leaf(Value::Null) }
    }

    leaf! {
        visit_bool(bool);
        visit_u64(u64);
        visit_i64(i64);
        visit_f64(f64);
        visit_str(&str);
    }
}

impl FieldTests<'_> {
    fn leaf<E: Error>(self, value: Value) -> Result<bool, E> {
        if self.name.is_empty() {
            return Err(E::custom(format_args!("`{}` needs a map of field names and values", self.kind)));
        }
        add(self.kind, self.name, &value, self.each).map_err(E::custom)?;
        Ok(true)
    }
}

/// Adds the test of the field `name` to `each`.
fn add(kind: &str, name: String, value: &Value, each: &mut Vec<(String, Test)>) -> Result<(), String> {
    let string = || value.as_str().ok_or_else(|| format!("`{kind}` of `{name}` needs a string (write numbers in quotes), not `{value}`"));
    let test = match kind {
        // The value of the test is checked as for any other field, but the test never passes, because a time is not a text.
        "equals" | "contains" | "regexp" if value.is_string() && TIMES.contains(&name.as_str()) => {
            log::warn!("`{kind}` of `{name}` is never true: the value is a time");
            Test::Never
        }
        "equals" => match value {
            Value::String(_) | Value::Bool(_) => Test::Equals(value.clone()),
            Value::Number(n) if !n.is_f64() => Test::Equals(value.clone()),
            _ => return Err(format!("`equals` of `{name}` needs a string, an integer, true or false, not `{value}`")),
        },
        "contains" => Test::Contains(string()?.to_owned()),
        "regexp" => Test::Matches(Regex::new(string()?).map_err(|error| format!("`regexp` of `{name}`: {error}"))?),
        "range" => return add_bound(&name, value, each),
        "network" => {
            let list = value.as_array().map_or(slice::from_ref(value), Vec::as_slice);
            let words: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            Test::Network(Networks::parse(&words.ok_or_else(|| format!("`network` of `{name}` needs a network or a list of networks"))?)?)
        }
        _ => return Err(format!("`{kind}` takes no fields")),
    };
    each.push((name, test));
    Ok(())
}

/// Adds a bound (`FIELD.gte: NUMBER`) to the bounds of the field.
fn add_bound(name: &str, value: &Value, each: &mut Vec<(String, Test)>) -> Result<(), String> {
    let wrong = || format!("`range` needs a bound (gt, gte, lt or lte) with a number, such as `{name}.gte: 400`");
    let (field, bound) = name.rsplit_once('.').ok_or_else(wrong)?;
    let bound = match bound {
        "gt" => Bound::Greater,
        "gte" => Bound::GreaterOrEqual,
        "lt" => Bound::Less,
        "lte" => Bound::LessOrEqual,
        _ => return Err(wrong()),
    };
    let limit = number(value).ok_or_else(wrong)?;
    match each.iter_mut().find(|(name, _)| name == field) {
        Some((_, Test::Range(bounds))) => bounds.push((bound, limit)),
        _ => each.push((field.to_owned(), Test::Range(vec![(bound, limit)]))),
    }
    Ok(())
}

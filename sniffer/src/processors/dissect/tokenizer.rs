//! The tokenizer of `dissect`: keys and the delimiters between them.

use crate::processors::convert::Type;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A parsed tokenizer.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Tokenizer {
    /// The text before the first key.
    prefix: String,
    keys: Vec<Key>,
}

/// One key and the delimiter after it.
#[derive(Debug)]
struct Key {
    name: String,
    role: Role,
    /// Whether repetitions of the delimiter are skipped.
    greedy: bool,
    /// The length of the part in bytes, if it is fixed.
    length: Option<usize>,
    convert: Option<Type>,
    delimiter: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The part is a field.
    Field,
    /// The part is not written to the event. It can be the name of another part.
    Skip,
    /// The part is appended to earlier parts with the same key, in the order of the numbers.
    Append(usize),
    /// The part is the value of a field whose name is the part of the key with the same name.
    Value,
}

/// A key with its value: one part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) convert: Option<Type>,
}

impl TryFrom<String> for Tokenizer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (prefix, mut rest) = text.split_once("%{").ok_or("invalid dissect tokenizer: it has no key, `%{key}`")?;
        let mut keys: Vec<Key> = Vec::new();
        loop {
            let (inside, tail) = rest.split_once('}').ok_or("invalid dissect tokenizer: `%{` without `}`")?;
            let (delimiter, next) = tail.split_once("%{").map_or((tail, None), |(delimiter, next)| (delimiter, Some(next)));
            keys.push(Key::parse(inside, delimiter)?);
            match next {
                Some(next) => rest = next,
                None => break,
            }
        }
        let references: Vec<&str> = keys.iter().filter(|key| key.role == Role::Skip).map(|key| key.name.as_str()).collect();
        if let Some(key) = keys.iter().find(|key| key.role == Role::Value && !references.contains(&key.name.as_str())) {
            return Err(format!("missing reference for key '{0}': `%{{&{0}}}` needs a `%{{*{0}}}`", key.name));
        }
        Ok(Self { prefix: prefix.to_owned(), keys })
    }
}

impl Key {
    fn parse(inside: &str, delimiter: &str) -> Result<Self, String> {
        let (mut name, convert) = match inside.split_once('|') {
            Some((name, wanted)) => (name, Some(data_type(wanted)?)),
            None => (inside, None),
        };
        let (mut greedy, mut length, mut order) = (false, None, 0);
        loop {
            if let Some(before) = name.strip_suffix("->") {
                (name, greedy) = (before, true);
            } else if let Some((before, Ok(number))) = name.rsplit_once('#').map(|(before, number)| (before, number.parse())) {
                (name, length) = (before, Some(number));
            } else if let Some((before, Ok(number))) = name.rsplit_once('/').map(|(before, number)| (before, number.parse())) {
                (name, order) = (before, number);
            } else {
                break;
            }
        }
        let (name, role) = match name.chars().next() {
            None => (name, Role::Skip),
            Some('?' | '*') => (name.get(1..).unwrap_or_default(), Role::Skip),
            Some('&') => (name.get(1..).unwrap_or_default(), Role::Value),
            Some('+') => (name.get(1..).unwrap_or_default(), Role::Append(order)),
            Some(_) => (name, Role::Field),
        };
        Ok(Self { name: name.to_owned(), role, greedy, length, convert, delimiter: delimiter.to_owned() })
    }
}

fn data_type(name: &str) -> Result<Type, String> {
    let wanted = serde_json::from_value(name.into());
    wanted.map_err(|_| format!("invalid data type `{name}`: expected integer, long, float, double, string, boolean or ip"))
}

impl Tokenizer {
    /// Splits a text; `None` if the text does not match.
    pub(super) fn split(&self, text: &str) -> Option<Vec<Part>> {
        let mut rest = text.strip_prefix(self.prefix.as_str())?;
        let mut texts = Vec::with_capacity(self.keys.len());
        for (number, key) in self.keys.iter().enumerate() {
            let is_last = number + 1 == self.keys.len();
            let (part, tail) = match key.length {
                Some(length) => {
                    let part = rest.get(..rest.floor_char_boundary(length))?;
                    let tail = rest.get(rest.ceil_char_boundary(part.len() + key.delimiter.len())..).unwrap_or_default();
                    (part, tail)
                }
                None if is_last && key.delimiter.is_empty() => (rest, ""),
                None if key.delimiter.is_empty() => ("", rest),
                None => rest.split_once(key.delimiter.as_str())?,
            };
            rest = if key.greedy && !key.delimiter.is_empty() { tail.trim_start_matches(key.delimiter.as_str()) } else { tail };
            texts.push(part);
        }
        Some(self.parts(&texts))
    }

    /// The parts with their names. A name that occurs again replaces the part before it.
    fn parts(&self, texts: &[&str]) -> Vec<Part> {
        let with_text = || self.keys.iter().zip(texts);
        let named = |name: &str| with_text().find(|(key, _)| key.role == Role::Skip && key.name == name).map(|(_, text)| *text);
        let mut parts: BTreeMap<&str, (String, Option<Type>)> = BTreeMap::new();
        let mut appended: Vec<(usize, usize)> = Vec::new();
        for (number, (key, text)) in with_text().enumerate() {
            match key.role {
                Role::Skip => {}
                Role::Field => _ = parts.insert(&key.name, ((*text).to_owned(), key.convert)),
                Role::Value => _ = named(&key.name).map(|name| parts.insert(name, ((*text).to_owned(), key.convert))),
                Role::Append(order) => appended.push((order, number)),
            }
        }
        appended.sort_unstable();
        for (_, number) in appended {
            let (Some(key), Some(text)) = (self.keys.get(number), texts.get(number)) else { continue };
            let before = number.checked_sub(1).and_then(|number| self.keys.get(number)).map_or("", |key| key.delimiter.as_str());
            match parts.get_mut(key.name.as_str()) {
                Some((joined, _)) => {
                    joined.push_str(if before.is_empty() { key.delimiter.as_str() } else { before });
                    joined.push_str(text);
                }
                None => _ = parts.insert(&key.name, ((*text).to_owned(), key.convert)),
            }
        }
        parts.into_iter().map(|(name, (text, convert))| Part { name: name.to_owned(), text, convert }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(tokenizer: &str, text: &str) -> Option<Vec<(String, String)>> {
        let parts = Tokenizer::try_from(tokenizer.to_owned()).unwrap().split(text);
        parts.map(|parts| parts.into_iter().map(|part| (part.name, part.text)).collect())
    }

    #[test]
    fn texts_are_split() {
        for (tokenizer, text, expected) in [
            ("%{a}://%{b}/%{c}", "http://host/path/x", Some(vec![("a", "http"), ("b", "host"), ("c", "path/x")])),
            ("%{a}|%{b}", "x y", None),
            ("pre%{a}X%{b}", "aaXbb", None),
            ("%{a}X%{b}Y", "aaXbb", None),
            ("%{a}X%{b}Y", "aaXbbYrest", Some(vec![("a", "aa"), ("b", "bb")])),
            ("%{a->} %{b->} %{c}", "one    two  three", Some(vec![("a", "one"), ("b", "two"), ("c", "three")])),
            ("%{a} %{b}", "one    two", Some(vec![("a", "one"), ("b", "   two")])),
            ("%{a#3} %{b#2}%{c}", "one    two  three", Some(vec![("a", "one"), ("b", "  "), ("c", " two  three")])),
            ("%{+k} %{+k} %{x} %{?skip}", "a b c d", Some(vec![("k", "a b"), ("x", "c")])),
            ("%{+k/2} %{+k/1} %{} %{y}", "a b c d", Some(vec![("k", "b a"), ("y", "d")])),
            ("%{?k1}=%{&k1} %{*k2}=%{&k2}", "name=val foo=bar", Some(vec![("foo", "bar"), ("name", "val")])),
            ("%{a}%{b}", "xyz", Some(vec![("a", ""), ("b", "xyz")])),
            ("%{a#1} %{b}", "é x", Some(vec![("a", ""), ("b", " x")])),
            ("%{a#9} %{b}", "short", Some(vec![("a", "short"), ("b", "")])),
        ] {
            let expected = expected.map(|parts| parts.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect());
            assert_eq!(split(tokenizer, text), expected, "{tokenizer} {text}");
        }
    }

    #[test]
    fn wrong_tokenizers_are_refused() {
        for (tokenizer, error) in [
            ("no keys", "invalid dissect tokenizer: it has no key"),
            ("%{a", "invalid dissect tokenizer: `%{` without `}`"),
            ("%{&a} %{b}", "missing reference for key 'a'"),
            ("%{a|nosuchtype}", "invalid data type `nosuchtype`"),
        ] {
            let got = Tokenizer::try_from(tokenizer.to_owned()).map(drop).unwrap_err();
            assert!(got.starts_with(error), "{tokenizer}: {got}");
        }
    }
}

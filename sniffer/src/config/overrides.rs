//! Parses values written in one line: `-E key=value`, and the value of a variable where a setting expects a list or a map. The grammar is
//! that of go-ucfg's flags: words, `'…'`, `"…"`, `[a, b]`, `{a: b}`, and commas for a list without brackets.

use super::{
    error::{Error, Place},
    tree::{self, MAX_DEPTH, Raw, Style, Value},
};
use std::sync::Arc;

/// Parses `key=value`; a key without a value is `true`.
///
/// # Errors
/// When the key or the value is malformed.
pub(super) fn setting(text: &str) -> Result<Raw, Error> {
    let place = Place { file: Some(Arc::from("-E")), line: 0 };
    let (key, value) = text.split_once('=').unwrap_or((text, "true"));
    let key = key.trim();
    if key.is_empty() || key.split('.').any(str::is_empty) {
        // The value may be a password: show the key only.
        return Err(place.error(format_args!("`{key}`: expected `key=value`, with a dotted key")));
    }
    let value = value.trim();
    let value = if value.starts_with(['[', '{', '"', '\'']) {
        let mut input = Input { rest: value, place: &place, depth: 0, maps: true, values: 0 };
        let first = input.value(",").map_err(|m| place.error(format_args!("{key}: {m}")))?;
        if !input.rest.trim().is_empty() {
            return Err(place.error(format_args!("{key}: there is more text after the end of the value")));
        }
        first
    } else if matches!(value, "" | "null" | "~") {
        Raw::new(Value::Null, &place)
    } else {
        // Do not split at commas here: only the module that reads the setting knows whether it is a list or a password.
        Raw::new(Value::Scalar(value.to_owned(), Style::Given), &place)
    };
    tree::nest(Raw::new(Value::Map(vec![(key.to_owned(), value)]), &place), &mut Vec::new())
}

/// Maximum number of values in one text. A longer list belongs in a file.
const MAX_VALUES: usize = 10_000;

/// Parses a text as a list or a map: `a,b`, `[a, b]` or, if `maps` is set, `{a: b}`. Returns `None` when the text is a single value or
/// malformed.
pub(super) fn structure(text: &str, maps: bool, place: &Place) -> Option<Raw> {
    let mut input = Input { rest: text.trim(), place, depth: 0, maps, values: 0 };
    let mut items = Vec::new();
    loop {
        items.push(input.value(",").ok()?);
        input.rest = input.rest.trim_start();
        match input.rest.strip_prefix(',') {
            // A comma at the end does not add an item.
            Some(rest) if rest.trim().is_empty() => {
                let is_list = items.iter().all(|item| item.value != Value::Null);
                return is_list.then(|| Raw::new(Value::List(items), place));
            }
            Some(rest) => input.rest = rest,
            None if input.rest.is_empty() => break,
            None => return None,
        }
    }
    if items.len() > 1 {
        return Some(Raw::new(Value::List(items), place));
    }
    items.pop().filter(|only| matches!(only.value, Value::List(_) | Value::Map(_)))
}

/// The content of a text that is one quoted text from its first to its last character.
pub(super) fn whole_quoted(text: &str) -> Option<String> {
    let place = Place::default();
    let mut input = Input { rest: text.trim(), place: &place, depth: 0, maps: false, values: 0 };
    let quote = input.rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = input.quoted(quote).ok()?;
    input.rest.is_empty().then_some(inner)
}

struct Input<'a> {
    rest: &'a str,
    place: &'a Place,
    depth: usize,
    /// Whether `{…}` is parsed as a map.
    maps: bool,
    /// How many values were read.
    values: usize,
}

impl<'a> Input<'a> {
    fn value(&mut self, stop: &str) -> Result<Raw, String> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
        self.rest = self.rest.trim_start();
        let value = match self.rest.chars().next() {
            None => Value::Null,
            Some('[') => self.nested(Self::list)?,
            Some('{') if self.maps => self.nested(Self::map)?,
            Some(quote @ ('"' | '\'')) => Value::Scalar(self.quoted(quote)?, Style::Quoted),
            Some(_) => match self.word(stop)? {
                "null" => Value::Null,
                // Only YAML has more words for the booleans than `true` and `false`.
                word if word.len() <= 3 && word.bytes().all(|b| b.is_ascii_alphabetic()) => Value::Scalar(word.to_owned(), Style::Quoted),
                word => Value::Scalar(word.to_owned(), Style::Plain),
            },
        };
        Ok(Raw::new(value, self.place))
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, String>) -> Result<Value, String> {
        if self.depth >= MAX_DEPTH {
            return Err(format!("nested more than {MAX_DEPTH} levels deep"));
        }
        self.depth += 1;
        self.rest = self.rest.get(1..).unwrap_or_default();
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn list(&mut self) -> Result<Value, String> {
        let mut items = Vec::new();
        while !self.take(']') {
            items.push(self.value(",]")?);
            if !self.take(',') && !self.rest.starts_with(']') {
                return Err("expected `,` or `]` in the list".into());
            }
        }
        Ok(Value::List(items))
    }

    fn map(&mut self) -> Result<Value, String> {
        let mut entries = Vec::new();
        while !self.take('}') {
            let key = match self.rest.chars().next() {
                Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
                _ => self.word(":,}")?.to_owned(),
            };
            if !self.take(':') {
                return Err("expected `:` after a key of the map; a text with braces goes into quotes".into());
            }
            entries.push((key, self.value(",}")?));
            if !self.take(',') && !self.rest.starts_with('}') {
                return Err("expected `,` or `}` in the map".into());
            }
        }
        Ok(Value::Map(entries))
    }

    fn take(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn word(&mut self, stop: &str) -> Result<&'a str, String> {
        let rest = self.rest;
        // Quotes and commas inside `${…}` belong to the variable.
        let mut braces = 0_usize;
        let mut before = ' ';
        let end = rest
            .find(|c: char| {
                match c {
                    '{' if before == '$' => braces += 1,
                    '}' if braces > 0 => {
                        braces -= 1;
                        before = c;
                        return false;
                    }
                    _ => {}
                }
                before = c;
                braces == 0 && stop.contains(c)
            })
            .unwrap_or(rest.len());
        let (word, rest) = rest.split_at_checked(end).ok_or("malformed")?;
        if word.trim().is_empty() {
            return Err("expected a value".into());
        }
        self.rest = rest;
        Ok(word.trim())
    }

    /// Parses a quoted text. Inside `'…'` every character is literal; inside `"…"` there are escape sequences.
    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.rest = self.rest.get(at + 1..).unwrap_or_default();
                return Ok(text);
            }
            if c == '\\' && quote == '"' {
                match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(c @ ('"' | '\\' | '/')) => text.push(c),
                    Some(c) => return Err(format!("unknown escape `\\{c}` in a text in double quotes")),
                    None => break,
                }
            } else {
                text.push(c);
            }
        }
        Err(format!("a {quote} is missing at the end"))
    }
}

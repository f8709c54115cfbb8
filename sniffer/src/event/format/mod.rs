//! Format strings of the configuration: `%{[field.name]}`, `%{[field]:default}`, `%{+yyyy.MM.dd}` (the event's time in UTC).

mod date;
mod parse;

use super::tree::Tree;
use crate::time::Timestamp;
use date::Pattern;
use serde_json::Value;
use std::fmt::Write;

/// A parsed format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(String, Option<String>),
    Date(Pattern),
}

impl Format {
    /// Parses a format string.
    ///
    /// # Errors
    /// When a `%{` is not closed, or contains neither a field nor a date.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse::parse(text).map(Self).map_err(|what| format!("format string '{text}': {what}"))
    }

    /// Replaces the fields in `known` (usually those of the agent), whose values are the same for every event.
    #[must_use]
    pub fn fold(self, known: &[(&str, &str)]) -> Self {
        let mut folded: Vec<Piece> = Vec::with_capacity(self.0.len());
        for mut piece in self.0 {
            if let Piece::Field(name, _) = &piece
                && let Some((_, value)) = known.iter().find(|(key, _)| key == name)
            {
                piece = Piece::Text((*value).into());
            }
            match (folded.last_mut(), piece) {
                (Some(Piece::Text(last)), Piece::Text(text)) => last.push_str(&text),
                (_, piece) => folded.push(piece),
            }
        }
        Self(folded)
    }

    /// The formatted text, if it is the same for every event.
    pub fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether formatting needs the fields of the event, not only its time.
    pub fn needs_event(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Field(..)))
    }

    /// The text for one event, for names such as those of indices. `None` when a field without a default is missing, null, a list or a map.
    pub fn text(&self, time: Timestamp, event: &Value) -> Option<String> {
        self.formatted(time, |name| lookup(event, name), |_| None)
    }

    /// Returns the text for one event that is a tree. Otherwise it is like [`Format::text`].
    pub fn text_of(&self, event: &Tree) -> Option<String> {
        self.formatted(event.time, |name| event.get(name), |_| None)
    }

    /// The names of fields without a default that the event does not have, or whose value cannot be part of a name.
    pub fn missing<'a>(&'a self, event: &'a Value) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Field(name, None) => match lookup(event, name) {
                Some(Value::String(_) | Value::Bool(_) | Value::Number(_)) => None,
                _ => Some(name.as_str()),
            },
            _ => None,
        })
    }

    /// The text for one event, for documents. As in Packetbeat, a field that is a map and has no default becomes the text that `map`
    /// returns.
    pub fn line(&self, time: Timestamp, event: &Value, map: fn(&Value) -> Option<String>) -> Option<String> {
        self.formatted(time, |name| lookup(event, name), map)
    }

    fn formatted<'a>(
        &self,
        time: Timestamp,
        field: impl Fn(&str) -> Option<&'a Value>,
        map: fn(&Value) -> Option<String>,
    ) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(known) => text.push_str(known),
                Piece::Date(pattern) => pattern.write(&mut text, time),
                Piece::Field(name, default) => match (field(name), default) {
                    (Some(Value::String(value)), _) => text.push_str(value),
                    (Some(value @ (Value::Bool(_) | Value::Number(_))), _) => write!(text, "{value}").ok()?,
                    (_, Some(default)) => text.push_str(default),
                    (Some(value @ Value::Object(_)), None) => text.push_str(&map(value)?),
                    _ => return None,
                },
            }
        }
        Some(text)
    }
}

/// Looks up a field by its dotted name. Keys that contain dots are also found.
pub fn lookup<'a>(event: &'a Value, name: &str) -> Option<&'a Value> {
    if let Some(found) = event.get(name) {
        return Some(found);
    }
    name.match_indices('.').find_map(|(at, _)| lookup(event.get(&name[..at])?, &name[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_defaults_and_dates() {
        let event = json!({"a": {"b": "x", "n": 5}, "user.name": "eve", "deep": {"c.d": true}, "list": ["x"], "empty": [], "none": null});
        let time = Timestamp(951_827_696_123_456_789);
        for (format, expected) in [
            ("plain", Some("plain")),
            ("packetbeat-%{[a.b]}-%{+yyyy.MM.dd}", Some("packetbeat-x-2000.02.29")),
            ("%{[a.n]}%{[user.name]}%{[deep.c.d]}", Some("5evetrue")),
            ("%{[no]:none}%{[no]:}", Some("none")),
            ("%{[no]}", None),
            ("%{[list]:d} %{[a]:e} %{[empty]:f} %{[none]:g}", Some("d e f g")),
            ("%{[list]}", None),
            ("%{[a]}", None),
            ("%{[none]}", None),
            ("%{+yy.D HH\\:mm\\:ss.SSS 'W'ww xxxx}", Some("00.60 12:34:56.123 W09 2000")),
            ("%{+yyyy:MM} %{+} %{+:}", Some("2000  ")),
            (r"a\%b \\ %{[a.b]:x\}y} % %% %a }:", Some(r"a%b \ x % %% %a }:")),
            (r"\%{a} \n\", Some("%{a} n")),
            (r"%{[no]:\\\}\:\?} %{[no]:{%x} %{[no]:-}", Some(r"\}:? {%x -")),
            (r"%{[a][b]}%{[a.b] }%{[a\.b] :d}%{[no][b]:d}%{[.]:e}", Some("xxxde")),
        ] {
            assert_eq!(Format::parse(format).unwrap().text(time, &event).as_deref(), expected, "{format}");
        }
        let line = |format: &str| {
            let event = json!({"m": {"a": 1}, "l": [1]});
            Format::parse(format).unwrap().line(time, &event, |map| Some(map.to_string()))
        };
        assert_eq!(line("x%{[m]}").as_deref(), Some(r#"x{"a":1}"#));
        assert_eq!((line("%{[m]:d}").as_deref(), line("%{[l]:d}").as_deref(), line("%{[l]}")), (Some("d"), Some("d"), None));
    }

    #[test]
    fn wrong_format_strings() {
        for (format, expected) in [
            ("%{[a", "without '}'"),
            ("%{[a]:x\\", "without '}'"),
            ("%{a}", "a field in brackets"),
            ("%{ [a]}", "a field in brackets"),
            ("%{}", "a field in brackets"),
            ("%{:x}", "a field in brackets"),
            ("%{[a}", "']' is missing"),
            ("%{[a]b}", "only further fields"),
            ("%{[a]\\:b}", "only further fields"),
            ("%{[a]]}", "only further fields"),
            ("%{[]}", "no name"),
            ("%{[a][]:d}", "no name"),
            ("%{[a]:%{[b]}}", "cannot contain another"),
            ("%{[a]:x:y}", "more than one default"),
            ("%{[a]::}", "more than one default"),
            ("%{[a]:?x}", "':?' is not supported"),
            ("%{+yyyy.G}", "the letter 'G'"),
        ] {
            let error = Format::parse(format).unwrap_err();
            assert!(error.contains(expected), "{format}: {error}");
        }
    }

    #[test]
    fn fold_replaces_constant_fields() {
        let format = Format::parse("packetbeat-%{[agent.version]}").unwrap();
        assert!(format.needs_event());
        assert_eq!(format.fold(&[("agent.version", "9.6.0")]).constant(), Some("packetbeat-9.6.0"));
    }
}

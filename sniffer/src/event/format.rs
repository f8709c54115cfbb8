//! Format strings of the configuration: `%{[field.name]}`, `%{[field]:default}`, `%{+yyyy.MM.dd}` (the event's time in UTC).

use super::tree::Tree;
use crate::time::Timestamp;
use serde_json::Value;
use std::fmt::Write;

/// A parsed format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(String, Option<String>),
    Date(String),
}

impl Format {
    /// Parses a format string.
    ///
    /// # Errors
    /// When a `%{` is not closed, or contains neither a field nor a date.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("format string '{text}': {what}");
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("%{") {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            let (inside, tail) = after.split_once('}').ok_or_else(|| wrong("'%{' without '}'"))?;
            pieces.push(if let Some(pattern) = inside.strip_prefix('+') {
                Piece::Date(pattern.into())
            } else {
                let (field, default) = inside
                    .strip_prefix('[')
                    .and_then(|field| field.split_once(']'))
                    .ok_or_else(|| wrong("'%{…}' holds a field in brackets, %{[field]}, or a date, %{+yyyy.MM.dd}"))?;
                Piece::Field(field.into(), default.strip_prefix(':').map(Into::into))
            });
            rest = tail;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self(pieces))
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

    /// The text for one event that is a tree; otherwise as [`Format::text`].
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
                Piece::Date(pattern) => date(&mut text, pattern, time),
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

/// Maximum number of digits of one number of a date. If a pattern has more equal letters in a row, the number of digits stays the same.
const MAX_WIDTH: usize = 64;

/// Appends the time by a Joda pattern. Supported are the letters used in index names (`y M d H m s S w x D`) and text in single quotes; all
/// other characters are copied.
fn date(text: &mut String, pattern: &str, time: Timestamp) {
    let nanos = i128::from(time.0);
    let Ok(at) = jiff::Timestamp::from_nanosecond(nanos) else { return };
    let at = at.to_zoned(jiff::tz::TimeZone::UTC);
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        if letter == '\'' {
            let inside = &rest[1..];
            let (quoted, tail) = inside.split_once('\'').unwrap_or((inside, ""));
            text.push_str(if quoted.is_empty() { "'" } else { quoted });
            rest = tail;
            continue;
        }
        let tail = rest.trim_start_matches(letter);
        // The limit is needed because the standard library panics on a width beyond 65,535.
        let width = ((rest.len() - tail.len()) / letter.len_utf8()).min(MAX_WIDTH);
        let week = at.date().iso_week_date();
        let number = match letter {
            'y' | 'Y' if width == 2 => i64::from(at.year()) % 100,
            'y' | 'Y' => i64::from(at.year()),
            'x' if width == 2 => i64::from(week.year()) % 100,
            'x' => i64::from(week.year()),
            'w' => i64::from(week.week()),
            'M' => i64::from(at.month()),
            'd' => i64::from(at.day()),
            'D' => i64::from(at.day_of_year()),
            'H' => i64::from(at.hour()),
            'm' => i64::from(at.minute()),
            's' => i64::from(at.second()),
            'S' => i64::from(at.millisecond()),
            _ => {
                text.push_str(&rest[..rest.len() - tail.len()]);
                rest = tail;
                continue;
            }
        };
        let _ = write!(text, "{number:0width$}");
        rest = tail;
    }
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
            ("%{+yy.D HH:mm:ss.SSS 'W'ww xxxx}", Some("00.60 12:34:56.123 W09 2000")),
        ] {
            assert_eq!(Format::parse(format).unwrap().text(time, &event).as_deref(), expected, "{format}");
        }
        let line = |format: &str| {
            let event = json!({"m": {"a": 1}, "l": [1]});
            Format::parse(format).unwrap().line(time, &event, |map| Some(map.to_string()))
        };
        assert_eq!(line("x%{[m]}").as_deref(), Some(r#"x{"a":1}"#));
        assert_eq!((line("%{[m]:d}").as_deref(), line("%{[l]:d}").as_deref(), line("%{[l]}")), (Some("d"), Some("d"), None));
        let long = Format::parse(&format!("%{{+{}}}", "y".repeat(70_000))).unwrap().text(time, &event).unwrap();
        assert_eq!((long.len(), long.trim_start_matches('0')), (MAX_WIDTH, "2000"));
        assert!(Format::parse("%{[a").is_err());
        assert!(Format::parse("%{a}").is_err());
    }

    #[test]
    fn fold_replaces_constant_fields() {
        let format = Format::parse("packetbeat-%{[agent.version]}").unwrap();
        assert!(format.needs_event());
        assert_eq!(format.fold(&[("agent.version", "9.6.0")]).constant(), Some("packetbeat-9.6.0"));
    }
}

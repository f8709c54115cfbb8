//! Splits a format string into its pieces.

use super::{Piece, date::Pattern};

/// The text between `%{` and `}`, divided into the expression and the texts that follow each `:`.
#[derive(Default)]
struct Inside {
    expression: String,
    modifiers: Vec<String>,
}

/// Parses a format string. A backslash takes the meaning from the next character, inside and outside of `%{…}`.
///
/// # Errors
/// When a `%{` is not closed, or contains neither a field nor a date.
pub(super) fn parse(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '\\' => plain.extend(rest.next()),
            '%' if rest.next_if_eq(&'{').is_some() => {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(piece(inside(&mut rest)?)?);
            }
            letter => plain.push(letter),
        }
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

/// Reads up to the `}` that closes the piece.
fn inside(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Inside, String> {
    let mut inside = Inside::default();
    while let Some(letter) = rest.next() {
        let letter = match letter {
            '}' => return Ok(inside),
            ':' => {
                inside.modifiers.push(String::new());
                continue;
            }
            '%' if rest.peek() == Some(&'{') => return Err("'%{…}' cannot contain another '%{…}'".into()),
            '\\' => match rest.next() {
                // A leading `?` or `=` is an operator unless it has a backslash.
                Some(escaped @ ('?' | '=')) => {
                    inside.modifiers.last_mut().unwrap_or(&mut inside.expression).push(escaped);
                    continue;
                }
                Some(escaped) => escaped,
                None => break,
            },
            '?' | '=' if inside.modifiers.last().is_some_and(String::is_empty) => {
                return Err(format!(
                    "':{letter}' is not supported; ':' is followed by the default, and '\\{letter}' is a default with '{letter}'"
                ));
            }
            letter => letter,
        };
        inside.modifiers.last_mut().unwrap_or(&mut inside.expression).push(letter);
    }
    Err("'%{' without '}'".into())
}

fn piece(Inside { expression, modifiers }: Inside) -> Result<Piece, String> {
    if let Some(pattern) = expression.strip_prefix('+') {
        // As in Packetbeat, a date ends at the first colon that has no backslash.
        return Pattern::parse(pattern).map(Piece::Date);
    }
    if !expression.starts_with('[') {
        return Err("'%{…}' contains a field in brackets, %{[field]}, or a date, %{+yyyy.MM.dd}".into());
    }
    if modifiers.len() > 1 {
        return Err("a field has more than one default; write '\\:' for a colon in the default".into());
    }
    let (mut path, mut rest) = (String::new(), expression.trim_end());
    while !rest.is_empty() {
        let (name, tail) = rest
            .strip_prefix('[')
            .ok_or("only further fields in brackets can follow a field in brackets")?
            .split_once(']')
            .ok_or("']' is missing")?;
        if name.is_empty() {
            return Err("the field in '[]' has no name".into());
        }
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        rest = tail;
    }
    Ok(Piece::Field(path, modifiers.into_iter().next()))
}

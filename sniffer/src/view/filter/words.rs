//! Divides the text of a filter into words.

use super::Comparison;
use std::{
    fmt,
    iter::{Enumerate, Peekable},
    str::Chars,
};

/// The operators. If an operator begins with another one, the longer one comes first.
pub(super) const OPERATORS: &[(&str, Comparison)] = &[
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    ("!=", Comparison::Different),
    (">", Comparison::Greater),
    ("<", Comparison::Less),
    ("=", Comparison::Equal),
    // `:` is the operator of KQL, the query language of Kibana.
    (":", Comparison::Equal),
];

/// A word that is not valid in a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The position of the word: the number of its first character in the filter, from 1.
    pub column: usize,
    /// The word.
    pub word: String,
    /// What is wrong with it, and what to write.
    pub message: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}: {}", self.column, self.word, self.message)
    }
}

/// A word, and its position as in [`Wrong::column`].
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) column: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Open,
    Close,
    /// A word without quotes: a name, or a value.
    Plain(String),
    Quoted(String),
    Pattern(String),
    Operator(usize),
}

impl Word {
    pub(super) fn wrong(&self, message: impl Into<String>) -> Wrong {
        let word = match &self.kind {
            Kind::Open => "(".to_owned(),
            Kind::Close => ")".to_owned(),
            Kind::Plain(text) => text.clone(),
            Kind::Quoted(text) => format!("\"{text}\""),
            Kind::Pattern(text) => format!("~{text}"),
            Kind::Operator(index) => OPERATORS.get(*index).map_or_else(String::new, |(operator, _)| (*operator).to_owned()),
        };
        Wrong { column: self.column, word, message: message.into() }
    }

    pub(super) fn is(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Plain(text) if text.eq_ignore_ascii_case(word))
    }
}

/// Divides the text into words.
pub(super) fn words(text: &str) -> Result<Vec<Word>, Wrong> {
    let mut words = Vec::new();
    let mut rest = text.chars().enumerate().peekable();
    while let Some((index, first)) = rest.next() {
        let column = index + 1;
        let kind = match first {
            _ if first.is_whitespace() => continue,
            '(' => Kind::Open,
            ')' => Kind::Close,
            '"' | '\'' => Kind::Quoted(quoted(first, column, &mut rest)?),
            '~' => match rest.next_if(|&(_, c)| matches!(c, '"' | '\'')) {
                Some((_, quote)) => Kind::Pattern(quoted(quote, column, &mut rest)?),
                None => Kind::Pattern(pattern(&mut rest)),
            },
            _ if begins_value(words.last(), first) || begins_ipv6(words.last(), first, &mut rest) => {
                Kind::Plain(plain(first.to_string(), &mut rest, |_| false))
            }
            _ => match operator(first, &mut rest) {
                Some(index) => Kind::Operator(index),
                None if names_address(words.last()) => Kind::Plain(plain(first.to_string(), &mut rest, |_| false)),
                None => Kind::Plain(plain(first.to_string(), &mut rest, |c| matches!(c, '=' | '<' | '>' | '!' | ':'))),
            },
        };
        words.push(Word { column, kind });
    }
    Ok(words)
}

/// Whether `first` begins the value behind an operator. A value may contain colons and the characters of operators, and may begin with a
/// colon: `host=::1`.
fn begins_value(last: Option<&Word>, first: char) -> bool {
    !matches!(first, '=' | '<' | '>' | '!') && last.is_some_and(|word| matches!(word.kind, Kind::Operator(_)))
}

/// Whether the colon `first` begins an address (`host ::1`) and is no operator (`host:10.1.2.3`).
fn begins_ipv6(last: Option<&Word>, first: char, rest: &mut Characters<'_>) -> bool {
    names_address(last) && first == ':' && rest.peek().is_some_and(|&(_, second)| second == ':')
}

/// Whether an address or a network can follow this word without an operator.
fn names_address(word: Option<&Word>) -> bool {
    word.is_some_and(|word| ["host", "net", "client", "server"].iter().any(|name| word.is(name)))
}

type Characters<'a> = Peekable<Enumerate<Chars<'a>>>;

/// The index of the operator that begins with `first`. The function consumes its second character.
fn operator(first: char, rest: &mut Characters<'_>) -> Option<usize> {
    let second = rest.peek().map(|&(_, character)| character);
    let found = OPERATORS.iter().position(|(operator, _)| {
        let mut characters = operator.chars();
        characters.next() == Some(first) && characters.next().is_none_or(|wanted| Some(wanted) == second)
    })?;
    if OPERATORS.get(found).is_some_and(|(operator, _)| operator.len() == 2) {
        rest.next();
    }
    Some(found)
}

/// The text up to the closing quote.
fn quoted(quote: char, column: usize, rest: &mut Characters<'_>) -> Result<String, Wrong> {
    let mut inside = String::new();
    loop {
        match rest.next() {
            Some((_, last)) if last == quote => return Ok(inside),
            Some((_, character)) => inside.push(character),
            None => return Err(Wrong { column, word: format!("{quote}{inside}"), message: "the closing quote is missing".into() }),
        }
    }
}

/// A regular expression: up to white space, or to a closing bracket that has no opening bracket in the expression.
fn pattern(rest: &mut Characters<'_>) -> String {
    let (mut text, mut depth) = (String::new(), 0usize);
    while let Some((_, character)) = rest.next_if(|&(_, c)| !c.is_whitespace() && (c != ')' || depth > 0)) {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        text.push(character);
    }
    text
}

/// The rest of a word: up to white space, a bracket or a character that ends it.
fn plain(mut word: String, rest: &mut Characters<'_>, ends: impl Fn(char) -> bool) -> String {
    while let Some((_, character)) = rest.next_if(|&(_, c)| !c.is_whitespace() && !matches!(c, '(' | ')') && !ends(c)) {
        word.push(character);
    }
    word
}

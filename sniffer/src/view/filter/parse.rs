//! Reads the text of a filter.

use super::{
    Amount, Comparison, End, Expression, Name, Pattern, Test, Text,
    values::{address, bytes, duration, glob, ports, regex},
    words::{Kind, OPERATORS, Word, Wrong, words},
};
use crate::nearest::nearest;

/// Maximum depth of brackets and `not`.
const MAX_DEPTH: usize = 32;
/// Maximum number of bytes of a filter.
const MAX_LENGTH: usize = 4096;

/// The words that take a value, and what each is about.
const FIELDS: &[(&str, Field)] = &[
    ("client", Field::Address(End::Client)),
    ("client.ip", Field::Address(End::Client)),
    ("client.port", Field::Port(End::Client)),
    ("server", Field::Address(End::Server)),
    ("server.ip", Field::Address(End::Server)),
    ("server.port", Field::Port(End::Server)),
    ("source.ip", Field::Address(End::Source)),
    ("source.port", Field::Port(End::Source)),
    ("destination.ip", Field::Address(End::Destination)),
    ("destination.port", Field::Port(End::Destination)),
    ("host", Field::Address(End::Either)),
    ("net", Field::Address(End::Either)),
    ("port", Field::Port(End::Either)),
    ("type", Field::Protocol),
    ("status", Field::Text(Text::Status)),
    ("code", Field::Code),
    ("rcode", Field::Text(Text::Result)),
    ("method", Field::Text(Text::Method)),
    ("path", Field::Text(Text::Resource)),
    ("resource", Field::Text(Text::Resource)),
    ("query", Field::Text(Text::Query)),
    ("error.message", Field::Text(Text::Note)),
    ("proc", Field::Process(Name::Process)),
    ("process.name", Field::Process(Name::Process)),
    ("pid", Field::Pid),
    ("process.pid", Field::Pid),
    ("user", Field::Process(Name::User)),
    ("container", Field::Process(Name::Container)),
    ("container.id", Field::Process(Name::Container)),
    ("service", Field::Process(Name::Service)),
    ("service.name", Field::Process(Name::Service)),
    ("slow", Field::Duration),
    ("event.duration", Field::Duration),
    ("bytes", Field::Bytes(Amount::Both)),
    ("network.bytes", Field::Bytes(Amount::Both)),
    ("source.bytes", Field::Bytes(Amount::Source)),
    ("destination.bytes", Field::Bytes(Amount::Destination)),
];

/// What a word with a value is about.
#[derive(Clone, Copy, Debug)]
enum Field {
    Protocol,
    Address(End),
    Port(End),
    Text(Text),
    Code,
    Duration,
    Bytes(Amount),
    Process(Name),
    Pid,
}

pub(super) fn parse(text: &str, protocols: &[&str]) -> Result<Option<Expression>, Wrong> {
    if text.len() > MAX_LENGTH {
        let message = format!("a filter has at most {MAX_LENGTH} bytes");
        return Err(Wrong { column: MAX_LENGTH + 1, word: "…".to_owned(), message });
    }
    let words = words(text)?;
    let mut input = Input { rest: &words, protocols, depth: 0, end: text.chars().count() + 1 };
    if input.rest.is_empty() {
        return Ok(None);
    }
    let expression = input.any()?;
    match input.rest.first() {
        Some(word) => Err(word.wrong("there is no opening bracket")),
        None => Ok(Some(expression)),
    }
}

struct Input<'a> {
    rest: &'a [Word],
    protocols: &'a [&'a str],
    depth: usize,
    /// The position behind the last character.
    end: usize,
}

impl<'a> Input<'a> {
    fn next(&mut self) -> Option<&'a Word> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.rest.first().is_some_and(|first| first.is(word));
        if found {
            self.next();
        }
        found
    }

    fn ended(&self) -> Wrong {
        Wrong { column: self.end, word: "end".to_owned(), message: "the filter ends where a word is expected".to_owned() }
    }

    /// Alternatives with `or`.
    fn any(&mut self) -> Result<Expression, Wrong> {
        let mut parts = vec![self.all()?];
        while self.take("or") {
            parts.push(self.all()?);
        }
        Ok(one_of(parts))
    }

    /// Parts with `and`.
    fn all(&mut self) -> Result<Expression, Wrong> {
        let mut parts = vec![self.group()?];
        while self.take("and") {
            parts.push(self.group()?);
        }
        Ok(every(parts))
    }

    /// Words without `and` and `or` between them: those of one kind are alternatives. Words with `not` and brackets must all hold.
    fn group(&mut self) -> Result<Expression, Wrong> {
        let mut kinds: Vec<(u8, Vec<Expression>)> = Vec::new();
        let mut parts = Vec::new();
        loop {
            match self.word()? {
                Expression::Is(test) => {
                    let kind = kind(&test);
                    match kinds.iter_mut().find(|(known, _)| *known == kind) {
                        Some((_, alternatives)) if is_alternative(&test) => alternatives.push(Expression::Is(test)),
                        None if is_alternative(&test) => kinds.push((kind, vec![Expression::Is(test)])),
                        _ => parts.push(Expression::Is(test)),
                    }
                }
                other => parts.push(other),
            }
            match self.rest.first() {
                None | Some(Word { kind: Kind::Close, .. }) => break,
                Some(word) if word.is("or") || word.is("and") => break,
                Some(_) => {}
            }
        }
        parts.extend(kinds.into_iter().map(|(_, alternatives)| one_of(alternatives)));
        Ok(every(parts))
    }

    fn word(&mut self) -> Result<Expression, Wrong> {
        let word = self.next().ok_or_else(|| self.ended())?;
        if self.depth == MAX_DEPTH {
            return Err(word.wrong(format!("a filter has at most {MAX_DEPTH} brackets and `not` inside one another")));
        }
        match &word.kind {
            Kind::Open => {
                self.depth += 1;
                let inner = self.any()?;
                self.depth -= 1;
                match self.next() {
                    Some(Word { kind: Kind::Close, .. }) => Ok(inner),
                    _ => Err(word.wrong("the closing bracket is missing")),
                }
            }
            Kind::Close => Err(word.wrong("there is no opening bracket")),
            Kind::Operator(_) => Err(word.wrong("a name is missing in front of it, as in `status=error`")),
            Kind::Quoted(text) => Ok(Expression::Is(Test::Contains(regex(word, &regex::escape(text))?))),
            Kind::Pattern(text) => Ok(Expression::Is(Test::Contains(regex(word, text)?))),
            Kind::Plain(text) if text.eq_ignore_ascii_case("not") => {
                self.depth += 1;
                let inner = self.word()?;
                self.depth -= 1;
                Ok(Expression::Not(Box::new(inner)))
            }
            Kind::Plain(text) => self.named(word, text),
        }
    }

    /// A word that begins with a name: a protocol, or a field with its value.
    fn named(&mut self, word: &Word, text: &str) -> Result<Expression, Wrong> {
        let name = text.to_ascii_lowercase();
        let field = FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field);
        let Some(field) = field else {
            return match self.rest.first() {
                Some(Word { kind: Kind::Operator(_), .. }) => Err(word.wrong(unknown_field(&name))),
                _ if name == "flow" || self.protocols.contains(&name.as_str()) => Ok(Expression::Is(Test::Protocol(name))),
                _ => Err(word.wrong(unknown(&name, self.protocols))),
            };
        };
        let comparison = match self.rest.first().map(|next| &next.kind) {
            Some(Kind::Operator(index)) => {
                self.next();
                OPERATORS.get(*index).map_or(Comparison::Equal, |(_, comparison)| *comparison)
            }
            // `port 80`, `host 10.0.0.1`, `net 10.0.0.0/8`
            _ if matches!(field, Field::Address(_) | Field::Port(_)) => Comparison::Equal,
            _ => return Err(word.wrong(format!("a value is missing, as in `{}`", example(field)))),
        };
        let value = self.next().ok_or_else(|| self.ended())?;
        let (Kind::Plain(text) | Kind::Quoted(text)) = &value.kind else {
            return Err(value.wrong(format!("expected a value, as in `{}`", example(field))));
        };
        let expected = || value.wrong(format!("expected a value as in `{}`", example(field)));
        let test = match field {
            Field::Protocol => Test::Protocol(text.to_ascii_lowercase()),
            Field::Text(of) => Test::Text(of, comparison, Pattern(glob(value, text)?)),
            Field::Address(end) => return negated(comparison, address(text, end).ok_or_else(expected)?).ok_or_else(|| unordered(word)),
            Field::Port(end) => Test::Port(end, ports(text, comparison).ok_or_else(expected)?),
            Field::Code => match text.parse() {
                Ok(code) => Test::Code(comparison, code),
                Err(_) => Test::Text(Text::Result, comparison, Pattern(glob(value, text)?)),
            },
            Field::Process(name) => Test::Process(name, comparison, Pattern(glob(value, text)?)),
            Field::Pid => Test::Pid(comparison, text.parse().map_err(|_| expected())?),
            Field::Duration => Test::Duration(comparison, duration(text).ok_or_else(expected)?),
            Field::Bytes(amount) => Test::Bytes(amount, comparison, bytes(text).ok_or_else(expected)?),
        };
        match (&test, comparison) {
            (Test::Protocol(_) | Test::Port(..), Comparison::Different) => Ok(Expression::Not(Box::new(Expression::Is(test)))),
            (Test::Port(..), _) => Ok(Expression::Is(test)),
            (
                Test::Protocol(_) | Test::Text(..) | Test::Process(..),
                Comparison::Less | Comparison::AtMost | Comparison::Greater | Comparison::AtLeast,
            ) => Err(unordered(word)),
            _ => Ok(Expression::Is(test)),
        }
    }
}

fn unordered(word: &Word) -> Wrong {
    word.wrong("its values have no order; use = or !=")
}

/// `test`, or its negation; `None` for the comparisons that need an order.
fn negated(comparison: Comparison, test: Expression) -> Option<Expression> {
    match comparison {
        Comparison::Equal => Some(test),
        Comparison::Different => Some(Expression::Not(Box::new(test))),
        _ => None,
    }
}

fn one_of(mut parts: Vec<Expression>) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) }
}

fn every(mut parts: Vec<Expression>) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) }
}

/// A number for each kind of word. Words of one kind are alternatives.
fn kind(test: &Test) -> u8 {
    match test {
        Test::Protocol(_) => 0,
        Test::Port(end, _) => 10 + *end as u8,
        Test::Network(end, _) => 20 + *end as u8,
        Test::Text(text, ..) => 30 + *text as u8,
        // `code=404 code=NXDOMAIN` are of one kind.
        Test::Code(..) => 30 + Text::Result as u8,
        Test::Duration(..) => 50,
        Test::Bytes(amount, ..) => 60 + *amount as u8,
        Test::Process(name, ..) => 70 + *name as u8,
        Test::Pid(..) => 80,
        Test::Contains(_) => 90,
    }
}

/// Whether the word names a value. Limits (`code>=500`, `slow>1s`), exclusions and texts that have to occur must hold besides the others of
/// their kind.
fn is_alternative(test: &Test) -> bool {
    match test {
        Test::Protocol(_) | Test::Port(..) | Test::Network(..) => true,
        Test::Text(_, comparison, _)
        | Test::Process(_, comparison, _)
        | Test::Pid(comparison, _)
        | Test::Code(comparison, _)
        | Test::Duration(comparison, _)
        | Test::Bytes(_, comparison, _) => *comparison == Comparison::Equal,
        Test::Contains(_) => false,
    }
}

fn example(field: Field) -> &'static str {
    match field {
        Field::Protocol => "type=http",
        Field::Address(End::Client) => "client=10.1.2.3",
        Field::Address(End::Server) => "server=10.1.2.3:443",
        Field::Address(_) => "net 10.0.0.0/8",
        Field::Port(_) => "port 443",
        Field::Text(Text::Status) => "status=error",
        Field::Text(Text::Method) => "method=GET",
        Field::Text(Text::Resource) => "path=/pay*",
        Field::Text(Text::Result) => "rcode=NXDOMAIN",
        Field::Text(_) => "query=SELECT*",
        Field::Process(Name::Process) => "proc=nginx",
        Field::Process(Name::User) => "user=www-data",
        Field::Process(Name::Container) => "container=3f2a*",
        Field::Process(Name::Service) => "service=nginx",
        Field::Pid => "pid=4711",
        Field::Code => "code>=500",
        Field::Duration => "slow>100ms",
        Field::Bytes(_) => "bytes>1M",
    }
}

/// The message about an unknown word.
fn unknown(name: &str, protocols: &[&str]) -> String {
    let fields = FIELDS.iter().map(|(name, _)| *name);
    match nearest(name, protocols.iter().copied().chain(fields.clone())) {
        Some(near) => format!("did you mean {near}?"),
        None => format!(
            "no word of a filter; there are protocols ({}), fields ({}), and, or, not, brackets, \"a text\" and ~REGEX",
            protocols.join(", "),
            fields.collect::<Vec<_>>().join(", ")
        ),
    }
}

fn unknown_field(name: &str) -> String {
    let fields = FIELDS.iter().map(|(name, _)| *name);
    match nearest(name, fields.clone()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("no field of a filter; there are {}", fields.collect::<Vec<_>>().join(", ")),
    }
}

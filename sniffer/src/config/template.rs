//! The syntax of variables in a text: `${NAME}`, `${NAME:default}`, `${NAME:+alternative}`, `${NAME:?message}`, and the escape sequences
//! `$$` and `$}`. This module does not look up names.

/// Maximum nesting of variables inside variables (`${A:${B:${C}}}`). It bounds the stack of the recursive parser.
const MAX_NESTED: usize = 16;

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Literal text, its escape sequences already replaced.
    Text(String),
    /// A reference to a variable, `${…}`.
    Variable {
        /// The name, which may contain variables.
        name: Vec<Piece>,
        /// The part after the `:`.
        choice: Option<Choice>,
    },
}

/// The part of a variable expression that depends on whether the variable is set.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// `:default`: the value of a variable that is not set.
    Default(Vec<Piece>),
    /// `:+alternative`: the value if the variable is set to anything. If it is not set, the value is empty.
    Alternative(Vec<Piece>),
    /// `:?message`: the error when the variable is not set.
    Message(String),
}

/// Parses a text. Two literal pieces are never adjacent, and no literal piece is empty.
///
/// # Errors
/// When a `}` is missing, or variables are nested too deep. The message does not show the text, which may be a password.
pub(super) fn parse(text: &str) -> Result<Vec<Piece>, String> {
    let mut input = Input { rest: text, depth: 0 };
    input.pieces(&[])
}

struct Input<'a> {
    rest: &'a str,
    depth: usize,
}

impl Input<'_> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    fn take(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Reads pieces up to one of `ends`, which is not consumed, or up to the end of the text.
    fn pieces(&mut self, ends: &[char]) -> Result<Vec<Piece>, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        while !self.rest.starts_with(ends) {
            let Some(c) = self.next() else { break };
            match c {
                '$' if self.take('$') => literal.push('$'),
                '$' if self.take('}') => literal.push('}'),
                '$' if self.take('{') => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(self.variable()?);
                }
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(pieces)
    }

    /// Reads a variable, its `${` already consumed.
    fn variable(&mut self) -> Result<Piece, String> {
        if self.depth >= MAX_NESTED {
            return Err(format!("variables are nested more than {MAX_NESTED} levels deep"));
        }
        self.depth += 1;
        let name = self.pieces(&[':', '}'])?;
        let choice = if !self.take(':') {
            None
        } else if self.take('+') {
            Some(Choice::Alternative(self.pieces(&['}'])?))
        } else if self.take('?') {
            let (message, rest) = self.rest.split_once('}').ok_or_else(missing)?;
            let message = message.to_owned();
            self.rest = rest;
            self.depth -= 1;
            return Ok(Piece::Variable { name, choice: Some(Choice::Message(message)) });
        } else {
            Some(Choice::Default(self.pieces(&['}'])?))
        };
        if !self.take('}') {
            return Err(missing());
        }
        self.depth -= 1;
        Ok(Piece::Variable { name, choice })
    }
}

fn missing() -> String {
    "the `}` of a `${` is missing; `$${` stands for a literal `${`".to_owned()
}

/// The text with `${NAME:…}` shortened to `${NAME}`, everything else as written, as Packetbeat's `export config` prints it.
pub(super) fn without_defaults(text: &str) -> String {
    let Ok(pieces) = parse(text) else { return text.to_owned() };
    let mut out = String::new();
    write(&pieces, &mut out);
    out
}

fn write(pieces: &[Piece], out: &mut String) {
    for piece in pieces {
        match piece {
            // `{` after an escaped `$` must not begin a variable when the text is read again.
            Piece::Text(text) => out.push_str(&text.replace('$', "$$")),
            Piece::Variable { name, .. } => {
                out.push_str("${");
                write(name, out);
                out.push('}');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, Piece, parse, without_defaults};

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn variable(name: &str, choice: Option<Choice>) -> Piece {
        Piece::Variable { name: vec![text(name)], choice }
    }

    #[test]
    fn pieces() {
        for (input, want) in [
            ("", vec![]),
            ("plain { } :", vec![text("plain { } :")]),
            ("$$ $} $x $", vec![text("$ } $x $")]),
            ("$$$", vec![text("$$")]),
            ("$${x}", vec![text("${x}")]),
            ("$$${x}", vec![text("$"), variable("x", None)]),
            ("a${b}c", vec![text("a"), variable("b", None), text("c")]),
            ("${a:}", vec![variable("a", Some(Choice::Default(vec![])))]),
            ("${a:b:c}", vec![variable("a", Some(Choice::Default(vec![text("b:c")])))]),
            ("${a:b$}c}d", vec![variable("a", Some(Choice::Default(vec![text("b}c")]))), text("d")]),
            ("${a:+b$$}", vec![variable("a", Some(Choice::Alternative(vec![text("b$")])))]),
            ("${a:?no ${b}", vec![variable("a", Some(Choice::Message("no ${b".into())))]),
            ("${a:${b:c}}", vec![variable("a", Some(Choice::Default(vec![variable("b", Some(Choice::Default(vec![text("c")])))])))]),
            ("${${a}}", vec![Piece::Variable { name: vec![variable("a", None)], choice: None }]),
            ("${}", vec![Piece::Variable { name: vec![], choice: None }]),
        ] {
            assert_eq!(parse(input).as_ref(), Ok(&want), "{input}");
        }
        for input in ["${", "${a", "${a:", "${a:b", "${a:+", "${a:?b", "x${a:${b}", "${a$}"] {
            assert!(parse(input).unwrap_err().contains("is missing"), "{input}");
        }
        assert!(parse(&"${a:".repeat(100)).unwrap_err().contains("more than 16 levels"));
    }

    #[test]
    fn shortened() {
        for (input, want) in [
            ("plain", "plain"),
            ("a$$b $${x}", "a$$b $${x}"),
            ("x${A:b}y${C:+d}${E}", "x${A}y${C}${E}"),
            ("${${A:b}:c}", "${${A}}"),
            ("${broken", "${broken"),
        ] {
            assert_eq!(without_defaults(input), want, "{input}");
        }
    }
}

//! Splits SQL statements as PostgreSQL's lexer does: a `;` inside quotes, comments, parentheses or the body of a function does not end a
//! statement. This module is not a parser of SQL.
//!
//! PostgreSQL manual, "Lexical Structure" (chapter 4.1), "CREATE FUNCTION" (`BEGIN ATOMIC … END`), "CREATE RULE" (`DO ALSO (…; …)`).

use smallvec::SmallVec;

/// Maximum number of statements of one message that are split; the rest belongs to the last. A migration script has hundreds.
const MOST_STATEMENTS: usize = 10_000;

/// The range of each statement in the text, without surrounding white space.
pub type Parts = SmallVec<[(usize, usize); 1]>;

/// The statements in `text`. As in the server, statements that consist only of comments are left out, unless there are
/// no others.
pub fn split(text: &[u8]) -> Parts {
    let mut parts = Parts::new();
    // Nearly every text is one statement, with or without a final `;`. Such a text needs no lexing.
    let one = memchr::memchr(b';', text).is_none_or(|first| text.get(first + 1..).is_none_or(|rest| rest.trim_ascii().is_empty()));
    if one {
        push(&mut parts, text, 0, memchr::memchr(b';', text).unwrap_or(text.len()));
        return parts;
    }
    let mut lexer = Lexer { text, at: 0 };
    let (mut from, mut comment) = (0, None);
    loop {
        let (end, words) = lexer.statement(parts.len() + 1 >= MOST_STATEMENTS);
        if words {
            push(&mut parts, text, from, end);
        } else if comment.is_none() && !text[from..end].trim_ascii().is_empty() {
            comment = Some((from, end));
        }
        if end >= text.len() {
            break;
        }
        from = end + 1;
    }
    if let (true, Some((from, end))) = (parts.is_empty(), comment) {
        push(&mut parts, text, from, end);
    }
    parts
}

fn push(parts: &mut Parts, text: &[u8], from: usize, to: usize) {
    let part = text.get(from..to).unwrap_or_default();
    let from = from + (part.len() - part.trim_ascii_start().len());
    let to = from + part.trim_ascii().len();
    if from < to {
        parts.push((from, to));
    }
}

/// The first word in upper case. Only a space ends the word, no other character.
pub fn method(statement: &[u8]) -> Vec<u8> {
    let end = memchr::memchr(b' ', statement).filter(|&n| n > 0).unwrap_or(statement.len());
    statement.get(..end).unwrap_or_default().to_ascii_uppercase()
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
}

impl Lexer<'_> {
    /// Moves past the next `;` that ends a statement. Returns the position of the `;` (or the end of the text), and
    /// whether the statement contains more than comments.
    fn statement(&mut self, last: bool) -> (usize, bool) {
        let (mut words, mut depth, mut body, mut begin) = (false, 0u32, 0u32, false);
        while let Some(&byte) = self.text.get(self.at) {
            let next = self.text.get(self.at + 1).copied();
            match byte {
                b';' if depth == 0 && body == 0 && !last => {
                    self.at += 1;
                    return (self.at - 1, words);
                }
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'-' if next == Some(b'-') => self.skip_to(b"\n"),
                b'/' if next == Some(b'*') => self.comment(),
                _ => {
                    words = true;
                    match byte {
                        b'\'' => self.quoted(b'\'', false),
                        b'"' => self.quoted(b'"', false),
                        b'$' => self.dollar(),
                        b'(' => (depth, self.at) = (depth.saturating_add(1), self.at + 1),
                        b')' => (depth, self.at) = (depth.saturating_sub(1), self.at + 1),
                        b'_' | b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => {
                            let word = self.word();
                            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
                            body = match body {
                                0 if begin && is(b"atomic") => 1,
                                0 => 0,
                                n if is(b"case") => n.saturating_add(1),
                                n if is(b"end") => n - 1,
                                n => n,
                            };
                            begin = is(b"begin");
                            if is(b"e") && self.text.get(self.at) == Some(&b'\'') {
                                self.quoted(b'\'', true);
                            }
                        }
                        _ => self.at += 1,
                    }
                }
            }
        }
        (self.text.len(), words)
    }

    /// Skips an identifier or keyword. A `$` within the word begins no quote.
    fn word(&mut self) -> &[u8] {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let n = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | 0x80..)).count();
        self.at += n;
        &rest[..n]
    }

    fn quoted(&mut self, quote: u8, escapes: bool) {
        self.at += 1;
        while let Some(&byte) = self.text.get(self.at) {
            // A doubled quote inside a string is treated as the end of one string and the start of another, which has
            // the same effect.
            self.at += if byte == b'\\' && escapes { 2 } else { 1 };
            if byte == quote {
                if escapes && self.text.get(self.at) == Some(&quote) {
                    self.at += 1;
                    continue;
                }
                return;
            }
        }
    }

    /// Skips a string in dollar quotes: `$$…$$` or `$tag$…$tag$`. `$1` is a parameter.
    fn dollar(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let tag = rest.iter().skip(1).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | 0x80..)).count();
        let digit = rest.get(1).is_some_and(u8::is_ascii_digit);
        self.at += 1;
        if !digit && rest.get(tag + 1) == Some(&b'$') {
            self.at += tag + 1;
            self.skip_to(&rest[..tag + 2]);
        }
    }

    /// Skips a comment. Comments nest.
    fn comment(&mut self) {
        let mut depth = 0u32;
        while let Some(rest) = self.text.get(self.at..).filter(|rest| !rest.is_empty()) {
            if rest.starts_with(b"/*") {
                (depth, self.at) = (depth.saturating_add(1), self.at + 2);
            } else if rest.starts_with(b"*/") {
                (depth, self.at) = (depth.saturating_sub(1), self.at + 2);
                if depth == 0 {
                    return;
                }
            } else {
                self.at += 1;
            }
        }
    }

    fn skip_to(&mut self, end: &[u8]) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += memchr::memmem::find(rest, end).map_or(rest.len(), |n| n + end.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<&str> {
        split(text.as_bytes()).iter().map(|&(from, to)| &text[from..to]).collect()
    }

    #[test]
    fn one_statement() {
        assert_eq!(parts("select 1"), ["select 1"]);
        assert_eq!(parts(" select 1 ;\n "), ["select 1"]);
        assert_eq!(parts(";"), [""; 0]);
        assert_eq!(parts(""), [""; 0]);
        assert_eq!(parts(";;;"), [""; 0]);
    }

    #[test]
    fn several_statements() {
        assert_eq!(parts("a;b ; ; c"), ["a", "b", "c"]);
        assert_eq!(parts("select 1; -- done"), ["select 1"]);
        assert_eq!(parts("-- a;b\n/* c;/*d;*/e;*/ select 1; select 2"), ["-- a;b\n/* c;/*d;*/e;*/ select 1", "select 2"]);
        assert_eq!(parts("-- only; this"), ["-- only; this"]);
    }

    #[test]
    fn semicolons_that_end_nothing() {
        assert_eq!(parts("select ';', \"a;b\", 'it''s;'; x"), ["select ';', \"a;b\", 'it''s;'", "x"]);
        assert_eq!(parts(r"select E'\';', e'a'';', '\'; x"), [r"select E'\';', e'a'';', '\'", "x"]);
        assert_eq!(parts("do $$ a; b $$; do $x$ $$;$x$; y$a$;z$a$"), ["do $$ a; b $$", "do $x$ $$;$x$", "y$a$", "z$a$"]);
        assert_eq!(parts("select $1; select $2"), ["select $1", "select $2"]);
        assert_eq!(parts("create rule r as on insert to t do also (a; b); c"), ["create rule r as on insert to t do also (a; b)", "c"]);
        let body = "create function f() returns int begin atomic select case when a then 1 end; select 2; end";
        assert_eq!(parts(&format!("{body}; begin; end; x")), [body, "begin", "end", "x"]);
    }

    #[test]
    fn statements_without_an_end() {
        for text in ["a;'b;", "a;\"", "a;$x$;", "a;/*;", "a;--;", "a;(;", "a;E'\\", "a;begin atomic;", "a;$", "a;$x"] {
            let want = if text == "a;/*;" || text == "a;--;" { 1 } else { 2 };
            assert_eq!(parts(text).len(), want, "{text}");
        }
    }

    #[test]
    fn methods() {
        assert_eq!(method(b"select 1"), b"SELECT");
        assert_eq!(method(b"select\n1 x"), b"SELECT\n1");
        assert_eq!(method(b"Commit"), b"COMMIT");
    }
}

//! Replaces the variable parts of requests, so that requests of one kind have one name: ids in paths become `{}`, literals in SQL become
//! `?`. This module does not know which parts of a path have many values in a service; `model::operations` finds them.

/// The text that replaces a variable part of a path.
pub const VARIABLE: &str = "{}";
/// Maximum number of parts of a path. Further parts are left out.
pub const MOST_PARTS: usize = 8;
/// A longer part of a path counts as variable, in bytes.
const LONGEST_WORD: usize = 32;
/// A part with digits and letters of both cases counts as a token from this length on, in bytes.
const SHORTEST_TOKEN: usize = 16;
/// A hexadecimal number with a digit counts as variable from this length on, in bytes.
const SHORTEST_HASH: usize = 6;
/// Longest file extension, in bytes.
const LONGEST_EXTENSION: usize = 5;
/// Maximum length of folded SQL, in bytes.
const LONGEST_SQL: usize = 160;
/// Maximum number of bytes of a statement that are read.
const MOST_READ: usize = 4096;

/// Appends a path without query, fragment and parameters. Variable parts become [`VARIABLE`]; a part is also variable if `is_whole` says so
/// of the text before it, which ends with a slash.
pub fn path(path: &str, is_whole: impl Fn(&str) -> bool, to: &mut String) {
    let start = to.len();
    let path = path.split(['?', '#', ';']).next().unwrap_or_default();
    for (place, part) in path.split('/').take(MOST_PARTS + 1).enumerate() {
        if place > 0 {
            to.push('/');
        }
        let before = to.get(start..).unwrap_or_default();
        // The extension of a file stays.
        let extension = part.rsplit_once('.').filter(|(stem, extension)| is_extension(extension) && is_variable(stem));
        match extension {
            _ if part.is_empty() => {}
            _ if is_whole(before) => to.push_str(VARIABLE),
            Some((_, extension)) => to.extend([VARIABLE, ".", extension]),
            None if is_variable(part) => to.push_str(VARIABLE),
            None => to.push_str(part),
        }
    }
}

fn is_extension(text: &str) -> bool {
    (1..=LONGEST_EXTENSION).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) && has_letter(text)
}

fn has_letter(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Whether a part of a path is probably different in each request: a number, a date, a UUID, a hash, or a long token. Words with dots or
/// hyphens are not.
fn is_variable(part: &str) -> bool {
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    if part.len() > LONGEST_WORD || digits * 2 > part.len() {
        return true;
    }
    let is_hash = part.len() >= SHORTEST_HASH && part.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let cases = part.bytes().any(|byte| byte.is_ascii_lowercase()) && part.bytes().any(|byte| byte.is_ascii_uppercase());
    digits > 0 && (is_hash || cases && part.len() >= SHORTEST_TOKEN && !part.contains(['.', '-']))
}

/// The rules of a database about literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Double quotes enclose names, and a backslash is an ordinary character (PostgreSQL, CQL).
    Standard,
    /// Double quotes enclose strings, a backslash begins an escape sequence, and `#` begins a comment (MySQL).
    Mysql,
}

/// Appends a statement without its literals and comments. Lists of literals become one literal, and white space becomes one space.
pub fn sql(statement: &str, dialect: Dialect, to: &mut String) {
    let end = (0..=statement.len().min(MOST_READ)).rev().find(|end| statement.is_char_boundary(*end)).unwrap_or(0);
    let mut folded = Folded { rest: statement.get(..end).unwrap_or_default(), start: to.len(), to };
    while folded.to.len() - folded.start < LONGEST_SQL && folded.step(dialect) {}
    let whole = folded.to.trim_end_matches([' ', ';']).len().max(folded.start);
    let longest = whole.min(folded.start + LONGEST_SQL);
    let length = (0..=longest).rev().find(|end| folded.to.is_char_boundary(*end)).unwrap_or(0);
    folded.to.truncate(length);
}

struct Folded<'a> {
    rest: &'a str,
    to: &'a mut String,
    /// The length of `to` before the statement.
    start: usize,
}

impl Folded<'_> {
    /// Reads the next token. Returns whether there was one.
    fn step(&mut self, dialect: Dialect) -> bool {
        let is_mysql = dialect == Dialect::Mysql;
        let mut chars = self.rest.chars();
        let Some(first) = chars.next() else { return false };
        let second = chars.next().unwrap_or('\0');
        match first {
            _ if first.is_whitespace() => self.space(first.len_utf8()),
            '-' if second == '-' => self.space(self.rest.find('\n').unwrap_or(self.rest.len())),
            '#' if is_mysql => self.space(self.rest.find('\n').unwrap_or(self.rest.len())),
            '/' if second == '*' => self.space(self.rest.find("*/").map_or(self.rest.len(), |end| end + 2)),
            '\'' => self.literal(quoted(self.rest, first, is_mysql)),
            '"' if is_mysql => self.literal(quoted(self.rest, first, true)),
            '"' | '`' => self.copy(quoted(self.rest, first, false)),
            '$' if dialect == Dialect::Standard => match dollar_quoted(self.rest) {
                Some(length) => self.literal(length),
                None => self.copy(1),
            },
            _ if first.is_ascii_digit() || first == '.' && second.is_ascii_digit() => self.literal(number(self.rest)),
            _ if is_name(first) => self.copy(self.rest.find(|c: char| !is_name(c) && !c.is_ascii_digit()).unwrap_or(self.rest.len())),
            ')' => self.close(),
            _ => self.copy(first.len_utf8()),
        }
        true
    }

    fn space(&mut self, length: usize) {
        self.skip(length);
        if self.to.len() > self.start && !self.to.ends_with(' ') {
            self.to.push(' ');
        }
    }

    fn copy(&mut self, length: usize) {
        self.to.push_str(self.rest.get(..length).unwrap_or_default());
        self.skip(length);
    }

    /// Replaces a literal. The second and later literals of a list are left out, and so is the sign of a number.
    fn literal(&mut self, length: usize) {
        self.skip(length);
        let so_far = self.to.get(self.start..).unwrap_or_default();
        if let Some(before) = so_far.strip_suffix(['-', '+'])
            && before.trim_end().ends_with(['=', '<', '>', '(', ',', '*', '/'])
        {
            let length = self.start + before.len();
            self.to.truncate(length);
        }
        let so_far = self.to.get(self.start..).unwrap_or_default().trim_end();
        if let Some(before) = so_far.strip_suffix(',').map(str::trim_end)
            && before.ends_with('?')
        {
            let length = self.start + before.len();
            self.to.truncate(length);
        } else {
            self.to.push('?');
        }
    }

    /// Copies a closing bracket. The second and later rows of a list of rows are left out: `(?), (?)`.
    fn close(&mut self) {
        self.copy(1);
        let so_far = self.to.get(self.start..).unwrap_or_default();
        if let Some(before) = so_far.strip_suffix("(?)").map(str::trim_end).and_then(|before| before.strip_suffix(',')).map(str::trim_end)
            && before.ends_with("(?)")
        {
            let length = self.start + before.len();
            self.to.truncate(length);
        }
    }

    fn skip(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or_default();
    }
}

fn is_name(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == '@'
}

/// The length of a text in quotes, with the quotes. A quote inside is doubled, or follows a backslash.
fn quoted(text: &str, quote: char, has_escapes: bool) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && has_escapes {
            chars.next();
        } else if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at + quote.len_utf8();
        }
    }
    text.len()
}

/// The length of `$1`, or of a string between two equal tags: `$$text$$`, `$tag$text$tag$`.
fn dollar_quoted(text: &str) -> Option<usize> {
    let after = text.get(1..)?;
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    if digits > 0 {
        return Some(1 + digits);
    }
    let name = after.split_once('$').map(|(name, _)| name).filter(|name| name.chars().all(is_name))?;
    let tag = name.len() + 2;
    let inside = text.get(tag..)?;
    Some(inside.find(text.get(..tag)?).map_or(text.len(), |end| tag + end + tag))
}

/// The length of a number: `12`, `1.5e-3`, `0xff`.
fn number(text: &str) -> usize {
    let mut last = '\0';
    text.find(|c: char| {
        let goes_on = c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || matches!(c, '+' | '-') && matches!(last, 'e' | 'E');
        last = c;
        !goes_on
    })
    .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::{
        Dialect::{Mysql, Standard},
        *,
    };

    #[test]
    fn variable_parts_of_paths() {
        for (text, expected) in [
            ("/orders/4711?full=1", "/orders/{}"),
            ("/users/12345/orders/7/", "/users/{}/orders/{}/"),
            ("/v1/items/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/v1/items/{}"),
            ("/blobs/9e107d9d372bb6826bd81d3542a419d6", "/blobs/{}"),
            ("/commit/9e107d9", "/commit/{}"),
            ("/logs/2026-11-29/app", "/logs/{}/app"),
            ("/logs/20261129.json", "/logs/{}.json"),
            ("/files/9e107d9d372bb6826bd81d3542a419d6.png", "/files/{}.png"),
            ("/hosts/10.1.2.3/", "/hosts/{}/"),
            ("/t/abcdefghijklmnopqrstuvwxyzabcdefghijk", "/t/{}"),
            ("/session/dGhpcyBpcyBhIHRva2VuMQ/x", "/session/{}/x"),
            // Words are not replaced, also if they contain digits, dots or hyphens.
            ("/v2/face/cafe/decade", "/v2/face/cafe/decade"),
            ("/static/jquery-3.6.0.min.js", "/static/jquery-3.6.0.min.js"),
            ("/my-page/index.html", "/my-page/index.html"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h"),
            ("/a;jsessionid=9/b", "/a"),
            ("/", "/"),
            ("", ""),
            ("*", "*"),
            ("/größe/ü1", "/größe/ü1"),
        ] {
            let mut out = String::from("GET ");
            path(text, |_| false, &mut out);
            assert_eq!(out, format!("GET {expected}"), "{text}");
        }
        let mut out = String::new();
        path("/users/ann/posts/first", |before| before == "/users/" || before == "/users/{}/posts/", &mut out);
        assert_eq!(out, "/users/{}/posts/{}");
    }

    #[test]
    fn sql_without_literals() {
        for (dialect, text, expected) in [
            (Standard, "SELECT * FROM orders WHERE id = 4711;", "SELECT * FROM orders WHERE id = ?"),
            (Standard, "select a1, t.b2 from t2  where\n\tx='it''s' and y = -1.5e-3", "select a1, t.b2 from t2 where x=? and y = ?"),
            (Standard, "select \"a 1\" from x where y = $1 and z in (1, 2,3)", "select \"a 1\" from x where y = ? and z in (?)"),
            (Standard, "insert into t (a, b) values (1, 'x'), (2, 'y') ,(3,NULL)", "insert into t (a, b) values (?) ,(?,NULL)"),
            (Standard, "insert into t values (1,2),(3,4), (5,6) returning id", "insert into t values (?) returning id"),
            (Standard, "select $tag$ it's $$ 1 $tag$, $$x$$ from a", "select ? from a"),
            (Standard, "select 'c:\\' , b -- note 1\nfrom /* 2 */ t", "select ? , b from t"),
            (Standard, "select a-1, a - 1", "select a-?, a - ?"),
            (Mysql, "SELECT \"a\\\"b\", `c 1` FROM t # 5\nLIMIT 0x1F", "SELECT ?, `c 1` FROM t LIMIT ?"),
            (Mysql, "select 'open", "select ?"),
            (Standard, "/* only a comment", ""),
            (Standard, "größe = 'ü' $", "größe = ? $"),
        ] {
            let mut out = String::from("x");
            sql(text, dialect, &mut out);
            assert_eq!(out[1..], *expected, "{text}");
        }
        for long in ["é".repeat(9000), format!("insert into t values {}", "(1),".repeat(100_000)), "-".repeat(9000), "$".repeat(9000)] {
            let mut out = String::new();
            sql(&long, Standard, &mut out);
            assert!(out.len() <= LONGEST_SQL, "{} bytes", out.len());
        }
    }
}

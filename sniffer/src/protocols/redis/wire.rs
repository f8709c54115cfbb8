//! Parses RESP2 and RESP3 incrementally: takes the bytes of a direction and returns the text of one message after the other. This module
//! does not distinguish commands.
//!
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>. The crate `redis-protocol` is not used: it recurses as deep as the
//! sender likes, and parses a message from its start again with every segment. Streamed forms (`$?`, `*?`) are not parsed, because no
//! server sends them.

use crate::protocols::kit::held::Held;
use smallvec::SmallVec;

/// Maximum number of levels of nested aggregates. Replies of Redis have four (`COMMAND DOCS`), those of modules a few more.
const DEEPEST: usize = 32;
/// Longest line in bytes: a type byte with a number, a simple string, an error, or an inline command (the server's own
/// limit is 64 KiB).
pub const LONGEST_LINE: usize = 64 << 10;
/// Number of words of a request whose positions are kept: a command of two words, and the first argument.
const WORDS: usize = 3;

/// Returns the offset of the first array of strings that begins at the start of `data` or after a line end, and whether enough of the array
/// is there to be certain. Returns the length of `data` if there is no such array.
pub fn first_array(data: &[u8]) -> (usize, bool) {
    const STRING: &[u8] = b"\r\n$";
    let mut at = 0;
    while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some(count) = rest.strip_prefix(b"*") {
            let digits = count.iter().take_while(|b| b.is_ascii_digit()).count();
            let after = count.get(digits..).unwrap_or_default();
            if digits > 0 && after.starts_with(STRING) {
                return (at, true);
            }
            if (digits > 0 || after.is_empty()) && digits < 10 && STRING.starts_with(after) {
                return (at, false);
            }
        }
        at += memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
    }
    (data.len(), false)
}

/// How the values of a message are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The form of requests: `SET key value`.
    Words,
    /// The form of responses: `[a, [b, nil]]`.
    Brackets,
}

/// The kind of the top-level value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A value of any type.
    #[default]
    Value,
    /// An error, simple or blob.
    Error,
    /// Out-of-band data (RESP3 `>`).
    Push,
}

/// A complete message.
#[derive(Debug, Default)]
pub struct Message {
    /// The kind of the message's top-level value.
    pub kind: Kind,
    /// Whether the top-level value is an aggregate.
    pub aggregate: bool,
    /// The values of the message as text, up to the maximum length given to the reader.
    pub text: Vec<u8>,
    /// The ranges of the first values in `text`.
    pub words: SmallVec<[(usize, usize); WORDS]>,
    /// Length of the message on the wire in bytes.
    pub bytes: u64,
}

impl Message {
    /// The `n`-th value of the top level, if it is one of the first few, whose positions are kept.
    pub fn word(&self, n: usize) -> Option<&[u8]> {
        self.words.get(n).and_then(|&(from, to)| self.text.get(from..to))
    }
}

/// The progress of parsing a message.
#[derive(Debug)]
pub enum Step {
    /// The message is complete and ends after this number of bytes of the data.
    Whole(usize, Message),
    /// This number of bytes was consumed; more are needed.
    More(usize),
    /// The data is not RESP.
    Malformed,
}

#[derive(Clone, Copy)]
struct Level {
    /// Number of remaining values on this level.
    left: u64,
    /// Whether a value was written.
    begun: bool,
    /// Whether this level is an attribute, which describes the following value.
    attribute: bool,
    /// Whether the values of this level are shown. Values of attributes are not shown, at any depth.
    shown: bool,
}

struct Bulk {
    /// Number of remaining bytes of the string.
    left: u64,
    /// Number of bytes of the line end after the string.
    tail: u8,
    /// Number of bytes at the beginning of the string that are not text (`txt:` of a verbatim string).
    prefix: u8,
}

/// Reads the messages of one direction.
pub struct Reader {
    style: Style,
    most: usize,
    levels: SmallVec<[Level; 4]>,
    bulk: Option<Bulk>,
    word: usize,
    /// Whether the value of the top level has ended, and with it the message.
    whole: bool,
    message: Message,
}

impl Reader {
    /// Makes a reader that keeps at most `most` bytes of text of each message.
    pub fn new(style: Style, most: usize) -> Self {
        Self { style, most, levels: SmallVec::new(), bulk: None, word: 0, whole: false, message: Message::default() }
    }

    /// Whether the next byte is the first of a message.
    pub fn at_start(&self) -> bool {
        self.message.bytes == 0
    }

    /// Bytes allocated for the current message.
    pub fn held(&self) -> usize {
        self.levels.held() + self.message.text.held() + self.message.words.held()
    }

    /// Drops the current message.
    pub fn reset(&mut self) {
        *self = Self::new(self.style, self.most);
    }

    /// Handles a gap of `lost` bytes. Returns whether all of them were inside a string, so that its end is still known.
    pub fn lose(&mut self, lost: u64) -> bool {
        match &mut self.bulk {
            Some(bulk) if bulk.left >= lost => {
                bulk.left -= lost;
                self.message.bytes += lost;
                true
            }
            _ => false,
        }
    }

    /// Continues to read, at most to the end of the message.
    pub fn read(&mut self, data: &[u8]) -> Step {
        let mut at = 0;
        loop {
            let rest = &data[at..];
            if let Some(bulk) = &mut self.bulk {
                let body = usize::try_from(bulk.left).unwrap_or(usize::MAX).min(rest.len());
                let prefix = usize::from(bulk.prefix).min(body);
                bulk.prefix -= prefix as u8;
                bulk.left -= body as u64;
                let tail = usize::from(bulk.tail).min(rest.len() - body);
                bulk.tail -= tail as u8;
                let over = bulk.left == 0 && bulk.tail == 0;
                self.write(&rest[prefix..body]);
                at += body + tail;
                self.message.bytes += (body + tail) as u64;
                if !over {
                    return Step::More(at);
                }
                self.bulk = None;
                self.value_ends();
            } else {
                let Some(end) = memchr::memchr(b'\n', rest) else {
                    return if rest.len() > LONGEST_LINE { Step::Malformed } else { Step::More(at) };
                };
                let line = &rest[..end];
                at += end + 1;
                self.message.bytes += end as u64 + 1;
                if self.line(line.strip_suffix(b"\r").unwrap_or(line)).is_none() {
                    return Step::Malformed;
                }
            }
            if std::mem::take(&mut self.whole) {
                let message = std::mem::take(&mut self.message);
                self.word = 0;
                return Step::Whole(at, message);
            }
        }
    }

    /// Handles a line. The line is a complete value, or announces a string or an aggregate.
    fn line(&mut self, line: &[u8]) -> Option<()> {
        let (&kind, rest) = line.split_first()?;
        let top = self.levels.is_empty();
        match kind {
            b'+' | b':' | b',' | b'(' => self.scalar(rest),
            b'-' => {
                if top {
                    self.message.kind = Kind::Error;
                }
                self.scalar(rest);
            }
            b'_' => self.scalar(b"nil"),
            b'#' => self.scalar(if rest == b"t" { b"true" } else { b"false" }),
            b'$' | b'=' | b'!' => {
                if top && kind == b'!' {
                    self.message.kind = Kind::Error;
                }
                match length(rest)? {
                    None => self.scalar(b"nil"),
                    Some(left) => {
                        self.value_begins();
                        self.bulk = Some(Bulk { left, tail: 2, prefix: if kind == b'=' { 4 } else { 0 } });
                    }
                }
            }
            b'*' | b'~' | b'>' | b'%' | b'|' => {
                if self.levels.len() >= DEEPEST {
                    return None;
                }
                let Some(count) = length(rest)? else {
                    self.scalar(b"nil");
                    return Some(());
                };
                if top && kind != b'|' {
                    self.message.aggregate = true;
                    if kind == b'>' {
                        self.message.kind = Kind::Push;
                    }
                }
                let left = if matches!(kind, b'%' | b'|') { count.checked_mul(2)? } else { count };
                self.aggregate(left, kind == b'|');
            }
            _ => return None,
        }
        Some(())
    }

    fn scalar(&mut self, text: &[u8]) {
        self.value_begins();
        self.write(text);
        self.value_ends();
    }

    fn aggregate(&mut self, left: u64, attribute: bool) {
        if !attribute {
            self.value_begins();
            if self.brackets() {
                self.write(b"[");
            }
        }
        let shown = !attribute && self.shown();
        self.levels.push(Level { left, begun: false, attribute, shown });
        self.close_levels();
    }

    fn brackets(&self) -> bool {
        self.style == Style::Brackets
    }

    fn shown(&self) -> bool {
        self.levels.last().is_none_or(|level| level.shown)
    }

    fn value_begins(&mut self) {
        let begun = self.levels.last_mut().is_some_and(|level| std::mem::replace(&mut level.begun, true));
        if begun {
            self.write(if self.brackets() { b", " } else { b" " });
        }
        self.word = self.message.text.len();
    }

    fn value_ends(&mut self) {
        if self.levels.len() <= 1 && self.shown() && self.message.words.len() < WORDS {
            self.message.words.push((self.word, self.message.text.len()));
        }
        match self.levels.last_mut() {
            Some(level) => level.left -= 1, // `left` is not 0, because levels without remaining values have been removed.
            None => self.whole = true,
        }
        self.close_levels();
    }

    fn close_levels(&mut self) {
        while self.levels.last().is_some_and(|level| level.left == 0) {
            if self.shown() && self.brackets() {
                self.write(b"]");
            }
            let attribute = self.levels.pop().is_some_and(|level| level.attribute);
            match self.levels.last_mut() {
                Some(parent) if !attribute => parent.left -= 1,
                Some(_) => {}
                None => self.whole = !attribute,
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.shown() {
            let room = self.most.saturating_sub(self.message.text.len()).min(bytes.len());
            self.message.text.extend_from_slice(&bytes[..room]);
        }
    }
}

/// The number after a type byte; `Some(None)` is the null form, -1.
fn length(text: &[u8]) -> Option<Option<u64>> {
    match text {
        b"-1" => Some(None),
        _ => std::str::from_utf8(text).ok()?.parse().ok().map(Some),
    }
}

/// Parses an inline command: words separated by spaces, with quotes as in the server (`"` with escapes, `'` with only
/// itself escaped). `bytes` is its length on the wire.
pub fn inline(line: &[u8], bytes: u64) -> Message {
    let mut message = Message { bytes, ..Message::default() };
    let mut rest = line.trim_ascii();
    while !rest.is_empty() {
        if !message.text.is_empty() {
            message.text.push(b' ');
        }
        let from = message.text.len();
        rest = word(rest, &mut message.text).trim_ascii_start();
        if message.words.len() < WORDS {
            message.words.push((from, message.text.len()));
        }
    }
    message
}

/// Takes the first word of `line`, which is not empty and does not begin with a space; returns the rest.
fn word<'a>(line: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let (mut at, mut quote) = (0, None);
    while let Some(&byte) = line.get(at) {
        at += 1;
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, byte) if byte.is_ascii_whitespace() => break,
            (Some(open), byte) if byte == open => quote = None,
            (Some(b'"'), b'\\') => {
                let hex = |text: &[u8]| u8::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok();
                let escaped = line.get(at).copied().unwrap_or(b'\\');
                let code = if escaped == b'x' { line.get(at + 1..at + 3).and_then(hex) } else { None };
                at += if code.is_some() { 3 } else { 1 };
                out.push(code.unwrap_or(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => other,
                }));
            }
            (Some(b'\''), b'\\') if line.get(at) == Some(&b'\'') => {
                at += 1;
                out.push(b'\'');
            }
            (_, byte) => out.push(byte),
        }
    }
    line.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(style: Style, data: &[u8]) -> Message {
        match Reader::new(style, 1000).read(data) {
            Step::Whole(n, message) if n == data.len() && message.bytes == n as u64 => message,
            other => panic!("{other:?}"),
        }
    }

    fn text(data: &[u8]) -> String {
        String::from_utf8(one(Style::Brackets, data).text).unwrap()
    }

    #[test]
    fn values_as_text() {
        assert_eq!(text(b"+OK\r\n"), "OK");
        assert_eq!(text(b":42\r\n"), "42");
        assert_eq!(text(b"$5\r\na\r\nbc\r\n"), "a\r\nbc");
        assert_eq!(text(b"$-1\r\n"), "nil");
        assert_eq!(text(b"*-1\r\n"), "nil");
        assert_eq!(text(b"*0\r\n"), "[]");
        assert_eq!(text(b"*2\r\n*1\r\n$1\r\na\r\n$1\r\nb\r\n"), "[[a], b]");
        assert_eq!(text(b"*3\r\n*0\r\n_\r\n#t\r\n"), "[[], nil, true]");
        assert_eq!(text(b"%2\r\n+a\r\n:1\r\n+b\r\n~1\r\n,1.5\r\n"), "[a, 1, b, [1.5]]");
        assert_eq!(text(b"=8\r\ntxt:some\r\n"), "some");
    }

    #[test]
    fn attributes_are_not_shown() {
        assert_eq!(text(b"|1\r\n+ttl\r\n*1\r\n:3600\r\n*1\r\n$1\r\nx\r\n"), "[x]");
        assert_eq!(text(b"*2\r\n:1\r\n|1\r\n+k\r\n+v\r\n:2\r\n"), "[1, 2]");
        assert_eq!(text(b"|1\r\n+k\r\n|1\r\n+a\r\n+b\r\n+v\r\n:2\r\n"), "2");
    }

    #[test]
    fn kinds() {
        assert_eq!(one(Style::Brackets, b"-ERR x\r\n").kind, Kind::Error);
        assert_eq!(one(Style::Brackets, b"!5\r\nERR x\r\n").kind, Kind::Error);
        assert_eq!(one(Style::Brackets, b"*1\r\n-ERR x\r\n").kind, Kind::Value);
        assert_eq!(one(Style::Brackets, b">2\r\n+message\r\n+x\r\n").kind, Kind::Push);
    }

    #[test]
    fn words_of_a_request() {
        let m = one(Style::Words, b"*4\r\n$6\r\nclient\r\n$7\r\nsetname\r\n$0\r\n\r\n$1\r\nx\r\n");
        assert_eq!((m.text.as_slice(), m.word(0), m.word(2)), (&b"client setname  x"[..], Some(&b"client"[..]), Some(&b""[..])));
    }

    #[test]
    fn inline_commands_with_quotes() {
        let m = inline(b"  set \"two words\\x21\" 'it\\'s'\r", 30);
        assert_eq!((m.text.as_slice(), m.word(1), m.word(2)), (&b"set two words! it's"[..], Some(&b"two words!"[..]), Some(&b"it's"[..])));
        assert_eq!(inline(b"a \"unclosed \\", 12).text, b"a unclosed \\");
        assert_eq!(inline(b"set a \"\"", 9).words.len(), 3);
    }

    #[test]
    fn data_that_is_not_resp_is_malformed() {
        for bad in [&b"GET / HTTP/1.1\r\n"[..], b"*x\r\n", b"$99999999999999999999\r\n", b"\r\n", b"%9223372036854775808\r\n"] {
            assert!(matches!(Reader::new(Style::Brackets, 9).read(bad), Step::Malformed), "{bad:?}");
        }
        let deep = b"*1\r\n".repeat(DEEPEST + 1);
        assert!(matches!(Reader::new(Style::Brackets, 9).read(&deep), Step::Malformed));
        assert!(matches!(Reader::new(Style::Brackets, 9).read(&vec![b'+'; LONGEST_LINE + 2]), Step::Malformed));
    }

    #[test]
    fn text_is_bounded_and_the_end_is_still_found() {
        let Step::Whole(n, m) = Reader::new(Style::Brackets, 3).read(b"$10\r\n0123456789\r\n+OK\r\n") else { panic!() };
        assert_eq!((n, m.text.as_slice()), (17, &b"012"[..]));
    }
}

//! Parses the client's lines of the text protocol: commands and meta commands. `replies.rs` parses those of the server.
//!
//! <https://github.com/memcached/memcached/blob/master/doc/protocol.txt>

use super::message::{Kind, Message};

/// The kind of a request, which determines the possible responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ask {
    /// A command that this module does not know.
    #[default]
    Unknown,
    Load,
    Store,
    Counter,
    Touch,
    Delete,
    /// The response is `OK` or an error.
    Okay,
    Stats,
    /// The response consists of lines of any form up to `END` or `EN`.
    Dump,
    /// The response is `OK`, followed by log lines until the connection ends.
    Watch,
    Version,
    /// The server sends no response.
    Nothing,
    MetaGet,
    MetaSet,
    MetaDelete,
    MetaCounter,
    MetaNoop,
    MetaDebug,
}

/// The result of parsing a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The message is complete.
    Whole,
    /// A value of this number of bytes and a line end follow.
    Value(u64),
    /// More lines of the same response follow.
    More,
    /// The line is not one that the protocol defines.
    Unknown,
}

/// Splits words at one or several spaces.
pub struct Words<'a>(pub &'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0.trim_ascii_start();
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.0 = rest;
        Some(word)
    }
}

/// Parses a text that consists of a decimal number and nothing else.
pub fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > 20 {
        return None;
    }
    word.iter().try_fold(0_u64, |n, &b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// Parses a decimal number that may be negative.
pub fn signed(word: &[u8]) -> Option<i64> {
    match word.strip_prefix(b"-") {
        Some(word) => number(word).and_then(|n| 0_i64.checked_sub_unsigned(n)),
        None => number(word).and_then(|n| n.try_into().ok()),
    }
}

/// Longest value that is accepted, in bytes: memcached's `-I` allows at most 1 GiB.
pub const LONGEST_VALUE: u64 = 1 << 30;

/// Parses a line of the client, without its line end.
pub fn request(line: &[u8], m: &mut Message) -> Line {
    known_request(line, m).unwrap_or(Line::Unknown)
}

/// Parses a line of the client; `None` if it is unknown or malformed.
fn known_request(line: &[u8], m: &mut Message) -> Option<Line> {
    let mut words = Words(line);
    let name = words.next()?;
    let mut set = |command, kind, ask| (m.command, m.kind, m.ask) = (command, kind, ask);
    match name {
        b"get" => set("get", Kind::Load, Ask::Load),
        b"gets" => set("gets", Kind::Load, Ask::Load),
        b"gat" => set("gat", Kind::Load, Ask::Load),
        b"gats" => set("gats", Kind::Load, Ask::Load),
        b"set" => set("set", Kind::Store, Ask::Store),
        b"add" => set("add", Kind::Store, Ask::Store),
        b"replace" => set("replace", Kind::Store, Ask::Store),
        b"append" => set("append", Kind::Store, Ask::Store),
        b"prepend" => set("prepend", Kind::Store, Ask::Store),
        b"cas" => set("cas", Kind::Store, Ask::Store),
        b"incr" => set("incr", Kind::Counter, Ask::Counter),
        b"decr" => set("decr", Kind::Counter, Ask::Counter),
        b"touch" => set("touch", Kind::Store, Ask::Touch),
        b"delete" => set("delete", Kind::Delete, Ask::Delete),
        b"flush_all" => set("flush_all", Kind::Delete, Ask::Okay),
        b"stats" => set("stats", Kind::Stats, Ask::Stats),
        b"verbosity" => set("verbosity", Kind::Info, Ask::Okay),
        b"version" => set("version", Kind::Info, Ask::Version),
        b"quit" => set("quit", Kind::Info, Ask::Nothing),
        b"mg" => set("mg", Kind::Load, Ask::MetaGet),
        b"ms" => set("ms", Kind::Store, Ask::MetaSet),
        b"md" => set("md", Kind::Delete, Ask::MetaDelete),
        b"ma" => set("ma", Kind::Counter, Ask::MetaCounter),
        b"mn" => set("mn", Kind::Info, Ask::MetaNoop),
        b"me" => set("me", Kind::Info, Ask::MetaDebug),
        b"slabs" => return slabs(words, m),
        b"lru_crawler" => return lru_crawler(words, m),
        _ => return None,
    }
    match m.ask {
        Ask::Load => {
            if name.starts_with(b"gat") {
                m.exptime = Some(signed(words.next()?)?);
            }
            words.for_each(|key| m.key(key));
            (!m.keys.is_empty()).then_some(Line::Whole)
        }
        Ask::Store => {
            m.key(words.next()?);
            m.flags = Some(number(words.next()?)?);
            m.exptime = Some(signed(words.next()?)?);
            let bytes = number(words.next()?).filter(|n| *n <= LONGEST_VALUE)?;
            m.bytes = Some(bytes);
            if name == b"cas" {
                m.cas_unique = Some(number(words.next()?)?);
            }
            noreply(words, m)?;
            Some(Line::Value(bytes))
        }
        Ask::Counter => {
            m.key(words.next()?);
            m.delta = Some(number(words.next()?)?);
            noreply(words, m)
        }
        Ask::Touch => {
            m.key(words.next()?);
            m.exptime = Some(signed(words.next()?)?);
            noreply(words, m)
        }
        Ask::Delete => {
            m.key(words.next()?);
            // Old clients send a time of 0 before `noreply`.
            let rest = words.0.trim_ascii_start();
            noreply(Words(rest.strip_prefix(b"0").unwrap_or(rest)), m)
        }
        Ask::Okay if name == b"flush_all" => {
            let rest = words.0;
            m.exptime = Some(words.next().and_then(signed).unwrap_or(0));
            if rest.trim_ascii().ends_with(b"noreply") {
                m.noreply = Some(true);
            }
            Some(Line::Whole)
        }
        Ask::Okay => {
            let level = words.next()?;
            if level != b"noreply" {
                m.verbosity = Some(number(level)?);
            }
            if level == b"noreply" || words.next() == Some(b"noreply") {
                m.noreply = Some(true);
            }
            Some(Line::Whole)
        }
        Ask::Stats => {
            let args = words.0.strip_prefix(b" ").unwrap_or(words.0);
            m.raw_args = Some(m.keep(args));
            Some(Line::Whole)
        }
        Ask::Nothing => noreply(words, m),
        Ask::Version | Ask::MetaNoop => words.next().is_none().then_some(Line::Whole),
        Ask::Unknown | Ask::Dump | Ask::Watch => None,
        Ask::MetaGet | Ask::MetaSet | Ask::MetaDelete | Ask::MetaCounter | Ask::MetaDebug => meta(words, m),
    }
}

/// Parses the last word, which may be `noreply`.
fn noreply(mut words: Words<'_>, m: &mut Message) -> Option<Line> {
    m.noreply = Some(match words.next() {
        None => false,
        Some(b"noreply") => true,
        Some(_) => return None,
    });
    Some(Line::Whole)
}

/// Parses the rest of a meta command, `<key> [<datalen>] <flags>*`. A flag for which [`Message`] has a field sets this field. All flags
/// are also kept as sent, in `raw_args`.
fn meta(mut words: Words<'_>, m: &mut Message) -> Option<Line> {
    m.key(words.next()?);
    let mut size = None;
    if m.ask == Ask::MetaSet {
        let before = words.0;
        size = words.next().and_then(number);
        if size.is_none() {
            words.0 = before; // In the first form of the command the length was one of the flags.
        }
    }
    keep_args(words.0, m);
    for flag in words {
        let (name, token) = flag.split_first()?;
        match name {
            b'q' => m.quiet = true,
            b'b' if token.is_empty() => decode_key(m),
            b'T' => m.exptime = signed(token),
            b'N' if m.ask == Ask::MetaCounter && m.exptime.is_none() => m.exptime = signed(token),
            b'F' => m.flags = number(token),
            b'C' => m.cas_unique = number(token),
            b'D' => m.delta = number(token),
            b'J' => m.initial = number(token),
            b'O' => m.opaque = number(token),
            b'S' if m.ask == Ask::MetaSet => size = size.or(number(token)),
            _ => {}
        }
    }
    if m.ask != Ask::MetaSet {
        return Some(Line::Whole);
    }
    let size = size.filter(|n| *n <= LONGEST_VALUE)?;
    m.bytes = Some(size);
    Some(Line::Value(size))
}

/// Keeps the flags of a meta command or response, if there are any.
pub fn keep_args(args: &[u8], m: &mut Message) {
    let args = args.trim_ascii();
    m.raw_args = (!args.is_empty()).then(|| m.keep(args));
}

/// Decodes a key that was sent in base64, so that it can contain any bytes.
pub fn decode_key(m: &mut Message) {
    let decoded = m.keys.first().and_then(|&key| base64::Engine::decode(&base64::prelude::BASE64_STANDARD, m.get(key)).ok());
    if let Some(key) = decoded {
        m.keys.clear();
        m.key(&key);
    }
}

fn slabs(mut words: Words<'_>, m: &mut Message) -> Option<Line> {
    (m.kind, m.ask) = (Kind::SlabCtrl, Ask::Okay);
    match words.next()? {
        b"reassign" => {
            m.command = "slabs reassign";
            m.classes = Some((signed(words.next()?)?, signed(words.next()?)?));
        }
        b"automove" => {
            m.command = "slabs automove";
            m.automove = Some(number(words.next()?)?);
        }
        _ => return None,
    }
    Some(Line::Whole)
}

fn lru_crawler(mut words: Words<'_>, m: &mut Message) -> Option<Line> {
    (m.kind, m.ask) = (Kind::LruCrawler, Ask::Okay);
    match words.next()? {
        b"enable" => m.command = "lru_crawler enable",
        b"disable" => m.command = "lru_crawler disable",
        b"sleep" => {
            m.command = "lru_crawler sleep";
            m.sleep_us = Some(number(words.next()?)?);
        }
        b"tocrawl" => {
            m.command = "lru_crawler tocrawl";
            m.value = Some(number(words.next()?)?);
        }
        b"crawl" => {
            m.command = "lru_crawler tocrawl"; // Packetbeat's name
            m.raw_args = Some(m.keep(words.0.trim_ascii()));
        }
        dump @ (b"metadump" | b"mgdump") => {
            m.command = if dump == b"metadump" { "lru_crawler metadump" } else { "lru_crawler mgdump" };
            m.ask = Ask::Dump;
            m.raw_args = Some(m.keep(words.0.trim_ascii()));
        }
        _ => return None,
    }
    Some(Line::Whole)
}

/// The kind of an unknown line of the client. `watch` is not reported, but changes which lines the server sends.
pub fn unknown(line: &[u8]) -> Ask {
    if line == b"watch" || line.starts_with(b"watch ") { Ask::Watch } else { Ask::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &[u8]) -> (Line, Message) {
        let mut m = Message::default();
        (request(line, &mut m), m)
    }

    #[test]
    fn requests() {
        let (line, m) = asked(b"cas a 1 -2 3 4 noreply");
        assert_eq!(line, Line::Value(3));
        assert_eq!((m.flags, m.exptime, m.bytes, m.cas_unique, m.noreply), (Some(1), Some(-2), Some(3), Some(4), Some(true)));
        let (line, m) = asked(b"gat 60 a  b ");
        assert_eq!((line, m.exptime, m.keys.len(), m.has_key(b"b")), (Line::Whole, Some(60), 2, true));
        let (line, m) = asked(b"ms k 5 T90 F7 c q O12 k");
        assert_eq!((line, m.exptime, m.flags, m.quiet, m.opaque), (Line::Value(5), Some(90), Some(7), true, Some(12)));
        assert_eq!(m.get(m.raw_args.unwrap()), b"T90 F7 c q O12 k");
        assert_eq!(asked(b"ms k S2 T90").0, Line::Value(2));
        assert!(asked(b"mg Zm9v b v").1.has_key(b"foo") && asked(b"mg ? b").1.has_key(b"?"));
        assert_eq!(asked(b"slabs reassign -1 2").1.classes, Some((-1, 2)));
        assert_eq!(asked(b"flush_all").1.exptime, Some(0));
        assert_eq!(asked(b"delete k 0 noreply").1.noreply, Some(true));
        for bad in
            [&b"get"[..], b"set a 0 0", b"set a 0 0 -1", b"set a 0 0 99999999999", b"incr a x", b"slabs", b"GET a", b"", b"ms k", b"quit x"]
        {
            assert_eq!(asked(bad).0, Line::Unknown, "{}", String::from_utf8_lossy(bad));
        }
    }
}

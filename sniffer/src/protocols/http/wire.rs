//! HTTP/1 on the wire (RFC 9112): heads, and where the next one may begin. Not bodies, and not what a head means.
//!
//! `httparse` reads heads. What it refuses but people send (folded lines, other 0.x and 1.x versions, spaces in targets, very many headers) is
//! mended in a copy and read once more.

use httparse::{Header, ParserConfig, Status};
use std::mem::MaybeUninit;

/// Bytes of a head, and of trailers. Servers refuse more than 8 to 32 KiB.
pub const MOST_HEAD: usize = 64 << 10;
/// Bytes of a line with the size of a chunk; extensions are hardly used.
pub const MOST_CHUNK_LINE: usize = 4 << 10;
/// The preface of HTTP/2 (RFC 9113, 3.4), as far as it is needed to know it.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Headers that are read without an allocation.
const FEW_HEADERS: usize = 96;
/// Headers of a head; more of them make it invalid. Servers refuse more than 100 or so.
const MOST_HEADERS: usize = 1000;
/// A request's first word: the longest registered method has 17 letters.
const MOST_METHOD: usize = 32;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The client, requests.
    Request,
    /// The server, responses.
    Response,
}

/// The first line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// `GET /path HTTP/1.1`
    Request {
        /// As it is written.
        method: &'a [u8],
        /// As it is written.
        target: &'a [u8],
        /// `1.1`
        version: &'static str,
    },
    /// `HTTP/1.1 200 OK`
    Response {
        /// 100 to 999
        status: u16,
        /// May be empty.
        phrase: &'a [u8],
    },
}

/// A whole head.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a, 'h> {
    /// As it came, with the empty line at its end.
    pub raw: &'a [u8],
    /// The first line.
    pub line: Line<'a>,
    /// The other ones, values without the white space around.
    pub headers: &'h [Header<'h>],
}

/// What the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// A whole head.
    Complete(T),
    /// The beginning of one.
    Partial,
    /// None.
    Invalid,
}

/// Reads the head that `data` begins with and hands it to `each`. `mend`: put right what is wrong and yet meant.
pub fn head<T>(data: &[u8], role: Role, mend: bool, each: impl FnOnce(&Head<'_, '_>) -> T) -> Parsed<T> {
    let mut room = [const { MaybeUninit::<Header<'_>>::uninit() }; FEW_HEADERS];
    let config = ParserConfig::default();
    let first = |end: usize| data.get(..end).and_then(|raw| raw.split(|&b| b == b'\n').next()).unwrap_or_default();
    match role {
        Role::Request => {
            if !is_method(data) {
                return if data.len() < MOST_METHOD && data.iter().all(|&b| is_token(b)) { Parsed::Partial } else { Parsed::Invalid };
            }
            let mut request = httparse::Request::new(&mut []);
            match config.parse_request_with_uninit_headers(&mut request, data, &mut room) {
                Ok(Status::Complete(len)) => {
                    let version = if request.version == Some(0) { "1.0" } else { "1.1" };
                    let (method, target) = (request.method.unwrap_or_default().as_bytes(), request.path.unwrap_or_default().as_bytes());
                    let line = Line::Request { method, target, version };
                    return Parsed::Complete(each(&Head { raw: &data[..len], line, headers: request.headers }));
                }
                Ok(Status::Partial) => return Parsed::Partial,
                Err(_) => {}
            }
        }
        Role::Response => {
            let mut response = httparse::Response::new(&mut []);
            match config.parse_response_with_uninit_headers(&mut response, data, &mut room) {
                Ok(Status::Complete(len)) => {
                    let Some(line) = status_line(first(len)) else { return Parsed::Invalid };
                    return Parsed::Complete(each(&Head { raw: &data[..len], line, headers: response.headers }));
                }
                Ok(Status::Partial) => return Parsed::Partial,
                Err(_) => {}
            }
        }
    }
    if !mend {
        return Parsed::Invalid;
    }
    let first = match memchr::memchr(b'\n', data) {
        Some(end) => &data[..end],
        None => return Parsed::Invalid,
    };
    let line = if role == Role::Request { request_line(first) } else { status_line(first) };
    let Some(line) = line else { return Parsed::Invalid };
    let Some(end) = terminator(data, 0) else { return Parsed::Partial };
    let mended = unfold(&data[first.len() + 1..end]);
    mended_headers(&mended, |headers| each(&Head { raw: &data[..end], line, headers })).map_or(Parsed::Invalid, Parsed::Complete)
}

fn mended_headers<T>(text: &[u8], each: impl FnOnce(&[Header<'_>]) -> T) -> Option<T> {
    let mut room = vec![httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut room);
    let mut config = ParserConfig::default();
    config.ignore_invalid_headers_in_requests(true);
    match config.parse_request(&mut request, text) {
        Ok(Status::Complete(_)) => Some(each(request.headers)),
        _ => None,
    }
}

/// Header lines behind a first line that httparse likes, each folded one (RFC 9112, 5.2) made one line.
fn unfold(lines: &[u8]) -> Vec<u8> {
    let mut text = b"GET / HTTP/1.1\r\n".to_vec();
    let mut begun = false;
    for line in lines.split_inclusive(|&b| b == b'\n') {
        if begun && matches!(line, [b' ' | b'\t', ..]) && !line.trim_ascii().is_empty() {
            let end = text.trim_ascii_end().len();
            text.truncate(end);
            text.push(b' ');
            text.extend_from_slice(line.trim_ascii_start());
        } else {
            text.extend_from_slice(line);
        }
        begun = true;
    }
    text
}

/// The end of the head: behind the first empty line, which is looked for from `from` on.
pub fn terminator(data: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(n) = memchr::memchr(b'\n', data.get(at..)?) {
        at += n + 1;
        match data.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

fn is_method(data: &[u8]) -> bool {
    let start = &data[..data.len().min(MOST_METHOD)];
    memchr::memchr(b' ', start).is_some_and(|n| n > 0)
}

/// `HTTP/1.1` → `1.1`
fn version(word: &[u8]) -> Option<&'static str> {
    match word.strip_prefix(b"HTTP/")? {
        b"1.1" => Some("1.1"),
        b"0.9" => Some("0.9"),
        b"1.2" => Some("1.2"),
        [b'0' | b'1', b'.', b'0'..=b'9'] => Some("1.0"),
        _ => None,
    }
}

fn request_line(line: &[u8]) -> Option<Line<'_>> {
    let line = line.trim_ascii_end();
    let (method, rest) = (line.split(|&b| b == b' ').next()?, memchr::memchr(b' ', line)? + 1);
    let last = memchr::memrchr(b' ', line)?;
    let target = line.get(rest..last)?.trim_ascii();
    let valid = !method.is_empty() && method.iter().all(|&b| is_token(b)) && !target.is_empty();
    valid.then_some(())?;
    Some(Line::Request { method, target, version: version(&line[last + 1..])? })
}

fn status_line(line: &[u8]) -> Option<Line<'_>> {
    let line = line.trim_ascii_end();
    version(line.get(..8)?)?;
    let rest = line[8..].trim_ascii_start();
    let status = rest.get(..3)?.iter().try_fold(0u16, |n, b| b.is_ascii_digit().then(|| n * 10 + u16::from(b - b'0')))?;
    let phrase = match &rest[3..] {
        [] => &[],
        [b' ', phrase @ ..] => phrase.trim_ascii(),
        _ => return None,
    };
    (status >= 100).then_some(Line::Response { status, phrase })
}

/// Methods by which a request is known where nothing else tells that one begins: RFC 9110, PATCH, WebDAV and its kin.
const METHODS: &[&[u8]] = &[
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"CONNECT ",
    b"PATCH ",
    b"TRACE ",
    b"PROPFIND ",
    b"PROPPATCH ",
    b"REPORT ",
    b"MKCOL ",
    b"COPY ",
    b"MOVE ",
    b"LOCK ",
    b"UNLOCK ",
    b"SEARCH ",
    b"MERGE ",
    b"PURGE ",
    b"SUBSCRIBE ",
    b"NOTIFY ",
    b"M-SEARCH ",
    b"QUERY ",
];
const ANSWER: &[u8] = b"HTTP/1.";

/// Whether a message of that side seems to begin here; `None`: more bytes will tell.
pub fn begins(data: &[u8], role: Role) -> Option<bool> {
    let starts = |word: &[u8]| data.starts_with(word);
    let may = |word: &[u8]| word.starts_with(data);
    match role {
        Role::Request if METHODS.iter().any(|m| starts(m)) => Some(true),
        Role::Request if METHODS.iter().any(|m| may(m)) => None,
        Role::Response if starts(ANSWER) => match data.get(7..13) {
            Some([b'0'..=b'9', b' ', a, b, c, b' ' | b'\r' | b'\n']) => Some([a, b, c].iter().all(|d| d.is_ascii_digit())),
            Some(_) => Some(false),
            None => None,
        },
        Role::Response if may(ANSWER) => None,
        _ => Some(false),
    }
}

/// The first place at or behind `from` where a message of that side may begin, and whether that is sure; `data.len()` where there is none.
pub fn next(data: &[u8], from: usize, role: Role) -> usize {
    let mut at = from;
    if role == Role::Request {
        // At the start of a segment, or behind a line.
        while at < data.len() {
            if begins(&data[at..], role) != Some(false) {
                return at;
            }
            match memchr::memchr(b'\n', &data[at..]) {
                Some(n) => at += n + 1,
                None => break,
            }
        }
        return data.len();
    }
    while at < data.len() {
        match memchr::memchr(b'H', &data[at..]) {
            Some(n) => at += n,
            None => break,
        }
        if begins(&data[at..], role) != Some(false) {
            return at;
        }
        at += 1;
    }
    data.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(data: &[u8], role: Role) -> String {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        match head(data, role, true, |h| {
            let mut s = match h.line {
                Line::Request { method, target, version } => format!("{} {} {version}", text(method), text(target)),
                Line::Response { status, phrase } => format!("{status} {}", text(phrase)),
            };
            for h in h.headers {
                s += &format!("|{}={}", h.name, text(h.value));
            }
            format!("{s}|{}", h.raw.len())
        }) {
            Parsed::Complete(s) => s,
            Parsed::Partial => "partial".into(),
            Parsed::Invalid => "invalid".into(),
        }
    }

    #[test]
    fn heads() {
        let request = |s: &str| show(s.as_bytes(), Role::Request);
        let response = |s: &str| show(s.as_bytes(), Role::Response);
        assert_eq!(request("GET / HTTP/1.1\r\nHost:  a \r\n\r\nrest"), "GET / 1.1|Host=a|29");
        assert_eq!(request("get / HTTP/1.0\nX:b\n\n"), "get / 1.0|X=b|20");
        assert_eq!(request("GET / HTTP/1.1\r\nA: b\r\n  c\r\n\td\r\nE: f\r\n\r\n"), "GET / 1.1|A=b c d|E=f|39");
        assert_eq!(request("GET /a b HTTP/1.2\r\nA: b\r\n\r\n"), "GET /a b 1.2|A=b|27");
        assert_eq!(request("GET / HTTP/0.9\r\nno colon\r\nA: b\r\n\r\n"), "GET / 0.9|A=b|34");
        assert_eq!(request("GET / HTTP/1.1\r\nHost: a"), "partial");
        assert_eq!(request("GE"), "partial");
        assert_eq!(request("GET / HTTP/2.0\r\n\r\n"), "invalid");
        assert_eq!(request("{\"a\": 1}"), "invalid");
        assert_eq!(request("\x16\x03\x01"), "invalid");
        assert_eq!(response("HTTP/1.1 200 OK\r\nA: b\r\n\r\n"), "200 OK|A=b|25");
        assert_eq!(response("HTTP/1.0 204\r\n\r\n"), "204 |16");
        assert_eq!(response("HTTP/1.1 404 Nicht gef\u{fc}nden\r\n\r\n"), "404 Nicht gef\u{fc}nden|32");
        assert_eq!(response("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"), "200 OK|A=b c|29");
        assert_eq!(response("HTTP/1.1 2x0 OK\r\n\r\n"), "invalid");
        assert_eq!(response("ICY 200 OK\r\n\r\n"), "invalid");
        assert_eq!(response("HTTP/1.1 20"), "partial");
        let many: String = (0..500).map(|i| format!("h{i}: {i}\r\n")).collect();
        assert!(request(&format!("GET / HTTP/1.1\r\n{many}\r\n")).contains("|h499=499|"));
    }

    #[test]
    fn where_heads_begin() {
        let body = b"x HTTP/1.x HTTP/1.1 2 }HTTP/1.1 200 OK\r\n";
        assert_eq!(next(body, 0, Role::Response), 23);
        assert_eq!(next(b"body HTTP/1", 0, Role::Response), 5);
        assert_eq!(next(b"GETTER\r\n\r\nGET / ", 0, Role::Request), 10);
        assert_eq!(next(b"a=GET \r\nP", 0, Role::Request), 8);
        assert_eq!(begins(b"", Role::Request), None);
    }
}

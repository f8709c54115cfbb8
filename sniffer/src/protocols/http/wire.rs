//! Parses header sections of HTTP/1 messages (RFC 9112), and finds where the next message may begin. This module does not parse bodies or
//! interpret headers.
//!
//! `httparse` parses well-formed header sections. The lenient functions below parse sections that `httparse` refuses but that servers and
//! clients accept: folded lines, NUL or a bare CR in a value, other versions, spaces in targets, very many headers.

use httparse::{Header, ParserConfig, Status};
use std::mem::MaybeUninit;

/// Maximum number of bytes of a header section that is recognised as HTTP, in addition to the limit `max_message_size`. Less than
/// the stream layer buffers.
pub const MOST_HEAD: usize = 9 << 20;
/// Maximum number of bytes of a header section that [`may_be_long`] does not recognise as HTTP, and of a trailer line.
/// Servers refuse header sections of more than 8 to 32 KiB.
pub const MOST_DOUBTFUL_HEAD: usize = 64 << 10;
/// Maximum number of bytes of a line with a chunk size; extensions are rare.
pub const MOST_CHUNK_LINE: usize = 4 << 10;
/// The first bytes of the HTTP/2 preface (RFC 9113, 3.4), which identify HTTP/2.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Number of headers that are parsed without an allocation.
const FEW_HEADERS: usize = 96;
/// Maximum number of headers of a message. After these only headers that determine the end of the body are parsed. Servers refuse
/// more than about 100.
const MOST_HEADERS: usize = 1000;
/// Maximum number of headers that determine the end of the body and come after [`MOST_HEADERS`].
const MOST_LATE_HEADERS: usize = 10;
/// Maximum number of bytes of a method: the longest registered one has 17 letters.
const MOST_METHOD: usize = 32;

/// The sender of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The client, which sends requests.
    Request,
    /// The server, which sends responses.
    Response,
}

/// The first line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A request line, for example `GET /path HTTP/1.1`.
    Request {
        /// The method, as sent.
        method: &'a [u8],
        /// The request target, as sent.
        target: &'a [u8],
        /// The HTTP version, for example `1.1`.
        version: &'static str,
    },
    /// A status line, for example `HTTP/1.1 200 OK`.
    Response {
        /// The status code, from 100 to 999.
        status: u16,
        /// The reason phrase; may be empty.
        phrase: &'a [u8],
    },
}

/// A complete header section.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a, 'h> {
    /// The bytes as captured, including the empty line at the end.
    pub raw: &'a [u8],
    /// The first line.
    pub line: Line<'a>,
    /// The headers; values without surrounding white space.
    pub headers: &'h [Header<'h>],
}

/// Result of parsing a header section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The header section is complete.
    Complete(T),
    /// The data may be the beginning of a header section.
    Partial,
    /// The data is not a header section.
    Invalid,
}

/// Parses the header section at the start of `data` and passes it to `each`. A header section that violates the
/// grammar is accepted if its meaning is clear.
pub fn head<T>(data: &[u8], role: Role, each: impl FnOnce(&Head<'_, '_>) -> T) -> Parsed<T> {
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
    let first = match memchr::memchr(b'\n', data) {
        Some(end) => &data[..end],
        None if may_be_first_line(data, role) => return Parsed::Partial,
        None => return Parsed::Invalid,
    };
    let line = if role == Role::Request { request_line(first) } else { status_line(first) };
    let Some(line) = line else { return Parsed::Invalid };
    let Some(end) = terminator(data, 0) else { return Parsed::Partial };
    let lines = unfold(&data[first.len() + 1..end]);
    Parsed::Complete(lenient_headers(&lines, |headers| each(&Head { raw: &data[..end], line, headers })))
}

/// Whether an incomplete line may become a start line.
fn may_be_first_line(data: &[u8], role: Role) -> bool {
    let method = data.iter().take_while(|&&b| is_token(b)).count();
    match role {
        Role::Request => method > 0 && !data.iter().any(|&b| b.is_ascii_control() && b != b'\t' && b != b'\r'),
        Role::Response => begins_response(data) != Some(false),
    }
}

/// Parses header lines. Lines without a valid name are left out.
fn lenient_headers<T>(lines: &[u8], each: impl FnOnce(&[Header<'_>]) -> T) -> T {
    let mut headers = Vec::new();
    for line in lines.split(|&b| b == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let name = line[..colon].trim_ascii_end();
        let Some(name) = std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && name.bytes().all(is_token)) else { continue };
        let frames = name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding");
        if headers.len() < MOST_HEADERS || (frames && headers.len() < MOST_HEADERS + MOST_LATE_HEADERS) {
            headers.push(Header { name, value: line[colon + 1..].trim_ascii() });
        }
    }
    each(&headers)
}

/// Joins each folded header line (RFC 9112, 5.2) to the one before it, and replaces NUL and bare CR by a space (RFC
/// 9110, 5.5; RFC 9112, 2.2).
fn unfold(lines: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(lines.len());
    for line in lines.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | 0);
        let folded = line.first().is_some_and(blank);
        let until = line.iter().rposition(|b| !blank(b)).map_or(0, |last| last + 1);
        let from = line.iter().position(|b| !blank(b)).unwrap_or(0);
        if from < until {
            if !text.is_empty() {
                text.push(if folded { b' ' } else { b'\n' });
            }
            text.extend(line[from..until].iter().map(|&b| if matches!(b, b'\r' | 0) { b' ' } else { b }));
        }
    }
    text
}

/// The offset at which the header section ends, after the first empty line. The search begins at `from`.
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

/// The version in `HTTP/1.1`. As in servers, only the first digit of each number is used: `1.10` is 1.1; `1.0.8` and
/// `1.` are 1.0.
fn version(word: &[u8]) -> Option<&'static str> {
    let (name, numbers) = word.split_at_checked(5)?;
    let numeric = |rest: &[u8]| rest.len() <= MOST_VERSION && rest.iter().all(|&b| b.is_ascii_digit() || b == b'.');
    if !name.eq_ignore_ascii_case(b"HTTP/") || !numeric(numbers) {
        return None;
    }
    match numbers {
        [b'1', b'.', b'1', ..] => Some("1.1"),
        [b'0', b'.', b'9', ..] => Some("0.9"),
        [b'1', b'.', b'2', ..] => Some("1.2"),
        [b'0' | b'1', b'.', ..] => Some("1.0"),
        [b'2', b'.', ..] => Some("2.0"),
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
    let (word, rest) = line.split_at(memchr::memchr(b' ', line)?);
    version(word)?;
    let rest = rest.trim_ascii_start();
    let status = rest.get(..3)?.iter().try_fold(0u16, |n, b| b.is_ascii_digit().then(|| n * 10 + u16::from(b - b'0')))?;
    let phrase = match &rest[3..] {
        [] => &[],
        [b' ', phrase @ ..] => phrase.trim_ascii(),
        _ => return None,
    };
    (status >= 100).then_some(Line::Response { status, phrase })
}

/// Methods by which a request is recognised if its line is incomplete, and in the search for the next message: those of
/// the IANA registry (HTTP Method Registry), and others that are widely used.
#[rustfmt::skip]
const METHODS: &[&[u8]] = &[
    b"ACL ", b"BASELINE-CONTROL ", b"BIND ", b"CHECKIN ", b"CHECKOUT ", b"CONNECT ", b"COPY ", b"DELETE ", b"GET ", b"HEAD ", b"LABEL ",
    b"LINK ", b"LOCK ", b"MERGE ", b"MKACTIVITY ", b"MKCALENDAR ", b"MKCOL ", b"MKREDIRECTREF ", b"MKWORKSPACE ", b"MOVE ", b"OPTIONS ",
    b"ORDERPATCH ", b"PATCH ", b"POST ", b"PROPFIND ", b"PROPPATCH ", b"PUT ", b"QUERY ", b"REBIND ", b"REPORT ", b"SEARCH ", b"TRACE ",
    b"UNBIND ", b"UNCHECKOUT ", b"UNLINK ", b"UNLOCK ", b"UPDATE ", b"UPDATEREDIRECTREF ", b"VERSION-CONTROL ",
    b"BITS_POST ", b"CCM_POST ", b"M-SEARCH ", b"NOTIFY ", b"PURGE ", b"RPC_IN_DATA ", b"RPC_OUT_DATA ", b"SUBSCRIBE ", b"UNSUBSCRIBE ",
];
/// Maximum number of characters of the version in a start line.
const MOST_VERSION: usize = 6;
/// Length in bytes of an incomplete request line from which method and target are enough to recognise it. URLs are
/// rarely longer.
const LONG_LINE: usize = 2048;

/// Whether `data` begins with a status line; `None` if more bytes are needed.
fn begins_response(data: &[u8]) -> Option<bool> {
    let (name, rest) = data.split_at(data.len().min(5));
    if !b"HTTP/".starts_with(name) {
        return Some(false);
    }
    let numbers = rest.iter().take_while(|&&b| b.is_ascii_digit() || b == b'.').count();
    let status = match rest.split_at(numbers) {
        (version, []) => return if version.len() <= MOST_VERSION { None } else { Some(false) },
        (version, [b' ', status @ ..]) if version.contains(&b'.') && version.len() <= MOST_VERSION => status,
        _ => return Some(false),
    };
    match status.get(..4) {
        Some([a, b, c, b' ' | b'\r' | b'\n']) => Some([a, b, c].iter().all(|d| d.is_ascii_digit())),
        Some(_) => Some(false),
        None if status.iter().take(3).all(u8::is_ascii_digit) => None,
        None => Some(false),
    }
}

/// Whether a message of this side seems to begin here; `None` if more bytes are needed. A known method is enough while
/// the request line is incomplete.
pub fn begins(data: &[u8], role: Role) -> Option<bool> {
    match role {
        Role::Response => begins_response(data),
        Role::Request if METHODS.iter().any(|m| data.starts_with(m)) => {
            Some(memchr::memchr(b'\n', data).is_none_or(|end| request_line(&data[..end]).is_some()))
        }
        Role::Request if METHODS.iter().any(|m| m.starts_with(data)) => None,
        Role::Request => Some(false),
    }
}

/// Whether `data` begins like a message of this side. The header section may then be longer than [`MOST_DOUBTFUL_HEAD`]. The function takes
/// constant time.
pub fn may_be_long(data: &[u8], role: Role) -> bool {
    match role {
        Role::Request => METHODS.iter().any(|m| data.starts_with(m)),
        Role::Response => begins_response(data) == Some(true),
    }
}

/// Whether `data`, the first bytes of a connection, is HTTP; `None` if more bytes are needed. The end of a request line
/// (` HTTP/1.1`) decides, because other protocols have requests with the same methods (SIP, RTSP and ICAP also begin
/// with OPTIONS).
pub fn is_http(data: &[u8]) -> Option<bool> {
    if data.starts_with(PREFACE) {
        return Some(true);
    }
    let response = begins_response(data);
    if response != Some(false) || PREFACE.starts_with(data) {
        return response.filter(|&is| is);
    }
    if let Some(end) = memchr::memchr(b'\n', data) {
        return Some(request_line(&data[..end]).is_some());
    }
    // Lower-case methods are not used in HTTP, but other protocols have such commands (memcache).
    let method = data.iter().take(MOST_METHOD).take_while(|&&b| is_token(b) && !b.is_ascii_lowercase()).count();
    match &data[method..] {
        [] if method < MOST_METHOD => return None,
        [b' ', target @ ..] if method > 0 => match target {
            [b'/' | b'*', ..] | [] => {}
            // The authority of a CONNECT, or an absolute URI (RFC 9112, 3.2).
            _ if data.starts_with(b"CONNECT ") => {}
            _ if target.len() < 8 && (b"https://".starts_with(target) || b"http://".starts_with(target)) => {}
            _ if target.starts_with(b"http://") || target.starts_with(b"https://") => {}
            // Other targets are rare. To recognise them, the complete line is needed.
            _ => return if data.len() < LONG_LINE { None } else { Some(false) },
        },
        _ => return Some(false),
    }
    (data.len() >= LONG_LINE).then(|| METHODS.iter().any(|m| data.starts_with(m)))
}

/// The first offset from `from` on at which a message of this side may begin; `data.len()` if there is none.
pub fn next(data: &[u8], from: usize, role: Role) -> usize {
    let mut at = from;
    if role == Role::Request {
        // A request may begin at the start of the data or after a line end.
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
        match head(data, role, |h| {
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
        assert_eq!(request("GET / HTTP/1.0.8\r\n\r\n"), "GET / 1.0|20");
        assert_eq!(request("GET / HTTP/1.\r\n\r\n"), "GET / 1.0|17");
        assert_eq!(request("GET / HTTP/2.0\r\n\r\n"), "GET / 2.0|18");
        assert_eq!(request("GET / http/1.1\r\n\r\n"), "GET / 1.1|18");
        for line in ["GET / HTTP/1.1x", "GET / HTTP/11111111.1", "GET / HTTP/", "GET / SIP/2.0", "GET / RTSP/1.0"] {
            assert_eq!(request(&format!("{line}\r\n\r\n")), "invalid", "{line}");
        }
        for (line, status) in
            [("HTTP/1.10 200", 200), ("HTTP/1.01 204", 204), ("HTTP/1.00 301", 301), ("HTTP/2.0 500", 500), ("HTTP/1. 200", 200)]
        {
            assert_eq!(response(&format!("{line} X\r\n\r\n")), format!("{status} X|{}", line.len() + 6));
        }
        assert_eq!(request("{\"a\": 1}"), "invalid");
        assert_eq!(request("\x16\x03\x01"), "invalid");
        assert_eq!(response("HTTP/1.1 200 OK\r\nA: b\r\n\r\n"), "200 OK|A=b|25");
        assert_eq!(response("HTTP/1.0 204\r\n\r\n"), "204 |16");
        assert_eq!(response("HTTP/1.1 404 Nicht gef\u{fc}nden\r\n\r\n"), "404 Nicht gef\u{fc}nden|32");
        assert_eq!(response("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"), "200 OK|A=b c|29");
        assert_eq!(response("HTTP/1.1 2x0 OK\r\n\r\n"), "invalid");
        assert_eq!(response("ICY 200 OK\r\n\r\n"), "invalid");
        assert_eq!(response("HTTP/1.1 20"), "partial");
        assert_eq!(response("HTTP/1.1 200 OK\r\nA: b\0\r\nC:\rd\r\n\r\n"), "200 OK|A=b|C=d|32");
        assert_eq!(response("HTTP/1.1 200 O\0K\r\n\0A: b\r\nC: d\re\0f\r\n\r\n"), "200 O\0K|A=b|C=d e f|37");
        assert_eq!(response("HTTP/1.1 200 OK\r\nA: b\r\n\r\r\nC: d\r\n\r\n"), "200 OK|A=b|C=d|34");
        assert_eq!(request("GET / HTTP/1.1\nA: b\r\rc\nD e: f\n\x7fG: h\nI: j\n\n"), "GET / 1.1|A=b  c|I=j|42");
        let many: String = (0..500).map(|i| format!("h{i}: {i}\r\n")).collect();
        assert!(request(&format!("GET / HTTP/1.1\r\n{many}\r\n")).contains("|h499=499|"));
        let many: String = (0..2000).map(|i| format!("h{i}: {i}\r\n")).collect();
        let late = request(&format!("GET / HTTP/1.1\r\n{many}Content-Length: 7\r\n\r\n"));
        assert!(late.contains("|h999=999|Content-Length=7|") && !late.contains("h1000"), "{late}");
    }

    #[test]
    fn where_heads_begin() {
        let body = b"x HTTP/1.x HTTP/1.1 2 }HTTP/1.1 200 OK\r\n";
        assert_eq!(next(body, 0, Role::Response), 23);
        assert_eq!(next(b"body HTTP/1", 0, Role::Response), 5);
        assert_eq!(next(b"GETTER\r\n\r\nGET / ", 0, Role::Request), 10);
        assert_eq!(next(b"a=GET \r\nP", 0, Role::Request), 8);
        assert_eq!(begins(b"", Role::Request), None);
        assert_eq!(begins(b"OPTIONS sip:a@b SIP/2.0\r\n", Role::Request), Some(false));
        assert_eq!(begins(b"UNSUBSCRIBE /x HTTP/1.1\r\n", Role::Request), Some(true));
    }
}

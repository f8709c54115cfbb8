//! Parses SIP messages (RFC 3261), their URIs and addresses, and their SDP bodies (RFC 8866). The results are texts
//! that borrow from the packet.

use std::borrow::Cow;

/// Maximum number of bytes of start line and headers. RFC 3261 has no limit; servers accept 8 to 64 KiB.
pub const LONGEST_HEAD: usize = 64 << 10;
/// Maximum number of header lines that are parsed.
const MOST_HEADERS: usize = 256;

/// The start line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// A request line, for example `INVITE sip:x SIP/2.0`.
    Request {
        /// The method, as sent.
        method: &'a [u8],
        /// The URI, as sent.
        uri: &'a [u8],
        /// The version: the part after `SIP/`.
        version: &'a [u8],
    },
    /// A status line, for example `SIP/2.0 200 OK`.
    Response {
        /// The version: the part after `SIP/`.
        version: &'a [u8],
        /// The status code.
        code: u16,
        /// The reason phrase, as sent.
        phrase: &'a [u8],
    },
}

/// The methods of the IANA registry (SIP Methods).
const METHODS: [&[u8]; 14] = [
    b"ACK",
    b"BYE",
    b"CANCEL",
    b"INFO",
    b"INVITE",
    b"MESSAGE",
    b"NOTIFY",
    b"OPTIONS",
    b"PRACK",
    b"PUBLISH",
    b"REFER",
    b"REGISTER",
    b"SUBSCRIBE",
    b"UPDATE",
];

/// Whether `method` is a registered one.
pub fn is_known(method: &[u8]) -> bool {
    METHODS.contains(&method)
}

/// Parses a start line (without its line end).
pub fn start_line(line: &[u8]) -> Option<Start<'_>> {
    let mut parts = line.splitn(3, |b| *b == b' ');
    let (first, second, third) = (parts.next()?, parts.next()?, parts.next());
    if let Some(version) = first.strip_prefix(b"SIP/") {
        let code = std::str::from_utf8(second).ok().filter(|c| c.len() == 3)?.parse().ok()?;
        return Some(Start::Response { version, code, phrase: third.unwrap_or_default() });
    }
    let version = third?.strip_prefix(b"SIP/")?;
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(b);
    (!first.is_empty() && first.iter().all(token) && !second.is_empty()).then_some(Start::Request { method: first, uri: second, version })
}

/// The end of the header section: the offset of the body. `None` if the empty line is missing.
pub fn head_end(data: &[u8]) -> Option<usize> {
    memchr::memmem::find(data, b"\r\n\r\n").map(|at| at + 4)
}

/// The headers of a message, in order. Their names are kept as they were sent.
#[derive(Debug, Default)]
pub struct Headers<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> Headers<'a> {
    /// Parses the lines after the start line. Lines that are not headers are left out.
    pub fn parse(lines: &'a [u8]) -> Self {
        let line = |line: &'a [u8]| {
            let colon = memchr::memchr(b':', line)?;
            Some((line[..colon].trim_ascii(), line[colon + 1..].trim_ascii()))
        };
        Self(lines.split(|b| *b == b'\n').filter_map(line).take(MOST_HEADERS).collect())
    }

    /// The values of a header, given by its long name in lower case.
    pub fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + '_ {
        let short = SHORT.iter().find(|(_, long)| *long == name).map(|(short, _)| *short);
        let is = move |(n, _): &&(&[u8], &[u8])| {
            n.eq_ignore_ascii_case(name.as_bytes()) || short.is_some_and(|s| n.len() == 1 && n[0].eq_ignore_ascii_case(&s))
        };
        self.0.iter().filter(is).map(|(_, value)| *value)
    }

    /// The first value of a header.
    pub fn get(&self, name: &'static str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The first value of a header as a number.
    pub fn number(&self, name: &'static str) -> Option<u64> {
        number(self.get(name)?)
    }
}

/// One-letter header names (RFC 3261 section 20, and the RFCs that added more).
const SHORT: &[(u8, &str)] = &[
    (b'a', "accept-contact"),
    (b'b', "referred-by"),
    (b'c', "content-type"),
    (b'd', "request-disposition"),
    (b'e', "content-encoding"),
    (b'f', "from"),
    (b'i', "call-id"),
    (b'j', "reject-contact"),
    (b'k', "supported"),
    (b'l', "content-length"),
    (b'm', "contact"),
    (b'o', "event"),
    (b'r', "refer-to"),
    (b's', "subject"),
    (b't', "to"),
    (b'u', "allow-events"),
    (b'v', "via"),
    (b'x', "session-expires"),
    (b'y', "identity"),
];

/// Joins folded header lines (RFC 3261 section 7.3.1); borrowed if there are none.
pub fn unfold(head: &[u8]) -> Cow<'_, [u8]> {
    let folded = |w: &[u8]| w[0] == b'\n' && matches!(w[1], b' ' | b'\t');
    if !head.windows(2).any(folded) {
        return head.into();
    }
    let mut out: Vec<u8> = Vec::with_capacity(head.len());
    for line in head.split_inclusive(|b| *b == b'\n') {
        if matches!(line.first(), Some(b' ' | b'\t')) && !out.is_empty() {
            while out.last().is_some_and(u8::is_ascii_whitespace) {
                out.pop();
            }
            out.push(b' ');
            out.extend_from_slice(line.trim_ascii_start());
        } else {
            out.extend_from_slice(line);
        }
    }
    out.into()
}

/// Parses a decimal number.
pub fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

/// A URI: `scheme:user:password@host:port;parameters` (RFC 3261 section 19.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The complete URI.
    pub original: &'a [u8],
    /// The scheme: `sip`, `sips`, `tel`, …
    pub scheme: &'a [u8],
    /// The user, without the password.
    pub username: &'a [u8],
    /// The host, without the brackets of an IPv6 address.
    pub host: &'a [u8],
    /// The port; 0 if absent.
    pub port: u16,
    /// The parameters after the host, without the first `;`.
    pub parameters: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Parses a URI; missing parts are empty.
    pub fn parse(original: &'a [u8]) -> Self {
        let Some(colon) = memchr::memchr(b':', original) else { return Self { original, ..Self::default() } };
        let (scheme, rest) = (&original[..colon], &original[colon + 1..]);
        let rest = rest.split(|b| *b == b'?').next().unwrap_or_default();
        // A user may contain `;`, but a parameter may not contain `@`.
        let (user, rest) = match memchr::memrchr(b'@', rest) {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (&rest[..0], rest),
        };
        let username = user.split(|b| *b == b':').next().unwrap_or_default();
        let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
        let (authority, parameters) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
        let (host, port) = match authority.strip_prefix(b"[").and_then(|r| memchr::memchr(b']', r).map(|at| (&r[..at], &r[at + 1..]))) {
            Some((host, after)) => (host, after.strip_prefix(b":").unwrap_or_default()),
            None => match memchr::memchr(b':', authority) {
                Some(at) => (&authority[..at], &authority[at + 1..]),
                None => (authority, &authority[..0]),
            },
        };
        let port = number(port).and_then(|p| u16::try_from(p).ok()).unwrap_or(0);
        Self { original, scheme, username, host, port, parameters }
    }
}

/// An address: `"Display" <uri>;tag=x` (RFC 3261 section 20.10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address<'a> {
    /// The display name, without quotes.
    pub display: &'a [u8],
    /// The URI.
    pub uri: Uri<'a>,
    /// Parameters of the header, without the first `;`.
    pub parameters: &'a [u8],
}

impl<'a> Address<'a> {
    /// Parses the first address of a header's value.
    pub fn parse(value: &'a [u8]) -> Self {
        let open = unquoted(value, b'<');
        let Some(open) = open else {
            // Without angle brackets the parameters belong to the header.
            let end = value.iter().position(|b| matches!(b, b';' | b',')).unwrap_or(value.len());
            return Self {
                uri: Uri::parse(value[..end].trim_ascii()),
                parameters: value.get(end + 1..).unwrap_or_default(),
                ..Self::default()
            };
        };
        let display = value[..open].trim_ascii();
        let display = display.strip_prefix(b"\"").and_then(|d| d.strip_suffix(b"\"")).unwrap_or(display);
        let rest = &value[open + 1..];
        let close = memchr::memchr(b'>', rest).unwrap_or(rest.len());
        let after = rest.get(close + 1..).unwrap_or_default();
        let after = &after[..unquoted(after, b',').unwrap_or(after.len())];
        let parameters = after.trim_ascii_start().strip_prefix(b";").unwrap_or_default();
        Self { display, uri: Uri::parse(&rest[..close]), parameters }
    }
}

/// The position of the first `wanted` outside of quotes.
fn unquoted(text: &[u8], wanted: u8) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.iter().position(|&b| {
        let found = b == wanted && !quoted;
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        found
    })
}

/// The value of a parameter in `a=1;b="2"` (or, with `,`, of an Authorization header).
pub fn parameter<'a>(parameters: &'a [u8], separator: u8, name: &str) -> Option<&'a [u8]> {
    let mut rest = parameters;
    loop {
        let end = unquoted(rest, separator).unwrap_or(rest.len());
        let part = rest[..end].trim_ascii();
        if let Some(equals) = memchr::memchr(b'=', part)
            && part[..equals].trim_ascii().eq_ignore_ascii_case(name.as_bytes())
        {
            let value = part[equals + 1..].trim_ascii();
            return Some(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value));
        }
        rest = rest.get(end + 1..)?;
    }
}

/// The `o=` line of an SDP body (RFC 8866, 5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SdpOwner<'a> {
    /// The user name, without quotes.
    pub username: &'a [u8],
    /// The session id.
    pub session_id: &'a [u8],
    /// The version of the session description.
    pub version: &'a [u8],
    /// The address or name of the host.
    pub address: &'a [u8],
}

/// Parses `username session-id version IN IP4 address`. The line is parsed from its end, because some senders put
/// spaces into the user name, which the standard forbids.
pub fn sdp_owner(line: &[u8]) -> SdpOwner<'_> {
    let mut rest = line.trim_ascii();
    let mut last_word = || {
        let start = rest.iter().rposition(u8::is_ascii_whitespace).map_or(0, |at| at + 1);
        let (before, word) = rest.split_at(start);
        rest = before.trim_ascii_end();
        word
    };
    let (address, _address_type, _network_type, version, session_id) = (last_word(), last_word(), last_word(), last_word(), last_word());
    let username = rest.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(rest);
    SdpOwner { username: username.trim_ascii(), session_id, version, address }
}

/// The address or name in a `c=` line (RFC 8866, 5.7): of `IN IP4 224.2.36.42/127` the part before the `/`.
pub fn sdp_connection(line: &[u8]) -> &[u8] {
    let word = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(2).unwrap_or_default();
    word.split(|b| *b == b'/').next().unwrap_or_default()
}

/// The session level of an SDP body: the values of the first line of each type before the first `m=`.
pub fn sdp_line(body: &[u8], kind: u8) -> Option<&[u8]> {
    let lines = body.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.take_while(|line| !line.starts_with(b"m=")).find_map(|line| line.strip_prefix(&[kind, b'=']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_lines() {
        assert_eq!(start_line(b"INVITE sip:a@b SIP/2.0"), Some(Start::Request { method: b"INVITE", uri: b"sip:a@b", version: b"2.0" }));
        assert_eq!(start_line(b"SIP/2.0 180 Ringing now"), Some(Start::Response { version: b"2.0", code: 180, phrase: b"Ringing now" }));
        assert_eq!(start_line(b"SIP/2.0 200"), Some(Start::Response { version: b"2.0", code: 200, phrase: b"" }));
        for bad in ["GET / HTTP/1.1", "SIP/2.0 xyz", "", "INVITE sip:a", "IN\u{1}TE a SIP/2.0"] {
            assert_eq!(start_line(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn uris() {
        let u = Uri::parse(b"sips:alice;x=1:secret@[fd00::1]:5061;transport=TCP?subject=x");
        assert_eq!(
            (u.scheme, u.username, u.host, u.port, u.parameters),
            (&b"sips"[..], &b"alice;x=1"[..], &b"fd00::1"[..], 5061, &b"transport=TCP"[..])
        );
        let u = Uri::parse(b"tel:+4930123");
        assert_eq!((u.scheme, u.username, u.host, u.port), (&b"tel"[..], &b""[..], &b"+4930123"[..], 0));
        assert_eq!(Uri::parse(b"nothing").original, b"nothing");
    }

    #[test]
    fn addresses() {
        let a = Address::parse(b"\"A <b>, \\\"c\\\"\" <sip:x@y;lr> ;tag=1;q=0.5, <sip:z@y>");
        assert_eq!((a.display, a.uri.original), (&b"A <b>, \\\"c\\\""[..], &b"sip:x@y;lr"[..]));
        assert_eq!((parameter(a.parameters, b';', "Q"), parameter(a.parameters, b';', "tag")), (Some(&b"0.5"[..]), Some(&b"1"[..])));
        let a = Address::parse(b"sip:x@y;tag=2");
        assert_eq!((a.uri.host, parameter(a.parameters, b';', "tag")), (&b"y"[..], Some(&b"2"[..])));
    }

    #[test]
    fn headers_short_long_and_folded() {
        let text = unfold(b"f: <sip:a@b>\r\n ;tag=1\r\nVIA: one\r\nv: two\r\nbroken\r\nl: 7\r\n");
        let h = Headers::parse(&text);
        assert_eq!(h.get("from"), Some(&b"<sip:a@b> ;tag=1"[..]));
        assert_eq!(h.all("via").collect::<Vec<_>>(), [b"one", b"two"]);
        assert_eq!((h.number("content-length"), h.get("to")), (Some(7), None));
    }

    #[test]
    fn owners_and_addresses_of_sdp() {
        let owner = |line: &str| {
            let o = sdp_owner(line.as_bytes());
            [o.username, o.session_id, o.version, o.address].map(|word| String::from_utf8_lossy(word).into_owned())
        };
        assert_eq!(owner("- 1 2 IN IP4 h"), ["-", "1", "2", "h"]);
        assert_eq!(owner("\"alice\" 28 29 IN IP4 192.0.2.10"), ["alice", "28", "29", "192.0.2.10"]);
        assert_eq!(owner("\"Alice B. Smith\" 28 29 IN IP6 2001:db8::1 "), ["Alice B. Smith", "28", "29", "2001:db8::1"]);
        assert_eq!(owner("Alice Smith 28  29 IN IP4 h"), ["Alice Smith", "28", "29", "h"]);
        assert_eq!(owner("28 29 IN IP4 h"), ["", "28", "29", "h"]);
        assert_eq!(owner("\""), ["", "", "", "\""]);
        assert_eq!(owner(""), ["", "", "", ""]);
        for (line, address) in [
            ("IN IP4 192.0.2.1", "192.0.2.1"),
            ("IN IP4 224.2.36.42/127", "224.2.36.42"),
            ("IN IP4 224.2.1.1/127/3", "224.2.1.1"),
            ("IN IP6 ff15::101/3", "ff15::101"),
            ("IN  IP4  media.example.org", "media.example.org"),
            ("IN IP4", ""),
            ("", ""),
        ] {
            assert_eq!(sdp_connection(line.as_bytes()), address.as_bytes(), "{line}");
        }
    }

    #[test]
    fn session_level_of_sdp() {
        let body = b"v=0\r\no=- 1 2 IN IP4 h\r\nm=audio\r\nc=IN IP4 media\r\n";
        assert_eq!((sdp_line(body, b'v'), sdp_line(body, b'c')), (Some(&b"0"[..]), None));
    }
}

//! Request targets, hosts and parameters (RFC 9112, 3.2; RFC 3986; forms as in the URL standard). This module works only on text and
//! resolves no names.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use std::{borrow::Cow, net::IpAddr};

/// Maximum number of parameters of one request; further ones are left out. Servers accept about a thousand.
const MOST_PARAMETERS: usize = 10_000;

/// Bytes that are escaped in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');
/// Bytes that are escaped in a parameter; a space becomes `+`.
const PARAMETER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

/// The parts of a request target, as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target<'a> {
    /// The host that a proxy is to contact.
    pub authority: Option<&'a [u8]>,
    /// The path, escaped.
    pub path: &'a [u8],
    /// The part after the `?`.
    pub query: &'a [u8],
}

impl<'a> Target<'a> {
    /// Splits `target`. `connect` is set for the target of a CONNECT.
    pub fn new(target: &'a [u8], connect: bool) -> Self {
        if connect {
            return Self { authority: Some(target), ..Self::default() };
        }
        let target = cut(target, b'#').0;
        let (authority, rest) = match memchr::memmem::find(target, b"://") {
            Some(n) if !target.starts_with(b"/") => {
                let rest = &target[n + 3..];
                let (authority, rest) = rest.split_at(memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len()));
                (Some(authority.rsplit(|&b| b == b'@').next().unwrap_or(authority)), rest)
            }
            _ => (None, target),
        };
        let (path, query) = cut(rest, b'?');
        Self { authority, path, query: query.unwrap_or_default() }
    }
}

/// The parts before and after the first `at`.
fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, text) {
        Some(n) => (&text[..n], Some(&text[n + 1..])),
        None => (text, None),
    }
}

/// Splits a host into name and port. An IPv6 address is returned without its brackets.
pub fn host_port(host: &[u8]) -> (&[u8], Option<u16>) {
    let number = |port: &[u8]| std::str::from_utf8(port).ok()?.parse().ok().filter(|&n| n != 0);
    let (name, port) = match host {
        [b'[', rest @ ..] => match cut(rest, b']') {
            (name, Some([])) => (name, None),
            (name, Some([b':', port @ ..])) => (name, Some(port)),
            _ => return (host, None),
        },
        _ => match cut(host, b':') {
            (name, Some(port)) if !port.contains(&b':') => (name, Some(port)),
            _ => (host, None),
        },
    };
    match port {
        None | Some([]) => (name, None),
        Some(port) => number(port).map_or((host, None), |n| (name, Some(n))),
    }
}

/// The address in a header that names the client of a proxy: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]:80`, with or without quotes, or the `for` of a Forwarded header (RFC 7239). `None` for names,
/// `unknown` and obfuscated identifiers.
pub fn forwarded_address(value: &[u8]) -> Option<IpAddr> {
    let mut text = std::str::from_utf8(value).ok()?;
    if let Some(node) = text.split(';').find_map(|pair| {
        let (name, node) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(node)
    }) {
        text = node;
    }
    let text = text.trim().trim_matches('"');
    let address = |text: &str| text.parse().ok();
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, port) = rest.split_once(']')?;
        return address(inner).filter(|ip: &IpAddr| ip.is_ipv6() && (port.is_empty() || port.starts_with(':')));
    }
    address(text).or_else(|| address(text.split_once(':')?.0).filter(IpAddr::is_ipv4))
}

/// The path with its escapes decoded.
pub fn unescaped(path: &[u8]) -> Cow<'_, [u8]> {
    percent_decode(path).into()
}

/// Writes `http://host:port/path`; `path` is unescaped.
pub fn write_full(out: &mut Vec<u8>, host: &[u8], port: u16, path: &[u8]) {
    out.extend_from_slice(b"http://");
    if host.contains(&b':') {
        out.push(b'[');
        out.extend_from_slice(host);
        out.push(b']');
    } else {
        out.extend_from_slice(host);
    }
    if port != 80 {
        out.push(b':');
        out.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
    }
    // The target `*` means the server itself and not a path (RFC 9112, 3.3).
    if path != b"*" {
        if !path.is_empty() && !path.starts_with(b"/") {
            out.push(b'/');
        }
        percent_encode(path, PATH).for_each(|part| out.extend_from_slice(part.as_bytes()));
    }
}

fn pairs(text: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    text.split(|&b| b == b'&').filter(|pair| !pair.is_empty()).take(MOST_PARAMETERS).map(|pair| {
        let (name, value) = cut(pair, b'=');
        (unformed(name), unformed(value.unwrap_or_default()))
    })
}

/// Decodes a parameter of a form.
fn unformed(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return text.into();
    }
    let spaced: Vec<u8> = text.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
    percent_decode(&spaced).collect::<Vec<u8>>().into()
}

/// Writes the parameters of the query and of a form, sorted by name and encoded as a form. Those of the form override
/// those of the query.
pub fn write_parameters(out: &mut Vec<u8>, query: &[u8], form: &[u8], hidden: impl Fn(&[u8]) -> bool) {
    if query.is_empty() && form.is_empty() {
        return;
    }
    let both = pairs(query).map(|p| (p, false)).chain(pairs(form).map(|p| (p, true)));
    let mut all: Vec<_> = both.map(|((name, value), of_form)| (name, of_form, value)).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0)); // The sort is stable, so values of the same name keep their order.
    let mut first = true;
    for group in all.chunk_by(|a, b| a.0 == b.0) {
        let formed = group.iter().any(|p| p.1);
        for (name, _, value) in group.iter().filter(|p| p.1 || !formed) {
            if !std::mem::take(&mut first) {
                out.push(b'&');
            }
            write_encoded(out, name);
            out.push(b'=');
            write_encoded(out, if hidden(name) { b"xxxxx" } else { value });
        }
    }
}

fn write_encoded(out: &mut Vec<u8>, text: &[u8]) {
    for part in percent_encode(text, PARAMETER) {
        out.extend(part.bytes().map(|b| if b == b' ' { b'+' } else { b }));
    }
}

/// Writes the parameters of a query or form unchanged, with hidden values masked.
pub fn write_masked(out: &mut Vec<u8>, text: &[u8], hidden: impl Fn(&[u8]) -> bool) {
    for (i, pair) in text.split(|&b| b == b'&').enumerate() {
        if i > 0 {
            out.push(b'&');
        }
        match cut(pair, b'=') {
            (name, Some(_)) if hidden(&unformed(name)) => {
                out.extend_from_slice(name);
                out.extend_from_slice(b"=xxxxx");
            }
            _ => out.extend_from_slice(pair),
        }
    }
}

/// Writes text that may contain URLs, with hidden values in their queries masked. A query begins at a `?`; `in_query`:
/// the text begins inside a query. Returns whether the text ends inside one.
pub fn write_masked_urls(out: &mut Vec<u8>, text: &[u8], mut in_query: bool, hidden: impl Fn(&[u8]) -> bool) -> bool {
    const BEFORE_NAME: &[u8] = b"?&;# \t\r\n\"<>";
    const BEHIND_VALUE: &[u8] = b"& \t\r\n\"<>";
    let mut rest = text;
    while !rest.is_empty() {
        // At the start of each iteration, `rest` begins where a parameter name may begin.
        let end = rest.iter().position(|b| *b == b'=' || BEFORE_NAME.contains(b)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        out.extend_from_slice(name);
        rest = behind;
        let Some((&separator, behind)) = rest.split_first() else { break };
        out.push(separator);
        rest = behind;
        in_query |= separator == b'?';
        if separator == b'=' {
            let hides = in_query && hidden(&unformed(name));
            let stop = |b: &u8| if hides { BEHIND_VALUE.contains(b) } else { BEFORE_NAME.contains(b) };
            let (value, behind) = rest.split_at(rest.iter().position(stop).unwrap_or(rest.len()));
            out.extend_from_slice(if hides { b"xxxxx" } else { value });
            rest = behind;
        }
    }
    in_query
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(f: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = vec![];
        f(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn targets() {
        let t = |target: &'static str, connect| Target::new(target.as_bytes(), connect);
        let is = |authority: Option<&'static str>, path: &'static str, query: &'static str| Target {
            authority: authority.map(str::as_bytes),
            path: path.as_bytes(),
            query: query.as_bytes(),
        };
        assert_eq!(t("/a?b=c?d#e", false), is(None, "/a", "b=c?d"));
        assert_eq!(t("/a?u=http://x/", false), is(None, "/a", "u=http://x/"));
        assert_eq!(t("http://me@h:81/a", false), is(Some("h:81"), "/a", ""));
        assert_eq!(t("http://h?x", false), is(Some("h"), "", "x"));
        assert_eq!(t("*", false), is(None, "*", ""));
        assert_eq!(t("h:443", true), is(Some("h:443"), "", ""));
    }

    #[test]
    fn hosts() {
        let h = |host: &'static str| {
            let (name, port) = host_port(host.as_bytes());
            (std::str::from_utf8(name).unwrap(), port)
        };
        assert_eq!(h("ex.org"), ("ex.org", None));
        assert_eq!(h("ex.org:8080"), ("ex.org", Some(8080)));
        assert_eq!(h("ex.org:40000"), ("ex.org", Some(40000)));
        assert_eq!(h("ex.org:"), ("ex.org", None));
        assert_eq!(h("ex.org:http"), ("ex.org:http", None));
        assert_eq!(h("ex.org:70000"), ("ex.org:70000", None));
        assert_eq!(h("[::1]:9200"), ("::1", Some(9200)));
        assert_eq!(h("[::1]"), ("::1", None));
        assert_eq!(h("::1"), ("::1", None));
    }

    #[test]
    fn forwarded_addresses() {
        for (value, shown) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:4711", Some("192.0.2.1")),
            ("2001:db8::7", Some("2001:db8::7")),
            ("[2001:db8::7]", Some("2001:db8::7")),
            ("[2001:db8::7]:4711", Some("2001:db8::7")),
            ("::ffff:192.0.2.1", Some("::ffff:192.0.2.1")),
            ("\"[2001:db8::7]:4711\"", Some("2001:db8::7")),
            ("for=192.0.2.1;proto=http", Some("192.0.2.1")),
            ("proto=http; For=\"[2001:db8::7]:_x\"", Some("2001:db8::7")),
            ("for=_hidden", None),
            ("unknown", None),
            ("_hidden", None),
            ("www.example.com", None),
            ("192.0.2.256", None),
            ("192.0.2", None),
            ("[192.0.2.1]", None),
            ("2001:db8::7%eth0", None),
            ("", None),
            (":", None),
        ] {
            assert_eq!(forwarded_address(value.as_bytes()), shown.map(|ip| ip.parse().unwrap()), "{value}");
        }
    }

    #[test]
    fn parameters() {
        let p = |query: &str, form: &str| text(|out| write_parameters(out, query.as_bytes(), form.as_bytes(), |n| n == b"pass"));
        assert_eq!(p("b=2&a=1&b=1&c", ""), "a=1&b=2&b=1&c=");
        assert_eq!(p("a=x%20y+z&pass=s", "a=1&a=%26"), "a=1&a=%26&pass=xxxxx");
        assert_eq!(p("a=x%20y&%zz=%e4", ""), "%25zz=%E4&a=x+y");
        let urls = |value: &str| {
            text(|out| {
                write_masked_urls(out, value.as_bytes(), false, |n| n.eq_ignore_ascii_case(b"pass"));
            })
        };
        for (value, shown) in [
            ("http://h/?pass=q&a=1", "http://h/?pass=xxxxx&a=1"),
            ("http://h/?a=1;PASS=q;r&b=2", "http://h/?a=1;PASS=xxxxx&b=2"),
            ("<http://h/?a&pass=q>; rel=x, <http://i?%70ass=q>", "<http://h/?a&pass=xxxxx>; rel=x, <http://i?%70ass=xxxxx>"),
            ("pass=q; a=?", "pass=q; a=?"),
            ("/x?u=/y?pass=q", "/x?u=/y?pass=xxxxx"),
            ("/x?pass=q?r#s", "/x?pass=xxxxx"),
            ("/x? pass=q", "/x? pass=xxxxx"),
            ("?pass", "?pass"),
            ("?pass=", "?pass=xxxxx"),
        ] {
            assert_eq!(urls(value), shown, "{value}");
        }
        assert_eq!(text(|out| write_masked(out, b"a=1&pass=s&pass&&x", |n| n == b"pass")), "a=1&pass=xxxxx&pass&&x");
    }

    #[test]
    fn full() {
        let full = |host: &str, port, path: &str| text(|out| write_full(out, host.as_bytes(), port, path.as_bytes()));
        assert_eq!(full("h", 80, "/a b/(c)?"), "http://h/a%20b/%28c%29%3F");
        assert_eq!(full("::1", 9200, "/"), "http://[::1]:9200/");
        assert_eq!(full("h", 8080, "*"), "http://h:8080");
        assert_eq!(full("::1", 80, "a/b"), "http://[::1]/a/b");
        assert_eq!(full("h", 80, "**"), "http://h/%2A%2A");
        assert_eq!(full("h", 80, ""), "http://h");
    }
}

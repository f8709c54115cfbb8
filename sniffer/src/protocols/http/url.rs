//! Request targets, hosts and parameters (RFC 9112, 3.2; RFC 3986; forms as the URL standard has them). Text only, no names are looked up.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use std::borrow::Cow;

/// Parameters of one request; the rest is left out. Servers read a thousand or so.
const MOST_PARAMETERS: usize = 10_000;

/// What is escaped in a path.
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
/// What is escaped in a parameter; a space becomes `+`.
const PARAMETER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

/// A request target in its parts, as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target<'a> {
    /// Of a request to a proxy: whom it is to ask.
    pub authority: Option<&'a [u8]>,
    /// The path, escaped.
    pub path: &'a [u8],
    /// Behind the `?`.
    pub query: &'a [u8],
}

impl<'a> Target<'a> {
    /// Takes `target` apart; `connect`: it belongs to a CONNECT.
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

/// What is before and behind the first `at`.
fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, text) {
        Some(n) => (&text[..n], Some(&text[n + 1..])),
        None => (text, None),
    }
}

/// A host and its port, where one is given. An address of IPv6 comes without its brackets.
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

/// The path without its escapes.
pub fn unescaped(path: &[u8]) -> Cow<'_, [u8]> {
    percent_decode(path).into()
}

/// Writes `http://host:port/path`; `path` comes without escapes.
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
    if path == b"*" {
        out.push(b'*');
    } else {
        percent_encode(path, PATH).for_each(|part| out.extend_from_slice(part.as_bytes()));
    }
}

fn pairs(text: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    text.split(|&b| b == b'&').filter(|pair| !pair.is_empty()).take(MOST_PARAMETERS).map(|pair| {
        let (name, value) = cut(pair, b'=');
        (unformed(name), unformed(value.unwrap_or_default()))
    })
}

/// Takes the escapes of a form out.
fn unformed(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return text.into();
    }
    let spaced: Vec<u8> = text.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
    percent_decode(&spaced).collect::<Vec<u8>>().into()
}

/// Writes the parameters of the query and of a form, sorted by name and encoded as a form; the form's win.
pub fn write_parameters(out: &mut Vec<u8>, query: &[u8], form: &[u8], hidden: impl Fn(&[u8]) -> bool) {
    if query.is_empty() && form.is_empty() {
        return;
    }
    let both = pairs(query).map(|p| (p, false)).chain(pairs(form).map(|p| (p, true)));
    let mut all: Vec<_> = both.map(|((name, value), of_form)| (name, of_form, value)).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0)); // stable: values of one name stay in their order
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

/// Writes parameters as they are, but for hidden values.
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
    fn parameters() {
        let p = |query: &str, form: &str| text(|out| write_parameters(out, query.as_bytes(), form.as_bytes(), |n| n == b"pass"));
        assert_eq!(p("b=2&a=1&b=1&c", ""), "a=1&b=2&b=1&c=");
        assert_eq!(p("a=x%20y+z&pass=s", "a=1&a=%26"), "a=1&a=%26&pass=xxxxx");
        assert_eq!(p("a=x%20y&%zz=%e4", ""), "%25zz=%E4&a=x+y");
        assert_eq!(text(|out| write_masked(out, b"a=1&pass=s&pass&&x", |n| n == b"pass")), "a=1&pass=xxxxx&pass&&x");
    }

    #[test]
    fn full() {
        let full = |host: &str, port, path: &str| text(|out| write_full(out, host.as_bytes(), port, path.as_bytes()));
        assert_eq!(full("h", 80, "/a b/(c)?"), "http://h/a%20b/%28c%29%3F");
        assert_eq!(full("::1", 9200, "/"), "http://[::1]:9200/");
    }
}

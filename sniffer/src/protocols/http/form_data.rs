//! Masks values in forms of type `multipart/form-data` (RFC 7578). This module does not report the parts of the form.

use std::borrow::Cow;

/// Maximum number of parts of a body that are examined. Further parts are not shown.
const MOST_PARTS: usize = 1000;

/// The boundary of a `multipart/form-data` content type; `None` for other types.
pub fn boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    let lower = content_type.to_ascii_lowercase();
    lower.starts_with(b"multipart/form-data").then_some(())?;
    parameter(content_type, b"boundary").map(Cow::into_owned).filter(|boundary| !boundary.is_empty())
}

/// The value of a parameter of a header value, for example of `name` in `form-data; name=x`.
fn parameter<'a>(value: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    value.split(|&b| b == b';').skip(1).find_map(|pair| {
        let equals = memchr::memchr(b'=', pair)?;
        let (key, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
        let value = value.strip_prefix(b"\"").map_or(value, |quoted| quoted.strip_suffix(b"\"").unwrap_or(quoted));
        key.eq_ignore_ascii_case(name).then(|| value.into())
    })
}

/// Writes the body, with the content of hidden parts replaced by `xxxxx`.
pub fn write_masked(out: &mut Vec<u8>, body: &[u8], boundary: &[u8], hidden: impl Fn(&[u8]) -> bool) {
    let delimiter = [&b"--"[..], boundary].concat();
    let mut ends = memchr::memmem::find_iter(body, &delimiter);
    let mut at = ends.next().unwrap_or(body.len());
    out.extend_from_slice(&body[..at]);
    for _ in 0..MOST_PARTS {
        if at >= body.len() {
            return;
        }
        let end = ends.next().unwrap_or(body.len());
        write_part(out, &body[at..end], &hidden);
        at = end;
    }
}

/// Writes one part: delimiter, headers, an empty line, content.
fn write_part(out: &mut Vec<u8>, part: &[u8], hidden: impl Fn(&[u8]) -> bool) {
    let mut content = None;
    let mut hides = false;
    let mut at = 0;
    for line in part.split_inclusive(|&b| b == b'\n') {
        at += line.len();
        let text = line.trim_ascii();
        if text.is_empty() {
            content = Some(at);
            break;
        }
        let is_disposition = text.get(..20).is_some_and(|name| name.eq_ignore_ascii_case(b"content-disposition:"));
        hides |= is_disposition && parameter(text, b"name").is_some_and(|name| hidden(&name));
    }
    match content {
        Some(from) if hides => {
            let until = part.strip_suffix(b"\n").map_or(part.len(), |rest| rest.strip_suffix(b"\r").unwrap_or(rest).len());
            out.extend_from_slice(&part[..from]);
            out.extend_from_slice(b"xxxxx");
            out.extend_from_slice(&part[until.max(from)..]);
        }
        _ => out.extend_from_slice(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_parts() {
        let masked = |body: &str| {
            let mut out = vec![];
            write_masked(&mut out, body.as_bytes(), b"AB", |name| name == b"pass");
            String::from_utf8(out).unwrap()
        };
        let part = |name: &str, value: &str| format!("--AB\r\nContent-Disposition: form-data; name={name}\r\nX: y\r\n\r\n{value}\r\n");
        for name in ["\"pass\"", "pass"] {
            let body = |value: &str| part("a", "1") + &part(name, value) + &part("b", "2") + "--AB--\r\n";
            assert_eq!(masked(&body("q\r\nr")), body("xxxxx"));
            assert_eq!(masked(&body("")), body("xxxxx"));
            // This case handles a body whose end is missing.
            let cut = |value: &str| part("a", "1") + part(name, value).trim_end();
            assert_eq!(masked(&cut("q")), cut("xxxxx"));
        }
        assert_eq!(masked("no parts"), "no parts");
        assert_eq!(masked("--AB"), "--AB");
    }

    #[test]
    fn boundaries() {
        let is = |text: &str| boundary(text.as_bytes()).map(|b| String::from_utf8(b).unwrap());
        assert_eq!(is("multipart/form-data; boundary=x1").as_deref(), Some("x1"));
        assert_eq!(is("Multipart/Form-Data; charset=utf-8; Boundary=\"x 1\"").as_deref(), Some("x 1"));
        assert_eq!(is("multipart/mixed; boundary=x1"), None);
        assert_eq!(is("multipart/form-data"), None);
    }
}

//! The ids of a span: those of the trace that the request belongs to, or new ones.
//! <https://www.w3.org/TR/trace-context/>

use super::document::Document;
use xxhash_rust::xxh64::xxh64;

/// Maximum length of `tracestate`, in bytes. A longer one is left out.
const LONGEST_STATE: usize = 4096;

/// The flag "it is known whether the parent is remote", and the flag "the parent is remote".
const REMOTE: u32 = 0x300;

/// The ids of a span.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub trace: [u8; 16],
    pub span: [u8; 8],
    /// The span that made the request, if the request has `traceparent`.
    pub parent: Option<[u8; 8]>,
    pub state: String,
    /// The flags of `Span.flags`.
    pub flags: u32,
}

impl Identity {
    /// The ids of a transaction. New ids are hashes of the document's text, so that an event that is sent again has the same ids.
    pub(super) fn of(document: &Document, text: &[u8]) -> Self {
        let span = hash(text, 3);
        let parent = document.text("http.request.headers.traceparent").and_then(Parent::parse);
        let Some(Parent { trace, span: parent, flags }) = parent else {
            let mut trace = [0; 16];
            let (first, second) = trace.split_at_mut(8);
            first.copy_from_slice(&hash(text, 1));
            second.copy_from_slice(&hash(text, 2));
            return Self { trace, span, parent: None, state: String::new(), flags: 0 };
        };
        let state = document.text("http.request.headers.tracestate").filter(|state| state.len() <= LONGEST_STATE);
        Self { trace, span, parent: Some(parent), state: state.unwrap_or_default().to_owned(), flags: u32::from(flags) | REMOTE }
    }
}

/// A hash of a text, with no more than a negligible chance that it is zero. Zero would be an invalid id.
fn hash(text: &[u8], seed: u64) -> [u8; 8] {
    xxh64(text, seed).max(1).to_be_bytes()
}

/// The value of the header `traceparent`.
struct Parent {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

impl Parent {
    /// Parses `VERSION-TRACE-SPAN-FLAGS`. Versions above 00 may have more after the flags. Returns `None` if the header is invalid; the request
    /// then begins a new trace.
    fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let [version] = bytes::<1>(parts.next()?)?;
        let (trace, span, [flags]) = (bytes::<16>(parts.next()?)?, bytes::<8>(parts.next()?)?, bytes::<1>(parts.next()?)?);
        let is_valid = version != 0xff && (version > 0 || parts.next().is_none()) && trace != [0; 16] && span != [0; 8];
        is_valid.then_some(Self { trace, span, flags })
    }
}

/// Reads exactly `N` bytes in lower-case hexadecimal digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        for digit in digits {
            *byte = *byte << 4
                | match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return None,
                };
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_are_valid_and_that_are_not() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        for (header, expected) in [
            (format!("00-{trace}-{span}-01"), Some(1)),
            (format!("00-{trace}-{span}-00"), Some(0)),
            (format!("01-{trace}-{span}-03-more"), Some(3)),
            (format!("00-{trace}-{span}-01-more"), None),
            (format!("ff-{trace}-{span}-01"), None),
            (format!("00-{}-{span}-01", trace.to_uppercase()), None),
            (format!("00-{}-{span}-01", "0".repeat(32)), None),
            (format!("00-{trace}-{}-01", "0".repeat(16)), None),
            (format!("00-{trace}-{span}"), None),
            (format!("00-{trace}-{span}-1"), None),
            (format!("00-{trace}-{span}-01, 00-{trace}-{span}-01"), None),
            ("00-é".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(Parent::parse(&header).map(|parent| parent.flags), expected, "{header}");
        }
    }
}

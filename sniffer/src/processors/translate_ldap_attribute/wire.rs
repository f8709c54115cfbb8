//! Messages of LDAP (RFC 4511) in BER (X.690): bind, search, and their responses. Nothing else of the protocol is here.

/// The tags of the messages.
pub(super) const BIND_REQUEST: u8 = 0x60;
pub(super) const BIND_RESPONSE: u8 = 0x61;
pub(super) const SEARCH_REQUEST: u8 = 0x63;
pub(super) const SEARCH_ENTRY: u8 = 0x64;
pub(super) const SEARCH_DONE: u8 = 0x65;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
pub(super) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The filter `(attribute=value)`.
const EQUALS: u8 = 0xa3;
/// The filter `(attribute=*)`.
const PRESENT: u8 = 0x87;
/// A password.
const SIMPLE: u8 = 0x80;

/// Writes an element: tag, length and content.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            bytes.push(0x84);
            bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

fn number(tag: u8, number: u32) -> Vec<u8> {
    // A leading zero byte keeps the number positive.
    let bytes = [&[0][..], &number.to_be_bytes()].concat();
    let zeros = bytes.windows(2).take_while(|pair| matches!(pair, [0, next] if *next < 0x80)).count();
    element(tag, bytes.get(zeros..).unwrap_or_default())
}

/// Writes a message with this number: an operation with its content.
pub(super) fn message(id: u32, operation: u8, content: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[number(INTEGER, id), element(operation, content)].concat())
}

/// The content of a request to bind with name and password.
pub(super) fn bind(name: &str, password: &str) -> Vec<u8> {
    [number(INTEGER, 3), element(OCTETS, name.as_bytes()), element(SIMPLE, password.as_bytes())].concat()
}

/// What is searched for.
pub(super) struct Search<'a> {
    /// The entry below which is searched; empty: only the root entry, which describes the server.
    pub(super) base: &'a str,
    /// The attribute and its value; `None`: any entry.
    pub(super) filter: Option<(&'a str, &'a [u8])>,
    /// The attributes of the response.
    pub(super) attributes: &'a [&'a str],
    /// The time limit of the server, in seconds.
    pub(super) seconds: u32,
}

impl Search<'_> {
    /// The content of the request.
    pub(super) fn content(&self) -> Vec<u8> {
        let whole_subtree = if self.base.is_empty() { 0 } else { 2 };
        let filter = match self.filter {
            Some((name, value)) => element(EQUALS, &[element(OCTETS, name.as_bytes()), element(OCTETS, value)].concat()),
            None => element(PRESENT, b"objectClass"),
        };
        let attributes: Vec<u8> = self.attributes.iter().flat_map(|name| element(OCTETS, name.as_bytes())).collect();
        [
            element(OCTETS, self.base.as_bytes()),
            number(ENUMERATED, whole_subtree),
            number(ENUMERATED, 0),
            number(INTEGER, 1),
            number(INTEGER, self.seconds),
            element(BOOLEAN, &[0]),
            filter,
            element(SEQUENCE, &attributes),
        ]
        .concat()
    }
}

/// Reads elements one after the other.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next element: its tag and content. `None` at the end, and if it is cut.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (length, rest) = length(rest)?;
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    /// The content of the next element if it has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

/// Reads a length of up to four bytes. Returns the bytes after it.
pub(super) fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first < 0x80 {
        return Some((usize::from(*first), rest));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 4 {
        return None;
    }
    let (digits, rest) = rest.split_at_checked(count)?;
    Some((digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest))
}

/// Reads a number of up to four bytes that is not negative.
pub(super) fn read_number(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(&[0]).unwrap_or(bytes);
    if bytes.is_empty() || digits.len() > 4 || (bytes.len() == digits.len() && bytes.first().is_some_and(|first| *first >= 0x80)) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number << 8 | u32::from(*digit)))
}

/// The result code and the server's text in a response.
pub(super) fn result(content: &[u8]) -> Option<(u32, String)> {
    let mut reader = Reader(content);
    let code = read_number(reader.expect(ENUMERATED)?)?;
    reader.expect(OCTETS)?;
    Some((code, String::from_utf8_lossy(reader.expect(OCTETS)?).into_owned()))
}

/// The values of an attribute in an entry. Names of attributes are compared without case.
pub(super) fn values(content: &[u8], name: &str) -> Option<Vec<String>> {
    let mut reader = Reader(content);
    reader.expect(OCTETS)?;
    let mut attributes = Reader(reader.expect(SEQUENCE)?);
    let mut found = Vec::new();
    while let Some(attribute) = attributes.expect(SEQUENCE) {
        let mut attribute = Reader(attribute);
        let own = attribute.expect(OCTETS)?.eq_ignore_ascii_case(name.as_bytes());
        let mut values = Reader(attribute.expect(SET)?);
        while let Some(value) = values.expect(OCTETS).filter(|_| own) {
            found.push(String::from_utf8_lossy(value).into_owned());
        }
    }
    Some(found)
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// An entry with the values of one attribute.
    pub fn entry(name: &str, attribute: &str, values: &[&str]) -> Vec<u8> {
        let values: Vec<u8> = values.iter().flat_map(|value| element(OCTETS, value.as_bytes())).collect();
        let attribute = [element(OCTETS, attribute.as_bytes()), element(SET, &values)].concat();
        [element(OCTETS, name.as_bytes()), element(SEQUENCE, &element(SEQUENCE, &attribute))].concat()
    }

    /// A result with this code.
    pub fn done(code: u32) -> Vec<u8> {
        [number(ENUMERATED, code), element(OCTETS, b""), element(OCTETS, b"text")].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::*, *};

    #[test]
    fn numbers_and_lengths() {
        for (value, bytes) in [
            (0, &[2, 1, 0][..]),
            (127, &[2, 1, 127]),
            (128, &[2, 2, 0, 128]),
            (256, &[2, 2, 1, 0]),
            (u32::MAX, &[2, 5, 0, 255, 255, 255, 255]),
        ] {
            assert_eq!(number(INTEGER, value), bytes, "{value}");
            assert_eq!(read_number(&bytes[2..]), Some(value), "{bytes:?}");
        }
        for wrong in [&[][..], &[0x80], &[1, 2, 3, 4, 5]] {
            assert_eq!(read_number(wrong), None, "{wrong:?}");
        }
        let long = element(OCTETS, &[7; 300]);
        assert_eq!(Reader(&long).next(), Some((OCTETS, &[7; 300][..])));
        for cut in 0..long.len() {
            assert_eq!(Reader(&long[..cut]).next(), None, "{cut}");
        }
        for wrong in [&[4, 0x80][..], &[4, 0x85, 0, 0, 0, 0, 1, 1], &[4, 0x84, 255, 255, 255, 255, 1]] {
            assert_eq!(Reader(wrong).next(), None, "{wrong:?}");
        }
    }

    #[test]
    fn entries_and_results() {
        let bytes = entry("cn=a", "CN", &["A", "B"]);
        assert_eq!(values(&bytes, "cn"), Some(vec!["A".to_owned(), "B".to_owned()]));
        assert_eq!(values(&bytes, "mail"), Some(vec![]));
        for cut in 0..bytes.len() {
            assert_ne!(values(&bytes[..cut], "cn"), Some(vec!["A".to_owned(), "B".to_owned()]), "{cut}");
        }
        assert_eq!(result(&done(49)), Some((49, "text".to_owned())));
        assert_eq!(result(&[]), None);
    }
}

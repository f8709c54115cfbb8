//! Text forms that several protocols share: captured bytes as text, hexadecimal numbers, MAC addresses. This module allocates only if the
//! bytes are not valid UTF-8.

use serde::{Serialize, Serializer};
use std::fmt;

/// Captured bytes that are shown as text. Each byte that is not UTF-8 becomes U+FFFD.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(pub &'a [u8]);

impl<'a> Text<'a> {
    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text: borrowed if it is valid UTF-8, otherwise a copy with U+FFFD for each invalid byte.
    pub fn to_str(self) -> std::borrow::Cow<'a, str> {
        match std::str::from_utf8(self.0) {
            Ok(text) => text.into(),
            Err(_) => self.to_string().into(),
        }
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> From<&'a String> for Text<'a> {
    fn from(text: &'a String) -> Self {
        Self(text.as_bytes())
    }
}

impl<'a> From<&'a Vec<u8>> for Text<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            for _ in chunk.invalid() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_str(), f)
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_str(self),
        }
    }
}

/// Bytes as hexadecimal digits in lower case; `{:#}` writes upper case.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            if f.alternate() { write!(f, "{byte:02X}")? } else { write!(f, "{byte:02x}")? }
        }
        Ok(())
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A hardware address of any length, written in upper case with dashes.
#[derive(Clone, Copy, Debug)]
pub struct Mac<'a>(pub &'a [u8]);

impl fmt::Display for Mac<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 0 { "" } else { "-" })?;
        }
        Ok(())
    }
}

impl Serialize for Mac<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_invalid_byte_becomes_one_replacement_character() {
        assert_eq!(Text(b"a\xe2\x82b\xff").to_string(), "a\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(serde_json::to_string(&Text(b"<a&\x01>")).unwrap(), r#""<a&\u0001>""#);
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(Hex(&[0, 0xab]).to_string(), "00ab");
        assert_eq!(format!("{:#}", Hex(&[0, 0xab])), "00AB");
        assert_eq!(Mac(&[2, 0, 0xfe]).to_string(), "02-00-FE");
    }
}

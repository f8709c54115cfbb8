//! Writes values as text, in the form of Packetbeat's documents.

use crate::event::text::Hex;
use std::fmt::Write;

/// Limits of the text in events.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of bytes of a string.
    pub string: usize,
    /// Maximum number of elements of a collection, or of fields of a struct.
    pub collection: usize,
    /// A message with more fields than this in a struct is not reported.
    pub fields: usize,
    /// Whether strings are hidden.
    pub obfuscate: bool,
}

/// Writes a string or bytes: in quotes with escapes, or in hexadecimal if the bytes are not UTF-8. `cut`: the value
/// is longer on the wire than `bytes`.
pub fn string(out: &mut String, bytes: &[u8], cut: bool) {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            out.push('"');
            for c in text.chars() {
                escaped(out, c);
            }
            out.push_str(if cut { "...\"" } else { "\"" });
        }
        Err(_) => {
            let _ = write!(out, "{}{}", Hex(bytes), if cut { "2e2e2e" } else { "" });
        }
    }
}

fn escaped(out: &mut String, c: char) {
    let _ = match c {
        '"' => out.write_str("\\\""),
        '\\' => out.write_str("\\\\"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\x07' => out.write_str("\\a"),
        '\x08' => out.write_str("\\b"),
        '\x0c' => out.write_str("\\f"),
        '\x0b' => out.write_str("\\v"),
        ' '..='~' => out.write_char(c),
        '\0'..='\x7f' => write!(out, "\\x{:02x}", u32::from(c)),
        // The character is tested after another one, so that combining marks are not escaped.
        _ if !format!("x{c}").escape_debug().skip(1).eq(std::iter::once(c)) => match u32::from(c) {
            n @ ..=0xffff => write!(out, "\\u{n:04x}"),
            n => write!(out, "\\U{n:08x}"),
        },
        _ => out.write_char(c),
    };
}

/// Writes a floating-point number as the shortest decimal that is read back as the same number, without an exponent.
pub fn double(out: &mut String, value: f64) {
    let _ = match value {
        f64::INFINITY => out.write_str("+Inf"),
        f64::NEG_INFINITY => out.write_str("-Inf"),
        value => write!(out, "{value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8], cut: bool) -> String {
        let mut out = String::new();
        string(&mut out, bytes, cut);
        out
    }

    #[test]
    fn strings() {
        assert_eq!(of(b"a\"\\\n\x01\x7f", false), r#""a\"\\\n\x01\x7f""#);
        assert_eq!(of("ä\u{200b}e\u{301}\u{e0001}".as_bytes(), false), "\"ä\\u200be\u{301}\\U000e0001\"");
        assert_eq!(of(b"ab", true), "\"ab...\"");
        assert_eq!(of(b"a\xc3", true), "61c32e2e2e");
    }

    #[test]
    fn numbers() {
        let mut out = String::new();
        for value in [1e21, -1.0, 0.1, f64::NEG_INFINITY, f64::NAN] {
            double(&mut out, value);
            out.push(' ');
        }
        assert_eq!(out, "1000000000000000000000 -1 0.1 -Inf NaN ");
    }
}

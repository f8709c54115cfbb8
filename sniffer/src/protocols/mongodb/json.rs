//! Writes BSON as JSON text directly into a buffer: extended types in Packetbeat's form, keys sorted. No tree is built. Depth, number of
//! fields and length are limited, and what exceeds a limit is left out.

use super::wire::documents;
use crate::time::Timestamp;
use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use bson::{RawArray, RawBson, RawBsonRef, RawDocument, raw::RawElement};
use smallvec::SmallVec;
use std::fmt::Write;

/// Maximum number of levels of nested documents, as many as a server allows. Deeper ones are written as `null`.
const DEEPEST: usize = 100;
/// Maximum number of fields that are in memory for sorting, including those of the enclosing documents. They take 1 MiB. The
/// further fields of a larger document are left out.
const MOST_FIELDS: usize = 16_384;

/// A field of a document, or a document sequence that belongs to it.
#[derive(Clone)]
enum Field<'a> {
    Element(RawElement<'a>),
    Sequence(&'a str, &'a [u8]),
}

impl<'a> Field<'a> {
    fn key(&self) -> &'a str {
        match self {
            Self::Element(e) => e.key().as_str(),
            Self::Sequence(name, _) => name,
        }
    }
}

struct Writer<'o, 'a> {
    out: &'o mut String,
    /// Length at which the text ends; the rest is not written.
    end: usize,
    /// Whether something was left out.
    cut: bool,
    /// The fields of the documents that are being written, the outermost first.
    fields: SmallVec<[Field<'a>; 32]>,
}

/// Appends `document`: at most `most` bytes, then ` ...`.
pub fn document(out: &mut String, document: &RawDocument, most: usize) {
    call(out, document, &[], most, |_| true);
}

/// Appends the fields of `document` and of `sequences` for which `wanted` is true: at most `most` bytes, then ` ...`.
pub fn call<'a>(
    out: &mut String,
    document: &'a RawDocument,
    sequences: &[(&'a str, &'a [u8])],
    most: usize,
    wanted: impl Fn(&str) -> bool,
) {
    limited(out, most, |w| {
        w.fields.extend(sequences.iter().map(|&(name, data)| Field::Sequence(name, data)).filter(|f| wanted(f.key())));
        w.object(document, 0, 0, wanted);
    });
}

/// Appends one value in the same way as [`document`].
pub fn value(out: &mut String, element: &RawElement<'_>, most: usize) {
    limited(out, most, |w| w.value(element, 0));
}

fn limited<'o, 'a>(out: &'o mut String, most: usize, write: impl FnOnce(&mut Writer<'o, 'a>)) {
    let end = out.len().saturating_add(most);
    let mut w = Writer { out, end, cut: false, fields: SmallVec::new() };
    write(&mut w);
    let (out, cut) = (w.out, w.cut);
    if out.len() > end || cut {
        let end = end.min(out.len());
        out.truncate((0..=end).rev().find(|i| out.is_char_boundary(*i)).unwrap_or(0));
        out.push_str(" ...");
    }
}

impl<'a> Writer<'_, 'a> {
    fn full(&mut self) -> bool {
        let full = self.out.len() > self.end;
        self.cut |= full;
        full
    }

    /// Number of bytes that can still be written.
    fn room(&self) -> usize {
        (self.end + 1).saturating_sub(self.out.len())
    }

    /// Writes `document`, together with the fields from `base` on.
    fn object(&mut self, document: &'a RawDocument, base: usize, depth: usize, wanted: impl Fn(&str) -> bool) {
        for element in document.iter_elements() {
            match element {
                Ok(element) if self.fields.len() < MOST_FIELDS => {
                    if wanted(element.key().as_str()) {
                        self.fields.push(Field::Element(element));
                    }
                }
                _ => {
                    self.cut = true;
                    break;
                }
            }
        }
        if let Some(own) = self.fields.get_mut(base..) {
            own.sort_by(|a, b| a.key().cmp(b.key()));
        }
        self.out.push('{');
        let mut first = true;
        for i in base..self.fields.len() {
            let Some(field) = self.fields.get(i).cloned() else { break };
            // If a field occurs twice, the last one is written.
            if self.fields.get(i + 1).is_some_and(|next| next.key() == field.key()) {
                continue;
            }
            if self.full() {
                break;
            }
            if !std::mem::take(&mut first) {
                self.out.push(',');
            }
            self.string(field.key());
            self.out.push(':');
            match &field {
                Field::Element(element) => self.value(element, depth + 1),
                Field::Sequence(_, data) => self.list(documents(data), |w, d| w.nested(d, depth + 1)),
            }
        }
        self.fields.truncate(base);
        self.out.push('}');
    }

    fn nested(&mut self, document: &'a RawDocument, depth: usize) {
        if depth > DEEPEST {
            self.out.push_str("null");
        } else {
            self.object(document, self.fields.len(), depth, |_| true);
        }
    }

    fn list<T>(&mut self, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.out.push('[');
        for (i, item) in items.enumerate() {
            if self.full() {
                break;
            }
            if i > 0 {
                self.out.push(',');
            }
            write(self, item);
        }
        self.out.push(']');
    }

    fn array(&mut self, array: &'a RawArray, depth: usize) {
        if depth > DEEPEST {
            return self.out.push_str("null");
        }
        // An array is a document whose keys are numbers, which are not read.
        let Ok(items) = RawDocument::from_bytes(array.as_bytes()) else { return self.out.push_str("[]") };
        self.list(items.iter_elements(), |w, element| match element {
            Ok(element) => w.value(&element, depth + 1),
            Err(_) => {
                w.out.push_str("null");
                w.cut = true;
            }
        });
    }

    fn value(&mut self, element: &RawElement<'a>, depth: usize) {
        match element.value() {
            Ok(RawBsonRef::Document(d)) => self.nested(d, depth),
            Ok(RawBsonRef::Array(a)) => self.array(a, depth),
            Ok(RawBsonRef::String(s) | RawBsonRef::JavaScriptCode(s) | RawBsonRef::Symbol(s)) => self.string(s),
            Ok(RawBsonRef::Int32(n)) => self.out.push_str(itoa::Buffer::new().format(n)),
            Ok(RawBsonRef::Int64(n)) => self.out.push_str(itoa::Buffer::new().format(n)),
            Ok(RawBsonRef::Double(x)) => self.double(x),
            Ok(RawBsonRef::Boolean(b)) => self.out.push_str(if b { "true" } else { "false" }),
            Ok(RawBsonRef::Null) => self.out.push_str("null"),
            Ok(RawBsonRef::DateTime(t)) => self.date(t),
            Ok(RawBsonRef::ObjectId(id)) => self.hex(&id.bytes()),
            Ok(RawBsonRef::Binary(b)) => {
                let shown = b.bytes.get(..b.bytes.len().min(self.room() / 4 * 3 + 3)).unwrap_or_default();
                let _ = write!(self.out, "{{\"Subtype\":{},\"Data\":\"{}\"}}", u8::from(b.subtype), Base64Display::new(shown, &STANDARD));
            }
            Ok(RawBsonRef::Timestamp(t)) => {
                let _ = write!(self.out, "{{\"T\":{},\"I\":{}}}", t.time, t.increment);
            }
            Ok(RawBsonRef::RegularExpression(r)) => {
                self.pair("{\"Pattern\":", r.pattern.as_str());
                self.pair(",\"Options\":", r.options.as_str());
                self.out.push('}');
            }
            Ok(RawBsonRef::Decimal128(d)) => {
                let _ = write!(self.out, "\"{d}\"");
            }
            Ok(RawBsonRef::JavaScriptCodeWithScope(c)) => {
                self.pair("{\"Code\":", c.code);
                self.out.push_str(",\"Scope\":");
                self.list(c.scope.iter_elements().map_while(Result::ok), |w, element| {
                    w.pair("{\"Key\":", element.key().as_str());
                    w.out.push_str(",\"Value\":");
                    if depth < DEEPEST {
                        w.value(&element, depth + 1)
                    } else {
                        w.out.push_str("null")
                    }
                    w.out.push('}');
                });
                self.out.push('}');
            }
            Ok(RawBsonRef::DbPointer(p)) => {
                // DBPointer, a type that was deprecated before 2010. The library shows its parts only in its debug text.
                let text = format!("{p:?}");
                let mut parts = text.split_once('"').map_or("", |(_, rest)| rest).rsplitn(4, '"').skip(1);
                let (id, _, database) = (parts.next(), parts.next(), parts.next());
                self.pair("{\"DB\":", database.unwrap_or_default());
                self.pair(",\"Pointer\":", id.unwrap_or_default());
                self.out.push('}');
            }
            Ok(_) => self.out.push_str("{}"),
            // A text that is not UTF-8 is written with replacement characters.
            Err(_) => match element.value_utf8_lossy() {
                Ok(RawBson::String(s) | RawBson::JavaScriptCode(s) | RawBson::Symbol(s)) => self.string(&s),
                _ => {
                    self.out.push_str("null");
                    self.cut = true;
                }
            },
        }
    }

    fn pair(&mut self, key: &str, value: &str) {
        self.out.push_str(key);
        self.string(value);
    }

    fn hex(&mut self, bytes: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.out.push('"');
        for b in bytes {
            self.out.push(char::from(DIGITS[usize::from(b >> 4)]));
            self.out.push(char::from(DIGITS[usize::from(b & 15)]));
        }
        self.out.push('"');
    }

    fn date(&mut self, time: bson::DateTime) {
        let ms = time.timestamp_millis();
        match u64::try_from(ms).ok().and_then(|ms| ms.checked_mul(1_000_000)) {
            Some(nanos) => {
                let text = Timestamp(nanos).text(3);
                let text = text.as_str().trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
                let _ = write!(self.out, "\"{text}Z\"");
            }
            // The time is before 1970, or beyond the range of packet timestamps.
            None => match time.try_to_rfc3339_string() {
                Ok(text) => self.string(&text),
                Err(_) => self.out.push_str(itoa::Buffer::new().format(ms)),
            },
        }
    }

    /// Writes the shortest text that is read back as the same number, with an exponent if the number is very large or
    /// very small.
    fn double(&mut self, x: f64) {
        let whole = x as i64;
        let _ = if !x.is_finite() {
            write!(self.out, "\"{x}\"")
        } else if whole as f64 == x && whole.unsigned_abs() < 1 << 53 && (whole != 0 || x.is_sign_positive()) {
            self.out.write_str(itoa::Buffer::new().format(whole))
        } else if x == 0.0 || (1e-6..1e21).contains(&x.abs()) {
            write!(self.out, "{x}")
        } else {
            let text = format!("{x:e}");
            match text.split_once('e') {
                Some((digits, power)) if !power.starts_with('-') => write!(self.out, "{digits}e+{power}"),
                _ => self.out.write_str(&text),
            }
        };
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        let bytes = text.as_bytes();
        // Each byte of the text gives at least one byte of output.
        let mut end = self.room().min(bytes.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        let mut from = 0;
        while let Some(rest) = bytes.get(from..end).filter(|rest| !rest.is_empty()) {
            let plain = rest.iter().position(|b| SPECIAL[usize::from(*b)]).unwrap_or(rest.len());
            self.out.push_str(text.get(from..from + plain).unwrap_or_default());
            from += plain;
            from += self.escape(text.get(from..end).unwrap_or_default());
        }
        self.out.push('"');
        self.cut |= end < bytes.len();
    }

    /// Writes the first character of `text` so that it can be embedded in HTML; returns its length.
    fn escape(&mut self, text: &str) -> usize {
        let Some(c) = text.chars().next() else { return 0 };
        match c {
            '"' => self.out.push_str("\\\""),
            '\\' => self.out.push_str("\\\\"),
            '\n' => self.out.push_str("\\n"),
            '\r' => self.out.push_str("\\r"),
            '\t' => self.out.push_str("\\t"),
            '\u{8}' => self.out.push_str("\\b"),
            '\u{c}' => self.out.push_str("\\f"),
            '\0'..'\u{20}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{fffd}' => {
                let _ = write!(self.out, "\\u{:04x}", u32::from(c));
            }
            _ => self.out.push(c),
        }
        c.len_utf8()
    }
}

/// First bytes of characters that may have to be escaped.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut b = 0;
    while b < 256 {
        special[b] = matches!(b as u8, 0..0x20 | b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2 | 0xef);
        b += 1;
    }
    special
};

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Bson, Document, doc, oid::ObjectId, spec::BinarySubtype};

    fn text(d: &Document, most: usize) -> String {
        let bytes = d.to_vec().unwrap();
        let mut out = String::from(">");
        document(&mut out, RawDocument::from_bytes(&bytes).unwrap(), most);
        out.split_off(1)
    }

    #[test]
    fn every_type() {
        let id = ObjectId::from_bytes(*b"abcdefghijkl");
        let cases = [
            (Bson::Double(1.0), "1"),
            (Bson::Double(-73.856077), "-73.856077"),
            (Bson::Double(1e21), "1e+21"),
            (Bson::Double(1.5e-7), "1.5e-7"),
            (Bson::Double(-0.0), "-0"),
            (Bson::Double(f64::NAN), r#""NaN""#),
            (Bson::String("a\"<\u{2028}\u{1}\n\u{e9}\u{201c}".into()), r#""a\"\u003c\u2028\u0001\né“""#),
            (Bson::Int64(i64::MIN), "-9223372036854775808"),
            (Bson::Array(vec![Bson::Int32(1), Bson::Null, Bson::Boolean(true)]), "[1,null,true]"),
            (Bson::DateTime(bson::DateTime::from_millis(1_430_743_592_092)), r#""2015-05-04T12:46:32.092Z""#),
            (Bson::DateTime(bson::DateTime::from_millis(1_393_804_800_000)), r#""2014-03-03T00:00:00Z""#),
            (Bson::DateTime(bson::DateTime::from_millis(-500)), r#""1969-12-31T23:59:59.5Z""#),
            (Bson::ObjectId(id), r#""6162636465666768696a6b6c""#),
            (Bson::Binary(bson::Binary { subtype: BinarySubtype::Uuid, bytes: vec![1, 2] }), r#"{"Subtype":4,"Data":"AQI="}"#),
            (Bson::Timestamp(bson::Timestamp { time: 5, increment: 6 }), r#"{"T":5,"I":6}"#),
            (Bson::JavaScriptCode("f".into()), r#""f""#),
            (Bson::MinKey, "{}"),
            (Bson::Decimal128("1.50".parse().unwrap()), r#""1.50""#),
            (
                Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope { code: "f".into(), scope: doc! {"x": 1} }),
                r#"{"Code":"f","Scope":[{"Key":"x","Value":1}]}"#,
            ),
            (
                Bson::RegularExpression(bson::Regex { pattern: "^a".try_into().unwrap(), options: "i".try_into().unwrap() }),
                r#"{"Pattern":"^a","Options":"i"}"#,
            ),
        ];
        for (value, want) in cases {
            assert_eq!(text(&doc! {"k": value}, 1000), format!("{{\"k\":{want}}}"));
        }
        let raw = b"\x1c\0\0\0\x0ck\0\x04\0\0\0d.c\0abcdefghijkl\0";
        let mut out = String::new();
        document(&mut out, RawDocument::from_bytes(raw).unwrap(), 1000);
        assert_eq!(out, r#"{"k":{"DB":"d.c","Pointer":"6162636465666768696a6b6c"}}"#);
    }

    #[test]
    fn keys_are_sorted_at_every_level_and_the_last_repetition_is_written() {
        assert_eq!(text(&doc! {"b": {"z": 1, "a": [{"y": 1, "x": 2}]}, "a": 0}, 1000), r#"{"a":0,"b":{"a":[{"x":2,"y":1}],"z":1}}"#);
        let twice = b"\x13\0\0\0\x10a\0\x01\0\0\0\x10a\0\x02\0\0\0\0";
        let mut out = String::new();
        document(&mut out, RawDocument::from_bytes(twice).unwrap(), 100);
        assert_eq!(out, r#"{"a":2}"#);
    }

    #[test]
    fn the_text_ends_at_the_limit() {
        let d = doc! {"a": "\u{e9}".repeat(20), "b": [1, 2, 3], "c": {"d": "x"}};
        let whole = text(&d, 1000);
        for most in 0..whole.len() + 2 {
            let got = text(&d, most);
            match got.strip_suffix(" ...") {
                Some(start) => {
                    assert!(whole.starts_with(start) && start.len() + 1 >= most.min(whole.len()) && most < whole.len(), "{most}: {got}")
                }
                None => assert_eq!((&got, most >= whole.len()), (&whole, true)),
            }
        }
        assert_eq!(text(&doc! {"a": "x".repeat(1 << 20)}, 20), r#"{"a":"xxxxxxxxxxxxxx ..."#);
    }

    #[test]
    fn depth_is_limited() {
        let mut raw = b"\x05\0\0\0\0".to_vec();
        for _ in 0..10_000 {
            raw = [&(u32::try_from(raw.len()).unwrap() + 8).to_le_bytes(), b"\x03a\0" as &[u8], &raw, b"\0"].concat();
        }
        let mut out = String::new();
        document(&mut out, RawDocument::from_bytes(&raw).unwrap(), 1 << 20);
        assert_eq!(out, format!("{}null{}", "{\"a\":".repeat(DEEPEST + 1), "}".repeat(DEEPEST + 1)));
    }

    #[test]
    fn invalid_text_and_documents_are_shown_up_to_the_error() {
        let mut out = String::new();
        document(&mut out, RawDocument::from_bytes(b"\x0f\0\0\0\x02a\0\x03\0\0\0\xffb\0\0").unwrap(), 100);
        assert_eq!(out, r#"{"a":"\ufffdb"}"#);
        out.clear();
        document(&mut out, RawDocument::from_bytes(b"\x11\0\0\0\x10a\0\x01\0\0\0\x02b\0\xff\xff\0").unwrap(), 100);
        assert_eq!(out, r#"{"a":1} ..."#);
    }
}

//! Converts the values of a message to text, incrementally: only the text is kept, and nested structs need no
//! recursion.

use super::{
    idl::Method,
    text::{self, Limits},
    types::{Type, Unread, elements, entries, field, need, number, zigzag},
    wire::Encoding,
};
use crate::protocols::kit::{held::Held, reader::Reader};
use smallvec::SmallVec;
use std::{fmt::Write, sync::Arc};

/// Maximum number of levels of nested structs and collections. Thrift's own libraries allow 64.
const DEEPEST: usize = 64;
/// Maximum number of bytes of text of one message; the rest is left out. Only many large strings in many collections reach this.
const MOST_TEXT: usize = 256 << 10;
/// Longest string in bytes: Thrift's own libraries accept 100 MB.
const LONGEST_STRING: u64 = 256 << 20;
/// Maximum number of bytes of a string that can be shown, even if the configuration allows more, because these bytes must be in the buffer
/// together.
const MOST_SHOWN: usize = 1 << 20;

#[derive(Clone, Copy)]
enum Level {
    Struct { id: i16 },
    Elements { of: Type, left: u32, closing: char },
    Map { key: Type, value: Type, left: u32, at_value: bool },
}

#[derive(Clone, Copy)]
struct Open {
    level: Level,
    /// Number of elements that have begun.
    begun: usize,
    /// Whether further elements are hidden.
    full: bool,
}

/// How much of the struct was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The values are complete and end after this number of bytes of the data.
    Whole(usize),
    /// More data is needed. The first number is the number of consumed bytes; it may exceed the length of the data if the following bytes
    /// are not needed. The second number is the number of further bytes that are needed.
    More(u64, usize),
    /// The data is invalid.
    Malformed,
}

/// Reads the struct that a message consists of.
pub struct Values {
    encoding: Encoding,
    limits: Limits,
    /// The names of the outermost fields, and whether they belong to a reply.
    names: Option<(Arc<Method>, bool)>,
    open: SmallVec<[Open; 4]>,
    /// The type of the next value.
    next: Option<Type>,
    /// Number of levels that are hidden.
    muted: usize,
    /// The text of the values read so far.
    pub text: String,
    /// The id of the first field, and the range of its value in the text.
    pub first: Option<(i16, usize, usize)>,
    /// Whether a struct has more fields than allowed.
    pub too_large: bool,
}

impl Values {
    /// Makes a reader at the start of the struct.
    pub fn new(encoding: Encoding, limits: Limits, names: Option<(Arc<Method>, bool)>) -> Self {
        let outermost = Open { level: Level::Struct { id: 0 }, begun: 0, full: false };
        let limits = Limits { string: limits.string.min(MOST_SHOWN), ..limits };
        let open = SmallVec::from_iter([outermost]);
        Self { encoding, limits, names, open, next: None, muted: 0, text: "(".into(), first: None, too_large: false }
    }

    /// The text of the first field.
    pub fn first_value(&self) -> &str {
        self.first.and_then(|(_, from, to)| self.text.get(from..to)).unwrap_or_default()
    }

    /// Continues to read, at most to the end of the struct.
    pub fn read(&mut self, data: &[u8]) -> Step {
        let mut r = Reader::new(data);
        loop {
            let before = r;
            let step = match self.next {
                Some(of) => self.value(of, &mut r),
                None if self.open.is_empty() => return Step::Whole(r.position()),
                None => self.element(&mut r).map(|()| 0),
            };
            match step {
                Ok(0) => {}
                Ok(beyond) => return Step::More(r.position() as u64 + beyond, 1),
                Err(Unread::Incomplete(need)) => return Step::More(before.position() as u64, need.max(1)),
                Err(Unread::Invalid) => return Step::Malformed,
            }
        }
    }

    /// Reads the bytes before the next value: the header of a field in a struct, or nothing in a collection.
    fn element(&mut self, r: &mut Reader<'_>) -> Result<(), Unread> {
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        match &mut open.level {
            Level::Struct { id } => {
                let Some((of, next)) = field(self.encoding, *id, r)? else {
                    self.close(")");
                    return Ok(());
                };
                *id = next;
                if open.begun >= self.limits.fields {
                    self.too_large = true;
                }
                self.begin();
                self.name(next);
                if self.open.len() == 1 && self.first.is_none() {
                    self.first = Some((next, self.text.len(), self.text.len()));
                }
                self.next = Some(of);
            }
            Level::Elements { left: 0, closing, .. } => {
                let closing = *closing;
                self.close(closing.encode_utf8(&mut [0; 4]));
            }
            Level::Map { left: 0, .. } => self.close("}"),
            Level::Elements { of, left, .. } => {
                *left -= 1;
                self.next = Some(*of);
                self.begin();
            }
            Level::Map { value, at_value: at_value @ true, left, .. } => {
                *at_value = false;
                *left -= 1;
                self.next = Some(*value);
                self.write(": ");
            }
            Level::Map { key, at_value, .. } => {
                *at_value = true;
                self.next = Some(*key);
                self.begin();
            }
        }
        Ok(())
    }

    /// Reads a value of a simple type, or the beginning of a struct or collection. Returns the number of bytes after the data that belong
    /// to the value and are not needed.
    fn value(&mut self, of: Type, r: &mut Reader<'_>) -> Result<u64, Unread> {
        let compact = self.encoding == Encoding::Compact;
        let mut beyond = 0;
        match of {
            Type::Known(value) => self.show(value),
            Type::Bool => {
                let value = need(r, 1, Reader::u8)? == 1;
                self.show(value);
            }
            Type::Byte => {
                let value = need(r, 1, Reader::u8)? as i8;
                self.show(value);
            }
            Type::I16 | Type::I32 | Type::I64 if compact => {
                let value = zigzag(number(r)?);
                self.show(value);
            }
            Type::I16 => {
                let value = need(r, 2, Reader::i16)?;
                self.show(value);
            }
            Type::I32 => {
                let value = need(r, 4, Reader::i32)?;
                self.show(value);
            }
            Type::I64 => {
                let value = need(r, 8, Reader::i64)?;
                self.show(value);
            }
            Type::Double => {
                let bits = need(r, 8, if compact { Reader::u64_le } else { Reader::u64 })?;
                if self.shown() {
                    text::double(&mut self.text, f64::from_bits(bits));
                }
            }
            Type::Uuid => {
                let value = need(r, 16, |r| r.array::<16>())?;
                self.show(uuid::Uuid::from_bytes(value));
            }
            Type::String => beyond = self.string(r)?,
            Type::Struct => self.open(Level::Struct { id: 0 }, "(")?,
            Type::List | Type::Set => {
                let (of, left) = elements(self.encoding, r)?;
                let (opening, closing) = if self.next == Some(Type::List) { ("[", ']') } else { ("{", '}') };
                if left > 0 {
                    self.open(Level::Elements { of, left, closing }, opening)?;
                }
            }
            Type::Map => {
                let (key, value, left) = entries(self.encoding, r)?;
                self.open(Level::Map { key, value, left, at_value: false }, "{")?;
            }
        }
        self.next = None;
        self.ended();
        Ok(beyond)
    }

    fn string(&mut self, r: &mut Reader<'_>) -> Result<u64, Unread> {
        let length = if self.encoding == Encoding::Compact { number(r)? } else { need(r, 4, Reader::u32)?.into() };
        if length > LONGEST_STRING {
            return Err(Unread::Invalid);
        }
        let length = length as usize; // The value is below a limit that fits into `usize`.
        let wanted = if self.shown() { length.min(self.limits.string) } else { 0 };
        let bytes = need(r, wanted, |r| r.take(wanted))?;
        if self.shown() {
            if self.limits.obfuscate {
                self.text.push_str("\"*\"");
            } else {
                text::string(&mut self.text, bytes, length > wanted);
            }
        }
        let there = (length - wanted).min(r.remaining());
        let _ = r.skip(there);
        Ok((length - wanted - there) as u64)
    }

    /// Handles the start of an element of the innermost level.
    fn begin(&mut self) {
        let most = self.limits.collection;
        let Some(open) = self.open.last_mut() else { return };
        let begun = open.begun;
        open.begun += 1;
        if open.full {
            return;
        }
        let full = begun >= most;
        if begun > 0 {
            self.write(", ");
        }
        if full {
            self.write("...");
            if let Some(open) = self.open.last_mut() {
                open.full = true;
                self.muted += 1;
            }
        }
    }

    fn name(&mut self, id: i16) {
        if !self.shown() {
            return;
        }
        let names = self.names.as_ref().filter(|_| self.open.len() == 1);
        let _ = match names.and_then(|(method, reply)| method.field(*reply, id)) {
            Some(name) => write!(self.text, "{name}: "),
            None => write!(self.text, "{id}: "),
        };
    }

    fn open(&mut self, level: Level, opening: &str) -> Result<(), Unread> {
        if self.open.len() >= DEEPEST {
            return Err(Unread::Invalid);
        }
        self.write(opening);
        self.open.push(Open { level, begun: 0, full: false });
        Ok(())
    }

    fn close(&mut self, closing: &str) {
        if self.open.pop().is_some_and(|open| open.full) {
            self.muted -= 1;
        }
        self.write(closing);
        self.ended();
    }

    /// Handles the end of a value. If it is the value of the first field, its text is complete.
    fn ended(&mut self) {
        if self.open.len() == 1
            && self.open.last().is_some_and(|open| open.begun == 1)
            && let Some(first) = &mut self.first
        {
            first.2 = self.text.len();
        }
    }

    fn shown(&self) -> bool {
        self.muted == 0 && self.text.len() <= MOST_TEXT
    }

    fn write(&mut self, text: &str) {
        if self.shown() {
            self.text.push_str(text);
        }
    }

    fn show(&mut self, value: impl std::fmt::Display) {
        if self.shown() {
            let _ = write!(self.text, "{value}");
        }
    }
}

impl Held for Values {
    fn held(&self) -> usize {
        self.open.held() + self.text.held()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { string: 200, collection: 15, fields: 500, obfuscate: false };

    fn of(encoding: Encoding, limits: Limits, data: &[u8]) -> String {
        let mut values = Values::new(encoding, limits, None);
        assert_eq!(values.read(data), Step::Whole(data.len()), "{}", values.text);
        // The test also passes the values byte by byte.
        let (mut again, mut at) = (Values::new(encoding, limits, None), 0);
        for end in 1..=data.len() {
            match again.read(data.get(at..end).unwrap_or_default()) {
                Step::Whole(n) => assert_eq!(at + n, data.len()),
                Step::More(n, _) => at += n as usize,
                Step::Malformed => panic!("malformed at {end}"),
            }
        }
        assert_eq!(again.text, values.text);
        values.text
    }

    #[test]
    fn binary_values() {
        let data = b"\x02\0\x01\x01\x03\0\x02\xff\x06\0\x03\xff\xfe\x08\0\x04\xff\xff\xff\xff\x0a\0\x05\xff\xff\xff\xff\xff\xff\xff\xfe\
            \x04\0\x06\x3f\xf8\0\0\0\0\0\0\x0b\0\x07\0\0\0\x02hi\x0c\0\x08\x08\0\x01\0\0\0\x09\0\
            \x0f\0\x09\x08\0\0\0\x02\0\0\0\x01\0\0\0\x02\x0e\0\x0a\x03\0\0\0\x01\x05\x0d\0\x0b\x0b\x08\0\0\0\x01\0\0\0\x01k\0\0\0\x03\
            \x0f\0\x0c\x08\0\0\0\0\x0d\0\x0d\0\0\0\0\0\0\0";
        assert_eq!(
            of(Encoding::Binary, LIMITS, data),
            "(1: true, 2: -1, 3: -2, 4: -1, 5: -2, 6: 1.5, 7: \"hi\", 8: (1: 9), 9: [1, 2], 10: {5}, 11: {\"k\": 3}, 12: , 13: {})"
        );
    }

    #[test]
    fn compact_values() {
        let data = b"\x11\x12\x13\xff\x14\x03\x15\x01\x17\0\0\0\0\0\0\xf8\x3f\x18\x02hi\x1c\x15\x12\0\x19\x25\x02\x04\x1a\x11\x01\x1b\x01\x85\x01k\x06\
            \x05\xc8\x01\x0e\0";
        assert_eq!(
            of(Encoding::Compact, LIMITS, data),
            "(1: true, 2: false, 3: -1, 4: -2, 5: -1, 6: 1.5, 7: \"hi\", 8: (1: 9), 9: [1, 2], 10: {true}, 11: {\"k\": 3}, 100: 7)"
        );
    }

    #[test]
    fn limits() {
        let few = Limits { string: 3, collection: 2, fields: 500, obfuscate: false };
        let data = b"\x0f\0\x01\x0b\0\0\0\x03\0\0\0\x04long\0\0\0\x03abc\0\0\0\x05never\x08\0\x02\0\0\0\x01\x0b\0\x03\0\0\0\x02zz\0";
        assert_eq!(of(Encoding::Binary, few, data), "(1: [\"lon...\", \"abc\", ...], 2: 1, ...)");
        let hidden = Limits { obfuscate: true, ..few };
        assert_eq!(of(Encoding::Binary, hidden, data), "(1: [\"*\", \"*\", ...], 2: 1, ...)");
        let mut values = Values::new(Encoding::Binary, Limits { fields: 2, ..LIMITS }, None);
        assert_eq!((values.read(data), values.too_large), (Step::Whole(data.len()), true));
    }

    #[test]
    fn the_rest_of_a_long_string_is_not_wanted() {
        let mut values = Values::new(Encoding::Binary, Limits { string: 3, ..LIMITS }, None);
        assert_eq!(values.read(b"\x0b\0\0\0\x01\0\0abc"), Step::More(7 + 0x10000, 1));
        assert_eq!((values.read(b"\0"), values.first_value()), (Step::Whole(1), "\"abc...\""));
    }

    #[test]
    fn invalid_values_are_malformed() {
        let malformed = |data: &[u8]| assert_eq!(Values::new(Encoding::Binary, LIMITS, None).read(data), Step::Malformed, "{data:?}");
        malformed(b"\x01\0\x01");
        malformed(b"\x0b\0\x01\xff\xff\xff\xff");
        malformed(b"\x0f\0\x01\x08\xff\xff\xff\xff");
        malformed(&b"\x0c\0\x01".repeat(DEEPEST));
    }
}

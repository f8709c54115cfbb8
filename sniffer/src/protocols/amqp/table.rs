//! Field tables. They are parsed while they are written into the document, so no structure is built.

use crate::{event::Text, protocols::kit::reader::Reader};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Serialize, Serializer, ser::SerializeMap};
use smallvec::SmallVec;
use std::fmt::{self, Write};

/// Maximum number of levels of nested tables; deeper ones are left out. Servers nest two or three.
const DEEPEST: u8 = 16;
/// Maximum number of entries of a table; further ones are left out. Clients send about ten.
const MOST_ENTRIES: usize = 1024;

/// The bytes of a table, without its length.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    bytes: &'a [u8],
    /// Whether this is an array, which has values without names.
    array: bool,
    depth: u8,
}

/// A table with the time zone in which its times are written.
pub struct InZone<'a, T>(pub T, pub &'a TimeZone);

enum Field<'a> {
    Bool(bool),
    Integer(i64),
    Single(f32),
    Double(f64),
    Decimal(u8, i32),
    Text(Text<'a>),
    Bytes(&'a [u8]),
    Time(i64),
    Table(Table<'a>),
    Void,
}

impl<'a> Table<'a> {
    /// Makes a table of the bytes in arguments and properties.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, array: false, depth: 0 }
    }

    fn value(&self, r: &mut Reader<'a>) -> Option<Field<'a>> {
        let bytes = |r: &mut Reader<'a>| r.u32().and_then(|len| r.take(usize::try_from(len).ok()?));
        let inner = |bytes, array| Field::Table(Table { bytes, array, depth: self.depth + 1 });
        Some(match r.u8()? {
            b't' => Field::Bool(r.u8()? != 0),
            b'b' => Field::Integer(i64::from(r.u8()?.cast_signed())),
            b'B' => Field::Integer(r.u8()?.into()),
            // Brokers use `s` for a 16-bit integer. The specification uses `U` for it, and `s` for short strings, which are not
            // sent in practice.
            b's' | b'U' => Field::Integer(r.i16()?.into()),
            b'u' => Field::Integer(r.u16()?.into()),
            b'I' => Field::Integer(r.i32()?.into()),
            b'i' => Field::Integer(r.u32()?.into()),
            b'l' | b'L' => Field::Integer(r.i64()?),
            b'f' => Field::Single(f32::from_bits(r.u32()?)),
            b'd' => Field::Double(f64::from_bits(r.u64()?)),
            b'D' => Field::Decimal(r.u8()?, r.i32()?),
            b'S' => Field::Text(Text(bytes(r)?)),
            b'x' => Field::Bytes(bytes(r)?),
            b'T' => Field::Time(r.i64()?),
            b'A' => inner(bytes(r)?, true),
            b'F' => inner(bytes(r)?, false),
            b'V' => Field::Void,
            _ => return None,
        })
    }

    /// The entries up to the first malformed one, by name; for a repeated name the last value.
    fn entries(&self) -> SmallVec<[(Name<'a>, Field<'a>); 16]> {
        let mut r = Reader::new(self.bytes);
        let mut entries = SmallVec::new();
        while !r.is_empty() && entries.len() < MOST_ENTRIES && self.depth < DEEPEST {
            let name = if self.array {
                Name::Index(entries.len())
            } else {
                let Some(name) = r.u8().and_then(|len| r.take(len.into())) else { break };
                Name::Text(Text(name))
            };
            let Some(value) = self.value(&mut r) else { break };
            entries.push((name, value));
        }
        if !self.array {
            entries.reverse();
            entries.sort_by_key(|e: &(Name<'_>, Field<'_>)| e.0);
            entries.dedup_by_key(|e: &mut (Name<'_>, Field<'_>)| e.0);
        }
        entries
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name<'a> {
    Index(usize),
    Text(Text<'a>),
}

impl Serialize for Name<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Index(i) => serializer.serialize_str(itoa::Buffer::new().format(*i)),
            Self::Text(text) => text.serialize(serializer),
        }
    }
}

impl Serialize for InZone<'_, Table<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0.entries() {
            match value {
                Field::Bool(b) => map.serialize_entry(&name, &b)?,
                Field::Integer(n) => map.serialize_entry(&name, &n)?,
                Field::Single(n) if n.is_finite() => map.serialize_entry(&name, &n)?,
                Field::Double(n) if n.is_finite() => map.serialize_entry(&name, &n)?,
                // Documents have no representation for values of these types.
                Field::Single(_) | Field::Double(_) | Field::Void => {}
                Field::Decimal(scale, n) => map.serialize_entry(&name, &decimal(scale, n))?,
                Field::Text(text) => map.serialize_entry(&name, &text)?,
                Field::Bytes(bytes) => map.serialize_entry(&name, &Shown(format_args!("[{}]", Decimals(bytes, ", "))))?,
                Field::Time(seconds) => map.serialize_entry(&name, &InZone(seconds, self.1))?,
                Field::Table(table) => map.serialize_entry(&name, &InZone(table, self.1))?,
            }
        }
        map.end()
    }
}

struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Writes bytes as decimal numbers with a separator.
pub struct Decimals<'a>(pub &'a [u8], pub &'static str);

impl fmt::Display for Decimals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = itoa::Buffer::new();
        for (i, byte) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { self.1 })?;
            f.write_str(digits.format(*byte))?;
        }
        Ok(())
    }
}

/// Writes `n` with a point before its last `scale` digits, and no zero before the point.
fn decimal(scale: u8, n: i32) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0scale$}", n.unsigned_abs());
    let (whole, rest) = digits.split_at(digits.len().saturating_sub(scale));
    format!("{}{whole}{}{rest}", if n < 0 { "-" } else { "" }, if scale == 0 { "" } else { "." })
}

impl Serialize for InZone<'_, i64> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Writes a time as `January  2 15:04:05 2006`. Some clients send milliseconds, which gives a very large year.
impl fmt::Display for InZone<'_, i64> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The calendar repeats after 400 years. The rules of the time zone repeat after the last year for which they
        /// are known.
        const CYCLE: i64 = 400 * 365 * 86_400 + 97 * 86_400;
        let far = Timestamp::from_second(self.0).is_err();
        let (cycles, seconds) = if far { (self.0.div_euclid(CYCLE), self.0.rem_euclid(CYCLE)) } else { (0, self.0) };
        let Ok(within) = Timestamp::from_second(seconds) else { return f.write_char('?') };
        let t = within.to_zoned(self.1.clone());
        const MONTHS: [&str; 12] =
            ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
        let month = usize::try_from(t.month() - 1).ok().and_then(|i| MONTHS.get(i)).unwrap_or(&"?");
        let year = i64::from(t.year()) + 400 * cycles;
        write!(f, "{month} {:2} {:02}:{:02}:{:02} {year:04}", t.day(), t.hour(), t.minute(), t.second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(bytes: &[u8]) -> Value {
        serde_json::to_value(InZone(Table::new(bytes), &TimeZone::UTC)).unwrap()
    }

    #[test]
    fn every_type() {
        let bytes = b"\x01at\x01\x01bb\xff\x01cB\xff\x01ds\xff\xfe\x01eu\xff\xfe\x01fI\xff\xff\xff\xff\x01gi\xff\xff\xff\xff\
            \x01hl\xff\xff\xff\xff\xff\xff\xff\xff\x01if\x3f\xc0\0\0\x01jd\x3f\xf8\0\0\0\0\0\0\x01kD\x02\0\0\x30\x39\
            \x01lS\0\0\0\x02hi\x01mx\0\0\0\x02\x01\xff\x01nT\0\0\0\0\x56\xa7\xc1\x3e\x01oA\0\0\0\x03t\0V\x01pF\0\0\0\x04\x01xt\x01\x01qV\
            \x01rd\x7f\xf0\0\0\0\0\0\0";
        assert_eq!(
            read(bytes),
            json!({"a": true, "b": -1, "c": 255, "d": -2, "e": 65534, "f": -1, "g": 4_294_967_295_u32, "h": -1, "i": 1.5, "j": 1.5, "k": "123.45",
                "l": "hi", "m": "[1, 255]", "n": "January 26 18:55:58 2016", "o": {"0": false}, "p": {"x": true}})
        );
    }

    #[test]
    fn malformed_tables_end_at_the_malformed_entry() {
        assert_eq!(read(b"\x01at\x01\x01b?\x01ct\x01"), json!({"a": true}));
        assert_eq!(read(b"\x01at\x01\x01bS\xff\xff\xff\xff"), json!({"a": true}));
        assert_eq!(read(b"\xffa"), json!({}));
        let mut deep = vec![];
        for _ in 0..1000 {
            deep = [&b"\x01aF"[..], &u32::try_from(deep.len()).unwrap().to_be_bytes(), &deep].concat();
        }
        assert!(read(&deep).to_string().len() < 200);
    }

    #[test]
    fn a_repeated_name_is_written_once_with_its_last_value() {
        let text = serde_json::to_string(&InZone(Table::new(b"\x01at\x01\x01bt\x01\x01at\x00"), &TimeZone::UTC)).unwrap();
        assert_eq!(text, r#"{"a":false,"b":true}"#);
    }

    #[test]
    fn decimals() {
        assert_eq!([decimal(0, 7), decimal(2, 5), decimal(2, 42), decimal(1, -42)], ["7", ".05", ".42", "-4.2"]);
    }

    #[test]
    fn times() {
        let at = |seconds: i64, zone: &TimeZone| InZone(seconds, zone).to_string();
        assert_eq!(at(86_400, &TimeZone::UTC), "January  2 00:00:00 1970");
        assert_eq!(at(86_400, &TimeZone::fixed(jiff::tz::offset(-1))), "January  1 23:00:00 1970");
        assert_eq!(at(1_453_834_558_000, &TimeZone::UTC), "March  7 20:46:40 48040");
        for extreme in [i64::MIN, i64::MAX, -1] {
            at(extreme, &TimeZone::UTC);
        }
    }
}

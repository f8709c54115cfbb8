//! Converts values in the binary form of prepared statements to text: parameters, and the columns of rows.
//!
//! "Binary Protocol Value" of MySQL's source documentation.

use super::wire::{lenenc, lenenc_bytes};
use crate::protocols::kit::{held::Held, reader::Reader};
use std::io::Write;

/// Maximum number of parameters of one EXECUTE that are shown. A statement may have 65,535, but such documents are not useful.
const MOST_PARAMS: usize = 4096;

/// The form of dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The form that the server uses in text rows: `2017-07-28 01:02:03`.
    Text,
    /// The form that Packetbeat uses for parameters: `2017/7/28 1:2:3`, without the parts that were not sent.
    Param,
}

/// Appends the next value of type `kind` to `out`; `None` if it is cut off or its type is unknown.
pub fn value(r: &mut Reader<'_>, kind: u8, unsigned: bool, style: Style, out: &mut Vec<u8>) -> Option<()> {
    // Writing to a vector cannot fail.
    let _ = match (kind, unsigned) {
        (0x01, false) => write!(out, "{}", r.u8()?.cast_signed()),
        (0x01, true) => write!(out, "{}", r.u8()?),
        (0x02, false) => write!(out, "{}", r.i16_le()?),
        (0x02, true) | (0x0d, _) => write!(out, "{}", r.u16_le()?),
        (0x03 | 0x09, false) => write!(out, "{}", r.i32_le()?),
        (0x03 | 0x09, true) => write!(out, "{}", r.u32_le()?),
        (0x08, false) => write!(out, "{}", r.i64_le()?),
        (0x08, true) => write!(out, "{}", r.u64_le()?),
        (0x04, _) => match f32::from_bits(r.u32_le()?) {
            n if plain(n.into()) => write!(out, "{n}"),
            n => write!(out, "{n:e}"),
        },
        (0x05, _) => match f64::from_bits(r.u64_le()?) {
            n if plain(n) => write!(out, "{n}"),
            n => write!(out, "{n:e}"),
        },
        (0x07 | 0x0a | 0x0c | 0x0e, _) => return date(r, kind, style, out),
        (0x0b, _) => return time(r, out),
        (0x06, _) => Ok(()),
        (0x00 | 0x0f | 0x10 | 0xf2 | 0xf5..=0xff, _) => {
            out.extend_from_slice(lenenc_bytes(r)?);
            Ok(())
        }
        _ => return None,
    };
    Some(())
}

/// Whether a number is written without an exponent.
fn plain(n: f64) -> bool {
    n == 0.0 || (1e-6..1e21).contains(&n.abs())
}

fn date(r: &mut Reader<'_>, kind: u8, style: Style, out: &mut Vec<u8>) -> Option<()> {
    let len = usize::from(r.u8()?);
    let mut part = Reader::new(r.take(len)?);
    let day = part.u16_le().and_then(|year| Some((year, part.u8()?, part.u8()?)));
    let clock = part.u8().and_then(|hour| Some((hour, part.u8()?, part.u8()?)));
    let micros = part.u32_le();
    let _ = match (style, day, clock) {
        (Style::Param, None, _) => write!(out, "// ::"),
        (Style::Param, Some((y, m, d)), None) => write!(out, "{y}/{m}/{d} ::"),
        (Style::Param, Some((y, m, d)), Some((h, min, s))) => write!(out, "{y}/{m}/{d} {h}:{min}:{s}"),
        (Style::Text, day, clock) => {
            let ((y, m, d), (h, min, s)) = (day.unwrap_or_default(), clock.unwrap_or_default());
            match kind {
                0x0a | 0x0e => write!(out, "{y:04}-{m:02}-{d:02}"),
                _ => write!(out, "{y:04}-{m:02}-{d:02} {h:02}:{min:02}:{s:02}"),
            }
        }
    };
    match (style, micros) {
        (_, None) | (Style::Param, Some(0)) => {}
        (_, Some(micros)) => drop(write!(out, ".{micros:06}")),
    }
    Some(())
}

fn time(r: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    let len = usize::from(r.u8()?);
    let mut part = Reader::new(r.take(len)?);
    let (negative, days) = (part.u8().unwrap_or_default(), part.u32_le().unwrap_or_default());
    let (h, m, s) = (part.u8().unwrap_or_default(), part.u8().unwrap_or_default(), part.u8().unwrap_or_default());
    let hours = u64::from(days) * 24 + u64::from(h);
    let _ = write!(out, "{}{hours:02}:{m:02}:{s:02}", if negative == 1 { "-" } else { "" });
    if let Some(micros) = part.u32_le() {
        let _ = write!(out, ".{micros:06}");
    }
    Some(())
}

/// A list of texts, stored in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl List {
    /// The texts of the list.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().scan(0, |from, &to| self.text.get(std::mem::replace(from, to)..to))
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn end(&mut self) {
        self.ends.push(self.text.len());
    }
}

impl Held for List {
    fn held(&self) -> usize {
        self.text.held() + self.ends.held()
    }
}

/// The known properties of a statement's parameters.
#[derive(Clone, Debug, Default)]
pub struct Signature {
    /// Number of parameters.
    pub count: usize,
    /// The types of the parameters, and whether they are unsigned, from the last EXECUTE that contained types.
    pub types: Vec<(u8, bool)>,
}

/// Parameters whose values were sent in advance: their positions, and the beginnings of the values.
pub type Ahead = [(u16, Vec<u8>)];

/// The parameters of an EXECUTE, starting after the statement's id. NULL is `TYPE_NULL`. `None` if they cannot be parsed.
pub fn execute(payload: &[u8], signature: &mut Signature, ahead: &Ahead) -> Option<List> {
    let mut r = Reader::new(payload);
    let flags = r.u8()?;
    r.skip(4)?;
    // The client of MySQL 8 sends their number, because query attributes, which have names, may follow the parameters.
    let named = flags & 8 != 0;
    let count = if named { usize::try_from(lenenc(&mut r)?).ok()? } else { signature.count };
    let mut list = List::default();
    if count == 0 {
        return Some(list);
    }
    let nulls = r.take(count.div_ceil(8))?;
    if r.u8()? == 1 {
        signature.types.clear();
        for _ in 0..count {
            let (kind, flags) = (r.u8()?, r.u8()?);
            if named {
                lenenc_bytes(&mut r)?;
            }
            if signature.types.len() < MOST_PARAMS {
                signature.types.push((kind, flags & 0x80 != 0));
            }
        }
    }
    let shown = signature.types.get(..count.min(signature.count).min(MOST_PARAMS))?;
    for (i, &(kind, unsigned)) in shown.iter().enumerate() {
        let null = nulls.get(i / 8)? >> (i % 8) & 1 == 1;
        match ahead.iter().find(|(place, _)| usize::from(*place) == i) {
            Some((_, value)) => list.text.extend_from_slice(value),
            None if null || kind == 0x06 => list.text.extend_from_slice(b"TYPE_NULL"),
            None => value(&mut r, kind, unsigned, Style::Param, &mut list.text)?,
        }
        list.end();
    }
    Some(list)
}

/// The parameters of MariaDB's BULK_EXECUTE, of all rows, starting after the statement's id.
pub fn bulk(payload: &[u8], signature: &mut Signature) -> Option<List> {
    if signature.count > MOST_PARAMS {
        return None;
    }
    let mut r = Reader::new(payload);
    if r.u16_le()? & 0x80 != 0 {
        signature.types.clear();
        for _ in 0..signature.count {
            let (kind, flags) = (r.u8()?, r.u8()?);
            signature.types.push((kind, flags & 0x80 != 0));
        }
    }
    let mut list = List::default();
    if signature.types.is_empty() {
        return Some(list);
    }
    while !r.is_empty() && list.ends.len() < MOST_PARAMS {
        for &(kind, unsigned) in &signature.types {
            match r.u8()? {
                0 => value(&mut r, kind, unsigned, Style::Param, &mut list.text)?,
                1 => list.text.extend_from_slice(b"TYPE_NULL"),
                2 => list.text.extend_from_slice(b"DEFAULT"),
                3 => list.text.extend_from_slice(b"IGNORE"),
                _ => return None,
            }
            list.end();
        }
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: u8, unsigned: bool, style: Style, data: &[u8]) -> String {
        let mut out = vec![];
        let mut r = Reader::new(data);
        value(&mut r, kind, unsigned, style, &mut out).unwrap();
        assert!(r.is_empty());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers() {
        let number = |kind, unsigned, data: &[u8]| text(kind, unsigned, Style::Text, data);
        assert_eq!(number(1, false, &[0xff]), "-1");
        assert_eq!(number(1, true, &[0xff]), "255");
        assert_eq!(number(2, false, &[0xfe, 0xff]), "-2");
        assert_eq!(number(0x0d, false, &[0xe1, 7]), "2017");
        assert_eq!(number(3, true, &[0xff; 4]), "4294967295");
        assert_eq!(number(9, false, &[0xff; 4]), "-1");
        assert_eq!(number(8, true, &[0xff; 8]), "18446744073709551615");
        assert_eq!(number(4, false, &1.1_f32.to_le_bytes()), "1.1");
        assert_eq!(number(5, false, &(-0.25_f64).to_le_bytes()), "-0.25");
        assert_eq!(number(5, false, &1e300_f64.to_le_bytes()), "1e300");
    }

    #[test]
    fn dates_and_times() {
        let moment = &[11, 0xe1, 7, 7, 28, 1, 2, 3, 0x40, 0xe2, 1, 0];
        assert_eq!(text(12, false, Style::Text, moment), "2017-07-28 01:02:03.123456");
        assert_eq!(text(12, false, Style::Param, moment), "2017/7/28 1:2:3.123456");
        assert_eq!(text(12, false, Style::Param, &[4, 0xe1, 7, 7, 28]), "2017/7/28 ::");
        assert_eq!(text(12, false, Style::Param, &[0]), "// ::");
        assert_eq!(text(10, false, Style::Text, &[0]), "0000-00-00");
        assert_eq!(text(11, false, Style::Text, &[8, 1, 1, 0, 0, 0, 2, 3, 4]), "-26:03:04");
        assert_eq!(text(11, false, Style::Text, &[0]), "00:00:00");
        assert_eq!(text(11, false, Style::Text, &[12, 0, 0, 0, 0, 0, 2, 3, 4, 1, 0, 0, 0]), "02:03:04.000001");
    }

    #[test]
    fn cut_and_unknown() {
        let no = |kind, data: &[u8]| value(&mut Reader::new(data), kind, false, Style::Text, &mut vec![]);
        assert_eq!((no(3, &[1, 2, 3]), no(12, &[7, 1]), no(0xfd, &[5, b'a']), no(0x40, &[1])), (None, None, None, None));
    }

    fn shown(list: &List) -> Vec<String> {
        list.iter().map(|t| String::from_utf8(t.to_vec()).unwrap()).collect()
    }

    #[test]
    fn parameters() {
        let mut s = Signature { count: 3, ..Signature::default() };
        let first = b"\0\x01\0\0\0\x02\x01\xfd\0\x03\0\x08\x80\x01a\xff\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(shown(&execute(first, &mut s, &[]).unwrap()), ["a", "TYPE_NULL", "18446744073709551615"]);
        let again = b"\0\x01\0\0\0\0\0\x01b\x01\0\0\0\x02\0\0\0\0\0\0\0";
        assert_eq!(shown(&execute(again, &mut s, &[]).unwrap()), ["b", "1", "2"]);
        let ahead = [(0, b"long".to_vec())];
        assert_eq!(shown(&execute(b"\0\x01\0\0\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0", &mut s, &ahead).unwrap()), ["long", "1", "2"]);
        assert_eq!(execute(&again[..12], &mut Signature { count: 3, ..Signature::default() }, &[]), None);
        assert_eq!(execute(b"\x08\x01\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff", &mut s, &[]), None);
    }

    #[test]
    fn parameters_with_attributes() {
        let mut s = Signature { count: 1, ..Signature::default() };
        let payload = b"\x08\x01\0\0\0\x02\0\x01\x03\0\0\xfe\0\x05trace\x07\0\0\0\x02id";
        assert_eq!(shown(&execute(payload, &mut s, &[]).unwrap()), ["7"]);
    }

    #[test]
    fn bulk_parameters() {
        let mut s = Signature { count: 2, ..Signature::default() };
        let payload = b"\x80\0\x03\0\xfd\0\0\x01\0\0\0\0\x01a\0\x02\0\0\0\x01\0\x03\0\0\0\x02";
        assert_eq!(shown(&bulk(payload, &mut s).unwrap()), ["1", "a", "2", "TYPE_NULL", "3", "DEFAULT"]);
    }
}

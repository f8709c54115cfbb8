//! Converts column values in binary format to the text that the server would have sent. Common types are supported; the bytes of other
//! types are written in hexadecimal.
//!
//! The layouts are those of the types' `…send` functions; for the text see PostgreSQL manual, "Data Types" (chapter 8). The text differs
//! from the server's only if that depends on the session: times with a zone are written in UTC, `bytea` as `\x…`, dates in ISO style.

use crate::{event::text::Hex, protocols::kit::reader::Reader};
use std::{
    io::Write,
    net::{Ipv4Addr, Ipv6Addr},
};

/// Days from 1970-01-01 to 2000-01-01, from which PostgreSQL counts.
const EPOCH_DAYS: i64 = 10_957;
const DAY_MICROS: i64 = 86_400_000_000;
/// Maximum number of elements of an array that are written; the shown part of a row is far shorter.
const MOST_ELEMENTS: usize = 10_000;

/// Writes the text of `value`, whose type has this object id (`pg_type.oid`).
pub fn write(out: &mut Vec<u8>, oid: u32, value: &[u8]) {
    let from = out.len();
    if typed(out, oid, value).is_none() {
        out.truncate(from);
        raw(out, oid, value);
    }
}

/// Writes the bytes as text if they may be text (user-defined types are mostly enumerations), otherwise in hexadecimal.
fn raw(out: &mut Vec<u8>, oid: u32, value: &[u8]) {
    const FIRST_OF_USERS: u32 = 16_384;
    let text = || std::str::from_utf8(value).is_ok_and(|text| !text.chars().any(|c| c.is_control()));
    if oid >= FIRST_OF_USERS && text() { out.extend_from_slice(value) } else { hex(out, value) }
}

fn hex(out: &mut Vec<u8>, value: &[u8]) {
    put(out, format_args!("\\x{}", Hex(value)));
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text); // A write to a vector does not fail.
}

fn typed(out: &mut Vec<u8>, oid: u32, value: &[u8]) -> Option<()> {
    let mut r = Reader::new(value);
    match oid {
        16 => out.push(if r.u8()? == 0 { b'f' } else { b't' }),
        17 => hex(out, value),
        // These types are char, name, text, json, xml, unknown, bpchar, varchar and void.
        18 | 19 | 25 | 114 | 142 | 705 | 1042 | 1043 | 2278 => out.extend_from_slice(value),
        20 => put(out, format_args!("{}", r.i64()?)),
        21 => put(out, format_args!("{}", r.i16()?)),
        23 => put(out, format_args!("{}", r.i32()?)),
        26 | 28 | 29 => put(out, format_args!("{}", r.u32()?)),
        700 => {
            float(out, f64::from(f32::from_bits(r.u32()?)), &format!("{:e}", f32::from_bits(u32::from_be_bytes(value.try_into().ok()?))), 6)
        }
        701 => {
            let number = f64::from_bits(r.u64()?);
            float(out, number, &format!("{number:e}"), 15);
        }
        650 | 869 => address(out, value)?,
        829 => put(out, format_args!("{}", Colons(value))),
        1082 => match r.i32()? {
            i32::MAX => out.extend_from_slice(b"infinity"),
            i32::MIN => out.extend_from_slice(b"-infinity"),
            days => {
                let bc = date(out, i64::from(days));
                out.extend_from_slice(bc);
            }
        },
        1083 => time(out, r.i64()?),
        1266 => {
            time(out, r.i64()?);
            zone(out, r.i32()?);
        }
        1114 | 1184 => match r.i64()? {
            i64::MAX => out.extend_from_slice(b"infinity"),
            i64::MIN => out.extend_from_slice(b"-infinity"),
            micros => {
                let bc = date(out, micros.div_euclid(DAY_MICROS));
                out.push(b' ');
                time(out, micros.rem_euclid(DAY_MICROS));
                if oid == 1184 {
                    out.extend_from_slice(b"+00");
                }
                out.extend_from_slice(bc);
            }
        },
        1186 => {
            let (micros, days, months) = (r.i64()?, r.i32()?, r.i32()?);
            interval(out, micros, days, months);
        }
        1700 => numeric(out, &mut r)?,
        2950 => uuid(out, r.array()?),
        3802 => out.extend_from_slice(value.strip_prefix(&[1])?),
        // These types are arrays: _bool, _int2, _int4, _text, _varchar, _int8, _float4, _float8, _timestamp, _date, _timestamptz, _numeric,
        // _uuid, _jsonb and others.
        199 | 1000..=1002 | 1005..=1009 | 1014..=1016 | 1021 | 1022 | 1028 | 1115 | 1182 | 1183 | 1185 | 1231 | 2951 | 3807 => {
            array(out, &mut r)?
        }
        _ => return None,
    }
    Some(())
}

struct Colons<'a>(&'a [u8]);

impl std::fmt::Display for Colons<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, byte)| write!(f, "{}{byte:02x}", if i == 0 { "" } else { ":" }))
    }
}

/// Writes a floating-point number as the server does. `shortest`: the number in the form `d.ddde±n`, with the fewest digits that are read
/// back as the same number. The exponent is written if it is less than -4 or at least `digits`.
fn float(out: &mut Vec<u8>, number: f64, shortest: &str, digits: i32) {
    if !number.is_finite() {
        let text: &[u8] = if number.is_nan() {
            b"NaN"
        } else if number > 0.0 {
            b"Infinity"
        } else {
            b"-Infinity"
        };
        return out.extend_from_slice(text);
    }
    let Some((mantissa, exponent)) = shortest.split_once('e') else { return };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..digits).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return put(out, format_args!("{mantissa}e{sign}{:02}", exponent.unsigned_abs()));
    }
    let negative = mantissa.starts_with('-');
    let all = mantissa.bytes().filter(u8::is_ascii_digit);
    if negative {
        out.push(b'-');
    }
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1).unsigned_abs() as usize));
        out.extend(all);
    } else {
        let whole = exponent.unsigned_abs() as usize + 1;
        let count = all.clone().count();
        out.extend(all.clone().take(whole));
        out.extend(std::iter::repeat_n(b'0', whole.saturating_sub(count)));
        if count > whole {
            out.push(b'.');
            out.extend(all.skip(whole));
        }
    }
}

/// Writes the date. Returns the suffix that marks years before the year 1.
fn date(out: &mut Vec<u8>, days: i64) -> &'static [u8] {
    // The algorithm `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>): years begin in March, and an era is 400
    // years.
    let z = days + EPOCH_DAYS + 719_468;
    let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (year, bc): (_, &[u8]) = if year > 0 { (year, b"") } else { (1 - year, b" BC") };
    put(out, format_args!("{year:04}-{month:02}-{:02}", of_year - (153 * shifted + 2) / 5 + 1));
    bc
}

fn time(out: &mut Vec<u8>, micros: i64) {
    let seconds = micros.div_euclid(1_000_000);
    put(out, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    fraction(out, micros.rem_euclid(1_000_000));
}

fn fraction(out: &mut Vec<u8>, micros: i64) {
    if micros != 0 {
        let text = format!("{micros:06}");
        put(out, format_args!(".{}", text.trim_end_matches('0')));
    }
}

/// Writes a time zone given in seconds west of Greenwich.
fn zone(out: &mut Vec<u8>, west: i32) {
    let east = west.unsigned_abs();
    put(out, format_args!("{}{:02}", if west > 0 { '-' } else { '+' }, east / 3600));
    if !east.is_multiple_of(3600) {
        put(out, format_args!(":{:02}", east / 60 % 60));
    }
}

fn interval(out: &mut Vec<u8>, micros: i64, days: i32, months: i32) {
    let from = out.len();
    for (number, name) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if number != 0 {
            let space = if out.len() > from { " " } else { "" };
            put(out, format_args!("{space}{number} {name}{}", if number == 1 { "" } else { "s" }));
        }
    }
    if micros != 0 || out.len() == from {
        if out.len() > from {
            out.push(b' ');
        }
        if micros < 0 {
            out.push(b'-');
        }
        let micros = micros.unsigned_abs();
        let seconds = micros / 1_000_000;
        put(out, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
        fraction(out, (micros % 1_000_000) as i64);
    }
}

/// Writes a numeric. The digits have the base 10,000; `weight` is the exponent of the first digit, `scale` the number
/// of decimal places.
fn numeric(out: &mut Vec<u8>, r: &mut Reader<'_>) -> Option<()> {
    let (count, weight, sign, scale) = (r.u16()?, i32::from(r.i16()?), r.u16()?, usize::from(r.u16()?));
    match sign {
        0 => {}
        0x4000 => out.push(b'-'),
        0xc000 => out.extend_from_slice(b"NaN"),
        0xd000 => out.extend_from_slice(b"Infinity"),
        0xf000 => out.extend_from_slice(b"-Infinity"),
        _ => return None,
    }
    if sign >= 0xc000 {
        return Some(());
    }
    let digits = r.take(usize::from(count) * 2)?;
    let digit = |exponent: i32| {
        let at = usize::try_from(weight - exponent).ok();
        at.and_then(|at| digits.chunks_exact(2).nth(at)).and_then(|d| d.try_into().ok()).map_or(0, u16::from_be_bytes)
    };
    if weight < 0 {
        out.push(b'0');
    }
    for exponent in (0..=weight).rev() {
        if exponent == weight { put(out, format_args!("{}", digit(exponent))) } else { put(out, format_args!("{:04}", digit(exponent))) }
    }
    if scale > 0 {
        out.push(b'.');
        let end = out.len() + scale;
        let mut exponent = -1;
        while out.len() < end {
            put(out, format_args!("{:04}", digit(exponent)));
            exponent -= 1;
        }
        out.truncate(end);
    }
    Some(())
}

fn uuid(out: &mut Vec<u8>, bytes: [u8; 16]) {
    for (i, byte) in bytes.iter().enumerate() {
        put(out, format_args!("{}{byte:02x}", if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" }));
    }
}

/// Writes an address: family (2 or 3), bits, whether it is a network, length, and the address.
fn address(out: &mut Vec<u8>, value: &[u8]) -> Option<()> {
    let (&[_, bits, network, length], bytes) = value.split_first_chunk::<4>()?;
    match length {
        4 => put(out, format_args!("{}", Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))),
        16 => put(out, format_args!("{}", Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))),
        _ => return None,
    }
    if network != 0 || u32::from(bits) != u32::from(length) * 8 {
        put(out, format_args!("/{bits}"));
    }
    Some(())
}

/// Writes an array of one dimension, or an empty one: `{a,"b c",NULL}`.
fn array(out: &mut Vec<u8>, r: &mut Reader<'_>) -> Option<()> {
    let (dimensions, _nulls, oid) = (r.u32()?, r.u32()?, r.u32()?);
    let is_array =
        matches!(oid, 199 | 1000..=1002 | 1005..=1009 | 1014..=1016 | 1021 | 1022 | 1028 | 1115 | 1182 | 1183 | 1185 | 1231 | 2951 | 3807);
    let count = match dimensions {
        0 => 0,
        1 if !is_array => r.u32()? as usize,
        _ => return None,
    };
    if dimensions == 1 {
        r.skip(4)?; // This skips the lower bound of the array.
    }
    out.push(b'{');
    let mut element = Vec::new();
    for i in 0..count.min(MOST_ELEMENTS) {
        if i > 0 {
            out.push(b',');
        }
        let length = r.i32()?;
        let Ok(length) = usize::try_from(length) else {
            out.extend_from_slice(b"NULL");
            continue;
        };
        element.clear();
        write(&mut element, oid, r.take(length)?);
        let special = |b: &u8| matches!(b, b'{' | b'}' | b',' | b'"' | b'\\') || b.is_ascii_whitespace();
        if element.is_empty() || element.iter().any(special) || element.eq_ignore_ascii_case(b"null") {
            out.push(b'"');
            for &byte in &element {
                if matches!(byte, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(byte);
            }
            out.push(b'"');
        } else {
            out.extend_from_slice(&element);
        }
    }
    out.push(b'}');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(oid: u32, value: &[u8]) -> String {
        let mut out = b"x".to_vec();
        write(&mut out, oid, value);
        String::from_utf8(out[1..].to_vec()).unwrap()
    }

    #[test]
    fn integers_and_truth() {
        assert_eq!(text(16, &[1]), "t");
        assert_eq!(text(16, &[0]), "f");
        assert_eq!(text(21, &[0xff, 0xfe]), "-2");
        assert_eq!(text(23, &[0x7f, 0xff, 0xff, 0xff]), "2147483647");
        assert_eq!(text(20, &i64::MIN.to_be_bytes()), "-9223372036854775808");
        assert_eq!(text(26, &u32::MAX.to_be_bytes()), "4294967295");
    }

    #[test]
    fn floats() {
        let f8 = |f: f64| text(701, &f.to_be_bytes());
        assert_eq!(f8(1.0), "1");
        assert_eq!(f8(-0.5), "-0.5");
        assert_eq!(f8(0.0), "0");
        assert_eq!(f8(1234.5678), "1234.5678");
        assert_eq!(f8(100_000.0), "100000");
        assert_eq!(f8(1e15), "1e+15");
        assert_eq!(f8(123_456_789_012_345.0), "123456789012345");
        assert_eq!(f8(0.0001), "0.0001");
        assert_eq!(f8(0.000_012), "1.2e-05");
        assert_eq!(f8(-1.5e300), "-1.5e+300");
        assert_eq!((f8(f64::NAN), f8(f64::NEG_INFINITY)), ("NaN".into(), "-Infinity".into()));
        assert_eq!(text(700, &1.1f32.to_be_bytes()), "1.1");
        assert_eq!(text(700, &1e6f32.to_be_bytes()), "1e+06");
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(text(1082, &0i32.to_be_bytes()), "2000-01-01");
        assert_eq!(text(1082, &(-730_119i32).to_be_bytes()), "0001-01-01");
        assert_eq!(text(1082, &(-730_120i32).to_be_bytes()), "0001-12-31 BC");
        assert_eq!(text(1082, &i32::MAX.to_be_bytes()), "infinity");
        assert_eq!(text(1114, &(-1i64).to_be_bytes()), "1999-12-31 23:59:59.999999");
        assert_eq!(text(1184, &(DAY_MICROS * 59 + 500_000).to_be_bytes()), "2000-02-29 00:00:00.5+00");
        assert_eq!(text(1184, &i64::MIN.to_be_bytes()), "-infinity");
        assert_eq!(text(1083, &(3_723_000_000i64).to_be_bytes()), "01:02:03");
        assert_eq!(text(1266, &[&3_723_000_000i64.to_be_bytes()[..], &(-19_800i32).to_be_bytes()].concat()), "01:02:03+05:30");
        let interval = |micros: i64, days: i32, months: i32| {
            text(1186, &[&micros.to_be_bytes()[..], &days.to_be_bytes(), &months.to_be_bytes()].concat())
        };
        assert_eq!(interval(14_706_700_000, 3, 14), "1 year 2 mons 3 days 04:05:06.7");
        assert_eq!((interval(0, 0, 0), interval(-1_000_000, 1, 0)), ("00:00:00".into(), "1 day -00:00:01".into()));
    }

    #[test]
    fn numerics() {
        let numeric = |weight: i16, sign: u16, scale: u16, digits: &[u16]| {
            let mut bytes = (digits.len() as u16).to_be_bytes().to_vec();
            bytes.extend([weight.to_be_bytes(), sign.to_be_bytes(), scale.to_be_bytes()].concat());
            digits.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
            text(1700, &bytes)
        };
        assert_eq!(numeric(0, 0, 0, &[]), "0");
        assert_eq!(numeric(0, 0, 2, &[]), "0.00");
        assert_eq!(numeric(1, 0x4000, 2, &[1, 2345, 6700]), "-12345.67");
        assert_eq!(numeric(-1, 0, 3, &[120]), "0.012");
        assert_eq!(numeric(-2, 0, 6, &[1200]), "0.000012");
        assert_eq!(numeric(2, 0, 0, &[5]), "500000000");
        assert_eq!(numeric(0, 0xc000, 0, &[]), "NaN");
        assert_eq!(text(1700, &[0, 9, 0, 0, 0, 0, 0, 0]), "\\x0009000000000000");
    }

    #[test]
    fn other_types() {
        assert_eq!(text(17, &[0, 0xab]), "\\x00ab");
        assert_eq!(text(2950, &[0x12; 16]), "12121212-1212-1212-1212-121212121212");
        assert_eq!(text(3802, b"\x01{\"a\": 1}"), "{\"a\": 1}");
        assert_eq!(text(869, &[2, 24, 0, 4, 10, 0, 0, 1]), "10.0.0.1/24");
        assert_eq!(text(869, &[2, 32, 0, 4, 10, 0, 0, 1]), "10.0.0.1");
        assert_eq!(text(829, &[0, 1, 2, 3, 4, 255]), "00:01:02:03:04:ff");
        assert_eq!(
            (text(99_999, b"happy"), text(99_999, &[1, 2]), text(600, b"point")),
            ("happy".into(), "\\x0102".into(), "\\x706f696e74".into())
        );
        let array = [
            &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 3, 0, 0, 0, 1][..],
            &[0, 0, 0, 1, b'a', 255, 255, 255, 255, 0, 0, 0, 3, b'b', b' ', b'"'],
        ];
        assert_eq!(text(1009, &array.concat()), "{a,NULL,\"b \\\"\"}");
        assert_eq!(text(23, &[1, 2]), "\\x0102");
    }
}

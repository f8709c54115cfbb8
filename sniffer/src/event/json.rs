//! Writes JSON as Packetbeat does. A float without a fraction has no decimal point (`1`, not `1.0`), because Elasticsearch would otherwise give a
//! new field another type. Floats from a million and below 0.0001 have an exponent (`1e+06`, `1.5e-07`).

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter, value::RawValue};
use std::{
    fmt::{Display, LowerExp},
    io::{self, Write},
};

/// Floats whose exponent is at least this have an exponent in the text.
const EXPONENT_FROM: i32 = 6;
/// Floats whose exponent is smaller than this have an exponent in the text.
const NO_EXPONENT_FROM: i32 = -4;

/// The format of numbers.
struct Numbers;

impl Formatter for Numbers {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write_float(writer, value)
    }

    fn write_f32<W: ?Sized + Write>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        write_float(writer, value)
    }
}

/// Writes the shortest digits that are read as this value again.
pub(super) fn write_float<W: ?Sized + Write>(writer: &mut W, value: impl Display + LowerExp) -> io::Result<()> {
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (NO_EXPONENT_FROM..EXPONENT_FROM).contains(&exponent) {
        write!(writer, "{value}")
    } else {
        write!(writer, "{digits}e{exponent:+03}")
    }
}

/// Writes a value.
///
/// # Errors
/// When the value cannot be JSON, or the writer fails.
pub fn write<T: Serialize + ?Sized>(writer: impl Write, value: &T) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(writer, Numbers))
}

/// A value as JSON text that is part of other documents.
///
/// # Errors
/// When the value cannot be JSON.
pub(super) fn raw<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Box<RawValue>> {
    let mut text = Vec::new();
    write(&mut text, value)?;
    RawValue::from_string(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_packetbeat_writes_them() {
        for (value, expected) in [
            (1.0, "1"),
            (0.0, "0"),
            (-0.0, "-0"),
            (-2.0, "-2"),
            (0.5, "0.5"),
            (999_999.5, "999999.5"),
            (1_000_000.0, "1e+06"),
            (-1_234_567.5, "-1.2345675e+06"),
            (123_456_789_012.5, "1.234567890125e+11"),
            (1e20, "1e+20"),
            (1.234_567_890_123_456_7e19, "1.2345678901234567e+19"),
            (1e300, "1e+300"),
            (0.000_123_4, "0.0001234"),
            (0.000_012_34, "1.234e-05"),
            (1.5e-7, "1.5e-07"),
            (5e-324, "5e-324"),
            (f64::NAN, "null"),
        ] {
            let mut text = Vec::new();
            write(&mut text, &value).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
        assert_eq!(raw(&serde_json::json!({"a": [1.0, 2, 2.5]})).unwrap().get(), r#"{"a":[1,2,2.5]}"#);
    }
}

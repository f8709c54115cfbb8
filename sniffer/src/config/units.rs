//! Durations and sizes as Packetbeat writes them, for `#[serde(with = …)]`.

use jiff::SignedDuration;
use serde::{Deserializer, de};
use std::{fmt, time::Duration};

/// Parses a duration (`10s`, `1m30s`, `-1s`, `1.5h`, or a bare number of seconds) to nanoseconds.
pub fn nanoseconds(text: &str) -> Option<i128> {
    const SECOND: f64 = 1e9;
    let text = text.trim();
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0_i128;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(letters)?;
        let unit = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => SECOND,
            "m" => 60.0 * SECOND,
            "h" => 3600.0 * SECOND,
            // A number without a unit must be the whole text: `1m30` is a typing error.
            "" if digits == text.trim_start_matches(['-', '+']).len() => SECOND,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        sum = sum.checked_add((number * unit).round() as i128)?;
        rest = tail;
    }
    // The range is that of Go's durations: 292 years.
    (sum <= i128::from(i64::MAX)).then_some(sum * sign)
}

/// Parses a size (`10MiB`, `10MB` (decimal), `512KiB`, `1 GB`, or a bare number) to bytes.
fn byte_count(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "kib" | "ki" => 1 << 10,
        "m" | "mb" => 1_000_000,
        "mib" | "mi" => 1 << 20,
        "g" | "gb" => 1_000_000_000,
        "gib" | "gi" => 1 << 30,
        "t" | "tb" => 1_000_000_000_000,
        "tib" | "ti" => 1 << 40,
        _ => return None,
    };
    match number.parse::<u64>() {
        Ok(number) => number.checked_mul(factor),
        Err(_) => number.parse::<f64>().ok().map(|n| (n * factor as f64) as u64),
    }
}

/// A serde visitor that accepts the text of a scalar. It also accepts numbers, which deserialisers of other formats (such as JSON) pass.
struct Text<T> {
    expected: &'static str,
    read: fn(&str) -> Option<T>,
}

impl<T> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).ok_or_else(|| E::custom(format_args!("expected {}, got `{text}`", self.expected)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// Like [`Text`], for optional values.
struct Optional<T>(Text<T>);

impl<'de, T> de::Visitor<'de> for Optional<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.expected)
    }

    fn visit_none<E: de::Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_str(self.0).map(Some)
    }
}

fn unsigned(text: &str) -> Option<Duration> {
    nanoseconds(text).and_then(|n| u64::try_from(n).ok()).map(Duration::from_nanos)
}

const UNSIGNED: Text<Duration> = Text { expected: "a duration (`10s`, `1m30s`, `500ms`, `1h`, or a number of seconds)", read: unsigned };

/// Durations that are not negative: `10s`, `1m30s`, `500ms`, `1h`, a bare number of seconds.
pub mod duration {
    use super::{Deserializer, Duration, UNSIGNED};

    /// Deserialises a duration.
    ///
    /// # Errors
    /// When the value is not a duration, or is negative.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_str(UNSIGNED)
    }
}

/// Optional durations. The field also needs `#[serde(default)]`.
pub mod duration_option {
    use super::{Deserializer, Duration, Optional, UNSIGNED};

    /// Deserialises a duration, or `None` if there is no value.
    ///
    /// # Errors
    /// When the value is not a duration, or is negative.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        deserializer.deserialize_option(Optional(UNSIGNED))
    }
}

/// Durations of settings where negative values have a meaning (`-1s`: never).
pub mod duration_signed {
    use super::{Deserializer, SignedDuration, Text, nanoseconds};

    /// Deserialises a duration; the result is in nanoseconds.
    ///
    /// # Errors
    /// When the value is not a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
        let read = |text: &str| nanoseconds(text).and_then(|n| i64::try_from(n).ok()).map(SignedDuration::from_nanos);
        deserializer.deserialize_str(Text { expected: "a duration (`10s`, `1m30s`, `-1s` for never, or a number of seconds)", read })
    }
}

/// Sizes in bytes: `10MiB`, `10MB` (decimal), or a bare number.
pub mod bytes {
    use super::{Deserializer, Text, byte_count};

    /// Deserialises a size.
    ///
    /// # Errors
    /// When the value is not a size.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_str(Text { expected: "a size (`10MiB`, `10MB`, or a number of bytes)", read: byte_count })
    }
}

#[cfg(test)]
mod tests {
    use super::{byte_count, nanoseconds};

    #[test]
    fn durations() {
        for (text, want) in [
            ("10s", Some(10_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("500ms", Some(500_000_000)),
            ("0.1s", Some(100_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("1h", Some(3_600_000_000_000)),
            ("7", Some(7_000_000_000)),
            ("0.5", Some(500_000_000)),
            ("-1s", Some(-1_000_000_000)),
            ("-1", Some(-1_000_000_000)),
            ("3us", Some(3_000)),
            ("3µs", Some(3_000)),
            ("0", Some(0)),
            ("", None),
            ("-", None),
            ("s", None),
            ("1m30", None),
            ("1d", None),
            ("ten", None),
            ("1..2s", None),
            ("9999999999h", None),
        ] {
            assert_eq!(nanoseconds(text), want, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, want) in [
            ("10", Some(10)),
            ("10MB", Some(10_000_000)),
            ("10MiB", Some(10_485_760)),
            ("1.5 KiB", Some(1536)),
            ("1GB", Some(1_000_000_000)),
            ("", None),
            ("MB", None),
            ("-1", None),
            ("1QB", None),
            ("99999999999999TiB", None),
        ] {
            assert_eq!(byte_count(text), want, "{text}");
        }
    }
}

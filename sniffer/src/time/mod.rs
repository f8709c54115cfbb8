//! [`Timestamp`]: the time at which a frame was on the wire. All modules below the worker use only this time and read
//! no clock.

mod durations;
mod steps;

pub use durations::Durations;
pub use steps::ClockSteps;

use serde::{Serialize, Serializer};
use std::time::Duration;

/// A time in nanoseconds since the Unix epoch. It is unsigned, because capture files hold times up to the year 2106.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Nanoseconds from `earlier` to `self`; 0 if `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This time plus `wait`; the greatest timestamp on overflow.
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Parses a time with its offset from UTC (RFC 3339), such as the text form for documents. Returns `None` for other texts and for times
    /// before 1970.
    pub fn parse(text: &str) -> Option<Self> {
        let time: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(time.as_nanosecond()).ok().map(Self)
    }

    /// This time plus a number of nanoseconds, which may be negative.
    #[must_use]
    pub fn shifted(self, nanos: i64) -> Self {
        steps::shifted(self, nanos)
    }

    /// Returns the text form for documents, `2024-02-29T12:00:00.123Z` (UTC). It has at most `digits` (3, 6 or 9) fractional digits. Three
    /// zeros at the end are left out, and three more before them; the first three digits stay.
    pub fn text(self, digits: u8) -> TimeText {
        TimeText::new(self, digits)
    }
}

/// Serializes the text form for documents, with milliseconds.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text(3).as_str())
    }
}

/// A time as text, stored without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct TimeText {
    bytes: [u8; 30],
    len: u8,
}

impl TimeText {
    fn new(time: Timestamp, digits: u8) -> Self {
        let (seconds, nanos) = (time.0 / 1_000_000_000, time.0 % 1_000_000_000);
        let (year, month, day) = civil_from_days(seconds / 86_400);
        let of_day = seconds % 86_400;
        let mut text = Self { bytes: *b"0000-00-00T00:00:00.000000000Z", len: 30 };
        text.put(0, 4, year);
        text.put(5, 2, month);
        text.put(8, 2, day);
        text.put(11, 2, of_day / 3600);
        text.put(14, 2, of_day / 60 % 60);
        text.put(17, 2, of_day % 60);
        text.put(20, 9, nanos);
        let mut end = 20 + usize::from(digits.clamp(1, 9));
        // Like Packetbeat, leave out zeros at the end in groups of three, but never the first three digits.
        while end > 23 && text.bytes[end - 3..end] == *b"000" {
            end -= 3;
        }
        text.bytes[end] = b'Z';
        text.len = end as u8 + 1;
        text
    }

    fn put(&mut self, at: usize, width: usize, mut value: u64) {
        for place in self.bytes[at..at + width].iter_mut().rev() {
            *place = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }

    /// Returns the time as text, for instance `2024-01-02T03:04:05.678Z`.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl Serialize for TimeText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Converts a number of days since 1970-01-01 to year, month and day in the Gregorian calendar. The calculation uses
/// eras of 400 years, which all have the same number of days. Its years begin in March, so that the leap day is the
/// last day of a year.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        let t = Timestamp(951_827_696_123_456_789);
        assert_eq!(t.text(3).as_str(), "2000-02-29T12:34:56.123Z");
        assert_eq!(t.text(6).as_str(), "2000-02-29T12:34:56.123456Z");
        assert_eq!(t.text(9).as_str(), "2000-02-29T12:34:56.123456789Z");
        for (nanos, digits, text) in [
            (638_957_000, 9, "638957"),
            (638_957_000, 6, "638957"),
            (638_950_000, 6, "638950"),
            (978_530_000, 9, "978530"),
            (123_456_700, 9, "123456700"),
            (914_000_000, 9, "914"),
            (914_000_000, 6, "914"),
            (900_000_000, 9, "900"),
            (0, 9, "000"),
            (1, 9, "000000001"),
            (1, 6, "000"),
            (100_000, 6, "000100"),
            (638_957_000, 3, "638"),
        ] {
            let shown = Timestamp(951_827_696_000_000_000 + nanos).text(digits);
            assert_eq!(shown.as_str(), format!("2000-02-29T12:34:56.{text}Z"), "{nanos} ns, {digits} digits");
        }
        assert_eq!(Timestamp(0).text(3).as_str(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(4_294_967_295_000_000_000).text(3).as_str(), "2106-02-07T06:28:15.000Z");
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), 0);
        assert_eq!(Timestamp(u64::MAX).after(Duration::from_secs(1)), Timestamp(u64::MAX));
    }
}

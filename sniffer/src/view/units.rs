//! Formats durations, sizes and counts in a few columns.

use std::{fmt, time::Duration};

/// A duration in at most six columns: `40us`, `0.4ms`, `41ms`, `1.09s`, `1m03s`, `2h05m`.
pub struct Latency(pub Duration);

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each range ends where rounding would give one digit more.
        let nanos = self.0.as_nanos();
        let rounded = |unit: u128| (nanos + unit / 2) / unit;
        match nanos {
            0..99_500 => write!(f, "{}us", rounded(1_000)),
            99_500..9_950_000 => write!(f, "{}.{}ms", rounded(100_000) / 10, rounded(100_000) % 10),
            9_950_000..999_500_000 => write!(f, "{}ms", rounded(1_000_000)),
            999_500_000..9_995_000_000 => write!(f, "{}.{:02}s", rounded(10_000_000) / 100, rounded(10_000_000) % 100),
            9_995_000_000..59_950_000_000 => write!(f, "{}.{}s", rounded(100_000_000) / 10, rounded(100_000_000) % 10),
            59_950_000_000..3_599_500_000_000 => write!(f, "{}m{:02}s", rounded(1_000_000_000) / 60, rounded(1_000_000_000) % 60),
            _ => match rounded(60_000_000_000) {
                minutes @ 0..6_000 => write!(f, "{}h{:02}m", minutes / 60, minutes % 60),
                minutes => write!(f, "{}d", (minutes / 1440).min(99_999)),
            },
        }
    }
}

/// A number of bytes in at most five columns: `612`, `2.1K`, `41K`, `9.1M`. The units are powers of 1024, as in the filter language.
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1000 {
            return write!(f, "{}", self.0);
        }
        let mut tenths = u128::from(self.0) * 10;
        for unit in ["K", "M", "G", "T", "P", "E"] {
            tenths = (tenths + 512) / 1024;
            match tenths {
                0..100 => return write!(f, "{}.{}{unit}", tenths / 10, tenths % 10),
                100..9_995 => return write!(f, "{}{unit}", (tenths + 5) / 10),
                _ => {}
            }
        }
        write!(f, "{}E", tenths / 10)
    }
}

/// A count with commas between groups of three digits: `12,306`.
pub struct Grouped(pub u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// A count with its noun, in the plural unless it is one: `1 transaction`, `4 transactions`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", Grouped(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies() {
        for (nanos, expected) in [
            (0, "0us"),
            (40_400, "40us"),
            (99_499, "99us"),
            (99_500, "0.1ms"),
            (420_000, "0.4ms"),
            (9_949_999, "9.9ms"),
            (9_950_000, "10ms"),
            (41_000_000, "41ms"),
            (999_499_999, "999ms"),
            (999_500_000, "1.00s"),
            (1_092_100_000, "1.09s"),
            (12_340_000_000, "12.3s"),
            (59_949_999_999, "59.9s"),
            (59_950_000_000, "1m00s"),
            (63_000_000_000, "1m03s"),
            (3_599_499_999_999, "59m59s"),
            (3_600_000_000_000, "1h00m"),
            (7_500_000_000_000, "2h05m"),
            (360_000_000_000_000, "4d"),
            (u64::MAX, "99999d"),
        ] {
            let text = Latency(Duration::from_nanos(nanos)).to_string();
            assert_eq!(text, expected, "{nanos}");
            assert!(text.len() <= 6);
        }
    }

    #[test]
    fn sizes() {
        for (bytes, expected) in [
            (0, "0"),
            (612, "612"),
            (999, "999"),
            (1000, "1.0K"),
            (2_150, "2.1K"),
            (10_240, "10K"),
            (1_023_000, "999K"),
            (1_024_000, "1.0M"),
            (9_542_042, "9.1M"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(Size(bytes).to_string(), expected, "{bytes}");
        }
    }

    #[test]
    fn counts() {
        assert_eq!([0, 999, 1000, 12_306, 1_234_567].map(|n| Grouped(n).to_string()), ["0", "999", "1,000", "12,306", "1,234,567"]);
        assert_eq!([0, 1, 4].map(|n| counted(n, "transaction")), ["0 transactions", "1 transaction", "4 transactions"]);
        assert_eq!(format!("{:>7}", Grouped(1234)), "  1,234");
    }
}

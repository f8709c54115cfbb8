//! The time zone option of processors.

use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Deserializer, de};

/// A time zone: a name (`America/New_York`, `UTC`), `Local`, or an offset (`+0300`, `-05:00`, `+03`).
#[derive(Clone, Debug)]
pub(super) struct Zone(pub(super) TimeZone);

impl Zone {
    /// The time zone of this host.
    pub(super) fn local() -> Self {
        Self(TimeZone::system())
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "UTC" => return Some(Self(TimeZone::UTC)),
            "Local" => return Some(Self::local()),
            _ => {}
        }
        let Some(digits) = text.strip_prefix(['+', '-']) else { return TimeZone::get(text).ok().map(Self) };
        let digits = digits.replace(':', "");
        let (hours, minutes) = match digits.len() {
            2 => (digits.as_str(), "0"),
            4 => digits.split_at_checked(2)?,
            _ => return None,
        };
        let seconds = hours.parse::<u8>().ok()? as i32 * 3600 + minutes.parse::<u8>().ok()? as i32 * 60;
        let offset = Offset::from_seconds(if text.starts_with('-') { -seconds } else { seconds }).ok()?;
        Some(Self(TimeZone::fixed(offset)))
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format_args!(
                "`{text}` is no time zone: write a name such as America/New_York, an offset such as +03:00, UTC or Local"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_offsets() {
        for (text, offset) in [
            ("UTC", Some(0)),
            ("+0300", Some(10_800)),
            ("-05:30", Some(-19_800)),
            ("+03", Some(10_800)),
            ("Asia/Kolkata", Some(19_800)),
            ("Mars/Olympus", None),
            ("+1", None),
            ("+99:99", None),
        ] {
            let at = jiff::Timestamp::from_second(1_700_000_000).unwrap();
            assert_eq!(Zone::parse(text).map(|zone| zone.0.to_offset(at).seconds()), offset, "{text}");
        }
    }
}

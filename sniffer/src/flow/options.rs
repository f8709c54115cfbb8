//! The settings of `packetbeat.flows`, and the checks of their values.

use crate::config::{self, Node};
use serde::{Deserialize, Deserializer, de};
use std::{fmt, time::Duration};

/// The default of `kernel_flows`. A table of this size, the rings and the map of connections together fit into 64 MB of locked memory.
const DEFAULT_KERNEL_FLOWS: u32 = 1 << 16;
/// The largest value of `kernel_flows`. A table of this size takes 3.7 GB.
const MAX_KERNEL_FLOWS: u32 = 1 << 24;

/// `packetbeat.flows`, except for the settings that the publisher reads (`index`, `keep_null`, `fields`,
/// `fields_under_root`, `tags`, `processors`).
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Options {
    /// Whether flows are counted and reported. The default is true if the section exists.
    pub enabled: bool,
    /// A flow ends when it has been idle for this time; at least 1 s.
    #[serde(with = "config::duration")]
    pub timeout: Duration,
    /// Interval of reports about a flow that lasts, at least 1 s; `None` (`-1s`): a flow is reported only when it ends.
    #[serde(deserialize_with = "period")]
    pub period: Option<Duration>,
    /// Reports contain the counts since the previous report instead of those since the start.
    pub enable_delta_flow_reports: bool,
    /// Whether Ethernet addresses do not distinguish flows.
    pub allow_mismatched_eth: bool,
    /// Whether reports name processes, if `packetbeat.procs` is enabled.
    pub processes: bool,
    /// Maximum number of flows that the kernel counts on an interface; 0 counts all flows in user space. A flow takes
    /// about 220 bytes of locked memory.
    pub kernel_flows: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            enabled: true,
            timeout: Duration::from_secs(30),
            period: Some(Duration::from_secs(10)),
            enable_delta_flow_reports: false,
            allow_mismatched_eth: false,
            processes: true,
            kernel_flows: DEFAULT_KERNEL_FLOWS,
        }
    }
}

impl Options {
    /// Reads `packetbeat.flows`.
    ///
    /// # Errors
    /// When a value has the wrong type or is out of range.
    pub fn read(node: &Node) -> Result<Self, config::Error> {
        let options: Self = node.read()?;
        let second = Duration::from_secs(1);
        if options.timeout < second {
            return Err(node.error(format!("`timeout` is {:?}; it must be 1s or more", options.timeout)));
        }
        if let Some(period) = options.period.filter(|&p| p < second) {
            return Err(node.error(format!("`period` is {period:?}; it must be 1s or more, or -1s for reports at the end only")));
        }
        if options.kernel_flows > MAX_KERNEL_FLOWS {
            return Err(node.error(format!("`kernel_flows` is {}; it must be {MAX_KERNEL_FLOWS} or less", options.kernel_flows)));
        }
        Ok(options)
    }
}

/// Reads a duration, or `-1s` as `None`.
fn period<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    struct Period;
    impl de::Visitor<'_> for Period {
        type Value = Option<Duration>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration of 1s or more, or -1s for reports at the end only")
        }

        fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Self::Value, E> {
            match u64::try_from(seconds) {
                Ok(seconds) => self.visit_u64(seconds),
                Err(_) if seconds == -1 => Ok(None),
                Err(_) => Err(E::invalid_value(de::Unexpected::Signed(seconds), &self)),
            }
        }

        fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Self::Value, E> {
            Ok(Some(Duration::from_secs(seconds)))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            match text.trim() {
                "-1s" | "-1" => Ok(None),
                text => config::duration::deserialize(de::value::StrDeserializer::new(text)).map(Some),
            }
        }
    }
    deserializer.deserialize_any(Period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let read = |text: &str| Options::read(&Node::parse(text).unwrap());
        assert_eq!(read("{}").unwrap(), Options::default());
        let expected = Options { timeout: Duration::from_secs(2), period: None, ..Options::default() };
        assert_eq!(read("{timeout: 2s, period: -1s}").unwrap(), expected);
        assert!(read("{timeout: 0.5s}").unwrap_err().0.contains("timeout"));
        assert!(read("{period: 0.5s}").unwrap_err().0.contains("period"));
        assert!(read("{period: never}").is_err());
    }
}

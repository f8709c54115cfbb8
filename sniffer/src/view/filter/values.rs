//! Reads the values of a filter: patterns, addresses, ports, durations and sizes.

use super::{
    Comparison, End, Expression, Test,
    words::{Word, Wrong},
};
use ipnet::IpNet;
use regex::{Regex, RegexBuilder};
use std::{mem, net::IpAddr, ops::RangeInclusive, time::Duration};

/// Maximum size in bytes of a compiled regular expression.
const MAX_PATTERN: usize = 1 << 20;

pub(super) fn regex(word: &Word, pattern: &str) -> Result<Regex, Wrong> {
    let built = RegexBuilder::new(pattern).case_insensitive(true).size_limit(MAX_PATTERN).build();
    built.map_err(|error| word.wrong(format!("no regular expression: {}", error.to_string().lines().last().unwrap_or_default())))
}

/// The expression of a text with `*` for any characters.
pub(super) fn glob(word: &Word, text: &str) -> Result<Regex, Wrong> {
    let parts: Vec<String> = text.split('*').map(regex::escape).collect();
    regex(word, &format!("(?s)^{}$", parts.join(".*")))
}

/// An address, a network, or an address with a port.
pub(super) fn address(text: &str, end: End) -> Option<Expression> {
    let network = |text: &str| text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let is = |network| Expression::Is(Test::Network(end, network));
    if let Some(network) = network(text) {
        return Some(is(network));
    }
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port: u16 = port.parse().ok()?;
    Some(Expression::All(vec![is(network(host)?), Expression::Is(Test::Port(end, port..=port))]))
}

/// `80` or `8000-8999`, or the ports that a comparison permits.
pub(super) fn ports(text: &str, comparison: Comparison) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (mut first, mut last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    match comparison {
        Comparison::Equal | Comparison::Different => {}
        Comparison::Less => (first, last) = (0, first.checked_sub(1)?),
        Comparison::AtMost => last = mem::replace(&mut first, 0).max(last),
        Comparison::Greater => (first, last) = (last.checked_add(1)?, u16::MAX),
        Comparison::AtLeast => last = u16::MAX,
    }
    (first <= last).then_some(first..=last)
}

/// A number with a unit: `100ms`, `1.5s`. A number without a unit is in nanoseconds, as in `event.duration`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const UNITS: &[(&str, f64)] = &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9), ("", 1.0)];
    let nanoseconds = scaled(text, UNITS)?;
    Some(Duration::from_nanos(nanoseconds))
}

/// A number of bytes with a unit: `612`, `1M`, `2.1K`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    const UNITS: &[(&str, f64)] = &[
        ("KB", 1024.0),
        ("MB", 1048576.0),
        ("GB", 1073741824.0),
        ("K", 1024.0),
        ("M", 1048576.0),
        ("G", 1073741824.0),
        ("B", 1.0),
        ("", 1.0),
    ];
    scaled(&text.to_ascii_uppercase(), UNITS)
}

fn scaled(text: &str, units: &[(&str, f64)]) -> Option<u64> {
    let (number, unit) = units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    let number: f64 = number.parse().ok()?;
    let value = number * unit;
    (value.is_finite() && value >= 0.0).then_some(value as u64)
}

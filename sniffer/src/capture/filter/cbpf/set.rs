//! Sets of ports and addresses, for the instruction [`Op::Member`](super::Op::Member) that libpcap's programs do not have.

/// What a set holds. The width of its values follows from this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Values {
    /// Ports: 16 bits.
    Ports,
    /// IPv4 addresses: 32 bits.
    Ipv4,
    /// IPv6 addresses: 128 bits.
    Ipv6,
}

impl Values {
    /// The width of a value in bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::Ports => 16,
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }
}

/// A set of ports, or of addresses of one version of IP. It is not empty. Values are in host byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    values: Values,
    /// Sorted ranges, which include both ends and do not overlap. A range of addresses is a network: all addresses that begin with the same
    /// bits.
    ranges: Vec<(u128, u128)>,
}

impl Set {
    /// The set of the values in `ranges`, which include both ends. Ranges of addresses must be networks. `None` if there are no ranges.
    pub fn new(values: Values, mut ranges: Vec<(u128, u128)>) -> Option<Self> {
        ranges.sort_unstable_by_key(|&(first, last)| (first, u128::MAX - last));
        let mut disjoint: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match disjoint.last_mut() {
                // Two networks are disjoint, or one contains the other. Ranges of ports may overlap in part.
                Some((_, end)) if first <= *end => *end = last.max(*end),
                _ => disjoint.push((first, last)),
            }
        }
        (!disjoint.is_empty()).then_some(Self { values, ranges: disjoint })
    }

    /// What the set holds.
    pub fn values(&self) -> Values {
        self.values
    }

    /// The sorted ranges, which include both ends and do not overlap.
    pub fn ranges(&self) -> &[(u128, u128)] {
        &self.ranges
    }

    /// Whether the set contains `value`.
    pub fn contains(&self, value: u128) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first <= value);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|(_, last)| value <= *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_ranges_are_joined() {
        let set = Set::new(Values::Ports, vec![(8000, 8100), (443, 443), (8050, 8200), (443, 443), (8010, 8020)]).unwrap();
        assert_eq!(set.ranges(), [(443, 443), (8000, 8200)]);
        for (port, expected) in [(0, false), (442, false), (443, true), (444, false), (8000, true), (8200, true), (8201, false)] {
            assert_eq!(set.contains(port), expected, "{port}");
        }
        assert_eq!(Set::new(Values::Ports, Vec::new()), None);
    }
}

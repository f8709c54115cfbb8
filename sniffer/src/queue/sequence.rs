//! Sequence numbers of records, and compact lists of them.

use std::ops::Range;

/// The sequence number of a record in its queue. Records are numbered in the order in which the queue accepts them, without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The sequence number `count` records later.
    #[must_use]
    pub fn after(self, count: usize) -> Self {
        Self(self.0.saturating_add(count as u64))
    }

    /// How many records this number comes after `first`; 0 when it comes before.
    pub fn distance(self, first: Self) -> usize {
        usize::try_from(self.0.saturating_sub(first.0)).unwrap_or(usize::MAX)
    }
}

/// A list of sequence numbers, stored as ranges of consecutive numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs(Vec<Range<Sequence>>);

impl Runs {
    /// Adds one number.
    pub fn push(&mut self, sequence: Sequence) {
        self.extend(sequence..sequence.after(1));
    }

    /// Adds consecutive numbers.
    pub fn extend(&mut self, range: Range<Sequence>) {
        match self.0.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.0.push(range),
        }
    }

    /// The ranges, in the order of adding.
    pub fn ranges(&self) -> &[Range<Sequence>] {
        &self.0
    }

    /// Iterates over the single numbers.
    pub fn iter(&self) -> impl Iterator<Item = Sequence> + '_ {
        self.0.iter().flat_map(|range| (range.start.0..range.end.0).map(Sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_range() {
        let mut runs = Runs::default();
        for number in [3, 4, 7, 8, 9] {
            runs.push(Sequence(number));
        }
        runs.extend(Sequence(10)..Sequence(12));
        runs.extend(Sequence(12)..Sequence(12));
        runs.push(Sequence(1));
        let range = |from, to| Sequence(from)..Sequence(to);
        assert_eq!(runs.ranges(), [range(3, 5), range(7, 12), range(1, 2)]);
        assert_eq!(runs.iter().map(|s| s.0).collect::<Vec<_>>(), [3, 4, 7, 8, 9, 10, 11, 1]);
    }
}

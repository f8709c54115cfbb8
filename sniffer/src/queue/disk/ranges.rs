//! A set of numbers, stored as ranges.

use std::{collections::BTreeMap, ops::Range};

/// The end of each range, by its first number. No range touches another one.
#[derive(Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// The number after the greatest one.
    pub(super) fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, end)| *end)
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, end)| *end > number)
    }

    /// How many numbers of `range` are in the set.
    pub(super) fn count(&self, range: &Range<u64>) -> u64 {
        let before = self.0.range(..range.start).next_back();
        let parts = before.into_iter().chain(self.0.range(range.start..range.end.max(range.start)));
        parts.map(|(start, end)| (*end).min(range.end).saturating_sub((*start).max(range.start))).sum()
    }

    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        if let Some((first, last)) = self.0.range(..=start).next_back().map(|(first, last)| (*first, *last))
            && last >= start
        {
            (start, end) = (first, end.max(last));
        }
        while let Some((first, last)) = self.0.range(start..=end).next().map(|(first, last)| (*first, *last)) {
            self.0.remove(&first);
            end = end.max(last);
        }
        self.0.insert(start, end);
    }

    /// The ranges in ascending order.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = Range<u64>> + '_ {
        self.0.iter().map(|(start, end)| *start..*end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_merge() {
        let mut ranges = Ranges::default();
        for range in [5..7, 0..2, 9..12, 2..5, 6..8, 20..20] {
            ranges.insert(range);
        }
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [0..8, 9..12]);
        assert_eq!((ranges.count(&(1..11)), ranges.count(&(8..9)), ranges.end()), (9, 0, 12));
        assert_eq!([7, 8, 9, 12].map(|number| ranges.contains(number)), [true, false, true, false]);
    }
}

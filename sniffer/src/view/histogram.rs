//! A histogram of durations with logarithmic buckets, from which percentiles are read. Histograms of several workers or minutes can be
//! merged, so that a percentile is never calculated from percentiles.

/// Number of bits of a value that select its bucket within an octave (a range from a power of two to the next): 16 steps.
const STEP_BITS: u32 = 4;
/// Number of steps in an octave.
const STEPS: u64 = 1 << STEP_BITS;
/// Values from here on are counted in the last bucket: 2^40 ns, about 18 minutes.
const HIGHEST: u64 = 1 << 40;

/// Counts of values in buckets. Values below 16 have a bucket each; above, a bucket is a sixteenth of an octave wide, so the middle of a
/// bucket differs from its values by at most 3.1 %. The histogram has memory only for the range of buckets that it needs, at most 592.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The index of the first bucket in `counts`.
    first: usize,
    counts: Vec<u32>,
    total: u64,
    least: u64,
    greatest: u64,
}

impl Histogram {
    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        let index = bucket(value);
        self.make_room(index, index);
        if let Some(count) = self.counts.get_mut(index.wrapping_sub(self.first)) {
            *count = count.saturating_add(1);
        }
        self.widen(value, value, 1);
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Self) {
        if other.counts.is_empty() {
            return;
        }
        self.make_room(other.first, other.first + other.counts.len() - 1);
        let from = other.first.saturating_sub(self.first);
        for (sum, count) in self.counts.iter_mut().skip(from).zip(&other.counts) {
            *sum = sum.saturating_add(*count);
        }
        self.widen(other.least, other.greatest, other.total);
    }

    /// The values that were added since `before`, an earlier copy of this histogram. The result keeps the least and the greatest value of
    /// this histogram, because those of the added values alone are not known.
    #[must_use]
    pub fn without(&self, before: &Self) -> Self {
        let mut rest = self.clone();
        rest.total = self.total.saturating_sub(before.total);
        for (index, count) in rest.counts.iter_mut().enumerate() {
            let earlier = (self.first + index).checked_sub(before.first).and_then(|place| before.counts.get(place));
            *count = count.saturating_sub(earlier.copied().unwrap_or(0));
        }
        if rest.counts.iter().all(|count| *count == 0) {
            rest.counts.clear();
        }
        rest
    }

    /// Number of values.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The greatest value; 0 without values.
    pub fn greatest(&self) -> u64 {
        self.greatest
    }

    /// The value that `percent` of all values do not exceed, with the error of the buckets. `None` without values.
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        let counted: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        // Rounding up gives the first value for 0 and the last one for 100.
        let rank = ((percent / 100.0 * counted as f64).ceil() as u64).clamp(1, counted.max(1));
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        })?;
        Some(middle(self.first + found).clamp(self.least, self.greatest))
    }

    /// The share of values in lower buckets than this value, in percent. `None` without values.
    pub fn percent_below(&self, value: u64) -> Option<f64> {
        let sum = |counts: &[u32]| counts.iter().map(|count| u64::from(*count)).sum::<u64>();
        let below = bucket(value).saturating_sub(self.first).min(self.counts.len());
        let all = sum(&self.counts);
        (all > 0).then(|| sum(self.counts.get(..below).unwrap_or_default()) as f64 * 100.0 / all as f64)
    }

    /// Makes buckets from `low` to `high`, both included.
    fn make_room(&mut self, low: usize, high: usize) {
        if self.counts.is_empty() {
            self.first = low;
        }
        if low < self.first {
            self.counts.splice(0..0, std::iter::repeat_n(0, self.first - low));
            self.first = low;
        }
        let needed = high + 1 - self.first;
        if needed > self.counts.len() {
            self.counts.resize(needed, 0);
        }
    }

    fn widen(&mut self, least: u64, greatest: u64, more: u64) {
        self.least = if self.total == 0 { least } else { self.least.min(least) };
        self.greatest = self.greatest.max(greatest);
        self.total += more;
    }
}

/// The index of the bucket of a value.
fn bucket(value: u64) -> usize {
    let value = value.min(HIGHEST - 1);
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(STEP_BITS + 1);
    shift as usize * STEPS as usize + (value >> shift) as usize
}

/// The value in the middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let index = bucket as u64;
    let shift = (index / STEPS).saturating_sub(1);
    let low = (index - shift * STEPS) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        values.into_iter().for_each(|value| histogram.record(value));
        histogram
    }

    /// The percentile of sorted values by definition.
    fn exact(sorted: &[u64], percent: f64) -> u64 {
        sorted[((percent / 100.0 * sorted.len() as f64).ceil() as usize).max(1) - 1]
    }

    #[test]
    fn percentiles_differ_from_exact_ones_by_at_most_one_thirtysecond() {
        // A linear congruential generator; its values spread over all octaves.
        let mut state = 7u64;
        let mut values: Vec<u64> = (0..5000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 24) >> (state % 40)
            })
            .collect();
        let histogram = of(values.iter().copied());
        values.sort_unstable();
        for percent in [0.0, 1.0, 25.0, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0] {
            let (wanted, found) = (exact(&values, percent), histogram.percentile(percent).unwrap());
            let allowed = wanted / 32 + 1;
            assert!(wanted.abs_diff(found) <= allowed, "p{percent}: {found} instead of {wanted}");
        }
        assert_eq!((histogram.total(), histogram.greatest()), (5000, *values.last().unwrap()));
    }

    #[test]
    fn buckets_join_without_gaps() {
        for value in (0..2000).chain((4..40).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1])) {
            let (this, next) = (bucket(value), bucket(value + 1));
            assert!(next == this || next == this + 1, "{value} is in bucket {this}, the next value in bucket {next}");
            assert!(middle(this).abs_diff(value) <= value / 32 + 1, "{value}: middle {}", middle(this));
        }
    }

    #[test]
    fn few_values_and_none() {
        assert_eq!(Histogram::default().percentile(50.0), None);
        let one = of([1_234_567]);
        assert_eq!([0.0, 50.0, 99.0].map(|p| one.percentile(p).unwrap()), [1_234_567; 3], "a single value is exact");
        assert_eq!(of([0, 0, 0]).percentile(99.0), Some(0));
        let four = of([1_000, 2_000, 4_000, 8_000]);
        assert_eq!([5, 1_000, 3_000, 8_000, 9_000].map(|v| four.percent_below(v).unwrap()), [0.0, 0.0, 50.0, 75.0, 100.0]);
        assert_eq!(Histogram::default().percent_below(1), None);
        let huge = of([u64::MAX, HIGHEST]);
        assert_eq!((huge.percentile(100.0), huge.counts.len()), (Some(HIGHEST), 1), "values beyond the last bucket are in it");
    }

    #[test]
    fn a_merged_histogram_equals_one_of_all_values() {
        let (a, b) = ([3u64, 90_000, 7_000_000], [1u64, 90_001, 5, 12_000_000_000]);
        for (first, second) in [(&a[..], &b[..]), (&b[..], &a[..]), (&[], &a[..]), (&a[..], &[])] {
            let mut merged = of(first.iter().copied());
            merged.merge(&of(second.iter().copied()));
            assert_eq!(merged, of(first.iter().chain(second).copied()));
        }
    }
}

//! [`Durations`]: a histogram of durations, for statistics.

/// Each power of two is divided into `1 << PRECISION` buckets, so a bucket is at most a sixteenth wide.
const PRECISION: u32 = 4;
const PARTS: usize = 1 << PRECISION;
/// The first [`PARTS`] buckets hold one value each, then each of the other powers of two of a `u64` has [`PARTS`] buckets.
const BUCKETS: usize = PARTS * (64 - PRECISION as usize + 1);

/// A histogram of durations in nanoseconds. Its size is fixed. Count, sum, minimum and maximum are exact, quantiles are within 4 %.
#[derive(Clone, Debug, PartialEq)]
pub struct Durations {
    buckets: Box<[u64]>,
    count: u64,
    sum: f64,
    squares: f64,
    min: u64,
    max: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS].into(), count: 0, sum: 0.0, squares: 0.0, min: u64::MAX, max: 0 }
    }
}

impl Durations {
    /// Adds a duration in nanoseconds.
    #[inline]
    pub fn add(&mut self, nanos: u64) {
        if let Some(bucket) = self.buckets.get_mut(bucket_of(nanos)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += nanos as f64;
        self.squares += nanos as f64 * nanos as f64;
        self.min = self.min.min(nanos);
        self.max = self.max.max(nanos);
    }

    /// Adds all durations of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(sum, n)| *sum += n);
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all durations, in nanoseconds.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The shortest duration; 0 if there is none.
    pub fn min(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min }
    }

    /// The longest duration; 0 if there is none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The arithmetic mean; 0 if there is no duration.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }

    /// The standard deviation; 0 if there is no duration.
    pub fn deviation(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        (self.squares / self.count as f64 - self.mean() * self.mean()).max(0.0).sqrt()
    }

    /// The duration that the share `quantile` (from 0 to 1) of all durations does not exceed; 0 if there is none.
    pub fn quantile(&self, quantile: f64) -> u64 {
        let rank = ((self.count as f64 * quantile).ceil() as u64).clamp(1, self.count.max(1));
        let mut passed = 0;
        for (place, n) in self.buckets.iter().enumerate() {
            passed += n;
            if passed >= rank {
                return middle_of(place).clamp(self.min(), self.max());
            }
        }
        self.max()
    }
}

/// The bucket that counts a duration.
#[inline]
fn bucket_of(nanos: u64) -> usize {
    if nanos < PARTS as u64 {
        return nanos as usize;
    }
    let power = nanos.ilog2() - PRECISION;
    let part = (nanos >> power) as usize & (PARTS - 1);
    (power as usize + 1) * PARTS + part
}

/// The middle of the range of durations that a bucket counts.
fn middle_of(bucket: usize) -> u64 {
    let (row, part) = (bucket / PARTS, (bucket % PARTS) as u64);
    let Some(power) = row.checked_sub(1) else { return part };
    let low = (PARTS as u64 + part) << power;
    low + ((1 << power) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_has_a_bucket_near_it() {
        let around = (0..64).flat_map(|power| [1_u64 << power, (1 << power) - 1, (1 << power) + (1 << power >> 1)]);
        for nanos in around.chain([0, 999_999_999, u64::MAX]) {
            let bucket = bucket_of(nanos);
            assert!(bucket < BUCKETS, "{nanos}: bucket {bucket} of {BUCKETS}");
            let error = middle_of(bucket).abs_diff(nanos) as f64;
            assert!(error <= nanos as f64 * 0.04, "{nanos}: the middle of its bucket is {}", middle_of(bucket));
        }
    }

    #[test]
    fn statistics() {
        let none = Durations::default();
        assert_eq!((none.count(), none.min(), none.max(), none.quantile(0.5)), (0, 0, 0, 0));
        assert_eq!((none.mean(), none.deviation()), (0.0, 0.0));
        let (mut odd, mut even) = (Durations::default(), Durations::default());
        for n in 1..=1000_u64 {
            (if n % 2 == 0 { &mut even } else { &mut odd }).add(n * 1000);
        }
        even.merge(&odd);
        assert_eq!((even.count(), even.min(), even.max(), even.mean()), (1000, 1000, 1_000_000, 500_500.0));
        assert!((even.deviation() - 288_675.0).abs() < 100.0, "{}", even.deviation());
        for (quantile, expected) in [(0.0, 1000.0), (0.5, 500_000.0), (0.75, 750_000.0), (0.99, 990_000.0), (1.0, 1_000_000.0)] {
            let got = even.quantile(quantile) as f64;
            assert!((got - expected).abs() <= expected * 0.04, "{quantile}: {got}, expected {expected}");
        }
    }
}

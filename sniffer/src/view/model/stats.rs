//! Counts of transactions over the whole run, over the last minutes and over the last seconds. All times are times of events.

use crate::{time::Timestamp, view::histogram::Histogram};
use std::time::Duration;

/// Number of minutes of [`Range::Minutes`], the current one included.
pub const MINUTES: usize = 5;
/// Number of seconds of [`Seconds`].
pub const SECONDS: usize = 60;
/// Number of seconds from which the present rate is calculated.
pub const RATE_SECONDS: usize = 10;
const NANOS: u64 = 1_000_000_000;

/// The time that numbers are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Range {
    /// The last [`MINUTES`] minutes of the clock. Rates are those of the last [`RATE_SECONDS`] seconds.
    Minutes,
    /// Everything since the start. Rates are averages.
    #[default]
    All,
}

/// Sums over some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Transactions.
    pub count: u64,
    /// Transactions whose status is not `OK`.
    pub errors: u64,
    /// Application bytes in both directions.
    pub bytes: u64,
    /// Sum of the durations in nanoseconds.
    pub nanos: u64,
    /// Durations in nanoseconds of the transactions that have one.
    pub durations: Histogram,
}

/// What is counted of one transaction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// When the transaction ended.
    pub time: Timestamp,
    /// Whether its status is not `OK`.
    pub is_error: bool,
    /// Application bytes in both directions.
    pub bytes: u64,
    /// Time between request and response.
    pub duration: Option<Duration>,
}

impl Numbers {
    /// Counts a transaction.
    pub fn add(&mut self, of: &Counted) {
        self.count += 1;
        self.errors += u64::from(of.is_error);
        self.bytes = self.bytes.saturating_add(of.bytes);
        if let Some(duration) = of.duration {
            let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
            self.nanos = self.nanos.saturating_add(nanos);
            self.durations.record(nanos);
        }
    }

    /// Adds the sums of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.nanos = self.nanos.saturating_add(other.nanos);
        self.durations.merge(&other.durations);
    }

    /// What was counted since `before`, an earlier copy of these numbers.
    #[must_use]
    pub fn without(&self, before: &Self) -> Self {
        Self {
            count: self.count.saturating_sub(before.count),
            errors: self.errors.saturating_sub(before.errors),
            bytes: self.bytes.saturating_sub(before.bytes),
            nanos: self.nanos.saturating_sub(before.nanos),
            durations: self.durations.without(&before.durations),
        }
    }

    /// The errors in percent of the transactions; 0 without transactions.
    pub fn error_percent(&self) -> f64 {
        self.errors as f64 * 100.0 / self.count.max(1) as f64
    }
}

/// Transactions in each of the last [`SECONDS`] seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds {
    /// The last second that was counted, since the epoch.
    last: u64,
    counts: [u32; SECONDS],
}

impl Default for Seconds {
    fn default() -> Self {
        Self { last: 0, counts: [0; SECONDS] }
    }
}

impl Seconds {
    fn add(&mut self, second: u64, count: u32) {
        if second > self.last {
            // Clears the places of the seconds between, which were used a minute ago.
            for skipped in (self.last + 1..=second).rev().take(SECONDS) {
                self.set(skipped, 0);
            }
            self.last = second;
        }
        if self.last - second < SECONDS as u64 {
            let before = self.at(second);
            self.set(second, before.saturating_add(count));
        }
    }

    fn set(&mut self, second: u64, count: u32) {
        if let Some(place) = self.counts.get_mut((second % SECONDS as u64) as usize) {
            *place = count;
        }
    }

    /// The transactions of a second, 0 if it is not one of the last [`SECONDS`].
    pub fn at(&self, second: u64) -> u32 {
        let is_kept = second <= self.last && self.last - second < SECONDS as u64;
        if is_kept { self.counts.get((second % SECONDS as u64) as usize).copied().unwrap_or(0) } else { 0 }
    }

    fn merge(&mut self, other: &Self) {
        for second in (other.last + 1).saturating_sub(SECONDS as u64)..=other.last {
            match other.at(second) {
                0 => {}
                count => self.add(second, count),
            }
        }
    }
}

/// The counts of a service, an operation or of everything.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    all: Numbers,
    /// Each minute of the clock with its number since the epoch, in the place of the number modulo [`MINUTES`].
    minutes: [(u64, Numbers); MINUTES],
    seconds: Seconds,
}

impl Stats {
    /// Counts a transaction.
    pub fn add(&mut self, of: &Counted) {
        self.all.add(of);
        let second = of.time.0 / NANOS;
        self.seconds.add(second, 1);
        if let Some(numbers) = self.minute(second / 60) {
            numbers.add(of);
        }
    }

    /// The numbers of a minute, to be changed. `None` if the minute is over and its place has a later one.
    fn minute(&mut self, minute: u64) -> Option<&mut Numbers> {
        let (of, numbers) = self.minutes.get_mut((minute % MINUTES as u64) as usize)?;
        if *of < minute {
            (*of, *numbers) = (minute, Numbers::default());
        }
        (*of == minute).then_some(numbers)
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.all.merge(&other.all);
        self.seconds.merge(&other.seconds);
        for (minute, more) in &other.minutes {
            if let Some(numbers) = self.minute(*minute) {
                numbers.merge(more);
            }
        }
    }

    /// The sums of a range that ends at `now`.
    pub fn over(&self, range: Range, now: Timestamp) -> Numbers {
        match range {
            Range::All => self.all.clone(),
            Range::Minutes => {
                let current = now.0 / NANOS / 60;
                let mut sum = Numbers::default();
                let recent = self.minutes.iter().filter(|(minute, _)| minute.saturating_add(MINUTES as u64) > current);
                recent.for_each(|(_, numbers)| sum.merge(numbers));
                sum
            }
        }
    }

    /// Number of transactions in a range that ends at `now`.
    pub fn count(&self, range: Range, now: Timestamp) -> u64 {
        let current = now.0 / NANOS / 60;
        match range {
            Range::All => self.all.count,
            Range::Minutes => {
                let recent = self.minutes.iter().filter(|(minute, _)| minute.saturating_add(MINUTES as u64) > current);
                recent.map(|(_, numbers)| numbers.count).sum()
            }
        }
    }

    /// Everything since the start.
    pub fn all(&self) -> &Numbers {
        &self.all
    }

    /// Transactions per second in a range of `covered`, the time since the start of the run.
    pub fn rate(&self, range: Range, now: Timestamp, covered: Duration) -> f64 {
        let covered = covered.as_secs_f64().max(1.0);
        match range {
            Range::All => self.all.count as f64 / covered,
            Range::Minutes => {
                let last = now.0 / NANOS;
                let recent = (last + 1).saturating_sub(RATE_SECONDS as u64)..=last;
                let sum: u64 = recent.map(|second| u64::from(self.seconds.at(second))).sum();
                sum as f64 / covered.min(RATE_SECONDS as f64)
            }
        }
    }

    /// The transactions of each of the last seconds, the oldest first. The last one is the second before `now`, which is complete.
    pub fn per_second(&self, now: Timestamp) -> [u32; SECONDS] {
        let end = now.0 / NANOS;
        std::array::from_fn(|index| end.checked_sub((SECONDS - index) as u64).map_or(0, |second| self.seconds.at(second)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp(second * NANOS)
    }

    fn one(second: u64, millis: u64) -> Counted {
        Counted { time: at(second), is_error: millis > 100, bytes: 10, duration: Some(Duration::from_millis(millis)) }
    }

    #[test]
    fn ranges_and_rates() {
        let mut stats = Stats::default();
        for second in 6000..6600 {
            stats.add(&one(second, if second < 6300 { 200 } else { 2 }));
        }
        let now = at(6599);
        let all = stats.over(Range::All, now);
        assert_eq!((all.count, all.errors, all.bytes, all.nanos), (600, 300, 6000, 60_600_000_000));
        // 6599 is in minute 109; the last five minutes begin at 6300.
        let last = stats.over(Range::Minutes, now);
        assert_eq!((last.count, last.errors), (300, 0));
        assert_eq!((stats.count(Range::All, now), stats.count(Range::Minutes, now)), (600, 300));
        assert!(last.durations.percentile(99.0).unwrap() < 3_000_000, "the earlier durations do not count");
        assert_eq!(stats.over(Range::Minutes, at(6659)).count, 240, "minutes without transactions count too");
        assert_eq!(stats.over(Range::Minutes, at(9999)).count, 0);
        let minute = Duration::from_secs(600);
        assert_eq!((stats.rate(Range::All, now, minute), stats.rate(Range::Minutes, now, minute)), (1.0, 1.0));
        assert_eq!(stats.rate(Range::Minutes, at(6604), minute), 0.5, "five of the last ten seconds have a transaction");
        assert_eq!(stats.per_second(at(6600)), [1; SECONDS]);
        let mut expected = [0; SECONDS];
        expected[..SECONDS - 10].fill(1);
        assert_eq!(stats.per_second(at(6610)), expected);
    }

    #[test]
    fn events_that_come_late_are_counted_in_their_second() {
        let mut stats = Stats::default();
        for second in [100, 160, 101, 99, 160, 130] {
            stats.add(&one(second, 1));
        }
        assert_eq!(stats.all().count, 6);
        let seconds = stats.per_second(at(161));
        assert_eq!((seconds[SECONDS - 1], seconds[0], seconds[29]), (2, 1, 1), "{seconds:?}");
        assert_eq!(seconds.iter().sum::<u32>(), 4, "seconds that are too old are in no place");
    }

    #[test]
    fn merged_stats_are_those_of_all_transactions() {
        let (mut a, mut b, mut both) = (Stats::default(), Stats::default(), Stats::default());
        for second in (1000..1500).step_by(7) {
            let of = one(second, second % 300);
            both.add(&of);
            if second % 2 == 0 { a.add(&of) } else { b.add(&of) }
        }
        for (mut first, second) in [(a.clone(), b.clone()), (b, a)] {
            first.merge(&second);
            let now = at(1500);
            assert_eq!(first.all(), both.all());
            assert_eq!(first.over(Range::Minutes, now), both.over(Range::Minutes, now));
            assert_eq!(first.per_second(now), both.per_second(now));
        }
    }
}

//! The steps of the wall clock while the program captures, and the conversion of times between the wall clock and a steady time.

use super::Timestamp;
use std::time::Duration;

/// A smaller change of the wall clock is not a step, because the times of frames and of the clock may differ by this much.
const LEAST_STEP: Duration = Duration::from_secs(1);
/// Maximum number of steps that are remembered.
const MAX_STEPS: usize = 16;

/// A step of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    /// The steady time of the step.
    at: Timestamp,
    /// Nanoseconds by which the wall clock is ahead of the steady time since the step.
    ahead: i64,
}

/// The steps of the wall clock. The steady time is the wall-clock time at the start plus the time that has passed since, so that no step
/// changes it. Timers run on it; documents contain wall-clock times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClockSteps {
    /// The steps, ascending by time. If one was forgotten, the first applies to all times before it too.
    steps: Vec<Step>,
    has_forgotten: bool,
}

impl ClockSteps {
    /// Whether there was no step, so that the wall clock shows the steady time.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Compares the wall clock with the steady time. Returns by how many nanoseconds the clock was set ahead, if it was set since the
    /// last call; negative if it was set back.
    pub fn observe(&mut self, steady: Timestamp, wall: Timestamp) -> Option<i64> {
        let ahead = difference(wall, steady);
        let step = ahead.saturating_sub(self.steps.last().map_or(0, |last| last.ahead));
        if u128::from(step.unsigned_abs()) < LEAST_STEP.as_nanos() {
            return None;
        }
        if self.steps.len() >= MAX_STEPS {
            self.steps.remove(0);
            self.has_forgotten = true;
        }
        self.steps.push(Step { at: steady, ahead });
        Some(step)
    }

    /// The steady time of a frame with this wall-clock time, which may have been captured before or after a step. `now`: the steady time.
    pub fn steady(&self, wall: Timestamp, now: Timestamp) -> Timestamp {
        let at_start = (!self.has_forgotten).then_some(0);
        let candidates = self.steps.iter().map(|step| step.ahead).chain(at_start).map(|ahead| shifted(wall, ahead.saturating_neg()));
        candidates.min_by_key(|steady| difference(*steady, now).unsigned_abs()).unwrap_or(wall)
    }

    /// The wall-clock time at a steady time.
    pub fn wall(&self, steady: Timestamp) -> Timestamp {
        shifted(steady, self.ahead(steady))
    }

    /// Nanoseconds by which the wall clock was ahead at a steady time.
    pub fn ahead(&self, steady: Timestamp) -> i64 {
        let last = self.steps.iter().rev().find(|step| step.at <= steady);
        last.or(self.steps.first().filter(|_| self.has_forgotten)).map_or(0, |step| step.ahead)
    }
}

/// Nanoseconds from `b` to `a`.
fn difference(a: Timestamp, b: Timestamp) -> i64 {
    i64::try_from(i128::from(a.0) - i128::from(b.0)).unwrap_or(if a > b { i64::MAX } else { i64::MIN })
}

/// A time plus a number of nanoseconds, which may be negative.
pub(super) fn shifted(time: Timestamp, nanos: i64) -> Timestamp {
    Timestamp(time.0.saturating_add_signed(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * SECOND)
    }

    #[test]
    fn times_before_and_after_steps() {
        let mut steps = ClockSteps::default();
        assert_eq!((steps.observe(at(1000), at(1000)), steps.observe(at(1001), Timestamp(1001 * SECOND + SECOND / 2))), (None, None));
        assert!(steps.is_empty());
        assert_eq!(steps.observe(at(1010), at(4610)), Some(3600 * SECOND as i64));
        assert_eq!((steps.observe(at(1011), at(4611)), steps.is_empty()), (None, false), "the same step");
        assert_eq!(steps.observe(at(1020), at(1000)), Some(-3620 * SECOND as i64));
        for (steady, wall) in [(1009, 1009), (1010, 4610), (1019, 4619), (1020, 1000), (1100, 1080)] {
            assert_eq!(steps.wall(at(steady)), at(wall), "steady time {steady}");
            assert_eq!(steps.steady(at(wall), at(steady + 3)), at(steady), "wall-clock time {wall}");
        }
    }

    #[test]
    fn the_number_of_steps_is_bounded() {
        let mut steps = ClockSteps::default();
        for n in 1..100 {
            assert_eq!(steps.observe(at(1000 + n), at(1000 + 11 * n)), Some(10 * SECOND as i64));
            assert!(steps.steps.len() <= MAX_STEPS);
            assert_eq!(steps.steady(at(1000 + 11 * n), at(1000 + n)), at(1000 + n));
        }
        assert_eq!(steps.ahead(at(5)), steps.steps[0].ahead, "the steps before are forgotten");
        assert_eq!(ClockSteps::default().wall(at(7)), at(7));
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let mut steps = ClockSteps::default();
        for (steady, wall) in [(0, u64::MAX), (u64::MAX, 0), (0, 0), (u64::MAX, u64::MAX)] {
            let (steady, wall) = (Timestamp(steady), Timestamp(wall));
            steps.observe(steady, wall);
            steps.steady(wall, steady);
            steps.wall(steady);
        }
    }
}

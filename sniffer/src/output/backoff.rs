//! Exponential backoff: the wait before the next attempt doubles with each failure, up to a limit. It is randomised, so that many agents
//! do not retry at the same moment.

use serde::Deserialize;
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// The longest wait unless the user sets another. Packetbeat's default is 60 s. With 60 s, a server that was unreachable for a minute would
/// receive nothing for another half minute on average, while the queue drops events.
const DEFAULT_MAX: Duration = Duration::from_secs(15);

/// The shortest wait, whatever the user sets. Without this limit, the program would send thousands of requests per second to a server that
/// refuses each at once.
const FLOOR: Duration = Duration::from_millis(100);

/// The settings `backoff` of an output.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Options {
    /// The first wait.
    #[serde(deserialize_with = "crate::config::duration::deserialize")]
    pub init: Duration,
    /// The longest wait.
    #[serde(deserialize_with = "crate::config::duration::deserialize")]
    pub max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { init: Duration::from_secs(1), max: DEFAULT_MAX }
    }
}

/// The state of the backoff: how long to wait after the next failure.
#[derive(Debug)]
pub(super) struct Backoff {
    options: Options,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(options: Options) -> Self {
        let mut backoff = Self { options, next: FLOOR };
        backoff.reset();
        backoff
    }

    /// Records a failure and returns how long to wait: a random time between half of the current step and the whole step, at least 100 ms.
    pub(super) fn after_failure(&mut self) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.options.max.max(FLOOR));
        // The keys of the standard library's hasher are random, which is sufficient here and needs no other crate.
        let random = RandomState::new().build_hasher().finish();
        let half = step / 2;
        (half + half.mul_f64((random % 1024) as f64 / 1023.0)).max(FLOOR)
    }

    pub(super) fn reset(&mut self) {
        self.next = self.options.init.min(self.options.max).max(FLOOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_comes_back_is_found_soon() {
        let mut backoff = Backoff::new(Options::default());
        let waits: Vec<f64> = (0..20).map(|_| backoff.after_failure().as_secs_f64()).collect();
        assert!(waits[0] <= 1.0 && waits.iter().all(|wait| *wait <= 15.0) && waits[10..].iter().all(|wait| *wait >= 7.5), "{waits:?}");
    }

    #[test]
    fn no_wait_is_shorter_than_the_minimum() {
        let zero = Duration::ZERO;
        for (init, max) in [(zero, zero), (zero, Duration::from_secs(1)), (Duration::from_secs(1), zero)] {
            let mut backoff = Backoff::new(Options { init, max });
            let waits: Vec<Duration> = (0..5).map(|_| backoff.after_failure()).collect();
            assert!(waits.iter().all(|wait| *wait >= FLOOR), "{init:?} {max:?}: {waits:?}");
        }
    }

    #[test]
    fn doubles_up_to_the_limit() {
        let mut backoff = Backoff::new(Options { init: Duration::from_secs(1), max: Duration::from_secs(5) });
        for step in [1, 2, 4, 5, 5] {
            let wait = backoff.after_failure().as_secs_f64();
            assert!(wait >= f64::from(step) / 2.0 && wait <= f64::from(step), "{wait} for {step}");
        }
        backoff.reset();
        assert!(backoff.after_failure() <= Duration::from_secs(1));
    }
}
